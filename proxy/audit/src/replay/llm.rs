//! Conversations with models: what of a body is a prompt, reasoning, a tool call, an answer. OpenAI's chat completions
//! and responses, Anthropic's messages, Gemini's contents.

use serde_json::Value;

use super::Voice;
use super::sse::Events;

/// A piece, and whether it goes on with what the same voice said before.
pub(super) type Said = (Voice, String, bool);

/// The messages of a request; none where it is no conversation.
pub(super) fn prompt(body: &Value) -> Vec<(Voice, String)> {
    let mut all = Vec::new();
    if body.get("messages").is_some() || body.get("input").is_some() || body.get("contents").is_some() {
        for key in ["system", "instructions", "systemInstruction", "system_instruction"] {
            let text = texts(&body[key]);
            if !text.is_empty() {
                all.push((Voice::Prompt("system".to_owned()), text));
            }
        }
    }
    if let Some(text) = body["input"].as_str() {
        all.push((Voice::Prompt("user".to_owned()), text.to_owned()));
    }
    for key in ["messages", "input", "contents"] {
        for message in body[key].as_array().into_iter().flatten() {
            message_of(message, &mut all);
        }
    }
    all
}

fn message_of(message: &Value, all: &mut Vec<(Voice, String)>) {
    if message["type"] == "function_call_output" {
        all.push((Voice::Prompt("tool".to_owned()), texts(&message["output"])));
        return;
    }
    let calls = whole(message).into_iter().filter(|(voice, _)| matches!(voice, Voice::ToolCall(_)));
    let calls: Vec<_> = calls.collect();
    let role = message["role"].as_str().unwrap_or("user");
    let content = if message.get("content").is_some() { &message["content"] } else { &message["parts"] };
    let text = texts(content);
    if !text.is_empty() {
        all.push((Voice::Prompt(role.to_owned()), text));
    }
    all.extend(calls);
}

/// All text of a content, whatever its form.
fn texts(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let all: Vec<String> = parts.iter().map(texts).filter(|text| !text.is_empty()).collect();
            all.join("\n")
        }
        Value::Object(_) => ["text", "content", "parts", "output"]
            .iter()
            .map(|key| texts(&content[*key]))
            .find(|text| !text.is_empty())
            .unwrap_or_default(),
        _ => String::new(),
    }
}

/// A value as the arguments of a call.
fn arguments(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// What a whole answer says, or a message of the assistant.
fn whole(body: &Value) -> Vec<(Voice, String)> {
    let mut all = Vec::new();
    let mut put = |voice, text: String| {
        if !text.is_empty() {
            all.push((voice, text));
        }
    };
    for choice in body["choices"].as_array().into_iter().flatten() {
        let message = &choice["message"];
        put(Voice::Reasoning, texts(&message["reasoning_content"]));
        put(Voice::Answer, texts(&message["content"]));
        whole(message).into_iter().for_each(|(voice, text)| put(voice, text));
    }
    for call in body["tool_calls"].as_array().into_iter().flatten() {
        let function = &call["function"];
        put(Voice::ToolCall(name(function)), arguments(&function["arguments"]));
    }
    let parts = body["candidates"].as_array().into_iter().flatten().map(|c| &c["content"]["parts"]);
    let lists = [&body["content"], &body["output"], &body["parts"]].into_iter().chain(parts);
    for part in lists.filter_map(Value::as_array).flatten() {
        part_of(part, &mut put);
    }
    if matches!(body["type"].as_str(), Some("function_call" | "tool_use")) {
        part_of(body, &mut put);
    }
    all
}

fn part_of(part: &Value, put: &mut impl FnMut(Voice, String)) {
    let call = &part["functionCall"];
    match part["type"].as_str() {
        Some("thinking") => put(Voice::Reasoning, texts(&part["thinking"])),
        Some("reasoning") => put(Voice::Reasoning, texts(&part["summary"]) + &texts(&part["content"])),
        Some("tool_use") => put(Voice::ToolCall(name(part)), arguments(&part["input"])),
        Some("function_call") => put(Voice::ToolCall(name(part)), arguments(&part["arguments"])),
        Some("message") => put(Voice::Answer, texts(&part["content"])),
        Some("tool_result") => {}
        _ if call.is_object() => put(Voice::ToolCall(name(call)), arguments(&call["args"])),
        _ if part["thought"] == true => put(Voice::Reasoning, texts(&part["text"])),
        _ => put(Voice::Answer, texts(&part["text"])),
    }
}

fn name(value: &Value) -> String {
    value["name"].as_str().unwrap_or_default().to_owned()
}

/// What an event of a stream adds.
fn deltas(event: &Value) -> Vec<(Voice, String)> {
    let mut all = Vec::new();
    for choice in event["choices"].as_array().into_iter().flatten() {
        let delta = &choice["delta"];
        for key in ["reasoning_content", "reasoning"] {
            all.push((Voice::Reasoning, texts(&delta[key])));
        }
        all.push((Voice::Answer, texts(&delta["content"])));
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            let function = &call["function"];
            all.push((Voice::ToolCall(name(function)), arguments(&function["arguments"])));
        }
    }
    let delta = &event["delta"];
    match event["type"].as_str() {
        Some("content_block_start") if event["content_block"]["type"] == "tool_use" => {
            all.push((Voice::ToolCall(name(&event["content_block"])), String::new()));
        }
        Some("content_block_delta") => {
            all.push((Voice::Answer, texts(&delta["text"])));
            all.push((Voice::Reasoning, texts(&delta["thinking"])));
            if delta["type"] == "input_json_delta" {
                all.push((Voice::ToolCall(String::new()), arguments(&delta["partial_json"])));
            }
        }
        Some("response.output_item.added") if event["item"]["type"] == "function_call" => {
            all.push((Voice::ToolCall(name(&event["item"])), String::new()));
        }
        Some("response.output_text.delta") => all.push((Voice::Answer, texts(delta))),
        Some("response.reasoning_text.delta" | "response.reasoning_summary_text.delta") => {
            all.push((Voice::Reasoning, texts(delta)));
        }
        Some("response.function_call_arguments.delta") => {
            all.push((Voice::ToolCall(String::new()), arguments(delta)));
        }
        _ => {}
    }
    for candidate in event["candidates"].as_array().into_iter().flatten() {
        for part in candidate["content"]["parts"].as_array().into_iter().flatten() {
            part_of(part, &mut |voice, text| all.push((voice, text)));
        }
    }
    let is_something = |(voice, text): &(Voice, String)| {
        !text.is_empty() || matches!(voice, Voice::ToolCall(n) if !n.is_empty())
    };
    all.retain(is_something);
    all
}

