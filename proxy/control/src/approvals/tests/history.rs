//! Histories: no path skips a state, and whatever is done at once could have been done one after the other.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::desk::{Desk, Folder, person, request};
use crate::approvals::service::lock;
use crate::approvals::*;

fn kinds() -> impl Strategy<Value = GrantKind> {
    prop_oneof![Just(GrantKind::Single), Just(GrantKind::Window)]
}

proptest! {
    #[test]
    fn no_path_skips_a_state(kind in kinds(), steps in proptest::collection::vec(0..Step::ALL.len(), 0..40)) {
        let mut path = vec![State::Pending];
        for step in steps {
            let now = *path.last().unwrap();
            if let Ok(next) = now.after(Step::ALL[step], kind) {
                path.push(next);
            }
        }
        let first = |wanted: State| path.iter().position(|state| *state == wanted);
        // Nothing is used or taken back that was not approved.
        for late in [State::Consumed, State::Revoked] {
            if let Some(at) = first(late) {
                prop_assert!(first(State::Approved).is_some_and(|approved| approved < at));
            }
        }
        prop_assert!(kind == GrantKind::Single || first(State::Consumed).is_none());
        // Nothing leads out of an end.
        for pair in path.windows(2) {
            prop_assert!(pair[0].is_open() || pair[0] == pair[1], "{path:?}");
        }
    }
}

#[test]
fn the_ways_are_those_that_are_drawn() {
    let drawn = [
        (State::Pending, Step::Vote, State::Pending),
        (State::Pending, Step::Approve, State::Approved),
        (State::Pending, Step::BreakGlass, State::Approved),
        (State::Pending, Step::Deny, State::Denied),
        (State::Pending, Step::Cancel, State::Cancelled),
        (State::Pending, Step::Expire, State::Expired),
        (State::Approved, Step::Expire, State::Expired),
        (State::Approved, Step::Revoke, State::Revoked),
        (State::Approved, Step::Review, State::Approved),
        (State::Expired, Step::Review, State::Expired),
        (State::Consumed, Step::Review, State::Consumed),
        (State::Revoked, Step::Review, State::Revoked),
    ];
    for kind in [GrantKind::Single, GrantKind::Window] {
        for state in State::ALL {
            for step in Step::ALL {
                let own = match (state, step, kind) {
                    (State::Approved, Step::Consume, GrantKind::Single) => Some(State::Consumed),
                    (State::Approved, Step::Use, GrantKind::Window) => Some(State::Approved),
                    _ => None,
                };
                let drawn = drawn.iter().find(|(from, by, _)| (*from, *by) == (state, step));
                assert_eq!(
                    state.after(step, kind).ok(),
                    own.or(drawn.map(|(.., to)| *to)),
                    "{state:?} {step:?}"
                );
            }
        }
    }
}

/// Asks, decides, revokes and uses a few requests on two nodes at once, in an order that nobody sets. What the record has
/// then must be a history that could have come about one step after the other: of each approval numbers without a gap, each
/// state following from the one before, and in all no more uses than approvals.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn histories_linearise() {
    let folder = Folder::new();
    let one = Desk::open(folder.sqlite()).await;
    let other = Desk::at(super::desk::settings(folder.sqlite()), Arc::clone(&one.hands)).await;
    let alice = person("alice", &[]);
    let all: Vec<ApprovalRequest> =
        (0..4).map(|n| request(&alice, &n.to_string(), &[("leads", 2)])).collect();
    let mut tasks = Vec::new();
    for worker in 0_usize..8 {
        let approvals = Arc::clone(if worker % 2 == 0 { &one.approvals } else { &other.approvals });
        let (all, hands) = (all.clone(), Arc::clone(&one.hands));
        let who = person(&format!("lead{worker}"), &["leads"]);
        tasks.push(tokio::spawn(async move {
            let mut seed = worker as u64 + 1;
            for _ in 0..40 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let asked = all[(seed >> 33) as usize % all.len()].clone();
                let id = match approvals.ask(asked).await {
                    Ok(Asked::Pending { id, .. } | Asked::Consumed { id, .. } | Asked::Denied { id, .. }) => {
                        id
                    }
                    Err(error) => panic!("{error}"),
                };
                let who = Arc::clone(&who);
                // Some are not allowed any more by now: that is the point.
                let _ = match (seed >> 40) % 16 {
                    0 => approvals.deny(&id, who, "no", Origin::default()).await,
                    1 => approvals.revoke(&id, who, "no", Origin::default()).await,
                    2 => {
                        hands.pass(16 * 60_000);
                        approvals.sweep().await.map(|_| State::Expired)
                    }
                    _ => approvals.approve(&id, who, "yes", Origin::default()).await,
                };
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let told = [lock(&one.record.taken).clone(), lock(&other.record.taken).clone()].concat();
    let mut histories: BTreeMap<ApprovalId, Vec<Transition>> = BTreeMap::new();
    for transition in told {
        histories.entry(transition.approval.clone()).or_default().push(transition);
    }
    assert!(histories.len() >= 4);
    let mut uses = 0;
    for history in histories.values_mut() {
        history.sort_by_key(|told| told.seq);
        let mut state = None;
        for (n, told) in history.iter().enumerate() {
            assert_eq!(told.seq, n as i64 + 1, "{history:?}");
            assert_eq!(told.from, state, "{history:?}");
            if let Some(from) = told.from {
                assert_eq!(from.after(told.step, told.kind), Ok(told.to));
            }
            state = Some(told.to);
        }
        let count = |step: Step| history.iter().filter(|told| told.step == step).count();
        assert!(count(Step::Consume) <= count(Step::Approve) && count(Step::Approve) <= 1);
        uses += count(Step::Consume);
    }
    assert!(uses > 0, "some went through");
}
