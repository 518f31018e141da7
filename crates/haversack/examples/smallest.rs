//! The smallest app: opens a store, registers a visit, and syncs when it is told where. The size of the library is taken
//! from it, so it uses what every app uses and nothing else.
//!
//! ```sh
//! cargo run --example smallest -- FOLDER [SERVER TENANT PRINCIPAL TOKEN]
//! ```

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use haversack::{
    Changes, Config, Haversack, HostKey, PrincipalId, Query, Schema, ServerAddress, StaticToken, StoreKey,
    TenantId, Token,
};

const SCHEMA: &str = r#"{ "version": 1, "collections": {
    "visit": { "fields": { "minutes": { "kind": "integer", "min": 1 }, "note": { "kind": "text" } } } } }"#;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let folder = arguments.first().ok_or("smallest FOLDER [SERVER TENANT PRINCIPAL TOKEN]")?;
    // An app keeps its key in the platform's secure store (`PlatformKeys`); a fixed one protects nobody.
    let keys = Arc::new(HostKey::new(StoreKey::from_bytes([1; 32])));
    let store = Haversack::open(Config::new(folder, Schema::from_json(SCHEMA)?, keys)).await?;
    let visits = store.collection("visit");
    visits.create(Changes::new().set("minutes", 45_i64).set("note", "gikk tur")).await?;
    if let [_, server, tenant, principal, token] = &arguments[..] {
        let token = Token::new(token.clone(), PrincipalId::new(principal)?);
        let server = ServerAddress::new(server, TenantId::new(tenant)?)?;
        store.connect(server, Arc::new(StaticToken::new(token))).await?;
        store.sync_once(Duration::from_secs(30)).await?;
    }
    let (held, status) = (visits.list(Query::of("visit")).await?.len(), store.status().await?);
    store.close().await?;
    // What it says goes where an app's screen would be.
    std::io::Write::write_all(
        &mut std::io::stdout(),
        format!("{held} visits, {} waiting to be sent\n", status.pending).as_bytes(),
    )?;
    Ok(())
}
