//! Opening the database: one writer in WAL mode with full synchronisation, so that an acknowledgement is durable.

#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Duration;

use haversack_protocol::TenantId;
use ring::digest::{Context, SHA256};
use ring::rand::{SecureRandom, SystemRandom};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

/// How long a connection waits for another's lock.
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// Migrations in order; `user_version` counts those applied. A released one is frozen.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_create_log.sql"),
    include_str!("migrations/0002_erase.sql"),
    include_str!("migrations/0003_restrict.sql"),
];
/// Format of the database this server writes, and the newest it reads.
pub const DATABASE_FORMAT: i64 = MIGRATIONS.len() as i64;
const FIRST_LOG_EPOCH: u32 = 1;
const CURSOR_KEY_BYTES: usize = 32;

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreRefusal {
    /// SQLite refused.
    #[error("the database refused: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// Written by a newer build. Nothing was changed.
    #[error("the database is of format {0}, newer than this server's {DATABASE_FORMAT}; it was not touched")]
    Newer(i64),
    /// Belongs to another tenant.
    #[error("the database belongs to another tenant")]
    OtherTenant,
    /// No source of random bytes.
    #[error("the system gives no random bytes")]
    Random,
    /// Acknowledgements would not be durable.
    #[error("the file system does not support write-ahead logging with full synchronisation")]
    NotDurable,
    /// A stored row does not read back.
    #[error("a stored {0} does not read back")]
    Damaged(&'static str),
}

/// What every cursor and chain hash of a log is bound to.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) tenant: TenantId,
    pub(crate) log_epoch: u32,
    pub(crate) cursor_key: Vec<u8>,
}

impl Identity {
    /// Chain hash before the first row.
    pub(crate) fn genesis(&self) -> [u8; 32] {
        let mut digest = Context::new(&SHA256);
        digest.update(b"haversack log");
        digest.update(&self.log_epoch.to_be_bytes());
        digest.update(self.tenant.as_str().as_bytes());
        digest.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
    }
}

/// Prepared statements each connection keeps: every one of a push and of a read.
const STATEMENTS_KEPT: usize = 64;

/// What holds of every connection. Plans do not depend on what is bound, so a statement is prepared once.
fn settle(connection: &Connection) -> Result<(), StoreRefusal> {
    connection.busy_timeout(LOCK_WAIT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(connection.execute_batch("PRAGMA trusted_schema = OFF;")?)
}

/// Opens the database for writing, creating and migrating it.
///
/// # Errors
/// [`StoreRefusal`].
pub(crate) fn open(path: &Path, tenant: &TenantId) -> Result<(Connection, Identity), StoreRefusal> {
    open_under(path, tenant, MIGRATIONS)
}

/// Opens a database that is there already, for writing beside a running server, too.
///
/// # Errors
/// [`StoreRefusal`].
pub(crate) fn open_existing(path: &Path) -> Result<(Connection, Identity), StoreRefusal> {
    let tenant: Vec<u8> =
        open_read_only(path)?
            .query_row("SELECT value FROM meta WHERE name = 'tenant'", [], |row| row.get(0))?;
    let tenant = String::from_utf8(tenant).ok().and_then(|name| TenantId::new(name).ok());
    open(path, &tenant.ok_or(StoreRefusal::Damaged("tenant"))?)
}

/// Opens the database where these are the migrations known.
fn open_under(
    path: &Path,
    tenant: &TenantId,
    migrations: &[&str],
) -> Result<(Connection, Identity), StoreRefusal> {
    let mut connection = Connection::open(path)?;
    // Until the format is known to be ours nothing is written, not even the log moved into the database.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    settle(&connection)?;
    applied(&connection, migrations)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    let journal: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    connection.execute_batch("PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;")?;
    let synchronous: i64 = connection.query_row("PRAGMA synchronous", [], |row| row.get(0))?;
    if !journal.eq_ignore_ascii_case("wal") || synchronous < 2 {
        return Err(StoreRefusal::NotDurable);
    }
    migrate(&mut connection, migrations)?;
    let identity = identify(&mut connection, tenant)?;
    Ok((connection, identity))
}

/// Opens an existing database for reading, beside a running server.
///
/// # Errors
/// [`StoreRefusal`].
pub(crate) fn open_read_only(path: &Path) -> Result<Connection, StoreRefusal> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    settle(&connection)?;
    applied(&connection, MIGRATIONS)?;
    connection.execute_batch("PRAGMA query_only = ON;")?;
    Ok(connection)
}

/// How many migrations the database has seen.
///
/// # Errors
/// [`StoreRefusal::Newer`] when it has seen others than these.
fn applied(connection: &Connection, migrations: &[&str]) -> Result<usize, StoreRefusal> {
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let applied = usize::try_from(version).ok().filter(|applied| *applied <= migrations.len());
    applied.ok_or(StoreRefusal::Newer(version))
}

/// Runs the migrations the database has not seen, one transaction each: a killed one is run again, none twice.
fn migrate(connection: &mut Connection, migrations: &[&str]) -> Result<(), StoreRefusal> {
    let mut seen = applied(connection, migrations)?;
    for migration in &migrations[seen..] {
        seen += 1;
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "user_version", seen as i64)?;
        transaction.commit()?;
    }
    Ok(())
}

fn identify(connection: &mut Connection, tenant: &TenantId) -> Result<Identity, StoreRefusal> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let read = |name: &str| {
        transaction
            .query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| row.get::<_, Vec<u8>>(0))
            .optional()
    };
    if let Some(known) = read("tenant")? {
        if known != tenant.as_str().as_bytes() {
            return Err(StoreRefusal::OtherTenant);
        }
    } else {
        let mut key = [0u8; CURSOR_KEY_BYTES];
        SystemRandom::new().fill(&mut key).map_err(|_| StoreRefusal::Random)?;
        let mut put = transaction.prepare("INSERT INTO meta (name, value) VALUES (?1, ?2)")?;
        put.execute(params!["tenant", tenant.as_str().as_bytes()])?;
        put.execute(params!["log_epoch", FIRST_LOG_EPOCH.to_be_bytes()])?;
        put.execute(params!["cursor_key", key])?;
    }
    let epoch: [u8; 4] = read("log_epoch")?
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(StoreRefusal::Damaged("log epoch"))?;
    let cursor_key = read("cursor_key")?
        .filter(|key| key.len() == CURSOR_KEY_BYTES)
        .ok_or(StoreRefusal::Damaged("cursor key"))?;
    transaction.commit()?;
    Ok(Identity { tenant: tenant.clone(), log_epoch: u32::from_be_bytes(epoch), cursor_key })
}