/// The tools that an answer asks for, by name.
pub(super) fn tools(body: &[u8]) -> Vec<String> {
    let said = Answer::new(true, body).push(body).unwrap_or_default();
    let tool = |(voice, _, _): Said| match voice {
        Voice::ToolCall(name) if !name.is_empty() => Some(name),
        _ => None,
    };
    said.into_iter().filter_map(tool).collect()
}

/// An answer while it comes.
pub(super) struct Answer {
    /// None: it is no conversation.
    form: Option<Form>,
    last: Option<Voice>,
}

enum Form {
    Stream(Events),
    /// Told when the first of it comes.
    Whole(Vec<(Voice, String)>),
}

impl Answer {
    /// `body`: all of the answer, which tells what form it has.
    pub(super) fn new(is_conversation: bool, body: &[u8]) -> Answer {
        let form = match serde_json::from_slice::<Value>(body) {
            Ok(value) => Some(Form::Whole(whole(&value))).filter(|_| is_conversation),
            Err(_) => {
                let events = Events::default().push(body);
                let is_stream = |data: &Vec<u8>| {
                    serde_json::from_slice(data).is_ok_and(|e: Value| !deltas(&e).is_empty())
                };
                events.iter().any(is_stream).then(|| Form::Stream(Events::default()))
            }
        };
        Answer { form: form.filter(|form| !matches!(form, Form::Whole(said) if said.is_empty())), last: None }
    }

    /// What these next bytes of it say; none where it is no conversation.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Option<Vec<Said>> {
        let said: Vec<(Voice, String)> = match self.form.as_mut()? {
            Form::Whole(said) => std::mem::take(said),
            Form::Stream(events) => {
                let events = events.push(bytes);
                let values = events.iter().filter_map(|data| serde_json::from_slice::<Value>(data).ok());
                values.flat_map(|event| deltas(&event)).collect()
            }
        };
        let mut all = Vec::new();
        for (voice, text) in said {
            let goes_on = match (&voice, &self.last) {
                // Arguments come without the name that began them.
                (Voice::ToolCall(name), Some(Voice::ToolCall(_))) => name.is_empty(),
                (voice, Some(last)) => voice == last,
                (_, None) => false,
            };
            self.last = Some(voice.clone());
            all.push((voice, text, goes_on));
        }
        Some(all)
    }
}
