//! What every request with a body opens with: a known sender, bytes within the limit, one frame, a common version.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use std::sync::Arc;

use axum::RequestExt;
use axum::body::{Body, HttpBody};
use axum::extract::{FromRequest, Path, Request};
use haversack_protocol::limits::BODY_COMPRESSED_BYTES_MAX;
use haversack_protocol::{Code, Frame, FrameKind, ProtocolRange, decode_only_frame};

use super::Service;
use super::auth::Bearer;
use super::problem::Problem;

/// Header and checksum of the one frame a request holds.
const FRAME_ALLOWANCE_BYTES: usize = 64;
const REQUEST_BYTES_MAX: usize = BODY_COMPRESSED_BYTES_MAX + FRAME_ALLOWANCE_BYTES;
/// A megabyte at 35 kbit/s; slower lines send smaller pushes.
const BODY_TIME_MAX: Duration = Duration::from_secs(240);

/// A request of a known sender, arrived whole; nothing in it was read.
pub(super) struct Arrived {
    pub(super) bearer: Bearer,
    bytes: Vec<u8>,
}

impl FromRequest<Arc<Service>> for Arrived {
    type Rejection = Problem;

    async fn from_request(mut request: Request, service: &Arc<Service>) -> Result<Self, Problem> {
        let Path(tenant) = request
            .extract_parts::<Path<String>>()
            .await
            .map_err(|_| Problem::new(Code::Malformed, "no such path"))?;
        let bearer = service.admit(&tenant, request.headers())?;
        let bytes = read_body(request.into_body()).await?;
        Ok(Self { bearer, bytes })
    }
}

impl Arrived {
    /// The one frame the request holds; nothing is decompressed when there is more than one.
    pub(super) fn only_frame(&self, kind: FrameKind) -> Result<Frame, Problem> {
        let frame = decode_only_frame(&self.bytes)?;
        if frame.kind == kind {
            Ok(frame)
        } else {
            Err(Problem::new(Code::Malformed, "the message is not the one expected here"))
        }
    }
}

/// The protocol version both sides speak.
pub(super) fn common_version(theirs: ProtocolRange) -> Result<u16, Problem> {
    let common = theirs.highest_common(ProtocolRange::OURS);
    common.ok_or(Problem::new(Code::Upgrade, "no protocol version in common"))
}

/// Reads a body, refusing it as soon as it states or shows more bytes than a request may have.
async fn read_body(body: Body) -> Result<Vec<u8>, Problem> {
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
