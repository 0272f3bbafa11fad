//! A grant is for one request, once; everything else needs another one.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use sluice_policy::Subject;

use super::desk::{Desk, agent, forbidden, person, request, settings};
use super::scenarios;
use crate::approvals::service::lock;
use crate::approvals::*;

scenarios!(
    a_grant_is_used_up_once,
    a_denial_answers_for_the_request,
    a_changed_request_needs_another_grant,
    races_have_one_winner,
    a_client_that_leaves_cancels,
    a_watch_hears_what_is_decided,
    what_is_not_recorded_goes_nowhere,
    limits_hold,
    a_closed_store_refuses,
    what_is_wrong_is_not_asked_for,
);

mod scenario {
    use super::*;

    pub(super) async fn a_grant_is_used_up_once(database: Database) {
        let desk = Desk::open(database).await;
        let asked = request(&person("alice", &[]), "my password", &[("leads", 1)]);
        let id = desk.pending(&asked).await;
        assert_eq!(desk.pending(&asked).await, id, "the same request is one approval");
        assert_eq!(desk.approve(&id, &person("bob", &["leads"])).await, Ok(State::Approved));
        let consumed = Asked::Consumed { id: id.clone(), through_window: false };
        assert_eq!(desk.ask(&asked).await, Ok(consumed));
        let again = desk.pending(&asked).await;
        assert_ne!(again, id, "a replay needs a new approval");
        assert_eq!(desk.steps(), [Step::Ask, Step::Approve, Step::Consume, Step::Ask]);
        let told = lock(&desk.record.taken).clone();
        let approve = &told[1];
        assert_eq!(approve.who.as_ref().unwrap().to_string(), "corp:bob");
        assert_eq!((approve.from, approve.to), (Some(State::Pending), State::Approved));
        assert_eq!((approve.why.as_str(), approve.seq), ("looks right", 2));
        assert_eq!(approve.digest.as_deref(), Some(asked.digest.to_string().as_str()));
        assert_eq!(told[2].request_id, asked.request_id);
    }

    pub(super) async fn a_denial_answers_for_the_request(database: Database) {
        let desk = Desk::open(database).await;
        let asked = request(&person("alice", &[]), "x", &[("leads", 2)]);
        let id = desk.pending(&asked).await;
        assert_eq!(desk.approve(&id, &person("bob", &["leads"])).await, Ok(State::Pending));
        assert_eq!(desk.deny(&id, &person("carol", &["leads"])).await, Ok(State::Denied));
        let denied = Asked::Denied { id: id.clone(), reason: "not today".to_owned() };
        assert_eq!(desk.ask(&asked).await, Ok(denied));
        let late = desk.approve(&id, &person("dave", &["leads"])).await;
        forbidden(late, &Forbidden::NotNow(NotNow { state: State::Denied, step: Step::Vote }));
        desk.hands.pass(15 * 60_000 + 1);
        assert_ne!(desk.pending(&asked).await, id, "after a while it may be asked again");
    }

    pub(super) async fn a_changed_request_needs_another_grant(database: Database) {
        let desk = Desk::open(database).await;
        let alice = person("alice", &[]);
        let asked = request(&alice, "x", &[("leads", 1)]);
        let id = desk.pending(&asked).await;
        desk.approve(&id, &person("bob", &["leads"])).await.unwrap();
        let mut acting = Subject::clone(&alice);
        acting.actor = Some("bot".into());
        let others = [
            request(&alice, "y", &[("leads", 1)]),
            request(&person("mallory", &[]), "x", &[("leads", 1)]),
            request(&Arc::new(acting), "x", &[("leads", 1)]),
            ApprovalRequest { upstream: "other".into(), ..asked.clone() },
            ApprovalRequest { policy_version: "f".into(), ..asked.clone() },
        ];
        for other in &others {
            assert_ne!(desk.pending(other).await, id);
        }
        assert!(matches!(desk.ask(&asked).await, Ok(Asked::Consumed { .. })), "the grant is still there");
    }

