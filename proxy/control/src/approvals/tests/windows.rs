//! Windows let through what was shown to their approvers, for as long as they said, and no more.

use std::sync::Arc;

use super::desk::{Desk, forbidden, groups, person, request};
use super::scenarios;
use crate::approvals::*;

scenarios!(
    a_window_lets_its_scope_through,
    a_window_is_revoked_at_once,
    windows_that_are_too_wide_are_refused,
);

fn wanted() -> WindowRequest {
    WindowRequest {
        upstream: "llm".into(),
        operations: vec!["llm.*".into()],
        reveal: vec!["email".into()],
        fields: None,
        minutes: 480,
        reason: "moving the archive".to_owned(),
        groups: vec![WindowGroup { group: "leads".into(), min: 2 }],
    }
}

async fn opened(desk: &Desk) -> ApprovalId {
    let id = desk.approvals.ask_window(&person("alice", &[]), wanted(), Origin::default()).await.unwrap();
    forbidden(desk.approve(&id, &person("alice", &["leads"])).await, &Forbidden::OwnRequest);
    assert_eq!(desk.approve(&id, &person("bob", &["leads"])).await, Ok(State::Pending));
    assert_eq!(desk.approve(&id, &person("carol", &["leads"])).await, Ok(State::Approved));
    id
}

mod scenario {
    use super::*;

    pub(super) async fn a_window_lets_its_scope_through(database: Database) {
        let desk = Desk::open(database).await;
        let id = opened(&desk).await;
        let alice = person("alice", &[]);
        let through = Ok(Asked::Consumed { id: id.clone(), through_window: true });
        let of = |what: &str, terms| request(&alice, what, terms);
        let asked = of("1", &[("leads", 2)]);
        assert_eq!(desk.ask(&asked).await, through);
        assert_eq!(desk.ask(&asked).await, through, "again and again");
        let less = ApprovalRequest { reveal: ["email".into()].into(), ..of("2", &[("leads", 1)]) };
        assert_eq!(desk.ask(&less).await, through);
        let outside = [
            of("3", &[("leads", 3)]),
            of("4", &[("dba", 1)]),
            of("5", &[("dba", 1), ("leads", 1)]),
            ApprovalRequest { operation: "tool:rm".into(), ..asked.clone() },
            ApprovalRequest { upstream: "db".into(), ..asked.clone() },
            ApprovalRequest { reveal: ["us_ssn".into()].into(), ..asked.clone() },
            request(&person("mallory", &[]), "1", &[("leads", 1)]),
        ];
        for other in &outside {
            desk.pending(other).await;
        }
        let uses: Vec<Transition> = desk.record.taken.lock().unwrap().clone();
        let uses: Vec<&Transition> = uses.iter().filter(|told| told.step == Step::Use).collect();
        assert_eq!(uses.len(), 3);
        assert_eq!(uses[0].request_id, asked.request_id, "what went through is linked");
        assert_eq!(uses[0].digest.as_deref(), Some(asked.digest.to_string().as_str()));
        desk.hands.pass(480 * 60_000 - 1);
        assert_eq!(desk.ask(&asked).await, through);
        desk.hands.pass(1);
        desk.pending(&asked).await;
    }

    pub(super) async fn a_window_is_revoked_at_once(database: Database) {
        let desk = Desk::open(database).await;
        let id = opened(&desk).await;
        let asked = request(&person("alice", &[]), "1", &[("leads", 1)]);
        assert!(matches!(desk.ask(&asked).await, Ok(Asked::Consumed { .. })));
        assert_eq!(desk.revoke(&id, &person("dave", &["leads"])).await, Ok(State::Revoked));
        desk.pending(&asked).await;
    }

    pub(super) async fn windows_that_are_too_wide_are_refused(database: Database) {
        let desk = Desk::open(database).await;
        let alice = person("alice", &[]);
        let mut tries: Vec<WindowRequest> =
            [0, -1, 481, i64::MAX].into_iter().map(|minutes| WindowRequest { minutes, ..wanted() }).collect();
        for operations in [&[][..], &["*"], &[""], &["a*b"], &["**"]] {
            let operations = operations.iter().map(|name| Arc::from(*name)).collect();
            tries.push(WindowRequest { operations, ..wanted() });
        }
        tries.push(WindowRequest { operations: groups(&["x"; 65]), ..wanted() });
        tries.push(WindowRequest { upstream: "".into(), ..wanted() });
        tries.push(WindowRequest { groups: Vec::new(), ..wanted() });
        for asked in tries {
            let shown = format!("{asked:?}");
            let done = desk.approvals.ask_window(&alice, asked, Origin::default()).await;
            assert!(matches!(done, Err(ApprovalError::Invalid(_) | ApprovalError::Terms)), "{shown}");
        }
        let reasonless = WindowRequest { reason: " ".to_owned(), ..wanted() };
        forbidden(desk.approvals.ask_window(&alice, reasonless, Origin::default()).await, &Forbidden::Reason);
    }
}

#[test]
fn a_scope_covers_what_is_in_it() {
    let scope = |operations: &[&str], reveal: &[&str], fields: Option<&[&str]>| Scope {
        operations: groups(operations),
        reveal: groups(reveal).into_iter().collect(),
        fields: fields.map(|paths| paths.iter().map(|path| (*path).to_owned()).collect()),
    };
    let held = scope(&["llm.*", "sql.select"], &["email"], Some(&["a", "b"]));
    for (asked, covered) in [
        (scope(&["llm.chat"], &[], Some(&["a"])), true),
        (scope(&["sql.select"], &["email"], Some(&["a", "b"])), true),
        (scope(&["sql.select_into"], &[], Some(&["a"])), false),
        (scope(&["llm"], &[], Some(&["a"])), false),
        (scope(&["llm.chat"], &["us_ssn"], Some(&["a"])), false),
        (scope(&["llm.chat"], &[], Some(&["c"])), false),
        (scope(&["llm.chat"], &[], None), false),
    ] {
        assert_eq!(held.covers(&asked), covered, "{asked:?}");
    }
    assert!(scope(&["a"], &[], None).covers(&scope(&["a"], &[], Some(&["x"]))));
}
