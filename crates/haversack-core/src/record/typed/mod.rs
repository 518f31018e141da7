//! Records as types of the app: a struct whose fields are named as the schema's.
//!
//! Read through serde from the values a row shows, written back as the difference of two states, so that only what the
//! app changed is written and merges with what others change meanwhile. No value is ever part of a refusal.

mod read;
mod write;

use std::collections::BTreeMap;
use std::fmt;

use haversack_protocol::CollectionSchema;
use serde::de::DeserializeOwned;
use serde::ser::Serialize;

use super::change_set::Intent;
use super::field::{Value, ValueRefusal};
use super::projection::Row;

/// Why a record and a type of the app do not fit each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TypeRefusal {
    /// The type needs a field that shows no value.
    #[error("field {0:?} has no value, and the type knows no default")]
    Missing(String),
    /// The type knows no such field, and refuses others than it knows; or the collection knows none.
    #[error("there is no field {0:?}")]
    Unknown(String),
    /// A value of another form than the type's, or than the field's.
    #[error("field {0:?} is of another form")]
    Form(String),
    /// A value the field refuses.
    #[error("field {field:?}: {source}")]
    Value {
        /// Field.
        field: String,
        /// Why.
        source: ValueRefusal,
    },
    /// The type is no struct or map of fields.
    #[error("only a struct or a map stands for a record")]
    Shape,
}

impl TypeRefusal {
    /// Names the field, where the refusal came from within its value.
    fn at(self, field: &str) -> Self {
        match self {
            Self::Shape | Self::Form(_) => Self::Form(field.to_owned()),
            Self::Value { source, .. } => Self::Value { field: field.to_owned(), source },
            other => other,
        }
    }
}

/// What a type says in its own words may hold values, and is dropped.
impl serde::de::Error for TypeRefusal {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::Shape
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Missing(field.to_owned())
    }

    fn unknown_field(field: &str, _: &'static [&'static str]) -> Self {
        Self::Unknown(field.to_owned())
    }
}

impl serde::ser::Error for TypeRefusal {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::Shape
    }
}

/// Reads what a row shows as a `T`: overridden fields as overridden, a set without elements as empty, other fields
/// without a value as absent. Instants are RFC 3339 text or Unix milliseconds, dates and decimals text, references either name of a record,
/// bytes a sequence of bytes or base64 text.
///
/// # Errors
/// [`TypeRefusal`].
pub fn read_as<T: DeserializeOwned>(collection: &CollectionSchema, row: &Row) -> Result<T, TypeRefusal> {
    T::deserialize(read::Shown::of(collection, row))
}

/// What a `T` says of each field it names: a value, or that there is none.
///
/// # Errors
/// [`TypeRefusal`].
pub fn written_by<T: Serialize>(
    collection: &CollectionSchema,
    typed: &T,
) -> Result<BTreeMap<String, Option<Value>>, TypeRefusal> {
    typed.serialize(write::Fields(collection))
}

/// What to write so that a record which showed `before` shows `after`: changed registers alone, elements added and
/// removed, counters stepped by the difference.
pub fn difference(
    before: &BTreeMap<String, Option<Value>>,
    after: &BTreeMap<String, Option<Value>>,
) -> Vec<Intent> {
    let mut intents = Vec::new();
    for (field, new) in after {
        let old = before.get(field).cloned().flatten();
        if old != *new {
            change(&mut intents, field, old, new.clone());
        }
    }
    intents
}

fn change(intents: &mut Vec<Intent>, field: &str, old: Option<Value>, new: Option<Value>) {
    let name = || field.to_owned();
    match (old, new) {
        (Some(Value::Set(old)), None) => {
            intents.extend(old.into_iter().map(|element| Intent::Remove { field: name(), element }));
        }
        (old, Some(Value::Set(new))) => {
            let old = if let Some(Value::Set(old)) = old { old } else { [].into() };
            let gone = old.difference(&new).cloned();
            intents.extend(gone.map(|element| Intent::Remove { field: name(), element }));
            let fresh = new.difference(&old).cloned();
            intents.extend(fresh.map(|element| Intent::Add { field: name(), element }));
        }
        (old, Some(Value::Counter(new))) => {
            let old = if let Some(Value::Counter(old)) = old { old } else { 0 };
            intents.push(Intent::Increment { field: name(), by: new.saturating_sub(old) });
        }
        // A counter is never cleared: what the type leaves out stays.
        (Some(Value::Counter(_)) | None, None) => {}
        (_, None) => intents.push(Intent::Clear { field: name() }),
        (_, Some(value)) => intents.push(Intent::Set { field: name(), value }),
    }
}

#[cfg(test)]
mod tests;
