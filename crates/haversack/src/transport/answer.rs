//! What a server's answer says, whoever brought it here.

use std::time::Duration;

use haversack_protocol::{
    Code, DeviceReply, EndBody, Frame, FrameKind, HelloBody, HintBody, PageBody, ProblemBody, decode_frames,
};

use super::http::TransportError;

const OK: std::ops::Range<u16> = 200..300;
const UNAUTHORIZED: u16 = 401;
const TOO_MANY_REQUESTS: u16 = 429;
const SERVICE_UNAVAILABLE: u16 = 503;

/// Reads the frames of an answer.
///
/// # Errors
/// [`TransportError::Refused`] when the server or a gateway refused; another when it is no whole answer of ours.
pub fn read_answer(
    status: u16,
    retry_after: Option<Duration>,
    body: &[u8],
) -> Result<Vec<Frame>, TransportError> {
    let frames = match (decode_frames(body), gateway_code(status)) {
        // A gateway in front of the server answers without frames; what it says of time and token still counts.
        (Err(_), Some(code)) => return Err(TransportError::Refused { code, retry_after }),
        (frames, _) => frames?,
    };
    if let Some(problem) = frames.iter().find(|frame| frame.kind == FrameKind::Problem) {
        let problem: ProblemBody = problem.read()?;
        return Err(TransportError::Refused { code: problem.code, retry_after });
    }
    // A reply of ours always says in its own frames whether it succeeded.
    if OK.contains(&status) { Ok(frames) } else { Err(TransportError::Incomplete) }
}

/// What a status means that came without frames of ours.
fn gateway_code(status: u16) -> Option<Code> {
    match status {
        UNAUTHORIZED => Some(Code::TokenExpired),
        TOO_MANY_REQUESTS | SERVICE_UNAVAILABLE => Some(Code::Busy),
        _ => None,
    }
}

/// Reads the answer to a first contact.
///
/// # Errors
/// [`TransportError::Incomplete`] when there is none in it.
pub fn read_registration(frames: &[Frame]) -> Result<DeviceReply, TransportError> {
    let reply = frames.iter().find(|frame| frame.kind == FrameKind::DeviceReply);
    Ok(reply.ok_or(TransportError::Incomplete)?.read()?)
}

/// A whole sync reply.
#[derive(Clone, Debug)]
pub struct Reply {
    /// First frame.
    pub hello: HelloBody,
    /// Pages of the log.
    pub pages: Vec<PageBody>,
    /// What became of the push.
    pub hints: HintBody,
    /// Last frame.
    pub end: EndBody,
}

impl Reply {
    /// Reads a sync reply.
    ///
    /// # Errors
    /// [`TransportError::Incomplete`] when it lacks its beginning or end, or holds anything else.
    pub fn read(frames: &[Frame]) -> Result<Self, TransportError> {
        let [first, middle @ .., last] = frames else { return Err(TransportError::Incomplete) };
        if first.kind != FrameKind::Hello || last.kind != FrameKind::End {
            return Err(TransportError::Incomplete);
        }
        let mut reply =
            Self { hello: first.read()?, pages: vec![], hints: HintBody::default(), end: last.read()? };
        for frame in middle {
            match frame.kind {
                FrameKind::Page => reply.pages.push(frame.read()?),
                FrameKind::Hints => reply.hints = frame.read()?,
                _ => return Err(TransportError::Incomplete),
            }
        }
        Ok(reply)
    }
}
