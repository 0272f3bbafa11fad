//! Frames of both sides: identity, every cut, values over fragments and messages, faults and limits.

use proptest::prelude::*;
use proptest::strategy::Strategy;

use super::*;
use crate::format::tests::{Done, check_bytes, mask, rules};
use crate::format::{Format, FormatErrorKind, OnError};

const CLIENT: Format = Format::WebSocket(WebSocketSide::Client);
const SERVER: Format = Format::WebSocket(WebSocketSide::Server);
const KEY: Key = [0x37, 0xFA, 0x21, 0x3D];

fn frame(format: Format, is_last: bool, opcode: Opcode, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let key = (format == CLIENT).then_some(KEY);
    let mut out = Vec::new();
    Header { is_last, opcode, len: payload.len() as u64, key }.write(payload, &mut out);
    out
}

fn text(format: Format, payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(format, true, Opcode::Text, payload)
}

/// Frames as an endpoint reads them: kind, whether the last, payload.
fn frames(mut bytes: &[u8]) -> Vec<(Opcode, bool, Vec<u8>)> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let (header, head) = Header::of(bytes).unwrap().expect("a header is whole");
        let (payload, rest) = bytes[head..].split_at(header.len as usize);
        let mut payload = payload.to_vec();
        super::frame::apply(header.key, 0, &mut payload);
        all.push((header.opcode, header.is_last, payload));
        bytes = rest;
    }
    all
}

/// Messages: kind and payload, control frames where they came.
fn messages(bytes: &[u8]) -> Vec<(Opcode, String)> {
    let mut all = Vec::new();
    let mut open: Option<(Opcode, Vec<u8>)> = None;
    for (opcode, is_last, payload) in frames(bytes) {
        if opcode.is_control() {
            all.push((opcode, String::from_utf8_lossy(&payload).into_owned()));
            continue;
        }
        assert_eq!(opcode == Opcode::Continuation, open.is_some(), "fragments follow one another");
        let (kind, mut all_of) = open.take().unwrap_or((opcode, Vec::new()));
        all_of.extend(payload);
        if is_last {
            all.push((kind, String::from_utf8_lossy(&all_of).into_owned()));
        } else {
            open = Some((kind, all_of));
        }
    }
    assert!(open.is_none(), "the last message is whole");
    all
}

fn output(format: Format, body: &[u8]) -> Vec<u8> {
    let done = check_bytes(format, body);
    assert_eq!(done.error, None, "{:?}", frames(body));
    done.output
}

