//! Reading: what a row shows, as serde's data.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::vec::IntoIter;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use haversack_protocol::{CollectionSchema, FieldKind};
use serde::de::value::{SeqDeserializer, StrDeserializer};
use serde::de::{DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::TypeRefusal;
use crate::record::field::Value;
use crate::record::projection::Row;

/// The fields a row shows.
pub(super) struct Shown<'r> {
    fields: IntoIter<(&'r str, &'r Value)>,
    next: Option<(&'r str, &'r Value)>,
}

/// What a set without elements shows.
static NO_ELEMENTS: Value = Value::Set(BTreeSet::new());

impl<'r> Shown<'r> {
    pub(super) fn of(collection: &'r CollectionSchema, row: &'r Row) -> Self {
        let sets = collection.fields.iter().filter(|(_, field)| field.kind == FieldKind::Set);
        let empty = sets.filter(|(name, _)| row.effective(name).is_none());
        let fields = row.shown().chain(empty.map(|(name, _)| (name.as_str(), &NO_ELEMENTS)));
        Self { fields: fields.collect::<Vec<_>>().into_iter(), next: None }
    }
}

impl<'de> Deserializer<'de> for Shown<'_> {
    type Error = TypeRefusal;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypeRefusal> {
        visitor.visit_map(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de> MapAccess<'de> for Shown<'_> {
    type Error = TypeRefusal;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, TypeRefusal> {
        self.next = self.fields.next();
        let Some((name, _)) = self.next else { return Ok(None) };
        let name: StrDeserializer<'_, TypeRefusal> = name.into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, TypeRefusal> {
        let (name, value) = self.next.take().ok_or(TypeRefusal::Shape)?;
        seed.deserialize(Held(value)).map_err(|refusal| refusal.at(name))
    }
}

/// One value.
struct Held<'r>(&'r Value);

impl<'r> Held<'r> {
    fn text(&self) -> Option<Cow<'r, str>> {
        match self.0 {
            Value::Text(text) | Value::Date(text) | Value::Decimal(text) => Some(text.into()),
            Value::Instant(at) => Some(at.to_string().into()),
            Value::Reference(reference) => Some(reference.to_string().into()),
            Value::Bytes(bytes) => Some(BASE64.encode(bytes).into()),
            _ => None,
        }
    }
}

impl<'de> Deserializer<'de> for Held<'_> {
    type Error = TypeRefusal;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypeRefusal> {
        match self.0 {
            Value::Integer(number) | Value::Counter(number) => visitor.visit_i64(*number),
            Value::Float(number) => visitor.visit_f64(*number),
            Value::Boolean(truth) => visitor.visit_bool(*truth),
            Value::Set(elements) => {
                visitor.visit_seq(SeqDeserializer::new(elements.iter().map(String::as_str)))
            }
            _ => visitor.visit_str(&self.text().ok_or(TypeRefusal::Shape)?),
        }
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypeRefusal> {
        match self.0 {
            Value::Instant(at) => visitor.visit_i64(at.0),
            value => Self(value).deserialize_any(visitor),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypeRefusal> {
        match self.0 {
            Value::Bytes(bytes) => visitor.visit_seq(SeqDeserializer::new(bytes.iter().copied())),
            value => Self(value).deserialize_any(visitor),
        }
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypeRefusal> {
        match self.0 {
            Value::Bytes(bytes) => visitor.visit_bytes(bytes),
            value => Self(value).deserialize_any(visitor),
        }
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypeRefusal> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypeRefusal> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, TypeRefusal> {
        visitor.visit_newtype_struct(self)
    }

    /// A text of `one_of` is a unit variant.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, TypeRefusal> {
        let text = self.text().ok_or(TypeRefusal::Shape)?;
        visitor.visit_enum(IntoDeserializer::<TypeRefusal>::into_deserializer(text))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i128 u8 u16 u32 u64 u128 f32 f64 char str string unit unit_struct tuple tuple_struct map
        struct identifier ignored_any
    }
}
