//! What the strings and numbers of messages spell, and texts that are said to be messages.

use super::*;
use crate::format::nested::tests::{b64, decodings, entities, escaped, leaks, percent, unicode};

/// All strings and bytes of a message, whatever the fields are.
fn fields(bytes: &[u8], out: &mut Vec<Vec<u8>>) {
    let mut rest = bytes;
    while let Read::Done((_, wire), head) = wire::tag(rest) {
        let value = &rest[head..];
        let len = match (wire, wire::varint(value)) {
            (Wire::Len, Read::Done(len, head)) => {
                let end = (head + len as usize).min(value.len());
                out.push(value[head..end].to_vec());
                if wire::may_be_message(&value[head..end], (end - head) as u64) {
                    fields(&value[head..end], out);
                }
                end
            }
            (Wire::Varint, Read::Done(_, head)) => head,
            (Wire::I64, _) => 8.min(value.len()),
            (Wire::I32, _) => 4.min(value.len()),
            (Wire::StartGroup | Wire::EndGroup, _) => 0,
            (Wire::Len | Wire::Varint, _) => return,
        };
        rest = &value[len..];
    }
}

/// What a text with a value is nested in.
fn spellings() -> Vec<String> {
    let messages =
        r#"[{"role":"user","parts":[{"type":"text","content":"my key is ghp\u005fAbcd1234, \"ok\""}]}]"#;
    let twice = format!("{{\"arguments\":\"{}\"}}", escaped(&escaped("{\"password\":\"hunter2\"}")));
    vec![
        messages.to_owned(),
        twice,
        format!("see {} there", b64("words, then ghp_Abcd1234 and more")),
        b64(messages),
        percent("x ghp_Abcd1234 y"),
        entities("x ghp_Abcd1234 y"),
        unicode("x ghp_Abcd1234 y"),
        percent(&unicode(&entities("ghp_Abcd1234"))),
        format!("{{\"data\":\"{}\"}}", b64(format!("{{\"t\":\"{}\"}}", unicode("ghp_Abcd1234 and words")))),
    ]
}

#[test]
fn what_strings_spell_is_masked() {
    for text in spellings() {
        let any = any_string(&text);
        for (schema, path, field) in [
            (Schema::OtlpTraces, &[1, 2, 2][..], len(9, pair("gen_ai.input.messages", &any))),
            (Schema::OtlpTraces, &[1, 2, 2], len(9, pair("raw", &len(7, &text)))),
            (Schema::OtlpTraces, &[1, 2, 2], len(9, pair("list", &len(5, len(1, &any))))),
            (Schema::OtlpLogs, &[1, 2, 2], len(5, &any)),
            (Schema::OtlpLogs, &[1, 2, 2], len(5, len(6, len(1, pair("arguments", &any))))),
            (Schema::OtlpMetrics, &[1, 2, 2, 5, 1], len(5, len(7, pair("prompt", &any)))),
            (Schema::OtlpMetrics, &[1, 2, 2], len(2, &text)),
            (Schema::OtlpProfiles, &[2], len(5, &text)),
            (Schema::OtlpProfiles, &[2], len(6, pair("prompt", &any))),
            (Schema::Unknown, &[3], len(4, [text.as_bytes(), b"\xFF\x00"].concat())),
            (Schema::Unknown, &[3], [int(1, 5), len(4, &text)].concat()),
        ] {
            let body = within(path, field);
            let output = masked(schema, &body);
            let mut after = Vec::new();
            fields(&output, &mut after);
            after.push(output);
            for text in &after {
                assert!(!decodings(text).iter().any(|t| leaks(t)), "{schema:?} {text:?}");
            }
        }
    }
}

/// JSON in a string stays JSON, of the length it had.
#[test]
fn json_in_strings_stays_json() {
    let text = spellings().swap_remove(0);
    let body = within(&[1, 2, 2, 9], pair("gen_ai.input.messages", &any_string(&text)));
    let output = masked(Schema::OtlpTraces, &body);
    let value = &output[output.len() - text.len()..];
    assert!(crate::format::leaves::Leaves::of(value).is_some());
    let kept = text.replace(r"ghp\u005fAbcd1234", "*****************");
    assert_eq!(String::from_utf8_lossy(value), kept);
}

