//! The law of convergence over real stores and the real server: whatever is done in whatever order, with requests
//! repeated, lost and cut, all hold the same in the end, and nothing is counted twice.

use std::collections::{BTreeMap, BTreeSet};

use haversack::{ChangeSetId, Changes, EntryState, Haversack, RecordId, Value};
use haversack_tests::{Device, Gate, Move, Step, Way, World, changes_of};
use quickcheck::{Gen, QuickCheck};

/// Bytes of a page for the replica that reads everything afterwards: a few rows each.
const SMALL_PAGE_BYTES: u32 = 2_000;

struct Replica {
    device: Device,
    gate: Gate,
}

impl Replica {
    async fn join(world: &World, device: Device) -> Self {
        let gate = world.gate().await;
        device.connect(gate.address()).await;
        device.sync().await;
        device.store.set_online(false).expect("open");
        Self { device, gate }
    }

    /// Goes online, syncs and goes offline again. A spoilt reply fails the first try only.
    async fn sync(&self, how: Way) {
        match how {
            Way::Well => {}
            Way::ReplyLost => self.gate.script([Step::LoseReply]),
            Way::Twice => self.gate.script([Step::Twice]),
            Way::Cut => self.gate.script([Step::Cut(40)]),
        }
        self.device.store.set_online(true).expect("open");
        let synced = self.device.try_sync().await;
        self.device.store.set_online(false).expect("open");
        let may_fail = matches!(how, Way::ReplyLost | Way::Cut);
        assert!(synced.is_ok() || may_fail, "an honest server was not understood: {synced:?}");
    }
}

struct Law {
    world: World,
    replicas: Vec<Replica>,
    persons: Vec<RecordId>,
    activities: Vec<RecordId>,
    steps: Vec<(ChangeSetId, RecordId, i64)>,
}

impl Law {
    async fn begin() -> Self {
        let world = World::start().await;
        let devices = [world.mentor("ola").await, world.mentor("kari").await, world.coordinator("siv").await];
        let mut replicas = vec![];
        for device in devices {
            replicas.push(Replica::join(&world, device).await);
        }
        Self { world, replicas, persons: vec![], activities: vec![], steps: vec![] }
    }

    async fn known(&self, who: usize, of: &[RecordId]) -> Vec<RecordId> {
        let mut known = vec![];
        for record in of {
            if self.replicas[who].device.store.get(*record).await.expect("read").is_some() {
                known.push(*record);
            }
        }
        known
    }

    async fn perform(&mut self, step: &Move) {
        match step {
            Move::Create { who, seed } => self.create(*who, *seed).await,
            Move::Edit { who, seeds } => self.edit(*who, seeds).await,
            Move::Mark { which, is_released } => self.mark(*which, *is_released).await,
            Move::Lease { who, count } => {
                let count = usize::from(*count);
                let leased =
                    self.replicas[*who].device.store.with_store(move |store| store.lease_batch(count, None));
                leased.await.expect("leased");
            }
            Move::Sync { who, how } => self.replicas[*who].sync(*how).await,
            Move::ReadAnew { who } => {
                let forgotten = self.replicas[*who].device.store.with_store(|store| store.reset_cursor());
                forgotten.await.expect("forgotten");
            }
        }
    }

    async fn create(&mut self, who: usize, seed: u8) {
        let (person, activity) = self.replicas[who]
            .device
            .store
            .transaction(|tx| {
                let title = Changes::new().set("title", "walk");
                if seed.is_multiple_of(2) {
                    return (None, tx.create("activity", title));
                }
                let person = tx.create("person", Changes::new().set("name", "Kari"));
                (Some(person), tx.create("activity", title.set("person", person)))
            })
            .await
            .expect("stored");
        self.persons.extend(person);
        self.activities.push(activity);
    }

