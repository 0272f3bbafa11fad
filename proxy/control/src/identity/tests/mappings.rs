//! Expressions: what is refused before it runs, and what comes of the rest.

use serde_json::{Value, json};
use sluice_policy::{Kind, Subject};

use crate::identity::{EXPRESSION_BYTES_MAX, GROUPS_MAX, Mapping, NAME_BYTES_MAX, Part, Source, Unproved};

fn subject(part: Part, text: &str, claims: Value) -> Result<Subject, Unproved> {
    let mut mapping = Mapping::new(Source::Token, Kind::Service);
    mapping.set(Source::Token, part, text).unwrap_or_else(|e| panic!("{text}: {e}"));
    mapping.of_claims(claims.as_object().unwrap())
}

#[test]
fn defaults_compile() {
    for source in [Source::Token, Source::Certificate] {
        let mut mapping = Mapping::new(source, Kind::Agent);
        for (name, part) in Part::NAMES {
            let text = part.default_text(source);
            assert_eq!(mapping.texts().any(|(other, _)| other == *part), !text.is_empty(), "{name}");
            assert_eq!(mapping.set(source, *part, text).is_ok(), !text.is_empty() || *part != Part::Subject);
        }
    }
}

#[test]
fn what_is_wrong_is_told_before_it_runs() {
    let long = format!("'{}'", "a".repeat(EXPRESSION_BYTES_MAX - 1));
    for (part, text, reason) in [
        (Part::Subject, "claim.sub", "unknown name `claim`"),
        (Part::Subject, "claims.sub == 'a'", "must give a string"),
        (Part::Subject, "1", "must give a string"),
        (Part::Subject, "", "needs an expression"),
        (Part::Subject, "claims.sub +", "not valid CEL"),
        (Part::Subject, "lower(claims.sub)", "unknown function `lower`"),
        (Part::Subject, "claims.sub.split()", "does not take"),
        (Part::Subject, "'a'.sub", "has no members"),
        (Part::Subject, "size('a').b", "has no members"),
        (Part::Groups, "claims.groups.size()", "must give a list"),
        (Part::Groups, "'a'.map(x, x)", "can't be gone through"),
        (Part::Groups, "claims.a.map(x, claims.b.map(y, y))", "a loop inside a loop"),
        (Part::Kind, "'a' < 1 ? 'b' : 'c'", "`<` does not take"),
        (Part::Kind, "1 ? 'b' : 'c'", "`?` asks a number"),
        (Part::Kind, "!claims.a && 'b'", "does not take"),
        (Part::Kind, "Foo{}", "no types to construct"),
        (Part::Owner, long.as_str(), "at most 4096 bytes"),
    ] {
        let error = Mapping::new(Source::Token, Kind::Human).set(Source::Token, part, text).unwrap_err();
        assert!(error.contains(reason), "{text}: {error}");
    }
    let mut mapping = Mapping::new(Source::Certificate, Kind::Human);
    let error = mapping.set(Source::Certificate, Part::Subject, "certificate.san").unwrap_err();
    assert!(error.contains("has no `san`; it has subject"), "{error}");
    assert!(mapping.set(Source::Certificate, Part::Subject, "claims.sub").is_err());
}

#[test]
fn what_comes_of_claims() {
    let claims = || json!({ "sub": "ann", "scope": "read write", "org": { "id": 7 }, "mail": null });
    for (part, text, wanted) in [
        (Part::Groups, "claims.scope.split(' ')", Ok("read,write")),
        (Part::Groups, "claims.scope.split(' ').filter(s, s != 'read').map(s, 's:' + s)", Ok("s:write")),
        (Part::Groups, "has(claims.roles) ? claims.roles : []", Ok("")),
        (Part::Groups, "claims.?roles", Ok("")),
        (Part::Groups, "claims.roles", Err(Unproved::Subject)),
        (Part::Groups, "[claims.org.id]", Err(Unproved::Subject)),
        (Part::Groups, "['org:' + string(claims.org.id)]", Ok("org:7")),
        (Part::Groups, "['a', '']", Err(Unproved::Subject)),
    ] {
        let groups = subject(part, text, claims()).map(|subject| subject.groups.join(","));
        assert_eq!(groups.as_deref().map_err(|e| *e), wanted, "{text}");
    }
    for (text, wanted) in [
        ("claims.mail", Ok(None)),
        ("claims.?org.?name", Ok(None)),
        ("claims.org.name", Err(Unproved::Subject)),
        ("claims.?sub.orValue('x')", Ok(Some("ann"))),
        ("claims.org.id", Err(Unproved::Subject)),
    ] {
        let owner = subject(Part::Owner, text, claims()).map(|subject| subject.owner);
        assert_eq!(owner.as_ref().map(|owner| owner.as_deref()).map_err(|e| *e), wanted, "{text}");
    }
    let kind = |text| subject(Part::Kind, text, claims()).map(|subject| subject.kind);
    assert_eq!(kind("claims.sub.startsWith('a') ? 'human' : 'agent'"), Ok(Kind::Human));
    assert_eq!(kind("'root'"), Err(Unproved::Subject));
    assert_eq!(kind("claims.?kind"), Ok(Kind::Service));
}

#[test]
fn limits() {
    let groups = |count: usize| {
        let groups: Vec<String> = (0..count).map(|n| n.to_string()).collect();
        subject(Part::Groups, "claims.groups", json!({ "sub": "a", "groups": groups }))
    };
    assert_eq!(groups(GROUPS_MAX).unwrap().groups.len(), GROUPS_MAX);
    assert!(groups(GROUPS_MAX + 1).is_err());
    let name = |length: usize| subject(Part::Subject, "claims.sub", json!({ "sub": "a".repeat(length) }));
    assert!(name(NAME_BYTES_MAX).is_ok() && name(NAME_BYTES_MAX + 1).is_err());
}
