//! Header and trailer fields.

/// Fields in order, names as they came.
#[derive(Clone, Debug, Default)]
pub struct Fields(Vec<(String, Vec<u8>)>);

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
    "host",
    "authorization",
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
    /// Adds a field at the end.
    pub fn push(&mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) {
        self.0.push((name.into(), value.into()));
    }

    /// All fields.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    /// The values of a name, in any case.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v)
    }

    /// The first value of a name, as text; `None` also when it is not ASCII.
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
        let text = |v| String::from_utf8_lossy(v).into_owned();
        self.all(name).any(|v| text(v).split(',').any(|t| t.trim().eq_ignore_ascii_case(token)))
    }

    /// The fields that may be forwarded: neither hop-by-hop, nor named in `Connection`, nor in `dropped` (lower
    /// case).
    #[must_use]
    pub fn forwarded(&self, dropped: &[&str]) -> Fields {
        let keep = |(name, _): &&(String, Vec<u8>)| {
            let lower = name.to_ascii_lowercase();
            !HOP_BY_HOP.contains(&lower.as_str())
                && !dropped.contains(&lower.as_str())
                && !self.lists("connection", &lower)
        };
        Fields(self.0.iter().filter(keep).cloned().collect())
    }

    /// The fields that may stand in trailers.
    #[must_use]
    pub fn as_trailers(&self) -> Fields {
        let keep = |(name, _): &&(String, Vec<u8>)| {
            let lower = name.to_ascii_lowercase();
            !HOP_BY_HOP.contains(&lower.as_str()) && !NOT_IN_TRAILERS.contains(&lower.as_str())
        };
        Fields(self.0.iter().filter(keep).cloned().collect())
    }

    /// Replaces values one by one.
    pub fn map_values(&mut self, mut change: impl FnMut(&str, &[u8]) -> Option<Vec<u8>>) {
        for (name, value) in &mut self.0 {
            if let Some(new) = change(name, value) {
                *value = new;
            }
        }
    }

    /// Appends the fields as lines. What a value must not hold (CR, LF, NUL) becomes a space.
    pub fn write(&self, out: &mut Vec<u8>) {
        for (name, value) in &self.0 {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            out.extend(value.iter().map(|b| if matches!(b, b'\r' | b'\n' | 0) { b' ' } else { *b }));
            out.extend_from_slice(b"\r\n");
        }
    }

    /// Number of fields.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(list: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::default();
        list.iter().for_each(|(n, v)| fields.push(*n, *v));
        fields
    }

    #[test]
    fn hop_by_hop_fields_stay() {
        let all = fields(&[
            ("Connection", "x-a, Close"),
            ("X-A", "1"),
            ("TE", "trailers"),
            ("X-B", "2"),
            ("Host", "h"),
        ]);
        let kept: Vec<String> = all.forwarded(&["host"]).iter().map(|(n, _)| n.to_owned()).collect();
        assert_eq!(kept, ["X-B"]);
        assert!(all.lists("connection", "close") && !all.lists("connection", "clos"));
    }

    #[test]
    fn values_never_break_lines() {
        let mut out = Vec::new();
        fields(&[("a", "b\r\nc: d")]).write(&mut out);
        assert_eq!(out, b"a: b  c: d\r\n");
    }
}
