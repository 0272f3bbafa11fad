//! Sets of policies: faults, and who may do what.

use std::sync::Arc;

use proptest::prelude::*;

use super::PolicySet;
use crate::condition::Values;
use crate::operation::Acts;
use crate::set::decide::Standing;
use crate::{Action, BodyFacts, Decision, FACT_LIMITS, Facts, Kind, Proof, Subject, Verdict};

fn set(text: &str) -> PolicySet {
    PolicySet::read(&[("policy.toml", text)]).unwrap_or_else(|error| panic!("{error}"))
}

fn faults(text: &str) -> Vec<String> {
    let error = PolicySet::read(&[("p.toml", text)]).map(|_| ()).unwrap_err();
    error.faults().iter().map(ToString::to_string).collect()
}

fn subject(id: &str, groups: &[&str]) -> Subject {
    Subject {
        issuer: "corp".into(),
        id: id.into(),
        groups: groups.iter().map(|group| Arc::from(*group)).collect(),
        kind: Kind::Human,
        proof: Proof::Introspection,
        ..Subject::default()
    }
}

fn facts(id: &str, groups: &[&str], method: &str, path: &str) -> Facts {
    Facts {
        subject: Arc::new(subject(id, groups)),
        upstream: "llm".into(),
        route: "main".into(),
        method: method.to_owned(),
        path: path.to_owned(),
        body: Some(BodyFacts::default()),
        ..Facts::default()
    }
}

fn decided(set: &PolicySet, facts: &Facts) -> Arc<Verdict> {
    match set.decide(facts) {
        Decision::Decided(verdict) => verdict,
        Decision::NeedsBody => panic!("{facts:?} needs its body"),
    }
}

fn ids(verdict: &Verdict) -> Vec<&str> {
    verdict.policies.iter().map(|id| &**id).collect()
}

const THREE: &str = r#"
[[policy]]
id = "read"
action = "allow"
groups = "analysts"
method = ["GET", "POST"]
path = "/v1/**"
reveal = ["email"]
limits = { bytes_max = 1000, rows_max = 5 }

[[policy]]
id = "write"
action = "approve"
method = "POST"
groups = ["analysts", "admins"]
approvers = [{ group = "leads", min = 2 }, { group = "security" }]
reveal = ["phone"]
limits = { bytes_max = 500 }

[[policy]]
id = "never"
action = "block"
path = "/v1/admin/**"
reason = "administration is elsewhere"
"#;

#[test]
fn block_beats_approve_beats_allow() {
    let set = set(THREE);
    let verdict = decided(&set, &facts("ada", &["analysts"], "GET", "/v1/x"));
    assert_eq!((&verdict.action, ids(&verdict)), (&Action::Allow, vec!["read"]));
    let verdict = decided(&set, &facts("ada", &["analysts"], "POST", "/v1/x"));
    let Action::Approve(terms) = &verdict.action else { panic!("{verdict:?}") };
    assert_eq!(terms.groups, [("leads".into(), 2), ("security".into(), 1)]);
    assert_eq!(ids(&verdict), ["read", "write"]);
    assert_eq!(verdict.reveal.iter().map(|e| &**e).collect::<Vec<_>>(), ["email", "phone"]);
    assert_eq!((verdict.limits.bytes_max, verdict.limits.rows_max), (Some(500), Some(5)));
    for path in ["/v1/admin/x", "/v1/admin", "//v1/admin/x", "/v1//admin/", "/v1/admin//x"] {
        let verdict = decided(&set, &facts("ada", &["analysts"], "GET", path));
        assert_eq!((&verdict.action, ids(&verdict)), (&Action::Block, vec!["never"]), "{path}");
        assert_eq!(verdict.reason, "administration is elsewhere");
        assert!(verdict.reveal.is_empty());
    }
}

#[test]
fn nothing_is_allowed_that_no_policy_allows() {
    for (text, facts) in [
        ("", facts("ada", &["analysts"], "GET", "/v1/x")),
        (THREE, facts("ada", &["others"], "GET", "/v1/x")),
        (THREE, facts("ada", &["analysts"], "DELETE", "/v1/x")),
        (THREE, facts("ada", &["analysts"], "GET", "/v2/x")),
        (THREE, facts("ada", &["analysts"], "get", "/v1/x")),
        (THREE, Facts::default()),
    ] {
        let verdict = decided(&set(text), &facts);
        assert_eq!((&verdict.action, ids(&verdict).len()), (&Action::Block, 0), "{facts:?}");
    }
}

