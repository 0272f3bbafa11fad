//! The desk from both sides: order, limits, silence, and what is remembered.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use sluice_audit::RequestIds;
use sluice_engine::{CompileOptions, Ruleset};
use sluice_policy::{Action, Risk, Subject, Verdict};

use super::*;

struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn poll<T>(future: impl Future<Output = T>, waker: &Waker) -> Poll<T> {
    std::pin::pin!(future).poll(&mut Context::from_waker(waker))
}

fn asked(target: &str) -> Asked {
    Asked {
        id: RequestIds::new(0, 0).next(0),
        route: "r".into(),
        upstream: "u".into(),
        ruleset: Ruleset::compile(Vec::new(), &CompileOptions::default()).unwrap(),
        method: "GET".into(),
        target: target.into(),
        path: target.into(),
        fields: Vec::new(),
        content_type: None,
        has_body: false,
        credentials: Vec::new(),
        certificate: None,
        peer: None,
    }
}

fn ruling(remembered: Option<Duration>) -> Arc<Ruling> {
    let verdict =
        Verdict { action: Action::Allow, policies: Vec::new(), version: "v".into(), ..Verdict::default() };
    Arc::new(Ruling {
        subject: Arc::new(Subject::default()),
        verdict: Arc::new(verdict),
        approval: None,
        rulesets: None,
        strip_fields: CREDENTIAL_FIELDS.map(str::to_owned).to_vec(),
        strip_query: Vec::new(),
        set_fields: Vec::new(),
        set_query: Vec::new(),
        remembered,
    })
}

#[test]
fn questions_come_in_order_and_no_more_than_fit() {
    let desk = Desk::new(DeskConfig { questions_max: 2, ..DeskConfig::default() });
    let woken = Arc::new(Woken(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&woken));
    assert!(poll(desk.next(), &waker).is_pending());
    let first = desk.ask(asked("/1"), None).unwrap();
    assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    let _second = desk.ask(asked("/2"), None).unwrap();
    assert!(desk.ask(asked("/3"), None).is_none());
    assert_eq!(desk.depth(), 2);
    let Poll::Ready(question) = poll(desk.next(), &waker) else { panic!("there is one") };
    assert_eq!(question.asked.target, "/1");
    assert!(question.answer(Answer::Go(ruling(None))));
    assert!(matches!(poll(first.next(), &waker), Poll::Ready(Ok(Answer::Go(_)))));
    assert!(matches!(poll(first.next(), &waker), Poll::Ready(Err(_))), "no other comes");
}

#[test]
fn a_dropped_question_is_silence_and_a_client_that_left_is_seen() {
    let desk = Desk::new(DeskConfig::default());
    let waker = Waker::from(Arc::new(Woken(AtomicUsize::new(0))));
    let answers = desk.ask(asked("/"), None).unwrap();
    assert!(poll(answers.next(), &waker).is_pending());
    let Poll::Ready(question) = poll(desk.next(), &waker) else { panic!("there is one") };
    drop(question);
    assert!(matches!(poll(answers.next(), &waker), Poll::Ready(Err(_))));

    let answers = desk.ask(asked("/"), None).unwrap();
    let Poll::Ready(question) = poll(desk.next(), &waker) else { panic!("there is one") };
    assert!(poll(question.mailbox.gone(), &waker).is_pending());
    drop(answers);
    assert!(poll(question.mailbox.gone(), &waker).is_ready());
    assert!(!question.answer(Answer::ReadBody), "nobody reads it");
}

#[test]
fn a_mailbox_takes_no_more_than_fit() {
    let desk = Desk::new(DeskConfig::default());
    let waker = Waker::from(Arc::new(Woken(AtomicUsize::new(0))));
    let _answers = desk.ask(asked("/"), None).unwrap();
    let Poll::Ready(question) = poll(desk.next(), &waker) else { panic!("there is one") };
    let put = (0..5).filter(|_| question.mailbox.put(Answer::ReadBody)).count();
    assert_eq!(put, 4);
}

