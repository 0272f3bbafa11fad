//! Messages behind their prefixes: every cut, compressed ones, faults and limits.

use super::super::tests::{check_bytes, mask, rules};
use super::*;
use crate::format::{Format, FormatErrorKind, OnError};

fn plain(coding: Option<Coding>) -> Format {
    Format::Grpc { schema: Schema::Unknown, coding }
}

fn message(flag: u8, bytes: &[u8]) -> Vec<u8> {
    [&[flag][..], &(bytes.len() as u32).to_be_bytes(), bytes].concat()
}

/// A message with one field of text.
fn field(text: &[u8]) -> Vec<u8> {
    [&[0x1A, text.len() as u8][..], text].concat()
}

fn encode(coding: Coding, bytes: &[u8]) -> Vec<u8> {
    let (mut encoder, mut out) = (Encoder::new(&Codings::new(vec![coding]).unwrap()), Vec::new());
    encoder.push(bytes, &mut out).unwrap();
    encoder.finish(&mut out).unwrap();
    out
}

fn decode(coding: Coding, bytes: &[u8]) -> Vec<u8> {
    let codings = Codings::new(vec![coding]).unwrap();
    let (mut decoder, mut out) = (Decoder::new(&codings, CodingLimits::default()), Vec::new());
    decoder.push(bytes, &mut out).unwrap();
    decoder.finish(&mut out).unwrap();
    out
}

const CODINGS: [Coding; 5] = [Coding::Gzip, Coding::Deflate, Coding::RawDeflate, Coding::Br, Coding::Zstd];

#[test]
fn messages_are_masked_in_place() {
    let clean = [message(0, &field(b"hello")), message(0, b""), message(0, &field(b"x ghp_ y"))].concat();
    let done = check_bytes(plain(None), &clean);
    assert_eq!((done.output, done.error), (clean, None));
    let body =
        |text: &[u8]| [message(0, &field(text)), message(0, &field(b"x")), message(0, &field(text))].concat();
    let done = check_bytes(plain(None), &body(b"my ghp_Abcd1234"));
    assert_eq!((done.output, done.error), (body(b"my ************"), None));
    assert_eq!(done.findings.iter().map(|f| (f.1, f.2)).collect::<Vec<_>>(), [(10, 22), (40, 52)]);
    // A value is in one message or in none.
    let cut = [message(0, &field(b"ghp_Abcd")), message(0, &field(b"1234"))].concat();
    assert_eq!(check_bytes(plain(None), &cut).output, cut);
}

#[test]
fn the_schema_is_that_of_the_messages() {
    let pair = [&b"\x0a\x08password\x12\x09\x0a\x07"[..], b"hunter2"].concat();
    let wrap = |inner: Vec<u8>| [&[0x0A, inner.len() as u8][..], &inner].concat();
    let body = message(0, &wrap(wrap(wrap(pair))));
    let format = Format::Grpc { schema: Schema::OtlpLogs, coding: None };
    let done = check_bytes(format, &body);
    assert_eq!(done.output, [&body[..body.len() - 7], b"*******"].concat());
}

#[test]
fn compressed_messages_are_masked() {
    for coding in CODINGS {
        let clean = message(1, &encode(coding, &field(b"hello hello hello")));
        let secret = message(1, &encode(coding, &field(b"my ghp_Abcd1234 is it")));
        let body = [&clean[..], &secret, &message(0, &field(b"ghp_Abcd1234")), &message(1, b"")].concat();
        let done = check_bytes(plain(Some(coding)), &body);
        assert_eq!(done.error, None, "{coding:?}");
        let rest = done.output.strip_prefix(&clean[..]).expect("a clean message leaves as it came");
        assert_eq!(rest[0], 1);
        let (len, rest) = rest[1..].split_at(4);
        let (inner, rest) = rest.split_at(u32::from_be_bytes(len.try_into().unwrap()) as usize);
        assert_eq!(decode(coding, inner), field(b"my ************ is it"), "{coding:?}");
        assert_eq!(rest, [message(0, &field(b"************")), message(1, b"")].concat());
        let at = clean.len() as u64;
        assert_eq!((done.findings[0].1, done.findings[0].2), (at, at + secret.len() as u64));
    }
}

#[test]
fn trailers_of_grpc_web_are_text() {
    let body = |secret: &str| {
        let trailers = format!("grpc-status: 2\r\ngrpc-message: no {secret}\r\n");
        [message(0, &field(b"x")), message(0x80, trailers.as_bytes())].concat()
    };
    assert_eq!(check_bytes(plain(None), &body("ghp_Abcd1234")).output, body("************"));
}

#[test]
fn faults_end_the_body_whatever_is_asked_for() {
    let gzip = encode(Coding::Gzip, &field(b"ghp_Abcd1234"));
    for (body, coding, offset) in [
        (message(1, &gzip), None, 0),
        (message(2, b""), None, 0),
        (message(0x81, b""), Some(Coding::Gzip), 0),
        (message(0, b"\x0e"), None, 5),
        (message(0, b"\x0a\x05abc"), None, 10),
        ([message(0, b""), vec![0, 0, 0]].concat(), None, 8),
        (message(0, b"\x08\x01")[..6].to_vec(), None, 6),
        (message(1, b"no gzip at all, none"), Some(Coding::Gzip), 25),
        (message(1, &gzip[..gzip.len() - 1]), Some(Coding::Gzip), 5 + gzip.len() as u64 - 1),
        (
            message(1, &encode(Coding::Gzip, b"\x0e")),
            Some(Coding::Gzip),
            5 + encode(Coding::Gzip, b"\x0e").len() as u64,
        ),
    ] {
        let done = check_bytes(plain(coding), &body);
        let error = done.error.clone().unwrap_or_else(|| panic!("{body:?} is taken"));
        assert_eq!(error.offset(), offset, "{body:?}: {error}");
        let text = mask(&rules(), plain(coding), OnError::Text, [&body[..]]);
        assert_eq!(text, done, "{body:?}");
    }
}

#[test]
fn limits() {
    let sized = |n: usize| encode(Coding::Zstd, &[&[0x1A][..], &varint(n), &vec![b' '; n]].concat());
    let error = |body: Vec<u8>| {
        mask(&rules(), plain(Some(Coding::Zstd)), OnError::Block, [&body[..]]).error.map(|e| e.kind())
    };
    let over = FormatErrorKind::Limit("the size of a compressed message");
    // Random bytes lift the ratio: two messages that decode to the limit, and one byte past it.
    let noise: Vec<u8> = (0..CODED_BYTES_MAX as u64)
        .map(|n| (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8 | 0x80)
        .collect();
    let body = |n: usize| encode(Coding::Zstd, &[&[0x1A][..], &varint(n), &noise[..n]].concat());
    assert_eq!(error(message(1, &body(CODED_BYTES_MAX - 5))), None);
    assert_eq!(error(message(1, &body(CODED_BYTES_MAX - 4))), Some(over));
    let mut prefix = vec![1];
    prefix.extend_from_slice(&(CODED_BYTES_MAX as u32 + 1).to_be_bytes());
    assert_eq!(error(prefix), Some(over));
    let ratio = FormatErrorKind::Limit("output to input of a content coding");
    assert_eq!(error(message(1, &sized(3 << 20))), Some(ratio));
}

fn varint(mut n: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while n >= 0x80 {
        bytes.push((n & 0x7F) as u8 | 0x80);
        n >>= 7;
    }
    bytes.push(n as u8);
    bytes
}
