//! A gate before the server: it hands requests on and spoils what comes back, step by step.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use haversack_protocol::{FrameKind, SyncRequest, decode_frames, encode_frame};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::flood::Flood;
use super::http::{Message, plain_http};

type Spoil = Arc<dyn Fn(&[u8]) -> Vec<u8> + Send + Sync>;
type Claim = Arc<dyn Fn(&SyncRequest) -> bool + Send + Sync>;
type Ask = Arc<dyn Fn(&mut SyncRequest) + Send + Sync>;

/// What the gate does with one sync request.
#[derive(Clone)]
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
    /// Answers with a body that never ends; the server learns nothing.
    Endless,
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

/// A request that came to the gate.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its path.
    pub path: String,
    /// Its token, as sent.
    pub authorization: Option<String>,
    body: Vec<u8>,
}

impl Seen {
    /// The sync request in it, if it is one.
    pub fn sync_request(&self) -> Option<SyncRequest> {
        sync_request(&self.body)
    }
}

fn sync_request(body: &[u8]) -> Option<SyncRequest> {
    let frames = decode_frames(body).ok()?;
    frames.iter().find(|frame| frame.kind == FrameKind::SyncRequest)?.read().ok()
}

struct Inner {
    server: Mutex<SocketAddr>,
    script: Mutex<VecDeque<Step>>,
    otherwise: Mutex<Step>,
    seen: Mutex<Vec<Seen>>,
    registrations: Mutex<Option<Vec<u8>>>,
    endless_bytes: Mutex<Vec<u64>>,
    flood: Mutex<Option<Arc<Flood>>>,
}

/// A gate that listens on a port of its own.
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

impl Gate {
    /// A gate that hands everything on until told otherwise.
    pub async fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let inner = Arc::new(Inner {
            server: Mutex::new(server),
            script: Mutex::default(),
            otherwise: Mutex::new(Step::Forward),
            seen: Mutex::default(),
            registrations: Mutex::default(),
            endless_bytes: Mutex::default(),
            flood: Mutex::default(),
        });
        let task = tokio::spawn(accept(listener, inner.clone()));
        Self { inner, address, task }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What is done with the next sync requests, one step each.
    pub fn script(&self, steps: impl IntoIterator<Item = Step>) {
        self.inner.script.lock().expect("whole").extend(steps);
    }

    /// What is done with sync requests once the script is through.
    pub fn otherwise(&self, step: Step) {
        *self.inner.otherwise.lock().expect("whole") = step;
    }

    /// Answers registrations with these bytes, or hands them on again.
    pub fn spoil_registrations(&self, answer: Option<Vec<u8>>) {
        *self.inner.registrations.lock().expect("whole") = answer;
    }

    /// Hands on to another server from now on.
    pub fn lead_to(&self, server: SocketAddr) {
        *self.inner.server.lock().expect("whole") = server;
    }

    /// Answers requests for live connections with so many pokes; without this there is nothing at their path.
    pub fn flood(&self, pokes: u64) {
        *self.inner.flood.lock().expect("whole") = Some(Arc::new(Flood::of(pokes)));
    }

    /// Requests for live connections so far.
    pub fn live_requests(&self) -> usize {
        self.seen().iter().filter(|seen| seen.path.ends_with("/live")).count()
    }

    /// Every request so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.inner.seen.lock().expect("whole").clone()
    }

    /// Every sync request so far.
    pub fn sync_requests(&self) -> Vec<SyncRequest> {
        self.seen().iter().filter_map(Seen::sync_request).collect()
    }

    /// Sync requests so far that carried change sets.
    pub fn pushes(&self) -> usize {
        self.sync_requests().iter().filter(|request| !request.push.is_empty()).count()
    }

    /// Bytes of each endless reply that were taken before the other side hung up.
    pub fn endless_bytes(&self) -> Vec<u64> {
        self.inner.endless_bytes.lock().expect("whole").clone()
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
        let path = request.head.split(' ').nth(1)?.to_owned();
        let authorization = request.header("authorization").map(str::to_owned);
        let (is_sync, is_live) = (path.ends_with("/sync"), path.ends_with("/live"));
        self.seen.lock().expect("whole").push(Seen { path, authorization, body: request.body.clone() });
        let flood = self.flood.lock().expect("whole").clone();
        match flood {
            Some(flood) if is_live => return flood.pour(&request, stream).await,
            Some(flood) => flood.ebbed().await,
            None if is_live => return stream.write_all(&plain_http("404 Not Found", "", b"")).await.ok(),
            None => {}
        }
        let step = if is_sync { self.next_step() } else { self.registration_step() };
        let server = *self.server.lock().expect("whole");
        match &step {
            Step::Answer(bytes) => return stream.write_all(bytes).await.ok(),
            Step::Endless => return self.never_end(stream).await,
            Step::AnswerUnder(claim, bytes)
                if sync_request(&request.body).is_some_and(|sent| claim(&sent)) =>
            {
                return stream.write_all(bytes).await.ok();
            }
            Step::BreakUnder(claim) if sync_request(&request.body).is_some_and(|sent| claim(&sent)) => {
                return None;
            }
            _ => {}
        }
        let request = match &step {
            Step::Ask(ask) => asked(request, ask),
            _ => request,
        };
        let mut reply = request.forward(server).await?;
        match step {
            Step::LoseReply => return None,
            Step::Twice => reply = request.forward(server).await?,
            Step::Alter(spoil) => reply.body = spoil(&reply.body),
            Step::Trickle => return trickle(&mut stream, &reply.bytes()).await,
            Step::Cut(at) => {
                let head = reply.head_stating(reply.body.len());
                stream.write_all(head.as_bytes()).await.ok()?;
                return stream.write_all(&reply.body[..at.min(reply.body.len())]).await.ok();
            }
            _ => {}
        }
        stream.write_all(&reply.bytes()).await.ok()
    }

    fn registration_step(&self) -> Step {
        let answer = self.registrations.lock().expect("whole").clone();
        answer.map_or(Step::Forward, Step::Answer)
    }

    fn next_step(&self) -> Step {
        let next = self.script.lock().expect("whole").pop_front();
        next.unwrap_or_else(|| self.otherwise.lock().expect("whole").clone())
    }

    async fn never_end(&self, mut stream: TcpStream) -> Option<()> {
        stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n").await.ok()?;
        let block = vec![0x48; 64 * 1024];
        let mut taken = 0;
        while stream.write_all(&block).await.is_ok() {
            taken += block.len() as u64;
        }
        self.endless_bytes.lock().expect("whole").push(taken);
        Some(())
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

fn asked(mut request: Message, ask: &Ask) -> Message {
    let frames = decode_frames(&request.body).expect("frames of ours");
    let mut body: SyncRequest = frames[0].read().expect("a sync request");
    ask(&mut body);
    request.body.clear();
    encode_frame(FrameKind::SyncRequest, &body, &mut request.body).expect("small");
    request
}
