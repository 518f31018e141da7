//! New epochs on a device: what is shown stays, what waits arrives, and nothing of an erased field is left.

use haversack_core::{Intent, Value};
use haversack_protocol::{EpochCause, Role};

use super::erasure::{CANARY, canary, count, readable};
use super::server::Server;
use super::world::{Phone, activity, edit, id, record, set, text};
use crate::NoticeKind;

fn note(value: &str) -> Vec<Intent> {
    vec![set("note", text(value))]
}

fn step(by: i64) -> Vec<Intent> {
    vec![Intent::Increment { field: "calls".into(), by }]
}

fn erased(fields: &[&str]) -> EpochCause {
    EpochCause::Erased(fields.iter().map(|field| (*field).to_owned()).collect())
}

/// Two phones that have read the same walk with a long history.
fn two_with_a_walk() -> (Server, Phone, Phone) {
    let mut server = Server::new();
    let [mut ola, mut kari] = [1, 2].map(|n| Phone::new(&mut server, n, Role::Coordinator));
    ola.write(1, vec![activity(record(1), "walk"), activity(record(2), "swim")]);
    let tag = Intent::Add { field: "tags".into(), element: "rain".into() };
    ola.write(2, vec![edit(record(1), "activity", vec![set("note", text("seen")), tag])]);
    ola.write(3, vec![edit(record(1), "activity", step(3))]);
    ola.sync(&mut server);
    kari.sync(&mut server);
    (server, ola, kari)
}

fn assert_agree(server: &mut Server, phones: &mut [&mut Phone]) {
    for _ in 0..2 {
        phones.iter_mut().for_each(|phone| phone.sync(server));
    }
    for phone in phones {
        assert_eq!(phone.digest(), server.digest());
        assert_eq!(phone.store.digest_from_documents().expect("reads").finish(), server.digest());
        assert_eq!(phone.store.unsynced().expect("counts"), 0);
        phone.assert_sound();
    }
}

#[test]
fn a_new_epoch_shows_what_was_shown_and_its_history_begins_there() {
    let (mut server, mut ola, mut kari) = two_with_a_walk();
    let before = (ola.digest(), ola.store.history(record(1), None).expect("reads").len());
    server.begin_epoch(record(1), EpochCause::Compacted);
    assert_agree(&mut server, &mut [&mut ola, &mut kari]);
    assert_eq!(ola.digest(), before.0);
    assert!(ola.store.history(record(1), None).expect("reads").len() < before.1);
    let mut late = Phone::new(&mut server, 3, Role::Mentor);
    late.write(9, vec![activity(record(9), "late")]);
    ola.write(10, vec![edit(record(1), "activity", step(1))]);
    assert_agree(&mut server, &mut [&mut ola, &mut kari, &mut late]);
    assert_eq!(late.value(record(1), "calls"), Some(Value::Counter(4)));
    late.read_anew();
    assert_agree(&mut server, &mut [&mut late]);
    assert_eq!(late.store.notices().expect("lists"), [], "what it has read before is passed over");
}

#[test]
fn edits_that_wait_frozen_or_not_arrive_in_the_new_epoch() {
    let (mut server, mut ola, mut kari) = two_with_a_walk();
    ola.write(
        4,
        vec![edit(record(1), "activity", note("frozen")), edit(record(2), "activity", note("beside"))],
    );
    ola.write(5, vec![edit(record(2), "activity", note("behind"))]);
    ola.store.lease_batch(256, None).expect("frozen, and lost on the way");
    ola.write(6, vec![edit(record(1), "activity", vec![set("minutes", Value::Integer(7))])]);
    ola.write(7, vec![edit(record(1), "activity", step(10))]);
    ola.write(
        8,
        vec![edit(
            record(1),
            "activity",
            vec![Intent::Remove { field: "tags".into(), element: "rain".into() }],
        )],
    );
    server.begin_epoch(record(1), EpochCause::Compacted);
    // Pushed before it has read of the epoch: nothing is decided, nothing is lost.
    ola.push(&mut server);
    assert_agree(&mut server, &mut [&mut ola, &mut kari]);
    assert_eq!(kari.value(record(1), "note"), Some(text("frozen")));
    assert_eq!(kari.value(record(1), "minutes"), Some(Value::Integer(7)));
    assert_eq!(kari.value(record(1), "calls"), Some(Value::Counter(13)));
    assert_eq!(kari.value(record(1), "tags"), None);
    assert_eq!(kari.value(record(2), "note"), Some(text("behind")));
    assert_eq!(kari.store.counts().expect("counts").conflicts, 0, "its author knew all that the root shows");
}

