//! Protobuf messages as a stream, by a table of fields or without one.
//!
//! Sources: protobuf.dev/programming-guides/encoding for the wire format; the tables cite theirs ([`schema`]).
//!
//! ```text
//!             tag of LEN          its bytes are in
//!   Field ────────────────► Text ─────────────────► Field      messages nest: a frame each
//!     │ ▲                                             │
//!     ▼ └────────────── Skip (ids, numbers) ◄─────────┘
//! ```
//!
//! A replacement is as long as what it replaces, so no length around it changes and nothing is held for one. With a
//! table, fields are what it says. A string that is the value of an attribute is scanned behind the context
//! `"key":"`, as JSON's values are; an element of its arrays has the same key. A number that is such a value and in
//! which something is found becomes 0.
//!
//! # Without a table
//! A length-delimited field may be a string, bytes, packed numbers or a message, and the bytes do not say which. So
//! every reading that they allow is scanned:
//!
//! * All bytes of the field are one text, from its first byte to its last.
//! * Where they can be a message (tags that are allowed, fields that end where it ends), so is each field in it,
//!   and so on inwards. A field 1 of text is the key of the field 2 beside it, as in maps and attributes.
//!
//! What any text finds is masked. That can hit tags and lengths of a message, when a value of the outer text goes
//! on over them, and then one reading must give way. The evidence is the field itself, held until it is in or
//! [`LOOK_AHEAD_BYTES`] of it are:
//!
//! * It can't be a message: it is text, all that is found is masked.
//! * It can be one, and all of it is printable UTF-8: the same, unless it is nothing but length-delimited fields, which
//!   text is not by accident ([`wire::is_list`]). Any other message has a control character or a broken UTF-8
//!   sequence in its tags, lengths and numbers almost always. Should one that has none be cut by a value, its receiver
//!   can't read it: nothing leaks.
//! * It can be one, and is not all printable, or is such a list: it is a message. Its tags and lengths stay, all else
//!   that is found is masked; the outer text is scanned by runs of printable bytes, for a value does not go on over a
//!   length byte. A string in which somebody imitates a whole message, and in which a value lies over the imitated
//!   structure, keeps of that value the bytes which are tags and lengths.
//!
//! # Doubt
//! Text that is said to be protobuf can be read as fields for a while: `5` is the tag of a number of four bytes. So
//! nothing of a message leaves before it is known for one: by a control character in a tag, a length or a varint, which
//! text has none of and the first lengths of nearly any message do; or, where it ends or goes on for
//! [`DOUBT_BYTES_MAX`] without, by being a list of length-delimited fields. Of what is none all bytes are one text, its
//! structure too. Once it is known, what lies over tags and lengths between texts is not looked for.
//!
//! # Numbers
//! Of a message without a table each number is read as what it may spell in digits: a varint and four bytes as an
//! unsigned integer, eight as one and as a double. It becomes 0 where that is a value. One below [`NUMBER_MIN`] is not
//! looked at unless it has a key. With a table, only numbers that are values are read, not times and counts. Packed
//! numbers are not.
//!
//! # Order of fields
//! A value whose key comes after it, which no encoder writes, would be scanned without that key: it is held until
//! the pair ends ([`LOOK_AHEAD_BYTES`] at most) and a key behind it is a fault.
//!
//! # Faults
//! While in doubt, a fault is one of the whole body: where it is to be scanned as text, it is from its first byte on. Later
//! what was read before a fault stays read as it was, and a value that lies over that place is not found.
//!
//! # Rejected
//! Scanning the whole body as one text only (a length byte that is a letter hides the boundary before a value);
//! deciding once whether a field is a string or a message and scanning that reading (whoever writes the string
//! chooses the reading); labels in place of equal length (each length outside would have to wait for its message).
#![deny(clippy::indexing_slicing)]

mod board;
pub(super) mod schema;
#[cfg(test)]
mod tests;
mod wire;

use std::ops::Range;
use std::sync::Arc;

