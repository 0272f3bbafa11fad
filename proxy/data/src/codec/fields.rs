//! Header and trailer fields.

use std::fmt;

/// Fields in order, names as they came.
///
/// All names are in one buffer and all values in another, with their ends beside them: a head of any number of fields
/// takes three allocations.
#[derive(Clone, Default)]
pub struct Fields {
    names: String,
    values: Vec<u8>,
    /// Where each field's name and value end; they start where those of the one before end.
    ends: Vec<(usize, usize)>,
}

/// How many there are: what they say may be a secret.
impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fields({})", self.len())
    }
}

/// Fields that belong to one connection and are never forwarded (RFC 9110, section 7.6.1).
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-authentication-info",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// Fields that must not come in trailers (RFC 9110, section 6.5.1): framing, routing, authentication, and what
/// changes how the content is read; and those that are not true of a masked body.
const NOT_IN_TRAILERS: &[&str] = &[
    "content-length",
    "content-encoding",
    "content-type",
    "content-range",
    "content-location",
    "content-disposition",
    "host",
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-port",
    "x-real-ip",
    "x-http-method-override",
    "sluice-request-id",
    "authorization",
    "authentication-info",
    "cookie",
    "set-cookie",
    "www-authenticate",
    "cache-control",
    "expect",
    "range",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
    "if-range",
    "max-forwards",
    "pragma",
    "age",
    "expires",
    "date",
    "location",
    "retry-after",
    "vary",
    "warning",
    "etag",
    "content-md5",
    "digest",
    "content-digest",
    "repr-digest",
];

impl Fields {
    /// None yet, with room for `count` fields of so many bytes.
    #[must_use]
    pub fn with_capacity(count: usize, bytes: usize) -> Fields {
        Fields {
            names: String::with_capacity(bytes / 2),
            values: Vec::with_capacity(bytes),
            ends: Vec::with_capacity(count),
        }
    }

    /// Adds a field at the end.
    pub fn push(&mut self, name: impl AsRef<str>, value: impl AsRef<[u8]>) {
        self.names.push_str(name.as_ref());
        self.values.extend_from_slice(value.as_ref());
        self.ends.push((self.names.len(), self.values.len()));
    }

    /// All fields.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let mut from = (0, 0);
        self.ends.iter().map(move |&to| {
            let name = self.names.get(from.0..to.0).unwrap_or_default();
            let value = self.values.get(from.1..to.1).unwrap_or_default();
            from = to;
            (name, value)
        })
    }

    /// The values of a name, in any case.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v)
    }

    /// The first value of a name, as text; `None` also when it is not UTF-8.
    #[must_use]
    pub fn text<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.all(name).next().and_then(|v| std::str::from_utf8(v).ok())
    }

    /// True when a field has the name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    /// True when one of a list's values is `token`, in any case (RFC 9110, section 5.6.1).
    #[must_use]
    pub fn lists(&self, name: &str, token: &str) -> bool {
        self.all(name).flat_map(members).any(|member| member.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// The fields that may be forwarded: neither hop-by-hop, nor named in `Connection`, nor in `dropped` (lower
    /// case). A name with `_` for `-` is the same name here: to programs that get fields as variables of their
    /// environment (RFC 3875, section 4.1.18) it is.
    #[must_use]
    pub fn forwarded(&self, dropped: &[&str]) -> Fields {
        let plain = |m: &[u8]| m.eq_ignore_ascii_case(b"close") || m.eq_ignore_ascii_case(b"keep-alive");
        let options = self.all("connection").flat_map(members).any(|m| !plain(m));
        let is_option = |name: &str| self.all("connection").flat_map(members).any(|m| is_same(name, m));
        self.only(|name| !is_in(name, HOP_BY_HOP) && !is_in(name, dropped) && (!options || !is_option(name)))
    }

    /// All fields but those named, in lower case; a name with `_` for `-` is the same name.
    #[must_use]
    pub fn without(&self, names: &[&str]) -> Fields {
        self.only(|name| !is_in(name, names))
    }

    /// The fields that may stand in trailers.
    #[must_use]
    pub fn as_trailers(&self) -> Fields {
        self.only(|name| !is_in(name, HOP_BY_HOP) && !is_in(name, NOT_IN_TRAILERS))
    }

    fn only(&self, keep: impl Fn(&str) -> bool) -> Fields {
        if self.is_empty() {
            return Fields::default();
        }
        // Room for one or two more, as forwarded heads get.
        let mut kept = Fields::with_capacity(self.len() + 4, self.values.len() + 128);
        self.iter().filter(|(name, _)| keep(name)).for_each(|(name, value)| kept.push(name, value));
        kept
    }

    /// Replaces values one by one.
    pub fn map_values(&mut self, mut change: impl FnMut(&str, &[u8]) -> Option<Vec<u8>>) {
        let mut changed: Option<Fields> = None;
        for (at, (name, value)) in self.iter().enumerate() {
            let new = change(name, value);
            if changed.is_none() && new.is_some() {
                changed = Some(self.first(at));
            }
            if let Some(changed) = &mut changed {
                changed.push(name, new.as_deref().unwrap_or(value));
            }
        }
        if let Some(changed) = changed {
            *self = changed;
        }
    }

    fn first(&self, count: usize) -> Fields {
        let mut first = Fields::with_capacity(self.len(), self.values.len() + 64);
        self.iter().take(count).for_each(|(name, value)| first.push(name, value));
        first
    }

    /// Appends the fields as lines. What a value must not hold (CR, LF, NUL) becomes a space.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.reserve(self.names.len() + self.values.len() + 4 * self.len());
        let are_plain = memchr::memchr3(b'\r', b'\n', 0, &self.values).is_none();
        for (name, value) in self.iter() {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            if are_plain {
                out.extend_from_slice(value);
            } else {
                out.extend(value.iter().map(|b| if matches!(b, b'\r' | b'\n' | 0) { b' ' } else { *b }));
            }
            out.extend_from_slice(b"\r\n");
        }
    }

    /// Number of fields.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// True when there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

/// The members of a list's value, without the empty ones (RFC 9110, section 5.6.1).
pub(super) fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|b| *b == b',').map(trim).filter(|member| !member.is_empty())
}

