//! Messages: the tables of OTLP, bytes of which nothing is known, every cut, planted values, faults and limits.

use proptest::prelude::*;

use super::super::tests::{Done, check_bytes, mask, rules};
use super::*;
use crate::format::{Format, FormatErrorKind, OnError};

mod spelled;

const SECRET: &[u8] = b"ghp_Abcd1234";
const FILLED: &[u8] = b"************";

fn varint_of(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn tagged(number: u32, wire: u64, rest: &[u8]) -> Vec<u8> {
    [varint_of(u64::from(number) << 3 | wire), rest.to_vec()].concat()
}

/// A length-delimited field.
fn len(number: u32, value: impl AsRef<[u8]>) -> Vec<u8> {
    let value = value.as_ref();
    tagged(number, 2, &[varint_of(value.len() as u64), value.to_vec()].concat())
}

fn int(number: u32, value: u64) -> Vec<u8> {
    tagged(number, 0, &varint_of(value))
}

fn fixed64(number: u32, value: u64) -> Vec<u8> {
    tagged(number, 1, &value.to_le_bytes())
}

/// Nests a field in others, given from the outermost.
fn within(path: &[u32], field: Vec<u8>) -> Vec<u8> {
    path.iter().rev().fold(field, |inner, number| len(*number, inner))
}

fn masked(schema: Schema, body: &[u8]) -> Vec<u8> {
    let done = check_bytes(Format::Protobuf(schema), body);
    assert_eq!(done.error, None, "{body:?}");
    assert_eq!(done.output.len(), body.len());
    done.output
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = bytes;
    while let Some(at) = find(rest, from) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(to);
        rest = &rest[at + from.len()..];
    }
    out.extend_from_slice(rest);
    out
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|w| w == what)
}

fn any_string(text: impl AsRef<[u8]>) -> Vec<u8> {
    len(1, text)
}

fn pair(key: &str, value: &[u8]) -> Vec<u8> {
    [len(1, key), len(2, value)].concat()
}

const TRACE_ID: &[u8; 16] = b"ghp_Abcd1234 abc";
const SPAN_ID: &[u8; 8] = b"ghp_Abcd";

/// A request with each part of a trace.
fn trace(secret: &[u8]) -> Vec<u8> {
    let event = [fixed64(1, 7), len(2, secret), len(3, pair("a", &any_string(secret)))].concat();
    let link =
        [len(1, TRACE_ID), len(2, SPAN_ID), len(3, secret), len(4, pair("b", &any_string(secret)))].concat();
    let span = [
        len(1, TRACE_ID),
        len(2, SPAN_ID),
        len(3, secret),
        len(4, SPAN_ID),
        len(5, secret),
        int(6, 2),
        fixed64(7, 1_700_000_000_000_000_000),
        len(9, pair("c", &any_string([b"x ", secret].concat()))),
        len(9, pair("d", &len(5, [len(1, any_string(secret)), len(1, int(3, 5))].concat()))),
        len(9, pair("e", &len(6, len(1, pair("f", &any_string(secret)))))),
        len(9, pair("g", &len(7, secret))),
        len(11, event),
        len(13, link),
        len(15, [len(2, secret), int(3, 2)].concat()),
        tagged(16, 5, &[1, 2, 3, 4]),
        len(99, secret),
    ]
    .concat();
    let scope = [len(1, secret), len(2, secret), len(3, pair("h", &any_string(secret)))].concat();
    let spans = [len(1, scope), len(2, &span), len(2, &span), len(3, secret)].concat();
    let resource = [
        len(1, pair("i", &any_string(secret))),
        int(2, 3),
        len(3, [len(1, secret), len(2, secret), len(3, secret)].concat()),
    ]
    .concat();
    len(1, [len(1, resource), len(2, spans), len(3, secret)].concat())
}