use super::Finding;
use super::carried::Target;
use super::json::Fail;
use crate::ruleset::Ruleset;
use board::{Board, FIXED, STRUCTURE, VARINT};
use schema::{Field, Schema, Table};
use wire::{Read, Wire};

/// Deepest nesting of messages and groups.
pub(super) const DEPTH_MAX: usize = 128;
/// Deepest nesting of fields that may be text and message, each of which is scanned.
pub(super) const TEXTS_MAX: usize = 32;
/// Most bytes of a field that are held to tell what it is.
pub(super) const LOOK_AHEAD_BYTES: u64 = 16 * 1024;
/// Most bytes of a message that are read in doubt whether it is one.
pub(super) const DOUBT_BYTES_MAX: u64 = 16 * 1024;
/// The least number without a key that is read as digits.
pub(super) const NUMBER_MIN: u64 = 100_000;
/// Bytes of a key that are remembered as context: of a longer one, the last.
const KEY_BYTES_MAX: usize = 128;

/// The walker of one message after another.
#[derive(Debug)]
pub(super) struct ProtobufWalker {
    board: Board,
    root: &'static Table,
    frames: Vec<Frame>,
    state: State,
    /// All before has been read.
    at: u64,
    /// How far bytes had to be in before what has been read could be.
    frontier: u64,
    /// It is not known yet whether this is a message, which began here: nothing of it leaves.
    doubt: Option<u64>,
    /// What was found in doubt.
    found: Vec<Finding>,
    /// A fault is none: the rest is text.
    is_lenient: bool,
    /// A value whose key has not come: it is held from here, for the frame with this index.
    keyless: Option<(u64, usize)>,
    /// Where a fault was told.
    fault_at: u64,
    unscanned: u64,
    /// Room for a context.
    context: Vec<u8>,
}

/// A message or group that is open.
#[derive(Debug)]
struct Frame {
    table: &'static Table,
    end: u64,
    /// A group with this number; it ends with its tag, and its end is that of what it is in.
    group: Option<u32>,
    /// It may be a text: the board has one for it. `false` for what is known to be a message.
    is_text: bool,
    /// It is a message by its bytes: the structure in it stays.
    is_kept: bool,
    /// Of the frame's own fields: what its field 1 says.
    key: Vec<u8>,
    /// The frame whose key its texts have.
    source: Option<usize>,
    /// It is a pair whose value has come.
    has_value: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// At a tag, or at the end of messages.
    Field,
    Skip {
        to: u64,
    },
    /// In the board's innermost text; `key`: of the innermost frame.
    Text {
        to: u64,
        key: bool,
    },
}

/// Why the body can't be read on, and where.
#[derive(Clone, Copy, Debug)]
struct Fault {
    limit: bool,
    what: &'static str,
    at: u64,
}

/// Whether there is more to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Go,
    Wait,
}

impl ProtobufWalker {
    /// `is_lenient`: what turns out to be text is scanned as that.
    pub(super) fn new(ruleset: &Arc<Ruleset>, schema: Schema, is_lenient: bool) -> ProtobufWalker {
        let mut walker = ProtobufWalker {
            board: Board::new(ruleset),
            root: schema.table(),
            frames: Vec::new(),
            state: State::Field,
            at: 0,
            frontier: 0,
            doubt: None,
            found: Vec::new(),
            is_lenient,
            keyless: None,
            fault_at: 0,
            unscanned: 0,
            context: Vec::new(),
        };
        walker.begin(0);
        walker
    }

    /// A message begins at `at`; the one before has ended.
    pub(super) fn begin(&mut self, at: u64) {
        self.board.begin(at);
        self.frames.clear();
        self.frames.push(Frame {
            table: self.root,
            end: u64::MAX,
            group: None,
            is_text: false,
            is_kept: true,
            key: Vec::new(),
            source: None,
            has_value: false,
        });
        self.state = State::Field;
        self.at = at;
        self.frontier = at;
        self.doubt = Some(at);
        self.found.clear();
        self.keyless = None;
    }