    /// Two nodes, each of which asks for every request at once.
    pub(super) async fn races_have_one_winner(database: Database) {
        let races = if std::env::var("SLUICE_LONG").is_ok_and(|v| v == "1") { 10_000 } else { 500 };
        let settings =
            Settings { pending_of_subject_max: 1_000_000, op_ms_max: 60_000, ..settings(database) };
        let (one, other) = (Desk::with(settings.clone()).await, Desk::with(settings).await);
        let (alice, bob) = (person("alice", &[]), person("bob", &["leads"]));
        let all: Vec<ApprovalRequest> =
            (0..races).map(|n| request(&alice, &n.to_string(), &[("leads", 1)])).collect();
        for some in all.chunks(100) {
            let granted = some.iter().map(|asked| {
                let (approvals, asked, bob) = (Arc::clone(&one.approvals), asked.clone(), Arc::clone(&bob));
                tokio::spawn(async move {
                    let Asked::Pending { id, .. } = approvals.ask(asked).await.unwrap() else { panic!() };
                    approvals.approve(&id, bob, "go", Origin::default()).await.unwrap();
                })
            });
            for task in granted.collect::<Vec<_>>() {
                task.await.unwrap();
            }
        }
        let mut tasks = Vec::new();
        for some in all.chunks(50) {
            // One from the front, the other from the back: neither is always first.
            for (desk, is_back) in [(&one, false), (&other, true)] {
                let (approvals, mut some) = (Arc::clone(&desk.approvals), some.to_vec());
                if is_back {
                    some.reverse();
                }
                tasks.push(tokio::spawn(async move {
                    let mut won = 0;
                    for asked in some {
                        won += usize::from(matches!(
                            approvals.ask(asked).await.unwrap(),
                            Asked::Consumed { .. }
                        ));
                    }
                    won
                }));
            }
        }
        let mut won = 0;
        for task in tasks {
            won += task.await.unwrap();
        }
        assert_eq!(won, races, "each grant was used exactly once");
        let consumed = |desk: &Desk| desk.steps().iter().filter(|step| **step == Step::Consume).count();
        assert_eq!(consumed(&one) + consumed(&other), races);
        assert!(consumed(&one) > 0 && consumed(&other) > 0, "both nodes took part");
    }

    pub(super) async fn a_client_that_leaves_cancels(database: Database) {
        let desk = Desk::open(database).await;
        let asked = request(&person("alice", &[]), "x", &[("leads", 1)]);
        let id = desk.pending(&asked).await;
        let (first, second) =
            (desk.approvals.watch(&id).await.unwrap(), desk.approvals.watch(&id).await.unwrap());
        assert_eq!(desk.approvals.cancel(first).await, Ok(false), "another client waits for it");
        assert_eq!(desk.approvals.cancel(second).await, Ok(true));
        let late = desk.approve(&id, &person("bob", &["leads"])).await;
        forbidden(late, &Forbidden::NotNow(NotNow { state: State::Cancelled, step: Step::Vote }));
        let id = desk.pending(&asked).await;
        let watch = desk.approvals.watch(&id).await.unwrap();
        desk.approve(&id, &person("bob", &["leads"])).await.unwrap();
        assert_eq!(desk.approvals.cancel(watch).await, Ok(false), "what is approved stays so");
    }

    pub(super) async fn a_watch_hears_what_is_decided(database: Database) {
        let one = Desk::open(database.clone()).await;
        let other = Desk::at(settings(database), Arc::clone(&one.hands)).await;
        let (alice, bob) = (person("alice", &[]), person("bob", &["leads"]));
        for (desk, word) in [(&one, "here"), (&other, "on another node")] {
            let id = one.pending(&request(&alice, word, &[("leads", 1)])).await;
            let mut watch = one.approvals.watch(&id).await.unwrap();
            assert_eq!(watch.state(), State::Pending);
            let (decided, done) = tokio::join!(watch.decided(), desk.deny(&id, &bob));
            assert_eq!((decided, done), (Ok(State::Denied), Ok(State::Denied)), "{word}");
        }
        let id = one.pending(&request(&alice, "late", &[("leads", 1)])).await;
        one.hands.pass(15 * 60_000);
        let watch = one.approvals.watch(&id).await.unwrap();
        assert_eq!(watch.state(), State::Expired, "before the sweeper came by");
    }

