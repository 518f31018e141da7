//! Where the first kept inputs come from: an honest day, as it crosses the wire.

use std::path::Path;
use std::sync::{Arc, Mutex};

use haversack::Changes;
use haversack_core::Document;
use haversack_protocol::{FrameKind, LogRow, PageBody, PartChange, decode_frames};
use haversack_tests::{Answer, Gate, Step, TARGETS, World};

/// Feeds an honest input to its target, and keeps it when `HAVERSACK_FUZZ_SEEDS` is set.
fn keep(target: &str, name: &str, bytes: &[u8]) {
    let found = TARGETS.iter().find(|known| known.name == target).expect("a target").run;
    let fed = bytes.to_vec();
    // A thread of its own: the targets bring their own runtime.
    std::thread::spawn(move || found(&fed)).join().expect("taken or refused");
    if std::env::var_os("HAVERSACK_FUZZ_SEEDS").is_some() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/corpus").join(target);
        std::fs::create_dir_all(&folder).expect("made");
        std::fs::write(folder.join(name), bytes).expect("written");
    }
}

/// The last request and reply that passed this gate.
async fn one_day(world: &World, gate: &Gate) -> (Vec<u8>, Vec<u8>) {
    let passed = Arc::new(Mutex::new(vec![]));
    let place = passed.clone();
    gate.otherwise(Step::alter(move |body| {
        place.lock().expect("whole").push(body.to_vec());
        body.to_vec()
    }));
    let device = world.mentor("ola").await;
    let person = device.create("person", Changes::new().set("name", "Kari")).await;
    let about =
        Changes::new().set("title", "walk").set("minutes", 40_i64).set("person", person).add("tags", "rain");
    let walk = device.create("activity", about).await;
    device.edit("activity", walk, Changes::new().set("note", "in the rain").increment("calls", 2)).await;
    device.connect(gate.address()).await;
    device.sync().await;
    let request = gate.sync_requests().into_iter().find(|request| !request.push.is_empty()).expect("a push");
    let replies = passed.lock().expect("whole").clone();
    let reply = replies
        .into_iter()
        .find(|reply| !Answer::read(reply).expect("a reply").pages.is_empty())
        .expect("a page");
    (minicbor::to_vec(request).expect("writes"), reply)
}

/// The reply that brings everything to somebody who wrote none of it.
async fn read_by_another(world: &World) -> Vec<u8> {
    let gate = world.gate().await;
    let passed = Arc::new(Mutex::new(vec![]));
    let place = passed.clone();
    gate.script([Step::alter(move |body| {
        *place.lock().expect("whole") = body.to_vec();
        body.to_vec()
    })]);
    let reader = world.mentor("reader").await;
    reader.connect(gate.address()).await;
    reader.sync().await;
    passed.lock().expect("whole").clone()
}

fn keep_document(name: &str, change: &[u8]) {
    let mut document = Document::empty();
    if document.apply(change).is_ok() {
        keep("document", name, &document.save());
    }
}

fn keep_page(page: &PageBody, n: usize) {
    let bytes = minicbor::to_vec(page).expect("writes");
    for target in ["page", "reply"] {
        keep(target, &format!("page-{n}"), &bytes);
    }
    keep("cursor", &format!("sealed-{n}"), &minicbor::to_vec(&page.cursor_after).expect("writes"));
    for (at, row) in page.rows.iter().enumerate() {
        let LogRow::Accepted(row) = row else { continue };
        for part in &row.parts {
            if let PartChange::Full(change) = &part.change {
                keep("gate", &format!("change-{n}-{at}"), change);
                keep_document(&format!("document-{n}-{at}"), change);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_honest_day_passes_every_target() {
    let world = World::start().await;
    let gate = world.gate().await;
    let (request, reply) = one_day(&world, &gate).await;
    keep("push", "sync-request", &request);
    keep("frame", "reply", &reply);
    for frame in decode_frames(&reply).expect("ours").iter().filter(|frame| frame.kind != FrameKind::Page) {
        keep("reply", &format!("{:?}", frame.kind).to_lowercase(), &frame.body);
    }
    let others = read_by_another(&world).await;
    for (n, page) in Answer::read(&others).expect("a reply").pages.iter().enumerate() {
        keep_page(page, n);
    }
    for file in ["schema", "rules"] {
        let text =
            std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("data/field-day.{file}.json")));
        keep(file, "field-day", &text.expect("read"));
    }
    keep("schema", "deep", "[".repeat(5000).as_bytes());
    keep("rules", "deep", "{\"a\":".repeat(5000).as_bytes());
    keep("row", "plain", br#"{"title":"walk","minutes":40,"calls":2,"tags":["rain"]}"#);
    let device = world.mentor("kari").await;
    let walk = device.create("activity", Changes::new().set("title", "walk").add("tags", "rain")).await;
    keep("row", "shown", device.row(walk).await.to_text().as_bytes());
}
