//! Presidio's rules where they are Python source: its `Pattern(…)` calls with the constants that they name.
//!
//! No Python is run. Texts, names of texts and their sums are read; a pattern that is put together in another way is told
//! and left out.

use std::collections::HashMap;

use super::Foreign;

/// The most tokens of a file.
const TOKENS_MAX: usize = 1 << 20;

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Name(String),
    /// With the names that an `f"…"` puts into it.
    Text(String, bool),
    Number(f64),
    Mark(char),
}

/// All patterns of a source file; `source_of` makes a rule of entity, name, expression and score.
pub(super) fn read(
    source: &str,
    mut rule_of: impl FnMut(&str, &str, String, f64) -> Foreign,
) -> Result<Vec<Foreign>, String> {
    let tokens = tokens(source)?;
    let mut reader = Reader { tokens: &tokens, at: 0, names: HashMap::new() };
    let entities = entities(&tokens);
    let mut rules = Vec::new();
    while let Some(token) = tokens.get(reader.at) {
        let here = reader.at;
        reader.at += 1;
        match (token, tokens.get(here + 1)) {
            (Token::Name(name), Some(Token::Mark('=')))
                if tokens.get(here + 2) != Some(&Token::Mark('=')) =>
            {
                reader.at = here + 2;
                match reader.text() {
                    Some(text) => drop(reader.names.insert(name.clone(), text)),
                    None => reader.at = here + 2,
                }
            }
            (Token::Name(name), Some(Token::Mark('('))) if name == "Pattern" => {
                reader.at = here + 2;
                let entity = entities.iter().rev().find(|(at, _)| *at <= here).or_else(|| entities.first());
                let entity = entity.map_or("presidio", |(_, entity)| entity.as_str());
                let rule = match reader.pattern() {
                    Some((name, regex, score)) => rule_of(entity, &name, regex, score),
                    None => Foreign {
                        refused: Some("its expression is put together by code".into()),
                        ..rule_of(entity, "pattern", String::new(), 0.0)
                    },
                };
                rules.push(rule);
            }
            _ => {}
        }
    }
    Ok(rules)
}

/// What each class finds, by where the class begins: the default of its parameter `supported_entity`.
fn entities(tokens: &[Token]) -> Vec<(usize, String)> {
    let is_name = |token: &Token, name: &str| matches!(token, Token::Name(n) if n == name);
    let classes: Vec<usize> =
        tokens.iter().enumerate().filter(|(_, t)| is_name(t, "class")).map(|(at, _)| at).collect();
    let mut entities = Vec::new();
    for (n, from) in classes.iter().enumerate() {
        let to = classes.get(n + 1).copied().unwrap_or(tokens.len());
        let body = tokens.get(*from..to).unwrap_or_default();
        let Some(at) = body.iter().position(|t| is_name(t, "supported_entity")) else { continue };
        let default = body.iter().skip(at + 1).take(6).find_map(|t| match t {
            Token::Text(text, _) => Some(text.clone()),
            _ => None,
        });
        entities.extend(default.map(|entity| (*from, entity)));
    }
    entities
}

struct Reader<'a> {
    tokens: &'a [Token],
    at: usize,
    names: HashMap<String, String>,
}

impl Reader<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn take_mark(&mut self, mark: char) -> bool {
        let is_next = self.peek() == Some(&Token::Mark(mark));
        self.at += usize::from(is_next);
        is_next
    }

    /// A sum of texts, of names of texts, and of both in brackets.
    fn text(&mut self) -> Option<String> {
        let mut all = self.term()?;
        while self.take_mark('+') {
            all.push_str(&self.term()?);
        }
        Some(all)
    }

    fn term(&mut self) -> Option<String> {
        if self.take_mark('(') {
            let text = self.text()?;
            return self.take_mark(')').then_some(text);
        }
        if let Some(Token::Name(name)) = self.peek() {
            let mut name = name.clone();
            self.at += 1;
            // `self.NAME` and `Class.NAME` are names of the file.
            while self.take_mark('.') {
                let Some(Token::Name(last)) = self.peek() else { return None };
                name.clone_from(last);
                self.at += 1;
            }
            return self.names.get(&name).cloned();
        }
        let mut all = None;
        while let Some(Token::Text(text, filled)) = self.peek() {
            let text = if *filled { self.filled(text)? } else { text.clone() };
            all.get_or_insert_with(String::new).push_str(&text);
            self.at += 1;
        }
        all
    }

    /// An `f"…{NAME}…"` with its names filled in.
    fn filled(&self, text: &str) -> Option<String> {
        let mut all = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(at);
            all.push_str(before);
            if from.starts_with("{{") || from.starts_with("}}") {
                all.push_str(from.get(..1)?);
                rest = from.get(2..)?;
                continue;
            }
            let (name, after) = from.strip_prefix('{')?.split_once('}')?;
            all.push_str(self.names.get(name.rsplit('.').next()?)?);
            rest = after;
        }
        all.push_str(rest);
        Some(all)
    }

    /// The arguments of a `Pattern(`: name, expression, score.
    fn pattern(&mut self) -> Option<(String, String, f64)> {
        let (mut name, mut regex, mut score) = (None, None, None);
        for position in 0.. {
            if self.take_mark(')') {
                break;
            }
            let key = match (self.peek()?, self.tokens.get(self.at + 1)) {
                (Token::Name(key), Some(Token::Mark('='))) => {
                    let key = key.clone();
                    self.at += 2;
                    key
                }
                _ => ["name", "regex", "score"].get(position).copied()?.to_owned(),
            };
            match key.as_str() {
                "name" => name = Some(self.text()?),
                "regex" => regex = Some(self.text()?),
                "score" => {
                    if let Some(Token::Number(number)) = self.peek() {
                        score = Some(*number);
                    }
                    self.at += 1;
                }
                _ => return None,
            }
            if !self.take_mark(',') && self.peek() != Some(&Token::Mark(')')) {
                return None;
            }
        }
        Some((name?, regex?, score.unwrap_or(0.5)))
    }
}