/// Without the spaces and tabs about it: all the white space that RFC 9110, section 5.6.3, knows.
pub(super) fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// True for a byte of a token (RFC 9110, section 5.6.2).
pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// True for a byte of a field's value (RFC 9110, section 5.5), tabs and spaces among them.
pub(super) fn is_text_byte(byte: u8) -> bool {
    byte == b'\t' || byte >= b' ' && byte != 0x7F
}

/// True when a name is one of `names` (lower case), in any case and with `_` for `-`.
pub(super) fn is_in(name: &str, names: &[&str]) -> bool {
    names.iter().any(|n| n.len() == name.len() && is_same(name, n.as_bytes()))
}

fn is_same(name: &str, other: &[u8]) -> bool {
    let fold = |b: u8| if b == b'_' { b'-' } else { b.to_ascii_lowercase() };
    name.len() == other.len() && name.bytes().zip(other).all(|(a, b)| fold(a) == fold(*b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(list: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::default();
        list.iter().for_each(|(n, v)| fields.push(n, v));
        fields
    }

    fn names(fields: &Fields) -> Vec<&str> {
        fields.iter().map(|(n, _)| n).collect()
    }

    #[test]
    fn hop_by_hop_fields_stay() {
        let all = fields(&[
            ("Connection", "x-a, Close"),
            ("X-A", "1"),
            ("x_a", "1"),
            ("TE", "trailers"),
            ("X-B", "2"),
            ("Proxy_Authorization", "3"),
            ("Host", "h"),
            ("connection", ", X-C"),
            ("x-c", ""),
        ]);
        assert_eq!(names(&all.forwarded(&["host"])), ["X-B"]);
        assert!(all.lists("connection", "close") && !all.lists("connection", "clos"));
        let plain = fields(&[("connection", "keep-alive, close"), ("close", "1"), ("b", "2")]);
        assert_eq!(names(&plain.forwarded(&[])), ["close", "b"]);
    }

    #[test]
    fn trailers_say_nothing_of_framing_or_routing() {
        let all =
            fields(&[("Content-Length", "1"), ("transfer_encoding", "chunked"), ("Host", "h"), ("x", "1")]);
        assert_eq!(names(&all.as_trailers()), ["x"]);
    }

    #[test]
    fn values_never_break_lines() {
        let mut out = Vec::new();
        fields(&[("a", "b\r\nc: d"), ("e", ""), ("f", "g\0")]).write(&mut out);
        assert_eq!(out, b"a: b  c: d\r\ne: \r\nf: g \r\n");
    }

    #[test]
    fn values_are_replaced_in_place() {
        let mut all = fields(&[("a", "1"), ("b", "22"), ("c", "")]);
        all.map_values(|_, _| None);
        all.map_values(|name, value| (name == "b").then(|| [value, b"!"].concat()));
        all.map_values(|name, _| (name == "c").then(|| b"333".to_vec()));
        let mut out = Vec::new();
        all.write(&mut out);
        assert_eq!(out, b"a: 1\r\nb: 22!\r\nc: 333\r\n");
        assert_eq!(format!("{all:?}"), "Fields(3)");
    }
}
