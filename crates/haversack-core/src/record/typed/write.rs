//! Writing: serde's data as the values of fields.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use haversack_protocol::{CollectionSchema, FieldKind, UnixMillis};
use serde::ser::{Impossible, Serialize, SerializeMap, SerializeSeq, SerializeStruct, Serializer};

use super::TypeRefusal;
use crate::record::field::{Reference, Value, ValueRefusal, check_value};

type Written = BTreeMap<String, Option<Value>>;
type Refused = Impossible<Written, TypeRefusal>;

/// Refuses every form of serde's data but those that are written out.
macro_rules! refuse {
    ($ok:ty; $($method:ident($($argument:ty),*);)*) => {
        $(fn $method(self, $(_: $argument),*) -> Result<$ok, TypeRefusal> {
            Err(TypeRefusal::Shape)
        })*
    };
}

macro_rules! refuse_with_content {
    ($ok:ty; $($method:ident($($argument:ty),*);)*) => {
        $(fn $method<T: ?Sized + Serialize>(self, $(_: $argument,)* _: &T) -> Result<$ok, TypeRefusal> {
            Err(TypeRefusal::Shape)
        })*
    };
}

/// Takes a struct or a map as the fields of a collection.
pub(super) struct Fields<'s>(pub(super) &'s CollectionSchema);

impl<'s> Serializer for Fields<'s> {
    type Ok = Written;
    type Error = TypeRefusal;
    type SerializeSeq = Refused;
    type SerializeTuple = Refused;
    type SerializeTupleStruct = Refused;
    type SerializeTupleVariant = Refused;
    type SerializeMap = Collecting<'s>;
    type SerializeStruct = Collecting<'s>;
    type SerializeStructVariant = Refused;

    fn serialize_struct(self, _: &'static str, fields: usize) -> Result<Collecting<'s>, TypeRefusal> {
        self.serialize_map(Some(fields))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Collecting<'s>, TypeRefusal> {
        Ok(Collecting { collection: self.0, written: Written::new(), key: None })
    }

    fn serialize_newtype_struct<T: ?Sized + Serialize>(
        self,
        _: &'static str,
        inner: &T,
    ) -> Result<Written, TypeRefusal> {
        inner.serialize(self)
    }

    refuse! { Written;
        serialize_bool(bool); serialize_i8(i8); serialize_i16(i16); serialize_i32(i32); serialize_i64(i64);
        serialize_u8(u8); serialize_u16(u16); serialize_u32(u32); serialize_u64(u64); serialize_f32(f32);
        serialize_f64(f64); serialize_char(char); serialize_str(&str); serialize_bytes(&[u8]); serialize_none();
        serialize_unit(); serialize_unit_struct(&'static str);
        serialize_unit_variant(&'static str, u32, &'static str);
    }
    refuse! { Refused;
        serialize_seq(Option<usize>); serialize_tuple(usize); serialize_tuple_struct(&'static str, usize);
        serialize_tuple_variant(&'static str, u32, &'static str, usize);
        serialize_struct_variant(&'static str, u32, &'static str, usize);
    }
    refuse_with_content! { Written;
        serialize_some(); serialize_newtype_variant(&'static str, u32, &'static str);
    }
}

pub(super) struct Collecting<'s> {
    collection: &'s CollectionSchema,
    written: Written,
    key: Option<String>,
}

impl Collecting<'_> {
    fn put<T: ?Sized + Serialize>(&mut self, name: &str, value: &T) -> Result<(), TypeRefusal> {
        let field = self.collection.field(name).ok_or_else(|| TypeRefusal::Unknown(name.to_owned()))?;
        let value = value.serialize(OfField(field.kind)).map_err(|refusal| refusal.at(name))?;
        // A counter holds a sum of any size; its steps are what is checked, when they are written.
        if let Some(value) = value.as_ref().filter(|value| !matches!(value, Value::Counter(_))) {
            let refuse = |source| TypeRefusal::Value { field: name.to_owned(), source };
            check_value(field, value).map_err(refuse)?;
        }
        self.written.insert(name.to_owned(), value);
        Ok(())
    }
}

impl SerializeStruct for Collecting<'_> {
    type Ok = Written;
    type Error = TypeRefusal;

