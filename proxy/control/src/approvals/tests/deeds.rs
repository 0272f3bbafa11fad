//! Who decides, and who may not: by any account, for themselves or for others.

use std::sync::Arc;

use sluice_policy::{Kind, Subject};

use super::desk::{Desk, agent, forbidden, groups, person, person_at, request, settings};
use super::scenarios;
use crate::approvals::*;

scenarios!(
    nobody_decides_for_themselves,
    nobody_decides_by_a_second_issuer,
    nobody_decides_for_their_own_agent,
    nobody_decides_twice,
    only_people_of_the_groups_decide,
    who_leaves_the_group_counts_no_more,
    a_reason_is_needed,
    memberships_are_lent_until_an_end,
    the_glass_is_broken_and_reviewed,
    who_gave_can_take_back,
);

fn linked(database: Database) -> Settings {
    let account = |text: &str| Account::parse(text).unwrap();
    let person = |name: &str, accounts: &[&str]| Person {
        name: name.to_owned(),
        accounts: accounts.iter().map(|text| account(text)).collect(),
        ..Person::default()
    };
    let persons =
        vec![person("alice", &["corp:alice", "hub:ally"]), person("bob", &["hub:bobby", "corp:bob"])];
    Settings { people: Arc::new(People { persons, ..People::default() }), ..settings(database) }
}

mod scenario {
    use super::*;

    pub(super) async fn nobody_decides_for_themselves(database: Database) {
        let desk = Desk::open(database).await;
        let alice = person("alice", &["leads"]);
        let id = desk.pending(&request(&alice, "x", &[("leads", 1)])).await;
        forbidden(desk.approve(&id, &alice).await, &Forbidden::OwnRequest);
        forbidden(desk.deny(&id, &alice).await, &Forbidden::OwnRequest);
        forbidden(desk.approve(&id, &person("ALICE", &["leads"])).await, &Forbidden::OwnRequest);
        let mut bot = Subject::clone(&person("bob", &["leads"]));
        bot.actor = Some("bot".into());
        forbidden(desk.approve(&id, &Arc::new(bot)).await, &Forbidden::NotAPerson);
        let mut acted = Subject::clone(&person("carol", &[]));
        acted.actor = Some("bob".into());
        let id = desk.pending(&request(&Arc::new(acted), "x", &[("leads", 1)])).await;
        forbidden(desk.approve(&id, &person("bob", &["leads"])).await, &Forbidden::OwnRequest);
        assert_eq!(desk.approve(&id, &person("dave", &["leads"])).await, Ok(State::Approved));
    }

    pub(super) async fn nobody_decides_by_a_second_issuer(database: Database) {
        let desk = Desk::with(linked(database)).await;
        let id = desk.pending(&request(&person("alice", &[]), "x", &[("leads", 1)])).await;
        let tries = [
            (person_at("hub", "ally", &["leads"]), Forbidden::OwnRequest),
            (person_at("hub", "Alice", &["leads"]), Forbidden::OwnRequest),
            (person_at("third", "alice", &["leads"]), Forbidden::OwnRequest),
            (person_at("third", "a.smith", &["leads"]), Forbidden::PerhapsOwnRequest),
        ];
        for (who, why) in tries {
            forbidden(desk.approve(&id, &who).await, &why);
        }
        // Linked to someone else, or known not to be her at an issuer that knows her.
        assert_eq!(desk.approve(&id, &person_at("hub", "bobby", &["leads"])).await, Ok(State::Approved));
        let id = desk.pending(&request(&person("alice", &[]), "y", &[("leads", 1)])).await;
        assert_eq!(desk.approve(&id, &person_at("hub", "carol", &["leads"])).await, Ok(State::Approved));
    }