#[test]
fn who_is_nobody_matches_no_pattern_of_who() {
    let set = set("[[policy]]\nid = \"a\"\naction = \"allow\"\nsubject = \"*\"\n");
    assert_eq!(decided(&set, &facts("", &[], "GET", "/")).action, Action::Block);
    assert_eq!(decided(&set, &facts("x", &[], "GET", "/")).action, Action::Allow);
    let services = self::set("[[policy]]\nid = \"a\"\naction = \"allow\"\nkind = \"service\"\n");
    assert_eq!(
        decided(&services, &Facts { body: Some(BodyFacts::default()), ..Facts::default() }).action,
        Action::Block
    );
}

#[test]
fn a_condition_that_fails_counts_against_the_request() {
    let policy = |action: &str| {
        let more = if action == "approve" { "approvers = [{ group = \"g\" }]\n" } else { "" };
        format!(
            "[[policy]]\nid = \"all\"\naction = \"allow\"\nwhen = \"true\"\n[[policy]]\nid = \"x\"\naction = \"{action}\"\n\
             when = \"request.headers['x-a'] == 'b'\"\n{more}"
        )
    };
    let request = facts("ada", &[], "GET", "/");
    assert_eq!(decided(&set(&policy("block")), &request).action, Action::Block);
    assert_eq!(decided(&set(&policy("approve")), &request).action, Action::Block);
    assert_eq!(ids(&decided(&set(&policy("allow")), &request)), ["all"]);
}

#[test]
fn a_body_is_asked_for_only_where_it_counts() {
    let text = r#"
[[policy]]
id = "chat"
action = "allow"
groups = "analysts"
model = "gpt-*"

[[policy]]
id = "secrets"
action = "block"
when = '"word:password" in request.labels'

[[policy]]
id = "banned"
action = "block"
subject = "eve"
"#;
    let set = set(text);
    let head =
        |id: &str, group: &str| Facts { body: None, ..facts(id, &[group], "POST", "/v1/chat/completions") };
    assert_eq!(set.decide(&head("ada", "analysts")), Decision::NeedsBody);
    // Nobody would let it on, or somebody blocks it already.
    assert_eq!(decided(&set, &head("ada", "others")).action, Action::Block);
    assert_eq!(ids(&decided(&set, &head("eve", "analysts"))), ["banned"]);
    let with = |model: &str, labels: &[&str]| {
        let body = BodyFacts {
            model: Some(model.to_owned()),
            labels: labels.iter().map(|label| (Arc::from(*label), 1)).collect(),
            ..BodyFacts::default()
        };
        Facts { body: Some(body), ..head("ada", "analysts") }
    };
    assert_eq!(decided(&set, &with("gpt-4o", &[])).action, Action::Allow);
    assert_eq!(decided(&set, &with("claude", &[])).action, Action::Block);
    assert_eq!(ids(&decided(&set, &with("gpt-4o", &["word:password"]))), ["secrets"]);
}

#[test]
fn tools_of_an_allow_are_all_that_may_be_there() {
    let set = set("[[policy]]\nid = \"a\"\naction = \"allow\"\ntool = [\"search\", \"read_*\"]\n");
    for (offered, called, allowed) in [
        (vec![], vec![], true),
        (vec!["search"], vec!["read_mail"], true),
        (vec!["search", "send"], vec![], false),
        (vec![], vec!["send"], false),
    ] {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let body = BodyFacts {
            tools_offered: owned(&offered),
            tools_called: owned(&called),
            ..BodyFacts::default()
        };
        let facts = Facts { body: Some(body), ..facts("ada", &[], "POST", "/v1/messages") };
        assert_eq!(decided(&set, &facts).action == Action::Allow, allowed, "{offered:?} {called:?}");
    }
}

