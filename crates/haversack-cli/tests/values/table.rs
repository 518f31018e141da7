//! The table: values at the edges of every kind of field, what is kept and what is refused, and how JSON says them.

use haversack::{FieldKind, UnixMillis, Value, ValueRefusal};
use haversack_protocol::limits::{COUNTER_STEP_MAX, SET_ELEMENT_BYTES_MAX, TEXT_BYTES_MAX};

/// A field of every kind, indexed where that can be; `number` tells records apart, `beside` is edited next to the others.
/// The last fields have names that rows, exports or SQL use for themselves.
pub(crate) const SCHEMA: &str = r#"{ "version": 1, "collections": {
    "friend": { "server_id_prefix": "F", "fields": { "name": { "kind": "text" } } },
    "edge": { "server_id_prefix": "E", "fields": {
        "number": { "kind": "integer" }, "beside": { "kind": "text" },
        "text": { "kind": "text", "indexed": true }, "short": { "kind": "text", "max_bytes": 8 },
        "one": { "kind": "text", "one_of": ["open", "done"] },
        "integer": { "kind": "integer", "indexed": true },
        "few": { "kind": "integer", "min": 1, "max": 9 }, "float": { "kind": "float", "indexed": true },
        "boolean": { "kind": "boolean", "indexed": true }, "instant": { "kind": "instant", "indexed": true },
        "date": { "kind": "date", "indexed": true }, "decimal": { "kind": "decimal", "indexed": true },
        "raw": { "kind": "bytes" }, "tags": { "kind": "set" }, "calls": { "kind": "counter", "indexed": true },
        "friend": { "kind": "reference", "target": "friend", "indexed": true },
        "f": { "kind": "text" }, "v": { "kind": "text" }, "record": { "kind": "text" }, "kind": { "kind": "text" },
        "server_id": { "kind": "text" }, "fields": { "kind": "text" }, "rowid": { "kind": "text" },
        "order": { "kind": "text" }, "select": { "kind": "text" }, "deleted": { "kind": "text" },
        "tmp_1": { "kind": "text" }, "n__calls": { "kind": "text" } } } } }"#;

/// Names of fields that are like ours, and whose values are kept like any other.
pub(crate) const LIKE_OURS: [&str; 12] = [
    "f",
    "v",
    "record",
    "kind",
    "server_id",
    "fields",
    "rowid",
    "order",
    "select",
    "deleted",
    "tmp_1",
    "n__calls",
];

/// Names no schema may give a field.
pub(crate) const NO_NAMES: [&str; 8] = ["_v", "_deleted", "__override", "$ref", "f:text", "o:text", "", "å"];

/// A value that a field keeps.
#[derive(Clone, Debug)]
pub(crate) struct Edge {
    pub(crate) field: &'static str,
    pub(crate) value: Value,
}

impl Edge {
    pub(crate) fn of(field: &'static str, value: Value) -> Self {
        Self { field, value }
    }
}

/// Texts that are kept code point for code point.
fn texts() -> Vec<String> {
    let plain = [
        "",
        " ",
        "null",
        "0",
        "-0.0",
        // One word in normal form C and D, and other letters that look alike.
        "\u{e5}pent",
        "a\u{30a}pent",
        "\u{212b}",
        "\u{c5}",
        "ﬁ ß İ ı",
        // Right to left, with marks, points and isolates.
        "שָׁלוֹם עֲלֵיכֶם",
        "السَّلَامُ عَلَيْكُمْ",
        "\u{202e}abc\u{202c}",
        "\u{2067}\u{5d0}1\u{2069}",
        // A family, a flag, a skin tone, a keycap, the rainbow, Scotland.
        "👩‍👩‍👧‍👦",
        "🇳🇴",
        "👍🏽",
        "1\u{fe0f}\u{20e3}",
        "🏳️‍🌈",
        "🏴󠁧󠁢󠁳󠁣󠁴󠁿",
        // Characters that readers drop, cut at or escape.
        "\u{feff}mark",
        "a\u{200b}b\u{ad}",
        "\u{1}\u{8}\u{1b}[31m\u{7f}\u{85}\u{9f}",
        "\t\n\r\n\u{b}\u{c}\u{2028}\u{2029}end",
        "\\\"/\\u0000\\",
        "\u{10ffff}\u{fffd}\u{fffe}\u{ffff}\u{d7ff}\u{e000}",
        "'; DROP TABLE record; --",
        "{\"f\":{\"text\":1}}",
        "@text",
        "%_*?[a-z]",
        // What looks like ours.
        "_v",
        "_deleted",
        "__override",
        "$ref",
        "tmp_1",
        "f:text",
        "n:calls",
        "s:tags:x",
        "o:text",
        "t:0190d5a8-0000-7000-8000-000000000001",
        "0190d5a8-0000-7000-8000-000000000001",
        "s:F-000001",
        "F-000001",
        "(sensitive; --show-sensitive)",
    ];
    let mut texts: Vec<_> = plain.map(str::to_owned).into();
    texts.push("x".repeat(TEXT_BYTES_MAX));
    texts.push("å".repeat(TEXT_BYTES_MAX / 2));
    texts.push("\u{1}".repeat(TEXT_BYTES_MAX));
    texts
}