#[test]
fn what_has_no_value_leaves_as_it_came() {
    for schema in [Schema::Unknown, Schema::Otlp, Schema::OtlpTraces] {
        let body = trace(b"clean text!!");
        let ids = if schema == Schema::OtlpTraces { body } else { replaced(&body, b"ghp_", b"ghx_") };
        assert_eq!(masked(schema, &ids), ids, "{schema:?}");
    }
    for schema in [
        Schema::Unknown,
        Schema::Otlp,
        Schema::OtlpTraces,
        Schema::OtlpLogs,
        Schema::OtlpMetrics,
        Schema::OtlpProfiles,
    ] {
        assert_eq!(masked(schema, b""), b"");
        let body = [int(7, 300), len(19, b"hello"), tagged(20, 3, &int(1, 1)), tagged(20, 4, b"")].concat();
        assert_eq!(masked(schema, &body), body, "{schema:?}");
    }
}

#[test]
fn every_text_of_a_trace_is_masked_and_no_id() {
    let body = trace(SECRET);
    let clean = trace(FILLED);
    assert_eq!(masked(Schema::OtlpTraces, &body), clean);
    let mut walker = ProtobufWalker::new(&rules(), Schema::OtlpTraces, false);
    let (mut scratch, mut out, mut findings) = (crate::Scratch::new(), Vec::new(), Vec::new());
    let target = Target { scratch: &mut scratch, out: &mut out, findings: &mut findings };
    walker.push(&body, target).unwrap();
    assert_eq!(walker.take_unscanned(), 2 * (16 + 8 + 8 + 16 + 8));
    for finding in &findings {
        assert_eq!(&body[finding.start as usize..finding.end as usize], SECRET);
    }
}

#[test]
fn an_id_of_another_length_is_a_text() {
    for id in [&b"ghp_Abcd1234"[..], b"ghp_Abcd1234 as a trace id"] {
        let body = within(&[1, 2, 2], len(1, id));
        assert_eq!(masked(Schema::OtlpTraces, &body), replaced(&body, SECRET, FILLED));
    }
}

#[test]
fn every_text_of_the_other_signals_is_masked() {
    let value = any_string(SECRET);
    let attribute = |number| len(number, pair("k", &value));
    let point = |exemplar: u32, attributes: u32| {
        [attribute(attributes), len(exemplar, [len(4, SPAN_ID), len(5, TRACE_ID), attribute(7)].concat())]
            .concat()
    };
    for (schema, path, field) in [
        (Schema::OtlpLogs, &[1, 2, 2][..], len(3, SECRET)),
        (Schema::OtlpLogs, &[1, 2, 2], len(5, &value)),
        (Schema::OtlpLogs, &[1, 2, 2], len(5, len(6, attribute(1)))),
        (Schema::OtlpLogs, &[1, 2, 2], [attribute(6), len(9, TRACE_ID), len(10, SPAN_ID)].concat()),
        (Schema::OtlpLogs, &[1, 2, 2], len(12, SECRET)),
        (Schema::OtlpMetrics, &[1, 2, 2], [len(1, SECRET), len(2, SECRET), len(3, SECRET)].concat()),
        (Schema::OtlpMetrics, &[1, 2, 2, 5, 1], point(5, 7)),
        (Schema::OtlpMetrics, &[1, 2, 2, 7, 1], point(5, 7)),
        (Schema::OtlpMetrics, &[1, 2, 2, 9, 1], [len(6, [0x67; 16]), point(8, 9)].concat()),
        (Schema::OtlpMetrics, &[1, 2, 2, 10, 1], [point(11, 1), len(8, len(2, b"\x01\x02"))].concat()),
        (Schema::OtlpMetrics, &[1, 2, 2, 11, 1], [attribute(7), len(6, fixed64(1, 1))].concat()),
        (Schema::OtlpMetrics, &[1, 2, 2], attribute(12)),
        (Schema::OtlpProfiles, &[1, 2, 2], [len(9, SECRET), len(11, SECRET), len(12, SECRET)].concat()),
        (
            Schema::OtlpProfiles,
            &[2],
            [len(5, SECRET), attribute(6), len(6, [int(1, 4), len(2, &value)].concat())].concat(),
        ),
        (Schema::OtlpProfiles, &[2, 4], [len(1, TRACE_ID), len(2, SPAN_ID), len(3, SECRET)].concat()),
    ] {
        let body = within(path, field);
        let ids = replaced(&body, TRACE_ID, b"################");
        let clean = replaced(&replaced(&ids, SECRET, FILLED), b"################", TRACE_ID);
        assert_eq!(masked(schema, &body), clean, "{schema:?} {path:?}");
    }
}

