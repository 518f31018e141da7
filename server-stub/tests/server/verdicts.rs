//! What is accepted, what is refused and by which name, what is only answered for now.

use haversack_core::{Intent, Mark, Value};
use haversack_protocol::{ChangeSetId, Code, LogRow, Role, UnixMillis};

use crate::support::{Phone, TestServer, create, edit, integer, text};

fn set(field: &str, value: Value) -> Vec<Intent> {
    vec![Intent::Set { field: field.into(), value }]
}

fn activity(extra: &[(&str, Value)]) -> (haversack_protocol::RecordId, haversack_core::ChangeSet) {
    let mut fields = vec![("title", text("lekser")), ("status", text("open"))];
    fields.extend(extra.iter().cloned());
    create("activity", &fields)
}

fn mark(phone: &Phone, role: Role, value: i64) -> Vec<Intent> {
    let mark = Mark {
        value: Some(integer(value)),
        by: phone.principal.clone(),
        role,
        at: UnixMillis(1),
        reason: "rettet".into(),
    };
    vec![Intent::Override { field: "minutes".into(), mark }]
}

#[tokio::test]
async fn an_honest_creation_and_edit_are_accepted_and_get_a_server_id() {
    let server = TestServer::start().await;
    let mut phone = server.phone("ola", Role::Mentor).await;
    let (record, creation) = activity(&[("minutes", integer(30))]);
    let later = edit("activity", record, set("minutes", integer(45)));
    let bump = edit("activity", record, vec![Intent::Increment { field: "calls".into(), by: 2 }]);
    let tag = edit("activity", record, vec![Intent::Add { field: "tags".into(), element: "ute".into() }]);
    let reply = phone.push(server.address(), &[creation.clone(), later.clone(), bump, tag]).await;
    assert_eq!(reply.settled.len(), 4);
    assert!(reply.is_accepted(creation.id) && reply.is_accepted(later.id));
    assert_eq!(phone.server_id(record), Some("ACT-000001"));
    assert_eq!(phone.row(record).fields["minutes"], integer(45));
    assert_eq!(phone.row(record).fields["calls"], Value::Counter(2));
    let (second, creation) = activity(&[]);
    phone.push(server.address(), &[creation]).await;
    assert_eq!(phone.server_id(second), Some("ACT-000002"));
    let mut other = server.phone("kari", Role::Coordinator).await;
    let proof = server.agrees_with(&mut [&mut phone, &mut other]).await;
    assert_eq!((proof.records, proof.accepted, proof.rejected), (2, 5, 0));
}

#[tokio::test]
async fn a_settled_id_keeps_its_verdict_whatever_the_bytes() {
    let server = TestServer::start().await;
    let mut phone = server.phone("ola", Role::Mentor).await;
    let (record, creation) = activity(&[("minutes", integer(30))]);
    let first = phone.push(server.address(), std::slice::from_ref(&creation)).await;
    let mut forged = edit("activity", record, set("minutes", integer(99)));
    forged.id = creation.id;
    let frozen = phone.freeze(&[forged]);
    let again = phone.sync(server.address(), frozen).await;
    assert_eq!(again.position(creation.id), first.position(creation.id));
    assert_eq!(phone.row(record).fields["minutes"], integer(30));
    assert_eq!(server.prove().log_rows, 2);
}

#[tokio::test]
async fn every_kind_of_rule_refuses_by_its_name() {
    let server = TestServer::start().await;
    let address = server.address();
    let mut phone = server.phone("ola", Role::Mentor).await;
    let mut administrator = server.phone("siri", Role::Administrator).await;
    let (record, creation) = activity(&[]);
    phone.push(address, &[creation, edit("activity", record, set("status", text("done")))]).await;
    let (_, without_status) = create("activity", &[("title", text("x"))]);
    let refused = [
        ("status-is-stated", without_status),
        ("minutes-in-a-day", edit("activity", record, set("minutes", integer(721)))),
        ("known-language", edit("activity", record, set("language", text("klingon")))),
        ("one-step", edit("activity", record, set("status", text("open")))),
        ("note-is-theirs", edit("activity", record, set("note", text("x")))),
    ];
    for (rule, change_set) in refused {
        let before = phone.heads(record);
        let reply = phone.push(address, std::slice::from_ref(&change_set)).await;
        let rejection = reply.rejection(change_set.id);
        assert_eq!((rejection.code, rejection.rule.as_deref()), (Code::Rule, Some(rule)));
        assert_eq!(phone.heads(record), before);
    }
    administrator.read_all(address).await;
    let marking = edit("activity", record, mark(&administrator, Role::Administrator, 5));
    let reply = administrator.push(address, std::slice::from_ref(&marking)).await;
    assert_eq!(reply.rejection(marking.id).rule.as_deref(), Some("marks-are-theirs"));
    server.agrees_with(&mut [&mut phone, &mut administrator]).await;
}

