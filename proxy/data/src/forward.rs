//! What of a message goes on, and how its body is masked: decisions without I/O.

use std::sync::Arc;

use sluice_engine::{Format, Masker, MaskerOptions, OnError, Ruleset, Scratch};

use crate::codec::body::Framing;
use crate::codec::fields::Fields;
use crate::codec::head::{RequestHead, ResponseHead};
use crate::config::UpstreamUrl;
use crate::problem::{Problem, reason};
use crate::stats::{Matches, ShardStats};

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

/// Masks one body and counts what it does.
pub(crate) struct Mask {
    masker: Masker,
    matches: Arc<Matches>,
    held: u64,
    is_request: bool,
}

impl Mask {
    fn new(ruleset: &Arc<Ruleset>, format: Format, stats: &ShardStats, is_request: bool) -> Mask {
        let options = MaskerOptions { on_error: OnError::Block, ..MaskerOptions::default() };
        let masker = Masker::new(ruleset, format, options);
        Mask { masker, matches: stats.matches.load_full(), held: 0, is_request }
    }

    /// Masks the next bytes; `last`: none come after.
    ///
    /// # Errors
    /// The body is not valid in its format.
    pub(crate) fn push(
        &mut self,
        scratch: &mut Scratch,
        stats: &ShardStats,
        content: &[u8],
        last: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), Problem> {
        let started = std::time::Instant::now();
        let mut done = self.masker.push(scratch, content, out);
        if last && done.is_ok() {
            done = self.masker.finish(scratch, out);
        }
        ShardStats::count(&stats.masking_us, started.elapsed().as_micros() as u64);
        let scanned =
            if self.is_request { &stats.request_bytes_scanned } else { &stats.response_bytes_scanned };
        ShardStats::count(scanned, content.len() as u64);
        ShardStats::count(&stats.bytes_passed_opaque, self.masker.take_unscanned());
        self.masker.take_findings().iter().for_each(|f| self.matches.count(f.rule));
        self.hold(stats, self.masker.held() as u64);
        let problem =
            if self.is_request { Problem::REQUEST_UNMASKABLE } else { Problem::RESPONSE_UNMASKABLE };
        done.map_err(|_| problem)
    }

    fn hold(&mut self, stats: &ShardStats, held: u64) {
        let change = held.wrapping_sub(std::mem::replace(&mut self.held, held));
        stats.hold_back_bytes.fetch_add(change, std::sync::atomic::Ordering::Relaxed);
    }

    /// The body is over, whole or not: nothing is held any more.
    pub(crate) fn close(&mut self, stats: &ShardStats) {
        self.hold(stats, 0);
    }
}

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
    upstream: &UpstreamUrl,
    ruleset: &Arc<Ruleset>,
    stats: &ShardStats,
) -> Result<ForwardRequest, Problem> {
    let mask = match head.framing {
        Framing::Empty => None,
        Framing::Length(_) | Framing::Chunked | Framing::UntilClose => {
            let format = format_of(&head.fields).ok_or(Problem::REQUEST_UNMASKABLE)?;
            Some(Mask::new(ruleset, format, stats, true))
        }
    };
    let mut fields = Fields::default();
    fields.push("Host", upstream.authority());
    for (name, value) in head.fields.forwarded(REQUEST_DROPPED).iter() {
        fields.push(name, value);
    }
    fields.push("Accept-Encoding", "identity");
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
    /// Events must reach the client at once, their head too.
    pub(crate) is_live: bool,
}

/// Plans a response.
///
/// # Errors
/// It can't be scanned.
pub(crate) fn response(
    head: &ResponseHead,
    ruleset: &Arc<Ruleset>,
    scratch: &mut Scratch,
    stats: &ShardStats,
) -> Result<ForwardResponse, Problem> {
    if head.status == 206 || head.fields.has("content-range") {
        return Err(Problem::RESPONSE_UNMASKABLE);
    }
    let mut is_live = false;
    let mask = match head.framing {
        Framing::Empty => None,
        Framing::Length(_) | Framing::Chunked | Framing::UntilClose => {
            let format = format_of(&head.fields).ok_or(Problem::RESPONSE_UNMASKABLE)?;
            is_live = format == Format::Sse;
            Some(Mask::new(ruleset, format, stats, false))
        }
    };
    let mut fields = head.fields.forwarded(RESPONSE_DROPPED);
    mask_fields(&mut fields, RESPONSE_UNSCANNED, ruleset, scratch, stats);
    Ok(ForwardResponse { fields, mask, is_live })
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

/// How a body is to be read; `None` when it can't be: a content coding, or two readings of its type.
fn format_of(fields: &Fields) -> Option<Format> {
    let plain = |v: &[u8]| v.is_empty() || v.eq_ignore_ascii_case(b"identity");
    if !fields.all("content-encoding").all(plain) {
        return None;
    }
    let mut kinds = fields.all("content-type");
    let Some(kind) = kinds.next() else { return Some(Format::Auto) };
    if kinds.next().is_some() {
        return None;
    }
    let kind = std::str::from_utf8(kind).ok()?;
    if kind.trim_start().to_ascii_lowercase().starts_with("multipart/byteranges") {
        return None;
    }
    Format::from_content_type(kind)
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
        for (list, format) in [
            (&[][..], Some(Format::Auto)),
            (&[("Content-Type", "application/json")], Some(Format::Json)),
            (&[("Content-Type", "text/plain"), ("Content-Encoding", "Identity")], Some(Format::Text)),
            (&[("Content-Type", "text/plain"), ("Content-Encoding", "gzip")], None),
            (&[("Content-Type", "text/plain"), ("Content-Encoding", "identity, br")], None),
            (&[("Content-Type", "text/plain"), ("Content-Type", "application/json")], None),
            (&[("Content-Type", "application/grpc")], None),
            (&[("Content-Type", "multipart/byteranges; boundary=x")], None),
        ] {
            assert_eq!(format_of(&fields(list)), format, "{list:?}");
        }
    }
}
