//! The row of a record: what apps read, filter and sort; derived from its document and its unsettled change sets.

use std::collections::{BTreeMap, BTreeSet};

use automerge::{ROOT, ReadDoc, ScalarValue};
use haversack_protocol::limits::SET_ELEMENTS_MAX;
use haversack_protocol::{ChangeHash, CollectionSchema, DeviceId, FieldKind, FieldName};

use super::change_set::{Intent, Part};
use super::document::Document;
use super::field::Value;
use super::key::Key;
use crate::conflict::{Concurrent, concurrent};
use crate::override_mark::Mark;

/// One of the concurrent values of a field.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The value; `None` when that writer cleared the field.
    pub value: Option<Value>,
    /// Device whose user wrote it.
    pub device: DeviceId,
    /// Change that wrote it.
    pub change: ChangeHash,
}

/// A record as rows keep it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// Schema version that created the record.
    pub schema_version: u32,
    /// Deleted, restorable.
    pub is_deleted: bool,
    /// The fields' own values, overrides not counted.
    pub fields: BTreeMap<FieldName, Value>,
    /// Override marks by field.
    pub marks: BTreeMap<FieldName, Mark>,
    /// Concurrent values by field, the shown one first; only where they differ.
    pub conflicts: BTreeMap<FieldName, Vec<Candidate>>,
    /// Marks that lost to a concurrent mark, by field.
    pub beaten_marks: BTreeMap<FieldName, Vec<Mark>>,
    /// Fields that show a pending value which will be shadowed: one that arrived meanwhile beats it. Never part of the
    /// converged state. A value beneath an override mark is told by [`Row::marks`].
    pub shadowed: BTreeSet<String>,
}

/// A stored row that cannot be read under the schema; it is rebuilt from its document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stored row does not fit the schema")]
pub struct RowRefusal;

impl Row {
    /// The value shown: the override mark's where there is one, else the field's own.
    pub fn effective(&self, field: &str) -> Option<&Value> {
        match self.marks.get(field) {
            Some(mark) => mark.value.as_ref(),
            None => self.fields.get(field),
        }
    }

    /// Names of all fields that show a value.
    pub fn shown(&self) -> impl Iterator<Item = (&str, &Value)> {
        let own = self.fields.keys().filter(|name| !self.marks.contains_key(*name));
        let mut names: Vec<_> = own.chain(self.marks.keys()).map(FieldName::as_str).collect();
        names.sort_unstable();
        names.into_iter().filter_map(|name| Some((name, self.effective(name)?)))
    }

    /// The first of these set fields that holds more elements than a set may. Ask for those an edit adds to: a set that
    /// concurrent edits filled may still be emptied.
    pub fn overfull_set<'f>(&self, mut added_to: impl Iterator<Item = &'f str>) -> Option<&'f str> {
        let is_overfull = |field: &&str| matches!(self.fields.get(*field), Some(Value::Set(elements)) if elements.len() > SET_ELEMENTS_MAX);
        added_to.find(is_overfull)
    }

    /// The row of a record that is just created: counters at zero, nothing else.
    pub fn created(collection: &CollectionSchema, schema_version: u32) -> Self {
        let counters = collection.fields.iter().filter(|(_, field)| field.kind == FieldKind::Counter);
        let fields = counters.map(|(name, _)| (name.clone(), Value::Counter(0))).collect();
        Self { schema_version, fields, ..Self::default() }
    }
}

/// Reads a document as a row. Keys of a newer schema are passed over; they stay in the document. A counter the record was
/// created without shows as zero.
pub fn project(document: &Document, collection: &CollectionSchema) -> Row {
    let mut row = Row::created(collection, 0);
    for item in document.inner.map_range(ROOT, ..) {
        let value = item.value.clone().into_value();
        let Some(scalar) = value.as_scalar() else { continue };
        match Key::parse(&item.key) {
            Some(Key::Version) => {
                if let ScalarValue::Int(version) = scalar {
                    row.schema_version = u32::try_from(*version).unwrap_or(0);
                }
            }
            Some(Key::Deleted) => row.is_deleted = true,
            Some(Key::Counter(field)) => read_counter(&mut row, collection, field, scalar),
            Some(Key::Member(field, element)) => read_member(&mut row, collection, field, element),
            Some(Key::Override(field)) => {
                read_mark(&mut row, document, collection, (field, &item.key), scalar, item.conflict);
            }
            Some(Key::Register(field)) => {
                let Some(kind) = collection.field(field).map(|field| field.kind) else { continue };
                if item.conflict || kind == FieldKind::Reference {
                    let all = concurrent(&document.inner, &item.key);
                    read_register(&mut row, field, kind, &all);
                } else if let Some(value) = Value::from_scalar(kind, scalar) {
                    row.fields.insert(field.into(), value);
                }
            }
            None => {}
        }
    }
    row
}