#[tokio::test]
async fn nobody_creates_a_record_in_a_collection_closed_to_their_role_not_even_an_empty_one() {
    let server = TestServer::start().await;
    let address = server.address();
    let mut ola = server.phone("ola", Role::Mentor).await;
    let mut kari = server.phone("kari", Role::Coordinator).await;
    let (_, forbidden) = create("report", &[]);
    let reply = ola.push(address, std::slice::from_ref(&forbidden)).await;
    assert_eq!(reply.rejection(forbidden.id).code, Code::Forbidden);
    let (_, allowed) = create("report", &[]);
    assert!(kari.push(address, std::slice::from_ref(&allowed)).await.is_accepted(allowed.id));
    server.agrees_with(&mut [&mut ola, &mut kari]).await;
}

#[tokio::test]
async fn one_bad_change_set_in_the_middle_takes_no_other_along() {
    let server = TestServer::start().await;
    let mut phone = server.phone("ola", Role::Mentor).await;
    let made: Vec<_> =
        (0..9).map(|n| activity(&[("minutes", integer(if n == 4 { 9999 } else { 10 }))])).collect();
    let sets: Vec<_> = made.iter().map(|(_, set)| set.clone()).collect();
    let reply = phone.push(server.address(), &sets).await;
    for (n, set) in sets.iter().enumerate() {
        assert_eq!(reply.is_accepted(set.id), n != 4, "change set {n}");
    }
    assert_eq!(reply.rejection(sets[4].id).rule.as_deref(), Some("minutes-in-a-day"));
    let proof = server.agrees_with(&mut [&mut phone]).await;
    assert_eq!((proof.accepted, proof.rejected), (8, 1));
}

#[tokio::test]
async fn what_stands_behind_a_refusal_is_blocked_by_it_and_nothing_of_it_is_stored() {
    let server = TestServer::start().await;
    let address = server.address();
    let mut phone = server.phone("ola", Role::Mentor).await;
    let (record, creation) = activity(&[]);
    phone.push(address, &[creation]).await;
    let (refused_record, refused_creation) = activity(&[("minutes", integer(0))]);
    let on_it = edit("activity", refused_record, set("minutes", integer(5)));
    let refused_edit = edit("activity", record, set("minutes", integer(0)));
    let chained = edit("activity", record, set("language", text("urdu")));
    let mut after = edit("activity", record, vec![Intent::Restore]);
    after.after = vec![refused_creation.id];
    let (_, mut free) = activity(&[]);
    free.after = vec![];
    let sets = [refused_creation, on_it, refused_edit, chained, after, free];
    let reply = phone.push(address, &sets).await;
    let by = |n: usize| (reply.hint(sets[n].id).code, reply.hint(sets[n].id).by);
    assert_eq!(by(1), (Code::Blocked, Some(sets[0].id)));
    assert_eq!(by(3), (Code::Blocked, Some(sets[2].id)));
    assert_eq!(by(4), (Code::Blocked, Some(sets[0].id)));
    assert!(reply.is_accepted(sets[5].id));
    let proof = server.agrees_with(&mut [&mut phone]).await;
    assert_eq!((proof.records, proof.accepted, proof.rejected, proof.log_rows), (2, 2, 2, 5));
}

#[tokio::test]
async fn what_was_declared_after_a_set_refused_earlier_is_refused_for_its_sake() {
    let server = TestServer::start().await;
    let mut phone = server.phone("ola", Role::Mentor).await;
    let (_, refused) = activity(&[("minutes", integer(0))]);
    phone.push(server.address(), std::slice::from_ref(&refused)).await;
    let (_, mut later) = activity(&[]);
    later.after = vec![refused.id];
    let reply = phone.push(server.address(), std::slice::from_ref(&later)).await;
    let rejection = reply.rejection(later.id);
    assert_eq!((rejection.code, rejection.root_cause), (Code::DependencyRejected, Some(refused.id)));
}

