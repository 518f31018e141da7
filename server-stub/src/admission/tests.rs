//! Holds the writer to group commit, bounded queueing, and containment of what fails.

use std::path::PathBuf;
use std::sync::Arc;

use haversack_core::outbox::{BaseHeads, Entry, EntryState, Freezer, Lane};
use haversack_core::{ChangeSet, Document, Intent, Part, Rules, Value};
use haversack_protocol::limits::RECORD_BYTES_MAX;
use haversack_protocol::{
    ChangeSetId, DeviceId, HintBody, PrincipalId, PushedChangeSet, PushedPart, RecordId, Role, Schema,
    ServerId, TenantId, UnixMillis,
};

use super::writer::{PUSHES_PER_TRANSACTION_MAX, QUEUED_PUSHES_MAX};
use super::*;
use crate::log::Head;
use crate::metrics::Metrics;
use crate::store::{Readers, open};

struct Bench {
    directory: tempfile::TempDir,
    writer: Writer,
    handle: WriterHandle,
}

impl Bench {
    /// A writer that has not begun to work. The ids of the second collection cannot be made: deciding on it panics.
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let tenant = TenantId::new("t").expect("plain");
        let (connection, identity) = open(&directory.path().join("server.db"), &tenant).expect("opened");
        let schema = Schema::from_json(
            r#"{"version":1,"collections":{
                "note":{"fields":{"body":{"kind":"text"}}},
                "broken":{"server_id_prefix":"no name","fields":{"body":{"kind":"text"}}}}}"#,
        )
        .expect("a sound schema");
        let law = Arc::new(Law { schema, rules: Rules::default(), identity, device_ids: DeviceIds::Random });
        let (writer, handle) = Writer::new(law, connection, 0, Arc::new(Metrics::new(UnixMillis(0))));
        Self { directory, writer, handle }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("server.db")
    }
}

const DEVICE: DeviceId = DeviceId::from_bytes([1; 8]);

fn id(n: usize) -> ChangeSetId {
    ChangeSetId::from_bytes((n as u128).to_be_bytes())
}

fn job(push: Vec<PushedChangeSet>, withdraw: Vec<ChangeSetId>) -> Job {
    Job::Push(Box::new(PushJob {
        device: DEVICE,
        principal: PrincipalId::new("ola").expect("plain"),
        role: Role::Mentor,
        push_ordinal: 1,
        device_now: UnixMillis(0),
        skew_ms: 0,
        push,
        withdraw,
    }))
}

fn creation(schema: &Schema, n: usize, collection: &str) -> PushedChangeSet {
    let record = RecordId::from_bytes((n as u128).to_be_bytes());
    let intents = vec![Intent::Set { field: "body".into(), value: Value::Text("hei".into()) }];
    let part = Part { record, collection: collection.into(), creates: true, intents };
    let change_set =
        ChangeSet { id: id(n), at: UnixMillis(0), schema_version: 1, after: vec![], parts: vec![part] };
    let entry = Entry {
        order: 0,
        priority: 0,
        change_set,
        base: vec![BaseHeads { record, epoch: 0, heads: vec![] }],
        frozen: vec![],
        state: EntryState::Pending,
        attempts: 0,
        last_error: None,
        next_try: None,
    };
    let mut freezer = Freezer::new(DEVICE, schema);
    freezer.open(record, Lane::default()).expect("opened");
    let frozen = freezer.freeze(&entry).expect("frozen").remove(0);
    let part = PushedPart {
        record,
        collection: Some(collection.into()),
        epoch: 0,
        change: frozen.change,
        deps: vec![],
    };
    PushedChangeSet { id: id(n), at: UnixMillis(0), schema_version: 1, after: vec![], parts: vec![part] }
}

fn settled(answer: Result<Answer, WriterRefusal>) -> Vec<(ChangeSetId, u64)> {
    match answer {
        Ok(Answer::Pushed(HintBody { settled, hints })) if hints.is_empty() => settled,
        other => panic!("{other:?}"),
    }
}

#[test]
fn pushes_that_wait_together_are_committed_together_and_all_answered() {
    let bench = Bench::new();
    let queue = |n| bench.handle.queue(job(vec![], vec![id(n)])).expect("queued");
    let answers: Vec<_> = (0..PUSHES_PER_TRANSACTION_MAX).map(queue).collect();
    let one_more = queue(PUSHES_PER_TRANSACTION_MAX);
    bench.handle.stop();
    bench.writer.work().expect("worked");
    assert_eq!(bench.handle.commits(), 2);
    for (n, mut answer) in answers.into_iter().chain([one_more]).enumerate() {
        let answer = settled(answer.try_recv().expect("answered"));
        assert_eq!(answer, vec![(id(n), n as u64 + 1)]);
    }
}

#[test]
fn a_refusal_moves_the_log_for_nobody_and_an_acceptance_for_everybody_else() {
    let bench = Bench::new();
    let schema = Schema::clone(&bench.writer.law().schema);
    let mut head = bench.handle.head();
    let working = std::thread::spawn(move || bench.writer.work());
    let push = |push, withdraw| bench.handle.queue(job(push, withdraw)).expect("queued").blocking_recv();
    settled(push(vec![], vec![id(1)]).expect("answered"));
    assert!(!head.has_changed().expect("the writer lives"), "only its own device hears of a refusal");
    settled(push(vec![creation(&schema, 2, "note")], vec![]).expect("answered"));
    let moved: Head = *head.borrow_and_update();
    assert_eq!((moved.for_device(DEVICE), moved.for_device(DeviceId::from_bytes([2; 8]))), (0, 2));
    assert!(bench.handle.is_alive() && bench.handle.queued() == 0);
    bench.handle.stop();
    working.join().expect("joined").expect("worked");
    assert!(!bench.handle.is_alive());
}