    fn serialize_field<T: ?Sized + Serialize>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), TypeRefusal> {
        self.put(name, value)
    }

    fn end(self) -> Result<Written, TypeRefusal> {
        SerializeMap::end(self)
    }
}

impl SerializeMap for Collecting<'_> {
    type Ok = Written;
    type Error = TypeRefusal;

    fn serialize_key<T: ?Sized + Serialize>(&mut self, key: &T) -> Result<(), TypeRefusal> {
        match key.serialize(OfField(FieldKind::Text))? {
            Some(Value::Text(name)) => self.key = Some(name),
            _ => return Err(TypeRefusal::Shape),
        }
        Ok(())
    }

    fn serialize_value<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), TypeRefusal> {
        let name = self.key.take().ok_or(TypeRefusal::Shape)?;
        self.put(&name, value)
    }

    fn end(self) -> Result<Written, TypeRefusal> {
        Ok(self.written)
    }
}

/// Takes something as the value of a field.
struct OfField(FieldKind);

impl OfField {
    fn whole(&self, number: i64) -> Result<Option<Value>, TypeRefusal> {
        match self.0 {
            FieldKind::Integer => Ok(Some(Value::Integer(number))),
            FieldKind::Counter => Ok(Some(Value::Counter(number))),
            FieldKind::Instant => Ok(Some(Value::Instant(UnixMillis(number)))),
            #[allow(clippy::cast_precision_loss, reason = "as in JSON, a whole number is a float, too")]
            FieldKind::Float => Ok(Some(Value::Float(number as f64))),
            expected => Err(kind(expected)),
        }
    }
}

/// The field is named where the refusal arrives.
fn refused(source: ValueRefusal) -> TypeRefusal {
    TypeRefusal::Value { field: String::new(), source }
}

fn kind(expected: FieldKind) -> TypeRefusal {
    refused(ValueRefusal::Kind { expected })
}

type NoValue = Impossible<Option<Value>, TypeRefusal>;

impl Serializer for OfField {
    type Ok = Option<Value>;
    type Error = TypeRefusal;
    type SerializeSeq = Elements;
    type SerializeTuple = NoValue;
    type SerializeTupleStruct = NoValue;
    type SerializeTupleVariant = NoValue;
    type SerializeMap = NoValue;
    type SerializeStruct = NoValue;
    type SerializeStructVariant = NoValue;

    fn serialize_bool(self, truth: bool) -> Result<Option<Value>, TypeRefusal> {
        match self.0 {
            FieldKind::Boolean => Ok(Some(Value::Boolean(truth))),
            expected => Err(kind(expected)),
        }
    }

    fn serialize_i8(self, number: i8) -> Result<Option<Value>, TypeRefusal> {
        self.whole(number.into())
    }

    fn serialize_i16(self, number: i16) -> Result<Option<Value>, TypeRefusal> {
        self.whole(number.into())
    }

    fn serialize_i32(self, number: i32) -> Result<Option<Value>, TypeRefusal> {
        self.whole(number.into())
    }

    fn serialize_i64(self, number: i64) -> Result<Option<Value>, TypeRefusal> {
        self.whole(number)
    }

    fn serialize_u8(self, number: u8) -> Result<Option<Value>, TypeRefusal> {
        self.whole(number.into())
    }

    fn serialize_u16(self, number: u16) -> Result<Option<Value>, TypeRefusal> {
        self.whole(number.into())
    }

    fn serialize_u32(self, number: u32) -> Result<Option<Value>, TypeRefusal> {
        self.whole(number.into())
    }

    fn serialize_u64(self, number: u64) -> Result<Option<Value>, TypeRefusal> {
        self.whole(i64::try_from(number).map_err(|_| refused(ValueRefusal::Range))?)
    }

    fn serialize_f32(self, number: f32) -> Result<Option<Value>, TypeRefusal> {
        self.serialize_f64(number.into())
    }

