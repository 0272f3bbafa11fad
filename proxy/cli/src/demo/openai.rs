//! The fake LLM's chat completions (OpenAI API reference, "Chat" and "Chat streaming").

use serde_json::{Value, json};

use super::reply::{Kind, Script};

const CREATED: u64 = 1_700_000_000;

/// The text of the last message.
pub(super) fn prompt(request: &Value) -> String {
    let content =
        request.pointer("/messages").and_then(Value::as_array).and_then(|m| m.last()).map(|m| &m["content"]);
    match content {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => {
            parts.iter().filter_map(|p| p["text"].as_str()).collect::<Vec<_>>().join(" ")
        }
        _ => String::new(),
    }
}

fn choices(request: &Value) -> u64 {
    request["n"].as_u64().unwrap_or(1).clamp(1, 8)
}

/// The whole answer.
pub(super) fn whole(request: &Value, script: &Script) -> Value {
    let (message, reason) = match script.kind {
        Kind::Text => (json!({ "role": "assistant", "content": script.text, "refusal": null }), "stop"),
        Kind::Thinking => {
            (json!({ "role": "assistant", "content": "Done.", "reasoning_content": script.text }), "stop")
        }
        Kind::Tool => {
            let call = json!({ "id": "call_demo", "type": "function",
                "function": { "name": "lookup", "arguments": script.text } });
            (json!({ "role": "assistant", "content": null, "tool_calls": [call] }), "tool_calls")
        }
    };
    let choice =
        |index| json!({ "index": index, "message": message, "logprobs": null, "finish_reason": reason });
    json!({
        "id": "chatcmpl-demo", "object": "chat.completion", "created": CREATED, "model": request["model"],
        "choices": (0..choices(request)).map(choice).collect::<Vec<_>>(),
        "usage": usage(),
    })
}

fn usage() -> Value {
    json!({ "prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21 })
}

/// The answer as events.
pub(super) fn events(request: &Value, script: &Script) -> Vec<String> {
    let chunk = |choices: Value| {
        let chunk = json!({ "id": "chatcmpl-demo", "object": "chat.completion.chunk", "created": CREATED,
            "model": request["model"], "system_fingerprint": "fp_demo", "choices": choices });
        format!("data: {chunk}\n\n")
    };
    let each = |delta: &Value, reason: Value| -> Vec<String> {
        (0..choices(request))
            .map(|index| {
                chunk(json!([{ "index": index, "delta": delta, "logprobs": null, "finish_reason": reason }]))
            })
            .collect()
    };
    let mut events = each(&json!({ "role": "assistant", "content": "" }), Value::Null);
    if script.kind == Kind::Tool {
        let call = json!({ "index": 0, "id": "call_demo", "type": "function",
            "function": { "name": "lookup", "arguments": "" } });
        events.extend(each(&json!({ "tool_calls": [call] }), Value::Null));
    }
    for text in script.deltas() {
        let delta = match script.kind {
            Kind::Text => json!({ "content": text }),
            Kind::Thinking => json!({ "reasoning_content": text }),
            Kind::Tool => json!({ "tool_calls": [{ "index": 0, "function": { "arguments": text } }] }),
        };
        events.extend(each(&delta, Value::Null));
    }
    let reason = if script.kind == Kind::Tool { "tool_calls" } else { "stop" };
    events.extend(each(&json!({}), json!(reason)));
    if request.pointer("/stream_options/include_usage") == Some(&Value::Bool(true)) {
        let last = json!({ "id": "chatcmpl-demo", "object": "chat.completion.chunk", "created": CREATED,
            "model": request["model"], "choices": [], "usage": usage() });
        events.push(format!("data: {last}\n\n"));
    }
    events.push("data: [DONE]\n\n".into());
    events
}

/// The list of models.
pub(super) fn models() -> Value {
    json!({ "object": "list", "data": [{ "id": "demo", "object": "model", "created": CREATED, "owned_by": "sluice" }] })
}
