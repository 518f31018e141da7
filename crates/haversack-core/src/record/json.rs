//! The JSON text of rows and of what is in them, written and read without a general JSON value between.
//!
//! Keys come out sorted. Readers carry the schema, so a value is read as the kind of its field or refused.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::marker::PhantomData;

use base64::Engine;
use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD as BASE64;
use haversack_protocol::{CollectionSchema, FieldKind, FieldName};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::field::{Reference, Value, ValueRefusal};
use super::projection::{Candidate, Row, RowRefusal};
use crate::override_mark::Mark;

impl Row {
    /// The row as JSON text, as the store keeps it. Absent parts take no bytes.
    pub fn to_text(&self) -> String {
        serde_json::to_string(&Stored(self)).expect("names are texts, and writing to memory cannot fail")
    }

    /// Reads what [`Row::to_text`] wrote.
    ///
    /// # Errors
    /// [`RowRefusal`] when the text is no JSON, or a part is of another form than the schema's.
    pub fn from_text(collection: &CollectionSchema, text: &str) -> Result<Self, RowRefusal> {
        let mut reader = serde_json::Deserializer::from_str(text);
        let row = reader.deserialize_map(OfCollection(collection)).map_err(|_| RowRefusal)?;
        reader.end().map_err(|_| RowRefusal)?;
        Ok(row)
    }
}

/// A row in its stored form.
struct Stored<'r>(&'r Row);

impl Serialize for Stored<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self(row) = self;
        let mut map = to.serialize_map(None)?;
        if !row.beaten_marks.is_empty() {
            map.serialize_entry("b", &row.beaten_marks)?;
        }
        if row.is_deleted {
            map.serialize_entry("d", &true)?;
        }
        map.serialize_entry("f", &row.fields)?;
        if !row.marks.is_empty() {
            map.serialize_entry("m", &row.marks)?;
        }
        if !row.shadowed.is_empty() {
            map.serialize_entry("s", &row.shadowed)?;
        }
        map.serialize_entry("v", &row.schema_version)?;
        if !row.conflicts.is_empty() {
            map.serialize_entry("x", &row.conflicts)?;
        }
        map.end()
    }
}

/// Instants as RFC 3339, bytes as base64, decimals and dates as text, sets as arrays.
impl Serialize for Value {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) | Self::Date(text) | Self::Decimal(text) => to.serialize_str(text),
            Self::Integer(number) | Self::Counter(number) => to.serialize_i64(*number),
            Self::Float(number) => to.serialize_f64(*number),
            Self::Boolean(truth) => to.serialize_bool(*truth),
            Self::Instant(at) => to.collect_str(at),
            Self::Bytes(bytes) => to.collect_str(&Base64Display::new(bytes, &BASE64)),
            Self::Reference(reference) => to.collect_str(reference),
            Self::Set(elements) => to.collect_seq(elements),
        }
    }
}

impl Serialize for Mark {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(5))?;
        map.serialize_entry("at", &self.at)?;
        map.serialize_entry("by", &self.by)?;
        map.serialize_entry("reason", &self.reason)?;
        map.serialize_entry("role", &self.role)?;
        map.serialize_entry("value", &self.value)?;
        map.end()
    }
}

impl Serialize for Candidate {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(3))?;
        map.serialize_entry("change", &self.change)?;
        map.serialize_entry("device", &self.device)?;
        map.serialize_entry("value", &self.value)?;
        map.end()
    }
}

/// Reads a row of the collection. Keys are borrowed from the text: none of ours holds a character JSON would escape.
struct OfCollection<'s>(&'s CollectionSchema);

