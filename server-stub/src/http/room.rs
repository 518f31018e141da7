//! Room: how many bytes of requests and replies the server holds at once, whoever sends them and however slowly.
//!
//! A request takes room in three places, one after the other and never two of a kind: as it arrives, unpacked until it is
//! decided, and as a reply until the last byte of it left. Who finds no room is asked for patience; nothing was decided.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use haversack_protocol::Code;
use haversack_protocol::limits::BODY_COMPRESSED_BYTES_MAX;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::Problem;

/// Bytes of requests that are still arriving.
const ARRIVING_BYTES_MAX: usize = 16 << 20;
/// Bytes of requests that are unpacked and wait for their answer. What is read from them takes a few times as much.
const UNPACKED_BYTES_MAX: usize = 8 << 20;
/// Bytes of replies that are made or have not left.
const LEAVING_BYTES_MAX: usize = 16 << 20;
/// What anything at work takes at least; bounds how many are at work.
const SHARE_BYTES_MIN: usize = 64 << 10;
/// Longest wait for room.
const WAIT_MAX: Duration = Duration::from_secs(20);
/// Room is counted in units of so many bytes.
const UNIT_BYTES: usize = 1 << 10;

/// The room of one server.
pub(crate) struct Rooms {
    arriving: Room,
    unpacked: Room,
    leaving: Room,
}

impl Default for Rooms {
    fn default() -> Self {
        Self {
            arriving: Room::new(ARRIVING_BYTES_MAX),
            unpacked: Room::new(UNPACKED_BYTES_MAX),
            leaving: Room::new(LEAVING_BYTES_MAX),
        }
    }
}

impl Rooms {
    /// Room for what is still to arrive; grows with it, and never waits, since who waits here holds some already.
    pub(super) fn arriving(&self) -> Growing {
        Growing { room: self.arriving.clone(), held: None, bytes: 0 }
    }

    /// Room for a request unpacked to so many bytes, once there is some.
    pub(super) async fn unpacked(&self, bytes: usize) -> Result<Held, Problem> {
        self.unpacked.hold(bytes.max(SHARE_BYTES_MIN)).await
    }

    /// Room for a reply of any size, once there is some.
    pub(super) async fn leaving(&self) -> Result<Held, Problem> {
        self.leaving.hold(BODY_COMPRESSED_BYTES_MAX).await
    }
}

#[derive(Clone)]
struct Room(Arc<Semaphore>);

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX)
}

const fn no_room() -> Problem {
    Problem::new(Code::Busy, "too much is waiting to be answered")
}

impl Room {
    fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes / UNIT_BYTES)))
    }

    async fn hold(&self, bytes: usize) -> Result<Held, Problem> {
        let wait = Arc::clone(&self.0).acquire_many_owned(units(bytes));
        match tokio::time::timeout(WAIT_MAX, wait).await {
            Ok(Ok(permit)) => Ok(Held(permit)),
            _ => Err(no_room()),
        }
    }
}

/// Room that is held until this is dropped.
pub(super) struct Held(OwnedSemaphorePermit);

impl Held {
    /// A body that holds the room it needs until its last byte left, and gives the rest back.
    pub(super) fn body(self, bytes: Vec<u8>) -> Body {
        let Self(mut permit) = self;
        let kept = units(bytes.len().max(1)) as usize;
        let surplus = permit.num_permits().saturating_sub(kept);
        drop(permit.split(surplus));
        Body::from(Bytes::from_owner(Leaving { bytes, _permit: permit }))
    }
}

struct Leaving {
    bytes: Vec<u8>,
    _permit: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Leaving {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Room that grows with what arrives.
pub(super) struct Growing {
    room: Room,
    held: Option<OwnedSemaphorePermit>,
    bytes: usize,
}

impl Growing {
    /// Takes room for so many more bytes.
    ///
    /// # Errors
    /// [`Code::Busy`] when there is none.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), Problem> {
        self.bytes += bytes;
        let held = self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = (units(self.bytes) as usize).saturating_sub(held);
        let more = Arc::clone(&self.room.0)
            .try_acquire_many_owned(u32::try_from(more).unwrap_or(u32::MAX))
            .map_err(|_| no_room())?;
        match &mut self.held {
            Some(held) => held.merge(more),
            None => self.held = Some(more),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_arrives_takes_room_as_it_grows_and_gives_it_back() {
        let rooms = Rooms::default();
        let mut all: Vec<_> = (0..16).map(|_| rooms.arriving()).collect();
        assert!(all.iter_mut().all(|one| one.grow(1 << 20).is_ok()));
        assert!(rooms.arriving().grow(1).is_err(), "it is full");
        let gone = all.pop();
        assert!(rooms.arriving().grow(1).is_err());
        drop(gone);
        let mut one = rooms.arriving();
        assert!((0..1024).all(|_| one.grow(1 << 10).is_ok()));
        assert!(one.grow(1).is_err());
    }

    #[tokio::test]
    async fn a_reply_keeps_the_room_of_its_bytes_until_it_has_left() {
        let rooms = Rooms::default();
        let all = LEAVING_BYTES_MAX / UNIT_BYTES;
        let held = rooms.leaving().await.expect("empty");
        assert_eq!(rooms.leaving.0.available_permits(), all - 1024);
        let body = held.body(vec![0; 3000]);
        assert_eq!(rooms.leaving.0.available_permits(), all - 3);
        drop(body);
        assert_eq!(rooms.leaving.0.available_permits(), all);
    }

    #[tokio::test]
    async fn any_request_that_may_arrive_finds_room_in_an_idle_server() {
        let rooms = Rooms::default();
        assert!(rooms.unpacked(haversack_protocol::limits::BODY_RAW_BYTES_MAX).await.is_ok());
        let small: Vec<_> = (0..UNPACKED_BYTES_MAX / SHARE_BYTES_MIN).map(|_| rooms.unpacked(1)).collect();
        let mut held = vec![];
        for one in small {
            held.push(one.await.expect("there is some"));
        }
        assert_eq!(rooms.unpacked.0.available_permits(), 0);
    }
}
