//! Reading TOML with a position for every fault.
//!
//! `serde` would stop at the first fault; this walks the parsed document by hand and goes on, so that a file with
//! five mistakes is mended in one round. Packs are read with it, and the configuration of the gateway.

use std::collections::BTreeSet;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::fault::{Fault, Lines};

/// Takes the faults of one file. What reads a value and finds another gives nothing and has noted the fault.
#[derive(Debug)]
pub struct Reader {
    file: String,
    lines: Lines,
    /// What was found so far.
    pub faults: Vec<Fault>,
}

impl Reader {
    /// For the text of a file, which faults name so.
    #[must_use]
    pub fn new(file: &str, text: &str) -> Reader {
        Reader { file: file.to_owned(), lines: Lines::new(text), faults: Vec::new() }
    }

    /// The text as TOML.
    pub fn document<'i>(&mut self, text: &'i str) -> Option<DeTable<'i>> {
        let (document, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            self.fault(&error.span().unwrap_or(0..0), format!("not valid TOML: {}", error.message()));
        }
        errors.is_empty().then(|| document.into_inner())
    }

    /// The line, from 1, in which a span begins.
    #[must_use]
    pub fn line(&self, span: &Range<usize>) -> usize {
        self.lines.line(span.start)
    }

    /// Notes a fault on the line in which a span begins.
    pub fn fault(&mut self, span: &Range<usize>, reason: impl Into<String>) {
        let line = self.line(span);
        self.faults.push(Fault { file: self.file.clone(), line, reason: reason.into() });
    }

    fn expected(&mut self, value: &Spanned<DeValue<'_>>, what: &str) {
        let found = value.get_ref().type_str();
        self.fault(&value.span(), format!("expected {what}, found {found}"));
    }

    /// A string.
    pub fn string(&mut self, value: &Spanned<DeValue<'_>>) -> Option<String> {
        let text = value.get_ref().as_str().map(str::to_owned);
        if text.is_none() {
            self.expected(value, "a string");
        }
        text
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, value: &Spanned<DeValue<'_>>) -> Option<bool> {
        let boolean = value.get_ref().as_bool();
        if boolean.is_none() {
            self.expected(value, "`true` or `false`");
        }
        boolean
    }

    /// An integer in a range.
    pub fn integer(&mut self, value: &Spanned<DeValue<'_>>, range: Range<i64>) -> Option<i64> {
        let Some(integer) = value.get_ref().as_integer() else {
            self.expected(value, "an integer");
            return None;
        };
        let number =
            i64::from_str_radix(integer.as_str(), integer.radix()).ok().filter(|n| range.contains(n));
        if number.is_none() {
            self.fault(&value.span(), format!("expected {} to {}", range.start, range.end - 1));
        }
        number
    }

    /// A finite number.
    pub fn number(&mut self, value: &Spanned<DeValue<'_>>) -> Option<f64> {
        let text = match value.get_ref() {
            DeValue::Integer(n) => n.as_str(),
            DeValue::Float(n) => n.as_str(),
            _ => {
                self.expected(value, "a number");
                return None;
            }
        };
        let number = text.parse().ok().filter(|n: &f64| n.is_finite());
        if number.is_none() {
            self.fault(&value.span(), "expected a finite number");
        }
        number
    }

    /// An array.
    pub fn array<'a, 'i>(&mut self, value: &'a Spanned<DeValue<'i>>) -> Option<&'a [Spanned<DeValue<'i>>]> {
        let array = value.get_ref().as_array();
        if array.is_none() {
            self.expected(value, "an array");
        }
        array.map(|a| &**a)
    }

    /// A table.
    pub fn table<'a, 'i>(&mut self, value: &'a Spanned<DeValue<'i>>) -> Option<&'a DeTable<'i>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.expected(value, "a table");
        }
        table
    }

    /// Strings of an array with the line of each.
    pub fn strings(&mut self, value: &Spanned<DeValue<'_>>) -> Vec<(String, usize)> {
        let mut strings = Vec::new();
        for item in self.array(value).unwrap_or_default() {
            if let Some(text) = self.string(item) {
                strings.push((text, self.line(&item.span())));
            }
        }
        strings
    }

    /// One of a list of words.
    pub fn word<T: Copy>(&mut self, value: &Spanned<DeValue<'_>>, words: &[(&str, T)]) -> Option<T> {
        let text = self.string(value)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, t)| *t);
        if found.is_none() {
            let list: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
            self.fault(&value.span(), format!("expected one of {}", list.join(", ")));
        }
        found
    }

    /// Refuses keys that are not in `known`.
    pub fn known_keys(&mut self, table: &DeTable<'_>, known: &[&str]) {
        for key in table.keys() {
            let name: &str = key.get_ref();
            if !known.contains(&name) {
                let hint = match nearest(name, known) {
                    Some(near) => format!("; did you mean `{near}`?"),
                    None => format!("; known here: {}", known.join(", ")),
                };
                self.fault(&key.span(), format!("unknown key `{name}`{hint}"));
            }
        }
    }
}

/// The known word that differs by at most two edits (Damerau-Levenshtein, optimal string alignment).
#[must_use]
pub fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let near = known.iter().map(|k| (edits(name.as_bytes(), k.as_bytes()), *k));
    near.collect::<BTreeSet<_>>().first().filter(|(n, _)| *n <= 2).map(|(_, k)| *k)
}

fn edits(a: &[u8], b: &[u8]) -> usize {
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let swap = i > 0 && j > 0 && a[i - 1] == *y && b[j - 1] == *x;
            let direct = rows[i][j] + usize::from(x != y);
            let least = direct.min(rows[i][j + 1] + 1).min(row[j] + 1);
            row.push(if swap { least.min(rows[i - 1][j - 1] + 1) } else { least });
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_word() {
        assert_eq!(nearest("regx", &["id", "regex", "near"]), Some("regex"));
        assert_eq!(nearest("rgeex", &["regex"]), Some("regex"));
        assert_eq!(nearest("colour", &["id", "regex"]), None);
    }
}
