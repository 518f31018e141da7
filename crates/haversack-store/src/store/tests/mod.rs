//! Stories over a real store file and a small server that admits with core.

mod law;
mod list;
mod server;
mod stories;
mod tail;
mod verdicts;
mod world;
