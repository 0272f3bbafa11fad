//! Bodies in a format: the same for every chunking, and well formed where they were.

use sluice_engine::{Boundary, Finding, Format, FormatError, Masker, MaskerOptions, OnError, Scratch};

use crate::random::Random;
use crate::stream::every_part;

/// What became of a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) output: Vec<u8>,
    pub(crate) findings: Vec<Finding>,
    pub(crate) error: Option<FormatError>,
}

/// Masks a body in these chunks. After an error nothing more may come out.
fn mask(format: Format, on_error: OnError, chunks: &[&[u8]]) -> Outcome {
    let options = MaskerOptions { on_error, ..MaskerOptions::default() };
    let (mut masker, mut scratch) = (Masker::new(&every_part(), format, options), Scratch::new());
    let (mut output, mut findings, mut error) = (Vec::new(), Vec::new(), None);
    for chunk in chunks {
        let before = output.len();
        let pushed = masker.push(&mut scratch, chunk, &mut output);
        if error.is_some() {
            assert_eq!(pushed.as_ref().err(), error.as_ref(), "an error is not returned again");
            assert_eq!(output.len(), before, "something came out after an error");
        }
        error = error.or(pushed.err());
        findings.extend(masker.take_findings());
    }
    let before = output.len();
    let finished = masker.finish(&mut scratch, &mut output);
    if error.is_some() {
        assert_eq!(output.len(), before, "something came out after an error");
    }
    error = error.or(finished.err());
    findings.extend(masker.take_findings());
    findings.sort_by_key(|f| (f.start, f.end, f.rule));
    Outcome { output, findings, error }
}

/// The promises of every format; gives the outcome for the format's own.
pub(crate) fn check(format: Format, body: &[u8]) -> Outcome {
    for on_error in [OnError::Text, OnError::Block] {
        let whole = mask(format, on_error, &[body]);
        let cut = mask(format, on_error, &Random::of(body).chunks(body));
        let bytes: Vec<&[u8]> = body.chunks(1).collect();
        for other in [cut, mask(format, on_error, &bytes)] {
            assert_eq!(
                String::from_utf8_lossy(&other.output),
                String::from_utf8_lossy(&whole.output),
                "{format:?}, {on_error:?}: the output depends on the chunks of {:?}",
                String::from_utf8_lossy(body)
            );
            assert_eq!(other, whole, "{format:?}, {on_error:?}: the outcome depends on the chunks");
        }
        for finding in &whole.findings {
            assert!(
                finding.start < finding.end && finding.end <= body.len() as u64,
                "{finding:?} is out of the body"
            );
        }
        if on_error == OnError::Text {
            let always_blocks =
                matches!(format, Format::Grpc { .. } | Format::EventStream | Format::WebSocket(_));
            assert!(
                whole.error.is_none() || always_blocks,
                "{format:?}: what can't be read is scanned as text"
            );
        }
        if on_error == OnError::Block {
            return whole;
        }
    }
    unreachable!("the loop returns for its last item")
}

/// One JSON value: valid in, valid out, and the same but for what was masked.
pub fn json(body: &[u8]) {
    let outcome = check(Format::Json, body);
    let valid = |text: &[u8]| serde_json::from_slice::<serde_json::Value>(text).is_ok();
    if outcome.error.is_none() && valid(body) {
        assert!(valid(&outcome.output), "valid JSON became {:?}", String::from_utf8_lossy(&outcome.output));
    }
    if outcome.error.is_none() && outcome.findings.is_empty() && !may_empty(body) {
        assert!(outcome.output == body, "clean JSON changed");
    }
}

