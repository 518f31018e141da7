//! Why the schema refuses an edit, as the message keys a rejection carries: an app translates them, a person acts on them.

use crate::record::ValueRefusal;

/// The schema has no such collection.
pub(crate) const UNKNOWN_COLLECTION: &str = "schema.unknown_collection";
/// The collection has no such field.
pub(crate) const UNKNOWN_FIELD: &str = "schema.unknown_field";
/// The field is of another kind, or the value is.
pub(crate) const KIND: &str = "schema.kind";
/// The record cannot be without the field.
pub(crate) const REQUIRED: &str = "schema.required";
/// What it stands on is not there.
pub(crate) const NOT_AUTHORED: &str = "schema.not_authored";

/// The key of a value's refusal.
pub(crate) const fn of_value(refusal: &ValueRefusal) -> &'static str {
    match refusal {
        ValueRefusal::Kind { .. } => KIND,
        ValueRefusal::TooLong { .. } => "schema.max_bytes",
        ValueRefusal::Range => "schema.range",
        ValueRefusal::OneOf => "schema.one_of",
        ValueRefusal::TooMany => "schema.too_many",
        ValueRefusal::Step => "schema.step",
        ValueRefusal::Nul | ValueRefusal::NotFinite | ValueRefusal::Form => "schema.form",
    }
}
