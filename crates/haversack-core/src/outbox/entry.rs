//! One change set on its way.

use haversack_protocol::{ChangeHash, Code, RecordId, Rejection, UnixMillis};

use crate::record::ChangeSet;

/// What its author had seen of a record when making an edit.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct BaseHeads {
    /// The record.
    #[n(0)]
    pub record: RecordId,
    /// Epoch of the record then.
    #[n(1)]
    pub epoch: u32,
    /// Confirmed heads then; empty when the record was not confirmed yet.
    #[n(2)]
    pub heads: Vec<ChangeHash>,
}

/// One record's part of an entry, authored for sending. A retry sends the same bytes.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct FrozenPart {
    /// The record.
    #[n(0)]
    pub record: RecordId,
    /// Epoch it was authored in.
    #[n(1)]
    pub epoch: u32,
    /// Raw change; empty when the part changes nothing.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub change: Vec<u8>,
    /// Hash of the change.
    #[n(3)]
    pub hash: Option<ChangeHash>,
    /// What it stands on; kept only for an empty part.
    #[n(4)]
    pub deps: Vec<ChangeHash>,
}

/// Where an entry stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EntryState {
    /// Not sent yet, or to be authored anew.
    Pending,
    /// Authored; its bytes may have reached the server.
    Frozen,
    /// Refused, itself or with what it needs; the input is kept until discarded or sent again.
    Rejected(Rejection),
    /// Set aside after repeated failure without a verdict, itself or with what it needs, whose change set is then the root
    /// cause; the input is kept until discarded or sent again.
    Parked(Rejection),
}

impl EntryState {
    /// Where a refusal leaves the entry it names, and all that falls with it. What the device itself took back was never
    /// refused by anybody: it is parked.
    pub fn after(rejection: Rejection, root: Code) -> Self {
        if root == Code::Withdrawn { Self::Parked(rejection) } else { Self::Rejected(rejection) }
    }

    /// Why it was set aside; `None` while it is on its way.
    pub fn set_aside(&self) -> Option<&Rejection> {
        match self {
            Self::Pending | Self::Frozen => None,
            Self::Rejected(rejection) | Self::Parked(rejection) => Some(rejection),
        }
    }
}

/// A change set with everything the outbox knows about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Place in the outbox; never reused.
    pub order: i64,
    /// Sent before entries of lower priority, dependencies first.
    pub priority: u8,
    /// What the user did.
    pub change_set: ChangeSet,
    /// What the user had seen, one per part.
    pub base: Vec<BaseHeads>,
    /// Authored parts while frozen, else empty.
    pub frozen: Vec<FrozenPart>,
    /// Where it stands.
    pub state: EntryState,
    /// Requests it was part of that brought no verdict.
    pub attempts: u32,
    /// Code or transport error of the last one.
    pub last_error: Option<String>,
    /// Earliest next try, when it waits for one.
    pub next_try: Option<UnixMillis>,
}

impl Entry {
    /// Says whether it is live: pending or frozen.
    pub fn is_live(&self) -> bool {
        self.state.set_aside().is_none()
    }
}