#[test]
fn numbers_of_unknown_messages_are_masked() {
    const CARD: u64 = 4_111_111_111_111_111;
    let zero = [&[0x38][..], &[0x80; 7], &[0]].concat();
    for (field, clean) in [
        (int(7, CARD), zero),
        (fixed64(7, CARD), fixed64(7, 0)),
        (fixed64(7, (CARD as f64).to_bits()), fixed64(7, 0)),
        (int(7, CARD + 1), int(7, CARD + 1)),
        (fixed64(7, CARD + 1), fixed64(7, CARD + 1)),
        ([len(1, "password"), int(2, 1234)].concat(), [len(1, "password"), vec![0x10, 0x80, 0]].concat()),
        (
            [len(1, "password"), fixed64(2, 12.5_f64.to_bits())].concat(),
            [len(1, "password"), fixed64(2, 0)].concat(),
        ),
        (
            [len(1, "password"), tagged(2, 5, &1234u32.to_le_bytes())].concat(),
            [len(1, "password"), tagged(2, 5, &[0; 4])].concat(),
        ),
    ] {
        for path in [&[][..], &[3], &[3, 5]] {
            let (body, clean) = (
                within(path, [int(9, 1), field.clone()].concat()),
                within(path, [int(9, 1), clean.clone()].concat()),
            );
            assert_eq!(masked(Schema::Unknown, &body), clean, "{path:?} {field:?}");
        }
    }
    // The values of metrics, and not their times.
    let point = |value: Vec<u8>, time| within(&[1, 2, 2, 5, 1], [value, fixed64(3, time)].concat());
    for (value, clean) in [
        (fixed64(6, CARD), fixed64(6, 0)),
        (fixed64(4, (CARD as f64).to_bits()), fixed64(4, 0)),
        (fixed64(6, 7), fixed64(6, 7)),
    ] {
        assert_eq!(masked(Schema::OtlpMetrics, &point(value, CARD)), point(clean, CARD));
    }
}

/// Texts that are said to be protobuf: digits are tags of numbers, a quote begins a string.
fn no_messages() -> Vec<String> {
    let fill = |n: usize| "0A0B0C1abcdefgh5abcd".repeat(n);
    vec![
        "4111111111111111".into(),
        "5355512011111113".into(),
        "0 4111111111111111".into(),
        " 1 ghp_Abcd1234 0 ".into(),
        "8A5abcd ghp_Abcd1234 and more words".into(),
        "{\"password\":\"hunter2\",\"n\":4111111111111111}".into(),
        "password=hunter2 and so on".into(),
        format!("0A {} 5abc ghp_Abcd1234 x", "1abcdefgh5abcd"),
        format!("\"!ghp_Abcd1234 and words that end. {}", "0A1abcdefgh"),
        fill(10) + " ghp_Abcd1234 \u{e9}",
        fill(1000) + "0A ghp_Abcd1234 5abc4111111111111111 0",
        fill(820) + "ghp_Abcd1234" + &fill(300) + "x ghp_Abcd1234",
    ]
}

#[test]
fn no_byte_of_a_text_leaves_as_a_number() {
    let rules = rules();
    for body in no_messages() {
        let body = body.as_bytes();
        let clean = mask(&rules, Format::Bytes, OnError::Block, [body]).output;
        for schema in [Schema::Unknown, Schema::Otlp, Schema::OtlpTraces, Schema::OtlpProfiles] {
            let format = Format::Protobuf(schema);
            let whole = mask(&rules, format, OnError::Text, [body]);
            assert_eq!((text(&whole.output), &whole.error), (text(&clean), &None), "{schema:?}");
            assert!(!whole.findings.is_empty());
            let blocked = mask(&rules, format, OnError::Block, [body]);
            assert!(clean.starts_with(&blocked.output), "{schema:?}: {}", text(body));
            let step = 1 + body.len() / 30;
            for cut in (1..body.len()).step_by(step) {
                let (a, b) = body.split_at(cut);
                assert_eq!(mask(&rules, format, OnError::Text, [a, b]), whole, "{cut}");
                assert_eq!(mask(&rules, format, OnError::Block, [a, b]), blocked, "{cut}");
            }
            assert_eq!(mask(&rules, format, OnError::Text, body.chunks(1)), whole);
            assert_eq!(mask(&rules, format, OnError::Block, body.chunks(1)), blocked);
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Up to the limit of doubt and one past it.
#[test]
fn doubt_is_limited() {
    let held = |body: &[u8]| {
        let mut walker = ProtobufWalker::new(&rules(), Schema::Unknown, false);
        let (mut scratch, mut out, mut findings) = (crate::Scratch::new(), Vec::new(), Vec::new());
        let target = Target { scratch: &mut scratch, out: &mut out, findings: &mut findings };
        walker.push(body, target).expect("it may be a message");
        out.is_empty()
    };
    let numbers = |n: usize| b"8A".repeat(n / 2);
    assert!(held(&numbers(DOUBT_BYTES_MAX as usize)));
    assert!(!held(&numbers(DOUBT_BYTES_MAX as usize + 2)));
    assert!(!held(&int(1, 1)), "a control character tells");
    assert!(!held(&[&numbers(100), &int(7, 300)[..]].concat()));
}

/// Lists of strings whose tags and lengths are printable are messages, however long.
#[test]
fn lists_of_strings_are_messages() {
    let list = |n: usize| len(6, "my password=hunter and so on, until it ends:pass").repeat(n);
    for n in [2, 1000] {
        let filled = replaced(&list(n), b"hunter", b"******");
        assert_eq!(masked(Schema::Unknown, &list(n)), filled, "{n}");
    }
}
