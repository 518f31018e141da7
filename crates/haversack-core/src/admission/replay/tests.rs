//! Holds creations that are not run again to the answer they would get if they were.

use automerge::Automerge;
use automerge::legacy::OpId;
use automerge::transaction::CommitOptions;
use quickcheck::{QuickCheck, TestResult};
use ring::digest::{SHA256, digest};

use super::*;

const KEYS: [&str; 6] = ["_v", "f:note", "f:name", "f:km", "n:calls", "s:tags:a"];
const CHECKSUM: std::ops::Range<usize> = 4..8;
const LENGTH_AT: usize = 9;
const BODY_AT: usize = 10;

/// Repairs length and checksum of a chunk whose body is shorter than 128 bytes.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes[LENGTH_AT] = u8::try_from(bytes.len() - BODY_AT).expect("short");
    let sum = digest(&SHA256, &bytes[CHECKSUM.end..]);
    bytes[CHECKSUM].copy_from_slice(&sum.as_ref()[..CHECKSUM.len()]);
    bytes
}

/// What an honest device might write on nothing: keys and values as the numbers say, most keys once.
fn creation(numbers: &[u8]) -> Vec<u8> {
    let mut document = Automerge::new();
    document.set_actor(automerge::ActorId::from(&[7u8; 12][..]));
    let mut tx = document.transaction();
    for (at, number) in numbers.iter().take(KEYS.len()).enumerate() {
        let key = KEYS[if number % 8 == 0 { usize::from(*number) / 8 % KEYS.len() } else { at }];
        match number % 5 {
            0 => tx.put(ROOT, key, ScalarValue::counter(0)),
            1 => tx.put(ROOT, key, i64::from(*number)),
            2 => tx.increment(ROOT, key, 1).or_else(|_| tx.put(ROOT, key, ScalarValue::Null)),
            3 => tx.put(ROOT, key, ScalarValue::Bytes(vec![*number; 3])),
            _ => tx.delete(ROOT, key),
        }
        .expect("a key of the root");
    }
    tx.commit_with(CommitOptions::default().with_time(0));
    document.get_last_local_change().map(|change| change.raw_bytes().to_vec()).unwrap_or_default()
}

/// What becomes of a creation when it is run as it is admitted, and when it is run again whatever it holds. `None`: it
/// is not even read.
fn both_answers(bytes: &[u8]) -> Option<[Result<Vec<u8>, DocumentRefusal>; 2]> {
    inspect(bytes)
        .ok()
        .filter(|header| header.deps.is_empty() && (header.sequence, header.start_op) == (1, 1))?;
    let change = parse(bytes).ok()?;
    let expanded = decode(&change).ok()?;
    let again = run_again(&Document::empty(), change.clone(), &expanded);
    let admitted = run_on_nothing(change, &expanded);
    Some([admitted, again].map(|document| document.and_then(|document| document.save_checked())))
}

/// The creation with a lie about the key or the predecessors of one of its operations.
fn lying(honest: &[u8], at: usize, how: u8) -> Vec<u8> {
    let mut change = parse(honest).expect("honest").decode();
    let at = at % change.operations.len();
    let first = change.operations[0].key.clone();
    let op = &mut change.operations[at];
    match how % 4 {
        0 => op.key = first,
        1 => op.pred = vec![].into(),
        2 => op.pred = vec![OpId::new(1, &change.actor_id)].into(),
        _ => change.operations.clear(),
    }
    change.hash = None;
    Change::from(change).raw_bytes().to_vec()
}

fn broken(mut bytes: Vec<u8>, at: usize, flip: u8) -> Vec<u8> {
    let place = BODY_AT + at % (bytes.len() - BODY_AT);
    match flip % 4 {
        0 => bytes.insert(place, flip / 4 % 8),
        1 => drop(bytes.remove(place)),
        _ => bytes[place] ^= flip,
    }
    bytes
}

#[test]
fn a_creation_that_is_not_run_again_gets_the_answer_of_one_that_is() {
    fn law(numbers: Vec<u8>, at: usize, flip: u8, how: u8) -> TestResult {
        let honest = creation(&numbers);
        if honest.is_empty() {
            return TestResult::discard();
        }
        let bytes = match how % 11 {
            0 => honest,
            1..6 => lying(&honest, at, how),
            _ => broken(honest, at, flip),
        };
        if bytes.len() - BODY_AT > 120 {
            return TestResult::discard();
        }
        let Some([admitted, again]) = both_answers(&sealed(bytes)) else { return TestResult::discard() };
        TestResult::from_bool(admitted.ok() == again.ok())
    }
    let law = law as fn(Vec<u8>, usize, u8, u8) -> TestResult;
    QuickCheck::new().tests(2_000).max_tests(100_000).quickcheck(law);
}

/// A creation of two puts, written by hand, with this column of actions.
fn two_puts(actions: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x85, 0x6f, 0x4a, 0x83, 0, 0, 0, 0, 1, 0];
    let columns: [(u8, &[u8]); 6] = [
        (0x15, &[0x7e, 1, b'k', 1, b'l']),
        (0x34, &[2]),
        (0x42, actions),
        (0x56, &[0x7e, 0x16, 0x14]),
        (0x57, &[b'a', 1]),
        (0x70, &[2, 0]),
    ];
    bytes.extend([&[0, 12][..], &[7; 12], &[1, 1, 0, 0, 0]].concat());
    bytes.push(6);
    for (specification, column) in columns {
        bytes.extend([specification, u8::try_from(column.len()).expect("short")]);
    }
    columns.iter().for_each(|(_, column)| bytes.extend(*column));
    sealed(bytes)
}

#[test]
fn a_creation_in_another_encoding_than_ours_is_refused_although_it_is_not_run_again() {
    let [honest, again] = both_answers(&two_puts(&[2, 1])).expect("read");
    assert!(honest.is_ok() && honest == again, "{honest:?} {again:?}");
    for actions in [&[0x7e, 1, 1][..], &[1, 1, 1, 1]] {
        let [admitted, again] = both_answers(&two_puts(actions)).expect("the gate reads any run");
        assert!(admitted.is_err() && again.is_err(), "{actions:?}: {admitted:?}");
    }
}
