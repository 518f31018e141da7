//! An outbox that is weeks old: entries made under the first schema meet a server that has moved on. Each arrives, or is
//! refused with a place and a reason a person can act on, its input kept; the correction arrives.

use haversack::{Changes, Code, RecordId, Value};
use haversack_tests::{Device, Step};
use serde_json::{Value as Json, json};

use super::town::{Town, assert_says, changed, first, refused, titled, visit};

/// Records that everybody has, for entries to refer to.
#[derive(Clone, Copy)]
struct There {
    visit: RecordId,
    team: RecordId,
    club: RecordId,
}

/// An entry of the first schema that a later one does not allow.
struct Late {
    sentence: &'static str,
    later: Json,
    /// Creates a visit, else edits one.
    creates: bool,
    puts: fn(There) -> Changes,
    code: Code,
    field: &'static str,
    reason: Option<&'static str>,
    /// What its author puts instead.
    corrected: fn(There) -> Changes,
}

fn late(sentence: &'static str, path: &str, to: Json, field: &'static str, reason: &'static str) -> Late {
    // Two versions on: what lies between changed something else.
    let between = changed(&first(), "/club/fields/name", json!({ "kind": "text", "indexed": true }));
    Late {
        sentence,
        later: changed(&between, path, to),
        creates: false,
        puts: |_| Changes::new().set("note", "typed weeks ago").set("mood", "glad"),
        code: Code::Schema,
        field,
        reason: Some(reason),
        corrected: |_| Changes::new().set("note", "typed weeks ago"),
    }
}

fn narrowed() -> Vec<Late> {
    let minutes = "/visit/fields/minutes";
    let range = json!({ "kind": "integer", "indexed": true, "max": 60 });
    let enumeration = json!({ "kind": "text", "one_of": ["open", "closed"] });
    let length = json!({ "kind": "text", "max_bytes": 5 });
    vec![
        Late {
            puts: |_| Changes::new().set("minutes", 90_i64),
            corrected: |_| Changes::new().set("minutes", 60_i64),
            ..late("a range that was narrowed", minutes, range, "visit.minutes", "schema.range")
        },
        Late {
            puts: |_| Changes::new().set("status", "done"),
            corrected: |_| Changes::new().set("status", "open"),
            ..late(
                "a text that is gone",
                "/visit/fields/status",
                enumeration,
                "visit.status",
                "schema.one_of",
            )
        },
        Late {
            puts: |_| Changes::new().set("note", "a long note"),
            corrected: |_| Changes::new().set("note", "short"),
            ..late(
                "a length that was narrowed",
                "/visit/fields/note",
                length,
                "visit.note",
                "schema.max_bytes",
            )
        },
    ]
}

/// A case about what became of the field `mood`.
fn mood(sentence: &'static str, to: Json, reason: &'static str) -> Late {
    late(sentence, "/visit/fields/mood", to, "visit.mood", reason)
}

fn removed_or_required() -> Vec<Late> {
    let required = || json!({ "kind": "text", "required": true });
    vec![
        mood("a field that was removed, in an edit", Json::Null, "schema.unknown_field"),
        Late {
            creates: true,
            puts: |_| titled("walk").set("mood", "glad"),
            corrected: |_| titled("walk"),
            ..mood("a field that was removed, in a creation", Json::Null, "schema.unknown_field")
        },
        Late {
            creates: true,
            puts: |_| titled("walk"),
            corrected: |_| titled("walk").set("mood", "glad"),
            ..mood("a field made required, in a creation", required(), "schema.required")
        },
        Late {
            puts: |_| Changes::new().clear("mood"),
            corrected: |_| Changes::new().set("mood", "glad"),
            ..mood("a field made required, in an edit that clears it", required(), "schema.required")
        },
    ]
}

fn turned() -> Vec<Late> {
    let club = json!({ "kind": "reference", "target": "club" });
    let theirs = json!({ "kind": "text", "write": ["coordinator"] });
    vec![
        Late {
            puts: |there| Changes::new().set("team", there.team),
            corrected: |_| Changes::new().set("note", "with nobody"),
            code: Code::ReferenceRejected,
            ..late("another target", "/visit/fields/team", club, "visit.team", "reference.collection")
        },
        Late {
            code: Code::Forbidden,
            reason: None,
            ..mood("a field whose writing was taken from the role", theirs, "")
        },
        Late {
            puts: |_| Changes::new().set("mood", "glad"),
            corrected: |_| Changes::new().set("note", "glad"),
            ..mood("a field of another kind now", json!({ "kind": "bytes" }), "schema.kind")
        },
    ]
}

async fn there(device: &Device) -> There {
    let visit = visit(device).await;
    let team = device.create("team", Changes::new().set("name", "North")).await;
    let club = device.create("club", Changes::new().set("name", "chess")).await;
    device.sync().await;
    There { visit, team, club }
}

/// How far the entry and its device had come when the server moved on.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    /// It had never been sent, and its device still has the first schema.
    Waiting,
    /// Its bytes were sent, and the line broke before the server had them.
    Sent,
    /// It had never been sent, and its device has the server's schema now.
    Updated,
}

async fn write(device: &Device, there: There, case: &Late) {
    let changes = (case.puts)(there);
    if case.creates {
        device.create("visit", changes).await;
    } else {
        device.edit("visit", there.visit, changes).await;
    }
}

