//! What every request with a body opens with: a known sender, bytes within the limit, one frame, a common version.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

use axum::RequestExt;
use axum::body::{Body, HttpBody};
use axum::extract::{FromRequest, Path, Request};
use haversack_protocol::limits::BODY_COMPRESSED_BYTES_MAX;
use haversack_protocol::{Code, FrameKind, PackedFrame};

use super::auth::Bearer;
use super::problem::Problem;
use super::room::{Growing, Held};
use super::round_trip::only_frame;
use super::{Service, off_the_reactor};

/// Header and checksum of the one frame a request holds.
const FRAME_ALLOWANCE_BYTES: usize = 64;
const REQUEST_BYTES_MAX: usize = BODY_COMPRESSED_BYTES_MAX + FRAME_ALLOWANCE_BYTES;

/// A request of a known sender, arrived whole; nothing in it was read.
pub(super) struct Arrived {
    bearer: Bearer,
    bytes: Vec<u8>,
    room: Growing,
}

/// A request read, with the room it takes.
pub(super) struct Read<T> {
    pub(super) bearer: Bearer,
    pub(super) request: T,
    pub(super) room: Held,
}

impl FromRequest<Arc<Service>> for Arrived {
    type Rejection = Problem;

    async fn from_request(mut request: Request, service: &Arc<Service>) -> Result<Self, Problem> {
        let Path(tenant) = request
            .extract_parts::<Path<String>>()
            .await
            .map_err(|_| Problem::new(Code::Malformed, "no such path"))?;
        let bearer = service.admit(&tenant, request.headers())?;
        let mut room = service.rooms.arriving();
        let bytes = read_within_limit(request.into_body(), &mut room).await?;
        Ok(Self { bearer, bytes, room })
    }
}

impl Arrived {
    /// Reads the one frame the request holds, once there is room for it; nothing is decompressed when there is more than
    /// one, or one of another kind.
    pub(super) async fn read<T>(self, service: &Service, kind: FrameKind) -> Result<Read<T>, Problem>
    where
        T: for<'b> minicbor::Decode<'b, ()> + Send + 'static,
    {
        let Self { bearer, bytes, room: arriving } = self;
        let raw_bytes = only_frame(&bytes, kind)?.raw_bytes();
        let room = service.rooms.unpacked(raw_bytes).await?;
        let reading = move || {
            let frame = PackedFrame::only(&bytes)?.unpack()?;
            drop((bytes, arriving));
            Ok(frame.read()?)
        };
        let request = off_the_reactor(reading).await?;
        Ok(Read { bearer, request, room })
    }
}

/// Reads a body, refusing it as soon as it states or shows more bytes than a request may have.
async fn read_within_limit(mut body: Body, room: &mut Growing) -> Result<Vec<u8>, Problem> {
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
        room.grow(part.len())?;
        bytes.extend_from_slice(&part);
    }
    Ok(bytes)
}
