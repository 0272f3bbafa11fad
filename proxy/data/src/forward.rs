//! What of a message goes on, and how its body is masked: decisions without I/O.

use sluice_engine::{Format, Masker, MaskerOptions, Scratch};

use crate::codec::body::Framing;
use crate::codec::fields::Fields;
use crate::codec::head::{RequestHead, ResponseHead};
use crate::config::{ResponseCoding, UpstreamConfig};
use crate::content::{Accepts, Content, Unreadable, codings, strengthened, weakened};
use crate::desk::SetField;
use crate::forwarded::is_forwarded;
use crate::mask::{Direction, Mask, MaskContext};
use crate::problem::Problem;

/// Request fields that the gateway answers for itself.
const REQUEST_DROPPED: &[&str] = &[
    "host",
    "content-length",
    "expect",
    "accept-encoding",
    "sluice-request-id",
    // A value cut by a range would pass.
    "range",
    "if-range",
    // Of a body that is masked on the way.
    "content-md5",
    "digest",
    "content-digest",
    "repr-digest",
];

/// The same, where nothing is masked.
const REQUEST_DROPPED_OFF: &[&str] = &["host", "content-length", "expect", "sluice-request-id"];

/// Response fields that are not true of a masked body, or are the gateway's own.
const RESPONSE_DROPPED: &[&str] = &[
    "content-length",
    "content-md5",
    "digest",
    "content-digest",
    "repr-digest",
    "accept-ranges",
    "sluice-request-id",
    // What the upstream says of its other endpoints would lead around the gateway.
    "alt-svc",
];

/// Response fields whose values go on as they are: a session's own, places, and the protocol's.
const RESPONSE_UNSCANNED: &[&str] = &[
    "set-cookie",
    "location",
    "content-location",
    "content-type",
    "date",
    "etag",
    "last-modified",
    "expires",
    "age",
    "cache-control",
    "vary",
    "www-authenticate",
    "link",
    "content-encoding",
    "content-language",
    "retry-after",
    "access-control-allow-origin",
    "access-control-allow-headers",
    "access-control-allow-methods",
];

/// A request's head as the upstream gets it, and the masker of its body.
pub(crate) struct ForwardRequest {
    pub(crate) target: String,
    pub(crate) fields: Fields,
    pub(crate) length: BodyLength,
    pub(crate) mask: Option<Mask>,
}

/// Plans a request.
///
/// # Errors
/// Its body can't be scanned.
pub(crate) fn request(
    head: &RequestHead,
    upstream: &UpstreamConfig,
    masks: &MaskContext<'_>,
) -> Result<ForwardRequest, Problem> {
    let is_off = masks.masking.is_off;
    let mask = match head.framing {
        Framing::Empty => None,
        Framing::Length(_) | Framing::Chunked | Framing::UntilClose if is_off => {
            Some(Mask::off(masks, Direction::Request)?)
        }
        Framing::Length(_) | Framing::Chunked | Framing::UntilClose => {
            let content = Content::of(&head.fields, Some(&head.target)).map_err(unreadable)?;
            Some(Mask::new(masks, &content, Direction::Request, false)?)
        }
    };
    let mut fields = Fields::default();
    fields.push("Host", upstream.authority.as_str());
    let dropped = if is_off { REQUEST_DROPPED_OFF } else { REQUEST_DROPPED };
    for (name, value) in head.fields.forwarded(dropped).iter() {
        // What is said of the client is written anew.
        if !is_forwarded(name) {
            fields.push(name, value);
        }
    }
    if is_off {
        let length = BodyLength::of(head.framing);
        return Ok(ForwardRequest { target: target(head, upstream), fields, length, mask });
    }
    fields.map_values(|name, value| {
        name.eq_ignore_ascii_case("if-match").then(|| strengthened(value)).flatten()
    });
    let prefers_identity = masks.masking.response_coding == ResponseCoding::Identity;
    fields.push("Accept-Encoding", Accepts::of(&head.fields).for_upstream(prefers_identity));
    if mask.is_none() && (head.fields.has("content-length") || head.fields.has("transfer-encoding")) {
        fields.push("Content-Length", "0");
    }
    let length = if mask.is_some() { BodyLength::Unknown } else { BodyLength::None };
    Ok(ForwardRequest { target: target(head, upstream), fields, length, mask })
}

/// Why a request's body can't be scanned.
pub(crate) fn unreadable(why: Unreadable) -> Problem {
    match why {
        Unreadable::Type => Problem::REQUEST_UNMASKABLE,
        Unreadable::Coding => Problem::REQUEST_CODING_UNKNOWN,
    }
}

/// A target without these parameters of its query, and with those, in place of any of the same name (RFC 3986, section
/// 3.4).
pub(crate) fn with_query(target: &str, strip: &[String], set: &[SetField]) -> String {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let is_set = |parameter: &&str| {
        let name = percent_decoded(parameter.split('=').next().unwrap_or_default());
        set.iter().map(|field| &field.name).chain(strip).any(|other| other.as_bytes() == name)
    };
    let kept = query.split('&').filter(|parameter| !parameter.is_empty() && !is_set(parameter));
    let mut parameters: Vec<String> = kept.map(str::to_owned).collect();
    parameters.extend(set.iter().map(|SetField { name, value }| {
        format!("{}={}", query_encoded(name.as_bytes()), query_encoded(value.bytes()))
    }));
    if parameters.is_empty() { path.to_owned() } else { format!("{path}?{}", parameters.join("&")) }
}

/// What is not unreserved is percent-encoded (RFC 3986, section 2.1).
fn query_encoded(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((&first, after)) = rest.split_first() {
        let hex = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        match (first, after.split_at_checked(2)) {
            (b'%', Some((pair, behind))) if pair.iter().all(u8::is_ascii_hexdigit) => {
                out.extend(hex(pair));
                rest = behind;
            }
            (b'+', _) => {
                out.push(b' ');
                rest = after;
            }
            _ => {
                out.push(first);
                rest = after;
            }
        }
    }
    out
}

