//! The server over real HTTP on the loopback interface: what it accepts, refuses, remembers and survives.

mod archive;
#[cfg(unix)]
mod binary;
mod crafting;
mod erasing;
mod forging;
mod health;
mod hostile;
mod live;
mod references;
mod remembering;
mod restricting;
mod support;
mod transport;
mod verdicts;
#[cfg(target_os = "linux")]
mod wire;