#[test]
fn shadow_is_told_and_changes_nothing() {
    let text =
        format!("{THREE}\n[[policy]]\nid = \"try\"\naction = \"block\"\nmethod = \"GET\"\nshadow = true\n");
    let verdict = decided(&set(&text), &facts("ada", &["analysts"], "GET", "/v1/x"));
    assert_eq!((&verdict.action, ids(&verdict)), (&Action::Allow, vec!["read"]));
    assert_eq!(verdict.shadow, [("try".into(), "block")]);
    let text = "[[policy]]\nid = \"try\"\naction = \"allow\"\nmethod = \"GET\"\nshadow = true\n";
    assert_eq!(decided(&set(text), &facts("ada", &[], "GET", "/")).action, Action::Block);
}

#[test]
fn fields_of_policies_that_have_nothing_in_common() {
    let policy = |id: &str, path: &str| {
        format!(
            "[[policy]]\nid = \"{id}\"\naction = \"allow\"\nmethod = \"GET\"\nfields = {{ allow = [\"{path}\"] }}\n"
        )
    };
    let request = facts("ada", &[], "GET", "/");
    let verdict = decided(&set(&format!("{}{}", policy("a", "$.x"), policy("b", "$.x.y"))), &request);
    assert_eq!(verdict.fields.as_ref().unwrap().allow, ["$.x.y"]);
    let verdict = decided(&set(&format!("{}{}", policy("a", "$.x"), policy("b", "$.y"))), &request);
    assert_eq!(verdict.action, Action::Block);
}

#[test]
fn a_credential_is_for_what_it_is_for() {
    let set = set("[[policy]]\nid = \"a\"\naction = \"allow\"\nwhen = \"true\"\n");
    let with = |scope: &str| {
        let subject = Arc::new(Subject { scopes: vec![scope.into()], ..subject("ada", &[]) });
        decided(&set, &Facts { subject, ..facts("ada", &[], "GET", "/") }).action.clone()
    };
    assert_eq!(with("upstream:llm"), Action::Allow);
    assert_eq!(with("upstream:traces"), Action::Block);
    assert_eq!(with("method:POST"), Action::Block);
}

#[test]
fn facts_over_their_limits_are_refused() {
    let set = set("[[policy]]\nid = \"a\"\naction = \"allow\"\nwhen = \"true\"\n");
    let groups = |count: usize| (0..count).map(|n| Arc::from(n.to_string())).collect::<Vec<Arc<str>>>();
    let with = |count: usize| {
        let subject = Arc::new(Subject { groups: groups(count), ..subject("ada", &[]) });
        Facts { subject, ..facts("ada", &[], "GET", "/") }
    };
    assert_eq!(decided(&set, &with(FACT_LIMITS.groups_max)).action, Action::Allow);
    assert_eq!(decided(&set, &with(FACT_LIMITS.groups_max + 1)).action, Action::Block);
    let long = |bytes: usize| Facts { path: "/".repeat(bytes), ..facts("ada", &[], "GET", "/") };
    assert_eq!(decided(&set, &long(FACT_LIMITS.text_bytes_max)).action, Action::Allow);
    assert_eq!(decided(&set, &long(FACT_LIMITS.text_bytes_max + 1)).action, Action::Block);
    let tools = |count: usize| {
        let body = BodyFacts { tools_called: vec!["t".to_owned(); count], ..BodyFacts::default() };
        Facts { body: Some(body), ..facts("ada", &[], "GET", "/") }
    };
    assert_eq!(decided(&set, &tools(FACT_LIMITS.tools_max)).action, Action::Allow);
    assert_eq!(decided(&set, &tools(FACT_LIMITS.tools_max + 1)).action, Action::Block);
}

