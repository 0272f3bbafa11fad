//! Messages of the event stream: both CRCs, every cut, deltas over messages, faults and limits.

use proptest::prelude::*;

use super::super::tests::{check_bytes, mask, rules};
use super::*;
use crate::format::{Format, FormatErrorKind, OnError};

/// A header's name, type, and value.
type Field<'a> = (&'a str, u8, &'a [u8]);

fn message(headers: &[Field<'_>], payload: &[u8]) -> Vec<u8> {
    let (mut spelled, mut out) = (Vec::new(), Vec::new());
    for (name, kind, value) in headers {
        frame::write_header(name.as_bytes(), *kind, value, &mut spelled).unwrap();
    }
    frame::write(&spelled, payload, &mut out).unwrap();
    out
}

fn event(name: &str, payload: &str) -> Vec<u8> {
    message(
        &[
            (":event-type", 7, name.as_bytes()),
            (":content-type", 7, b"application/json"),
            (":message-type", 7, b"event"),
        ],
        payload.as_bytes(),
    )
}

/// What a client reads: each message's event type and payload. Lengths and CRCs must be right.
fn read(mut bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let prelude = Prelude::of(bytes).unwrap();
        let (one, rest) = bytes.split_at(prelude.total);
        let message = Message::of(one, prelude).unwrap();
        let name = message.string(":event-type").unwrap_or_default().to_owned();
        all.push((name, message.part(&message.payload).to_vec()));
        bytes = rest;
    }
    all
}

fn output(body: &[u8]) -> Vec<u8> {
    let done = check_bytes(Format::EventStream, body);
    assert_eq!(done.error, None);
    done.output
}

/// The strings at `path` of all events, joined.
fn joined(messages: &[(String, Vec<u8>)], path: &str) -> String {
    let string = |(_, data): &(String, Vec<u8>)| Leaves::of(data)?.string(path);
    messages.iter().filter_map(string).collect()
}

#[test]
fn the_spelling_of_the_specification() {
    // "Amazon Event Stream", the test vector of an empty message, and one with a header and a payload.
    let empty = [0, 0, 0, 16, 0, 0, 0, 0, 5, 194, 72, 235, 125, 152, 200, 255];
    assert_eq!(message(&[], b""), empty);
    let full = message(&[("content-type", 7, b"application/json")], b"{'foo':'bar'}");
    assert_eq!(full.len(), 61);
    assert_eq!(&full[..12], [0, 0, 0, 0x3D, 0, 0, 0, 0x20, 0x07, 0xFD, 0x83, 0x96]);
    assert_eq!(&full[57..], [0x8D, 0x9C, 0x08, 0xB1]);
    assert_eq!(output(&[&empty[..], &full].concat()), [&empty[..], &full].concat());
}

#[test]
fn what_has_no_value_leaves_as_it_came() {
    let kinds: &[Field<'_>] = &[
        ("true", 0, b""),
        ("false", 1, b""),
        ("byte", 2, b"\x01"),
        ("short", 3, b"\x01\x02"),
        ("int", 4, b"\x01\x02\x03\x04"),
        ("long", 5, b"12345678"),
        ("bytes", 6, b"\xFF\x00"),
        ("string", 7, "é".as_bytes()),
        ("time", 8, b"12345678"),
        ("uuid", 9, b"1234567890123456"),
    ];
    for payload in
        [&b""[..], b"text", b"{ \"a\" : 1 }", b"[1,2", b"\xFF\xFE\x00", b"{\"bytes\":\"***\"}", b"7"]
    {
        let body =
            [message(kinds, payload), message(&[], payload), event("chunk", "{\"bytes\":\"e30=\"}")].concat();
        assert_eq!(output(&body), body, "{payload:?}");
    }
    assert_eq!(output(b""), b"");
}

