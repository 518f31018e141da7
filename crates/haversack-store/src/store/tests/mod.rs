//! Stories over a real store file and a small server that admits with core.

mod backup;
mod damage;
mod foresight;
mod full_disk;
mod history;
mod law;
mod list;
mod parking;
mod salvage;
mod search;
mod server;
mod stories;
mod tail;
mod verdicts;
mod world;