#[test]
fn an_edit_whose_author_had_not_seen_the_roots_value_is_in_conflict_with_it() {
    let (mut server, mut ola, mut kari) = two_with_a_walk();
    ola.write(4, vec![edit(record(1), "activity", note("ours"))]);
    kari.write(5, vec![edit(record(1), "activity", note("theirs"))]);
    kari.sync(&mut server);
    server.begin_epoch(record(1), EpochCause::Compacted);
    assert_agree(&mut server, &mut [&mut ola, &mut kari]);
    let [conflict] = &kari.store.conflicts(record(1)).expect("reads")[..] else { panic!("one field") };
    assert_eq!(conflict.candidates.len(), 2, "both are kept");
}

#[test]
fn no_byte_of_an_erased_field_is_left_and_edits_of_it_go_while_others_arrive() {
    let (mut server, mut ola, mut kari) = two_with_a_walk();
    for n in 0..20 {
        let long = format!("{}{}", canary(n), "x".repeat(n as usize * 90));
        ola.write(100 + u64::from(n), vec![edit(record(1), "activity", vec![set("remark", text(&long))])]);
        ola.sync(&mut server);
    }
    server.refused.insert(id(150));
    ola.write(
        150,
        vec![edit(record(1), "activity", vec![set("remark", text(&canary(50))), set("note", text("kept"))])],
    );
    ola.sync(&mut server);
    ola.write(151, vec![edit(record(1), "activity", vec![set("remark", text(&canary(51)))])]);
    ola.write(
        152,
        vec![edit(
            record(1),
            "activity",
            vec![set("remark", text(&canary(52))), set("minutes", Value::Integer(5))],
        )],
    );
    kari.sync(&mut server);
    assert!(count(&readable(&ola), CANARY) > 20 && count(&readable(&kari), CANARY) > 0);
    server.begin_epoch(record(1), erased(&["remark"]));
    for phone in [&mut ola, &mut kari] {
        phone.pull(&server, usize::MAX);
        phone.store.sweep_erased().expect("sweeps");
        assert_eq!(count(&readable(phone), CANARY), 0);
        assert_eq!(phone.value(record(1), "remark"), None);
    }
    let told: Vec<_> = ola
        .store
        .notices()
        .expect("lists")
        .into_iter()
        .filter(|one| one.kind == NoticeKind::Erased)
        .collect();
    assert_eq!(told.iter().map(|one| (one.record, one.entries)).collect::<Vec<_>>(), [(Some(record(1)), 3)]);
    let kept = ola.store.set_aside().expect("lists");
    assert_eq!(
        kept[0].change_set.parts[0].intents,
        note("kept"),
        "of the refused edit what was not erased is kept"
    );
    ola.store.discard(id(150)).expect("discards");
    ola.write(160, vec![edit(record(1), "activity", vec![set("remark", text("new"))])]);
    assert_agree(&mut server, &mut [&mut ola, &mut kari]);
    assert_eq!(kari.value(record(1), "minutes"), Some(Value::Integer(5)));
    assert_eq!(kari.value(record(1), "remark"), Some(text("new")), "it may be written anew");
}

#[test]
fn rows_of_several_epochs_in_one_page_and_one_by_one_come_to_the_same() {
    let (mut server, mut ola, mut kari) = two_with_a_walk();
    for n in 0..3_u64 {
        kari.write(20 + n, vec![edit(record(1), "activity", note(&format!("note {n}")))]);
        kari.sync(&mut server);
        server.begin_epoch(record(1), if n == 1 { erased(&["tags"]) } else { EpochCause::Compacted });
    }
    ola.write(30, vec![edit(record(1), "activity", step(1))]);
    let mut slow = Phone::new(&mut server, 3, Role::Mentor);
    while slow.next_page(&server, 1).rows.len() == 1 {
        slow.pull(&server, 1);
    }
    assert_agree(&mut server, &mut [&mut ola, &mut kari, &mut slow]);
}
