//! One phone of the demo: a process of its own, told what to do over its standard input, one JSON line at a time.
//!
//! The key and the token come over that pipe and are never written anywhere else.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use haversack::{
    ChangeSetId, Changes, Config, Error, Haversack, HostKey, PrincipalId, RecordId, Schema, ServerAddress,
    StaticToken, StoreKey, TenantId, Token, Value, value_from_json, value_to_json,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use tokio::io::{AsyncBufReadExt, BufReader};

/// Fields with their values in JSON form.
pub(super) type Fields = BTreeMap<String, Json>;

/// What the demo tells a phone.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Command {
    Open { folder: PathBuf, key: [u8; 32], schema: String },
    Connect { server: String, tenant: String, principal: String, token: String },
    Online(bool),
    Sync { deadline_ms: u64 },
    Register(Vec<Registration>),
    Edit { record: RecordId, collection: String, fields: Fields },
    Override { record: RecordId, field: String, value: Json, reason: String },
    Resubmit { change_set: ChangeSetId, registration: Registration },
    Read(RecordId),
    Conflicts(RecordId),
    Outbox,
    Status,
    Prove,
    ServerIds,
    Close,
}

/// A record to be created.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Registration {
    pub(super) record: RecordId,
    pub(super) collection: String,
    pub(super) fields: Fields,
}

/// A line a phone answers with.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    /// An edit is durable and was read back; more lines follow.
    Saved(RecordId),
    /// The command is done.
    Done(Json),
    /// The command failed.
    Failed { message: String, retryable: bool },
}

/// Runs a phone until its input ends.
pub(crate) async fn run_phone() -> ExitCode {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut phone = Phone { store: None, schema: None };
    while let Ok(Some(line)) = lines.next_line().await {
        let answer = match serde_json::from_str(&line) {
            Ok(command) => phone.perform(command).await,
            Err(_) => Err(Failure::Command),
        };
        let answer = answer.map_or_else(
            |failure| Answer::Failed { message: failure.to_string(), retryable: failure.is_retryable() },
            Answer::Done,
        );
        if say(&answer).is_err() {
            break;
        }
    }
    ExitCode::SUCCESS
}

