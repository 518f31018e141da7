//! The history the server keeps: of the epoch of today, and of those that compaction ended.

use haversack_core::{Intent, Mark, Reference};
use haversack_protocol::{RecordId, Role, ServerId, UnixMillis};
use haversack_server::{RecordedWrite, compact, erase_fields, history};

use crate::support::{TestServer, create, edit, integer, schema, text};

type Told<'w> = (u32, Option<&'w str>, &'w str, Option<String>, &'w str, Option<&'w str>);

fn told(one: &RecordedWrite) -> Told<'_> {
    let value = one.value.as_ref().map(ToString::to_string);
    let principal = one.principal.as_ref().map(|principal| principal.as_str());
    (one.epoch, one.field.as_deref(), one.write, value, one.standing, principal)
}

#[tokio::test]
async fn what_was_compacted_is_in_the_servers_history_with_its_authors_until_it_is_erased() {
    let server = TestServer::start().await;
    let mut ola = server.phone("ola", Role::Coordinator).await;
    let mut kari = server.phone("kari", Role::Coordinator).await;
    let fields = [("title", text("tur")), ("status", text("open")), ("note", text("hemmelig"))];
    let (record, creation) = create("activity", &fields);
    ola.push(server.address(), &[creation]).await;
    kari.read_all(server.address()).await;
    let by = kari.principal.clone();
    let (value, at, reason) = (Some(integer(3)), UnixMillis(1), "talt".to_owned());
    let mark = Mark { value, by, role: Role::Coordinator, at, reason };
    let intents = vec![
        Intent::Set { field: "title".into(), value: text("lang tur") },
        Intent::Override { field: "minutes".into(), mark },
        Intent::Add { field: "tags".into(), element: "skog".into() },
    ];
    let reply = kari.push(server.address(), &[edit("activity", record, intents)]).await;
    let position = reply.settled[0].1;
    let step = || edit("activity", record, vec![Intent::Increment { field: "calls".into(), by: 1 }]);
    let steps: Vec<_> = (0..98).map(|_| step()).collect();
    kari.push(server.address(), &steps).await;
    let database = server.path("server.db");
    assert_eq!(compact(&database, &schema(), UnixMillis(i64::MAX)).expect("compacted").compacted, 1);

    let mut schema = schema();
    let activity = schema.collections.get_mut("activity").expect("present");
    activity.fields.get_mut("note").expect("present").sensitive = true;
    let name = Reference::Server(ServerId::new("ACT-000001").expect("plain"));
    let writes = history(&database, &schema, &name, false).expect("told");
    let of = |field: &str| -> Vec<_> {
        writes.iter().filter(|one| one.field.as_deref() == Some(field)).map(told).collect()
    };
    let quoted = |text: &str| Some(format!("\"{text}\""));
    assert_eq!(
        of("title"),
        [
            (0, Some("title"), "set", quoted("tur"), "replaced", Some("ola")),
            (0, Some("title"), "set", quoted("lang tur"), "shown", Some("kari")),
            (1, Some("title"), "set", quoted("lang tur"), "shown", None),
        ]
    );
    let by_kari = writes.iter().find(|one| one.write == "override").expect("told");
    assert_eq!((by_kari.position, by_kari.device), (Some(position), Some(kari.device)));
    assert_eq!((by_kari.reason.as_deref(), by_kari.at.is_some()), (Some("talt"), true));
    assert_eq!(of("calls").iter().filter(|one| one.0 == 0 && one.2 == "increment").count(), 98);
    assert!(of("note").iter().all(|one| one.3.is_none()) && of("note").len() == 2, "not asked for");
    let asked = history(&database, &schema, &record.into(), true).expect("told");
    assert!(asked.iter().any(|one| one.value == Some("hemmelig".into())));

    let note = ["note".to_owned()].into();
    erase_fields(&database, &schema, &record.into(), &note, false).expect("erased");
    let left = history(&database, &schema, &record.into(), true).expect("told");
    assert!(left.iter().all(|one| one.epoch == 2 && one.field.as_deref() != Some("note")), "{left:?}");
    let unknown = history(&database, &schema, &RecordId::from_bytes([9; 16]).into(), true);
    assert_eq!(unknown.expect_err("refused").to_string(), "there is no such record");
}
