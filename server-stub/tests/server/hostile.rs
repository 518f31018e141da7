//! Forged changes: each gets a permanent verdict, the server lives, and the next honest push works.

use automerge::ScalarValue;
use automerge::legacy::{Key, OpType};
use haversack_core::Intent;
use haversack_protocol::limits::CHANGE_BYTES_MAX;
use haversack_protocol::{ChangeSetId, Code, PushedChangeSet, RecordId, Role};

use crate::forging::{compressed, forge, forgeries, inflating, with_author, with_trailing_bytes};
use crate::support::{Phone, TestServer, create, edit, integer, text};

/// Every forgery of an honest second change of a record, also those that only a server can tell.
fn all_forgeries(honest: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let of_the_server = [
        ("no predecessors", forge(honest, |change| change.operations[0].pred = vec![].into())),
        (
            "a counter put over a register",
            forge(honest, |change| change.operations[0].action = OpType::Put(ScalarValue::counter(1))),
        ),
        ("an unknown key", forge(honest, |change| change.operations[0].key = Key::Map("f:salary".into()))),
        ("a key of no kind", forge(honest, |change| change.operations[0].key = Key::Map("x".into()))),
    ];
    let flipped = (0..honest.len()).step_by(7).map(|at| {
        let mut bytes = honest.to_vec();
        bytes[at] ^= 0x41;
        ("a flipped byte", bytes)
    });
    let of_the_server = of_the_server.into_iter().filter_map(|(what, bytes)| Some((what, bytes?)));
    forgeries(honest).into_iter().chain(of_the_server).chain(flipped).collect()
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
    let forged = all_forgeries(&honest.parts[0].change);
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
    let forged = all_forgeries(&honest[0].parts[0].change);
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
async fn what_hides_behind_a_change_or_inflates_is_refused_for_good_and_its_neighbours_pass() {
    let server = TestServer::start().await;
    let address = server.address();
    let (mut phone, record) = with_record(&server).await;
    let sets: Vec<_> = (2..7).map(|value| minutes(record, value)).collect();
    let honest = phone.freeze(&sets);
    let change = &honest[0].parts[0].change;
    let noise: String = (0..CHANGE_BYTES_MAX as u64).map(|n| noise(n).to_string()).collect();
    let forged = [
        (with_author(change), Code::Malformed),
        (with_trailing_bytes(change), Code::Malformed),
        (inflating(change), Code::Malformed),
        (compressed(change, &noise), Code::Limit),
    ];
    assert!(forged[2].0.len() < CHANGE_BYTES_MAX, "small enough to be looked at");
    assert!(forged[3].0.len() > CHANGE_BYTES_MAX, "does not compress into the limit");
    let expected: Vec<_> = forged.iter().map(|(_, code)| *code).collect();
    let refused: Vec<_> =
        forged.into_iter().enumerate().map(|(n, (bytes, _))| as_change_set(&honest[0], n, bytes)).collect();
    let between = honest.iter().zip(refused.iter().map(Some).chain([None]));
    let push: Vec<_> =
        between.flat_map(|(honest, refused)| [Some(honest), refused]).flatten().cloned().collect();
    let reply = phone.sync(address, push.clone()).await;
    assert_eq!((push.len(), reply.settled.len(), reply.hints.len()), (9, 9, 0));
    assert!(honest.iter().all(|set| reply.is_accepted(set.id)));
    let codes: Vec<_> = refused.iter().map(|set| reply.rejection(set.id).code).collect();
    assert_eq!(codes, expected);
    let again = phone.sync(address, refused.clone()).await;
    assert_eq!(again.rows.len(), 0, "told once");
    assert!(refused.iter().all(|set| again.position(set.id) == reply.position(set.id)));
    assert_eq!(server.agrees_with(&mut [&mut phone]).await.rejected, 4);
}

/// Numbers that do not compress to a third.
fn noise(n: u64) -> u64 {
    n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ n.wrapping_mul(0xd1b5_4a32_d192_ed03).rotate_left(31)
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
