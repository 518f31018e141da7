//! The one thread that writes: it takes what waits in the queue, runs one transaction, answers after the commit.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Instant;

use haversack_protocol::{DeviceId, DeviceRow, HintBody, InstallationId, LogRow, PrincipalId};
use rusqlite::Connection;
use tokio::sync::{oneshot, watch};

use super::batch::{Batch, PushJob};
use super::{Law, Loaded};
use crate::log::Head;
use crate::metrics::Metrics;
use crate::store::{Committed, PushTransaction, StoreRefusal, Verdict};

/// Pushes waiting for the writer; beyond them the server asks for patience.
pub(crate) const QUEUED_PUSHES_MAX: usize = 256;
/// Pushes in one transaction: as many as arrive while the disk is busy with the one before, within bounds.
pub(crate) const PUSHES_PER_TRANSACTION_MAX: usize = 64;
/// Draws of a device id before the source of chance is held to be broken.
const DEVICE_ID_DRAWS_MAX: u32 = 16;

/// Work for the writer.
pub(crate) enum Job {
    /// Decide on a push.
    Push(Box<PushJob>),
    /// Register an installation.
    Register { installation: InstallationId, principal: PrincipalId },
    /// Keep a device's receipt for what was erased.
    Receipt { device: DeviceId, position: u64 },
}

/// What the writer answers, once it is durable.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    Pushed(HintBody),
    Registered { device: DeviceId, push_ordinal: u64 },
    Kept,
}

impl Answer {
    /// What became of a push.
    pub(crate) fn pushed(self) -> Option<HintBody> {
        match self {
            Self::Pushed(answers) => Some(answers),
            Self::Registered { .. } | Self::Kept => None,
        }
    }

    /// The device id and the greatest push ordinal of a registration.
    pub(crate) fn registered(&self) -> Option<(DeviceId, u64)> {
        match self {
            Self::Pushed(_) | Self::Kept => None,
            Self::Registered { device, push_ordinal } => Some((*device, *push_ordinal)),
        }
    }
}

/// Why the writer gives no answer; nothing was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WriterRefusal {
    /// The queue is full.
    Busy,
    /// The job failed or the server is stopping.
    Failed,
}

enum Message {
    Work(Job, oneshot::Sender<Result<Answer, WriterRefusal>>),
    Stop,
}

/// What both ends of the queue know.
struct Shared {
    commits: AtomicU64,
    queued: AtomicUsize,
    is_alive: AtomicBool,
    head: watch::Sender<Head>,
}

/// The queue's open end.
#[derive(Clone)]
pub(crate) struct WriterHandle {
    queue: SyncSender<Message>,
    shared: Arc<Shared>,
}

impl WriterHandle {
    /// Queues a job and waits for its durable answer.
    pub(crate) async fn run(&self, job: Job) -> Result<Answer, WriterRefusal> {
        self.queue(job)?.await.unwrap_or(Err(WriterRefusal::Failed))
    }

    pub(super) fn queue(
        &self,
        job: Job,
    ) -> Result<oneshot::Receiver<Result<Answer, WriterRefusal>>, WriterRefusal> {
        let (reply, answer) = oneshot::channel();
        // Counted before the writer can take it, so that the count never falls below zero.
        self.shared.queued.fetch_add(1, Ordering::Relaxed);
        let refusal = match self.queue.try_send(Message::Work(job, reply)) {
            Ok(()) => return Ok(answer),
            Err(TrySendError::Full(_)) => WriterRefusal::Busy,
            Err(TrySendError::Disconnected(_)) => WriterRefusal::Failed,
        };
        self.shared.queued.fetch_sub(1, Ordering::Relaxed);
        Err(refusal)
    }

    /// Pushes waiting.
    pub(crate) fn queued(&self) -> usize {
        self.shared.queued.load(Ordering::Relaxed)
    }

    /// Says whether the writer still works.
    pub(crate) fn is_alive(&self) -> bool {
        self.shared.is_alive.load(Ordering::Relaxed)
    }

    /// Follows how far the log reaches; moves after the commit, never before.
    pub(crate) fn head(&self) -> watch::Receiver<Head> {
        self.shared.head.subscribe()
    }

    /// Lets the writer end after what is queued. Blocks while the queue is full.
    pub(crate) fn stop(&self) {
        // A writer that ended already has nothing left to stop.
        let _ = self.queue.send(Message::Stop);
    }

    /// Transactions committed so far.
    pub(crate) fn commits(&self) -> u64 {
        self.shared.commits.load(Ordering::Relaxed)
    }
}

/// The writing end: the connection, the law, and what is loaded.
pub(crate) struct Writer {
    law: Arc<Law>,
    connection: Connection,
    loaded: Loaded,
    queue: Receiver<Message>,
    shared: Arc<Shared>,
    metrics: Arc<Metrics>,
    /// Last position of the log after the last commit.
    position: u64,
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.is_alive.store(false, Ordering::Relaxed);
    }
}

type Waiting = (Job, oneshot::Sender<Result<Answer, WriterRefusal>>);

impl Writer {
    /// A writer on a log that reaches to `position`.
    pub(crate) fn new(
        law: Arc<Law>,
        connection: Connection,
        position: u64,
        metrics: Arc<Metrics>,
    ) -> (Self, WriterHandle) {
        let (sender, queue) = sync_channel(QUEUED_PUSHES_MAX);
        let shared = Arc::new(Shared {
            commits: AtomicU64::new(0),
            queued: AtomicUsize::new(0),
            is_alive: AtomicBool::new(true),
            head: watch::Sender::new(Head::at(position)),
        });
        let handle = WriterHandle { queue: sender, shared: Arc::clone(&shared) };
        (Self { law, connection, loaded: Loaded::default(), queue, shared, metrics, position }, handle)
    }

