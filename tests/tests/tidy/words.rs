//! The glossary's terms: one word for one thing, in identifiers and in prose.

use sluice_tests::checkout;

use crate::assert_none;

/// A word that is not used here, and the glossary's term for what it means. Matched at the start of a word, in any
/// case, so that `redact` covers `redaction`.
const WRONG: &[(&str, &str)] = &[
    ("redact", "mask"),
    ("sanitiz", "mask"),
    ("sanitis", "mask"),
    ("scrub", "mask"),
    ("censor", "mask"),
    ("obfuscat", "mask"),
    ("pseudonym", "tokenize"),
    ("rulepack", "pack"),
    ("rulebook", "ruleset"),
    ("recognizer", "rule"),
    ("recogniser", "rule"),
    ("holdback", "hold-back (hold_back)"),
    ("whitelist", "allow-list"),
    ("blacklist", "deny-list"),
    ("lameduck", "drain"),
];

/// Words that hold a wrong one and belong to others: fields of a provider's format, titles of other systems.
const OTHERS: &[&str] = &[
    "redacted_thinking",
    "redactedContent",
    "redactedReasoning",
    // The name of a processor of the OpenTelemetry collector.
    "redactionprocessor",
];

/// The words of a line, as identifiers and prose write them, with where they start.
fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|w| !w.is_empty())
}

/// The parts of an identifier: `StreamOptions` and `stream_options` are `stream` and `options`.
fn parts(word: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut lower_before = false;
    for c in word.chars() {
        if c == '_' || (c.is_uppercase() && lower_before) {
            parts.push(String::new());
        }
        lower_before = c.is_lowercase();
        if c != '_' {
            parts.last_mut().expect("there is always one").extend(c.to_lowercase());
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

#[test]
fn identifiers_are_taken_apart() {
    assert_eq!(parts("StreamOptions"), ["stream", "options"]);
    assert_eq!(parts("hold_back_MAX"), ["hold", "back", "max"]);
    assert_eq!(parts("redacted"), ["redacted"]);
}

#[test]
fn the_glossarys_terms_are_used() {
    let mut faults = Vec::new();
    let mut files = checkout::files_with_extension("rs");
    files.extend(checkout::files_with_extension("md"));
    // This file names the wrong words to tell of them.
    files.retain(|file| !file.ends_with("tidy/words.rs"));
    for file in files {
        for (index, line) in checkout::read(&file).lines().enumerate() {
            for word in words(line).filter(|word| !OTHERS.contains(word)) {
                for part in parts(word) {
                    for (wrong, right) in WRONG {
                        if part.starts_with(wrong) {
                            faults.push(format!("{}:{}: {word}: say {right}", file.display(), index + 1));
                        }
                    }
                }
            }
        }
    }
    assert_none(&faults);
}