/// Names what a document holds and [`project`] passes over: fields the schema does not have or has as another kind, and keys
/// that are of no kind known here. They stay in the document.
pub fn passed_over(document: &Document, collection: &CollectionSchema) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for item in document.inner.map_range(ROOT, ..) {
        let value = item.value.clone().into_value();
        let kind = |field: &str| collection.field(field).map(|field| field.kind);
        let passed_over = match (Key::parse(&item.key), value.as_scalar()) {
            (Some(Key::Version | Key::Deleted), _) => None,
            (Some(Key::Register(field)), Some(scalar)) => {
                let is_read = kind(field).is_some_and(|kind| {
                    kind.is_register() && (scalar.is_null() || Value::from_scalar(kind, scalar).is_some())
                });
                (!is_read).then_some(field)
            }
            (Some(Key::Counter(field)), _) => (kind(field) != Some(FieldKind::Counter)).then_some(field),
            (Some(Key::Member(field, _)), _) => (kind(field) != Some(FieldKind::Set)).then_some(field),
            (Some(Key::Override(field)), _) => {
                kind(field).is_none_or(|kind| !kind.is_register()).then_some(field)
            }
            _ => Some(&*item.key),
        };
        names.extend(passed_over.map(str::to_owned));
    }
    names
}

fn read_counter(row: &mut Row, collection: &CollectionSchema, field: &str, scalar: &ScalarValue) {
    let is_counter = collection.field(field).is_some_and(|field| field.kind == FieldKind::Counter);
    if let (true, ScalarValue::Counter(counter)) = (is_counter, scalar) {
        row.fields.insert(field.into(), Value::Counter(i64::from(counter)));
    }
}

fn read_member(row: &mut Row, collection: &CollectionSchema, field: &str, element: &str) {
    if collection.field(field).is_none_or(|field| field.kind != FieldKind::Set) {
        return;
    }
    let set = row.fields.entry(field.into()).or_insert_with(|| Value::Set([].into()));
    if let Value::Set(elements) = set {
        elements.insert(element.to_owned());
    }
}

fn read_mark(
    row: &mut Row,
    document: &Document,
    collection: &CollectionSchema,
    (field, key): (&str, &str),
    scalar: &ScalarValue,
    is_conflict: bool,
) {
    let Some(kind) = collection.field(field).map(|field| field.kind) else { return };
    let fits = |mark: &Mark| mark.value.as_ref().is_none_or(|value| value.kind() == kind);
    let mut marks: Vec<_> = if is_conflict {
        let all = concurrent(&document.inner, key);
        all.iter().filter_map(|one| Mark::from_scalar(&one.value)).filter(fits).collect()
    } else {
        Mark::from_scalar(scalar).filter(fits).into_iter().collect()
    };
    if marks.is_empty() {
        return;
    }
    row.marks.insert(field.into(), marks.remove(0));
    if !marks.is_empty() {
        row.beaten_marks.insert(field.into(), marks);
    }
}

fn read_register(row: &mut Row, field: &str, kind: FieldKind, all: &[Concurrent]) {
    let candidates: Vec<_> = all
        .iter()
        .map(|one| Candidate {
            value: Value::from_scalar(kind, &one.value),
            device: one.device(),
            change: one.change,
        })
        .collect();
    let Some(shown) = candidates.first() else { return };
    if let Some(value) = &shown.value {
        row.fields.insert(field.into(), value.clone());
    }
    if candidates.iter().any(|other| other.value != shown.value) {
        row.conflicts.insert(field.into(), candidates);
    }
}

/// Lays a part's intents over a row: what the user sees at once, before anything is sent.
pub fn overlay(row: &mut Row, part: &Part) {
    for intent in &part.intents {
        match intent {
            Intent::Set { field, value } => {
                row.conflicts.remove(field.as_str());
                row.shadowed.remove(field);
                row.fields.insert(field.as_str().into(), value.clone());
            }
            Intent::Clear { field } => {
                row.conflicts.remove(field.as_str());
                row.shadowed.remove(field);
                row.fields.remove(field.as_str());
            }
            Intent::Add { field, element } => {
                let set = row.fields.entry(field.as_str().into()).or_insert_with(|| Value::Set([].into()));
                if let Value::Set(elements) = set {
                    elements.insert(element.clone());
                }
            }
            Intent::Remove { field, element } => {
                if let Some(Value::Set(elements)) = row.fields.get_mut(field.as_str()) {
                    elements.remove(element);
                    if elements.is_empty() {
                        row.fields.remove(field.as_str());
                    }
                }
            }
            Intent::Increment { field, by } => {
                let sum = row.fields.entry(field.as_str().into()).or_insert(Value::Counter(0));
                if let Value::Counter(sum) = sum {
                    *sum = sum.saturating_add(*by);
                }
            }
            Intent::Delete => row.is_deleted = true,
            Intent::Restore => row.is_deleted = false,
            Intent::Override { field, mark } => {
                row.beaten_marks.remove(field.as_str());
                row.marks.insert(field.as_str().into(), mark.clone());
            }
            Intent::Release { field } => {
                row.beaten_marks.remove(field.as_str());
                row.marks.remove(field.as_str());
            }
        }
    }
}
