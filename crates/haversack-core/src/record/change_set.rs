//! Change sets: what a user did, as intents that can be replayed on any base.

use std::collections::BTreeSet;

use haversack_protocol::limits::{AFTER_MAX, COUNTER_STEP_MAX, PARTS_PER_CHANGE_SET_MAX};
use haversack_protocol::{ChangeSetId, CollectionSchema, RecordId, Role, Schema, UnixMillis};

use super::field::{Reference, Value, ValueRefusal, check_element, check_value};
use crate::override_mark::Mark;

/// One field operation inside a change set, as the user made it.
#[derive(Clone, Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
pub enum Intent {
    /// Put a value into a register.
    #[n(0)]
    Set {
        /// Field.
        #[n(0)]
        field: String,
        /// Value.
        #[n(1)]
        value: Value,
    },
    /// Empty a register.
    #[n(1)]
    Clear {
        /// Field.
        #[n(0)]
        field: String,
    },
    /// Add an element to a set.
    #[n(2)]
    Add {
        /// Field.
        #[n(0)]
        field: String,
        /// Element.
        #[n(1)]
        element: String,
    },
    /// Remove an element from a set.
    #[n(3)]
    Remove {
        /// Field.
        #[n(0)]
        field: String,
        /// Element.
        #[n(1)]
        element: String,
    },
    /// Step a counter.
    #[n(4)]
    Increment {
        /// Field.
        #[n(0)]
        field: String,
        /// Step, either way.
        #[n(1)]
        by: i64,
    },
    /// Mark the record deleted; restorable.
    #[n(5)]
    Delete,
    /// Take a deletion back.
    #[n(6)]
    Restore,
    /// Put an override mark on a field.
    #[n(7)]
    Override {
        /// Field.
        #[n(0)]
        field: String,
        /// The mark.
        #[n(1)]
        mark: Mark,
    },
    /// Take the override mark of a field away.
    #[n(8)]
    Release {
        /// Field.
        #[n(0)]
        field: String,
    },
}

/// One record's part of a change set.
#[derive(Clone, Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
pub struct Part {
    /// The record.
    #[n(0)]
    pub record: RecordId,
    /// Its collection.
    #[n(1)]
    pub collection: String,
    /// The part creates the record.
    #[n(2)]
    pub creates: bool,
    /// What is done to it, one intent per key.
    #[n(3)]
    pub intents: Vec<Intent>,
}

/// One atomic local edit over one or more records; the unit of outbox, wire and verdict.
#[derive(Clone, Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
pub struct ChangeSet {
    /// Idempotency key.
    #[n(0)]
    pub id: ChangeSetId,
    /// Device time of the edit; for display, never for order.
    #[n(1)]
    pub at: UnixMillis,
    /// Schema version it was made under.
    #[n(2)]
    pub schema_version: u32,
    /// Change sets it must not outlive.
    #[n(3)]
    pub after: Vec<ChangeSetId>,
    /// Its parts; at most one per record.
    #[n(4)]
    pub parts: Vec<Part>,
}

