//! The law of rows: whatever happens in whatever order, they are what documents and outbox make of them, and when
//! nothing is under way any more every device and the server hold the same.

use std::collections::BTreeMap;

use haversack_core::{Intent, Part};
use haversack_protocol::{RecordId, Role};
use quickcheck::{Arbitrary, Gen, QuickCheck};

use super::server::Server;
use super::world::{Phone, activity, change_set, edit, id, person, record, refer, set, text};
use crate::{StoredRecord, Touched};
use haversack_core::Value;

/// One step of one of two phones.
#[derive(Clone, Debug)]
enum Step {
    /// Edits up to two records; the seed says what.
    Write(usize, Vec<(u8, u8, u8)>),
    /// The same, but the server will refuse it.
    WriteRefused(usize, Vec<(u8, u8, u8)>),
    /// Authors a batch that never reaches the server.
    LeaseOnly(usize, u8),
    /// Authors a batch that reaches the server; the reply is lost.
    Push(usize),
    /// Reads some rows of the log.
    Pull(usize, u8),
    /// Reads the log from the beginning.
    ReadAnew(usize),
}

impl Arbitrary for Step {
    fn arbitrary(g: &mut Gen) -> Self {
        let phone = usize::from(bool::arbitrary(g));
        let parts: Vec<_> =
            (0..1 + usize::from(bool::arbitrary(g))).map(|_| Arbitrary::arbitrary(g)).collect();
        match u8::arbitrary(g) % 16 {
            0..7 => Self::Write(phone, parts),
            7..9 => Self::WriteRefused(phone, parts),
            9 => Self::LeaseOnly(phone, u8::arbitrary(g) % 4),
            10..13 => Self::Push(phone),
            13..15 => Self::Pull(phone, u8::arbitrary(g) % 4),
            _ => Self::ReadAnew(phone),
        }
    }
}

/// Records are few, so that edits meet: odd ones are persons, even ones activities, half of each made by either phone.
const RECORDS: u64 = 8;

fn part_of(index: usize, phone: &Phone, (which, kind, value): (u8, u8, u8)) -> Option<Part> {
    let target: RecordId = record(u64::from(which) % RECORDS + 1);
    let is_person = u64::from(which).is_multiple_of(2);
    let is_here = phone.store.get(target).expect("reads").is_some();
    let word = text(["a", "b", "c"][usize::from(value) % 3]);
    let other = record(u64::from(value) % RECORDS / 2 * 2 + 1);
    let may_refer = phone.store.get(other).expect("reads").is_some();
    let is_mine = u64::from(which) % RECORDS / 2 % 2 == index as u64;
    Some(match (is_here, is_person) {
        (false, _) if !is_mine => return None,
        (false, true) => person(target, "new"),
        (false, false) => {
            let mut part = activity(target, "new");
            part.intents.extend(may_refer.then(|| refer("person", other)));
            part
        }
        (true, true) => match kind % 3 {
            0 if may_refer => edit(target, "person", vec![refer("friend", other)]),
            1 => edit(target, "person", vec![Intent::Clear { field: "friend".into() }]),
            _ => edit(target, "person", vec![set("name", word)]),
        },
        (true, false) => {
            let field = || "tags".to_owned();
            let element = ["x", "y"][usize::from(value) % 2].to_owned();
            let intent = match kind % 8 {
                0 if may_refer => refer("person", other),
                1 => Intent::Add { field: field(), element },
                2 => Intent::Remove { field: field(), element },
                3 => Intent::Increment { field: "calls".into(), by: i64::from(value) - 100 },
                4 => Intent::Delete,
                5 => Intent::Restore,
                6 => set("minutes", Value::Integer(i64::from(value) % 4)),
                _ => set("title", word),
            };
            edit(target, "activity", vec![intent])
        }
    })
}

struct Run {
    server: Server,
    phones: [Phone; 2],
    written: u64,
}

impl Run {
    fn new() -> Self {
        let mut server = Server::new();
        let phones = [1, 2].map(|n| Phone::new(&mut server, n, Role::Mentor));
        Self { server, phones, written: 0 }
    }

