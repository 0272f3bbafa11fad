//! What a body is by the fields beside it: its format and its content codings, and which codings a client takes.

use sluice_engine::{Coding, Codings, Format, Schema};

use crate::codec::fields::Fields;

/// How a body is to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) format: Format,
    pub(crate) codings: Codings,
}

/// Why a body can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// Its type, its charset, or two types at once.
    Type,
    /// A content coding that is not known, or too many.
    Coding,
}

impl Content {
    /// Of a message with these fields; `path` is where a request goes.
    pub(crate) fn of(fields: &Fields, path: Option<&str>) -> Result<Content, Unreadable> {
        let codings = codings(fields)?;
        Ok(Content { format: format(fields, path).ok_or(Unreadable::Type)?, codings })
    }

    /// Whether it is events, which must reach the client at once, their head too.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.format, Format::Sse | Format::EventStream | Format::Grpc { .. })
    }
}

/// The codings of all fields `Content-Encoding`.
pub(crate) fn codings(fields: &Fields) -> Result<Codings, Unreadable> {
    let value = joined(fields, "content-encoding").ok_or(Unreadable::Coding)?;
    Codings::parse(&value).map_err(|_| Unreadable::Coding)
}

/// The values of a field that is a list, as one; `None` when they are not text.
fn joined(fields: &Fields, name: &str) -> Option<String> {
    let values: Result<Vec<&str>, _> = fields.all(name).map(std::str::from_utf8).collect();
    values.ok().map(|values| values.join(","))
}

fn format(fields: &Fields, path: Option<&str>) -> Option<Format> {
    let mut kinds = fields.all("content-type");
    let Some(kind) = kinds.next() else { return Some(Format::Auto) };
    if kinds.next().is_some() {
        return None;
    }
    let kind = std::str::from_utf8(kind).ok()?;
    let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let token =
        |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b));
    // A list of types, or what is no type at all, is read by each client as it likes.
    if !essence.is_empty() && !essence.split_once('/').is_some_and(|(a, b)| token(a) && token(b)) {
        return None;
    }
    let schema = path.map_or(Schema::Unknown, Schema::of_path);
    match essence.as_str() {
        // The ranges cut values.
        "multipart/byteranges" => None,
        // Messages of other kinds (`+json`, `-text`) are not protobuf.
        "application/grpc"
        | "application/grpc+proto"
        | "application/grpc-web"
        | "application/grpc-web+proto" => Some(Format::Grpc { schema, coding: message_coding(fields)? }),
        // Many send JSON and events by this name.
        "text/plain" => Format::from_content_type(kind).map(|_| Format::Auto),
        _ => match Format::from_content_type(kind)? {
            Format::Protobuf(_) => Some(Format::Protobuf(schema)),
            format => Some(format),
        },
    }
}

/// What `grpc-encoding` says of compressed messages; the outer `None` when it is not known.
fn message_coding(fields: &Fields) -> Option<Option<Coding>> {
    match joined(fields, "grpc-encoding")?.trim() {
        "" | "identity" => Some(None),
        name => Coding::of(name).map(Some),
    }
}

/// The charset of a body of text by its first bytes: whether it is one in which ASCII text does not look like itself
/// (UTF-16 and UTF-32, with or without a byte order mark); `None` while more bytes are needed.
pub(crate) fn hides_ascii(start: &[u8]) -> Option<bool> {
    let text = |b: u8| b.is_ascii_graphic() || b.is_ascii_whitespace();
    match *start {
        [] | [_] | [0, 0] | [0, 0, _] => None,
        [0xFE, 0xFF, ..] | [0xFF, 0xFE, ..] | [0, 0, 0xFE, 0xFF, ..] => Some(true),
        [0, 0, 0, b, ..] | [0, b, ..] | [b, 0, ..] => Some(text(b)),
        [_, _, ..] => Some(false),
    }
}

/// The codings that a client takes (RFC 9110, section 12.5.3). Without the field it is asked for none: a client that
/// does not name any is seldom made to decode one, although the RFC lets a server choose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Accepts {
    /// Name, weight as it came, and whether it is above zero.
    list: Vec<(String, String, bool)>,
}

/// What is known of codings, by name.
const NAMES: [&str; 5] = ["gzip", "x-gzip", "deflate", "br", "zstd"];

impl Accepts {
    pub(crate) fn of(fields: &Fields) -> Accepts {
        let value = joined(fields, "accept-encoding").unwrap_or_default();
        let list = value.split(',').filter_map(|element| {
            let (name, weight) = element.split_once(';').map_or((element, None), |(n, w)| (n, Some(w)));
            let weight = weight.map_or(Some("1"), |w| weight_of(w.trim()))?;
            let above_zero = weight.bytes().any(|b| matches!(b, b'1'..=b'9'));
            Some((name.trim().to_ascii_lowercase(), weight.to_owned(), above_zero))
        });
        Accepts { list: list.collect() }
    }

