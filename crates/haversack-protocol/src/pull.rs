//! What the server sends: hello, pages of its log, the end of a reply.

use crate::{
    ChangeHash, ChangeSetId, Cursor, DeviceId, ErasedName, PrincipalId, RecordId, Rejection, Role, ServerId,
    UnixMillis,
};

/// First frame of every sync reply; a reply without it is not from a Haversack server.
#[derive(Clone, Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct HelloBody {
    /// Protocol version used in this reply.
    #[n(0)]
    pub protocol: u16,
    /// Server clock.
    #[n(1)]
    pub now: UnixMillis,
    /// Schema version of the server.
    #[n(2)]
    pub schema_version: u32,
    /// Role of the principal at this moment.
    #[n(3)]
    pub role: Role,
}

/// Who made a log row.
#[derive(Clone, Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
pub struct RowOrigin {
    /// Log position.
    #[n(0)]
    pub position: u64,
    /// The change set.
    #[n(1)]
    pub change_set: ChangeSetId,
    /// Device that sent it.
    #[n(2)]
    pub device: DeviceId,
    /// Device time of the edit.
    #[n(3)]
    pub at: UnixMillis,
    /// Server clock minus device clock at the push, in milliseconds.
    #[n(4)]
    pub skew_ms: i64,
}

/// A part's change as it stands in the log.
#[derive(Clone, Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
pub enum PartChange {
    /// The raw change.
    #[n(0)]
    Full(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
    /// Only its hash: the reader made it and holds the bytes.
    #[n(1)]
    Own(#[n(0)] ChangeHash),
    /// The part changed nothing.
    #[n(2)]
    Empty,
    /// Its bytes were erased; a later row says what became of the record.
    #[n(3)]
    Erased,
}

/// One record's part of an accepted change set.
#[derive(Clone, Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
pub struct LogPart {
    /// The record.
    #[n(0)]
    pub record: RecordId,
    /// Its collection, when this part created it.
    #[n(1)]
    pub collection: Option<String>,
    /// Epoch it was applied in.
    #[n(2)]
    pub epoch: u32,
    /// The change.
    #[n(3)]
    pub change: PartChange,
}

/// A change the server authored: a reference rewrite or a merge of heads.
#[derive(Clone, Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
pub struct ServerChange {
    /// The record.
    #[n(0)]
    pub record: RecordId,
    /// Epoch it was applied in.
    #[n(1)]
    pub epoch: u32,
    /// Raw change.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub change: Vec<u8>,
}

/// A server id given to a record.
#[derive(Clone, Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
pub struct Assignment {
    /// The record.
    #[n(0)]
    pub record: RecordId,
    /// Its server id, for ever.
    #[n(1)]
    pub server_id: ServerId,
}

/// An accepted change set.
#[derive(Clone, Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct AcceptedRow {
    /// Where, who and when.
    #[n(0)]
    pub origin: RowOrigin,
    /// Its parts.
    #[n(1)]
    pub parts: Vec<LogPart>,
    /// Changes the server added in the same transaction, to be applied after the parts.
    #[n(2)]
    pub server_changes: Vec<ServerChange>,
    /// Ids assigned with it.
    #[n(3)]
    pub assignments: Vec<Assignment>,
    /// Fields it wrote that an override mark covers.
    #[n(4)]
    pub shadowed: Vec<(RecordId, String)>,
}

/// A refused change set; sent only to the device that pushed it.
#[derive(Clone, Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct RejectedRow {
    /// Where, who and when.
    #[n(0)]
    pub origin: RowOrigin,
    /// Why.
    #[n(1)]
    pub rejection: Rejection,
}

/// A device known to the tenant, so that every reader can name the author of a change.
#[derive(Clone, Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct DeviceRow {
    /// Log position.
    #[n(0)]
    pub position: u64,
    /// The device.
    #[n(1)]
    pub device: DeviceId,
    /// Whose it is.
    #[n(2)]
    pub principal: PrincipalId,
}

/// A record of which nothing is kept any more.
#[derive(Clone, Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct ErasedRow {
    /// Log position.
    #[n(0)]
    pub position: u64,
    /// Which record, without naming it.
    #[n(1)]
    pub record: ErasedName,
}

/// A record's history begins anew: every reader replaces its document by one that is made of these values alone.
#[derive(Clone, Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct EpochRow {
    /// Log position.
    #[n(0)]
    pub position: u64,
    /// The record.
    #[n(1)]
    pub record: RecordId,
    /// Its collection.
    #[n(2)]
    pub collection: String,
    /// The epoch that begins.
    #[n(3)]
    pub epoch: u32,
    /// What the record shows at its beginning; empty when that was erased since.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub root: Vec<u8>,
    /// Why it begins.
    #[n(5)]
    pub cause: EpochCause,
}

/// Why a record's history begins anew.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub enum EpochCause {
    /// The history, and all that these fields held, was erased; edits of these fields that wait are dropped.
    #[n(0)]
    Erased(#[n(0)] Vec<String>),
    /// The history had grown long; the server keeps it.
    #[n(1)]
    Compacted,
}

/// A record of which no edit is taken from here on, or is again.
#[derive(Clone, Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct RestrictedRow {
    /// Log position.
    #[n(0)]
    pub position: u64,
    /// The record.
    #[n(1)]
    pub record: RecordId,
    /// Restricted from here on; false: lifted.
    #[n(2)]
    pub is_restricted: bool,
}

/// One row of a tenant's log, as far as a device may see it.
#[derive(Clone, Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
#[non_exhaustive]
pub enum LogRow {
    /// A change set was accepted.
    #[n(0)]
    Accepted(#[n(0)] AcceptedRow),
    /// A change set was refused.
    #[n(1)]
    Rejected(#[n(0)] RejectedRow),
    /// A device was registered.
    #[n(2)]
    Device(#[n(0)] DeviceRow),
    /// A record was erased.
    #[n(3)]
    Erased(#[n(0)] ErasedRow),
    /// A record began a new epoch.
    #[n(4)]
    Epoch(#[n(0)] EpochRow),
    /// Edits of a record are refused from here on, or taken again.
    #[n(5)]
    Restricted(#[n(0)] RestrictedRow),
}

impl LogRow {
    /// Position of the row in the log.
    pub const fn position(&self) -> u64 {
        match self {
            Self::Accepted(row) => row.origin.position,
            Self::Rejected(row) => row.origin.position,
            Self::Device(row) => row.position,
            Self::Erased(row) => row.position,
            Self::Epoch(row) => row.position,
            Self::Restricted(row) => row.position,
        }
    }
}

/// Rows of the log and the cursor that covers them. Applied and stored in one transaction.
#[derive(Clone, Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct PageBody {
    /// Rows in log order.
    #[n(0)]
    pub rows: Vec<LogRow>,
    /// Position after them.
    #[n(1)]
    pub cursor_after: Cursor,
}

/// Last frame of a sync reply; a reply without it was cut off.
#[derive(Clone, Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct EndBody {
    /// More rows wait behind the last page.
    #[n(0)]
    pub more: bool,
}
