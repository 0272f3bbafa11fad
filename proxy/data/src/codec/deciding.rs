//! The fields that decide how a message is read, found in one pass over a head.

use super::fields::{is_in, is_token_byte, members, trim};
use super::head::Upgrade;

/// Fields that `Connection` must not name: they are for everybody who reads the message, and one who drops them reads
/// it differently (RFC 9110, section 7.6.1).
const NOT_OPTIONS: &[&str] = &[
    "content-length",
    "transfer-encoding",
    "content-type",
    "content-encoding",
    "content-range",
    "host",
    "authorization",
    "cookie",
    "set-cookie",
    "expect",
    "cache-control",
    "date",
];

/// Names that become those of framing where `_` is read as `-` (RFC 3875, section 4.1.18).
const LIKE_FRAMING: &[&str] = &["content-length", "transfer-encoding"];

/// A field that may come once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Single<'a> {
    /// It does not come.
    #[default]
    None,
    /// Its value, without the spaces about it.
    One(&'a [u8]),
    /// It comes more than once.
    More,
}

impl<'a> Single<'a> {
    fn add(&mut self, value: &'a [u8]) {
        *self = if *self == Single::None { Single::One(trim(value)) } else { Single::More };
    }
}

/// What those fields say.
pub(super) struct Deciding<'a> {
    pub(super) host: Single<'a>,
    length: Single<'a>,
    coding: Single<'a>,
    expect: Single<'a>,
    headers: &'a [httparse::Header<'a>],
    has_connection: bool,
    has_upgrade: bool,
}

/// What `Connection` says.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Options {
    close: bool,
    keep_alive: bool,
    upgrade: bool,
}

impl Options {
    /// RFC 9112, section 9.3.
    pub(super) fn keeps_alive(&self, is_1_1: bool) -> bool {
        !self.close && (is_1_1 || self.keep_alive)
    }
}

impl<'a> Deciding<'a> {
    /// Of a head and its fields.
    ///
    /// # Errors
    /// A field whose name or lines could be read in two ways.
    pub(super) fn of(head: &[u8], headers: &'a [httparse::Header<'a>]) -> Result<Deciding<'a>, &'static str> {
        let mut found = Deciding {
            host: Single::None,
            length: Single::None,
            coding: Single::None,
            expect: Single::None,
            headers,
            has_connection: false,
            has_upgrade: false,
        };
        for header in headers {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            match header.name.len() {
                4 if is("host") => found.host.add(header.value),
                6 if is("expect") => found.expect.add(header.value),
                7 if is("upgrade") => found.has_upgrade = true,
                10 if is("connection") => found.has_connection = true,
                14 if is("content-length") => found.length.add(header.value),
                17 if is("transfer-encoding") => found.coding.add(header.value),
                14 | 17 if is_in(header.name, LIKE_FRAMING) => {
                    return Err("a field whose name is one of framing but for `_`");
                }
                _ => {}
            }
        }
        // RFC 9112, section 5.2. `httparse` refuses folded lines; that it does must not depend on how it is set.
        debug_assert!(!head.windows(3).any(|w| matches!(w, [b'\r', b'\n', b' ' | b'\t'])));
        Ok(found)
    }

    fn values(&self, name: &'static str) -> impl Iterator<Item = &'a [u8]> {
        self.headers.iter().filter(move |h| h.name.eq_ignore_ascii_case(name)).map(|h| h.value)
    }

    /// RFC 9110, section 7.6.1.
    ///
    /// # Errors
    /// It names what is not for one connection, or is no list of tokens.
    pub(super) fn options(&self) -> Result<Options, &'static str> {
        let mut options = Options::default();
        if !self.has_connection {
            return Ok(options);
        }
        for option in self.values("connection").flat_map(members) {
            let is = |name: &str| option.eq_ignore_ascii_case(name.as_bytes());
            if is("keep-alive") {
                options.keep_alive = true;
            } else if is("close") {
                options.close = true;
            } else if is("upgrade") {
                options.upgrade = true;
            } else {
                let name = std::str::from_utf8(option).ok().filter(|name| name.bytes().all(is_token_byte));
                match name {
                    Some(name) if is_in(name, NOT_OPTIONS) => {
                        return Err("Connection names a field that is not the connection's");
                    }
                    Some(_) => {}
                    None => return Err("Connection is not a list of names"),
                }
            }
        }
        Ok(options)
    }

    /// The first protocol of `Upgrade` that is known, where `Connection` names it too (RFC 9110, section 7.8).
    pub(super) fn upgrade(&self, options: &Options) -> Option<Upgrade> {
        let mut protocols = self.values("upgrade").flat_map(members);
        let asks = self.has_upgrade && options.upgrade;
        (asks && protocols.any(|p| p.eq_ignore_ascii_case(b"websocket"))).then_some(Upgrade::WebSocket)
    }

    /// RFC 9110, section 8.6: one value, of digits only. A repeated one is refused even where all are the same.
    ///
    /// # Errors
    /// The rule it breaks.
    pub(super) fn content_length(&self) -> Result<Option<u64>, &'static str> {
        let value = match self.length {
            Single::None => return Ok(None),
            Single::One(value) => value,
            Single::More => return Err("more than one Content-Length"),
        };
        let number = value.iter().try_fold(0u64, |number, byte| {
            let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
            number.checked_mul(10)?.checked_add(digit)
        });
        number.filter(|_| !value.is_empty()).map(Some).ok_or("the Content-Length is not a number")
    }

    /// `Transfer-Encoding` comes.
    pub(super) fn has_coding(&self) -> bool {
        self.coding != Single::None
    }

    /// It is `chunked` and nothing else (RFC 9112, section 6.1).
    pub(super) fn is_chunked(&self) -> bool {
        matches!(self.coding, Single::One(value) if value.eq_ignore_ascii_case(b"chunked"))
    }

    /// The client waits for `100 Continue`.
    ///
    /// # Errors
    /// Another expectation.
    pub(super) fn expect(&self) -> Result<bool, &'static str> {
        match self.expect {
            Single::None => Ok(false),
            Single::One(value) if value.eq_ignore_ascii_case(b"100-continue") => Ok(true),
            Single::One(_) | Single::More => Err("an expectation other than 100-continue"),
        }
    }
}
