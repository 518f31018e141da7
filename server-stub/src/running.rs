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
use tokio::sync::oneshot;
use tokio::task::JoinHandle as TaskHandle;

use crate::ServerError;
use crate::admission::{Law, Writer, WriterHandle};
use crate::http::{Door, Rooms, Service, Tokens, router};
use crate::store::{Readers, StoreRefusal, open};

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
}

/// A server that answers.
pub struct RunningServer {
    address: SocketAddr,
    writer: WriterHandle,
    thread: JoinHandle<Result<(), StoreRefusal>>,
    stop: oneshot::Sender<()>,
    serving: TaskHandle<std::io::Result<()>>,
}

/// Opens the database, binds, and answers from then on.
///
/// # Errors
/// [`ServerError`]; nothing runs then.
pub async fn start(config: ServerConfig) -> Result<RunningServer, ServerError> {
    check_prefixes(&config.schema)?;
    let tokens = Tokens::open(&config.tokens)?;
    let (connection, identity) = open(&config.database, &config.tenant)?;
    let listener = TcpListener::bind(config.listen).await.map_err(ServerError::System)?;
    let address = listener.local_addr().map_err(ServerError::System)?;
    let law = Arc::new(Law { schema: config.schema, rules: config.rules, identity });
    let (writing, writer) = Writer::new(Arc::clone(&law), connection);
    let thread = std::thread::Builder::new()
        .name("haversack-writer".to_owned())
        .spawn(|| writing.work())
        .map_err(ServerError::System)?;
    let readers = Readers::new(&config.database);
    let service = Arc::new(Service { law, tokens, readers, writer: writer.clone(), rooms: Rooms::default() });
    let (stop, stopped) = oneshot::channel::<()>();
    let serve = axum::serve(Door::new(listener), router(service)).with_graceful_shutdown(async {
        // A dropped sender stops the server too.
        let _ = stopped.await;
    });
    let serving = tokio::spawn(serve.into_future());
    tracing::info!(%address, tenant = %config.tenant, "listening");
    Ok(RunningServer { address, writer, thread, stop, serving })
}

impl RunningServer {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Transactions the server committed since it started.
    pub fn commits(&self) -> u64 {
        self.writer.commits()
    }

    /// Takes no new requests, ends those under way, lets queued pushes finish, and folds the database's log.
    ///
    /// # Errors
    /// [`ServerError`] when the writer failed.
    pub async fn shutdown(self) -> Result<(), ServerError> {
        drop(self.stop);
        let mut serving = self.serving;
        if tokio::time::timeout(DRAIN_TIME_MAX, &mut serving).await.is_err() {
            serving.abort();
        }
        let (writer, thread) = (self.writer, self.thread);
        let ended = tokio::task::spawn_blocking(move || {
            writer.stop();
            thread.join()
        });
        let written = ended.await.map_err(|_| ServerError::Panicked)?.map_err(|_| ServerError::Panicked)?;
        Ok(written?)
    }
}

fn check_prefixes(schema: &Schema) -> Result<(), ServerError> {
    for (name, collection) in &schema.collections {
        let prefix = Law::server_id_prefix(name, collection);
        if prefix.len() > PREFIX_BYTES_MAX || ServerId::new(prefix).is_err() {
            return Err(ServerError::Prefix { collection: name.clone(), max: PREFIX_BYTES_MAX });
        }
    }
    Ok(())
}
