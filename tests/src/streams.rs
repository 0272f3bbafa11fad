//! Streams of the LLM APIs for the leak table: every place in which a text travels, several of them interleaved, with all
//! that says the text again at its end.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sluice_engine::Format;

/// An event: its name where it has one, and its data.
pub type Event = (Option<&'static str>, String);

/// A place where texts travel.
#[derive(Clone, Copy)]
pub struct Channel {
    /// The API.
    pub api: &'static str,
    /// The field of its deltas.
    pub field: &'static str,
    /// The text is JSON itself.
    pub is_json: bool,
    framing: Framing,
    /// The event that carries a part of the text with this number.
    part: fn(usize, &str) -> Value,
    /// What comes when that text has ended.
    end: fn(usize, &str) -> Vec<Value>,
    /// What comes last, with all texts.
    last: fn(&[String]) -> Vec<Value>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// Server-sent events without names.
    Data,
    /// Those named by their `type`.
    Named,
    /// Those whose data is the text itself.
    Words,
    /// The AWS event stream; what the deltas and their end are called.
    Aws,
    /// The same with events of a model in base64.
    AwsModel,
    /// Lines of JSON.
    Lines,
    /// The elements of an array.
    Array,
}

fn nothing(_: usize, _: &str) -> Vec<Value> {
    Vec::new()
}

fn no_more(_: &[String]) -> Vec<Value> {
    Vec::new()
}

fn choice(index: usize, members: Value) -> Value {
    let mut choice = json!({"index": index});
    if let (Some(all), Value::Object(members)) = (choice.as_object_mut(), members) {
        all.extend(members);
    }
    json!({"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]})
}

fn finish(index: usize, _: &str) -> Vec<Value> {
    vec![choice(index, json!({"delta": {}, "finish_reason": "stop"}))]
}

/// A text as a list of tokens of three bytes, as log probabilities tell it.
#[must_use]
pub fn tokens(text: &str) -> Value {
    let one = |token: &[u8]| {
        let text = String::from_utf8_lossy(token);
        json!({"token": text, "logprob": -0.1, "bytes": token, "top_logprobs": [{"token": text, "logprob": -0.1, "bytes": token}]})
    };
    text.as_bytes().chunks(3).map(one).collect()
}

/// Whole answers of the APIs that say this text.
#[must_use]
pub fn answers(text: &str) -> Vec<Value> {
    let spelled: Vec<String> =
        text.as_bytes().chunks(3).map(|token| String::from_utf8_lossy(token).into_owned()).collect();
    let arguments = json!({"note": text}).to_string();
    let call = json!([{"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}]);
    let message = |content: Value| json!({"role": "assistant", "content": content, "tool_calls": call});
    vec![
        json!({"choices": [{"index": 0, "message": message(json!(text)), "logprobs": {"content": tokens(text), "refusal": tokens(text)}}]}),
        json!({"choices": [{"index": 0, "text": text, "logprobs": {"tokens": spelled, "token_logprobs": [-0.1], "top_logprobs": [{text: -0.1}]}}]}),
        json!({"output": [self::message(text), {"type": "function_call", "arguments": arguments}, {"type": "reasoning", "summary": [{"type": "summary_text", "text": text}]}]}),
        json!({"content": [{"type": "text", "text": text}, {"type": "tool_use", "input": {"note": text}}, {"type": "thinking", "thinking": text}]}),
        json!({"candidates": [{"content": {"parts": [{"text": text}, {"functionCall": {"args": {"q": text}}}]}, "logprobsResult": {"chosenCandidates": tokens(text), "topCandidates": [{"candidates": tokens(text)}]}}]}),
        json!({"output": {"message": {"content": [{"text": text}, {"toolUse": {"input": {"note": text}}}, {"reasoningContent": {"reasoningText": {"text": text}}}]}}}),
    ]
}

fn response(kind: &str, output: usize, members: Value) -> Value {
    let mut event = json!({"type": format!("response.{kind}"), "item_id": format!("i{output}"), "output_index": output, "sequence_number": 7});
    if let (Some(all), Value::Object(members)) = (event.as_object_mut(), members) {
        all.extend(members);
    }
    event
}

/// The last event of a response.
fn completed(items: Vec<Value>) -> Vec<Value> {
    vec![
        json!({"type": "response.completed", "sequence_number": 9, "response": {"id": "r", "output": items}}),
    ]
}

fn message(text: &str) -> Value {
    json!({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text, "annotations": [], "logprobs": tokens(text)}]})
}

fn block(index: usize, delta: Value) -> Value {
    json!({"type": "content_block_delta", "index": index, "delta": delta})
}

fn block_stop(index: usize, _: &str) -> Vec<Value> {
    vec![json!({"type": "content_block_stop", "index": index})]
}

fn message_stop(_: &[String]) -> Vec<Value> {
    vec![
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}}),
        json!({"type": "message_stop"}),
    ]
}

fn candidate(index: usize, part: Value) -> Value {
    json!({"candidates": [{"content": {"role": "model", "parts": [part]}, "index": index}]})
}

fn candidate_stop(index: usize, _: &str) -> Vec<Value> {
    vec![
        json!({"candidates": [{"content": {"parts": [{"text": ""}]}, "finishReason": "STOP", "index": index}]}),
    ]
}

fn converse(index: usize, delta: Value) -> Value {
    json!({"contentBlockIndex": index, "delta": delta, "p": "abcd"})
}

fn converse_stop(index: usize, _: &str) -> Vec<Value> {
    vec![json!({"contentBlockIndex": index})]
}

macro_rules! channel {
    ($api:literal, $field:literal, $json:literal, $framing:ident, $part:expr, $end:expr, $last:expr) => {
        Channel {
            api: $api,
            field: $field,
            is_json: $json,
            framing: Framing::$framing,
            part: $part,
            end: $end,
            last: $last,
        }
    };
}

/// All of them.
pub const CHANNELS: &[Channel] = &[
    channel!(
        "OpenAI chat",
        "content",
        false,
        Data,
        |n, t| choice(n, json!({"delta": {"content": t}})),
        finish,
        no_more
    ),
    channel!(
        "OpenAI chat",
        "content with logprobs",
        false,
        Data,
        |n, t| choice(
            n,
            json!({"delta": {"content": t}, "logprobs": {"content": tokens(t), "refusal": null}})
        ),
        finish,
        no_more
    ),
    channel!(
        "OpenAI chat",
        "refusal",
        false,
        Data,
        |n, t| choice(n, json!({"delta": {"refusal": t}})),
        finish,
        no_more
    ),
    channel!(
        "OpenAI chat",
        "reasoning_content",
        false,
        Data,
        |n, t| choice(n, json!({"delta": {"reasoning_content": t}})),
        finish,
        no_more
    ),
    channel!(
        "OpenAI chat",
        "reasoning",
        false,
        Data,
        |n, t| choice(n, json!({"delta": {"reasoning": t}})),
        finish,
        no_more
    ),
    channel!(
        "OpenAI chat",
        "tool_calls[].function.arguments",
        true,
        Data,
        |n, t| choice(0, json!({"delta": {"tool_calls": [{"index": n, "function": {"arguments": t}}]}})),
        nothing,
        |_| finish(0, "")
    ),
    channel!(
        "OpenAI chat",
        "function_call.arguments",
        true,
        Data,
        |n, t| choice(n, json!({"delta": {"function_call": {"arguments": t}}})),
        finish,
        no_more
    ),
    channel!(
        "OpenAI completions",
        "text with logprobs",
        false,
        Data,
        |n, t| choice(
            n,
            json!({"text": t, "logprobs": {"tokens": [t], "token_logprobs": [-0.1], "top_logprobs": [{t: -0.1}], "text_offset": [0]}})
        ),
        |n, _| vec![choice(n, json!({"text": "", "finish_reason": "stop"}))],
        no_more
    ),
    channel!(
        "OpenAI Responses",
        "output_text",
        false,
        Named,
        |n, t| response(
            "output_text.delta",
            0,
            json!({"content_index": n, "delta": t, "logprobs": tokens(t)})
        ),
        |n, t| vec![
            response("output_text.done", 0, json!({"content_index": n, "text": t, "logprobs": tokens(t)})),
            response(
                "content_part.done",
                0,
                json!({"content_index": n, "part": {"type": "output_text", "text": t, "logprobs": tokens(t)}})
            ),
        ],
        |all| {
            let mut events: Vec<Value> =
                all.iter().map(|t| response("output_item.done", 0, json!({"item": message(t)}))).collect();
            events.extend(completed(all.iter().map(|t| message(t)).collect()));
            events
        }
    ),
    channel!(
        "OpenAI Responses",
        "refusal",
        false,
        Named,
        |n, t| response("refusal.delta", 0, json!({"content_index": n, "delta": t})),
        |n, t| vec![response("refusal.done", 0, json!({"content_index": n, "refusal": t}))],
        |all| completed(
            all.iter().map(|t| json!({"content": [{"type": "refusal", "refusal": t}]})).collect()
        )
    ),
    channel!(
        "OpenAI Responses",
        "reasoning_text",
        false,
        Named,
        |n, t| response("reasoning_text.delta", n, json!({"content_index": 0, "delta": t})),
        |n, t| vec![response("reasoning_text.done", n, json!({"content_index": 0, "text": t}))],
        |all| completed(
            all.iter().map(|t| json!({"content": [{"type": "reasoning_text", "text": t}]})).collect()
        )
    ),
    channel!(
        "OpenAI Responses",
        "reasoning_summary_text",
        false,
        Named,
        |n, t| response("reasoning_summary_text.delta", 0, json!({"summary_index": n, "delta": t})),
        |n, t| vec![
            response("reasoning_summary_text.done", 0, json!({"summary_index": n, "text": t})),
            response(
                "reasoning_summary_part.done",
                0,
                json!({"summary_index": n, "part": {"type": "summary_text", "text": t}})
            ),
        ],
        |all| completed(vec![
            json!({"summary": all.iter().map(|t| json!({"type": "summary_text", "text": t})).collect::<Vec<_>>()})
        ])
    ),
    channel!(
        "OpenAI Responses",
        "function_call_arguments",
        true,
        Named,
        |n, t| response("function_call_arguments.delta", n, json!({"delta": t})),
        |n, t| vec![
            response("function_call_arguments.done", n, json!({"arguments": t})),
            response(
                "output_item.done",
                n,
                json!({"item": {"type": "function_call", "name": "f", "arguments": t}})
            ),
        ],
        |all| completed(all.iter().map(|t| json!({"type": "function_call", "arguments": t})).collect())
    ),
    channel!(
        "OpenAI Responses",
        "mcp_call_arguments",
        true,
        Named,
        |n, t| response("mcp_call_arguments.delta", n, json!({"delta": t})),
        |n, t| vec![response("mcp_call_arguments.done", n, json!({"arguments": t}))],
        |all| completed(all.iter().map(|t| json!({"type": "mcp_call", "arguments": t})).collect())
    ),
    channel!(
        "OpenAI Responses",
        "custom_tool_call_input",
        false,
        Named,
        |n, t| response("custom_tool_call_input.delta", n, json!({"delta": t})),
        |n, t| vec![response("custom_tool_call_input.done", n, json!({"input": t}))],
        |all| completed(all.iter().map(|t| json!({"type": "custom_tool_call", "input": t})).collect())
    ),
    channel!(
        "OpenAI Responses",
        "code_interpreter_call_code",
        false,
        Named,
        |n, t| response("code_interpreter_call_code.delta", n, json!({"delta": t})),
        |n, t| vec![response("code_interpreter_call_code.done", n, json!({"code": t}))],
        |all| completed(all.iter().map(|t| json!({"type": "code_interpreter_call", "code": t})).collect())
    ),
    channel!(
        "Anthropic messages",
        "text",
        false,
        Named,
        |n, t| block(n, json!({"type": "text_delta", "text": t})),
        block_stop,
        message_stop
    ),
    channel!(
        "Anthropic messages",
        "thinking",
        false,
        Named,
        |n, t| block(n, json!({"type": "thinking_delta", "thinking": t})),
        block_stop,
        message_stop
    ),
    channel!(
        "Anthropic messages",
        "partial_json",
        true,
        Named,
        |n, t| block(n, json!({"type": "input_json_delta", "partial_json": t})),
        block_stop,
        message_stop
    ),
    channel!(
        "Anthropic messages",
        "citation",
        false,
        Named,
        |n, t| block(
            n,
            json!({"type": "citations_delta", "citation": {"type": "char_location", "cited_text": t}})
        ),
        block_stop,
        message_stop
    ),
    channel!("Gemini", "text", false, Data, |n, t| candidate(n, json!({"text": t})), candidate_stop, no_more),
    channel!(
        "Gemini",
        "thought",
        false,
        Data,
        |n, t| candidate(n, json!({"text": t, "thought": true})),
        candidate_stop,
        no_more
    ),
    channel!(
        "Gemini",
        "functionCall.args",
        false,
        Data,
        |n, t| candidate(n, json!({"functionCall": {"name": "f", "args": {"q": t}}})),
        candidate_stop,
        no_more
    ),
    channel!(
        "Gemini",
        "executableCode.code",
        false,
        Data,
        |n, t| candidate(n, json!({"executableCode": {"language": "PYTHON", "code": t}})),
        candidate_stop,
        no_more
    ),
    channel!(
        "Gemini",
        "codeExecutionResult.output",
        false,
        Data,
        |n, t| candidate(n, json!({"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": t}})),
        candidate_stop,
        no_more
    ),
    channel!(
        "Gemini, an array",
        "text",
        false,
        Array,
        |n, t| candidate(n, json!({"text": t})),
        candidate_stop,
        |_| vec![json!({"usageMetadata": {"totalTokenCount": 7}})]
    ),
    channel!(
        "Gemini, an array",
        "functionCall.args",
        false,
        Array,
        |n, t| candidate(n, json!({"functionCall": {"name": "f", "args": {"q": t}}})),
        candidate_stop,
        no_more
    ),
    channel!(
        "Gemini, lines",
        "text",
        false,
        Lines,
        |n, t| candidate(n, json!({"text": t})),
        candidate_stop,
        no_more
    ),
    channel!(
        "OpenAI chat, lines",
        "content with logprobs",
        false,
        Lines,
        |n, t| choice(
            n,
            json!({"delta": {"content": t}, "logprobs": {"content": tokens(t), "refusal": null}})
        ),
        finish,
        no_more
    ),
    channel!(
        "OpenAI chat, lines",
        "tool_calls[].function.arguments",
        true,
        Lines,
        |n, t| choice(0, json!({"delta": {"tool_calls": [{"index": n, "function": {"arguments": t}}]}})),
        nothing,
        |_| finish(0, "")
    ),
    channel!(
        "Anthropic messages, lines",
        "text",
        false,
        Lines,
        |n, t| block(n, json!({"type": "text_delta", "text": t})),
        block_stop,
        message_stop
    ),
    channel!(
        "Ollama generate",
        "response",
        false,
        Lines,
        |_, t| json!({"model": "m", "created_at": "2026-01-01T00:00:00Z", "response": t, "done": false}),
        nothing,
        |_| vec![json!({"model": "m", "response": "", "done": true, "context": [1, 2]})]
    ),
    channel!(
        "Ollama chat",
        "message.content",
        false,
        Lines,
        |_, t| json!({"model": "m", "message": {"role": "assistant", "content": t}, "done": false}),
        nothing,
        |_| vec![json!({"model": "m", "message": {"role": "assistant", "content": ""}, "done": true})]
    ),
    channel!(
        "Ollama chat",
        "message.thinking",
        false,
        Lines,
        |_, t| json!({"model": "m", "message": {"role": "assistant", "thinking": t}, "done": false}),
        nothing,
        no_more
    ),
    channel!(
        "Cohere, lines",
        "text",
        false,
        Lines,
        |_, t| json!({"is_finished": false, "event_type": "text-generation", "text": t}),
        nothing,
        |all| vec![json!({"is_finished": true, "response": {"text": all.concat()}})]
    ),
    channel!(
        "Bedrock ConverseStream, lines",
        "text",
        false,
        Lines,
        |n, t| json!({"contentBlockDelta": converse(n, json!({"text": t}))}),
        |n, _| vec![json!({"contentBlockStop": {"contentBlockIndex": n}})],
        |_| vec![json!({"messageStop": {"stopReason": "end_turn"}})]
    ),
    channel!(
        "Bedrock ConverseStream",
        "text",
        false,
        Aws,
        |n, t| converse(n, json!({"text": t})),
        converse_stop,
        no_more
    ),
    channel!(
        "Bedrock ConverseStream",
        "toolUse.input",
        true,
        Aws,
        |n, t| converse(n, json!({"toolUse": {"input": t}})),
        converse_stop,
        no_more
    ),
    channel!(
        "Bedrock ConverseStream",
        "reasoningContent.text",
        false,
        Aws,
        |n, t| converse(n, json!({"reasoningContent": {"text": t}})),
        converse_stop,
        no_more
    ),
    channel!(
        "Bedrock InvokeModel",
        "chunk.bytes, Anthropic text",
        false,
        AwsModel,
        |n, t| block(n, json!({"type": "text_delta", "text": t})),
        block_stop,
        message_stop
    ),
    channel!(
        "a schema that is not known",
        "any string",
        false,
        Data,
        |n, t| json!({"kind": "piece", "out": [{"index": n, "piece": t}]}),
        nothing,
        no_more
    ),
    channel!("data that is not JSON", "the data", false, Words, |_, t| json!(t), nothing, no_more),
];

