//! One server, its files, and what stops and starts it.

use std::net::SocketAddr;
use std::path::PathBuf;

use haversack::{PrincipalId, Role, Schema, TenantId};
use haversack_core::Rules;
use haversack_server::{
    LiveSettings, RunningServer, ServerConfig, StateProof, issue_token, prove_state, start,
};

use super::device::Device;
use super::gate::Gate;
use super::shape::{NORTH, RULES, schema};

/// A server in a folder of its own.
pub struct World {
    folder: tempfile::TempDir,
    running: Option<RunningServer>,
    live: LiveSettings,
    schema: Schema,
    rules: String,
}

impl World {
    /// Starts a server without any record.
    pub async fn start() -> Self {
        Self::start_with(LiveSettings::default()).await
    }

    /// Starts a server with these bounds of live connections.
    pub async fn start_with(live: LiveSettings) -> Self {
        Self::made(None, live, schema(), RULES).await
    }

    /// Starts a server without any record, under this schema and these rules.
    pub async fn start_under(schema: Schema, rules: &str) -> Self {
        Self::made(None, LiveSettings::default(), schema, rules).await
    }

    /// Starts a server over these bytes of a database.
    pub async fn start_over(database: &[u8], schema: Schema, rules: &str) -> Self {
        Self::made(Some(database), LiveSettings::default(), schema, rules).await
    }

    async fn made(database: Option<&[u8]>, live: LiveSettings, schema: Schema, rules: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut world = Self { folder, running: None, live, schema, rules: rules.to_owned() };
        if let Some(bytes) = database {
            std::fs::write(world.database(), bytes).expect("written");
        }
        world.token("operator", Role::Administrator);
        world.resume().await;
        world
    }

    /// The server's database.
    pub fn database(&self) -> PathBuf {
        self.path("server.db")
    }

    /// Stops the server and starts it under another schema, on another port.
    pub async fn turn_to(&mut self, schema: Schema) {
        self.stop().await;
        self.schema = schema;
        self.resume().await;
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts the stopped server again, on another port.
    pub async fn resume(&mut self) {
        let config = ServerConfig {
            listen: "127.0.0.1:0".parse().expect("an address"),
            database: self.database(),
            tenant: TenantId::new(NORTH).expect("plain"),
            rules: Rules::from_json(&self.rules, &self.schema).expect("sound rules"),
            schema: self.schema.clone(),
            tokens: self.path("tokens.jsonl"),
            live: self.live,
            metrics: None,
        };
        self.running = Some(start(config).await.expect("started"));
    }

    /// Stops the server.
    pub async fn stop(&mut self) {
        self.running.take().expect("running").shutdown().await.expect("shut down");
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.running.as_ref().expect("running").address()
    }

    /// A fresh token.
    pub fn token(&self, principal: &str, role: Role) -> String {
        let principal = PrincipalId::new(principal).expect("plain");
        issue_token(&self.path("tokens.jsonl"), &principal, role).expect("issued")
    }

    /// Withdraws a token.
    pub fn withdraw(&self, token: &str) {
        let digest = ring::digest::digest(&ring::digest::SHA256, token.as_bytes());
        let hash: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let path = self.path("tokens.jsonl");
        let lines = std::fs::read_to_string(&path).expect("read");
        let kept: Vec<_> = lines.lines().filter(|line| !line.contains(&hash)).collect();
        assert!(kept.len() < lines.lines().count(), "it was issued");
        std::fs::write(&path, kept.join("\n")).expect("written");
    }

    /// Live connections the server holds.
    pub fn live_connections(&self) -> usize {
        self.running.as_ref().expect("running").live_connections()
    }

    /// A gate before the server.
    pub async fn gate(&self) -> Gate {
        Gate::before(self.address()).await
    }

    /// A device of a mentor under a schema of its own, connected to nothing.
    pub async fn mentor_under(&self, principal: &str, schema: &Schema) -> Device {
        Device::under(principal, self.token(principal, Role::Mentor), schema.clone()).await
    }

    /// A device of a coordinator under a schema of its own, connected to nothing.
    pub async fn coordinator_under(&self, principal: &str, schema: &Schema) -> Device {
        Device::under(principal, self.token(principal, Role::Coordinator), schema.clone()).await
    }

    /// A device of a mentor, with a store and a token, connected to nothing.
    pub async fn mentor(&self, principal: &str) -> Device {
        Device::new(principal, self.token(principal, Role::Mentor)).await
    }

    /// A device of a mentor that holds a live connection whenever it can.
    pub async fn listener(&self, principal: &str) -> Device {
        Device::listening(principal, self.token(principal, Role::Mentor)).await
    }

    /// A device of a coordinator, with a store and a token, connected to nothing.
    pub async fn coordinator(&self, principal: &str) -> Device {
        Device::new(principal, self.token(principal, Role::Coordinator)).await
    }

    /// What the server's state comes down to.
    pub fn prove(&self) -> StateProof {
        prove_state(&self.database(), &self.schema).expect("provable")
    }

    /// Asserts that the server and these devices hold the same, by rows and by documents.
    pub async fn agrees_with(&self, devices: &[&Device]) -> StateProof {
        let proof = self.prove();
        assert_eq!(proof.from_rows, proof.from_documents, "the server's rows are what its documents say");
        assert_eq!(proof.temporary_ids, 0, "the server shows no temporary id");
        for device in devices {
            assert_eq!(device.digests().await, (proof.from_rows.clone(), proof.from_rows.clone()));
            assert_eq!(device.store.with_store(|store| store.temporary_ids()).await.expect("counted"), 0);
            assert_eq!(device.store.check().await.expect("checked"), Vec::<String>::new());
        }
        proof
    }
}
