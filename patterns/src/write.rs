//! A pack as the text of a TOML file.

use std::fmt::Write;

use sluice_engine::{Action, Pattern, Rule, Strategy, Validator};

use crate::pack::{Example, PackRule};

/// The file of a pack with these rules.
pub(crate) fn pack(name: &str, version: &str, description: &str, rules: &[PackRule]) -> String {
    let mut out = String::from("[pack]\n");
    line(&mut out, "name", &text(name));
    line(&mut out, "version", &text(version));
    line(&mut out, "description", &text(description));
    for PackRule { rule, source, examples, .. } in rules {
        out.push_str("\n[[rule]]\n");
        write_rule(&mut out, rule, source);
        write_examples(&mut out, examples);
    }
    out
}

fn line(out: &mut String, key: &str, value: &str) {
    // Writing to a text does not fail.
    let _ = writeln!(out, "{key} = {value}");
}

/// A text on one line, with the quotes that suit it.
fn text(text: &str) -> String {
    if text.contains('\'') || text.contains(char::is_control) {
        // JSON's escapes are TOML's, but for the one control character that JSON lets stand.
        return serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007F");
    }
    if text.contains(['\\', '"']) { format!("'{text}'") } else { format!("\"{text}\"") }
}

fn texts(list: &[String]) -> String {
    format!("[{}]", list.iter().map(|item| text(item)).collect::<Vec<_>>().join(", "))
}

fn write_rule(out: &mut String, rule: &Rule, source: &str) {
    let mut plain = |key: &str, value: &str| {
        if !value.is_empty() {
            line(out, key, &text(value));
        }
    };
    plain("id", &rule.id);
    plain("entity", &rule.entity);
    plain("description", &rule.description);
    plain("source", source);
    match &rule.pattern {
        Pattern::Regex(regex) => plain("regex", regex),
        Pattern::Enclosed { begin, end } => {
            plain("begin", begin);
            plain("end", end);
        }
    }
    if !rule.keywords.is_empty() {
        line(out, "keywords", &texts(&rule.keywords));
        line(out, "near", &rule.near.to_string());
    }
    if !rule.validators.is_empty() {
        let all: Vec<String> = rule.validators.iter().map(validator).collect();
        line(out, "validators", &format!("[{}]", all.join(", ")));
    }
    let suppress = &rule.suppress;
    let lists = [
        ("exact", &suppress.exact),
        ("regex", &suppress.regex),
        ("starts_with", &suppress.starts_with),
        ("ends_with", &suppress.ends_with),
    ];
    let lists: Vec<String> =
        lists.iter().filter(|(_, l)| !l.is_empty()).map(|(k, l)| format!("{k} = {}", texts(l))).collect();
    if !lists.is_empty() {
        line(out, "suppress", &format!("{{ {} }}", lists.join(", ")));
    }
    if let Some(len) = rule.max_len {
        line(out, "max_len", &len.to_string());
    }
    line(out, "confidence", &text(rule.confidence.as_str()));
    match rule.action {
        Action::Mask => {}
        Action::Label => line(out, "action", "\"label\""),
        Action::Shadow => line(out, "action", "\"shadow\""),
        Action::Off => line(out, "action", "\"off\""),
    }
    if !rule.labels.is_empty() {
        line(out, "labels", &texts(&rule.labels));
    }
    if rule.strategy != Strategy::Label {
        line(out, "strategy", &text(&strategy(&rule.strategy)));
    }
    if let Some(priority) = rule.priority {
        line(out, "priority", &priority.to_string());
    }
}

fn validator(validator: &Validator) -> String {
    let mut all = vec![format!("kind = {}", text(validator.name()))];
    match validator {
        Validator::Entropy { min } => all.push(format!("min = {min}")),
        Validator::Chars { digits, lower, upper, letters, distinct } => {
            let counts = [("digits", digits), ("lower", lower), ("upper", upper)];
            let counts = counts.into_iter().chain([("letters", letters), ("distinct", distinct)]);
            all.extend(counts.filter(|(_, n)| **n > 0).map(|(key, n)| format!("{key} = {n}")));
        }
        _ => {}
    }
    format!("{{ {} }}", all.join(", "))
}

/// As packs spell it.
pub(crate) fn strategy(strategy: &Strategy) -> String {
    match strategy {
        Strategy::Label => "label".into(),
        Strategy::Fill => "fill".into(),
        Strategy::Drop => "drop".into(),
        Strategy::Token => "token".into(),
        Strategy::Constant(text) => format!("constant:{text}"),
        Strategy::Keep { first, last } => format!("keep:{first},{last}"),
    }
}

fn write_examples(out: &mut String, examples: &[Example]) {
    if examples.is_empty() {
        return;
    }
    out.push_str("examples = [\n");
    for Example { text: of, matches, .. } in examples {
        let _ = writeln!(out, "    {{ text = {}, matches = {} }},", text(of), texts(matches));
    }
    out.push_str("]\n");
}

#[cfg(test)]
mod tests {
    use crate::Pack;

    const PACK: &str = r##"
[pack]
name = "p"
version = "1"
[[rule]]
id = "a"
entity = "b"
description = "it's \"so\""
regex = '(?P<secret>a\d{4})'
keywords = ["ab"]
near = 3
validators = [{ kind = "entropy", min = 2.5 }, { kind = "chars", digits = 2 }, { kind = "luhn" }]
suppress = { exact = ["a1111"], regex = ['^a2'] }
max_len = 9
confidence = "low"
strategy = "keep:1,2"
priority = -3
action = "label"
labels = ["x"]
examples = [{ text = "a\n'1234\t\u007f'''\"", matches = [] }]
[[rule]]
id = "c"
entity = "c"
begin = "BEGIN"
end = "END"
"##;

    #[test]
    fn what_is_written_is_read_again() {
        let pack = Pack::parse("p", PACK).unwrap();
        let written = super::pack("p", "1", "", &pack.rules);
        let again = Pack::parse("q", &written).unwrap();
        for (one, other) in pack.rules.iter().zip(&again.rules) {
            assert_eq!(format!("{:?}", one.rule), format!("{:?}", other.rule));
            let texts =
                |rule: &crate::PackRule| rule.examples.iter().map(|e| e.text.clone()).collect::<Vec<_>>();
            assert_eq!(texts(one), texts(other));
        }
        assert_eq!(super::pack("p", "1", "", &again.rules), written);
    }
}
