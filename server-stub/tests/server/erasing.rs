//! Erasing a record: beside a running server, in every file of it, and again in an older database.

use std::fs;

use haversack_core::{ChangeSet, Intent, Mark, Reference, erased_name};
use haversack_protocol::{Code, LogRow, RecordId, Role, ServerId, UnixMillis};
use haversack_server::{compact, erase, erase_fields, erasures};

use crate::support::{Phone, TestServer, create, edit, integer, schema, text};

/// A word nobody else writes.
const CANARY: &[u8] = b"kanarifugl";

fn canary(n: u32) -> haversack_core::Value {
    text(&format!("kanarifugl-{n}"))
}

fn set(field: &str, value: haversack_core::Value) -> Vec<Intent> {
    vec![Intent::Set { field: field.into(), value }]
}

/// Every byte of every file beside the server's database.
fn bytes(server: &TestServer) -> Vec<u8> {
    let folder = server.path("server.db");
    let folder = folder.parent().expect("a folder");
    let mut files: Vec<_> =
        fs::read_dir(folder).expect("listed").map(|file| file.expect("a file").path()).collect();
    files.sort();
    files.into_iter().flat_map(|file| fs::read(file).expect("read")).collect()
}

fn holds_canaries(server: &TestServer) -> bool {
    bytes(server).windows(CANARY.len()).any(|at| at == CANARY)
}

fn activity(note: u32) -> (RecordId, ChangeSet) {
    create("activity", &[("title", canary(note)), ("status", text("open")), ("note", canary(note + 1))])
}

/// A record with canaries in fields, a set, a mark and a long history.
async fn fill(server: &TestServer, phone: &mut Phone) -> RecordId {
    let (record, creation) = activity(1);
    let mark = Mark {
        value: Some(integer(3)),
        by: phone.principal.clone(),
        role: Role::Coordinator,
        at: UnixMillis(1),
        reason: "kanarifugl-mark".into(),
    };
    let intents = vec![
        Intent::Override { field: "minutes".into(), mark },
        Intent::Add { field: "tags".into(), element: "kanarifugl-tag".into() },
    ];
    phone.push(server.address(), &[creation, edit("activity", record, intents)]).await;
    for n in 0..20 {
        let long = text(&"kanarifugl ".repeat(200 + n * 17));
        phone.push(server.address(), &[edit("activity", record, set("note", long))]).await;
    }
    phone.push(server.address(), &[edit("activity", record, set("note", text("short")))]).await;
    record
}

#[tokio::test]
async fn no_byte_of_an_erased_record_is_left_in_a_file_of_the_server_while_it_runs() {
    let server = TestServer::start().await;
    let mut phone = server.phone("kari", Role::Coordinator).await;
    let record = fill(&server, &mut phone).await;
    let (stays, other) = create("activity", &[("title", text("blir")), ("status", text("open"))]);
    phone.push(server.address(), &[other]).await;
    assert!(holds_canaries(&server), "they are there, and found");
    let name = Reference::Server(ServerId::new("ACT-000001").expect("plain"));
    let erased = erase(&server.path("server.db"), &name).expect("erased");
    assert!(erased.is_swept && !holds_canaries(&server));
    let proof = server.prove();
    assert_eq!((proof.records, &proof.from_rows), (1, &proof.from_documents));

    // The running server has heard of it, too: the record is gone, and what is beside it goes on.
    let late = edit("activity", record, set("note", text("senere")));
    let both = {
        let mut both = edit("activity", record, set("note", text("senere")));
        both.parts.extend(edit("activity", stays, set("note", text("også"))).parts);
        both
    };
    let (again, mut import) = activity(9);
    import.parts[0].record = record;
    let reply = phone.push(server.address(), &[late.clone(), import.clone(), both.clone()]).await;
    assert_ne!(again, record);
    assert_eq!(
        (reply.rejection(late.id).code, reply.rejection(import.id).code),
        (Code::Erased, Code::Erased)
    );
    assert_eq!(reply.hint(both.id).code, Code::Epoch, "it is offered again without what was erased");
    let told = reply.rows.iter().find_map(|row| match row {
        LogRow::Erased(row) => Some((row.position, row.record)),
        _ => None,
    });
    assert_eq!(told, Some((erased.position, erased_name(record))));
    let next = phone.push(server.address(), &[edit("activity", stays, set("note", text("videre")))]).await;
    assert_eq!(next.settled.len(), 1);
    assert!(!holds_canaries(&server), "what came late was kept nowhere");
}

