//! Which accounts are one person.

use super::*;

fn account(text: &str) -> Account {
    Account::parse(text).unwrap()
}

fn people(across_issuers: AcrossIssuers) -> People {
    let person = |name: &str, accounts: &[&str]| Person {
        name: name.to_owned(),
        accounts: accounts.iter().map(|text| account(text)).collect(),
        ..Person::default()
    };
    let persons = vec![
        person("alice", &["corp:alice", "hub:ally"]),
        person("bob", &["hub:bobby"]),
        person("two names", &["corp:t1", "corp:t2"]),
    ];
    People { persons, across_issuers }
}

#[test]
fn two_accounts_are_two_people_only_where_that_is_known() {
    use Sameness::{Distinct, Same, Unknown};
    for (a, b, linked, by_id) in [
        ("corp:alice", "corp:alice", Same, Same),
        ("corp:alice", "hub:ally", Same, Same),
        ("corp:ALICE", "hub:Ally", Same, Same),
        ("corp:alice", "hub:bobby", Distinct, Distinct),
        ("corp:t1", "corp:t2", Same, Same),
        ("corp:carol", "corp:dave", Distinct, Distinct),
        ("corp:carol", "corp:CAROL", Same, Same),
        ("corp:carol", "hub:carol", Same, Same),
        ("corp:carol", "hub:dave", Unknown, Distinct),
        ("corp:alice", "hub:dave", Distinct, Distinct),
        ("corp:alice", "third:dave", Unknown, Distinct),
        ("third:ally", "corp:alice", Unknown, Distinct),
        ("third:alice", "corp:alice", Same, Same),
    ] {
        for (a, b) in [(a, b), (b, a)] {
            let compare = |across| people(across).compare(&account(a), &account(b));
            assert_eq!(compare(AcrossIssuers::Linked), linked, "{a} {b}");
            assert_eq!(compare(AcrossIssuers::ById), by_id, "{a} {b}");
        }
    }
}

#[test]
fn accounts_are_spelled_with_their_issuer() {
    assert_eq!(account("a:b:c").to_string(), "a:b:c");
    assert_eq!((account("a:b:c").issuer.as_ref(), account("a:b:c").id.as_ref()), ("a", "b:c"));
    for bad in ["", "a", ":a", "a:"] {
        assert_eq!(Account::parse(bad), None, "{bad}");
    }
}

#[test]
fn configured_groups_only_take_away() {
    let mut people = people(AcrossIssuers::Linked);
    people.persons[0].groups = Some(vec!["dba".into()]);
    let of = |id: &str, groups: &[&str]| {
        let groups: Vec<Arc<str>> = groups.iter().map(|g| Arc::from(*g)).collect();
        people.groups(&account(id), &groups).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(of("hub:ally", &["dba", "leads"]), ["dba"]);
    assert!(of("hub:ally", &["leads"]).is_empty());
    assert_eq!(of("hub:bobby", &["leads"]), ["leads"]);
}
