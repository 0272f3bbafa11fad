//! Masks one body as it passes: its content codings are taken off, it is masked in its format, and coded again.
//!
//! ```text
//!   content ──► Decoder ──► Opening ──► Masker ──► Encoder ──► content
//!              (if coded)  (few bytes)            (if it leaves coded)
//! ```
//!
//! All that one push tells is flushed by its end, so that what the sender flushed arrives as soon as it may.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use sluice_engine::{
    CodingError, CodingErrorKind, Decoder, Encoder, Finding, Format, FormatError, FormatErrorKind, Masker,
    MaskerOptions, OnError, RuleId, Ruleset, Scratch,
};
use sluice_policy::ResponseLimits;

use crate::config::Masking;
use crate::content::{Content, hides_ascii};
use crate::desk::Secret;
use crate::problem::Problem;
use crate::size::Size;
use crate::stats::{Matches, ShardStats};

/// Bytes of a coded body that are decoded, masked and coded again at once: it bounds what lies between.
const CODED_BYTES_AT_ONCE: usize = 4096;

/// Which way a body goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Request,
    Response,
}

/// Places for coded bodies: each has machines with windows, which are the most memory that a body takes.
#[derive(Clone, Debug)]
pub(crate) struct CodedPlaces(Rc<Cell<usize>>);

impl CodedPlaces {
    pub(crate) fn new(max: usize) -> CodedPlaces {
        CodedPlaces(Rc::new(Cell::new(max)))
    }

    fn take(&self) -> Option<CodedPlace> {
        let left = self.0.get().checked_sub(1)?;
        self.0.set(left);
        Some(CodedPlace(self.clone()))
    }
}

/// One of them, given back when dropped.
struct CodedPlace(CodedPlaces);

impl Drop for CodedPlace {
    fn drop(&mut self) {
        let left = &self.0.0;
        left.set(left.get() + 1);
    }
}

/// Masks one body and counts what it does.
pub(crate) struct Mask {
    /// None: what comes goes on as it is.
    text: Option<Text>,
    coded: Option<Coded>,
    matches: Tally,
    held: u64,
    scanned: u64,
    direction: Direction,
    /// Why its format can't be masked.
    fault: Option<FormatErrorKind>,
    seen: Option<Seen>,
    /// How much may come.
    size: Option<Size>,
    copy: Option<Copied>,
}

/// What leaves of a body, and what was found in it, for the record.
#[derive(Default)]
pub(crate) struct Copied {
    /// Masked, without codings.
    pub(crate) masked: Vec<u8>,
    pub(crate) found: Vec<Found>,
    /// The piece that is being masked, and where it lies in the body.
    plain: Vec<u8>,
    at: u64,
}

/// A value that was found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) finding: Finding,
    /// The value as it was spelled, where it came in one piece.
    pub(crate) value: Option<Secret>,
}

impl Copied {
    fn begin(&mut self, plain: &[u8], at: u64) {
        self.plain.clear();
        self.plain.extend_from_slice(plain);
        self.at = at;
    }

    fn find(&mut self, finding: Finding) {
        let place = |at: u64| at.checked_sub(self.at).and_then(|at| usize::try_from(at).ok());
        let value =
            place(finding.start).zip(place(finding.end)).and_then(|(from, to)| self.plain.get(from..to));
        let value = value.map(Secret::new);
        self.found.push(Found { finding, value });
    }
}

/// What was seen of a body that is watched.
#[derive(Default)]
pub(crate) struct Seen {
    /// All of it, without codings.
    pub(crate) plain: Vec<u8>,
    /// How often rules, by their numbers, were found.
    pub(crate) rules: BTreeMap<u32, u64>,
}

/// The content without its codings.
struct Text {
    ruleset: Arc<Ruleset>,
    options: MaskerOptions,
    format: Format,
    /// The first bytes, until they are enough to tell what the body is.
    opening: Vec<u8>,
    /// None before.
    masker: Option<Box<Masker>>,
}

struct Coded {
    decoder: Decoder,
    encoder: Out,
    has_begun: bool,
    /// The encoder has been given bytes that may not have left.
    is_unflushed: bool,
    plain: Vec<u8>,
    masked: Vec<u8>,
    _place: CodedPlace,
}

/// How a coded body leaves.
enum Out {
    Plain,
    /// As it came. Only what comes tells which `deflate` it is, so the encoder is made then.
    Same(Option<Encoder>),
}

/// Why a body does not go on.
enum Fault {
    Charset,
    Format(FormatErrorKind),
    Coding(CodingErrorKind),
}

