//! A rule's expression, parsed: what can be told from its syntax alone.
//!
//! Two things are wanted of the syntax tree before automata are built: how far behind the start of a match its
//! value can begin (the hold-back), and how long a match can get.

use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Capture, Hir, HirKind, Look};

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

/// How far the start of a value is behind that of its match, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Distance {
    pub(crate) min: usize,
    /// None where there is no limit.
    pub(crate) max: Option<usize>,
}

impl Distance {
    const ANY: Distance = Distance { min: 0, max: None };

    const fn just(bytes: usize) -> Distance {
        Distance { min: bytes, max: Some(bytes) }
    }

    /// The distance, where it is the same for every match.
    pub(crate) fn exact(self) -> Option<usize> {
        self.max.filter(|max| *max == self.min)
    }

    fn plus(self, other: Distance) -> Distance {
        Distance { min: self.min + other.min, max: self.max.zip(other.max).map(|(a, b)| a + b) }
    }

    fn or(self, other: Distance) -> Distance {
        Distance { min: self.min.min(other.min), max: self.max.zip(other.max).map(|(a, b)| a.max(b)) }
    }

    fn write(self, out: &mut Writer) {
        out.size(self.min);
        out.option(self.max, Writer::size);
    }

    fn read(from: &mut Reader<'_>) -> Result<Distance, Damage> {
        let min = from.size(RULE_LEN_MAX)?;
        let max = from.option(|f| f.size(RULE_LEN_MAX))?;
        if max.is_some_and(|max| max < min) {
            return Err(Damage("where a value lies"));
        }
        Ok(Distance { min, max })
    }
}

/// Where the value lies in a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// In a match that begins the text.
    first: Distance,
    /// In any other: what stands for the byte before, such as `(?:^|[^0-9])`, takes a byte there.
    later: Distance,
    /// Distance of the value's end from the match's, where it is the same for every match.
    pub(crate) after: Option<usize>,
}

impl Place {
    pub(crate) const WHOLE: Place = Place::at(Distance::just(0), Some(0));
    const ANYWHERE: Place = Place::at(Distance::ANY, None);

    const fn at(before: Distance, after: Option<usize>) -> Place {
        Place { first: before, later: before, after }
    }

    /// How far the value's start is behind that of a match that starts at this position of the text.
    #[inline]
    pub(crate) fn before(&self, start: u64) -> Distance {
        if start == 0 { self.first } else { self.later }
    }

    /// The least distance of the value's start from the match's.
    pub(crate) fn before_min(&self) -> usize {
        self.first.min.min(self.later.min)
    }

    /// True where no match has to be looked at again to tell its value.
    pub(crate) fn is_fixed(&self) -> bool {
        [self.first, self.later].iter().all(|d| d.exact().is_some()) && self.after.is_some()
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        self.first.write(out);
        self.later.write(out);
        out.option(self.after, Writer::size);
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Place, Damage> {
        let (first, later) = (Distance::read(from)?, Distance::read(from)?);
        Ok(Place { first, later, after: from.option(|f| f.size(RULE_LEN_MAX))? })
    }
}

impl Expression {
    /// Parses `text` as bytes with ASCII classes.
    pub(crate) fn parse(text: &str) -> Result<Expression, String> {
        let parsed = ParserBuilder::new().unicode(false).utf8(false).nest_limit(NEST_MAX).build().parse(text);
        Expression::of(parsed.map_err(|e| syntax_reason(&e))?)
    }

    /// Parses the expression of a rule. Its keywords may be in a context that decides nothing else.
    pub(crate) fn of_rule(text: &str, has_keywords: bool) -> Result<Expression, String> {
        let expression = Expression::parse(text)?;
        Ok(if has_keywords { expression } else { expression.without_context() })
    }

    /// The same without a context at its start that decides nothing (`[\w.-]{0,50}?` before a keyword): bytes that a
    /// match takes only where it must, none if it can. What follows matches from where they end just the same.
    fn without_context(self) -> Expression {
        let HirKind::Concat(subs) = self.hir.kind() else { return self };
        let Some((context, rest)) = subs.split_first().filter(|_| self.secret.is_some()) else { return self };
        match context.kind() {
            HirKind::Repetition(r)
                if r.min == 0 && !r.greedy && matches!(r.sub.kind(), HirKind::Class(_)) =>
            {
                Expression::of(Hir::concat(rest.to_vec())).unwrap_or(self)
            }
            _ => self,
        }
    }

