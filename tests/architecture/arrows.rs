//! Arrows between packages: what a manifest may name, and what may not be reached from it however far away.
//!
//! Direct dependencies come from `cargo metadata`, everything behind them from the lock file, which knows all
//! platforms; nothing is downloaded for a platform this one is not.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value as Json;

use crate::tree::{allowed, names, read, root};

/// A package of the workspace, as its manifest has it.
struct Package {
    /// What it depends on, outside its tests.
    uses: BTreeSet<String>,
    /// What its tests depend on besides.
    tests_use: BTreeSet<String>,
}

fn packages() -> BTreeMap<String, Package> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--locked", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Json = serde_json::from_slice(&output.stdout).expect("metadata is JSON");
    let packages = metadata["packages"].as_array().expect("a list of packages");
    packages.iter().map(|package| (text(&package["name"]), package_of(&package["dependencies"]))).collect()
}

fn package_of(dependencies: &Json) -> Package {
    let dependencies = dependencies.as_array().expect("a list of dependencies");
    let of = |is_dev: bool| {
        let dependencies = dependencies.iter().filter(move |one| (one["kind"] == "dev") == is_dev);
        dependencies.map(|one| text(&one["name"])).collect()
    };
    Package { uses: of(false), tests_use: of(true) }
}

fn text(json: &Json) -> String {
    json.as_str().expect("a text").to_owned()
}

/// Every package of the lock file and what it depends on; versions of one name are taken together.
fn locked() -> BTreeMap<String, BTreeSet<String>> {
    let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in read("Cargo.lock").split("[[package]]").skip(1) {
        let quoted = |line: &str| line.split('"').nth(1).map(str::to_owned);
        let name = package.lines().find(|line| line.starts_with("name = ")).and_then(quoted);
        let dependencies = package.lines().filter(|line| line.starts_with(" \"")).filter_map(quoted);
        let dependencies = dependencies.filter_map(|one| one.split(' ').next().map(str::to_owned));
        graph.entry(name.expect("a locked package has a name")).or_default().extend(dependencies);
    }
    assert!(graph["haversack-core"].contains("automerge"), "the lock file is read");
    graph
}

/// Everything reached from a package, its tests' dependencies left out.
fn reached(
    from: &str,
    packages: &BTreeMap<String, Package>,
    locked: &BTreeMap<String, BTreeSet<String>>,
) -> BTreeSet<String> {
    let (mut reached, mut open) = (BTreeSet::new(), vec![from.to_owned()]);
    while let Some(name) = open.pop() {
        let next = packages.get(&name).map(|package| &package.uses).or_else(|| locked.get(&name));
        let next = next.unwrap_or_else(|| panic!("{name} is locked"));
        open.extend(next.iter().filter(|next| reached.insert((*next).clone())).cloned());
    }
    reached
}

#[test]
fn every_package_uses_exactly_what_is_written_down() {
    let (packages, allowed) = (packages(), allowed());
    let written: BTreeSet<&String> =
        allowed["packages"].as_object().expect("packages by name").keys().collect();
    assert_eq!(packages.keys().collect::<BTreeSet<_>>(), written);
    for (name, package) in &packages {
        let allowed = &allowed["packages"][name];
        let (ours, foreign): (BTreeSet<_>, BTreeSet<_>) =
            package.uses.iter().cloned().partition(|used| packages.contains_key(used));
        for (used, written, whose) in
            [(ours, &allowed["workspace"], "ours"), (foreign, &allowed["external"], "others")]
        {
            if written != "any" {
                assert_eq!(used, names(written), "packages of {whose} that {name} uses");
            }
        }
    }
}

#[test]
fn what_a_package_must_never_use_is_not_reached_from_it_however_far_away() {
    let (packages, locked, allowed) = (packages(), locked(), allowed());
    for name in packages.keys() {
        let reached = reached(name, &packages, &locked);
        let never = names(&allowed["packages"][name]["never"]);
        let found: Vec<_> = never.intersection(&reached).collect();
        assert!(found.is_empty(), "{name} reaches {found:?}");
    }
}

#[test]
fn nothing_depends_on_the_tests_or_on_the_command() {
    let ends = names(&allowed()["depended_on_by_none"]);
    for (name, package) in packages() {
        let found: Vec<_> =
            package.uses.union(&package.tests_use).filter(|used| ends.contains(*used)).collect();
        assert!(found.is_empty(), "{name} depends on {found:?}");
    }
}

#[test]
fn one_cryptography_library_one_openssl_and_no_system_bus_in_c() {
    let (locked, allowed) = (locked(), allowed());
    let never = names(&allowed["never_anywhere"]);
    let found: Vec<_> = locked.keys().filter(|name| never.contains(*name)).collect();
    assert!(found.is_empty(), "the lock file holds {found:?}");
    for (name, through) in allowed["only_through"].as_object().expect("packages by name") {
        let users: BTreeSet<_> =
            locked.iter().filter(|(_, uses)| uses.contains(name)).map(|(user, _)| user.clone()).collect();
        assert_eq!(users, names(through), "users of {name}");
    }
}
