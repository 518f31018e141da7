//! Looking after a store with the built command: doctor, salvage, backup, rekey, recovery.

#![cfg(unix)]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral};
use ring::rand::SystemRandom;
use serde_json::Value as Json;
use tempfile::TempDir;

const SCHEMA: &str = r#"{ "version": 1, "collections": { "contact": { "fields": {
    "name": { "kind": "text", "required": true, "sensitive": true } } } } }"#;

/// A folder with a schema, keys, a passphrase and a store of three contacts.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, text) in [
            ("schema.json", SCHEMA),
            ("key", &"0123456789abcdef".repeat(4)),
            ("new-key", &"fedcba9876543210".repeat(4)),
            ("passphrase", "en lang tur over Nordmarka\n"),
            ("wrong", "en kort tur over Nordmarka\n"),
        ] {
            fs::write(folder.path().join(name), text).expect("written");
        }
        let place = Self { folder };
        for name in ["name=Kari", "name=Ola", "name=Aud"] {
            place.done("--key-fd 3 3<key", &["create", "contact", name, "--schema", "schema.json"]);
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs `haversack WORDS` in a shell that adds descriptors.
    fn run(&self, descriptors: &str, words: &[&str]) -> Output {
        Command::new("sh")
            .args(["-c", &format!("exec \"$0\" \"$@\" {descriptors}")])
            .arg(env!("CARGO_BIN_EXE_haversack"))
            .args(words)
            .current_dir(self.folder.path())
            .env("HAVERSACK_STORE", "store")
            .stdin(Stdio::null())
            .output()
            .expect("a shell")
    }

    fn done(&self, descriptors: &str, words: &[&str]) -> String {
        let output = self.run(descriptors, words);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{words:?}: {told}");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    fn json(&self, descriptors: &str, words: &[&str]) -> (Option<i32>, Json) {
        let output = self.run(descriptors, &[words, &["--json"]].concat());
        let told = if output.stdout.is_empty() { output.stderr } else { output.stdout };
        (output.status.code(), serde_json::from_slice(&told).expect("one JSON value"))
    }

    fn contacts(&self, descriptors: &str, store: &str) -> usize {
        let (exit, listed) = self.json(descriptors, &["list", "contact", "--store", store]);
        assert_eq!(exit, Some(0), "{listed}");
        listed.as_array().expect("a list").len()
    }

    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let entries =
            fs::read_dir(self.path("store")).expect("a folder").map(|entry| entry.expect("one").path());
        entries.map(|path| (path.clone(), fs::read(path).expect("read"))).collect()
    }

    /// Overwrites one page of the database.
    fn damage(&self, page: usize) {
        let path = self.path("store/store.db");
        let mut bytes = fs::read(&path).expect("read");
        bytes[page * 4096..(page + 1) * 4096].fill(0x5a);
        fs::write(path, bytes).expect("written");
    }
}

const KEY: &str = "--key-fd 3 3<key";

#[test]
fn the_doctor_tells_what_a_store_is_and_changes_nothing() {
    let place = Place::new();
    let before = place.files();
    let (exit, told) = place.json(KEY, &["doctor"]);
    assert_eq!((exit, &told["condition"]), (Some(0), &"whole".into()), "{told}");
    assert_eq!(told["entries"], serde_json::json!({ "readable": 3, "lost": 0 }));
    assert_eq!(told["recovery_slot"], "absent");
    let (exit, told) = place.json("--key-fd 3 3<new-key", &["doctor"]);
    assert_eq!((exit, &told["refusal"]["code"]), (Some(4), &"wrong-key".into()));
    assert_eq!(told["refusal"]["data_at_risk"], true);
    let said = place.done(KEY, &["doctor"]);
    assert!(said.contains("3 readable") && !said.contains("Kari"), "{said}");
    assert_eq!(place.files(), before);
    let (exit, told) = place.json(KEY, &["doctor", "--store", "nowhere"]);
    assert_eq!((exit, &told["condition"]), (Some(0), &"empty".into()));
    assert!(!place.path("nowhere").exists());
}

#[test]
fn a_damaged_store_is_explained_and_salvaged_and_stays_as_it_is() {
    let mut salvaged = 0;
    for page in [0, 1, 8, 12, 16, 20] {
        let place = Place::new();
        place.damage(page);
        let before = place.files();
        let (exit, told) = place.json(KEY, &["doctor"]);
        assert_eq!((exit, &told["condition"]), (Some(5), &"damaged".into()), "page {page}: {told}");
        let (exit, report) = place.json(KEY, &["salvage", "--to", "new"]);
        assert_eq!(place.files(), before, "page {page}");
        if exit == Some(0) {
            let kept = report["entries"]["kept"].as_u64().expect("a count");
            assert_eq!(place.contacts(KEY, "new") as u64, kept, "page {page}");
            salvaged += kept;
        } else {
            assert_eq!((exit, &report["error"]["code"]), (Some(5), &"corrupt".into()), "page {page}");
            assert!(!place.path("new").exists());
        }
    }
    assert!(salvaged >= 6, "{salvaged}");
}

