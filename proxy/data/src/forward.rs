//! What of a message goes on, and how its body is masked: decisions without I/O.

use std::sync::Arc;

use sluice_engine::{Format, Masker, MaskerOptions, Ruleset, Scratch};

use crate::codec::body::Framing;
use crate::codec::fields::Fields;
use crate::codec::head::{RequestHead, ResponseHead};
use crate::config::{ResponseCoding, UpstreamConfig};
use crate::content::{Accepts, Content, Unreadable, codings, strengthened, weakened};
use crate::mask::{Direction, Mask, MaskContext};
use crate::problem::{Problem, reason};
use crate::stats::ShardStats;

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
    pub(crate) head: Vec<u8>,
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
    let mask = match head.framing {
        Framing::Empty => None,
        Framing::Length(_) | Framing::Chunked | Framing::UntilClose => {
            let content = Content::of(&head.fields, Some(&head.target)).map_err(|why| match why {
                Unreadable::Type => Problem::REQUEST_UNMASKABLE,
                Unreadable::Coding => Problem::REQUEST_CODING_UNKNOWN,
            })?;
            Some(Mask::new(masks, &content, Direction::Request, false)?)
        }
    };
    let mut fields = Fields::default();
    fields.push("Host", upstream.authority.as_str());
    for (name, value) in head.fields.forwarded(REQUEST_DROPPED).iter() {
        fields.push(name, value);
    }
    fields.map_values(|name, value| {
        name.eq_ignore_ascii_case("if-match").then(|| strengthened(value)).flatten()
    });
    let prefers_identity = masks.masking.response_coding == ResponseCoding::Identity;
    fields.push("Accept-Encoding", Accepts::of(&head.fields).for_upstream(prefers_identity));
    match &mask {
        Some(_) => fields.push("Transfer-Encoding", "chunked"),
        None if head.fields.has("content-length") || head.fields.has("transfer-encoding") => {
            fields.push("Content-Length", "0");
        }
        None => {}
    }
    let target =
        if head.target == "*" { "*".to_owned() } else { format!("{}{}", upstream.base, head.target) };
    let mut out = format!("{} {target} HTTP/1.1\r\n", head.method).into_bytes();
    fields.write(&mut out);
    out.extend_from_slice(b"\r\n");
    Ok(ForwardRequest { head: out, mask })
}

/// A response's head as the client gets it, and the masker of its body.
pub(crate) struct ForwardResponse {
    pub(crate) fields: Fields,
    pub(crate) mask: Option<Mask>,
    /// The head must not wait for the body.
    pub(crate) is_live: bool,
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
    if head.status == 206 || head.fields.has("content-range") {
        return Err(Problem::RESPONSE_UNMASKABLE);
    }
    let is_decoded = leaves_decoded(&head.fields, request, masks);
    let mut is_live = false;
    let mask = match head.framing {
        Framing::Empty => None,
        Framing::Length(_) | Framing::Chunked | Framing::UntilClose => {
            let content = Content::of(&head.fields, None).map_err(|why| match why {
                Unreadable::Type => Problem::RESPONSE_UNMASKABLE,
                Unreadable::Coding => Problem::RESPONSE_CODING_UNKNOWN,
            })?;
            is_live = content.is_live();
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
    mask_fields(&mut fields, RESPONSE_UNSCANNED, masks.ruleset, scratch, masks.stats);
    Ok(ForwardResponse { fields, mask, is_live })
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
pub(crate) fn trailers(
    fields: &Fields,
    ruleset: &Arc<Ruleset>,
    scratch: &mut Scratch,
    stats: &ShardStats,
) -> Fields {
    let mut fields = fields.as_trailers();
    mask_fields(&mut fields, &[], ruleset, scratch, stats);
    fields
}

fn mask_fields(
    fields: &mut Fields,
    unscanned: &[&str],
    ruleset: &Arc<Ruleset>,
    scratch: &mut Scratch,
    stats: &ShardStats,
) {
    let matches = stats.matches.load();
    fields.map_values(|name, value| {
        if unscanned.iter().any(|u| name.eq_ignore_ascii_case(u)) {
            return None;
        }
        let mut masker = Masker::new(ruleset, Format::Text, MaskerOptions::default());
        let mut out = Vec::with_capacity(value.len());
        let whole = masker.push(scratch, value, &mut out).and_then(|()| masker.finish(scratch, &mut out));
        masker.take_findings().iter().for_each(|f| matches.count(f.rule));
        // Text has no faults; should that change, nothing of the value leaves.
        Some(if whole.is_ok() { out } else { Vec::new() })
    });
}

/// The status line and fields of a response.
pub(crate) fn write_response_head(status: u16, fields: &Fields, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("HTTP/1.1 {status} {}\r\n", reason(status)).as_bytes());
    fields.write(out);
    out.extend_from_slice(b"\r\n");
}
