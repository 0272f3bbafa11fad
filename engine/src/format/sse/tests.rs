//! The parser of the standard (WHATWG HTML, section 9.2.6), case by case.

use super::super::tests::{check_bytes, mask, rules};
use crate::format::{Format, OnError};

/// An event as a client gets it: its name, its data, and the last id at that time.
type Dispatched = (String, String, String);

/// Section 9.2.6, word for word; `at_end`: a client that also dispatches what has no blank line.
fn parse(body: &[u8], at_end: bool) -> Vec<Dispatched> {
    let text = String::from_utf8_lossy(body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body)).into_owned();
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let (mut events, mut data, mut name, mut id) = (Vec::new(), String::new(), String::new(), String::new());
    let mut lines: Vec<&str> = text.split('\n').collect();
    let rest = lines.pop().unwrap_or_default();
    if at_end {
        lines.extend([rest, ""]);
    }
    for line in lines {
        if line.is_empty() {
            if !data.is_empty() {
                data.pop();
                events.push((std::mem::take(&mut name), std::mem::take(&mut data), id.clone()));
            }
            name.clear();
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut name),
            "data" => {
                data.push_str(value);
                data.push('\n');
            }
            "id" if !value.contains('\0') => value.clone_into(&mut id),
            _ => {}
        }
    }
    events
}

fn output(body: &[u8]) -> Vec<u8> {
    let done = check_bytes(Format::Sse, body);
    assert_eq!(done.error, None);
    done.output
}

fn chat(content: &str) -> String {
    format!("{{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{content}\"}}}}]}}")
}

/// The content of all deltas that a client gets.
fn joined(body: &[u8], at_end: bool) -> String {
    let content = |(_, data, _): Dispatched| {
        let leaves = super::super::leaves::Leaves::of(data.as_bytes());
        leaves.and_then(|l| l.string("choices.0.delta.content")).unwrap_or_default()
    };
    parse(body, at_end).into_iter().map(content).collect()
}

#[test]
fn a_client_reads_the_same_of_what_has_no_value() {
    for body in [
        &b"data: a\ndata: b\n\n"[..],
        b"\xEF\xBB\xBFdata: a\r\rdata: b\r\n\r\n",
        b"\xEF\xBB\xBF\xEF\xBB\xBFdata: a\n\n",
        b"\xEF\xBB\xBF\ndata: a\n\n",
        b":\n\n: c\ndata\n\ndata\ndata\n\ndata:\n\n",
        b"data:no space\n\ndata:  two\n\n",
        b"id: 1\ndata: a\n\nid\ndata: b\n\nid: x\0y\ndata: c\n\n",
        b"event: a\nevent: b\ndata: x\n\nretry: 10\nretry: x\n\n",
        b"datax: no\ndata : no\n data: no\nDATA: no\n\n",
        b"data: \xFF{\"a\": 1}\n\ndata: {\"a\": \"\xC3\"}\n\n",
        b"data: a\n\ndata: left open\n",
        b"\r\n\r\n\n\r\r\n",
    ] {
        assert_eq!(output(body), body, "{body:?}");
    }
}

#[test]
fn every_line_end_ends_lines_and_events() {
    for end in ["\n", "\r", "\r\n"] {
        let event = |text: &str| format!("event: e{end}data: {}{end}{end}", chat(text));
        let body = ["my ghp_A", "bcd", "1234 is it"].map(event).concat() + "data: [DONE]" + end + end;
        let output = output(body.as_bytes());
        assert_eq!(joined(&output, false), "my [gh] is it", "{end:?}");
        assert!(parse(&output, false).iter().take(3).all(|(name, _, _)| name == "e"), "{end:?}");
    }
}

#[test]
fn data_of_several_lines_is_one_text() {
    let body = "data: {\"choices\":[{\"index\":0,\nid: 4\ndata:\"delta\":{\"content\":\ndata: \"my ghp_Abcd\"}}]}\n\n";
    let body = format!("{body}data: {}\n\n", chat("1234"));
    let output = output(body.as_bytes());
    assert_eq!(joined(&output, false), "my [gh]");
    assert_eq!(parse(&output, false)[0].2, "4");
}

#[test]
fn a_byte_order_mark_is_no_field_but_at_the_start() {
    let delta = |mark: &str, text: &str| format!("{mark}data: {}\n\n", chat(text));
    let body = delta("\u{FEFF}", "my ghp_Abcd") + &delta("\u{FEFF}", "ignored") + &delta("", "1234 x");
    let output = output(body.as_bytes());
    assert_eq!(joined(&output, false), "my [gh] x");
}

