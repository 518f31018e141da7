//! Request bodies, never read beyond the limit.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use haversack_protocol::limits::BODY_COMPRESSED_BYTES_MAX;
use haversack_protocol::{Code, Frame, FrameKind, decode_only_frame};

use super::problem::Problem;

/// Header and checksum of the one frame a request holds.
const FRAME_ALLOWANCE_BYTES: usize = 64;
const REQUEST_BYTES_MAX: usize = BODY_COMPRESSED_BYTES_MAX + FRAME_ALLOWANCE_BYTES;
/// A megabyte at 35 kbit/s; slower lines send smaller pushes.
const BODY_TIME_MAX: Duration = Duration::from_secs(240);

/// Reads a body, refusing it as soon as it states or shows more bytes than a request may have.
pub(super) async fn read_body(body: Body) -> Result<Vec<u8>, Problem> {
    tokio::time::timeout(BODY_TIME_MAX, read_within_limit(body))
        .await
        .unwrap_or_else(|_| Err(Problem::new(Code::Busy, "the request took too long to arrive")))
}

async fn read_within_limit(mut body: Body) -> Result<Vec<u8>, Problem> {
    let too_large = || Problem::new(Code::Limit, "the request exceeds the size limits");
    let stated = body.size_hint().lower();
    if stated > REQUEST_BYTES_MAX as u64 {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let cut_off = |_| Problem::new(Code::Malformed, "the request was cut off");
        let Ok(part) = frame.map_err(cut_off)?.into_data() else { continue };
        if bytes.len() + part.len() > REQUEST_BYTES_MAX {
            return Err(too_large());
        }
        bytes.extend_from_slice(&part);
    }
    Ok(bytes)
}

/// Reads the one frame a request holds; nothing is decompressed when there is more than one.
pub(super) fn only_frame(bytes: &[u8], kind: FrameKind) -> Result<Frame, Problem> {
    let frame = decode_only_frame(bytes)?;
    if frame.kind == kind {
        Ok(frame)
    } else {
        Err(Problem::new(Code::Malformed, "the message is not the one expected here"))
    }
}
