//! Events told by the shape of an earlier one: as if each had been read anew.

use super::super::carried::Target;
use super::super::tests::rules;
use super::SseWalker;
use crate::random::Random;
use crate::stream::{Scratch, StreamOptions};

/// What a walker makes of a body: its output, findings, bytes unscanned, and the fault.
type Made = (String, Vec<(u32, u64, u64)>, u64, Option<(&'static str, usize)>);

fn make<'a>(is_off: bool, chunks: impl IntoIterator<Item = &'a [u8]>) -> Made {
    let mut walker = SseWalker::new(&rules(), &StreamOptions::default());
    walker.shapes.is_off = is_off;
    let (mut scratch, mut out, mut findings, mut fault) = (Scratch::new(), Vec::new(), Vec::new(), None);
    let mut at = 0;
    for chunk in chunks {
        let target = Target { scratch: &mut scratch, out: &mut out, findings: &mut findings };
        if let Err(fail) = walker.push(chunk, target) {
            fault = Some((fail.what, at + fail.taken));
            break;
        }
        at += chunk.len();
    }
    if fault.is_none() {
        let target = Target { scratch: &mut scratch, out: &mut out, findings: &mut findings };
        fault = walker.finish(target).err().map(|fail| (fail.what, at));
    }
    let findings = findings.iter().map(|f| (f.rule.0, f.start, f.end)).collect();
    (String::from_utf8_lossy(&out).into_owned(), findings, walker.take_unscanned(), fault)
}

/// Events of the usual kinds: `T` stands for text, `I` for an id, `N` for a number, `X` for what is seldom else.
const EVENTS: &[&str] = &[
    r#"data: {"id":"I","created":N,"choices":[{"index":0,"delta":{"content":"T"},"logprobs":null,"finish_reason":X}]}"#,
    r#"data: {"id":"I","choices":[{"index":1,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"T"}}]}}]}"#,
    "event: I\ndata: {\"type\":\"response.output_text.delta\",\"sequence_number\":N,\"item_id\":\"m\",\"output_index\":0,\"delta\":\"T\",\"logprobs\":[],\"pad\":\"I\"}",
    r#"data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"T"}}"#,
    r#"data: {"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"T"}}"#,
    r#"data: {"kind":"I","say":"T","n":N,"in":{"a":[N,"T"],"data":"I"},"signature":"I"}"#,
    r#"data: {"choices":[{"index":N,"delta":{"content":"T"}}],"X":X}"#,
    "data: T",
];
const TEXTS: &[&str] = &[
    " words",
    " and",
    "ghp_",
    "Abcd",
    "1234",
    "ghp_Abcd1234",
    " pass",
    "word=",
    "hunter22",
    "@ex.org",
    " me",
    "é",
    "",
    "\\n",
    "\\\"",
    "\\u0041",
    "\\ud83d",
    "-----BEGIN KEY-----",
    "-----END KEY-----",
    "{\\\"a\\\": 4111",
    "111111111111111",
    "%67hp_Abcd1234",
    "Z2hwX0FiY2QxMjM0IGFuZCBtb3Jl",
    "\\x",
    "\u{1}",
];
const IDS: &[&str] = &["c1", "c1", "c1", "c2", "ghp_Abcd1234", "a\\tb", "", "resp_0a1b2c3d4e5f"];
const NUMBERS: &[&str] =
    &["17", "17", "18", "0", "01", "1e5", "4111111111111111", "123456789012345678901", "-1"];
const SELDOM: &[&str] = &["null", "null", "null", "null", "null", "\"stop\"", "[ ]", "{\"T\":1}"];
const ENDS: &[&str] = &["\n\n", "\n\n", "\n\n", "\n\n", "\n\n", "\n\n", "\r\n\r\n", "\n\r\n", "\r\r"];

fn body(random: &mut Random) -> String {
    let kinds = [random.below(EVENTS.len()), random.below(EVENTS.len())];
    let is_mostly_clean = random.below(2) == 0;
    let mut body = String::new();
    for _ in 0..3 + random.below(12) {
        let event = EVENTS[kinds[random.below(2)]];
        for char in event.chars() {
            let texts = if is_mostly_clean && random.below(8) > 0 { &TEXTS[..4] } else { TEXTS };
            match char {
                'T' => body += random.pick(texts),
                'I' => body += if is_mostly_clean { "c1" } else { random.pick(IDS) },
                'N' => body += if is_mostly_clean { "17" } else { random.pick(NUMBERS) },
                'X' => body += random.pick(SELDOM),
                _ if random.below(1500) == 0 => {}
                _ => body.push(char),
            }
        }
        body += if is_mostly_clean { "\n\n" } else { random.pick(ENDS) };
    }
    body
}

#[test]
fn events_told_by_a_shape_are_as_if_read_anew() {
    let mut random = Random(11);
    for _ in 0..1500 {
        let body = body(&mut random);
        let bytes = body.as_bytes();
        let anew = make(true, bytes.chunks(1));
        assert_eq!(make(true, [bytes]), anew, "{body}");
        assert_eq!(make(false, [bytes]), anew, "{body}");
        assert_eq!(make(false, bytes.chunks(1)), anew, "{body}");
        let (head, tail) = bytes.split_at(random.below(bytes.len()));
        assert_eq!(make(false, [head, tail]), anew, "cut at {}: {body}", head.len());
        assert_eq!(make(false, bytes.chunks(200)), anew, "{body}");
    }
}

#[test]
fn events_alike_have_a_shape() {
    let event = |n: u32, text: &str| {
        format!(
            "event: e\ndata: {{\"type\":\"content_block_delta\",\"n\":{n},\"delta\":{{\"text\":\"{text}\"}}}}\n\n"
        )
    };
    let mut walker = SseWalker::new(&rules(), &StreamOptions::default());
    let (mut scratch, mut out, mut findings) = (Scratch::new(), Vec::new(), Vec::new());
    let body = event(1, "a") + &event(2, "b");
    let target = Target { scratch: &mut scratch, out: &mut out, findings: &mut findings };
    walker.push(body.as_bytes(), target).unwrap();
    for (next, has_shape) in [
        (event(3, "other words"), true),
        (event(4_000_000, ""), true),
        (event(3, "a \\\"b\\\" é"), true),
        (event(3, "\\x"), false),
        (event(3, "\t"), false),
        (event(3, "a").replace("\"n\"", "\"m\""), false),
        (event(3, "a").replace("block_delta", "block_start"), false),
        (event(3, "a").replace(":3,", ":03,"), false),
        (event(3, "a").replace(":3,", ": 3,"), false),
        (event(3, "a").replace("}}", "},\"n\":1}"), false),
    ] {
        let len = walker.shapes.fit(next.as_bytes());
        assert_eq!(len, has_shape.then_some(next.len()), "{next}");
    }
}
