//! The fake LLM's messages (Anthropic API reference, "Messages" and "Streaming messages").

use serde_json::{Value, json};

use super::reply::{Kind, Script};

fn block(script: &Script, text: &str) -> Value {
    match script.kind {
        Kind::Text => json!({ "type": "text", "text": text }),
        Kind::Thinking => json!({ "type": "thinking", "thinking": text, "signature": "" }),
        Kind::Tool => json!({ "type": "tool_use", "id": "toolu_demo", "name": "lookup", "input": {} }),
    }
}

fn message(request: &Value, content: &Value, reason: &Value) -> Value {
    json!({
        "id": "msg_demo", "type": "message", "role": "assistant", "model": request["model"], "content": content,
        "stop_reason": reason, "stop_sequence": null, "usage": { "input_tokens": 9, "output_tokens": 12 },
    })
}

fn reason(script: &Script) -> Value {
    json!(if script.kind == Kind::Tool { "tool_use" } else { "end_turn" })
}

/// The whole answer.
pub(super) fn whole(request: &Value, script: &Script) -> Value {
    let mut content = block(script, &script.text);
    if script.kind == Kind::Tool {
        content["input"] = serde_json::from_str(&script.text).unwrap_or(Value::Null);
    }
    message(request, &json!([content]), &reason(script))
}

/// The answer as events.
pub(super) fn events(request: &Value, script: &Script) -> Vec<String> {
    let event =
        |data: Value| format!("event: {}\ndata: {data}\n\n", data["type"].as_str().unwrap_or_default());
    let mut events = vec![
        event(json!({ "type": "message_start", "message": message(request, &json!([]), &Value::Null) })),
        event(json!({ "type": "content_block_start", "index": 0, "content_block": block(script, "") })),
        event(json!({ "type": "ping" })),
    ];
    for text in script.deltas() {
        let delta = match script.kind {
            Kind::Text => json!({ "type": "text_delta", "text": text }),
            Kind::Thinking => json!({ "type": "thinking_delta", "thinking": text }),
            Kind::Tool => json!({ "type": "input_json_delta", "partial_json": text }),
        };
        events.push(event(json!({ "type": "content_block_delta", "index": 0, "delta": delta })));
    }
    events.push(event(json!({ "type": "content_block_stop", "index": 0 })));
    let delta = json!({ "stop_reason": reason(script), "stop_sequence": null });
    events.push(event(json!({ "type": "message_delta", "delta": delta, "usage": { "output_tokens": 12 } })));
    events.push(event(json!({ "type": "message_stop" })));
    events
}