    pub(super) fn push(&mut self, chunk: &[u8], target: Target<'_>) -> Result<(), Fail> {
        let from = self.board.end();
        self.board.append(chunk);
        let mut found = std::mem::take(&mut self.found);
        let mut inner = Target { scratch: target.scratch, out: target.out, findings: &mut found };
        let mut done = self.walk(&mut inner);
        if done.is_err() && self.may_be_text() {
            self.rest_is_text(&mut inner);
            done = self.walk(&mut inner);
        }
        self.board.feed(self.at, &mut inner);
        self.board.release(self.settled(), inner.out);
        self.found = found;
        self.tell(target.findings);
        done.map_err(|fault| {
            self.fault_at = fault.at.max(self.frontier);
            let taken = usize::try_from(self.fault_at.saturating_sub(from)).unwrap_or(chunk.len());
            Fail { limit: fault.limit, what: fault.what, taken: taken.min(chunk.len()) }
        })
    }

    /// The message ends.
    pub(super) fn finish(&mut self, mut target: Target<'_>) -> Result<(), Fail> {
        if !self.is_whole() && self.may_be_text() {
            self.rest_is_text(&mut target);
            // Of text there is nothing to fail.
            let _ = self.walk(&mut target);
        }
        if !self.is_whole() {
            self.fault_at = self.board.end();
            return Err(Fail { limit: false, what: "the message ends too early", taken: 0 });
        }
        if let Some(from) = self.doubt.take() {
            let bytes = self.board.bytes(from..self.at);
            if wire::is_printable(bytes, false) && !wire::is_list(bytes, false) {
                self.board.open_around(from);
            }
            self.tell(target.findings);
        }
        while self.board.texts() > 0 {
            self.board.close(self.at, &mut target);
        }
        self.board.release(self.at, target.out);
        Ok(())
    }

    fn is_whole(&self) -> bool {
        let is_text = matches!(self.state, State::Text { to: u64::MAX, .. });
        let is_message = self.state == State::Field && self.frames.len() == 1;
        (is_text || is_message) && self.at == self.board.end()
    }

    /// Whether all of it is one text anyway, and may be nothing else.
    fn may_be_text(&self) -> bool {
        self.is_lenient && self.frames.first().is_some_and(|f| f.is_text)
    }

    /// Tells what has been found, unless in doubt.
    fn tell(&mut self, findings: &mut Vec<Finding>) {
        if self.doubt.is_none() {
            findings.append(&mut self.found);
        }
    }

    /// After a fault: ends the texts it was in, and gives the bytes that were taken and not told.
    pub(super) fn break_off(&mut self, mut target: Target<'_>) -> Vec<u8> {
        if let Some(from) = self.doubt {
            return self.board.bytes(from..self.fault_at).to_vec();
        }
        while self.board.texts() > 0 {
            self.board.close(self.at, &mut target);
        }
        let to = self.settled();
        self.board.release(to, target.out);
        self.board.bytes(to..self.fault_at).to_vec()
    }

    pub(super) fn held(&self) -> usize {
        self.board.held()
    }

    /// Whether anything of the message has been masked.
    pub(super) fn has_masked(&self) -> bool {
        self.board.has_masked()
    }

    /// Bytes that passed unscanned since this was last asked: identifiers and packed numbers.
    pub(super) fn take_unscanned(&mut self) -> u64 {
        std::mem::take(&mut self.unscanned)
    }

    /// Up to where bytes may leave as far as texts let them.
    fn settled(&self) -> u64 {
        let keyed = self.keyless.map_or(self.at, |(from, _)| from.min(self.at));
        self.doubt.unwrap_or(keyed).min(keyed)
    }

    /// Whether the header of a field, that which lies at `range`, says that this is a message.
    fn judge(&mut self, range: Range<u64>) {
        let Some(from) = self.doubt else { return };
        let is_kept = self.frames.last().is_some_and(|f| f.is_kept);
        let is_early = range.start - from <= DOUBT_BYTES_MAX;
        if is_kept && is_early && self.board.bytes(range).iter().any(|b| !wire::is_text_byte(*b)) {
            self.doubt = None;
        }
    }

