//! A server whose schema moves on, and the schemas it moves through.

use haversack::{Changes, Code, EntryState, RecordId, Rejection, Schema};
use haversack_tests::{Device, Gate, World, text};
use serde_json::{Value as Json, json};

/// Refuses what no schema here refuses: it makes rollbacks.
const RULES: &str = r#"{ "version": 1, "rules": [ { "name": "no-nonsense", "collection": "visit",
    "check": { "one_of": { "field": "title", "values": ["walk", "run", "swim"] } } } ] }"#;

/// What most schemas here begin with.
pub(crate) fn first() -> Json {
    json!({ "version": 1, "collections": {
        "team": { "fields": { "name": { "kind": "text", "required": true } } },
        "club": { "fields": { "name": { "kind": "text" } } },
        "visit": { "server_id_prefix": "V", "fields": {
            "title": { "kind": "text", "required": true, "indexed": true },
            "note": { "kind": "text" },
            "mood": { "kind": "text" },
            "minutes": { "kind": "integer", "indexed": true },
            "status": { "kind": "text", "one_of": ["open", "done"] },
            "team": { "kind": "reference", "target": "team" } } } } })
}

/// The schema with a higher version and one thing changed, by its path within the collections.
pub(crate) fn changed(before: &Json, path: &str, to: Json) -> Json {
    let mut after = before.clone();
    after["version"] = json!(before["version"].as_u64().expect("a number") + 1);
    let (place, name) = path.rsplit_once('/').expect("a path");
    let place = after.pointer_mut(&format!("/collections{place}")).expect("there");
    let place = place.as_object_mut().expect("an object");
    if to.is_null() {
        place.remove(name);
    } else {
        place.insert(name.to_owned(), to);
    }
    after
}

/// Reads a schema.
pub(crate) fn schema(json: &Json) -> Schema {
    Schema::from_json(&json.to_string()).expect("a sound schema")
}

/// A server and the gate its devices know it by, which stays where it is when the server moves on.
pub(crate) struct Town {
    pub(crate) world: World,
    pub(crate) gate: Gate,
}

impl Town {
    pub(crate) async fn under(json: &Json) -> Self {
        let world = World::start_under(schema(json), RULES).await;
        let gate = world.gate().await;
        Self { world, gate }
    }

    /// Starts the server anew under another schema.
    pub(crate) async fn turn_to(&mut self, json: &Json) {
        self.world.turn_to(schema(json)).await;
    }

    /// A connected device of a mentor.
    pub(crate) async fn mentor(&self, name: &str, json: &Json) -> Device {
        let device = self.world.mentor_under(name, &schema(json)).await;
        device.connect(self.gate.address()).await;
        device
    }

    /// A connected device of a coordinator.
    pub(crate) async fn coordinator(&self, name: &str, json: &Json) -> Device {
        let device = self.world.coordinator_under(name, &schema(json)).await;
        device.connect(self.gate.address()).await;
        device
    }

    /// Opens a device under another schema, as after an update of its app.
    pub(crate) async fn update(&self, device: &mut Device, json: &Json) {
        device.turn_to(&schema(json)).await;
        device.connect(self.gate.address()).await;
    }
}

/// A visit that everybody has.
pub(crate) async fn visit(device: &Device) -> RecordId {
    let record = device.create("visit", Changes::new().set("title", "walk")).await;
    device.sync().await;
    record
}

/// The only entry of the outbox, which must be rejected.
pub(crate) async fn refused(device: &Device, place: &str) -> (haversack::ChangeSetId, Rejection) {
    let outbox = device.outbox().await;
    let [entry] = &outbox[..] else { panic!("{place}: one entry is kept, not {outbox:?}") };
    assert!(!entry.change_set.parts[0].intents.is_empty(), "{place}: the input is kept");
    match &entry.state {
        EntryState::Rejected(rejection) => (entry.change_set.id, rejection.clone()),
        state => panic!("{place}: {state:?}"),
    }
}

/// Asserts code, place and reason of a refusal.
pub(crate) fn assert_says(told: &Rejection, code: Code, field: &str, reason: &str, place: &str) {
    let said = (told.code, told.field.as_deref(), told.message_key.as_deref());
    assert_eq!(said, (code, Some(field), Some(reason)), "{place}");
}

/// The title of a visit, as a device shows it.
pub(crate) async fn title(device: &Device, record: RecordId) -> Option<haversack::Value> {
    device.row(record).await.effective("title").cloned()
}

/// Changes that put a title.
pub(crate) fn titled(value: &str) -> Changes {
    Changes::new().put("title", text(value))
}
