//! The read position: opaque to devices, authenticated by the server.

use minicbor::bytes::ByteVec;

use crate::limits::CURSOR_BYTES_MAX;

/// A position in a tenant's log as a device keeps it. Never looked into, stored with the data it covers.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode)]
#[cbor(transparent)]
pub struct Cursor(#[n(0)] ByteVec);

impl Cursor {
    /// Wraps bytes received; `None` when there are more than a cursor may have.
    pub fn new(bytes: Vec<u8>) -> Option<Self> {
        (bytes.len() <= CURSOR_BYTES_MAX).then(|| Self(bytes.into()))
    }

    /// The bytes to store and send back.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl<'b, C> minicbor::Decode<'b, C> for Cursor {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let position = d.position();
        let refusal = || minicbor::decode::Error::message("a cursor is too long").at(position);
        Self::new(d.bytes()?.to_vec()).ok_or_else(refusal)
    }
}

/// What the server puts into a cursor before it authenticates it. Scope and grant position are there from the first
/// day, so that cursors keep their meaning when there is more than one scope.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct CursorBody {
    /// Format of this body.
    #[n(0)]
    pub format: u8,
    /// Generation of the tenant's log; raised when it is rebuilt.
    #[n(1)]
    pub log_epoch: u32,
    /// Everything up to this position has been sent.
    #[n(2)]
    pub position: u64,
    /// First 16 bytes of the log's chain hash at that position.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub chain: Vec<u8>,
    /// Position of the grants under which it was read.
    #[n(4)]
    pub grant_position: u64,
    /// Scopes still being sent from their beginning: (scope, next position).
    #[n(5)]
    pub backfill: Vec<(String, u64)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_of_any_allowed_length_survives_the_wire_and_a_longer_one_is_refused() {
        for (length, is_allowed) in [(0, true), (CURSOR_BYTES_MAX, true), (CURSOR_BYTES_MAX + 1, false)] {
            let wire = minicbor::to_vec(ByteVec::from(vec![7; length])).expect("writes");
            let read = minicbor::decode::<Cursor>(&wire).ok();
            assert_eq!(
                read.map(|cursor| minicbor::to_vec(cursor).expect("writes")),
                is_allowed.then_some(wire)
            );
        }
    }
}
