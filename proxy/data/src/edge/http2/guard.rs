//! Counts the frames that cost work and bring nothing, without I/O: what one peer may send of them over what it is sent.
//! It also holds the peer to its first frame, and trailers to fields of their own (RFC 9113, section 8.1), which the codec
//! does not: it leaves out what pseudo-fields they have. Those that stand in the table of HPACK's connection are left to it.
//!
//! The codec behind it bounds what a peer can make us *hold* (streams, header lists, small DATA frames, resets). It
//! answers each PING and each SETTINGS, and takes each PRIORITY, WINDOW_UPDATE and unknown frame, for as long as they
//! come: those are held to two budgets here, which fill again with time and with the frames that carry messages.

use std::collections::BTreeSet;
use std::time::Instant;

use h2::Reason;

/// Control frames at once: PING, SETTINGS, PRIORITY, WINDOW_UPDATE and unknown ones.
const CONTROL_MAX: u32 = 1_000;
/// Control frames a second that never count as a flood.
const CONTROL_PER_SECOND: u32 = 100;
/// Control frames for each frame of a message, either way: a receiver tells its windows, and may ask for the time.
const CONTROL_PER_MESSAGE_FRAME: u32 = 4;
/// Streams that the peer resets before they are answered (CVE-2023-44487), at once.
const RESETS_MAX: u32 = 200;
/// The same, a second.
const RESETS_PER_SECOND: u32 = 20;

/// Length of the client's preface (RFC 9113, section 3.4).
const PREFACE_LEN: usize = super::PREFACE.len();
/// Length of a frame's header (RFC 9113, section 4.1).
const HEADER_LEN: usize = 9;

/// Streams whose trailers are looked at; what more there are, the codec alone looks at.
const OPEN_MAX: usize = 1_024;
/// Bytes at the start of trailers that are looked at: padding's length, a priority, the size of a table, a literal.
const LOOK_MAX: usize = 1 + 5 + 1 + 3;

const END_STREAM: u8 = 1;
const PADDED: u8 = 8;
const WITH_PRIORITY: u8 = 32;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

/// The budgets of one connection.
#[derive(Debug)]
pub(crate) struct Guard {
    header: [u8; HEADER_LEN],
    /// Bytes of `header` that are in.
    header_len: usize,
    /// Bytes to pass over before the next header.
    skip: usize,
    control: Budget,
    resets: Budget,
    is_first: bool,
    is_server: bool,
    /// Streams of the client that it has not ended.
    open: BTreeSet<u32>,
    /// The start of trailers.
    look: Look,
    fault: Option<Reason>,
}

/// The first bytes of a frame of trailers.
#[derive(Debug, Default)]
struct Look {
    bytes: Vec<u8>,
    /// How many are wanted.
    wanted: usize,
    /// Where the fields begin.
    from: usize,
}

impl Look {
    /// Takes a byte; true once the fields turn out to begin with a pseudo-field.
    fn push(&mut self, byte: u8) -> bool {
        self.bytes.push(byte);
        self.bytes.len() == self.wanted && begins_with_pseudo(self.bytes.get(self.from..).unwrap_or_default())
    }
}

/// Whether a block of fields begins so (RFC 7541, sections 5.1, 6 and appendix A). Those fields stand before all others.
fn begins_with_pseudo(block: &[u8]) -> bool {
    let is_pseudo = |index: u8| (1..=14).contains(&index);
    let Some((&first, rest)) = block.split_first() else { return false };
    let index = match first {
        0x80.. => return is_pseudo(first & 0x7F),
        0x40..=0x7F => first & 0x3F,
        // The size of the table, before the fields.
        0x20..=0x3E => return begins_with_pseudo(rest),
        0x3F => return false,
        0..=0x1F => first & 0x0F,
    };
    match (index, rest) {
        // Its first letter, coded or not.
        (0, [length, letter, ..]) if length & 0x80 == 0 => *letter == b':',
        (0, [_, letter, ..]) => letter >> 1 == 0x5C,
        (0, _) => false,
        (index, _) => is_pseudo(index),
    }
}

#[derive(Debug)]
struct Budget {
    left: u32,
    max: u32,
    per_second: u32,
    since: Option<Instant>,
}

impl Budget {
    fn new(max: u32, per_second: u32) -> Budget {
        Budget { left: max, max, per_second, since: None }
    }

    fn earn(&mut self, count: u32) {
        self.left = self.left.saturating_add(count).min(self.max);
    }

    fn refill(&mut self, now: Instant) {
        let since = *self.since.get_or_insert(now);
        let ms = now.saturating_duration_since(since).as_millis() as u64;
        let earned = ms.saturating_mul(u64::from(self.per_second)) / 1_000;
        if earned > 0 {
            self.earn(u32::try_from(earned).unwrap_or(u32::MAX));
            self.since = Some(now);
        }
    }

