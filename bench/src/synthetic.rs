//! Rules made up in any number, to see what more of them cost.
//!
//! Three of four are tokens with a prefix of their own, one is a value assigned to a name of its own; all are the same on
//! every run, and the first `n` are a part of the first `n + 1`.

use std::collections::HashSet;

use crate::import::Imported;
use crate::random::Random;

const LETTERS: &str = "abcdefghijklmnopqrstuvwxyz";
const BASE36: &str = "abcdefghijklmnopqrstuvwxyz0123456789";
const SEED: u64 = 0x51_0ce5;

/// So many rules.
#[must_use]
pub fn rules(count: usize) -> Vec<Imported> {
    let names = prefixes(count);
    let rule = |(index, name): (usize, &String)| Imported {
        id: format!("synthetic.{name}"),
        expression: if assigns(index) {
            format!(
                r#"(?i)\b{name}[_-]?(?:key|token|secret)["']?[ \t]{{0,3}}[=:][ \t]{{0,3}}["']?(?P<secret>[a-z0-9]{{32}})\b"#
            )
        } else {
            format!(r"\b{name}_[a-z0-9]{{32}}\b")
        },
        len_max: None,
    };
    names.iter().enumerate().map(rule).collect()
}

/// A text that the first ten rules, in turn, find a value in.
pub fn value(random: &mut Random, index: usize) -> String {
    let index = index % 10;
    let names = prefixes(index + 1);
    let value = random.text(BASE36, 32);
    if assigns(index) {
        format!("{}_key: {value}", names[index])
    } else {
        format!("{}_{value}", names[index])
    }
}

fn assigns(index: usize) -> bool {
    index % 4 == 3
}

/// Distinct words of four to six letters.
fn prefixes(count: usize) -> Vec<String> {
    let (mut random, mut taken, mut names) = (Random::new(SEED), HashSet::new(), Vec::new());
    while names.len() < count {
        let len = 4 + random.below(3);
        let name = random.text(LETTERS, len);
        if taken.insert(name.clone()) {
            names.push(name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_the_same_on_every_run_and_grow_by_appending() {
        let few: Vec<String> = rules(20).into_iter().map(|r| r.expression).collect();
        let many: Vec<String> = rules(200).into_iter().map(|r| r.expression).collect();
        assert_eq!(few, many[..20]);
        assert_eq!(many.iter().collect::<HashSet<_>>().len(), 200);
    }
}
