use std::collections::BTreeSet;

use haversack_protocol::{RecordId, Schema, UnixMillis};
use quickcheck::quickcheck;
use serde::{Deserialize, Serialize};

use super::*;
use crate::record::{Part, Reference, overlay};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Open,
    Done,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Visit {
    title: String,
    minutes: Option<u16>,
    share: Option<f32>,
    status: Option<Status>,
    ok: Option<bool>,
    at: Option<UnixMillis>,
    day: Option<String>,
    km: Option<String>,
    raw: Option<Vec<u8>>,
    person: Option<RecordId>,
    #[serde(default)]
    calls: i64,
    tags: BTreeSet<String>,
}

fn schema() -> Schema {
    let schema = r#"{"version":1,"collections":{"person":{"fields":{}},"visit":{"fields":{
        "title":{"kind":"text","required":true},"minutes":{"kind":"integer","min":1},"share":{"kind":"float"},
        "status":{"kind":"text","one_of":["open","done"]},"ok":{"kind":"boolean"},"at":{"kind":"instant"},
        "day":{"kind":"date"},"km":{"kind":"decimal"},"raw":{"kind":"bytes"},
        "person":{"kind":"reference","target":"person"},"calls":{"kind":"counter"},"tags":{"kind":"set"}}}}}"#;
    Schema::from_json(schema).expect("sound")
}

fn visit() -> CollectionSchema {
    schema().collection("visit").expect("there").clone()
}

fn long_walk() -> Visit {
    Visit {
        title: "walk".into(),
        minutes: Some(90),
        share: Some(0.5),
        status: Some(Status::Done),
        ok: Some(true),
        at: Some(UnixMillis(1_700_000_000_000)),
        day: Some("2026-11-23".into()),
        km: Some("3.50".into()),
        raw: Some(vec![0, 255]),
        person: Some(RecordId::from_bytes([7; 16])),
        calls: 3,
        tags: ["tur".to_owned(), "skog".to_owned()].into(),
    }
}

fn short_walk() -> Visit {
    Visit {
        title: "walk".into(),
        minutes: None,
        share: None,
        status: None,
        ok: None,
        at: None,
        day: None,
        km: None,
        raw: None,
        person: None,
        calls: 0,
        tags: [].into(),
    }
}

/// The row of a record that showed `before` and was edited to show `after`.
fn edited(before: &Visit, after: &Visit) -> Row {
    let collection = visit();
    let nothing = BTreeMap::new();
    let [before, after] = [before, after].map(|visit| written_by(&collection, visit).expect("fits"));
    let mut row = Row::created(&collection, 1);
    for intents in [difference(&nothing, &before), difference(&before, &after)] {
        let record = RecordId::from_bytes([1; 16]);
        overlay(&mut row, &Part { record, collection: "visit".into(), creates: false, intents });
    }
    row
}

#[test]
fn every_kind_of_field_is_read_and_written_as_a_type_of_the_app() {
    for [before, after] in [[short_walk(), long_walk()], [long_walk(), short_walk()]] {
        assert_eq!(read_as::<Visit>(&visit(), &edited(&before, &after)), Ok(after));
    }
    let row = edited(&short_walk(), &long_walk());
    assert_eq!(row.fields["person"], Value::Reference(Reference::Record(RecordId::from_bytes([7; 16]))));
    assert_eq!(row.fields["raw"], Value::Bytes(vec![0, 255]));
}

#[test]
fn only_what_differs_is_written() {
    let collection = visit();
    let after = Visit { minutes: Some(91), calls: 5, tags: ["tur".to_owned()].into(), ..long_walk() };
    let [before, after] = [long_walk(), after].map(|visit| written_by(&collection, &visit).expect("fits"));
    let by_name = |field: &str| field.to_owned();
    assert_eq!(
        difference(&before, &after),
        [
            Intent::Increment { field: by_name("calls"), by: 2 },
            Intent::Set { field: by_name("minutes"), value: Value::Integer(91) },
            Intent::Remove { field: by_name("tags"), element: "skog".into() },
        ]
    );
    assert_eq!(difference(&after, &after), []);
}

#[test]
fn what_does_not_fit_is_refused_by_field_and_never_shows_a_value() {
    #[derive(Serialize, Deserialize, Debug)]
    struct Odd<T> {
        title: T,
    }
    #[derive(Serialize)]
    struct Other {
        nowhere: u8,
    }
    let secret = "Kari Nordmann";
    let collection = visit();
    let row = edited(&short_walk(), &Visit { title: secret.into(), ..short_walk() });
    let form = Err(TypeRefusal::Form("title".into()));
    assert_eq!(read_as::<Odd<u8>>(&collection, &row).map(drop), form);
    assert_eq!(read_as::<Odd<Status>>(&collection, &row).map(drop), form);
    assert_eq!(read_as::<Odd<RecordId>>(&collection, &row).map(drop), form);
    let nothing = read_as::<Odd<String>>(&collection, &Row::default()).expect_err("no title");
    assert_eq!(nothing, TypeRefusal::Missing("title".into()));
    assert_eq!(written_by(&collection, &Other { nowhere: 1 }), Err(TypeRefusal::Unknown("nowhere".into())));
    assert_eq!(written_by(&collection, &secret), Err(TypeRefusal::Shape));
    for refusal in [
        written_by(&collection, &Odd { title: 5 }).expect_err("a number"),
        written_by(&collection, &Odd { title: vec![secret] }).expect_err("several"),
        written_by(&collection, &Odd { title: format!("{secret}\0") }).expect_err("NUL"),
        written_by(&collection, &BTreeMap::from([("share", f64::NAN)])).expect_err("no number"),
        written_by(&collection, &BTreeMap::from([("minutes", u64::MAX)])).expect_err("too large"),
        written_by(&collection, &BTreeMap::from([("minutes", 0)])).expect_err("too small"),
        written_by(&collection, &BTreeMap::from([("at", secret)])).expect_err("no instant"),
    ] {
        assert!(matches!(&refusal, TypeRefusal::Value { field, .. } if !field.is_empty()), "{refusal:?}");
        assert!(!format!("{refusal} {refusal:?}").contains("Kari"), "{refusal:?}");
    }
}

quickcheck! {
    fn the_difference_of_two_states_leads_from_one_to_the_other(
        minutes: (Option<u16>, Option<u16>),
        calls: (i16, i16),
        tags: (Vec<u8>, Vec<u8>)
    ) -> bool {
        let state = |minutes: Option<u16>, calls: i16, tags: &[u8]| Visit {
            minutes: minutes.map(|minutes| minutes.max(1)),
            calls: calls.into(),
            tags: tags.iter().map(u8::to_string).collect(),
            ..short_walk()
        };
        let before = state(minutes.0, calls.0, &tags.0);
        let after = state(minutes.1, calls.1, &tags.1);
        read_as::<Visit>(&visit(), &edited(&before, &after)) == Ok(after)
    }
}
