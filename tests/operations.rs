//! What operators are given beside the programs: man pages, completions, the tables of settings, the runbook, units, images,
//! manifests, dashboards and workflows. True to what the programs take and say.

// They are read as YAML, which is here for the launcher of Pods.
#![cfg(feature = "kubernetes")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stderr, reason = "who skips a check says so")]

#[path = "operations/alerts.rs"]
mod alerts;
#[path = "operations/dashboards.rs"]
mod dashboards;
#[path = "operations/images.rs"]
mod images;
#[path = "operations/manifests.rs"]
mod manifests;
#[path = "operations/pages.rs"]
mod pages;
#[path = "operations/settings.rs"]
mod settings;
#[path = "operations/units.rs"]
mod units;
#[path = "operations/workflows.rs"]
mod workflows;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;
use tools::program::{is_installed, sibling};

/// Every program that is shipped, and where it was built.
fn programs() -> [(&'static str, PathBuf); 5] {
    let segmenter = sibling(env!("CARGO_BIN_EXE_primary"), "segmenter").unwrap();
    [
        ("primary", env!("CARGO_BIN_EXE_primary").into()),
        ("local-server", env!("CARGO_BIN_EXE_local-server").into()),
        (
            "traffic-manager",
            env!("CARGO_BIN_EXE_traffic-manager").into(),
        ),
        ("client", env!("CARGO_BIN_EXE_client").into()),
        ("segmenter", segmenter),
    ]
}

/// What the program prints, given these words and no settings from outside.
fn printed(program: &Path, words: &[&str]) -> String {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SPILLWAY_")) {
        command.env_remove(name);
    }
    let said = command.args(words).stdin(Stdio::null()).output().unwrap();
    let errors = String::from_utf8_lossy(&said.stderr);
    assert!(
        said.status.success(),
        "{} {words:?}: {errors}",
        program.display()
    );
    String::from_utf8(said.stdout).unwrap()
}

/// A file of ours, `whose`, starts `program` with these words and variables: it has to know them.
fn takes<'a>(
    whose: &str,
    program: &str,
    words: impl Iterator<Item = &'a str>,
    variables: impl Iterator<Item = &'a str>,
) {
    let found = programs().into_iter().find(|(name, _)| *name == program);
    let (_, built) = found.unwrap_or_else(|| panic!("{whose}: there is no {program}"));
    let help = printed(&built, &["--help"]);
    for flag in words.filter(|word| word.starts_with("--")) {
        assert!(help.contains(flag), "{whose}: {program} knows no {flag}");
    }
    for variable in variables {
        assert!(
            help.contains(&format!("[env: {variable}")),
            "{whose}: {program} knows no {variable}"
        );
    }
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The files of a folder, by name.
fn files(folder: &str) -> Vec<String> {
    let entries =
        std::fs::read_dir(path(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let entries = entries.map(|entry| entry.unwrap());
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    let mut names: Vec<_> = files
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn yaml(name: &str) -> Value {
    serde_saphyr::from_str(&text(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// All names in the two places that tell metrics.
fn metrics() -> BTreeSet<String> {
    let sources = [
        include_str!("../src/origin/exposed.rs"),
        include_str!("../src/manager/exposed.rs"),
    ];
    let quoted = sources.iter().flat_map(|source| source.split('"'));
    let named = quoted.filter(|text| text.starts_with("spillway_"));
    let named = named.filter(|text| text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
    named.map(str::to_owned).collect()
}

/// Has Prometheus' own tool check what it is given; says what is not done where there is none.
fn promtool(words: &[&str], otherwise: &str) {
    if !is_installed("promtool") {
        eprintln!("SKIPPED: promtool is not installed (Debian: prometheus); {otherwise}");
        return;
    }
    let said = Command::new("promtool").args(words).output().unwrap();
    let [out, err] = [&said.stdout, &said.stderr].map(|said| String::from_utf8_lossy(said));
    assert!(said.status.success(), "{words:?}: {out}{err}");
}