    fn of(hir: Hir) -> Result<Expression, String> {
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
        let place_in = |hir: &Hir| if secret.is_some() { place(hir) } else { Some(Place::WHOLE) };
        let mut place = place_in(&hir).unwrap_or(Place::ANYWHERE);
        if let Some(later) = without_start(&hir).and_then(|hir| place_in(&hir)) {
            place.later = later.first;
        }
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
            Some(inside.fold(first, |a, b| {
                Place::at(a.first.or(b.first), if a.after == b.after { a.after } else { None })
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
            let head = head.iter().fold(inner.first, |sum, h| {
                let p = h.properties();
                sum.plus(Distance { min: p.minimum_len().unwrap_or(0), max: p.maximum_len() })
            });
            Some(Place::at(head, inner.after.zip(exact(tail)).map(|(a, b)| a + b)))
        }
        HirKind::Empty | HirKind::Literal(_) | HirKind::Class(_) | HirKind::Look(_) => None,
    }
}

/// What is left of the expression for matches that do not begin the text; `None` when nothing is.
fn without_start(hir: &Hir) -> Option<Hir> {
    match hir.kind() {
        HirKind::Look(Look::Start) => None,
        HirKind::Capture(c) => {
            Some(Hir::capture(Capture { sub: without_start(&c.sub)?.into(), ..c.clone() }))
        }
        HirKind::Concat(subs) => subs.iter().map(without_start).collect::<Option<_>>().map(Hir::concat),
        HirKind::Alternation(subs) => {
            let left: Vec<Hir> = subs.iter().filter_map(without_start).collect();
            (!left.is_empty()).then(|| Hir::alternation(left))
        }
        HirKind::Empty
        | HirKind::Literal(_)
        | HirKind::Class(_)
        | HirKind::Look(_)
        | HirKind::Repetition(_) => Some(hir.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_values() {
        let p = |t: &str| Expression::parse(t).unwrap().place;
        assert_eq!(p(r"abc"), Place::WHOLE);
        let just = Distance::just;
        assert_eq!(p(r"ab(?P<secret>c+)d"), Place::at(just(2), Some(1)));
        assert_eq!(p(r"a\s*(?P<secret>c+)d?"), Place::at(Distance { min: 1, max: None }, None));
        assert_eq!(p(r"a(?:x(?P<secret>c))?"), Place::at(Distance { min: 1, max: None }, None));
        let guarded = Place { first: Distance { min: 0, max: Some(1) }, later: just(1), after: Some(0) };
        assert_eq!(p(r"(?:^|[^a])(?P<secret>a+)"), guarded);
        assert_eq!(p(r"(?:\b|\\[nr])(?P<secret>a+)"), Place::at(Distance { min: 0, max: Some(2) }, Some(0)));
        assert_eq!(p(r"^b?(?P<secret>a+)"), Place::at(Distance { min: 0, max: Some(1) }, Some(0)));
    }

    #[test]
    fn contexts_that_decide_nothing() {
        let left = |t: &str| Expression::parse(t).unwrap().without_context().len_max;
        assert_eq!(left(r"[\w.-]{0,50}?key=(?P<secret>[a-z]{4})"), Some(8));
        for kept in [
            r"[\w.-]{0,50}key=(?P<secret>[a-z]{4})",
            r"[\w.-]{0,50}?key=[a-z]{4}",
            r"(?P<secret>[\w.-]{0,50}?key=[a-z]{4})",
            r"\b[\w.-]{0,50}?key=(?P<secret>[a-z]{4})",
        ] {
            assert_eq!(left(kept), Some(58), "{kept}");
        }
    }

    #[test]
    fn refusals_say_why() {
        for (text, part) in [("a*", "empty"), ("(", "unclosed"), (r"(?u:\b)a", "Unicode word")] {
            assert!(Expression::parse(text).unwrap_err().contains(part), "{text}");
        }
    }
}
