//! The binary: it says where it listens, and ends in order when told to.

use tokio::process::Command;

use crate::support::{BINARY, ServerProcess, TENANT, raw};

#[tokio::test]
async fn it_serves_until_told_to_stop_and_leaves_a_provable_database() {
    let directory = tempfile::tempdir().expect("a directory");
    let token = Command::new(BINARY)
        .args(["token", "--principal", "ola", "--role", "mentor", "--tokens"])
        .arg(directory.path().join("tokens.jsonl"))
        .output()
        .await
        .expect("ran");
    assert!(token.status.success() && token.stdout.len() == 44, "43 characters and a line end");
    let mut server = ServerProcess::start_in(directory).await;
    let asked = b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    assert_eq!(raw(server.address(), asked, b"").await.status, 200);
    let (ended, rest) = server.stop().await;
    assert!(ended.success());
    assert_eq!(rest, "");
    let prove = Command::new(BINARY)
        .args(["prove", "--database"])
        .arg(server.path("server.db"))
        .arg("--schema")
        .arg(server.path("schema.json"))
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
