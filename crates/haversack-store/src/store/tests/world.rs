//! Phones, schemas and edits for the stories.

use std::path::Path;
use std::sync::Arc;

use haversack_core::outbox::EntryState;
use haversack_core::{ChangeSet, Intent, Part, Reference, Value};
use haversack_protocol::{
    ChangeSetId, DeviceId, DeviceReply, PageBody, PrincipalId, RecordId, Role, Schema, UnixMillis,
};
use tempfile::TempDir;

use super::server::Server;
use crate::table::{outbox, tail};
use crate::{AppliedPage, HostKey, PageOutcome, Store, StoreKey, Touched};

pub(super) const SCHEMA: &str = r#"{"version": 1, "collections": {
    "person": {"fields": {
        "name": {"kind": "text", "required": true, "indexed": true},
        "friend": {"kind": "reference", "target": "person"}}},
    "activity": {"fields": {
        "title": {"kind": "text", "required": true, "indexed": true},
        "minutes": {"kind": "integer", "indexed": true},
        "price": {"kind": "decimal", "indexed": true},
        "note": {"kind": "text"},
        "remark": {"kind": "text", "searched": true},
        "place": {"kind": "text", "searched": true},
        "calls": {"kind": "counter"},
        "tags": {"kind": "set"},
        "person": {"kind": "reference", "target": "person", "indexed": true}}},
    "alarm": {"send_priority": 9, "keep_days": 30, "fields": {
        "text": {"kind": "text", "required": true},
        "person": {"kind": "reference", "target": "person"}}}}}"#;

pub(super) fn schema() -> Arc<Schema> {
    Arc::new(Schema::from_json(SCHEMA).expect("a checked schema"))
}

pub(super) fn record(n: u64) -> RecordId {
    RecordId::from_bytes(u128::from(n).to_be_bytes())
}

pub(super) fn id(n: u64) -> ChangeSetId {
    ChangeSetId::from_bytes((u128::from(n) << 64).to_be_bytes())
}

pub(super) fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

pub(super) fn set(field: &str, value: Value) -> Intent {
    Intent::Set { field: field.to_owned(), value }
}

pub(super) fn refer(field: &str, to: RecordId) -> Intent {
    set(field, Value::Reference(Reference::Record(to)))
}

pub(super) fn create(record: RecordId, collection: &str, intents: Vec<Intent>) -> Part {
    Part { record, collection: collection.to_owned(), creates: true, intents }
}

pub(super) fn edit(record: RecordId, collection: &str, intents: Vec<Intent>) -> Part {
    Part { record, collection: collection.to_owned(), creates: false, intents }
}

pub(super) fn change_set(n: u64, parts: Vec<Part>) -> ChangeSet {
    ChangeSet { id: id(n), at: UnixMillis(1_000), schema_version: 1, after: vec![], parts }
}

pub(super) fn person(record: RecordId, name: &str) -> Part {
    create(record, "person", vec![set("name", text(name))])
}

pub(super) fn activity(record: RecordId, title: &str) -> Part {
    create(record, "activity", vec![set("title", text(title))])
}

pub(super) fn open(folder: &Path) -> Store {
    Store::open(folder, schema(), &HostKey::new(StoreKey::from_bytes([1; 32]))).expect("opens")
}

/// A device with a store of its own.
pub(super) struct Phone {
    pub(super) store: Store,
    pub(super) device: DeviceId,
    position: u64,
    pub(super) folder: TempDir,
}

impl Phone {
    /// A phone registered at the server.
    pub(super) fn new(server: &mut Server, n: u8, role: Role) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = open(folder.path());
        let device = DeviceId::from_bytes([n; 8]);
        let principal = PrincipalId::new(format!("user-{n}")).expect("plain");
        server.register(device, &principal, role);
        let reply = DeviceReply { device, principal, role, push_ordinal: 0 };
        store.bind("https://server", &reply).expect("binds");
        Self { store, device, position: 0, folder }
    }

    pub(super) fn write(&self, n: u64, parts: Vec<Part>) {
        self.store.local_write(change_set(n, parts)).expect("an edit the store takes");
    }

    /// Leases and delivers; what the server says stays there.
    pub(super) fn push(&self, server: &mut Server) -> Touched {
        let leased = self.store.lease_batch(256, None).expect("leases");
        server.push(self.device, &leased.push);
        leased.changed
    }

    pub(super) fn next_page(&self, server: &Server, rows_max: usize) -> PageBody {
        server.page(self.device, self.position, rows_max, false)
    }

    /// The page behind the cursor in the store.
    pub(super) fn page_after_cursor(&self, server: &Server, rows_max: usize, in_full: bool) -> PageBody {
        let cursor = self.store.cursor().expect("reads");
        let position = cursor.map_or(0, |cursor| server.position_of(&cursor));
        server.page(self.device, position, rows_max, in_full)
    }

    /// Reads at most `rows_max` rows of the log.
    pub(super) fn pull(&mut self, server: &Server, rows_max: usize) -> AppliedPage {
        let page = self.next_page(server, rows_max);
        let applied = self.store.apply_page(&page).expect("an honest page");
        assert_eq!(applied.outcome, PageOutcome::Applied);
        self.position = server.position_of(&page.cursor_after);
        applied
    }

    /// Reads the log from the beginning with the next page.
    pub(super) fn read_anew(&mut self) {
        self.store.reset_cursor().expect("resets");
        self.position = 0;
    }

    pub(super) fn sync(&mut self, server: &mut Server) {
        for _ in 0..64 {
            self.push(server);
            self.pull(server, usize::MAX);
            let counts = self.store.counts().expect("counts");
            if counts.pending + counts.sending == 0 {
                return;
            }
        }
        panic!("the outbox does not drain: {:?}", self.store.counts());
    }

    pub(super) fn value(&self, record: RecordId, field: &str) -> Option<Value> {
        let found = self.store.get(record).expect("reads").expect("a record");
        found.row.effective(field).cloned()
    }

    pub(super) fn digest(&self) -> String {
        self.store.digest_from_rows().expect("reads").finish()
    }

    /// What an entry is listed to wait for is what a lease will let go first.
    pub(super) fn assert_waits(&self) {
        let listed = self.store.outbox().expect("reads");
        self.store.connections.write(tail::file).expect("files");
        let needs = |order| self.store.connections.read(|connection| outbox::needs(connection, order));
        for entry in listed.iter().filter(|entry| !matches!(entry.state, EntryState::Rejected(_))) {
            let orders = needs(entry.order).expect("reads");
            let ids: Vec<_> = orders
                .iter()
                .flat_map(|order| listed.iter().filter(move |other| other.order == *order))
                .map(|other| other.change_set.id)
                .collect();
            assert_eq!(entry.waits_for, ids);
        }
        assert_eq!(self.store.outbox().expect("reads"), listed, "filing changes nothing that is seen");
    }

    pub(super) fn assert_sound(&self) {
        assert_eq!(self.store.check().expect("checks"), Vec::<String>::new());
    }
}
