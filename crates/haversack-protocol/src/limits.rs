//! Every bound of the wire and of a record, with its unit and its reason.
//!
//! Both sides read these constants; the server may announce smaller ones, never larger.

/// Change sets in one push. A phone on a bad line then loses at most a few seconds of upload.
pub const CHANGE_SETS_PER_PUSH_MAX: usize = 256;
/// Compressed bytes of one request or response body.
pub const BODY_COMPRESSED_BYTES_MAX: usize = 1024 * 1024;
/// Compressed bytes a client aims at when it sizes a push.
pub const PUSH_BYTES_TARGET: usize = 512 * 1024;
/// Bytes of one body after decompression.
pub const BODY_RAW_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of all frames of one message after decompression: a reply of several pages, and no more.
pub const MESSAGE_RAW_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes of one pull page before compression; a page never splits a change set, so one set may exceed it.
pub const PAGE_BYTES_TARGET: usize = 512 * 1024;
/// Log rows in one pull page.
pub const PAGE_ROWS_MAX: usize = 1024;
/// Bytes of one change. Larger ones are refused before parsing.
pub const CHANGE_BYTES_MAX: usize = 64 * 1024;
/// Operations in one change: bounds every run-length column before it is expanded.
pub const CHANGE_OPS_MAX: u64 = 256;
/// Predecessors in one change: each op may close every visible value of its key.
pub const CHANGE_PREDECESSORS_MAX: u64 = CHANGE_OPS_MAX * HEADS_MAX as u64;
/// Dependencies of one change.
pub const DEPS_MAX: usize = 64;
/// Heads of one record before an honest edit could need more than [`DEPS_MAX`] dependencies.
pub const HEADS_MAX: usize = 64;
/// Heads above which the server closes a record with an empty merge.
pub const HEADS_BEFORE_MERGE: usize = 32;
/// Bytes of a saved record.
pub const RECORD_BYTES_MAX: usize = 64 * 1024;
/// Changes of one record, the server's own not counted, from which on its history is long enough to begin anew.
pub const COMPACT_CHANGES: usize = 100;
/// Actors of one record from which on its history is long enough to begin anew.
pub const COMPACT_ACTORS: usize = 64;
/// Bytes of a key in a record, prefix included.
pub const KEY_BYTES_MAX: usize = 128;
/// Bytes of a text or bytes value.
pub const TEXT_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a decimal value.
pub const DECIMAL_BYTES_MAX: usize = 64;
/// Bytes of one element of a set.
pub const SET_ELEMENT_BYTES_MAX: usize = 64;
/// Elements of one set field.
pub const SET_ELEMENTS_MAX: usize = 128;
/// Absolute size of one counter step; keeps any honest sum far from the edge of 64 bits.
pub const COUNTER_STEP_MAX: i64 = 1 << 31;
/// Records one change set may touch.
pub const PARTS_PER_CHANGE_SET_MAX: usize = 32;
/// Bytes of one change set's intents: it always fits a push, whatever it compresses to.
pub const CHANGE_SET_BYTES_MAX: usize = 256 * 1024;
/// Change sets one change set may be declared `after`.
pub const AFTER_MAX: usize = 32;
/// Bytes of a server id.
pub const SERVER_ID_BYTES_MAX: usize = 64;
/// Bytes of a tenant or principal name.
pub const NAME_BYTES_MAX: usize = 128;
/// Bytes of a cursor.
pub const CURSOR_BYTES_MAX: usize = 1024;
/// Bytes of an override's reason.
pub const REASON_BYTES_MAX: usize = 1024;
/// Nesting depth of any JSON document we read.
pub const JSON_DEPTH_MAX: usize = 16;
/// Bytes of a schema or rules file.
pub const SCHEMA_BYTES_MAX: usize = 1024 * 1024;
/// Collections in a schema.
pub const COLLECTIONS_MAX: usize = 64;
/// Fields in a collection.
pub const FIELDS_MAX: usize = 128;
/// Pending change sets in an outbox; above it new edits are refused and the older ones stay safe.
pub const OUTBOX_ENTRIES_MAX: u64 = 100_000;
/// Bytes of the words one search asks for.
pub const SEARCH_BYTES_MAX: usize = 1024;
/// Bytes of disk a store keeps back, so that verdicts can be applied and edits discarded when the disk is full.
pub const RESERVE_BYTES: u64 = 4 * 1024 * 1024;
/// Rounds of PBKDF2-HMAC-SHA512 a recovery slot's passphrase is stretched by; fewer are refused.
pub const RECOVERY_ITERATIONS: u32 = 210_000;
/// Rounds above which a recovery slot is refused: opening it would take minutes.
pub const RECOVERY_ITERATIONS_MAX: u32 = 10_000_000;
/// Fewest bytes of a recovery slot's passphrase.
pub const PASSPHRASE_BYTES_MIN: usize = 12;
/// Most bytes of a recovery slot's passphrase.
pub const PASSPHRASE_BYTES_MAX: usize = 1024;
/// Records a device lets go in one transaction.
pub const LET_GO_RECORDS_MAX: usize = 256;
/// Pause between two looks for records to let go, in milliseconds: each may end in writing the whole file anew.
pub const LET_GO_PAUSE_MS: i64 = 24 * 60 * 60 * 1000;
/// Records one list call may return.
pub const LIST_LIMIT_MAX: u32 = 10_000;
/// First pause after a failed request, in milliseconds; doubled each time, drawn with full jitter.
pub const BACKOFF_BASE_MS: u64 = 500;
/// Longest pause between two tries, in milliseconds.
pub const BACKOFF_MAX_MS: u64 = 5 * 60 * 1000;
/// Longest `Retry-After` that is believed, in milliseconds.
pub const RETRY_AFTER_MAX_MS: u64 = 60 * 60 * 1000;
/// Time the app's token provider may take, in milliseconds: it may have to ask a server of its own, or a person.
pub const TOKEN_WAIT_MAX_MS: u64 = 60 * 1000;
/// Failures of the same batch without a verdict before it is split in halves.
pub const FAILURES_BEFORE_SPLIT: u32 = 4;
/// Failures of a change set alone, the server answering without it each time, before it is parked: half a minute.
pub const FAILURES_ALONE_MAX: u32 = 6;
/// Answers that hold a change set for what this device does not have to send, before it is parked.
pub const HOLDS_MAX: u32 = 8;
/// Bytes of memory a server keeps records loaded in between pushes: some 2,000 plain ones, or 80 of the largest.
pub const LOADED_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Live connections a server holds; beyond them it asks for patience.
pub const LIVE_CONNECTIONS_MAX: usize = 16_384;
/// Live connections of one device; a further one replaces the oldest, whose line is probably dead.
pub const LIVE_CONNECTIONS_PER_DEVICE_MAX: usize = 2;
/// Bytes of one message on a live connection, in either direction.
pub const LIVE_MESSAGE_BYTES_MAX: usize = 256;
/// Pause between two heartbeats of the server, in milliseconds; shorter than proxies and address tables forget.
pub const LIVE_HEARTBEAT_MS: u64 = 25_000;
/// Silence after which a device takes a live connection for dead, in milliseconds: two heartbeats and a slow line.
pub const LIVE_SILENCE_MS_MAX: u64 = 65_000;
/// Time a live connection must have lasted for its loss to count as the first one, in milliseconds.
pub const LIVE_STEADY_MS: u64 = 60_000;
/// Failures a lost live connection begins with: a fleet spreads its return over four seconds at least.
pub const LIVE_FAILURES_FLOOR: u32 = 3;
/// Pause before a server without live connections is asked for one again, in milliseconds.
pub const LIVE_ABSENT_PAUSE_MS: u64 = 60 * 60 * 1000;
