//! The support bundle of `haversack doctor --bundle`: what helps somebody who must not see what a store holds.
//!
//! Built from a list of what may be in it, never by leaving things out: numbers, words of our own, versions. What anybody
//! else wrote is not copied, but for names of collections, fields and rules, which are the organisation's, and only where
//! the person who writes the bundle asks for them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::time::SystemTime;

use haversack::{
    CollectionSchema, Condition, Examination, FieldSchema, RecoverySlot, Schema, StoreError, Survey,
    UnixMillis,
};
use haversack_protocol::{ProtocolRange, limits};
use serde_json::{Map, Value as Json, json};

use crate::failure::{Failure, store_code};
use crate::session::SCHEMA_FILE;

/// Version of the bundle's form.
const FORMAT: u32 = 1;
/// Files of a store, by names of our own.
const FILES: [&str; 10] = [
    "store.db",
    "store.db-wal",
    "store.db-shm",
    "store.db.new",
    "store.json",
    "store.lock",
    "store.reserve",
    "store.recovery",
    "store.recovery-organisation",
    SCHEMA_FILE,
];
/// Beginnings of what the checks of SQLite and SQLCipher say, with words for them.
const FINDINGS: [(&str, &str); 11] = [
    ("HMAC verification failed", "page fails its authentication"),
    ("a damaged page stopped the check", "damage stopped the check"),
    ("the file ends before", "file is cut"),
    ("row ", "row missing from an index"),
    ("wrong # of entries", "index of wrong length"),
    ("non-unique entry", "index entry twice"),
    ("Tree ", "tree of pages"),
    ("Page ", "page unused or used twice"),
    ("Freelist", "list of free pages"),
    ("On tree page", "tree of pages"),
    ("***", "tree of pages"),
];

/// What a bundle is made of.
pub(super) struct Gathered<'a> {
    pub(super) folder: &'a Path,
    pub(super) examination: &'a Examination,
    pub(super) slots: [RecoverySlot; 2],
    pub(super) with_names: bool,
}

/// Writes the bundle into a file that is not there yet, readable by its owner only.
///
/// # Errors
/// [`Failure::File`]; there is no file of that name then but one that was there before.
pub(super) fn write(path: &Path, gathered: &Gathered<'_>) -> Result<(), Failure> {
    let failed = |source| Failure::File { what: "the bundle".to_owned(), source };
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file =
        tempfile::Builder::new().prefix(".haversack-bundle-").tempfile_in(parent).map_err(failed)?;
    writeln!(file, "{:#}", bundle(gathered, now())).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist_noclobber(path).map_err(|error| failed(error.error))?;
    if cfg!(unix) {
        File::open(parent).and_then(|folder| folder.sync_all()).map_err(failed)?;
    }
    Ok(())
}

fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

fn bundle(gathered: &Gathered<'_>, now: UnixMillis) -> Json {
    let examination = gathered.examination;
    let tally = |tally: Option<haversack::Tally>| {
        tally.map_or(Json::Null, |tally| json!({ "readable": tally.kept, "lost": tally.lost }))
    };
    json!({
        "kind": "haversack support bundle",
        "format": FORMAT,
        "holds_names": gathered.with_names,
        "versions": {
            "haversack": env!("CARGO_PKG_VERSION"),
            "protocol_min": ProtocolRange::OURS.min,
            "protocol_max": ProtocolRange::OURS.max,
        },
        "platform": {
            "system": std::env::consts::OS,
            "processor": std::env::consts::ARCH,
            "is_debug_build": cfg!(debug_assertions),
        },
        "limits": {
            "OUTBOX_ENTRIES_MAX": limits::OUTBOX_ENTRIES_MAX,
            "RECORD_BYTES_MAX": limits::RECORD_BYTES_MAX,
            "CHANGE_SET_BYTES_MAX": limits::CHANGE_SET_BYTES_MAX,
            "RESERVE_BYTES": limits::RESERVE_BYTES,
        },
        "condition": examination.condition.as_str(),
        "refusal": refusal(&examination.condition),
        "findings": findings(&examination.findings),
        "entries": tally(examination.entries),
        "documents": tally(examination.documents),
        "recovery_slot": gathered.slots[0].as_str(),
        "organisation_slot": gathered.slots[1].as_str(),
        "advice": examination.advice(),
        "files": files(gathered.folder, now),
        "sidecar": sidecar(gathered.folder),
        "schema": schema(gathered.folder, gathered.with_names),
        "survey": examination.survey.as_ref().map(|survey| surveyed(survey, gathered.with_names, now)),
    })
}

fn refusal(condition: &Condition) -> Json {
    let Condition::Refused(error) = condition else { return Json::Null };
    let (system, sqlite) = match error {
        StoreError::Io(error) => (error.raw_os_error(), None),
        StoreError::Database { code } => (None, Some(code)),
        _ => (None, None),
    };
    json!({
        "code": store_code(error),
        "retryable": error.is_retryable(),
        "data_at_risk": error.is_data_at_risk(),
        "system_error": system,
        "sqlite_code": sqlite,
    })
}

/// How many findings there are of each kind: their own words may name indexes, and so fields.
fn findings(lines: &[String]) -> BTreeMap<&'static str, u64> {
    lines.iter().fold(BTreeMap::new(), |mut counts, line| {
        let known = FINDINGS.iter().find(|(beginning, _)| line.starts_with(beginning));
        *counts.entry(known.map_or("other", |(_, word)| word)).or_default() += 1;
        counts
    })
}