/// Why an edit is refused on the spot. Nothing was stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EditRefusal {
    /// The schema has no such collection.
    #[error("there is no collection {0:?}")]
    UnknownCollection(String),
    /// The collection has no such field.
    #[error("collection {collection:?} has no field {field:?}")]
    UnknownField {
        /// Collection.
        collection: String,
        /// Field.
        field: String,
    },
    /// The value does not fit the field.
    #[error("{collection}.{field}: {source}")]
    Value {
        /// Collection.
        collection: String,
        /// Field.
        field: String,
        /// What does not fit.
        source: ValueRefusal,
    },
    /// The operation is not one for this kind of field.
    #[error("{collection}.{field}: this operation is not for fields of that kind")]
    WrongOperation {
        /// Collection.
        collection: String,
        /// Field.
        field: String,
    },
    /// A required field is missing or cleared.
    #[error("{collection}.{field} is required")]
    Required {
        /// Collection.
        collection: String,
        /// Field.
        field: String,
    },
    /// The principal's role may not do this.
    #[error("{collection}.{field}: this role may not write it")]
    Forbidden {
        /// Collection.
        collection: String,
        /// Field.
        field: String,
    },
    /// No such record on this device.
    #[error("record {0} is not on this device")]
    UnknownRecord(RecordId),
    /// The record was erased; nothing of it can come back.
    #[error("record {0} was erased")]
    Erased(RecordId),
    /// The record is restricted: no edit of it is taken until that is lifted.
    #[error("record {0} is restricted")]
    Restricted(RecordId),
    /// A reference to a record that is neither here nor created by the same change set.
    #[error("{collection}.{field} refers to a record that is not on this device")]
    UnknownReference {
        /// Collection.
        collection: String,
        /// Field.
        field: String,
    },
    /// Two operations on the same key of the same record in one change set.
    #[error("{collection}.{field} is written twice in one change set")]
    WrittenTwice {
        /// Collection.
        collection: String,
        /// Field.
        field: String,
    },
    /// Nothing to do, or more parts than a change set may have.
    #[error("a change set touches 1 to {PARTS_PER_CHANGE_SET_MAX} records, each once")]
    Parts,
    /// Declared after a change set that was refused; correct or retry that one first.
    #[error("change set {0}, which this is declared after, was refused")]
    AfterRefused(ChangeSetId),
    /// Declared after too many others.
    #[error("a change set is declared after at most {AFTER_MAX} others")]
    After,
    /// The record grew over its limits.
    #[error("record {0} would exceed the size or operation limits")]
    TooLarge(RecordId),
}

impl Intent {
    /// The field concerned; deletion and restoring concern the whole record.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Set { field, .. }
            | Self::Clear { field }
            | Self::Add { field, .. }
            | Self::Remove { field, .. }
            | Self::Increment { field, .. }
            | Self::Override { field, .. }
            | Self::Release { field } => Some(field),
            Self::Delete | Self::Restore => None,
        }
    }

    /// The document key the intent writes: one intent per key and change set.
    fn key(&self) -> (u8, &str, &str) {
        match self {
            Self::Set { field, .. } | Self::Clear { field } => (0, field, ""),
            Self::Increment { field, .. } => (1, field, ""),
            Self::Add { field, element } | Self::Remove { field, element } => (2, field, element),
            Self::Override { field, .. } | Self::Release { field } => (3, field, ""),
            Self::Delete | Self::Restore => (4, "", ""),
        }
    }

    /// The reference the intent puts into a register.
    pub fn reference(&self) -> Option<&Reference> {
        match self {
            Self::Set { value: Value::Reference(reference), .. } => Some(reference),
            _ => None,
        }
    }

    /// The register field an edit sets or clears.
    pub fn register(&self) -> Option<&str> {
        match self {
            Self::Set { field, .. } | Self::Clear { field } => Some(field),
            _ => None,
        }
    }
}

impl ChangeSet {
    /// Checks everything that needs no store: names, kinds, sizes, required fields, roles, one intent per key.
    ///
    /// # Errors
    /// [`EditRefusal`] naming collection and field, never a value.
    pub fn check(&self, schema: &Schema, role: Role) -> Result<(), EditRefusal> {
        let records: BTreeSet<_> = self.parts.iter().map(|part| part.record).collect();
        if self.parts.is_empty()
            || self.parts.len() > PARTS_PER_CHANGE_SET_MAX
            || records.len() != self.parts.len()
        {
            return Err(EditRefusal::Parts);
        }
        if self.after.len() > AFTER_MAX {
            return Err(EditRefusal::After);
        }
        for part in &self.parts {
            let collection = schema
                .collection(&part.collection)
                .ok_or_else(|| EditRefusal::UnknownCollection(part.collection.clone()))?;
            part.check(collection, role)?;
        }
        Ok(())
    }

    /// Records the change set creates.
    pub fn created(&self) -> impl Iterator<Item = RecordId> {
        self.parts.iter().filter(|part| part.creates).map(|part| part.record)
    }