    fn write(&mut self, phone: usize, seeds: &[(u8, u8, u8)], is_refused: bool) -> Touched {
        let (index, phone) = (phone, &self.phones[phone]);
        let mut parts: Vec<Part> = Vec::new();
        for part in seeds.iter().filter_map(|seed| part_of(index, phone, *seed)) {
            if parts.iter().all(|other| other.record != part.record) {
                parts.push(part);
            }
        }
        self.written += 1;
        let written = phone.store.local_write(change_set(self.written, parts));
        if written.is_ok() && is_refused {
            self.server.refused.insert(id(self.written));
        }
        written.unwrap_or_default()
    }

    /// Takes a step and says what it touched on the phone that took it.
    fn step(&mut self, step: &Step) -> Touched {
        match step {
            Step::Write(phone, seeds) => self.write(*phone, seeds, false),
            Step::WriteRefused(phone, seeds) => self.write(*phone, seeds, true),
            Step::LeaseOnly(phone, max) => {
                self.phones[*phone].store.lease_batch(usize::from(*max), None).expect("leases").changed
            }
            Step::Push(phone) => self.phones[*phone].push(&mut self.server),
            Step::Pull(phone, rows) => self.phones[*phone].pull(&self.server, usize::from(*rows)).changed,
            Step::ReadAnew(phone) => {
                self.phones[*phone].read_anew();
                Touched::default()
            }
        }
    }

    fn settle(&mut self) {
        for phone in [0, 1, 0, 1] {
            self.phones[phone].sync(&mut self.server);
        }
    }
}

#[test]
fn rows_equal_fresh_evaluation_after_any_interleaving_and_all_converge() {
    fn law(steps: Vec<Step>) -> bool {
        let mut run = Run::new();
        for step in &steps {
            run.step(step);
            run.phones.iter().for_each(Phone::assert_sound);
        }
        run.phones.iter().for_each(Phone::assert_waits);
        run.settle();
        run.phones.iter().for_each(Phone::assert_sound);
        let expected = run.server.digest();
        run.phones.iter().all(|phone| {
            phone.digest() == expected
                && phone.store.digest_from_documents().expect("reads").finish() == expected
                && phone.store.temporary_ids().expect("reads") == 0
                && phone.store.notices().expect("reads").iter().all(|n| n.kind == crate::NoticeKind::Rejected)
        })
    }
    QuickCheck::new().tests(40).quickcheck(law as fn(Vec<Step>) -> bool);
}

/// Every record as a phone reads it.
fn read_all(phone: &Phone) -> BTreeMap<RecordId, StoredRecord> {
    let all = phone.store.records_after(None, 1_000).expect("reads");
    all.into_iter().map(|found| (found.record, found)).collect()
}

/// Says whether everything that reads differently was touched.
fn tells_all(phone: &Phone, before: &BTreeMap<RecordId, StoredRecord>, touched: &Touched) -> bool {
    let after = read_all(phone);
    before.keys().chain(after.keys()).all(|record| {
        let (before, after) = (before.get(record), after.get(record));
        let mut found = before.into_iter().chain(after);
        before == after || found.all(|found| touched.has_record(&found.collection, *record))
    })
}

#[test]
fn whatever_reads_differently_after_a_commit_was_touched_by_it() {
    fn law(steps: Vec<Step>) -> bool {
        let mut run = Run::new();
        let pulls = [Step::Push(0), Step::Pull(0, 9), Step::Push(1), Step::Pull(1, 9), Step::Pull(0, 9)];
        for step in steps.iter().chain(&pulls) {
            let before = [0, 1].map(|phone| read_all(&run.phones[phone]));
            let touched = run.step(step);
            if !run.phones.iter().zip(&before).all(|(phone, before)| tells_all(phone, before, &touched)) {
                return false;
            }
        }
        run.phones.iter().all(|phone| {
            phone.store.set_aside().expect("reads").into_iter().all(|entry| {
                let before = read_all(phone);
                let touched = phone.store.discard(entry.change_set.id).expect("was refused");
                tells_all(phone, &before, &touched)
            })
        })
    }
    QuickCheck::new().tests(30).quickcheck(law as fn(Vec<Step>) -> bool);
}
