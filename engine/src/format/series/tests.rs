//! Streams of LLMs as lines and as arrays: deltas are one text; what is no stream is a document.

use std::fmt::Write;

use super::super::tests::{check, mask, rules};
use super::{EVENT_BYTES_MAX, LOOK_BYTES_MAX};
use crate::format::{Format, FormatErrorKind, Masker, MaskerOptions, OnError};
use crate::stream::Scratch;

fn output(format: Format, body: &str) -> String {
    let done = check(format, body);
    assert_eq!(done.error, None, "{body}");
    String::from_utf8(done.output).unwrap()
}

#[test]
fn values_cut_over_events_are_masked() {
    for (format, body, masked) in [
        // Gemini's array, as it is written.
        (
            Format::Json,
            "[{\n  \"candidates\": [{\"content\": {\"parts\": [{\"text\": \"a ghp_Ab\"}]}}]\n}\n,\r\n{\"candidates\": [{\"content\": {\"parts\": [{\"text\": \"cd1234 b\"}]}, \"finishReason\": \"STOP\"}]}\n]\n",
            "[{\n  \"candidates\": [{\"content\": {\"parts\": [{\"text\": \"a [gh]\"}]}}]\n}\n,\r\n{\"candidates\": [{\"content\": {\"parts\": [{\"text\": \" b\"}]}, \"finishReason\": \"STOP\"}]}\n]\n",
        ),
        // The first elements are no events yet, and the last one may be none.
        (
            Format::Json,
            r#"[{"promptFeedback":{}},{"candidates":[{"content":{"parts":[{"text":"ghp_"}]}}]},{"candidates":[{"content":{"parts":[{"text":"Abcd1234"}]}}]},{"usageMetadata":{"n":1}}]"#,
            r#"[{"promptFeedback":{}},{"candidates":[{"content":{"parts":[{"text":"[gh]"}]}}]},{"candidates":[{"content":{"parts":[{"text":""}]}}]},{"usageMetadata":{"n":1}}]"#,
        ),
        // Ollama.
        (
            Format::Ndjson,
            "{\"model\":\"m\",\"response\":\"a ghp_Ab\",\"done\":false}\n{\"model\":\"m\",\"response\":\"cd1234 b\",\"done\":false}\n{\"response\":\"\",\"done\":true}\n",
            "{\"model\":\"m\",\"response\":\"a [gh]\",\"done\":false}\n{\"model\":\"m\",\"response\":\" b\",\"done\":false}\n{\"response\":\"\",\"done\":true}\n",
        ),
        (
            Format::Ndjson,
            "{\"message\":{\"role\":\"assistant\",\"content\":\"ghp_Ab\",\"thinking\":\"ghp_\"},\"done\":false}\r\n\r\n{\"message\":{\"content\":\"cd1234\",\"thinking\":\"Abcd1234\"},\"done\":true}",
            "{\"message\":{\"role\":\"assistant\",\"content\":\"[gh]\",\"thinking\":\"[gh]\"},\"done\":false}\r\n\r\n{\"message\":{\"content\":\"\",\"thinking\":\"\"},\"done\":true}",
        ),
        // Cohere.
        (
            Format::Ndjson,
            "{\"is_finished\":false,\"event_type\":\"text-generation\",\"text\":\"ghp_\"}\n{\"is_finished\":false,\"text\":\"Abcd1234\"}\n{\"is_finished\":true,\"response\":{\"text\":\"ghp_Abcd1234\"}}\n",
            "{\"is_finished\":false,\"event_type\":\"text-generation\",\"text\":\"[gh]\"}\n{\"is_finished\":false,\"text\":\"\"}\n{\"is_finished\":true,\"response\":{\"text\":\"[gh]\"}}\n",
        ),
        // Values one after another without lines; a byte order mark.
        (
            Format::Ndjson,
            "\u{FEFF}{\"choices\":[{\"delta\":{\"content\":\"ghp_Abcd\"}}]} {\"choices\":[{\"delta\":{\"content\":\"1234\"}}]}{\"n\":1} 12",
            "\u{FEFF}{\"choices\":[{\"delta\":{\"content\":\"[gh]\"}}]} {\"choices\":[{\"delta\":{\"content\":\"\"}}]}{\"n\":1} 12",
        ),
        // Bedrock.
        (
            Format::Ndjson,
            "{\"messageStart\":{\"role\":\"assistant\"}}\n{\"contentBlockDelta\":{\"contentBlockIndex\":0,\"delta\":{\"text\":\"ghp_Abc\"}}}\n{\"contentBlockDelta\":{\"contentBlockIndex\":0,\"delta\":{\"text\":\"d1234\"}}}\n{\"contentBlockStop\":{\"contentBlockIndex\":0}}\n",
            "{\"messageStart\":{\"role\":\"assistant\"}}\n{\"contentBlockDelta\":{\"contentBlockIndex\":0,\"delta\":{\"text\":\"[gh]\"}}}\n{\"contentBlockDelta\":{\"contentBlockIndex\":0,\"delta\":{\"text\":\"\"}}}\n{\"contentBlockStop\":{\"contentBlockIndex\":0}}\n",
        ),
    ] {
        assert_eq!(output(format, body), masked);
        if format == Format::Ndjson {
            assert_eq!(output(Format::Auto, body), masked);
        }
    }
}