fn target(head: &RequestHead, upstream: &UpstreamConfig) -> String {
    if head.target == "*" { "*".to_owned() } else { format!("{}{}", upstream.base, head.target) }
}

/// What is known of a body's length before it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyLength {
    /// There is none.
    None,
    Unknown,
    Known(u64),
    /// WebSocket is asked for or granted: what follows has no framing of HTTP.
    Upgraded,
}

impl BodyLength {
    /// Of a body that goes on as it is.
    fn of(framing: Framing) -> BodyLength {
        match framing {
            Framing::Empty => BodyLength::None,
            Framing::Length(len) => BodyLength::Known(len),
            Framing::Chunked | Framing::UntilClose => BodyLength::Unknown,
        }
    }
}

/// A response's head as the client gets it, and the masker of its body.
pub(crate) struct ForwardResponse {
    pub(crate) fields: Fields,
    pub(crate) length: BodyLength,
    pub(crate) mask: Option<Mask>,
    /// The head must not wait for the body.
    pub(crate) is_live: bool,
    /// The body is events.
    pub(crate) is_events: bool,
}

/// Plans a response to `request`.
///
/// # Errors
/// It can't be scanned.
pub(crate) fn response(
    head: &ResponseHead,
    request: &RequestHead,
    masks: &MaskContext<'_>,
    scratch: &mut Scratch,
) -> Result<ForwardResponse, Problem> {
    if masks.masking.is_off {
        let mut fields = head.fields.forwarded(&["content-length", "sluice-request-id"]);
        let has_body = head.framing != Framing::Empty;
        let mask = if has_body { Some(Mask::off(masks, Direction::Response)?) } else { None };
        let length = BodyLength::of(head.framing);
        if length == BodyLength::None && !is_bodiless(head, request) {
            fields.push("Content-Length", "0");
        }
        return Ok(ForwardResponse { fields, length, mask, is_live: false, is_events: false });
    }
    if head.status == 206 || head.fields.has("content-range") {
        return Err(Problem::RESPONSE_UNMASKABLE);
    }
    let is_decoded = leaves_decoded(&head.fields, request, masks);
    let (mut is_live, mut is_events) = (false, false);
    let mask = match head.framing {
        Framing::Empty => None,
        Framing::Length(_) | Framing::Chunked | Framing::UntilClose => {
            let content = Content::of(&head.fields, None).map_err(|why| match why {
                Unreadable::Type => Problem::RESPONSE_UNMASKABLE,
                Unreadable::Coding => Problem::RESPONSE_CODING_UNKNOWN,
            })?;
            is_live = content.is_live();
            is_events = content.format == Format::Sse;
            Some(Mask::new(masks, &content, Direction::Response, is_decoded)?)
        }
    };
    let mut fields = head.fields.forwarded(RESPONSE_DROPPED);
    if is_decoded {
        fields = fields.forwarded(&["content-encoding"]);
        fields.push("Vary", "Accept-Encoding");
    }
    // What a HEAD or a 304 tells is of a body that is masked when it is asked for.
    if mask.is_some() || request.method == "HEAD" || head.status == 304 {
        fields.map_values(|name, value| name.eq_ignore_ascii_case("etag").then(|| weakened(value)).flatten());
    }
    mask_fields(&mut fields, RESPONSE_UNSCANNED, masks, scratch);
    if mask.is_none() && !is_bodiless(head, request) {
        fields.push("Content-Length", "0");
    }
    let length = if mask.is_some() { BodyLength::Unknown } else { BodyLength::None };
    Ok(ForwardResponse { fields, length, mask, is_live, is_events })
}

/// A response that has no body whatever its fields say (RFC 9110, section 6.4.1).
fn is_bodiless(head: &ResponseHead, request: &RequestHead) -> bool {
    request.method == "HEAD" || matches!(head.status, 101 | 204 | 304)
}

/// Whether a coded response leaves without its codings: where that is preferred, or the client takes no such coding.
fn leaves_decoded(fields: &Fields, request: &RequestHead, masks: &MaskContext<'_>) -> bool {
    let Some(codings) = codings(fields).ok().filter(|codings| !codings.list().is_empty()) else {
        return false;
    };
    let accepts = Accepts::of(&request.fields);
    let is_preferred = masks.masking.response_coding == ResponseCoding::Identity;
    accepts.takes_identity() && (is_preferred || !accepts.takes_all(&codings))
}

/// The trailers that go on, their values masked.
pub(crate) fn trailers(fields: &Fields, masks: &MaskContext<'_>, scratch: &mut Scratch) -> Fields {
    let mut fields = fields.as_trailers();
    mask_fields(&mut fields, &[], masks, scratch);
    fields
}

fn mask_fields(fields: &mut Fields, unscanned: &[&str], masks: &MaskContext<'_>, scratch: &mut Scratch) {
    if masks.masking.is_off {
        return;
    }
    let matches = masks.tally();
    fields.map_values(|name, value| {
        if unscanned.iter().any(|u| name.eq_ignore_ascii_case(u)) {
            return None;
        }
        let mut masker = Masker::new(masks.ruleset, Format::Text, MaskerOptions::default());
        let mut out = Vec::with_capacity(value.len());
        let whole = masker.push(scratch, value, &mut out).and_then(|()| masker.finish(scratch, &mut out));
        masker.take_findings().iter().for_each(|f| matches.count(f.rule));
        // Text has no faults; should that change, nothing of the value leaves.
        Some(if whole.is_ok() { out } else { Vec::new() })
    });
}
