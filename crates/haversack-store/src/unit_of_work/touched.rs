//! What a commit changed, as far as whoever watches has to know it.

use std::collections::{BTreeMap, BTreeSet};

use haversack_protocol::{RecordId, Schema};

/// What a unit of work touched: records whose row, state or name may read differently after its commit, by collection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    records: BTreeMap<String, BTreeSet<RecordId>>,
    /// Collections of which any record may read differently.
    whole: BTreeSet<String>,
}

impl Touched {
    /// Says whether it touched nothing.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.whole.is_empty()
    }

    /// The records it names, by collection.
    pub fn records(&self) -> impl Iterator<Item = RecordId> {
        self.records.values().flatten().copied()
    }

    pub(crate) fn collections(&self) -> impl Iterator<Item = &str> {
        self.records.keys().map(String::as_str)
    }

    /// Says whether a record of the collection may read differently.
    pub fn has_collection(&self, collection: &str) -> bool {
        self.records.contains_key(collection) || self.whole.contains(collection)
    }

    /// Says whether the record of the collection may read differently.
    pub fn has_record(&self, collection: &str, record: RecordId) -> bool {
        let is_named = self.records.get(collection).is_some_and(|records| records.contains(&record));
        is_named || self.whole.contains(collection)
    }

    pub(crate) fn add(&mut self, collection: &str, record: RecordId) {
        match self.records.get_mut(collection) {
            Some(records) => drop(records.insert(record)),
            None => drop(self.records.insert(collection.to_owned(), [record].into())),
        }
    }

    /// Adds what may name a record of these collections that has a server id from now on. Rows that show a reference are
    /// rewritten, and so touched by themselves; one inside a mark is resolved when it is read, and nothing says where.
    pub(crate) fn add_referring(&mut self, schema: &Schema, targets: &BTreeSet<String>) {
        for (name, collection) in &schema.collections {
            let mut found = collection.references().filter_map(|(_, field)| field.target.as_ref());
            if found.any(|target| targets.contains(target)) {
                self.whole.insert(name.clone());
            }
        }
    }

    pub(crate) fn extend(&mut self, other: Self) {
        self.whole.extend(other.whole);
        for (collection, records) in other.records {
            self.records.entry(collection).or_default().extend(records);
        }
    }
}
