//! Every decoder of foreign bytes, as one function of bytes each: it may refuse, it may not panic, and what it takes must
//! survive its own writing. Called by the suite `fuzzing`, and by whatever fuzzer a maintainer points at them.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use haversack::{Changes, Config, Error, Haversack, HostKey, RecordId, StoreKey};
use haversack_core::{Author, Document, Row, Rules, admit, admit_from_server, inspect, project};
use haversack_protocol::{
    Cursor, CursorBody, DeviceId, DeviceReply, DeviceRequest, EndBody, Frame, FrameKind, HelloBody, HintBody,
    PageBody, PrincipalId, ProblemBody, PushedPart, Role, Schema, SyncRequest, decode_frames,
    decode_only_frame, encode_frame,
};

use super::schema;

/// A decoder to be fed.
#[derive(Clone, Copy)]
pub struct Target {
    /// Name of its folder of kept inputs.
    pub name: &'static str,
    /// Takes any bytes; panics when a promise is broken.
    pub run: fn(&[u8]),
    /// Makes checksums right again after bytes were changed.
    pub repair: fn(&mut [u8]),
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "frame", run: frame, repair: repair_frame },
    Target { name: "push", run: push, repair: as_it_is },
    Target { name: "reply", run: reply, repair: as_it_is },
    Target { name: "cursor", run: cursor, repair: as_it_is },
    Target { name: "gate", run: gate, repair: repair_change },
    Target { name: "document", run: document, repair: as_it_is },
    Target { name: "page", run: page, repair: as_it_is },
    Target { name: "schema", run: schema_json, repair: as_it_is },
    Target { name: "rules", run: rules_json, repair: as_it_is },
    Target { name: "row", run: row, repair: as_it_is },
];

/// Feeds the target of that name, and once more with checksums made right: what a fuzzer that sees coverage calls.
///
/// # Panics
/// When a promise is broken, or there is no such target.
pub fn feed(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of that name");
    (target.run)(bytes);
    let mut repaired = bytes.to_vec();
    (target.repair)(&mut repaired);
    if repaired != bytes {
        (target.run)(&repaired);
    }
}

fn as_it_is(_: &mut [u8]) {}

fn crc32c(bytes: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = if sum & 1 == 1 { (sum >> 1) ^ 0x82f6_3b78 } else { sum >> 1 };
        }
    }
    !sum
}

fn repair_frame(bytes: &mut [u8]) {
    if bytes.len() >= 18 {
        let body = u32::try_from(bytes.len() - 18).unwrap_or(u32::MAX);
        bytes[..4].copy_from_slice(b"HVSK");
        bytes[6..10].copy_from_slice(&body.to_le_bytes());
        let sum = crc32c(&[&bytes[4..14], &bytes[18..]].concat());
        bytes[14..18].copy_from_slice(&sum.to_le_bytes());
    }
}

fn repair_change(bytes: &mut [u8]) {
    if bytes.len() > 9 {
        let sum = ring::digest::digest(&ring::digest::SHA256, &bytes[8..]);
        bytes[4..8].copy_from_slice(&sum.as_ref()[..4]);
    }
}

fn frame(bytes: &[u8]) {
    drop(decode_only_frame(bytes));
    for frame in decode_frames(bytes).unwrap_or_default() {
        push(&frame.body);
        reply(&frame.body);
    }
}

/// What reads must write, and what was written must read as the same.
fn survives<T>(kind: FrameKind, bytes: &[u8])
where
    T: for<'b> minicbor::Decode<'b, ()> + minicbor::Encode<()> + PartialEq + std::fmt::Debug,
{
    let Ok(value) = (Frame { kind, body: bytes.to_vec() }).read::<T>() else { return };
    let mut frames = vec![];
    if encode_frame(kind, &value, &mut frames).is_ok() {
        let again: T = decode_only_frame(&frames).expect("just written").read().expect("just written");
        assert_eq!(again, value);
    }
}

fn push(bytes: &[u8]) {
    survives::<SyncRequest>(FrameKind::SyncRequest, bytes);
    survives::<DeviceRequest>(FrameKind::DeviceRequest, bytes);
}

