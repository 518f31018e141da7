//! Forged pages, handed to a real store: one record is set aside, the rest of the page lands, the process lives.

use std::sync::{Arc, Mutex};

use automerge::ScalarValue;
use automerge::legacy::{Key, OpType};
use haversack::{Changes, Error, NoticeKind, RecordId, ServerId, StoreError};
use haversack_protocol::{AcceptedRow, LogRow, PageBody, PartChange};
use haversack_tests::{Answer, Device, Step, World, text};

use crate::forging::{forge, forgeries};

/// A world with a person and an activity that was edited once, and the one page that tells of it.
struct Told {
    world: World,
    person: RecordId,
    activity: RecordId,
    page: PageBody,
}

impl Told {
    async fn new() -> Self {
        let world = World::start().await;
        let ola = world.mentor("ola").await;
        let activities = ola.store.collection("activity");
        let activity = activities.create(Changes::new().set("title", "walk")).await.expect("stored");
        activities.edit(activity, Changes::new().set("note", "in the rain")).await.expect("stored");
        let person = ola.create("person", Changes::new().set("name", "Kari")).await;
        ola.connect(world.address()).await;
        ola.sync().await;
        let page = first_page(&world).await;
        Self { world, person, activity, page }
    }

    /// The page, with the activity's second change exchanged.
    fn with_edit(&self, change: Vec<u8>) -> PageBody {
        let mut page = self.page.clone();
        edit_of(&mut page, self.activity).parts[0].change = PartChange::Full(change);
        page
    }

    fn honest_edit(&self) -> Vec<u8> {
        let mut page = self.page.clone();
        match &edit_of(&mut page, self.activity).parts[0].change {
            PartChange::Full(bytes) => bytes.clone(),
            other => panic!("a reader gets every byte: {other:?}"),
        }
    }
}

/// The page a new device reads first.
async fn first_page(world: &World) -> PageBody {
    let gate = world.gate().await;
    let caught = Arc::new(Mutex::new(None));
    let place = caught.clone();
    gate.script([Step::alter(move |body| {
        *place.lock().expect("whole") = Some(Answer::read(body).expect("a reply"));
        body.to_vec()
    })]);
    let reader = world.mentor("reader").await;
    reader.connect(gate.address()).await;
    reader.sync().await;
    let answer: Answer = caught.lock().expect("whole").take().expect("a reply passed");
    answer.pages.into_iter().next().expect("a page")
}

fn accepted(page: &mut PageBody) -> impl Iterator<Item = &mut AcceptedRow> {
    page.rows.iter_mut().filter_map(|row| match row {
        LogRow::Accepted(row) => Some(row),
        _ => None,
    })
}

fn edit_of(page: &mut PageBody, record: RecordId) -> &mut AcceptedRow {
    let is_edit = |row: &&mut AcceptedRow| row.parts[0].record == record && row.parts[0].collection.is_none();
    accepted(page).find(is_edit).expect("an edit")
}

/// Forgeries a device must see through, by what is wrong with them.
fn all_forgeries(honest: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    forgeries(honest).into_iter().chain([("no byte at all", vec![])]).collect()
}

async fn apply(device: &Device, page: PageBody) -> Result<(), Error> {
    device.store.with_store(move |store| store.apply_page(&page).map(|_| ())).await
}