#[test]
fn keys_tell_every_fact_apart() {
    let credential = |value: &str| Credential { field: "authorization", value: Secret::new(value) };
    let all = [
        asked("/"),
        asked("/?a"),
        Asked { method: "POST".into(), ..asked("/") },
        Asked { route: "r2".into(), ..asked("/") },
        Asked { upstream: "u2".into(), ..asked("/") },
        Asked { route: "ru".into(), upstream: String::new(), ..asked("/") },
        Asked { has_body: true, ..asked("/") },
        Asked { content_type: Some(String::new()), ..asked("/") },
        Asked { content_type: Some("a/b".into()), ..asked("/") },
        Asked { fields: vec![("x".into(), "y".into())], ..asked("/") },
        Asked { fields: vec![("xy".into(), String::new())], ..asked("/") },
        Asked { fields: vec![("authorization".into(), "a".into())], ..asked("/") },
        Asked { credentials: vec![credential("a")], ..asked("/") },
        Asked { credentials: vec![credential("a"), credential("a")], ..asked("/") },
        Asked { credentials: vec![credential("b")], ..asked("/") },
        Asked { credentials: vec![Credential { field: "api-key", value: Secret::new("a") }], ..asked("/") },
    ];
    let keys: std::collections::HashSet<_> = all.iter().map(Key::of).collect();
    assert_eq!(keys.len(), all.len());
    let later = Asked { id: RequestIds::new(1, 1).next(1), ..asked("/") };
    assert_eq!(Key::of(&later), Key::of(&asked("/")), "its id is no fact");
}

#[test]
fn a_ruling_is_remembered_for_its_time_and_epoch() {
    let (key, now) = (Key::of(&asked("/")), Instant::now());
    let minute = ruling(Some(Duration::from_secs(60)));
    let mut cache = RulingCache::new(4);
    cache.keep(1, 1, key, &minute, now);
    assert!(cache.find(1, &key, now + Duration::from_secs(59)).is_some());
    assert!(cache.find(1, &key, now + Duration::from_secs(60)).is_none());
    assert!(cache.find(2, &key, now).is_none(), "another epoch");
    cache.keep(1, 2, key, &minute, now);
    assert!(cache.find(2, &key, now).is_none(), "it was asked for before things changed");
    cache.keep(2, 2, key, &ruling(None), now);
    assert!(cache.find(2, &key, now).is_none(), "it is for once");
}

#[test]
fn no_more_rulings_are_remembered_than_may_be() {
    let now = Instant::now();
    let minute = ruling(Some(Duration::from_secs(60)));
    let keys: Vec<Key> = (0..10).map(|n| Key::of(&asked(&format!("/{n}")))).collect();
    let mut cache = RulingCache::new(4);
    keys.iter().for_each(|key| cache.keep(1, 1, *key, &minute, now));
    let known: Vec<bool> = keys.iter().map(|key| cache.find(1, key, now).is_some()).collect();
    assert!(known.iter().filter(|known| **known).count() <= 4 && known[9] && !known[0], "{known:?}");
    let mut none = RulingCache::new(0);
    none.keep(1, 1, keys[0], &minute, now);
    assert!(none.find(1, &keys[0], now).is_none());
}

#[test]
fn fields_that_prove_are_no_facts() {
    let desk = Desk::new(DeskConfig::default());
    let before = desk.epoch();
    desk.set_fields(vec!["x-purpose".into(), "authorization".into(), "x-purpose".into()]);
    assert_eq!(*desk.fields(), ["x-purpose"]);
    assert_ne!(desk.epoch(), before);
}

#[test]
fn what_is_secret_is_not_shown() {
    let shown = format!(
        "{:?} {:?} {:?}",
        Secret::new("hunter2"),
        Credential { field: "api-key", value: Secret::new("hunter2") },
        HeldBody { plain: b"hunter2".to_vec(), masked: b"hunter2".to_vec(), labels: Default::default() },
    );
    assert!(!shown.contains("hunter2"), "{shown}");
}
