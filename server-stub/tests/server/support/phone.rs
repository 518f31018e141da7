//! A phone: the real freezing of edits, the real frames, and a plain map of confirmed documents.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use haversack_core::outbox::{BaseHeads, Entry, EntryState, Freezer, Lane};
use haversack_core::{
    ChangeSet, Document, Intent, Part, Row, StateDigest, Value, canonical_record, inspect, project,
};
use haversack_protocol::{
    ChangeHash, ChangeSetId, Cursor, DeviceId, DeviceReply, DeviceRequest, EndBody, FrameKind, HelloBody,
    Hint, HintBody, InstallationId, LogRow, PageBody, PartChange, PrincipalId, ProtocolRange,
    PushedChangeSet, PushedPart, RecordId, Rejection, ServerId, SyncRequest, UnixMillis, encode_frame,
};

use super::{Response, TENANT, request, schema};

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

fn fresh() -> [u8; 16] {
    u128::from(NEXT_ID.fetch_add(1, Ordering::Relaxed)).to_be_bytes()
}

pub(crate) fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

pub(crate) fn integer(value: i64) -> Value {
    Value::Integer(value)
}

fn change_set(part: Part) -> ChangeSet {
    ChangeSet {
        id: ChangeSetId::from_bytes(fresh()),
        at: UnixMillis(1_700_000_000_000),
        schema_version: 3,
        after: vec![],
        parts: vec![part],
    }
}

/// A change set creating one record with these fields.
pub(crate) fn create(collection: &str, fields: &[(&str, Value)]) -> (RecordId, ChangeSet) {
    let record = RecordId::from_bytes(fresh());
    let set = |(field, value): &(&str, Value)| Intent::Set { field: (*field).into(), value: value.clone() };
    let intents = fields.iter().map(set).collect();
    (record, change_set(Part { record, collection: collection.into(), creates: true, intents }))
}

/// A change set editing one record.
pub(crate) fn edit(collection: &str, record: RecordId, intents: Vec<Intent>) -> ChangeSet {
    change_set(Part { record, collection: collection.into(), creates: false, intents })
}

/// A reply, read.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) rows: Vec<LogRow>,
    pub(crate) settled: Vec<(ChangeSetId, u64)>,
    pub(crate) hints: Vec<Hint>,
    pub(crate) more: bool,
    pub(crate) pages: usize,
}

impl Reply {
    pub(crate) fn read(response: &Response) -> Self {
        assert_eq!(response.status, 200, "{:?}", response.frames());
        let mut reply = Self { rows: vec![], settled: vec![], hints: vec![], more: false, pages: 0 };
        let frames = response.frames();
        assert_eq!(frames[0].kind, FrameKind::Hello);
        let _: HelloBody = frames[0].read().expect("a hello");
        for frame in &frames[1..] {
            match frame.kind {
                FrameKind::Page => {
                    reply.rows.extend(frame.read::<PageBody>().expect("a page").rows);
                    reply.pages += 1;
                }
                FrameKind::Hints => {
                    let hints: HintBody = frame.read().expect("hints");
                    (reply.settled, reply.hints) = (hints.settled, hints.hints);
                }
                FrameKind::End => reply.more = frame.read::<EndBody>().expect("an end").more,
                other => panic!("{other:?} in a reply"),
            }
        }
        assert_eq!(frames.last().map(|frame| frame.kind), Some(FrameKind::End));
        reply
    }

    pub(crate) fn position(&self, id: ChangeSetId) -> Option<u64> {
        self.settled.iter().find(|(settled, _)| *settled == id).map(|(_, position)| *position)
    }

    pub(crate) fn hint(&self, id: ChangeSetId) -> &Hint {
        self.hints.iter().find(|hint| hint.change_set == id).expect("a hint")
    }

    pub(crate) fn is_accepted(&self, id: ChangeSetId) -> bool {
        self.rows.iter().any(|row| matches!(row, LogRow::Accepted(row) if row.origin.change_set == id))
    }

    pub(crate) fn rejection(&self, id: ChangeSetId) -> Rejection {
        let found = self.rows.iter().find_map(|row| match row {
            LogRow::Rejected(row) if row.origin.change_set == id => Some(row.rejection.clone()),
            _ => None,
        });
        found.unwrap_or_else(|| panic!("{id} is not rejected in {self:?}"))
    }
}

