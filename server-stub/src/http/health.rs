//! Health and readiness: whether the process answers, and whether it could take work now. Nothing personal is told.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::problem::Problem;
use super::{Service, off_the_reactor};
use crate::admission::QUEUED_PUSHES_MAX;
use crate::store::{Probe, StoreRefusal, probe};

/// Room on the disk below which the server is not ready: what a day of a busy tenant takes, and SQLite's own log.
const DISK_ROOM_BYTES_MIN: u64 = 256 * 1024 * 1024;
/// How long a look at the database serves those who ask; nobody can make the server look more often.
const PROBE_KEPT: Duration = Duration::from_secs(1);

/// The database as readiness looks at it.
pub(crate) struct Health {
    database: PathBuf,
    kept: Mutex<Option<(Instant, Probed)>>,
}

type Probed = Result<Probe, &'static str>;

impl Health {
    pub(crate) fn of(database: PathBuf) -> Self {
        Self { database, kept: Mutex::default() }
    }

    fn probe(&self) -> Probed {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, probed)) = &*kept
            && at.elapsed() < PROBE_KEPT
        {
            return probed.clone();
        }
        let probed = probe(&self.database).map_err(|refusal| {
            tracing::error!(%refusal, "the database is not ready");
            match refusal {
                StoreRefusal::Sqlite(_) => "cannot be opened for writing",
                _ => "is damaged",
            }
        });
        *kept = Some((Instant::now(), probed.clone()));
        probed
    }
}

/// What readiness depends on.
struct Circumstances {
    is_stopping: bool,
    is_writer_alive: bool,
    queued: usize,
    probed: Probed,
}

/// One condition and how it stands.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Condition {
    name: &'static str,
    is_met: bool,
    reason: String,
}

/// The answer to whoever asks.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Readiness {
    ready: bool,
    conditions: Vec<Condition>,
}

fn judge(circumstances: &Circumstances) -> Readiness {
    let Circumstances { is_stopping, is_writer_alive, queued, probed } = circumstances;
    let condition = |name, is_met, reason: String| Condition { name, is_met, reason };
    let journal = probed.as_ref().map(|probe| probe.journal.as_str());
    let room = probed.as_ref().ok().and_then(|probe| probe.disk_room_bytes);
    let conditions = vec![
        condition("running", !is_stopping, if *is_stopping { "shutting down" } else { "running" }.to_owned()),
        condition(
            "database",
            probed.is_ok(),
            journal.map_or_else(ToString::to_string, |_| "writable".to_owned()),
        ),
        condition(
            "durability",
            journal.is_ok_and(|journal| journal.eq_ignore_ascii_case("wal")),
            journal.map_or_else(ToString::to_string, |journal| {
                format!("configured: {journal} with full synchronisation, answers after the commit")
            }),
        ),
        condition(
            "writer",
            *is_writer_alive && *queued < QUEUED_PUSHES_MAX,
            if *is_writer_alive {
                format!("alive, {queued} of {QUEUED_PUSHES_MAX} pushes waiting")
            } else {
                "ended".to_owned()
            },
        ),
        condition(
            "disk_room",
            room.is_none_or(|bytes| bytes >= DISK_ROOM_BYTES_MIN),
            room.map_or_else(
                || "not known".to_owned(),
                |bytes| format!("{bytes} bytes left, {DISK_ROOM_BYTES_MIN} demanded"),
            ),
        ),
    ];
    Readiness { ready: conditions.iter().all(|condition| condition.is_met), conditions }
}

/// The process answers; nothing more.
pub(super) async fn healthy() -> &'static str {
    "ok"
}

/// Says of each condition how it stands; 503 when one is not met.
pub(super) async fn ready(State(service): State<Arc<Service>>) -> Result<Response, Problem> {
    let readiness = off_the_reactor(move || {
        Ok(judge(&Circumstances {
            is_stopping: *service.stopping.borrow(),
            is_writer_alive: service.writer.is_alive(),
            queued: service.writer.queued(),
            probed: service.health.probe(),
        }))
    })
    .await?;
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = serde_json::to_string(&readiness).expect("readiness is plain JSON");
    Ok((status, [(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn well() -> Circumstances {
        let probe = Probe { journal: "wal".to_owned(), disk_room_bytes: Some(DISK_ROOM_BYTES_MIN) };
        Circumstances { is_stopping: false, is_writer_alive: true, queued: 0, probed: Ok(probe) }
    }

    fn unmet(circumstances: &Circumstances) -> Vec<&'static str> {
        let readiness = judge(circumstances);
        let unmet: Vec<_> =
            readiness.conditions.iter().filter(|one| !one.is_met).map(|one| one.name).collect();
        assert_eq!(readiness.ready, unmet.is_empty());
        unmet
    }

    #[test]
    fn each_condition_that_is_not_met_makes_the_server_not_ready_and_is_named() {
        let probed =
            |journal: &str, disk_room_bytes| Ok(Probe { journal: journal.to_owned(), disk_room_bytes });
        assert_eq!(unmet(&well()), [""; 0]);
        assert_eq!(unmet(&Circumstances { is_stopping: true, ..well() }), ["running"]);
        assert_eq!(unmet(&Circumstances { is_writer_alive: false, ..well() }), ["writer"]);
        assert_eq!(unmet(&Circumstances { queued: QUEUED_PUSHES_MAX, ..well() }), ["writer"]);
        assert_eq!(unmet(&Circumstances { probed: Err("is damaged"), ..well() }), ["database", "durability"]);
        assert_eq!(unmet(&Circumstances { probed: probed("delete", None), ..well() }), ["durability"]);
        let little = probed("wal", Some(DISK_ROOM_BYTES_MIN - 1));
        assert_eq!(unmet(&Circumstances { probed: little, ..well() }), ["disk_room"]);
    }
}
