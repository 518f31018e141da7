//! A gate before the server: it hands requests on and spoils what passes, step by step.

use std::collections::VecDeque;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use haversack::{Code, Rejection};
use haversack_protocol::{Class, FrameKind, SyncRequest, decode_frames, encode_frame};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::error::TestingError;
use crate::http::{Message, header, plain_http};
use crate::refusal::Refusals;

type Spoil = Arc<dyn Fn(&[u8]) -> Vec<u8> + Send + Sync>;
type Claim = Arc<dyn Fn(&SyncRequest) -> bool + Send + Sync>;
type Ask = Arc<dyn Fn(&mut SyncRequest) + Send + Sync>;

/// What the gate does with one sync request. Most stories need none of them by name: [`Gate`] has words of its own.
#[derive(Clone)]
#[non_exhaustive]
pub enum Step {
    /// Hands request and reply on.
    Forward,
    /// Changes the request before it is handed on.
    Ask(Ask),
    /// Hands the request on and changes the body of the reply.
    Alter(Spoil),
    /// Hands the request on and the reply's head, but only so many bytes of its body.
    Cut(usize),
    /// Hands the request on; the reply is lost.
    LoseReply,
    /// Hands the request on twice and the second reply back.
    Twice,
    /// Answers with these bytes; the server learns nothing.
    Answer(Vec<u8>),
    /// Leaves the connection to this; hands the request on when it is given back.
    Intercept(Arc<dyn Intercept>),
    /// Hands the request on and the reply a byte at a time.
    Trickle,
    /// Answers requests of which this holds with these bytes; the server learns nothing. Hands all others on.
    AnswerUnder(Claim, Vec<u8>),
    /// Breaks the line under requests of which this holds; the server learns nothing. Hands all others on.
    BreakUnder(Claim),
}

impl Step {
    /// Changes the body of the reply.
    pub fn alter(spoil: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::Alter(Arc::new(spoil))
    }

    /// Breaks the line under requests of which `claim` holds.
    pub fn break_under(claim: impl Fn(&SyncRequest) -> bool + Send + Sync + 'static) -> Self {
        Self::BreakUnder(Arc::new(claim))
    }

    /// Answers requests of which `claim` holds with these bytes.
    pub fn answer_under(
        claim: impl Fn(&SyncRequest) -> bool + Send + Sync + 'static,
        answer: Vec<u8>,
    ) -> Self {
        Self::AnswerUnder(Arc::new(claim), answer)
    }

    /// Changes the request.
    pub fn ask(ask: impl Fn(&mut SyncRequest) + Send + Sync + 'static) -> Self {
        Self::Ask(Arc::new(ask))
    }
}

/// What comes of an interception: the connection, when the gate is to go on with it.
pub type Meeting<'a> = Pin<Box<dyn Future<Output = Option<TcpStream>> + Send + 'a>>;

/// Something that takes whole connections from the gate, for tests of the wire itself.
pub trait Intercept: Send + Sync {
    /// Serves the request, or gives the connection back.
    fn meet<'a>(&'a self, request: &'a Seen, stream: TcpStream) -> Meeting<'a>;
}

/// A request that came to the gate.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its path.
    pub path: String,
    /// Its token, as sent.
    pub authorization: Option<String>,
    head: String,
    body: Vec<u8>,
}

impl Seen {
    /// The sync request in it, if it is one.
    pub fn sync_request(&self) -> Option<SyncRequest> {
        sync_request(&self.body)
    }

    /// The value of the first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    fn of(request: &Message) -> Option<Self> {
        Some(Self {
            path: request.head.split(' ').nth(1)?.to_owned(),
            authorization: header(&request.head, "authorization").map(str::to_owned),
            head: request.head.clone(),
            body: request.body.clone(),
        })
    }

    fn is_live(&self) -> bool {
        self.path.ends_with("/live")
    }
}

fn sync_request(body: &[u8]) -> Option<SyncRequest> {
    let frames = decode_frames(body).ok()?;
    frames.iter().find(|frame| frame.kind == FrameKind::SyncRequest)?.read().ok()
}

/// Where a server is; nowhere while it is stopped.
pub(crate) type Whereabouts = Arc<Mutex<Option<SocketAddr>>>;

/// Takes a lock whose holders never leave it half changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Inner {
    server: Whereabouts,
    script: Mutex<VecDeque<Step>>,
    otherwise: Mutex<Step>,
    refusals: Mutex<Refusals>,
    seen: Mutex<Vec<Seen>>,
    registrations: Mutex<Option<Vec<u8>>>,
    passes_live: Mutex<bool>,
    interceptor: Mutex<Option<Arc<dyn Intercept>>>,
    are_replies_held: watch::Sender<bool>,
}