#[test]
fn every_fault_is_told_with_its_line() {
    let text = r#"
[[policy]]
id = "a"
action = "permit"
grups = "x"
method = "get"

[[policy]]
id = "a"
action = "allow"

[[policy]]
action = "block"
reveal = ["email"]
kind = "robot"
operation = ["llm.chatt"]
when = '''
request.modle == "x" &&
subject.nme == "y"
'''

[[policy]]
id = "c"
action = "approve"
path = "v1"
groups = []
fields = { allow = ["$["] }
limits = { bytes_max = -1 }
"#;
    let found = faults(text);
    for wanted in [
        "p.toml:4: expected one of `allow`, `approve`, `block`",
        "p.toml:5: unknown key `grups`; did you mean `groups`?",
        "p.toml:6: `method`: methods are case-sensitive: write `GET`",
        "p.toml:9: what is on line 3 has the id `a` too",
        "p.toml:8: this allows everything to everybody",
        "p.toml:12: each policy needs `id`",
        "p.toml:15: `kind`: a subject is one of human, service, agent",
        "p.toml:16: `operation`: no operation `llm.chatt`",
        "p.toml:18: `when`: `request` has no `modle`; did you mean `request.model`?",
        "p.toml:19: `when`: `subject` has no `nme`",
        "p.toml:22: a policy that asks for approval needs `approvers",
        "p.toml:25: `path`: a path begins with `/`",
        "p.toml:26: `groups` is empty",
        "p.toml:27: `allow`: not a path",
        "p.toml:28: expected 0 to",
    ] {
        assert!(found.iter().any(|fault| fault.starts_with(wanted)), "{wanted}\n{}", found.join("\n"));
    }
    assert!(faults("[[policy]\n")[0].starts_with("p.toml:1: not valid TOML"));
}

#[test]
fn the_version_is_of_all_texts() {
    let version = |texts: &[&str]| {
        let files: Vec<(&str, &str)> = texts.iter().map(|text| ("f", *text)).collect();
        PolicySet::read(&files).unwrap().version().to_string()
    };
    assert_eq!(version(&[THREE]).len(), 16);
    assert_eq!(version(&[THREE]), version(&[THREE]));
    assert_ne!(version(&[THREE]), version(&[THREE, "# more"]));
}

#[test]
fn why_is_told_of_every_policy() {
    let set = set(THREE);
    let explained = set.explain(&facts("ada", &["analysts"], "GET", "/v1/x"));
    let told: Vec<String> = explained.policies.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "policy.toml:2: yes: `read` (allow): its selectors and its condition hold",
            "policy.toml:11: no: `write` (approve): `method` does not hold",
            "policy.toml:20: no: `never` (block): `path` does not hold",
        ]
    );
}

/// A policy of small words, as a line of TOML each.
fn any_policy() -> impl Strategy<Value = String> {
    let one = |values: &'static [&'static str]| proptest::option::of(proptest::sample::select(values));
    let action = proptest::sample::select(&["allow", "allow", "approve", "block"][..]);
    let paths = one(&["/a", "/a/*", "/a/**", "/*/b", "/**"]);
    let operations = one(&["http.get", "http.write", "llm.chat", "tool:x", "*", "http.*"]);
    let whens = one(&["request.method == 'GET'", "request.headers['x'] == 'y'", "request.model == 'm'"]);
    (
        action,
        one(&["u1", "u*", "u2"]),
        one(&["g1", "g2"]),
        paths,
        operations,
        one(&["x", "y*"]),
        whens,
        any::<bool>(),
    )
        .prop_map(|(action, subject, group, path, operation, tool, when, shadow)| {
            let mut text = format!("action = \"{action}\"\nshadow = {}\n", shadow && action == "block");
            let operation = operation.filter(|name| !(action == "allow" && *name == "tool:x"));
            for (key, value) in [
                ("subject", subject),
                ("groups", group),
                ("path", path),
                ("operation", operation),
                ("tool", tool),
                ("when", when.or(Some("true"))),
            ] {
                if let Some(value) = value {
                    text.push_str(&format!("{key} = \"{value}\"\n"));
                }
            }
            if action == "approve" {
                text.push_str("approvers = [{ group = \"leads\" }]\n");
            }
            text
        })
}

fn any_facts() -> impl Strategy<Value = Facts> {
    let one = proptest::sample::select::<&'static str>;
    let body =
        (one(vec!["m", "n"]), proptest::collection::vec(one(vec!["x", "y1", "z"]), 0..3), any::<bool>());
    (
        one(vec!["u1", "u2", "v", ""]),
        proptest::sample::subsequence(vec!["g1", "g2"], 0..=2),
        one(vec!["GET", "POST"]),
        one(vec!["/a", "/a/b", "//a/b/", "/c/b", "/", "/v1/messages"]),
        body,
    )
        .prop_map(|(id, groups, method, path, (model, tools, has_body))| {
            let body = BodyFacts {
                model: Some(model.to_owned()),
                tools_called: tools.iter().map(|tool| (*tool).to_owned()).collect(),
                ..BodyFacts::default()
            };
            Facts { body: has_body.then_some(body), ..facts(id, &groups, method, path) }
        })
}

