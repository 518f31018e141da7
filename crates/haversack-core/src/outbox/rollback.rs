//! What a refusal takes along, and what must be authored anew.

use std::collections::{BTreeMap, BTreeSet};

use haversack_protocol::{ChangeSetId, RecordId};

/// An entry as far as the decision needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryShape {
    /// Place in the outbox.
    pub order: i64,
    /// Its change set.
    pub id: ChangeSetId,
    /// Records it touches.
    pub records: Vec<RecordId>,
    /// Records it creates.
    pub created: Vec<RecordId>,
    /// It was authored and may have been sent.
    pub is_frozen: bool,
    /// Records it has a change of; its empty parts have none, so nothing stands on them.
    pub authored: Vec<RecordId>,
}

/// What the decision asks of the outbox. Rejected entries are not part of it.
pub trait OutboxView {
    /// What goes wrong when it is asked.
    type Error;

    /// Entries that touch the record, in order.
    ///
    /// # Errors
    /// The store's.
    fn touching(&mut self, record: RecordId) -> Result<Vec<EntryShape>, Self::Error>;

    /// Entries that refer to the record by its record id, in order.
    ///
    /// # Errors
    /// The store's.
    fn referring(&mut self, record: RecordId) -> Result<Vec<EntryShape>, Self::Error>;

    /// Entries declared `after` the change set, in order.
    ///
    /// # Errors
    /// The store's.
    fn after(&mut self, id: ChangeSetId) -> Result<Vec<EntryShape>, Self::Error>;
}

/// What one refusal does to the outbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rollback {
    /// Orders of entries that fall, the refused one first; all but it are refused for its sake.
    pub rejected: Vec<i64>,
    /// Orders of entries whose bytes are dropped, to be authored anew.
    pub thawed: BTreeSet<i64>,
    /// Records whose generation rises: (actor, sequence) is never reused.
    pub regenerated: BTreeSet<RecordId>,
    /// Records whose rows are made anew.
    pub stale: BTreeSet<RecordId>,
}

/// Decides what the refusal of an entry takes along: what uses a record it created, what was declared after it, and
/// so on; and which later entries stand on bytes that fall with it.
///
/// # Errors
/// The view's.
pub fn plan_rollback<V: OutboxView>(refused: EntryShape, view: &mut V) -> Result<Rollback, V::Error> {
    let mut plan = Rollback::default();
    let mut fallen: BTreeMap<i64, EntryShape> = BTreeMap::new();
    let first = refused.order;
    let mut open = vec![refused];
    while let Some(entry) = open.pop() {
        if fallen.contains_key(&entry.order) {
            continue;
        }
        for record in &entry.created {
            open.extend(view.touching(*record)?);
            open.extend(view.referring(*record)?);
        }
        open.extend(view.after(entry.id)?);
        fallen.insert(entry.order, entry);
    }
    plan.rejected.push(first);
    plan.rejected.extend(fallen.keys().copied().filter(|order| *order != first));
    let mut followed = BTreeMap::new();
    for entry in fallen.values() {
        plan.stale.extend(&entry.records);
        if entry.is_frozen {
            thaw(&mut plan, &mut followed, entry.authored.iter().copied(), entry.order, view)?;
        }
    }
    plan.thawed.retain(|order| !fallen.contains_key(order));
    Ok(plan)
}

/// Decides what is authored anew when an entry was accepted with other bytes than the ones on this device: every
/// entry that stands on them.
///
/// # Errors
/// The view's.
pub fn plan_thaw<V: OutboxView>(records: &BTreeSet<RecordId>, view: &mut V) -> Result<Rollback, V::Error> {
    let mut plan = Rollback::default();
    thaw(&mut plan, &mut BTreeMap::new(), records.iter().copied(), i64::MIN, view)?;
    Ok(plan)
}

