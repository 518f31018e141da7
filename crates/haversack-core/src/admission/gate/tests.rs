//! Holds the gate to both of its promises: honest changes pass, and whatever passes decodes as stated.

use std::panic::catch_unwind;

use automerge::transaction::{CommitOptions, Transactable};
use automerge::{Automerge, Change, ObjType, ROOT, ReadDoc, ScalarValue};
use quickcheck::{Arbitrary, Gen, QuickCheck, TestResult};

use super::*;

const ACTORS: [&[u8]; 3] = [&[7; 4], &[3; 12], &[9; 17]];
const KEYS: [&str; 4] = ["f:name", "f:note", "n:visits", "s:tags:é"];

/// One step in the life of a record with three replicas.
#[derive(Clone, Debug)]
enum Step {
    /// A replica edits; each edit is a kind, a key and a seed for the value.
    Edit(usize, Vec<(u8, usize, i64)>),
    /// A replica takes over what another one has.
    Merge(usize, usize),
    /// A new actor edits an old state of a replica, which then takes it over.
    EditOld(usize, usize, u8),
    /// A replica closes its heads with a change of no operations.
    Close(usize),
}

impl Arbitrary for Step {
    fn arbitrary(g: &mut Gen) -> Self {
        let replica = usize::arbitrary(g) % ACTORS.len();
        match u8::arbitrary(g) % 8 {
            0..4 => {
                let edits = 1 + usize::arbitrary(g) % 8;
                let mut edit = || (u8::arbitrary(g), usize::arbitrary(g) % KEYS.len(), i64::arbitrary(g));
                Self::Edit(replica, (0..edits).map(|_| edit()).collect())
            }
            4..6 => Self::Merge(replica, usize::arbitrary(g) % ACTORS.len()),
            6 => Self::EditOld(replica, usize::arbitrary(g), u8::arbitrary(g)),
            _ => Self::Close(replica),
        }
    }
}

fn scalar(kind: u8, seed: i64) -> ScalarValue {
    match kind % 8 {
        0 => ScalarValue::Str("ä".repeat(seed.unsigned_abs() as usize % 300).into()),
        1 => ScalarValue::Int(seed),
        2 => ScalarValue::F64(seed as f64),
        3 => ScalarValue::Boolean(seed % 2 == 0),
        4 => ScalarValue::Timestamp(seed),
        5 => ScalarValue::Bytes(vec![0xff; seed.unsigned_abs() as usize % 300]),
        6 => ScalarValue::Null,
        _ => ScalarValue::counter(0),
    }
}

fn edit(document: &mut Automerge, edits: &[(u8, usize, i64)]) {
    let mut transaction = document.transaction();
    for &(kind, key, seed) in edits {
        let key = KEYS[key];
        let is_counter = matches!(transaction.get(ROOT, key), Ok(Some((value, _))) if value.is_counter());
        match kind >> 5 {
            0 => transaction.delete(ROOT, key).unwrap(),
            1..4 if is_counter => transaction.increment(ROOT, key, seed % 1000).unwrap(),
            _ => transaction.put(ROOT, key, scalar(kind, seed)).unwrap(),
        }
    }
    transaction.commit();
}

fn changes_of(steps: &[Step]) -> Vec<Change> {
    let replica = |actor: &&[u8]| Automerge::new().with_actor((*actor).into());
    let mut replicas: Vec<Automerge> = ACTORS.iter().map(replica).collect();
    for (index, step) in steps.iter().enumerate() {
        match step {
            Step::Edit(at, edits) => edit(&mut replicas[*at], edits),
            Step::Merge(into, from) => {
                let mut from = replicas[*from].clone();
                replicas[*into].merge(&mut from).unwrap();
            }
            Step::EditOld(at, history, kind) => {
                let changes = replicas[*at].get_changes(&[]);
                let heads: Vec<_> =
                    changes.get(history % (changes.len() + 1)).map(Change::hash).into_iter().collect();
                let actor = [index as u8, *kind, 1, 2].into();
                let mut old = replicas[*at].fork_at(&heads).unwrap().with_actor(actor);
                edit(&mut old, &[(*kind, history % KEYS.len(), 5), (255, 0, 1)]);
                replicas[*at].merge(&mut old).unwrap();
            }
            Step::Close(at) => {
                replicas[*at].empty_commit(CommitOptions::default());
            }
        }
    }
    let mut all = replicas.remove(0);
    replicas.iter_mut().for_each(|other| assert!(all.merge(other).is_ok()));
    all.get_changes(&[])
}

