//! Five edits of one record wait and one of them is refused: the record is as one on which the refused edit never was made,
//! whatever the edits are, whichever of them it is, and whenever the refusal is heard.

use std::ops::Range;

use haversack::{ChangeSetId, Changes, Code, EntryState, RecordId, Row, Value};
use haversack_tests::{Device, World, decimal};

const EDITS: usize = 5;

/// What the five edits write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    SameField,
    OtherFields,
    Counter,
    Set,
    /// The refused one creates a person, too, to whom the next one refers.
    Needing,
}

/// When the refusal is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// All five are sent together.
    InOneBatch,
    /// Later ones are made after the server has decided.
    AfterLaterOnes,
    /// Another device edited the same fields between the third and the fourth.
    WithRemoteBetween,
    /// The app was closed and opened again after the server had decided.
    AcrossRestart,
}

/// A record of which one edit is refused, and its twin on which that edit is never made.
struct Pair {
    kind: Kind,
    refused: usize,
    record: RecordId,
    twin: RecordId,
    /// The person whom the refused edit creates, where something needs it.
    kari: RecordId,
}

impl Pair {
    async fn new(device: &Device, kind: Kind, refused: usize) -> Self {
        let walk = || Changes::new().set("title", "walk");
        let record = device.create("activity", walk()).await;
        let twin = device.create("activity", walk()).await;
        Self { kind, refused, record, twin, kari: RecordId::from_uuid(uuid::Uuid::now_v7()) }
    }

    /// One of the five edits; with the minutes that decide over it, where they are given.
    fn edit(&self, at: usize, minutes: Option<i64>) -> Changes {
        let edit = minutes.map_or(Changes::new(), |minutes| Changes::new().set("minutes", minutes));
        match (self.kind, at) {
            (Kind::SameField, _) => edit.set("note", format!("mine {at}")),
            (Kind::Counter, _) => edit.increment("calls", 10_i64.pow(u32::try_from(at).expect("small"))),
            (Kind::Set, 4) => edit.remove("tags", "tag 1"),
            (Kind::Set, _) => edit.add("tags", &format!("tag {at}")),
            (_, 0) => edit.set("note", "mine"),
            (_, 1) => edit.set("title", "run"),
            (_, 2) => edit.put("km", decimal("3.50")),
            (_, 3) => edit.set("status", "done"),
            (_, _) => edit.set("short", "five"),
        }
    }

    fn has_dependant(&self) -> bool {
        self.kind == Kind::Needing && self.refused + 1 < EDITS
    }

    /// Makes these of the five edits; on the twin all but the one to be refused and what needs it.
    async fn make(&self, device: &Device, which: Range<usize>) {
        for at in which {
            let falls = at == self.refused || self.has_dependant() && at == self.refused + 1;
            device
                .store
                .transaction(|tx| {
                    let mut edit = self.edit(at, (at == self.refused).then_some(900));
                    if at == self.refused {
                        if self.kind == Kind::Needing {
                            tx.create_as(self.kari, "person", Changes::new().set("name", "Kari"));
                        }
                    } else if falls {
                        edit = edit.set("person", self.kari);
                    }
                    tx.edit(self.record, "activity", edit);
                })
                .await
                .expect("stored");
            if !falls {
                device.edit("activity", self.twin, self.edit(at, None)).await;
            }
        }
    }

    /// What was refused, and what fell with it.
    async fn refusals(&self, device: &Device) -> Vec<(ChangeSetId, Code, Option<ChangeSetId>)> {
        let entries = device.outbox().await;
        let told = entries.into_iter().map(|entry| match entry.state {
            EntryState::Rejected(told) => (entry.change_set.id, told.code, told.root_cause),
            state => panic!("{} is {state:?}", entry.change_set.id),
        });
        told.collect()
    }

    /// Sends the refused edit again without what was wrong with it, and what fell with it as it was; both are made on the
    /// twin, too.
    async fn correct(&self, device: &Device, refusals: &[(ChangeSetId, Code, Option<ChangeSetId>)]) {
        let outbox = device.store.outbox();
        let corrected = || self.edit(self.refused, Some(60));
        let resubmitted = outbox.resubmit(refusals[0].0, |tx| {
            if self.kind == Kind::Needing {
                tx.create_as(self.kari, "person", Changes::new().set("name", "Kari"));
            }
            tx.edit(self.record, "activity", corrected());
        });
        resubmitted.await.expect("stored");
        device.edit("activity", self.twin, corrected()).await;
        if self.has_dependant() {
            outbox.retry(refusals[1].0).await.expect("stored");
            let edit = self.edit(self.refused + 1, None).set("person", self.kari);
            device.edit("activity", self.twin, edit).await;
        }
    }

    /// Record and twin show the same, with the same concurrent values beside it.
    async fn is_like_its_twin(&self, device: &Device, story: &str) {
        let (record, twin) = (device.row(self.record).await, device.row(self.twin).await);
        assert_eq!(record.fields, twin.fields, "{story}");
        assert_eq!(beside(device, self.record).await, beside(device, self.twin).await, "{story}");
    }
}

/// The concurrent values of a record, by field.
async fn beside(device: &Device, record: RecordId) -> Vec<(String, Vec<Option<Value>>)> {
    let conflicts = device.store.conflicts(record).await.expect("read");
    let values = conflicts.into_iter().map(|conflict| {
        (conflict.field, conflict.candidates.into_iter().map(|candidate| candidate.value).collect())
    });
    values.collect()
}

