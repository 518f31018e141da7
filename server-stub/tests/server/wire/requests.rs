//! Whole, well-formed requests that no honest device sends: replayed, reordered, contradicting themselves.

use haversack_protocol::Code;

use super::{framed, sync_path};
use crate::support::{ServerProcess, create, edit, integer, request, text};

#[tokio::test(flavor = "multi_thread")]
async fn an_id_sent_twice_in_one_push_with_other_bytes_is_what_it_was_first() {
    let server = ServerProcess::start().await;
    let mut phone = server.phone("ola").await;
    let (first, one) = create("team", &[("name", text("nord"))]);
    let (second, other) = create("team", &[("name", text("sør"))]);
    let mut frozen = phone.freeze(&[one, other]);
    frozen[1].id = frozen[0].id;
    let id = frozen[0].id;
    let reply = phone.sync(server.address(), frozen).await;
    assert!(reply.is_accepted(id));
    assert_eq!(reply.settled.len(), 2);
    assert_eq!(reply.settled[0], reply.settled[1], "one verdict, told twice");
    assert!(phone.knows(first) && !phone.knows(second));
    assert_eq!(server.prove().records, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_replayed_a_hundred_times_decides_once_and_answers_alike() {
    let server = ServerProcess::start().await;
    let mut phone = server.phone("ola").await;
    let sets: Vec<_> = (0..20).map(|_| create("team", &[("name", text("nord"))]).1).collect();
    let frozen = phone.freeze(&sets);
    let body = framed(&phone.sync_request(frozen));
    let watched = server.watch();
    let mut heads = vec![];
    for _ in 0..100 {
        let response = request(server.address(), &sync_path(), Some(&phone.token), &body).await;
        assert_eq!(response.status, 200);
        heads.push(response.frames().len());
    }
    assert!(heads.windows(2).all(|two| two[0] == two[1]));
    assert_eq!(server.prove().records, 20);
    // A device that never got any of the answers reads it all as it was decided once.
    watched.survived("a replayed push", &mut phone).await;
    assert_eq!(phone.digest(), server.prove().from_documents);
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_sent_backwards_are_held_or_blocked_and_settle_once_their_order_is_right() {
    let server = ServerProcess::start().await;
    let mut phone = server.phone("ola").await;
    let fields = [("title", text("t")), ("status", text("open"))];
    let (record, creation) = create("activity", &fields);
    let edits = (1..20).map(|minutes| {
        let set = haversack_core::Intent::Set { field: "minutes".into(), value: integer(minutes) };
        edit("activity", record, vec![set])
    });
    let sets: Vec<_> = [creation].into_iter().chain(edits).collect();
    let frozen = phone.freeze(&sets);
    let backwards: Vec<_> = frozen.iter().rev().cloned().collect();
    let reply = phone.sync(server.address(), backwards).await;
    assert_eq!((reply.settled.len(), reply.hints.len()), (1, 19), "only the creation needs nothing");
    let codes = reply.hints.iter().map(|hint| hint.code);
    assert!(codes.into_iter().all(|code| matches!(code, Code::DependencyMissing | Code::Blocked)));
    let reply = phone.sync(server.address(), frozen).await;
    assert_eq!((reply.settled.len(), reply.hints.len()), (20, 0));
    assert_eq!(phone.digest(), server.prove().from_documents);
}
