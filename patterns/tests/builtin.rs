//! The packs that are built in hold what they promise: their examples, their names, their size.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;

use sluice_patterns::{Pack, PackSet, builtin, examples};

/// The fewest rules of each pack.
const RULES_MIN: &[(&str, usize)] = &[("builtin:secrets", 60), ("builtin:pii", 40)];
/// The fewest examples of each rule that match, and that do not.
const EXAMPLES_MIN: (usize, usize) = (1, 1);

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
    let ids: BTreeSet<&str> =
        set.packs().iter().flat_map(|p| p.rules.iter().map(|r| r.rule.id.as_str())).collect();
    assert_eq!(ids.len(), packs.iter().map(|(_, p)| p.rules.len()).sum::<usize>());
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