#[test]
fn keys_tell_what_their_values_are() {
    let hidden = |value: &[u8], filled: &[u8]| (pair("db.password", value), pair("db.password", filled));
    for (body, clean) in [
        hidden(&any_string("hunter2"), &any_string("*******")),
        hidden(&len(7, "hunter2"), &len(7, "*******")),
        hidden(
            &len(5, [len(1, any_string("hunter2")), len(1, any_string("second"))].concat()),
            &len(5, [len(1, any_string("*******")), len(1, any_string("******"))].concat()),
        ),
        hidden(
            &len(6, len(1, pair("x", &any_string("hunter2")))),
            &len(6, len(1, pair("x", &any_string("hunter2")))),
        ),
        hidden(&int(3, 123_456), &[&[0x18][..], b"\x80\x80\x00"].concat()),
        hidden(&fixed64(4, 123_456.5_f64.to_bits()), &fixed64(4, 0)),
        (pair("card", &int(3, 4_111_111_111_111_111)), {
            let zero = [&[0x18][..], &[0x80; 7], &[0]].concat();
            pair("card", &zero)
        }),
        (pair("card", &int(3, 4_111_111_111_111_112)), pair("card", &int(3, 4_111_111_111_111_112))),
        (
            pair("x", &len(6, len(1, pair("password", &any_string("hunter2"))))),
            pair("x", &len(6, len(1, pair("password", &any_string("*******"))))),
        ),
        (pair("ghp_Abcd1234", &any_string("x")), pair("************", &any_string("x"))),
    ] {
        let (body, clean) = (within(&[1, 1, 1], body), within(&[1, 1, 1], clean));
        assert_eq!(masked(Schema::OtlpTraces, &body), clean, "{body:?}");
        assert_eq!(masked(Schema::Otlp, &body), clean, "{body:?}");
    }
    // Of a signal that is not known, and of maps of messages that are not known at all.
    let body = within(&[1, 2, 2, 9], pair("password", &any_string("hunter2")));
    let clean = within(&[1, 2, 2, 9], pair("password", &any_string("*******")));
    assert_eq!(masked(Schema::Otlp, &body), clean);
    let body = len(3, [len(1, "password"), len(2, "hunter2"), len(3, "hunter2")].concat());
    let clean = len(3, [len(1, "password"), len(2, "*******"), len(3, "hunter2")].concat());
    assert_eq!(masked(Schema::Unknown, &body), clean);
}

#[test]
fn a_key_behind_its_value_is_a_fault() {
    let value = len(2, any_string("hunter2"));
    let body = within(&[1, 1, 1], [&value[..], &len(1, "password")].concat());
    let done = check_bytes(Format::Protobuf(Schema::OtlpTraces), &body);
    assert_eq!(done.error.unwrap().kind(), FormatErrorKind::Invalid("a key after its value"));
    assert_eq!(find(&done.output, b"hunter2"), None);
    // Without one, the value has none.
    let body = within(&[1, 1, 1], value);
    assert_eq!(masked(Schema::OtlpTraces, &body), body);
    let held = |n: usize| within(&[1, 1, 1], len(2, any_string("x ".repeat(n))));
    let limit =
        |n: usize| check_bytes(Format::Protobuf(Schema::OtlpTraces), &held(n)).error.map(|e| e.kind());
    assert_eq!(limit(LOOK_AHEAD_BYTES as usize / 2 - 2), None);
    assert_eq!(
        limit(LOOK_AHEAD_BYTES as usize / 2 - 1),
        Some(FormatErrorKind::Limit("a value without a key"))
    );
}