#[test]
fn salvage_writes_over_nothing() {
    let place = Place::new();
    fs::create_dir(place.path("taken")).expect("made");
    fs::write(place.path("taken/photo.jpg"), b"photo").expect("written");
    let (exit, _) = place.json(KEY, &["salvage", "--to", "taken"]);
    assert_eq!(exit, Some(5));
    assert_eq!(fs::read_dir(place.path("taken")).expect("a folder").count(), 1);
}

#[test]
fn a_store_with_a_new_key_opens_with_that_only() {
    let place = Place::new();
    let (exit, told) = place.json(KEY, &["rekey"]);
    assert_eq!((exit, &told["error"]["code"]), (Some(2), &"usage".into()), "the new key is missing");
    place.done("--key-fd 3 3<key --new-key-fd 4 4<new-key", &["rekey"]);
    assert_eq!(place.contacts("--key-fd 3 3<new-key", "store"), 3);
    let (exit, told) = place.json(KEY, &["list", "contact"]);
    assert_eq!((exit, &told["error"]["code"]), (Some(4), &"wrong-key".into()));
}

#[test]
fn a_passphrase_brings_a_lost_key_back() {
    let place = Place::new();
    let slot = |words: &[&str], fd: &str| place.json(fd, &[&["recovery"], words].concat());
    let (exit, told) = slot(&["open"], "--passphrase-fd 4 4<passphrase --to-fd 5 5>found");
    assert_eq!((exit, &told["error"]["code"]), (Some(4), &"no-recovery-slot".into()));
    place.done(&format!("{KEY} --passphrase-fd 4 4<passphrase"), &["recovery", "add"]);
    fs::remove_file(place.path("key")).expect("the key is lost");
    let (exit, told) = slot(&["open"], "--passphrase-fd 4 4<wrong --to-fd 5 5>found");
    assert_eq!((exit, &told["error"]["code"]), (Some(4), &"wrong-passphrase".into()));
    let said = place.done("--passphrase-fd 4 4<passphrase --to-fd 5 5>found", &["recovery", "open"]);
    assert!(!said.contains("0123456789abcdef"), "{said}");
    assert_eq!(place.contacts("--key-fd 3 3<found", "store"), 3);

    let rekeyed = place.done("--key-fd 3 3<found --new-key-fd 4 4<new-key", &["rekey"]);
    assert!(rekeyed.contains("recovery add"), "{rekeyed}");
    let (exit, told) = slot(&["open"], "--passphrase-fd 4 4<passphrase --to-fd 5 5>found");
    assert_eq!((exit, &told["error"]["code"]), (Some(4), &"recovery-slot-stale".into()));
}

#[test]
fn a_passphrase_never_comes_from_the_command_line_and_short_ones_are_refused() {
    let place = Place::new();
    let (exit, _) = place.json(KEY, &["recovery", "add", "--passphrase", "en lang tur over Nordmarka"]);
    assert_eq!(exit, Some(2));
    fs::write(place.path("short"), "kort\n").expect("written");
    let (exit, told) = place.json(&format!("{KEY} --passphrase-fd 4 4<short"), &["recovery", "add"]);
    assert_eq!((exit, &told["error"]["code"]), (Some(4), &"passphrase-length".into()));
    let (exit, told) = place.json(&format!("{KEY} --passphrase-fd 9"), &["recovery", "add"]);
    assert_eq!((exit, &told["error"]["code"]), (Some(4), &"passphrase-unreadable".into()));
}

