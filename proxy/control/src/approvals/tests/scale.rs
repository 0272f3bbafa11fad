//! Many approvals: lists by every filter, page by page. `SLUICE_SCALE=1` times them with 100,000 pending.

use std::sync::Arc;
use std::time::Instant;

use super::desk::{Desk, Folder, agent, person, request, settings};
use super::scenarios;
use crate::approvals::store::Filter;
use crate::approvals::*;

scenarios!(lists_are_filtered_and_paged);

async fn ids(desk: &Desk, filter: Filter) -> Vec<String> {
    let mut after = None;
    let mut ids = Vec::new();
    loop {
        let read = desk.approvals.list(Filter { after, ..filter.clone() }).await.unwrap();
        for approval in read["approvals"].as_array().unwrap() {
            ids.push(approval["id"].as_str().unwrap().to_owned());
        }
        after = read["after"].as_str().map(str::to_owned);
        if after.is_none() {
            return ids;
        }
    }
}

mod scenario {
    use super::*;

    pub(super) async fn lists_are_filtered_and_paged(database: Database) {
        let desk = Desk::open(database).await;
        let (alice, bot) = (person("alice", &[]), agent("corp", "bot", Some("alice")));
        let mut all = Vec::new();
        for n in 0..10 {
            let who = if n % 2 == 0 { &alice } else { &bot };
            let group = if n % 5 == 0 { "dba" } else { "leads" };
            let mut asked = request(who, &n.to_string(), &[(group, 1)]);
            asked.upstream = if n == 3 { "db".into() } else { "llm".into() };
            asked.operation = if n == 4 { "sql.delete".into() } else { "llm.chat".into() };
            asked.risk.score = n * 10;
            all.push(desk.pending(&asked).await.to_string());
            desk.hands.pass(i64::from(n % 2));
        }
        desk.deny(&ApprovalId::parse(&all[9]).unwrap(), &person("bob", &["leads"])).await.unwrap();
        let wanted = |numbers: &[usize]| -> Vec<String> {
            let mut wanted: Vec<String> = numbers.iter().map(|n| all[*n].clone()).collect();
            wanted.sort();
            wanted
        };
        let text = |text: &str| Some(text.to_owned());
        let cases = [
            (Filter::default(), wanted(&[0, 1, 2, 3, 4, 5, 6, 7, 8])),
            (Filter { state: text("all"), ..Filter::default() }, wanted(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9])),
            (Filter { state: text("denied"), ..Filter::default() }, wanted(&[9])),
            (Filter { upstream: text("db"), ..Filter::default() }, wanted(&[3])),
            (Filter { operation: text("sql.delete"), ..Filter::default() }, wanted(&[4])),
            (Filter { subject: text("corp:bot"), ..Filter::default() }, wanted(&[1, 3, 5, 7])),
            (Filter { group: text("dba"), ..Filter::default() }, wanted(&[0, 5])),
            (
                Filter {
                    group: text("leads"),
                    upstream: text("llm"),
                    risk_min: Some(60),
                    ..Filter::default()
                },
                wanted(&[6, 7, 8]),
            ),
            (Filter { kind: text("window"), ..Filter::default() }, wanted(&[])),
        ];
        for (filter, wanted) in cases {
            for limit in [1, 3, 50] {
                let mut found = ids(&desk, Filter { limit: Some(limit), ..filter.clone() }).await;
                found.sort();
                assert_eq!(found, wanted, "{filter:?}");
            }
        }
        for filter in [
            Filter { state: text("open"), ..Filter::default() },
            Filter { after: text("x"), ..Filter::default() },
            Filter { state: text("denied"), group: text("dba"), ..Filter::default() },
        ] {
            assert!(matches!(desk.approvals.list(filter).await, Err(ApprovalError::Invalid(_))));
        }
        desk.hands.pass(15 * 60_000);
        assert!(ids(&desk, Filter::default()).await.is_empty(), "what is over does not wait");
    }
}

/// Prints what was measured; asserts no time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_pending() {
    if std::env::var("SLUICE_SCALE").as_deref() != Ok("1") {
        return;
    }
    let folder = Folder::new();
    let most =
        Settings { pending_of_subject_max: 1_000_000, pending_ms: 86_400_000, ..settings(folder.sqlite()) };
    let desk = Arc::new(Desk::with(most).await);
    let began = Instant::now();
    let workers = (0..64).map(|worker| {
        let desk = Arc::clone(&desk);
        tokio::spawn(async move {
            for n in (worker..100_000_u32).step_by(64) {
                let who = person(&format!("user{}", n % 1_000), &[]);
                let group = if n % 10_000 == 0 { "rare" } else { "leads" };
                let mut asked = request(&who, &n.to_string(), &[(group, 1)]);
                asked.operation = format!("op{}", n % 777).into();
                asked.upstream = format!("up{}", n % 10).into();
                desk.pending(&asked).await;
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.unwrap();
    }
    let seconds = began.elapsed().as_secs_f64();
    println!("100000 asked in {seconds:.1} s: {:.0} a second", 100_000.0 / seconds);
    let text = |text: &str| Some(text.to_owned());
    for filter in [
        Filter::default(),
        Filter { group: text("rare"), ..Filter::default() },
        Filter { group: text("leads"), operation: text("op5"), ..Filter::default() },
        Filter { operation: text("op5"), upstream: text("up5"), ..Filter::default() },
        Filter { subject: text("corp:user7"), ..Filter::default() },
        Filter { operation: text("nothing"), ..Filter::default() },
        Filter { risk_min: Some(1_000), ..Filter::default() },
    ] {
        let mut times: Vec<f64> = Vec::new();
        for _ in 0..11 {
            let began = Instant::now();
            desk.approvals.list(filter.clone()).await.unwrap();
            times.push(began.elapsed().as_secs_f64() * 1e3);
        }
        times.sort_by(f64::total_cmp);
        println!("list {:5.1} ms (worst {:5.1}) {filter:?}", times[5], times[10]);
    }
    let began = Instant::now();
    let bob = person("bob", &["leads", "rare"]);
    let workers = (0..64_u32).map(|worker| {
        let (desk, bob) = (Arc::clone(&desk), Arc::clone(&bob));
        tokio::spawn(async move {
            for n in (worker..6_400).step_by(64) {
                let who = person(&format!("user{}", n % 1_000), &[]);
                let mut asked = request(&who, &n.to_string(), &[("leads", 1)]);
                asked.operation = format!("op{}", n % 777).into();
                asked.upstream = format!("up{}", n % 10).into();
                let id = desk.pending(&asked).await;
                desk.approve(&id, &bob).await.unwrap();
                assert!(matches!(desk.ask(&asked).await, Ok(Asked::Consumed { .. })));
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.unwrap();
    }
    let seconds = began.elapsed().as_secs_f64();
    println!("6400 approved and consumed in {seconds:.1} s: {:.0} transitions a second", 12_800.0 / seconds);
}