/// Everything that is kept, references apart.
pub(crate) fn kept() -> Vec<Edge> {
    let mut edges = vec![];
    for text in texts() {
        if !text.is_empty() && text.len() <= SET_ELEMENT_BYTES_MAX {
            edges
                .push(Edge::of("tags", Value::Set([text.clone(), "x".repeat(SET_ELEMENT_BYTES_MAX)].into())));
        }
        edges.push(Edge::of("text", Value::Text(text)));
    }
    edges.push(Edge::of("short", Value::Text("åååå".into())));
    edges.extend(LIKE_OURS.map(|name| Edge::of(name, Value::Text(name.to_owned()))));
    edges.extend(numbers());
    edges.extend(times());
    let bytes = [vec![], vec![0], (0..=255).collect(), vec![0xff; 3], vec![0; TEXT_BYTES_MAX]];
    edges.extend(bytes.map(|bytes| Edge::of("raw", Value::Bytes(bytes))));
    edges
}

/// Numbers, truths and sums that are kept to the last digit.
fn numbers() -> Vec<Edge> {
    let mut edges = vec![];
    let safe = 1_i64 << 53;
    let integers = [
        i64::MIN,
        i64::MIN + 1,
        -safe - 1,
        -safe,
        -safe + 1,
        -1,
        0,
        1,
        safe - 1,
        safe,
        safe + 1,
        i64::MAX - 1,
        i64::MAX,
    ];
    edges.extend(integers.map(|number| Edge::of("integer", Value::Integer(number))));
    edges.extend([1, 9].map(|number| Edge::of("few", Value::Integer(number))));
    let subnormal = f64::from_bits(0x000f_ffff_ffff_ffff);
    let floats = [
        f64::MIN,
        f64::MAX,
        f64::MIN_POSITIVE,
        -f64::MIN_POSITIVE,
        subnormal,
        5e-324,
        -5e-324,
        -0.0,
        0.0,
        1.0,
        0.1 + 0.2,
        1e23,
        9_007_199_254_740_993.0,
        1.797_693_134_862_315_5e308,
        2.225_073_858_507_201e-308,
        0.500_000_000_000_000_1,
        7.205_759_403_792_794e16,
    ];
    edges.extend(floats.map(|number| Edge::of("float", Value::Float(number))));
    edges.extend([true, false].map(|truth| Edge::of("boolean", Value::Boolean(truth))));
    let nines = "9".repeat(64);
    let decimals = [
        "0",
        "-0",
        "0.00",
        "1.50",
        "1.5",
        "-123456789012345678901234567890.000",
        "0.1000000000000000055",
        "9007199254740993",
        &nines,
    ];
    edges.extend(decimals.map(|number| Edge::of("decimal", Value::Decimal(number.to_owned()))));
    // The greatest is two steps' sum.
    edges.extend(
        [1, -1, COUNTER_STEP_MAX, -COUNTER_STEP_MAX, 2 * COUNTER_STEP_MAX]
            .map(|sum| Edge::of("calls", Value::Counter(sum))),
    );
    edges
}

/// Instants and days that are kept as they are.
fn times() -> Vec<Edge> {
    let mut edges = vec![];
    let instants =
        [-62_167_219_200_000, -62_135_596_800_000, -1, 0, 1, 1_709_251_199_999, 253_402_300_799_999];
    edges.extend(instants.map(|ms| Edge::of("instant", Value::Instant(UnixMillis(ms)))));
    let dates =
        ["0000-01-01", "0001-01-01", "1900-02-28", "1970-01-01", "2000-02-29", "2024-02-29", "9999-12-31"];
    edges.extend(dates.map(|date| Edge::of("date", Value::Date(date.to_owned()))));
    edges
}