/// Follows bytes from record to record: a thawed entry takes every record along that it has a change of. `followed` holds
/// from where on each record was followed already.
fn thaw<V: OutboxView>(
    plan: &mut Rollback,
    followed: &mut BTreeMap<RecordId, i64>,
    records: impl Iterator<Item = RecordId>,
    from: i64,
    view: &mut V,
) -> Result<(), V::Error> {
    // Earliest place first: what follows lies later, so no record is walked twice.
    let mut open: BTreeSet<(i64, RecordId)> = records.map(|record| (from, record)).collect();
    while let Some((from, record)) = open.pop_first() {
        if followed.get(&record).is_some_and(|earlier| *earlier <= from) {
            continue;
        }
        followed.insert(record, from);
        plan.regenerated.insert(record);
        plan.stale.insert(record);
        for entry in view.touching(record)? {
            if entry.order > from && entry.is_frozen && plan.thawed.insert(entry.order) {
                plan.stale.extend(&entry.records);
                open.extend(entry.authored.iter().map(|record| (entry.order, *record)));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    /// Entries with the records they refer to and the change sets they are after.
    struct Model(Vec<(EntryShape, Vec<RecordId>, Vec<ChangeSetId>)>);

    /// A model that counts how often it is asked for all entries of a record.
    struct Counting(Model, usize);

    impl OutboxView for Counting {
        type Error = Infallible;
        fn touching(&mut self, record: RecordId) -> Result<Vec<EntryShape>, Infallible> {
            self.1 += 1;
            self.0.touching(record)
        }
        fn referring(&mut self, record: RecordId) -> Result<Vec<EntryShape>, Infallible> {
            self.0.referring(record)
        }
        fn after(&mut self, id: ChangeSetId) -> Result<Vec<EntryShape>, Infallible> {
            self.0.after(id)
        }
    }

    impl Model {
        fn shapes(
            &self,
            is_wanted: impl Fn(&(EntryShape, Vec<RecordId>, Vec<ChangeSetId>)) -> bool,
        ) -> Vec<EntryShape> {
            self.0.iter().filter(|entry| is_wanted(entry)).map(|entry| entry.0.clone()).collect()
        }
    }

    impl OutboxView for Model {
        type Error = Infallible;
        fn touching(&mut self, record: RecordId) -> Result<Vec<EntryShape>, Infallible> {
            Ok(self.shapes(|entry| entry.0.records.contains(&record)))
        }
        fn referring(&mut self, record: RecordId) -> Result<Vec<EntryShape>, Infallible> {
            Ok(self.shapes(|entry| entry.1.contains(&record)))
        }
        fn after(&mut self, id: ChangeSetId) -> Result<Vec<EntryShape>, Infallible> {
            Ok(self.shapes(|entry| entry.2.contains(&id)))
        }
    }

    fn record(n: u8) -> RecordId {
        RecordId::from_bytes([n; 16])
    }

    fn id(order: i64) -> ChangeSetId {
        ChangeSetId::from_bytes([u8::try_from(order).expect("small"); 16])
    }

    fn entry(
        order: i64,
        records: &[u8],
        creates: bool,
        refers: &[u8],
        after: &[i64],
    ) -> (EntryShape, Vec<RecordId>, Vec<ChangeSetId>) {
        let records: Vec<_> = records.iter().map(|n| record(*n)).collect();
        let created = if creates { records.clone() } else { vec![] };
        let authored = records.clone();
        let shape = EntryShape { order, id: id(order), records, created, is_frozen: true, authored };
        (shape, refers.iter().map(|n| record(*n)).collect(), after.iter().map(|n| id(*n)).collect())
    }

    #[test]
    fn a_refused_creation_takes_the_whole_subtree_with_it() {
        let mut model = Model(vec![
            entry(1, &[1], true, &[], &[]),
            entry(2, &[2], true, &[1], &[]),
            entry(3, &[3], true, &[2], &[]),
            entry(4, &[1], false, &[], &[]),
            entry(5, &[9], true, &[], &[]),
        ]);
        let plan = plan_rollback(model.0[0].0.clone(), &mut model).expect("infallible");
        assert_eq!(plan.rejected, [1, 2, 3, 4]);
        assert!(plan.thawed.is_empty());
    }

    #[test]
    fn a_refused_edit_thaws_only_later_entries_on_the_same_bytes() {
        let mut model = Model(vec![
            entry(1, &[1], false, &[], &[]),
            entry(2, &[1, 2], false, &[], &[]),
            entry(3, &[1, 2], false, &[], &[]),
            entry(4, &[2], false, &[], &[]),
            entry(5, &[3], false, &[], &[]),
        ]);
        let plan = plan_rollback(model.0[1].0.clone(), &mut model).expect("infallible");
        assert_eq!(plan.rejected, [2]);
        assert_eq!(plan.thawed, [3, 4].into());
        assert_eq!(plan.regenerated, [record(1), record(2)].into());
    }

    #[test]
    fn a_chain_of_edits_is_asked_for_once_however_long_it_is() {
        let entries = (1..=100).map(|order| entry(order, &[1, 2], false, &[], &[])).collect();
        let mut model = Counting(Model(entries), 0);
        let plan = plan_rollback(model.0.0[0].0.clone(), &mut model).expect("infallible");
        assert_eq!((plan.thawed.len(), plan.regenerated.len()), (99, 2));
        assert!(model.1 <= 4, "asked {} times", model.1);
    }

    #[test]
    fn a_refused_edit_that_changes_nothing_leaves_later_bytes_alone() {
        let mut model = Model(vec![entry(1, &[1], false, &[], &[]), entry(2, &[1], false, &[], &[])]);
        model.0[0].0.authored.clear();
        let plan = plan_rollback(model.0[0].0.clone(), &mut model).expect("infallible");
        assert_eq!(plan.rejected, [1]);
        assert!(plan.thawed.is_empty() && plan.regenerated.is_empty());
        assert_eq!(plan.stale, [record(1)].into());
    }

    #[test]
    fn what_was_declared_after_a_refused_change_set_falls_with_it() {
        let mut model = Model(vec![
            entry(1, &[1], false, &[], &[]),
            entry(2, &[2], false, &[], &[1]),
            entry(3, &[3], false, &[], &[2]),
        ]);
        let plan = plan_rollback(model.0[0].0.clone(), &mut model).expect("infallible");
        assert_eq!(plan.rejected, [1, 2, 3]);
    }
}