#[test]
fn a_full_queue_refuses_at_once_and_keeps_what_it_holds() {
    let bench = Bench::new();
    let queue = |n| bench.handle.queue(job(vec![], vec![id(n)]));
    let answers: Vec<_> = (0..QUEUED_PUSHES_MAX).map(queue).collect();
    assert_eq!(queue(QUEUED_PUSHES_MAX).err(), Some(WriterRefusal::Busy));
    assert_eq!(bench.handle.queued(), QUEUED_PUSHES_MAX);
    let working = std::thread::spawn(move || bench.writer.work());
    for answer in answers {
        settled(answer.expect("queued").blocking_recv().expect("answered"));
    }
    bench.handle.stop();
    working.join().expect("joined").expect("worked");
    assert_eq!(bench.handle.queue(job(vec![], vec![])).err(), Some(WriterRefusal::Failed));
}

#[test]
fn a_push_that_fails_its_transaction_fails_alone() {
    let bench = Bench::new();
    let raw = rusqlite::Connection::open(bench.path()).expect("opened");
    raw.execute_batch(
        "CREATE TRIGGER poison BEFORE INSERT ON verdict WHEN new.change_set = x'00000000000000000000000000000003'
         BEGIN SELECT raise(ABORT, 'poisoned'); END",
    )
    .expect("a trigger");
    let queue = |n| bench.handle.queue(job(vec![], vec![id(n)])).expect("queued");
    let answers: Vec<_> = (1..=5).map(queue).collect();
    bench.handle.stop();
    bench.writer.work().expect("worked");
    let answers: Vec<_> =
        answers.into_iter().map(|mut answer| answer.try_recv().expect("answered")).collect();
    assert_eq!(answers[2], Err(WriterRefusal::Failed));
    let positions: Vec<_> =
        [0, 1, 3, 4].into_iter().map(|n: usize| settled(answers[n].clone())[0].1).collect();
    assert_eq!(positions, [1, 2, 3, 4], "no gap where the failed one was");
}

#[test]
fn a_change_set_that_makes_deciding_panic_is_refused_alone() {
    let bench = Bench::new();
    let schema = Schema::clone(&bench.writer.law().schema);
    let push =
        vec![creation(&schema, 1, "note"), creation(&schema, 2, "broken"), creation(&schema, 3, "note")];
    let mut answer = bench.handle.queue(job(push, vec![])).expect("queued");
    bench.handle.stop();
    let path = bench.path();
    bench.writer.work().expect("worked");
    assert_eq!(settled(answer.try_recv().expect("answered")), vec![(id(1), 1), (id(2), 2), (id(3), 3)]);
    let counts = Readers::new(&path).read(|reader| reader.counts()).expect("read");
    assert_eq!(counts, (3, 2, 1));
}

#[test]
fn records_are_kept_loaded_as_far_as_their_bytes_allow_however_many_they_are() {
    let server_id = ServerId::new("NOTE-1").expect("plain");
    let of = |saved_bytes| StoredRecord {
        collection: "note".into(),
        server_id: server_id.clone(),
        epoch: 0,
        document: Document::empty(),
        saved_bytes,
    };
    for saved_bytes in [600, RECORD_BYTES_MAX] {
        let mut loaded = Loaded::default();
        let mut most = 0;
        for n in 0..20_000_u128 {
            loaded.keep(RecordId::from_bytes(n.to_be_bytes()), of(saved_bytes));
            // Said anew it takes no more.
            loaded.keep(RecordId::from_bytes(n.to_be_bytes()), of(saved_bytes));
            let held: usize = loaded.records.values().map(StoredRecord::loaded_bytes).sum();
            assert_eq!(held, loaded.bytes);
            most = most.max(held);
        }
        let room = LOADED_BYTES_MAX - of(saved_bytes).loaded_bytes();
        assert!((room..=LOADED_BYTES_MAX).contains(&most), "{most}");
        loaded.forget();
        assert_eq!(loaded.bytes, 0);
    }
}

#[test]
fn records_another_process_changed_are_read_anew() {
    let bench = Bench::new();
    let schema = Schema::clone(&bench.writer.law().schema);
    let path = bench.path();
    let first = bench.handle.queue(job(vec![creation(&schema, 1, "note")], vec![])).expect("queued");
    let working = std::thread::spawn(move || bench.writer.work());
    settled(first.blocking_recv().expect("answered"));
    let raw = rusqlite::Connection::open(path).expect("opened");
    raw.execute_batch("UPDATE record SET epoch = 7").expect("raised");
    let mut again = creation(&schema, 1, "note");
    (again.id, again.parts[0].collection) = (id(2), None);
    let answer = bench.handle.queue(job(vec![again], vec![])).expect("queued").blocking_recv();
    let Ok(Ok(Answer::Pushed(answer))) = answer else { panic!("{answer:?}") };
    assert_eq!(answer.hints[0].code, haversack_protocol::Code::Epoch);
    bench.handle.stop();
    working.join().expect("joined").expect("worked");
}
