//! The text of a row: it gives back every row, in one spelling, and nothing the schema does not know.

use std::collections::BTreeMap;

use haversack_core::{Candidate, Mark, Reference, Row, Value, value_from_json, value_to_json};
use haversack_protocol::{
    ChangeHash, CollectionSchema, DeviceId, FieldKind, FieldName, PrincipalId, RecordId, Role, ServerId,
    UnixMillis,
};
use quickcheck::{Arbitrary, Gen, quickcheck};

const KINDS: [(&str, FieldKind); 11] = [
    ("at", FieldKind::Instant),
    ("calls", FieldKind::Counter),
    ("contact", FieldKind::Reference),
    ("day", FieldKind::Date),
    ("km", FieldKind::Decimal),
    ("minutes", FieldKind::Integer),
    ("note", FieldKind::Text),
    ("ok", FieldKind::Boolean),
    ("raw", FieldKind::Bytes),
    ("share", FieldKind::Float),
    ("tags", FieldKind::Set),
];

fn visit() -> CollectionSchema {
    let fields: BTreeMap<_, _> =
        KINDS.iter().map(|(name, kind)| (*name, serde_json::json!({ "kind": kind }))).collect();
    serde_json::from_value(serde_json::json!({ "fields": fields })).expect("plain fields")
}

/// A value of the kind that a row may hold.
fn value(g: &mut Gen, kind: FieldKind) -> Value {
    match kind {
        FieldKind::Text => Value::Text(Arbitrary::arbitrary(g)),
        FieldKind::Integer => Value::Integer(Arbitrary::arbitrary(g)),
        FieldKind::Counter => Value::Counter(Arbitrary::arbitrary(g)),
        FieldKind::Float => {
            let number = f64::from_bits(u64::arbitrary(g));
            Value::Float(if number.is_finite() { number } else { -0.0 })
        }
        FieldKind::Boolean => Value::Boolean(Arbitrary::arbitrary(g)),
        FieldKind::Instant => {
            Value::Instant(UnixMillis(i64::from(u32::arbitrary(g)) * 60_007 - 62_000_000_000_000))
        }
        FieldKind::Date => Value::Date(format!("2024-02-{:02}", 1 + u8::arbitrary(g) % 29)),
        FieldKind::Decimal => Value::Decimal(format!("-{}.50", u8::arbitrary(g))),
        FieldKind::Bytes => Value::Bytes(Arbitrary::arbitrary(g)),
        FieldKind::Reference if bool::arbitrary(g) => {
            Value::Reference(Reference::Record(RecordId::from_bytes([u8::arbitrary(g); 16])))
        }
        FieldKind::Reference => Value::Reference(Reference::Server(
            ServerId::new(format!("CON-{}", u8::arbitrary(g))).expect("plain"),
        )),
        FieldKind::Set => Value::Set(Arbitrary::arbitrary(g)),
    }
}

fn maybe(g: &mut Gen, kind: FieldKind) -> Option<Value> {
    bool::arbitrary(g).then(|| value(g, kind))
}

fn mark(g: &mut Gen, kind: FieldKind) -> Mark {
    Mark {
        value: maybe(g, kind),
        by: PrincipalId::new("kari@example.org").expect("plain"),
        role: *g.choose(&[Role::Mentor, Role::Coordinator, Role::Administrator]).expect("some"),
        at: UnixMillis(i64::arbitrary(g)),
        reason: Arbitrary::arbitrary(g),
    }
}

fn candidate(g: &mut Gen, kind: FieldKind) -> Candidate {
    Candidate {
        value: maybe(g, kind),
        device: DeviceId::from_bytes([u8::arbitrary(g); 8]),
        change: ChangeHash::from_bytes([u8::arbitrary(g); 32]),
    }
}

/// Something about each of some fields.
fn by_field<T>(g: &mut Gen, make: impl Fn(&mut Gen, FieldKind) -> T) -> BTreeMap<FieldName, T> {
    let chosen: Vec<_> = KINDS.into_iter().filter(|_| bool::arbitrary(g)).collect();
    chosen.into_iter().map(|(name, kind)| (name.into(), make(g, kind))).collect()
}

#[derive(Clone, Debug)]
struct AnyRow(Row);

impl Arbitrary for AnyRow {
    fn arbitrary(g: &mut Gen) -> Self {
        Self(Row {
            schema_version: u32::arbitrary(g),
            is_deleted: bool::arbitrary(g),
            fields: by_field(g, value),
            marks: by_field(g, mark),
            conflicts: by_field(g, |g, kind| vec![candidate(g, kind), candidate(g, kind)]),
            beaten_marks: by_field(g, |g, kind| vec![mark(g, kind)]),
            shadowed: by_field(g, |_, _| ()).keys().map(ToString::to_string).collect(),
        })
    }
}