#[test]
fn texts_are_masked_and_lengths_follow() {
    for (headers, payload, masked_headers, masked) in [
        (vec![], &b"my ghp_Abcd1234"[..], vec![], &b"my [gh]"[..]),
        (vec![], b"\xFF ghp_Abcd1234 \xFE", vec![], b"\xFF ************ \xFE"),
        (
            vec![],
            b"{\"password\":\"hunter2\",\"n\":4111111111111111}",
            vec![],
            b"{\"password\":\"[pw]\",\"n\":\"[card]\"}",
        ),
        (vec![("x", 7, &b"ghp_Abcd1234"[..])], b"", vec![("x", 7, &b"[gh]"[..])], b""),
        (vec![("x", 6, b"ghp_Abcd1234")], b"{}", vec![("x", 6, b"[gh]")], b"{}"),
        (
            vec![("password", 7, b"hunter2"), ("n", 4, b"1234")],
            b"",
            vec![("password", 7, b"[pw]"), ("n", 4, b"1234")],
            b"",
        ),
        (vec![("ghp_Abcd1234", 0, b"")], b"", vec![("[gh]", 0, b"")], b""),
    ] {
        assert_eq!(
            output(&message(&headers, payload)),
            message(&masked_headers, masked),
            "{headers:?} {payload:?}"
        );
    }
}

const SECRET: &str = "my key is ghp_Abcd1234, mail me@example.org; é😀 end ghp_";
const MASKED: &str = "my key is [gh], mail [mail]; é😀 end ghp_";

fn converse(member: &str, index: usize, text: &str) -> Vec<u8> {
    let delta = match member {
        "text" => format!("{{\"text\":\"{text}\"}}"),
        "input" => format!("{{\"toolUse\":{{\"input\":\"{text}\"}}}}"),
        _ => format!("{{\"reasoningContent\":{{\"text\":\"{text}\"}}}}"),
    };
    event("contentBlockDelta", &format!("{{\"contentBlockIndex\":{index},\"delta\":{delta},\"p\":\"abc\"}}"))
}

fn stop(index: usize) -> Vec<u8> {
    event("contentBlockStop", &format!("{{\"contentBlockIndex\":{index}}}"))
}

#[test]
fn converse_deltas_are_one_text_at_every_cut() {
    let chars: Vec<char> = SECRET.chars().collect();
    for (member, path) in [
        ("text", "delta.text"),
        ("input", "delta.toolUse.input"),
        ("reasoning", "delta.reasoningContent.text"),
    ] {
        for size in 1..=5 {
            let parts = || chars.chunks(size).map(|c| c.iter().collect::<String>());
            let open: Vec<u8> = parts().flat_map(|part| converse(member, 0, &part)).collect();
            let last = event("messageStop", "{\"stopReason\":\"end_turn\"}");
            let failure = message(&[(":message-type", 7, b"exception")], b"{\"message\":\"no\"}");
            for end in [vec![], stop(0), last, failure] {
                let body = [&open[..], &end].concat();
                let done = mask(&rules(), Format::EventStream, OnError::Block, [&body[..]]);
                assert_eq!(done.error, None);
                let messages = read(&done.output);
                assert_eq!(joined(&messages, path), MASKED, "{member}, {size} a delta");
                assert!(done.output.ends_with(&end), "what was held comes before what ends the text");
                let names = messages.iter().filter(|(name, _)| name == "contentBlockDelta").count();
                assert_eq!(names, chars.len().div_ceil(size));
                if size == 3 {
                    assert_eq!(check_bytes(Format::EventStream, &body), done);
                }
            }
        }
    }
}

#[test]
fn blocks_are_texts_of_their_own() {
    let mut body = Vec::new();
    for c in SECRET.chars() {
        body.extend(converse("text", 0, &c.to_string()));
        body.extend(converse("input", 1, &c.to_string()));
    }
    body.extend(stop(1));
    body.extend(stop(0));
    let messages = read(&mask(&rules(), Format::EventStream, OnError::Block, [&body[..]]).output);
    for (index, path) in [(0, "delta.text"), (1, "delta.toolUse.input")] {
        let own: Vec<_> = messages
            .iter()
            .filter(|(_, data)| Leaves::of(data).unwrap().integer("contentBlockIndex") == Some(index))
            .cloned()
            .collect();
        assert_eq!(joined(&own, path), MASKED);
        assert_eq!(own.last().unwrap().0, "contentBlockStop");
    }
}

fn chunk(inner: &str) -> Vec<u8> {
    let text = general_purpose::STANDARD.encode(inner);
    event("chunk", &format!("{{\"bytes\":\"{text}\",\"p\":\"abcdef\"}}"))
}