fn tokens(source: &str) -> Result<Vec<Token>, String> {
    let bytes = source.as_bytes();
    let (mut tokens, mut at) = (Vec::new(), 0);
    while let Some(byte) = bytes.get(at) {
        if tokens.len() >= TOKENS_MAX {
            return Err(format!("more than {TOKENS_MAX} words"));
        }
        let rest = source.get(at..).ok_or("not a source file")?;
        let is_of_name = |c: char| c.is_alphanumeric() || c == '_';
        let (name, _) = rest.split_at(rest.find(|c: char| !is_of_name(c)).unwrap_or(rest.len()));
        let quote = rest.get(name.len()..).and_then(|r| r.chars().next()).filter(|c| matches!(c, '"' | '\''));
        let is_prefix = name.len() <= 2 && name.chars().all(|c| "rRbBfFuU".contains(c));
        match (byte, quote) {
            (b'#', _) => at += rest.find('\n').unwrap_or(rest.len()),
            (_, Some(quote)) if is_prefix => {
                let body = rest.get(name.len()..).unwrap_or_default();
                let raw = name.contains(['r', 'R']);
                let (text, len) = literal(body, quote, raw).ok_or("a text without an end")?;
                tokens.push(Token::Text(text, name.contains(['f', 'F'])));
                at += name.len() + len;
            }
            (b'0'..=b'9', _) => {
                let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == '_'));
                let number = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
                tokens.push(Token::Number(number.parse().unwrap_or(0.0)));
                at += number.len();
            }
            _ if !name.is_empty() => {
                tokens.push(Token::Name(name.to_owned()));
                at += name.len();
            }
            _ => {
                let mark = rest.chars().next().unwrap_or(' ');
                if !mark.is_whitespace() {
                    tokens.push(Token::Mark(mark));
                }
                at += mark.len_utf8();
            }
        }
    }
    Ok(tokens)
}

/// A text from its quote on, and the bytes that it takes.
fn literal(body: &str, quote: char, raw: bool) -> Option<(String, usize)> {
    let triple: String = [quote; 3].iter().collect();
    let close = if body.starts_with(&triple) { triple.as_str() } else { triple.get(..1)? };
    let (mut text, mut at) = (String::new(), close.len());
    loop {
        let rest = body.get(at..)?;
        if rest.starts_with(close) {
            return Some((text, at + close.len()));
        }
        let c = rest.chars().next()?;
        at += c.len_utf8();
        if c != '\\' {
            text.push(c);
            continue;
        }
        let next = body.get(at..)?.chars().next()?;
        at += next.len_utf8();
        match next {
            _ if raw => text.extend(['\\', next]),
            'n' => text.push('\n'),
            't' => text.push('\t'),
            'r' => text.push('\r'),
            '\n' => {}
            '\\' | '\'' | '"' => text.push(next),
            // An expression's own escape, as Python leaves it.
            _ => text.extend(['\\', next]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_read_without_running_anything() {
        let source = r##"
class Acme(Base):
    """A "doc" text."""
    BASE = r"\d{3}"  # a comment with Pattern("x", "y", 1)
    PATTERNS = [
        Pattern("Weak", BASE + r"-\d{4}", 0.1),
        Pattern(
            name="Strong",
            regex=(r"\bA" f"{BASE}" r'{{1}}' "\\d"),
            score=0.85,
        ),
        Pattern("Made", "".join(parts), 0.3),
    ]
    def __init__(self, supported_entity: str = "ACME_ID"):
        pass
"##;
        let rule_of = |entity: &str, name: &str, regex: String, score: f64| Foreign {
            id: format!("{entity}/{name}/{score}"),
            regex,
            ..Foreign::default()
        };
        let rules = read(source, rule_of).unwrap();
        let seen: Vec<_> =
            rules.iter().map(|r| (r.id.as_str(), r.regex.as_str(), r.refused.is_some())).collect();
        assert_eq!(
            seen,
            [
                ("ACME_ID/Weak/0.1", r"\d{3}-\d{4}", false),
                ("ACME_ID/Strong/0.85", r"\bA\d{3}{{1}}\d", false),
                ("ACME_ID/pattern/0", "", true),
            ]
        );
        assert!(read("x = 'no end", rule_of).is_err());
    }
}
