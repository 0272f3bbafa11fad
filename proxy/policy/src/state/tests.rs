//! Chains, quotas and first uses over time.

use std::sync::Arc;

use super::{Memory, MemoryLimits, Usage};
use crate::{Action, BodyFacts, Decision, Facts, PolicySet, Proof, Subject, Verdict};

const ALLOW: &str = "[[policy]]\nid = \"all\"\naction = \"allow\"\nwhen = \"true\"\n";

const CHAIN: &str = r#"
[[chain]]
id = "loan"
purpose = "loan-review"
order = "steps"
minutes_max = 10
never_together = [["read:score", "send:mail"]]

[[chain.steps]]
id = "score"
path = "/score/**"
gives = "read:score"

[[chain.steps]]
id = "think"
operation = "llm.chat"

[[chain.steps]]
id = "mail"
path = "/mail/**"
gives = "send:mail"

[[chain.steps]]
id = "file"
path = "/file/**"
"#;

fn set(text: &str) -> PolicySet {
    PolicySet::read(&[("p.toml", &format!("{ALLOW}{text}"))]).unwrap_or_else(|error| panic!("{error}"))
}

fn memory() -> Memory {
    Memory::new(MemoryLimits::default())
}

fn facts(id: &str, chain: Option<&str>, path: &str) -> Facts {
    let subject = Subject {
        issuer: "corp".into(),
        id: id.into(),
        purpose: chain.map(|_| "loan-review".into()),
        chain: chain.map(Arc::from),
        groups: vec!["red".into()],
        proof: Proof::Introspection,
        ..Subject::default()
    };
    Facts {
        subject: Arc::new(subject),
        upstream: "bank".into(),
        method: "POST".to_owned(),
        path: path.to_owned(),
        body: Some(BodyFacts::default()),
        ..Facts::default()
    }
}

fn verdict(set: &PolicySet, facts: &Facts, memory: &mut Memory, now_ms: u64) -> Arc<Verdict> {
    match set.decide_with(facts, memory, now_ms) {
        Decision::Decided(verdict) => verdict,
        Decision::NeedsBody => panic!("{facts:?} needs its body"),
    }
}

fn goes_on(set: &PolicySet, facts: &Facts, memory: &mut Memory, now_ms: u64) -> bool {
    verdict(set, facts, memory, now_ms).action == Action::Allow
}

#[test]
fn a_chain_goes_its_steps() {
    let set = set(CHAIN);
    for (paths, wanted) in [
        (&["/score/1", "/score/2", "/v1/messages", "/v1/messages"][..], &[true, true, true, true][..]),
        (&["/v1/messages"], &[false]),
        (&["/score/1", "/file/1"], &[true, false]),
        (&["/score/1", "/other"], &[true, false]),
        (&["/score/1", "/v1/messages", "/score/1"], &[true, true, false]),
        // It has read the score: it sends no mail any more.
        (&["/score/1", "/v1/messages", "/mail/1"], &[true, true, false]),
        // What was refused moves nothing.
        (&["/score/1", "/mail/1", "/v1/messages"], &[true, false, true]),
    ] {
        let mut memory = memory();
        let found: Vec<bool> =
            paths.iter().map(|path| goes_on(&set, &facts("bot", Some("c1"), path), &mut memory, 0)).collect();
        assert_eq!(found, wanted, "{paths:?}");
    }
}

#[test]
fn chains_are_apart_and_end() {
    let set = set(CHAIN);
    let mut memory = memory();
    let ten_minutes = 600_000;
    assert!(goes_on(&set, &facts("bot", Some("c1"), "/score/1"), &mut memory, 0));
    // Another subject can't go on with it, nor another chain.
    assert!(!goes_on(&set, &facts("eve", Some("c1"), "/v1/messages"), &mut memory, 0));
    assert!(!goes_on(&set, &facts("bot", Some("c2"), "/v1/messages"), &mut memory, 0));
    assert!(goes_on(&set, &facts("bot", Some("c1"), "/v1/messages"), &mut memory, ten_minutes - 1));
    // It lasts from its last step on, and then begins anew.
    assert!(goes_on(&set, &facts("bot", Some("c1"), "/v1/messages"), &mut memory, 2 * ten_minutes - 2));
    assert!(!goes_on(&set, &facts("bot", Some("c1"), "/v1/messages"), &mut memory, 3 * ten_minutes - 2));
}

#[test]
fn a_member_without_a_chain_is_outside_and_others_are_not_held() {
    let set = set(CHAIN);
    let mut memory = memory();
    let mut lost = facts("bot", Some("c1"), "/score/1");
    lost.subject = Arc::new(Subject { chain: None, ..(*lost.subject).clone() });
    let verdict = verdict(&set, &lost, &mut memory, 0);
    assert_eq!((&verdict.action, &*verdict.policies[0]), (&Action::Block, "loan"));
    assert!(verdict.is_once);
    assert!(goes_on(&set, &facts("ada", None, "/anything"), &mut memory, 0));
    // Without memory, members are outside.
    let Decision::Decided(verdict) = set.decide(&facts("bot", Some("c1"), "/score/1")) else { panic!() };
    assert_eq!(verdict.action, Action::Block);
}

