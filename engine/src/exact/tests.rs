//! Sets alone: what they take, what they keep, and how many.

use super::*;
use crate::random::Random;

const SALT: [u8; SALT_BYTES] = [3; SALT_BYTES];
const OPTIONS: ExactOptions<'_> = ExactOptions { ignore_case: false, salt: SALT, key: None };

fn exact(sets: Vec<ExactSet>) -> Exact {
    let mut exact = Exact::default();
    for (rule, set) in sets.into_iter().enumerate() {
        exact.add(rule as u32, &Arc::new(set), None).unwrap();
    }
    exact
}

fn found(exact: &Exact, text: &str) -> Vec<(u32, Range<usize>)> {
    let mut found = Vec::new();
    let mut room = Room::default();
    let rest =
        exact.find(text.as_bytes(), Place::default(), usize::MAX, true, &mut room, &mut |rule, range| {
            found.push((rule, range));
        });
    assert_eq!(rest, Place { at: text.len(), inside: false });
    found
}

#[test]
fn a_hundred_thousand_values_are_found_and_no_others() {
    let mut random = Random(0xE0A7);
    let mut value = || format!("C-{:08}-{:04x}", random.below(100_000_000), random.below(1 << 16));
    let values: Vec<String> = (0..100_000).map(|_| value()).collect();
    let others: Vec<String> = (0..100_000).map(|_| value()).collect();
    let set = ExactSet::build("numbers", &values, &OPTIONS).unwrap();
    assert!(set.memory_bytes() < 100_000 * 14, "{}", set.memory_bytes());
    let mut out = Writer::default();
    set.write(&mut out);
    let bytes = out.into_bytes();
    let mut from = Reader::new(&bytes);
    let read = ExactSet::read(&mut from).unwrap();
    assert_eq!(from.end(), Ok(()));
    assert!(read == set, "what was written is read");
    // No value, nor the text that most have in common, is in what is written.
    assert!(!values.iter().take(100).any(|v| bytes.windows(v.len()).any(|w| w == v.as_bytes())));
    let exact = exact(vec![read]);
    let known: std::collections::HashSet<&String> = values.iter().collect();
    for (list, is_known) in [(&values, true), (&others, false)] {
        for text in list.chunks(50) {
            let text: Vec<&String> = text.iter().filter(|v| known.contains(v) == is_known).collect();
            let wanted = if is_known { text.len() } else { 0 };
            let text: String = text.iter().map(|value| format!("no {value}, ")).collect();
            assert_eq!(found(&exact, &text).len(), wanted);
        }
    }
}

#[test]
fn the_longest_value_of_each_start_is_found() {
    let one = ExactSet::build("one", ["New York", "New", "York City Hall"], &OPTIONS).unwrap();
    let two =
        ExactSet::build("two", ["new york city"], &ExactOptions { ignore_case: true, ..OPTIONS }).unwrap();
    let exact = exact(vec![one, two]);
    assert_eq!(found(&exact, "New York City Hall"), [(0, 0..8), (1, 0..13), (0, 4..18)]);
    assert_eq!(found(&exact, "New  York"), [(0, 0..3)]);
    assert_eq!(found(&exact, "Newer"), []);
}

#[test]
fn values_have_their_limits() {
    let build = |values: &[String]| ExactSet::build("r", values, &OPTIONS).map_err(|e| e.faults);
    let one = |value: &str| build(&[value.to_owned()]);
    assert!(one("abc").is_ok() && one("ab").is_err() && one("").is_err() && one("---").is_err());
    assert!(one(&"a".repeat(VALUE_BYTES_MAX)).is_ok() && one(&"a".repeat(VALUE_BYTES_MAX + 1)).is_err());
    assert!(one(&"a ".repeat(VALUE_WORDS_MAX)).is_ok() && one(&"a ".repeat(VALUE_WORDS_MAX + 1)).is_err());
    // What stands around the words is no part of a value.
    assert_eq!(one("  (abc)\r").unwrap(), one("abc").unwrap());
    let faults = build(&["good one".into(), "x".into(), "!".into()]).unwrap_err();
    assert_eq!(faults.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(build(&vec!["x".into(); 1000]).unwrap_err().len(), FAULTS_MAX);
    let longest = format!("see {} and more", "a".repeat(VALUE_BYTES_MAX));
    let exact = exact(vec![one(&"a".repeat(VALUE_BYTES_MAX)).unwrap()]);
    assert_eq!(found(&exact, &longest), [(0, 4..4 + VALUE_BYTES_MAX)]);
}

#[test]
fn sets_have_their_limit_and_what_is_damaged_is_refused() {
    let set = Arc::new(ExactSet::build("r", ["abc"], &OPTIONS).unwrap());
    let mut exact = Exact::default();
    (0..SETS_MAX).for_each(|n| exact.add(n as u32, &set, None).unwrap());
    assert!(exact.add(9, &set, None).is_err());
    let mut out = Writer::default();
    set.write(&mut out);
    let bytes = out.into_bytes();
    for len in 0..bytes.len() {
        assert!(ExactSet::read(&mut Reader::new(&bytes[..len])).is_err(), "{len}");
    }
    assert_eq!(format!("{set:?}"), "ExactSet(r, 1 values)");
}

/// Ten million values, and how fast text goes by them: `SLUICE_LONG=1`, with a release build for the figures.
#[test]
fn ten_million_values() {
    if std::env::var_os("SLUICE_LONG").is_none() {
        return;
    }
    let values = (0..VALUES_MAX as u64)
        .map(|n| format!("C-{:012}", n.wrapping_mul(0x9E37_79B9_7F4A_7C15) % 1_000_000_000_000));
    let set = ExactSet::build("r", values, &OPTIONS).unwrap();
    assert!(set.len() > VALUES_MAX * 99 / 100 && set.memory_bytes() < VALUES_MAX * 15, "{set:?}");
    let exact = exact(vec![set]);
    assert_eq!(found(&exact, "C-000000000000 C-000000000001").len(), 1);
}
