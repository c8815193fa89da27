//! Which package may know which: the rules of ARCHITECTURE.md, held by a test.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// What each package of the workspace may use of the others, besides in its tests.
const MAY_USE: &[(&str, &[&str])] = &[
    ("twzrd-domain", &[]),
    ("twzrd-supervision", &[]),
    ("twzrd-migrations", &[]),
    ("twzrd-journal", &["twzrd-domain"]),
    ("twzrd-store", &["twzrd-domain", "twzrd-migrations"]),
    ("twzrd-twitch", &["twzrd-domain"]),
    ("twzrd-actors", &["twzrd-domain", "twzrd-supervision"]),
    ("twzrd-chain", &["twzrd-domain"]),
    ("twzrd-localnet", &["twzrd-chain", "twzrd-domain"]),
    ("twzrd-simulator", &["twzrd-domain"]),
    ("twzrd-testkit", &["twzrd-domain"]),
    (
        "twzrd",
        &[
            "twzrd-actors",
            "twzrd-chain",
            "twzrd-domain",
            "twzrd-journal",
            "twzrd-simulator",
            "twzrd-store",
            "twzrd-supervision",
            "twzrd-twitch",
        ],
    ),
];

/// Packages that must not come into a package by any way, its tests included.
const MUST_NOT_REACH: &[(&str, &[&str])] = &[
    (
        "twzrd-domain",
        &[
            "tokio",
            "sea-orm",
            "sqlx",
            "twitch-irc",
            "axum",
            "ractor",
            "solana-sdk",
            "solana-client",
        ],
    ),
    (
        "twzrd-actors",
        &[
            "sea-orm",
            "sqlx",
            "twitch-irc",
            "axum",
            "solana-sdk",
            "solana-client",
        ],
    ),
    (
        "twzrd-supervision",
        &[
            "sea-orm",
            "sqlx",
            "twitch-irc",
            "axum",
            "solana-sdk",
            "solana-client",
        ],
    ),
];

fn metadata() -> Value {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    // Only what this machine builds is there to be looked at.
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .args(["--filter-platform", &host()])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo metadata");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The platform on which this runs, as rustc names it.
fn host() -> String {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let output = Command::new(rustc).arg("-vV").output().expect("rustc -vV");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.expect("a host").to_owned()
}

struct Graph {
    name_of: BTreeMap<String, String>,
    /// Package id → (used package id, whether besides tests).
    uses: BTreeMap<String, Vec<(String, bool)>>,
    members: Vec<String>,
}

fn graph() -> Graph {
    let metadata = metadata();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let name_of: BTreeMap<_, _> = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| (text(&package["id"]), text(&package["name"])))
        .collect();
    let uses = metadata["resolve"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| {
            let used = node["deps"].as_array().unwrap().iter().map(|dep| {
                let kinds = dep["dep_kinds"].as_array().unwrap();
                (
                    text(&dep["pkg"]),
                    kinds.iter().any(|kind| kind["kind"] != "dev"),
                )
            });
            (text(&node["id"]), used.collect())
        })
        .collect();
    let members = metadata["workspace_members"]
        .as_array()
        .unwrap()
        .iter()
        .map(text)
        .collect();
    Graph {
        name_of,
        uses,
        members,
    }
}

#[test]
fn packages_know_only_what_they_may() {
    let graph = graph();
    let rules: BTreeMap<_, _> = MAY_USE.iter().copied().collect();
    let own: BTreeSet<&str> = graph
        .members
        .iter()
        .map(|id| graph.name_of[id].as_str())
        .collect();
    assert_eq!(
        own,
        rules.keys().copied().collect(),
        "every package has a rule"
    );
    for id in &graph.members {
        let name = graph.name_of[id].as_str();
        for (used, is_normal) in &graph.uses[id] {
            let used = graph.name_of[used].as_str();
            if *is_normal && own.contains(used) {
                assert!(rules[name].contains(&used), "{name} must not know {used}");
            }
        }
    }
}

#[test]
fn adapters_are_out_of_reach_of_domain_and_actors() {
    let graph = graph();
    for (name, forbidden) in MUST_NOT_REACH {
        let start = graph
            .members
            .iter()
            .find(|id| graph.name_of[*id] == *name)
            .unwrap();
        // Its own tests' needs, and what these need besides their tests.
        let mut waiting: Vec<&String> = graph.uses[start]
            .iter()
            .filter(|(_, is_normal)| *is_normal || *name != "twzrd-domain")
            .map(|(id, _)| id)
            .collect();
        let mut reached = BTreeSet::new();
        while let Some(id) = waiting.pop() {
            if reached.insert(id) {
                waiting.extend(
                    graph.uses[id]
                        .iter()
                        .filter(|(_, normal)| *normal)
                        .map(|(id, _)| id),
                );
            }
        }
        for id in reached {
            let used = graph.name_of[id].as_str();
            assert!(!forbidden.contains(&used), "{name} must not reach {used}");
        }
    }
}

#[test]
fn only_one_file_names_merkle_light() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let named: Vec<_> = sources(root)
        .into_iter()
        .filter(|path| {
            !path.ends_with("tests/rooms.rs") && !path.to_string_lossy().contains("/benches/")
        })
        .filter(|path| {
            let text = std::fs::read_to_string(path).unwrap();
            text.lines()
                .any(|line| line.contains("merkle_light::") && !line.trim_start().starts_with("//"))
        })
        .map(|path| path.strip_prefix(root).unwrap().display().to_string())
        .collect();
    assert_eq!(named, ["crates/domain/src/merkle.rs"]);
}

#[test]
fn no_file_is_longer_than_500_lines() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    for path in sources(root) {
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= 500, "{} has {lines} lines", path.display());
    }
}

/// Every Rust file of the project.
fn sources(root: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut waiting: Vec<_> = ["src", "actors", "migrations", "crates", "tests", "benches"]
        .map(|d| root.join(d))
        .to_vec();
    while let Some(folder) = waiting.pop() {
        let Ok(entries) = std::fs::read_dir(folder) else {
            continue;
        };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}