#[test]
fn a_step_that_is_named_is_that_one_alone() {
    let set = set(CHAIN);
    let named = |step: &str, path: &str| {
        let facts = facts("bot", Some("c1"), path);
        let subject = Arc::new(Subject { step: Some(step.into()), ..(*facts.subject).clone() });
        Facts { subject, ..facts }
    };
    let mut memory = memory();
    assert!(!goes_on(&set, &named("think", "/score/1"), &mut memory, 0));
    assert!(!goes_on(&set, &named("unheard", "/score/1"), &mut memory, 0));
    assert!(goes_on(&set, &named("score", "/score/1"), &mut memory, 0));
}

#[test]
fn outside_may_ask() {
    let text =
        CHAIN.replace("order = \"steps\"", "outside = \"approve\"\napprovers = [{ group = \"leads\" }]");
    let set = set(&text);
    let mut memory = memory();
    let outside = facts("bot", Some("c1"), "/other");
    assert!(matches!(verdict(&set, &outside, &mut memory, 0).action, Action::Approve(_)));
    // Any order.
    assert!(goes_on(&set, &facts("bot", Some("c1"), "/mail/1"), &mut memory, 0));
    assert!(!goes_on(&set, &facts("bot", Some("c1"), "/score/1"), &mut memory, 0));
}

#[test]
fn no_room_for_a_chain_is_outside() {
    let set = set(CHAIN);
    let mut memory = Memory::new(MemoryLimits { chains_max: 2, ..MemoryLimits::default() });
    let first = |chain: &str| facts("bot", Some(chain), "/score/1");
    assert!(goes_on(&set, &first("a"), &mut memory, 0));
    assert!(goes_on(&set, &first("b"), &mut memory, 0));
    assert!(!goes_on(&set, &first("c"), &mut memory, 0));
    assert!(goes_on(&set, &first("a"), &mut memory, 0));
    // Those that ended make room.
    assert!(goes_on(&set, &first("c"), &mut memory, 601_000));
}

const QUOTA: &str = "[[quota]]\nid = \"q\"\ngroups = \"red\"\nwindow_seconds = 10\nrequests = 3\ntokens = 100\nbytes = 1000\n";

#[test]
fn a_quota_slides() {
    let set = set(QUOTA);
    let mut memory = memory();
    let ada = facts("ada", None, "/");
    for _ in 0..3 {
        assert!(goes_on(&set, &ada, &mut memory, 0));
    }
    let over = verdict(&set, &ada, &mut memory, 9_999);
    assert_eq!(
        (&over.action, &*over.policies[0], &*over.reason),
        (&Action::Block, "q", "a quota of requests is used up")
    );
    // Another subject has its own.
    assert!(goes_on(&set, &facts("bob", None, "/"), &mut memory, 9_999));
    // At the border all of the last window still counts, half a window later half of it.
    assert!(!goes_on(&set, &ada, &mut memory, 10_000));
    assert!(goes_on(&set, &ada, &mut memory, 15_000));
    assert!(!goes_on(&set, &ada, &mut memory, 15_000));
    assert!(goes_on(&set, &ada, &mut memory, 60_000));
}

#[test]
fn a_clock_that_goes_back_opens_nothing() {
    let set = set(QUOTA);
    let mut memory = memory();
    let ada = facts("ada", None, "/");
    for _ in 0..3 {
        assert!(goes_on(&set, &ada, &mut memory, 100_000));
    }
    assert!(!goes_on(&set, &ada, &mut memory, 0));
    assert!(!goes_on(&set, &ada, &mut memory, 50_000));
}

#[test]
fn tokens_and_bytes_are_counted_afterwards() {
    let set = set(QUOTA);
    let ada = facts("ada", None, "/");
    for usage in [Usage { tokens: 100, ..Usage::default() }, Usage { bytes: 1_000, ..Usage::default() }] {
        let mut memory = memory();
        assert!(goes_on(&set, &ada, &mut memory, 0));
        set.charge(&ada, usage, &mut memory, 0);
        assert!(!goes_on(&set, &ada, &mut memory, 0), "{usage:?}");
    }
    let mut memory = memory();
    set.charge(&ada, Usage { tokens: 99, bytes: 999, requests: 2 }, &mut memory, 0);
    assert!(goes_on(&set, &ada, &mut memory, 0));
}

#[test]
fn groups_count_together() {
    let set = set(&QUOTA.replace("window_seconds", "per = \"group\"\nwindow_seconds"));
    let mut memory = memory();
    for id in ["a", "b", "c"] {
        assert!(goes_on(&set, &facts(id, None, "/"), &mut memory, 0));
    }
    assert!(!goes_on(&set, &facts("d", None, "/"), &mut memory, 0));
    // Who asks in vain uses nothing up.
    let full = Memory::new(MemoryLimits { counters_max: 0, ..MemoryLimits::default() });
    let mut full = full;
    assert!(!goes_on(&set, &facts("a", None, "/"), &mut full, 0));
}

