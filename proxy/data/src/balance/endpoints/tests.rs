//! Who is chosen, who is left out and for how long.

use proptest::prelude::*;

use super::*;
use crate::config::HealthCheck;

const SECOND: Duration = Duration::from_secs(1);

fn address(n: usize) -> TargetAddress {
    TargetAddress::Tcp(format!("192.0.2.{n}:80").parse().unwrap())
}

fn addresses(range: impl Iterator<Item = usize>) -> Vec<TargetAddress> {
    range.map(address).collect()
}

fn health(faults_max: u32, out_ms: u64, out_ms_max: u64) -> HealthConfig {
    HealthConfig { faults_max, out_ms, out_ms_max, check: None }
}

fn checks(rises: u32, falls: u32) -> HealthConfig {
    let check = HealthCheck { path: "/".to_owned(), every_ms: 1, ms_max: 1, rises, falls };
    HealthConfig { check: Some(check), ..health(2, 1_000, 4_000) }
}

/// Targets 0 to `count`, and their ids.
fn endpoints(count: usize, health: HealthConfig) -> (Endpoints, Vec<TargetId>) {
    let mut endpoints = Endpoints::new(health);
    endpoints.set_targets(addresses(0..count));
    let ids = endpoints.targets(Instant::now()).map(|target| target.id).collect();
    (endpoints, ids)
}

fn is_in(endpoints: &Endpoints, id: TargetId, now: Instant) -> bool {
    endpoints.targets(now).any(|target| target.id == id && target.is_in)
}

fn open(endpoints: &Endpoints) -> Vec<u32> {
    endpoints.targets(Instant::now()).map(|target| target.open).collect()
}

/// One exchange with an outcome.
fn exchange(endpoints: &mut Endpoints, id: TargetId, outcome: Outcome, now: Instant) {
    let exchange = endpoints.begin(id);
    endpoints.end(exchange, outcome, now);
}

