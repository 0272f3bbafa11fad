//! Conversations and frames, told again.

use serde_json::json;

use super::*;
use crate::record::{End, FrameKind, Head, Payload, VerdictName};
use crate::{Context, Decision, NewRecord, RequestIds};

/// The records of an exchange as they would be read back.
fn exchange(n: u64, chain: &str, verdict: VerdictName, request: &str, answer: &[&str]) -> Vec<Record> {
    let id = RequestIds::new(0, n).next(n);
    let context = Context { session: id, request: id, chain: Some(chain.to_owned()), ..Context::default() };
    let decision = Decision { verdict: Some(verdict), policies: vec!["p1".into()], ..Decision::default() };
    let head = Head { method: "POST".into(), target: "/v1/chat/completions?a=b".into(), ..Head::default() };
    let answered =
        Head { status: Some(200), fields: vec![("content-type".into(), "x/y".into())], ..Head::default() };
    let frame =
        |direction, text: &str| (Kind::Frame, Some(direction), Payload::Bytes(text.to_owned().into()));
    let mut all = vec![(Kind::Request, None, Payload::Head(head)), frame(Direction::Request, request)];
    all.push((Kind::Response, None, Payload::Head(answered)));
    all.extend(answer.iter().map(|text| frame(Direction::Response, text)));
    all.push((Kind::End, None, Payload::End(End { outcome: "complete".into(), ..End::default() })));
    let (mut records, mut out) = (Vec::new(), Vec::new());
    for (at, (kind, direction, payload)) in all.into_iter().enumerate() {
        let record = NewRecord {
            wall_ns: n * 1_000_000_000,
            mono_ns: 1_000 + at as u64,
            kind,
            direction,
            frame: (kind == Kind::Frame).then_some(FrameKind::Body),
            payload,
            context: context.clone().into(),
            decision: Some(decision.clone().into()),
            ..NewRecord::default()
        };
        out.clear();
        crate::record::write(&record, None, at as u64 + 1, crate::Hash::ZERO, &mut out).unwrap();
        records.push(serde_json::from_slice(&out).unwrap());
    }
    records
}

/// What was said, joined as a reader sees it.
fn told(records: &[Record]) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = Vec::new();
    for piece in replay(records).into_iter().filter(|piece| piece.voice != Voice::Event) {
        match all.last_mut() {
            Some((_, text)) if piece.goes_on => *text += &piece.text,
            _ => all.push((piece.voice.label(), piece.text)),
        }
    }
    all
}

