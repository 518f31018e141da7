//! What a careful team writes by hand, as a contender: encrypted rows and an outbox of rows, JSON in compressed batches,
//! the last push of a row wins. No conflicts, history, ids, rules or rollback.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, RawQuery, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Value as Json, json};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::child::say;
use super::{Contender, Setup, uuid_of};
use crate::world::{Outcome, runtime};

const LEVEL: i32 = 3;
const PUSHED_AT_ONCE: usize = 1_000;
const READ_AT_ONCE: usize = 2_000;
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long the server holds a question to which there is no news.
const NEWS_TIME: Duration = Duration::from_secs(2);

struct Server {
    database: Mutex<Connection>,
    latest: watch::Sender<i64>,
}

impl Server {
    fn database(&self) -> MutexGuard<'_, Connection> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores rows and numbers them; only then they are acknowledged.
    fn take(&self, from: &str, body: &[u8]) -> Outcome<()> {
        let rows: Vec<Json> = serde_json::from_slice(&zstd::decode_all(body)?)?;
        let mut database = self.database();
        let transaction = database.transaction()?;
        let mut latest = *self.latest.borrow();
        for row in &rows {
            latest += 1;
            transaction
                .prepare_cached(
                    "INSERT INTO activity (uuid, number, sender, body) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT (uuid) DO UPDATE SET number = ?2, sender = ?3, body = ?4",
                )?
                .execute(params![uuid_of(row)?, latest, from, row.to_string()])?;
        }
        transaction.commit()?;
        self.latest.send_replace(latest);
        Ok(())
    }

    /// Rows of others after a number, and the number to ask after next.
    fn give(&self, to: &str, after: i64) -> Outcome<Vec<u8>> {
        let database = self.database();
        let mut statement = database.prepare_cached(
            "SELECT number, body FROM activity WHERE number > ?1 AND sender <> ?2 ORDER BY number LIMIT ?3",
        )?;
        let found = statement.query_map(params![after, to, READ_AT_ONCE as i64], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
        })?;
        let found: Vec<_> = found.collect::<rusqlite::Result<_>>()?;
        let next = match found.last() {
            Some((number, _)) if found.len() == READ_AT_ONCE => *number,
            _ => *self.latest.borrow(),
        };
        let rows: Vec<_> = found.into_iter().map(|(_, body)| body).collect();
        let answer = format!("{{\"next\":{next},\"rows\":[{}]}}", rows.join(","));
        Ok(zstd::encode_all(answer.as_bytes(), LEVEL)?)
    }
}

type Answer = Result<Vec<u8>, StatusCode>;

async fn on_disk(work: impl FnOnce() -> Outcome<Vec<u8>> + Send + 'static) -> Answer {
    let worked = tokio::task::spawn_blocking(work).await;
    worked.ok().and_then(Result::ok).ok_or(StatusCode::INTERNAL_SERVER_ERROR)
}

async fn push(State(server): State<Arc<Server>>, RawQuery(asked): RawQuery, body: Bytes) -> Answer {
    let from = word(asked.as_deref(), "side").unwrap_or_default();
    on_disk(move || server.take(&from, &body).map(|()| vec![])).await
}

/// A word of a question, by its name.
fn word(asked: Option<&str>, name: &str) -> Option<String> {
    let words = asked?.split('&').filter_map(|word| word.split_once('='));
    words.into_iter().find(|(of, _)| *of == name).map(|(_, word)| word.to_owned())
}

async fn pull(State(server): State<Arc<Server>>, RawQuery(asked): RawQuery) -> Answer {
    let asked = |name| word(asked.as_deref(), name);
    let after = asked("after").and_then(|number| number.parse().ok()).unwrap_or(0);
    let to = asked("side").unwrap_or_default();
    if asked("wait").is_some() {
        let mut news = server.latest.subscribe();
        // No news within the time is an answer, too.
        let _ = tokio::time::timeout(NEWS_TIME, news.wait_for(|latest| *latest > after)).await;
    }
    on_disk(move || server.give(&to, after)).await
}

/// A server that runs until it is ended from outside.
pub(super) fn serve(setup: &Setup) -> Outcome<()> {
    let database = Connection::open(setup.dir.join("server.db"))?;
    database.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
         CREATE TABLE IF NOT EXISTS activity (uuid TEXT PRIMARY KEY, number INTEGER NOT NULL, sender TEXT NOT NULL,
             body TEXT NOT NULL) WITHOUT ROWID;
         CREATE INDEX IF NOT EXISTS activity_by_number ON activity (number);",
    )?;
    let latest = database.query_row("SELECT coalesce(max(number), 0) FROM activity", [], |row| row.get(0))?;
    let server = Arc::new(Server { database: Mutex::new(database), latest: watch::channel(latest).0 });
    let paths = Router::new().route("/push", post(push)).route("/pull", get(pull));
    let paths = paths.layer(DefaultBodyLimit::max(BODY_BYTES_MAX)).with_state(server);
    let threads = runtime("server")?;
    threads.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", setup.port)).await?;
        say(&json!({ "ev": "listening" }))?;
        Ok(axum::serve(listener, paths).await?)
    })
}

