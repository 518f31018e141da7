//! A record as people and programs see it. Values of sensitive fields leave this room only when asked for.

use haversack::{Mark, RecordState, Role, StoredRecord, Value, value_to_json};

use serde_json::{Map, Value as Json, json};

use crate::failure::Failure;
use crate::present::{Tone, clip};
use crate::session::Session;

/// Stands for a value of a sensitive field.
pub(crate) const HIDDEN: &str = "(sensitive; --show-sensitive)";
/// Stands for a field without a value.
const EMPTY: &str = "(empty)";
/// Longest value in a list; `get` shows the whole.
const LIST_VALUE_CHARS_MAX: usize = 40;

/// How much of records is shown.
pub(crate) struct Shown<'a> {
    /// Where, and under which schema.
    pub(crate) session: &'a Session,
    /// Values of sensitive fields are asked for.
    pub(crate) with_sensitive: bool,
}

/// The name people know a record by: its server id once there is one.
pub(crate) fn name_of(found: &StoredRecord) -> String {
    found.server_id.as_ref().map_or_else(|| found.record.to_string(), ToString::to_string)
}

fn state_word(state: RecordState) -> &'static str {
    match state {
        RecordState::LocalOnly => "local only",
        RecordState::Pending => "pending",
        RecordState::Sending => "sending",
        RecordState::Synced => "synced",
        RecordState::Rejected => "rejected",
        RecordState::Parked => "parked",
        _ => "unknown",
    }
}

/// A stable word for a role.
pub(crate) fn role_word(role: Role) -> &'static str {
    match role {
        Role::Mentor => "mentor",
        Role::Coordinator => "coordinator",
        Role::Administrator => "administrator",
    }
}

/// A value as people read it.
pub(crate) fn text_of(value: &Value) -> String {
    match value {
        Value::Bytes(bytes) => format!("({} bytes)", bytes.len()),
        Value::Set(elements) => elements.iter().map(String::as_str).collect::<Vec<_>>().join(", "),
        value => match value_to_json(value) {
            Json::String(text) => text,
            json => json.to_string(),
        },
    }
}

impl Shown<'_> {
    /// Says whether values of a field are kept back.
    pub(crate) fn hides(&self, collection: &str, field: &str) -> bool {
        !self.with_sensitive && self.session.is_sensitive(collection, field)
    }

    /// The text of a value, or what stands for it.
    pub(crate) fn text_or_empty(&self, found: &StoredRecord, field: &str, value: Option<&Value>) -> String {
        if self.hides(&found.collection, field) {
            return HIDDEN.to_owned();
        }
        value.map_or_else(|| EMPTY.to_owned(), text_of)
    }

    /// The JSON of a value; null for none and for one kept back.
    pub(crate) fn json_of(&self, found: &StoredRecord, field: &str, value: Option<&Value>) -> Json {
        let value = value.filter(|_| !self.hides(&found.collection, field));
        value.map_or(Json::Null, value_to_json)
    }

    /// The whole record for programs; values kept back are named, not shown.
    pub(crate) fn to_json(&self, found: &StoredRecord) -> Json {
        let row = &found.row;
        let (mut fields, mut hidden) = (Map::new(), vec![]);
        for (field, value) in row.shown() {
            if self.hides(&found.collection, field) {
                hidden.push(field);
            } else {
                fields.insert(field.to_owned(), value_to_json(value));
            }
        }
        let marks: Map<_, _> = row
            .marks
            .iter()
            .map(|(field, mark)| (field.to_string(), self.mark_json(found, field, mark)))
            .collect();
        let conflicts: Vec<_> = row.conflicts.keys().chain(row.beaten_marks.keys()).collect();
        json!({
            "record": found.record,
            "server_id": found.server_id,
            "collection": found.collection,
            "state": state_word(found.state),
            "is_deleted": row.is_deleted,
            "fields": fields,
            "sensitive_hidden": hidden,
            "overridden": marks,
            "conflicts": conflicts,
            "will_be_shadowed": row.shadowed,
        })
    }

    /// An override mark for programs, with the value beneath.
    pub(crate) fn mark_json(&self, found: &StoredRecord, field: &str, mark: &Mark) -> Json {
        json!({
            "by": mark.by,
            "role": role_word(mark.role),
            "at": mark.at.to_string(),
            "reason": (!self.hides(&found.collection, field)).then_some(&mark.reason),
            "underlying": self.json_of(found, field, found.row.fields.get(field)),
        })
    }

    /// The rows of one field: its value, and beneath it what else is to be known.
    fn field_rows(&self, found: &StoredRecord, field: &str) -> Vec<(String, String)> {
        let row = &found.row;
        let note = |text: String| (String::new(), text);
        let mut rows = vec![(field.to_owned(), self.text_or_empty(found, field, row.effective(field)))];
        if let Some(mark) = row.marks.get(field) {
            let reason = if self.hides(&found.collection, field) { HIDDEN } else { &mark.reason };
            let (by, role, at) = (&mark.by, role_word(mark.role), mark.at);
            rows.push(note(format!("^ overridden by {by} ({role}) at {at}: {reason}")));
            let beneath = self.text_or_empty(found, field, row.fields.get(field));
            rows.push(note(format!("^ beneath: {beneath}")));
        }
        if row.conflicts.contains_key(field) || row.beaten_marks.contains_key(field) {
            rows.push(note(format!("^ in conflict: haversack conflicts {}", name_of(found))));
        }
        if row.shadowed.contains(field) {
            rows.push(note("^ will be shadowed: a value that arrived meanwhile beats it".to_owned()));
        }
        rows
    }
}