    /// Nothing has told for long whether this is a message.
    fn decide(&mut self, from: u64) {
        self.doubt = None;
        if !wire::is_list(self.board.bytes(from..from + DOUBT_BYTES_MAX), true) {
            self.board.open_around(from);
            if let Some(root) = self.frames.first_mut() {
                root.is_text = true;
            }
        }
    }

    /// What is one text anyway is no message from here on.
    fn rest_is_text(&mut self, target: &mut Target<'_>) {
        while self.board.texts() > 1 {
            self.board.close(self.at, target);
        }
        self.frames.truncate(1);
        self.keyless = None;
        self.state = State::Text { to: u64::MAX, key: false };
    }

    fn walk(&mut self, target: &mut Target<'_>) -> Result<(), Fault> {
        loop {
            if let Some(from) = self.doubt.filter(|from| self.at - from > DOUBT_BYTES_MAX) {
                self.decide(from);
            }
            let in_by_now = self.board.end();
            let held = self.keyless.map_or(0, |(from, _)| self.at - from);
            if held > LOOK_AHEAD_BYTES {
                return Err(Fault { limit: true, what: "a value without a key", at: self.at });
            }
            // Never past what the limit lets be held.
            let most = self.at + LOOK_AHEAD_BYTES + 1 - held;
            let reach = if self.keyless.is_some() { in_by_now.min(most) } else { in_by_now };
            match self.state {
                State::Field => {
                    self.end_frames(target);
                    if self.state == State::Field && self.field(target)? == Progress::Wait {
                        return Ok(());
                    }
                }
                State::Skip { to } => {
                    self.at = to.min(reach);
                    if self.at < to && self.at == in_by_now {
                        return Ok(());
                    }
                    if self.at == to {
                        self.state = State::Field;
                    }
                }
                State::Text { to, key } => {
                    let from = self.at;
                    self.at = to.min(reach);
                    if let (true, Some(frame)) = (key, self.frames.last_mut()) {
                        frame.key.extend_from_slice(self.board.bytes(from..self.at));
                        let over = frame.key.len().saturating_sub(KEY_BYTES_MAX);
                        frame.key.drain(..over);
                    }
                    if self.at < to && self.at == in_by_now {
                        return Ok(());
                    }
                    if self.at == to {
                        self.board.close(to, target);
                        self.state = State::Field;
                    }
                }
            }
        }
    }

    /// Ends the messages that end here.
    fn end_frames(&mut self, target: &mut Target<'_>) {
        while self.frames.len() > 1 && self.frames.last().is_some_and(|f| f.end == self.at) {
            if self.frames.last().is_some_and(|f| f.group.is_some()) {
                // Its end tag is missing: what it is in is no message.
                return;
            }
            if self.frames.pop().is_some_and(|f| f.is_text) {
                self.board.close(self.at, target);
            }
            self.end_pair();
        }
    }

    /// Where the frame that a keyless value waits for has ended, the value has no key.
    fn end_pair(&mut self) {
        if self.keyless.is_some_and(|(_, frame)| frame >= self.frames.len()) {
            self.keyless = None;
        }
    }

