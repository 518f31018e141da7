//! Questions over all tables whose answers are numbers, settings, or codes of refusals: what a survey is made of.

use haversack_protocol::Rejection;
use rusqlite::Connection;

use super::all;
use crate::StoreError;

/// Numbers by name, and where they come from.
pub(crate) const NUMBERS: [(&str, &str); 27] = [
    ("format", "PRAGMA user_version"),
    ("pages", "PRAGMA page_count"),
    ("pages_free", "PRAGMA freelist_count"),
    ("entries_pending", "SELECT count(*) FROM outbox WHERE state = 'pending'"),
    ("entries_frozen", "SELECT count(*) FROM outbox WHERE state = 'frozen'"),
    ("entries_rejected", "SELECT count(*) FROM outbox WHERE state = 'rejected'"),
    ("entries_parked", "SELECT count(*) FROM outbox WHERE state = 'parked'"),
    ("entries_in_tail", "SELECT count(*) FROM outbox_tail"),
    ("entry_attempts_max", "SELECT coalesce(max(attempts), 0) FROM outbox"),
    ("entry_holds_max", "SELECT coalesce(max(holds), 0) FROM outbox"),
    ("entry_bytes_max", "SELECT coalesce(max(length(body)), 0) FROM outbox"),
    ("frozen_parts", "SELECT count(*) FROM frozen_part"),
    ("records", "SELECT count(*) FROM record"),
    ("records_deleted", "SELECT count(*) FROM record WHERE is_deleted = 1"),
    ("records_in_conflict", "SELECT count(*) FROM record WHERE has_conflict = 1"),
    ("row_bytes_max", "SELECT coalesce(max(length(row)), 0) FROM record"),
    ("documents", "SELECT count(*) FROM document"),
    ("document_bytes_max", "SELECT coalesce(max(length(bytes)), 0) FROM document"),
    ("document_heads_max", "SELECT coalesce(max(length(heads)) / 32, 0) FROM document"),
    ("lanes", "SELECT count(*) FROM lane"),
    ("server_ids", "SELECT count(*) FROM id_map"),
    ("envelopes", "SELECT count(*) FROM change_envelope"),
    ("devices", "SELECT count(*) FROM device"),
    ("quarantined", "SELECT count(*) FROM quarantine"),
    ("notices_open", "SELECT count(*) FROM notice WHERE acknowledged = 0"),
    ("is_registered", "SELECT count(*) FROM meta WHERE key = 'device'"),
    ("is_healing", "SELECT count(*) FROM meta WHERE key = 'healing'"),
];

/// Settings by name, and what asks for them.
pub(crate) const SETTINGS: [(&str, &str); 5] = [
    ("sqlite", "SELECT sqlite_version()"),
    ("cipher", "PRAGMA cipher_version"),
    ("cipher_provider", "PRAGMA cipher_provider"),
    ("cipher_provider_version", "PRAGMA cipher_provider_version"),
    ("cipher_settings", "PRAGMA cipher_settings"),
];

/// Answers a question for one number.
pub(crate) fn number(connection: &Connection, sql: &str) -> Result<u64, StoreError> {
    let number: i64 = connection.query_row(sql, [], |row| row.get(0))?;
    Ok(u64::try_from(number).unwrap_or(0))
}

/// Answers a question for texts of the library itself.
pub(crate) fn lines(connection: &Connection, sql: &str) -> Result<Vec<String>, StoreError> {
    all(connection, sql, [], |row| row.get(0))
}

/// What an entry of the outbox was refused for.
pub(crate) struct Refused {
    /// Why it was set aside.
    pub(crate) rejection: Option<Rejection>,
    /// The last word on attempts to send it.
    pub(crate) last_error: Option<String>,
}

/// What the entries of the outbox were refused for.
pub(crate) fn refusals(connection: &Connection) -> Result<Vec<Refused>, StoreError> {
    all(connection, "SELECT rejection, last_error FROM outbox", [], |row| {
        let rejection: Option<String> = row.get(0)?;
        let rejection = rejection.and_then(|text| serde_json::from_str(&text).ok());
        Ok(Refused { rejection, last_error: row.get(1)? })
    })
}