#[test]
fn fields_of_unknown_messages_are_masked() {
    for field in [
        len(1, SECRET),
        len(9, SECRET),
        len(2, [b"\xFF\xFE ", SECRET, b" \x00"].concat()),
        len(2, len(3, SECRET)),
        len(2, [int(1, 5), len(3, SECRET), int(4, 9)].concat()),
        len(15, len(14, len(13, SECRET))),
        // The length is a letter, and so is the tag behind it.
        len(
            1,
            [len(8, [b"x".repeat(53), SECRET.to_vec()].concat().as_slice().trim_ascii()), len(8, "y")]
                .concat(),
        ),
        [len(3, [SECRET, b" "].concat()), len(8, [b" ".repeat(65), SECRET.to_vec()].concat())].concat(),
        [tagged(5, 3, &len(2, SECRET)), tagged(5, 4, b"")].concat(),
        len(1, [tagged(5, 3, &len(2, SECRET)), tagged(5, 4, b"")].concat()),
    ] {
        let body = [int(4, 9), field, len(6, "end")].concat();
        let boundary = find(&body, b"xghp_").is_some();
        let clean = if boundary { body.clone() } else { replaced(&body, SECRET, FILLED) };
        assert_eq!(masked(Schema::Unknown, &body), clean, "{body:?}");
    }
}

/// What a field may be read as, whoever reads it: no reading shows the value.
#[test]
fn strings_that_look_like_messages_are_masked() {
    let card = b"5355512011111111";
    assert!(wire::may_be_message(&card[..14], 14), "a card's first digits can be a message");
    for (string, hidden) in [
        // Printable: the whole value, tags and lengths in it too.
        (&b"5355512011111119"[..], None),
        (b"B,my key is ghp_Abcd1234 and it goes on, yes", Some(&b"ghp_Abcd1234"[..])),
        (b"p ghp_Abcd1234 0 0 ", Some(b"ghp_Abcd1234")),
        (b"\x0a\x0cghp_Abcd1234", Some(b"ghp_Abcd1234")),
        // A value that lies over a field's end, in a string that is no message.
        (b"\x0a\x06x ghp_Abcd1234", Some(b"ghp_Abcd1234")),
        (b"\x1b[0m password=hunter2x", Some(b"hunter2x")),
        (b"\x12\x05a ghp_Abcd1234 \x00", Some(b"ghp_Abcd1234")),
    ] {
        let body = len(3, string);
        let output = masked(Schema::Unknown, &body);
        if let Some(hidden) = hidden {
            assert_eq!(output, replaced(&body, hidden, &vec![b'*'; hidden.len()]), "{string:?}");
        }
    }
    // All the bytes of a card that can be read as fields.
    let luhn = |digits: &str| {
        let sum: u32 = digits
            .bytes()
            .rev()
            .enumerate()
            .map(|(n, d)| {
                let d = u32::from(d - b'0') * if n % 2 == 1 { 2 } else { 1 };
                d / 10 + d % 10
            })
            .sum();
        sum.is_multiple_of(10)
    };
    for last in 0..100 {
        let digits = format!("534551234567{:04}", last * 97);
        if luhn(&digits) {
            let output = masked(Schema::Unknown, &len(3, &digits));
            assert_eq!(output, len(3, "*".repeat(16)), "{digits}");
        }
    }
}

#[test]
fn a_message_stays_one_around_what_is_masked() {
    // A value without an end, and one that would go on over the tag `2` of what follows.
    for (first, filled) in [
        (&b"-----BEGIN KEY-----"[..], &b"*******************"[..]),
        (b"my password=hunter", b"my password=******"),
        (b"my password:", b"my password:"),
    ] {
        let body =
            len(1, [len(1, first), len(6, [b'y'; 48]), fixed64(11, u64::MAX / 3), int(6, 70)].concat());
        let output = masked(Schema::Unknown, &body);
        let fields = &output[2..];
        assert!(fields.starts_with(&len(1, filled)), "{fields:?}");
        let rest = &fields[len(1, filled).len()..];
        assert_eq!(&rest[..2], &[0x32, 48], "the tag and length stay");
        assert!(wire::may_be_message(fields, fields.len() as u64));
    }
}