#[test]
fn the_examples_of_the_standard() {
    // RFC 6455, section 5.7.
    for (format, body, kind, payload) in [
        (SERVER, &b"\x81\x05Hello"[..], Opcode::Text, "Hello"),
        (CLIENT, b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", Opcode::Text, "Hello"),
        (SERVER, b"\x01\x03Hel\x80\x02lo", Opcode::Text, "Hello"),
        (SERVER, b"\x89\x05Hello", Opcode::Ping, "Hello"),
        (CLIENT, b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", Opcode::Pong, "Hello"),
    ] {
        assert_eq!(output(format, body), body);
        assert_eq!(messages(body), [(kind, payload.to_owned())]);
    }
    assert_eq!(frame(SERVER, true, Opcode::Binary, [0; 256])[..4], [0x82, 0x7E, 0x01, 0x00]);
    let long = frame(SERVER, true, Opcode::Binary, [0; 65536]);
    assert_eq!(long[..10], [0x82, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0]);
}

#[test]
fn what_has_no_value_leaves_as_it_came() {
    for format in [CLIENT, SERVER] {
        let body = [
            text(format, ""),
            text(format, "h\u{e9}llo"),
            frame(format, false, Opcode::Text, "{\"a\": [1, \"b\\u0041"),
            frame(format, true, Opcode::Ping, "are you there"),
            frame(format, false, Opcode::Continuation, ""),
            frame(format, true, Opcode::Continuation, "\"]}"),
            frame(format, true, Opcode::Binary, [0, 1, 2, 0xFF]),
            frame(format, false, Opcode::Binary, ""),
            frame(format, true, Opcode::Pong, ""),
            frame(format, true, Opcode::Continuation, b"\xFF\xFE"),
            frame(format, true, Opcode::Text, "x".repeat(70_000)),
            frame(format, true, Opcode::Close, b"\x03\xE8bye"),
        ];
        // Control frames leave before the message that they came in.
        let moved = [0, 1, 3, 2, 4, 5, 6, 8, 7, 9, 10, 11].map(|n| body[n].clone()).concat();
        assert_eq!(output(format, &body.concat()), moved);
        assert_eq!(output(format, b""), b"");
    }
}

#[test]
fn values_are_masked() {
    for format in [CLIENT, SERVER] {
        let body = [
            text(format, "my key is ghp_Abcd1234"),
            text(format, "{\"password\":\"hunter2\",\"n\":4111111111111111}"),
            frame(format, false, Opcode::Text, "{\"t\":\"ghp_A"),
            frame(format, true, Opcode::Ping, "ghp_Abcd1234"),
            frame(format, false, Opcode::Continuation, "bcd"),
            frame(format, true, Opcode::Continuation, "1234\"}"),
            frame(format, false, Opcode::Binary, b"\xFFghp_Abcd"),
            frame(format, true, Opcode::Continuation, b"1234\xFF"),
            frame(format, true, Opcode::Close, b"\x03\xE8ghp_Abcd1234"),
        ]
        .concat();
        let output = output(format, &body);
        let expected = [
            (Opcode::Text, "my key is [gh]"),
            (Opcode::Text, "{\"password\":\"[pw]\",\"n\":\"[card]\"}"),
            (Opcode::Ping, "************"),
            (Opcode::Text, "{\"t\":\"[gh]\"}"),
            (Opcode::Binary, "\u{FFFD}************\u{FFFD}"),
            (Opcode::Close, "\u{3}\u{FFFD}************"),
        ];
        assert_eq!(messages(&output), expected.map(|(kind, text)| (kind, text.to_owned())));
        let keys = frames(&output).len();
        let with_key = output.windows(4).filter(|w| *w == KEY).count();
        assert_eq!(with_key, if format == CLIENT { keys } else { 0 });
    }
}

/// A server's deltas are one text over messages; messages of which nothing is known wait for none.
#[test]
fn deltas_are_joined_and_nothing_else_waits() {
    let delta = |part: &str| {
        text(
            SERVER,
            format!(
                "{{\"type\":\"response.output_text.delta\",\"item_id\":\"i\",\"output_index\":0,\"content_index\":0,\"delta\":\"{part}\"}}"
            ),
        )
    };
    let done = text(
        SERVER,
        "{\"type\":\"response.output_text.done\",\"item_id\":\"i\",\"output_index\":0,\"content_index\":0,\"text\":\"x ghp_Abcd1234 y\"}",
    );
    let body = [delta("x ghp_A"), delta("bcd12"), delta("34 y"), done].concat();
    let shown = messages(&output(SERVER, &body)).into_iter().map(|(_, text)| text).collect::<String>();
    assert!(shown.contains("x [gh]") && shown.contains("\"x [gh] y\""), "{shown}");
    assert!(!shown.contains("bcd12") && !shown.contains("ghp_"), "{shown}");

    for (format, message) in [
        (CLIENT, "my mail is me"),
        (SERVER, "my mail is me"),
        (CLIENT, "{\"text\":\"my mail is me\"}"),
        (SERVER, "{\"text\":\"my mail is me\"}"),
    ] {
        let (mut scratch, mut out) = (crate::Scratch::new(), Vec::new());
        let mut masker = crate::Masker::new(&rules(), format, crate::MaskerOptions::default());
        let body = text(format, message);
        masker.push(&mut scratch, &body, &mut out).unwrap();
        assert_eq!((out, masker.held()), (body, 0), "{message}");
    }
}

#[test]
fn long_binary_messages_leave_in_fragments() {
    let filler = "lorem ipsum ".repeat(10_000);
    let all = format!("{filler}ghp_Abcd1234 {filler}").into_bytes();
    for format in [CLIENT, SERVER] {
        let (a, b) = all.split_at(filler.len() + 5);
        let body = [
            frame(format, false, Opcode::Binary, a),
            frame(format, true, Opcode::Ping, "p"),
            frame(format, true, Opcode::Continuation, b),
            text(format, "words"),
        ]
        .concat();
        let whole = mask(&rules(), format, OnError::Block, [&body[..]]);
        assert_eq!(whole.error, None);
        for size in [1, 1000, 4096, 65_537] {
            assert_eq!(mask(&rules(), format, OnError::Block, body.chunks(size)), whole, "{size}");
        }
        let read = frames(&whole.output);
        assert!(read.iter().all(|(_, _, payload)| payload.len() <= FRAGMENT_BYTES));
        assert!(read.iter().position(|f| f.0 == Opcode::Ping).is_some_and(|n| n > 3), "some left before it");
        let mut read = messages(&whole.output);
        read.retain(|(kind, _)| *kind != Opcode::Ping);
        let masked = format!("{filler}************ {filler}");
        assert!(read == [(Opcode::Binary, masked), (Opcode::Text, "words".to_owned())]);
        let keys: std::collections::HashSet<_> =
            (0..20).map(|n| super::frame::key_of(Some(KEY), n)).collect();
        assert_eq!(keys.len(), 20, "every fragment has its own");
    }
    // At the limit it is held and leaves as it came, past it in fragments.
    let frames_of =
        |n: usize| frames(&output(SERVER, &frame(SERVER, true, Opcode::Binary, vec![b'x'; n]))).len();
    let most = HELD_BYTES_MAX - 4;
    assert_eq!((frames_of(most), frames_of(most + 1)), (1, 4));
}

#[test]
fn text_messages_are_limited() {
    let error = |n: usize| {
        let body = text(SERVER, "x".repeat(n));
        let cut: Done = mask(&rules(), SERVER, OnError::Block, body.chunks(100_000));
        assert_eq!(cut, mask(&rules(), SERVER, OnError::Block, [&body[..]]));
        cut.error.map(|e| (e.kind(), e.offset()))
    };
    let most = MESSAGE_BYTES_MAX - 10;
    assert_eq!(error(most), None);
    let limit = FormatErrorKind::Limit("the size of a message");
    assert_eq!(error(most + 1), Some((limit, MESSAGE_BYTES_MAX as u64)));
}

#[test]
fn faults_let_nothing_out() {
    let secret = "ghp_Abcd1234";
    let masked = |first: u8, second: u8| [&[first, second | 0x80, 0, 0, 0, 0], secret.as_bytes()].concat();
    for (format, body, what) in [
        (CLIENT, [&b"\x81\x0c"[..], secret.as_bytes()].concat(), "a client's frame without a key"),
        (SERVER, masked(0x81, 12), "a server's frame with a key"),
        (CLIENT, masked(0xC1, 12), "a frame of an extension"),
        (CLIENT, masked(0x83, 12), "an unknown kind of frame"),
        (CLIENT, masked(0x8B, 12), "an unknown kind of frame"),
        (CLIENT, masked(0x09, 12), "a control frame in fragments"),
        (CLIENT, masked(0x89, 126), "a control frame that is too long"),
        (CLIENT, masked(0x80, 12), "a fragment of no message"),
        (SERVER, b"\x81\x7E\x00\x0cghp_Abcd1234".to_vec(), "a length that is not spelled as it must be"),
        (SERVER, b"\x82\x7F\0\0\0\0\0\0\0\x0c".to_vec(), "a length that is not spelled as it must be"),
        (SERVER, [&b"\x82\x7F\x80"[..], &[0; 7]].concat(), "a length that is not spelled as it must be"),
        (SERVER, b"\x01\x0cghp_Abcd1234\x81\x01x".to_vec(), "a message within another"),
        (SERVER, text(SERVER, b"ghp_Abcd1234\xFF"), "a text message that is not UTF-8"),
        (SERVER, b"\x88\x01x".to_vec(), "half a code in a close"),
        (SERVER, b"\x88\x0e\x03\xEDghp_Abcd1234".to_vec(), "a code that no close has"),
        (SERVER, b"\x88\x0e\x00\x00ghp_Abcd1234".to_vec(), "a code that no close has"),
        (SERVER, b"\x88\x0f\x03\xE8\xFFghp_Abcd1234".to_vec(), "a reason that is not UTF-8"),
        (SERVER, b"\x88\x00\x81\x01x".to_vec(), "a frame after the close"),
        (SERVER, b"\x81\x0dghp_Abcd1234".to_vec(), "a message ends too early"),
        (SERVER, b"\x01\x0cghp_Abcd1234".to_vec(), "a message ends too early"),
        (SERVER, b"\x81".to_vec(), "a message ends too early"),
    ] {
        let done = check_bytes(format, &body);
        assert_eq!(done.error.as_ref().map(|e| e.kind()), Some(FormatErrorKind::Invalid(what)));
        assert!(!String::from_utf8_lossy(&done.output).contains("ghp_"), "{what}");
        let text = mask(&rules(), format, OnError::Text, [&body[..]]);
        assert_eq!((text.error, text.output), (done.error, done.output), "it always blocks");
    }
    // What a close cuts off does not leave.
    let cut = [frame(SERVER, false, Opcode::Text, "ghp_Abcd1234"), b"\x88\x00".to_vec()].concat();
    assert_eq!(output(SERVER, &cut), b"\x88\x00");
}

fn a_payload() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("ghp_Abcd1234".to_owned()),
        "[ -~é]{0,40}",
        "[ -~é]{0,20}".prop_map(|b| format!("{b} ghp_Abcd1234 {b}")),
        "[a-z ]{0,20}"
            .prop_map(|b| format!("{{\"k\":[\"{b} ghp\\u005fAbcd1234\",{{\"password\":\"hunter2\"}}]}}")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn planted_values_are_in_no_message(
        list in proptest::collection::vec((a_payload(), any::<bool>(), 1usize..30, any::<bool>()), 1..5),
        size in 1usize..40,
        client in any::<bool>(),
    ) {
        let format = if client { CLIENT } else { SERVER };
        let mut body = Vec::new();
        for (payload, is_text, piece, ping) in &list {
            let mut opcode = if *is_text { Opcode::Text } else { Opcode::Binary };
            for part in payload.as_bytes().chunks(*piece) {
                body.extend(frame(format, false, opcode, part));
                if *ping {
                    body.extend(frame(format, true, Opcode::Ping, "ghp_Abcd1234"));
                }
                opcode = Opcode::Continuation;
            }
            body.extend(frame(format, true, opcode, ""));
        }
        let whole = mask(&rules(), format, OnError::Block, [&body[..]]);
        prop_assert_eq!(&whole.error, &None);
        prop_assert_eq!(&mask(&rules(), format, OnError::Block, body.chunks(size)), &whole);
        let read = messages(&whole.output);
        for (_, payload) in &read {
            prop_assert!(!payload.contains("Abcd1234") && !payload.contains("hunter2"), "{}", payload);
        }
        prop_assert_eq!(read.len(), messages(&body).len());
    }
}