/// A gate on a port of its own between devices and the server. It hands everything on until told otherwise; its words
/// are about requests to come, one step for each sync request, in the order they were said. Registrations of devices and
/// live connections pass beside the script.
pub struct Gate {
    inner: Arc<Inner>,
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Words that stories are made of.
impl Gate {
    /// The server refuses the next change set it has not seen before, for good and with this reason; what stands behind it
    /// or needs it fares as it does after any refusal.
    ///
    /// # Errors
    /// [`TestingError::NotFinal`] when the reason's code is none of a refusal for good.
    pub fn refuse_next(&self, rejection: Rejection) -> Result<(), TestingError> {
        if rejection.code.class() != Class::Permanent {
            return Err(TestingError::NotFinal(rejection.code));
        }
        lock(&self.inner.refusals).order(rejection);
        Ok(())
    }

    /// The server refuses the next change set it has not seen before as a rule of this name would, with this key of a message
    /// for the app to show.
    pub fn refuse_next_by_rule(&self, rule: &str, message_key: &str) {
        let rejection = Rejection {
            rule: Some(rule.to_owned()),
            message_key: Some(message_key.to_owned()),
            ..Rejection::of(Code::Rule)
        };
        lock(&self.inner.refusals).order(rejection);
    }

    /// The server does what the next request asks, and the reply is lost.
    pub fn lose_next_reply(&self) {
        self.script([Step::LoseReply]);
    }

    /// The server does what the next request asks, and the line breaks after so many bytes of the reply's body.
    pub fn cut_next_reply(&self, bytes: usize) {
        self.script([Step::Cut(bytes)]);
    }

    /// The next requests, so many of them, are answered with this HTTP status, such as 401, 429 or 503, and reach no server.
    /// `retry_after` is sent along in whole seconds.
    pub fn answer_next(&self, times: usize, status: u16, retry_after: Option<Duration>) {
        let wait = retry_after.map(|wait| format!("retry-after: {}\r\n", wait.as_secs())).unwrap_or_default();
        let answer = plain_http(&format!("{status} Scripted"), &wait, b"");
        self.script(std::iter::repeat_n(Step::Answer(answer), times));
    }

    /// Replies come a byte at a time from now on, until [`Gate::heal`].
    pub fn slow_down(&self) {
        self.otherwise(Step::Trickle);
    }

    /// Requests still reach the server, but replies are held back until [`Gate::release_replies`]: the app is in the middle
    /// of a sync meanwhile.
    pub fn hold_replies(&self) {
        self.inner.are_replies_held.send_replace(true);
    }

    /// Lets replies go that were held back, and those to come.
    pub fn release_replies(&self) {
        self.inner.are_replies_held.send_replace(false);
    }

    /// Forgets the script: from now on everything is handed on. What was refused stays refused.
    pub fn heal(&self) {
        lock(&self.inner.script).clear();
        lock(&self.inner.refusals).cancel();
        self.otherwise(Step::Forward);
        self.release_replies();
    }
}

/// Steps one by one, and what came by.
impl Gate {
    pub(crate) async fn before(server: Whereabouts) -> Result<Self, TestingError> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let inner = Arc::new(Inner {
            server,
            script: Mutex::default(),
            otherwise: Mutex::new(Step::Forward),
            refusals: Mutex::default(),
            seen: Mutex::default(),
            registrations: Mutex::default(),
            passes_live: Mutex::default(),
            interceptor: Mutex::default(),
            are_replies_held: watch::Sender::new(false),
        });
        let task = tokio::spawn(accept(listener, inner.clone()));
        Ok(Self { inner, address, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What is done with the next sync requests, one step each.
    pub fn script(&self, steps: impl IntoIterator<Item = Step>) {
        lock(&self.inner.script).extend(steps);
    }

    /// What is done with sync requests once the script is through.
    pub fn otherwise(&self, step: Step) {
        *lock(&self.inner.otherwise) = step;
    }

    /// Answers registrations of devices with these bytes, or hands them on again.
    pub fn spoil_registrations(&self, answer: Option<Vec<u8>>) {
        *lock(&self.inner.registrations) = answer;
    }

    /// Lets live connections through; without this there is nothing at their path.
    pub fn let_live_through(&self) {
        *lock(&self.inner.passes_live) = true;
    }

    /// Leaves every connection to this first.
    pub fn intercept(&self, interceptor: Arc<dyn Intercept>) {
        *lock(&self.inner.interceptor) = Some(interceptor);
    }

    /// Requests for live connections so far.
    pub fn live_requests(&self) -> usize {
        self.seen().iter().filter(|seen| seen.is_live()).count()
    }

    /// Every request so far.
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.inner.seen).clone()
    }