impl From<FormatError> for Fault {
    fn from(error: FormatError) -> Fault {
        Fault::Format(error.kind())
    }
}

impl From<CodingError> for Fault {
    fn from(error: CodingError) -> Fault {
        Fault::Coding(error.kind())
    }
}

/// What the masks of one shard share.
pub(crate) struct MaskContext<'a> {
    pub(crate) ruleset: &'a Arc<Ruleset>,
    /// Under whose rules matches are counted: `ruleset`'s, or those that it was made of for one reader.
    pub(crate) counted: &'a Arc<Ruleset>,
    pub(crate) masking: &'a Masking,
    /// How much of a body its reader may get.
    pub(crate) limits: ResponseLimits,
    pub(crate) places: &'a CodedPlaces,
    pub(crate) stats: &'a ShardStats,
}

impl MaskContext<'_> {
    pub(crate) fn tally(&self) -> Tally {
        let is_own = Arc::ptr_eq(self.ruleset, self.counted);
        let rules = if is_own { usize::MAX } else { self.counted.rules().len() };
        Tally { matches: self.stats.matches(self.counted), rules }
    }
}

/// Where matches are counted.
pub(crate) struct Tally {
    matches: Arc<Matches>,
    /// Numbers from here on are of fields that were declared for one reader: they have no count.
    rules: usize,
}

impl Tally {
    pub(crate) fn count(&self, rule: RuleId) {
        if (rule.0 as usize) < self.rules {
            self.matches.count(rule);
        }
    }
}

impl Mask {
    /// A mask at the start of a body. `is_decoded`: it leaves without its codings.
    ///
    /// # Errors
    /// It is coded, and there is no place.
    pub(crate) fn new(
        context: &MaskContext<'_>,
        content: &Content,
        direction: Direction,
        is_decoded: bool,
    ) -> Result<Mask, Problem> {
        let MaskContext { ruleset, masking, places, stats, .. } = context;
        let size = Size::new(context.limits, content.format).map_err(|()| Problem::RESPONSE_UNCUT)?;
        let is_cut = ruleset.fields().is_some_and(|fields| fields.drops_others());
        if is_cut && !matches!(content.format, Format::Json | Format::Ndjson | Format::Sse | Format::Form) {
            return Err(Problem::RESPONSE_UNCUT);
        }
        // What is scanned as text has no paths and no rows.
        let on_error = if is_cut || size.is_some() { OnError::Block } else { masking.on_error };
        let options = MaskerOptions { on_error, ..MaskerOptions::default() };
        let text = Text {
            ruleset: Arc::clone(ruleset),
            options,
            format: content.format,
            opening: Vec::new(),
            masker: None,
        };
        let coded = if content.codings.list().is_empty() {
            None
        } else {
            let place = places.take().ok_or(Problem::CODED_OVERLOADED)?;
            let count = match direction {
                Direction::Request => &stats.request_bodies_coded,
                Direction::Response => &stats.response_bodies_coded,
            };
            ShardStats::count(count, 1);
            Some(Coded {
                decoder: Decoder::new(&content.codings, masking.coding_limits),
                encoder: if is_decoded { Out::Plain } else { Out::Same(None) },
                has_begun: false,
                is_unflushed: false,
                plain: Vec::new(),
                masked: Vec::new(),
                _place: place,
            })
        };
        Ok(Mask {
            text: Some(text),
            coded,
            matches: context.tally(),
            held: 0,
            scanned: 0,
            direction,
            fault: None,
            seen: None,
            size,
            copy: None,
        })
    }

    /// Lets a body pass as it is, and counts it.
    ///
    /// # Errors
    /// It would have to be read to hold what its reader may get.
    pub(crate) fn off(context: &MaskContext<'_>, direction: Direction) -> Result<Mask, Problem> {
        let size = Size::new(context.limits, Format::Bytes).map_err(|()| Problem::RESPONSE_UNCUT)?;
        if !Arc::ptr_eq(context.ruleset, context.counted) && context.ruleset.fields().is_some() {
            return Err(Problem::RESPONSE_UNCUT);
        }
        Ok(Mask {
            text: None,
            coded: None,
            matches: context.tally(),
            held: 0,
            scanned: 0,
            direction,
            fault: None,
            seen: None,
            size,
            copy: None,
        })
    }

    /// From now on what the body says and what is found in it is kept.
    pub(crate) fn watch(&mut self) {
        self.seen = Some(Seen::default());
    }

    /// From now on what leaves is copied.
    pub(crate) fn copy(&mut self) {
        self.copy = Some(Copied::default());
    }

