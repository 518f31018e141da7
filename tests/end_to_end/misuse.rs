//! What an app may do wrong: call from everywhere at once, stop waiting anywhere, close in the middle, panic, hang.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use haversack::{
    Changes, Config, Error, ErrorKind, Haversack, KeyProvider, PrincipalId, Query, RecordId, RecordState,
    ServerAddress, SignOut, StoreError, StoreId, StoreKey, TenantId, Token, TokenFuture, TokenProvider,
};
use haversack_tests::{Device, World, eventually, schema};

fn titled(title: impl Into<String>) -> Changes {
    Changes::new().set("title", title.into())
}

async fn count(store: &Haversack) -> u64 {
    store.with_store(|store| store.count(&Query::of("activity"))).await.expect("counts")
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_tasks_write_and_read_one_store_and_every_edit_is_there() {
    let world = World::start().await;
    let device = world.mentor("ola").await;
    device.connect(world.address()).await;
    let tasks = (0..64).map(|task| {
        let store = device.store.clone();
        tokio::spawn(async move {
            for n in 0..5 {
                let record = store.collection("activity").create(titled(format!("{task}/{n}"))).await;
                let record = record.expect("stored");
                assert!(store.get(record).await.expect("read").is_some(), "an edit is seen by who made it");
                drop(store.list(Query::of("activity").page(10, n)).await.expect("listed"));
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.expect("no task fails");
    }
    assert_eq!(count(&device.store).await, 320);
    device.sync().await;
    assert_eq!(world.agrees_with(&[&device]).await.accepted, 320);
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_in_the_middle_of_edits_keeps_every_edit_that_returned_and_refuses_the_rest() {
    let world = World::start().await;
    let device = world.mentor("ola").await;
    let stored = Arc::new(AtomicUsize::new(0));
    let tasks = (0..8).map(|_| {
        let (store, stored) = (device.store.clone(), stored.clone());
        tokio::spawn(async move {
            loop {
                match store.collection("activity").create(titled("walk")).await {
                    Ok(_) => stored.fetch_add(1, Ordering::Relaxed),
                    Err(Error::Closed) => return,
                    Err(other) => panic!("{other}"),
                };
            }
        })
    });
    let tasks: Vec<_> = tasks.collect();
    eventually("the tasks are at work", || async { stored.load(Ordering::Relaxed) > 50 }).await;
    device.store.clone().close().await.expect("closed");
    for task in tasks {
        task.await.expect("told that it is closed");
    }
    let again = device.open_again().await.expect("the store is still there");
    assert_eq!(count(&again).await, stored.load(Ordering::Relaxed) as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_on_a_closed_store_says_so() {
    let world = World::start().await;
    let device = world.mentor("ola").await;
    let record = device.create("activity", titled("walk")).await;
    let store = device.store.clone();
    let mut watch = store.collection("activity").watch(Query::of("activity"));
    watch.next().await.expect("read");
    store.clone().close().await.expect("closed");
    assert!(matches!(watch.next().await, Ok(None)));
    assert!(matches!(store.get(record).await, Err(Error::Closed)));
    assert!(matches!(store.collection("activity").create(titled("run")).await, Err(Error::Closed)));
    assert!(matches!(store.outbox().list().await, Err(Error::Closed)));
    assert!(matches!(store.status().await, Err(Error::Closed)));
    assert!(matches!(store.set_online(true), Err(Error::Closed)));
    assert!(matches!(store.sync_once(Duration::from_secs(1)).await, Err(Error::Closed)));
    assert!(matches!(store.sign_out(SignOut::Keep).await, Err(Error::Closed)));
    assert!(matches!(store.clone().close().await, Err(Error::Closed)));
    assert_eq!(Error::Closed.kind(), ErrorKind::Unavailable);
}

/// Polls a call so often, each time as soon as it asks to be, and then stops waiting for it. True when it ended before.
async fn poll_at_most<T>(times: usize, call: impl Future<Output = T>) -> bool {
    let mut call = Box::pin(call);
    for _ in 0..times {
        if call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_stops_waiting_anywhere_leaves_whole_edits_that_are_shown_and_delivered() {
    let world = World::start().await;
    let device = world.mentor("ola").await;
    device.connect(world.address()).await;
    let activities = device.store.collection("activity");
    let mut watch = activities.watch(Query::of("activity").page(1_000, 0));
    watch.next().await.expect("read");
    for times in 0..8 {
        poll_at_most(times, activities.create(titled(format!("walk {times}")))).await;
        poll_at_most(times, device.store.sync_once(Duration::from_secs(5))).await;
    }
    // Begun is begun: only the call that was never polled did nothing.
    eventually("the edits that began are stored", || async { count(&device.store).await == 7 }).await;
    device.sync().await;
    while watch.next().await.expect("read").expect("open").len() < 7 {}
    assert!(!poll_at_most(1, activities.create(titled("the last one"))).await);
    let told = tokio::time::timeout(Duration::from_secs(60), async {
        while watch.next().await.expect("read").expect("open").len() < 8 {}
    });
    told.await.expect("watchers hear of it");
    eventually("it is delivered without another call", || async { device.outbox().await.is_empty() }).await;
    assert_eq!(world.agrees_with(&[&device]).await.accepted, 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_that_nobody_waits_for_closes_all_the_same() {
    let world = World::start().await;
    let device = world.mentor("ola").await;
    device.create("activity", titled("walk")).await;
    poll_at_most(1, device.store.clone().close()).await;
    eventually("the store can be opened again", || async {
        match device.open_again().await {
            Ok(store) => store.close().await.is_ok(),
            Err(Error::Store(StoreError::AlreadyOpen)) => false,
            Err(other) => panic!("{other}"),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_dropped_in_its_own_event_and_one_that_writes_in_it_disturb_nobody() {
    let world = World::start().await;
    let device = world.mentor("ola").await;
    let activities = device.store.collection("activity");
    let mut first = activities.watch(Query::of("activity"));
    let mut writer = activities.watch(Query::of("activity"));
    first.next().await.expect("read");
    writer.next().await.expect("read");
    device.create("activity", titled("walk")).await;
    if first.next().await.expect("read").is_some() {
        drop(first);
    }
    assert_eq!(writer.next().await.expect("read").expect("open").len(), 1);
    device.create("activity", titled("run")).await;
    assert_eq!(writer.next().await.expect("read").expect("open").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_inside_a_call_is_told_and_the_store_goes_on() {
    let world = World::start().await;
    let device = world.mentor("ola").await;
    let broken: Result<(), _> = device.store.with_store(|_| panic!("a defect")).await;
    let broken = broken.expect_err("told");
    assert!(matches!(broken, Error::Panicked));
    assert_eq!((broken.kind(), broken.is_retryable()), (ErrorKind::Internal, false));
    let store = device.store.clone();
    let own = tokio::spawn(async move { store.transaction(|_| panic!("the app's defect")).await.map(drop) });
    assert!(own.await.expect_err("the app's own panic is the app's").is_panic());
    device.create("activity", titled("walk")).await;
    assert_eq!(count(&device.store).await, 1);
}

/// Keys of an app that went wrong.
struct BrokenKeys;

impl KeyProvider for BrokenKeys {
    fn load(&self, _: StoreId) -> Result<Option<StoreKey>, StoreError> {
        panic!("the app's defect")
    }

    fn save(&self, _: StoreId, _: &StoreKey) -> Result<(), StoreError> {
        panic!("the app's defect")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_provider_that_panics_opens_nothing_and_creates_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let opened =
        Haversack::open(Config::new(folder.path().join("store"), schema(), Arc::new(BrokenKeys))).await;
    assert!(matches!(opened.err(), Some(Error::Panicked)));
    assert!(!folder.path().join("store/store.db").exists());
}

/// What an app's token provider does wrong, until it is mended.
enum Fault {
    PanicAtOnce,
    PanicLater,
    Hang,
}

struct BrokenTokens {
    fault: Fault,
    asked: AtomicUsize,
    mended_after: usize,
    token: Token,
}

impl TokenProvider for BrokenTokens {
    fn token(&self, _: bool) -> TokenFuture<'_> {
        let is_mended = self.asked.fetch_add(1, Ordering::Relaxed) >= self.mended_after;
        match self.fault {
            _ if is_mended => Box::pin(async { Ok(self.token.clone()) }),
            Fault::PanicAtOnce => panic!("the app's defect"),
            Fault::PanicLater => {
                Box::pin(std::future::poll_fn(|_| -> Poll<_> { panic!("the app's defect") }))
            }
            Fault::Hang => Box::pin(std::future::pending()),
        }
    }
}

async fn connect_broken(world: &World, device: &Device, fault: Fault, mended_after: usize) {
    let token = Token::new(device.token(), PrincipalId::new("ola").expect("plain"));
    let tokens = BrokenTokens { fault, asked: AtomicUsize::new(0), mended_after, token };
    let tenant = TenantId::new("north").expect("plain");
    let server = ServerAddress::new(&format!("http://{}", world.address()), tenant).expect("loopback");
    device.store.connect(server, Arc::new(tokens)).await.expect("connected");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_provider_that_panics_has_no_token_and_is_asked_again() {
    for fault in [Fault::PanicAtOnce, Fault::PanicLater] {
        let world = World::start().await;
        let device = world.mentor("ola").await;
        let walk = device.create("activity", titled("walk")).await;
        connect_broken(&world, &device, fault, 3).await;
        eventually("it is asked until it has one", || async {
            drop(device.try_sync().await);
            device.record(walk).await.state == RecordState::Synced
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_provider_that_hangs_holds_up_neither_edits_nor_closing() {
    let world = World::start().await;
    let device = world.mentor("ola").await;
    connect_broken(&world, &device, Fault::Hang, usize::MAX).await;
    let waited = device.store.sync_once(Duration::from_millis(50)).await;
    assert!(matches!(waited, Err(Error::Deadline)), "{waited:?}");
    let walk: RecordId = device.create("activity", titled("walk")).await;
    assert_eq!(device.record(walk).await.state, RecordState::LocalOnly);
    device.store.clone().close().await.expect("closed");
}
