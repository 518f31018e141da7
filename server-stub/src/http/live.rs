//! Opening a live connection: the same admission as any request, then a place, then the upgrade.

use std::sync::Arc;

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use haversack_protocol::limits::LIVE_MESSAGE_BYTES_MAX;
use haversack_protocol::{Code, DeviceId, LIVE_DEVICE_HEADER, LIVE_PROTOCOL};

use super::problem::Problem;
use super::{Service, off_the_reactor};
use crate::live::Conversation;

/// Bytes of the buffers of one connection; messages are a few dozen.
const BUFFER_BYTES: usize = 1024;

pub(super) async fn live(
    State(service): State<Arc<Service>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let bearer = service.admit(&tenant, &headers)?;
    let malformed = |detail| move || Problem::new(Code::Malformed, detail);
    let upgrade = upgrade.map_err(|_| malformed("no WebSocket is asked for")())?.protocols([LIVE_PROTOCOL]);
    if upgrade.selected_protocol().is_none() {
        return Err(Problem::new(Code::Upgrade, "no live protocol in common"));
    }
    let device: DeviceId = headers
        .get(LIVE_DEVICE_HEADER)
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .ok_or_else(malformed("no device is named"))?;
    let pass = Service::pass(&bearer, &headers);
    off_the_reactor({
        let service = Arc::clone(&service);
        move || service.owns(&bearer.principal, device)
    })
    .await?;
    let place = service.live.take(device);
    let conversation = Conversation {
        place: place.ok_or(Problem::new(Code::Busy, "too many live connections"))?,
        heartbeat: service.live.settings().heartbeat,
        moved: service.writer.head(),
        stopping: service.stopping.clone(),
        metrics: Arc::clone(&service.metrics),
        is_admitted: move || service.is_good(&pass),
    };
    Ok(upgrade
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(BUFFER_BYTES)
        .max_message_size(LIVE_MESSAGE_BYTES_MAX)
        .max_frame_size(LIVE_MESSAGE_BYTES_MAX)
        .on_upgrade(|socket| conversation.hold(socket)))
}