    fn takes(&self, name: &str) -> bool {
        let same = |n: &str| n == name || n.strip_prefix("x-") == Some(name);
        let of =
            |found: &dyn Fn(&str) -> bool| self.list.iter().find(|(n, ..)| found(n)).map(|(.., yes)| *yes);
        of(&same).or_else(|| of(&|n| n == "*")).unwrap_or(name == "identity")
    }

    /// Whether it takes a body without codings.
    pub(crate) fn takes_identity(&self) -> bool {
        self.takes("identity")
    }

    /// Whether it takes all of these.
    pub(crate) fn takes_all(&self, codings: &Codings) -> bool {
        codings.list().iter().all(|coding| {
            self.takes(match coding {
                Coding::Gzip => "gzip",
                Coding::Deflate | Coding::RawDeflate => "deflate",
                Coding::Br => "br",
                Coding::Zstd => "zstd",
            })
        })
    }

    /// The field for the upstream: of what the client takes, what the gateway can decode. `identity` alone where that
    /// is `preferred` and the client takes it.
    pub(crate) fn for_upstream(&self, identity_preferred: bool) -> String {
        let plain = "identity".to_owned();
        if identity_preferred && self.takes_identity() {
            return plain;
        }
        let known =
            |name: &str, yes: bool| NAMES.contains(&name) || name == "identity" || (name == "*" && !yes);
        let kept =
            self.list.iter().filter(|(name, _, yes)| known(name, *yes)).map(|(name, weight, _)| {
                if weight == "1" { name.clone() } else { format!("{name};q={weight}") }
            });
        let kept: Vec<String> = kept.collect();
        if kept.is_empty() { plain } else { kept.join(", ") }
    }
}

/// The number of `q=NUMBER` (RFC 9110, section 12.4.2).
fn weight_of(parameter: &str) -> Option<&str> {
    let (name, value) = parameter.split_once('=')?;
    let (whole, rest) = value.split_once('.').unwrap_or((value, ""));
    let valid = match whole {
        "0" => rest.bytes().all(|b| b.is_ascii_digit()),
        "1" => rest.bytes().all(|b| b == b'0'),
        _ => false,
    };
    (name.eq_ignore_ascii_case("q") && valid && rest.len() <= 3).then_some(value)
}

/// An entity tag of a body that may have changed on the way: a weak one (RFC 9110, section 8.8.1).
pub(crate) fn weakened(tag: &[u8]) -> Option<Vec<u8>> {
    tag.starts_with(b"\"").then(|| [b"W/", tag].concat())
}