#[tokio::test]
async fn erasing_twice_sweeps_again_and_what_was_never_here_cannot_be_erased() {
    let server = TestServer::start().await;
    let mut phone = server.phone("kari", Role::Coordinator).await;
    let (record, creation) = activity(1);
    phone.push(server.address(), &[creation]).await;
    let database = server.path("server.db");
    let first = erase(&database, &record.into()).expect("erased");
    let rows = server.prove().log_rows;
    assert_eq!(erase(&database, &record.into()).expect("erased before"), first);
    assert_eq!(server.prove().log_rows, rows, "devices are told once");
    let unknown = ServerId::new("ACT-000009").expect("plain");
    for unknown in [Reference::Server(unknown), Reference::Record(RecordId::from_bytes([9; 16]))] {
        let refused = erase(&database, &unknown).expect_err("unknown");
        assert_eq!(refused.to_string(), "there is no such record");
    }
    assert_eq!(fs::read_to_string(server.path("server.db.erasures")).expect("read").lines().count(), 1);
}

#[tokio::test]
async fn a_device_is_outstanding_until_its_receipt_and_one_that_came_later_never() {
    let server = TestServer::start().await;
    let mut phone = server.phone("kari", Role::Coordinator).await;
    let slow = server.phone("ola", Role::Mentor).await;
    let (record, creation) = activity(1);
    phone.push(server.address(), &[creation]).await;
    let erased = erase(&server.path("server.db"), &record.into()).expect("erased");
    let _late = server.phone("per", Role::Mentor).await;
    let outstanding = || {
        let report = erasures(&server.path("server.db")).expect("read");
        assert_eq!(
            report.iter().map(|one| (one.record, one.position)).collect::<Vec<_>>(),
            [(erased_name(record), erased.position)]
        );
        report[0].outstanding.iter().map(|one| one.device).collect::<Vec<_>>()
    };
    assert_eq!(outstanding(), [phone.device, slow.device]);
    for (position, left) in [(erased.position - 1, 2), (erased.position, 1), (0, 1)] {
        let mut request = phone.sync_request(vec![]);
        request.erased_position = Some(position);
        assert_eq!(phone.send(server.address(), &request).await.status, 200);
        assert_eq!(outstanding().len(), left, "receipt up to {position}");
    }
    assert_eq!(outstanding(), [slow.device]);
}

#[tokio::test]
async fn an_older_database_is_cleaned_by_the_ledger_before_it_serves() {
    let mut server = TestServer::start().await;
    let mut phone = server.phone("kari", Role::Coordinator).await;
    let before = fs::read(server.path("server.db")).expect("read");
    let record = fill(&server, &mut phone).await;
    let old = {
        server.restart().await;
        fs::read(server.path("server.db")).expect("read")
    };
    erase(&server.path("server.db"), &record.into()).expect("erased");
    assert!(!before.is_empty());
    server.replace_database(&old).await;
    assert!(!holds_canaries(&server), "the copy of before held them");
    assert_eq!(server.prove().records, 0);
    let mut reader = server.phone("ola", Role::Mentor).await;
    let (again, mut import) = activity(9);
    import.parts[0].record = record;
    assert_ne!(again, record);
    let reply = reader.push(server.address(), &[import]).await;
    assert_eq!(
        reply.rows.iter().filter(|row| matches!(row, LogRow::Erased(_))).count(),
        1,
        "devices are told"
    );
    let rows = server.prove().log_rows;
    server.restart().await;
    assert_eq!(server.prove().log_rows, rows, "once");
}

#[tokio::test]
async fn a_database_that_never_had_the_record_refuses_it_by_the_ledger_and_a_damaged_ledger_stops_the_server()
{
    let mut server = TestServer::start().await;
    let mut phone = server.phone("kari", Role::Coordinator).await;
    server.restart().await;
    let old = fs::read(server.path("server.db")).expect("read");
    let (record, creation) = activity(1);
    phone.push(server.address(), std::slice::from_ref(&creation)).await;
    erase(&server.path("server.db"), &record.into()).expect("erased");
    server.replace_database(&old).await;
    phone.cursor = None;
    let frozen = phone.freeze(std::slice::from_ref(&creation));
    let reply = phone.sync(server.address(), frozen).await;
    assert_eq!(reply.rejection(creation.id).code, Code::Erased);
    fs::write(server.path("server.db.erasures"), "no erasure").expect("written");
    assert!(server.try_restart().await.expect_err("refused").to_string().contains("line 1"));
}

