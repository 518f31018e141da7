//! Stories over a real store file and a small server that admits with core.

mod foresight;
mod history;
mod law;
mod list;
mod parking;
mod search;
mod server;
mod stories;
mod tail;
mod verdicts;
mod world;
