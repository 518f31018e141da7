//! Forged changes: each gets a permanent verdict, the server lives, and the next honest push works.

use std::num::NonZeroU64;
use std::panic::catch_unwind;

use automerge::legacy::{ElementId, Key, ObjectId, OpId, OpType};
use automerge::{ActorId, Change, ExpandedChange, ScalarValue};
use haversack_core::Intent;
use haversack_protocol::{ChangeSetId, Code, PushedChangeSet, RecordId, Role};

use crate::support::{Phone, TestServer, create, edit, integer, text};

fn expand(bytes: &[u8]) -> ExpandedChange {
    Change::from_bytes(bytes.to_vec()).expect("honest").decode()
}

fn forge(honest: &[u8], twist: impl FnOnce(&mut ExpandedChange) + std::panic::UnwindSafe) -> Option<Vec<u8>> {
    let mut change = expand(honest);
    change.hash = None;
    catch_unwind(move || {
        twist(&mut change);
        Change::from(change).raw_bytes().to_vec()
    })
    .ok()
}

fn start_op(at: u64) -> NonZeroU64 {
    NonZeroU64::new(at).expect("not zero")
}

/// Forgeries of an honest second change of a record, by what is wrong with them.
fn forgeries(honest: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let nobody = || OpId::new(4_000, &ActorId::from(&[9u8; 12][..]));
    let forged: Vec<(&'static str, Option<Vec<u8>>)> = vec![
        ("a gap in the sequence", forge(honest, |change| change.seq = 5)),
        ("a sequence number used before", forge(honest, |change| change.seq = 1)),
        (
            "an object that does not exist",
            forge(honest, move |change| change.operations[0].obj = ObjectId::Id(nobody())),
        ),
        (
            "a start beyond all counters",
            forge(honest, |change| change.start_op = start_op(u64::from(u32::MAX))),
        ),
        ("a start that jumps ahead", forge(honest, |change| change.start_op = start_op(1_000_000))),
        ("a start below its dependencies", forge(honest, |change| change.start_op = start_op(1))),
        ("a time", forge(honest, |change| change.time = i64::MIN)),
        ("a message", forge(honest, |change| change.message = Some("hello".into()))),
        ("a list key on a map", forge(honest, |change| change.operations[0].key = Key::Seq(ElementId::Head))),
        ("an insertion", forge(honest, |change| change.operations[0].insert = true)),
        (
            "a predecessor that does not exist",
            forge(honest, move |change| change.operations[0].pred = vec![nobody()].into()),
        ),
        ("no predecessors", forge(honest, |change| change.operations[0].pred = vec![].into())),
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
        (
            "a nested object",
            forge(honest, |change| change.operations[0].action = OpType::Make(automerge::ObjType::Map)),
        ),
        (
            "a counter put over a register",
            forge(honest, |change| change.operations[0].action = OpType::Put(ScalarValue::counter(1))),
        ),
        ("an unknown key", forge(honest, |change| change.operations[0].key = Key::Map("f:salary".into()))),
        ("a key of no kind", forge(honest, |change| change.operations[0].key = Key::Map("x".into()))),
        (
            "another device's actor",
            forge(honest, |change| change.actor_id = ActorId::from(&[0xabu8; 12][..])),
        ),
        ("the server's own actor", forge(honest, |change| change.actor_id = ActorId::from(&[0u8; 17][..]))),
        ("bytes at the end", forge(honest, |change| change.extra_bytes = vec![1, 2, 3])),
        ("garbage", Some(vec![0x5a; 300])),
        ("half of it", Some(honest[..honest.len() / 2].to_vec())),
        ("twice as much", Some(honest.repeat(2))),
    ];
    let flipped = (0..honest.len()).step_by(7).map(|at| {
        let mut bytes = honest.to_vec();
        bytes[at] ^= 0x41;
        ("a flipped byte", Some(bytes))
    });
    forged.into_iter().chain(flipped).filter_map(|(what, bytes)| Some((what, bytes?))).collect()
}