/// The entity tags of `If-Match` as the upstream made them: only strong ones ever match there, and what it made strong
/// the client knows as weak.
pub(crate) fn strengthened(tags: &[u8]) -> Option<Vec<u8>> {
    let (mut out, mut rest, mut is_quoted) = (Vec::with_capacity(tags.len()), tags, false);
    while let Some((&byte, after)) = rest.split_first() {
        if !is_quoted && let Some(tag) = rest.strip_prefix(b"W/") {
            rest = tag;
            continue;
        }
        is_quoted ^= byte == b'"';
        out.push(byte);
        rest = after;
    }
    (out.len() < tags.len()).then_some(out)
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
    fn what_can_be_read() {
        let kind = |value| vec![("Content-Type", value)];
        let grpc = |schema, coding| Some(Format::Grpc { schema, coding });
        for (list, path, wanted) in [
            (vec![], None, Some(Format::Auto)),
            (kind(""), None, Some(Format::Auto)),
            (kind("application/json"), None, Some(Format::Json)),
            (kind("application/vnd.api+json; v=1"), None, Some(Format::Json)),
            (kind("text/plain; charset=utf-8"), None, Some(Format::Auto)),
            (kind("text/plain; charset=utf-16"), None, None),
            (kind("text/html"), None, Some(Format::Text)),
            (kind("application/xml; charset=\"utf-32\""), None, None),
            (kind("application/json; charset=utf-16le"), None, None),
            (kind("application/json, text/plain"), None, None),
            (kind("json"), None, None),
            (kind("multipart/byteranges; boundary=x"), None, None),
            (vec![("Content-Type", "text/plain"), ("Content-Type", "application/json")], None, None),
            (kind("application/x-protobuf"), None, Some(Format::Protobuf(Schema::Unknown))),
            (kind("application/x-protobuf"), Some("/v1/traces"), Some(Format::Protobuf(Schema::OtlpTraces))),
            (kind("application/x-protobuf"), Some("/in/v1/logs?x"), Some(Format::Protobuf(Schema::OtlpLogs))),
            (kind("application/json"), Some("/v1/traces"), Some(Format::Json)),
            (kind("application/grpc-web+proto"), Some("/p.S/M"), grpc(Schema::Unknown, None)),
            (kind("application/grpc-web-text"), None, None),
            (kind("application/grpc+json"), None, None),
            (kind("application/vnd.amazon.eventstream"), None, Some(Format::EventStream)),
            (kind("application/octet-stream"), None, Some(Format::Bytes)),
        ] {
            assert_eq!(format(&fields(&list), path), wanted, "{list:?} {path:?}");
        }
        let with = |encoding| fields(&[("Content-Type", "application/grpc"), ("grpc-encoding", encoding)]);
        let traces = Some("/opentelemetry.proto.collector.trace.v1.TraceService/Export");
        assert_eq!(format(&with("gzip"), traces), grpc(Schema::OtlpTraces, Some(Coding::Gzip)));
        assert_eq!(format(&with("identity"), None), grpc(Schema::Unknown, None));
        assert_eq!(format(&with("snappy"), None), None);
    }

    #[test]
    fn codings_of_all_fields() {
        for (list, wanted) in [
            (&[][..], Some(&[][..])),
            (&["Identity"], Some(&[])),
            (&["x-gzip"], Some(&[Coding::Gzip])),
            (&["gzip, br"], Some(&[Coding::Gzip, Coding::Br])),
            (&["gzip", "identity, zstd"], Some(&[Coding::Gzip, Coding::Zstd])),
            (&["identity, compress"], None),
            (&["gzip", "gzip", "gzip", "gzip"], None),
        ] {
            let list: Vec<(&str, &str)> = list.iter().map(|v| ("content-encoding", *v)).collect();
            let found = codings(&fields(&list)).ok();
            assert_eq!(found.as_ref().map(Codings::list), wanted, "{list:?}");
        }
        let mut broken = Fields::default();
        broken.push("content-encoding", b"gzip\xFF");
        assert!(codings(&broken).is_err());
    }

    #[test]
    fn what_a_client_takes() {
        for (value, sent, sent_if_plain, gzip, identity) in [
            (None, "identity", "identity", false, true),
            (Some(""), "identity", "identity", false, true),
            (Some("gzip, deflate, br, zstd"), "gzip, deflate, br, zstd", "identity", true, true),
            (Some("GZIP;q=0.5, snappy, sdch;q=1.000"), "gzip;q=0.5", "identity", true, true),
            (Some("x-gzip"), "x-gzip", "identity", true, true),
            (Some("br"), "br", "identity", false, true),
            (Some("*"), "identity", "identity", true, true),
            (Some("gzip;q=0"), "gzip;q=0", "identity", false, true),
            (Some("gzip, identity;q=0"), "gzip, identity;q=0", "gzip, identity;q=0", true, false),
            (Some("gzip, *;q=0"), "gzip, *;q=0", "gzip, *;q=0", true, false),
            (Some("gzip;q=2, br;x=1, zstd;q=0.1234"), "identity", "identity", false, true),
        ] {
            let list: Vec<(&str, &str)> = value.into_iter().map(|v| ("Accept-Encoding", v)).collect();
            let accepts = Accepts::of(&fields(&list));
            assert_eq!(accepts.for_upstream(false), sent, "{value:?}");
            assert_eq!(accepts.for_upstream(true), sent_if_plain, "{value:?}");
            let codings = Codings::parse("gzip").unwrap();
            assert_eq!(
                (accepts.takes_all(&codings), accepts.takes_identity()),
                (gzip, identity),
                "{value:?}"
            );
        }
    }

    #[test]
    fn charsets_by_first_bytes() {
        for (start, hides) in [
            (&b""[..], None),
            (b"a", None),
            (b"ab", Some(false)),
            (b"\xEF\xBB\xBFa", Some(false)),
            (b"\xFF\xFEa", Some(true)),
            (b"\xFE\xFF\0a", Some(true)),
            (b"{\0\"\0", Some(true)),
            (b"\0<\0?", Some(true)),
            (b"\0\0", None),
            (b"\0\0\0{", Some(true)),
            (b"\0\0\0\x18ftyp", Some(false)),
            (b"\0\0\xFE\xFF", Some(true)),
            (b"\x08\0", Some(false)),
        ] {
            assert_eq!(hides_ascii(start), hides, "{start:?}");
        }
    }

    #[test]
    fn entity_tags() {
        assert_eq!(weakened(b"\"a\"").as_deref(), Some(&b"W/\"a\""[..]));
        assert_eq!(weakened(b"W/\"a\""), None);
        for (tags, wanted) in [
            ("*", None),
            ("\"a\"", None),
            ("W/\"a\"", Some("\"a\"")),
            ("W/\"W/b\", \"c\" , W/\"d\"", Some("\"W/b\", \"c\" , \"d\"")),
        ] {
            let found = strengthened(tags.as_bytes()).map(|t| String::from_utf8(t).unwrap());
            assert_eq!(found.as_deref(), wanted, "{tags}");
        }
    }
}