    /// Every reference its parts put somewhere, with collection and field.
    pub fn references(&self) -> impl Iterator<Item = (&Part, &str, &Reference)> {
        self.parts.iter().flat_map(|part| {
            part.intents.iter().filter_map(move |intent| Some((part, intent.field()?, intent.reference()?)))
        })
    }
}

impl Part {
    /// Counters the part steps.
    pub(crate) fn stepped(&self) -> impl Iterator<Item = &str> {
        self.intents.iter().filter_map(|intent| match intent {
            Intent::Increment { field, .. } => Some(field.as_str()),
            _ => None,
        })
    }

    fn check(&self, collection: &CollectionSchema, role: Role) -> Result<(), EditRefusal> {
        if self.creates && !collection.may_be_written(None, role) {
            return Err(self.forbidden("_v"));
        }
        let mut keys = BTreeSet::new();
        for intent in &self.intents {
            let name = intent.field().unwrap_or("_deleted");
            if !keys.insert(intent.key()) {
                return Err(EditRefusal::WrittenTwice {
                    collection: self.collection.clone(),
                    field: name.to_owned(),
                });
            }
            self.check_intent(collection, role, intent)?;
        }
        if self.intents.is_empty() && !self.creates {
            return Err(EditRefusal::Parts);
        }
        let is_set = |field: &str| {
            self.intents.iter().any(|intent| matches!(intent, Intent::Set { field: f, .. } if f == field))
        };
        let mut required = collection.fields.iter().filter(|(_, field)| field.required);
        match required.find(|(name, _)| self.creates && !is_set(name)) {
            Some((name, _)) => {
                Err(EditRefusal::Required { collection: self.collection.clone(), field: name.to_string() })
            }
            None => Ok(()),
        }
    }

    fn check_intent(
        &self,
        collection: &CollectionSchema,
        role: Role,
        intent: &Intent,
    ) -> Result<(), EditRefusal> {
        let Some(name) = intent.field() else {
            let may = collection.may_be_written(None, role);
            return if may { Ok(()) } else { Err(self.forbidden("_deleted")) };
        };
        let field = collection.field(name).ok_or_else(|| EditRefusal::UnknownField {
            collection: self.collection.clone(),
            field: name.to_owned(),
        })?;
        let is_override = matches!(intent, Intent::Override { .. } | Intent::Release { .. });
        let may = if is_override {
            collection.overrides.contains(&role)
        } else {
            collection.may_be_written(Some(field), role)
        };
        if !may {
            return Err(self.forbidden(name));
        }
        let kind = field.kind;
        let fits = match intent {
            Intent::Set { .. } | Intent::Clear { .. } | Intent::Override { .. } | Intent::Release { .. } => {
                kind.is_register()
            }
            Intent::Add { .. } | Intent::Remove { .. } => kind == haversack_protocol::FieldKind::Set,
            _ => kind == haversack_protocol::FieldKind::Counter,
        };
        if !fits {
            return Err(EditRefusal::WrongOperation {
                collection: self.collection.clone(),
                field: name.to_owned(),
            });
        }
        let checked = match intent {
            Intent::Set { value, .. } => check_value(field, value),
            Intent::Clear { .. } if field.required => {
                return Err(EditRefusal::Required {
                    collection: self.collection.clone(),
                    field: name.to_owned(),
                });
            }
            Intent::Add { element, .. } | Intent::Remove { element, .. } => check_element(element),
            Intent::Increment { by, .. } if by.unsigned_abs() > COUNTER_STEP_MAX.unsigned_abs() => {
                Err(ValueRefusal::Step)
            }
            Intent::Override { mark, .. } => mark.check(field),
            _ => Ok(()),
        };
        checked.map_err(|source| EditRefusal::Value {
            collection: self.collection.clone(),
            field: name.to_owned(),
            source,
        })
    }

    fn forbidden(&self, field: &str) -> EditRefusal {
        EditRefusal::Forbidden { collection: self.collection.clone(), field: field.to_owned() }
    }
}
