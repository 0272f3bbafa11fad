//! Conditions: what is refused when they are read, and what holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{CONDITION_BYTES_MAX, Condition, Failure, Values};
use crate::operation::Acts;
use crate::{BodyFacts, FACT_LIMITS, Facts, Kind, Proof, Subject};

fn facts() -> Facts {
    let subject = Subject {
        issuer: "corp".into(),
        id: "ada".into(),
        groups: vec!["analysts".into(), "eu".into()],
        purpose: Some("report".into()),
        kind: Kind::Human,
        proof: Proof::Introspection,
        ..Subject::default()
    };
    let labels = [("word:password", 2), ("entity:us_ssn", 3)];
    let body = BodyFacts {
        model: Some("gpt-4o".to_owned()),
        tools_offered: vec!["search".to_owned()],
        tools_called: vec!["send_mail".to_owned()],
        labels: labels.into_iter().map(|(label, count)| (Arc::from(label), count)).collect(),
        bytes: 1_000,
        ..BodyFacts::default()
    };
    Facts {
        subject: Arc::new(subject),
        method: "POST".to_owned(),
        path: "/v1/chat/completions".to_owned(),
        query: [("a", "1"), ("b", "x"), ("a", "2")].map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec(),
        headers: BTreeMap::from([("x-team".to_owned(), "blue".to_owned())]),
        body: Some(body),
        ..Facts::default()
    }
}

fn holds(source: &str, facts: &Facts) -> Result<bool, Failure> {
    let condition = Condition::read(source).unwrap_or_else(|faults| panic!("{source}: {faults:?}"));
    let acts = Acts::of(facts);
    condition.holds(&Values { facts, acts: &acts, risk: 7 })
}

#[test]
fn what_holds() {
    let facts = facts();
    for (source, wanted) in [
        ("true", Ok(true)),
        ("subject.id == 'ada' && 'eu' in subject.groups", Ok(true)),
        ("subject.kind == \"human\" && !subject.anonymous", Ok(true)),
        ("subject.chain == ''", Ok(true)),
        ("has(subject.purpose) && !has(subject.chain)", Ok(true)),
        ("\"word:password\" in request.labels", Ok(true)),
        ("request.labels[\"word:password\"] == 2", Ok(true)),
        ("request.counts[\"us_ssn\"] > 2", Ok(true)),
        ("request.counts[\"email\"] > 0", Ok(false)),
        ("request.counts.exists(e, request.counts[e] > 2)", Ok(true)),
        ("request.headers['x-team'] == 'blue'", Ok(true)),
        ("'x-other' in request.headers", Ok(false)),
        ("request.headers['x-other'] == 'blue'", Err(Failure::NoKey)),
        ("request.query['a'] == ['1', '2']", Ok(true)),
        ("'admin' in request.query['role']", Err(Failure::NoKey)),
        ("request.max_tokens < 100", Err(Failure::NoKey)),
        ("has(request.max_tokens) && request.max_tokens < 100", Ok(false)),
        ("request.tools.all(t, t in ['search', 'send_mail'])", Ok(true)),
        ("request.tools_called.exists(t, t.startsWith('send_'))", Ok(true)),
        ("request.tools.filter(t, t.contains('mail')).size() == 1", Ok(true)),
        ("request.tools.map(t, t + '!') == ['search!', 'send_mail!']", Ok(true)),
        ("request.tools.exists_one(t, t == 'search')", Ok(true)),
        ("'tool:send_mail' in request.operations && 'llm.chat' in request.operations", Ok(true)),
        ("request.path.matches('^/v[0-9]+/chat/')", Ok(true)),
        ("matches(request.path, 'embeddings$')", Ok(false)),
        ("request.model.matches('^gpt') && request.path.matches('chat')", Ok(true)),
        ("request.bytes / 0 == 1", Err(Failure::Number)),
        ("9223372036854775807 + request.bytes > 0", Err(Failure::Number)),
        ("subject.groups[9] == 'x'", Err(Failure::Index)),
        ("request.risk == 7", Ok(true)),
        ("int(request.query['b'][0]) > 1", Err(Failure::Other)),
        ("request.bytes > 999 ? subject.id == 'ada' : false", Ok(true)),
        ("size(subject.groups) == 2 && size(subject.id) == 3", Ok(true)),
        ("request.bytes > 0.5", Ok(true)),
        // An error that does not count.
        ("true || request.max_tokens < 100", Ok(true)),
        ("request.max_tokens < 100 || true", Ok(true)),
    ] {
        assert_eq!(holds(source, &facts), wanted, "{source}");
    }
}

