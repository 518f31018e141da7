//! Parking: a change set that no push survives is set aside, visibly, with what needs it; everything else arrives.

use haversack::{ChangeSetId, Changes, EntryState, NoticeKind, RecordState};
use haversack_protocol::SyncRequest;
use haversack_tests::{Device, Gate, Step, World, eventually, text};

/// Syncs, whether it works out or not, until the outbox holds so many parked entries and nothing else.
async fn sync_until_parked(device: &Device, parked: u64) {
    eventually("the rest arrives and the culprit is parked", || async {
        drop(device.try_sync().await);
        let status = device.store.status().await.expect("counted");
        (status.pending, status.sending, status.parked) == (0, 0, parked)
    })
    .await;
}

fn carries(id: ChangeSetId) -> impl Fn(&SyncRequest) -> bool {
    move |request| request.push.iter().any(|change_set| change_set.id == id)
}

/// A person whose creation breaks every line, a walk with that person, and `others` walks beside them.
async fn break_under_one(device: &Device, gate: &Gate, others: usize) -> ChangeSetId {
    for n in 0..others / 2 {
        device.create("activity", Changes::new().set("title", format!("before {n}"))).await;
    }
    let about_kari = Changes::new().set("name", "Kari");
    let made = device.store.transaction(|tx| (tx.id(), tx.create("person", about_kari.clone())));
    let (culprit, kari) = made.await.expect("stored");
    device.create("activity", Changes::new().set("title", "with Kari").set("person", kari)).await;
    for n in others / 2..others {
        device.create("activity", Changes::new().set("title", format!("behind {n}"))).await;
    }
    gate.otherwise(Step::break_under(carries(culprit)));
    culprit
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_set_that_no_push_survives_is_parked_with_what_needs_it_and_all_others_arrive() {
    let world = World::start().await;
    let gate = world.gate().await;
    let device = world.mentor("ola").await;
    let culprit = break_under_one(&device, &gate, 20).await;
    device.connect(gate.address()).await;
    sync_until_parked(&device, 2).await;
    assert_eq!(world.agrees_with(&[&device]).await.accepted, 20);
    let [root, with_it] = &device.outbox().await[..] else { panic!("two are kept") };
    assert_eq!(root.change_set.id, culprit);
    assert!(root.attempts > 4, "it was tried again and again: {}", root.attempts);
    assert_eq!(root.last_error.as_deref(), Some("unreachable"));
    assert!(matches!(&with_it.state, EntryState::Parked(reason) if reason.root_cause == Some(culprit)));
    let notices = device.store.notices().await.expect("listed");
    assert_eq!((notices.len(), notices[0].kind, notices[0].entries), (1, NoticeKind::Parked, 2));

    gate.otherwise(Step::Forward);
    let again = device.store.outbox().retry(culprit).await.expect("nothing stands in its way");
    assert_ne!(again, culprit, "the server remembers the old id as taken back");
    device.sync_after_trouble().await;
    assert!(device.outbox().await.is_empty());
    assert_eq!(world.agrees_with(&[&device]).await.accepted, 22);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_breaks_under_everything_parks_nothing() {
    let world = World::start().await;
    let gate = world.gate().await;
    let device = world.mentor("ola").await;
    let walk = device.create("activity", Changes::new().set("title", "walk")).await;
    gate.otherwise(Step::break_under(|_| true));
    device.connect(gate.address()).await;
    eventually("it was tried often", || async {
        drop(device.try_sync().await);
        gate.sync_requests().len() > 60
    })
    .await;
    gate.otherwise(Step::Forward);
    device.sync_after_trouble().await;
    assert_eq!(device.record(walk).await.state, RecordState::Synced);
    assert!(gate.sync_requests().iter().all(|request| request.withdraw.is_empty()));
    world.agrees_with(&[&device]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_edit_leaves_the_record_as_confirmed_until_it_is_discarded_or_sent_again() {
    let world = World::start().await;
    let gate = world.gate().await;
    let device = world.mentor("ola").await;
    let walk = device.create("activity", Changes::new().set("title", "walk")).await;
    device.connect(gate.address()).await;
    device.sync().await;
    device.edit("activity", walk, Changes::new().set("title", "run")).await;
    let culprit = device.outbox().await[0].change_set.id;
    gate.otherwise(Step::break_under(carries(culprit)));
    sync_until_parked(&device, 1).await;
    let shown = device.record(walk).await;
    assert_eq!((shown.state, &shown.row.fields["title"]), (RecordState::Parked, &text("walk")));
    let device = device.reopen().await;
    assert_eq!(device.record(walk).await.state, RecordState::Parked, "it survives a restart");
    device.store.outbox().discard(culprit).await.expect("parked");
    assert_eq!(device.record(walk).await.state, RecordState::Synced);
    world.agrees_with(&[&device]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_holds_for_ever_is_parked_and_arrives_when_sent_again() {
    let world = World::start().await;
    let gate = world.gate().await;
    let device = world.mentor("ola").await;
    let walk = device.create("activity", Changes::new().set("title", "walk")).await;
    let held = device.outbox().await[0].change_set.id;
    let unheard_of = ChangeSetId::from_bytes([9; 16]);
    gate.otherwise(Step::ask(move |request| {
        for change_set in request.push.iter_mut().filter(|change_set| change_set.id == held) {
            change_set.after = vec![unheard_of];
        }
    }));
    device.connect(gate.address()).await;
    sync_until_parked(&device, 1).await;
    assert_eq!(device.outbox().await[0].last_error.as_deref(), Some("E_HELD"));
    device.store.outbox().retry(held).await.expect("nothing stands in its way");
    device.sync_after_trouble().await;
    assert_eq!(device.record(walk).await.state, RecordState::Synced);
    world.agrees_with(&[&device]).await;
}
