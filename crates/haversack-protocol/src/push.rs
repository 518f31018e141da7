//! What a device sends: registration and sync requests; and the direct answers to them.

use crate::{
    ChangeHash, ChangeSetId, Code, Cursor, DeviceId, InstallationId, PrincipalId, ProtocolRange, RecordId,
    Role, UnixMillis,
};

/// First contact of an installation. Sending it again gives the same device.
#[derive(Clone, Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct DeviceRequest {
    /// Protocol versions spoken.
    #[n(0)]
    pub protocol: ProtocolRange,
    /// Name of this installation, made once by the device.
    #[n(1)]
    pub installation: InstallationId,
}

/// The device's identity at the server.
#[derive(Clone, Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct DeviceReply {
    /// Issued id; the device's actors begin with it.
    #[n(0)]
    pub device: DeviceId,
    /// Whom the token speaks for.
    #[n(1)]
    pub principal: PrincipalId,
    /// Role of that principal.
    #[n(2)]
    pub role: Role,
    /// Greatest push ordinal the server has seen from this device.
    #[n(3)]
    pub push_ordinal: u64,
}

/// One record's part of a change set.
#[derive(Clone, Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
pub struct PushedPart {
    /// The record.
    #[n(0)]
    pub record: RecordId,
    /// Its collection, exactly when the part creates it.
    #[n(1)]
    pub collection: Option<String>,
    /// Epoch of the record the change was made in.
    #[n(2)]
    pub epoch: u32,
    /// Raw Automerge change; empty when the part changes nothing.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub change: Vec<u8>,
    /// What the author had seen; sent only for an empty part, which has no change to carry it.
    #[n(4)]
    pub deps: Vec<ChangeHash>,
}

/// One change set as frozen by its device.
#[derive(Clone, Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
pub struct PushedChangeSet {
    /// Idempotency key.
    #[n(0)]
    pub id: ChangeSetId,
    /// Device time of the edit; for display, never for order.
    #[n(1)]
    pub at: UnixMillis,
    /// Schema version it was made under.
    #[n(2)]
    pub schema_version: u32,
    /// Change sets it must not outlive.
    #[n(3)]
    pub after: Vec<ChangeSetId>,
    /// Parts, creations before what refers to them.
    #[n(4)]
    pub parts: Vec<PushedPart>,
}

/// The one request of a sync round trip: hello, push and pull.
#[derive(Clone, Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct SyncRequest {
    /// Protocol versions spoken.
    #[n(0)]
    pub protocol: ProtocolRange,
    /// The device that sends.
    #[n(1)]
    pub device: DeviceId,
    /// Whose edits these are; must be the token's principal.
    #[n(2)]
    pub principal: PrincipalId,
    /// Rises by one with every push that carries change sets; a number seen before betrays a cloned store.
    #[n(3)]
    pub push_ordinal: u64,
    /// Device clock, for the known skew.
    #[n(4)]
    pub now: UnixMillis,
    /// Schema version of the device.
    #[n(5)]
    pub schema_version: u32,
    /// Read position; absent at the first sync.
    #[n(6)]
    pub cursor: Option<Cursor>,
    /// Raw bytes one page may take; the server may send less.
    #[n(7)]
    pub page_bytes_max: u32,
    /// Send the device's own changes in full, not as hashes.
    #[n(8)]
    pub echo_in_full: bool,
    /// Change sets in outbox order.
    #[n(9)]
    pub push: Vec<PushedChangeSet>,
    /// Change sets to be answered or refused as withdrawn.
    #[n(10)]
    pub withdraw: Vec<ChangeSetId>,
    /// The receipt for erasures: no byte of what the log erased up to this position is left on the device.
    #[n(11)]
    pub erased_position: Option<u64>,
}

/// An answer about a pushed change set that is not final and never stored.
#[derive(Clone, Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Hint {
    /// The change set.
    #[n(0)]
    pub change_set: ChangeSetId,
    /// [`Code::Blocked`], [`Code::DependencyMissing`], [`Code::Epoch`], or [`Code::Upgrade`] for a change set made under a newer
    /// schema than the server's.
    #[n(1)]
    pub code: Code,
    /// The change set it stands behind.
    #[n(2)]
    pub by: Option<ChangeSetId>,
    /// Dependencies the server has never seen.
    #[n(3)]
    pub need: Vec<ChangeHash>,
    /// The record concerned.
    #[n(4)]
    pub record: Option<RecordId>,
}

/// What became of the push: log positions of stored verdicts, and hints for the rest. One line per change set.
#[derive(Clone, Debug, Default, PartialEq, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct HintBody {
    /// Change sets with a stored verdict and its log position.
    #[n(0)]
    pub settled: Vec<(ChangeSetId, u64)>,
    /// Change sets without.
    #[n(1)]
    pub hints: Vec<Hint>,
}

/// Why a whole request was refused; nothing was decided about any change set.
#[derive(Clone, Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct ProblemBody {
    /// Stable code.
    #[n(0)]
    pub code: Code,
    /// One sentence without any value.
    #[n(1)]
    pub detail: String,
}