/// What is refused at the edit, and as what.
pub(crate) fn refused() -> Vec<(&'static str, Value, ValueRefusal)> {
    let text = |text: &str| Value::Text(text.to_owned());
    let too_long = |max| ValueRefusal::TooLong { max };
    let kind = |expected| ValueRefusal::Kind { expected };
    let mut refused = vec![
        ("text", text("a\0b"), ValueRefusal::Nul),
        ("text", text(&"x".repeat(TEXT_BYTES_MAX + 1)), too_long(TEXT_BYTES_MAX)),
        ("text", text(&("å".repeat(TEXT_BYTES_MAX / 2) + "x")), too_long(TEXT_BYTES_MAX)),
        ("short", text("åååå+"), too_long(8)),
        ("one", text("Open"), ValueRefusal::OneOf),
        ("one", text(""), ValueRefusal::OneOf),
        ("few", Value::Integer(0), ValueRefusal::Range),
        ("few", Value::Integer(i64::MAX), ValueRefusal::Range),
        ("raw", Value::Bytes(vec![0; TEXT_BYTES_MAX + 1]), too_long(TEXT_BYTES_MAX)),
        ("text", Value::Integer(5), kind(FieldKind::Text)),
        ("integer", text("5"), kind(FieldKind::Integer)),
        ("integer", Value::Float(5.0), kind(FieldKind::Integer)),
        ("float", Value::Integer(1), kind(FieldKind::Float)),
        ("boolean", Value::Integer(1), kind(FieldKind::Boolean)),
        ("date", text("2024-02-29"), kind(FieldKind::Date)),
        ("instant", Value::Integer(0), kind(FieldKind::Instant)),
        ("friend", text("F-000001"), kind(FieldKind::Reference)),
    ];
    let floats =
        [f64::NAN, -f64::NAN, f64::from_bits(0x7ff0_0000_0000_0001), f64::INFINITY, f64::NEG_INFINITY];
    refused.extend(floats.map(|number| ("float", Value::Float(number), ValueRefusal::NotFinite)));
    let instants = [i64::MIN, -62_167_219_200_001, 253_402_300_800_000, i64::MAX];
    refused.extend(instants.map(|ms| ("instant", Value::Instant(UnixMillis(ms)), ValueRefusal::Form)));
    let dates = [
        "2023-02-29",
        "1900-02-29",
        "2024-13-01",
        "2024-00-10",
        "2024-01-00",
        "24-1-1",
        "2024-1-1",
        "2024-01-01T00:00",
        "-001-01-01",
        "10000-01-01",
        "",
        "٢٠٢٤-٠١-٠١",
        "2024-01-01\0",
    ];
    refused.extend(dates.map(|date| ("date", Value::Date(date.to_owned()), ValueRefusal::Form)));
    let digits = "9".repeat(65);
    let decimals =
        ["", ".5", "1.", "+1", "01", "1e5", "1,5", "1 000", "NaN", "--1", "-", "١", "1\0", &digits];
    refused.extend(decimals.map(|number| ("decimal", Value::Decimal(number.to_owned()), ValueRefusal::Form)));
    let steps = [i64::MIN, i64::MAX, COUNTER_STEP_MAX + 1, -COUNTER_STEP_MAX - 1];
    refused.extend(steps.map(|by| ("calls", Value::Counter(by), ValueRefusal::Step)));
    let elements = [
        (String::new(), ValueRefusal::Form),
        ("a\0".to_owned(), ValueRefusal::Nul),
        ("x".repeat(SET_ELEMENT_BYTES_MAX + 1), too_long(SET_ELEMENT_BYTES_MAX)),
    ];
    refused.extend(elements.map(|(element, why)| ("tags", Value::Set([element].into()), why)));
    refused
}

/// A field and its value as JSON says them, and what is kept of it or the code it is refused by.
pub(crate) type Said = (&'static str, Result<Value, &'static str>);