fn states_what_automerge_reads(header: &ChunkHeader, change: &Change) -> bool {
    let deps: Vec<_> = change.deps().iter().map(|dep| ChangeHash::from_bytes(dep.0)).collect();
    header.hash == ChangeHash::from_bytes(change.hash().0)
        && header.actor == change.actor_id().to_bytes()
        && header.sequence == change.seq()
        && header.start_op == change.start_op().get()
        && header.deps == deps
        && header.ops == change.len() as u64
        && header.ops == change.decode().operations.len() as u64
}

#[test]
fn every_honest_change_passes_and_is_stated_as_automerge_reads_it() {
    fn law(steps: Vec<Step>) -> bool {
        changes_of(&steps).iter().all(|change| {
            inspect(change.raw_bytes()).is_ok_and(|header| states_what_automerge_reads(&header, change))
        })
    }
    QuickCheck::new().tests(150).quickcheck(law as fn(Vec<Step>) -> bool);
}

#[test]
fn a_change_may_close_64_heads_and_many_conflicting_values() {
    let mut base = Automerge::new().with_actor(ACTORS[1].into());
    for actor in 0..DEPS_MAX as u8 {
        let mut branch = Automerge::new().with_actor([actor; 12].into());
        edit(&mut branch, &[(0x80, 0, i64::from(actor)), (0x81, 1, 1)]);
        base.merge(&mut branch).unwrap();
    }
    edit(&mut base, &[(0x81, 0, 1), (0, 1, 1)]);
    let change = base.get_last_local_change().unwrap();
    let header = inspect(change.raw_bytes()).unwrap();
    assert!(states_what_automerge_reads(&header, &change));
    assert_eq!(header.deps.len(), DEPS_MAX);
}

/// Damage to the body of a change, repaired by stating the new length and checksum.
#[derive(Clone, Debug)]
struct Damage(Vec<(u8, u16, u8)>);

impl Arbitrary for Damage {
    fn arbitrary(g: &mut Gen) -> Self {
        let edits = 1 + usize::arbitrary(g) % 4;
        Self((0..edits).map(|_| Arbitrary::arbitrary(g)).collect())
    }
}

impl Damage {
    fn applied_to(&self, change: &Change) -> Vec<u8> {
        let (_, body) = open_chunk(change.raw_bytes()).unwrap();
        let mut body = body.to_vec();
        for &(kind, position, value) in &self.0 {
            let position = usize::from(position) % body.len();
            match kind % 5 {
                0 => body[position] = value,
                1 => body[position] ^= 1 << (value % 8),
                2 => body[position] = body[position].wrapping_add(value % 3).wrapping_sub(1),
                3 => body.insert(position, value),
                _ if body.len() > 1 => drop(body.remove(position)),
                _ => {}
            }
        }
        sealed(CHUNK_TYPE_CHANGE, &body)
    }
}

#[test]
fn a_damaged_change_is_refused_or_decodes_to_what_it_states() {
    fn law(steps: Vec<Step>, damages: Vec<Damage>) -> TestResult {
        let changes = changes_of(&steps);
        if changes.is_empty() || damages.is_empty() {
            return TestResult::discard();
        }
        let holds = damages.iter().zip(changes.iter().rev().cycle()).all(|(damage, change)| {
            let bytes = damage.applied_to(change);
            inspect(&bytes).map_or(true, |header| {
                let decoded = catch_unwind(|| {
                    let change = Change::from_bytes(bytes).expect("what passes can be parsed");
                    states_what_automerge_reads(&header, &change)
                });
                decoded.is_ok_and(|agrees| agrees)
            })
        });
        TestResult::from_bool(holds)
    }
    QuickCheck::new().tests(300).quickcheck(law as fn(Vec<Step>, Vec<Damage>) -> TestResult);
}

