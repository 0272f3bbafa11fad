//! A rule file of another tool as one tree of values, whether it is JSON, TOML or YAML.
//!
//! YAML comes from `saphyr-parser` as events; anchors and aliases are refused, for no rule file needs them and a few
//! lines of them can ask for any amount of memory.

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

/// The deepest nesting of a file.
pub(super) const DEPTH_MAX: usize = 64;

/// Reads `text`: JSON where it begins so, TOML by the name's ending, else YAML.
pub(super) fn read(file: &str, text: &str) -> Result<Value, String> {
    if text.trim_start().starts_with(['{', '[']) && !file.ends_with(".toml") {
        return serde_json::from_str(text).map_err(|e| format!("not valid JSON: {e}"));
    }
    if file.ends_with(".toml") {
        let table: toml::Table =
            toml::from_str(text).map_err(|e| format!("not valid TOML: {}", e.message()))?;
        return Ok(from_toml(toml::Value::Table(table)));
    }
    yaml(text)
}

fn from_toml(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(yes) => yes.into(),
        toml::Value::Datetime(time) => Value::String(time.to_string()),
        toml::Value::Array(items) => items.into_iter().map(from_toml).collect(),
        toml::Value::Table(table) => {
            Value::Object(table.into_iter().map(|(key, value)| (key, from_toml(value))).collect())
        }
    }
}

/// A list or mapping that is being read.
enum Open {
    List(Vec<Value>),
    /// With the key whose value is next.
    Mapping(Map<String, Value>, Option<String>),
}

/// The first document of a YAML file.
fn yaml(text: &str) -> Result<Value, String> {
    let mut open: Vec<Open> = Vec::new();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|e| format!("not valid YAML: {e}"))?;
        let done = match event {
            Event::Alias(_) => return Err(format!("line {}: aliases are not read", span.start.line())),
            Event::Scalar(text, style, _, _) => scalar(&text, style),
            Event::SequenceStart(..) => {
                open.push(Open::List(Vec::new()));
                None
            }
            Event::MappingStart(..) => {
                open.push(Open::Mapping(Map::new(), None));
                None
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some(Open::List(items)) => Some(Value::Array(items)),
                Some(Open::Mapping(map, _)) => Some(Value::Object(map)),
                None => None,
            },
            Event::DocumentEnd => break,
            _ => None,
        };
        if open.len() > DEPTH_MAX {
            return Err(format!("line {}: nested deeper than {DEPTH_MAX}", span.start.line()));
        }
        let Some(value) = done else { continue };
        match open.last_mut() {
            Some(Open::List(items)) => items.push(value),
            Some(Open::Mapping(map, key)) => match key.take() {
                Some(key) => drop(map.insert(key, value)),
                None => *key = Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned)),
            },
            None => return Ok(value),
        }
    }
    Err("the file is empty".into())
}

/// A plain scalar by the core schema (YAML 1.2, section 10.3); all others are text.
fn scalar(text: &str, style: ScalarStyle) -> Option<Value> {
    if style != ScalarStyle::Plain {
        return Some(Value::String(text.to_owned()));
    }
    Some(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => match (text.parse::<i64>(), text.parse::<f64>()) {
            (Ok(number), _) => number.into(),
            (Err(_), Ok(number)) if text.starts_with(|c: char| c.is_ascii_digit() || c == '-') => {
                number.into()
            }
            _ => Value::String(text.to_owned()),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_tree_for_every_format() {
        let json =
            r#"{"rules": [{"id": "a", "regex": "x{3}", "n": 2, "f": 1.5, "yes": true, "none": null}]}"#;
        let toml = "[[rules]]\nid = 'a'\nregex = 'x{3}'\nn = 2\nf = 1.5\nyes = true\n";
        let yaml =
            "# c\nrules:\n  - id: a\n    regex: 'x{3}'\n    n: 2\n    f: 1.5\n    yes: true\n    none: ~\n";
        let json = read("a.json", json).unwrap();
        assert_eq!(read("a.yml", yaml).unwrap(), json);
        assert_eq!(read("a.toml", toml).unwrap()["rules"][0]["f"], json["rules"][0]["f"]);
        let block = read("a.yml", "pattern: |\n  (?x)\n  a\n").unwrap();
        assert_eq!(block["pattern"], "(?x)\na\n");
    }

    #[test]
    fn what_can_grow_without_end_is_refused() {
        assert!(read("a.yml", "a: &x [1]\nb: *x\n").unwrap_err().contains("aliases"));
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        assert!(read("a.yml", &format!("a: {}", nested(DEPTH_MAX - 1))).is_ok());
        assert!(read("a.yml", &format!("a: {}", nested(DEPTH_MAX))).unwrap_err().contains("deeper"));
        assert!(read("a.yml", "").is_err());
    }
}