    /// False when nothing is left.
    fn spend(&mut self) -> bool {
        let is_left = self.left > 0;
        self.left = self.left.saturating_sub(1);
        is_left
    }
}

impl Guard {
    /// `is_server`: the peer's first bytes are the preface.
    pub(crate) fn new(is_server: bool) -> Guard {
        Guard {
            header: [0; HEADER_LEN],
            header_len: 0,
            skip: if is_server { PREFACE_LEN } else { 0 },
            control: Budget::new(CONTROL_MAX, CONTROL_PER_SECOND),
            resets: Budget::new(RESETS_MAX, RESETS_PER_SECOND),
            is_first: true,
            is_server,
            open: BTreeSet::new(),
            look: Look::default(),
            fault: None,
        }
    }

    /// Why the connection must end, once the peer has sent what it may not.
    pub(crate) fn fault(&self) -> Option<Reason> {
        self.fault
    }

    /// A frame of a message was sent to the peer.
    pub(crate) fn sent(&mut self) {
        self.control.earn(CONTROL_PER_MESSAGE_FRAME);
    }

    /// A stream was answered, or asked for: the peer may reset one.
    pub(crate) fn answered(&mut self) {
        self.resets.earn(1);
    }

    /// Sees the next bytes from the peer.
    pub(crate) fn received(&mut self, mut bytes: &[u8], now: Instant) {
        self.control.refill(now);
        self.resets.refill(now);
        while !bytes.is_empty() && self.fault.is_none() {
            if self.look.bytes.len() < self.look.wanted {
                let Some((&byte, rest)) = bytes.split_first() else { return };
                bytes = rest;
                self.skip -= 1;
                if self.look.push(byte) {
                    self.fault = Some(Reason::PROTOCOL_ERROR);
                }
                continue;
            }
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            let Some((&byte, rest)) = bytes.split_first() else { return };
            if let Some(place) = self.header.get_mut(self.header_len) {
                *place = byte;
            }
            self.header_len += 1;
            bytes = rest;
            if self.header_len == HEADER_LEN {
                self.header_len = 0;
                let [a, b, c, kind, flags, id @ ..] = self.header;
                self.skip = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                self.frame(kind);
                if self.is_server {
                    self.stream(kind, flags, u32::from_be_bytes(id) & 0x7FFF_FFFF);
                }
            }
        }
    }

    /// Follows which streams the client has not ended, and has their trailers looked at.
    fn stream(&mut self, kind: u8, flags: u8, id: u32) {
        if kind == HEADERS && self.open.contains(&id) {
            let padding = usize::from(flags & PADDED != 0);
            let priority = if flags & WITH_PRIORITY == 0 { 0 } else { 5 };
            let wanted = self.skip.min(LOOK_MAX);
            self.look = Look { bytes: Vec::with_capacity(wanted), wanted, from: padding + priority };
        }
        match kind {
            DATA | HEADERS if flags & END_STREAM != 0 => drop(self.open.remove(&id)),
            RST_STREAM => drop(self.open.remove(&id)),
            HEADERS if self.open.len() < OPEN_MAX => drop(self.open.insert(id)),
            _ => {}
        }
    }

