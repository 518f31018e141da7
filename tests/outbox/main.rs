//! Stories of the outbox over a real store and the real server: what waits arrives, what is refused comes back, and
//! nothing is lost or sent out of turn.

mod backup;
mod delivery;
mod one_of_five;
mod parking;
mod refusal;