#[test]
fn clean_streams_leave_as_they_came() {
    for body in [
        "[]",
        " [ {\"candidates\" : [ {\"content\":{\"parts\":[{\"text\":\"a\\u0020b\"}]}} ] } , {} , 1, \"x\" , [2] ] \n",
        "[1,{\"a\":[1]},\"[\"]",
    ] {
        assert_eq!(output(Format::Json, body), body);
    }
    for body in [
        "",
        "\n\n",
        "{\"a\":1}\n{\"b\":\"}\"}\n3\n[4]\n",
        "{\"response\":\"a\",\"done\":false}\n\n \n{\"other\":\"line\"}\n5\n[\"x\",{\"y\":null}]\n{\"response\":\"b\",\"done\":true}",
    ] {
        assert_eq!(output(Format::Ndjson, body), body);
    }
}

#[test]
fn a_line_leaves_with_its_end() {
    let mut masker = Masker::new(&rules(), Format::Ndjson, MaskerOptions::default());
    let (mut scratch, mut out) = (Scratch::new(), Vec::new());
    for line in
        ["{\"response\":\"a word \",\"done\":false}\n", "{\"response\":\"and more; \",\"done\":false}\n"]
    {
        out.clear();
        masker.push(&mut scratch, line.as_bytes(), &mut out).unwrap();
        assert_eq!(out, line.as_bytes(), "what is decided does not wait");
    }
}

