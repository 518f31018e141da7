//! What both sides of Haversack's wire agree on: typed ids, the schema, frames, messages, limits, codes, versions.
//!
//! Holds no CRDT, no SQL and no async code, and decides nothing: it names things and moves them through bytes.
//! Serves the promises "an answer is an acknowledgement only when it is framed as ours" and "limits on everything".

mod code;
mod cursor;
mod field_name;
mod frame;
mod ids;
pub mod limits;
mod live;
mod pull;
mod push;
pub mod schema;
mod time;
mod verdict;
mod version;

pub use code::{Action, Class, Code};
pub use cursor::{Cursor, CursorBody};
pub use field_name::FieldName;
pub use frame::{
    Frame, FrameKind, FrameRefusal, MEDIA_TYPE, PackedFrame, decode_frames, decode_only_frame, encode_frame,
};
pub use ids::{
    ChangeHash, ChangeSetId, DeviceId, ErasedName, ErasureId, IdRefusal, InstallationId, PrincipalId,
    RecordId, ServerId, StoreId, TenantId,
};
pub use live::{LIVE_DEVICE_HEADER, LIVE_PROTOCOL, LiveClose, PokeBody};
pub use pull::{
    AcceptedRow, Assignment, DeviceRow, EndBody, EpochCause, EpochRow, ErasedRow, HelloBody, LogPart, LogRow,
    PageBody, PartChange, RejectedRow, RestrictedRow, RowOrigin, ServerChange,
};
pub use push::{
    DeviceReply, DeviceRequest, Hint, HintBody, ProblemBody, PushedChangeSet, PushedPart, SyncRequest,
};
pub use schema::{CollectionSchema, FieldKind, FieldSchema, Role, Schema, SchemaRefusal, json_depth};
pub use time::{CivilRefusal, UnixMillis, check_date};
pub use verdict::Rejection;
pub use version::{PROTOCOL_MAX, PROTOCOL_MIN, ProtocolRange};
