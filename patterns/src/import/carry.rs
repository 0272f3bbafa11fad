//! One foreign rule as rules of ours.

use std::collections::HashSet;

use regex_syntax::hir::{Class, Hir, HirKind};
use sluice_engine::{Action, Confidence, Pattern, Rule, Strategy, Suppress};

use super::Foreign;
use super::expression::{from_python, name_own_value, name_value, one_line};

/// The most bytes of a match where the expression has no maximum of its own.
const MATCH_LEN: usize = 4096;
/// The most bytes of a match that the engine takes.
const MATCH_LEN_MAX: usize = 16_384;
/// Bytes before a match in which a keyword counts that need not stand in it.
const NEAR: usize = 1024;
/// Longest id and entity of a rule.
const NAME_BYTES_MAX: usize = 64;
/// The most bytes of a list of words that are left out, as one expression.
const SUPPRESS_BYTES_MAX: usize = 16 << 10;

/// The rules that find what `foreign` finds, with ids that are not `taken`; its notes tell where they find more.
pub(super) fn rules(foreign: &mut Foreign, taken: &mut HashSet<String>) -> Result<Vec<Rule>, String> {
    if let Some(reason) = &foreign.refused {
        return Err(reason.clone());
    }
    if foreign.regex.trim().is_empty() {
        return Err("it has no expression".into());
    }
    let mut rules = Vec::new();
    for (regex, never) in expressions(foreign)? {
        let regex = if regex.is_ascii() { regex } else { with_unicode(&regex) };
        let hir = parse(&regex)?;
        let own = hir.properties().maximum_len();
        let shortest = hir.properties().minimum_len().unwrap_or(0);
        let longest = (shortest * 4).clamp(MATCH_LEN, MATCH_LEN_MAX);
        let mut suppress = foreign.suppress_regex.clone();
        suppress.extend(never);
        let suppress =
            suppress.into_iter().filter_map(|text| suppression(text, &mut foreign.notes)).collect();
        let rule = Rule {
            id: name(&foreign.id, '-', taken),
            entity: entity(foreign.entity.as_deref().unwrap_or(&foreign.id)),
            description: foreign.description.lines().next().unwrap_or_default().to_owned(),
            pattern: Pattern::Regex(regex),
            keywords: Vec::new(),
            near: 0,
            validators: foreign.validators.clone(),
            suppress: Suppress { regex: suppress, ..Suppress::default() },
            max_len: own.is_none_or(|len| len > MATCH_LEN_MAX).then_some(longest),
            confidence: foreign.confidence.unwrap_or(Confidence::Medium),
            action: if foreign.label_only { Action::Label } else { Action::Mask },
            labels: Vec::new(),
            strategy: Strategy::Label,
            priority: None,
        };
        rules.extend(with_keywords(rule, &hir, &foreign.keywords, taken));
    }
    Ok(rules)
}

/// Expressions with the value in a group, and what no value begins with.
fn expressions(foreign: &mut Foreign) -> Result<Vec<(String, Vec<String>)>, String> {
    if !foreign.is_python {
        let regex = match foreign.group {
            Some(group) => name_value(&foreign.regex, group),
            None => name_own_value(&foreign.regex),
        };
        return Ok(vec![(regex?, Vec::new())]);
    }
    // The flags that Presidio gives to every expression.
    let flagged = |text: String| format!("(?ims){text}");
    let mut all = Vec::new();
    for branch in from_python(&foreign.regex)? {
        foreign.notes.extend(branch.wider.iter().map(|what| format!("finds more: without its {what}")));
        all.push((flagged(branch.regex), branch.never.into_iter().map(flagged).collect()));
    }
    Ok(all)
}

fn parse(regex: &str) -> Result<Hir, String> {
    let mut parser = regex_syntax::ParserBuilder::new().unicode(false).utf8(false).build();
    parser.parse(regex).map_err(|e| one_line(&e.to_string()))
}

/// With characters beyond ASCII; boundaries stay those of ASCII, as the engine has them.
fn with_unicode(regex: &str) -> String {
    format!("(?u:{})", regex.replace(r"\b", r"(?-u:\b)"))
}

/// An expression of values that are left out; `None`, with a note, where it can't be used.
fn suppression(text: String, notes: &mut Vec<String>) -> Option<String> {
    let text = if text.is_ascii() { text } else { with_unicode(&text) };
    let problem = match parse(&text) {
        Err(reason) => reason,
        Ok(_) if text.len() > SUPPRESS_BYTES_MAX => format!("it has more than {SUPPRESS_BYTES_MAX} bytes"),
        Ok(_) => return Some(text),
    };
    notes.push(format!("finds more: an allow-list is not carried: {problem}"));
    None
}

