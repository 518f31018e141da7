//! The text exposition format of Prometheus, version 0.0.4.

use std::fmt::Write;

use super::{Counter, Histogram};

/// Media type of the text.
pub(crate) const EXPOSITION_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Lines written so far.
#[derive(Default)]
pub(crate) struct Exposition(String);

impl Exposition {
    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        self.0.write_fmt(line).and_then(|()| self.0.write_char('\n')).expect("writing to a text cannot fail");
    }

    fn head(&mut self, name: &str, help: &str, kind: &str) {
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    pub(super) fn counter(&mut self, name: &str, help: &str, counter: &Counter) {
        self.head(name, help, "counter");
        self.line(format_args!("{name} {}", counter.read()));
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, help, "gauge");
        self.line(format_args!("{name} {value}"));
    }

    /// One counter per set of labels. Label values are words of ours; nothing in them needs escaping.
    pub(super) fn counters(
        &mut self,
        name: &str,
        help: &str,
        counters: impl Iterator<Item = (Vec<(&'static str, String)>, u64)>,
    ) {
        self.head(name, help, "counter");
        for (labels, count) in counters {
            let labels: Vec<_> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
            self.line(format_args!("{name}{{{}}} {count}", labels.join(",")));
        }
    }

    pub(super) fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.head(name, help, "histogram");
        let (bounds, seen) = histogram.read();
        for (bound, count) in bounds.iter().zip(&seen.up_to) {
            self.line(format_args!("{name}_bucket{{le=\"{bound}\"}} {count}"));
        }
        self.line(format_args!("{name}_bucket{{le=\"+Inf\"}} {}", seen.count));
        self.line(format_args!("{name}_sum {}", seen.sum));
        self.line(format_args!("{name}_count {}", seen.count));
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}