    pub(super) async fn nobody_decides_for_their_own_agent(database: Database) {
        let desk = Desk::with(linked(database)).await;
        let alices = ["alice", "ALICE", "corp:alice", "corp:ALICE", "corp/alice", "hub:ally", "hub/ally"];
        for (n, owner) in alices.iter().enumerate() {
            let asked = request(&agent("corp", "bot", Some(owner)), &n.to_string(), &[("leads", 1)]);
            let id = desk.pending(&asked).await;
            for who in [person("alice", &["leads"]), person_at("hub", "ally", &["leads"])] {
                forbidden(desk.approve(&id, &who).await, &Forbidden::OwnRequest);
            }
            assert_eq!(desk.approve(&id, &person("carol", &["leads"])).await, Ok(State::Approved), "{owner}");
        }
        let id = desk.pending(&request(&agent("k8s", "bot", Some("someone")), "k", &[("leads", 1)])).await;
        let who = person("carol", &["leads"]);
        forbidden(desk.approve(&id, &who).await, &Forbidden::PerhapsOwnRequest);
        let id = desk.pending(&request(&agent("k8s", "bot", Some("corp:dave")), "l", &[("leads", 1)])).await;
        assert_eq!(desk.approve(&id, &who).await, Ok(State::Approved));
    }

    pub(super) async fn nobody_decides_twice(database: Database) {
        let desk = Desk::with(linked(database)).await;
        let id = desk.pending(&request(&person("carol", &[]), "x", &[("leads", 2)])).await;
        let bob = person("bob", &["leads"]);
        assert_eq!(desk.approve(&id, &bob).await, Ok(State::Pending));
        forbidden(desk.approve(&id, &bob).await, &Forbidden::Twice);
        forbidden(desk.approve(&id, &person_at("hub", "bobby", &["leads"])).await, &Forbidden::Twice);
        let id = desk.pending(&request(&person("carol", &[]), "y", &[("leads", 1), ("dba", 1)])).await;
        let both = person("bob", &["dba", "leads"]);
        assert_eq!(desk.approve(&id, &both).await, Ok(State::Pending), "one person stands for one group");
        forbidden(desk.approve(&id, &both).await, &Forbidden::Twice);
        assert_eq!(desk.approve(&id, &person("dave", &["leads"])).await, Ok(State::Approved));
    }

    pub(super) async fn only_people_of_the_groups_decide(database: Database) {
        let desk = Desk::open(database).await;
        let id = desk.pending(&request(&person("alice", &[]), "x", &[("leads", 1)])).await;
        forbidden(desk.approve(&id, &person("bob", &["lead", "LEADS"])).await, &Forbidden::NotInGroup);
        forbidden(desk.deny(&id, &person("bob", &[])).await, &Forbidden::NotInGroup);
        for kind in [Kind::Agent, Kind::Service] {
            let program = Arc::new(Subject { kind, ..Subject::clone(&person("bot", &["leads"])) });
            forbidden(desk.approve(&id, &program).await, &Forbidden::NotAPerson);
        }
        let nobody =
            Subject { proof: sluice_policy::Proof::None, ..Subject::clone(&person("eve", &["leads"])) };
        forbidden(desk.approve(&id, &Arc::new(nobody)).await, &Forbidden::NotAPerson);
        let other = ApprovalId::parse(&"0".repeat(32)).unwrap();
        assert_eq!(desk.approve(&other, &person("bob", &["leads"])).await, Err(ApprovalError::NotFound));
    }

    pub(super) async fn who_leaves_the_group_counts_no_more(database: Database) {
        let desk = Desk::open(database).await;
        let asked = request(&person("alice", &[]), "x", &[("leads", 2)]);
        let id = desk.pending(&asked).await;
        assert_eq!(desk.approve(&id, &person("bob", &["leads"])).await, Ok(State::Pending));
        desk.approvals.observe(&person("bob", &["interns"])).await.unwrap();
        assert_eq!(desk.approve(&id, &person("carol", &["leads"])).await, Ok(State::Pending));
        // An older token that still has the group brings nothing back.
        desk.approvals.observe(&person("bob", &["leads"])).await.unwrap();
        forbidden(desk.approve(&id, &person("bob", &["leads"])).await, &Forbidden::Twice);
        assert_eq!(desk.approve(&id, &person("dave", &["leads"])).await, Ok(State::Approved));
        // As the configuration says, without a token.
        let id = desk.pending(&request(&person("alice", &[]), "y", &[("leads", 2)])).await;
        assert_eq!(desk.approve(&id, &person("bob", &["leads"])).await, Ok(State::Pending));
        let bob = Person {
            name: "bob".to_owned(),
            accounts: vec![Account::parse("corp:bob").unwrap()],
            groups: Some(groups(&["interns"])),
            ..Person::default()
        };
        desk.approvals.set_people(Arc::new(People { persons: vec![bob], ..People::default() }));
        assert_eq!(desk.approve(&id, &person("carol", &["leads"])).await, Ok(State::Pending));
    }

