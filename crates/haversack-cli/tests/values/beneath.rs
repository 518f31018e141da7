//! Values that are not shown, or not as a field's own: concurrent ones, earlier ones, and those of override marks.

use haversack::{Changes, RecordId, Value, Write};
use haversack_testing::Device;

use crate::server;
use crate::table::{Edge, kept};

/// Two values of one register written at once by two people.
struct Pair {
    record: RecordId,
    field: &'static str,
    values: [Value; 2],
}

async fn pairs(author: &Device) -> Vec<Pair> {
    let registers: Vec<Edge> =
        kept().into_iter().filter(|edge| !matches!(edge.value, Value::Set(_) | Value::Counter(_))).collect();
    let mut pairs = vec![];
    for two in registers.windows(2).filter(|two| two[0].field == two[1].field) {
        let record = author.store.collection("edge").create(Changes::new().set("number", 0_i64)).await;
        let values = [two[0].value.clone(), two[1].value.clone()];
        pairs.push(Pair { record: record.expect("stored"), field: two[0].field, values });
    }
    pairs
}

async fn write(device: &Device, pair: &Pair, value: &Value) {
    let changes = Changes::new().set(pair.field, value.clone());
    device.store.collection("edge").edit(pair.record, changes).await.expect("stored");
}

async fn deliver(devices: &[&Device]) {
    for device in devices {
        device.deliver().await.expect("delivered");
    }
}

/// Asserts that a device tells both values, as concurrent ones and in the history.
async fn tells_both(device: &Device, pair: &Pair) {
    let conflicts = device.store.conflicts(pair.record).await.expect("read");
    let [conflict] = &conflicts[..] else { panic!("one field: {:?}", pair.values) };
    let history = device.store.history(pair.record, pair.field).await.expect("read");
    for value in &pair.values {
        let is_it = |told: &Option<Value>| told.as_ref() == Some(value);
        assert!(conflict.candidates.iter().any(|one| is_it(&one.value)), "{value:?} in {conflict:?}");
        let is_written = |write: &Write| matches!(write, Write::Register { value, .. } if is_it(value));
        assert!(history.iter().any(|entry| is_written(&entry.write)), "{value:?} in {history:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_value_of_the_table_is_kept_exactly_as_a_concurrent_one_in_the_history_and_in_a_mark() {
    let server = server().await;
    let (ola, kari) =
        (server.mentor("ola").await.expect("a device"), server.coordinator("kari").await.expect("a device"));
    let pairs = pairs(&ola).await;
    for device in [&ola, &kari] {
        device.go_online().await.expect("open");
        device.deliver().await.expect("delivered");
        device.go_offline().expect("open");
    }
    for pair in &pairs {
        write(&ola, pair, &pair.values[0]).await;
        write(&kari, pair, &pair.values[1]).await;
    }
    for device in [&ola, &kari] {
        device.go_online().await.expect("open");
    }
    deliver(&[&ola, &kari, &ola]).await;
    for pair in &pairs {
        tells_both(&ola, pair).await;
        tells_both(&kari, pair).await;
        let value = Some(pair.values[0].clone());
        kari.store.override_field(pair.record, pair.field, value, "heard it").await.expect("her right");
    }
    deliver(&[&kari, &ola]).await;
    for Pair { record, field, values } in &pairs {
        for device in [&ola, &kari] {
            let found = device.store.get(*record).await.expect("read").expect("here");
            assert!(found.row.effective(field) == Some(&values[0]), "overridden: {values:?}");
            assert!(found.row.marks[*field].value.as_ref() == Some(&values[0]), "the mark: {values:?}");
        }
    }
    server.expect_agreement(&[&ola, &kari]).await;
}

/// A record as a type of an app.
#[derive(serde::Serialize, serde::Deserialize)]
struct Share {
    float: f64,
}

#[tokio::test(flavor = "multi_thread")]
async fn minus_zero_written_over_zero_is_a_change_here_and_elsewhere() {
    let server = server().await;
    let (ola, kari) =
        (server.mentor("ola").await.expect("a device"), server.mentor("kari").await.expect("a device"));
    let edges = ola.store.collection("edge");
    let record = edges.create(Changes::new().set("float", 0.0)).await.expect("stored");
    for device in [&ola, &kari] {
        device.go_online().await.expect("open");
    }
    let mut float = 0.0_f64;
    for is_typed in [false, true, false] {
        float = -float;
        if is_typed {
            let changed = edges.edit_as(record, |share: &mut Share| share.float = float).await;
            assert!(changed.expect("stored"), "it is a change");
        } else {
            edges.edit(record, Changes::new().set("float", float)).await.expect("stored");
        }
        deliver(&[&ola, &kari]).await;
        for device in [&ola, &kari] {
            let found = device.store.get(record).await.expect("read").expect("here");
            assert_eq!(found.row.fields["float"], Value::Float(float));
        }
    }
    assert_eq!(server.expect_agreement(&[&ola, &kari]).await.accepted, 4);
}
