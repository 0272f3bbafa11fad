//! What is over is over: to the moment, over restarts, whatever the clock of the wall does.

use std::sync::Arc;

use super::desk::{Desk, MORNING, forbidden, person, request, settings};
use super::scenarios;
use crate::approvals::*;

scenarios!(
    nothing_is_decided_or_used_after_its_end,
    a_clock_that_steps_back_revives_nothing,
    restarts_keep_the_time,
    the_sweeper_ends_what_is_over,
    what_is_long_over_is_forgotten,
);

mod scenario {
    use super::*;

    pub(super) async fn nothing_is_decided_or_used_after_its_end(database: Database) {
        let desk = Desk::open(database).await;
        let (alice, bob) = (person("alice", &[]), person("bob", &["leads"]));
        let asked = request(&alice, "x", &[("leads", 1)]);
        let id = desk.pending(&asked).await;
        desk.hands.pass(15 * 60_000);
        for deed in [desk.approve(&id, &bob).await, desk.deny(&id, &bob).await] {
            forbidden(deed, &Forbidden::Expired);
        }
        let id = desk.pending(&asked).await;
        desk.hands.pass(15 * 60_000 - 1);
        assert_eq!(desk.approve(&id, &bob).await, Ok(State::Approved), "a moment before its end");
        desk.hands.pass(10 * 60_000);
        forbidden(desk.revoke(&id, &bob).await, &Forbidden::Expired);
        assert_ne!(desk.pending(&asked).await, id, "a grant that is over is not used");
        let id = desk.pending(&asked).await;
        desk.approve(&id, &bob).await.unwrap();
        desk.hands.pass(10 * 60_000 - 1);
        assert!(matches!(desk.ask(&asked).await, Ok(Asked::Consumed { .. })), "a moment before its end");
    }

    pub(super) async fn a_clock_that_steps_back_revives_nothing(database: Database) {
        let desk = Desk::open(database.clone()).await;
        let asked = request(&person("alice", &[]), "x", &[("leads", 1)]);
        let id = desk.pending(&asked).await;
        desk.approve(&id, &person("bob", &["leads"])).await.unwrap();
        desk.hands.pass(9 * 60_000);
        desk.hands.step(-3_600_000);
        desk.hands.pass(60_000);
        assert_ne!(desk.pending(&asked).await, id);
        desk.approvals.note_time().await.unwrap();
        let again = Desk::at(settings(database), Arc::clone(&desk.hands)).await;
        assert_eq!(again.approvals.clock.now_ms(), MORNING + 10 * 60_000);
        assert_ne!(again.pending(&asked).await, id, "nor after a restart");
    }

    pub(super) async fn restarts_keep_the_time(database: Database) {
        let desk = Desk::open(database.clone()).await;
        let asked = request(&person("alice", &[]), "x", &[("leads", 1)]);
        let id = desk.pending(&asked).await;
        desk.approve(&id, &person("bob", &["leads"])).await.unwrap();
        desk.approvals.note_time().await.unwrap();
        desk.approvals.close().await;
        // The clock is set back while nothing runs; the machine was not booted again, so the time that passed is known.
        desk.hands.pass(5 * 60_000);
        desk.hands.step(-86_400_000);
        let again = Desk::at(settings(database.clone()), Arc::clone(&desk.hands)).await;
        desk.hands.pass(5 * 60_000 - 1);
        again.approvals.sweep().await.unwrap();
        assert!(matches!(again.ask(&asked).await, Ok(Asked::Consumed { .. })), "it was good for ten minutes");
        let id = again.pending(&asked).await;
        again.approve(&id, &person("bob", &["leads"])).await.unwrap();
        again.approvals.note_time().await.unwrap();
        desk.hands.pass(10 * 60_000);
        let third = Desk::at(settings(database), Arc::clone(&desk.hands)).await;
        assert_eq!(third.approvals.sweep().await, Ok(1));
        assert_ne!(third.pending(&asked).await, id);
    }

    pub(super) async fn the_sweeper_ends_what_is_over(database: Database) {
        let desk = Desk::with(Settings { pending_of_subject_max: 1_000, ..settings(database) }).await;
        let alice = person("alice", &[]);
        for n in 0..250 {
            desk.pending(&request(&alice, &n.to_string(), &[("leads", 1)])).await;
        }
        let approved = request(&alice, "0", &[("leads", 1)]);
        let id = desk.pending(&approved).await;
        desk.approve(&id, &person("bob", &["leads"])).await.unwrap();
        assert_eq!(desk.approvals.sweep().await, Ok(0));
        desk.hands.pass(10 * 60_000);
        assert_eq!(desk.approvals.sweep().await, Ok(1), "the grant");
        desk.hands.pass(5 * 60_000);
        assert_eq!(desk.approvals.sweep().await, Ok(249), "more than one batch");
        assert_eq!(desk.approvals.sweep().await, Ok(0));
        assert_eq!(desk.approvals.pending(), 0);
        let ended = desk.steps().iter().filter(|step| **step == Step::Expire).count();
        assert_eq!(ended, 250, "each is told once");
    }

    pub(super) async fn what_is_long_over_is_forgotten(database: Database) {
        let desk = Desk::open(database).await;
        let id = desk.pending(&request(&person("alice", &[]), "x", &[("leads", 1)])).await;
        desk.deny(&id, &person("bob", &["leads"])).await.unwrap();
        desk.approvals.note_recorded().await.unwrap();
        let forget = async || {
            let before_ms = desk.approvals.clock.now_ms() - desk.approvals.settings.kept_ms;
            let store = &desk.approvals.store;
            store
                .write(move |c| {
                    Box::pin(async move { crate::approvals::store::sweep::forget(c, before_ms).await })
                })
                .await
        };
        desk.hands.pass(30 * 86_400_000);
        assert_eq!(forget().await, Ok(0));
        desk.hands.pass(1);
        assert_eq!(forget().await, Ok(1));
        assert!(desk.approvals.show(&id, &person("alice", &[])).await.is_err());
    }
}

/// With the time of this machine: what is over is ended within a second, by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_running_sweeper_is_in_time() {
    let folder = super::desk::Folder::new();
    let settings = Settings { pending_ms: 300, ..settings(folder.sqlite()) };
    let approvals = Approvals::open(settings, None).await.unwrap();
    let mut live = approvals.live();
    let worker = tokio::spawn(Arc::clone(&approvals).run());
    approvals.ask(request(&person("alice", &[]), "x", &[("leads", 1)])).await.unwrap();
    let mut told = Vec::new();
    while told.len() < 2 {
        told.push(live.recv().await.unwrap());
    }
    worker.abort();
    assert_eq!(told[1].step, Step::Expire);
    let late_ms = told[1].at_ms - told[0].at_ms - 300;
    assert!(late_ms >= 0, "{late_ms}");
}