/// The models' own events.
fn unwrapped(messages: &[(String, Vec<u8>)]) -> Vec<(String, Vec<u8>)> {
    let inner = |(name, data): &(String, Vec<u8>)| {
        let text = Leaves::of(data).unwrap().string("bytes").unwrap();
        (name.clone(), BASE64.decode(text).unwrap())
    };
    messages.iter().map(inner).collect()
}

#[test]
fn events_of_models_are_masked_in_base64() {
    let chars: Vec<char> = SECRET.chars().collect();
    type Make = fn(&str) -> String;
    let anthropic: Make = |t| {
        format!(
            "{{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{{\"type\":\"text_delta\",\"text\":\"{t}\"}}}}"
        )
    };
    let nova: Make =
        |t| format!("{{\"contentBlockDelta\":{{\"delta\":{{\"text\":\"{t}\"}},\"contentBlockIndex\":0}}}}");
    let titan: Make = |t| format!("{{\"outputText\":\"{t}\",\"index\":0,\"completionReason\":null}}");
    let llama: Make =
        |t| format!("{{\"generation\":\"{t}\",\"prompt_token_count\":null,\"stop_reason\":null}}");
    for (make, path, ends) in [
        (anthropic, "delta.text", vec!["{\"type\":\"content_block_stop\",\"index\":0}", ""]),
        (
            nova,
            "contentBlockDelta.delta.text",
            vec![
                "{\"contentBlockStop\":{\"contentBlockIndex\":0}}",
                "{\"messageStop\":{\"stopReason\":\"end_turn\"}}",
                "",
            ],
        ),
        (titan, "outputText", vec!["{\"outputText\":\"\",\"completionReason\":\"FINISH\"}", ""]),
        (llama, "generation", vec!["{\"generation\":\"\",\"stop_reason\":\"stop\"}", ""]),
    ] {
        for size in [1, 2, 7] {
            let deltas = || chars.chunks(size).map(|c| make(&c.iter().collect::<String>()));
            for end in &ends {
                let mut body: Vec<u8> = deltas().flat_map(|d| chunk(&d)).collect();
                body.extend(if end.is_empty() { vec![] } else { chunk(end) });
                let done = mask(&rules(), Format::EventStream, OnError::Block, [&body[..]]);
                assert_eq!(done.error, None);
                let all = unwrapped(&read(&done.output));
                assert_eq!(joined(&all, path), MASKED, "{path}, {size} a delta");
                assert!(done.findings.iter().all(|(_, start, end)| start < end && *end <= body.len() as u64));
                if size == 7 {
                    assert_eq!(check_bytes(Format::EventStream, &body), done);
                }
            }
        }
    }
    let whole = chunk("no JSON: ghp_Abcd1234");
    assert_eq!(unwrapped(&read(&output(&whole)))[0].1, b"no JSON: [gh]");
    let binary = event(
        "chunk",
        &format!("{{\"bytes\":\"{}\"}}", general_purpose::STANDARD.encode(b"\xFFghp_Abcd1234")),
    );
    assert_eq!(unwrapped(&read(&output(&binary)))[0].1, b"\xFF************");
}

#[test]
fn faults_end_the_body_whatever_is_asked_for() {
    let good = event("x", "{\"a\":\"ghp_Abcd1234\"}");
    let broken = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    let crc = |mut bytes: Vec<u8>| {
        let prelude = crc32fast::hash(&bytes[..8]).to_be_bytes();
        bytes[8..12].copy_from_slice(&prelude);
        let end = bytes.len() - 4;
        let all = crc32fast::hash(&bytes[..end]).to_be_bytes();
        bytes[end..].copy_from_slice(&all);
        bytes
    };
    let len = good.len() as u64;
    for (body, offset) in [
        (broken(0), 12),
        (broken(3), 12),
        (broken(7), 12),
        (broken(9), 12),
        (broken(12), len),
        (broken(20), len),
        (broken(good.len() - 20), len),
        (broken(good.len() - 1), len),
        (good[..good.len() - 1].to_vec(), len - 1),
        (good[..5].to_vec(), 5),
        // A header that goes on after the headers, one of an unknown type, one without a name.
        (
            crc(message(&[("x", 0, b"")], b""))
                .into_iter()
                .map(|b| if b == b'x' { 0xF0 } else { b })
                .collect(),
            19,
        ),
        (crc(message(&[("x", 10, b"")], b"")), 19),
        (crc(message(&[("", 0, b"")], b"")), 18),
        (crc(message(&[("x", 9, b"12345678")], b"")), 27),
        // Lengths that don't go together.
        (crc([&[0, 0, 0, 15, 0, 0, 0, 0, 0, 0, 0, 0][..], &[0; 4]].concat()), 12),
        (crc([&[0, 0, 0, 16, 0, 0, 0, 1, 0, 0, 0, 0][..], &[0; 4]].concat()), 12),
    ] {
        let done = check_bytes(Format::EventStream, &body);
        let error = done.error.clone().unwrap_or_else(|| panic!("{body:?} is taken"));
        assert_eq!((error.offset(), &done.output[..]), (offset, &b""[..]), "{body:?}: {error}");
        let text = mask(&rules(), Format::EventStream, OnError::Text, [&body[..]]);
        assert_eq!(text, done, "{body:?}");
    }
}

