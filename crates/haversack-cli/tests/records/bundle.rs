//! `haversack doctor --bundle`: marked texts lie in every place a store can hide one, and none of them in a bundle.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value as Json;

use super::place::{Place, Serving, text};

/// Marked texts in names that the organisation gives.
const NAMES: [&str; 6] =
    ["canarycollection", "canaryfield", "canarytarget", "canarysearched", "canaryset", "canary-rule"];

/// Marked texts an export that shows everything holds.
const VALUES: [&str; 14] = [
    "CanaryTextTurid",
    "CanarySearchedLøype",
    "CanaryEnumDiabetes",
    "CanaryElementTur",
    "918273645",
    "273.64591",
    "1987-03-14",
    "1987-05-06T07:08:09.123Z",
    "83719.55",
    "Q2FuYXJ5Qnl0ZXM=",
    "CanaryPendingInput",
    "CanaryRejectedInput",
    "CanaryReason",
    "CanaryMarkValue",
];

/// Marked texts that are in no record: of the schema, the rules, files and folders.
const OTHERS: [&str; 4] = ["CANARYPREFIX", "CanaryUnusedOption", "canary.message.key", "canary-folder"];

const SCHEMA: &str = r#"{ "version": 7, "collections": {
    "canarycollection": { "server_id_prefix": "CANARYPREFIX", "overrides": ["mentor"], "fields": {
        "canaryfield": { "kind": "text", "required": true },
        "canarysearched": { "kind": "text", "searched": true },
        "chosen": { "kind": "text", "one_of": ["CanaryEnumDiabetes", "CanaryUnusedOption"] },
        "secretive": { "kind": "text", "sensitive": true },
        "minutes": { "kind": "integer", "indexed": true }, "share": { "kind": "float" },
        "born": { "kind": "date" }, "seen": { "kind": "instant" }, "price": { "kind": "decimal" },
        "raw": { "kind": "bytes" }, "calls": { "kind": "counter" }, "canaryset": { "kind": "set" },
        "friend": { "kind": "reference", "target": "canarycollection" } } },
    "canarytarget": { "fields": { "name": { "kind": "text" } } } } }"#;

const RULES: &str = r#"{ "version": 1, "rules": [ { "name": "canary-rule", "collection": "canarycollection",
    "check": { "range": { "field": "minutes", "min": 1, "max": 1000000000 } },
    "message_key": "canary.message.key" } ] }"#;

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The letters of base64 that a text gives wherever it begins, without those its neighbours have a part in.
fn base64_at(bytes: &[u8], shift: usize) -> String {
    let mut bits: Vec<u8> = vec![];
    for byte in [vec![0; shift], bytes.to_vec()].concat() {
        bits.extend((0..8).rev().map(|bit| byte >> bit & 1));
    }
    let letters = bits.chunks_exact(6).map(|six| six.iter().fold(0, |number, bit| number << 1 | bit));
    let letters: Vec<char> = letters.map(|letter| char::from(BASE64[usize::from(letter)])).collect();
    letters[(shift * 8).div_ceil(6)..].iter().collect()
}

/// Every form a text may hide in.
fn forms(canary: &str) -> Vec<Vec<u8>> {
    let bytes = canary.as_bytes();
    let wide: Vec<u16> = canary.encode_utf16().collect();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut forms = vec![
        bytes.to_vec(),
        wide.iter().flat_map(|unit| unit.to_le_bytes()).collect(),
        wide.iter().flat_map(|unit| unit.to_be_bytes()).collect(),
        hex.to_uppercase().into_bytes(),
        hex.into_bytes(),
        // As JSON writes what is not ASCII.
        canary
            .chars()
            .flat_map(
                |letter| if letter.is_ascii() { vec![letter] } else { letter.escape_unicode().collect() },
            )
            .filter(|letter| !"{}".contains(*letter))
            .collect::<String>()
            .into_bytes(),
    ];
    forms.extend((0..3).map(|shift| base64_at(bytes, shift).into_bytes()));
    forms
}

fn is_in(canary: &str, bytes: &[u8]) -> bool {
    forms(canary).iter().any(|form| bytes.windows(form.len()).any(|window| window == form))
}

fn found<'a>(canaries: impl IntoIterator<Item = &'a str>, bytes: &[u8]) -> Vec<&'a str> {
    canaries.into_iter().filter(|canary| is_in(canary, bytes)).collect()
}

