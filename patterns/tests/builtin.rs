//! The packs that are built in hold what they promise: their examples, their names, their size.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;

use sluice_engine::{Action, FieldAction, Validator};
use sluice_patterns::{Pack, PackSet, builtin, examples};

/// The fewest rules of each pack.
const RULES_MIN: &[(&str, usize)] =
    &[("builtin:secrets", 400), ("builtin:pii", 80), ("builtin:words", 20), ("builtin:names", 5)];
/// The fewest examples of each rule that match, and that do not.
const EXAMPLES_MIN: (usize, usize) = (3, 3);
/// The fewest countries of which a number is held against its check digits.
const COUNTRIES_MIN: usize = 40;

fn packs() -> Vec<(&'static str, Pack)> {
    builtin::ALL.iter().map(|b| (b.name, b.load().unwrap())).collect()
}

#[test]
fn every_example_holds() {
    for (name, pack) in packs() {
        let report = examples::run(&pack);
        assert!(report.failures.is_empty(), "{name}: {:#?}", report.failures);
        assert_eq!(report.rules, pack.rules.len());
    }
}

#[test]
fn every_rule_is_described_and_exemplified() {
    for (name, pack) in packs() {
        for rule in &pack.rules {
            let id = &rule.rule.id;
            assert!(!rule.rule.description.is_empty(), "{name}: {id} has no description");
            assert!(!rule.source.is_empty(), "{name}: {id} has no source");
            let matching = rule.examples.iter().filter(|e| !e.matches.is_empty()).count();
            let clean = rule.examples.len() - matching;
            assert!(
                matching >= EXAMPLES_MIN.0 && clean >= EXAMPLES_MIN.1,
                "{name}: {id} has {matching} matching and {clean} clean examples"
            );
        }
    }
}

#[test]
fn packs_are_large_enough_and_load_together() {
    let packs = packs();
    for (name, min) in RULES_MIN {
        let (_, pack) = packs.iter().find(|(n, _)| n == name).unwrap();
        assert!(pack.rules.len() >= *min, "{name} has {} rules", pack.rules.len());
    }
    let set = PackSet::load::<&str>(&[]).unwrap();
    let loaded: Vec<&str> = set.packs().iter().map(|p| p.file.as_str()).collect();
    assert_eq!(loaded, builtin::DEFAULT);
    let names: Vec<&str> = builtin::ALL.iter().map(|b| b.name).collect();
    let all = PackSet::load(&names).unwrap();
    let ids: BTreeSet<&str> =
        all.packs().iter().flat_map(|p| p.rules.iter().map(|r| r.rule.id.as_str())).collect();
    assert_eq!(ids.len(), packs.iter().map(|(_, p)| p.rules.len()).sum::<usize>());
}

/// An entity of a country's numbers begins with the country's code (ISO 3166, and `uk`).
#[test]
fn numbers_of_many_countries_are_held_against_their_check_digits() {
    let (_, pack) = packs().into_iter().find(|(name, _)| *name == "builtin:pii").unwrap();
    let checked =
        pack.rules.iter().filter(|r| r.rule.validators.iter().any(|v| matches!(v, Validator::Scheme(_))));
    let countries: BTreeSet<&str> = checked
        .filter_map(|r| r.rule.entity.split_once('_').map(|(country, _)| country))
        .filter(|country| country.len() == 2)
        .collect();
    assert!(countries.len() >= COUNTRIES_MIN, "{} countries: {countries:?}", countries.len());
}

/// What policies name is a label of `builtin:words`, which masks nothing.
#[test]
fn words_are_labels() {
    let (_, pack) = packs().into_iter().find(|(name, _)| *name == "builtin:words").unwrap();
    for rule in &pack.rules {
        assert_eq!(rule.rule.action, Action::Label, "{}", rule.rule.id);
        assert!(rule.rule.labels.iter().all(|label| label.starts_with("word:")), "{}", rule.rule.id);
        assert!(!rule.rule.labels.is_empty(), "{}", rule.rule.id);
    }
}

/// A trace's identifiers stay, its credentials go, whatever they say.
#[test]
fn fields_of_traces_are_masked_or_kept() {
    let (_, pack) = packs().into_iter().find(|(name, _)| *name == "builtin:otel").unwrap();
    let find =
        |id: &str| pack.fields.iter().find(|f| f.rule.id == id).unwrap_or_else(|| panic!("no field {id}"));
    assert_eq!(find("otel-keep-trace-id").rule.action, FieldAction::Allow);
    assert!(matches!(find("otel-http-request-header-authorization").rule.action, FieldAction::Mask { .. }));
    assert!(pack.fields.iter().all(|f| !f.description.is_empty()));
}

#[test]
fn the_common_kinds_of_personal_data_are_found() {
    let (_, pack) = packs().into_iter().find(|(name, _)| *name == "builtin:pii").unwrap();
    let entities: BTreeSet<&str> = pack.rules.iter().map(|r| r.rule.entity.as_str()).collect();
    for entity in [
        "email",
        "payment_card",
        "us_ssn",
        "us_itin",
        "iban",
        "phone",
        "ip_address",
        "mac_address",
        "date_of_birth",
    ] {
        assert!(entities.contains(entity), "no rule finds {entity}");
    }
}