/// What another person writes into both records meanwhile.
async fn remote_edit(pair: &Pair, other: &Device) {
    for record in [pair.record, pair.twin] {
        let theirs = Changes::new().set("note", "theirs").increment("calls", 7);
        other.edit("activity", record, theirs.add("tags", "tag 1").remove("tags", "tag 2")).await;
    }
    other.sync().await;
}

/// Lets the server decide about all that waits, without the device hearing of it.
async fn decide_unheard(device: &Device) {
    device.gate().lose_next_reply();
    device.go_online().await.expect("open");
    device.try_sync().await.expect_err("the reply is lost");
    device.go_offline().expect("open");
    let has_heard = |state: &EntryState| matches!(state, EntryState::Rejected(_));
    assert!(!device.outbox().await.iter().any(|entry| has_heard(&entry.state)), "nothing was heard");
}

/// One refused of five; gives the device back.
async fn story(kind: Kind, refused: usize, when: When, device: Device, other: &Device) -> Device {
    let told = format!("{kind:?}, the refused one at {refused}, {when:?}");
    device.go_online().await.expect("open");
    let pair = Pair::new(&device, kind, refused).await;
    device.deliver().await.expect("delivered");
    other.sync().await;
    device.go_offline().expect("open");
    let mut device = device;
    match when {
        When::InOneBatch => pair.make(&device, 0..EDITS).await,
        When::AfterLaterOnes => {
            pair.make(&device, 0..refused + 1).await;
            decide_unheard(&device).await;
            pair.make(&device, refused + 1..EDITS).await;
        }
        When::WithRemoteBetween => {
            pair.make(&device, 0..3).await;
            remote_edit(&pair, other).await;
            pair.make(&device, 3..EDITS).await;
        }
        When::AcrossRestart => {
            pair.make(&device, 0..EDITS).await;
            decide_unheard(&device).await;
            device = device.reopen().await;
        }
    }
    let watched = watched(&device, pair.record).await;
    device.go_online().await.expect("open");
    device.deliver().await.expect("delivered");

    let refusals = pair.refusals(&device).await;
    let codes: Vec<_> = refusals.iter().map(|(_, code, cause)| (*code, *cause)).collect();
    let mut expected = vec![(Code::Rule, None)];
    if pair.has_dependant() {
        expected.push((Code::DependencyRejected, Some(refusals[0].0)));
    }
    assert_eq!(codes, expected, "{told}");
    pair.is_like_its_twin(&device, &told).await;
    if when != When::WithRemoteBetween {
        shown_changes_once(watched, &device, &pair, &told).await;
    }

    pair.correct(&device, &refusals).await;
    device.deliver().await.expect("delivered");
    assert!(device.outbox().await.is_empty(), "{told}");
    pair.is_like_its_twin(&device, &told).await;
    device
}

type Rows = tokio::task::JoinHandle<Vec<Row>>;

/// Collects every state of a record that a watch shows, until its size is set.
async fn watched(device: &Device, record: RecordId) -> Rows {
    let mut watch = device.store.collection("activity").watch_record(record);
    let first = watch.next().await.expect("read").expect("open").expect("here").row;
    tokio::spawn(async move {
        let mut rows = vec![first];
        while !rows.last().expect("one at least").fields.contains_key("size") {
            rows.push(watch.next().await.expect("read").expect("open").expect("here").row);
        }
        rows
    })
}

/// What a watch showed went from all five edits to all but the refused ones in one step, whatever was authored anew.
async fn shown_changes_once(rows: Rows, device: &Device, pair: &Pair, told: &str) {
    let after = device.row(pair.record).await.fields;
    device.edit("activity", pair.record, Changes::new().set("size", 1_i64)).await;
    device.edit("activity", pair.twin, Changes::new().set("size", 1_i64)).await;
    let mut shown: Vec<_> = rows.await.expect("no panic").into_iter().map(|row| row.fields).collect();
    shown.pop();
    shown.dedup();
    let before = shown.first().expect("one at least").clone();
    let mut expected = vec![before, after];
    expected.dedup();
    assert_eq!(shown, expected, "{told}");
}

async fn all_stories(when: When) {
    let world = World::start().await;
    let other = world.mentor("kari").await;
    other.connect(world.address()).await;
    let mut device = world.mentor("ola").await;
    for kind in [Kind::SameField, Kind::OtherFields, Kind::Counter, Kind::Set, Kind::Needing] {
        for refused in 0..EDITS {
            device = story(kind, refused, when, device, &other).await;
        }
    }
    other.sync().await;
    world.agrees_with(&[&device, &other]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_of_five_edits_sent_together_is_refused_the_rest_stand() {
    all_stories(When::InOneBatch).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_of_five_edits_is_refused_those_made_before_it_was_heard_stand() {
    all_stories(When::AfterLaterOnes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_of_five_edits_is_refused_the_rest_are_concurrent_with_what_another_wrote_between_them() {
    all_stories(When::WithRemoteBetween).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_of_five_edits_is_refused_the_rest_stand_when_the_app_was_closed_meanwhile() {
    all_stories(When::AcrossRestart).await;
}