#[test]
fn what_is_refused_uses_nothing_up() {
    let text = format!("{QUOTA}\n[[policy]]\nid = \"no\"\naction = \"block\"\npath = \"/no\"\n");
    let set = set(&text);
    let mut memory = memory();
    for _ in 0..10 {
        assert!(!goes_on(&set, &facts("ada", None, "/no"), &mut memory, 0));
    }
    assert!(goes_on(&set, &facts("ada", None, "/"), &mut memory, 0));
}

const RISK: &str = r#"
[risk]
labels = { "entity:us_ssn" = 30, "word:*" = 5 }
operations = { "tool:send*" = 20, "http.write" = 1 }
volumes = [{ over = 100, weight = 3 }, { over = 1000, weight = 7 }]
first_upstream = 10
first_tool = 4
approve_from = 40
block_from = 70
approvers = [{ group = "security" }]
"#;

#[test]
fn a_score_is_the_sum_of_its_parts() {
    let set = set(RISK);
    let with = |labels: &[&str], tools: &[&str], bytes: u64| {
        let body = BodyFacts {
            labels: labels.iter().map(|label| (Arc::from(*label), 9)).collect(),
            tools_called: tools.iter().map(|tool| (*tool).to_owned()).collect(),
            bytes,
            ..BodyFacts::default()
        };
        Facts { body: Some(body), ..facts("ada", None, "/v1/messages") }
    };
    let mut memory = memory();
    for (facts, score, action) in [
        // A first upstream, and a write.
        (with(&[], &[], 0), 11, "allow"),
        (with(&[], &[], 0), 1, "allow"),
        (with(&[], &[], 101), 4, "allow"),
        (with(&["word:password"], &[], 1_001), 13, "allow"),
        (with(&["entity:us_ssn"], &[], 0), 31, "allow"),
        (with(&["entity:us_ssn"], &["send_mail"], 0), 55, "approve"),
        // Approval was not given: it is a first use still.
        (with(&[], &["send_mail"], 0), 25, "allow"),
        (with(&["entity:us_ssn", "word:a", "word:b"], &["send_mail"], 1_001), 68, "approve"),
        (with(&["entity:us_ssn", "word:a", "word:b", "word:c"], &["send_mail"], 1_001), 73, "block"),
    ] {
        let verdict = verdict(&set, &facts, &mut memory, 0);
        assert_eq!((verdict.risk.score, verdict.action.name()), (score, action), "{:?}", verdict.risk);
        let sum: u32 = verdict.risk.parts.iter().map(|(_, weight)| weight).sum();
        assert_eq!(sum, score);
    }
    // Nobody knows what is in a body that was not read.
    let unread = Facts { body: None, ..facts("ada", None, "/v1/messages") };
    assert_eq!(set.decide_with(&unread, &mut memory, 0), Decision::NeedsBody);
}

#[test]
fn first_uses_that_can_t_be_kept_stay_first() {
    let set = set("[risk]\nfirst_upstream = 10\n");
    let mut memory = Memory::new(MemoryLimits { subjects_max: 1, ..MemoryLimits::default() });
    let score = |id: &str, memory: &mut Memory| verdict(&set, &facts(id, None, "/"), memory, 0).risk.score;
    assert_eq!([score("a", &mut memory), score("a", &mut memory)], [10, 0]);
    assert_eq!([score("b", &mut memory), score("b", &mut memory)], [10, 10]);
}

#[test]
fn faults_of_what_is_stateful() {
    for (text, wanted) in [
        ("[risk]\napprove_from = 1\n", "`approve_from` needs `approvers"),
        ("[risk]\nweights = 1\n", "unknown key `weights`"),
        ("[[chain]]\nid = \"c\"\n", "a chain needs `purpose`"),
        ("[[chain]]\nid = \"c\"\npurpose = \"p\"\n", "a chain needs [[chain.steps]]"),
        ("[[chain]]\nid = \"all\"\npurpose = \"p\"\n", "has the id `all` too"),
        ("[[chain]]\nid = \"risk\"\npurpose = \"p\"\n", "has a meaning of its own"),
        ("[[chain]]\nid = \"c\"\npurpose = \"p\"\nsteps = [{ id = \"s\" }]\n", "a step needs a selector"),
        (
            "[[chain]]\nid = \"c\"\npurpose = \"p\"\nnever_together = [\"a\", \"b\"]\nsteps = [{ id = \"s\", path = \"/\", gives = \"a\" }]\n",
            "no step gives `b`",
        ),
        ("[[quota]]\nid = \"q\"\nrequests = 1\n", "a quota needs `window_seconds`"),
        ("[[quota]]\nid = \"q\"\nwindow_seconds = 1\n", "a quota needs `requests`"),
        ("[[quota]]\nid = \"q\"\nwindow_seconds = 1\nrequests = 1\nper = \"group\"\n", "needs `groups`"),
    ] {
        let error = PolicySet::read(&[("p.toml", &format!("{ALLOW}{text}"))]).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains(wanted), "{text}: {error}");
    }
}