    fn serialize_f64(self, number: f64) -> Result<Option<Value>, TypeRefusal> {
        match self.0 {
            FieldKind::Float => Ok(Some(Value::Float(number))),
            expected => Err(kind(expected)),
        }
    }

    fn serialize_char(self, letter: char) -> Result<Option<Value>, TypeRefusal> {
        self.serialize_str(letter.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, text: &str) -> Result<Option<Value>, TypeRefusal> {
        let form = || refused(ValueRefusal::Form);
        Ok(Some(match self.0 {
            FieldKind::Text => Value::Text(text.to_owned()),
            FieldKind::Date => Value::Date(text.to_owned()),
            FieldKind::Decimal => Value::Decimal(text.to_owned()),
            FieldKind::Instant => Value::Instant(text.parse().map_err(|_| form())?),
            FieldKind::Reference => Value::Reference(Reference::parse(text).ok_or_else(form)?),
            FieldKind::Bytes => Value::Bytes(BASE64.decode(text).map_err(|_| form())?),
            expected => return Err(kind(expected)),
        }))
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<Option<Value>, TypeRefusal> {
        match self.0 {
            FieldKind::Bytes => Ok(Some(Value::Bytes(bytes.to_vec()))),
            expected => Err(kind(expected)),
        }
    }

    fn serialize_none(self) -> Result<Option<Value>, TypeRefusal> {
        Ok(None)
    }

    fn serialize_some<T: ?Sized + Serialize>(self, inner: &T) -> Result<Option<Value>, TypeRefusal> {
        inner.serialize(self)
    }

    fn serialize_unit(self) -> Result<Option<Value>, TypeRefusal> {
        Ok(None)
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<Option<Value>, TypeRefusal> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: ?Sized + Serialize>(
        self,
        _: &'static str,
        inner: &T,
    ) -> Result<Option<Value>, TypeRefusal> {
        inner.serialize(self)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Elements, TypeRefusal> {
        match self.0 {
            FieldKind::Set | FieldKind::Bytes => {
                Ok(Elements { kind: self.0, texts: BTreeSet::new(), bytes: vec![] })
            }
            expected => Err(kind(expected)),
        }
    }

    refuse! { Option<Value>;
        serialize_unit_struct(&'static str);
    }
    refuse! { NoValue;
        serialize_tuple(usize);
        serialize_tuple_struct(&'static str, usize);
        serialize_tuple_variant(&'static str, u32, &'static str, usize);
        serialize_map(Option<usize>); serialize_struct(&'static str, usize);
        serialize_struct_variant(&'static str, u32, &'static str, usize);
    }
    refuse_with_content! { Option<Value>;
        serialize_newtype_variant(&'static str, u32, &'static str);
    }
}

/// The elements of a set, or the bytes of a value.
struct Elements {
    kind: FieldKind,
    texts: BTreeSet<String>,
    bytes: Vec<u8>,
}

impl Elements {
    fn add<T: ?Sized + Serialize>(&mut self, element: &T) -> Result<(), TypeRefusal> {
        let is_set = self.kind == FieldKind::Set;
        match element.serialize(OfField(if is_set { FieldKind::Text } else { FieldKind::Integer }))? {
            Some(Value::Text(text)) => drop(self.texts.insert(text)),
            Some(Value::Integer(byte)) => {
                self.bytes.push(u8::try_from(byte).map_err(|_| refused(ValueRefusal::Form))?);
            }
            _ => return Err(refused(ValueRefusal::Form)),
        }
        Ok(())
    }

    fn whole(self) -> Option<Value> {
        Some(match self.kind {
            FieldKind::Set => Value::Set(self.texts),
            _ => Value::Bytes(self.bytes),
        })
    }
}

impl SerializeSeq for Elements {
    type Ok = Option<Value>;
    type Error = TypeRefusal;

    fn serialize_element<T: ?Sized + Serialize>(&mut self, element: &T) -> Result<(), TypeRefusal> {
        self.add(element)
    }

    fn end(self) -> Result<Option<Value>, TypeRefusal> {
        Ok(self.whole())
    }
}
