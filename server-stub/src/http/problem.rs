//! Refusals of whole requests: one frame with a stable code, and the HTTP status that goes with it.

use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use haversack_protocol::{Code, FrameKind, FrameRefusal, ProblemBody, encode_frame};

use crate::admission::WriterRefusal;
use crate::log::{CursorRefusal, ReadRefusal};

/// Seconds a client waits when the queue is full; its own jitter spreads the fleet.
const BUSY_RETRY_AFTER_S: u16 = 2;

/// Why a request was refused. Nothing was decided about any change set.
#[derive(Debug)]
pub(crate) struct Problem {
    code: Code,
    detail: &'static str,
    status: StatusCode,
}

const fn status_of(code: Code) -> StatusCode {
    match code {
        Code::TokenExpired => StatusCode::UNAUTHORIZED,
        Code::Tenant | Code::DeviceRevoked => StatusCode::FORBIDDEN,
        Code::CursorReset => StatusCode::CONFLICT,
        Code::Limit => StatusCode::PAYLOAD_TOO_LARGE,
        Code::Upgrade => StatusCode::UPGRADE_REQUIRED,
        Code::Malformed => StatusCode::BAD_REQUEST,
        Code::Busy => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl Problem {
    pub(super) const fn new(code: Code, detail: &'static str) -> Self {
        Self { code, detail, status: status_of(code) }
    }

    /// A failure of ours: told to the operator, not to the device.
    pub(super) fn internal(cause: &str) -> Self {
        tracing::error!(cause, "a request failed");
        Self::new(Code::Internal, "the server failed; nothing was decided")
    }

    pub(super) const fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// The status that goes with it.
    pub(crate) const fn status(&self) -> StatusCode {
        self.status
    }

    /// Seconds the client is asked to wait.
    pub(crate) fn retry_after_s(&self) -> Option<u16> {
        (self.code == Code::Busy).then_some(BUSY_RETRY_AFTER_S)
    }

    /// Its one frame.
    pub(crate) fn frame(&self) -> Vec<u8> {
        let body = ProblemBody { code: self.code, detail: self.detail.to_owned() };
        let mut frame = Vec::new();
        encode_frame(FrameKind::Problem, &body, &mut frame).expect("a problem is one sentence");
        frame
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = super::framed(self.frame());
        *response.status_mut() = self.status;
        if let Some(seconds) = self.retry_after_s() {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<FrameRefusal> for Problem {
    fn from(refusal: FrameRefusal) -> Self {
        match refusal {
            FrameRefusal::TooLarge => Self::new(Code::Limit, "the message exceeds the size limits"),
            FrameRefusal::UnknownKind(_) => Self::new(Code::Upgrade, "the message needs a newer server"),
            _ => Self::new(Code::Malformed, "the message is no frame of ours"),
        }
    }
}

impl From<CursorRefusal> for Problem {
    fn from(refusal: CursorRefusal) -> Self {
        match refusal {
            CursorRefusal::Foreign => Self::new(Code::CursorReset, "the cursor is not of this log"),
            CursorRefusal::Store(refusal) => refusal.into(),
        }
    }
}

impl From<ReadRefusal> for Problem {
    fn from(refusal: ReadRefusal) -> Self {
        Self::internal(&refusal.to_string())
    }
}

impl From<WriterRefusal> for Problem {
    fn from(refusal: WriterRefusal) -> Self {
        match refusal {
            WriterRefusal::Busy => Self::new(Code::Busy, "too many pushes are waiting"),
            WriterRefusal::Failed => Self::new(Code::Internal, "the server failed; nothing was decided"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_asks_for_patience_and_says_how_long() {
        let response = Problem::from(WriterRefusal::Busy).into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[RETRY_AFTER], "2");
    }
}