/// What JSON may say.
pub(crate) fn said() -> Vec<Said> {
    let text = |text: &str| Ok(Value::Text(text.to_owned()));
    let at = |ms| Ok(Value::Instant(UnixMillis(ms)));
    vec![
        (r#""text":"\ud83d\ude00""#, text("😀")),
        (r#""text":"\u00e5""#, text("å")),
        (r#""text":"a\u030a""#, text("a\u{30a}")),
        (r#""text":"""#, text("")),
        (r#""text":"\u0000""#, Err("value")),
        (r#""text":"a","text":"b""#, Err("written-twice")),
        (r#""text":null,"text":"b""#, Err("written-twice")),
        (r#""text":"\ud83d""#, Err("no-object")),
        (r#""text":"\ude00\ud83d""#, Err("no-object")),
        (r#""text":"\ud83dx""#, Err("no-object")),
        (r#""text":7"#, Err("value")),
        (r#""text":["x"]"#, Err("value")),
        (r#""text":{"$ref":"F-000001"}"#, Err("value")),
        (r#""integer":-9223372036854775808"#, Ok(Value::Integer(i64::MIN))),
        (r#""integer":9007199254740993"#, Ok(Value::Integer((1 << 53) + 1))),
        (r#""integer":9223372036854775808"#, Err("value")),
        (r#""integer":1.0"#, Err("value")),
        (r#""integer":1e3"#, Err("value")),
        (r#""integer":-0"#, Err("value")),
        (r#""integer":true"#, Err("value")),
        (r#""float":-0"#, Ok(Value::Float(-0.0))),
        (r#""float":1"#, Ok(Value::Float(1.0))),
        (r#""float":5e-324"#, Ok(Value::Float(5e-324))),
        (r#""float":2.2250738585072011e-308"#, Ok(Value::Float(2.225_073_858_507_201e-308))),
        // The nearest double, as every reader of JSON makes of it.
        (r#""float":9007199254740993"#, Ok(Value::Float(9_007_199_254_740_992.0))),
        (r#""float":1e999"#, Err("no-object")),
        (r#""float":NaN"#, Err("no-object")),
        (r#""float":"NaN""#, Err("value")),
        (r#""float":"-inf""#, Err("value")),
        (r#""boolean":1"#, Err("value")),
        (r#""instant":"2024-02-29T23:59:59Z""#, at(1_709_251_199_000)),
        (r#""instant":"2024-02-29T23:59:59.999Z""#, at(1_709_251_199_999)),
        (r#""instant":"2024-03-01T05:29:59+05:30""#, at(1_709_251_199_000)),
        (r#""instant":"2024-02-29T12:00:00-12:00""#, at(1_709_251_200_000)),
        (r#""instant":"2024-02-29T23:59:59""#, Err("value")),
        (r#""instant":"2024-02-29T24:00:00Z""#, Err("value")),
        (r#""instant":"2016-12-31T23:59:60Z""#, Err("value")),
        (r#""instant":"2023-02-29T00:00:00Z""#, Err("value")),
        (r#""instant":"2024-02-29T23:59:59.1234Z""#, Err("value")),
        (r#""instant":"2024-02-29T00:00:00+01:00[Europe/Oslo]""#, Err("value")),
        (r#""instant":"0000-01-01T00:00:00+00:01""#, Err("value")),
        (r#""instant":"9999-12-31T23:59:59-00:01""#, Err("value")),
        (r#""instant":1709251199000"#, Err("value")),
        (r#""date":20240229"#, Err("value")),
        (r#""decimal":1.5"#, Err("value")),
        (r#""raw":"AP8=""#, Ok(Value::Bytes(vec![0, 255]))),
        (r#""raw":"AB==""#, Err("value")),
        (r#""raw":"AP8""#, Err("value")),
        (r#""tags":["a","b","a"]"#, Ok(Value::Set(["a".to_owned(), "b".to_owned()].into()))),
        (r#""tags":[""]"#, Err("value")),
        (r#""tags":[1]"#, Err("value")),
        (r#""calls":2147483649"#, Err("value")),
        (r#""friend":"F-999999""#, Err("unknown-reference")),
        (r#""friend":"t:F-000001 ""#, Err("value")),
        (r#""_v":9"#, Err("unknown-field")),
        (r#""_deleted":true"#, Err("unknown-field")),
        (r#""__override":{}"#, Err("unknown-field")),
        (r#""$ref":"F-000001""#, Err("unknown-field")),
    ]
}