fn as_change_set(template: &PushedChangeSet, n: usize, change: Vec<u8>) -> PushedChangeSet {
    let mut set = template.clone();
    set.id = ChangeSetId::from_bytes((0xf000_0000_u128 + n as u128).to_be_bytes());
    set.parts[0].change = change;
    set
}

fn minutes(record: RecordId, value: i64) -> haversack_core::ChangeSet {
    edit("activity", record, vec![Intent::Set { field: "minutes".into(), value: integer(value) }])
}

async fn with_record(server: &TestServer) -> (Phone, RecordId) {
    let mut phone = server.phone("ola", Role::Mentor).await;
    let fields = [("title", text("t")), ("status", text("open")), ("minutes", integer(1))];
    let (record, creation) = create("activity", &fields);
    phone.push(server.address(), &[creation]).await;
    (phone, record)
}

#[tokio::test]
async fn forged_changes_get_a_permanent_verdict_each_and_honest_ones_still_pass() {
    let server = TestServer::start().await;
    let address = server.address();
    let (mut phone, record) = with_record(&server).await;
    let honest = phone.freeze(&[minutes(record, 2)]).remove(0);
    let forged = forgeries(&honest.parts[0].change);
    assert!(forged.len() > 30, "most forgeries could be made");
    for (n, (what, bytes)) in forged.into_iter().enumerate() {
        let before = phone.heads(record);
        let set = as_change_set(&honest, n, bytes);
        let reply = phone.sync(address, vec![set.clone()]).await;
        let code = reply.rejection(set.id).code;
        let is_final = matches!(code, Code::Malformed | Code::Identity | Code::Schema | Code::Limit);
        assert!(is_final, "{what}: {code}");
        assert_eq!(phone.heads(record), before, "{what}");
    }
    let reply = phone.sync(address, vec![honest.clone()]).await;
    assert!(reply.is_accepted(honest.id));
    server.agrees_with(&mut [&mut phone]).await;
}

#[tokio::test]
async fn forged_changes_amid_honest_ones_of_the_same_push_take_none_along() {
    let server = TestServer::start().await;
    let (mut phone, record) = with_record(&server).await;
    let sets: Vec<_> = (2..12).map(|value| minutes(record, value)).collect();
    let honest = phone.freeze(&sets);
    let forged = forgeries(&honest[0].parts[0].change);
    let mut push = Vec::new();
    for (n, honest) in honest.iter().enumerate() {
        push.push(as_change_set(honest, n, forged[n * 3].1.clone()));
        push.push(honest.clone());
    }
    let reply = phone.sync(server.address(), push).await;
    assert_eq!((reply.settled.len(), reply.hints.len()), (20, 0));
    assert!(honest.iter().all(|set| reply.is_accepted(set.id)));
    assert_eq!(server.agrees_with(&mut [&mut phone]).await.rejected, 10);
}

#[tokio::test]
async fn nobody_writes_in_another_devices_name_or_gives_a_record_a_second_beginning() {
    let server = TestServer::start().await;
    let address = server.address();
    let (mut ola, record) = with_record(&server).await;
    let mut kari = server.phone("kari", Role::Coordinator).await;
    kari.read_all(address).await;
    let of_ola = ola.freeze(&[minutes(record, 7)]);
    let reply = kari.sync(address, of_ola.clone()).await;
    assert_eq!(reply.rejection(of_ola[0].id).code, Code::Identity);
    let fields = [("title", text("t")), ("status", text("open"))];
    let (other, _) = create("activity", &fields);
    let (fresh, creation) = create("activity", &fields);
    let mut second_beginning = kari.freeze(&[creation]);
    assert_ne!(fresh, other);
    second_beginning[0].parts[0].record = record;
    let id = second_beginning[0].id;
    assert_eq!(kari.sync(address, second_beginning).await.rejection(id).code, Code::Identity);
    server.agrees_with(&mut [&mut ola, &mut kari]).await;
}