#[test]
fn what_is_no_stream_is_a_document() {
    // Each string is a text of its own.
    for more in [
        "",
        ",\"done\":true",
        ",\"is_finished\":false",
        ",\"type\":\"response.sent\"",
        ",\"choices\":[\"a\"]",
    ] {
        let body = format!(r#"[{{"a":"ghp_"{more}}},{{"a":"Abcd1234"{more}}},{{"a":"ghp_Abcd1234"{more}}}]"#);
        let masked = body.replace("ghp_Abcd1234", "[gh]");
        assert_eq!(output(Format::Json, &body), masked);
        let lines = |body: &str| body.replace("},{", "}\n{").trim_matches(['[', ']']).to_owned();
        assert_eq!(output(Format::Ndjson, &lines(&body)), lines(&masked));
    }
}

#[test]
fn documents_are_not_held() {
    let element = "{\"text\":\"some words of a log\",\"n\":12345},";
    let body = format!("[{}1]", element.repeat(8 * LOOK_BYTES_MAX / element.len()));
    for (format, start) in
        [(Format::Json, ""), (Format::Ndjson, ""), (Format::Json, "{\"a\":"), (Format::Ndjson, "{\"a\":")]
    {
        let body = if start.is_empty() { body.clone() } else { format!("{start}{body}}}") };
        let mut masker = Masker::new(&rules(), format, MaskerOptions::default());
        let (mut scratch, mut out, mut held) = (Scratch::new(), Vec::new(), 0);
        for chunk in body.as_bytes().chunks(512) {
            masker.push(&mut scratch, chunk, &mut out).unwrap();
            held = held.max(masker.held());
        }
        masker.finish(&mut scratch, &mut out).unwrap();
        assert!(out == body.as_bytes());
        let most = if start.is_empty() { 512 } else { LOOK_BYTES_MAX + 512 };
        assert!(held <= most, "{held} bytes of {format:?} were held");
    }
}

/// A Gemini array with an element of so many bytes between two deltas.
fn with_large(len: usize, at: usize, value: &str) -> String {
    let text =
        |text: &str| format!("{{\"candidates\":[{{\"content\":{{\"parts\":[{{\"text\":\"{text}\"}}]}}}}]}}");
    let mut elements = vec![text("ghp_Abcd1234 "), text("some"), text(" ghp_Abcd1234")];
    let empty = "{\"candidates\":[],\"inline\":\"\",\"more\":\"\"}".len();
    let image = "A".repeat(len - empty - value.len());
    elements.insert(at, format!("{{\"candidates\":[],\"inline\":\"{image}\",\"more\":\"{value}\"}}"));
    format!("[{}]", elements.join(","))
}

#[test]
fn a_large_event_is_masked_too() {
    for len in [LOOK_BYTES_MAX - 1, LOOK_BYTES_MAX, EVENT_BYTES_MAX, EVENT_BYTES_MAX + 1, 2 * EVENT_BYTES_MAX]
    {
        for at in [0, 1, 3] {
            let body = with_large(len, at, "ghp_Abcd1234");
            let masked = body.replace("ghp_Abcd1234", "[gh]");
            for chunk in [4096, body.len()] {
                let done = mask(&rules(), Format::Json, OnError::Block, body.as_bytes().chunks(chunk));
                assert!(done.output == masked.as_bytes(), "{len} bytes at {at} by {chunk}: {:?}", done.error);
                assert_eq!(done.findings.len(), 3);
            }
        }
    }
}

#[test]
fn a_large_first_event_is_one_of_its_stream() {
    let text =
        |text: &str| format!("{{\"candidates\":[{{\"content\":{{\"parts\":[{{\"text\":\"{text}\"}}]}}}}]}}");
    let first = format!(
        "{{\"candidates\":[{{\"content\":{{\"parts\":[{{\"data\":\"{}\"}},{{\"text\":\"ghp_Ab\"}}]}}}}]}}",
        "A".repeat(LOOK_BYTES_MAX)
    );
    let body = format!("[{first},{}]", text("cd1234"));
    let masked = body.replace("ghp_Ab", "[gh]").replace("cd1234", "");
    let done = mask(&rules(), Format::Json, OnError::Block, body.as_bytes().chunks(1000));
    assert!(done.output == masked.as_bytes());
}

#[test]
fn faults_are_told_where_they_lie() {
    let event = r#"{"choices":[{"delta":{"content":"ghp_Abcd1234 "}}]}"#;
    for (format, body, offset, left) in [
        (Format::Json, format!("[{event},,{event}]"), event.len() + 2, format!(",{event}]")),
        (Format::Json, format!("[{event}{event}]"), event.len() + 1, format!("{event}]")),
        (Format::Json, format!("[{event}] {event}"), event.len() + 3, event.to_owned()),
        (Format::Json, format!("[{event},"), event.len() + 2, String::new()),
        (Format::Json, format!("[{event},{{\"a\":tru}}]"), event.len() + 10, "}]".to_owned()),
        (Format::Json, format!("[{event},{{\"a\""), event.len() + 6, String::new()),
        (Format::Ndjson, format!("{event}\nghp_Abcd1234"), event.len() + 1, "ghp_Abcd1234".to_owned()),
        (Format::Ndjson, format!("{event}\n{{\"a\":\"\\x\"}}"), event.len() + 8, "x\"}".to_owned()),
        (Format::Ndjson, "{\"a\":\"ghp_Abcd1234\",}\n".to_owned(), 20, "}\n".to_owned()),
    ] {
        let done = check(format, &body);
        let error = done.error.unwrap_or_else(|| panic!("{body} has a fault"));
        assert!(matches!(error.kind(), FormatErrorKind::Invalid(_)), "{error}");
        assert_eq!(error.offset(), offset as u64, "{body}: {error}");
        let mut outcome = None;
        for chunk in 1..=body.len() {
            let done = mask(&rules(), format, OnError::Text, body.as_bytes().chunks(chunk));
            assert_eq!(done.error, None);
            let text = String::from_utf8(done.output).unwrap();
            assert!(!text.contains("Abcd1234"), "{text}");
            assert!(text.ends_with(&left.replace("ghp_Abcd1234", "[gh]")), "{body}: {text}");
            let now = (text, done.findings);
            assert_eq!(*outcome.get_or_insert(now.clone()), now, "{body} by {chunk}");
        }
    }
}

#[test]
fn space_between_events_has_a_limit() {
    let mut body = String::from("{\"response\":\"ghp_\",\"done\":false}");
    body.extend(std::iter::repeat_n('\n', EVENT_BYTES_MAX));
    let run = |body: &str| mask(&rules(), Format::Ndjson, OnError::Block, body.as_bytes().chunks(1 << 16));
    assert_eq!(run(&body).error, None);
    body.push('\n');
    let error = run(&body).error.unwrap();
    assert!(matches!(error.kind(), FormatErrorKind::Limit(_)), "{error}");
}

#[test]
fn many_texts_have_a_limit() {
    let line = |n: usize| format!("{{\"choices\":[{{\"index\":{n},\"delta\":{{\"content\":\"ghp_\"}}}}]}}\n");
    let mut body = String::new();
    (0..super::super::joined::TEXTS_MAX).for_each(|n| body.write_str(&line(n)).unwrap());
    assert_eq!(check_once(&body), None);
    body += &line(super::super::joined::TEXTS_MAX);
    assert!(matches!(check_once(&body), Some(FormatErrorKind::Limit(_))));
}

fn check_once(body: &str) -> Option<FormatErrorKind> {
    let done = mask(&rules(), Format::Ndjson, OnError::Block, [body.as_bytes()]);
    done.error.map(|error| error.kind())
}
