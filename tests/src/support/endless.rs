//! An answer whose body never ends.

use std::sync::{Arc, Mutex};

use haversack_testing::{Intercept, Meeting, Seen, Step};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// Answers without end, and the bytes of each that were taken before the other side hung up.
#[derive(Default)]
pub struct Endless {
    taken: Mutex<Vec<u64>>,
}

impl Endless {
    /// The step of a gate that answers so; the server learns nothing.
    pub fn step(self: &Arc<Self>) -> Step {
        Step::Intercept(self.clone())
    }

    /// Bytes taken of each answer that ended.
    pub fn taken(&self) -> Vec<u64> {
        self.taken.lock().expect("whole").clone()
    }

    async fn pour(&self, mut stream: TcpStream) {
        let block = vec![0x48; 64 * 1024];
        let mut taken = 0;
        if stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n").await.is_ok() {
            while stream.write_all(&block).await.is_ok() {
                taken += block.len() as u64;
            }
        }
        self.taken.lock().expect("whole").push(taken);
    }
}

impl Intercept for Endless {
    fn meet<'a>(&'a self, _: &'a Seen, stream: TcpStream) -> Meeting<'a> {
        Box::pin(async move {
            self.pour(stream).await;
            None
        })
    }
}
