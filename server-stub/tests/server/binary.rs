//! The binary: it says where it listens, and ends in order when told to.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;

use crate::support::{RULES, SCHEMA, TENANT, raw};

const BINARY: &str = env!("CARGO_BIN_EXE_haversack-server");

#[tokio::test]
async fn it_serves_until_told_to_stop_and_leaves_a_provable_database() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("schema.json"), SCHEMA).expect("written");
    std::fs::write(path("rules.json"), RULES).expect("written");
    let token = Command::new(BINARY)
        .args(["token", "--principal", "ola", "--role", "mentor", "--tokens"])
        .arg(path("tokens.jsonl"))
        .output()
        .await
        .expect("ran");
    assert!(token.status.success() && token.stdout.len() == 44, "43 characters and a line end");
    let mut server = Command::new(BINARY)
        .args(["serve", "--tenant", TENANT, "--database"])
        .arg(path("server.db"))
        .arg("--schema")
        .arg(path("schema.json"))
        .arg("--rules")
        .arg(path("rules.json"))
        .arg("--tokens")
        .arg(path("tokens.jsonl"))
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("started");
    let mut out = BufReader::new(server.stdout.take().expect("piped"));
    let mut line = String::new();
    out.read_line(&mut line).await.expect("a line");
    let listening: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    let address = listening["listening"].as_str().and_then(|text| text.parse().ok()).expect("an address");
    let answer = raw(address, b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", b"").await;
    assert_eq!(answer.status, 200);
    let process = server.id().expect("running").to_string();
    Command::new("kill").args(["-TERM", &process]).status().await.expect("told");
    assert!(server.wait().await.expect("ended").success());
    let mut rest = String::new();
    out.read_to_string(&mut rest).await.expect("read");
    assert_eq!(rest, "");
    let prove = Command::new(BINARY)
        .args(["prove", "--database"])
        .arg(path("server.db"))
        .arg("--schema")
        .arg(path("schema.json"))
        .output()
        .await
        .expect("ran");
    let proof: serde_json::Value = serde_json::from_slice(&prove.stdout).expect("JSON");
    assert_eq!((&proof["records"], &proof["temporary_ids"]), (&0.into(), &0.into()));
    assert_eq!(proof["from_documents"], proof["from_rows"]);
}

#[tokio::test]
async fn metrics_on_an_address_that_others_reach_are_refused_unless_that_is_meant() {
    let directory = tempfile::tempdir().expect("a directory");
    let database = directory.path().join("server.db");
    let serve = |more: &[&str]| {
        let mut command = Command::new(BINARY);
        command.args(["serve", "--tenant", TENANT, "--metrics", "0.0.0.0:0"]).args(more);
        for name in ["schema", "rules", "tokens"] {
            command.arg(format!("--{name}")).arg(directory.path().join("none"));
        }
        command.arg("--database").arg(&database);
        command
    };
    let refused = serve(&[]).output().await.expect("ran");
    let meant = serve(&["--metrics-exposed"]).output().await.expect("ran");
    let [refused, meant] = [refused, meant].map(|output| String::from_utf8(output.stderr).expect("text"));
    assert!(refused.contains("could be read from other machines"), "{refused}");
    assert!(!meant.contains("could be read") && meant.contains("none"), "it goes on to its files: {meant}");
    assert!(!database.exists());
}