/// A list of strings is printable, tags and lengths too, and a value without an end goes on over them.
#[test]
fn a_list_of_strings_stays_one() {
    let item = |start: &str| len(1, start.to_owned() + &"y".repeat(48 - start.len()));
    let list = |first: &str| len(5, [item(first), item("second"), item("third")].concat());
    assert!(wire::is_printable(&list("x")[3..], false));
    let output = masked(Schema::Unknown, &list("-----BEGIN KEY-----"));
    assert_eq!(output, len(5, [len(1, [b'*'; 48]), len(1, [b'*'; 48]), len(1, [b'*'; 48])].concat()));
}

/// What a message's own reading can't show is left of a value that lies over its fields: tags and lengths.
#[test]
fn of_a_value_over_the_fields_of_a_message_only_structure_is_left() {
    let rest = |n: usize| b"1234 ".iter().copied().chain(vec![b'y'; n - 5]).collect::<Vec<u8>>();
    // Out of an inner message, and into one.
    let out = [len(1, [int(1, 1), len(2, "my ghp_Ab")].concat()), len(8, rest(50))].concat();
    let inner = [tagged(6, 1, b"234 \0\0\0\0"), len(2, [b'y'; 39])].concat();
    let into = [int(1, 1), len(2, "my ghp_Ab"), len(8, inner)].concat();
    for (message, left) in [(out, b"******B2****"), (into, b"******B21***")] {
        let body = len(3, &message);
        assert!(find(&body, b"ghp_AbB21234 ").is_some());
        assert_eq!(masked(Schema::Unknown, &body), replaced(&body, b"ghp_AbB21234", left));
    }
}

#[test]
fn long_fields_are_told_by_their_first_bytes() {
    let filler = "lorem ipsum ".repeat(3000);
    let long = |middle: &[u8]| [filler.as_bytes(), middle, filler.as_bytes()].concat();
    for body in [
        len(2, long(b" ghp_Abcd1234 ")),
        len(2, len(3, long(b" ghp_Abcd1234 "))),
        // A message as far as one looks, and text behind.
        len(2, [len(1, &filler), long(b" ghp_Abcd1234 ")].concat()),
        len(2, [len(1, long(b" ghp_Abcd1234 ")), b"no message ghp_Abcd1234".to_vec()].concat()),
    ] {
        let done = mask(&rules(), Format::Protobuf(Schema::Unknown), OnError::Block, [&body[..]]);
        assert_eq!(done.output, replaced(&body, SECRET, FILLED));
        for size in [1, 7, 4096] {
            let cut = mask(&rules(), Format::Protobuf(Schema::Unknown), OnError::Block, body.chunks(size));
            assert_eq!(cut, done, "{size} a chunk");
        }
    }
}

#[test]
fn faults() {
    for (schema, body, offset) in [
        (Schema::Unknown, vec![0x0E], 0),
        (Schema::Unknown, vec![0x02, 0x00], 0),
        (Schema::Unknown, b"\x0a\x05abc".to_vec(), 5),
        (Schema::Unknown, b"\x0a".to_vec(), 1),
        (Schema::Unknown, b"\x08\x80".to_vec(), 2),
        (Schema::Unknown, b"\x09abc".to_vec(), 4),
        (Schema::Unknown, b"\x0b\x08\x01".to_vec(), 3),
        (Schema::Unknown, b"\x08\x01\x0c".to_vec(), 2),
        (Schema::Unknown, b"\x0b\x14".to_vec(), 1),
        (Schema::Unknown, [&[0x08][..], &[0xFF; 10]].concat(), 10),
        (Schema::Unknown, b"\x0a\xFF\xFF\xFF\xFF\x0F".to_vec(), 5),
        (Schema::OtlpTraces, len(1, b"\x0a\x05abc"), 3),
        (Schema::OtlpTraces, len(1, b"no message"), 2),
        (Schema::OtlpTraces, len(1, len(1, b"\x0d\x01")), 4),
    ] {
        let done = check_bytes(Format::Protobuf(schema), &body);
        let error = done.error.unwrap_or_else(|| panic!("{body:?} is taken"));
        assert_eq!(error.offset(), offset, "{body:?}: {error}");
        assert!(matches!(error.kind(), FormatErrorKind::Invalid(_)));
    }
}

