//! A rule's expression, parsed: what can be told from its syntax alone.
//!
//! Two things are wanted of the syntax tree before automata are built: how far behind the start of a match its
//! value can begin (the hold-back), and how long a match can get.

use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Hir, HirKind};

use crate::built::wire::{Damage, Reader, Writer};

/// The most bytes a match may have before it is decided; also the bound of what a stream may hold for a rule.
pub(crate) const RULE_LEN_MAX: usize = 16 * 1024;
/// Deepest nesting of an expression.
const NEST_MAX: u32 = 100;
/// The group that holds the value.
const SECRET_GROUP: &str = "secret";

/// A parsed expression over bytes.
#[derive(Debug)]
pub(crate) struct Expression {
    pub(crate) hir: Hir,
    pub(crate) place: Place,
    /// Index of the group `secret`.
    pub(crate) secret: Option<u32>,
    /// Bytes of the shortest match.
    pub(crate) len_min: usize,
    /// Bytes of the longest match, where there is one.
    pub(crate) len_max: Option<usize>,
}

/// Where the value lies in a match, in bytes from either end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Least distance of the value's start from the match's.
    pub(crate) before_min: usize,
    /// The distance, where it is the same for every match.
    pub(crate) before: Option<usize>,
    /// Distance of the value's end from the match's, where it is the same for every match.
    pub(crate) after: Option<usize>,
}

impl Place {
    pub(crate) const WHOLE: Place = Place { before_min: 0, before: Some(0), after: Some(0) };
    const ANYWHERE: Place = Place { before_min: 0, before: None, after: None };

    pub(crate) fn write(&self, out: &mut Writer) {
        out.size(self.before_min);
        out.option(self.before, Writer::size);
        out.option(self.after, Writer::size);
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Place, Damage> {
        let before_min = from.size(RULE_LEN_MAX)?;
        let before = from.option(|f| f.size(RULE_LEN_MAX))?;
        let after = from.option(|f| f.size(RULE_LEN_MAX))?;
        if before.is_some_and(|before| before < before_min) {
            return Err(Damage("where a value lies"));
        }
        Ok(Place { before_min, before, after })
    }
}

impl Expression {
    /// Parses `text` as bytes with ASCII classes.
    pub(crate) fn parse(text: &str) -> Result<Expression, String> {
        let parsed = ParserBuilder::new().unicode(false).utf8(false).nest_limit(NEST_MAX).build().parse(text);
        let hir = parsed.map_err(|e| syntax_reason(&e))?;
        let looks = hir.properties().look_set();
        if looks.contains_word_unicode() {
            return Err(
                r"Unicode word boundaries can't be matched while streaming: leave out (?u) around \b".into(),
            );
        }
        let len_min = hir.properties().minimum_len().unwrap_or(0);
        if len_min == 0 {
            return Err("it matches the empty string: require at least one byte".into());
        }
        let len_max = hir.properties().maximum_len();
        let secret = group_index(&hir);
        let place = if secret.is_some() { place(&hir).unwrap_or(Place::ANYWHERE) } else { Place::WHOLE };
        Ok(Expression { hir, place, secret, len_min, len_max })
    }
}

fn syntax_reason(error: &regex_syntax::Error) -> String {
    match error {
        regex_syntax::Error::Parse(e) => {
            format!("not a valid expression: {} (at character {})", e.kind(), e.span().start.offset + 1)
        }
        regex_syntax::Error::Translate(e) => {
            format!("not a valid expression: {} (at character {})", e.kind(), e.span().start.offset + 1)
        }
        other => format!("not a valid expression: {}", other.to_string().replace('\n', " ")),
    }
}

fn group_index(hir: &Hir) -> Option<u32> {
    match hir.kind() {
        HirKind::Capture(c) if c.name.as_deref() == Some(SECRET_GROUP) => Some(c.index),
        HirKind::Capture(c) => group_index(&c.sub),
        HirKind::Repetition(r) => group_index(&r.sub),
        HirKind::Concat(subs) | HirKind::Alternation(subs) => subs.iter().find_map(group_index),
        HirKind::Empty | HirKind::Literal(_) | HirKind::Class(_) | HirKind::Look(_) => None,
    }
}

/// Where the group `secret` lies in matches of `hir`; `None` when it is not in it.
fn place(hir: &Hir) -> Option<Place> {
    match hir.kind() {
        HirKind::Capture(c) if c.name.as_deref() == Some(SECRET_GROUP) => Some(Place::WHOLE),
        HirKind::Capture(c) => place(&c.sub),
        // The last round counts, or none at all.
        HirKind::Repetition(r) => place(&r.sub).map(|_| Place::ANYWHERE),
        HirKind::Alternation(subs) => {
            let places: Vec<Option<Place>> = subs.iter().map(place).collect();
            let mut inside = places.iter().flatten();
            let first = *inside.next()?;
            if places.iter().any(Option::is_none) {
                // A match without the group is a value as a whole.
                return Some(Place::ANYWHERE);
            }
            Some(inside.fold(first, |a, b| Place {
                before_min: a.before_min.min(b.before_min),
                before: if a.before == b.before { a.before } else { None },
                after: if a.after == b.after { a.after } else { None },
            }))
        }
        HirKind::Concat(subs) => {
            let at = subs.iter().position(|s| place(s).is_some())?;
            let (head, rest) = subs.split_at(at);
            let (inner, tail) = rest.split_first()?;
            let inner = place(inner)?;
            let exact = |parts: &[Hir]| {
                parts.iter().try_fold(0usize, |sum, h| {
                    let p = h.properties();
                    (p.minimum_len() == p.maximum_len()).then(|| p.minimum_len()).flatten().map(|n| sum + n)
                })
            };
            let head_min: usize = head.iter().map(|h| h.properties().minimum_len().unwrap_or(0)).sum();
            Some(Place {
                before_min: head_min + inner.before_min,
                before: inner.before.zip(exact(head)).map(|(a, b)| a + b),
                after: inner.after.zip(exact(tail)).map(|(a, b)| a + b),
            })
        }
        HirKind::Empty | HirKind::Literal(_) | HirKind::Class(_) | HirKind::Look(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_values() {
        let p = |t: &str| Expression::parse(t).unwrap().place;
        assert_eq!(p(r"abc"), Place::WHOLE);
        assert_eq!(p(r"ab(?P<secret>c+)d"), Place { before_min: 2, before: Some(2), after: Some(1) });
        assert_eq!(p(r"a\s*(?P<secret>c+)d?"), Place { before_min: 1, before: None, after: None });
        assert_eq!(p(r"a(?:x(?P<secret>c))?"), Place { before_min: 0, before: None, after: None }.shifted(1));
    }

    impl Place {
        fn shifted(self, by: usize) -> Place {
            Place { before_min: self.before_min + by, ..self }
        }
    }

    #[test]
    fn refusals_say_why() {
        for (text, part) in [("a*", "empty"), ("(", "unclosed"), (r"(?u:\b)a", "Unicode word")] {
            assert!(Expression::parse(text).unwrap_err().contains(part), "{text}");
        }
    }
}