async fn is_sound(device: &Device, what: &str) {
    assert_eq!(device.store.check().await.expect("checked"), Vec::<String>::new(), "{what}");
    let (rows, documents) = device.digests().await;
    assert_eq!(rows, documents, "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_change_sets_one_record_aside_and_the_rest_of_the_page_lands() {
    let told = Told::new().await;
    let forged = all_forgeries(&told.honest_edit());
    assert!(forged.len() >= 15, "most forgeries could be made: {}", forged.len());
    for (what, change) in forged {
        let device = told.world.mentor("reader").await;
        apply(&device, told.with_edit(change)).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        let notices = device.store.notices().await.expect("listed");
        let named: Vec<_> = notices.iter().map(|notice| (notice.kind, notice.record)).collect();
        assert_eq!(named, [(NoticeKind::Quarantined, Some(told.activity))], "{what}");
        let row = device.row(told.activity).await;
        assert_eq!((row.fields.get("title"), row.fields.get("note")), (Some(&text("walk")), None), "{what}");
        assert_eq!(device.row(told.person).await.fields["name"], text("Kari"), "{what}");
        let cursor = device.store.with_store(|store| store.cursor()).await.expect("read");
        assert_eq!(cursor.as_ref(), Some(&told.page.cursor_after), "{what}");
        is_sound(&device, what).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_with_a_flipped_byte_and_a_repaired_checksum_never_reaches_another_record() {
    let told = Told::new().await;
    let honest = told.honest_edit();
    let mut set_aside = 0;
    for at in (8..honest.len()).step_by(5) {
        let mut change = honest.clone();
        change[at] ^= 0x15;
        let sum = ring::digest::digest(&ring::digest::SHA256, &change[8..]);
        change[4..8].copy_from_slice(&sum.as_ref()[..4]);
        let device = told.world.mentor("reader").await;
        apply(&device, told.with_edit(change)).await.unwrap_or_else(|error| panic!("byte {at}: {error}"));
        assert_eq!(device.row(told.person).await.fields["name"], text("Kari"), "byte {at}");
        assert_eq!(device.row(told.activity).await.fields["title"], text("walk"), "byte {at}");
        set_aside += device.store.notices().await.expect("listed").len();
        is_sound(&device, &format!("byte {at}")).await;
    }
    assert!(set_aside > 10, "most flips make a change nobody could have made: {set_aside}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_schema_here_has_no_name_for_is_kept_and_never_shown() {
    let told = Told::new().await;
    let honest = told.honest_edit();
    let newer = [
        forge(&honest, |change| change.operations[0].key = Key::Map("f:of_a_newer_schema".into())),
        forge(&honest, |change| change.operations[0].action = OpType::Put(ScalarValue::counter(1))),
    ];
    for change in newer {
        let device = told.world.mentor("reader").await;
        apply(&device, told.with_edit(change.expect("can be made"))).await.expect("the page lands");
        let row = device.row(told.activity).await;
        assert_eq!((row.fields.get("title"), row.fields.get("note")), (Some(&text("walk")), None));
        is_sound(&device, "a change of a newer schema").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_that_does_not_say_where_it_belongs_is_set_aside() {
    let told = Told::new().await;
    let mut page = told.page.clone();
    let of_person = accepted(&mut page).find(|row| row.parts[0].record == told.person).expect("a creation");
    of_person.parts[0].collection = None;
    let device = told.world.mentor("reader").await;
    apply(&device, page).await.expect("the rest lands");
    assert_eq!(device.store.get(told.person).await.expect("read"), None);
    assert_eq!(device.row(told.activity).await.fields["note"], text("in the rain"));
    assert_eq!(device.store.notices().await.expect("listed").len(), 1);
    is_sound(&device, "a creation without a collection").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_map_that_gives_two_records_one_id_is_refused_and_nothing_of_its_page_is_written() {
    let told = Told::new().await;
    let mut page = told.page.clone();
    let mut given: Option<ServerId> = None;
    for assignment in accepted(&mut page).flat_map(|row| &mut row.assignments) {
        assignment.server_id = given.get_or_insert_with(|| assignment.server_id.clone()).clone();
    }
    let device = told.world.mentor("reader").await;
    let before = device.digests().await;
    let refused = apply(&device, page).await.expect_err("contradicts itself");
    assert!(matches!(refused, Error::Store(StoreError::Assignment(_))), "{refused}");
    assert_eq!(device.digests().await, before);
    assert_eq!(device.store.with_store(|store| store.cursor()).await.expect("read"), None);
    for record in [told.person, told.activity] {
        assert_eq!(device.store.get(record).await.expect("read"), None);
        let id = device.store.with_store(move |store| store.server_id(record)).await.expect("read");
        assert_eq!(id, None);
    }
    apply(&device, told.page.clone()).await.expect("the honest page lands");
    assert_eq!(device.row(told.person).await.fields["name"], text("Kari"));
    is_sound(&device, "after the honest page").await;
}