    /// What left since this was last asked.
    pub(crate) fn take_copy(&mut self) -> Option<Copied> {
        let copy = self.copy.as_mut()?;
        let (masked, found) = (std::mem::take(&mut copy.masked), std::mem::take(&mut copy.found));
        Some(Copied { masked, found, ..Copied::default() })
    }

    pub(crate) fn seen(&self) -> Option<&Seen> {
        self.seen.as_ref()
    }

    pub(crate) fn take_seen(&mut self) -> Seen {
        self.seen.take().unwrap_or_default()
    }

    /// Masks the next bytes; `last`: none come after. Nothing of what is in `out` after an error may leave, but for a
    /// body without codings: what it gave before the fault is masked.
    ///
    /// # Errors
    /// The body is not valid in its format or codings, or passes a limit.
    pub(crate) fn push(
        &mut self,
        scratch: &mut Scratch,
        stats: &ShardStats,
        content: &[u8],
        last: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), Problem> {
        if self.text.is_none() {
            out.extend_from_slice(content);
            self.scanned += content.len() as u64;
            see(&mut self.seen, &mut self.size, content);
            self.copy.iter_mut().for_each(|copy| copy.masked.extend_from_slice(content));
            ShardStats::count(&stats.bytes_passed_off, content.len() as u64);
            return self.within();
        }
        let started = Instant::now();
        let scanned = self.scanned;
        let done = self.run(scratch, content, last, out);
        ShardStats::count(&stats.masking_us, started.elapsed().as_micros() as u64);
        let counter = match self.direction {
            Direction::Request => &stats.request_bytes_scanned,
            Direction::Response => &stats.response_bytes_scanned,
        };
        ShardStats::count(counter, self.scanned - scanned);
        if let Some(masker) = self.text.as_mut().and_then(|text| text.masker.as_mut()) {
            ShardStats::count(&stats.bytes_passed_opaque, masker.take_unscanned());
            for finding in masker.take_findings() {
                self.matches.count(finding.rule);
                if let Some(seen) = &mut self.seen {
                    *seen.rules.entry(finding.rule.0).or_default() += 1;
                }
                if let Some(copy) = &mut self.copy {
                    copy.find(finding);
                }
            }
        }
        self.hold(stats, self.text.as_ref().map_or(0, Text::held) as u64);
        done.map_err(|fault| {
            if let Fault::Format(kind) = fault {
                self.fault = Some(kind);
            }
            self.problem(&fault)
        })?;
        self.within()
    }

    fn within(&self) -> Result<(), Problem> {
        let is_over = self.size.as_ref().is_some_and(Size::is_over);
        if is_over { Err(Problem::RESPONSE_TOO_LARGE) } else { Ok(()) }
    }

    /// Why the format of the body can't be masked, after an error.
    pub(crate) fn format_fault(&self) -> Option<FormatErrorKind> {
        self.fault
    }

    fn run(
        &mut self,
        scratch: &mut Scratch,
        content: &[u8],
        last: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let Some(text) = &mut self.text else { return Ok(()) };
        let Some(coded) = &mut self.coded else {
            self.scanned += content.len() as u64;
            see(&mut self.seen, &mut self.size, content);
            let Some(copy) = &mut self.copy else { return text.push(scratch, content, last, out) };
            copy.begin(content, self.scanned - content.len() as u64);
            let from = out.len();
            let done = text.push(scratch, content, last, out);
            copy.masked.extend_from_slice(out.get(from..).unwrap_or_default());
            return done;
        };
        for piece in content.chunks(CODED_BYTES_AT_ONCE) {
            coded.has_begun = true;
            coded.decoder.push(piece, &mut coded.plain)?;
            self.scanned += coded.plain.len() as u64;
            see(&mut self.seen, &mut self.size, &coded.plain);
            text.push(scratch, &coded.plain, false, &mut coded.masked)?;
            self.copy.iter_mut().for_each(|copy| copy.masked.extend_from_slice(&coded.masked));
            coded.encode(out)?;
        }
        if last {
            coded.decoder.finish(&mut coded.plain)?;
            self.scanned += coded.plain.len() as u64;
            see(&mut self.seen, &mut self.size, &coded.plain);
            text.push(scratch, &coded.plain, true, &mut coded.masked)?;
            self.copy.iter_mut().for_each(|copy| copy.masked.extend_from_slice(&coded.masked));
        }
        coded.flush(last, out)
    }