#[test]
fn an_organisation_brings_a_lost_key_back_without_its_private_key_leaving_it() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let private = EphemeralPrivateKey::generate(&X25519, &SystemRandom::new()).expect("drawn");
    let public = private.compute_public_key().expect("computed");
    fs::write(place.path("organisation.pub"), public.as_ref()).expect("written");
    let (exit, told) = place.json("", &["recovery", "request"]);
    assert_eq!((exit, &told["error"]["code"]), (Some(4), &"no-recovery-slot".into()));
    place.done(KEY, &["recovery", "add", "--organisation", "organisation.pub"]);
    let (_, told) = place.json(KEY, &["doctor"]);
    assert_eq!((&told["recovery_slot"], &told["organisation_slot"]), (&"absent".into(), &"fits".into()));
    fs::remove_file(place.path("key")).expect("the key is lost");

    let said = place.done("", &["recovery", "request", "--output", "request.pem"]);
    let spki = [b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x6e\x03\x21\x00".as_slice(), public.as_ref()].concat();
    assert!(said.contains(&STANDARD.encode(spki)), "it names the organisation's key: {said}");
    let (exit, told) = place.json("", &["recovery", "request", "--output", "request.pem"]);
    assert_eq!((exit, &told["error"]["code"]), (Some(1), &"file".into()), "it overwrites nothing");
    let pem = fs::read_to_string(place.path("request.pem")).expect("read");
    assert_eq!(place.done("", &["recovery", "request"]), pem);

    // Where the organisation's private key lives:
    let der = STANDARD.decode(pem.lines().nth(1).expect("a line")).expect("base64");
    let theirs = UnparsedPublicKey::new(&X25519, &der[12..]);
    let secret = agree_ephemeral(private, &theirs, <[u8]>::to_vec).expect("agreed");

    let open = ["recovery", "open", "--secret", "secret.bin"];
    for (bytes, code) in [(&secret[..31], "wrong-secret"), (&[7; 32], "wrong-secret")] {
        fs::write(place.path("secret.bin"), bytes).expect("written");
        let (exit, told) = place.json("--to-fd 5 5>found", &open);
        assert_eq!((exit, &told["error"]["code"]), (Some(4), &code.into()));
    }
    fs::write(place.path("secret.bin"), &secret).expect("written");
    fs::set_permissions(place.path("secret.bin"), fs::Permissions::from_mode(0o644)).expect("set");
    let said = place.done("--to-fd 5 5>found", &open);
    assert!(said.contains("others on this machine"), "{said}");
    fs::set_permissions(place.path("secret.bin"), fs::Permissions::from_mode(0o600)).expect("set");
    let said = place.done("--to-fd 5 5>found", &open);
    assert!(!said.contains("others on this machine") && !said.contains("0123456789abcdef"), "{said}");
    assert_eq!(place.contacts("--key-fd 3 3<found", "store"), 3);
}

#[test]
fn only_a_public_key_of_use_makes_an_organisations_slot() {
    let place = Place::new();
    let private = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VuBCIEIA==\n-----END PRIVATE KEY-----\n";
    for (bytes, exit) in [(private.as_bytes(), 4), (b"organisation", 4), (&[0; 32], 4)] {
        fs::write(place.path("organisation.pub"), bytes).expect("written");
        let (ended, told) = place.json(KEY, &["recovery", "add", "--organisation", "organisation.pub"]);
        assert_eq!((ended, &told["error"]["code"]), (Some(exit), &"organisation-key-unusable".into()));
    }
    assert!(!place.path("store/store.recovery-organisation").exists());
    let both = ["recovery", "add", "--organisation", "organisation.pub", "--passphrase-fd", "4"];
    assert_eq!(place.json(KEY, &both).0, Some(2));
    assert_eq!(place.json(KEY, &["recovery", "add"]).0, Some(2));
}

#[test]
fn a_backup_is_made_checked_and_gone_back_to_and_the_store_before_is_kept() {
    let place = Place::new();
    place.done(KEY, &["backup", "make", "monday"]);
    let (exit, told) = place.json(KEY, &["backup", "make", "monday"]);
    assert_eq!((exit, &told["error"]["code"]), (Some(5), &"storage".into()), "it overwrites nothing");
    assert_eq!(place.json(KEY, &["doctor", "--store", "monday"]).1["condition"], "whole");
    place.done(KEY, &["create", "contact", "name=Eva"]);

    let (exit, told) = place.json("--key-fd 3 3<new-key", &["backup", "restore", "monday"]);
    assert_eq!((exit, &told["error"]["code"]), (Some(4), &"wrong-key".into()));
    let (exit, told) = place.json(KEY, &["backup", "restore", "tuesday"]);
    assert_eq!((exit, &told["error"]["code"]), (Some(5), &"store-missing".into()));
    assert_eq!(place.contacts(KEY, "store"), 4, "a refused restoring changes nothing");

    let said = place.done(KEY, &["backup", "restore", "monday"]);
    assert!(said.contains("aside-1"), "{said}");
    assert_eq!(place.contacts(KEY, "store"), 3);
    assert_eq!(place.contacts(KEY, "store/aside-1"), 4);
    let (_, report) = place.json(KEY, &["salvage", "--store", "store/aside-1", "--to", "salvaged"]);
    assert_eq!(report["entries"]["kept"], 4);
    let (_, told) = place.json(KEY, &["backup", "restore", "monday", "--store", "fresh"]);
    assert_eq!(told["aside"], Json::Null);
    assert_eq!(place.contacts(KEY, "fresh"), 3);
}
