//! Connections: how many there are at once, how long one may keep the server waiting, and how long a head may be.
//!
//! Slow phones are normal, so nothing here is a short deadline: a line is cut when not one byte passes for a minute, or when
//! it is slower than a kilobyte a second for more than four. It knows as much of HTTP as to see where a head ends.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep_until};

/// Connections at once; more wait in the operating system's queue. One that became a live connection is not counted: those
/// are bounded apart, or a few hundred listening phones would keep all others out.
const CONNECTIONS_MAX: usize = 512;
/// Bytes of a request's head.
const HEAD_BYTES_MAX: u64 = 16 << 10;
/// Bytes taken from a line at a time; keeps the buffers behind it small.
const READ_BYTES_MAX: usize = 16 << 10;

/// How an answer begins that is none yet.
const INVITATION: &[u8] = b"HTTP/1.1 100";
/// How an answer begins that makes the line a live connection.
const UPGRADE: &[u8] = b"HTTP/1.1 101";

/// How long a line may keep the server waiting.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// Without one byte, either way.
    silence: Duration,
    /// Slower than the floor, from the first byte of a request or of a reply on.
    grace: Duration,
    /// Bytes a second; slow enough for any phone that has a line at all.
    floor_bytes: u64,
}

const PATIENCE: Patience =
    Patience { silence: Duration::from_secs(60), grace: Duration::from_secs(240), floor_bytes: 1024 };

/// Which way bytes pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    In,
    Out,
}

/// Bytes that passed one way since they last passed the other.
#[derive(Clone, Copy, Debug)]
struct Turn {
    way: Way,
    since: Instant,
    bytes: u64,
}

/// What passed on a line, and when. Pure: the clock is an argument.
#[derive(Clone, Copy, Debug)]
struct Pace {
    patience: Patience,
    last: Instant,
    turn: Option<Turn>,
}

impl Pace {
    fn new(patience: Patience, now: Instant) -> Self {
        Self { patience, last: now, turn: None }
    }

    fn passed(&mut self, way: Way, bytes: usize, now: Instant) {
        self.last = now;
        let turn = self.turn.filter(|turn| turn.way == way).unwrap_or(Turn { way, since: now, bytes: 0 });
        self.turn = Some(Turn { bytes: turn.bytes + bytes as u64, ..turn });
    }

    /// When the line is cut if nothing more passes until then.
    fn ends_at(&self) -> Instant {
        let silent = self.last + self.patience.silence;
        let slow = self.turn.map(|turn| {
            let at_the_floor = Duration::from_secs(turn.bytes / self.patience.floor_bytes);
            turn.since + at_the_floor.max(self.patience.grace)
        });
        slow.map_or(silent, |slow| slow.min(silent))
    }
}

/// Where in a request the line is.
#[derive(Clone, Copy, Debug, Default)]
struct Head {
    bytes: u64,
    has_begun: bool,
    is_line_empty: bool,
    has_ended: bool,
}

impl Head {
    /// Reads on; false when the head is too long.
    fn read(&mut self, bytes: &[u8]) -> bool {
        for byte in bytes {
            if self.has_ended {
                return true;
            }
            self.bytes += 1;
            match byte {
                b'\n' if self.is_line_empty && self.has_begun => self.has_ended = true,
                b'\n' => self.is_line_empty = true,
                b'\r' => {}
                _ => (self.has_begun, self.is_line_empty) = (true, false),
            }
        }
        self.bytes <= HEAD_BYTES_MAX
    }
}

/// Takes connections, no more than there are places for.
pub(crate) struct Door {
    listener: TcpListener,
    places: Arc<Semaphore>,
    patience: Patience,
}

impl Door {
    pub(crate) fn new(listener: TcpListener) -> Self {
        Self { listener, places: Arc::new(Semaphore::new(CONNECTIONS_MAX)), patience: PATIENCE }
    }
}

impl Listener for Door {
    type Io = Line<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let places = Arc::clone(&self.places);
        let place = places.acquire_owned().await.expect("the semaphore is never closed");
        let (stream, address) = Listener::accept(&mut self.listener).await;
        (Line::new(stream, self.patience, Some(place)), address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// One connection.
pub(crate) struct Line<S> {
    stream: S,
    pace: Pace,
    head: Head,
    timer: Pin<Box<Sleep>>,
    /// Its place among the connections at once.
    place: Option<OwnedSemaphorePermit>,
}

impl<S> Line<S> {
    fn new(stream: S, patience: Patience, place: Option<OwnedSemaphorePermit>) -> Self {
        let pace = Pace::new(patience, Instant::now());
        let timer = Box::pin(sleep_until(pace.ends_at()));
        Self { stream, pace, head: Head::default(), timer, place }
    }

    /// Fails when the line kept the server waiting too long; wakes the task when it will have.
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let ends_at = self.pace.ends_at();
        if self.timer.deadline() != ends_at {
            self.timer.as_mut().reset(ends_at);
        }
        match self.timer.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(()),
        }
    }

    /// Takes note of what was written of `first`. An answer ends a request, an invitation to send its body does not.
    fn wrote(
        &mut self,
        written: Poll<io::Result<usize>>,
        first: &[u8],
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = written {
            self.pace.passed(Way::Out, bytes, Instant::now());
            if first.starts_with(UPGRADE) {
                self.place = None;
            }
            if !first.starts_with(INVITATION) {
                self.head = Head::default();
            }
            return Poll::Ready(Ok(bytes));
        }
        if written.is_pending() {
            self.check(context)?;
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Line<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let room = buffer.remaining().min(READ_BYTES_MAX);
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(room));
        let Poll::Ready(read) = Pin::new(&mut this.stream).poll_read(context, &mut part) else {
            this.check(context)?;
            return Poll::Pending;
        };
        read?;
        let bytes = part.filled().len();
        if bytes > 0 {
            this.pace.passed(Way::In, bytes, Instant::now());
            // A line that is slow and never silent is never pending for long.
            this.check(context)?;
            if !this.head.read(part.filled()) {
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
        }
        buffer.advance(bytes);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Line<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.wrote(written, bytes, context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(context, parts);
        let first = parts.first().map_or(&[][..], |part| part);
        this.wrote(written, first, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let ended = ready!(Pin::new(&mut this.stream).poll_shutdown(context));
        Poll::Ready(ended)
    }
}

#[cfg(test)]
mod tests;