    fn frame(&mut self, kind: u8) {
        // RFC 9113, section 3.4.
        if std::mem::take(&mut self.is_first) && kind != SETTINGS {
            self.fault = Some(Reason::PROTOCOL_ERROR);
            return;
        }
        let within = match kind {
            DATA if self.skip > 0 => {
                self.control.earn(CONTROL_PER_MESSAGE_FRAME);
                true
            }
            HEADERS => {
                self.control.earn(CONTROL_PER_MESSAGE_FRAME);
                true
            }
            RST_STREAM => self.resets.spend(),
            // Those that the codec bounds or ends the connection for.
            PUSH_PROMISE | GOAWAY | CONTINUATION => true,
            _ => self.control.spend(),
        };
        if !within {
            self.fault = Some(Reason::ENHANCE_YOUR_CALM);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn frame(kind: u8, len: usize) -> Vec<u8> {
        let mut out = vec![0, (len >> 8) as u8, len as u8, kind, 0, 0, 0, 0, 1];
        out.resize(HEADER_LEN + len, 0xAA);
        out
    }

    fn flooded(frames: &[u8], cut: usize) -> bool {
        let mut guard = Guard::new(true);
        let now = Instant::now();
        // Their own budget has the first frame too.
        guard.control.max += 1;
        guard.control.left += 1;
        let all = [super::super::PREFACE, &frame(SETTINGS, 0), frames].concat();
        all.chunks(cut).for_each(|piece| guard.received(piece, now));
        assert_ne!(guard.fault(), Some(Reason::PROTOCOL_ERROR));
        guard.fault().is_some()
    }

    #[test]
    fn budgets_hold_to_the_frame_however_bytes_are_cut() {
        let (control, resets) = (CONTROL_MAX as usize, RESETS_MAX as usize);
        for cut in [1, 2, 7, 8, 9, 10, 17, 1000, usize::MAX] {
            for (kind, len, most) in
                [(6, 8, control), (4, 0, control), (2, 5, control), (8, 4, control), (99, 300, control)]
            {
                assert!(!flooded(&frame(kind, len).repeat(most), cut), "{kind} {cut}");
                assert!(flooded(&frame(kind, len).repeat(most + 1), cut), "{kind} {cut}");
            }
            assert!(!flooded(&frame(RST_STREAM, 4).repeat(resets), cut), "{cut}");
            assert!(flooded(&frame(RST_STREAM, 4).repeat(resets + 1), cut), "{cut}");
        }
    }

    #[test]
    fn messages_pay_for_control_frames() {
        let window = frame(8, 4);
        let events = [frame(DATA, 50), window.clone(), window.clone()].concat().repeat(5_000);
        assert!(!flooded(&events, 4096));
        let empty = [frame(DATA, 0), window].concat().repeat(5_000);
        assert!(flooded(&empty, 4096));
    }

    #[test]
    fn time_pays_for_control_frames() {
        let mut guard = Guard::new(false);
        let start = Instant::now();
        let ping = frame(6, 8);
        guard.received(&frame(SETTINGS, 0), start);
        for n in 0..20_000u64 {
            // 50 a second.
            guard.received(&ping, start + Duration::from_millis(n * 20));
        }
        assert_eq!(guard.fault(), None);
        for _ in 0..=CONTROL_MAX {
            guard.received(&ping, start + Duration::from_secs(400));
        }
        assert_eq!(guard.fault(), Some(Reason::ENHANCE_YOUR_CALM));
    }

    #[test]
    fn trailers_with_pseudo_fields_are_a_fault_however_bytes_are_cut() {
        let headers = |flags: u8, id: u8, payload: &[u8]| {
            [&[0, 0, payload.len() as u8, HEADERS, flags, 0, 0, 0, id], payload].concat()
        };
        let literal = |first: u8, name: &[u8]| [&[first, name.len() as u8], name, &[1, b'x']].concat();
        for (what, flags, trailers, is_fault) in [
            ("of the static table", 5, vec![0x83], true),
            ("the last of them", 5, vec![0x8E], true),
            ("the first field behind them", 5, vec![0x8F], false),
            ("a name of the table", 5, vec![0x44, 1, b'/'], true),
            ("never indexed", 5, vec![0x14, 1, b'/'], true),
            ("a literal", 5, literal(0, b":path"), true),
            ("a literal for the table", 5, literal(0x40, b":x"), true),
            ("Huffman's", 5, vec![0, 0x84, 0xB9, 0x58, 0xD3, 0x3F, 0], true),
            ("behind a size", 5, vec![0x20, 0x83], true),
            ("padded, with a priority", 45, vec![0, 0, 0, 0, 0, 16, 0x83], true),
            ("a field", 5, literal(0, b"grpc-status"), false),
            ("Huffman's field", 5, vec![0, 0x84, 0x2C, 0x58, 0xD3, 0x3F, 0], false),
            ("nothing", 5, vec![], false),
        ] {
            for cut in [1, 3, 9, usize::MAX] {
                let mut guard = Guard::new(true);
                let now = Instant::now();
                let begin = [super::super::PREFACE, &frame(SETTINGS, 0)].concat();
                let open = headers(4, 1, &[0x83, 0x86, 0x84]);
                let whole = headers(5, 3, &[0x82, 0x86, 0x84]);
                let ping = frame(6, 8);
                for message in [&begin, &open, &whole, &headers(flags, 1, &trailers), &ping] {
                    message.chunks(cut).for_each(|piece| guard.received(piece, now));
                }
                let wanted = is_fault.then_some(Reason::PROTOCOL_ERROR);
                assert_eq!(guard.fault(), wanted, "{what}, cut at {cut}");
                assert!(is_fault || guard.header_len == 0 && guard.skip == 0, "{what}, cut at {cut}");
            }
        }
    }

    #[test]
    fn streams_that_are_followed_are_so_many_at_most() {
        let mut guard = Guard::new(true);
        let begin = [super::super::PREFACE, &frame(SETTINGS, 0)].concat();
        guard.received(&begin, Instant::now());
        for id in 0..OPEN_MAX as u32 + 10 {
            let id = (2 * id + 1).to_be_bytes();
            guard.received(&[&[0, 0, 0, HEADERS, 4], &id[..]].concat(), Instant::now());
        }
        assert_eq!((guard.open.len(), guard.fault()), (OPEN_MAX, None));
    }

    #[test]
    fn the_first_frame_is_settings() {
        for kind in (0..=9).filter(|kind| *kind != SETTINGS) {
            let mut guard = Guard::new(false);
            guard.received(&frame(kind, 0), Instant::now());
            assert_eq!(guard.fault(), Some(Reason::PROTOCOL_ERROR), "{kind}");
        }
    }
}
