//! First contact: an installation gets its device id, the same one however often it asks.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use haversack_protocol::{DeviceReply, DeviceRequest, FrameKind, encode_frame};

use super::body::{Arrived, Read, common_version};
use super::problem::Problem;
use super::{Service, framed};
use crate::admission::{Answer, Job};

pub(super) async fn register(
    State(service): State<Arc<Service>>,
    arrived: Arrived,
) -> Result<Response, Problem> {
    let Read { bearer, request, room: _room } =
        arrived.read::<DeviceRequest>(&service, FrameKind::DeviceRequest).await?;
    common_version(request.protocol)?;
    let job = Job::Register { installation: request.installation, principal: bearer.principal.clone() };
    let Answer::Registered { device, push_ordinal } = service.writer.run(job).await? else {
        return Err(Problem::internal("the writer answered something else"));
    };
    let reply = DeviceReply { device, principal: bearer.principal, role: bearer.role, push_ordinal };
    let mut frames = Vec::new();
    encode_frame(FrameKind::DeviceReply, &reply, &mut frames)?;
    Ok(framed(frames))
}