impl Channel {
    /// How many texts may come at once.
    #[must_use]
    pub fn texts_max(&self) -> usize {
        // What does not say which text it goes on with is one text.
        let is_one = self.framing == Framing::Words
            || self.api.starts_with("Ollama")
            || self.api.starts_with("Cohere");
        if is_one { 1 } else { 4 }
    }

    /// The format of its bodies.
    #[must_use]
    pub fn format(&self) -> Format {
        match self.framing {
            Framing::Data | Framing::Named | Framing::Words => Format::Sse,
            Framing::Aws | Framing::AwsModel => Format::EventStream,
            Framing::Lines => Format::Ndjson,
            Framing::Array => Format::Json,
        }
    }

    /// A stream of these texts, each in parts, one of each at a time. `spell` writes the JSON of an event.
    #[must_use]
    pub fn stream(&self, texts: &[Vec<String>], spell: &mut dyn FnMut(&Value) -> String) -> Vec<u8> {
        let mut body = Vec::new();
        let rounds = texts.iter().map(Vec::len).max().unwrap_or(0);
        for round in 0..=rounds {
            for (n, parts) in texts.iter().enumerate() {
                if let Some(part) = parts.get(round) {
                    self.write((self.part)(n, part), "contentBlockDelta", spell, &mut body);
                } else if round == parts.len() {
                    for event in (self.end)(n, &parts.concat()) {
                        self.write(event, "contentBlockStop", spell, &mut body);
                    }
                }
            }
        }
        let whole: Vec<String> = texts.iter().map(|parts| parts.concat()).collect();
        for event in (self.last)(&whole) {
            self.write(event, "messageStop", spell, &mut body);
        }
        if matches!(self.framing, Framing::Data | Framing::Words) {
            body.extend(b"data: [DONE]\n\n");
        }
        if self.framing == Framing::Array {
            body.extend(b"\n]\n");
        }
        body
    }

