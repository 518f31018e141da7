//! Writes of a history as people and programs see them. Values of sensitive fields stay back unless asked for.

use haversack::{HistoryEntry, Origin, Standing, StoredRecord, Value, Write};
use serde_json::{Value as Json, json};

use super::shown::{HIDDEN, Shown};

/// Milliseconds from which on a device's clock is said to be wrong.
const SKEW_TOLD_MS: u64 = 1_000;

/// What was done, and with which value.
fn deed(write: &Write) -> (&'static str, Option<Value>) {
    match write {
        Write::Register { value: Some(value), .. } => ("set", Some(value.clone())),
        Write::Register { value: None, .. } => ("clear", None),
        Write::Member { element, is_added, .. } => {
            (if *is_added { "add" } else { "remove" }, Some(Value::Text(element.clone())))
        }
        Write::Step { by, .. } => ("increment", Some(Value::Counter(*by))),
        Write::Mark { mark: Some(mark), .. } => ("override", mark.value.clone()),
        Write::Mark { mark: None, .. } => ("release", None),
        Write::Deleted(true) => ("delete", None),
        Write::Deleted(false) => ("restore", None),
        _ => ("unknown", None),
    }
}

fn reason(write: &Write) -> Option<&str> {
    match write {
        Write::Mark { mark: Some(mark), .. } => Some(&mark.reason),
        _ => None,
    }
}

/// A stable word for what became of a write.
pub(crate) fn standing_word(standing: Standing) -> &'static str {
    match standing {
        Standing::Shown => "shown",
        Standing::Shadowed => "shadowed",
        Standing::Replaced => "replaced",
        Standing::Beaten => "beaten",
        _ => "unknown",
    }
}

fn standing_sentence(standing: Standing) -> &'static str {
    match standing {
        Standing::Shown => "shown",
        Standing::Shadowed => "shadowed: an override mark covers it",
        Standing::Replaced => "replaced by a later write",
        Standing::Beaten => "beaten by a concurrent write",
        _ => "unknown",
    }
}

/// Says whether the write waits on this device and will be shadowed once it arrives.
pub(crate) fn will_be_shadowed(found: &StoredRecord, entry: &HistoryEntry) -> bool {
    let is_register =
        matches!(&entry.write, Write::Register { field, .. } if found.row.shadowed.contains(field));
    let is_last = matches!(entry.standing, Standing::Shown | Standing::Shadowed);
    is_register && is_last && matches!(entry.origin, Origin::Waiting { .. })
}

impl Shown<'_> {
    fn hides_write(&self, found: &StoredRecord, write: &Write) -> bool {
        write.field().is_some_and(|field| self.hides(&found.collection, field))
    }

    /// The write for programs.
    pub(crate) fn write_json(&self, found: &StoredRecord, entry: &HistoryEntry) -> Json {
        let is_hidden = self.hides_write(found, &entry.write);
        let (word, value) = deed(&entry.write);
        let value = value.filter(|_| !is_hidden);
        let (change, is_rewrite, waiting) = match &entry.origin {
            Origin::Accepted { change, is_rewrite, .. } => {
                (Some(change.to_string()), *is_rewrite, Json::Null)
            }
            Origin::Waiting { change_set, is_sending, .. } => {
                let will_be_shadowed = will_be_shadowed(found, entry);
                let waiting = json!({
                    "change_set": change_set, "is_sending": is_sending, "will_be_shadowed": will_be_shadowed,
                });
                (None, false, waiting)
            }
            _ => (None, false, Json::Null),
        };
        json!({
            "field": entry.write.field(),
            "write": word,
            "value": value.as_ref().map(haversack::value_to_json),
            "reason": reason(&entry.write).filter(|_| !is_hidden),
            "sensitive_hidden": is_hidden,
            "standing": standing_word(entry.standing),
            "is_rewrite": is_rewrite,
            "waiting": waiting,
            "principal": entry.principal,
            "device": entry.device,
            "at": entry.at.map(|at| at.to_string()),
            "skew_ms": entry.skew_ms,
            "position": entry.position,
            "change": change,
        })
    }

    /// What was written, in a few words.
    pub(crate) fn write_text(&self, found: &StoredRecord, write: &Write) -> String {
        let (word, value) = deed(write);
        let hidden = self.hides_write(found, write);
        let value = match value {
            Some(_) if hidden => HIDDEN.to_owned(),
            Some(value) => super::shown::text_of(&value),
            None => String::new(),
        };
        let reason =
            reason(write).filter(|_| !hidden).map(|reason| format!(": {reason}")).unwrap_or_default();
        format!("{word} {value}{reason}").trim_end().to_owned()
    }

    /// Name and text of the rows that tell one write to people.
    pub(crate) fn write_rows(&self, found: &StoredRecord, entry: &HistoryEntry) -> Vec<(String, String)> {
        let mut rows = vec![
            ("write".to_owned(), self.write_text(found, &entry.write)),
            ("now".to_owned(), standing_sentence(entry.standing).to_owned()),
            ("by".to_owned(), author(entry)),
        ];
        if let Some(at) = entry.at {
            rows.push(("at".to_owned(), format!("{at}{}", skew_text(entry.skew_ms))));
        }
        rows.push(("where".to_owned(), place(found, entry)));
        rows
    }
}

