//! A rule's expression, parsed: what can be told from its syntax alone.
//!
//! Three things are wanted of the syntax tree before automata are built: the literals that every match begins
//! with (the prefilter), how far behind the start of a match its value can begin (the hold-back), and how long
//! a match can get.

use regex_syntax::ParserBuilder;
use regex_syntax::hir::literal::{ExtractKind, Extractor};
use regex_syntax::hir::{Class, ClassBytes, Hir, HirKind, Literal};

/// The most bytes a match may have before it is decided; also the bound of what a stream may hold for a rule.
pub(crate) const RULE_LEN_MAX: usize = 16 * 1024;
/// The most literals kept of one rule.
const LEADS_MAX: usize = 256;
/// A shorter lead is no prefilter.
const LEAD_LEN_MIN: usize = 2;
/// Longer leads are cut: the automaton confirms the rest.
const LEAD_LEN_MAX: usize = 24;
/// The most bytes of a guard before the leads.
const GUARD_LEN_MAX: usize = 4;
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
    const WHOLE: Place = Place { before_min: 0, before: Some(0), after: Some(0) };
    const ANYWHERE: Place = Place { before_min: 0, before: None, after: None };
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

    /// Literals of which every match has one at or near its start, if there is such a set of a useful kind.
    ///
    /// What stands before them may be a guard such as `(?:^|[^\w-])`: short, and not of the value, so that
    /// nothing before a literal ever needs to be held.
    pub(crate) fn leads(&self) -> Option<Leads> {
        let own = prefix_literals(&self.hir).map(|literals| Leads { literals, behind_min: 0, behind_max: 0 });
        if own.is_some() || self.secret.is_none() {
            return own;
        }
        let HirKind::Concat(parts) = self.hir.kind() else { return None };
        let (mut behind_min, mut behind_max) = (0, 0);
        for (index, part) in parts.iter().enumerate() {
            if index > 0 {
                let rest = Hir::concat(parts.get(index..)?.to_vec());
                if let Some(literals) = prefix_literals(&rest) {
                    return Some(Leads { literals, behind_min, behind_max });
                }
            }
            if place(part).is_some() {
                return None;
            }
            behind_min += part.properties().minimum_len()?;
            behind_max += part.properties().maximum_len().filter(|len| *len <= GUARD_LEN_MAX)?;
            if behind_max > GUARD_LEN_MAX {
                return None;
            }
        }
        None
    }
}

/// The literals of a rule's prefilter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Leads {
    /// In lower case; none begins with another.
    pub(crate) literals: Vec<Vec<u8>>,
    /// Bytes of the match before the literal: at least.
    pub(crate) behind_min: usize,
    /// At most.
    pub(crate) behind_max: usize,
}

/// Literals, in lower case, of which every match begins with one (case ignored).
fn prefix_literals(hir: &Hir) -> Option<Vec<Vec<u8>>> {
    let mut extractor = Extractor::new();
    extractor.kind(ExtractKind::Prefix).limit_total(LEADS_MAX).limit_literal_len(LEAD_LEN_MAX);
    let seq = extractor.extract(&fold(hir));
    let mut leads: Vec<Vec<u8>> = seq.literals()?.iter().map(|l| l.as_bytes().to_ascii_lowercase()).collect();
    if leads.iter().any(|l| l.len() < LEAD_LEN_MIN) || leads.is_empty() {
        return None;
    }
    leads.sort();
    // A lead that begins with another one of the same rule would find the same start twice. Sorted, such a one
    // follows, perhaps behind others of the same kind.
    let mut kept: Vec<Vec<u8>> = Vec::with_capacity(leads.len());
    for lead in leads {
        if !kept.last().is_some_and(|k| lead.starts_with(k)) {
            kept.push(lead);
        }
    }
    Some(kept)
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

/// The same expression with each class of one letter's two cases as that letter in lower case, so that literals
/// of case-insensitive expressions are seen as one literal and not as all its spellings.
fn fold(hir: &Hir) -> Hir {
    match hir.kind() {
        HirKind::Class(Class::Bytes(class)) => match one_letter(class) {
            Some(letter) => Hir::literal([letter]),
            None => hir.clone(),
        },
        HirKind::Literal(Literal(bytes)) => Hir::literal(bytes.to_ascii_lowercase()),
        HirKind::Repetition(r) => Hir::repetition(r.with(fold(&r.sub))),
        HirKind::Capture(c) => fold(&c.sub),
        HirKind::Concat(subs) => Hir::concat(subs.iter().map(fold).collect()),
        HirKind::Alternation(subs) => Hir::alternation(subs.iter().map(fold).collect()),
        HirKind::Empty | HirKind::Class(Class::Unicode(_)) | HirKind::Look(_) => hir.clone(),
    }
}

fn one_letter(class: &ClassBytes) -> Option<u8> {
    let bytes: Vec<u8> = class.iter().flat_map(|r| r.start()..=r.end()).take(3).collect();
    match bytes.as_slice() {
        [one] => Some(one.to_ascii_lowercase()),
        [upper, lower] if upper.to_ascii_lowercase() == *lower && upper != lower => Some(*lower),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leads(text: &str) -> Vec<String> {
        let leads = Expression::parse(text).unwrap().leads().unwrap_or_default();
        leads.literals.into_iter().map(|l| String::from_utf8(l).unwrap()).collect()
    }

    #[test]
    fn leads_of_expressions() {
        assert_eq!(leads(r"\bghp_[A-Za-z0-9]{36}\b"), ["ghp_"]);
        assert_eq!(leads(r"(?i)\bpass[a-z]+="), ["pass"]);
        assert_eq!(leads(r"(?i)api[_-]?key"), ["api-key", "api_key", "apikey"]);
        assert_eq!(leads(r"(?:AKIA|ASIA)[A-Z2-7]{16}"), ["akia", "asia"]);
        assert_eq!(leads(r"a\s*=").len(), 7);
        assert_eq!(leads(r"[\w.]+@x"), Vec::<String>::new());
        assert_eq!(leads(r"(?:ab|abc)x"), ["abcx", "abx"]);
        let guarded = Expression::parse(r"(?:^|[^a-z])(?P<secret>sl\.[a-z]+)").unwrap().leads().unwrap();
        assert_eq!(guarded, Leads { literals: vec![b"sl.".to_vec()], behind_min: 0, behind_max: 1 });
        assert_eq!(leads(r"(?P<secret>[a-z]sl\.[a-z]+)"), Vec::<String>::new());
    }

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