fn say(answer: &Answer) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, answer)?;
    out.write_all(b"\n")?;
    out.flush()
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the phone does not understand the command")]
    Command,
    #[error("the store is not open")]
    NotOpen,
    #[error("an edit that was acknowledged cannot be read back")]
    NotVisible,
    #[error(transparent)]
    Haversack(#[from] Error),
    #[error("standard output is gone")]
    Output(#[from] io::Error),
}

impl Failure {
    fn is_retryable(&self) -> bool {
        matches!(self, Self::Haversack(error) if error.is_retryable())
    }
}

struct Phone {
    store: Option<Haversack>,
    schema: Option<Schema>,
}

impl Phone {
    async fn perform(&mut self, command: Command) -> Result<Json, Failure> {
        if let Command::Open { folder, key, schema } = command {
            return self.open(folder, key, &schema).await;
        }
        let store = self.store.clone().ok_or(Failure::NotOpen)?;
        match command {
            Command::Open { .. } => Err(Failure::Command),
            Command::Connect { server, tenant, principal, token } => {
                let tenant = TenantId::new(tenant).map_err(|_| Failure::Command)?;
                let principal = PrincipalId::new(principal).map_err(|_| Failure::Command)?;
                let server = ServerAddress::new(&server, tenant).map_err(Error::from)?;
                let token = StaticToken::new(Token::new(token, principal));
                store.connect(server, Arc::new(token)).await?;
                Ok(Json::Null)
            }
            Command::Online(is_online) => Ok(store.set_online(is_online).map(|()| Json::Null)?),
            Command::Sync { deadline_ms } => {
                let report = store.sync_once(Duration::from_millis(deadline_ms)).await?;
                Ok(json!(report.unsettled))
            }
            Command::Register(registrations) => self.register(&store, registrations).await,
            Command::Edit { record, collection, fields } => {
                let changes = self.changes(&collection, &fields)?;
                store.collection(&collection).edit(record, changes).await?;
                Ok(Json::Null)
            }
            Command::Override { record, field, value, reason } => {
                self.override_field(&store, record, &field, &value, &reason).await
            }
            Command::Resubmit { change_set, registration } => {
                let Registration { record, collection, fields } = registration;
                let changes = self.changes(&collection, &fields)?;
                store
                    .outbox()
                    .resubmit(change_set, move |tx| tx.create_as(record, &collection, changes))
                    .await?;
                Ok(Json::Null)
            }
            Command::Read(record) => read(&store, record).await,
            Command::Conflicts(record) => conflicts(&store, record).await,
            Command::Outbox => outbox(&store).await,
            Command::Status => status(&store).await,
            Command::Prove => prove(&store).await,
            Command::ServerIds => {
                Ok(store.with_store(haversack::Store::server_ids).await.map(|ids| json!(ids))?)
            }
            Command::Close => {
                self.store = None;
                store.close().await?;
                Ok(Json::Null)
            }
        }
    }

    async fn open(&mut self, folder: PathBuf, key: [u8; 32], schema: &str) -> Result<Json, Failure> {
        let schema = Schema::from_json(schema).map_err(|_| Failure::Command)?;
        let keys = Arc::new(HostKey::new(StoreKey::from_bytes(key)));
        self.store =
            Some(Haversack::open(Config::new(folder, schema.clone(), keys).without_live_connection()).await?);
        self.schema = Some(schema);
        Ok(Json::Null)
    }

    fn changes(&self, collection: &str, fields: &Fields) -> Result<Changes, Failure> {
        let schema =
            self.schema.as_ref().and_then(|schema| schema.collection(collection)).ok_or(Failure::Command)?;
        fields.iter().try_fold(Changes::new(), |changes, (name, json)| {
            let field = schema.field(name).ok_or(Failure::Command)?;
            Ok(changes.put(name, value_from_json(field.kind, json).map_err(|_| Failure::Command)?))
        })
    }

    /// Registers record after record; each is said only once it is durable and was read back.
    async fn register(&self, store: &Haversack, registrations: Vec<Registration>) -> Result<Json, Failure> {
        let count = registrations.len();
        for Registration { record, collection, fields } in registrations {
            let changes = self.changes(&collection, &fields)?;
            store.transaction(|tx| tx.create_as(record, &collection, changes)).await?;
            let shown = store.get(haversack::Reference::Record(record)).await?.ok_or(Failure::NotVisible)?;
            // A reference is shown by its server id as soon as there is one.
            let is_shown = |(name, json): (&String, &Json)| match shown.row.effective(name) {
                Some(Value::Reference(_)) => true,
                value => value.map(value_to_json).as_ref() == Some(json),
            };
            if !fields.iter().all(is_shown) {
                return Err(Failure::NotVisible);
            }
            say(&Answer::Saved(record))?;
        }
        Ok(json!(count))
    }

    async fn override_field(
        &self,
        store: &Haversack,
        record: RecordId,
        field: &str,
        value: &Json,
        reason: &str,
    ) -> Result<Json, Failure> {
        let found = store.get(haversack::Reference::Record(record)).await?.ok_or(Failure::NotVisible)?;
        let schema = self.schema.as_ref().and_then(|schema| schema.collection(&found.collection));
        let kind = schema.and_then(|schema| schema.field(field)).ok_or(Failure::Command)?.kind;
        let value = value_from_json(kind, value).map_err(|_| Failure::Command)?;
        store.override_field(record, field, Some(value), reason).await?;
        Ok(Json::Null)
    }
}

async fn read(store: &Haversack, record: RecordId) -> Result<Json, Failure> {
    let Some(found) = store.get(haversack::Reference::Record(record)).await? else { return Ok(Json::Null) };
    let shown: Fields =
        found.row.shown().map(|(name, value)| (name.to_owned(), value_to_json(value))).collect();
    let beneath: Fields =
        found.row.fields.iter().map(|(name, value)| (name.to_string(), value_to_json(value))).collect();
    Ok(json!({
        "shown": shown,
        "beneath": beneath,
        "overridden": found.row.marks.keys().collect::<Vec<_>>(),
        "conflicts": found.row.conflicts.keys().collect::<Vec<_>>(),
        "server_id": found.server_id,
    }))
}

async fn conflicts(store: &Haversack, record: RecordId) -> Result<Json, Failure> {
    let all = store.conflicts(record).await?;
    let list = all.iter().map(|conflict| {
        let by = |shown: bool| {
            let candidates = conflict.candidates.iter().filter(move |candidate| candidate.is_shown == shown);
            candidates.map(|candidate| candidate.principal.clone()).collect::<Vec<_>>()
        };
        json!({ "field": conflict.field, "shown_by": by(true), "kept_by": by(false) })
    });
    Ok(list.collect())
}

async fn outbox(store: &Haversack) -> Result<Json, Failure> {
    let entries = store.outbox().list().await?;
    let list = entries.iter().map(|entry| {
        json!({
            "change_set": entry.change_set.id,
            "attempts": entry.attempts,
            "rejection": entry.state.set_aside(),
            "records": entry.change_set.parts.iter().map(|part| part.record).collect::<Vec<_>>(),
        })
    });
    Ok(list.collect())
}

async fn status(store: &Haversack) -> Result<Json, Failure> {
    let status = store.status().await?;
    let device = store.with_store(|store| store.identity()).await?.device;
    Ok(json!({
        "records": status.records,
        "unsettled": status.pending + status.sending,
        "rejected": status.rejected,
        "conflicts": status.conflicts,
        "phase": format!("{:?}", status.phase).split([' ', '(']).next().unwrap_or_default().to_lowercase(),
        "device": device,
    }))
}

async fn prove(store: &Haversack) -> Result<Json, Failure> {
    let proof = store
        .with_store(|store| {
            let (rows, documents) = (store.digest_from_rows()?, store.digest_from_documents()?);
            Ok((rows.records(), rows.finish(), documents.finish(), store.temporary_ids()?))
        })
        .await?;
    let (records, from_rows, from_documents, temporary_ids) = proof;
    let check = store.check().await?;
    Ok(json!({
        "records": records,
        "from_rows": from_rows,
        "from_documents": from_documents,
        "temporary_ids": temporary_ids,
        "damage": check.len(),
    }))
}
