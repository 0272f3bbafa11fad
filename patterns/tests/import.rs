//! Rules of other tools: how many are carried, and whether they find what the originals find, on the originals' own examples.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};

use sluice_patterns::Pack;
use sluice_patterns::import::{Dialect, Imported, import};

/// The public rule sets beside the checkout; `None` where they are not there.
fn corpus() -> Option<PathBuf> {
    let shared = std::env::var_os("SLUICE_SHARED").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let rules = shared.unwrap_or(beside).join("corpus/rules");
    rules.is_dir().then_some(rules)
}

fn carried(dialect: Dialect, file: &str) -> Option<Imported> {
    let path = corpus()?.join(file);
    let text = std::fs::read_to_string(&path).expect("a file of rules");
    Some(import(dialect, &[(file.to_owned(), text)]).expect("it is one of that tool's"))
}

fn check(dialect: Dialect, file: &str) {
    let Some(imported) = carried(dialect, file) else { return };
    let all = imported.carried.len() + imported.refused.len();
    let share = imported.carried.len() as f64 / all as f64;
    assert!(share >= 0.95, "{file}: {} of {all}: {:#?}", imported.carried.len(), imported.refused);
    let examples: usize = imported.carried.iter().map(|c| c.examples).sum();
    let found: usize = imported.carried.iter().map(|c| c.found).sum();
    let missed: Vec<_> = imported.carried.iter().filter(|c| c.found < c.examples).collect();
    assert!(found as f64 >= examples as f64 * 0.98, "{file}: {found} of {examples}: {missed:#?}");
    println!("{file}: {} of {all} rules, {found} of {examples} examples", imported.carried.len());
    if dialect != Dialect::Gitleaks {
        return;
    }
    // The pack that is written is the pack that was imported: of one tool, for compiling all of them takes its time.
    let text = imported.to_toml("imported", "1.0.0", "");
    let pack = Pack::parse("imported.toml", &text).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(pack.rules.len(), imported.rules.len());
    for (one, other) in pack.rules.iter().zip(&imported.rules) {
        assert_eq!(format!("{:?}", one.rule), format!("{:?}", other.rule));
    }
}

#[test]
fn gitleaks() {
    check(Dialect::Gitleaks, "gitleaks_rules.json");
}

#[test]
fn kingfisher() {
    check(Dialect::Kingfisher, "kingfisher_rules.json");
}

#[test]
fn nosey_parker() {
    check(Dialect::NoseyParker, "noseyparker_rules.json");
}

fn one(dialect: Dialect, file: &str, text: &str) -> Imported {
    import(dialect, &[(file.to_owned(), text.to_owned())]).unwrap()
}

#[test]
fn the_tools_own_formats() {
    let toml = "title = 'x'\n[allowlist]\npaths = ['a']\n[[rules]]\nid = 'acme'\ndescription = 'Acme'\n\
                regex = '''(?i)acme[\\s=]{1,3}([a-z0-9]{8})'''\nkeywords = ['acme']\nentropy = 2.0\n\
                [[rules.allowlists]]\nstopwords = ['test']\n[[rules]]\nid = 'file'\npath = '\\.p12$'\n";
    let imported = one(Dialect::Gitleaks, "gitleaks.toml", toml);
    assert_eq!((imported.carried.len(), imported.refused.len()), (1, 1));
    assert!(imported.refused[0].reason.contains("names of files"));
    let rule = &imported.rules[0].rule;
    assert!(rule.keywords.is_empty() && rule.suppress.regex == ["(?i)test"], "{rule:?}");
    let yaml = "rules:\n  - name: Acme\n    id: np.acme.1\n    pattern: |\n      (?x)\n      \\b(acme_[a-z]{8})\\b\n    \
                examples:\n      - 'k=acme_abcdefgh'\n";
    let imported = one(Dialect::NoseyParker, "acme.yml", yaml);
    assert_eq!((imported.carried[0].examples, imported.carried[0].found), (1, 1));
    assert_eq!(imported.rules[0].examples[0].matches, ["acme_abcdefgh"]);
    let python = "class A:\n    PATTERNS = [Pattern('Nine', r'(?<!\\d)(?!000)\\d{9}(?!\\d)', 0.4)]\n    \
                  def __init__(self, supported_entity: str = 'ACME_NO'):\n        pass\n";
    let imported = one(Dialect::Presidio, "acme.py", python);
    let pack = Pack::parse("p", &imported.to_toml("p", "1", "")).unwrap();
    assert_eq!(pack.rules[0].rule.entity, "acme_no");
    let found = |text: &str| {
        let ruleset = sluice_patterns::examples::alone_in(&pack, 0).unwrap();
        sluice_patterns::examples::values(&ruleset, &mut sluice_engine::Scratch::new(), text)
    };
    assert_eq!(found("no 123456789, 000456789 and 1234567890"), ["123456789"]);
}

/// Patterns such as Presidio's: with look-around, backreferences, and characters that mean something else here.
#[test]
fn patterns_of_presidios_kind() {
    let patterns = [
        (
            r"\b(?!1\d{12}(?!\d))((4\d{3})|(5[0-5]\d{2}))[- ]?(\d{3,4})[- ]?(\d{3,4})[- ]?(\d{3,5})\b",
            "pay 4012888888881881 now",
        ),
        (r"\b[0-9A-Fa-f]{2}([:-])(?:[0-9A-Fa-f]{2}\1){4}[0-9A-Fa-f]{2}\b", "mac 00:1b:63:84:45:e6 up"),
        (r"(?<!\d)\d{2}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])-?[1-4]\d{6}(?!\d)", "rrn 960121-1234567."),
        (r"\b(?!bg|gb|nk)[a-ceghj-pr-tw-z]{2} ?\d{2} ?\d{2} ?\d{2} ?[a-d]\b", "NINO AB 12 34 56 C ok"),
        (
            r"\b([A-Z]{2}[ \-]?[0-9]{2})(?=(?:[ \-]?[A-Z0-9]){9,30})((?:[ \-]?[A-Z0-9]{3,5}){2,7})\b",
            "to DE89 3704 0044 0532 0130 00",
        ),
        (
            r"\b((([!#$%&'*+\-/=?^_`{|}~\w])|([!#$%&'*+\-/=?^_`{|}~\w][!#$%&'*+\-/=?^_`{|}~\.\w]{0,}[!#$%&'*+\-/=?^_`{|}~\w]))[@]\w+([-.]\w+)*\.\w+([-.]\w+)*)\b",
            "me a.b@example.org x",
        ),
    ];
    let list: Vec<serde_json::Value> = patterns
        .iter()
        .map(|(regex, _)| serde_json::json!({"name": "p", "regex": regex, "score": 0.5}))
        .collect();
    let entry = serde_json::json!({"name": "X", "supported_entity": "X", "patterns": list, "deny_list": ["Mr.", "Dr"]});
    let file = serde_json::json!({ concat!("recog", "nizers"): [entry, {"name": "SpacyThing"}] });
    let imported = one(Dialect::Presidio, "x.json", &file.to_string());
    assert_eq!(imported.refused.len(), 1, "{:?}", imported.refused);
    let mut scratch = sluice_engine::Scratch::new();
    for (carried, (regex, text)) in imported.carried.iter().zip(patterns) {
        let rule = imported.rules.iter().find(|r| r.rule.id == carried.rules[0]).unwrap();
        let ruleset = sluice_patterns::examples::alone(&rule.rule).unwrap();
        assert!(!sluice_patterns::examples::values(&ruleset, &mut scratch, text).is_empty(), "{regex}");
    }
}
