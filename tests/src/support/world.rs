//! A server under the suites' schema and rules, in stories that are not about its starting.

use std::net::SocketAddr;
use std::path::Path;

use haversack::{Role, Schema};
use haversack_testing::{Gate, LiveSettings, Rules, StateProof, TestServer};

use super::device::Device;
use super::shape::{RULES, schema};

/// A server whose starts and stops work out.
pub struct World {
    server: TestServer,
    rules: String,
}

impl World {
    /// Starts a server without any record.
    pub async fn start() -> Self {
        Self::start_with(LiveSettings::default()).await
    }

    /// Starts a server with these bounds of live connections.
    pub async fn start_with(live: LiveSettings) -> Self {
        let rules = rules(RULES, &schema());
        let server = TestServer::start_with(schema(), rules, live).await.expect("started");
        Self { server, rules: RULES.to_owned() }
    }

    /// Starts a server without any record, under this schema and these rules.
    pub async fn start_under(schema: Schema, text: &str) -> Self {
        let rules = rules(text, &schema);
        let server = TestServer::start(schema, rules).await.expect("started");
        Self { server, rules: text.to_owned() }
    }

    /// Starts a server over these bytes of a database.
    pub async fn start_over(database: &[u8], schema: Schema, text: &str) -> Self {
        let rules = rules(text, &schema);
        let server = TestServer::start_over(database, schema, rules).await.expect("started");
        Self { server, rules: text.to_owned() }
    }

    /// The server's database.
    pub fn database(&self) -> &Path {
        self.server.database()
    }

    /// Stops the server and starts it under another schema, on another port.
    pub async fn turn_to(&mut self, schema: Schema) {
        let rules = rules(&self.rules, &schema);
        self.server.turn_to(schema, rules).await.expect("started");
    }

    /// Starts the stopped server again, on another port.
    pub async fn resume(&mut self) {
        self.server.resume().await.expect("started");
    }

    /// Stops the server.
    pub async fn stop(&mut self) {
        self.server.stop().await.expect("shut down");
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address().expect("running")
    }

    /// A fresh token.
    pub fn token(&self, principal: &str, role: Role) -> String {
        self.server.token(principal, role).expect("issued")
    }

    /// Withdraws a token.
    pub fn withdraw(&self, token: &str) {
        self.server.withdraw(token).expect("it was issued");
    }

    /// Live connections the server holds.
    pub fn live_connections(&self) -> usize {
        self.server.live_connections().expect("running")
    }

    /// A gate before the server.
    pub async fn gate(&self) -> Gate {
        self.server.gate().await.expect("a port")
    }

    /// A device of a mentor, with a store and a token, connected to nothing.
    pub async fn mentor(&self, principal: &str) -> Device {
        Device(self.server.mentor(principal).await.expect("a new store"))
    }

    /// A device of a mentor under a schema of its own, connected to nothing.
    pub async fn mentor_under(&self, principal: &str, schema: &Schema) -> Device {
        Device(self.server.device_under(principal, Role::Mentor, false, schema).await.expect("a new store"))
    }

    /// A device of a coordinator under a schema of its own, connected to nothing.
    pub async fn coordinator_under(&self, principal: &str, schema: &Schema) -> Device {
        Device(
            self.server.device_under(principal, Role::Coordinator, false, schema).await.expect("a new store"),
        )
    }

    /// A device of a mentor that holds a live connection whenever it can.
    pub async fn listener(&self, principal: &str) -> Device {
        Device(self.server.device(principal, Role::Mentor, true).await.expect("a new store"))
    }

    /// A device of a coordinator, with a store and a token, connected to nothing.
    pub async fn coordinator(&self, principal: &str) -> Device {
        Device(self.server.coordinator(principal).await.expect("a new store"))
    }

    /// What the server's state comes down to.
    pub fn prove(&self) -> StateProof {
        self.server.prove().expect("provable")
    }

    /// Asserts that the server and these devices hold the same, by rows and by documents.
    pub async fn agrees_with(&self, devices: &[&Device]) -> StateProof {
        let devices: Vec<_> = devices.iter().map(|device| &device.0).collect();
        self.server.expect_agreement(&devices).await
    }
}

fn rules(text: &str, schema: &Schema) -> Rules {
    Rules::from_json(text, schema).expect("sound rules")
}
