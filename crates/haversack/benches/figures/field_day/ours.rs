//! Haversack as a contender: the library on the phone, the reference server.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use haversack::{
    Changes, Config, Haversack, HostKey, Phase, PrincipalId, Query, RecordId, Role, ServerAddress,
    StaticToken, StatusWatch, StoreKey, TenantId, Token, Value, value_from_json, value_to_json,
};
use haversack_core::Rules;
use haversack_server::{LiveSettings, ServerConfig, issue_token, start};
use serde_json::{Value as Json, json};
use tokio::runtime::Runtime;
use uuid::Uuid;

use super::child::say;
use super::{Contender, Setup};
use crate::workload::{ACTIVITY, schema};
use crate::world::{Outcome, runtime};

const TENANT: &str = "figures";
const PAGE: u32 = 1_000;
/// How long a phone waits for news before it looks again.
const NEWS_TIME: Duration = Duration::from_secs(2);
const IN_STEP_MAX: Duration = Duration::from_secs(900);
/// The field that is the record's id and not stored once more.
const ID: &str = "uuid";

/// A server that runs until it is ended from outside; it leaves its phones' tokens in the shared file.
pub(super) fn serve(setup: &Setup) -> Outcome<()> {
    let tokens = setup.dir.join("tokens.jsonl");
    if !setup.shared.exists() {
        let issued: BTreeMap<&str, String> = ["a", "b"]
            .into_iter()
            .map(|side| Ok((side, issue_token(&tokens, &PrincipalId::new(side)?, Role::Mentor)?)))
            .collect::<Outcome<_>>()?;
        std::fs::write(&setup.shared, serde_json::to_vec(&issued)?)?;
    }
    let schema = schema(&[])?;
    let config = ServerConfig {
        listen: ([127, 0, 0, 1], setup.port).into(),
        database: setup.dir.join("server.db"),
        tenant: TenantId::new(TENANT)?,
        rules: Rules::from_json(r#"{ "version": 1, "rules": [] }"#, &schema)?,
        schema,
        tokens,
        live: LiveSettings::default(),
        metrics: None,
    };
    let threads = runtime("server")?;
    threads.block_on(async {
        let _server = start(config).await?;
        say(&json!({ "ev": "listening" }))?;
        std::future::pending().await
    })
}

/// A phone with the library.
pub(super) struct Phone {
    threads: Runtime,
    store: Haversack,
    phases: StatusWatch,
    setup: Setup,
    is_connected: bool,
}

impl Phone {
    fn connect(&mut self) -> Outcome<()> {
        let tokens: BTreeMap<String, String> = serde_json::from_slice(&std::fs::read(&self.setup.shared)?)?;
        let token = Token::new(tokens[&self.setup.side].clone(), PrincipalId::new(&self.setup.side)?);
        let server = ServerAddress::new(&self.setup.url, TenantId::new(TENANT)?)?;
        self.is_connected = true;
        let (store, phases) = (&self.store, &mut self.phases);
        self.threads.block_on(async {
            store.connect(server, Arc::new(StaticToken::new(token))).await?;
            let idle = async {
                while phases.changed().await.ok_or("the store was closed")? != Phase::Idle {}
                Outcome::Ok(())
            };
            tokio::time::timeout(IN_STEP_MAX, idle).await?
        })
    }
}

impl Contender for Phone {
    fn open(setup: &Setup) -> Outcome<Self> {
        let threads = runtime("phone")?;
        let key = Arc::new(HostKey::new(StoreKey::from_bytes([7; 32])));
        let mut config = Config::new(&setup.dir, schema(&[])?, key);
        if matches!(setup.phase.as_str(), "p2" | "p3" | "p5") {
            config = config.without_live_connection();
        }
        let store = threads.block_on(Haversack::open(config))?;
        Ok(Self { threads, phases: store.watch_status(), store, setup: setup.clone(), is_connected: false })
    }

    fn create(&mut self, record: &Json) -> Outcome<()> {
        let schema = self.store.schema();
        let collection = schema.collection(ACTIVITY).ok_or("the schema has its collection")?;
        let mut changes = Changes::new();
        for (field, value) in record.as_object().ok_or("a record is an object")? {
            let Some(known) = collection.fields.get(field.as_str()).filter(|_| field != ID) else { continue };
            changes = match value_from_json(known.kind, value)? {
                Value::Set(elements) => elements.iter().fold(changes, |all, element| all.add(field, element)),
                value => changes.put(field, value),
            };
        }
        let record = record_id(super::uuid_of(record)?)?;
        let creating = self.store.transaction(|tx| tx.create_as(record, ACTIVITY, changes));
        Ok(self.threads.block_on(creating)?)
    }

    fn edit(&mut self, uuid: &str, field: &str, text: &str) -> Outcome<()> {
        let editing = self.store.collection(ACTIVITY);
        Ok(self.threads.block_on(editing.edit(record_id(uuid)?, Changes::new().set(field, text)))?)
    }

    fn bring_in_step(&mut self) -> Outcome<()> {
        if !self.is_connected {
            return self.connect();
        }
        self.threads.block_on(async {
            while self.store.status().await?.pending + self.store.status().await?.sending > 0 {
                self.store.sync_once(IN_STEP_MAX).await?;
            }
            Ok(())
        })
    }

    fn await_news(&mut self) -> Outcome<()> {
        let changed = self.phases.changed();
        // Nothing new within the time is no failure.
        let _ = self.threads.block_on(async { tokio::time::timeout(NEWS_TIME, changed).await });
        Ok(())
    }

    fn text(&self, uuid: &str, field: &str) -> Outcome<String> {
        let found = self.threads.block_on(self.store.get(record_id(uuid)?))?.ok_or("a record is there")?;
        match found.row.effective(field) {
            Some(Value::Text(text)) => Ok(text.clone()),
            other => Err(format!("{field} is a text, not {other:?}").into()),
        }
    }

    fn all(&self) -> Outcome<Vec<Json>> {
        let collection = self.store.schema().collection(ACTIVITY).ok_or("the schema has its collection")?;
        let mut all = Vec::new();
        loop {
            let mut query = Query::of(ACTIVITY);
            (query.limit, query.offset) = (PAGE, u32::try_from(all.len())?);
            let page = self.threads.block_on(self.store.list(query))?;
            if page.is_empty() {
                return Ok(all);
            }
            for found in page {
                let mut record = json!({ ID: Uuid::from_bytes(*found.record.as_bytes()).to_string() });
                for field in collection.fields.keys() {
                    if let Some(value) = found.row.effective(field) {
                        record[field.as_str()] = value_to_json(value);
                    }
                }
                all.push(record);
            }
        }
    }

    fn tells_conflict(&self, uuid: &str) -> Outcome<bool> {
        Ok(!self.threads.block_on(self.store.conflicts(record_id(uuid)?))?.is_empty())
    }
}

fn record_id(uuid: &str) -> Outcome<RecordId> {
    Ok(RecordId::from_uuid(Uuid::parse_str(uuid)?))
}