fn texts(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

#[test]
fn conversations_of_each_provider_are_told() {
    let chat = r#"{"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":[{"type":"text","text":"hi"}]}]}"#;
    let stream: &[&str] = &[
        "data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"hm\"}}]}\n\ndata: {\"choices\":[{\"delta\":{\"con",
        "tent\":\"he\"}}]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"llo\"}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":\"{\"}}]}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"function\":{\"arguments\":\"}\"}}]}}]}\n\ndata: [DONE]\n\n",
    ];
    let prompt = [("system", "Be brief."), ("user", "hi")];
    let answer = [("reasoning", "hm"), ("assistant", "hello"), ("tool call f", "{}")];
    let expected = texts(&[&prompt[..], &answer].concat());
    assert_eq!(told(&exchange(1, "c", VerdictName::Allow, chat, stream)), expected);
    let whole = json!({ "choices": [{ "message": { "reasoning_content": "hm", "content": "hello",
        "tool_calls": [{ "function": { "name": "f", "arguments": "{}" } }] } }] });
    assert_eq!(told(&exchange(1, "c", VerdictName::Allow, chat, &[&whole.to_string()])), expected);

    let messages = r#"{"system":"Be brief.","messages":[{"role":"user","content":"hi"}]}"#;
    let stream: &[&str] = &[
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\"hm\"}}\n\n",
        "data: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"hello\"}}\n\n",
        "data: {\"type\":\"content_block_start\",\"content_block\":{\"type\":\"tool_use\",\"name\":\"f\"}}\n\n",
        "data: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{}\"}}\n\n",
    ];
    assert_eq!(told(&exchange(1, "c", VerdictName::Allow, messages, stream)), expected);

    let responses = r#"{"instructions":"Be brief.","input":"hi"}"#;
    let stream: &[&str] = &[
        "data: {\"type\":\"response.reasoning_summary_text.delta\",\"delta\":\"hm\"}\n\n",
        "data: {\"type\":\"response.output_text.delta\",\"delta\":\"hello\"}\n\n",
        "data: {\"type\":\"response.output_item.added\",\"item\":{\"type\":\"function_call\",\"name\":\"f\"}}\n\n",
        "data: {\"type\":\"response.function_call_arguments.delta\",\"delta\":\"{}\"}\n\n",
    ];
    assert_eq!(told(&exchange(1, "c", VerdictName::Allow, responses, stream)), expected);

    let contents = r#"{"systemInstruction":{"parts":[{"text":"Be brief."}]},"contents":[{"role":"user","parts":[{"text":"hi"}]}]}"#;
    let whole = json!({ "candidates": [{ "content": { "parts": [{ "thought": true, "text": "hm" }, { "text": "hello" },
        { "functionCall": { "name": "f", "args": {} } }] } }] });
    assert_eq!(told(&exchange(1, "c", VerdictName::Allow, contents, &[&whole.to_string()])), expected);
}

#[test]
fn what_is_no_conversation_is_told_frame_by_frame() {
    let records = exchange(1, "c", VerdictName::Allow, "one", &["two", "{\"x\":1}"]);
    assert_eq!(told(&records), texts(&[(">", "one"), ("<", "two"), ("<", "{\"x\":1}")]));
    let pieces = replay(&records);
    assert_eq!(pieces[0].text, "POST /v1/chat/completions?a=b [allow: p1]");
    assert_eq!(pieces.last().unwrap().at_ns, 5);
    assert_eq!(visible("a\x1b[2Jb\r\n\u{9b}"), "a\\u{1b}[2Jb\n\\u{9b}");
}

#[test]
fn exports_have_their_forms() {
    let records = exchange(7, "c", VerdictName::Mask, "{\"q\":1}", &["ans", "wer"]);
    let entry = &har(&records)["log"]["entries"][0];
    assert_eq!(entry["startedDateTime"], "1970-01-01T00:00:07.000Z");
    assert_eq!(entry["request"]["postData"]["text"], "{\"q\":1}");
    assert_eq!(entry["request"]["queryString"][0], json!({ "name": "a", "value": "b" }));
    assert_eq!(
        (&entry["response"]["status"], &entry["response"]["content"]["text"]),
        (&json!(200), &json!("answer"))
    );
    assert_eq!(entry["_verdict"], "mask");
    let cast = asciicast(&records);
    let lines: Vec<serde_json::Value> =
        cast.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["version"], 2);
    assert_eq!((&lines[1][1], &lines[2][1], &lines[3][2]), (&json!("i"), &json!("o"), &json!("wer")));
}

#[test]
fn a_chain_names_the_step_that_led_to_a_privileged_action() {
    let asks =
        "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"function\":{\"name\":\"drop_table\"}}]}}]}\n\n";
    let first = exchange(1, "c", VerdictName::Allow, "{\"messages\":[]}", &["data: {}\n\n"]);
    let second = exchange(2, "c", VerdictName::Allow, "{\"messages\":[]}", &[asks]);
    let third = exchange(3, "c", VerdictName::Allow, "read", &["x"]);
    let fourth = exchange(4, "c", VerdictName::Approve, "drop", &["x"]);
    let steps = chain(&[fourth, second.clone(), first, third]);
    assert_eq!(steps.iter().map(|step| step.is_privileged).collect::<Vec<_>>(), [false, false, false, true]);
    assert_eq!(steps[1].tools, ["drop_table"]);
    assert_eq!(steps[3].led_by, Some(second[0].session.to_string()));
    assert_eq!(steps[2].led_by, None);
}