    pub(super) async fn a_reason_is_needed(database: Database) {
        let desk = Desk::open(database).await;
        let id = desk.pending(&request(&person("alice", &[]), "x", &[("leads", 1)])).await;
        let bob = person("bob", &["leads"]);
        let say = async |reason: &str| {
            desk.approvals.approve(&id, Arc::clone(&bob), reason, Origin::default()).await
        };
        for reason in ["", "  \n", "a\u{1b}[2J", &"x".repeat(REASON_BYTES_MAX + 1)] {
            forbidden(say(reason).await, &Forbidden::Reason);
        }
        assert_eq!(say(&"x".repeat(REASON_BYTES_MAX)).await, Ok(State::Approved));
    }

    pub(super) async fn memberships_are_lent_until_an_end(database: Database) {
        let desk = Desk::open(database).await;
        let (bob, carol) = (person("bob", &["leads"]), person("carol", &[]));
        let lend = async |who: &Subject, to: &str, hours: i64| {
            let asked = DelegationRequest {
                to: to.to_owned(),
                groups: groups(&["leads"]),
                hours,
                reason: "holiday".to_owned(),
            };
            desk.approvals.delegate(who, asked).await
        };
        forbidden(lend(&carol, "corp:dave", 1).await, &Forbidden::NotInGroup);
        for (to, hours) in [("corp:bob", 1), ("corp:carol", 0), ("corp:carol", 721), ("carol", 1)] {
            assert!(matches!(lend(&bob, to, hours).await, Err(ApprovalError::Invalid(_))), "{to} {hours}");
        }
        let lent = lend(&bob, "corp:carol", 1).await.unwrap();
        forbidden(lend(&carol, "corp:dave", 1).await, &Forbidden::NotInGroup);
        let ask = async |what: &str, min: u32| {
            desk.pending(&request(&person("alice", &[]), what, &[("leads", min)])).await
        };
        let id = ask("1", 2).await;
        assert_eq!(desk.approve(&id, &carol).await, Ok(State::Pending));
        forbidden(desk.approve(&id, &bob).await, &Forbidden::Twice);
        let own = desk.pending(&request(&bob, "bob's own", &[("leads", 1)])).await;
        forbidden(desk.approve(&own, &carol).await, &Forbidden::OwnRequest);
        // Who has left the group lends nothing.
        desk.approvals.observe(&person("bob", &[])).await.unwrap();
        let id = ask("2", 1).await;
        forbidden(desk.approve(&id, &carol).await, &Forbidden::NotInGroup);
        let second = lend(&bob, "corp:carol", 1).await.unwrap();
        desk.hands.pass(3_600_000);
        let id = ask("3", 1).await;
        forbidden(desk.approve(&id, &carol).await, &Forbidden::NotInGroup);
        assert!(desk.approvals.delegations(&Account::of(&carol)).await.unwrap().is_empty());
        let third = lend(&bob, "corp:carol", 1).await.unwrap();
        let end = async |id: &str, who: &Subject| desk.approvals.end_delegation(id, &Account::of(who)).await;
        assert_eq!(end(&third.id, &carol).await, Err(ApprovalError::NotFound));
        assert_eq!(end(&third.id, &bob).await, Ok(()));
        forbidden(desk.approve(&id, &carol).await, &Forbidden::NotInGroup);
        assert!(lent.ends_ms > lent.created_ms && second.id != lent.id);
    }

