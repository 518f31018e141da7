//! Stories over real stores and the real server: what people see of each other, what an app may say, and what a broken
//! or hostile server cannot do.

/// Shared with the server's own suite, which knows nothing of this package.
#[path = "../../server-stub/tests/server/crafting.rs"]
mod crafting;
/// Shared with the server's own suite, which knows nothing of this package.
#[path = "../../server-stub/tests/server/forging.rs"]
mod forging;
mod input;
mod live;
mod misuse;
mod pages;
mod people;
mod replies;
mod statuses;
mod typed;
mod watches;
mod wire;