    /// Reads one field up to its value.
    fn field(&mut self, target: &mut Target<'_>) -> Result<Progress, Fault> {
        let Some(end) = self.frames.last().map(|f| f.end) else { return Ok(Progress::Wait) };
        let to = self.board.end().min(end);
        let whole = to == end;
        let bytes = self.board.bytes(self.at..to);
        if bytes.is_empty() && !whole {
            return Ok(Progress::Wait);
        }
        let ((number, wire), head) = match wire::tag(bytes) {
            Read::Done(tag, len) => (tag, len),
            Read::Cut if whole => {
                return self.malformed("a field that goes on after its message", to, target);
            }
            Read::Cut => return Ok(Progress::Wait),
            Read::Bad(index) => return self.malformed("an unknown tag", self.at + index as u64, target),
        };
        let value = bytes.get(head..).unwrap_or_default();
        let (inner, len) = match wire {
            Wire::Varint | Wire::Len => match wire::varint(value) {
                Read::Done(inner, len) => (inner, len),
                Read::Cut if whole => {
                    return self.malformed("a field that goes on after its message", to, target);
                }
                Read::Cut => return Ok(Progress::Wait),
                Read::Bad(index) => {
                    let at = self.at + (head + index) as u64;
                    return self.malformed("a number of more than 64 bits", at, target);
                }
            },
            Wire::I64 => (0, 8),
            Wire::I32 => (0, 4),
            Wire::StartGroup | Wire::EndGroup => (0, 0),
        };
        let (from, body) = (self.at + head as u64, self.at + (head + len) as u64);
        let last = body.max(self.at + 1) - 1;
        if body > end {
            return self.malformed("a field that goes on after its message", from - 1, target);
        }
        let header = if matches!(wire, Wire::Varint | Wire::Len) { body } else { from };
        if !matches!(wire, Wire::StartGroup | Wire::EndGroup) {
            self.judge(self.at..header);
        }
        let field = self.frames.last().and_then(|f| f.table.field(number));
        match wire {
            Wire::Len if inner > wire::FIELD_BYTES_MAX || inner > end - body => {
                self.malformed("a field that goes on after its message", last, target)
            }
            Wire::Len => self.delimited(number, field, body, body + inner),
            Wire::Varint | Wire::I64 | Wire::I32 => {
                if matches!(field, Some(Field::Integer | Field::Double) | None) && body > self.board.end() {
                    return Ok(Progress::Wait);
                }
                let kind = if wire == Wire::Varint { VARINT } else { 0 };
                self.keep(self.at..from, STRUCTURE);
                self.keep(from..body, kind);
                self.number(number, field, from..body, wire, inner, target);
                self.state = State::Skip { to: body };
                Ok(Progress::Go)
            }
            Wire::StartGroup => self.group(number, from, target),
            Wire::EndGroup => {
                if self.frames.last().and_then(|f| f.group) != Some(number) {
                    return self.malformed("a group that ends and has not begun", last, target);
                }
                self.keep(self.at..from, STRUCTURE);
                self.frames.pop();
                self.end_pair();
                self.at = from;
                Ok(Progress::Go)
            }
        }
    }

    /// Marks structure of the innermost frame, where that stays.
    fn keep(&mut self, range: Range<u64>, kind: u8) {
        if self.frames.last().is_some_and(|f| f.is_kept) && self.board.texts() > 0 {
            self.board.mark(range, kind);
        }
    }

    /// The frame whose key the values of a field have.
    fn source(&self, number: u32) -> Option<usize> {
        let index = self.frames.len().checked_sub(1)?;
        let frame = self.frames.get(index)?;
        if number == 2 && !frame.key.is_empty() { Some(index) } else { frame.source }
    }

    /// Builds the context of a value: its key, as JSON writes it.
    fn prime(&mut self, source: Option<usize>, colon: &[u8]) {
        self.context.clear();
        if let Some(frame) = source.and_then(|s| self.frames.get(s)) {
            self.context.push(b'"');
            self.context.extend_from_slice(&frame.key);
            self.context.extend_from_slice(colon);
        }
    }