/// Plays one case and gives the device with the refused entry.
async fn play(case: &Late, then: Then) -> (Town, Device, There) {
    let mut town = Town::under(&first()).await;
    let mut ola = town.mentor("ola", &first()).await;
    let there = there(&ola).await;
    ola.store.set_online(false).expect("open");
    write(&ola, there, case).await;
    ola.edit("visit", there.visit, titled("run")).await;
    if then == Then::Sent {
        town.gate.otherwise(Step::break_under(|request| !request.push.is_empty()));
        ola.store.set_online(true).expect("open");
        drop(ola.try_sync().await);
        assert!(ola.store.status().await.expect("counted").sending > 0);
        town.gate.otherwise(Step::Forward);
    }
    town.turn_to(&case.later).await;
    if then == Then::Updated {
        town.update(&mut ola, &case.later).await;
    }
    ola.store.set_online(true).expect("open");
    ola.sync_after_trouble().await;
    (town, ola, there)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_the_server_s_schema_no_longer_allows_is_refused_with_place_and_reason_and_its_correction_arrives()
 {
    for case in removed_or_required().into_iter().chain(narrowed()).chain(turned()) {
        for then in [Then::Waiting, Then::Sent, Then::Updated] {
            let place = format!("{} ({then:?})", case.sentence);
            let (town, mut ola, there) = play(&case, then).await;
            let (id, told) = refused(&ola, &place).await;
            match case.reason {
                Some(reason) => assert_says(&told, case.code, case.field, reason, &place),
                None => {
                    assert_eq!((told.code, told.field.as_deref()), (case.code, Some(case.field)), "{place}")
                }
            }
            let shown = ola.row(there.visit).await;
            assert_eq!(
                shown.effective("title"),
                Some(&Value::Text("run".into())),
                "{place}: the rest arrived"
            );
            let again = ola.store.outbox().retry(id).await;
            if then == Then::Updated {
                assert!(again.is_err(), "{place}: as it was it is refused here already");
            } else {
                let again = again.expect("its own schema allows it");
                ola.sync().await;
                assert_eq!(refused(&ola, &place).await.0, again, "{place}: refused again, and kept");
            }
            let (id, _) = refused(&ola, &place).await;
            let corrected = (case.corrected)(there);
            let create = case.creates;
            ola.store
                .outbox()
                .resubmit(id, move |tx| {
                    if create {
                        tx.create("visit", corrected);
                    } else {
                        tx.edit(there.visit, "visit", corrected);
                    }
                })
                .await
                .expect("a correction");
            ola.sync().await;
            assert!(ola.outbox().await.is_empty(), "{place}: {:?}", ola.outbox().await);
            town.update(&mut ola, &case.later).await;
            ola.sync().await;
            town.world.agrees_with(&[&ola]).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_of_a_collection_that_is_gone_are_refused_by_its_name_and_what_is_beside_them_arrives() {
    let gone = changed(&changed(&first(), "/visit/fields/note", json!(null)), "/club", json!(null));
    for then in [Then::Waiting, Then::Sent, Then::Updated] {
        let case = Late {
            puts: |_| Changes::new().set("minutes", 5_i64),
            ..late("beside", "/visit/fields/minutes", json!({ "kind": "integer" }), "", "")
        };
        let mut town = Town::under(&first()).await;
        let mut ola = town.mentor("ola", &first()).await;
        let there = there(&ola).await;
        ola.store.set_online(false).expect("open");
        ola.edit("club", there.club, Changes::new().set("name", "go")).await;
        write(&ola, there, &case).await;
        if then == Then::Sent {
            town.gate.otherwise(Step::break_under(|request| !request.push.is_empty()));
            ola.store.set_online(true).expect("open");
            drop(ola.try_sync().await);
            town.gate.otherwise(Step::Forward);
        }
        town.turn_to(&gone).await;
        if then == Then::Updated {
            town.update(&mut ola, &gone).await;
        }
        ola.store.set_online(true).expect("open");
        ola.sync_after_trouble().await;
        let place = format!("{then:?}");
        let (id, told) = refused(&ola, &place).await;
        assert_says(&told, Code::Schema, "club", "schema.unknown_collection", &place);
        assert_eq!(ola.row(there.visit).await.fields["minutes"], Value::Integer(5), "{place}");
        ola.store.outbox().discard(id).await.expect("a person wrote it down");
        if then != Then::Updated {
            town.update(&mut ola, &gone).await;
        }
        ola.sync().await;
        assert_eq!(ola.store.check().await.expect("checked"), Vec::<String>::new(), "{place}");
        town.world.agrees_with(&[&ola]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_every_later_schema_allows_arrives_as_it_was_made_however_old_it_is() {
    let mut later = first();
    for (path, to) in [
        ("/visit/fields/mood", json!(null)),
        ("/visit/fields/weather", json!({ "kind": "text" })),
        ("/visit/fields/calls", json!({ "kind": "counter" })),
        ("/visit/fields/minutes", json!({ "kind": "integer", "indexed": true, "max": 60 })),
    ] {
        later = changed(&later, path, to);
    }
    for is_updated in [false, true] {
        let mut town = Town::under(&first()).await;
        let mut ola = town.mentor("ola", &first()).await;
        let there = there(&ola).await;
        ola.store.set_online(false).expect("open");
        let mut made = vec![];
        for n in 0..20_i64 {
            let changes = titled("walk").set("minutes", n).set("team", there.team);
            made.push(ola.create("visit", changes).await);
            ola.edit("visit", there.visit, Changes::new().set("note", format!("note {n}"))).await;
        }
        town.turn_to(&later).await;
        if is_updated {
            town.update(&mut ola, &later).await;
        }
        ola.store.set_online(true).expect("open");
        ola.sync().await;
        assert!(ola.outbox().await.is_empty(), "{:?}", ola.outbox().await);
        town.update(&mut ola, &later).await;
        for (record, n) in made.iter().zip(0_i64..) {
            let row = ola.row(*record).await;
            assert_eq!((row.schema_version, &row.fields["minutes"]), (1, &Value::Integer(n)));
        }
        ola.sync().await;
        town.world.agrees_with(&[&ola]).await;
    }
}
