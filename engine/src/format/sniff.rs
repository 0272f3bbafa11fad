//! Which format a body has: by its content type, or by its first bytes.

use super::{Boundary, Format, Schema};

/// First bytes that are held at most before the format is chosen.
pub(super) const SNIFF_BYTES_MAX: usize = 256;

impl Format {
    /// Whether replacements are as long as what they replace.
    pub(super) fn keeps_length(self) -> bool {
        match self {
            Format::Bytes | Format::Protobuf(_) | Format::Grpc { .. } => true,
            Format::Auto
            | Format::Text
            | Format::Json
            | Format::Ndjson
            | Format::Sse
            | Format::EventStream
            | Format::WebSocket(_)
            | Format::Multipart(_)
            | Format::Form => false,
        }
    }

    /// The format of a content type (RFC 9110, section 8.3); `None` when bodies of it can't be scanned.
    ///
    /// Unscannable are gRPC, for which [`Format::Grpc`] needs to know what `grpc-encoding` says, and any charset in
    /// which ASCII does not stand for itself. Messages of protobuf have no known schema by their type alone: see
    /// [`Schema::of_path`]. A type that is not known is scanned as bytes, with replacements
    /// of equal length; no type at all is told by the first bytes.
    #[must_use]
    pub fn from_content_type(value: &str) -> Option<Format> {
        let mut parts = value.split(';').map(str::trim);
        let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
        let mut boundary = None;
        for parameter in parts {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            if name.trim().eq_ignore_ascii_case("charset") && !is_ascii_based(value.trim().trim_matches('"'))
            {
                return None;
            }
            if name.trim().eq_ignore_ascii_case("boundary") {
                boundary = Boundary::new(value.trim().trim_matches('"'));
            }
        }
        let (kind, subtype) = essence.split_once('/').unwrap_or((&essence, ""));
        Some(match (kind, subtype) {
            ("", _) => Format::Auto,
            (_, s) if s == "grpc" || s.starts_with("grpc+") || s.starts_with("grpc-web") => return None,
            ("text", "event-stream") => Format::Sse,
            ("application", "vnd.amazon.eventstream") => Format::EventStream,
            ("application", "x-www-form-urlencoded") => Format::Form,
            ("application", "protobuf" | "x-protobuf" | "vnd.google.protobuf" | "x-google-protobuf") => {
                Format::Protobuf(Schema::Unknown)
            }
            (_, "json") => Format::Json,
            (_, s) if s.ends_with("+json") => Format::Json,
            (_, "x-ndjson" | "ndjson" | "jsonl" | "x-jsonl" | "jsonlines" | "x-jsonlines" | "json-lines") => {
                Format::Ndjson
            }
            ("multipart", _) => boundary.map_or(Format::Text, Format::Multipart),
            ("text", _) => Format::Text,
            (_, "xml" | "javascript" | "ecmascript" | "graphql" | "yaml" | "x-yaml" | "toml" | "sql") => {
                Format::Text
            }
            (_, s) if s.ends_with("+xml") || s.ends_with("+yaml") => Format::Text,
            _ => Format::Bytes,
        })
    }
}

impl Format {
    /// The format that the first bytes of a body tell; `None` while more are needed, at most 256. Never
    /// [`Format::Auto`]; [`Format::Text`] for what tells none.
    #[must_use]
    pub fn from_start(start: &[u8], is_all: bool) -> Option<Format> {
        sniff(start, is_all)
    }
}

/// Charsets in which every ASCII byte is that ASCII character.
fn is_ascii_based(charset: &str) -> bool {
    let charset = charset.to_ascii_lowercase();
    matches!(charset.as_str(), "" | "utf-8" | "utf8" | "us-ascii" | "ascii" | "latin1")
        || ["iso-8859-", "windows-125"].iter().any(|p| charset.starts_with(p))
}

/// The format of a body by its first bytes; `None` while more are needed. Never [`Format::Auto`].
pub(super) fn sniff(start: &[u8], end: bool) -> Option<Format> {
    let text = start.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(start);
    if text.len() < start.len().min(1) || (b"\xEF\xBB\xBF".starts_with(start) && !end) {
        return None;
    }
    let first = text.iter().position(|b| !b.is_ascii_whitespace());
    let Some(first) = first else {
        let enough = end || start.len() >= SNIFF_BYTES_MAX;
        return enough.then_some(Format::Text);
    };
    let rest = text.get(first..).unwrap_or_default();
    if matches!(rest.first(), Some(b'{' | b'[')) {
        return Some(Format::Ndjson);
    }
    let fields: [&[u8]; 5] = [b":", b"data:", b"event:", b"id:", b"retry:"];
    if fields.iter().any(|f| text.starts_with(f)) {
        return Some(Format::Sse);
    }
    let could_be = fields.iter().any(|f| f.starts_with(text)) && !end;
    (!could_be).then_some(Format::Text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types() {
        for (value, format) in [
            ("application/json", Some(Format::Json)),
            ("Application/JSON; charset=UTF-8", Some(Format::Json)),
            ("application/problem+json", Some(Format::Json)),
            ("application/json; charset=utf-16", None),
            ("text/plain; charset=\"utf-7\"", None),
            ("text/html; charset=iso-8859-1", Some(Format::Text)),
            ("text/event-stream", Some(Format::Sse)),
            ("application/vnd.amazon.eventstream", Some(Format::EventStream)),
            ("application/x-ndjson", Some(Format::Ndjson)),
            ("application/x-www-form-urlencoded", Some(Format::Form)),
            ("multipart/form-data; boundary=x", Boundary::new("x").map(Format::Multipart)),
            ("multipart/mixed; boundary=\"a b\"", Boundary::new("a b").map(Format::Multipart)),
            ("multipart/form-data", Some(Format::Text)),
            ("image/svg+xml", Some(Format::Text)),
            ("application/grpc", None),
            ("application/grpc+proto", None),
            ("application/grpc-web-text", None),
            ("application/x-protobuf", Some(Format::Protobuf(Schema::Unknown))),
            ("application/octet-stream", Some(Format::Bytes)),
            ("", Some(Format::Auto)),
        ] {
            assert_eq!(Format::from_content_type(value), format, "{value}");
        }
    }

    #[test]
    fn first_bytes() {
        for (start, end, format) in [
            ("{", false, Some(Format::Ndjson)),
            ("  [1", false, Some(Format::Ndjson)),
            ("\u{FEFF}{", false, Some(Format::Ndjson)),
            ("data: x", false, Some(Format::Sse)),
            (": hi", false, Some(Format::Sse)),
            ("da", false, None),
            ("da", true, Some(Format::Text)),
            ("dance", false, Some(Format::Text)),
            ("", false, None),
            ("", true, Some(Format::Text)),
            (" ", false, None),
            ("hello", false, Some(Format::Text)),
        ] {
            assert_eq!(sniff(start.as_bytes(), end), format, "{start:?}");
        }
        assert_eq!(sniff(&[b' '; SNIFF_BYTES_MAX], false), Some(Format::Text));
    }
}
