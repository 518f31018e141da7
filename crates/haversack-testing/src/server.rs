//! The reference server in the test's own process, and what befalls it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use haversack::{PrincipalId, Role, Schema, TenantId};
use haversack_core::Rules;
use haversack_server::{
    LiveSettings, RunningServer, ServerConfig, StateProof, issue_token, prove_state, start,
};

use crate::device::{Device, Making};
use crate::error::TestingError;
use crate::gate::{Gate, Whereabouts, lock};

/// The tenant of every test.
const TENANT: &str = "north";
/// The database, beside its backups.
const DATABASE: &str = "server.db";
/// Any free port of this machine.
const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A server in a temporary folder of its own, on a free port of this machine. Its folder goes with it.
pub struct TestServer {
    folder: tempfile::TempDir,
    config: ServerConfig,
    running: Option<RunningServer>,
    whereabouts: Whereabouts,
    backups: u32,
}

/// What a server held at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup(PathBuf);

impl TestServer {
    /// Starts a server without any record, for records of `schema` under `rules` (none: `Rules::default()`).
    ///
    /// # Errors
    /// [`TestingError`]; nothing runs then.
    pub async fn start(schema: Schema, rules: Rules) -> Result<Self, TestingError> {
        Self::start_with(schema, rules, LiveSettings::default()).await
    }

    /// Starts a server with these bounds of live connections.
    ///
    /// # Errors
    /// [`TestingError`]; nothing runs then.
    pub async fn start_with(schema: Schema, rules: Rules, live: LiveSettings) -> Result<Self, TestingError> {
        Self::made(None, schema, rules, live).await
    }

    /// Starts a server over the bytes of a database, say one that was kept from an earlier release.
    ///
    /// # Errors
    /// As [`TestServer::start`], and when the database is not one of ours.
    pub async fn start_over(database: &[u8], schema: Schema, rules: Rules) -> Result<Self, TestingError> {
        Self::made(Some(database), schema, rules, LiveSettings::default()).await
    }

    async fn made(
        database: Option<&[u8]>,
        schema: Schema,
        rules: Rules,
        live: LiveSettings,
    ) -> Result<Self, TestingError> {
        let folder = tempfile::tempdir()?;
        let config = ServerConfig {
            listen: ANY_PORT,
            database: folder.path().join(DATABASE),
            tenant: TenantId::new(TENANT)?,
            schema,
            rules,
            tokens: folder.path().join("tokens.jsonl"),
            live,
            metrics: None,
        };
        if let Some(bytes) = database {
            std::fs::write(&config.database, bytes)?;
        }
        let mut server = Self { folder, config, running: None, whereabouts: Arc::default(), backups: 0 };
        server.token("operator", Role::Administrator)?;
        server.resume().await?;
        Ok(server)
    }

    /// Stops the server. Devices' requests break until [`TestServer::resume`]; what it stored stays.
    ///
    /// # Errors
    /// [`TestingError::Stopped`] when it was, or the server's own.
    pub async fn stop(&mut self) -> Result<(), TestingError> {
        let running = self.running.take().ok_or(TestingError::Stopped)?;
        *lock(&self.whereabouts) = None;
        Ok(running.shutdown().await?)
    }

    /// Starts the stopped server again, on another port; the gates of its devices follow.
    ///
    /// # Errors
    /// [`TestingError::Running`] when it runs, or the server's own.
    pub async fn resume(&mut self) -> Result<(), TestingError> {
        if self.running.is_some() {
            return Err(TestingError::Running);
        }
        let running = start(self.config.clone()).await?;
        *lock(&self.whereabouts) = Some(running.address());
        self.running = Some(running);
        Ok(())
    }

    /// Stops the server and starts it again.
    ///
    /// # Errors
    /// Those of [`TestServer::stop`] and [`TestServer::resume`].
    pub async fn restart(&mut self) -> Result<(), TestingError> {
        self.stop().await?;
        self.resume().await
    }

    /// Stops the server and starts it under another schema and rules, as after an update of the server.
    ///
    /// # Errors
    /// As [`TestServer::restart`].
    pub async fn turn_to(&mut self, schema: Schema, rules: Rules) -> Result<(), TestingError> {
        self.stop().await?;
        (self.config.schema, self.config.rules) = (schema, rules);
        self.resume().await
    }

    /// The server's database.
    pub fn database(&self) -> &Path {
        &self.config.database
    }

    /// Keeps a copy of all the server holds; restarts it on the way.
    ///
    /// # Errors
    /// [`TestingError`]; the server is stopped then.
    pub async fn back_up(&mut self) -> Result<Backup, TestingError> {
        self.stop().await?;
        self.backups += 1;
        let path = self.folder.path().join(format!("backup-{}.db", self.backups));
        std::fs::copy(&self.config.database, &path)?;
        self.resume().await?;
        Ok(Backup(path))
    }

