//! Streams of every API: deltas are one text, what says it again is masked alike, and nothing else changes.

use super::super::tests::{check, mask, rules};
use crate::format::{Format, OnError};

fn sse(events: &[&str]) -> String {
    events.iter().map(|data| format!("data: {data}\n\n")).collect()
}

/// Each event, and what becomes of it.
#[test]
fn events_leave_in_their_place() {
    let cases: &[&[(&str, &str)]] = &[
        // Two choices, one after the other.
        &[
            (
                r#"{"choices":[{"delta":{"content":"a ghp_Ab"},"index":0}]}"#,
                r#"{"choices":[{"delta":{"content":"a [gh]"},"index":0}]}"#,
            ),
            (
                r#"{"choices":[{"delta":{"content":"b ghp_Abc"},"index":1}]}"#,
                r#"{"choices":[{"delta":{"content":"b [gh]"},"index":1}]}"#,
            ),
            (
                r#"{"choices":[{"delta":{"content":"d1234"},"index":1},{"delta":{"content":"cd1234 c"},"index":0}]}"#,
                r#"{"choices":[{"delta":{"content":""},"index":1},{"delta":{"content":" c"},"index":0}]}"#,
            ),
            (
                r#"{"choices":[{"delta":{},"index":1,"finish_reason":"stop"}]}"#,
                r#"{"choices":[{"delta":{},"index":1,"finish_reason":"stop"}]}"#,
            ),
        ],
        // Log probabilities leave empty only where the text is masked.
        &[
            (
                r#"{"choices":[{"delta":{"content":"a g"},"logprobs":{"content":[{"token":"a g","bytes":[97,32,103]}]}}]}"#,
                r#"{"choices":[{"delta":{"content":"a [gh]"},"logprobs":null}]}"#,
            ),
            (
                r#"{"choices":[{"delta":{"content":"hp_Abcd1234"},"logprobs":{"content":[{"token":"hp_Abcd1234","bytes":[103]}]}}]}"#,
                r#"{"choices":[{"delta":{"content":""},"logprobs":null}]}"#,
            ),
            (
                r#"{"choices":[{"delta":{"content":" b"},"logprobs":{"content":[{"token":" b","bytes":[32,98]}]}}]}"#,
                r#"{"choices":[{"delta":{"content":" b"},"logprobs":{"content":[{"token":" b","bytes":[32,98]}]}}]}"#,
            ),
        ],
        &[
            (
                r#"{"choices":[{"text":"ghp_","logprobs":{"tokens":["ghp_"]}}]}"#,
                r#"{"choices":[{"text":"[gh]","logprobs":null}]}"#,
            ),
            (
                r#"{"choices":[{"text":"Abcd1234","logprobs":{"tokens":["Abcd","1234"]}}]}"#,
                r#"{"choices":[{"text":"","logprobs":null}]}"#,
            ),
        ],
        // Arguments are JSON, whose escapes are cut.
        &[
            (
                r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"q\":\"x ghp\\u0"}}]}}]}"#,
                r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"q\":\"x [gh]"}}]}}]}"#,
            ),
            (
                r#"{"choices":[{"delta":{"tool_calls":[{"index":1,"function":{"arguments":"{\"card\":4111111111"}}]}}]}"#,
                r#"{"choices":[{"delta":{"tool_calls":[{"index":1,"function":{"arguments":"{\"card\":\"[card]\""}}]}}]}"#,
            ),
            (
                r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"05fAbcd1234\\n\"}"}}]}}]}"#,
                r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"\\n\"}"}}]}}]}"#,
            ),
            (
                r#"{"choices":[{"delta":{"tool_calls":[{"index":1,"function":{"arguments":"111111}"}}]}}]}"#,
                r#"{"choices":[{"delta":{"tool_calls":[{"index":1,"function":{"arguments":"}"}}]}}]}"#,
            ),
        ],
        // What is no JSON after all is text.
        &[
            (
                r#"{"choices":[{"delta":{"function_call":{"arguments":"{\"a\": ghp_Ab"}}}]}"#,
                r#"{"choices":[{"delta":{"function_call":{"arguments":"{\"a\": [gh]"}}}]}"#,
            ),
            (
                r#"{"choices":[{"delta":{"function_call":{"arguments":"cd1234"}}}]}"#,
                r#"{"choices":[{"delta":{"function_call":{"arguments":""}}}]}"#,
            ),
        ],
        // Responses: sequence numbers stay, and whatever says the text again is masked as it was.
        &[
            (
                r#"{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"my ghp_","sequence_number":4,"logprobs":[{"token":"my ghp_"}]}"#,
                r#"{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"my [gh]","sequence_number":4,"logprobs":[]}"#,
            ),
            (
                r#"{"type":"response.output_text.delta","output_index":0,"content_index":1,"delta":"Abcd1234","sequence_number":5}"#,
                r#"{"type":"response.output_text.delta","output_index":0,"content_index":1,"delta":"Abcd1234","sequence_number":5}"#,
            ),
            (
                r#"{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"Abcd1234","sequence_number":6}"#,
                r#"{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"","sequence_number":6}"#,
            ),
            (
                r#"{"type":"response.output_text.done","output_index":0,"content_index":0,"text":"my ghp_Abcd1234","sequence_number":7}"#,
                r#"{"type":"response.output_text.done","output_index":0,"content_index":0,"text":"my [gh]","sequence_number":7}"#,
            ),
            (
                r#"{"type":"response.content_part.done","output_index":0,"content_index":0,"part":{"type":"output_text","text":"my ghp_Abcd1234","logprobs":[{"token":"my ghp_"},{"token":"Abcd1234"}]}}"#,
                r#"{"type":"response.content_part.done","output_index":0,"content_index":0,"part":{"type":"output_text","text":"my [gh]","logprobs":[]}}"#,
            ),
            (
                r#"{"type":"response.function_call_arguments.delta","output_index":1,"delta":"{\"password\":\"hun"}"#,
                r#"{"type":"response.function_call_arguments.delta","output_index":1,"delta":"{\"password\":\"[pw]"}"#,
            ),
            (
                r#"{"type":"response.function_call_arguments.delta","output_index":1,"delta":"ter2\"}"}"#,
                r#"{"type":"response.function_call_arguments.delta","output_index":1,"delta":"\"}"}"#,
            ),
            (
                r#"{"type":"response.function_call_arguments.done","output_index":1,"arguments":"{\"password\":\"hunter2\"}"}"#,
                r#"{"type":"response.function_call_arguments.done","output_index":1,"arguments":"{\"password\":\"[pw]\"}"}"#,
            ),
            (
                r#"{"type":"response.completed","response":{"output":[{"content":[{"text":"my ghp_Abcd1234"}]},{"arguments":"{\"password\":\"hunter2\"}"}]}}"#,
                r#"{"type":"response.completed","response":{"output":[{"content":[{"text":"my [gh]"}]},{"arguments":"{\"password\":\"[pw]\"}"}]}}"#,
            ),
        ],
        // Anthropic: the start of a block is the first of its text; citations.
        &[
            (
                r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"my gh"}}"#,
                r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"my [gh]"}}"#,
            ),
            (
                r#"{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"p_Abcd1234"}}"#,
                r#"{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"p_Abcd1234"}}"#,
            ),
            (
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"p_Abcd1234"}}"#,
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":""}}"#,
            ),
            (
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"citations_delta","citation":{"cited_text":"ghp_Ab"}}}"#,
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"citations_delta","citation":{"cited_text":"[gh]"}}}"#,
            ),
            (
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"citations_delta","citation":{"cited_text":"cd1234"}}}"#,
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"citations_delta","citation":{"cited_text":""}}}"#,
            ),
            (r#"{"type":"content_block_stop","index":0}"#, r#"{"type":"content_block_stop","index":0}"#),
        ],
        // Gemini: thoughts and answers are two texts, wherever their parts stand.
        &[
            (
                r#"{"candidates":[{"content":{"parts":[{"text":"ghp_","thought":true},{"text":"my ghp_Ab"}]}}]}"#,
                r#"{"candidates":[{"content":{"parts":[{"text":"[gh]","thought":true},{"text":"my [gh]"}]}}]}"#,
            ),
            (
                r#"{"candidates":[{"content":{"parts":[{"text":"cd1234"}]}}]}"#,
                r#"{"candidates":[{"content":{"parts":[{"text":""}]}}]}"#,
            ),
            (
                r#"{"candidates":[{"content":{"parts":[{"text":"Abcd1234","thought":true},{"functionCall":{"args":{"password":"hunter2"}}}]},"finishReason":"STOP"}]}"#,
                r#"{"candidates":[{"content":{"parts":[{"text":"","thought":true},{"functionCall":{"args":{"password":"[pw]"}}}]},"finishReason":"STOP"}]}"#,
            ),
        ],
        // A schema that is not known: by path and indexes, each on its own and all as one.
        &[
            (
                r#"{"kind":"x","out":{"piece":"my ghp_Ab"},"n":[{"index":7,"t":"ghp_"}]}"#,
                r#"{"kind":"x","out":{"piece":"my [gh]"},"n":[{"index":7,"t":"[gh]"}]}"#,
            ),
            (
                r#"{"kind":"x","out":{"piece":"cd1234 x"},"n":[{"index":3,"t":"Abcd1234"},{"index":7,"t":"Abcd1234"}]}"#,
                r#"{"kind":"x","out":{"piece":" x"},"n":[{"index":3,"t":"Abcd1234"},{"index":7,"t":""}]}"#,
            ),
            (r#"{"kind":"x","out":{"piece":"ghp_Abcd1234"}}"#, r#"{"kind":"x","out":{"piece":"[gh]"}}"#),
            (r#"{"kind":"x","out":{"piece":"ghp_Abcd1234"}}"#, r#"{"kind":"x","out":{"piece":"[gh]"}}"#),
            (r#"{"password":"hun"}"#, r#"{"password":"[pw]"}"#),
            (r#"{"password":"ter2"}"#, r#"{"password":""}"#),
        ],
    ];
    for case in cases {
        let (events, masked): (Vec<&str>, Vec<&str>) = case.iter().copied().unzip();
        let done = check(Format::Sse, &sse(&events));
        assert_eq!(done.error, None);
        assert_eq!(String::from_utf8_lossy(&done.output), sse(&masked));
    }
}

#[test]
fn what_has_no_value_leaves_as_it_came_however_it_is_cut() {
    let text = "Well, hello there ghp_ it is me@ no passwor";
    for size in 1..6 {
        let parts = || text.as_bytes().chunks(size).map(|part| String::from_utf8_lossy(part));
        for make in [
            |p: &str| {
                format!(
                    r#"{{"choices":[{{"index":0,"delta":{{"content":"{p}"}},"logprobs":{{"content":[{{"token":"{p}"}}]}}}}]}}"#
                )
            },
            |p: &str| format!(r#"{{"type":"response.output_text.delta","output_index":0,"delta":"{p}"}}"#),
            |p: &str| format!(r#"{{ "what" : "{p}" , "n":[ {{"deep":"{p}"}}] }}"#),
            |p: &str| p.replace('"', ""),
        ] {
            let body: String = parts().map(|part| format!("data: {}\n\n", make(&part))).collect();
            let done = mask(&rules(), Format::Sse, OnError::Block, [body.as_bytes()]);
            assert_eq!(String::from_utf8_lossy(&done.output), body);
        }
    }
}

#[test]
fn a_message_that_is_whole_by_its_protocol_does_not_wait() {
    let mut masker = crate::Masker::new(&rules(), Format::Sse, crate::MaskerOptions::default());
    let mut scratch = crate::Scratch::new();
    for body in [
        "event: endpoint\ndata: /messages?id=ghp\n\n",
        "data: {\"jsonrpc\":\"2.0\",\"result\":{\"t\":\"ghp\"}}\n\n",
    ] {
        let mut out = Vec::new();
        masker.push(&mut scratch, body.as_bytes(), &mut out).unwrap();
        assert_eq!(String::from_utf8_lossy(&out), body);
    }
}

#[test]
fn texts_of_which_nothing_is_known_make_room() {
    let body: String = (0..600).map(|n| format!("data: {{\"a{n}\":\"ghp_\"}}\n\n")).collect();
    let done = mask(&rules(), Format::Sse, OnError::Block, [body.as_bytes()]);
    assert_eq!((String::from_utf8_lossy(&done.output).into_owned(), done.error), (body, None));
}

#[test]
fn limits_of_what_waits() {
    use super::super::joined::{TEXTS_MAX, WAITING_BYTES_MAX};
    use crate::format::FormatErrorKind;
    let held = sse(&[r#"{"choices":[{"delta":{"content":"ghp_"}}]}"#]);
    let comment = |len: usize| format!(":{}\n\n", " x".repeat(len)[..len - 3].to_owned());
    let waiting = |over: usize| {
        let rest = WAITING_BYTES_MAX + over - held.len();
        let (quarter, last) = (rest / 4, rest - rest / 4 * 3);
        held.clone() + &comment(quarter).repeat(3) + &comment(last)
    };
    let texts = |n: usize| -> String {
        (0..n)
            .map(|n| sse(&[&format!(r#"{{"choices":[{{"index":{n},"delta":{{"content":"ghp_"}}}}]}}"#)]))
            .collect()
    };
    for (body, error) in [
        (waiting(0), None),
        (waiting(1), Some("the size of events that wait")),
        (texts(TEXTS_MAX), None),
        (texts(TEXTS_MAX + 1), Some("the number of texts")),
    ] {
        let done = mask(&rules(), Format::Sse, OnError::Block, [body.as_bytes()]);
        assert_eq!(done.error.map(|e| e.kind()), error.map(FormatErrorKind::Limit));
        let done = mask(&rules(), Format::Sse, OnError::Text, [body.as_bytes()]);
        assert_eq!(done.error, None);
        assert!(done.output == body.as_bytes(), "what can't be joined is text");
    }
}

#[test]
fn limit_of_what_says_a_text_again() {
    use super::super::json::RESTATING_BYTES_MAX;
    for (over, kept) in [(0, true), (1, false)] {
        let tokens = " x".repeat(RESTATING_BYTES_MAX)[..RESTATING_BYTES_MAX + over - 4].to_owned();
        let body = format!(r#"{{"logprobs":["{tokens}"]}}"#);
        let done = mask(&rules(), Format::Json, OnError::Block, [body.as_bytes()]);
        let masked = if kept { body } else { r#"{"logprobs":[]}"#.to_owned() };
        assert!(done.output == masked.as_bytes(), "{over} over");
    }
}

#[test]
fn names_are_read_without_their_escapes() {
    let body = sse(&[
        r#"{"type":"response.output_text.delta","output_index":0,"delta":"ghp_Ab"}"#,
        r#"{"t\u0079pe":"\u0072esponse.output_text.delta","outp\u0075t_index":0,"delt\u0061":"cd1234"}"#,
        r#"{"typ\u0065":"response.output_text.done","output_index":0,"text":"ghp_Abcd1234"}"#,
    ]);
    let done = check(Format::Sse, &body);
    let masked = body.replace("ghp_Abcd1234", "[gh]").replace("ghp_Ab", "[gh]").replace("cd1234", "");
    assert_eq!(String::from_utf8_lossy(&done.output), masked);
}

/// A delta that is said twice is a repetition only where it says something.
#[test]
fn short_deltas_may_come_twice() {
    let event = |text: &str| format!(r#"{{"x":"{text}"}}"#);
    let body = sse(&[&event("ghp_Abcd12"), &event("\\u0033"), &event("\\u0033")]);
    let done = check(Format::Sse, &body);
    assert_eq!(String::from_utf8(done.output).unwrap(), sse(&[&event("[gh]"), &event(""), &event("")]));
}