#[test]
fn broken_utf8_hides_no_delta() {
    let chat = |text: &[u8]| {
        let (before, after) = (chat("").replace("\"\"}", "\""), "\"}}]}\n\n");
        [b"data: ", before.trim_end_matches("}]}").as_bytes(), text, after.as_bytes()].concat()
    };
    let body =
        [chat(b"\xFF my ghp_Ab"), chat(b"cd12"), chat(b"34 \xC3"), b"data: [DONE]\n\n".to_vec()].concat();
    assert_eq!(joined(&body, false), "\u{FFFD} my ghp_Abcd1234 \u{FFFD}");
    let output = output(&body);
    assert_eq!(joined(&output, false), "\u{FFFD} my [gh] \u{FFFD}");
}

#[test]
fn a_last_event_without_a_blank_line_is_masked() {
    for end in ["", "\n", "\r", "\r\n"] {
        let body = format!("data: {}\n\ndata: {}{end}", chat("my ghp_Abcd"), chat("1234"));
        let output = output(body.as_bytes());
        assert_eq!(joined(&output, true), "my [gh]", "{end:?}");
    }
}

#[test]
fn names_of_events_are_masked() {
    let body =
        format!("event: ghp_Abcd1234\nevent: x ghp_Abcd1234\ndata: {}\n\ndata: [DONE]\n\n", chat("ghp_"));
    let output = output(body.as_bytes());
    assert_eq!(output, body.replace("ghp_Abcd1234", "[gh]").as_bytes());
}

#[test]
fn a_line_feed_stays_behind_its_carriage_return_while_an_event_waits() {
    for end in ["\r\n", "\r"] {
        let event = |text: &str| format!("data: {}{end}{end}", chat(text));
        let body = event("my ghp_A") + &event("bc") + &event("d12345");
        assert_eq!(output(body.as_bytes()), body.as_bytes(), "{end:?}");
    }
}

#[test]
fn data_that_is_no_json_is_one_text() {
    for (parts, masked) in [
        (&["my ghp_Ab", "cd12", "34 x"][..], &["my [gh]", "", " x"][..]),
        (&["ghp_Abcd1234", "ghp_Abcd1234"], &["[gh]", "[gh]"]),
        (&["password=", "hunter2", " x"], &["password=", "[pw]", " x"]),
        (&["password=", "\"hunter2\"", " x"], &["password=", "\"[pw]\"", " x"]),
        (&["\"ghp_Ab\"", "\"cd1234\"", "\"\""], &["\"[gh]\"", "\"\"", "\"\""]),
    ] {
        let body = |parts: &[&str]| parts.iter().map(|p| format!("data: {p}\n\n")).collect::<String>();
        let output = output((body(parts) + "data: [DONE]\n\n").as_bytes());
        assert_eq!(String::from_utf8_lossy(&output), body(masked) + "data: [DONE]\n\n");
    }
}

#[test]
fn completions_of_one_member_are_joined() {
    for member in ["outputText", "generation", "completion"] {
        let event = |text: &str, more: &str| format!("data: {{\"{member}\":\"{text}\"{more}}}\n\n");
        let open = event("my ghp_A", ",\"stop_reason\":null") + &event("bcd1234", "");
        for body in
            [open.clone(), open.clone() + &event("", ",\"stop_reason\":\"stop\""), open + "data: [DONE]\n\n"]
        {
            let output = output(body.as_bytes());
            let all: String = parse(&output, false)
                .iter()
                .filter_map(|(_, data, _)| super::super::leaves::Leaves::of(data.as_bytes())?.string(member))
                .collect();
            assert_eq!(all, "my [gh]");
        }
    }
}

#[test]
fn the_output_is_the_same_for_clients_of_random_streams() {
    // Streams of all marks of the format, from a counter: what has no value leaves as it came.
    let parts =
        ["data", "event", ":", " ", "\n", "\r", "\r\n", "\n\n", "{\"a\":1}", "x", "\u{FEFF}", "id: 3", "é"];
    let rules = rules();
    let mut state = 7u64;
    for _ in 0..3000 {
        let mut body = String::new();
        for _ in 0..12 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            body += parts[(state >> 33) as usize % parts.len()];
        }
        let whole = mask(&rules, Format::Sse, OnError::Block, [body.as_bytes()]);
        assert_eq!(String::from_utf8_lossy(&whole.output), body);
        let cut = mask(&rules, Format::Sse, OnError::Block, body.as_bytes().chunks(1));
        assert_eq!(cut, whole, "{body:?}");
    }
}
