//! Bodies in binary framings: lengths stay right, and what is coded comes back.

use sluice_engine::{Coding, CodingLimits, Codings, Decoder, Encoder, Format, Schema, WebSocketSide};

use crate::masker::check;
use crate::random::Random;

/// Messages of which nothing is known.
pub fn protobuf(body: &[u8]) {
    equal_length(Schema::Unknown, body);
}

/// Requests of OTLP, of each signal.
pub fn otlp(body: &[u8]) {
    for schema in
        [Schema::Otlp, Schema::OtlpTraces, Schema::OtlpLogs, Schema::OtlpMetrics, Schema::OtlpProfiles]
    {
        equal_length(schema, body);
    }
}

fn equal_length(schema: Schema, body: &[u8]) {
    let outcome = check(Format::Protobuf(schema), body);
    if outcome.error.is_none() {
        assert_eq!(outcome.output.len(), body.len(), "a length changed");
    }
    if outcome.findings.is_empty() {
        assert!(body.starts_with(&outcome.output), "clean messages changed");
    }
}

/// gRPC: as many messages as before, of the same lengths where they are not compressed.
pub fn grpc(body: &[u8]) {
    for coding in [None, Some(Coding::Gzip)] {
        let outcome = check(Format::Grpc { schema: Schema::Unknown, coding }, body);
        if outcome.findings.is_empty() {
            assert!(body.starts_with(&outcome.output), "clean messages changed");
        }
        if outcome.error.is_some() {
            continue;
        }
        let (before, after) = (messages(body), messages(&outcome.output));
        assert_eq!(before.len(), after.len(), "messages came or went");
        for (before, after) in before.iter().zip(&after) {
            assert_eq!(before.first(), after.first(), "a flag changed");
            if before.first() != Some(&1) {
                assert_eq!(before.len(), after.len(), "a length changed");
            }
        }
    }
}

/// Messages with their prefixes.
fn messages(mut body: &[u8]) -> Vec<&[u8]> {
    let mut all = Vec::new();
    while let Some(len) = body.get(1..).and_then(|rest| rest.first_chunk()) {
        let len = u32::from_be_bytes(*len) as usize + 5;
        let (message, rest) = body.split_at_checked(len).expect("a message is whole");
        all.push(message);
        body = rest;
    }
    assert!(body.is_empty(), "a prefix is cut");
    all
}

/// The AWS event stream: what comes out is read again, and then nothing is found in it that could be masked more.
pub fn event_stream(body: &[u8]) {
    let outcome = check(Format::EventStream, body);
    if outcome.error.is_none() {
        if outcome.findings.is_empty() {
            assert!(outcome.output == body, "a clean stream changed");
        }
        let again = check(Format::EventStream, &outcome.output);
        assert_eq!(again.error, None, "what was written can't be read");
    }
}

/// Frames of a WebSocket: the same messages come out, and what comes out is read again.
pub fn websocket(body: &[u8]) {
    for side in [WebSocketSide::Client, WebSocketSide::Server] {
        let format = Format::WebSocket(side);
        let outcome = check(format, body);
        if outcome.error.is_some() {
            continue;
        }
        let again = check(format, &outcome.output);
        assert_eq!(again.error, None, "what was written can't be read");
        assert!(again.output == outcome.output || !again.findings.is_empty(), "a clean stream changed");
    }
}

/// Codings: the first byte says which; the rest is taken as coded, and as what is to be coded.
pub fn coding(document: &[u8]) {
    use Coding::{Br, Deflate, Gzip, RawDeflate, Zstd};
    let Some((first, body)) = document.split_first() else { return };
    let stacks: [&[Coding]; 8] = [
        &[Gzip],
        &[Deflate],
        &[RawDeflate],
        &[Br],
        &[Zstd],
        &[Gzip, Br],
        &[Zstd, Gzip],
        &[Br, Deflate, Zstd],
    ];
    let list = stacks[usize::from(*first) % stacks.len()];
    let codings = Codings::new(list.to_vec()).expect("few enough");
    let chunks = Random::of(document).chunks(body);
    let bytes: Vec<&[u8]> = body.chunks(1).collect();
    let whole = decode(&codings, &[body]);
    for parts in [&chunks, &bytes] {
        assert_eq!(decode(&codings, parts), whole, "{codings:?}: the text depends on the chunks");
    }
    if let Some(text) = whole {
        let limits = CodingLimits::default();
        let most =
            (body.len().div_ceil(4096) * 4096 * limits.ratio_max as usize).max(limits.free_bytes as usize);
        assert!(list.len() > 1 || text.len() <= most, "{codings:?}: {} of {}", text.len(), body.len());
        // Coded again, it is the same text.
        assert_eq!(decode(&codings, &[&encode(&codings, &[&text])]), Some(text));
    }
    let coded = encode(&codings, &chunks);
    assert_eq!(decode(&codings, &[&coded]).as_deref(), Some(body), "{codings:?}");
}

fn decode(codings: &Codings, parts: &[&[u8]]) -> Option<Vec<u8>> {
    let (mut decoder, mut text) = (Decoder::new(codings, CodingLimits::default()), Vec::new());
    for part in parts {
        decoder.push(part, &mut text).ok()?;
    }
    decoder.finish(&mut text).ok()?;
    Some(text)
}

/// Encodes, with a flush after each part: what has been given must be readable at once.
fn encode(codings: &Codings, parts: &[&[u8]]) -> Vec<u8> {
    let (mut encoder, mut coded) = (Encoder::new(codings), Vec::new());
    let mut decoder = Decoder::new(codings, CodingLimits::default());
    let (mut given, mut read) = (0, Vec::new());
    for part in parts {
        let from = coded.len();
        encoder.push(part, &mut coded).expect("it is encoded");
        encoder.flush(&mut coded).expect("it is encoded");
        given += part.len();
        decoder.push(coded.get(from..).unwrap_or_default(), &mut read).expect("it is decoded");
        assert_eq!(read.len(), given, "{codings:?}: a flush kept something");
    }
    encoder.finish(&mut coded).expect("it is encoded");
    coded
}
