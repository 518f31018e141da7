//! One server, phones that meet it over loopback, and what an exchange between them takes.

use std::error::Error;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use haversack::{
    Config, Haversack, HostKey, Phase, PrincipalId, Role, ServerAddress, StaticToken, Store, StoreKey,
    TenantId, Token,
};
use haversack_core::{ChangeSet, Rules};
use haversack_server::{LiveSettings, RunningServer, ServerConfig, issue_token, start};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::forwarder::{Forwarder, Traffic};
use crate::measure::of_threads;
use crate::workload::schema;

pub(crate) type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const TENANT: &str = "figures";
const PRINCIPAL: &str = "kari";
/// Longer than any measurement: a thread that ends takes its processor time along.
const THREAD_KEEP_ALIVE: Duration = Duration::from_secs(3600);
const EXCHANGE_MAX: Duration = Duration::from_secs(300);

/// What bringing a phone and the server in step took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exchange {
    pub(crate) wall: Duration,
    pub(crate) phone_cpu: Duration,
    pub(crate) server_cpu: Duration,
    pub(crate) traffic: Traffic,
}

/// A server and the means to reach it. Each side has named threads of its own, by which its processor time is told.
pub(crate) struct World {
    folder: TempDir,
    phones: Runtime,
    server: Option<RunningServer>,
    server_threads: Runtime,
    forwarder: Forwarder,
    token: String,
    client: reqwest::Client,
}

/// A phone's folder and key.
#[derive(Clone, Debug)]
pub(crate) struct Phone {
    folder: PathBuf,
    key: [u8; 32],
}

impl Phone {
    pub(crate) fn in_folder(folder: PathBuf) -> Self {
        Self { folder, key: [7; 32] }
    }

    fn host_key(&self) -> HostKey {
        HostKey::new(StoreKey::from_bytes(self.key))
    }

    /// Opens the store alone, without a driver.
    pub(crate) fn store(&self, indexed: &[&str]) -> Outcome<Store> {
        Ok(Store::open(&self.folder, Arc::new(schema(indexed)?), &self.host_key())?)
    }

    /// Stores one edit.
    pub(crate) fn write(&self, change_set: ChangeSet) -> Outcome<()> {
        let store = self.store(&[])?;
        store.local_write(change_set)?;
        Ok(store.close()?)
    }

    async fn open(&self) -> Outcome<Haversack> {
        let config =
            Config::new(&self.folder, schema(&[])?, Arc::new(self.host_key())).without_live_connection();
        Ok(Haversack::open(config).await?)
    }
}

/// Threads of a name, by which their processor time is told.
pub(crate) fn runtime(name: &str) -> std::io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name(name)
        .thread_keep_alive(THREAD_KEEP_ALIVE)
        .enable_all()
        .build()
}

impl World {
    pub(crate) fn start() -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let tokens = folder.path().join("tokens.jsonl");
        let token = issue_token(&tokens, &PrincipalId::new(PRINCIPAL)?, Role::Mentor)?;
        let schema = schema(&[])?;
        let config = ServerConfig {
            listen: ([127, 0, 0, 1], 0).into(),
            database: folder.path().join("server.db"),
            tenant: TenantId::new(TENANT)?,
            rules: Rules::from_json(r#"{ "version": 1, "rules": [] }"#, &schema)?,
            schema,
            tokens,
            live: LiveSettings::default(),
            metrics: None,
        };
        let (phones, server_threads) = (runtime("phone")?, runtime("server")?);
        let server = server_threads.block_on(start(config))?;
        let forwarder = Forwarder::start(server.address())?;
        // Loopback only: no certificate is ever looked at. A provider that stands already serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build()?;
        Ok(Self { folder, phones, server: Some(server), server_threads, forwarder, token, client })
    }

    /// A phone that has never been used.
    pub(crate) fn phone(&self, name: &str) -> Outcome<Phone> {
        let folder = self.folder.path().join(name);
        std::fs::create_dir(&folder)?;
        Ok(Phone::in_folder(folder))
    }

    /// Connects a phone and waits until nothing is left to send or to read. Opening the store is not counted.
    pub(crate) fn exchange(&self, phone: &Phone) -> Outcome<Exchange> {
        let (phone, base) = (phone.clone(), format!("http://{}", self.forwarder.address()));
        let server = ServerAddress::new(&base, TenantId::new(TENANT)?)?;
        let token = Token::new(self.token.clone(), PrincipalId::new(PRINCIPAL)?);
        let store = self.on_phone(async move { phone.open().await })?;
        let connecting = store.clone();
        let before = (of_threads("phone")?, self.server_cpu()?, self.forwarder.traffic());
        let begun = Instant::now();
        self.on_phone(async move { in_step(&connecting, server, token).await })?;
        let wall = begun.elapsed();
        let exchange = Exchange {
            wall,
            phone_cpu: of_threads("phone")?.saturating_sub(before.0),
            server_cpu: self.server_cpu()?.saturating_sub(before.1),
            traffic: self.forwarder.traffic().since(before.2),
        };
        self.on_phone(async move {
            let status = store.status().await?;
            store.close().await?;
            if status.pending + status.sending + status.rejected > 0 {
                return Err(format!("not in step: {status:?}").into());
            }
            Ok(())
        })?;
        Ok(exchange)
    }

    pub(crate) fn server_cpu(&self) -> std::io::Result<Duration> {
        // Names of threads are cut at 15 bytes.
        Ok(of_threads("server")? + of_threads("haversack-write")?)
    }

    /// Bytes of the server's files.
    pub(crate) fn server_bytes(&self) -> std::io::Result<u64> {
        let names = ["server.db", "server.db-wal"];
        let sizes =
            names.map(|name| std::fs::metadata(self.folder.path().join(name)).map_or(0, |file| file.len()));
        Ok(sizes.iter().sum())
    }

    /// Sends a request's bytes past the library and reads the reply's.
    pub(crate) fn post(&self, verb: &str, media_type: &'static str, body: Vec<u8>) -> Outcome<Vec<u8>> {
        let url = format!("http://{}/v1/t/{TENANT}/{verb}", self.forwarder.address());
        let request =
            self.client.post(url).bearer_auth(&self.token).header("content-type", media_type).body(body);
        self.on_phone(async move { Ok(request.send().await?.error_for_status()?.bytes().await?.to_vec()) })
    }

    /// Runs on the phone's own threads, never on this one.
    fn on_phone<T: Send + 'static>(
        &self,
        work: impl Future<Output = Outcome<T>> + Send + 'static,
    ) -> Outcome<T> {
        self.phones.block_on(self.phones.spawn(work))?
    }

    pub(crate) fn shutdown(mut self) -> Outcome<()> {
        if let Some(server) = self.server.take() {
            self.server_threads.block_on(server.shutdown())?;
        }
        Ok(())
    }
}

async fn in_step(store: &Haversack, server: ServerAddress, token: Token) -> Outcome<()> {
    let mut watch = store.watch_status();
    store.connect(server, Arc::new(StaticToken::new(token))).await?;
    let idle = async {
        while let Some(phase) = watch.changed().await {
            if phase == Phase::Idle {
                return Ok(());
            }
        }
        Err("the store was closed".into())
    };
    tokio::time::timeout(EXCHANGE_MAX, idle).await?
}
