//! Rules as they are written, and what was compiled of each, in a built pack.

use std::sync::Arc;

use super::wire::{Damage, Reader, Writer};
use crate::allow::AllowList;
use crate::compile::automaton::{Automaton, Searcher};
use crate::compile::expression::RULE_LEN_MAX;
use crate::compile::parts::{ENCLOSURE_LEN_MAX, Parts};
use crate::compile::sets::{Sets, SetsWriter};
use crate::compile::window::Trigger;
use crate::mask::Strategy;
use crate::rule::{Action, Confidence, Pattern, Rule, Suppress, Validator};
use crate::ruleset::Prefilter;
use crate::validate::scheme::Scheme;

pub(super) fn write_rule(rule: &Rule, out: &mut Writer) {
    [&rule.id, &rule.entity, &rule.description].into_iter().for_each(|text| out.text(text));
    match &rule.pattern {
        Pattern::Regex(text) => {
            out.u8(0);
            out.text(text);
        }
        Pattern::Enclosed { begin, end } => {
            out.u8(1);
            out.text(begin);
            out.text(end);
        }
    }
    out.texts(&rule.keywords);
    out.size(rule.near);
    out.count(rule.validators.len());
    rule.validators.iter().for_each(|validator| write_validator(validator, out));
    let Suppress { exact, regex, starts_with, ends_with } = &rule.suppress;
    [exact, regex, starts_with, ends_with].into_iter().for_each(|texts| out.texts(texts));
    out.option(rule.max_len, Writer::size);
    out.u8(match rule.confidence {
        Confidence::Low => 0,
        Confidence::Medium => 1,
        Confidence::High => 2,
    });
    out.u8(match rule.action {
        Action::Mask => 0,
        Action::Label => 1,
        Action::Off => 2,
        Action::Shadow => 3,
    });
    out.texts(&rule.labels);
    write_strategy(&rule.strategy, out);
    out.option(rule.priority, |out, priority| out.u32(priority.cast_unsigned()));
}

pub(super) fn read_rule(from: &mut Reader<'_>) -> Result<Rule, Damage> {
    Ok(Rule {
        id: from.text()?,
        entity: from.text()?,
        description: from.text()?,
        pattern: match from.u8()? {
            0 => Pattern::Regex(from.text()?),
            1 => Pattern::Enclosed { begin: from.text()?, end: from.text()? },
            _ => return Err(Damage("the kind of a pattern")),
        },
        keywords: from.texts()?,
        near: from.size(usize::MAX)?,
        validators: from.list(1, read_validator)?,
        suppress: Suppress {
            exact: from.texts()?,
            regex: from.texts()?,
            starts_with: from.texts()?,
            ends_with: from.texts()?,
        },
        max_len: from.option(|from| from.size(RULE_LEN_MAX))?,
        confidence: match from.u8()? {
            0 => Confidence::Low,
            1 => Confidence::Medium,
            2 => Confidence::High,
            _ => return Err(Damage("a confidence")),
        },
        action: match from.u8()? {
            0 => Action::Mask,
            1 => Action::Label,
            2 => Action::Off,
            3 => Action::Shadow,
            _ => return Err(Damage("an action")),
        },
        labels: from.texts()?,
        strategy: read_strategy(from)?,
        priority: from.option(|from| Ok(from.u32()?.cast_signed()))?,
    })
}

/// The kind of a validator that has a list.
const UNLISTED: u8 = 0xA1;
/// The most bytes of a salt.
const SALT_BYTES_MAX: usize = 4096;

fn read_unlisted(from: &mut Reader<'_>) -> Result<Validator, Damage> {
    let len = from.size(SALT_BYTES_MAX)?;
    let salt = from.raw(len)?;
    let digests = from.list(32, |from| from.array().copied())?;
    AllowList::new(salt, digests).map(Validator::Unlisted).ok_or(Damage("a salt that is too short"))
}

fn write_validator(validator: &Validator, out: &mut Writer) {
    match validator {
        Validator::Unlisted(list) => {
            out.u8(UNLISTED);
            out.size(list.salt().len());
            out.raw(list.salt());
            out.count(list.digests().len());
            list.digests().iter().for_each(|digest| out.raw(digest));
        }
        Validator::Luhn => out.u8(0),
        Validator::Mod97 => out.u8(1),
        Validator::UsSsn => out.u8(2),
        Validator::Entropy { min } => {
            out.u8(3);
            out.u64(min.to_bits());
        }
        Validator::Jwt => out.u8(4),
        Validator::Ip => out.u8(5),
        Validator::Crc32Github => out.u8(6),
        Validator::Crc32Npm => out.u8(7),
        Validator::Base64 => out.u8(8),
        Validator::Date => out.u8(9),
        Validator::Bitcoin => out.u8(10),
        Validator::Ethereum => out.u8(11),
        Validator::Chars { digits, lower, upper, letters, distinct } => {
            out.u8(12);
            [digits, lower, upper, letters, distinct].into_iter().for_each(|count| out.size(*count));
        }
        Validator::Scheme(scheme) => {
            out.u8(13);
            out.text(scheme.name());
        }
    }
}

