//! The one round trip over HTTP: each part of it where it holds up no other request.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use haversack_protocol::FrameKind;

use super::body::{Arrived, Read};
use super::problem::Problem;
use super::{Service, framed_as, now, off_the_reactor};

pub(super) async fn sync(State(service): State<Arc<Service>>, arrived: Arrived) -> Result<Response, Problem> {
    let Read { bearer, request, room } = arrived.read(&service, FrameKind::SyncRequest).await?;
    let mut opened = off_the_reactor({
        let service = Arc::clone(&service);
        move || service.ground().open(bearer, request, now())
    })
    .await?;
    if let Some(receipt) = opened.receipt.take() {
        service.writer.run(receipt).await?;
    }
    let answer = match opened.job.take() {
        Some(job) => Some(service.writer.run(job).await?),
        None => None,
    };
    let hints = service.ground().hints(answer)?;
    drop(room);
    let room = service.rooms.leaving().await?;
    let frames = off_the_reactor(move || service.ground().reply(opened, &hints)).await?;
    Ok(framed_as(room.body(frames)))
}