fn with_ids(policies: &[String]) -> Vec<String> {
    let numbered = policies.iter().enumerate();
    numbered.map(|(n, policy)| format!("[[policy]]\nid = \"p{n}\"\n{policy}")).collect()
}

fn read(files: &[String]) -> PolicySet {
    let files: Vec<(&str, &str)> = files.iter().map(|text| ("f", text.as_str())).collect();
    PolicySet::read(&files).unwrap_or_else(|error| panic!("{error}\n{files:?}"))
}

fn severity(decision: &Decision) -> u8 {
    match decision {
        Decision::NeedsBody => 3,
        Decision::Decided(verdict) => match verdict.action {
            Action::Allow => 0,
            Action::Approve(_) => 1,
            Action::Block => 2,
        },
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// The index leaves out no policy that matches.
    #[test]
    fn the_index_agrees_with_going_through_all(
        policies in proptest::collection::vec(any_policy(), 1..12),
        facts in any_facts(),
    ) {
        let set = read(&[with_ids(&policies).concat()]);
        let acts = Acts::of(&facts);
        let values = Values { facts: &facts, acts: &acts, risk: 0 };
        let candidates: Vec<usize> = set.index.candidates(&facts, &acts).iter().collect();
        for policy in &set.policies {
            let standing = policy.standing(&values);
            let is_out = matches!(standing, Standing::Selector(_));
            prop_assert!(is_out || candidates.contains(&policy.number), "{standing:?} {policies:?} {facts:?}");
        }
    }

    /// Neither files nor their order change what is done.
    #[test]
    fn order_changes_nothing(
        policies in proptest::collection::vec(any_policy(), 1..8),
        facts in any_facts(),
    ) {
        let mut files = with_ids(&policies);
        let whole = read(&[files.concat()]).decide(&facts);
        files.reverse();
        let turned = read(&files).decide(&facts);
        prop_assert_eq!(severity(&whole), severity(&turned));
        if let (Decision::Decided(a), Decision::Decided(b)) = (&whole, &turned) {
            prop_assert_eq!(&a.action, &b.action);
            prop_assert_eq!(&a.reveal, &b.reveal);
        }
    }

    /// What is blocked by a policy stays blocked, whatever else is allowed; and what a policy that blocks says counts.
    #[test]
    fn another_policy_never_lifts_a_block(
        policies in proptest::collection::vec(any_policy(), 1..8),
        more in any_policy(),
        facts in any_facts(),
    ) {
        let facts = Facts { body: Some(facts.body.clone().unwrap_or_default()), ..facts };
        let before = read(&[with_ids(&policies).concat()]).decide(&facts);
        let mut all = policies.clone();
        all.push(more);
        let after = read(&[with_ids(&all).concat()]).decide(&facts);
        let blocks = |decision: &Decision| match decision {
            Decision::Decided(verdict) => verdict.action == Action::Block && !verdict.policies.is_empty(),
            Decision::NeedsBody => false,
        };
        prop_assert!(!blocks(&before) || blocks(&after), "{all:?} {facts:?}");
    }

    /// What is decided by the head alone is decided alike once the body is read.
    #[test]
    fn a_body_changes_nothing_that_is_decided(
        policies in proptest::collection::vec(any_policy(), 1..8),
        facts in any_facts(),
    ) {
        let set = read(&[with_ids(&policies).concat()]);
        let head = set.decide(&Facts { body: None, ..facts.clone() });
        let whole = set.decide(&Facts { body: Some(facts.body.clone().unwrap_or_default()), ..facts });
        prop_assert_ne!(severity(&whole), 3);
        prop_assert!(severity(&head) == 3 || severity(&head) == severity(&whole), "{head:?} {whole:?}");
    }
}