/// A number of 64 bits for each `n`, well spread (splitmix64).
fn spread(n: u64) -> u64 {
    let mut z = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[test]
fn two_are_compared_and_all_pairs_come_equally_often() {
    assert_eq!(two_of(0, 7), None);
    assert_eq!(two_of(1, u64::MAX), Some((0, 0)));
    for count in 2..7 {
        let mut seen = HashMap::new();
        let pairs = count * (count - 1);
        for n in 0..(pairs as u64 * 2_000) {
            *seen.entry(two_of(count, spread(n)).unwrap()).or_insert(0u32) += 1;
        }
        assert_eq!(seen.len(), pairs, "every pair, none of two alike");
        for (pair, times) in seen {
            assert!(pair.0 < count && pair.1 < count && pair.0 != pair.1, "{pair:?}");
            assert!((1_700..2_300).contains(&times), "{pair:?}: {times} of about 2000");
        }
    }
    for random in [0, u64::MAX, 1 << 32, u64::MAX >> 32] {
        let (first, second) = two_of(usize::from(u16::MAX), random).unwrap();
        assert!(first != second && first.max(second) < usize::from(u16::MAX), "{random}");
    }
}

#[test]
fn shares_are_fair_and_the_busy_one_gets_less() {
    let now = Instant::now();
    let (mut endpoints, ids) = endpoints(4, HealthConfig::default());
    let mut picks = vec![0u32; 4];
    for n in 0..8_000 {
        let id = endpoints.pick(now, spread(n), &[]).unwrap();
        picks[ids.iter().position(|one| *one == id).unwrap()] += 1;
    }
    assert!(picks.iter().all(|times| (1_800..2_200).contains(times)), "nothing in flight: {picks:?}");

    // Exchanges that stay in flight even out at once.
    let mut running: Vec<Exchange> = Vec::new();
    for n in 0..400 {
        let id = endpoints.pick(now, spread(n), &[]).unwrap();
        running.push(endpoints.begin(id));
        let open = open(&endpoints);
        assert!(open.iter().max().unwrap() - open.iter().min().unwrap() <= 8, "{open:?}");
    }

    // One that is slow to answer is chosen only where both are it, which can't be.
    for exchange in running.drain(..) {
        endpoints.end(exchange, Outcome::Good, now);
    }
    let slow: Vec<_> = (0..50).map(|_| endpoints.begin(ids[2])).collect();
    for n in 0..1_000 {
        assert_ne!(endpoints.pick(now, spread(n), &[]), Some(ids[2]));
    }
    slow.into_iter().for_each(|exchange| endpoints.end(exchange, Outcome::Good, now));
    assert_eq!(open(&endpoints), [0; 4]);
}

#[test]
fn those_that_were_tried_are_not_chosen_again() {
    let now = Instant::now();
    let (mut endpoints, ids) = endpoints(3, HealthConfig::default());
    for random in (0..100).map(spread) {
        let mut tried = Vec::new();
        for _ in 0..3 {
            let id = endpoints.pick(now, random, &tried).unwrap();
            assert!(!tried.contains(&id));
            tried.push(id);
        }
        assert_eq!(endpoints.pick(now, random, &tried), None, "one past all");
    }
    // Where the rest is out, there is none either: it is no panic.
    for _ in 0..5 {
        exchange(&mut endpoints, ids[1], Outcome::Fault, now);
        exchange(&mut endpoints, ids[2], Outcome::Fault, now);
    }
    assert_eq!(endpoints.pick(now, 0, &[ids[0]]), None);
    assert_eq!(endpoints.panics(), 0);
    let (mut none, _) = self::endpoints(0, HealthConfig::default());
    assert_eq!((none.pick(now, 0, &[]), none.panics()), (None, 0));
}

#[test]
fn faults_in_a_row_leave_a_target_out_and_twice_as_long_each_time() {
    let mut now = Instant::now();
    let (mut endpoints, ids) = endpoints(2, health(3, 1_000, 5_000));
    for _ in 0..2 {
        exchange(&mut endpoints, ids[0], Outcome::Fault, now);
        exchange(&mut endpoints, ids[0], Outcome::Neutral, now);
    }
    assert!(is_in(&endpoints, ids[0], now), "one below the limit");
    exchange(&mut endpoints, ids[0], Outcome::Good, now);
    for n in 0..3 {
        assert!(is_in(&endpoints, ids[0], now), "{n}");
        exchange(&mut endpoints, ids[0], Outcome::Fault, now);
    }
    // After each time that it is out, one fault is enough.
    for (turn, ms) in [1_000, 2_000, 4_000, 5_000, 5_000].into_iter().enumerate() {
        assert_eq!(endpoints.outs(), turn as u64 + 1);
        assert!(!is_in(&endpoints, ids[0], now + Duration::from_millis(ms - 1)), "{ms}");
        now += Duration::from_millis(ms);
        assert!(is_in(&endpoints, ids[0], now), "{ms}");
        exchange(&mut endpoints, ids[0], Outcome::Fault, now);
    }
    now += 5 * SECOND;
    exchange(&mut endpoints, ids[0], Outcome::Good, now);
    (0..3).for_each(|_| exchange(&mut endpoints, ids[0], Outcome::Fault, now));
    assert!(is_in(&endpoints, ids[0], now + SECOND), "a good answer starts anew");
    assert!(!is_in(&endpoints, ids[0], now));
}

#[test]
fn no_configuration_overflows() {
    let now = Instant::now();
    let table = [(1, u64::MAX, u64::MAX), (1, 0, 0), (1, 1, u64::MAX), (1, u64::MAX, 1)];
    for (faults_max, out_ms, out_ms_max) in table {
        let (mut endpoints, ids) = endpoints(2, health(faults_max, out_ms, out_ms_max));
        let mut later = now;
        for _ in 0..100 {
            exchange(&mut endpoints, ids[0], Outcome::Fault, later);
            later += OUT_MAX;
            assert!(is_in(&endpoints, ids[0], later));
        }
    }
    let (mut endpoints, ids) = endpoints(2, health(0, 1_000, 1_000));
    (0..1_000).for_each(|_| exchange(&mut endpoints, ids[0], Outcome::Fault, now));
    assert!(is_in(&endpoints, ids[0], now), "0: never");
}

#[test]
fn where_all_are_out_all_are_tried_and_one_that_answers_is_in_again() {
    let now = Instant::now();
    let (mut endpoints, ids) = endpoints(3, health(1, 1_000, 1_000));
    ids.iter().for_each(|id| exchange(&mut endpoints, *id, Outcome::Fault, now));
    let chosen: HashSet<_> = (0..100).filter_map(|n| endpoints.pick(now, spread(n), &[])).collect();
    assert_eq!(chosen.len(), 3);
    assert_eq!(endpoints.panics(), 100);
    assert!(!chosen.is_empty() && endpoints.pick(now, 1, &ids[..2]) == Some(ids[2]));
    exchange(&mut endpoints, ids[0], Outcome::Fault, now + SECOND / 2);
    assert!(is_in(&endpoints, ids[0], now + SECOND), "faults in a panic don't make it longer");
    exchange(&mut endpoints, ids[1], Outcome::Good, now);
    assert!((0..100).all(|n| endpoints.pick(now, spread(n), &[]) == Some(ids[1])));
    assert_eq!(endpoints.panics(), 101);
}

#[test]
fn an_exchange_tells_of_the_time_it_began_in() {
    let now = Instant::now();
    let (mut endpoints, ids) = endpoints(2, health(1, 1_000, 8_000));
    let (good, bad) = (endpoints.begin(ids[0]), endpoints.begin(ids[0]));
    exchange(&mut endpoints, ids[0], Outcome::Fault, now);
    endpoints.end(good, Outcome::Good, now);
    assert!(!is_in(&endpoints, ids[0], now), "a long stream that ends well does not bring it back");
    endpoints.end(bad, Outcome::Fault, now + SECOND);
    assert!(is_in(&endpoints, ids[0], now + SECOND), "nor does one that breaks leave it out again");
    assert_eq!(open(&endpoints), [0, 0]);
}

#[test]
fn a_check_needs_falls_to_leave_out_and_rises_to_bring_in() {
    let now = Instant::now();
    // Results in turn, as `+` and `-`; whether it is in after each.
    for (rises, falls, results, wanted) in [
        (2, 3, "--+---", "iiiiio"),
        (2, 3, "---+-++", "iiooooi"),
        (1, 1, "-+-+", "oioi"),
        (0, 0, "-+", "oi"),
        (3, 1, "-++-+++", "ooooooi"),
    ] {
        let (mut endpoints, ids) = endpoints(2, checks(rises, falls));
        let mut seen = String::new();
        for result in results.chars() {
            endpoints.checked(ids[0], result == '+');
            seen.push(if is_in(&endpoints, ids[0], now) { 'i' } else { 'o' });
        }
        assert_eq!(seen, wanted, "rises {rises}, falls {falls}: {results}");
    }
}

#[test]
fn checks_and_exchanges_must_both_say_in() {
    let now = Instant::now();
    let (mut endpoints, ids) = endpoints(2, checks(1, 1));
    (0..2).for_each(|_| exchange(&mut endpoints, ids[0], Outcome::Fault, now));
    endpoints.checked(ids[0], true);
    assert!(!is_in(&endpoints, ids[0], now), "its health page answers, its exchanges fail");
    endpoints.checked(ids[0], false);
    assert!(!is_in(&endpoints, ids[0], now + SECOND), "its time is over, its check fails");
    exchange(&mut endpoints, ids[0], Outcome::Good, now);
    assert!(!is_in(&endpoints, ids[0], now));
    endpoints.checked(ids[0], true);
    assert!(is_in(&endpoints, ids[0], now));
    // Without checks nobody would bring it in.
    endpoints.checked(ids[0], false);
    endpoints.set_health(HealthConfig::default());
    assert!(is_in(&endpoints, ids[0], now));
    endpoints.checked(ids[0], false);
    assert!(is_in(&endpoints, ids[0], now), "a late result of a check that is no more");
}

#[test]
fn targets_that_stay_keep_their_state_and_those_that_go_are_never_mistaken() {
    let now = Instant::now();
    let (mut endpoints, ids) = endpoints(3, health(1, 1_000, 1_000));
    exchange(&mut endpoints, ids[2], Outcome::Fault, now);
    let (kept, gone) = (endpoints.begin(ids[2]), endpoints.begin(ids[0]));
    endpoints.set_targets(vec![address(2), address(9), address(2), address(1)]);
    let seen: Vec<_> = endpoints.targets(now).map(|t| (t.address.clone(), t.open, t.is_in)).collect();
    assert_eq!(seen, [(address(2), 1, false), (address(9), 0, true), (address(1), 0, true)]);
    assert_eq!(endpoints.address(ids[0]), None);
    assert_eq!(endpoints.address(ids[2]), Some(&address(2)));

    // What is still in flight to one that has gone counts for nobody, even if it comes back.
    endpoints.set_targets(addresses(0..3));
    let back = endpoints.targets(now).next().unwrap().id;
    assert_ne!(back, ids[0]);
    endpoints.end(gone, Outcome::Fault, now);
    endpoints.checked(ids[0], false);
    let late = endpoints.begin(ids[0]);
    endpoints.end(late, Outcome::Fault, now);
    assert!(is_in(&endpoints, back, now));
    endpoints.end(kept, Outcome::Neutral, now);
    assert_eq!(open(&endpoints), [0, 0, 0]);
    endpoints.set_targets(Vec::new());
    assert_eq!(endpoints.pick(now, 1, &[]), None);
}

#[test]
fn attempts_go_by_turns_through_the_families_that_are_in() {
    let now = Instant::now();
    let v6 = |n: usize| TargetAddress::Tcp(format!("[2001:db8::{n}]:80").parse().unwrap());
    let mut endpoints = Endpoints::new(health(1, 1_000, 1_000));
    endpoints.set_targets(vec![v6(1), v6(2), address(3), v6(4), address(5)]);
    let ids: Vec<_> = endpoints.targets(now).map(|target| target.id).collect();
    let order = |endpoints: &Endpoints, first| -> Vec<usize> {
        let order = endpoints.attempt_order(first, now);
        order.iter().map(|id| ids.iter().position(|one| one == id).unwrap()).collect()
    };
    assert_eq!(order(&endpoints, ids[1]), [1, 2, 0, 4, 3]);
    assert_eq!(order(&endpoints, ids[4]), [4, 0, 2, 1, 3]);
    exchange(&mut endpoints, ids[2], Outcome::Fault, now);
    assert_eq!(order(&endpoints, ids[1]), [1, 4, 0, 3]);
    assert_eq!(order(&endpoints, ids[2]), [2, 0, 4, 1, 3], "the first is tried even where it is out");
    endpoints.set_targets(Vec::new());
    assert!(endpoints.attempt_order(ids[1], now).is_empty());
}

/// What happens next; numbers choose among what there is.
#[derive(Clone, Debug)]
enum Step {
    Targets(Vec<usize>),
    Begin(u64),
    End(usize, Outcome),
    Checked(usize, bool),
    /// Milliseconds, also backwards.
    Clock(i64),
}

fn step() -> impl Strategy<Value = Step> {
    let outcome = prop_oneof![Just(Outcome::Good), Just(Outcome::Fault), Just(Outcome::Neutral)];
    prop_oneof![
        1 => prop::collection::vec(0..6usize, 0..5).prop_map(Step::Targets),
        6 => any::<u64>().prop_map(Step::Begin),
        6 => (0..64usize, outcome).prop_map(|(n, outcome)| Step::End(n, outcome)),
        2 => (0..6usize, any::<bool>()).prop_map(|(n, is_well)| Step::Checked(n, is_well)),
        3 => (-3_000..5_000i64).prop_map(Step::Clock),
    ]
}

proptest! {
    /// Whatever happens, in whatever order: exchanges in flight are counted exactly, a target is chosen where there is
    /// one, and never one that is out while another is in.
    #[test]
    fn counts_are_exact_and_who_is_out_is_spared(steps in prop::collection::vec(step(), 1..200)) {
        let start = Instant::now() + 1_000 * SECOND;
        let mut now = start;
        let mut endpoints = Endpoints::new(checks(2, 2));
        endpoints.set_targets(addresses(0..3));
        let mut running: Vec<Exchange> = Vec::new();
        for step in steps {
            match step {
                Step::Targets(numbers) => endpoints.set_targets(addresses(numbers.into_iter())),
                Step::Begin(random) => {
                    let is_any_in = endpoints.targets(now).any(|target| target.is_in);
                    let is_any = endpoints.targets(now).next().is_some();
                    let picked = endpoints.pick(now, random, &[]);
                    prop_assert_eq!(picked.is_some(), is_any);
                    if let Some(id) = picked {
                        prop_assert!(!is_any_in || is_in(&endpoints, id, now));
                        running.push(endpoints.begin(id));
                    }
                }
                Step::End(n, outcome) if n < running.len() => {
                    endpoints.end(running.swap_remove(n), outcome, now);
                }
                Step::End(..) => {}
                Step::Checked(n, is_well) => {
                    let id = endpoints.targets(now).nth(n).map(|target| target.id);
                    if let Some(id) = id {
                        endpoints.checked(id, is_well);
                    }
                }
                Step::Clock(ms) => {
                    let by = Duration::from_millis(ms.unsigned_abs());
                    now = if ms < 0 { (now - by).max(start) } else { now + by };
                }
            }
            for target in endpoints.targets(now) {
                let wanted = running.iter().filter(|exchange| exchange.target() == target.id).count();
                prop_assert_eq!(target.open as usize, wanted);
            }
        }
    }
}