fn reply(bytes: &[u8]) {
    survives::<PageBody>(FrameKind::Page, bytes);
    survives::<HelloBody>(FrameKind::Hello, bytes);
    survives::<HintBody>(FrameKind::Hints, bytes);
    survives::<EndBody>(FrameKind::End, bytes);
    survives::<ProblemBody>(FrameKind::Problem, bytes);
    survives::<DeviceReply>(FrameKind::DeviceReply, bytes);
}

fn cursor(bytes: &[u8]) {
    if let Ok(cursor) = minicbor::decode::<Cursor>(bytes) {
        assert!(Cursor::new(cursor.as_bytes().to_vec()).is_some());
    }
    drop(minicbor::decode::<CursorBody>(bytes));
}

/// A change as a creation: inspected, admitted as the server does and as a device does, shown, saved and loaded.
fn gate(bytes: &[u8]) {
    let Ok(header) = inspect(bytes) else { return };
    let Some(device) = header.actor.first_chunk::<8>().map(|first| DeviceId::from_bytes(*first)) else {
        return;
    };
    let schema = schema();
    let activity = schema.collection("activity").expect("known");
    let principal = PrincipalId::new("ola").expect("plain");
    let author = Author { device, principal: &principal, role: Role::Mentor };
    let part = PushedPart {
        record: RecordId::from_bytes([1; 16]),
        collection: Some("activity".into()),
        epoch: 0,
        change: bytes.to_vec(),
        deps: vec![],
    };
    drop(admit(None, &part, ("activity", activity), 1, author));
    let Ok(Some((document, hash))) = admit_from_server(&Document::empty(), bytes, Some(device)) else {
        return;
    };
    assert_eq!(hash, header.hash, "read as stated");
    let Ok(saved) = document.save_checked() else { return };
    let loaded = Document::load(&saved).expect("what was saved loads");
    assert_eq!(project(&loaded, activity), project(&document, activity));
}

/// A document as it lies in a store: damage is a typed refusal.
fn document(bytes: &[u8]) {
    if let Ok(document) = Document::load(bytes) {
        drop(document.save_checked());
    }
}

struct Fed {
    runtime: tokio::runtime::Runtime,
    store: Haversack,
    _folder: tempfile::TempDir,
}

/// One real store that is fed every page, one after the other.
fn fed() -> &'static Mutex<Fed> {
    static FED: OnceLock<Mutex<Fed>> = OnceLock::new();
    FED.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let keys = Arc::new(HostKey::new(StoreKey::from_bytes([7; 32])));
        let opening = Haversack::open(Config::new(folder.path(), schema(), keys));
        let store = runtime.block_on(opening).expect("a new store");
        Mutex::new(Fed { runtime, store, _folder: folder })
    })
}

fn page(bytes: &[u8]) {
    let Ok(page) = (Frame { kind: FrameKind::Page, body: bytes.to_vec() }).read::<PageBody>() else { return };
    let fed = fed().lock().unwrap_or_else(PoisonError::into_inner);
    let applied = fed.runtime.block_on(fed.store.with_store(move |store| store.apply_page(&page).map(drop)));
    // A refusal is fine; this is what a panic off the runtime looks like.
    assert!(!matches!(applied, Err(Error::Closed)), "applying it panicked");
}

/// Asserts that the store which was fed every page is sound and still serves its user. Its rows are not held against its
/// documents: a reference whose record was given an id, but which no server ever rewrote, shows that id all the same.
pub fn fed_store_is_sound() {
    let fed = fed().lock().unwrap_or_else(PoisonError::into_inner);
    let check = fed.runtime.block_on(fed.store.check()).expect("checked");
    assert_eq!(check, Vec::<String>::new());
    let activities = fed.store.collection("activity");
    let walk = fed.runtime.block_on(activities.create(Changes::new().set("title", "walk"))).expect("stored");
    assert!(fed.runtime.block_on(fed.store.get(walk)).expect("read").is_some());
}

fn schema_json(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        drop(Schema::from_json(text));
    }
}

fn rules_json(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        drop(Rules::from_json(text, &schema()));
    }
}

/// A row's text as it lies in a store, overrides and conflicts with it.
fn row(bytes: &[u8]) {
    let schema = schema();
    let activity = schema.collection("activity").expect("known");
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(row) = Row::from_text(activity, text) {
        assert_eq!(Row::from_text(activity, &row.to_text()).expect("just written"), row);
    }
}
