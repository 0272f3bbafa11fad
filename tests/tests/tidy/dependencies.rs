//! `engine ← patterns ← proxy/* ← {tests, bench, perf, fuzz}`: nothing points back, and each crate stays ignorant of
//! what docs/architecture.md says it must not know.

use std::collections::BTreeMap;

use serde_json::Value;
use sluice_tests::checkout;

use crate::assert_none;

/// A member of the workspace: what it may depend on, and what it must not know.
struct Member {
    name: &'static str,
    folder: &'static str,
    /// The members it may name.
    may_use: &'static [&'static str],
    /// Crates it must never name, by prefix.
    must_not_know: &'static [&'static str],
}

/// Runtimes, sockets and HTTP.
const NETWORK: &[&str] =
    &["monoio", "tokio", "async-", "futures", "mio", "socket2", "rustls", "hyper", "http", "h2", "axum"];

/// Every member. One that is not listed is a fault, so a new crate states its place here.
const MEMBERS: &[Member] = &[
    Member { name: "sluice-engine", folder: "engine", may_use: &[], must_not_know: NETWORK },
    Member {
        name: "sluice-patterns",
        folder: "patterns",
        may_use: &["sluice-engine"],
        must_not_know: NETWORK,
    },
    Member {
        name: "sluice-policy",
        folder: "proxy/policy",
        may_use: &["sluice-engine", "sluice-patterns"],
        must_not_know: NETWORK,
    },
    Member {
        name: "sluice-audit",
        folder: "proxy/audit",
        may_use: &["sluice-engine", "sluice-patterns", "sluice-policy"],
        must_not_know: &["http", "h2", "hyper", "axum"],
    },
    Member {
        name: "sluice-data",
        folder: "proxy/data",
        may_use: &["sluice-engine", "sluice-patterns", "sluice-policy", "sluice-audit"],
        must_not_know: &["tokio", "sqlx", "rusqlite", "jsonwebtoken", "axum", "hyper"],
    },
    Member {
        name: "sluice-control",
        folder: "proxy/control",
        may_use: &["sluice-engine", "sluice-patterns", "sluice-policy", "sluice-audit", "sluice-data"],
        must_not_know: &["monoio"],
    },
    Member {
        name: "sluice",
        folder: "proxy/cli",
        may_use: &[
            "sluice-engine",
            "sluice-patterns",
            "sluice-policy",
            "sluice-audit",
            "sluice-data",
            "sluice-control",
        ],
        must_not_know: &["monoio"],
    },
    Member { name: "sluice-fuzz", folder: "fuzz", may_use: PRODUCT, must_not_know: &[] },
    Member { name: "sluice-bench", folder: "bench", may_use: PRODUCT, must_not_know: &[] },
    Member { name: "sluice-tests", folder: "tests", may_use: PRODUCT, must_not_know: &[] },
];

/// What the outermost crates may name.
const PRODUCT: &[&str] = &[
    "sluice-engine",
    "sluice-patterns",
    "sluice-policy",
    "sluice-audit",
    "sluice-data",
    "sluice-control",
    "sluice",
    "sluice-fuzz",
];

/// The dependencies of each member, of every kind: a dev-dependency that points back is a fault too.
fn members() -> BTreeMap<String, (String, Vec<String>)> {
    let metadata = checkout::cargo_metadata(false);
    let root = checkout::root();
    let names = |dependencies: &Value| {
        let list = dependencies.as_array().expect("dependencies");
        list.iter().map(|d| d["name"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    metadata["packages"]
        .as_array()
        .expect("packages")
        .iter()
        .map(|package| {
            let manifest = std::path::Path::new(package["manifest_path"].as_str().expect("a path"));
            let folder = manifest.parent().expect("a folder").strip_prefix(&root).expect("in the checkout");
            let name = package["name"].as_str().expect("a name").to_owned();
            (name, (folder.display().to_string(), names(&package["dependencies"])))
        })
        .collect()
}

#[test]
fn folders_depend_on_each_other_only_as_the_architecture_says() {
    let mut faults = Vec::new();
    let members = members();
    for (name, (folder, dependencies)) in &members {
        let Some(member) = MEMBERS.iter().find(|m| m.name == name) else {
            faults.push(format!("{folder}/Cargo.toml: {name} has no place in the architecture"));
            continue;
        };
        if folder != member.folder {
            faults.push(format!("{folder}/Cargo.toml: {name} belongs in {}", member.folder));
        }
        for dependency in dependencies {
            let inside = MEMBERS.iter().any(|m| m.name == dependency);
            if inside && !member.may_use.contains(&dependency.as_str()) && dependency != name {
                faults.push(format!("{folder}/Cargo.toml: {name} must not depend on {dependency}"));
            }
            if member.must_not_know.iter().any(|prefix| dependency.starts_with(prefix)) {
                faults.push(format!("{folder}/Cargo.toml: {name} must not know {dependency}"));
            }
        }
    }
    for member in MEMBERS {
        if !members.contains_key(member.name) {
            faults.push(format!("{}: {} is not in the workspace", member.folder, member.name));
        }
    }
    assert_none(&faults);
}

#[test]
fn libraries_have_error_types_of_their_own() {
    let mut faults = Vec::new();
    for (name, (folder, dependencies)) in members() {
        for banned in ["anyhow", "eyre", "color-eyre"] {
            if dependencies.iter().any(|d| d == banned) {
                faults.push(format!("{folder}/Cargo.toml: {name} uses {banned}"));
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn every_member_takes_its_lints_and_facts_from_the_workspace() {
    let mut faults = Vec::new();
    for (name, (folder, _)) in members() {
        let file = format!("{folder}/Cargo.toml");
        let manifest: toml::Table = checkout::read(file.as_ref()).parse().expect("a manifest is TOML");
        if manifest.get("lints").and_then(|l| l.get("workspace")).and_then(toml::Value::as_bool) != Some(true)
        {
            faults.push(format!("{file}: {name} lacks `[lints] workspace = true`"));
        }
        for key in ["version", "edition", "rust-version", "license", "publish"] {
            let inherited = manifest["package"].get(key).and_then(|v| v.get("workspace"));
            if inherited.and_then(toml::Value::as_bool) != Some(true) {
                faults.push(format!("{file}: {name} states `{key}` itself; the workspace does"));
            }
        }
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(dependencies) = manifest.get(section).and_then(toml::Value::as_table) else {
                continue;
            };
            for (dependency, spec) in dependencies {
                if spec.get("workspace").and_then(toml::Value::as_bool) != Some(true) {
                    faults.push(format!("{file}: {dependency} does not come from [workspace.dependencies]"));
                }
            }
        }
    }
    assert_none(&faults);
}
