//! What the server remembers: across lost replies, many devices at once, clones and restarts.

use haversack_core::Intent;
use haversack_protocol::{Code, LogRow, Role};

use crate::support::{Phone, Reply, TestServer, create, edit, integer, text};

fn activities(count: usize) -> Vec<haversack_core::ChangeSet> {
    let fields = [("title", text("t")), ("status", text("open"))];
    (0..count).map(|_| create("activity", &fields).1).collect()
}

#[tokio::test]
async fn a_push_whose_reply_was_lost_gets_the_same_positions_again() {
    let server = TestServer::start().await;
    let address = server.address();
    let mut phone = server.phone("ola", Role::Mentor).await;
    let mut sets = activities(3);
    sets.push(create("activity", &[("title", text("no status"))]).1);
    let frozen = phone.freeze(&sets);
    let body = phone.sync_request(frozen);
    let lost = Reply::read(&phone.send(address, &body).await);
    let response = phone.send(address, &body).await;
    let again = phone.apply(&response);
    assert_eq!(again.settled, lost.settled);
    assert_eq!(again.rows, lost.rows);
    let proof = server.agrees_with(&mut [&mut phone]).await;
    assert_eq!((proof.records, proof.log_rows), (3, 5));
}

#[tokio::test]
async fn registering_again_gives_the_same_device_and_tells_the_greatest_push_ordinal() {
    let server = TestServer::start().await;
    let address = server.address();
    let mut phone = server.phone("ola", Role::Mentor).await;
    let other = server.phone("ola", Role::Mentor).await;
    assert_ne!(phone.device, other.device);
    assert_ne!(phone.device.as_bytes()[0], 0);
    for set in activities(2) {
        phone.push(address, &[set]).await;
    }
    phone.push_ordinal = 0;
    phone.push(address, &activities(1)).await;
    let again = phone.register_again(address).await;
    assert_eq!((again.device, again.push_ordinal, again.role), (phone.device, 2, Role::Mentor));
    assert_eq!(server.prove().log_rows, 5, "two devices, three change sets");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_devices_pushing_at_once_leave_no_gap_and_each_reads_everything() {
    async fn drive(phone: &mut Phone, address: std::net::SocketAddr) {
        for _ in 0..20 {
            let reply = phone.push(address, &activities(5)).await;
            assert_eq!(reply.settled.len(), 5);
        }
    }
    let server = TestServer::start().await;
    let address = server.address();
    let mut ola = server.phone("ola", Role::Mentor).await;
    let mut kari = server.phone("kari", Role::Mentor).await;
    tokio::join!(drive(&mut ola, address), drive(&mut kari, address));
    let proof = server.agrees_with(&mut [&mut ola, &mut kari]).await;
    assert_eq!((proof.records, proof.log_rows), (200, 202));
    let every: Vec<_> = (1..=202).collect();
    assert_eq!(ola.positions, every);
    assert_eq!(kari.positions, every);
}

#[tokio::test]
async fn a_refusal_is_read_only_by_the_device_that_pushed_it() {
    let server = TestServer::start().await;
    let address = server.address();
    let mut ola = server.phone("ola", Role::Mentor).await;
    let mut kari = server.phone("kari", Role::Mentor).await;
    let refused = create("activity", &[("title", text("no status"))]).1;
    let frozen = ola.freeze(std::slice::from_ref(&refused));
    let first = ola.sync(address, frozen.clone()).await;
    assert_eq!(first.rejection(refused.id).code, Code::Rule);
    kari.read_all(address).await;
    assert_eq!(kari.positions, vec![1, 2], "the device rows alone");
    let asked = kari.sync(address, frozen.clone()).await;
    assert_eq!(asked.rejection(refused.id), first.rejection(refused.id), "who pushes it too is told too");
    let again = kari.sync(address, frozen).await;
    assert_eq!(again.settled, asked.settled);
    assert_eq!(server.prove().rejected, 1);
}

#[tokio::test]
async fn own_changes_come_back_as_hashes_unless_asked_for_in_full() {
    use haversack_protocol::PartChange;
    let server = TestServer::start().await;
    let address = server.address();
    let mut phone = server.phone("ola", Role::Mentor).await;
    let set = activities(1);
    let frozen = phone.freeze(&set);
    let change_of = |reply: &Reply| {
        reply.rows.iter().find_map(|row| match row {
            LogRow::Accepted(row) => Some(row.parts[0].change.clone()),
            _ => None,
        })
    };
    let mut body = phone.sync_request(frozen.clone());
    let own = Reply::read(&phone.send(address, &body).await);
    assert!(matches!(change_of(&own), Some(PartChange::Own(_))));
    body.echo_in_full = true;
    let full = Reply::read(&phone.send(address, &body).await);
    assert_eq!(change_of(&full), Some(PartChange::Full(frozen[0].parts[0].change.clone())));
}

#[tokio::test]
async fn pages_never_split_a_row_and_end_with_more_until_all_is_read() {
    let server = TestServer::start().await;
    let address = server.address();
    let mut ola = server.phone("ola", Role::Mentor).await;
    ola.push(address, &activities(30)).await;
    let mut kari = server.phone("kari", Role::Mentor).await;
    let mut replies = 0;
    loop {
        let mut body = kari.sync_request(vec![]);
        body.page_bytes_max = 1000;
        let response = kari.send(address, &body).await;
        let reply = kari.apply(&response);
        assert!(reply.pages <= 4);
        replies += 1;
        if !reply.more {
            break;
        }
        assert_eq!(reply.pages, 4);
    }
    assert!(replies > 1);
    assert_eq!(kari.positions, (1..=32).collect::<Vec<_>>());
    let mut tiny = kari.sync_request(vec![]);
    (tiny.page_bytes_max, tiny.cursor) = (0, None);
    let reply = Reply::read(&kari.send(address, &tiny).await);
    assert_eq!((reply.pages, reply.rows.len(), reply.more), (4, 4, true), "a page holds one row at least");
    server.agrees_with(&mut [&mut ola, &mut kari]).await;
}

#[tokio::test]
async fn a_restart_keeps_everything_and_cursors_stay_valid() {
    let mut server = TestServer::start().await;
    let mut phone = server.phone("ola", Role::Mentor).await;
    let fields = [("title", text("t")), ("status", text("open")), ("minutes", integer(1))];
    let (record, creation) = create("activity", &fields);
    let first = phone.push(server.address(), std::slice::from_ref(&creation)).await;
    let (before, cursor) = (server.prove(), phone.cursor.clone());
    server.restart().await;
    assert_eq!(server.prove(), before);
    let nothing = phone.sync(server.address(), vec![]).await;
    assert_eq!((nothing.pages, nothing.more), (0, false));
    assert_eq!(phone.cursor, cursor);
    let edited = edit("activity", record, vec![Intent::Set { field: "minutes".into(), value: integer(9) }]);
    let mut frozen = phone.freeze(&[edited]);
    frozen.push(phone.freeze(std::slice::from_ref(&creation)).remove(0));
    let reply = phone.sync(server.address(), frozen).await;
    assert_eq!(reply.position(creation.id), first.position(creation.id));
    let (next, creation) = create("activity", &fields);
    phone.push(server.address(), &[creation]).await;
    assert_eq!(phone.server_id(next), Some("ACT-000002"));
    server.agrees_with(&mut [&mut phone]).await;
}