#[test]
fn limits() {
    let error = |schema, body: Vec<u8>| check_bytes(Format::Protobuf(schema), &body).error.map(|e| e.kind());
    let nested = |n: usize| within(&vec![3; n - 1], int(1, 1));
    assert_eq!(error(Schema::Unknown, nested(TEXTS_MAX + 1)), None);
    let over = FormatErrorKind::Limit("the depth of unknown messages");
    assert_eq!(error(Schema::Unknown, nested(TEXTS_MAX + 2)), Some(over));
    let list = |n: usize| within(&[&[1, 1, 1][..], &[2, 6, 1].repeat(n)].concat(), len(1, "k"));
    // Frames: the body, the resources and a resource, then three a list.
    let most = (DEPTH_MAX - 4) / 3;
    assert_eq!(error(Schema::OtlpTraces, list(most)), None);
    let over = FormatErrorKind::Limit("the depth of messages");
    assert_eq!(error(Schema::OtlpTraces, list(most + 1)), Some(over));
}

#[test]
fn what_is_no_message_is_scanned_as_bytes_when_asked() {
    let rules = rules();
    for body in [
        &b"ghp_Abcd1234 is no message"[..],
        b"\x0a\x0cghp_Abcd1234\x0e ghp_Abcd1234",
        b"\x0a\x1fghp_Abcd1234",
        b"\x0a\x0cghp_Abcd1234\x12\x01 \x0f ghp_Abcd1234 \x00\x0a",
        &[len(1, "ghp_Abcd1234"), within(&[3; TEXTS_MAX + 3], len(1, "ghp_Abcd1234"))].concat(),
    ] {
        for schema in [Schema::Unknown, Schema::OtlpLogs] {
            let whole = mask(&rules, Format::Protobuf(schema), OnError::Text, [body]);
            assert_eq!((&whole.output, &whole.error), (&replaced(body, SECRET, FILLED), &None), "{body:?}");
            let cut: Done = mask(&rules, Format::Protobuf(schema), OnError::Text, body.chunks(1));
            assert_eq!(cut.output, whole.output, "{body:?}");
        }
    }
}

/// A message whose schema only the test knows.
#[derive(Clone, Debug)]
enum Value {
    Number(u64),
    Fixed(u64),
    Bytes(Vec<u8>),
    Message(Vec<(u32, Value)>),
}

fn encode(fields: &[(u32, Value)]) -> Vec<u8> {
    fields
        .iter()
        .flat_map(|(number, value)| match value {
            Value::Number(n) => int(*number, *n),
            Value::Fixed(n) => fixed64(*number, *n),
            Value::Bytes(bytes) => len(*number, bytes),
            Value::Message(fields) => len(*number, encode(fields)),
        })
        .collect()
}

/// The texts of a message, read with the schema of another.
fn texts(fields: &[(u32, Value)], bytes: &[u8], out: &mut Vec<Vec<u8>>) -> bool {
    let mut rest = bytes;
    for (number, value) in fields {
        let Read::Done((n, wire), head) = wire::tag(rest) else { return false };
        rest = &rest[head..];
        if n != *number {
            return false;
        }
        let body = match wire {
            Wire::Len | Wire::Varint => match wire::varint(rest) {
                Read::Done(len, head) => {
                    rest = &rest[head..];
                    if wire == Wire::Len { len as usize } else { 0 }
                }
                Read::Cut | Read::Bad(_) => return false,
            },
            Wire::I64 => 8,
            Wire::I32 | Wire::StartGroup | Wire::EndGroup => return false,
        };
        if body > rest.len() {
            return false;
        }
        let (inner, after) = rest.split_at(body);
        rest = after;
        match value {
            Value::Number(_) | Value::Fixed(_) => {}
            Value::Bytes(_) => out.push(inner.to_vec()),
            Value::Message(fields) => {
                if !texts(fields, inner, out) {
                    return false;
                }
            }
        }
    }
    rest.is_empty()
}