impl<'de> Visitor<'de> for OfCollection<'_> {
    type Value = Row;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Row, A::Error> {
        let Self(collection) = self;
        let (mut row, mut version) = (Row::default(), None);
        while let Some(key) = map.next_key()? {
            match key {
                "b" => row.beaten_marks = map.next_value_seed(ByField::of(collection))?,
                "d" => row.is_deleted = map.next_value()?,
                "f" => row.fields = map.next_value_seed(ByField::of(collection))?,
                "m" => row.marks = map.next_value_seed(ByField::of(collection))?,
                "s" => row.shadowed = map.next_value()?,
                "v" => version = Some(map.next_value()?),
                "x" => row.conflicts = map.next_value_seed(ByField::of(collection))?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        row.schema_version = present(version, "v")?;
        Ok(row)
    }
}

/// Reads an object that holds something by field.
struct ByField<'s, T> {
    collection: &'s CollectionSchema,
    read: PhantomData<T>,
}

impl<'s, T> ByField<'s, T> {
    fn of(collection: &'s CollectionSchema) -> Self {
        Self { collection, read: PhantomData }
    }
}

impl<'de, T: Fielded> DeserializeSeed<'de> for ByField<'_, T> {
    type Value = BTreeMap<FieldName, T>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de, T: Fielded> Visitor<'de> for ByField<'_, T> {
    type Value = BTreeMap<FieldName, T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object by field")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        // Stored names are sorted as the schema's are: each is looked for behind the last one. They are the schema's own.
        let Self { collection, .. } = self;
        let mut behind = collection.fields.iter();
        let mut all = Vec::with_capacity(collection.fields.len());
        while let Some(name) = map.next_key::<&str>()? {
            let next = behind.find(|(known, _)| known.as_str() == name);
            let found = next.or_else(|| collection.fields.get_key_value(name));
            let (name, field) = found.ok_or_else(|| A::Error::custom("unknown"))?;
            all.push((name.clone(), map.next_value_seed(OfKind::of(field.kind))?));
        }
        Ok(BTreeMap::from_iter(all))
    }
}

/// What a row keeps about a field, in a form that depends on the field's kind.
pub(super) trait Fielded: Sized {
    fn read<'de, D: Deserializer<'de>>(kind: FieldKind, from: D) -> Result<Self, D::Error>;
}

/// Reads something about a field of the kind.
struct OfKind<T> {
    kind: FieldKind,
    read: PhantomData<T>,
}

impl<T> OfKind<T> {
    fn of(kind: FieldKind) -> Self {
        Self { kind, read: PhantomData }
    }
}

impl<'de, T: Fielded> DeserializeSeed<'de> for OfKind<T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<T, D::Error> {
        T::read(self.kind, from)
    }
}

impl Fielded for Value {
    fn read<'de, D: Deserializer<'de>>(kind: FieldKind, from: D) -> Result<Self, D::Error> {
        from.deserialize_any(OfKind::<Self>::of(kind))
    }
}

impl OfKind<Value> {
    fn number<E: Error>(&self, number: i64) -> Result<Value, E> {
        match self.kind {
            FieldKind::Integer => Ok(Value::Integer(number)),
            FieldKind::Counter => Ok(Value::Counter(number)),
            _ => Err(self.other_kind()),
        }
    }

    fn other_kind<E: Error>(&self) -> E {
        E::custom(ValueRefusal::Kind { expected: self.kind })
    }
}

