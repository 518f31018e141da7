use std::collections::BTreeSet;

use haversack_protocol::{ChangeSetId, DeviceId, PrincipalId, RecordId, Role, UnixMillis};
use quickcheck::{Arbitrary, Gen, quickcheck};

use super::*;
use crate::override_mark::Mark;
use crate::record::Value;

/// What a creation does first, in few fields, so that some are written twice.
#[derive(Clone, Debug)]
struct Creation(Vec<Intent>);

impl Arbitrary for Creation {
    fn arbitrary(g: &mut Gen) -> Self {
        let count = usize::arbitrary(g) % 8;
        Self((0..count).map(|_| intent(g)).collect())
    }

    fn shrink(&self) -> Box<dyn Iterator<Item = Self>> {
        let intents = self.0.clone();
        Box::new((0..intents.len()).map(move |at| {
            let mut fewer = intents.clone();
            fewer.remove(at);
            Self(fewer)
        }))
    }
}

fn value(g: &mut Gen) -> Value {
    match u8::arbitrary(g) % 5 {
        0 => Value::Text(String::arbitrary(g)),
        1 => Value::Integer(i64::arbitrary(g)),
        2 => Value::Float(f64::from(i32::arbitrary(g)) / 7.0),
        3 => Value::Boolean(bool::arbitrary(g)),
        _ => Value::Instant(UnixMillis(i64::from(i32::arbitrary(g)))),
    }
}

fn intent(g: &mut Gen) -> Intent {
    let field =
        (*g.choose(&["a", "b", "c", "note", "ærlig", "é", "tags", "z1", "z2"]).expect("some")).to_owned();
    match u8::arbitrary(g) % 12 {
        0 => Intent::Clear { field },
        1 | 2 => Intent::Add { field, element: String::arbitrary(g) },
        3 => Intent::Remove { field, element: "x".to_owned() },
        4 => Intent::Increment { field: "calls".to_owned(), by: 2 },
        5 => Intent::Delete,
        6 => {
            let by = PrincipalId::new("siri").expect("plain");
            let reason = String::arbitrary(g);
            let mark = Mark { value: Some(value(g)), by, role: Role::Coordinator, at: UnixMillis(5), reason };
            Intent::Override { field, mark }
        }
        _ => Intent::Set { field, value: value(g) },
    }
}

/// The same creation grown in a document and spelled out.
fn both_ways(intents: Vec<Intent>) -> (Authored, Option<Authored>) {
    let record = RecordId::from_bytes([9; 16]);
    let part = Part { record, collection: "visit".to_owned(), creates: true, intents };
    let (actor, id) = (device_actor(DeviceId::from_bytes([3; 8]), 2), ChangeSetId::from_bytes([7; 16]));
    let counters = BTreeSet::from(["calls", "steps"]);
    let grown = Document::empty().author(actor.clone(), id, &part, &counters, 4);
    let spelled = Document::spell_creation(actor, id, &part, &counters, 4);
    (grown.expect("authored").expect("the version is written"), spelled.expect("spelled out"))
}

quickcheck! {
    fn a_creation_is_spelled_out_as_a_document_would_write_it(creation: Creation) -> bool {
        let (grown, spelled) = both_ways(creation.0);
        spelled.is_none_or(|spelled| spelled == grown)
    }
}

#[test]
fn a_creation_of_puts_alone_is_spelled_out_and_no_other() {
    let set = |field: &str| Intent::Set { field: field.to_owned(), value: Value::Integer(1) };
    let add = Intent::Add { field: "tags".to_owned(), element: "tur".to_owned() };
    assert!(both_ways(vec![set("a"), set("b"), add]).1.is_some());
    assert!(both_ways(vec![set("a"), set("a")]).1.is_none(), "the second one is written over the first");
    let step = Intent::Increment { field: "calls".to_owned(), by: 1 };
    assert!(both_ways(vec![set("a"), step]).1.is_none(), "a step builds on its counter");
}
