//! Verdicts: a thousand policies and ten thousand subjects, answers checked.
//!
//! Beside criterion's means it prints the 50th and 99th percentile of single verdicts over all subjects, which is what
//! the pool's limit is about.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use criterion::{Criterion, criterion_group, criterion_main};
use sluice_policy::{Action, BodyFacts, Decision, Facts, PolicySet, Proof, Subject};

/// Subjects, each named by one policy.
const SUBJECTS: usize = 10_000;

/// So many policies: each names its share of the subjects, or a group, and what they may do; one in four has a
/// condition.
fn policies(count: usize) -> PolicySet {
    let mut text = String::new();
    for n in 0..count {
        let subjects: Vec<String> = (n..SUBJECTS).step_by(count).map(|s| format!("\"user-{s}\"")).collect();
        let who = match n % 2 {
            0 => format!("subject = [{}]", subjects.join(", ")),
            _ => format!("groups = [\"team-{n}\"]"),
        };
        let what = match n % 3 {
            0 => {
                "operation = [\"llm.chat\", \"tool:search*\"]\nmodel = [\"gpt-4o*\", \"claude-*\"]".to_owned()
            }
            1 => format!("path = \"/v1/area-{n}/**\"\nmethod = [\"GET\", \"POST\"]"),
            _ => "operation = \"llm.*\"".to_owned(),
        };
        let action = if n % 10 == 9 { "block" } else { "allow" };
        let when = match n % 4 {
            0 => "when = 'request.max_tokens <= 4000 && !(\"word:password\" in request.labels)'\n",
            _ => "",
        };
        text.push_str(&format!("[[policy]]\nid = \"p{n}\"\naction = \"{action}\"\n{who}\n{what}\n{when}"));
    }
    PolicySet::read(&[("bench.toml", &text)]).unwrap_or_else(|error| panic!("{error}"))
}

fn facts(count: usize) -> Vec<Facts> {
    let of = |n: usize| {
        let subject = Subject {
            issuer: "corp".into(),
            id: format!("user-{n}").into(),
            groups: (0..8).map(|g| Arc::from(format!("team-{}", (n * 7 + g * 13) % count))).collect(),
            proof: Proof::Introspection,
            ..Subject::default()
        };
        let body = BodyFacts {
            model: Some("gpt-4o-mini".to_owned()),
            tools_offered: vec!["search_web".to_owned()],
            tools_called: vec!["search_web".to_owned()],
            max_tokens: Some(1_000),
            bytes: 1_024,
            ..BodyFacts::default()
        };
        Facts {
            subject: Arc::new(subject),
            upstream: "llm".into(),
            route: "main".into(),
            method: "POST".to_owned(),
            path: "/v1/chat/completions".to_owned(),
            media_type: "application/json".to_owned(),
            body: Some(body),
            ..Facts::default()
        }
    };
    (0..SUBJECTS).map(of).collect()
}

/// Answers that are known, before anything is timed.
fn check(set: &PolicySet, facts: &[Facts]) {
    let decided = |facts: &Facts| match set.decide(facts) {
        Decision::Decided(verdict) => verdict,
        Decision::NeedsBody => panic!("its body is there"),
    };
    // p0 names user-0, and its condition holds.
    assert!(set.explain(&facts[0]).policies[0].matches);
    let allowed = facts.iter().filter(|facts| decided(facts).action == Action::Allow).count();
    assert!(allowed > 0 && allowed < facts.len(), "{allowed}");
}

fn verdicts(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("policy");
    for count in [100, 1_000, 10_000] {
        let (set, facts) = (policies(count), facts(count));
        check(&set, &facts);
        let mut nanos: Vec<u128> = facts
            .iter()
            .map(|facts| {
                let start = Instant::now();
                black_box(set.decide(black_box(facts)));
                start.elapsed().as_nanos()
            })
            .collect();
        nanos.sort_unstable();
        let at = |percent: usize| nanos[(nanos.len() - 1) * percent / 100] as f64 / 1_000.0;
        println!("{count} policies, {SUBJECTS} subjects: p50 {:.1} us, p99 {:.1} us", at(50), at(99));
        let mut turn = facts.iter().cycle();
        group.bench_function(format!("{count} policies"), |bencher| {
            bencher.iter(|| set.decide(black_box(turn.next().unwrap())));
        });
    }
    group.finish();
}

criterion_group!(benches, verdicts);
criterion_main!(benches);