const CREATE: [&str; 12] = [
    "canarycollection",
    "canaryfield=CanaryTextTurid",
    "canarysearched=CanarySearchedLøype",
    "chosen=CanaryEnumDiabetes",
    "secretive=CanaryTextTurid",
    "minutes=918273645",
    "share=273.64591",
    "born=1987-03-14",
    "seen=1987-05-06T07:08:09.123Z",
    "price=83719.55",
    "raw=Q2FuYXJ5Qnl0ZXM=",
    "+canaryset=CanaryElementTur",
];

/// A store in a marked folder, of everything: confirmed and waiting records, a refused one, a mark, notices, ids.
fn marked() -> (Place, Serving, String) {
    let place = Place::new();
    place.write("schema.json", SCHEMA);
    place.write("rules.json", RULES);
    let serving = place.serve();
    // A folder's name may be a person's.
    let words = |words: &[&str]| place.says("kari", words);
    let record = place.create("kari", &CREATE);
    place.create("kari", &["canarycollection", "canaryfield=CanaryFriend", &format!("friend={record}")]);
    place.sync(&serving, &["kari"]);
    words(&["override", &record, "canaryfield", "CanaryMarkValue", "--reason", "CanaryReason"]);
    place.create("kari", &["canarycollection", "canaryfield=CanaryRejectedInput", "minutes=0"]);
    place.sync(&serving, &["kari"]);
    words(&["edit", &record, "secretive=CanaryPendingInput"]);
    words(&["list", "canarycollection", "--search", "CanarySearchedLøype"]);
    (place, serving, record)
}

fn bundle(place: &Place, person: &str, name: &str, words: &[&str]) -> (Option<i32>, Vec<u8>) {
    let output = place.run(person, &[&["doctor", "--bundle", name], words].concat());
    let bytes = fs::read(place.path(name)).unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
    (output.status.code(), bytes)
}

/// Everything that must not be in a bundle without names: marked texts, and what the store drew or was given by itself.
fn secrets(place: &Place, record: &str) -> Vec<String> {
    let inspected = place.json("kari", &["inspect"]);
    let mut secrets: Vec<String> = VALUES.iter().chain(&OTHERS).map(|canary| (*canary).to_owned()).collect();
    secrets.push(record.to_owned());
    secrets.push(record.replace('-', ""));
    secrets.push("CanaryFriend".to_owned());
    for name in ["store", "device", "principal", "server"] {
        secrets.push(inspected[name].as_str().expect("stated").to_owned());
    }
    for entry in place.json("kari", &["outbox"]).as_array().expect("entries") {
        secrets.push(entry["change_set"].as_str().expect("an id").to_owned());
    }
    let file = |name: &str| fs::read_to_string(place.path(name)).expect("read").trim().to_owned();
    secrets.extend([file("key"), file("kari-token")]);
    let sidecar: Json = serde_json::from_str(&file("kari/store.json")).expect("JSON");
    secrets.push(sidecar["key_check"].as_str().expect("stated").to_owned());
    secrets.push(place.path("").display().to_string().trim_end_matches('/').to_owned());
    secrets.extend(std::env::var("USER"));
    secrets
}

#[test]
fn the_search_finds_a_text_in_every_form_wherever_it_begins() {
    for canary in ["CanaryTextTurid", "CanarySearchedLøype"] {
        for form in forms(canary) {
            assert!(is_in(canary, &[b"{ \"", form.as_slice(), b"\" }"].concat()), "{form:02x?}");
        }
        for before in ["", "x", "xx", "xxx"] {
            let whole = base64_at(format!("{before}{canary}yyy").as_bytes(), 0);
            assert!(is_in(canary, whole.as_bytes()), "{whole}");
        }
        assert!(!is_in(canary, b"{ \"kind\": \"haversack support bundle\" }"));
    }
}

#[test]
fn a_bundle_holds_no_marked_text_and_an_export_of_the_same_store_holds_them() {
    let (place, _serving, record) = marked();
    let secrets = secrets(&place, &record);
    let all = || secrets.iter().map(String::as_str);
    let export = place.says("kari", &["export", "--show-sensitive", "--history"]);
    let missed: Vec<_> = VALUES.iter().filter(|canary| !is_in(canary, export.as_bytes())).collect();
    assert!(missed.is_empty(), "the search could not find them in a bundle either: {missed:?}");
    assert!(is_in(&record, export.as_bytes()));

    let (exit, plain) = bundle(&place, "kari", "support.json", &[]);
    assert_eq!(exit, Some(0));
    assert_eq!(found(all().chain(NAMES), &plain), Vec::<&str>::new(), "{}", text(&plain));
    let told: Json = serde_json::from_slice(&plain).expect("one JSON value");
    assert_eq!(told["survey"]["numbers"]["entries_rejected"], 1);
    assert_eq!(told["survey"]["codes"]["E_RULE"], 1);
    assert_eq!((&told["survey"]["rules"], &told["survey"]["unreadable"]), (&1.into(), &0.into()));
    assert_eq!(told["schema"]["collections"][0]["fields"].as_array().map(Vec::len), Some(13));
    assert_eq!(told["survey"]["settings"]["cipher"].as_array().map(Vec::len), Some(1));

    let (_, named) = bundle(&place, "kari", "named.json", &["--names"]);
    assert_eq!(found(all(), &named), Vec::<&str>::new(), "{}", text(&named));
    assert_eq!(found(NAMES, &named), NAMES, "{}", text(&named));
}