fn heading(found: &StoredRecord) -> String {
    let deleted = if found.row.is_deleted { "  deleted" } else { "" };
    format!("{}  {}{deleted}", name_of(found), state_word(found.state))
}

/// Shows one record with every field for people.
pub(crate) fn show_whole(shown: &Shown<'_>, found: &StoredRecord) -> Result<(), Failure> {
    let screen = shown.session.screen;
    screen.line(Some(Tone::Strong), &format!("{} {}", found.collection, heading(found)))?;
    let row = &found.row;
    let mut fields: Vec<_> = row.fields.keys().chain(row.marks.keys()).chain(row.conflicts.keys()).collect();
    fields.sort_unstable();
    fields.dedup();
    let mut rows = vec![("(record)".to_owned(), found.record.to_string())];
    rows.extend(fields.into_iter().flat_map(|field| shown.field_rows(found, field)));
    Ok(screen.pairs(&rows)?)
}

/// Shows records as a list: for people a heading and the fields of each, for programs one JSON array.
pub(crate) fn show_list(shown: &Shown<'_>, records: &[StoredRecord]) -> Result<(), Failure> {
    let screen = shown.session.screen;
    if screen.is_json {
        return Ok(screen.json(&Json::Array(records.iter().map(|found| shown.to_json(found)).collect()))?);
    }
    for found in records {
        screen.line(Some(Tone::Strong), &heading(found))?;
        let fields: Vec<_> = found
            .row
            .shown()
            .map(|(field, value)| {
                let is_hidden = shown.hides(&found.collection, field);
                let text = if is_hidden {
                    "(sensitive)".into()
                } else {
                    clip(&text_of(value), LIST_VALUE_CHARS_MAX)
                };
                let sign = if found.row.marks.contains_key(field) { " (overridden)" } else { "" };
                format!("{field}={text}{sign}")
            })
            .collect();
        screen.line(None, &format!("  {}", fields.join("  ")))?;
    }
    let ending = if records.len() == 1 { "" } else { "s" };
    Ok(screen.line(Some(Tone::Faint), &format!("{} record{ending}", records.len()))?)
}