fn fields(names: &[&str]) -> std::collections::BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test]
async fn no_byte_of_an_erased_field_is_left_and_what_is_made_in_the_old_epoch_is_answered_without_a_verdict()
{
    let server = TestServer::start().await;
    let mut phone = server.phone("kari", Role::Coordinator).await;
    let (record, creation) =
        create("activity", &[("title", text("tur")), ("status", text("open")), ("note", canary(1))]);
    phone.push(server.address(), &[creation]).await;
    for n in 0..20 {
        let long = text(&"kanarifugl ".repeat(200 + n * 17));
        phone.push(server.address(), &[edit("activity", record, set("note", long))]).await;
    }
    assert!(holds_canaries(&server));
    let database = server.path("server.db");
    let refused = erase_fields(&database, &schema(), &record.into(), &fields(&["nothing"]), false);
    assert!(refused.expect_err("no such field").to_string().contains("nothing"));
    let erased =
        erase_fields(&database, &schema(), &record.into(), &fields(&["note"]), false).expect("erased");
    assert!(erased.is_swept && !holds_canaries(&server));
    let proof = server.prove();
    assert_eq!((proof.records, &proof.from_rows), (1, &proof.from_documents));

    let late = edit("activity", record, set("title", text("for sent")));
    let reply = phone.push(server.address(), std::slice::from_ref(&late)).await;
    let hint = reply.hint(late.id);
    assert_eq!((hint.code, hint.record), (Code::Epoch, Some(record)));
    let row = reply.rows.iter().find_map(|row| match row {
        LogRow::Epoch(row) => Some(row.clone()),
        _ => None,
    });
    let row = row.expect("the row comes with the hint");
    assert_eq!((row.position, row.epoch, row.record), (erased.position, 1, record));
    let planted =
        haversack_core::Root::from_bytes(&row.root).and_then(|root| root.plant(record, 1)).expect("a root");
    let collection = schema();
    let shown =
        haversack_core::project(&planted.document, collection.collection("activity").expect("present"));
    assert_eq!((shown.fields.get("title"), shown.fields.get("note")), (Some(&text("tur")), None));
    assert_eq!(erasures(&database).expect("read")[0].fields.as_deref(), Some(&["note".to_owned()][..]));
}

#[tokio::test]
async fn a_field_in_conflict_is_not_settled_by_erasing_another_unless_that_is_meant() {
    let server = TestServer::start().await;
    let mut ola = server.phone("ola", Role::Coordinator).await;
    let mut kari = server.phone("kari", Role::Coordinator).await;
    let (record, creation) = activity(1);
    ola.push(server.address(), &[creation]).await;
    kari.read_all(server.address()).await;
    ola.push(server.address(), &[edit("activity", record, set("language", text("norsk")))]).await;
    let theirs = kari.freeze(&[edit("activity", record, set("language", text("urdu")))]);
    let reply = kari.sync(server.address(), theirs).await;
    assert_eq!(reply.settled.len(), 1);
    let database = server.path("server.db");
    let erase = |keeps| erase_fields(&database, &schema(), &record.into(), &fields(&["note"]), keeps);
    assert!(erase(false).expect_err("refused").to_string().contains("language"));
    assert!(!server.path("server.db.erasures").exists(), "nothing was begun");
    erase(true).expect("meant");
    assert_eq!(server.prove().records, 1);
}

#[tokio::test]
async fn erased_fields_are_erased_again_from_an_older_database() {
    let mut server = TestServer::start().await;
    let mut phone = server.phone("kari", Role::Coordinator).await;
    let record = fill(&server, &mut phone).await;
    let old = {
        server.restart().await;
        fs::read(server.path("server.db")).expect("read")
    };
    let all = fields(&["title", "note", "tags", "minutes"]);
    erase_fields(&server.path("server.db"), &schema(), &record.into(), &all, false).expect("erased");
    assert!(!holds_canaries(&server));
    server.replace_database(&old).await;
    assert!(!holds_canaries(&server));
    assert_eq!(server.prove().records, 1);
}

#[tokio::test]
async fn a_long_history_is_compacted_once_it_rests_and_kept_for_the_history_until_it_is_erased() {
    let server = TestServer::start().await;
    let mut phone = server.phone("kari", Role::Coordinator).await;
    let (long, creation) = activity(1);
    let (short, other) = activity(3);
    phone.push(server.address(), &[creation, other]).await;
    let step = |of| edit("activity", of, vec![Intent::Increment { field: "calls".into(), by: 1 }]);
    let steps: Vec<_> = (0..99).map(|_| step(long)).collect();
    phone.push(server.address(), &steps).await;
    phone.push(server.address(), &[step(short)]).await;
    let before = server.prove();
    let database = server.path("server.db");
    let compact = |since| compact(&database, &schema(), UnixMillis(since)).expect("compacted");
    let early = compact(0);
    assert_eq!((early.compacted, early.waiting), (0, 1), "somebody edited it of late");
    let done = compact(i64::MAX);
    assert_eq!((done.compacted, done.waiting), (1, 0));
    assert_eq!(compact(i64::MAX).compacted, 0, "once");
    let after = server.prove();
    assert_eq!((after.from_rows.clone(), after.from_documents), (before.from_rows, before.from_documents));
    assert!(holds_canaries(&server));
    erase(&database, &long.into()).expect("erased");
    erase(&database, &short.into()).expect("erased");
    assert!(!holds_canaries(&server), "the archive goes with the record");
}