/// JSON values, one a line.
pub fn ndjson(body: &[u8]) {
    let outcome = check(Format::Ndjson, body);
    let valid = |text: &[u8]| {
        let lines = text.split(|b| *b == b'\n').filter(|line| !line.trim_ascii().is_empty());
        lines.map(|line| serde_json::from_slice::<serde_json::Value>(line).is_ok()).collect::<Vec<_>>()
    };
    let before = valid(body);
    if outcome.error.is_none() && before.iter().all(|ok| *ok) {
        assert_eq!(
            valid(&outcome.output),
            before,
            "valid lines broke: {:?}",
            String::from_utf8_lossy(&outcome.output)
        );
    }
    if outcome.error.is_none() && outcome.findings.is_empty() && !may_empty(body) {
        assert!(outcome.output == body, "clean NDJSON changed");
    }
}

/// Server-sent events: data that is JSON stays JSON.
pub fn sse(body: &[u8]) {
    let outcome = check(Format::Sse, body);
    if outcome.error.is_none() && data_is_json(body) {
        assert!(
            data_is_json(&outcome.output),
            "events broke: {:?}",
            String::from_utf8_lossy(&outcome.output)
        );
    }
    if outcome.error.is_none() && outcome.findings.is_empty() && !may_empty(body) {
        assert!(outcome.output == body, "a clean stream changed");
    }
}

/// What says a text again may leave empty without a finding of its own.
fn may_empty(body: &[u8]) -> bool {
    let says_again = |name: &[u8]| body.windows(name.len()).any(|w| w == name);
    says_again(b"logprobs") || says_again(b"\\u")
}

/// Whether the stream has only events of one line of data that is JSON or `[DONE]`, each ended by an empty line. Lines
/// that end with CR, which the format allows too, are left to others.
fn data_is_json(body: &[u8]) -> bool {
    if body.contains(&b'\r') {
        return false;
    }
    let Some(events) = std::str::from_utf8(body).ok().and_then(|text| text.strip_suffix("\n\n")) else {
        return false;
    };
    events.split("\n\n").all(|event| {
        let mut lines = event.split('\n').filter(|line| !line.starts_with("event: "));
        let data = lines.next().and_then(|line| line.strip_prefix("data: "));
        let json = |data: &str| data == "[DONE]" || serde_json::from_str::<serde_json::Value>(data).is_ok();
        data.is_some_and(json) && lines.next().is_none()
    })
}

/// A form: as many pairs as before.
pub fn form(body: &[u8]) {
    let outcome = check(Format::Form, body);
    if outcome.error.is_none() {
        let count = |text: &[u8], byte: u8| text.iter().filter(|b| **b == byte).count();
        assert_eq!(count(body, b'&'), count(&outcome.output, b'&'), "pairs came or went");
        if outcome.findings.is_empty() {
            assert!(outcome.output == body, "a clean form changed");
        }
    }
}

/// A multipart body with the boundary `XyZ`.
pub fn multipart(body: &[u8]) {
    let Some(boundary) = Boundary::new("XyZ") else { return };
    check(Format::Multipart(boundary), body);
}

/// Texts that spell other texts: of equal length where framing is not known, and the same output for every chunking.
///
/// Findings are not compared: where values of several readings overlap, which of them is told may depend on the chunks.
pub fn nested(body: &[u8]) {
    for format in [Format::Text, Format::Bytes] {
        let whole = mask(format, OnError::Block, &[body]);
        let bytes: Vec<&[u8]> = body.chunks(1).collect();
        for chunks in [Random::of(body).chunks(body), bytes] {
            let cut = mask(format, OnError::Block, &chunks);
            assert_eq!(
                String::from_utf8_lossy(&cut.output),
                String::from_utf8_lossy(&whole.output),
                "{format:?}: the output depends on the chunks of {:?}",
                String::from_utf8_lossy(body)
            );
        }
        let keeps_length = format == Format::Bytes;
        assert!(!keeps_length || whole.output.len() == body.len(), "bytes keep their length");
    }
}

/// Whatever it is.
pub fn auto(body: &[u8]) {
    check(Format::Auto, body);
    check(Format::Text, body);
    let bytes = check(Format::Bytes, body);
    assert_eq!(bytes.output.len(), body.len(), "bytes of unknown framing keep their length");
}
