//! Bodies of every format: identity without a match, every cut, planted values, faults and limits.

use std::sync::{Arc, OnceLock};

use super::*;
use crate::{CompileOptions, Pattern, Rule, Ruleset, Scratch, Validator};

fn rule(id: &str, pattern: Pattern) -> Rule {
    Rule { max_len: Some(64), ..Rule::plain(id, pattern) }
}

pub(super) fn rules() -> Arc<Ruleset> {
    static RULES: OnceLock<Arc<Ruleset>> = OnceLock::new();
    Arc::clone(RULES.get_or_init(compile))
}

fn compile() -> Arc<Ruleset> {
    let regex = |id: &str, text: &str| rule(id, Pattern::Regex(text.into()));
    let list = vec![
        regex("gh", r"\bghp_[A-Za-z0-9]{8}\b"),
        regex("pw", r#"(?i)password\\?["']?\s*[:=]\s*\\?["']?(?P<secret>[^\s"'\\]{4,40})"#),
        regex("mail", r"\b(?:[a-z0-9.]|é){1,12}@[a-z0-9]{1,8}\.[a-z]{2,4}\b"),
        Rule { validators: vec![Validator::Luhn], ..regex("card", r"\b\d{16}\b") },
        Rule {
            max_len: None,
            ..rule(
                "pem",
                Pattern::Enclosed { begin: "-----BEGIN KEY-----".into(), end: "-----END KEY-----".into() },
            )
        },
    ];
    match Ruleset::compile(list, &CompileOptions::default()) {
        Ok(rules) => rules,
        Err(e) => panic!("{e}"),
    }
}

#[derive(Debug, PartialEq, Eq, Clone)]
pub(super) struct Done {
    pub(super) output: Vec<u8>,
    pub(super) findings: Vec<(u32, u64, u64)>,
    pub(super) error: Option<FormatError>,
}

pub(super) fn mask<'a>(
    rules: &Arc<Ruleset>,
    format: Format,
    on_error: OnError,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> Done {
    let mut scratch = Scratch::new();
    let mut masker = Masker::new(rules, format, MaskerOptions { on_error, ..MaskerOptions::default() });
    let mut output = Vec::new();
    let mut error = None;
    for chunk in chunks {
        error = masker.push(&mut scratch, chunk, &mut output).err();
        if error.is_some() {
            break;
        }
    }
    let error = error.or_else(|| masker.finish(&mut scratch, &mut output).err());
    if error.is_none() {
        assert_eq!(masker.held(), 0, "nothing is held after the end");
    }
    let mut findings: Vec<_> = masker.take_findings().iter().map(|f| (f.rule.0, f.start, f.end)).collect();
    if matches!(format, Format::Protobuf(_) | Format::Grpc { .. }) {
        // Texts that lie within one another are told as they come.
        findings.sort_unstable();
    }
    Done { output, findings, error }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Whole, byte by byte and at every cut; events may be made elsewhere only in SSE, whose unit is the event.
pub(super) fn check(format: Format, body: &str) -> Done {
    check_bytes(format, body.as_bytes())
}

pub(super) fn check_bytes(format: Format, body: &[u8]) -> Done {
    let rules = rules();
    let whole = mask(&rules, format, OnError::Block, [body]);
    let shown = text(body);
    assert_eq!(mask(&rules, format, OnError::Block, body.chunks(1)), whole, "byte by byte: {shown}");
    // Of long bodies a part of the cuts, at a step that meets every place of an event in turn.
    for cut in (1..body.len()).step_by(1 + body.len() / 400) {
        let (a, b) = body.split_at(cut);
        assert_eq!(mask(&rules, format, OnError::Block, [a, b]), whole, "cut at {cut}: {shown}");
    }
    whole
}

fn masked(format: Format, body: &str) -> String {
    let done = check(format, body);
    assert_eq!(done.error, None, "{body}");
    text(&done.output)
}

#[test]
fn json_leaves_as_it_came() {
    for body in [
        "",
        " \r\n{ } ",
        "\u{FEFF}[1, 2.50, -0, 1e5, 1E+2, \"\"]",
        r#"{"a":"x\"\\\/\b\f\n\r\té😀\ud83d!\udc00\ud83dA","b":[true,false,null,{}]}"#,
        r#"[[[[]]],{"k":{"k":[]}},"é日😀"]"#,
        "\"plain\"",
        "12345678",
        r#"{"choices":[{"logprobs":null}]}"#,
        r#"{"choices":[{"logprobs":{"content":[ {"token":"a\u0062","bytes":[97, 98],"top_logprobs":[]} ]}}]}"#,
    ] {
        assert_eq!(masked(Format::Json, body), body);
    }
}

#[test]
fn json_values_are_masked() {
    for (body, output) in [
        (r#"{"t":"x ghp_Abcd1234 y"}"#, r#"{"t":"x [gh] y"}"#),
        (r#"{"password":"hunter2","n":1}"#, r#"{"password":"[pw]","n":1}"#),
        (r#"{"password":["hunter2","second"],"x":"third"}"#, r#"{"password":["[pw]","[pw]"],"x":"third"}"#),
        (r#"{"password":123456}"#, r#"{"password":"[pw]"}"#),
        (r#"{"card":4111111111111111,"c":4111111111111112}"#, r#"{"card":"[card]","c":4111111111111112}"#),
        (r#"{"t":"ghp\u005fAb\u0063d1234\n"}"#, r#"{"t":"[gh]\n"}"#),
        (r#"{"m":"caf\u00e9@x.org"}"#, r#"{"m":"[mail]"}"#),
        (r#"{"ghp_Abcd1234":1}"#, r#"{"[gh]":1}"#),
        (r#"{"a":"{\"password\":\"hunter2\"}"}"#, r#"{"a":"{\"password\":\"[pw]\"}"}"#),
        (r#"{"a":"-----BEGIN KEY-----\nabc","b":"c"}"#, r#"{"a":"[pem]","b":"c"}"#),
        (
            r#"{"choices":[{"message":"x","logprobs":{"content":[{"token":"ghp_"},{"token":"Abcd1234"}]},"i":0}]}"#,
            r#"{"choices":[{"message":"x","logprobs":null,"i":0}]}"#,
        ),
        (
            r#"{"output":[{"content":[{"text":"x","logprobs":[{"token":"ghp_Abcd"},{"token":"1234"}]}]}]}"#,
            r#"{"output":[{"content":[{"text":"x","logprobs":[]}]}]}"#,
        ),
        (
            r#"{"content":[{"signature":"ghp_Abcd1234"}],"signature":"ghp_Abcd1234"}"#,
            r#"{"content":[{"signature":"ghp_Abcd1234"}],"signature":"[gh]"}"#,
        ),
    ] {
        assert_eq!(masked(Format::Json, body), output);
    }
}

#[test]
fn json_faults() {
    for (body, offset) in [
        ("{", 1),
        ("[1,]", 3),
        ("{\"a\" 1}", 5),
        ("{a:1}", 1),
        ("[1 2]", 3),
        ("tru", 3),
        ("truf", 3),
        ("01", 1),
        ("-", 1),
        ("-x", 1),
        ("1.x", 2),
        ("1e", 2),
        ("\"a", 2),
        ("\"\u{1}\"", 1),
        ("\"\\x\"", 2),
        ("\"\\u12g4\"", 5),
        ("{} {}", 3),
        ("[}", 1),
        ("{]", 1),
        ("{,}", 1),
        ("[,]", 1),
        ("{\"a\":1,}", 7),
    ] {
        let done = check(Format::Json, body);
        let error = done.error.unwrap_or_else(|| panic!("{body} is taken"));
        assert_eq!(error.offset(), offset, "{body}: {error}");
        assert!(matches!(error.kind(), FormatErrorKind::Invalid(_)));
    }
    let rules = rules();
    for bytes in [&b"\"\xFF\""[..], b"\"\xC3\"", b"\"\xED\xA0\x80\"", b"\"\xC0\x80\"", b"\xEF{}"] {
        assert!(mask(&rules, Format::Json, OnError::Block, [bytes]).error.is_some(), "{bytes:?}");
    }
}

#[test]
fn what_is_not_json_is_scanned_as_text_when_asked() {
    let rules = rules();
    for (body, output) in [
        ("{\"a\":\"ghp_Abcd1234\"} then ghp_Abcd1234", "{\"a\":\"[gh]\"} then [gh]"),
        ("{\"a\":\"ghp_Abcd1234 \\x ghp_Abcd1234", "{\"a\":\"[gh] \\x [gh]"),
        ("[12x ghp_Abcd1234", "[12x [gh]"),
        ("{\"a\\u00", "{\"a\\u00"),
        ("[log] password=hunter2", "[log] password=[pw]"),
    ] {
        for format in [Format::Json, Format::Auto] {
            let whole = mask(&rules, format, OnError::Text, [body.as_bytes()]);
            assert_eq!((text(&whole.output), &whole.error), (output.to_owned(), &None), "{body}");
            assert_eq!(mask(&rules, format, OnError::Text, body.as_bytes().chunks(1)), whole, "{body}");
        }
    }
}

#[test]
fn json_that_is_not_utf8_is_refused_or_scanned() {
    for body in [&b"{\"a\":\"\xFF ghp_Abcd1234 \xC3\",\"\xE2\x82\":\"\xED\xA0\x80\"}"[..], b"\"\xC3\""] {
        for chunks in [vec![body], body.chunks(1).collect()] {
            for invalid_utf8 in [InvalidUtf8::Refuse, InvalidUtf8::Scan] {
                let options = MaskerOptions { invalid_utf8, ..MaskerOptions::default() };
                let (mut masker, mut scratch) =
                    (Masker::new(&rules(), Format::Json, options), Scratch::new());
                let mut out = Vec::new();
                let done = chunks.iter().try_for_each(|c| masker.push(&mut scratch, c, &mut out));
                let done = done.and_then(|()| masker.finish(&mut scratch, &mut out));
                assert_eq!(done.is_ok(), invalid_utf8 == InvalidUtf8::Scan);
                assert!(!text(&out).contains("Abcd"));
                if done.is_ok() {
                    let value = &b"ghp_Abcd1234"[..];
                    let at = body.windows(value.len()).position(|w| w == value);
                    let masked = at.map(|at| [&body[..at], b"[gh]", &body[at + value.len()..]].concat());
                    assert_eq!(out, masked.unwrap_or(body.to_vec()));
                }
            }
        }
    }
}

#[test]
fn json_keys_may_come_twice_and_surrogates_alone() {
    for (body, output) in [
        (r#"{"a":"ghp_Abcd1234","a":"ghp_Abcd1234","a":1}"#, r#"{"a":"[gh]","a":"[gh]","a":1}"#),
        (r#"{"password":1,"password":"hunter2"}"#, r#"{"password":1,"password":"[pw]"}"#),
        (
            r#"["\ud83d ghp_Abcd1234 \udc00","\ud83d\ud83dghp_Abcd1234"]"#,
            r#"["\ud83d [gh] \udc00","\ud83d\ud83d[gh]"]"#,
        ),
    ] {
        assert_eq!(masked(Format::Json, body), output);
    }
}

#[test]
fn json_limits() {
    let rules = rules();
    let nested = |n: usize| "[".repeat(n) + &"]".repeat(n);
    let number = |n: usize| "1".repeat(n);
    let error =
        |body: String| mask(&rules, Format::Json, OnError::Block, [body.as_bytes()]).error.map(|e| e.kind());
    assert_eq!(error(nested(128)), None);
    assert_eq!(error(nested(129)), Some(FormatErrorKind::Limit("JSON depth")));
    assert_eq!(error(number(1024)), None);
    assert_eq!(error(number(1025)), Some(FormatErrorKind::Limit("the length of a number")));
}

#[test]
fn ndjson() {
    let body = "{\"a\":\"ghp_Abcd1234\"}\r\n\n{\"b\":1}\n[2]";
    assert_eq!(masked(Format::Ndjson, body), body.replace("ghp_Abcd1234", "[gh]"));
    assert_eq!(masked(Format::Ndjson, "1 2\n"), "1 2\n");
}

#[test]
fn form() {
    for (body, output) in [
        ("", ""),
        ("a=b&c=d%20e+f&&=&g", "a=b&c=d%20e+f&&=&g"),
        ("a=%zz%4&b=%", "a=%zz%4&b=%"),
        ("t=ghp%5FAbcd1234&x=1", "t=%5Bgh%5D&x=1"),
        ("password=hunter2%21&y=", "password=%5Bpw%5D&y="),
        ("ghp_Abcd1234=1", "%5Bgh%5D=1"),
        ("m=me%40example.org+and", "m=%5Bmail%5D+and"),
    ] {
        assert_eq!(masked(Format::Form, body), output);
    }
}

#[test]
fn text_and_bytes() {
    assert_eq!(masked(Format::Text, "x ghp_Abcd1234"), "x [gh]");
    assert_eq!(masked(Format::Bytes, "x ghp_Abcd1234"), "x ************");
}

#[test]
fn findings_are_places_in_the_body() {
    let body = r#"{"é":"ghp\u005fAbcd1234 ghp_Abcd1234"}"#;
    let done = check(Format::Json, body);
    let spelled: Vec<&str> = done.findings.iter().map(|(_, s, e)| &body[*s as usize..*e as usize]).collect();
    assert_eq!(spelled, ["ghp\\u005fAbcd1234", "ghp_Abcd1234"]);
    let body = "a=1&m=me%40example.org";
    let done = check(Format::Form, body);
    assert_eq!(&body[done.findings[0].1 as usize..done.findings[0].2 as usize], "me%40example.org");
    let body = format!("{}{}data: [DONE]\n\n", chat(0, "x ghp_Ab"), chat(0, "cd1234 y"));
    let done = check(Format::Sse, &body);
    assert!(body[done.findings[0].1 as usize..].starts_with("ghp_Ab"));
    assert!(body[..done.findings[0].2 as usize].ends_with("cd1234"));
}

fn chat(index: usize, content: &str) -> String {
    let mut spelled = Vec::new();
    json::escape(content.as_bytes(), &mut spelled);
    let spelled = text(&spelled);
    format!(
        "data: {{\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{{\"index\":{index},\"delta\":{{\"content\":\"{spelled}\"}},\"logprobs\":null,\"finish_reason\":null}}]}}\n\n"
    )
}

fn stop(index: usize) -> String {
    format!(
        "data: {{\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{{\"index\":{index},\"delta\":{{}},\"finish_reason\":\"stop\"}}]}}\n\n"
    )
}

fn block(kind: &str, field: &str, content: &str) -> String {
    let mut spelled = Vec::new();
    json::escape(content.as_bytes(), &mut spelled);
    let spelled = text(&spelled);
    format!(
        "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{{\"type\":\"{kind}\",\"{field}\":\"{spelled}\"}}}}\n\n"
    )
}

/// The strings at `path` of all events, joined; each event must be JSON.
fn joined(stream: &str, path: &str) -> String {
    let mut all = String::new();
    for event in stream.split("\n\n").filter(|e| !e.is_empty()) {
        let data: Vec<&str> = event.lines().filter_map(|l| l.strip_prefix("data: ")).collect();
        let data = data.join("\n");
        if data == "[DONE]" {
            continue;
        }
        let leaves = leaves::Leaves::of(data.as_bytes()).unwrap_or_else(|| panic!("not JSON: {data}"));
        all += &leaves.string(path).unwrap_or_default();
    }
    all
}

#[test]
fn sse_framing_leaves_as_it_came() {
    for body in [
        "",
        "\n\n\r\n\r",
        ": comment\n\ndata: x\n\n",
        "event: a\r\ndata: {\"a\": 1}\r\nid: 7\r\nretry: 10\r\n\r\n",
        "data: a\rdata: b\r\rdata\n\nunknown\n\n",
        "\u{FEFF}data:{\"x\":[\n\ndata: {\"a\":\ndata: 1}\n\ndata: no end",
        "data: [DONE]\n\n",
    ] {
        assert_eq!(masked(Format::Sse, body), body, "{body:?}");
    }
}

#[test]
fn sse_texts_are_masked() {
    for (body, output) in [
        ("data: x ghp_Abcd1234\n\n", "data: x [gh]\n\n"),
        (": ghp_Abcd1234\nid: ghp_Abcd1234\n\n", ": [gh]\nid: [gh]\n\n"),
        ("data: {\"a\":\ndata: \"ghp_Abcd1234\"}\n\n", "data: {\"a\":\ndata: \"[gh]\"}\n\n"),
        (
            "data: {\"password\":\"hunter2\",\"c\":4111111111111111}\n\n",
            "data: {\"password\":\"[pw]\",\"c\":\"[card]\"}\n\n",
        ),
        ("data: {\"a\": ghp_Abcd1234\n\n", "data: {\"a\": [gh]\n\n"),
        ("data: -----BEGIN KEY-----\ndata: abc\ndata: -----END KEY----- x\n\n", "data: [pem] x\n\n"),
        ("data: ghp_Abcd1234", "data: [gh]"),
    ] {
        assert_eq!(masked(Format::Sse, body), output);
    }
}

const SECRET: &str =
    "my key is ghp_Abcd1234, mail me@example.org; {\"password\": \"hunter2x\"} é😀\nend ghp_";
const MASKED: &str = "my key is [gh], mail [mail]; {\"password\": \"[pw]\"} é😀\nend ghp_";

#[test]
fn chat_deltas_are_one_text_at_every_cut() {
    let chars: Vec<char> = SECRET.chars().collect();
    for cut in 1..chars.len() {
        let part = |range: &[char]| range.iter().collect::<String>();
        let body =
            chat(0, &part(&chars[..cut])) + &chat(0, &part(&chars[cut..])) + &stop(0) + "data: [DONE]\n\n";
        let output = mask(&rules(), Format::Sse, OnError::Block, [body.as_bytes()]);
        assert_eq!(joined(&text(&output.output), "choices.0.delta.content"), MASKED, "cut at {cut}");
    }
    for size in 1..=5 {
        let mut body: String = chars.chunks(size).map(|c| chat(0, &c.iter().collect::<String>())).collect();
        for end in [stop(0), String::new(), "data: [DONE]\n\n".to_owned()] {
            body += &end;
            let output = masked(Format::Sse, &body);
            assert_eq!(joined(&output, "choices.0.delta.content"), MASKED, "{size} a delta");
        }
    }
}

#[test]
fn choices_are_texts_of_their_own() {
    let chars: Vec<char> = SECRET.chars().collect();
    let mut body = String::new();
    for c in &chars {
        body += &chat(0, &c.to_string());
        body += &chat(1, &c.to_string());
    }
    body += &stop(1);
    body += &stop(0);
    let output = text(&mask(&rules(), Format::Sse, OnError::Block, [body.as_bytes()]).output);
    for index in 0..2 {
        let own: String =
            output.split_inclusive("\n\n").filter(|e| e.contains(&format!("\"index\":{index}"))).collect();
        assert_eq!(joined(&own, "choices.0.delta.content"), MASKED);
        // What was held came before the event that ends the text.
        assert!(own.trim_end().ends_with("\"finish_reason\":\"stop\"}]}"));
    }
}

#[test]
fn blocks_are_one_text_at_every_cut() {
    for (kind, field) in
        [("text_delta", "text"), ("input_json_delta", "partial_json"), ("thinking_delta", "thinking")]
    {
        let chars: Vec<char> = SECRET.chars().collect();
        for size in [1, 2, 3, 7] {
            let mut body: String =
                chars.chunks(size).map(|c| block(kind, field, &c.iter().collect::<String>())).collect();
            body += "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n";
            let output = masked(Format::Sse, &body);
            assert_eq!(joined(&output, &format!("delta.{field}")), MASKED);
            for event in output.split("\n\n").filter(|e| e.contains("delta\":{")) {
                assert!(event.starts_with("event: content_block_delta\n"), "{event}");
                assert!(event.contains(&format!("\"type\":\"{kind}\"")), "{event}");
            }
            assert!(output.trim_end().ends_with("\"content_block_stop\",\"index\":0}"));
        }
    }
}

#[test]
fn tool_arguments_stay_json() {
    let arguments = "{\"password\":\"hunter2\",\"q\":\"ghp_Abcd1234 \\\"x\\\"\"}";
    for size in 1..6 {
        let chars: Vec<char> = arguments.chars().collect();
        let body: String = chars
            .chunks(size)
            .map(|c| {
                let mut spelled = Vec::new();
                json::escape(c.iter().collect::<String>().as_bytes(), &mut spelled);
                format!(
                    "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"tool_calls\":[{{\"index\":1,\"function\":{{\"arguments\":\"{}\"}}}}]}}}}]}}\n\n",
                    text(&spelled)
                )
            })
            .collect();
        let output = masked(Format::Sse, &(body + &stop(0)));
        let all = joined(&output, "choices.0.delta.tool_calls.0.function.arguments");
        assert_eq!(all, "{\"password\":\"[pw]\",\"q\":\"[gh] \\\"x\\\"\"}");
    }
}

#[test]
fn logprobs_never_say_what_was_masked() {
    let event = |content: &str, token: &str| {
        format!(
            "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{content}\"}},\"logprobs\":{{\"content\":[{{\"token\":\"{token}\"}}]}}}}]}}\n\n"
        )
    };
    let body = event("clean. ", "clean. ") + &event("ghp_Ab", "ghp_Ab") + &event("cd1234 ", "cd1234 ");
    let output = masked(Format::Sse, &body);
    assert!(output.starts_with(&event("clean. ", "clean. ")), "{output}");
    assert!(!output.contains("Ab") && !output.contains("cd12"), "{output}");
}

#[test]
fn sse_limits() {
    let rules = rules();
    let event = |n: usize| format!("data: {}\n\n", "x ".repeat(n)[..n - 8].to_owned());
    let error =
        |body: &str| mask(&rules, Format::Sse, OnError::Block, [body.as_bytes()]).error.map(|e| e.kind());
    assert_eq!(error(&event(sse::EVENT_BYTES_MAX)), None);
    assert_eq!(error(&event(sse::EVENT_BYTES_MAX + 1)), Some(FormatErrorKind::Limit("the size of an event")));
    let texts = |n: usize| (0..n).map(|i| chat(i, "ghp_")).collect::<String>();
    assert_eq!(error(&texts(joined::TEXTS_MAX)), None);
    assert_eq!(error(&texts(joined::TEXTS_MAX + 1)), Some(FormatErrorKind::Limit("the number of texts")));
}

#[test]
fn a_guess_never_fails_and_never_leaks() {
    for body in [
        "{\"a\": ghp_Abcd1234",
        "data: x\n\nghp_Abcd1234\n\n",
        "ghp_Abcd1234",
        "  [1] ghp_Abcd1234",
        "event",
        "",
        " ",
    ] {
        let output = masked(Format::Auto, body);
        assert_eq!(output, body.replace("ghp_Abcd1234", "[gh]"));
    }
}
