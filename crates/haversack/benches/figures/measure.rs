//! Clocks that tell this program's work from what else the machine does.

use std::fs;
use std::io;
use std::time::{Duration, Instant};

/// What a piece of work took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
}

impl Taken {
    pub(crate) fn per(self, count: usize) -> Self {
        let count = u32::try_from(count).unwrap_or(u32::MAX).max(1);
        Self { wall: self.wall / count, cpu: self.cpu / count }
    }
}

/// Runs work on this thread and tells its processor time apart from its waiting.
pub(crate) fn on_this_thread<T>(work: impl FnOnce() -> io::Result<T>) -> io::Result<(T, Taken)> {
    let cpu = this_thread()?;
    let begun = Instant::now();
    let value = work()?;
    let wall = begun.elapsed();
    Ok((value, Taken { wall, cpu: this_thread()?.saturating_sub(cpu) }))
}

/// Processor time of this thread. Giving way first makes the kernel bring its count up to date.
fn this_thread() -> io::Result<Duration> {
    std::thread::yield_now();
    running_time("/proc/thread-self/schedstat")
}

/// Processor time of every thread of this process whose name begins so.
pub(crate) fn of_threads(prefix: &str) -> io::Result<Duration> {
    let mut sum = Duration::ZERO;
    for task in fs::read_dir("/proc/self/task")? {
        let path = task?.path();
        // A thread that ended meanwhile has no name any more.
        let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
        if name.starts_with(prefix) {
            sum += running_time(path.join("schedstat")).unwrap_or_default();
        }
    }
    Ok(sum)
}

fn running_time(path: impl AsRef<std::path::Path>) -> io::Result<Duration> {
    let text = fs::read_to_string(path)?;
    let nanoseconds = text.split(' ').next().and_then(|number| number.parse().ok());
    Ok(Duration::from_nanos(nanoseconds.ok_or(io::ErrorKind::InvalidData)?))
}

/// The middle of several measurements.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 0 => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}

pub(crate) fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
