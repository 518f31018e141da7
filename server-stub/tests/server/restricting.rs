//! Restricting a record beside a running server.

use haversack_core::{ChangeSet, Intent};
use haversack_protocol::{Code, LogRow, RecordId, Role, ServerId};
use haversack_server::{erase, restrict, restrictions};

use crate::support::{TestServer, create, edit, integer, text};

fn minutes(record: RecordId, minutes: i64) -> ChangeSet {
    edit("activity", record, vec![Intent::Set { field: "minutes".into(), value: integer(minutes) }])
}

#[tokio::test]
async fn an_edit_of_a_restricted_record_is_refused_before_it_is_read_and_taken_once_that_is_lifted() {
    let server = TestServer::start().await;
    let mut phone = server.phone("kari", Role::Administrator).await;
    let fields = [("title", text("tur")), ("status", text("open"))];
    let ((held, first), (free, second)) = (create("activity", &fields), create("activity", &fields));
    phone.push(server.address(), &[first, second]).await;
    let database = server.path("server.db");
    let name = ServerId::new("ACT-000001").expect("plain");
    let done = restrict(&database, &name.clone().into(), true).expect("restricted");
    assert_eq!(restrict(&database, &held.into(), true).expect("known"), done, "devices are told once");
    let listed = restrictions(&database).expect("listed");
    let names: Vec<_> =
        listed.iter().map(|one| (one.record, one.server_id.clone(), Some(one.position))).collect();
    assert_eq!(names, [(held, Some(name), done.position)]);

    let mut both = minutes(free, 5);
    both.parts.extend(minutes(held, 5).parts);
    let (alone, beside) = (minutes(held, 6), minutes(free, 7));
    let mut frozen = phone.freeze(&[both.clone(), alone.clone(), beside.clone()]);
    frozen[1].parts[0].change = b"no change".to_vec();
    let reply = phone.sync(server.address(), frozen).await;
    for refused in [&both, &alone] {
        assert_eq!(reply.rejection(refused.id).code, Code::Restricted);
    }
    let told: Vec<_> = reply
        .rows
        .iter()
        .filter_map(|row| match row {
            LogRow::Restricted(row) => Some((Some(row.position), row.record, row.is_restricted)),
            _ => None,
        })
        .collect();
    assert_eq!(told, [(done.position, held, true)]);

    let lifted = restrict(&database, &held.into(), false).expect("lifted");
    assert!(lifted.position > done.position);
    assert_eq!(restrict(&database, &held.into(), false).expect("known").position, None);
    assert_eq!(restrictions(&database).expect("listed"), []);
    let again = minutes(held, 8);
    let reply = phone.push(server.address(), std::slice::from_ref(&again)).await;
    assert!(reply.is_accepted(again.id));
}

#[tokio::test]
async fn a_restriction_outlives_the_server_and_goes_with_an_erased_record() {
    let mut server = TestServer::start().await;
    let mut phone = server.phone("kari", Role::Coordinator).await;
    let (record, creation) = create("activity", &[("title", text("tur")), ("status", text("open"))]);
    phone.push(server.address(), &[creation]).await;
    let database = server.path("server.db");
    restrict(&database, &record.into(), true).expect("restricted");
    server.restart().await;
    let edit = minutes(record, 5);
    let reply = phone.push(server.address(), std::slice::from_ref(&edit)).await;
    assert_eq!(reply.rejection(edit.id).code, Code::Restricted);
    erase(&database, &record.into()).expect("erased all the same");
    assert_eq!(restrictions(&database).expect("listed"), []);
    let unknown = restrict(&database, &RecordId::from_bytes([9; 16]).into(), true);
    assert_eq!(unknown.expect_err("refused").to_string(), "there is no such record");
}