#[test]
fn what_is_refused_when_it_is_read() {
    for (source, wanted) in [
        ("", "not a condition"),
        ("1 +", "not a condition"),
        ("1 + 1", "a condition is true or false; this is of type int"),
        ("request.modell == 'x'", "`request` has no `modell`; did you mean `request.model`?"),
        ("request.payload == 'x'", "`request` has no `payload`; there are: upstream,"),
        ("reqest.model == 'x'", "nothing has the name `reqest`; did you mean `request`?"),
        ("request == subject", "`request` is no value itself"),
        ("request.model > 3", "`>` takes no (string, int)"),
        ("request.model + 3 == 'x'", "`+` takes no (string, int)"),
        ("subject.groups == 'eu'", "`==` takes no (list(string), string)"),
        ("'x' in request.model", "`in` takes no (string, string)"),
        ("3 in subject.groups", "`in` takes no (int, list(string))"),
        ("!request.model", "`!` takes no (string)"),
        ("request.model.lower() == 'x'", "`lower` takes no (string)"),
        ("now() > 3", "`now` takes no ()"),
        ("timestamp('2020-01-01T00:00:00Z') != timestamp('2021-01-01T00:00:00Z')", "`timestamp` takes no"),
        ("request.path.matches(subject.id)", "the pattern of `matches` is written out"),
        ("request.path.matches('(')", "not a pattern"),
        ("request.path.matches('a{1000}{1000}{10}')", "not a pattern"),
        ("request.headers[subject.id] == 'x'", "a header field is named by a string"),
        ("request.headers['X-Team'] == 'x'", "write `x-team`"),
        ("request.headers.exists(h, h == 'x')", "header fields are named one by one"),
        ("size(request.headers) > 1", "a header field is named by a string"),
        ("subject.groups.exists(request, request == 'x')", "take another name"),
        ("subject.groups.exists(g, subject.groups.exists(g, g == 'x'))", "take another name"),
        ("{'a': 1}['a'] == 1", "maps and structs can't be written"),
        ("request.model == null", "no fact is of this type"),
        ("request.bytes == 1u", "numbers here have a sign"),
        ("request.?model == 'x'", "not a condition"),
        ("[1, 'a'].size() == 2", "a list of int can't hold a value of type string"),
        ("@matches(request.path, 0)", "not a condition"),
        ("request.tools.exists(a, request.tools.exists(b, request.tools.exists(c, a == b + c)))", "steps"),
    ] {
        let faults = Condition::read(source).map(|_| ()).expect_err(source);
        assert!(faults.iter().any(|fault| fault.reason.contains(wanted)), "{source}: {faults:?}");
    }
}

#[test]
fn every_fault_is_told_and_where() {
    let source = "request.modle == 'x' &&\n  subject.nme == 'y'";
    let faults = Condition::read(source).map(|_| ()).unwrap_err();
    let lines: Vec<usize> = faults.iter().map(|fault| source[..fault.at].matches('\n').count()).collect();
    assert_eq!(lines, [0, 1], "{faults:?}");
}

#[test]
fn length_and_depth_are_bounded() {
    let long = |bytes: usize| format!("{}true", " ".repeat(bytes - 4));
    assert!(Condition::read(&long(CONDITION_BYTES_MAX)).is_ok());
    assert!(Condition::read(&long(CONDITION_BYTES_MAX + 1)).is_err());
    let deep = |depth: usize| format!("{}true{}", "(".repeat(depth), ")".repeat(depth));
    assert!(Condition::read(&deep(10)).is_ok());
    assert!(Condition::read(&deep(1_000)).is_err());
    assert!(Condition::read(&"!".repeat(4_000)).is_err());
}

#[test]
fn the_most_that_facts_hold_is_gone_through_once_or_twice() {
    let many = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>();
    let body = BodyFacts { tools_called: many(FACT_LIMITS.tools_max), ..BodyFacts::default() };
    let facts = Facts { body: Some(body), ..facts() };
    assert_eq!(facts.within(&FACT_LIMITS), Ok(()));
    let twice = "request.tools.all(t, request.tools_called.exists(c, c == t))";
    assert_eq!(holds(twice, &facts), Ok(true));
}

#[test]
fn what_is_read_is_known() {
    let read = |source: &str| Condition::read(source).unwrap();
    assert!(!read("request.path == '/'").reads_body);
    assert!(read("has(request.model)").reads_body);
    assert!(read("request.counts['x'] > 1").reads_body);
    assert!(read("request.risk > 1").reads_risk);
    let headers =
        read("request.headers['x-a'] == '' || 'x-b' in request.headers || has(request.headers.x_c)");
    assert_eq!(headers.headers, ["x-a", "x-b", "x_c"]);
}