#[test]
fn a_bundle_of_a_store_that_does_not_open_says_why_and_holds_no_marked_text() {
    let (place, _serving, record) = marked();
    let secrets = secrets(&place, &record);
    let clean = |name: &str, bytes: &[u8]| {
        let found = found(secrets.iter().map(String::as_str).chain(NAMES), bytes);
        assert!(found.is_empty(), "{name}: {found:?} in {}", text(bytes));
        serde_json::from_slice::<Json>(bytes).expect("one JSON value")
    };
    let copy = |name: &str| {
        fs::create_dir(place.path(name)).expect("made");
        for file in ["store.db", "store.json", "schema.json"] {
            fs::copy(place.path("kari").join(file), place.path(name).join(file)).expect("copied");
        }
    };
    copy("canary-folder");
    fs::write(place.path("canary-folder/CanaryTextTurid.txt"), "CanaryTextTurid").expect("written");
    let database = fs::read(place.path("kari/store.db")).expect("read");
    for page in 0..database.len() / 4096 {
        let mut damaged = database.clone();
        damaged[page * 4096 + 100..(page + 1) * 4096].fill(0x5a);
        fs::write(place.path("canary-folder/store.db"), damaged).expect("written");
        let name = format!("damaged-{page}.json");
        let (exit, bytes) = bundle(&place, "canary-folder", &name, &[]);
        let told = clean(&name, &bytes);
        assert_eq!((exit, &told["condition"]), (Some(5), &"damaged".into()), "page {page}");
        assert_eq!(told["files"]["others"], 1);
    }

    fs::write(place.path("canary-folder/store.db"), &database).expect("written");
    place.write("key", &"fedcba9876543210".repeat(4));
    let (exit, bytes) = bundle(&place, "canary-folder", "wrong-key.json", &[]);
    let told = clean("wrong key", &bytes);
    assert_eq!(
        (exit, &told["refusal"]["code"], &told["survey"]),
        (Some(4), &"wrong-key".into(), &Json::Null)
    );
    fs::write(place.path("canary-folder/store.json"), "CanaryTextTurid").expect("written");
    fs::write(place.path("canary-folder/schema.json"), r#"{ "CanaryTextTurid": 1 }"#).expect("written");
    let (exit, bytes) = bundle(&place, "canary-folder", "sidecar.json", &[]);
    let told = clean("sidecar", &bytes);
    assert_eq!((exit, &told["refusal"]["code"]), (Some(5), &"sidecar-unreadable".into()));
    assert_eq!((&told["sidecar"], &told["schema"]), (&"unreadable".into(), &"refused".into()));

    copy("locked");
    let lock = fs::File::create(place.path("locked/store.lock")).expect("made");
    lock.lock().expect("locked");
    let (exit, bytes) = bundle(&place, "locked", "locked.json", &[]);
    assert_eq!((exit, &clean("locked", &bytes)["refusal"]["code"]), (Some(8), &"already-open".into()));
}

#[test]
fn a_bundle_is_its_owners_alone_and_overwrites_nothing() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    place.create("kari", &["contact", "name=Kari"]);
    bundle(&place, "kari", "support.json", &[]);
    let mode = fs::metadata(place.path("support.json")).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    place.write("taken.json", "mine");
    let output = place.run("kari", &["doctor", "--bundle", "taken.json", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty() && text(&output.stderr).contains("\"file\""));
    assert_eq!(fs::read_to_string(place.path("taken.json")).expect("read"), "mine");
    let left = fs::read_dir(place.path(".")).expect("a folder").filter(|entry| {
        entry.as_ref().is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with(".haversack"))
    });
    assert_eq!(left.count(), 0);
    let without_bundle = Command::new(env!("CARGO_BIN_EXE_haversack"))
        .args(["doctor", "--names", "--store"])
        .arg(Path::new("nowhere"))
        .output()
        .expect("the command");
    assert_eq!(without_bundle.status.code(), Some(2));
}
