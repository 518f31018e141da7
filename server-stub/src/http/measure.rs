//! Counting requests, and the listener on which the counts are read.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::problem::Problem;
use super::{Service, health, off_the_reactor};
use crate::metrics::{EXPOSITION_TYPE, Gauges};

/// Metrics, health and readiness, apart from what devices reach.
pub(crate) fn metrics_router(service: Arc<Service>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(health::healthy))
        .route("/readyz", get(health::ready))
        .with_state(service)
}

/// Counts an answer by route and status. The route is one of a few words, whatever the path says.
pub(super) async fn count(State(service): State<Arc<Service>>, request: Request, next: Next) -> Response {
    let route = route(request.uri().path());
    let response = next.run(request).await;
    service.metrics.requests.count((route, response.status().as_u16()));
    response
}

fn route(path: &str) -> &'static str {
    let segments: Vec<&str> = path.trim_start_matches('/').splitn(5, '/').collect();
    match segments[..] {
        ["v1", "t", _, "sync"] => "sync",
        ["v1", "t", _, "device"] => "device",
        ["v1", "t", _, "live"] => "live",
        ["healthz"] => "healthz",
        ["readyz"] => "readyz",
        _ => "other",
    }
}

async fn metrics(State(service): State<Arc<Service>>) -> Result<Response, Problem> {
    let text = off_the_reactor(move || {
        let (log_position, (records, devices)) =
            service.readers.read(|reader| Ok::<_, Problem>((reader.head()?, reader.sizes()?)))?;
        Ok(service.metrics.expose(Gauges {
            log_position,
            records,
            devices,
            queued: service.writer.queued(),
            live_connections: service.live.taken(),
        }))
    })
    .await?;
    Ok(([(CONTENT_TYPE, HeaderValue::from_static(EXPOSITION_TYPE))], text).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_one_of_a_few_words_whatever_the_path_says() {
        for (path, expected) in [
            ("/v1/t/north/sync", "sync"),
            ("/v1/t/secret-name/device", "device"),
            ("/v1/t/north/live", "live"),
            ("/readyz", "readyz"),
            ("/v1/t/north/sync/secret", "other"),
            ("/secret\"}\n", "other"),
            ("", "other"),
        ] {
            assert_eq!(route(path), expected, "{path}");
        }
    }
}