    pub(super) async fn what_is_not_recorded_goes_nowhere(database: Database) {
        let desk = Desk::open(database.clone()).await;
        let asked = request(&person("alice", &[]), "x", &[("leads", 1)]);
        let id = desk.pending(&asked).await;
        desk.approve(&id, &person("bob", &["leads"])).await.unwrap();
        desk.record.fails.store(true, Ordering::SeqCst);
        assert_eq!(desk.ask(&asked).await, Err(ApprovalError::Unrecorded));
        desk.record.fails.store(false, Ordering::SeqCst);
        // A new start, or the next tick, offers it again, in its place.
        desk.approvals.record_left(i64::MAX).await.unwrap();
        assert_eq!(desk.steps(), [Step::Ask, Step::Approve, Step::Consume]);
        assert!(lock(&desk.approvals.unrecorded).is_empty());
        desk.approvals.record_left(i64::MAX).await.unwrap();
        assert_eq!(desk.steps().len(), 3, "what was acknowledged does not come again");
        let id = desk.pending(&asked).await;
        desk.record.fails.store(true, Ordering::SeqCst);
        assert_eq!(desk.approve(&id, &person("bob", &["leads"])).await, Err(ApprovalError::Unrecorded));
        desk.record.fails.store(false, Ordering::SeqCst);
        let refused = desk.ask(&asked).await;
        assert_eq!(
            refused,
            Err(ApprovalError::Unrecorded),
            "an approval that nobody recorded lets nothing through"
        );
    }

    pub(super) async fn limits_hold(database: Database) {
        let settings = Settings { pending_of_subject_max: 2, pending_max: 3, ..settings(database) };
        let desk = Desk::with(settings).await;
        let (alice, bob) = (person("alice", &[]), person("bob", &[]));
        let of = |who, what| request(who, what, &[("leads", 1)]);
        desk.pending(&of(&alice, "1")).await;
        desk.pending(&of(&alice, "2")).await;
        assert_eq!(desk.ask(&of(&alice, "3")).await, Err(ApprovalError::TooManyOfSubject));
        let id = desk.pending(&of(&bob, "1")).await;
        assert_eq!(desk.approvals.pending(), 3);
        assert_eq!(desk.ask(&of(&bob, "2")).await, Err(ApprovalError::Overloaded));
        assert!(
            matches!(desk.ask(&of(&bob, "1")).await, Ok(Asked::Pending { .. })),
            "one that waits is found"
        );
        desk.deny(&id, &person("carol", &["leads"])).await.unwrap();
        desk.pending(&of(&bob, "2")).await;
    }

    pub(super) async fn a_closed_store_refuses(database: Database) {
        let desk = Desk::open(database).await;
        let asked = request(&person("alice", &[]), "x", &[("leads", 1)]);
        let id = desk.pending(&asked).await;
        desk.approve(&id, &person("bob", &["leads"])).await.unwrap();
        desk.approvals.close().await;
        assert!(matches!(desk.ask(&asked).await, Err(ApprovalError::Unavailable(_))));
        assert!(desk.approvals.watch(&id).await.is_err());
        assert!(desk.approve(&id, &person("carol", &["leads"])).await.is_err());
    }

    pub(super) async fn what_is_wrong_is_not_asked_for(database: Database) {
        let desk = Desk::open(database.clone()).await;
        let alice = person("alice", &[]);
        for terms in [
            &[][..],
            &[("leads", 0)],
            &[("", 1)],
            &[("leads", 1), ("leads", 1)],
            &[("leads", PLACES_MAX + 1)],
            &[("leads", u32::MAX), ("dba", 2)],
        ] {
            assert_eq!(desk.ask(&request(&alice, "x", terms)).await, Err(ApprovalError::Terms), "{terms:?}");
        }
        desk.pending(&request(&alice, "y", &[("leads", PLACES_MAX)])).await;
        let nobody = Arc::new(Subject::default());
        let asked = request(&nobody, "x", &[("leads", 1)]);
        assert_eq!(desk.ask(&asked).await, Err(ApprovalError::Anonymous));
        let open = Desk::with(Settings { anonymous: true, ..settings(database) }).await;
        open.pending(&asked).await;
        open.pending(&request(&agent("corp", "bot", None), "x", &[("leads", 1)])).await;
    }
}