/// A phone with rows and an outbox.
pub(super) struct Phone {
    threads: Runtime,
    database: Connection,
    client: reqwest::Client,
    url: String,
    side: String,
}

impl Phone {
    fn row(&self, uuid: &str) -> Outcome<Json> {
        let mut statement = self.database.prepare_cached("SELECT body FROM activity WHERE uuid = ?1")?;
        let found: Option<String> = statement.query_row([uuid], |row| row.get(0)).optional()?;
        Ok(serde_json::from_str(&found.ok_or("a record is there")?)?)
    }

    /// A row and its copy in the outbox, in one transaction.
    fn write(&mut self, row: &Json) -> Outcome<()> {
        let transaction = self.database.transaction()?;
        let body = row.to_string();
        put(&transaction, uuid_of(row)?, &body)?;
        transaction.prepare_cached("INSERT INTO outbox (body) VALUES (?1)")?.execute([body])?;
        Ok(transaction.commit()?)
    }

    fn send(&mut self) -> Outcome<()> {
        loop {
            let waiting: Vec<(i64, String)> = self
                .database
                .prepare_cached("SELECT number, body FROM outbox ORDER BY number LIMIT ?1")?
                .query_map([PUSHED_AT_ONCE as i64], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<rusqlite::Result<_>>()?;
            let Some((last, _)) = waiting.last() else { return Ok(()) };
            let bodies: Vec<&str> = waiting.iter().map(|(_, body)| body.as_str()).collect();
            let body = zstd::encode_all(format!("[{}]", bodies.join(",")).as_bytes(), LEVEL)?;
            let request = self.client.post(format!("{}/push?side={}", self.url, self.side)).body(body);
            self.threads.block_on(async { request.send().await?.error_for_status() })?;
            self.database.execute("DELETE FROM outbox WHERE number <= ?1", [last])?;
        }
    }

    fn read(&mut self, waits: bool) -> Outcome<()> {
        loop {
            let after: i64 = self.database.query_row("SELECT number FROM position", [], |row| row.get(0))?;
            let wait = if waits { "&wait=1" } else { "" };
            let request =
                self.client.get(format!("{}/pull?side={}&after={after}{wait}", self.url, self.side));
            let body =
                self.threads.block_on(async { request.send().await?.error_for_status()?.bytes().await })?;
            let answer: Json = serde_json::from_slice(&zstd::decode_all(&body[..])?)?;
            let rows = answer["rows"].as_array().ok_or("rows")?;
            let transaction = self.database.transaction()?;
            for row in rows {
                put(&transaction, uuid_of(row)?, &row.to_string())?;
            }
            transaction.execute("UPDATE position SET number = ?1", [answer["next"].as_i64()])?;
            transaction.commit()?;
            if rows.len() < READ_AT_ONCE {
                return Ok(());
            }
        }
    }
}

fn put(connection: &Connection, uuid: &str, body: &str) -> rusqlite::Result<()> {
    let sql = "INSERT INTO activity (uuid, body) VALUES (?1, ?2) ON CONFLICT (uuid) DO UPDATE SET body = ?2";
    connection.prepare_cached(sql)?.execute([uuid, body]).map(drop)
}

impl Contender for Phone {
    fn open(setup: &Setup) -> Outcome<Self> {
        let database = Connection::open(setup.dir.join("phone.db"))?;
        database.execute_batch(&format!("PRAGMA key = \"x'{}'\"", "07".repeat(32)))?;
        database.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             CREATE TABLE IF NOT EXISTS activity (uuid TEXT PRIMARY KEY, body TEXT NOT NULL);
             CREATE TABLE IF NOT EXISTS outbox (number INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL);
             CREATE TABLE IF NOT EXISTS position (number INTEGER NOT NULL);
             INSERT INTO position SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM position);",
        )?;
        // Loopback only: no certificate is ever looked at.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build()?;
        let (url, side) = (setup.url.clone(), setup.side.clone());
        Ok(Self { threads: runtime("phone")?, database, client, url, side })
    }

    fn create(&mut self, record: &Json) -> Outcome<()> {
        self.write(record)
    }

    fn edit(&mut self, uuid: &str, field: &str, text: &str) -> Outcome<()> {
        let mut row = self.row(uuid)?;
        row[field] = json!(text);
        self.write(&row)
    }

    fn bring_in_step(&mut self) -> Outcome<()> {
        self.send()?;
        self.read(false)
    }

    fn await_news(&mut self) -> Outcome<()> {
        self.read(true)
    }

    fn text(&self, uuid: &str, field: &str) -> Outcome<String> {
        Ok(self.row(uuid)?[field].as_str().ok_or_else(|| io::Error::other("a text"))?.to_owned())
    }

    fn all(&self) -> Outcome<Vec<Json>> {
        let mut statement = self.database.prepare("SELECT body FROM activity")?;
        let bodies: Vec<String> =
            statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        Ok(bodies.iter().map(|body| serde_json::from_str(body)).collect::<Result<_, _>>()?)
    }

    fn tells_conflict(&self, _: &str) -> Outcome<bool> {
        Ok(false)
    }
}