/// Keywords that every match has are no condition. Others count where they stand in the match or shortly before it, for
/// which it takes two rules.
fn with_keywords(rule: Rule, hir: &Hir, keywords: &[String], taken: &mut HashSet<String>) -> Vec<Rule> {
    let lower: Vec<String> = keywords.iter().map(|k| k.to_ascii_lowercase()).collect();
    if lower.is_empty() || lower.iter().any(|k| k.len() < 2 || k.len() > 64) || has_keyword(hir, &lower) {
        return vec![rule];
    }
    let before = Rule {
        id: name(&format!("{}.near", rule.id), '-', taken),
        keywords: lower.clone(),
        near: NEAR,
        ..rule.clone()
    };
    vec![Rule { keywords: lower, ..rule }, before]
}

/// Whether every match has one of the keywords, as far as its literals tell.
fn has_keyword(hir: &Hir, keywords: &[String]) -> bool {
    match hir.kind() {
        HirKind::Alternation(branches) => branches.iter().all(|branch| has_keyword(branch, keywords)),
        HirKind::Capture(capture) => has_keyword(&capture.sub, keywords),
        HirKind::Repetition(repetition) => repetition.min > 0 && has_keyword(&repetition.sub, keywords),
        HirKind::Concat(parts) => {
            let mut run = String::new();
            for part in parts.iter().flat_map(flat) {
                match letters(part) {
                    Some(text) => run.push_str(&text),
                    None if has_keyword(part, keywords) => return true,
                    None => run.push('\0'),
                }
            }
            keywords.iter().any(|keyword| run.contains(keyword))
        }
        HirKind::Literal(_) | HirKind::Class(_) => {
            letters(hir).is_some_and(|text| keywords.iter().any(|keyword| text.contains(keyword)))
        }
        HirKind::Empty | HirKind::Look(_) => false,
    }
}

/// The parts of nested groups, side by side.
fn flat(hir: &Hir) -> Vec<&Hir> {
    match hir.kind() {
        HirKind::Capture(capture) => flat(&capture.sub),
        HirKind::Concat(parts) => parts.iter().flat_map(flat).collect(),
        _ => vec![hir],
    }
}

/// The text that a part always is, but for case.
fn letters(hir: &Hir) -> Option<String> {
    match hir.kind() {
        HirKind::Literal(literal) => Some(String::from_utf8_lossy(&literal.0).to_ascii_lowercase()),
        HirKind::Class(Class::Bytes(class)) => {
            let mut bytes = class.ranges().iter().flat_map(|r| r.start()..=r.end());
            let first = bytes.next()?.to_ascii_lowercase();
            let is_one = bytes.all(|byte| byte.to_ascii_lowercase() == first);
            is_one.then(|| char::from(first).to_string())
        }
        HirKind::Look(_) => Some(String::new()),
        _ => None,
    }
}

/// A name of the characters that an id may have, which no other rule has.
fn name(text: &str, instead: char, taken: &mut HashSet<String>) -> String {
    let is_of_id = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
    let id: String =
        text.trim().to_ascii_lowercase().chars().map(|c| if is_of_id(c) { c } else { instead }).collect();
    let id = if id.is_empty() { "rule".to_owned() } else { id };
    let cut = |id: &str, len: usize| id.chars().take(len).collect::<String>();
    let mut free = cut(&id, NAME_BYTES_MAX);
    for number in 2.. {
        if taken.insert(free.clone()) {
            break;
        }
        let end = format!(".{number}");
        free = cut(&id, NAME_BYTES_MAX - end.len()) + &end;
    }
    free
}

fn entity(text: &str) -> String {
    let letters = text.trim().to_ascii_lowercase();
    let is_of_entity = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let entity: String =
        letters.chars().take(NAME_BYTES_MAX).map(|c| if is_of_entity(c) { c } else { '_' }).collect();
    if entity.is_empty() { "value".to_owned() } else { entity }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_that_every_match_has_are_told() {
        let has = |regex: &str, words: &[&str]| {
            let words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
            has_keyword(&parse(regex).unwrap(), &words)
        };
        assert!(has(r"(?i)(?:acme)[\w]{0,9}=x", &["acme"]));
        assert!(has(r"\b(AKIA|ASIA)[A-Z]{4}", &["akia", "asia"]));
        assert!(has(r"(gh)p_\w{36}", &["ghp_"]));
        assert!(!has(r"(sgp_\w{4}|[a-f]{8})", &["sgp_", "sourcegraph"]));
        assert!(!has(r"(?:acme)?x", &["acme"]));
    }

    #[test]
    fn names_are_those_of_rules_and_of_one_only() {
        let mut taken = HashSet::new();
        assert_eq!(name("Acme Key/1", '-', &mut taken), "acme-key-1");
        assert_eq!(name("acme-key-1", '-', &mut taken), "acme-key-1.2");
        let long = name(&"a".repeat(99), '-', &mut taken);
        assert_eq!((long.len(), name(&"a".repeat(99), '-', &mut taken).len()), (64, 64));
        assert_eq!((entity("kingfisher.Ü-1"), entity("")), ("kingfisher___1".into(), "value".into()));
    }
}
