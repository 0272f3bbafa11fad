//! Presidio's pattern rules: Python source, or its YAML and JSON of rules that are declared without code.

use serde_json::Value;
use sluice_engine::{Confidence, Validator};

use super::tools::texts;
use super::{Dialect, Foreign, python, tools, value};

/// The list of declared rules in a file; the word is Presidio's.
const LIST: &str = concat!("recog", "nizers");

pub(super) fn read(file: &str, text: &str) -> Result<Vec<Foreign>, String> {
    if file.ends_with(".py") {
        return python::read(text, rule);
    }
    let document = value::read(file, text)?;
    let declared = match (&document, document.get(LIST).and_then(Value::as_array)) {
        (_, Some(list)) | (Value::Array(list), _) => list,
        (_, None) if document.get("rules").is_some() => {
            let mut rules = tools::read(Dialect::Presidio, &document)?;
            rules.iter_mut().for_each(|rule| rule.is_python = true);
            return Ok(rules);
        }
        (_, None) if document.get("patterns").is_some() => return Ok(declared(&document)),
        _ => return Err(format!("the file has no list `{LIST}`")),
    };
    Ok(declared_all(declared))
}

fn declared_all(list: &[Value]) -> Vec<Foreign> {
    list.iter().flat_map(declared).collect()
}

/// The patterns and the words of one entry.
fn declared(entry: &Value) -> Vec<Foreign> {
    let text = |key: &str| entry[key].as_str().unwrap_or_default();
    let name = if entry.is_string() { entry.as_str().unwrap_or_default() } else { text("name") };
    let entity = match text("supported_entity") {
        "" => texts(&entry["supported_entities"]).into_iter().next().unwrap_or_else(|| name.to_owned()),
        entity => entity.to_owned(),
    };
    let mut rules = Vec::new();
    for pattern in entry["patterns"].as_array().map(Vec::as_slice).unwrap_or_default() {
        let text = |key: &str| pattern[key].as_str().unwrap_or_default();
        let score = pattern["score"].as_f64().unwrap_or(0.5);
        rules.push(rule(&entity, text("name"), text("regex").to_owned(), score));
    }
    let words = texts(&entry["deny_list"]);
    if !words.is_empty() {
        let words: Vec<String> = words.iter().map(|word| regex_syntax::escape(word)).collect();
        let regex = format!(r"(?<!\w)(?:{})(?!\w)", words.join("|"));
        rules.push(rule(&entity, "words", regex, entry["deny_list_score"].as_f64().unwrap_or(1.0)));
    }
    if rules.is_empty() {
        rules.push(Foreign {
            refused: Some("it is code, or configured without a pattern".into()),
            ..rule(&entity, name, String::new(), 0.0)
        });
    }
    rules
}

/// A pattern as a rule. Words of context only raise a score there, so they are no condition here.
fn rule(entity: &str, name: &str, regex: String, score: f64) -> Foreign {
    let entity = entity.to_ascii_lowercase();
    Foreign {
        id: format!("{entity}.{name}"),
        description: name.to_owned(),
        validators: validator(&entity).into_iter().collect(),
        confidence: Some(match score {
            score if score >= 0.7 => Confidence::High,
            score if score >= 0.4 => Confidence::Medium,
            _ => Confidence::Low,
        }),
        entity: Some(entity),
        regex,
        is_python: true,
        ..Foreign::default()
    }
}

/// What Presidio's code checks of a match, where it is the same check.
fn validator(entity: &str) -> Option<Validator> {
    Some(match entity {
        "credit_card" => Validator::Luhn,
        "iban_code" => Validator::Mod97,
        "crypto" => Validator::Bitcoin,
        "ip_address" => Validator::Ip,
        _ => return None,
    })
}
