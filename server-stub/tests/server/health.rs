//! What the server says of itself: health, readiness with its reasons, and metrics without a name in them.

use std::collections::BTreeMap;

use haversack_protocol::{Code, Role};
use serde_json::Value as Json;

use crate::support::{Line, Response, TestServer, create, raw, text};

async fn get(address: std::net::SocketAddr, path: &str) -> Response {
    let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    raw(address, head.as_bytes(), b"").await
}

/// Readiness as answered: status, and whether each condition is met.
fn readiness(response: &Response) -> (u16, BTreeMap<String, bool>) {
    let body: Json = serde_json::from_slice(&response.body).expect("JSON");
    let conditions = body["conditions"].as_array().expect("conditions").iter();
    let met = |one: &Json| (one["name"].as_str().expect("a name").to_owned(), one["is_met"] == true);
    let conditions: BTreeMap<_, _> = conditions.map(met).collect();
    assert_eq!(body["ready"], conditions.values().all(|is_met| *is_met));
    (response.status, conditions)
}

#[tokio::test]
async fn a_server_that_runs_is_ready_and_names_every_condition() {
    let server = TestServer::start().await;
    for address in [server.address(), server.running().metrics_address().expect("told")] {
        assert_eq!(get(address, "/healthz").await.body, b"ok");
        let (status, conditions) = readiness(&get(address, "/readyz").await);
        assert_eq!(status, 200);
        let names: Vec<_> = conditions.keys().map(String::as_str).collect();
        assert_eq!(names, ["database", "disk_room", "durability", "running", "writer"]);
    }
}

#[tokio::test]
async fn a_server_whose_database_is_gone_is_not_ready_and_says_why() {
    let server = TestServer::start().await;
    std::fs::rename(server.path("server.db"), server.path("elsewhere.db")).expect("renamed");
    let response = get(server.address(), "/readyz").await;
    let (status, conditions) = readiness(&response);
    assert_eq!((status, conditions["database"], conditions["writer"]), (503, false, true));
    assert!(String::from_utf8_lossy(&response.body).contains("cannot be opened for writing"));
    assert_eq!(get(server.address(), "/healthz").await.status, 200, "the process answers all the same");
}

#[tokio::test]
async fn metrics_are_told_on_their_own_listener_only() {
    let server = TestServer::start().await;
    assert_eq!(get(server.address(), "/metrics").await.status, 404);
    let elsewhere = server.running().metrics_address().expect("told");
    assert_eq!(get(elsewhere, "/v1/t/rotary/sync").await.status, 404);
}

/// Every sample by name and labels. Panics on a line that is not of the format.
fn samples(metrics: &str) -> BTreeMap<String, f64> {
    let mut kinds = BTreeMap::new();
    let mut samples = BTreeMap::new();
    for line in metrics.lines() {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("a name and a kind");
            assert!(["counter", "gauge", "histogram"].contains(&kind));
            assert_eq!(kinds.insert(name, kind), None, "{name} is described once");
        } else if !line.starts_with("# HELP ") {
            let (sample, value) = line.rsplit_once(' ').expect("a sample and a value");
            let (name, labels) = sample.split_once('{').unwrap_or((sample, "}"));
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            let is_described =
                kinds.contains_key(name) || family.is_some_and(|name| kinds.contains_key(name));
            assert!(is_described, "{name} is described before it");
            assert!(labels.ends_with('}') && labels.matches('"').count() % 2 == 0, "{line}");
            let value: f64 = value.parse().expect("a number");
            assert_eq!(samples.insert(sample.to_owned(), value), None, "{sample} is told once");
        }
    }
    samples
}

#[tokio::test]
async fn counters_move_by_what_happened_and_no_label_names_anybody() {
    let server = TestServer::start().await;
    let mut canary = server.phone("canary-principal", Role::Mentor).await;
    let before = samples(&server.metrics().await);
    let (record, good) = create("team", &[("name", text("canary-value"))]);
    let (_, bad) = create("report", &[("body", text("ikke lov"))]);
    let reply = canary.push(server.address(), &[good.clone(), bad.clone()]).await;
    assert_eq!(reply.rejection(bad.id).code, Code::Forbidden);
    let (_line, _) = Line::open(server.address(), &canary).await;
    get(server.address(), "/canary-path").await;
    let text = server.metrics().await;
    let after = samples(&text);
    let moved = |name: &str| after[name] - before.get(name).copied().unwrap_or_default();
    for (name, by) in [
        ("haversack_requests_total{route=\"sync\",status=\"200\"}", 1.0),
        ("haversack_requests_total{route=\"live\",status=\"101\"}", 1.0),
        ("haversack_requests_total{route=\"other\",status=\"404\"}", 1.0),
        ("haversack_pushes_total", 1.0),
        ("haversack_change_sets_total{verdict=\"accepted\"}", 1.0),
        ("haversack_change_sets_total{verdict=\"E_FORBIDDEN\"}", 1.0),
        ("haversack_log_position", 2.0),
        ("haversack_pages_total", 1.0),
        ("haversack_commit_pushes_count", 1.0),
        ("haversack_commit_pushes_bucket{le=\"1\"}", 1.0),
        ("haversack_commit_seconds_count", 1.0),
        ("haversack_records", 1.0),
        ("haversack_devices", 0.0),
        ("haversack_live_connections", 1.0),
        ("haversack_writer_queue_length", 0.0),
        ("process_start_time_seconds", 0.0),
    ] {
        assert_eq!(moved(name), by, "{name}");
    }
    assert!(after["haversack_devices"] == 1.0 && after["process_start_time_seconds"] > 1.6e9);
    assert!(moved("haversack_page_bytes_total") > 0.0);
    assert!(moved("haversack_reply_bytes_total") > moved("haversack_page_bytes_total"));
    let names = [canary.device.to_string(), record.to_string(), good.id.to_string(), bad.id.to_string()];
    for name in names.iter().map(String::as_str).chain(["canary", "rotary", "TEAM-000001"]) {
        assert!(!text.contains(name), "{name} is told");
    }
}