    fn write(&self, event: Value, name: &str, spell: &mut dyn FnMut(&Value) -> String, body: &mut Vec<u8>) {
        match self.framing {
            Framing::Data => body.extend(format!("data: {}\n\n", spell(&event)).bytes()),
            Framing::Named => {
                let name = event["type"].as_str().unwrap_or_default().to_owned();
                body.extend(format!("event: {name}\ndata: {}\n\n", spell(&event)).bytes());
            }
            Framing::Words => {
                let words = event.as_str().unwrap_or_default();
                body.extend(words.split('\n').flat_map(|line| format!("data: {line}\n").into_bytes()));
                body.push(b'\n');
            }
            Framing::Lines => body.extend(format!("{}\n", spell(&event)).bytes()),
            Framing::Array => {
                let before = if body.is_empty() { "[" } else { "\n,\r\n" };
                body.extend(format!("{before}{}", spell(&event)).bytes());
            }
            Framing::Aws => message_to(body, name, spell(&event).as_bytes()),
            Framing::AwsModel => {
                let inner = STANDARD.encode(spell(&event));
                message_to(body, "chunk", json!({"bytes": inner, "p": "abc"}).to_string().as_bytes());
            }
        }
    }
}

/// Appends a message of the AWS event stream.
pub fn message_to(body: &mut Vec<u8>, name: &str, payload: &[u8]) {
    let mut headers = Vec::new();
    for (header, value) in
        [(":event-type", name), (":content-type", "application/json"), (":message-type", "event")]
    {
        headers.push(header.len() as u8);
        headers.extend(header.bytes());
        headers.push(7);
        headers.extend((value.len() as u16).to_be_bytes());
        headers.extend(value.bytes());
    }
    let from = body.len();
    body.extend((16 + headers.len() as u32 + payload.len() as u32).to_be_bytes());
    body.extend((headers.len() as u32).to_be_bytes());
    let crc = crc32fast::hash(&body[from..]);
    body.extend(crc.to_be_bytes());
    body.extend(headers);
    body.extend(payload);
    let crc = crc32fast::hash(&body[from..]);
    body.extend(crc.to_be_bytes());
}

/// The payloads of an AWS event stream.
///
/// # Panics
/// When a length or a CRC is wrong.
#[must_use]
pub fn messages(mut body: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().expect("four bytes"));
    while !body.is_empty() {
        let (total, headers) = (number(&body[..4]) as usize, number(&body[4..8]) as usize);
        assert_eq!(number(&body[8..12]), crc32fast::hash(&body[..8]), "the CRC of a prelude");
        let (message, rest) = body.split_at(total);
        assert_eq!(
            number(&message[total - 4..]),
            crc32fast::hash(&message[..total - 4]),
            "the CRC of a message"
        );
        all.push(message[12 + headers..total - 4].to_vec());
        body = rest;
    }
    all
}