    async fn edit(&mut self, who: usize, seeds: &[(u8, u8, u8)]) {
        let activities = self.known(who, &self.activities).await;
        let persons = self.known(who, &self.persons).await;
        if activities.is_empty() {
            return;
        }
        let mut parts = BTreeMap::new();
        let mut deleted = BTreeSet::new();
        for (which, kind, value) in seeds {
            let record = activities[usize::from(*which) % activities.len()];
            parts.insert(record, changes_of(*kind, *value, &persons, &activities));
            if value % 23 == 0 {
                deleted.insert(record);
            }
        }
        let store = &self.replicas[who].device.store;
        let parts_made = parts.clone();
        let id = store
            .transaction(|tx| {
                for (record, (changes, _)) in parts_made {
                    match deleted.contains(&record) {
                        true => tx.delete(record, "activity"),
                        false => tx.edit(record, "activity", changes),
                    }
                }
                tx.id()
            })
            .await
            .expect("stored");
        let stepped = parts.iter().filter(|(record, _)| !deleted.contains(record));
        self.steps.extend(stepped.map(|(record, (_, by))| (id, *record, *by)));
    }

    async fn mark(&self, which: u8, is_released: bool) {
        let known = self.known(2, &self.activities).await;
        let Some(record) = known.get(usize::from(which) % known.len().max(1)) else { return };
        let store: &Haversack = &self.replicas[2].device.store;
        let done = match is_released {
            true => store.release_override(*record, "note").await,
            false => {
                let value = Value::Text(format!("set right {which}"));
                store.override_field(*record, "note", Some(value), "heard it on the phone").await
            }
        };
        done.expect("a coordinator may");
    }

    /// Lets everyone send and read until nothing is left, and holds them to the server and to each other.
    async fn drain(&self) {
        for _ in 0..3 {
            for replica in &self.replicas {
                replica.sync(Way::Well).await;
            }
        }
        let devices: Vec<_> = self.replicas.iter().map(|replica| &replica.device).collect();
        let proof = self.world.agrees_with(&devices).await;
        let fresh = self.world.mentor("per").await;
        let gate = self.world.gate().await;
        gate.otherwise(Step::ask(|request| request.page_bytes_max = SMALL_PAGE_BYTES));
        fresh.connect(gate.address()).await;
        fresh.sync().await;
        assert_eq!(fresh.digests().await, (proof.from_rows.clone(), proof.from_rows));
        for replica in &self.replicas {
            self.is_settled(&replica.device).await;
        }
        self.counters_are_exact(&fresh).await;
    }

    async fn is_settled(&self, device: &Device) {
        let is_waiting = |state: &EntryState| !matches!(state, EntryState::Rejected(_));
        assert!(!device.outbox().await.iter().any(|entry| is_waiting(&entry.state)), "all has a verdict");
    }

    /// A counter shows every accepted step once: not lost, not doubled.
    async fn counters_are_exact(&self, fresh: &Device) {
        let mut refused = BTreeSet::new();
        for replica in &self.replicas {
            refused.extend(replica.device.outbox().await.into_iter().map(|entry| entry.change_set.id));
        }
        let mut sums: BTreeMap<RecordId, i64> = BTreeMap::new();
        for (id, record, by) in &self.steps {
            *sums.entry(*record).or_default() += if refused.contains(id) { 0 } else { *by };
        }
        for (record, sum) in sums {
            let shown = fresh.row(record).await.fields.get("calls").cloned();
            assert_eq!(shown.unwrap_or(Value::Counter(0)), Value::Counter(sum), "{record}");
        }
    }
}

#[test]
fn all_replicas_and_the_server_converge_whatever_happens_on_the_way() {
    fn law(moves: Vec<Move>) -> bool {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let mut law = Law::begin().await;
            for step in &moves {
                law.perform(step).await;
            }
            law.drain().await;
        });
        true
    }
    QuickCheck::new().tests(40).rng(Gen::new(60)).quickcheck(law as fn(Vec<Move>) -> bool);
}