#[tokio::test]
async fn what_needs_something_unseen_is_held_and_accepted_once_it_came() {
    let server = TestServer::start().await;
    let address = server.address();
    let mut phone = server.phone("ola", Role::Mentor).await;
    let (record, creation) = activity(&[]);
    let first = edit("activity", record, set("minutes", integer(5)));
    let second = edit("activity", record, set("minutes", integer(6)));
    let mut after = activity(&[]).1;
    after.after = vec![second.id];
    let frozen = phone.freeze(&[creation, first.clone(), second.clone(), after.clone()]);
    let only = |n: usize| vec![frozen[n].clone()];
    let reply = phone.sync(address, only(1)).await;
    assert_eq!(reply.hint(first.id).code, Code::DependencyMissing, "its record is not there yet");
    phone.sync(address, only(0)).await;
    let reply = phone.sync(address, only(2)).await;
    let hint = reply.hint(second.id);
    assert_eq!((hint.code, hint.need.len(), hint.record), (Code::DependencyMissing, 1, Some(record)));
    let reply = phone.sync(address, only(3)).await;
    assert_eq!(reply.hint(after.id).code, Code::DependencyMissing);
    let reply = phone.sync(address, frozen).await;
    assert_eq!((reply.settled.len(), reply.hints.len()), (4, 0));
    assert_eq!(server.agrees_with(&mut [&mut phone]).await.accepted, 4);
}

#[tokio::test]
async fn an_edit_of_another_epoch_is_sent_back_to_be_expressed_anew() {
    let server = TestServer::start().await;
    let mut phone = server.phone("ola", Role::Mentor).await;
    let (record, creation) = activity(&[]);
    phone.push(server.address(), &[creation]).await;
    let mut frozen = phone.freeze(&[edit("activity", record, set("minutes", integer(5)))]);
    frozen[0].parts[0].epoch = 1;
    let reply = phone.sync(server.address(), frozen.clone()).await;
    assert_eq!(reply.hint(frozen[0].id).code, Code::Epoch);
    assert_eq!(server.prove().log_rows, 2);
}

#[tokio::test]
async fn an_empty_part_is_accepted_when_what_it_stands_on_is_known() {
    let server = TestServer::start().await;
    let address = server.address();
    let mut phone = server.phone("ola", Role::Mentor).await;
    let (record, creation) = activity(&[]);
    phone.push(address, &[creation]).await;
    let restore = edit("activity", record, vec![Intent::Restore]);
    let frozen = phone.freeze(std::slice::from_ref(&restore));
    assert!(frozen[0].parts[0].change.is_empty());
    let mut unknown = frozen.clone();
    unknown[0].parts[0].deps = vec![haversack_protocol::ChangeHash::from_bytes([9; 32])];
    let reply = phone.sync(address, unknown).await;
    assert_eq!(reply.hint(restore.id).need.len(), 1);
    let reply = phone.sync(address, frozen).await;
    assert!(reply.is_accepted(restore.id));
    let mut creating = phone.freeze(&[edit("activity", record, vec![Intent::Restore])]);
    creating[0].parts[0].record = haversack_protocol::RecordId::from_bytes([0xee; 16]);
    creating[0].parts[0].collection = Some("activity".into());
    let id = creating[0].id;
    assert_eq!(phone.sync(address, creating).await.rejection(id).code, Code::Malformed);
    assert_eq!(server.agrees_with(&mut [&mut phone]).await.records, 1);
}

#[tokio::test]
async fn conflicting_edits_are_both_kept_and_everyone_shows_the_same_one() {
    let server = TestServer::start().await;
    let address = server.address();
    let mut ola = server.phone("ola", Role::Mentor).await;
    let mut kari = server.phone("kari", Role::Mentor).await;
    let (record, creation) = activity(&[]);
    ola.push(address, &[creation]).await;
    kari.read_all(address).await;
    let by_ola = ola.freeze(&[edit("activity", record, set("minutes", integer(10)))]);
    kari.push(address, &[edit("activity", record, set("minutes", integer(20)))]).await;
    ola.sync(address, by_ola).await;
    server.agrees_with(&mut [&mut ola, &mut kari]).await;
    assert_eq!(ola.row(record).conflicts["minutes"].len(), 2);
    assert_eq!(ola.row(record), kari.row(record));
}

#[tokio::test]
async fn a_crowd_of_concurrent_edits_is_merged_and_the_next_honest_edit_still_passes() {
    let server = TestServer::start().await;
    let address = server.address();
    let mut author = server.phone("ola", Role::Mentor).await;
    let (record, creation) = activity(&[]);
    author.push(address, &[creation]).await;
    let mut crowd = Vec::new();
    for n in 0..70 {
        let mut phone = server.phone("ola", Role::Mentor).await;
        phone.read_all(address).await;
        let frozen = phone.freeze(&[edit("activity", record, set("minutes", integer(1 + n)))]);
        crowd.push((phone, frozen));
    }
    for (phone, frozen) in &mut crowd {
        let reply = phone.sync(address, frozen.clone()).await;
        assert_eq!((reply.settled.len(), reply.is_accepted(frozen[0].id)), (1, true));
    }
    author.read_all(address).await;
    assert!(author.heads(record).len() <= 32);
    assert_eq!(author.row(record).conflicts["minutes"].len(), 70);
    let after = edit("activity", record, set("minutes", integer(100)));
    assert!(author.push(address, std::slice::from_ref(&after)).await.is_accepted(after.id));
    server.agrees_with(&mut [&mut author, &mut crowd[0].0]).await;
    assert!(author.row(record).conflicts.is_empty());
}

