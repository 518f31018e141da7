//! First contact: an installation gets its device id, the same one however often it asks.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use haversack_protocol::{Code, DeviceReply, DeviceRequest, FrameKind, ProtocolRange, encode_frame};

use super::body::{only_frame, read_body};
use super::problem::Problem;
use super::{Service, framed};
use crate::admission::{Answer, Job};

pub(super) async fn register(
    State(service): State<Arc<Service>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let bearer = service.admit(&tenant, &headers)?;
    let bytes = read_body(body).await?;
    let request: DeviceRequest = only_frame(&bytes, FrameKind::DeviceRequest)?.read()?;
    if request.protocol.highest_common(ProtocolRange::OURS).is_none() {
        return Err(Problem::new(Code::Upgrade, "no protocol version in common"));
    }
    let job = Job::Register { installation: request.installation, principal: bearer.principal.clone() };
    let Answer::Registered { device, push_ordinal } = service.writer.run(job).await? else {
        return Err(Problem::internal("the writer answered something else"));
    };
    let reply = DeviceReply { device, principal: bearer.principal, role: bearer.role, push_ordinal };
    let mut frames = Vec::new();
    encode_frame(FrameKind::DeviceReply, &reply, &mut frames)?;
    Ok(framed(frames))
}