impl<'de> Visitor<'de> for OfKind<Value> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.kind)
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<Value, E> {
        if self.kind == FieldKind::Boolean { Ok(Value::Boolean(truth)) } else { Err(self.other_kind()) }
    }

    #[allow(clippy::cast_precision_loss, reason = "JSON does not tell 1 from 1.0")]
    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        if self.kind == FieldKind::Float { Ok(Value::Float(number as f64)) } else { self.number(number) }
    }

    #[allow(clippy::cast_precision_loss, reason = "JSON does not tell 1 from 1.0")]
    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        match i64::try_from(number) {
            _ if self.kind == FieldKind::Float => Ok(Value::Float(number as f64)),
            Ok(number) => self.number(number),
            Err(_) => Err(self.other_kind()),
        }
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        if self.kind == FieldKind::Float { Ok(Value::Float(number)) } else { Err(self.other_kind()) }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        let form = || E::custom(ValueRefusal::Form);
        Ok(match self.kind {
            FieldKind::Text => Value::Text(text.to_owned()),
            FieldKind::Date => Value::Date(text.to_owned()),
            FieldKind::Decimal => Value::Decimal(text.to_owned()),
            FieldKind::Instant => Value::Instant(text.parse().map_err(|_| form())?),
            FieldKind::Bytes => Value::Bytes(BASE64.decode(text).map_err(|_| form())?),
            FieldKind::Reference => Value::Reference(Reference::parse(text).ok_or_else(form)?),
            _ => return Err(self.other_kind()),
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        if self.kind != FieldKind::Set {
            return Err(self.other_kind());
        }
        let mut set = BTreeSet::new();
        while let Some(element) = elements.next_element()? {
            set.insert(element);
        }
        Ok(Value::Set(set))
    }
}

impl Fielded for Option<Value> {
    fn read<'de, D: Deserializer<'de>>(kind: FieldKind, from: D) -> Result<Self, D::Error> {
        from.deserialize_option(OfKind::<Self>::of(kind))
    }
}

impl<'de> Visitor<'de> for OfKind<Option<Value>> {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} or null", self.kind)
    }

    fn visit_none<E: Error>(self) -> Result<Option<Value>, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Option<Value>, D::Error> {
        Value::read(self.kind, from).map(Some)
    }
}

impl Fielded for Mark {
    fn read<'de, D: Deserializer<'de>>(kind: FieldKind, from: D) -> Result<Self, D::Error> {
        from.deserialize_map(OfKind::<Self>::of(kind))
    }
}

impl<'de> Visitor<'de> for OfKind<Mark> {
    type Value = Mark;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mark")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Mark, A::Error> {
        let (mut value, mut by, mut role, mut at, mut reason) = (None, None, None, None, None);
        while let Some(key) = map.next_key()? {
            match key {
                "value" => value = Some(map.next_value_seed(OfKind::of(self.kind))?),
                "by" => by = Some(map.next_value()?),
                "role" => role = Some(map.next_value()?),
                "at" => at = Some(map.next_value()?),
                "reason" => reason = Some(map.next_value()?),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Mark {
            value: present(value, "value")?,
            by: present(by, "by")?,
            role: present(role, "role")?,
            at: present(at, "at")?,
            reason: present(reason, "reason")?,
        })
    }
}

impl Fielded for Candidate {
    fn read<'de, D: Deserializer<'de>>(kind: FieldKind, from: D) -> Result<Self, D::Error> {
        from.deserialize_map(OfKind::<Self>::of(kind))
    }
}

impl<'de> Visitor<'de> for OfKind<Candidate> {
    type Value = Candidate;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a candidate")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Candidate, A::Error> {
        let (mut value, mut device, mut change) = (None, None, None);
        while let Some(key) = map.next_key()? {
            match key {
                "value" => value = Some(map.next_value_seed(OfKind::of(self.kind))?),
                "device" => device = Some(map.next_value()?),
                "change" => change = Some(map.next_value()?),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Candidate {
            value: present(value, "value")?,
            device: present(device, "device")?,
            change: present(change, "change")?,
        })
    }
}

fn present<T, E: Error>(part: Option<T>, name: &'static str) -> Result<T, E> {
    part.ok_or_else(|| E::missing_field(name))
}

impl<T: Fielded> Fielded for Vec<T> {
    fn read<'de, D: Deserializer<'de>>(kind: FieldKind, from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(OfKind::<Self>::of(kind))
    }
}

impl<'de, T: Fielded> Visitor<'de> for OfKind<Vec<T>> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("several")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<T>, A::Error> {
        let mut all = Vec::new();
        while let Some(one) = elements.next_element_seed(OfKind::of(self.kind))? {
            all.push(one);
        }
        Ok(all)
    }
}