struct Confirmed {
    collection: String,
    document: Document,
    server_id: Option<ServerId>,
    tip: Option<ChangeHash>,
}

pub(crate) struct Phone {
    pub(crate) device: DeviceId,
    pub(crate) principal: PrincipalId,
    pub(crate) installation: InstallationId,
    pub(crate) token: String,
    pub(crate) cursor: Option<Cursor>,
    pub(crate) positions: Vec<u64>,
    pub(crate) push_ordinal: u64,
    records: BTreeMap<RecordId, Confirmed>,
    sent: BTreeMap<ChangeHash, Vec<u8>>,
}

impl Phone {
    pub(crate) async fn register(address: SocketAddr, principal: &str, token: String) -> Self {
        let mut phone = Self {
            device: DeviceId::from_bytes([0; 8]),
            principal: PrincipalId::new(principal).expect("plain"),
            installation: InstallationId::from_bytes(fresh()),
            token,
            cursor: None,
            positions: vec![],
            push_ordinal: 0,
            records: BTreeMap::new(),
            sent: BTreeMap::new(),
        };
        phone.device = phone.register_again(address).await.device;
        phone
    }

    pub(crate) async fn register_again(&self, address: SocketAddr) -> DeviceReply {
        let body = DeviceRequest { protocol: ProtocolRange::OURS, installation: self.installation };
        let mut frames = Vec::new();
        encode_frame(FrameKind::DeviceRequest, &body, &mut frames).expect("small");
        let path = format!("/v1/t/{TENANT}/device");
        let response = request(address, &path, Some(&self.token), &frames).await;
        assert_eq!(response.status, 200);
        response.frames()[0].read().expect("a device reply")
    }

    /// Authors change sets as the outbox does, each on what this phone has confirmed and its own earlier ones.
    pub(crate) fn freeze(&mut self, sets: &[ChangeSet]) -> Vec<PushedChangeSet> {
        let schema = schema();
        let mut freezer = Freezer::new(self.device, &schema);
        let frozen: Vec<_> = sets.iter().map(|set| self.author(&mut freezer, set)).collect();
        for change in frozen.iter().flat_map(|set| &set.parts).map(|part| &part.change) {
            if let Ok(header) = inspect(change) {
                self.sent.insert(header.hash, change.clone());
            }
        }
        frozen
    }

    fn author(&self, freezer: &mut Freezer<'_>, set: &ChangeSet) -> PushedChangeSet {
        let mut base = vec![];
        for part in &set.parts {
            let known = self.records.get(&part.record).filter(|_| !part.creates);
            let heads = known.map(|known| known.document.heads()).unwrap_or_default();
            base.push(BaseHeads { record: part.record, epoch: 0, heads });
            if freezer.needs(part.record) {
                let lane = Lane {
                    document: known.map(|known| known.document.clone()),
                    accepted_tip: known.and_then(|known| known.tip),
                    ..Lane::default()
                };
                freezer.open(part.record, lane).expect("opened");
            }
        }
        let entry = Entry {
            order: 0,
            priority: 0,
            change_set: set.clone(),
            base,
            frozen: vec![],
            state: EntryState::Pending,
            attempts: 0,
            last_error: None,
            next_try: None,
        };
        let frozen = freezer.freeze(&entry).expect("frozen");
        let parts = set.parts.iter().zip(frozen).map(|(part, frozen)| PushedPart {
            record: frozen.record,
            collection: part.creates.then(|| part.collection.clone()),
            epoch: frozen.epoch,
            change: frozen.change,
            deps: frozen.deps,
        });
        PushedChangeSet {
            id: set.id,
            at: set.at,
            schema_version: set.schema_version,
            after: set.after.clone(),
            parts: parts.collect(),
        }
    }

    pub(crate) fn sync_request(&self, push: Vec<PushedChangeSet>) -> SyncRequest {
        SyncRequest {
            protocol: ProtocolRange::OURS,
            device: self.device,
            principal: self.principal.clone(),
            push_ordinal: self.push_ordinal,
            now: UnixMillis(1_700_000_000_000),
            schema_version: 3,
            cursor: self.cursor.clone(),
            page_bytes_max: u32::MAX,
            echo_in_full: false,
            push,
            withdraw: vec![],
            erased_position: None,
        }
    }