    fn problem(&self, fault: &Fault) -> Problem {
        match (self.direction, fault) {
            (Direction::Request, Fault::Format(_) | Fault::Charset) => Problem::REQUEST_UNMASKABLE,
            (Direction::Request, Fault::Coding(CodingErrorKind::Limit(_))) => Problem::CODED_TOO_LARGE,
            (Direction::Request, Fault::Coding(_)) => Problem::REQUEST_CODING_INVALID,
            (Direction::Response, Fault::Format(_) | Fault::Charset) => Problem::RESPONSE_UNMASKABLE,
            (Direction::Response, Fault::Coding(_)) => Problem::RESPONSE_CODING_INVALID,
        }
    }

    /// Bytes of the body without its codings, so far.
    pub(crate) fn scanned(&self) -> u64 {
        self.scanned
    }

    fn hold(&mut self, stats: &ShardStats, held: u64) {
        let change = held.wrapping_sub(std::mem::replace(&mut self.held, held));
        stats.hold_back_bytes.fetch_add(change, Ordering::Relaxed);
    }

    /// The body is over, whole or not: nothing is held any more.
    pub(crate) fn close(&mut self, stats: &ShardStats) {
        self.hold(stats, 0);
    }
}

/// Bytes of the body without its codings, before they are masked.
fn see(seen: &mut Option<Seen>, size: &mut Option<Size>, plain: &[u8]) {
    seen.iter_mut().for_each(|seen| seen.plain.extend_from_slice(plain));
    size.iter_mut().for_each(|size| size.see(plain));
}

impl Coded {
    /// Gives what was masked to the encoder.
    fn encode(&mut self, out: &mut Vec<u8>) -> Result<(), Fault> {
        match &mut self.encoder {
            Out::Plain => out.extend_from_slice(&self.masked),
            Out::Same(_) if self.masked.is_empty() => {}
            Out::Same(encoder) => {
                encoder
                    .get_or_insert_with(|| Encoder::new(&self.decoder.codings()))
                    .push(&self.masked, out)?;
                self.is_unflushed = true;
            }
        }
        self.plain.clear();
        self.masked.clear();
        Ok(())
    }

    /// The same, and all of it leaves. A body without a byte stays one.
    fn flush(&mut self, last: bool, out: &mut Vec<u8>) -> Result<(), Fault> {
        self.encode(out)?;
        match &mut self.encoder {
            Out::Same(encoder) if last && self.has_begun => {
                let encoder = encoder.take().unwrap_or_else(|| Encoder::new(&self.decoder.codings()));
                encoder.finish(out)?;
            }
            Out::Same(Some(encoder)) if self.is_unflushed => encoder.flush(out)?,
            Out::Same(_) | Out::Plain => {}
        }
        self.is_unflushed = false;
        Ok(())
    }
}

impl Text {
    fn push(
        &mut self,
        scratch: &mut Scratch,
        bytes: &[u8],
        last: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let mut opening = Vec::new();
        if self.masker.is_none() {
            self.opening.extend_from_slice(bytes);
            let Some(format) = opened(self.format, &self.opening, last)? else { return Ok(()) };
            if matches!(format, Format::Protobuf(_)) {
                // What is no message may have been taken for numbers up to where that shows: a value that begins there
                // is cut, and no text.
                self.options.on_error = OnError::Block;
            }
            self.format = format;
            opening = std::mem::take(&mut self.opening);
        }
        let fresh = || Box::new(Masker::new(&self.ruleset, self.format, self.options.clone()));
        let masker = self.masker.get_or_insert_with(fresh);
        masker.push(scratch, if opening.is_empty() { bytes } else { &opening }, out)?;
        if last {
            masker.finish(scratch, out)?;
        }
        Ok(())
    }

    /// Bytes that came and have not left.
    fn held(&self) -> usize {
        self.opening.len() + self.masker.as_ref().map_or(0, |m| m.held())
    }
}

