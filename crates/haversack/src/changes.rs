//! What an app says it wants changed.

use haversack_core::{ChangeSet, Intent, Part, Reference, Value};
use haversack_protocol::{ChangeSetId, RecordId, UnixMillis};

use crate::clock;

/// Changes to one record, in the order they were said; at most one per field (per element in sets).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes(pub(crate) Vec<Intent>);

impl Changes {
    /// No changes yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a value into a field.
    #[must_use]
    pub fn set(mut self, field: &str, value: impl IntoValue) -> Self {
        self.0.push(Intent::Set { field: field.to_owned(), value: value.into_value() });
        self
    }

    /// Empties a field.
    #[must_use]
    pub fn clear(mut self, field: &str) -> Self {
        self.0.push(Intent::Clear { field: field.to_owned() });
        self
    }

    /// Adds an element to a set.
    #[must_use]
    pub fn add(mut self, field: &str, element: &str) -> Self {
        self.0.push(Intent::Add { field: field.to_owned(), element: element.to_owned() });
        self
    }

    /// Removes an element from a set.
    #[must_use]
    pub fn remove(mut self, field: &str, element: &str) -> Self {
        self.0.push(Intent::Remove { field: field.to_owned(), element: element.to_owned() });
        self
    }

    /// Steps a counter.
    #[must_use]
    pub fn increment(mut self, field: &str, by: i64) -> Self {
        self.0.push(Intent::Increment { field: field.to_owned(), by });
        self
    }

    /// Says whether nothing is to be changed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads a field's whole value as changes: registers are set, counters stepped from zero, sets filled.
    #[must_use]
    pub fn put(mut self, field: &str, value: Value) -> Self {
        match value {
            Value::Counter(by) => self.increment(field, by),
            Value::Set(elements) => {
                elements.iter().fold(self, |changes, element| changes.add(field, element))
            }
            value => {
                self.0.push(Intent::Set { field: field.to_owned(), value });
                self
            }
        }
    }
}

/// Turns Rust's own types into field values.
pub trait IntoValue {
    /// The value.
    fn into_value(self) -> Value;
}

macro_rules! into_value {
    ($($from:ty => $to:expr;)*) => {
        $(impl IntoValue for $from {
            fn into_value(self) -> Value {
                $to(self)
            }
        })*
    };
}

into_value! {
    Value => |value| value;
    &str => |text: &str| Value::Text(text.to_owned());
    String => Value::Text;
    i64 => Value::Integer;
    f64 => Value::Float;
    bool => Value::Boolean;
    UnixMillis => Value::Instant;
    Vec<u8> => Value::Bytes;
    RecordId => |record| Value::Reference(Reference::Record(record));
    Reference => Value::Reference;
}

/// Edits of several records that happen together or not at all: on this device, at the server, everywhere.
#[derive(Debug)]
pub struct Transaction {
    id: ChangeSetId,
    parts: Vec<Part>,
    after: Vec<ChangeSetId>,
}

impl Transaction {
    pub(crate) fn new() -> Self {
        Self { id: clock::new_change_set(), parts: vec![], after: vec![] }
    }

    /// The id of the change set this becomes; names it in the outbox and in verdicts.
    pub fn id(&self) -> ChangeSetId {
        self.id
    }

    /// Creates a record and returns its id, usable as a reference at once.
    pub fn create(&mut self, collection: &str, changes: Changes) -> RecordId {
        let record = clock::new_record();
        self.create_as(record, collection, changes);
        record
    }

    /// Creates a record under an id of the app's own making (UUIDv7).
    pub fn create_as(&mut self, record: RecordId, collection: &str, changes: Changes) {
        self.parts.push(Part {
            record,
            collection: collection.to_owned(),
            creates: true,
            intents: changes.0,
        });
    }

    /// Edits a record.
    pub fn edit(&mut self, record: RecordId, collection: &str, changes: Changes) {
        self.parts.push(Part {
            record,
            collection: collection.to_owned(),
            creates: false,
            intents: changes.0,
        });
    }

    /// Marks a record deleted.
    pub fn delete(&mut self, record: RecordId, collection: &str) {
        self.edit(record, collection, Changes(vec![Intent::Delete]));
    }

    /// Declares that this must not outlive an earlier change set: when that one is refused, so is this.
    pub fn after(&mut self, change_set: ChangeSetId) {
        self.after.push(change_set);
    }

    pub(crate) fn into_change_set(self, schema_version: u32, at: UnixMillis) -> ChangeSet {
        ChangeSet { id: self.id, at, schema_version, after: self.after, parts: self.parts }
    }
}