/// Sizes and ages of our files; of others only how many there are.
fn files(folder: &Path, now: UnixMillis) -> Json {
    let mut known = Map::new();
    for name in FILES {
        let Ok(found) = fs::symlink_metadata(folder.join(name)) else { continue };
        let written = found.modified().ok().and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
        let written = written.map(|at| UnixMillis(i64::try_from(at.as_millis()).unwrap_or(i64::MAX)));
        known.insert(
            name.to_owned(),
            json!({
                "bytes": found.len(),
                "is_file": found.is_file(),
                "mode": mode(&found),
                "age": written.map(|written| age(written, now)),
            }),
        );
    }
    let names = fs::read_dir(folder).map(|entries| entries.flatten().map(|entry| entry.file_name()));
    let others = names.map(|names| names.filter(|name| !FILES.iter().any(|known| name == known)).count());
    json!({ "known": known, "others": others.ok() })
}

#[cfg(unix)]
fn mode(found: &fs::Metadata) -> Option<String> {
    use std::os::unix::fs::PermissionsExt;
    Some(format!("{:o}", found.permissions().mode() & 0o777))
}

#[cfg(not(unix))]
fn mode(_: &fs::Metadata) -> Option<String> {
    None
}

/// What the sidecar says, as far as it is one of our words.
fn sidecar(folder: &Path) -> Json {
    let text = match fs::read_to_string(folder.join("store.json")) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return json!("absent"),
        Err(_) => return json!("unreadable"),
    };
    let Ok(sidecar) = serde_json::from_str::<Json>(&text) else { return json!("unreadable") };
    let state = ["creating", "ready"].into_iter().find(|state| sidecar["state"] == **state);
    json!({
        "format": sidecar["format"].as_u64(),
        "state": state.unwrap_or("other"),
        "was_rekeyed": sidecar.get("key_name").is_some(),
        "is_being_rekeyed": sidecar.get("next").is_some(),
    })
}

fn schema(folder: &Path, with_names: bool) -> Json {
    let text = match fs::read_to_string(folder.join(SCHEMA_FILE)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return json!("absent"),
        Err(_) => return json!("unreadable"),
    };
    let Ok(schema) = Schema::from_json(&text) else { return json!("refused") };
    let collections = schema.collections.iter().map(|(name, collection)| shape(name, collection, with_names));
    json!({ "version": schema.version, "collections": collections.collect::<Vec<_>>() })
}

/// The shape of a collection: kinds and flags of its fields. Never what a text may be, nor bounds of numbers.
fn shape(name: &str, collection: &CollectionSchema, with_names: bool) -> Json {
    let fields = collection.fields.iter().map(|(name, field)| {
        let mut shape = field_shape(field, with_names);
        if with_names {
            shape.insert("name".to_owned(), json!(name));
        }
        Json::Object(shape)
    });
    let mut shape = json!({
        "send_priority": collection.send_priority,
        "has_own_prefix": collection.server_id_prefix.is_some(),
        "fields": fields.collect::<Vec<_>>(),
    });
    if with_names {
        shape["name"] = json!(name);
    }
    shape
}

fn field_shape(field: &FieldSchema, with_names: bool) -> Map<String, Json> {
    let mut shape = Map::from_iter([
        ("kind".to_owned(), json!(field.kind)),
        ("required".to_owned(), json!(field.required)),
        ("indexed".to_owned(), json!(field.indexed)),
        ("searched".to_owned(), json!(field.searched)),
        ("sensitive".to_owned(), json!(field.sensitive)),
        ("texts_allowed".to_owned(), json!(field.one_of.len())),
        ("roles_that_write".to_owned(), json!(field.write.len())),
    ]);
    if with_names {
        shape.insert("target".to_owned(), json!(field.target));
    }
    shape
}

fn surveyed(survey: &Survey, with_names: bool, now: UnixMillis) -> Json {
    let rules = if with_names { json!(survey.rules) } else { json!(survey.rules.len()) };
    json!({
        "numbers": survey.numbers,
        "settings": survey.settings,
        "codes": survey.codes,
        "rules": rules,
        "oldest_entry": survey.oldest_entry_at.map(|at| age(at, now)),
        "unreadable": survey.unreadable,
    })
}

/// How long ago, roughly: when somebody worked is nobody's business.
fn age(at: UnixMillis, now: UnixMillis) -> &'static str {
    const HOUR: i64 = 3_600_000;
    match now.0.saturating_sub(at.0) {
        ..0 => "in the future",
        0..HOUR => "under an hour",
        past if past < 24 * HOUR => "under a day",
        past if past < 7 * 24 * HOUR => "under a week",
        past if past < 30 * 24 * HOUR => "under a month",
        _ => "a month or more",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_rounded_and_a_clock_that_was_put_back_is_told() {
        let told = |ms: i64| age(UnixMillis(1_000_000), UnixMillis(1_000_000 + ms));
        let hour = 3_600_000;
        assert_eq!(
            [-1, 0, hour - 1, hour, 24 * hour, 7 * 24 * hour, 30 * 24 * hour].map(told),
            [
                "in the future",
                "under an hour",
                "under an hour",
                "under a day",
                "under a week",
                "under a month",
                "a month or more"
            ]
        );
    }

    #[test]
    fn findings_are_counted_by_kind_and_never_quoted() {
        let lines =
            ["HMAC verification failed for page 3", "row 7 missing from index field:visit:hiv", "hiv"];
        let counted = findings(&lines.map(str::to_owned));
        assert_eq!(counted.values().sum::<u64>(), 3);
        assert!(!json!(counted).to_string().contains("hiv"));
        assert_eq!(counted["other"], 1);
    }
}