quickcheck! {
    fn a_row_survives_its_text(row: AnyRow) -> bool {
        Row::from_text(&visit(), &row.0.to_text()) == Ok(row.0)
    }

    /// What a general JSON reader makes of the text, and what it would write: keys sorted, no spaces.
    fn a_rows_text_is_json_in_the_one_spelling(row: AnyRow) -> bool {
        let text = row.0.to_text();
        let json: serde_json::Value = serde_json::from_str(&text).expect("json");
        text == serde_json::to_string(&json).expect("json")
    }

    fn a_value_in_a_row_is_spelt_as_it_is_alone(row: AnyRow) -> bool {
        let json: serde_json::Value = serde_json::from_str(&row.0.to_text()).expect("json");
        row.0.fields.iter().all(|(name, value)| {
            json["f"][name.as_str()] == value_to_json(value)
                && value_from_json(value.kind(), &json["f"][name.as_str()]).as_ref() == Ok(value)
        })
    }

    fn a_text_that_was_cut_or_continued_is_refused(row: AnyRow, at: usize) -> bool {
        let mut text = row.0.to_text();
        let longer = format!("{text}}}");
        let at = at % text.len();
        text.truncate((0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0));
        Row::from_text(&visit(), &text).is_err() && Row::from_text(&visit(), &longer).is_err()
    }
}

#[test]
fn a_value_of_another_form_than_its_fields_is_refused() {
    let refused = [
        r#""at":1"#,
        r#""at":"2024-02-30T00:00:00.000Z""#,
        r#""calls":"1""#,
        r#""calls":1.0"#,
        r#""calls":-0"#,
        r#""contact":"no id""#,
        r#""contact":7"#,
        r#""day":20240201"#,
        r#""km":1.5"#,
        r#""minutes":9223372036854775808"#,
        r#""minutes":1e3"#,
        r#""minutes":true"#,
        r#""minutes":null"#,
        r#""note":7"#,
        r#""note":["x"]"#,
        r#""note":"a lone \ud800""#,
        r#""ok":1"#,
        r#""ok":"true""#,
        r#""raw":"AB==""#,
        r#""raw":[1]"#,
        r#""share":"1.5""#,
        r#""share":null"#,
        r#""share":NaN"#,
        r#""share":1e999"#,
        r#""tags":"x""#,
        r#""tags":[1]"#,
        r#""tags":{"x":1}"#,
        r#""unknown":1"#,
    ];
    for value in refused {
        let text = format!(r#"{{"f":{{{value}}},"v":1}}"#);
        assert!(Row::from_text(&visit(), &text).is_err(), "{text}");
    }
}

#[test]
fn a_part_of_another_form_is_refused() {
    let mark = r#""at":1,"by":"kari","reason":"","role":"mentor","value":null"#;
    let kept =
        format!(r#"{{"b":{{"note":[{{{mark}}}]}},"d":true,"later":[1],"m":{{"note":{{{mark}}}}},"v":1}}"#);
    assert!(Row::from_text(&visit(), &kept).is_ok(), "{kept}");
    let without = |key: &str| {
        let parts = mark.split(',').filter(|part| !part.starts_with(&format!("{key:?}")));
        format!(r#"{{"m":{{"note":{{{}}}}},"v":1}}"#, parts.collect::<Vec<_>>().join(","))
    };
    let hash = "00".repeat(32);
    let refused = [
        String::new(),
        "null".into(),
        "[]".into(),
        "{}".into(),
        r#"{"f":{}}"#.into(),
        r#"{"f":[],"v":1}"#.into(),
        r#"{"v":-1}"#.into(),
        r#"{"v":4294967296}"#.into(),
        r#"{"v":"1"}"#.into(),
        without("at"),
        without("by"),
        without("reason"),
        without("role"),
        without("value"),
        kept.replace("mentor", "guest"),
        kept.replace("kari", "k ri"),
        kept.replace(r#""at":1"#, r#""at":1.5"#),
        r#"{"m":{"note":[null,"kari","mentor",1,""]},"v":1}"#.into(),
        r#"{"b":{"note":{}},"v":1}"#.into(),
        format!(r#"{{"x":{{"note":[{{"change":"{hash}","device":"0102030405060708"}}]}},"v":1}}"#),
        format!(r#"{{"x":{{"note":[{{"change":"{hash}","device":"01","value":null}}]}},"v":1}}"#),
        format!(r#"{{"x":{{"note":[{{"change":"{hash}","device":"0102030405060708","value":1}}]}},"v":1}}"#),
    ];
    for text in refused {
        assert!(Row::from_text(&visit(), &text).is_err(), "{text}");
    }
}
