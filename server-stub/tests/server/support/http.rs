//! As much of HTTP/1.1 as a test needs, with every byte in sight.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use haversack_protocol::{Code, Frame, FrameKind, MEDIA_TYPE, ProblemBody, decode_frames};

/// An answer as it came.
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// Bytes sent and received.
    pub(crate) traffic: usize,
}

impl Response {
    /// Reads the first answer in these bytes.
    fn read(mut answer: Vec<u8>) -> Option<Self> {
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let head = String::from_utf8(answer[..end].to_vec()).expect("text");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let traffic = answer.len();
        Some(Self { status, head, body: answer.split_off(end), traffic })
    }

    /// The refusal, if it is one of ours.
    #[cfg(target_os = "linux")]
    pub(crate) fn code(&self) -> Option<Code> {
        let frames = decode_frames(&self.body).ok()?;
        let problem: ProblemBody =
            frames.iter().find(|frame| frame.kind == FrameKind::Problem)?.read().ok()?;
        Some(problem.code)
    }

    pub(crate) fn frames(&self) -> Vec<Frame> {
        decode_frames(&self.body).expect("frames of ours")
    }

    /// The refusal: HTTP status and code.
    pub(crate) fn problem(&self) -> (u16, Code) {
        let frames = self.frames();
        assert_eq!((frames.len(), frames[0].kind), (1, FrameKind::Problem));
        let problem: ProblemBody = frames[0].read().expect("a problem");
        (self.status, problem.code)
    }
}

/// Sends one request on a connection of its own.
pub(crate) async fn request(address: SocketAddr, path: &str, token: Option<&str>, body: &[u8]) -> Response {
    let authorization = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\naccept: */*\r\nconnection: close\r\n{authorization}\
         content-type: {MEDIA_TYPE}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    raw(address, head.as_bytes(), body).await
}

/// Sends bytes as they are. A server may answer before it read them all.
pub(crate) async fn raw(address: SocketAddr, head: &[u8], body: &[u8]) -> Response {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    stream.write_all(head).await.expect("sent");
    let (mut receiver, mut sender) = stream.split();
    let mut answer = Vec::new();
    let (_, received) = tokio::join!(sender.write_all(body), receiver.read_to_end(&mut answer));
    assert!(received.is_ok() || !answer.is_empty(), "answered");
    let traffic = head.len() + body.len() + answer.len();
    Response { traffic, ..Response::read(answer).expect("an answer") }
}

/// The head of a request with a token and these further lines.
pub(crate) fn post_head(path: &str, token: &str, lines: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {token}\r\n{lines}\r\n"
    )
}

/// Sends bytes as they are: the answer, if there is one before the server hangs up.
pub(crate) async fn answer_to(address: SocketAddr, bytes: &[u8]) -> Option<Response> {
    exchange(address, bytes, false).await
}

/// Sends bytes as they are and then no more: the answer, if there is one.
pub(crate) async fn answer_to_cut(address: SocketAddr, bytes: &[u8]) -> Option<Response> {
    exchange(address, bytes, true).await
}

async fn exchange(address: SocketAddr, bytes: &[u8], is_cut: bool) -> Option<Response> {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    let (mut receiver, mut sender) = stream.split();
    let mut answer = Vec::new();
    let sending = async {
        // A server that has heard enough may hang up before the end.
        let _ = sender.write_all(bytes).await;
        if is_cut {
            let _ = sender.shutdown().await;
        }
    };
    let _ = tokio::join!(sending, receiver.read_to_end(&mut answer));
    Response::read(answer)
}
