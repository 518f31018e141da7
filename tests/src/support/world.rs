//! A server under the suites' schema and rules, in stories that are not about its starting.

use std::net::SocketAddr;

use haversack::Role;
use haversack_testing::{Gate, LiveSettings, Rules, StateProof, TestServer};

use super::device::Device;
use super::shape::{RULES, schema};

/// A server whose starts and stops work out.
pub struct World(TestServer);

impl World {
    /// Starts a server without any record.
    pub async fn start() -> Self {
        Self::start_with(LiveSettings::default()).await
    }

    /// Starts a server with these bounds of live connections.
    pub async fn start_with(live: LiveSettings) -> Self {
        let rules = Rules::from_json(RULES, &schema()).expect("sound rules");
        Self(TestServer::start_with(schema(), rules, live).await.expect("started"))
    }

    /// Starts the stopped server again, on another port.
    pub async fn resume(&mut self) {
        self.0.resume().await.expect("started");
    }

    /// Stops the server.
    pub async fn stop(&mut self) {
        self.0.stop().await.expect("shut down");
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.0.address().expect("running")
    }

    /// A fresh token.
    pub fn token(&self, principal: &str, role: Role) -> String {
        self.0.token(principal, role).expect("issued")
    }

    /// Withdraws a token.
    pub fn withdraw(&self, token: &str) {
        self.0.withdraw(token).expect("it was issued");
    }

    /// Live connections the server holds.
    pub fn live_connections(&self) -> usize {
        self.0.live_connections().expect("running")
    }

    /// A gate before the server.
    pub async fn gate(&self) -> Gate {
        self.0.gate().await.expect("a port")
    }

    /// A device of a mentor, with a store and a token, connected to nothing.
    pub async fn mentor(&self, principal: &str) -> Device {
        Device(self.0.mentor(principal).await.expect("a new store"))
    }

    /// A device of a mentor that holds a live connection whenever it can.
    pub async fn listener(&self, principal: &str) -> Device {
        Device(self.0.device(principal, Role::Mentor, true).await.expect("a new store"))
    }

    /// A device of a coordinator, with a store and a token, connected to nothing.
    pub async fn coordinator(&self, principal: &str) -> Device {
        Device(self.0.coordinator(principal).await.expect("a new store"))
    }

    /// What the server's state comes down to.
    pub fn prove(&self) -> StateProof {
        self.0.prove().expect("provable")
    }

    /// Asserts that the server and these devices hold the same, by rows and by documents.
    pub async fn agrees_with(&self, devices: &[&Device]) -> StateProof {
        let devices: Vec<_> = devices.iter().map(|device| &device.0).collect();
        self.0.expect_agreement(&devices).await
    }
}