/// The format that the first bytes of a body leave of what its type says; `None` while more are needed.
fn opened(format: Format, start: &[u8], last: bool) -> Result<Option<Format>, Fault> {
    let told = match format {
        Format::Protobuf(_) | Format::Grpc { .. } | Format::EventStream | Format::WebSocket(_) => {
            return Ok(Some(format));
        }
        // Of a type that is not known: texts with escapes in them are not bytes.
        Format::Bytes => Format::from_start(start, last).map(|told| match told {
            Format::Text => Format::Bytes,
            _ => Format::Auto,
        }),
        _ => match hides_ascii(start) {
            Some(true) => return Err(Fault::Charset),
            Some(false) => Some(format),
            None => last.then_some(format),
        },
    };
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_engine::{Action, Codings, CompileOptions, Confidence, Pattern, Rule, Strategy, Suppress};

    const BODY: &[u8] = b"{\"key\": \"AKIAEZH5VTGLTMQAZX6T\", \"more\": [1, \"AKIAEZH5VTGLTMQAZX6\\u0054\"]}";
    const MASKED: &[u8] = b"{\"key\": \"[key]\", \"more\": [1, \"[key]\"]}";

    fn ruleset() -> Arc<Ruleset> {
        let rule = Rule {
            id: "key".into(),
            entity: "key".into(),
            description: "a key".into(),
            pattern: Pattern::Regex(r"\bAKIA[0-9A-Z]{16}\b".into()),
            keywords: Vec::new(),
            near: 0,
            validators: Vec::new(),
            suppress: Suppress::default(),
            max_len: Some(20),
            confidence: Confidence::High,
            action: Action::Mask,
            labels: Vec::new(),
            strategy: Strategy::Label,
            priority: None,
        };
        Ruleset::compile(vec![rule], &CompileOptions::default()).unwrap()
    }

    fn encode(codings: &Codings, text: &[u8]) -> Vec<u8> {
        let (mut encoder, mut out) = (Encoder::new(codings), Vec::new());
        encoder.push(text, &mut out).unwrap();
        encoder.finish(&mut out).unwrap();
        out
    }

    fn decode(codings: &Codings, coded: &[u8]) -> Vec<u8> {
        let (mut decoder, mut out) = (Decoder::new(codings, Default::default()), Vec::new());
        decoder.push(coded, &mut out).unwrap();
        decoder.finish(&mut out).unwrap();
        out
    }

    /// What leaves, or the problem; `parts` in one push each, and what has left by then is kept.
    fn pass(
        ruleset: &Arc<Ruleset>,
        content: &Content,
        is_decoded: bool,
        parts: &[&[u8]],
    ) -> (Vec<u8>, Option<Problem>) {
        let (stats, places) = (ShardStats::default(), CodedPlaces::new(1));
        let masking = Masking::default();
        let context = MaskContext {
            ruleset,
            counted: ruleset,
            masking: &masking,
            limits: ResponseLimits::default(),
            places: &places,
            stats: &stats,
        };
        let mut mask = Mask::new(&context, content, Direction::Request, is_decoded).unwrap();
        let (mut scratch, mut left) = (Scratch::new(), Vec::new());
        for (at, part) in parts.iter().enumerate() {
            let mut out = Vec::new();
            if let Err(problem) = mask.push(&mut scratch, &stats, part, at + 1 == parts.len(), &mut out) {
                return (left, Some(problem));
            }
            left.extend(out);
        }
        (left, None)
    }

    #[test]
    fn what_leaves_does_not_depend_on_cuts() {
        let ruleset = ruleset();
        for value in ["", "gzip", "deflate", "br", "zstd", "gzip, br"] {
            let codings = Codings::parse(value).unwrap();
            let content = Content { format: Format::Json, codings: codings.clone() };
            let body = encode(&codings, BODY);
            let bytes: Vec<&[u8]> = body.chunks(1).collect();
            let cuts = (0..=body.len()).map(|cut| vec![&body[..cut], &body[cut..]]);
            for parts in cuts.chain([bytes]) {
                let (coded, problem) = pass(&ruleset, &content, false, &parts);
                assert_eq!((decode(&codings, &coded).as_slice(), problem), (MASKED, None), "{value}");
                let (plain, problem) = pass(&ruleset, &content, true, &parts);
                assert_eq!((plain.as_slice(), problem), (MASKED, None), "{value}");
            }
        }
    }

    #[test]
    fn a_body_cut_short_is_a_problem_at_every_cut() {
        let ruleset = ruleset();
        for value in ["gzip", "deflate", "br", "zstd", "gzip, br"] {
            let codings = Codings::parse(value).unwrap();
            let content = Content { format: Format::Json, codings: codings.clone() };
            let body = encode(&codings, BODY);
            for cut in 1..body.len() {
                let (left, problem) = pass(&ruleset, &content, true, &[&body[..cut], b""]);
                assert_eq!(problem, Some(Problem::REQUEST_CODING_INVALID), "{value} {cut}");
                assert!(MASKED.starts_with(&left), "{value} {cut}");
            }
        }
    }

    #[test]
    fn places_are_given_back() {
        let places = CodedPlaces::new(1);
        let place = places.take();
        assert!(place.is_some() && places.take().is_none());
        drop(place);
        assert!(places.take().is_some());
    }
}
