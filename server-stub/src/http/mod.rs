//! The server's face: routes, and what every request shares.
//!
//! Holds no decision about change sets; a handler reads a frame, asks, and frames the answer.

mod auth;
mod body;
mod device;
mod health;
mod line;
mod live;
mod measure;
mod problem;
mod room;
mod round_trip;
mod sync;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use haversack_protocol::{Code, DeviceId, MEDIA_TYPE, PrincipalId, UnixMillis};
use tokio::sync::watch;

pub(crate) use auth::Tokens;
pub use auth::{Bearer, issue_token};
pub(crate) use health::Health;
pub(crate) use line::Door;
pub(crate) use measure::metrics_router;
pub(crate) use problem::Problem;
pub(crate) use room::Rooms;
pub(crate) use round_trip::{Ground, only_frame, registered, registration};

use crate::admission::{Law, WriterHandle};
use crate::live::Places;
use crate::metrics::Metrics;
use crate::store::{Readers, StoreRefusal};

/// What every handler works with.
pub(crate) struct Service {
    pub(crate) law: Arc<Law>,
    pub(crate) tokens: Tokens,
    pub(crate) readers: Readers,
    pub(crate) writer: WriterHandle,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) live: Arc<Places>,
    pub(crate) health: Health,
    /// Becomes true, or loses its sender, when the server shuts down.
    pub(crate) stopping: watch::Receiver<bool>,
    pub(crate) rooms: Rooms,
}

impl Service {
    fn ground(&self) -> Ground<'_> {
        Ground { law: &self.law, readers: &self.readers, metrics: &self.metrics }
    }

    /// Refuses a device that is not this principal's.
    fn owns(&self, principal: &PrincipalId, device: DeviceId) -> Result<(), Problem> {
        let owner = self.readers.read(|reader| reader.principal_of(device).map_err(Problem::from))?;
        if owner.as_ref() == Some(principal) {
            Ok(())
        } else {
            Err(Problem::new(Code::DeviceRevoked, "the device is not one of this principal"))
        }
    }
}

pub(crate) fn router(service: Arc<Service>) -> Router {
    Router::new()
        .route("/v1/t/{tenant}/device", post(device::register))
        .route("/v1/t/{tenant}/sync", post(sync::sync))
        .route("/v1/t/{tenant}/live", get(live::live))
        .route("/healthz", get(health::healthy))
        .route("/readyz", get(health::ready))
        .fallback(|| async {
            Problem::new(Code::Malformed, "no such path").with_status(StatusCode::NOT_FOUND)
        })
        .method_not_allowed_fallback(|| async {
            Problem::new(Code::Malformed, "no such method here").with_status(StatusCode::METHOD_NOT_ALLOWED)
        })
        .layer(from_fn_with_state(Arc::clone(&service), measure::count))
        .with_state(service)
}

/// Runs work that blocks or takes long where it holds up no other request.
async fn off_the_reactor<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(Problem::internal("handling it panicked")))
}

fn framed(frames: Vec<u8>) -> Response {
    framed_as(Body::from(frames))
}

fn framed_as(body: Body) -> Response {
    ([(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE))], body).into_response()
}

/// The server's clock.
pub(crate) fn now() -> UnixMillis {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

impl From<StoreRefusal> for Problem {
    fn from(refusal: StoreRefusal) -> Self {
        Self::internal(&refusal.to_string())
    }
}