fn read_validator(from: &mut Reader<'_>) -> Result<Validator, Damage> {
    Ok(match from.u8()? {
        UNLISTED => read_unlisted(from)?,
        0 => Validator::Luhn,
        1 => Validator::Mod97,
        2 => Validator::UsSsn,
        3 => Validator::Entropy { min: f64::from_bits(from.u64()?) },
        4 => Validator::Jwt,
        5 => Validator::Ip,
        6 => Validator::Crc32Github,
        7 => Validator::Crc32Npm,
        8 => Validator::Base64,
        9 => Validator::Date,
        10 => Validator::Bitcoin,
        11 => Validator::Ethereum,
        12 => Validator::Chars {
            digits: from.size(usize::MAX)?,
            lower: from.size(usize::MAX)?,
            upper: from.size(usize::MAX)?,
            letters: from.size(usize::MAX)?,
            distinct: from.size(usize::MAX)?,
        },
        13 => Validator::Scheme(Scheme::find(&from.text()?).ok_or(Damage("the name of a numbering scheme"))?),
        _ => return Err(Damage("the kind of a validator")),
    })
}

fn write_strategy(strategy: &Strategy, out: &mut Writer) {
    match strategy {
        Strategy::Label => out.u8(0),
        Strategy::Constant(text) => {
            out.u8(1);
            out.text(text);
        }
        Strategy::Fill => out.u8(2),
        Strategy::Drop => out.u8(3),
        Strategy::Token => out.u8(4),
        Strategy::Keep { first, last } => {
            out.u8(5);
            out.size(*first);
            out.size(*last);
        }
    }
}

fn read_strategy(from: &mut Reader<'_>) -> Result<Strategy, Damage> {
    Ok(match from.u8()? {
        0 => Strategy::Label,
        1 => Strategy::Constant(from.text()?),
        2 => Strategy::Fill,
        3 => Strategy::Drop,
        4 => Strategy::Token,
        5 => Strategy::Keep { first: from.size(usize::MAX)?, last: from.size(usize::MAX)? },
        _ => return Err(Damage("a strategy")),
    })
}

/// `buckets` are those of the trigger's paths.
pub(super) fn write_parts(parts: &Parts, buckets: &[u8], out: &mut Writer, sets: &mut SetsWriter) {
    parts.automaton.write(out);
    if let Some(end) = &parts.end {
        end.write(out);
    }
    parts.suppress.iter().for_each(|searcher| searcher.write(out));
    out.size(parts.len_max);
    out.bool(parts.starts.at_start);
    out.u64(parts.starts.candidates_per_mib.to_bits());
    parts.trigger.write(buckets, out, sets);
}

/// The parts of `rule`, and the buckets of its paths.
pub(super) fn read_parts(
    rule: &Rule,
    from: &mut Reader<'_>,
    sets: &Sets,
) -> Result<(Parts, Vec<u8>), Damage> {
    let (text, encloses) = match &rule.pattern {
        Pattern::Regex(text) => (text, false),
        Pattern::Enclosed { begin, .. } => (begin, true),
    };
    let automaton = Automaton::read(from, text, !rule.keywords.is_empty())?;
    let end = if encloses { Some(Searcher::read(from)?) } else { None };
    let suppress = rule.suppress.regex.iter().map(|_| Searcher::read(from)).collect::<Result<_, _>>()?;
    let len_max = from.size(if encloses { ENCLOSURE_LEN_MAX } else { RULE_LEN_MAX })?;
    let at_start = from.bool()?;
    let candidates_per_mib = f64::from_bits(from.u64()?);
    let (trigger, buckets) = Trigger::read(from, sets)?;
    if at_start != trigger.inside.is_empty() || len_max == 0 {
        return Err(Damage("where a rule is looked for"));
    }
    if encloses && (rule.action != Action::Mask || !at_start) {
        return Err(Damage("an enclosed value"));
    }
    if !candidates_per_mib.is_finite() || candidates_per_mib < 0.0 {
        return Err(Damage("a chance"));
    }
    let starts = Prefilter { windows: buckets.len(), at_start, candidates_per_mib };
    Ok((Parts { automaton, end, suppress, len_max, trigger: Arc::new(trigger), starts }, buckets))
}
