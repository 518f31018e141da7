//! Records told, taken out and brought in by the built command; and what holds of every command.

#![cfg(unix)]

mod bundle;
mod every_command;
mod export;
mod history;
mod import;
mod place;
