//! The collections and rules of the suites: a field of every kind, references three deep, an urgent collection.

use haversack::{Schema, Value};

/// The schema file.
const SCHEMA: &str = r#"{
    "version": 1,
    "collections": {
        "team": { "fields": { "name": { "kind": "text", "required": true } } },
        "person": { "server_id_prefix": "P", "fields": {
            "name": { "kind": "text", "required": true },
            "team": { "kind": "reference", "target": "team" } } },
        "activity": { "server_id_prefix": "ACT", "fields": {
            "title": { "kind": "text", "required": true },
            "minutes": { "kind": "integer", "indexed": true },
            "size": { "kind": "integer", "indexed": true },
            "note": { "kind": "text" },
            "short": { "kind": "text", "max_bytes": 8 },
            "status": { "kind": "text", "one_of": ["open", "done"] },
            "calls": { "kind": "counter" },
            "tags": { "kind": "set" },
            "day": { "kind": "date" },
            "at": { "kind": "instant" },
            "km": { "kind": "decimal" },
            "share": { "kind": "float" },
            "ok": { "kind": "boolean" },
            "raw": { "kind": "bytes" },
            "person": { "kind": "reference", "target": "person", "indexed": true },
            "previous": { "kind": "reference", "target": "activity" } } },
        "alarm": { "send_priority": 9, "fields": { "what": { "kind": "text" } } }
    }
}"#;

/// The rules file: what the server refuses although the schema allows it.
pub(crate) const RULES: &str = r#"{
    "version": 1,
    "rules": [
        { "name": "minutes-in-a-day", "collection": "activity", "message_key": "minutes.range",
          "check": { "range": { "field": "minutes", "min": 1, "max": 720 } } },
        { "name": "no-team-named-nobody", "collection": "team",
          "check": { "one_of": { "field": "name", "values": ["North", "South"] } } }
    ]
}"#;

/// The schema.
pub fn schema() -> Schema {
    Schema::from_json(SCHEMA).expect("a sound schema")
}

/// A text value.
pub fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

/// A date value.
pub fn day(value: &str) -> Value {
    Value::Date(value.to_owned())
}

/// A decimal value.
pub fn decimal(value: &str) -> Value {
    Value::Decimal(value.to_owned())
}

/// Bytes of the greatest length that no compression makes smaller (xorshift).
pub fn noise(seed: u64) -> Value {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let bytes = (0..16 * 1024).map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[0]
    });
    Value::Bytes(bytes.collect())
}
