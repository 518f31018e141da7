//! References: temporary ids never outlive the transaction that assigns the real ones.

use haversack_core::{Intent, Reference, Value};
use haversack_protocol::{Code, LogRow, RecordId, Role, ServerId};

use crate::support::{TestServer, create, edit, text};

fn to(record: RecordId) -> Value {
    Value::Reference(Reference::Record(record))
}

fn to_server_id(id: &str) -> Value {
    Value::Reference(Reference::Server(ServerId::new(id).expect("plain")))
}

#[tokio::test]
async fn references_three_deep_in_one_push_are_rewritten_and_no_temporary_id_is_visible() {
    let server = TestServer::start().await;
    let mut phone = server.phone("ola", Role::Mentor).await;
    let (team, make_team) = create("team", &[("name", text("nord"))]);
    let (person, make_person) = create("person", &[("name", text("Amina")), ("team", to(team))]);
    let fields = [("title", text("t")), ("status", text("open")), ("person", to(person))];
    let (activity, make_activity) = create("activity", &fields);
    let reply = phone.push(server.address(), &[make_team, make_person, make_activity.clone()]).await;
    assert_eq!(reply.hints.len(), 0);
    assert_eq!(phone.row(activity).fields["person"], to_server_id("P-000001"));
    assert_eq!(phone.row(person).fields["team"], to_server_id("TEAM-000001"));
    let is_rewrite = |row: &LogRow| matches!(row, LogRow::Accepted(row) if !row.server_changes.is_empty());
    assert_eq!(reply.rows.iter().filter(|row| is_rewrite(row)).count(), 2);
    server.agrees_with(&mut [&mut phone]).await;
    let edited = edit("activity", activity, vec![Intent::Clear { field: "person".into() }]);
    assert!(phone.push(server.address(), std::slice::from_ref(&edited)).await.is_accepted(edited.id));
    server.agrees_with(&mut [&mut phone]).await;
}

#[tokio::test]
async fn records_of_one_change_set_may_refer_to_each_other_and_to_themselves() {
    let server = TestServer::start().await;
    let mut phone = server.phone("ola", Role::Mentor).await;
    let base = [("title", text("t")), ("status", text("open"))];
    let (first, mut change_set) = create("activity", &base);
    let (second, other) = create("activity", &base);
    let previous = |record| Intent::Set { field: "previous".into(), value: to(record) };
    change_set.parts.extend(other.parts);
    change_set.parts[0].intents.push(previous(second));
    change_set.parts[1].intents.push(previous(second));
    let reply = phone.push(server.address(), std::slice::from_ref(&change_set)).await;
    assert!(reply.is_accepted(change_set.id));
    assert_eq!(phone.row(first).fields["previous"], to_server_id("ACT-000002"));
    assert_eq!(phone.row(second).fields["previous"], to_server_id("ACT-000002"));
    server.agrees_with(&mut [&mut phone]).await;
}

#[tokio::test]
async fn a_reference_to_nothing_or_to_another_collection_is_refused() {
    let server = TestServer::start().await;
    let address = server.address();
    let mut phone = server.phone("ola", Role::Mentor).await;
    let (team, make_team) = create("team", &[("name", text("nord"))]);
    phone.push(address, &[make_team]).await;
    let nowhere = RecordId::from_bytes([0xaa; 16]);
    for value in [to(nowhere), to(team), to_server_id("P-000077"), to_server_id("TEAM-000001")] {
        let fields = [("title", text("t")), ("status", text("open")), ("person", value)];
        let (record, change_set) = create("activity", &fields);
        let rejection = phone.push(address, std::slice::from_ref(&change_set)).await.rejection(change_set.id);
        assert_eq!(rejection.code, Code::ReferenceRejected);
        assert_eq!(rejection.field.as_deref(), Some("activity.person"));
        assert!(!phone.knows(record));
    }
    server.agrees_with(&mut [&mut phone]).await;
}

#[tokio::test]
async fn a_reference_to_a_creation_refused_in_the_same_push_waits_for_its_author() {
    let server = TestServer::start().await;
    let mut phone = server.phone("ola", Role::Mentor).await;
    let (refused_record, refused) = create("activity", &[("title", text("no status"))]);
    let fields = [("title", text("t")), ("status", text("open")), ("previous", to(refused_record))];
    let (_, dependant) = create("activity", &fields);
    let reply = phone.push(server.address(), &[refused.clone(), dependant.clone()]).await;
    let hint = reply.hint(dependant.id);
    assert_eq!((hint.code, hint.by), (Code::Blocked, Some(refused.id)));
    assert_eq!(server.prove().records, 0);
}

#[tokio::test]
async fn a_change_set_is_accepted_with_all_its_parts_or_with_none() {
    let server = TestServer::start().await;
    let mut phone = server.phone("ola", Role::Mentor).await;
    let (team, mut change_set) = create("team", &[("name", text("nord"))]);
    let (_, without_status) = create("activity", &[("title", text("t"))]);
    change_set.parts.extend(without_status.parts);
    let reply = phone.push(server.address(), std::slice::from_ref(&change_set)).await;
    assert_eq!(reply.rejection(change_set.id).code, Code::Rule);
    assert!(!phone.knows(team));
    let (next, make_team) = create("team", &[("name", text("sør"))]);
    phone.push(server.address(), &[make_team]).await;
    assert_eq!(phone.server_id(next), Some("TEAM-000001"), "a refusal uses no number");
    assert_eq!(server.agrees_with(&mut [&mut phone]).await.records, 1);
}