/// Who wrote it, as far as known.
pub(crate) fn author(entry: &HistoryEntry) -> String {
    // A store that was never bound does not know its own person's name.
    let nobody = if matches!(entry.origin, Origin::Waiting { .. }) { "you" } else { "unknown" };
    let who = entry.principal.as_ref().map_or(nobody, |principal| principal.as_str());
    let rewritten = matches!(entry.origin, Origin::Accepted { is_rewrite: true, .. });
    let device = entry.device.map(|device| format!(", device {device}")).unwrap_or_default();
    format!("{who}{device}{}", if rewritten { ", put under its server id" } else { "" })
}

/// Where the write is: in the log, or waiting here.
pub(crate) fn place(found: &StoredRecord, entry: &HistoryEntry) -> String {
    match &entry.origin {
        Origin::Waiting { is_sending, .. } => {
            let state = if *is_sending { "may have reached the server" } else { "waits on this device" };
            let fate = if will_be_shadowed(found, entry) { "; will be shadowed once it arrives" } else { "" };
            format!("{state}{fate}")
        }
        _ => entry.position.map_or_else(
            || "accepted; its place in the log is not known here".to_owned(),
            |position| format!("log position {position}"),
        ),
    }
}

/// How wrong the author's clock was, where it matters.
fn skew_text(skew_ms: Option<i64>) -> String {
    match skew_ms {
        Some(skew) if skew.unsigned_abs() >= SKEW_TOLD_MS => {
            let side = if skew > 0 { "behind" } else { "ahead of" };
            format!(" (its clock {} s {side} the server's)", skew.unsigned_abs() / 1_000)
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use haversack::{ChangeSetId, RecordId, RecordState, Row, UnixMillis};

    fn waiting(field: &str, standing: Standing) -> HistoryEntry {
        let change_set = ChangeSetId::from_bytes([1; 16]);
        HistoryEntry {
            write: Write::Register { field: field.into(), value: Some(Value::Integer(7)) },
            standing,
            origin: Origin::Waiting { change_set, at: UnixMillis(5), is_sending: false },
            principal: None,
            device: None,
            at: Some(UnixMillis(5)),
            skew_ms: None,
            position: None,
        }
    }

    #[test]
    fn the_last_waiting_value_of_a_field_that_will_be_shadowed_is_told_as_such_and_no_other() {
        let row = Row { shadowed: ["minutes".to_owned()].into(), ..Row::default() };
        let (record, collection, state) =
            (RecordId::from_bytes([1; 16]), "visit".to_owned(), RecordState::Pending);
        let found = StoredRecord { record, server_id: None, collection, row, state };
        let last = waiting("minutes", Standing::Shown);
        assert!(will_be_shadowed(&found, &last));
        assert!(place(&found, &last).contains("will be shadowed"), "{}", place(&found, &last));
        for other in [waiting("minutes", Standing::Replaced), waiting("note", Standing::Shown)] {
            assert!(!will_be_shadowed(&found, &other));
            assert!(!place(&found, &other).contains("shadowed"));
        }
    }

    #[test]
    fn a_clock_is_told_only_where_it_was_wrong() {
        assert_eq!([None, Some(999), Some(-999)].map(skew_text), ["", "", ""].map(str::to_owned));
        assert_eq!(skew_text(Some(61_000)), " (its clock 61 s behind the server's)");
        assert_eq!(skew_text(Some(-2_500)), " (its clock 2 s ahead of the server's)");
    }
}