    /// Puts an older state of this server back and restarts it: what it decided since is gone, as after a loss of its disk.
    ///
    /// # Errors
    /// [`TestingError`]; the server is stopped then.
    pub async fn restore(&mut self, backup: &Backup) -> Result<(), TestingError> {
        self.stop().await?;
        std::fs::copy(&backup.0, &self.config.database)?;
        self.resume().await
    }

    /// Where the server listens, past every gate.
    ///
    /// # Errors
    /// [`TestingError::Stopped`].
    pub fn address(&self) -> Result<SocketAddr, TestingError> {
        Ok(self.running()?.address())
    }

    /// Live connections the server holds.
    ///
    /// # Errors
    /// [`TestingError::Stopped`].
    pub fn live_connections(&self) -> Result<usize, TestingError> {
        Ok(self.running()?.live_connections())
    }

    fn running(&self) -> Result<&RunningServer, TestingError> {
        self.running.as_ref().ok_or(TestingError::Stopped)
    }

    /// A fresh token for somebody in this role. Earlier ones stay good.
    ///
    /// # Errors
    /// [`TestingError::Principal`] for what is no name; [`TestingError::Server`].
    pub fn token(&self, principal: &str, role: Role) -> Result<String, TestingError> {
        Ok(issue_token(&self.config.tokens, &PrincipalId::new(principal)?, role)?)
    }

    /// Withdraws a token: its next request is refused.
    ///
    /// # Errors
    /// [`TestingError::UnknownToken`] when it was never issued; [`TestingError::System`].
    pub fn withdraw(&self, token: &str) -> Result<(), TestingError> {
        let digest = ring::digest::digest(&ring::digest::SHA256, token.as_bytes());
        let hash: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let lines = std::fs::read_to_string(&self.config.tokens)?;
        let kept: Vec<_> = lines.lines().filter(|line| !line.contains(&hash)).collect();
        if kept.len() == lines.lines().count() {
            return Err(TestingError::UnknownToken);
        }
        Ok(std::fs::write(&self.config.tokens, kept.join("\n"))?)
    }

    /// A gate of its own before the server, which follows it wherever it goes.
    ///
    /// # Errors
    /// [`TestingError::System`].
    pub async fn gate(&self) -> Result<Gate, TestingError> {
        Gate::before(self.whereabouts.clone()).await
    }

    /// A mentor's device, offline and empty. Each call makes another device, also of the same person.
    ///
    /// # Errors
    /// [`TestingError`].
    pub async fn mentor(&self, principal: &str) -> Result<Device, TestingError> {
        self.device(principal, Role::Mentor, false).await
    }

    /// A coordinator's device, offline and empty.
    ///
    /// # Errors
    /// [`TestingError`].
    pub async fn coordinator(&self, principal: &str) -> Result<Device, TestingError> {
        self.device(principal, Role::Coordinator, false).await
    }

    /// A device, offline and empty. With `wants_live` it holds a live connection whenever it can and sees what others do
    /// without asking; without, it syncs when it has work or is told to, which makes stories easier to follow.
    ///
    /// # Errors
    /// [`TestingError`].
    pub async fn device(
        &self,
        principal: &str,
        role: Role,
        wants_live: bool,
    ) -> Result<Device, TestingError> {
        self.device_under(principal, role, wants_live, &self.config.schema).await
    }

    /// A device under a schema of its own, say that of an earlier or a later release of the app.
    ///
    /// # Errors
    /// As [`TestServer::device`].
    pub async fn device_under(
        &self,
        principal: &str,
        role: Role,
        wants_live: bool,
        schema: &Schema,
    ) -> Result<Device, TestingError> {
        let making = Making {
            schema: schema.clone(),
            tenant: self.config.tenant.clone(),
            principal: PrincipalId::new(principal)?,
            token: self.token(principal, role)?,
            wants_live,
        };
        let gate = self.gate().await?;
        gate.let_live_through();
        Device::new(making, gate).await
    }

    /// What the server's state comes down to.
    ///
    /// # Errors
    /// [`TestingError::Server`].
    pub fn prove(&self) -> Result<StateProof, TestingError> {
        Ok(prove_state(&self.config.database, &self.config.schema)?)
    }

    /// Asserts that the server and these devices hold the same, by rows and by documents, that none of them shows a temporary
    /// id, and that every page of the devices' stores checks out. Devices must have delivered and fetched everything.
    ///
    /// # Panics
    /// When something of it does not hold, or cannot be read.
    pub async fn expect_agreement(&self, devices: &[&Device]) -> StateProof {
        let proof = self.prove().expect("the server's state can be read");
        assert_eq!(proof.from_rows, proof.from_documents, "the server's rows are what its documents say");
        assert_eq!(proof.temporary_ids, 0, "the server shows no temporary id");
        for device in devices {
            let digests = device.digests().await.expect("the device's state can be read");
            assert_eq!(digests, (proof.from_rows.clone(), proof.from_rows.clone()));
            let temporary = device.store.with_store(|store| store.temporary_ids()).await;
            assert_eq!(temporary.expect("counted"), 0, "the device shows no temporary id");
            assert_eq!(device.store.check().await.expect("checked"), Vec::<String>::new());
        }
        proof
    }
}
