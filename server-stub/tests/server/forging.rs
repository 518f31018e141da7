//! Changes nobody could have made honestly, each made from an honest one. Shared by the suites that push them and those
//! that hand them to a device.

use std::num::NonZeroU64;
use std::panic::{UnwindSafe, catch_unwind};

use automerge::legacy::{ElementId, Key, ObjectId, OpId, OpType};
use automerge::{ActorId, Change, ExpandedChange, ObjType, ScalarValue};
use ring::digest::{SHA256, digest};

/// Bytes a compressed chunk of a few kilobytes inflates to.
const INFLATED_BYTES: usize = 8 << 20;

/// The footer by which the document library names a change's author.
const AUTHOR_FOOTER: &[u8] = b"\x01\x04kari";

/// Twists an honest change and gives its bytes, checksum repaired; `None` when the document library cannot write it.
pub(crate) fn forge(honest: &[u8], twist: impl FnOnce(&mut ExpandedChange) + UnwindSafe) -> Option<Vec<u8>> {
    catch_unwind(move || twisted(honest, twist).raw_bytes().to_vec()).ok()
}

fn twisted(honest: &[u8], twist: impl FnOnce(&mut ExpandedChange)) -> Change {
    let mut change = Change::from_bytes(honest.to_vec()).expect("honest").decode();
    change.hash = None;
    twist(&mut change);
    Change::from(change)
}

/// The change with this text in place of its first value, as a compressed chunk.
pub(crate) fn compressed(honest: &[u8], text: &str) -> Vec<u8> {
    let put = OpType::Put(ScalarValue::from(text));
    twisted(honest, |change| change.operations[0].action = put).bytes().into_owned()
}

/// A compressed chunk that takes a thousand times its bytes once inflated.
pub(crate) fn inflating(honest: &[u8]) -> Vec<u8> {
    compressed(honest, &"x".repeat(INFLATED_BYTES))
}

/// The change with an author named behind its columns.
pub(crate) fn with_author(honest: &[u8]) -> Vec<u8> {
    let change = twisted(honest, |change| change.extra_bytes = AUTHOR_FOOTER.to_vec());
    assert!(change.author().is_some(), "the document library reads the author");
    change.raw_bytes().to_vec()
}

/// The change with bytes behind its end.
pub(crate) fn with_trailing_bytes(honest: &[u8]) -> Vec<u8> {
    [honest, &[1, 2, 3]].concat()
}

fn start_op(at: u64) -> NonZeroU64 {
    NonZeroU64::new(at).expect("not zero")
}

/// Forgeries of an honest second change of a record, by what is wrong with them: no server and no device takes any.
pub(crate) fn forgeries(honest: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let bytes = [
        ("an author", with_author(honest)),
        ("bytes behind its end", with_trailing_bytes(honest)),
        ("a compressed chunk", inflating(honest)),
        ("two million operations in a few bytes", exploding(honest)),
        ("a whole document", resealed(honest, 0)),
        ("a bundle", resealed(honest, 3)),
        ("a chunk of no kind", resealed(honest, 200)),
        ("garbage", vec![0x5a; 300]),
        ("half of it", honest[..honest.len() / 2].to_vec()),
        ("twice as much", honest.repeat(2)),
    ];
    let twisted = misplaced(honest).into_iter().chain(misshapen(honest));
    twisted.filter_map(|(what, bytes)| Some((what, bytes?))).chain(bytes).collect()
}

