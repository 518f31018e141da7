//! First contact: an installation gets its device id, the same one however often it asks.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use haversack_protocol::{DeviceRequest, FrameKind};

use super::body::{Arrived, Read};
use super::problem::Problem;
use super::round_trip::{registered, registration};
use super::{Service, framed};

pub(super) async fn register(
    State(service): State<Arc<Service>>,
    arrived: Arrived,
) -> Result<Response, Problem> {
    let Read { bearer, request, room: _room } =
        arrived.read::<DeviceRequest>(&service, FrameKind::DeviceRequest).await?;
    let answer = service.writer.run(registration(&bearer, &request)?).await?;
    Ok(framed(registered(bearer, &answer)?))
}
