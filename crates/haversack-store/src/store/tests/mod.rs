//! Stories over a real store file and a small server that admits with core.

mod backup;
mod damage;
mod epochs;
mod erasure;
mod flat;
mod foresight;
mod full_disk;
mod history;
mod keeping;
mod law;
mod list;
mod memory;
mod migrating;
mod parking;
mod restricting;
mod salvage;
mod search;
mod server;
mod stories;
mod tail;
mod touching;
mod verdicts;
mod world;
