//! Field values: what a field of each kind may hold, and its forms in a document and in JSON.

use std::collections::BTreeSet;
use std::fmt;

use automerge::ScalarValue;
use haversack_protocol::limits::{
    COUNTER_STEP_MAX, DECIMAL_BYTES_MAX, SET_ELEMENT_BYTES_MAX, SET_ELEMENTS_MAX, TEXT_BYTES_MAX,
};
use haversack_protocol::{FieldKind, FieldSchema, RecordId, ServerId, UnixMillis, check_date};
use serde_json::Value as Json;

use super::json::Fielded;

/// Another record, by either of its names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, minicbor::Encode, minicbor::Decode)]
pub enum Reference {
    /// By its record id; temporary once the record has a server id.
    #[n(0)]
    Record(#[n(0)] RecordId),
    /// By its server id.
    #[n(1)]
    Server(#[n(0)] ServerId),
}

impl Reference {
    /// Reads either name: a UUID is a record id, anything else a server id.
    pub fn parse(text: &str) -> Option<Self> {
        match text.parse() {
            Ok(record) => Some(Self::Record(record)),
            Err(_) => ServerId::new(text).ok().map(Self::Server),
        }
    }

    fn to_document(&self) -> String {
        match self {
            Self::Record(record) => format!("t:{record}"),
            Self::Server(id) => format!("s:{id}"),
        }
    }

    fn from_document(text: &str) -> Option<Self> {
        match text.split_at_checked(2)? {
            ("t:", id) => id.parse().ok().map(Self::Record),
            ("s:", id) => ServerId::new(id).ok().map(Self::Server),
            _ => None,
        }
    }
}

impl From<RecordId> for Reference {
    fn from(record: RecordId) -> Self {
        Self::Record(record)
    }
}

impl From<ServerId> for Reference {
    fn from(id: ServerId) -> Self {
        Self::Server(id)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record(record) => record.fmt(f),
            Self::Server(id) => id.fmt(f),
        }
    }
}

/// The value of a field. Two are equal when they are the same to the last bit: -0.0 is not 0.0.
#[derive(Clone, Debug, minicbor::Encode, minicbor::Decode)]
pub enum Value {
    /// Unicode text, kept as given (no normal form is forced).
    #[n(0)]
    Text(#[n(0)] String),
    /// Whole number.
    #[n(1)]
    Integer(#[n(0)] i64),
    /// Finite float.
    #[n(2)]
    Float(#[n(0)] f64),
    /// True or false.
    #[n(3)]
    Boolean(#[n(0)] bool),
    /// Instant.
    #[n(4)]
    Instant(#[n(0)] UnixMillis),
    /// `YYYY-MM-DD`.
    #[n(5)]
    Date(#[n(0)] String),
    /// Decimal digits, kept as given.
    #[n(6)]
    Decimal(#[n(0)] String),
    /// Raw bytes.
    #[n(7)]
    Bytes(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
    /// Another record.
    #[n(8)]
    Reference(#[n(0)] Reference),
    /// Sum of steps.
    #[n(9)]
    Counter(#[n(0)] i64),
    /// Members of a set.
    #[n(10)]
    Set(#[n(0)] BTreeSet<String>),
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text(one), Self::Text(other))
            | (Self::Date(one), Self::Date(other))
            | (Self::Decimal(one), Self::Decimal(other)) => one == other,
            (Self::Integer(one), Self::Integer(other)) | (Self::Counter(one), Self::Counter(other)) => {
                one == other
            }
            (Self::Float(one), Self::Float(other)) => one.to_bits() == other.to_bits(),
            (Self::Boolean(one), Self::Boolean(other)) => one == other,
            (Self::Instant(one), Self::Instant(other)) => one == other,
            (Self::Bytes(one), Self::Bytes(other)) => one == other,
            (Self::Reference(one), Self::Reference(other)) => one == other,
            (Self::Set(one), Self::Set(other)) => one == other,
            _ => false,
        }
    }
}

/// Why a value does not fit its field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueRefusal {
    /// Another kind than the field's.
    #[error("expects {expected:?}")]
    Kind {
        /// The field's kind.
        expected: FieldKind,
    },
    /// Longer than the field or any field may be.
    #[error("longer than {max} bytes")]
    TooLong {
        /// Greatest length in bytes.
        max: usize,
    },
    /// Holds a NUL character, which no later system stores faithfully.
    #[error("holds a NUL character")]
    Nul,
    /// NaN or infinite.
    #[error("not a finite number")]
    NotFinite,
    /// Below the field's `min` or above its `max`.
    #[error("outside the allowed range")]
    Range,
    /// Not one of the allowed texts.
    #[error("not one of the allowed values")]
    OneOf,
    /// Not a date, instant, decimal or reference of the documented form.
    #[error("not of the documented form")]
    Form,
    /// More members than a set may have.
    #[error("more than {SET_ELEMENTS_MAX} elements")]
    TooMany,
    /// A counter step of more than 2^31.
    #[error("a counter step is at most 2^31 either way")]
    Step,
}

fn is_decimal(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let leads_with_zero = whole.len() > 1 && whole.starts_with('0');
    text.len() <= DECIMAL_BYTES_MAX && plain(whole) && plain(fraction) && !leads_with_zero
}

fn check_text(text: &str, max: usize) -> Result<(), ValueRefusal> {
    if text.len() > max {
        return Err(ValueRefusal::TooLong { max });
    }
    if text.contains('\0') { Err(ValueRefusal::Nul) } else { Ok(()) }
}

/// Checks a value against its field: kind, form, size, range, allowed texts.
///
/// # Errors
/// [`ValueRefusal`]; the value itself is never part of it.
pub fn check_value(field: &FieldSchema, value: &Value) -> Result<(), ValueRefusal> {
    if value.kind() != field.kind {
        return Err(ValueRefusal::Kind { expected: field.kind });
    }
    let max = field.max_bytes.unwrap_or(TEXT_BYTES_MAX).min(TEXT_BYTES_MAX);
    match value {
        Value::Text(text) => {
            check_text(text, max)?;
            if !field.one_of.is_empty() && !field.one_of.contains(text) {
                return Err(ValueRefusal::OneOf);
            }
        }
        Value::Bytes(bytes) if bytes.len() > max => return Err(ValueRefusal::TooLong { max }),
        Value::Float(number) if !number.is_finite() => return Err(ValueRefusal::NotFinite),
        Value::Date(text) => drop(check_date(text).map_err(|_| ValueRefusal::Form)?),
        Value::Instant(at) if !at.is_civil() => return Err(ValueRefusal::Form),
        Value::Decimal(text) if !is_decimal(text) => return Err(ValueRefusal::Form),
        Value::Counter(step) if step.unsigned_abs() > COUNTER_STEP_MAX.unsigned_abs() => {
            return Err(ValueRefusal::Step);
        }
        Value::Set(elements) => {
            if elements.len() > SET_ELEMENTS_MAX {
                return Err(ValueRefusal::TooMany);
            }
            elements.iter().try_for_each(|element| check_element(element))?;
        }
        _ => {}
    }
    let below = |n: f64| field.min.is_some_and(|min| n < min);
    let above = |n: f64| field.max.is_some_and(|max| n > max);
    match value.as_number() {
        Some(n) if below(n) || above(n) => Err(ValueRefusal::Range),
        _ => Ok(()),
    }
}

/// Checks one element of a set.
pub(crate) fn check_element(element: &str) -> Result<(), ValueRefusal> {
    if element.is_empty() {
        return Err(ValueRefusal::Form);
    }
    check_text(element, SET_ELEMENT_BYTES_MAX)
}

impl Value {
    /// The kind of field that holds such a value.
    pub const fn kind(&self) -> FieldKind {
        match self {
            Self::Text(_) => FieldKind::Text,
            Self::Integer(_) => FieldKind::Integer,
            Self::Float(_) => FieldKind::Float,
            Self::Boolean(_) => FieldKind::Boolean,
            Self::Instant(_) => FieldKind::Instant,
            Self::Date(_) => FieldKind::Date,
            Self::Decimal(_) => FieldKind::Decimal,
            Self::Bytes(_) => FieldKind::Bytes,
            Self::Reference(_) => FieldKind::Reference,
            Self::Counter(_) => FieldKind::Counter,
            Self::Set(_) => FieldKind::Set,
        }
    }

    /// The number a bound is compared with: of registers that hold one, and a counter's sum.
    #[allow(clippy::cast_precision_loss, reason = "a bound is compared, not stored")]
    pub(crate) fn as_number(&self) -> Option<f64> {
        match self {
            Self::Integer(n) | Self::Counter(n) => Some(*n as f64),
            Self::Float(n) => Some(*n),
            Self::Decimal(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// The register's scalar; counters and sets have none.
    pub(crate) fn to_scalar(&self) -> Option<ScalarValue> {
        Some(match self {
            Self::Text(text) | Self::Date(text) | Self::Decimal(text) => text.as_str().into(),
            Self::Integer(number) => ScalarValue::Int(*number),
            Self::Float(number) => ScalarValue::F64(*number),
            Self::Boolean(truth) => ScalarValue::Boolean(*truth),
            Self::Instant(at) => ScalarValue::Timestamp(at.0),
            Self::Bytes(bytes) => ScalarValue::Bytes(bytes.clone()),
            Self::Reference(reference) => reference.to_document().into(),
            Self::Counter(_) | Self::Set(_) => return None,
        })
    }

    /// Reads a register's scalar as a value of `kind`; `None` when it is of another, or of a form no row could keep.
    pub(crate) fn from_scalar(kind: FieldKind, scalar: &ScalarValue) -> Option<Self> {
        let value = match (kind, scalar) {
            (FieldKind::Text, ScalarValue::Str(text)) => Self::Text(text.to_string()),
            (FieldKind::Date, ScalarValue::Str(text)) => Self::Date(text.to_string()),
            (FieldKind::Decimal, ScalarValue::Str(text)) => Self::Decimal(text.to_string()),
            (FieldKind::Integer, ScalarValue::Int(number)) => Self::Integer(*number),
            (FieldKind::Float, ScalarValue::F64(number)) => Self::Float(*number),
            (FieldKind::Boolean, ScalarValue::Boolean(truth)) => Self::Boolean(*truth),
            (FieldKind::Instant, ScalarValue::Timestamp(ms)) => Self::Instant(UnixMillis(*ms)),
            (FieldKind::Bytes, ScalarValue::Bytes(bytes)) => Self::Bytes(bytes.clone()),
            (FieldKind::Reference, ScalarValue::Str(text)) => {
                Self::Reference(Reference::from_document(text)?)
            }
            _ => return None,
        };
        value.is_well_formed().then_some(value)
    }

    /// Says whether the value survives its JSON form: what a hostile server may have written need not.
    pub(crate) fn is_well_formed(&self) -> bool {
        match self {
            Self::Float(number) => number.is_finite(),
            Self::Instant(at) => at.is_civil(),
            Self::Date(text) => check_date(text).is_ok(),
            Self::Decimal(text) => is_decimal(text),
            _ => true,
        }
    }
}

/// The JSON form of a value: instants as RFC 3339, bytes as base64, decimals and dates as text, sets as arrays.
pub fn value_to_json(value: &Value) -> Json {
    serde_json::to_value(value).expect("no value nests or has keys that are no text")
}

/// Reads the JSON form of a value of `kind`.
///
/// # Errors
/// [`ValueRefusal::Kind`] for another JSON type, [`ValueRefusal::Form`] for text of another form.
pub fn value_from_json(kind: FieldKind, json: &Json) -> Result<Value, ValueRefusal> {
    let has_form = matches!(kind, FieldKind::Instant | FieldKind::Bytes | FieldKind::Reference);
    Value::read(kind, json).map_err(|_| match json {
        Json::String(_) if has_form => ValueRefusal::Form,
        _ => ValueRefusal::Kind { expected: kind },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;
    use serde_json::json;

    fn field(kind: FieldKind) -> FieldSchema {
        serde_json::from_value(json!({ "kind": kind })).expect("a plain field")
    }

    quickcheck! {
        fn bytes_survive_json(bytes: Vec<u8>) -> bool {
            let value = Value::Bytes(bytes);
            value_from_json(FieldKind::Bytes, &value_to_json(&value)) == Ok(value)
        }

        fn text_survives_json_and_document(text: String) -> bool {
            let value = Value::Text(text);
            let scalar = value.to_scalar().expect("a register");
            value_from_json(FieldKind::Text, &value_to_json(&value)) == Ok(value.clone())
                && Value::from_scalar(FieldKind::Text, &scalar) == Some(value)
        }

        fn finite_floats_survive_json(bits: u64) -> bool {
            let number = f64::from_bits(bits);
            let text = serde_json::to_string(&value_to_json(&Value::Float(number))).expect("json");
            if !number.is_finite() {
                return check_value(&field(FieldKind::Float), &Value::Float(number)).is_err();
            }
            let json = serde_json::from_str(&text).expect("json");
            matches!(value_from_json(FieldKind::Float, &json),
                Ok(Value::Float(back)) if back.to_bits() == number.to_bits())
        }

        fn integers_survive_json(number: i64) -> bool {
            let value = Value::Integer(number);
            value_from_json(FieldKind::Integer, &value_to_json(&value)) == Ok(value)
        }
    }

    #[test]
    fn a_value_is_equal_to_itself_and_to_no_other_of_any_kind() {
        let (text, set) = (|| "1".to_owned(), [String::from("1")].into());
        let record = Reference::Record(RecordId::from_bytes([1; 16]));
        let all = [
            Value::Text(text()),
            Value::Date(text()),
            Value::Decimal(text()),
            Value::Integer(1),
            Value::Counter(1),
            Value::Float(0.0),
            Value::Float(-0.0),
            Value::Boolean(true),
            Value::Instant(UnixMillis(1)),
            Value::Bytes(vec![1]),
            Value::Reference(record),
            Value::Set(set),
        ];
        for (at, one) in all.iter().enumerate() {
            let equal: Vec<_> = (0..all.len()).filter(|other| *one == all[*other]).collect();
            assert_eq!(equal, [at], "{one:?}");
        }
    }

    #[test]
    fn a_scalar_no_row_could_keep_is_no_value() {
        for (kind, scalar) in [
            (FieldKind::Float, ScalarValue::F64(f64::NAN)),
            (FieldKind::Float, ScalarValue::F64(f64::NEG_INFINITY)),
            (FieldKind::Instant, ScalarValue::Timestamp(i64::MAX)),
            (FieldKind::Date, "2023-02-29".into()),
            (FieldKind::Decimal, "1e9".into()),
            (FieldKind::Reference, "x:1".into()),
            (FieldKind::Text, ScalarValue::Int(1)),
        ] {
            assert_eq!(Value::from_scalar(kind, &scalar), None, "{kind:?}");
        }
    }

    #[test]
    fn base64_that_is_not_canonical_is_refused() {
        for bad in ["A", "AA", "AAA", "AB==", "A===", "====", "AA=A", "Åå==", "AAAA\n"] {
            assert!(value_from_json(FieldKind::Bytes, &json!(bad)).is_err(), "{bad}");
        }
    }
}
