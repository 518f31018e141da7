//! A server from start to shutdown.

use std::future::IntoFuture;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use haversack_core::Rules;
use haversack_protocol::{Schema, ServerId, TenantId};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle as TaskHandle;

use crate::ServerError;
use crate::admission::{DeviceIds, Law, Writer, WriterHandle};
use crate::erasure::reapply;
use crate::http::{Door, Health, Rooms, Service, Tokens, metrics_router, now, router};
use crate::live::{LiveSettings, Places};
use crate::metrics::Metrics;
use crate::store::{Readers, StoreRefusal, open, prepare};

/// How long requests under way may take to end at shutdown.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(10);
/// Bytes of what server ids begin with; leaves room for any number.
const PREFIX_BYTES_MAX: usize = 32;

/// What a server is told when it starts.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Where to listen; port 0 takes any free one.
    pub listen: SocketAddr,
    /// The database file; created when absent.
    pub database: PathBuf,
    /// The tenant it serves; a database never changes its tenant.
    pub tenant: TenantId,
    /// Collections and fields.
    pub schema: Schema,
    /// The organisation's rules.
    pub rules: Rules,
    /// The tokens file.
    pub tokens: PathBuf,
    /// Bounds of live connections.
    pub live: LiveSettings,
    /// Where metrics, health and readiness are told apart from what devices reach; nowhere when absent.
    pub metrics: Option<SocketAddr>,
}

/// A server that answers.
pub struct RunningServer {
    address: SocketAddr,
    metrics_address: Option<SocketAddr>,
    writer: WriterHandle,
    thread: JoinHandle<Result<(), StoreRefusal>>,
    live: Arc<Places>,
    stopping: watch::Sender<bool>,
    serving: TaskHandle<std::io::Result<()>>,
    metrics: Option<TaskHandle<std::io::Result<()>>>,
}

/// Opens the database, binds, and answers from then on.
///
/// # Errors
/// [`ServerError`]; nothing runs then.
pub async fn start(config: ServerConfig) -> Result<RunningServer, ServerError> {
    check_prefixes(&config.schema)?;
    let tokens = Tokens::open(&config.tokens)?;
    let (mut connection, identity) = open(&config.database, &config.tenant)?;
    reapply(&mut connection, &identity, &config.schema, &config.database)?;
    prepare(&mut connection, &config.schema)?;
    let (listener, address) = bind(config.listen).await?;
    let metrics_listener = match config.metrics {
        Some(address) => Some(bind(address).await?),
        None => None,
    };
    let readers = Readers::new(&config.database);
    let position = readers.read(|reader| reader.head())?;
    let (schema, rules) = (config.schema, config.rules);
    let law = Arc::new(Law { schema, rules, identity, device_ids: DeviceIds::Random });
    let metrics = Arc::new(Metrics::new(now()));
    let (writing, writer) = Writer::new(Arc::clone(&law), connection, position, Arc::clone(&metrics));
    let thread = std::thread::Builder::new()
        .name("haversack-writer".to_owned())
        .spawn(|| writing.work())
        .map_err(ServerError::System)?;
    let live = Places::new(config.live);
    let (stopping, is_stopping) = watch::channel(false);
    let service = Arc::new(Service {
        law,
        tokens,
        readers,
        writer: writer.clone(),
        metrics,
        live: Arc::clone(&live),
        health: Health::of(config.database),
        stopping: is_stopping.clone(),
        rooms: Rooms::default(),
    });
    let metrics_address = metrics_listener.as_ref().map(|(_, address)| *address);
    let metrics = metrics_listener.map(|(listener, _)| {
        tokio::spawn(axum::serve(listener, metrics_router(Arc::clone(&service))).into_future())
    });
    let serve =
        axum::serve(Door::new(listener), router(service)).with_graceful_shutdown(told_to_stop(is_stopping));
    let serving = tokio::spawn(serve.into_future());
    tracing::info!(%address, tenant = %config.tenant, "listening");
    Ok(RunningServer { address, metrics_address, writer, thread, live, stopping, serving, metrics })
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServerError> {
    let listener = TcpListener::bind(address).await.map_err(ServerError::System)?;
    let address = listener.local_addr().map_err(ServerError::System)?;
    Ok((listener, address))
}

async fn told_to_stop(mut stopping: watch::Receiver<bool>) {
    // A dropped sender stops the server too.
    let _ = stopping.wait_for(|is_stopping| *is_stopping).await;
}

impl RunningServer {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where metrics are read, if anywhere.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics_address
    }

    /// Live connections at this moment.
    pub fn live_connections(&self) -> usize {
        self.live.taken()
    }

    /// Transactions the server committed since it started.
    pub fn commits(&self) -> u64 {
        self.writer.commits()
    }

    /// Takes no new requests, closes live connections, ends requests under way, lets queued pushes finish, and folds
    /// the database's log. Readiness says so meanwhile, on the listener of the metrics to the last.
    ///
    /// # Errors
    /// [`ServerError`] when the writer failed.
    pub async fn shutdown(self) -> Result<(), ServerError> {
        self.stopping.send_replace(true);
        let mut serving = self.serving;
        let drained = async { tokio::join!(&mut serving, self.live.emptied()) };
        if tokio::time::timeout(DRAIN_TIME_MAX, drained).await.is_err() {
            serving.abort();
        }
        let (writer, thread) = (self.writer, self.thread);
        let ended = tokio::task::spawn_blocking(move || {
            writer.stop();
            thread.join()
        });
        let written = ended.await;
        if let Some(metrics) = self.metrics {
            metrics.abort();
        }
        Ok(written.map_err(|_| ServerError::Panicked)?.map_err(|_| ServerError::Panicked)??)
    }
}

pub(crate) fn check_prefixes(schema: &Schema) -> Result<(), ServerError> {
    for (name, collection) in &schema.collections {
        let prefix = Law::server_id_prefix(name, collection);
        if prefix.len() > PREFIX_BYTES_MAX || ServerId::new(prefix).is_err() {
            return Err(ServerError::Prefix { collection: name.clone(), max: PREFIX_BYTES_MAX });
        }
    }
    Ok(())
}
