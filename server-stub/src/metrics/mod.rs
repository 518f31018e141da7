//! What is counted while the server runs, and its text for Prometheus.
//!
//! Labels are routes, statuses, codes and reasons, all known beforehand. Never a principal, a device or a record.

mod count;
mod text;

pub(crate) use count::{Counter, Family, Histogram};
pub(crate) use text::EXPOSITION_TYPE;
use text::Exposition;

use haversack_protocol::{HintBody, UnixMillis};

use crate::store::{Committed, Verdict};

/// Upper bounds of the pushes in one commit.
const PUSHES_PER_COMMIT: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];
/// Upper bounds of the seconds one commit takes.
const SECONDS_PER_COMMIT: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// What is counted.
pub(crate) struct Metrics {
    started_at: UnixMillis,
    /// Answers by route and status.
    pub(crate) requests: Family<(&'static str, u16)>,
    pub(crate) pushes: Counter,
    /// Change sets by what became of them.
    pub(crate) change_sets: Family<&'static str>,
    pub(crate) pages: Counter,
    pub(crate) page_bytes: Counter,
    pub(crate) reply_bytes: Counter,
    pub(crate) commit_pushes: Histogram,
    pub(crate) commit_seconds: Histogram,
    pub(crate) live_pokes: Counter,
    /// Live connections that ended, by reason.
    pub(crate) live_closed: Family<&'static str>,
}

/// What is measured at the moment somebody asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gauges {
    pub(crate) log_position: u64,
    pub(crate) records: u64,
    pub(crate) devices: u64,
    pub(crate) queued: usize,
    pub(crate) live_connections: usize,
}

impl Metrics {
    pub(crate) fn new(started_at: UnixMillis) -> Self {
        Self {
            started_at,
            requests: Family::default(),
            pushes: Counter::default(),
            change_sets: Family::default(),
            pages: Counter::default(),
            page_bytes: Counter::default(),
            reply_bytes: Counter::default(),
            commit_pushes: Histogram::new(PUSHES_PER_COMMIT),
            commit_seconds: Histogram::new(SECONDS_PER_COMMIT),
            live_pokes: Counter::default(),
            live_closed: Family::default(),
        }
    }

    /// Counts a group that was committed.
    pub(crate) fn committed(&self, jobs: usize, seconds: f64, committed: &Committed) {
        self.commit_pushes.observe(f64::from(u32::try_from(jobs).unwrap_or(u32::MAX)));
        self.commit_seconds.observe(seconds);
        for row in &committed.rows {
            match row.verdict {
                Some(Verdict::Accepted) => self.change_sets.count("accepted"),
                Some(Verdict::Rejected(code)) => self.change_sets.count(code.as_str()),
                None => {}
            }
        }
    }

    /// Counts a push and the answers that are no verdicts.
    pub(crate) fn pushed(&self, answers: &HintBody) {
        self.pushes.add(1);
        for hint in &answers.hints {
            self.change_sets.count(hint.code.as_str());
        }
    }

    /// Everything, in the text format of Prometheus.
    pub(crate) fn expose(&self, gauges: Gauges) -> String {
        let mut text = Exposition::default();
        text.counters(
            "haversack_requests_total",
            "Requests answered, by route and status.",
            self.requests.read().into_iter().map(|((route, status), count)| {
                (vec![("route", route.to_owned()), ("status", status.to_string())], count)
            }),
        );
        text.counter("haversack_pushes_total", "Requests that carried change sets.", &self.pushes);
        text.counters(
            "haversack_change_sets_total",
            "Change sets decided or answered with a hint, by accepted or code.",
            labelled("verdict", &self.change_sets),
        );
        text.gauge("haversack_log_position", "Last position of the log.", gauges.log_position);
        text.counter("haversack_pages_total", "Pages served.", &self.pages);
        text.counter("haversack_page_bytes_total", "Bytes of pages served.", &self.page_bytes);
        text.counter(
            "haversack_reply_bytes_total",
            "Bytes of sync replies, pages included.",
            &self.reply_bytes,
        );
        text.gauge("haversack_writer_queue_length", "Pushes waiting for the writer.", gauges.queued as u64);
        text.histogram("haversack_commit_pushes", "Pushes in one commit.", &self.commit_pushes);
        text.histogram(
            "haversack_commit_seconds",
            "Seconds from taking a group to its commit.",
            &self.commit_seconds,
        );
        text.gauge("haversack_records", "Records stored, deleted ones included.", gauges.records);
        text.gauge("haversack_devices", "Devices registered.", gauges.devices);
        text.gauge("haversack_live_connections", "Live connections open.", gauges.live_connections as u64);
        text.counter("haversack_live_pokes_total", "Pokes sent.", &self.live_pokes);
        text.counters(
            "haversack_live_closed_total",
            "Live connections that ended, by reason.",
            labelled("reason", &self.live_closed),
        );
        text.gauge(
            "process_start_time_seconds",
            "When the server started, in seconds since 1970.",
            u64::try_from(self.started_at.0 / 1000).unwrap_or_default(),
        );
        text.finish()
    }
}

fn labelled(
    label: &'static str,
    family: &Family<&'static str>,
) -> impl Iterator<Item = (Vec<(&'static str, String)>, u64)> {
    family.read().into_iter().map(move |(value, count)| (vec![(label, value.to_owned())], count))
}