#[test]
fn arbitrary_bytes_never_panic() {
    fn law(chunk_type: u8, body: Vec<u8>) -> bool {
        inspect(&body).is_err() && inspect(&sealed(chunk_type % 5, &body)).is_err()
    }
    QuickCheck::new().tests(2000).quickcheck(law as fn(u8, Vec<u8>) -> bool);
}

#[test]
fn every_prefix_of_a_change_is_refused() {
    let bytes = Forgery::honest().bytes();
    assert!((0..bytes.len()).all(|end| inspect(&bytes[..end]).is_err()));
}

fn unsigned(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 0x7f {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn signed(mut value: i64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !(-64..64).contains(&value) {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8 & 0x7f);
    bytes
}

#[test]
fn numbers_are_read_in_their_shortest_form_only() {
    fn law(value: i64, shift: u32) -> bool {
        let value = value >> (shift % 64);
        let (mut long, mut long_signed) = (unsigned(value as u64), signed(value));
        let read = (Reader(&long).unsigned(), Reader(&long_signed).signed());
        *long.last_mut().unwrap() |= 0x80;
        long.push(0);
        *long_signed.last_mut().unwrap() |= 0x80;
        long_signed.push(if value < 0 { 0x7f } else { 0 });
        read == (Ok(value as u64), Ok(value))
            && Reader(&long).unsigned() == Err(GateRefusal::Encoding)
            && Reader(&long_signed).signed() == Err(GateRefusal::Encoding)
    }
    QuickCheck::new().tests(2000).quickcheck(law as fn(i64, u32) -> bool);
    assert_eq!(Reader(&signed(i64::MIN)).signed(), Ok(i64::MIN));
    assert_eq!(Reader(&unsigned(u64::MAX)).unsigned(), Ok(u64::MAX));
    let too_large = [&[0xff; 9][..], &[0x02]].concat();
    assert_eq!(Reader(&too_large).unsigned(), Err(GateRefusal::Encoding));
    assert_eq!(Reader(&too_large).signed(), Err(GateRefusal::Encoding));
    assert_eq!(Reader(&[0x80; 40]).unsigned(), Err(GateRefusal::Encoding));
}

fn sealed(chunk_type: u8, body: &[u8]) -> Vec<u8> {
    let hashed = [&[chunk_type][..], &unsigned(body.len() as u64), body].concat();
    [&MAGIC[..], &digest(&SHA256, &hashed).as_ref()[..4], &hashed].concat()
}

/// A change written by hand, so that any part of it can lie.
#[derive(Clone)]
struct Forgery {
    deps_count: u64,
    deps: Vec<[u8; 32]>,
    actor: Vec<u8>,
    sequence: u64,
    start_op: u64,
    time: i64,
    message: &'static str,
    other_actors: Vec<Vec<u8>>,
    columns: Vec<(u64, Vec<u8>)>,
    extra: &'static [u8],
}

impl Forgery {
    /// What a device writes that puts "a" and 1, closing one value of another actor.
    fn honest() -> Self {
        Self {
            deps_count: 1,
            deps: vec![[5; 32]],
            actor: vec![3; 12],
            sequence: 2,
            start_op: 9,
            time: 0,
            message: "",
            other_actors: vec![vec![9; 17]],
            columns: vec![
                (0x15, vec![0x7e, 1, b'k', 1, b'l']),
                (0x34, vec![2]),
                (0x42, vec![2, 1]),
                (0x56, vec![0x7e, 0x16, 0x14]),
                (0x57, vec![b'a', 1]),
                (0x70, vec![0x7e, 0, 1]),
                (0x71, vec![0x7f, 1]),
                (0x73, vec![0x7f, 4]),
            ],
            extra: b"",
        }
    }

    fn with(&self, lie: impl FnOnce(&mut Self)) -> Self {
        let mut forgery = self.clone();
        lie(&mut forgery);
        forgery
    }

    /// Replaces a column, adds it in its place, or takes it away.
    fn with_column(&self, specification: u64, bytes: &[u8]) -> Self {
        self.with(|forgery| {
            forgery.columns.retain(|(other, _)| *other != specification);
            if !bytes.is_empty() {
                forgery.columns.push((specification, bytes.to_vec()));
                forgery.columns.sort();
            }
        })
    }

    fn body(&self) -> Vec<u8> {
        let mut body = unsigned(self.deps_count);
        self.deps.iter().for_each(|dep| body.extend(dep));
        let prefixed = |bytes: &[u8]| [&unsigned(bytes.len() as u64), bytes].concat();
        body.extend(prefixed(&self.actor));
        body.extend([unsigned(self.sequence), unsigned(self.start_op), signed(self.time)].concat());
        body.extend(prefixed(self.message.as_bytes()));
        body.extend(unsigned(self.other_actors.len() as u64));
        self.other_actors.iter().for_each(|actor| body.extend(prefixed(actor)));
        body.extend(unsigned(self.columns.len() as u64));
        for (specification, bytes) in &self.columns {
            body.extend([unsigned(*specification), unsigned(bytes.len() as u64)].concat());
        }
        self.columns.iter().for_each(|(_, bytes)| body.extend(bytes));
        body.extend(self.extra);
        body
    }

    fn bytes(&self) -> Vec<u8> {
        sealed(CHUNK_TYPE_CHANGE, &self.body())
    }

    fn refusal(&self) -> GateRefusal {
        inspect(&self.bytes()).expect_err("a lie passed")
    }
}

#[test]
fn the_honest_forgery_is_a_change_to_automerge_and_to_the_gate() {
    let bytes = Forgery::honest().bytes();
    let change = Change::from_bytes(bytes.clone()).unwrap();
    assert!(states_what_automerge_reads(&inspect(&bytes).unwrap(), &change));
}

#[test]
fn other_chunks_and_broken_frames_are_refused() {
    let body = Forgery::honest().body();
    let bytes = Forgery::honest().bytes();
    for chunk_type in [0, 2, 3, 4, 255] {
        assert_eq!(inspect(&sealed(chunk_type, &body)), Err(GateRefusal::NotAChange), "{chunk_type}");
    }
    let changed = |position: usize| {
        let mut bytes = bytes.clone();
        bytes[position] ^= 1;
        inspect(&bytes)
    };
    assert_eq!(changed(0), Err(GateRefusal::NotAChange));
    assert_eq!(changed(4), Err(GateRefusal::Checksum));
    assert_eq!(changed(bytes.len() - 1), Err(GateRefusal::Checksum));
    assert_eq!(changed(9), Err(GateRefusal::Length));
    assert_eq!(inspect(&[&bytes[..], &[0]].concat()), Err(GateRefusal::Length));
    assert_eq!(inspect(&[&bytes[..], &bytes].concat()), Err(GateRefusal::Length));
    assert_eq!(inspect(&vec![0x85; CHANGE_BYTES_MAX + 1]), Err(GateRefusal::TooLarge));
    let too_large = Forgery::honest().with_column(0x57, &[b'a'; CHANGE_BYTES_MAX]).bytes();
    assert_eq!(inspect(&too_large), Err(GateRefusal::TooLarge));
}

#[test]
fn what_a_header_must_not_state_is_refused() {
    let honest = Forgery::honest();
    type Lie = fn(&mut Forgery);
    let table: Vec<(Lie, GateRefusal)> = vec![
        (|f| f.deps_count = 65, GateRefusal::TooManyDeps),
        (|f| f.deps_count = u64::MAX, GateRefusal::TooManyDeps),
        (|f| f.deps_count = 64, GateRefusal::Length),
        (|f| (f.deps_count, f.deps) = (2, vec![[5; 32]; 2]), GateRefusal::DepsOrder),
        (|f| (f.deps_count, f.deps) = (2, vec![[5; 32], [4; 32]]), GateRefusal::DepsOrder),
        (|f| f.actor.clear(), GateRefusal::Actor(0)),
        (|f| f.actor = vec![1; 21], GateRefusal::Actor(21)),
        (|f| f.sequence = 0, GateRefusal::Sequence),
        (|f| f.sequence = (1 << 32) + 1, GateRefusal::Sequence),
        (|f| f.start_op = 0, GateRefusal::StartOp),
        (|f| f.start_op = u64::from(u32::MAX), GateRefusal::StartOp),
        (|f| f.start_op = u64::from(u32::MAX) - 1, GateRefusal::StartOp),
        (|f| f.time = 1, GateRefusal::Time),
        (|f| f.time = i64::MIN, GateRefusal::Time),
        (|f| f.time = i64::MAX, GateRefusal::Time),
        (|f| f.message = "hello", GateRefusal::Message),
        (|f| f.other_actors[0].clear(), GateRefusal::Actor(0)),
        (|f| f.other_actors[0] = vec![1; 21], GateRefusal::Actor(21)),
        (|f| f.other_actors[0] = vec![3; 12], GateRefusal::ActorTable),
        (|f| f.other_actors.push(vec![9; 17]), GateRefusal::ActorTable),
        (|f| f.other_actors.push(vec![10; 4]), GateRefusal::ActorTable),
        (|f| f.columns.clear(), GateRefusal::ActorTable),
        (|f| f.extra = b"author", GateRefusal::ExtraBytes),
    ];
    for (row, (lie, refusal)) in table.into_iter().enumerate() {
        assert_eq!(honest.with(lie).refusal(), refusal, "row {row}");
    }
}

#[test]
fn columns_of_no_use_in_a_flat_record_are_refused() {
    let honest = Forgery::honest();
    // Object actor and counter, list key actor and counter, expand, mark name, unknown, aliases above one byte.
    for specification in [0x01, 0x02, 0x11, 0x13, 0x94, 0xa5, 0x35, 0x115, 0x134] {
        let refusal = GateRefusal::Column { specification: specification as u32 };
        assert_eq!(honest.with_column(specification, &[2, 1]).refusal(), refusal);
        assert_eq!(honest.with_column(specification, &[0, 2]).refusal(), refusal, "all null");
    }
    for specification in [0x1d, 0x3c, 0x5f, 0x78] {
        let refusal = GateRefusal::Compressed { specification: specification as u32 };
        assert_eq!(honest.with_column(specification, &[2, 1]).refusal(), refusal);
    }
    assert_eq!(honest.with_column(1 << 32, &[1]).refusal(), GateRefusal::Encoding);
    let misplaced = |lie: fn(&mut Forgery)| honest.with(lie).refusal();
    assert_eq!(misplaced(|f| f.columns.swap(0, 1)), GateRefusal::Column { specification: 0x15 });
    assert_eq!(misplaced(|f| f.columns[1].0 = 0x15), GateRefusal::Column { specification: 0x15 });
    assert_eq!(misplaced(|f| f.columns[0].1.clear()), GateRefusal::Column { specification: 0x15 });
}

#[test]
fn columns_that_lie_are_refused() {
    use GateRefusal::{
        Action, ColumnsDisagree, Encoding, Insert, Key, Length, Null, Predecessor, TooManyPredecessors, Value,
    };
    let long_key = [&[0x7f][..], &unsigned(129), &[b'k'; 129], &[0x7f, 1, b'l']].concat();
    let long_value = [&[0x7f][..], &unsigned((VALUE_BYTES_MAX + 1) << 4 | 6), &[0x7f, 0x14]].concat();
    let minimal_run = [&signed(i64::MIN)[..], &[1]].concat();
    let table: Vec<(u64, &[u8], GateRefusal)> = vec![
        (0x15, &[], ColumnsDisagree),
        (0x15, &[0x7f, 1, b'k'], ColumnsDisagree),
        (0x15, &[3, 1, b'k'], ColumnsDisagree),
        (0x15, &[0, 2], Null),
        (0x15, &[2, 1, 0xff], Key),
        (0x15, &[2, 0], Key),
        (0x15, &long_key, Key),
        (0x15, &[2, 9, b'k'], Length),
        (0x34, &[], ColumnsDisagree),
        (0x34, &[1], ColumnsDisagree),
        (0x34, &[1, 1], Insert),
        (0x34, &[0, 2], Insert),
        (0x42, &[], ColumnsDisagree),
        (0x42, &[1, 1], ColumnsDisagree),
        (0x42, &[3, 1], ColumnsDisagree),
        (0x42, &[2, 0], Action(0)),
        (0x42, &[2, 2], Action(2)),
        (0x42, &[2, 4], Action(4)),
        (0x42, &[2, 6], Action(6)),
        (0x42, &[2, 7], Action(7)),
        (0x42, &[2, 3], Value),
        (0x42, &[2, 5], Value),
        (0x42, &[0, 2], Null),
        (0x42, &[2, 0x81, 0], Encoding),
        (0x42, &[0x82, 0, 1], Encoding),
        (0x42, &minimal_run, Length),
        (0x56, &[2, 0], ColumnsDisagree),
        (0x56, &[2, 0x26], ColumnsDisagree),
        (0x56, &[0x7d, 0x16, 0x14, 0], ColumnsDisagree),
        (0x56, &[2, 0x13], Value),
        (0x56, &[2, 0x1a], Value),
        (0x56, &[2, 0x10], Value),
        (0x56, &[2, 0x15], Value),
        (0x56, &long_value, Value),
        (0x57, &[0xff, 1], Value),
        (0x57, b"a\x80", Value),
        (0x57, &[], ColumnsDisagree),
        (0x57, &[b'a', 1, 1], ColumnsDisagree),
        (0x70, &[], ColumnsDisagree),
        (0x70, &[2, 1], ColumnsDisagree),
        (0x70, &[2, 0], ColumnsDisagree),
        (0x70, &[0x7d, 0, 1, 0], ColumnsDisagree),
        (0x70, &[2, 0xff, 0xff, 0xff, 0x7f], TooManyPredecessors),
        (0x71, &[], ColumnsDisagree),
        (0x71, &[2, 1], ColumnsDisagree),
        (0x71, &[0x7f, 2], Predecessor),
        (0x71, &[0, 1], Null),
        (0x73, &[], ColumnsDisagree),
        (0x73, &[2, 2], ColumnsDisagree),
        (0x73, &[0x7f, 0], Predecessor),
        (0x73, &[0x7f, 0x7f], Predecessor),
        (0x73, &[0x7f, 10], Predecessor),
    ];
    for (specification, bytes, refusal) in table {
        let forgery = Forgery::honest().with_column(specification, bytes);
        assert_eq!(forgery.refusal(), refusal, "column {specification:#x} {bytes:x?}");
    }
}

#[test]
fn other_actors_ascend() {
    let two_actors = |others: [u8; 2]| {
        let forgery = Forgery::honest()
            .with(|forgery| forgery.other_actors = others.map(|actor| vec![actor; 4]).into());
        forgery.with_column(0x70, &[2, 1]).with_column(0x71, &[0x7e, 1, 2]).with_column(0x73, &[0x7e, 4, 0])
    };
    assert_eq!(inspect(&two_actors([1, 2]).bytes()).map(|header| header.ops), Ok(2));
    assert_eq!(two_actors([2, 1]).refusal(), GateRefusal::ActorTable);
    assert_eq!(two_actors([2, 2]).refusal(), GateRefusal::ActorTable);
}

#[test]
fn a_change_of_no_operations_has_no_columns() {
    let empty = Forgery::honest().with(|forgery| {
        forgery.other_actors.clear();
        forgery.columns.clear();
    });
    assert_eq!(inspect(&empty.bytes()).map(|header| header.ops), Ok(0));
    assert_eq!(empty.with_column(0x34, &[0]).refusal(), GateRefusal::ColumnsDisagree);
    assert_eq!(empty.with_column(0x15, &[1, 1, b'k']).refusal(), GateRefusal::ColumnsDisagree);
}

/// Columns that state `ops` deletes of one key in a few bytes, each closing `predecessors` values.
fn bomb(ops: i64, predecessors: u64) -> Forgery {
    let total = signed(ops * predecessors as i64);
    let run = |value: &[u8]| [&signed(ops), value].concat();
    Forgery::honest().with(|forgery| {
        forgery.start_op = 1 << 20;
        forgery.columns = vec![
            (0x15, run(&[1, b'k'])),
            (0x34, unsigned(ops as u64)),
            (0x42, run(&[3])),
            (0x56, run(&[0])),
            (0x70, run(&unsigned(predecessors))),
            (0x71, [&total[..], &[1]].concat()),
            (0x73, [&total[..], &[1]].concat()),
        ];
    })
}

#[test]
fn a_run_may_not_state_more_operations_than_the_limit() {
    let ops = CHANGE_OPS_MAX as i64;
    assert_eq!(inspect(&bomb(ops, 1).bytes()).map(|header| header.ops), Ok(CHANGE_OPS_MAX));
    assert_eq!(bomb(ops + 1, 1).refusal(), GateRefusal::TooManyOps);
    assert_eq!(bomb(2_000_001, 1).refusal(), GateRefusal::TooManyOps);
    assert!(bomb(2_000_001, 1).bytes().len() < 180, "the bomb is small");
    assert_eq!(bomb(i64::MAX, 1).refusal(), GateRefusal::TooManyOps);
}

#[test]
fn runs_may_not_state_more_predecessors_than_the_limit() {
    let each = CHANGE_PREDECESSORS_MAX / CHANGE_OPS_MAX;
    let full = bomb(CHANGE_OPS_MAX as i64, each).bytes();
    let change = Change::from_bytes(full.clone()).unwrap();
    assert!(states_what_automerge_reads(&inspect(&full).unwrap(), &change));
    assert_eq!(bomb(CHANGE_OPS_MAX as i64, each + 1).refusal(), GateRefusal::TooManyPredecessors);
    assert_eq!(bomb(1, CHANGE_PREDECESSORS_MAX + 1).refusal(), GateRefusal::TooManyPredecessors);
}

#[test]
fn a_text_of_the_greatest_length_passes() {
    let mut document = Automerge::new().with_actor(ACTORS[0].into());
    let mut transaction = document.transaction();
    transaction.put(ROOT, "k".repeat(KEY_BYTES_MAX), "x".repeat(TEXT_BYTES_MAX)).unwrap();
    transaction.commit();
    assert_eq!(
        inspect(document.get_last_local_change().unwrap().raw_bytes()).map(|header| header.ops),
        Ok(1)
    );
}

#[test]
fn changes_that_automerge_makes_of_nested_documents_are_refused() {
    let mut document = Automerge::new().with_actor(ACTORS[0].into());
    let mut make = document.transaction();
    let list = make.put_object(ROOT, "list", ObjType::List).unwrap();
    make.commit();
    let mut insert = document.transaction();
    insert.insert(&list, 0, 1).unwrap();
    insert.commit();
    let mut replace = document.transaction();
    replace.put(&list, 0, 2).unwrap();
    replace.commit();
    let refusals: Vec<_> =
        document.get_changes(&[]).iter().map(|change| inspect(change.raw_bytes()).unwrap_err()).collect();
    let object_column = GateRefusal::Column { specification: 0x01 };
    assert_eq!(refusals, [GateRefusal::Action(2), object_column.clone(), object_column]);
}
