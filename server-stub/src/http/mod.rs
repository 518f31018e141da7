//! The server's face: routes, and what every request shares.
//!
//! Holds no decision about change sets; a handler reads a frame, asks, and frames the answer.

mod auth;
mod body;
mod device;
mod line;
mod problem;
mod room;
mod sync;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use haversack_protocol::{Code, MEDIA_TYPE, UnixMillis};

pub(crate) use auth::Tokens;
pub use auth::issue_token;
pub(crate) use line::Door;
pub(crate) use room::Rooms;

use crate::admission::{Law, WriterHandle};
use crate::store::{Readers, StoreRefusal};
use problem::Problem;

/// What every handler works with.
pub(crate) struct Service {
    pub(crate) law: Arc<Law>,
    pub(crate) tokens: Tokens,
    pub(crate) readers: Readers,
    pub(crate) writer: WriterHandle,
    pub(crate) rooms: Rooms,
}

pub(crate) fn router(service: Arc<Service>) -> Router {
    Router::new()
        .route("/v1/t/{tenant}/device", post(device::register))
        .route("/v1/t/{tenant}/sync", post(sync::sync))
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .fallback(|| async {
            Problem::new(Code::Malformed, "no such path").with_status(StatusCode::NOT_FOUND)
        })
        .method_not_allowed_fallback(|| async {
            Problem::new(Code::Malformed, "no such method here").with_status(StatusCode::METHOD_NOT_ALLOWED)
        })
        .with_state(service)
}

/// Ready when the log can be read. Durability was checked when the database was opened.
async fn ready(State(service): State<Arc<Service>>) -> Response {
    let head =
        off_the_reactor(move || service.readers.read(|reader| reader.head().map_err(Problem::from))).await;
    match head {
        Ok(head) => (
            [(CONTENT_TYPE, HeaderValue::from_static("application/json"))],
            format!("{{\"ready\":true,\"durability\":\"fsync\",\"head\":{head}}}"),
        )
            .into_response(),
        Err(problem) => problem.into_response(),
    }
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
fn now() -> UnixMillis {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

impl From<StoreRefusal> for Problem {
    fn from(refusal: StoreRefusal) -> Self {
        Self::internal(&refusal.to_string())
    }
}