    /// Every sync request so far, as the device sent it.
    pub fn sync_requests(&self) -> Vec<SyncRequest> {
        self.seen().iter().filter_map(Seen::sync_request).collect()
    }

    /// Sync requests so far that carried change sets.
    pub fn pushes(&self) -> usize {
        self.sync_requests().iter().filter(|request| !request.push.is_empty()).count()
    }
}

async fn accept(listener: TcpListener, inner: Arc<Inner>) {
    while let Ok((stream, _)) = listener.accept().await {
        let inner = inner.clone();
        // A connection that breaks is what a gate is for.
        tokio::spawn(async move { inner.serve(stream).await });
    }
}

impl Inner {
    async fn serve(&self, mut stream: TcpStream) -> Option<()> {
        let request = Message::read(&mut stream).await?;
        let seen = Seen::of(&request)?;
        lock(&self.seen).push(seen.clone());
        let interceptor = lock(&self.interceptor).clone();
        if let Some(interceptor) = interceptor {
            stream = interceptor.meet(&seen, stream).await?;
        }
        if seen.is_live() {
            if *lock(&self.passes_live) {
                return request.tunnel(self.server()?, stream).await;
            }
            return stream.write_all(&plain_http("404 Not Found", "", b"")).await.ok();
        }
        if seen.path.ends_with("/sync") {
            return self.pass(request, &seen, self.next_step(), stream).await;
        }
        let answer = lock(&self.registrations).clone();
        self.pass(request, &seen, answer.map_or(Step::Forward, Step::Answer), stream).await
    }

    /// Does a step's part before the server is asked, asks it, and does the rest with the reply.
    async fn pass(&self, mut request: Message, seen: &Seen, step: Step, mut stream: TcpStream) -> Option<()> {
        let holds = |claim: &Claim| seen.sync_request().is_some_and(|sent| claim(&sent));
        match &step {
            Step::Answer(bytes) => return stream.write_all(bytes).await.ok(),
            Step::AnswerUnder(claim, bytes) if holds(claim) => return stream.write_all(bytes).await.ok(),
            Step::BreakUnder(claim) if holds(claim) => return None,
            Step::Intercept(interceptor) => stream = interceptor.meet(seen, stream).await?,
            Step::Ask(ask) => request.body = asked(seen.sync_request()?, |sent| ask(sent))?,
            _ => {}
        }
        self.refuse(&mut request);
        let server = self.server()?;
        let mut reply = request.forward(server).await?;
        if matches!(step, Step::Twice) {
            reply = request.forward(server).await?;
        }
        if let Some(body) = lock(&self.refusals).retell(&reply.body) {
            reply.body = body;
        }
        // The sender lives as long as this does.
        let _ = self.are_replies_held.subscribe().wait_for(|is_held| !is_held).await;
        match step {
            Step::LoseReply => None,
            Step::Alter(spoil) => {
                reply.body = spoil(&reply.body);
                stream.write_all(&reply.bytes()).await.ok()
            }
            Step::Trickle => trickle(&mut stream, &reply.bytes()).await,
            Step::Cut(at) => {
                let head = reply.head_stating(reply.body.len());
                stream.write_all(head.as_bytes()).await.ok()?;
                stream.write_all(&reply.body[..at.min(reply.body.len())]).await.ok()
            }
            _ => stream.write_all(&reply.bytes()).await.ok(),
        }
    }

    /// Lets ordered refusals happen to what the request carries.
    fn refuse(&self, request: &mut Message) {
        let Some(mut sent) = sync_request(&request.body) else { return };
        if lock(&self.refusals).spoil(&mut sent)
            && let Some(body) = asked(sent, |_| {})
        {
            request.body = body;
        }
    }

    fn server(&self) -> Option<SocketAddr> {
        *lock(&self.server)
    }

    fn next_step(&self) -> Step {
        let next = lock(&self.script).pop_front();
        next.unwrap_or_else(|| lock(&self.otherwise).clone())
    }
}

async fn trickle(stream: &mut TcpStream, bytes: &[u8]) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    for byte in bytes {
        stream.write_all(&[*byte]).await.ok()?;
        tokio::task::yield_now().await;
    }
    Some(())
}

fn asked(mut request: SyncRequest, ask: impl Fn(&mut SyncRequest)) -> Option<Vec<u8>> {
    ask(&mut request);
    let mut body = Vec::new();
    encode_frame(FrameKind::SyncRequest, &request, &mut body).ok()?;
    Some(body)
}
