//! The files of the project and the allowed shape they are compared with.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value as Json;

/// The folder of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace").to_owned()
}

/// The text of a file, by its path from the root.
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Paths from the root of every tracked file; of every file but built ones where git does not know the folder.
pub(crate) fn files() -> BTreeSet<String> {
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output();
    let listed = listed.ok().filter(|listed| listed.status.success()).map(|listed| listed.stdout);
    let mut files: BTreeSet<String> = listed
        .unwrap_or_default()
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .filter(|name| root().join(name).is_file())
        .collect();
    if files.is_empty() {
        walk(&root(), "", &mut files);
    }
    assert!(files.contains("Cargo.toml"), "the root is found");
    files
}

fn walk(folder: &Path, prefix: &str, files: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a readable folder").map(|entry| entry.expect("an entry")) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if prefix.is_empty() && matches!(name.as_str(), ".git" | "target") {
            continue;
        }
        if entry.path().is_dir() {
            walk(&entry.path(), &format!("{prefix}{name}/"), files);
        } else {
            files.insert(format!("{prefix}{name}"));
        }
    }
}

/// Every tracked file of an extension with its text.
pub(crate) fn texts(extension: &str) -> BTreeMap<String, String> {
    let is_wanted = |path: &String| Path::new(path).extension().is_some_and(|found| found == extension);
    let texts: BTreeMap<String, String> =
        files().into_iter().filter(is_wanted).map(|path| (path.clone(), read(&path))).collect();
    assert!(!texts.is_empty(), "there are .{extension} files");
    texts
}

/// What is allowed.
pub(crate) fn allowed() -> Json {
    serde_json::from_str(include_str!("arrows.json")).expect("arrows.json is JSON")
}

/// A list of names in a JSON value.
pub(crate) fn names(json: &Json) -> BTreeSet<String> {
    let list = json.as_array().unwrap_or_else(|| panic!("a list in arrows.json, not {json}"));
    list.iter().map(|name| name.as_str().expect("a name").to_owned()).collect()
}