/// Whether a message in it has only printable bytes, which is read as text.
fn has_printable(fields: &[(u32, Value)]) -> bool {
    fields.iter().any(|(_, value)| match value {
        Value::Message(inner) => {
            let bytes = encode(inner);
            (wire::is_printable(&bytes, false) && !wire::is_list(&bytes, false)) || has_printable(inner)
        }
        Value::Number(_) | Value::Fixed(_) | Value::Bytes(_) => false,
    })
}

fn a_text() -> impl Strategy<Value = Vec<u8>> {
    let planted = |b: Vec<u8>, a: Vec<u8>| [b, b" ".to_vec(), SECRET.to_vec(), b" ".to_vec(), a].concat();
    prop_oneof![
        Just(SECRET.to_vec()),
        proptest::collection::vec(any::<u8>(), 0..40),
        "[ -~é]{0,150}".prop_map(String::into_bytes),
        ("[ -~é]{0,70}", "[ -~é]{0,70}").prop_map(move |(b, a)| planted(b.into_bytes(), a.into_bytes())),
        (proptest::collection::vec(any::<u8>(), 0..20), proptest::collection::vec(any::<u8>(), 0..20))
            .prop_map(move |(b, a)| planted(b, a)),
    ]
}

fn a_message() -> impl Strategy<Value = Vec<(u32, Value)>> {
    let leaf = prop_oneof![
        1 => any::<u64>().prop_map(Value::Number),
        1 => (0u64..200).prop_map(Value::Number),
        1 => any::<u64>().prop_map(Value::Fixed),
        4 => a_text().prop_map(Value::Bytes),
    ];
    let value = leaf.prop_recursive(4, 24, 6, |inner| {
        proptest::collection::vec((1u32..20, inner), 1..6).prop_map(Value::Message)
    });
    proptest::collection::vec((1u32..20, value), 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn planted_values_are_in_no_reading(message in a_message(), size in 1usize..50) {
        let body = encode(&message);
        let done = mask(&rules(), Format::Protobuf(Schema::Unknown), OnError::Block, [&body[..]]);
        prop_assert_eq!(&done.error, &None);
        prop_assert_eq!(done.output.len(), body.len());
        let cut = mask(&rules(), Format::Protobuf(Schema::Unknown), OnError::Block, body.chunks(size));
        prop_assert_eq!(&cut, &done);
        let mut before = Vec::new();
        prop_assert!(texts(&message, &body, &mut before));
        let planted = before.iter().any(|t| find(t, SECRET).is_some());
        prop_assert!(!planted || !done.findings.is_empty());
        // No boundary is lost: whatever stands around it, a planted value is a text's whole or between spaces.
        prop_assert_eq!(find(&done.output, SECRET), None);
        if !has_printable(&message) {
            let mut after = Vec::new();
            prop_assert!(texts(&message, &done.output, &mut after), "its reader can't read it any more");
        }
    }

    /// A string of which somebody else chose everything but the value.
    #[test]
    fn a_value_is_masked_in_any_string(
        before in proptest::collection::vec(prop_oneof![any::<u8>(), 0u8..32, Just(0x0A), Just(b'2')], 0..12),
        after in proptest::collection::vec(prop_oneof![any::<u8>(), 0u8..32, Just(0x0A), Just(b'2')], 0..12),
    ) {
        let string = [&before[..], b" ", SECRET, b" ", &after].concat();
        let body = len(4, &string);
        let done = mask(&rules(), Format::Protobuf(Schema::Unknown), OnError::Block, [&body[..]]);
        let at = body.len() - string.len() + before.len() + 1;
        let value = &done.output[at..at + SECRET.len()];
        let is_message = wire::may_be_message(&string, string.len() as u64);
        if is_message && (!wire::is_printable(&string, false) || wire::is_list(&string, false)) {
            let kept = value.iter().zip(SECRET).filter(|(a, b)| a == b).count();
            prop_assert!(kept <= SECRET.len() / 2, "{:?}", value);
        } else {
            prop_assert_eq!(value, FILLED);
        }
    }
}
