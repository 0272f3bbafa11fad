//! A rule: what a pack says of one kind of value.

use std::fmt;

use crate::allow::AllowList;
use crate::mask::Strategy;
use crate::validate::scheme::Scheme;

/// One kind of value to find, and what to do with it.
///
/// A rule is plain data: nothing in it has been checked. [`crate::Ruleset::compile`] checks it.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Unique within a ruleset: `aws-access-key-id`.
    pub id: String,
    /// What the value is: `aws_access_key`. Used in labels, tokens and policies.
    pub entity: String,
    /// One line for people.
    pub description: String,
    /// What the value looks like.
    pub pattern: Pattern,
    /// At least one of these must be near; ASCII case is ignored. Empty: none is asked for.
    pub keywords: Vec<String>,
    /// Where a keyword counts: within this many bytes before the match, ending no later than the value begins.
    /// 0: anywhere inside the match.
    pub near: usize,
    /// All must accept the value.
    pub validators: Vec<Validator>,
    /// Values that are known not to matter.
    pub suppress: Suppress,
    /// The most bytes a match may have before it is decided; `None`: what the expression itself allows.
    /// See [`crate::Ruleset::compile`] for what happens to a longer value.
    pub max_len: Option<usize>,
    /// How sure a match is.
    pub confidence: Confidence,
    /// What happens to a match.
    pub action: Action,
    /// For [`Action::Label`]: the labels that policy sees. Empty: the entity.
    pub labels: Vec<String>,
    /// How the value is replaced.
    pub strategy: Strategy,
    /// Wins overlaps of the same start; `None`: 30, 20 or 10 by confidence, 40 for an enclosed rule.
    pub priority: Option<i32>,
}

/// What a value looks like.
#[derive(Clone, Debug)]
pub enum Pattern {
    /// An expression in `regex-automata` syntax over bytes (ASCII classes; `(?u:…)` asks for Unicode classes),
    /// with the sensitive part in a group named `secret`, else the whole match.
    Regex(String),
    /// From a match of `begin` to the end of the next match of `end`, of any length. Without an end: to the end
    /// of the stream.
    Enclosed {
        /// Expression of the opening.
        begin: String,
        /// Expression of the close.
        end: String,
    },
}

/// A check of a matched value beyond its shape.
#[derive(Clone, Debug, PartialEq)]
pub enum Validator {
    /// The value is not on a list of values that are let pass.
    Unlisted(AllowList),
    /// ISO/IEC 7812-1 check digit; separators (space, `-`, `.`) are ignored.
    Luhn,
    /// ISO 7064 MOD 97-10 as IBAN uses it (ISO 13616-1), with the length of its country where known.
    Mod97,
    /// US Social Security number: area not 000, 666 or 900–999, group not 00, serial not 0000 (SSA).
    UsSsn,
    /// Shannon entropy of the value's bytes, in bits a byte, at least this.
    Entropy {
        /// Bits a byte.
        min: f64,
    },
    /// Three base64url parts of which the first decodes to a JSON object with `alg` (RFC 7519, RFC 7515).
    Jwt,
    /// A valid IPv4 or IPv6 address (RFC 4291, RFC 6943).
    Ip,
    /// GitHub's token checksum: the last six base62 digits are the CRC-32 of the 30 before them.
    Crc32Github,
    /// npm's token checksum: the same construction as GitHub's.
    Crc32Npm,
    /// Decodes as base64 or base64url, with or without padding.
    Base64,
    /// A calendar date, or a time range that has no impossible month or day.
    Date,
    /// Base58Check or Bech32/Bech32m bitcoin address (BIP 173, BIP 350).
    Bitcoin,
    /// EIP-55 mixed-case checksum, or all of one case.
    Ethereum,
    /// At least these many of each class of characters.
    Chars {
        /// Digits 0–9.
        digits: usize,
        /// a–z.
        lower: usize,
        /// A–Z.
        upper: usize,
        /// ASCII letters of either case.
        letters: usize,
        /// At least this many different bytes.
        distinct: usize,
    },
    /// The check digits of a public numbering scheme, such as a country's tax numbers.
    Scheme(&'static Scheme),
}

/// Values that are known not to matter: examples, placeholders.
#[derive(Clone, Debug, Default)]
pub struct Suppress {
    /// The value equals one of these.
    pub exact: Vec<String>,
    /// One of these matches somewhere in the value.
    pub regex: Vec<String>,
    /// The value starts with one of these.
    pub starts_with: Vec<String>,
    /// The value ends with one of these.
    pub ends_with: Vec<String>,
}

/// How sure a match is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confidence {
    /// Often something else.
    Low,
    /// Mostly right.
    Medium,
    /// The shape itself proves it.
    High,
}

impl Confidence {
    /// As packs and reports spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Confidence::Low => "low",
            Confidence::Medium => "medium",
            Confidence::High => "high",
        }
    }
}

/// What happens to a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The value is replaced.
    Mask,
    /// The match is reported to policy; the bytes stay.
    Label,
    /// The match is told and counted; nothing else comes of it: what a new rule would do is seen before it does it.
    Shadow,
    /// The rule is not compiled.
    Off,
}

/// The part of a rule that a fault is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// `id`.
    Id,
    /// `entity`.
    Entity,
    /// `regex`.
    Regex,
    /// `begin`.
    Begin,
    /// `end`.
    End,
    /// `keywords[n]`.
    Keyword(usize),
    /// `near`.
    Near,
    /// `validators[n]`.
    Validator(usize),
    /// `suppress.regex[n]`.
    SuppressRegex(usize),
    /// `max_len`.
    MaxLen,
    /// `strategy`.
    Strategy,
}

/// Why a rule can't be compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleError {
    /// Index of the rule in the list given.
    pub rule: usize,
    /// Where in the rule.
    pub field: Field,
    /// What is wrong and what to do.
    pub reason: String,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {}: {:?}: {}", self.rule, self.field, self.reason)
    }
}

impl std::error::Error for RuleError {}

#[cfg(test)]
impl Rule {
    /// Masks what the pattern matches; all else is as packs leave it.
    pub(crate) fn plain(id: &str, pattern: Pattern) -> Rule {
        Rule {
            id: id.into(),
            entity: id.replace('-', "_"),
            description: String::new(),
            pattern,
            keywords: vec![],
            near: 0,
            validators: vec![],
            suppress: Suppress::default(),
            max_len: None,
            confidence: Confidence::High,
            action: Action::Mask,
            labels: vec![],
            strategy: Strategy::Label,
            priority: None,
        }
    }
}
