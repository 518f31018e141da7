//! The server without sockets, threads and a clock of its own: one request at a time, answered before the call returns.
//!
//! For whoever carries requests itself, as simulations do. What is checked, decided and answered is what the server that
//! listens checks, decides and answers; only whom a token speaks for is said by the caller.

use std::path::PathBuf;
use std::sync::Arc;

use haversack_core::Rules;
use haversack_protocol::{FrameKind, Schema, TenantId, UnixMillis};

use crate::ServerError;
use crate::admission::{DeviceIds, Law, Writer};
use crate::erasure::reapply;
use crate::http::{Bearer, Ground, Problem, only_frame, registered, registration};
use crate::metrics::Metrics;
use crate::running::check_prefixes;
use crate::store::{Readers, open, prepare};

/// What a server in process is told when it opens.
#[derive(Clone, Debug)]
pub struct InProcessConfig {
    /// The database file; created when absent.
    pub database: PathBuf,
    /// The tenant it serves.
    pub tenant: TenantId,
    /// Collections and fields.
    pub schema: Schema,
    /// The organisation's rules.
    pub rules: Rules,
    /// How device ids are drawn.
    pub device_ids: DeviceIds,
}

/// A server that answers in the caller's own thread.
pub struct InProcess {
    law: Arc<Law>,
    readers: Readers,
    metrics: Arc<Metrics>,
    writer: Writer,
}

/// What a request is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status it would leave with.
    pub status: u16,
    /// Seconds it asks to wait.
    pub retry_after_s: Option<u16>,
    /// The body.
    pub frames: Vec<u8>,
}

impl InProcess {
    /// Opens the database.
    ///
    /// # Errors
    /// [`ServerError`].
    pub fn open(config: InProcessConfig) -> Result<Self, ServerError> {
        check_prefixes(&config.schema)?;
        let (mut connection, identity) = open(&config.database, &config.tenant)?;
        reapply(&mut connection, &identity, &config.schema, &config.database)?;
        prepare(&mut connection, &config.schema)?;
        let readers = Readers::new(&config.database);
        let position = readers.read(|reader| reader.head())?;
        let InProcessConfig { schema, rules, device_ids, .. } = config;
        let law = Arc::new(Law { schema, rules, identity, device_ids });
        let metrics = Arc::new(Metrics::new(UnixMillis(0)));
        // Nobody queues anything: the writer is asked directly.
        let (writer, _) = Writer::new(Arc::clone(&law), connection, position, Arc::clone(&metrics));
        Ok(Self { law, readers, metrics, writer })
    }

    /// Answers a first contact.
    pub fn register(&mut self, bearer: Bearer, body: &[u8]) -> Reply {
        Reply::of(self.try_register(bearer, body))
    }

    fn try_register(&mut self, bearer: Bearer, body: &[u8]) -> Result<Vec<u8>, Problem> {
        let request = only_frame(body, FrameKind::DeviceRequest)?.unpack()?.read()?;
        let answer = self.writer.decide(&registration(&bearer, &request)?)?;
        registered(bearer, &answer)
    }

    /// Answers a sync request; `now` is the server's clock.
    pub fn sync(&mut self, bearer: Bearer, body: &[u8], now: UnixMillis) -> Reply {
        Reply::of(self.try_sync(bearer, body, now))
    }

    fn try_sync(&mut self, bearer: Bearer, body: &[u8], now: UnixMillis) -> Result<Vec<u8>, Problem> {
        let request = only_frame(body, FrameKind::SyncRequest)?.unpack()?.read()?;
        let ground = Ground { law: &self.law, readers: &self.readers, metrics: &self.metrics };
        let mut opened = ground.open(bearer, request, now)?;
        if let Some(receipt) = opened.receipt.take() {
            self.writer.decide(&receipt)?;
        }
        let answer = match opened.job.take() {
            Some(job) => Some(self.writer.decide(&job)?),
            None => None,
        };
        let hints = ground.hints(answer)?;
        ground.reply(opened, &hints)
    }
}

impl Reply {
    fn of(answered: Result<Vec<u8>, Problem>) -> Self {
        match answered {
            Ok(frames) => Self { status: 200, retry_after_s: None, frames },
            Err(problem) => Self {
                status: problem.status().as_u16(),
                retry_after_s: problem.retry_after_s(),
                frames: problem.frame(),
            },
        }
    }
}