    /// A number: masks it where what it spells is a value.
    fn number(
        &mut self,
        number: u32,
        field: Option<Field>,
        range: Range<u64>,
        wire: Wire,
        inner: u64,
        target: &mut Target<'_>,
    ) {
        let source = match field {
            Some(_) => self.frames.last().and_then(|f| f.source),
            // Of a text nothing is a number.
            None if self.frames.last().is_none_or(|f| !f.is_kept) => return,
            None => self.source(number),
        };
        let bytes = self.board.bytes(range.clone());
        let integer = bytes.iter().rev().fold(0u64, |n, b| n << 8 | u64::from(*b));
        let double = f64::from_bits(integer);
        let spells = |n: u64| (source.is_some() || n >= NUMBER_MIN).then(|| n.to_string());
        let signed = |n: u64| {
            let n = n.cast_signed();
            (source.is_some() || n.unsigned_abs() >= NUMBER_MIN).then(|| n.to_string())
        };
        // Only one that has a key is a value with a fraction.
        let real = (source.is_some() || (double.abs() >= NUMBER_MIN as f64 && double.abs() < 1e20))
            .then_some(double)
            .filter(|n| n.is_finite() && (source.is_some() || n.fract() == 0.0))
            .map(|n| n.to_string());
        let (readings, kind) = match (field, wire) {
            (Some(Field::Integer), Wire::Varint) => ([signed(inner), None], VARINT),
            (Some(Field::Integer), Wire::I64) => ([signed(integer), None], FIXED),
            (Some(Field::Double), Wire::I64) => ([real, None], FIXED),
            (None, Wire::Varint) => ([spells(inner), None], VARINT),
            (None, Wire::I64) => ([spells(integer), real], FIXED),
            (None, Wire::I32) => ([spells(integer), None], FIXED),
            _ => return,
        };
        if readings.iter().any(Option::is_some) {
            self.prime(source, b"\":");
        }
        for spelling in readings.iter().flatten() {
            if self.board.number(range.clone(), kind, spelling, &self.context, target) {
                return;
            }
        }
    }

    /// A group begins whose tag ends before `from`. No table has one: its fields are read as unknown.
    fn group(&mut self, number: u32, from: u64, target: &mut Target<'_>) -> Result<Progress, Fault> {
        if self.frames.len() >= DEPTH_MAX {
            return self.malformed_over("the depth of messages", from - 1, target);
        }
        self.keep(self.at..from, STRUCTURE);
        let source = self.source(number);
        let Some(outer) = self.frames.last() else { return Ok(Progress::Wait) };
        let frame = Frame {
            table: Schema::Unknown.table(),
            end: outer.end,
            group: Some(number),
            is_text: false,
            is_kept: outer.is_kept,
            key: Vec::new(),
            source,
            has_value: false,
        };
        self.frames.push(frame);
        self.at = from;
        Ok(Progress::Go)
    }

    /// A length-delimited field with its value from `from` to `to`.
    fn delimited(
        &mut self,
        number: u32,
        field: Option<Field>,
        from: u64,
        to: u64,
    ) -> Result<Progress, Fault> {
        let len = to - from;
        let known = match field {
            Some(Field::Id(n)) if n == len => Some(Field::Numbers),
            Some(Field::Id(_) | Field::Integer | Field::Double | Field::Other) | None => None,
            Some(known) => Some(known),
        };
        match known {
            Some(Field::Message(table)) => {
                self.enter_pair(number, from)?;
                self.push_frame(number, Some(table), from, to, false)
            }
            Some(Field::Numbers) => {
                self.keep(self.at..from, STRUCTURE);
                self.unscanned += len;
                self.at = from;
                self.state = State::Skip { to };
                Ok(Progress::Go)
            }
            Some(Field::Key) => {
                self.key_begins(from)?;
                self.text(None, from, to, true)
            }
            Some(_) => self.text(self.source(number), from, to, false),
            None => self.unknown(number, from, to),
        }
    }

    /// A key comes whose value has come already, or a second one.
    fn key_begins(&mut self, from: u64) -> Result<(), Fault> {
        let Some(frame) = self.frames.last() else { return Ok(()) };
        if frame.table.is_pair() && frame.has_value {
            return Err(Fault { limit: false, what: "a key after its value", at: from - 1 });
        }
        if let Some(frame) = self.frames.last_mut() {
            frame.key.clear();
        }
        Ok(())
    }

