//! As much of HTTP/1.1 as a gate needs, with every byte in sight.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A request or an answer: its head, blank line included, and its body.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

/// The value of the first header of this name.
pub(crate) fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

impl Message {
    /// Reads a message whose head states the length of its body.
    pub(crate) async fn read(stream: &mut TcpStream) -> Option<Self> {
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if stream.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        };
        let body = bytes.split_off(end);
        let mut message = Self { head: String::from_utf8(bytes).ok()?, body };
        let length = header(&message.head, "content-length");
        let length = length.and_then(|length| length.parse().ok()).unwrap_or(0);
        while message.body.len() < length {
            if stream.read_buf(&mut message.body).await.ok()? == 0 {
                return None;
            }
        }
        Some(message)
    }

    /// Sends the message on a connection of its own and reads the answer.
    pub(crate) async fn forward(&self, to: SocketAddr) -> Option<Self> {
        let mut stream = TcpStream::connect(to).await.ok()?;
        stream.write_all(&self.bytes()).await.ok()?;
        Self::read(&mut stream).await
    }

    /// Hands the message on as it is, and everything that follows it on either side.
    pub(crate) async fn tunnel(&self, to: SocketAddr, mut stream: TcpStream) -> Option<()> {
        let mut server = TcpStream::connect(to).await.ok()?;
        server.write_all(&[self.head.as_bytes(), &self.body].concat()).await.ok()?;
        tokio::io::copy_bidirectional(&mut stream, &mut server).await.ok()?;
        Some(())
    }

    /// The message with the length its body has now, for one connection.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head_stating(self.body.len()).into_bytes();
        bytes.extend(&self.body);
        bytes
    }

    /// The head, stating this length.
    pub(crate) fn head_stating(&self, length: usize) -> String {
        let is_kept = |line: &&str| {
            let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
            !line.is_empty() && name != "content-length" && name != "connection"
        };
        let kept: Vec<_> = self.head.lines().filter(is_kept).collect();
        format!("{}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n", kept.join("\r\n"))
    }
}

/// An answer as a plain web server gives it: `status` with its reason, `headers` each with its line end.
pub fn plain_http(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head =
        format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}