#[test]
fn limits() {
    let rules = rules();
    let error = |body: Vec<u8>| {
        mask(&rules, Format::EventStream, OnError::Block, [&body[..]]).error.map(|e| e.kind())
    };
    let sized = |n: usize| message(&[], &b"x ".repeat(n)[..n - 16]);
    assert_eq!(error(sized(MESSAGE_BYTES_MAX)), None);
    assert_eq!(error(sized(MESSAGE_BYTES_MAX + 1)), Some(FormatErrorKind::Limit("the size of a message")));
    let header = |name: usize, value: usize| {
        frame::write_header("n".repeat(name).as_bytes(), 7, "v".repeat(value).as_bytes(), &mut Vec::new())
    };
    assert_eq!(header(255, 65535), Ok(()));
    assert_eq!(
        (header(256, 1), header(1, 65536)),
        (Err("the length of a header"), Err("the length of a header"))
    );
    let headers = |n: usize| frame::write(&vec![0; n], b"", &mut Vec::new());
    assert_eq!((headers(1 << 17), headers((1 << 17) + 1)), (Ok(()), Err("the length of a header")));
    let texts = |n: usize| (0..n).flat_map(|i| converse("text", i, "ghp_")).collect::<Vec<u8>>();
    assert_eq!(error(texts(crate::format::joined::TEXTS_MAX)), None);
    let over = FormatErrorKind::Limit("the number of texts");
    assert_eq!(error(texts(crate::format::joined::TEXTS_MAX + 1)), Some(over));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn planted_values_are_in_no_reading(
        parts in proptest::collection::vec(("[ -!#-\\[\\]-~]{0,9}", any::<bool>(), 0usize..3, 0usize..4), 1..12),
        size in 1usize..70,
    ) {
        // Each block's deltas; a planted value is cut over two of them at a random place.
        let (mut body, mut planted) = (Vec::new(), false);
        for (text, plants, block, cut) in &parts {
            let deltas = if *plants {
                planted = true;
                let (a, b) = "ghp_Abcd1234".split_at(cut * 4);
                vec![format!("{text} {a}"), format!("{b} ")]
            } else {
                vec![text.clone()]
            };
            for delta in deltas {
                match block {
                    0 => body.extend(converse("text", 0, &delta)),
                    1 => body.extend(converse("input", 1, &delta)),
                    _ => body.extend(chunk(&format!("{{\"generation\":\"{delta}\"}}"))),
                }
            }
        }
        let done = mask(&rules(), Format::EventStream, OnError::Block, [&body[..]]);
        prop_assert_eq!(&done.error, &None);
        prop_assert_eq!(&mask(&rules(), Format::EventStream, OnError::Block, body.chunks(size)), &done);
        let messages = read(&done.output);
        let (chunks, others): (Vec<_>, Vec<_>) = messages.into_iter().partition(|(name, _)| name == "chunk");
        let all = [
            joined(&others, "delta.text"),
            joined(&others, "delta.toolUse.input"),
            joined(&unwrapped(&chunks), "generation"),
        ];
        for text in &all {
            prop_assert!(!text.contains("ghp_Abcd1234"), "{}", text);
        }
        prop_assert_eq!(planted, all.iter().any(|t| t.contains("[gh]")));
        if done.findings.is_empty() {
            prop_assert_eq!(joined(&read(&done.output), "delta.text"), joined(&read(&body), "delta.text"));
        }
    }
}
