//! Building a query step by step.

use haversack_core::Value;

use super::list::{Comparison, Direction, Filter, Query};

/// Records a query returns when it does not say.
const LIMIT_DEFAULT: u32 = 100;

impl Query {
    /// The first hundred records of a collection, by creation time.
    pub fn of(collection: &str) -> Self {
        Self {
            collection: collection.to_owned(),
            filters: vec![],
            sort: None,
            limit: LIMIT_DEFAULT,
            offset: 0,
            with_deleted: false,
            search: None,
        }
    }

    /// Only records in whose searched fields all these words occur, the last one as the beginning of a word.
    #[must_use]
    pub fn search(mut self, words: &str) -> Self {
        self.search = Some(words.to_owned());
        self
    }

    /// Only records whose indexed field compares so with the value shown.
    #[must_use]
    pub fn and(mut self, field: &str, op: Comparison, value: Value) -> Self {
        self.filters.push(Filter { field: field.to_owned(), op, value });
        self
    }

    /// Only records whose indexed field shows exactly this.
    #[must_use]
    pub fn equal(self, field: &str, value: Value) -> Self {
        self.and(field, Comparison::Eq, value)
    }

    /// Only records whose indexed field shows this or more.
    #[must_use]
    pub fn at_least(self, field: &str, value: Value) -> Self {
        self.and(field, Comparison::Ge, value)
    }

    /// Sorted by an indexed field.
    #[must_use]
    pub fn sorted(mut self, field: &str, direction: Direction) -> Self {
        self.sort = Some((field.to_owned(), direction));
        self
    }

    /// At most this many, after skipping some.
    #[must_use]
    pub fn page(mut self, limit: u32, offset: u32) -> Self {
        (self.limit, self.offset) = (limit, offset);
        self
    }
}