/// The bytes of the change as a chunk of another kind, its checksum right.
fn resealed(honest: &[u8], chunk_type: u8) -> Vec<u8> {
    let mut bytes = honest.to_vec();
    bytes[8] = chunk_type;
    let sum = digest(&SHA256, &bytes[8..]);
    bytes[4..8].copy_from_slice(&sum.as_ref()[..4]);
    bytes
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

/// The head of the change over columns that state two million deletes of one key as runs: expanded, they take gigabytes.
fn exploding(honest: &[u8]) -> Vec<u8> {
    const OPS: u64 = 2_000_001;
    let change = Change::from_bytes(honest.to_vec()).expect("honest");
    // A positive length stands before a run of one value; the sign's bit needs a digit of its own.
    let run = |value: &[u8]| [&[0x81, 0x89, 0xfa, 0x00][..], value].concat();
    assert_eq!(unsigned(OPS), [0x81, 0x89, 0x7a], "the run states as many");
    let columns = [
        (0x15, run(&[1, b'k'])),
        (0x34, unsigned(OPS)),
        (0x42, run(&[3])),
        (0x56, run(&[0])),
        (0x70, run(&[0])),
    ];
    let mut body = unsigned(change.deps().len() as u64);
    change.deps().iter().for_each(|dep| body.extend(dep.as_ref()));
    let actor = change.actor_id().to_bytes();
    body.extend([&unsigned(actor.len() as u64), actor].concat());
    body.extend([unsigned(change.seq()), unsigned(change.start_op().get())].concat());
    body.extend([0, 0, 0, columns.len() as u8]);
    columns.iter().for_each(|(kind, bytes)| body.extend([*kind, bytes.len() as u8]));
    columns.iter().for_each(|(_, bytes)| body.extend(bytes));
    let bytes = [&honest[..8], &[1], &unsigned(body.len() as u64), &body].concat();
    assert!(bytes.len() < 200, "the bomb is small");
    resealed(&bytes, 1)
}

type Forged = (&'static str, Option<Vec<u8>>);

/// Of another actor, sequence or place than is its own.
fn misplaced(honest: &[u8]) -> Vec<Forged> {
    vec![
        ("a gap in the sequence", forge(honest, |change| change.seq = 5)),
        ("a sequence number used before", forge(honest, |change| change.seq = 1)),
        ("a sequence number of nought", forge(honest, |change| change.seq = 0)),
        ("a sequence number beyond 32 bits", forge(honest, |change| change.seq = (1 << 32) + 1)),
        (
            "another device's actor",
            forge(honest, |change| change.actor_id = ActorId::from(&[0xabu8; 12][..])),
        ),
        ("the server's own actor", forge(honest, |change| change.actor_id = ActorId::from(&[0u8; 17][..]))),
        (
            "a start beyond all counters",
            forge(honest, |change| change.start_op = start_op(u64::from(u32::MAX))),
        ),
        ("a start that jumps ahead", forge(honest, |change| change.start_op = start_op(1_000_000))),
        ("a start below its dependencies", forge(honest, |change| change.start_op = start_op(1))),
        (
            "no dependencies and a jump",
            forge(honest, |change| {
                change.deps.clear();
                change.start_op = start_op(1_001);
            }),
        ),
        (
            "no operations and a low start",
            forge(honest, |change| {
                change.operations.clear();
                change.start_op = start_op(1);
            }),
        ),
    ]
}

/// The operation that put the record's first key, of the same author.
fn first_op(change: &ExpandedChange) -> OpId {
    OpId::new(1, &change.actor_id)
}

/// Of a shape no change of a flat record has.
fn misshapen(honest: &[u8]) -> Vec<Forged> {
    let nobody = || OpId::new(4_000, &ActorId::from(&[9u8; 12][..]));
    vec![
        ("a time", forge(honest, |change| change.time = i64::MIN)),
        ("a time at the other end", forge(honest, |change| change.time = i64::MAX)),
        ("a message", forge(honest, |change| change.message = Some("hello".into()))),
        (
            "an object that does not exist",
            forge(honest, move |change| change.operations[0].obj = ObjectId::Id(nobody())),
        ),
        (
            "an object that is a value",
            forge(honest, |change| change.operations[0].obj = ObjectId::Id(first_op(change))),
        ),
        (
            "a predecessor of another key",
            forge(honest, |change| change.operations[0].pred = vec![first_op(change)].into()),
        ),
        (
            "a predecessor of its own",
            forge(honest, |change| {
                let own = OpId::new(change.start_op.get(), &change.actor_id);
                change.operations[0].pred = vec![own].into();
            }),
        ),
        ("a list key on a map", forge(honest, |change| change.operations[0].key = Key::Seq(ElementId::Head))),
        ("an insertion", forge(honest, |change| change.operations[0].insert = true)),
        (
            "a predecessor that does not exist",
            forge(honest, move |change| change.operations[0].pred = vec![nobody()].into()),
        ),
        ("a nested object", forge(honest, |change| change.operations[0].action = OpType::Make(ObjType::Map))),
        ("bytes at the end", forge(honest, |change| change.extra_bytes = vec![1, 2, 3])),
    ]
}
