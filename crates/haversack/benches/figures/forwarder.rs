//! A TCP forwarder between phone and server that counts every payload byte, HTTP's own included.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// What crossed the wire.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) up: u64,
    pub(crate) down: u64,
    /// Times the phone began to speak after the server had, or at the start of a connection.
    pub(crate) requests: u64,
}

impl Traffic {
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            up: self.up - earlier.up,
            down: self.down - earlier.down,
            requests: self.requests - earlier.requests,
        }
    }

    pub(crate) fn both(self) -> u64 {
        self.up + self.down
    }
}

#[derive(Default)]
struct Counters {
    up: AtomicU64,
    down: AtomicU64,
    requests: AtomicU64,
}

/// A running forwarder; it ends with the process.
pub(crate) struct Forwarder {
    address: SocketAddr,
    counters: Arc<Counters>,
}

impl Forwarder {
    pub(crate) fn start(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let counters = Arc::new(Counters::default());
        let counted = Arc::clone(&counters);
        named(move || {
            for phone in listener.incoming().flatten() {
                // A connection that cannot be forwarded is dropped; the phone tells.
                let _ = join(phone, server, &counted);
            }
        })?;
        Ok(Self { address, counters })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn traffic(&self) -> Traffic {
        Traffic {
            up: self.counters.up.load(Ordering::SeqCst),
            down: self.counters.down.load(Ordering::SeqCst),
            requests: self.counters.requests.load(Ordering::SeqCst),
        }
    }
}

/// Named, so that its processor time is counted for neither side.
fn named(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name("forwarder".to_owned()).spawn(work).map(drop)
}

fn join(phone: TcpStream, server: SocketAddr, counters: &Arc<Counters>) -> io::Result<()> {
    let server = TcpStream::connect(server)?;
    phone.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let answered = Arc::new(AtomicU64::new(1));
    let (from, to) = (phone.try_clone()?, server.try_clone()?);
    let (counted, turn) = (Arc::clone(counters), Arc::clone(&answered));
    named(move || {
        pump(from, to, |bytes| {
            counted.requests.fetch_add(turn.swap(0, Ordering::SeqCst), Ordering::SeqCst);
            counted.up.fetch_add(bytes, Ordering::SeqCst);
        });
    })?;
    let counted = Arc::clone(counters);
    named(move || {
        pump(server, phone, |bytes| {
            answered.store(1, Ordering::SeqCst);
            counted.down.fetch_add(bytes, Ordering::SeqCst);
        });
    })
}

fn pump(mut from: TcpStream, mut to: TcpStream, mut count: impl FnMut(u64)) {
    let mut buffer = vec![0u8; 64 * 1024];
    while let Ok(read) = from.read(&mut buffer) {
        if read == 0 {
            break;
        }
        count(read as u64);
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    // The other side may have closed already.
    let _ = to.shutdown(Shutdown::Write);
}
