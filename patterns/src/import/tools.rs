//! Rules of gitleaks, Kingfisher and Nosey Parker as they write them, and as plain JSON lists of the same.

use serde_json::Value;
use sluice_engine::{Confidence, Validator};

use super::{Dialect, Foreign};

/// What gitleaks puts before the words that a rule looks for: lazy, and of no length if need be. Taking it out moves where
/// a match starts, never whether there is one or what its value is.
pub const LEAD: &str = r"[\w.-]{0,50}?";

/// The texts of a list.
pub(super) fn texts(value: &Value) -> Vec<String> {
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().trim().to_owned()
}

/// All rules of a file; `Err` where it holds no list of rules.
pub(super) fn read(dialect: Dialect, document: &Value) -> Result<Vec<Foreign>, String> {
    let rules = document.get("rules").and_then(Value::as_array);
    let rules = rules.ok_or("the file has no list `rules`")?;
    let general = allow_lists(document);
    Ok(rules
        .iter()
        .map(|rule| match dialect {
            Dialect::Gitleaks => gitleaks(rule, &general),
            Dialect::Kingfisher | Dialect::NoseyParker | Dialect::Presidio => of_captures(rule),
        })
        .collect())
}

/// What the tools' rules have in common.
fn common(rule: &Value) -> Foreign {
    let regex =
        ["regex", "pattern"].iter().find_map(|key| rule.get(*key)).map_or("", |v| v.as_str().unwrap_or(""));
    let entropy = ["entropy", "min_entropy"].iter().find_map(|key| rule.get(*key)).and_then(Value::as_f64);
    let mut foreign = Foreign {
        id: text(&rule["id"]),
        description: [text(&rule["name"]), text(&rule["description"])]
            .into_iter()
            .find(|text| !text.is_empty())
            .unwrap_or_default(),
        regex: regex.to_owned(),
        examples: texts(&rule["examples"]),
        negative_examples: texts(&rule["negative_examples"]),
        ..Foreign::default()
    };
    if let Some(min) = entropy.filter(|min| *min > 0.0) {
        foreign.validators.push(Validator::Entropy { min });
    }
    foreign
}

fn gitleaks(rule: &Value, general: &[Value]) -> Foreign {
    let group = ["group", "secretGroup"].iter().find_map(|key| rule.get(*key)).and_then(Value::as_i64);
    let mut foreign = Foreign {
        group: group.filter(|group| *group > 0),
        keywords: texts(&rule["keywords"]).into_iter().filter(|k| !k.is_empty()).collect(),
        ..common(rule)
    };
    foreign.regex = foreign.regex.replace(LEAD, "");
    if foreign.regex.is_empty() {
        foreign.refused = Some("it matches the names of files, not their text".into());
    } else if rule["path"].as_str().is_some_and(|path| !path.is_empty()) {
        foreign.notes.push("counts in files of every name".into());
    }
    let own = allow_lists(rule);
    for list in own.iter().chain(general) {
        take_allow_list(list, &mut foreign);
    }
    foreign
}

/// `[allowlist]` of old, `[[allowlists]]` of now.
fn allow_lists(table: &Value) -> Vec<Value> {
    let many = table.get("allowlists").and_then(Value::as_array).cloned().unwrap_or_default();
    many.into_iter().chain(table.get("allowlist").cloned()).collect()
}

/// What an allow-list says of the value is carried. What it says of the file, the line or the whole match is not, nor what
/// counts only together with that: then the rule finds more.
fn take_allow_list(list: &Value, foreign: &mut Foreign) {
    let (regexes, words) = (texts(&list["regexes"]), texts(&list["stopwords"]));
    let has = |key: &str| list[key].as_array().is_some_and(|items| !items.is_empty());
    let of_files = has("paths") || has("commits");
    let together = list["condition"].as_str().is_some_and(|c| c.eq_ignore_ascii_case("and"));
    if of_files {
        foreign.notes.push("files and commits that it allows are not left out".into());
    }
    if together && (of_files || (!regexes.is_empty() && !words.is_empty())) {
        return;
    }
    match list["regexTarget"].as_str() {
        None | Some("" | "secret") => foreign.suppress_regex.extend(regexes),
        Some(target) if !regexes.is_empty() => {
            foreign.notes.push(format!("an allow-list for the {target} is not carried"));
        }
        Some(_) => {}
    }
    if !words.is_empty() {
        let words: Vec<String> = words.iter().map(|word| regex_syntax::escape(word)).collect();
        foreign.suppress_regex.push(format!("(?i){}", words.join("|")));
    }
}

/// A rule of Kingfisher or Nosey Parker, whose value is a group of its expression.
fn of_captures(rule: &Value) -> Foreign {
    let mut foreign = Foreign { group: rule["value_group"].as_i64(), ..common(rule) };
    foreign.confidence = Some(match rule["confidence"].as_str() {
        Some("high") => Confidence::High,
        Some("low") => Confidence::Low,
        _ => Confidence::Medium,
    });
    if rule["visible"] == Value::Bool(false) {
        foreign.label_only = true;
        foreign
            .notes
            .push("it helps other rules and is not shown there: its matches are labelled, not masked".into());
    }
    let wants = &rule["pattern_requirements"];
    let least = |key: &str| wants[key].as_u64().unwrap_or(0).min(256) as usize;
    let chars = Validator::Chars {
        digits: least("min_digits"),
        lower: least("min_lowercase"),
        upper: least("min_uppercase"),
        letters: 0,
        distinct: 0,
    };
    if wants.is_object() {
        foreign.validators.push(chars);
        let parts = texts(&wants["ignore_if_contains"]);
        foreign.suppress_regex.extend(parts.iter().map(|part| format!("(?i){}", regex_syntax::escape(part))));
        if least("min_special_chars") > 0 {
            foreign.notes.push("a least number of special characters is not asked for".into());
        }
    }
    foreign
}