    #[cfg(test)]
    pub(super) fn law(&self) -> &Law {
        &self.law
    }

    /// Works until told to stop, then folds the log of the database into it.
    pub(crate) fn work(mut self) -> Result<(), StoreRefusal> {
        let mut is_stopping = false;
        while !is_stopping {
            let Ok(first) = self.queue.recv() else { break };
            let mut group = Vec::new();
            let mut next = Some(first);
            while let Some(message) = next {
                match message {
                    Message::Work(job, reply) => group.push((job, reply)),
                    Message::Stop => is_stopping = true,
                }
                let is_full = is_stopping || group.len() == PUSHES_PER_TRANSACTION_MAX;
                next = if is_full { None } else { self.queue.try_recv().ok() };
            }
            self.shared.queued.fetch_sub(group.len(), Ordering::Relaxed);
            self.answer(group);
        }
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        Ok(())
    }

    /// Answers a group; when it fails, each of its jobs by itself, so that only the culprit fails.
    fn answer(&mut self, group: Vec<Waiting>) {
        if group.is_empty() {
            return;
        }
        let jobs: Vec<_> = group.iter().map(|(job, _)| job).collect();
        let answers: Vec<_> = match self.transact(&jobs) {
            Some(answers) => answers.into_iter().map(Ok).collect(),
            None if jobs.len() == 1 => vec![Err(WriterRefusal::Failed)],
            None => jobs.iter().map(|job| self.decide(job)).collect(),
        };
        for ((_, reply), answer) in group.into_iter().zip(answers) {
            // Who hung up will ask again and be told the same.
            let _ = reply.send(answer);
        }
    }

    /// Answers one job at once, in a transaction of its own.
    pub(crate) fn decide(&mut self, job: &Job) -> Result<Answer, WriterRefusal> {
        self.transact(&[job]).and_then(|mut one| one.pop()).ok_or(WriterRefusal::Failed)
    }

    /// Runs jobs in one transaction. `None` when it failed and left no trace.
    fn transact(&mut self, jobs: &[&Job]) -> Option<Vec<Answer>> {
        let began = Instant::now();
        let (law, loaded) = (&*self.law, &mut self.loaded);
        let connection = &mut self.connection;
        let done = catch_unwind(AssertUnwindSafe(|| {
            let mut transaction = PushTransaction::begin(connection, &law.identity)?;
            loaded.refresh(&transaction)?;
            let mut answers = Vec::with_capacity(jobs.len());
            for job in jobs {
                answers.push(run(law, loaded, &mut transaction, job)?);
            }
            Ok::<_, StoreRefusal>((answers, transaction.commit()?))
        }));
        let failure = match done {
            Ok(Ok((answers, committed))) => {
                self.shared.commits.fetch_add(1, Ordering::Relaxed);
                self.metrics.committed(jobs.len(), began.elapsed().as_secs_f64(), &committed);
                self.tell(&committed);
                return Some(answers);
            }
            Ok(Err(refusal)) => refusal.to_string(),
            Err(_) => "panicked".to_owned(),
        };
        tracing::error!(jobs = jobs.len(), failure, "a push transaction was rolled back");
        self.loaded.forget();
        None
    }

    /// Tells who waits for it how far the log reaches now. A refusal is its own device's business.
    fn tell(&mut self, committed: &Committed) {
        let is_foreign = committed.head_before != self.position;
        self.position = committed.rows.last().map_or(committed.head_before, |row| row.position);
        self.shared.head.send_if_modified(|head| {
            let before = *head;
            if is_foreign {
                *head = Head::at(committed.head_before);
            }
            for row in committed.rows.iter().filter(|row| !matches!(row.verdict, Some(Verdict::Rejected(_))))
            {
                head.wrote(row.position, row.device);
            }
            *head != before
        });
    }
}

fn run(
    law: &Law,
    loaded: &mut Loaded,
    transaction: &mut PushTransaction<'_>,
    job: &Job,
) -> Result<Answer, StoreRefusal> {
    match job {
        Job::Push(job) => Batch { law, transaction, loaded, job }.run().map(Answer::Pushed),
        Job::Register { installation, principal } => register(law, transaction, *installation, principal),
        Job::Receipt { device, position } => {
            transaction.remember_receipt(*device, *position)?;
            Ok(Answer::Kept)
        }
    }
}

/// Gives an installation its device id, the same one every time.
fn register(
    law: &Law,
    transaction: &mut PushTransaction<'_>,
    installation: InstallationId,
    principal: &PrincipalId,
) -> Result<Answer, StoreRefusal> {
    if let Some((device, push_ordinal)) = transaction.device(installation, principal)? {
        return Ok(Answer::Registered { device, push_ordinal });
    }
    let position = transaction.next_position();
    for draw in 0..DEVICE_ID_DRAWS_MAX {
        let bytes = law.device_ids.draw(position, draw)?;
        let device = DeviceId::from_bytes(bytes);
        // Actors beginning with 0x00 are the server's own.
        if bytes[0] != 0 && transaction.put_device(device, installation, principal, position)? {
            let row = LogRow::Device(DeviceRow { position, device, principal: principal.clone() });
            transaction.append(&row, device, None)?;
            return Ok(Answer::Registered { device, push_ordinal: 0 });
        }
    }
    Err(StoreRefusal::Random)
}
