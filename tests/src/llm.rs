//! The streams of LLM APIs: made as an upstream makes them, read as a client does.

use serde_json::{Value, json};

/// Where in a stream a text travels; all deltas of one field are one text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// OpenAI chat: `choices[0].delta.content`.
    OpenAiContent,
    /// OpenAI chat: `choices[1].delta.content`, as with `n: 2`.
    OpenAiSecondChoice,
    /// OpenAI chat: `choices[0].delta.tool_calls[0].function.arguments`, JSON inside JSON.
    OpenAiArguments,
    /// Anthropic messages: `delta.text`.
    AnthropicText,
    /// Anthropic messages: `delta.thinking`.
    AnthropicThinking,
    /// Anthropic messages: `delta.partial_json`, JSON inside JSON.
    AnthropicJson,
}

impl Field {
    /// All of them.
    pub const ALL: [Field; 6] = [
        Field::OpenAiContent,
        Field::OpenAiSecondChoice,
        Field::OpenAiArguments,
        Field::AnthropicText,
        Field::AnthropicThinking,
        Field::AnthropicJson,
    ];

    /// Whether the text that travels is JSON itself.
    #[must_use]
    pub fn is_json(self) -> bool {
        matches!(self, Field::OpenAiArguments | Field::AnthropicJson)
    }

    /// The path of the API that streams it.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Field::OpenAiContent | Field::OpenAiSecondChoice | Field::OpenAiArguments => {
                "/v1/chat/completions"
            }
            Field::AnthropicText | Field::AnthropicThinking | Field::AnthropicJson => "/v1/messages",
        }
    }

    /// The event that carries this part of the text.
    #[must_use]
    pub fn event(self, part: &str) -> String {
        let openai = |index: u32, delta: Value| {
            let choices = [json!({"index": index, "delta": delta, "finish_reason": null})];
            let chunk = json!({"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices});
            format!("data: {chunk}\n\n")
        };
        let anthropic = |delta: Value| {
            named("content_block_delta", &json!({"type": "content_block_delta", "index": 0, "delta": delta}))
        };
        match self {
            Field::OpenAiContent => openai(0, json!({"content": part})),
            Field::OpenAiSecondChoice => openai(1, json!({"content": part})),
            Field::OpenAiArguments => {
                openai(0, json!({"tool_calls": [{"index": 0, "function": {"arguments": part}}]}))
            }
            Field::AnthropicText => anthropic(json!({"type": "text_delta", "text": part})),
            Field::AnthropicThinking => anthropic(json!({"type": "thinking_delta", "thinking": part})),
            Field::AnthropicJson => anthropic(json!({"type": "input_json_delta", "partial_json": part})),
        }
    }

    /// The events before the first part.
    #[must_use]
    pub fn opening(self) -> String {
        match self {
            Field::OpenAiContent | Field::OpenAiSecondChoice | Field::OpenAiArguments => String::new(),
            Field::AnthropicText | Field::AnthropicThinking | Field::AnthropicJson => {
                let block = match self {
                    Field::AnthropicThinking => json!({"type": "thinking", "thinking": "", "signature": ""}),
                    Field::AnthropicJson => {
                        json!({"type": "tool_use", "id": "t1", "name": "note", "input": {}})
                    }
                    _ => json!({"type": "text", "text": ""}),
                };
                named(
                    "content_block_start",
                    &json!({"type": "content_block_start", "index": 0, "content_block": block}),
                )
            }
        }
    }

    /// The events after the last part.
    #[must_use]
    pub fn closing(self) -> String {
        let index = u32::from(self == Field::OpenAiSecondChoice);
        match self {
            Field::OpenAiContent | Field::OpenAiSecondChoice | Field::OpenAiArguments => {
                let choices = [json!({"index": index, "delta": {}, "finish_reason": "stop"})];
                format!("data: {}\n\ndata: [DONE]\n\n", json!({"id": "c1", "choices": choices}))
            }
            Field::AnthropicText | Field::AnthropicThinking | Field::AnthropicJson => {
                named("content_block_stop", &json!({"type": "content_block_stop", "index": 0}))
                    + &named("message_stop", &json!({"type": "message_stop"}))
            }
        }
    }

    /// A whole stream of these parts.
    #[must_use]
    pub fn stream(self, parts: &[&str]) -> String {
        let mut stream = self.opening();
        stream.extend(parts.iter().map(|part| self.event(part)));
        stream + &self.closing()
    }

    /// The text of this field in the events that have come whole, joined as a client joins it.
    ///
    /// # Panics
    /// When an event is not what the API promises.
    #[must_use]
    pub fn joined(self, body: &str) -> String {
        let mut text = String::new();
        for data in events(body) {
            if data == "[DONE]" {
                continue;
            }
            let event: Value = serde_json::from_str(&data).unwrap_or_else(|e| panic!("{e}: {data}"));
            let part = match self {
                Field::OpenAiContent => choice(&event, 0)["content"].clone(),
                Field::OpenAiSecondChoice => choice(&event, 1)["content"].clone(),
                Field::OpenAiArguments => choice(&event, 0)["tool_calls"][0]["function"]["arguments"].clone(),
                Field::AnthropicText => event["delta"]["text"].clone(),
                Field::AnthropicThinking => event["delta"]["thinking"].clone(),
                Field::AnthropicJson => event["delta"]["partial_json"].clone(),
            };
            text.push_str(part.as_str().unwrap_or(""));
        }
        text
    }
}

/// A named event.
fn named(name: &str, data: &Value) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

/// The delta of the choice with this index.
fn choice(event: &Value, index: u64) -> &Value {
    let choices = event["choices"].as_array().map_or(&[][..], Vec::as_slice);
    choices.iter().find(|c| c["index"] == index).map_or(&Value::Null, |c| &c["delta"])
}

/// The data of each event that has come whole (WHATWG HTML, section 9.2.6).
#[must_use]
pub fn events(body: &str) -> Vec<String> {
    let end = body.rfind("\n\n").map_or(0, |at| at + 2);
    let whole = body.get(..end).unwrap_or("");
    whole
        .split("\n\n")
        .map(|event| {
            let data = event.lines().filter_map(|line| line.strip_prefix("data:"));
            data.map(|d| d.strip_prefix(' ').unwrap_or(d)).collect::<Vec<_>>().join("\n")
        })
        .filter(|data| !data.is_empty())
        .collect()
}