#[tokio::test]
async fn only_a_coordinator_overrides_and_what_is_written_beneath_is_reported_as_shadowed() {
    let server = TestServer::start().await;
    let address = server.address();
    let mut ola = server.phone("ola", Role::Mentor).await;
    let mut kari = server.phone("kari", Role::Coordinator).await;
    let (record, creation) = activity(&[("minutes", integer(10))]);
    ola.push(address, &[creation]).await;
    kari.read_all(address).await;
    let forbidden = edit("activity", record, mark(&ola, Role::Mentor, 60));
    let reply = ola.push(address, std::slice::from_ref(&forbidden)).await;
    assert_eq!(reply.rejection(forbidden.id).code, Code::Forbidden);
    let borrowed = edit("activity", record, mark(&ola, Role::Coordinator, 60));
    let reply = kari.push(address, std::slice::from_ref(&borrowed)).await;
    assert_eq!(reply.rejection(borrowed.id).code, Code::Identity, "a mark names its author");
    let allowed = edit("activity", record, mark(&kari, Role::Coordinator, 60));
    assert!(kari.push(address, std::slice::from_ref(&allowed)).await.is_accepted(allowed.id));
    ola.read_all(address).await;
    let beneath = edit("activity", record, set("minutes", integer(12)));
    let beside = edit("activity", record, set("language", text("urdu")));
    let reply = ola.push(address, &[beneath.clone(), beside.clone()]).await;
    let shadowed = |id: ChangeSetId| {
        reply.rows.iter().find_map(|row| match row {
            LogRow::Accepted(row) if row.origin.change_set == id => Some(row.shadowed.clone()),
            _ => None,
        })
    };
    assert_eq!(shadowed(beneath.id), Some(vec![(record, "minutes".to_owned())]));
    assert_eq!(shadowed(beside.id), Some(vec![]));
    assert_eq!(ola.row(record).effective("minutes"), Some(&integer(60)));
    kari.read_all(address).await;
    let release = edit("activity", record, vec![Intent::Release { field: "minutes".into() }]);
    kari.push(address, &[release]).await;
    assert_eq!(kari.row(record).effective("minutes"), Some(&integer(12)));
    server.agrees_with(&mut [&mut ola, &mut kari]).await;
}

#[tokio::test]
async fn a_withdrawn_change_set_is_refused_for_good_and_a_settled_one_keeps_its_verdict() {
    let server = TestServer::start().await;
    let address = server.address();
    let mut phone = server.phone("ola", Role::Mentor).await;
    let (_, accepted) = activity(&[]);
    let (_, withdrawn) = activity(&[]);
    let frozen = phone.freeze(&[accepted.clone(), withdrawn.clone()]);
    let first = phone.sync(address, vec![frozen[0].clone()]).await;
    let mut body = phone.sync_request(vec![]);
    body.withdraw = vec![accepted.id, withdrawn.id];
    let response = phone.send(address, &body).await;
    let reply = phone.apply(&response);
    assert_eq!(reply.position(accepted.id), first.position(accepted.id));
    assert_eq!(reply.rejection(withdrawn.id).code, Code::Withdrawn);
    let again = phone.sync(address, vec![frozen[1].clone()]).await;
    assert_eq!(again.position(withdrawn.id), reply.position(withdrawn.id));
    assert_eq!(server.agrees_with(&mut [&mut phone]).await.records, 1);
}

#[tokio::test]
async fn a_change_set_over_its_limits_is_refused_for_good() {
    let server = TestServer::start().await;
    let mut phone = server.phone("ola", Role::Mentor).await;
    let (_, mut late) = activity(&[]);
    late.after = (0..33).map(|n| ChangeSetId::from_bytes([n; 16])).collect();
    let (_, many) = activity(&[]);
    let mut frozen = phone.freeze(&[late.clone(), many.clone()]);
    let part = frozen[1].parts[0].clone();
    frozen[1].parts = (0..33)
        .map(|n| {
            let record = haversack_protocol::RecordId::from_bytes([n; 16]);
            haversack_protocol::PushedPart { record, ..part.clone() }
        })
        .collect();
    let reply = phone.sync(server.address(), frozen).await;
    assert_eq!(reply.rejection(late.id).code, Code::Limit);
    assert_eq!(reply.rejection(many.id).code, Code::Limit);
}
