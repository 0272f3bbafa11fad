//! What comes into the build is allowed by `deny.toml`: licences, named crates, sources.
//!
//! `cargo deny` reads the same file; this test needs no tool besides cargo, so it runs wherever the others do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use sluice_tests::checkout;

/// `deny.toml`, parsed.
fn deny() -> toml::Table {
    checkout::read(Path::new("deny.toml")).parse().expect("deny.toml is TOML")
}

/// The strings of a list in a table.
fn strings(table: &toml::Table, section: &str, key: &str) -> BTreeSet<String> {
    let list = table[section][key].as_array().expect("a list");
    list.iter().map(|v| v.as_str().expect("a string").to_owned()).collect()
}

/// The packages that the build knows.
fn packages() -> Vec<Value> {
    let metadata = checkout::cargo_metadata(true);
    let packages = metadata["packages"].as_array().expect("packages").clone();
    assert!(packages.len() > 20, "cargo metadata lists {} packages", packages.len());
    packages
}

/// An SPDX licence expression (SPDX specification, annex D) and whether a list of licences satisfies it.
struct Expression<'a> {
    words: Vec<&'a str>,
    next: usize,
    allowed: &'a BTreeSet<String>,
}

impl<'a> Expression<'a> {
    /// Whether `allowed` satisfies `text`. A slash is the old spelling of `OR`.
    fn satisfied(text: &str, allowed: &BTreeSet<String>) -> bool {
        let spaced = text.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
        let mut expression = Expression { words: spaced.split_whitespace().collect(), next: 0, allowed };
        let satisfied = expression.any();
        assert_eq!(expression.next, expression.words.len(), "{text:?} is not an SPDX expression");
        satisfied
    }

    fn take(&mut self, word: &str) -> bool {
        let found = self.words.get(self.next) == Some(&word);
        self.next += usize::from(found);
        found
    }

    fn any(&mut self) -> bool {
        let mut satisfied = self.all();
        while self.take("OR") {
            satisfied |= self.all();
        }
        satisfied
    }

    fn all(&mut self) -> bool {
        let mut satisfied = self.one();
        while self.take("AND") {
            satisfied &= self.one();
        }
        satisfied
    }

    fn one(&mut self) -> bool {
        if self.take("(") {
            let satisfied = self.any();
            assert!(self.take(")"), "an SPDX expression lacks its closing bracket");
            return satisfied;
        }
        let licence = self.words.get(self.next).expect("a licence").to_string();
        self.next += 1;
        if !self.take("WITH") {
            return self.allowed.contains(&licence);
        }
        let exception = self.words.get(self.next).expect("an exception");
        self.next += 1;
        // An exception only adds permissions.
        self.allowed.contains(&licence) || self.allowed.contains(&format!("{licence} WITH {exception}"))
    }
}

#[test]
fn expressions_are_judged_as_spdx_says() {
    let allowed: BTreeSet<String> = ["MIT", "ISC"].map(String::from).into();
    for (text, satisfied) in [
        ("MIT", true),
        ("GPL-3.0-only", false),
        ("GPL-3.0-only OR MIT", true),
        ("MIT/Apache-2.0", true),
        ("MIT AND GPL-3.0-only", false),
        ("(GPL-3.0-only OR MIT) AND ISC", true),
        ("GPL-3.0-only OR MIT AND GPL-2.0-only", false),
        ("MIT WITH LLVM-exception", true),
        ("GPL-2.0-only WITH Classpath-exception-2.0", false),
    ] {
        assert_eq!(Expression::satisfied(text, &allowed), satisfied, "{text}");
    }
}

#[test]
fn every_licence_is_allowed() {
    let allowed = strings(&deny(), "licenses", "allow");
    let mut faults = Vec::new();
    for package in packages() {
        let name = package["name"].as_str().expect("a name");
        match package["license"].as_str() {
            Some(licence) if Expression::satisfied(licence, &allowed) => {}
            Some(licence) => faults.push(format!("{name}: {licence} is not allowed by deny.toml")),
            None => faults.push(format!("{name}: states no licence")),
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn no_banned_crate_is_in_the_build() {
    let deny = deny();
    let banned: BTreeSet<&str> = deny["bans"]["deny"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|entry| entry["crate"].as_str().expect("a name"))
        .collect();
    let found: Vec<String> = packages()
        .iter()
        .filter_map(|package| package["name"].as_str())
        .filter(|name| banned.contains(name))
        .map(String::from)
        .collect();
    assert!(found.is_empty(), "banned by deny.toml: {found:?}");
}

#[test]
fn every_source_is_a_registry_that_is_allowed() {
    let allowed = strings(&deny(), "sources", "allow-registry");
    let mut faults = Vec::new();
    for package in packages() {
        let name = package["name"].as_str().expect("a name");
        // A path inside the checkout has no source.
        let Some(source) = package["source"].as_str() else {
            continue;
        };
        if !source.strip_prefix("registry+").is_some_and(|url| allowed.contains(url)) {
            faults.push(format!("{name}: from {source}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