    /// Sends a request and gives the answer as it came.
    pub(crate) async fn send(&self, address: SocketAddr, body: &SyncRequest) -> Response {
        let mut frames = Vec::new();
        encode_frame(FrameKind::SyncRequest, body, &mut frames).expect("within limits");
        request(address, &format!("/v1/t/{TENANT}/sync"), Some(&self.token), &frames).await
    }

    /// One round trip that applies what comes back.
    pub(crate) async fn sync(&mut self, address: SocketAddr, push: Vec<PushedChangeSet>) -> Reply {
        self.push_ordinal += u64::from(!push.is_empty());
        let response = self.send(address, &self.sync_request(push)).await;
        self.apply(&response)
    }

    /// One round trip that takes a change set back.
    #[cfg(target_os = "linux")]
    pub(crate) async fn sync_withdrawing(&mut self, address: SocketAddr, id: ChangeSetId) -> Reply {
        let body = SyncRequest { withdraw: vec![id], ..self.sync_request(vec![]) };
        let response = self.send(address, &body).await;
        self.apply(&response)
    }

    /// Freezes, pushes and applies.
    pub(crate) async fn push(&mut self, address: SocketAddr, sets: &[ChangeSet]) -> Reply {
        let frozen = self.freeze(sets);
        self.sync(address, frozen).await
    }

    pub(crate) async fn read_all(&mut self, address: SocketAddr) {
        while self.sync(address, vec![]).await.more {}
    }

    pub(crate) fn apply(&mut self, response: &Response) -> Reply {
        let reply = Reply::read(response);
        for frame in response.frames().iter().filter(|frame| frame.kind == FrameKind::Page) {
            self.cursor = Some(frame.read::<PageBody>().expect("a page").cursor_after);
        }
        for row in &reply.rows {
            self.positions.push(row.position());
            if let LogRow::Accepted(row) = row {
                self.apply_accepted(row);
            }
        }
        reply
    }

    fn apply_accepted(&mut self, row: &haversack_protocol::AcceptedRow) {
        for part in &row.parts {
            let record = self.records.entry(part.record).or_insert_with(|| Confirmed {
                collection: part.collection.clone().expect("a first part creates"),
                document: Document::empty(),
                server_id: None,
                tip: None,
            });
            let bytes = match &part.change {
                PartChange::Full(bytes) => bytes.clone(),
                PartChange::Own(hash) => self.sent[hash].clone(),
                PartChange::Empty | PartChange::Erased => continue,
            };
            let hash = record.document.apply(&bytes).expect("applies");
            if row.origin.device == self.device {
                record.tip = Some(hash);
            }
        }
        for change in &row.server_changes {
            let record = self.records.get_mut(&change.record).expect("known");
            record.document.apply(&change.change).expect("applies");
        }
        for assignment in &row.assignments {
            let record = self.records.get_mut(&assignment.record).expect("known");
            assert_eq!(record.server_id.replace(assignment.server_id.clone()), None, "assigned once");
        }
    }

    pub(crate) fn row(&self, record: RecordId) -> Row {
        let known = &self.records[&record];
        project(&known.document, schema().collection(&known.collection).expect("known"))
    }

    pub(crate) fn heads(&self, record: RecordId) -> Vec<ChangeHash> {
        self.records[&record].document.heads()
    }

    pub(crate) fn knows(&self, record: RecordId) -> bool {
        self.records.contains_key(&record)
    }

    pub(crate) fn server_id(&self, record: RecordId) -> Option<&str> {
        self.records.get(&record)?.server_id.as_ref().map(ServerId::as_str)
    }

    pub(crate) fn digest(&self) -> String {
        let schema = schema();
        let mut digest = StateDigest::default();
        for (id, known) in &self.records {
            let row = project(&known.document, schema.collection(&known.collection).expect("known"));
            digest.add(&canonical_record(*id, known.server_id.as_ref(), &known.collection, &row));
        }
        digest.finish()
    }
}