    /// The value of a pair begins.
    fn enter_pair(&mut self, number: u32, from: u64) -> Result<(), Fault> {
        let index = self.frames.len().saturating_sub(1);
        let Some(frame) = self.frames.last_mut() else { return Ok(()) };
        if number == 2 && frame.table.is_pair() {
            frame.has_value = true;
            if frame.key.is_empty() && self.keyless.is_none() {
                self.keyless = Some((from, index));
            }
        }
        Ok(())
    }

    fn text(&mut self, source: Option<usize>, from: u64, to: u64, key: bool) -> Result<Progress, Fault> {
        self.keep(self.at..from, STRUCTURE);
        self.at = from;
        if from < to {
            self.prime(source, b"\":\"");
            self.board.open(from, false, &self.context);
            self.state = State::Text { to, key };
        }
        Ok(Progress::Go)
    }

    fn push_frame(
        &mut self,
        number: u32,
        table: Option<&'static Table>,
        from: u64,
        to: u64,
        is_text: bool,
    ) -> Result<Progress, Fault> {
        if self.frames.len() >= DEPTH_MAX {
            return Err(Fault { limit: true, what: "the depth of messages", at: from - 1 });
        }
        self.keep(self.at..from, STRUCTURE);
        let source = self.source(number);
        self.frames.push(Frame {
            table: table.unwrap_or(Schema::Unknown.table()),
            end: to,
            group: None,
            is_text: table.is_none(),
            is_kept: !is_text,
            key: Vec::new(),
            source,
            has_value: false,
        });
        self.at = from;
        Ok(Progress::Go)
    }

    /// A field of which nothing is known.
    fn unknown(&mut self, number: u32, from: u64, to: u64) -> Result<Progress, Fault> {
        let known = to.min(from + LOOK_AHEAD_BYTES);
        if self.board.end() < known {
            return Ok(Progress::Wait);
        }
        self.frontier = self.frontier.max(known);
        let bytes = self.board.bytes(from..known);
        let printable = wire::is_printable(bytes, known < to);
        let is_text = printable && !(known == to && wire::is_list(bytes, false));
        let is_message = to - from >= 2 && wire::may_be_message(bytes, to - from);
        let short = bytes.len() <= KEY_BYTES_MAX && known == to;
        let key = (number == 1 && printable && short && self.frames.last().is_some_and(|f| f.key.is_empty()))
            .then(|| bytes.to_vec());
        let source = self.source(number);
        if let (Some(key), Some(frame)) = (key, self.frames.last_mut()) {
            frame.key = key;
        }
        if !is_message {
            return self.text(source, from, to, false);
        }
        let around = usize::from(self.frames.first().is_some_and(|f| f.is_text));
        if self.board.texts() - around >= TEXTS_MAX {
            return Err(Fault { limit: true, what: "the depth of unknown messages", at: from - 1 });
        }
        self.push_frame(number, None, from, to, is_text)?;
        self.prime(source, b"\":\"");
        self.board.open(from, !is_text, &self.context);
        Ok(Progress::Go)
    }

    /// The bytes are not a message at `at`: if they may be a text, they are one, else it is a fault.
    fn malformed(&mut self, what: &'static str, at: u64, target: &mut Target<'_>) -> Result<Progress, Fault> {
        let level = self.frames.iter().rposition(|f| f.group.is_none()).unwrap_or(0);
        match self.frames.get(level) {
            Some(frame) if frame.is_text && level > 0 => {
                let to = frame.end;
                self.frames.truncate(level);
                self.end_pair();
                self.board.insist(self.at, target);
                self.state = State::Text { to, key: false };
                Ok(Progress::Go)
            }
            _ => Err(Fault { limit: false, what, at }),
        }
    }

    /// As [`ProtobufWalker::malformed`], for a limit.
    fn malformed_over(
        &mut self,
        what: &'static str,
        at: u64,
        target: &mut Target<'_>,
    ) -> Result<Progress, Fault> {
        let done = self.malformed(what, at, target);
        done.map_err(|fault| Fault { limit: true, ..fault })
    }
}