    pub(super) async fn the_glass_is_broken_and_reviewed(database: Database) {
        let glass = BreakGlass {
            groups: groups(&["oncall"]),
            review_groups: groups(&["audit"]),
            own_requests: false,
        };
        let settings = Settings { break_glass: Some(Arc::new(glass)), ..settings(database) };
        let desk = Desk::with(settings.clone()).await;
        let alice = person("alice", &["audit", "oncall"]);
        let asked = request(&alice, "x", &[("leads", 2)]);
        let id = desk.pending(&asked).await;
        let smash = async |who: &Arc<Subject>| {
            desk.approvals.break_glass(&id, Arc::clone(who), "production is down", Origin::default()).await
        };
        let review = async |who: &Arc<Subject>| {
            desk.approvals.close_review(&id, Arc::clone(who), "it was needed", Origin::default()).await
        };
        let bob = person("bob", &["audit", "oncall"]);
        forbidden(smash(&person("carol", &["leads"])).await, &Forbidden::NotInGroup);
        forbidden(smash(&alice).await, &Forbidden::OwnRequest);
        forbidden(review(&person("dave", &["audit"])).await, &Forbidden::NoReview);
        assert_eq!(smash(&bob).await, Ok(State::Approved));
        assert!(desk.record.taken.lock().unwrap().last().unwrap().is_alert);
        assert!(matches!(desk.ask(&asked).await, Ok(Asked::Consumed { .. })));
        desk.hands.pass(86_400_000);
        desk.approvals.sweep().await.unwrap();
        assert_eq!(desk.approvals.open_reviews().await.unwrap().len(), 1, "it stays open");
        forbidden(review(&bob).await, &Forbidden::OwnReview);
        forbidden(review(&alice).await, &Forbidden::OwnReview);
        forbidden(review(&person_at("hub", "bobby", &["audit"])).await, &Forbidden::OwnReview);
        forbidden(review(&person("carol", &["leads"])).await, &Forbidden::NotInGroup);
        assert_eq!(review(&person("dave", &["audit"])).await, Ok(State::Consumed));
        assert!(desk.approvals.open_reviews().await.unwrap().is_empty());
        forbidden(review(&person("erin", &["audit"])).await, &Forbidden::NoReview);
        assert_eq!(desk.steps(), [Step::Ask, Step::BreakGlass, Step::Consume, Step::Review]);
        let none = Desk::with(Settings { break_glass: None, ..settings }).await;
        let id = none.pending(&request(&alice, "y", &[("leads", 1)])).await;
        let smashed = none.approvals.break_glass(&id, bob, "now", Origin::default()).await;
        forbidden(smashed, &Forbidden::NoBreakGlass);
    }

    pub(super) async fn who_gave_can_take_back(database: Database) {
        let desk = Desk::open(database).await;
        let alice = person("alice", &[]);
        let asked = request(&alice, "x", &[("leads", 1)]);
        let id = desk.pending(&asked).await;
        let bob = person("bob", &["leads"]);
        forbidden(
            desk.revoke(&id, &bob).await,
            &Forbidden::NotNow(NotNow { state: State::Pending, step: Step::Revoke }),
        );
        desk.approve(&id, &bob).await.unwrap();
        forbidden(desk.revoke(&id, &person("eve", &["ops"])).await, &Forbidden::NotInGroup);
        assert_eq!(desk.revoke(&id, &person("carol", &["leads"])).await, Ok(State::Revoked));
        assert_ne!(desk.pending(&asked).await, id, "what was revoked is not used");
        let id = desk.pending(&asked).await;
        let withdrawn = desk.approvals.withdraw(&id, Arc::clone(&bob), "no", Origin::default()).await;
        forbidden(withdrawn, &Forbidden::NotInGroup);
        let withdrawn = desk.approvals.withdraw(&id, alice, "not needed", Origin::default()).await;
        assert_eq!(withdrawn, Ok(State::Cancelled));
    }
}
