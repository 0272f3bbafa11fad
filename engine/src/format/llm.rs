//! What the fields of LLM traffic are: which strings are one logical text, which are opaque, what ends a text.
//!
//! Sources: openai-python `types/chat/chat_completion_chunk.py`, anthropic-sdk-python
//! `types/raw_content_block_delta_event.py`, python-genai `types.py`, the AWS Bedrock API reference.

use super::sse::leaves::{Leaf, Leaves};

/// Signed or encrypted by the upstream: an edit would break the conversation, and nothing can be read in them.
///
/// `path` is the keys from the outermost object; arrays add none.
pub(super) fn is_opaque(path: &[&[u8]]) -> bool {
    let Some((last, outer)) = path.split_last() else { return false };
    let in_content =
        outer.ends_with(&[b"content"]) || outer.ends_with(&[b"delta"]) || outer == [b"content_block"];
    match *last {
        b"signature" => in_content || outer.ends_with(&[b"reasoningText"]),
        // `redacted_thinking`; the data of an image stands one level deeper, in `source`.
        b"data" => outer.ends_with(&[b"content"]) || outer == [b"content_block"],
        b"thoughtSignature" | b"thought_signature" => outer.ends_with(&[b"parts"]),
        b"encrypted_content" => {
            in_content
                || outer == [b"input"]
                || outer == [b"output"]
                || outer == [b"item"]
                || outer == [&b"response"[..], b"output"]
        }
        b"redactedContent" => outer.ends_with(&[b"reasoningContent"]),
        _ => false,
    }
}

/// Containers that say a text again, token by token: a value cut over tokens could not be masked in them.
pub(super) fn is_restating(path: &[&[u8]]) -> bool {
    matches!(path, [b"choices", b"logprobs"] | [b"choices", b"logprobs", b"content" | b"refusal"])
}

/// A logical text of a stream of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// `choices[].index`, or the index of a content block.
    pub(super) index: u64,
    pub(super) field: Field,
}

/// Which text of a choice or block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Field {
    Content,
    Refusal,
    ReasoningContent,
    Reasoning,
    /// Arguments of the tool call with this index.
    ToolArguments(u64),
    FunctionArguments,
    /// Legacy completions.
    Text,
    BlockText,
    BlockJson,
    BlockThinking,
}

/// What an event is to the texts of its stream.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Leaves that go on with a text, by their index in the event's leaves.
    pub(super) deltas: Vec<(usize, Key)>,
    /// Texts that end with this event.
    pub(super) ends: Ends,
}

/// Texts that an event ends.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Ends {
    #[default]
    Nothing,
    /// Of these choices or blocks.
    Of(Vec<u64>),
    All,
}

/// Reads an event's leaves.
pub(super) fn read(leaves: &Leaves<'_>) -> Reading {
    let kind = leaves.string("type");
    match kind.as_deref() {
        Some("content_block_delta") => return read_block_delta(leaves),
        Some("content_block_stop") => {
            let ends = Ends::Of(leaves.integer("index").into_iter().collect());
            return Reading { ends, ..Reading::default() };
        }
        Some("message_delta" | "message_stop" | "error") => {
            return Reading { ends: Ends::All, ..Reading::default() };
        }
        _ => {}
    }
    if leaves.string("error.message").is_some() {
        return Reading { ends: Ends::All, ..Reading::default() };
    }
    read_choices(leaves)
}

fn read_block_delta(leaves: &Leaves<'_>) -> Reading {
    let mut reading = Reading::default();
    let index = leaves.integer("index").unwrap_or(0);
    for (n, leaf) in leaves.iter().enumerate().filter(|(_, l)| l.is_string()) {
        let field = match leaves.path(leaf) {
            b"delta.text" => Field::BlockText,
            b"delta.partial_json" => Field::BlockJson,
            b"delta.thinking" => Field::BlockThinking,
            _ => continue,
        };
        reading.deltas.push((n, Key { index, field }));
    }
    reading
}

fn read_choices(leaves: &Leaves<'_>) -> Reading {
    let mut reading = Reading::default();
    let mut ended = Vec::new();
    for (n, leaf) in leaves.iter().enumerate().filter(|(_, l)| l.is_string()) {
        let Some((place, rest)) = element(leaves.path(leaf), "choices.") else { continue };
        let index = || leaves.integer(&format!("choices.{place}.index")).unwrap_or(place);
        let field = match rest {
            "delta.content" => Field::Content,
            "delta.refusal" => Field::Refusal,
            "delta.reasoning_content" => Field::ReasoningContent,
            "delta.reasoning" => Field::Reasoning,
            "delta.function_call.arguments" => Field::FunctionArguments,
            "text" => Field::Text,
            "finish_reason" => {
                ended.push(index());
                continue;
            }
            _ => match element(rest.as_bytes(), "delta.tool_calls.") {
                Some((call, "function.arguments")) => {
                    let number = leaves.integer(&format!("choices.{place}.delta.tool_calls.{call}.index"));
                    Field::ToolArguments(number.unwrap_or(call))
                }
                _ => continue,
            },
        };
        reading.deltas.push((n, Key { index: index(), field }));
    }
    if !ended.is_empty() {
        reading.ends = Ends::Of(ended);
    }
    reading
}

/// Splits `prefix.N.rest`.
fn element<'a>(path: &'a [u8], prefix: &str) -> Option<(u64, &'a str)> {
    let rest = std::str::from_utf8(path).ok()?.strip_prefix(prefix)?;
    let (number, rest) = rest.split_once('.')?;
    Some((number.parse().ok()?, rest))
}

/// Top-level members that a synthesised event of chat completions repeats.
const ENVELOPE: &[&str] = &["id", "object", "created", "model", "system_fingerprint", "service_tier"];

/// What surrounds the text in an event that carries nothing but that text: all before, and all after it.
#[derive(Clone, Debug)]
pub(super) struct Envelope {
    pub(super) before: Vec<u8>,
    pub(super) after: Vec<u8>,
}

impl Envelope {
    /// Built from the last event of the text: `spell` gives a leaf as it leaves.
    pub(super) fn of(leaves: &Leaves<'_>, key: Key, spell: &dyn Fn(&Leaf) -> Vec<u8>) -> Envelope {
        let Key { index, field } = key;
        let block = |kind: &str, name: &str| {
            let head = format!(
                r#"{{"type":"content_block_delta","index":{index},"delta":{{"type":"{kind}","{name}":""#
            );
            Envelope { before: head.into_bytes(), after: b"\"}}".to_vec() }
        };
        let (open, close) = match field {
            Field::BlockText => return block("text_delta", "text"),
            Field::BlockJson => return block("input_json_delta", "partial_json"),
            Field::BlockThinking => return block("thinking_delta", "thinking"),
            Field::Text => ("\"text\":\"".to_owned(), "\""),
            Field::Content => (r#""delta":{"content":""#.to_owned(), "\"}"),
            Field::Refusal => (r#""delta":{"refusal":""#.to_owned(), "\"}"),
            Field::ReasoningContent => (r#""delta":{"reasoning_content":""#.to_owned(), "\"}"),
            Field::Reasoning => (r#""delta":{"reasoning":""#.to_owned(), "\"}"),
            Field::FunctionArguments => (r#""delta":{"function_call":{"arguments":""#.to_owned(), "\"}}"),
            Field::ToolArguments(call) => {
                let open = format!(r#""delta":{{"tool_calls":[{{"index":{call},"function":{{"arguments":""#);
                (open, "\"}}]}")
            }
        };
        let mut before = b"{".to_vec();
        for name in ENVELOPE {
            if let Some(leaf) = leaves.find(name) {
                before.extend_from_slice(format!("\"{name}\":").as_bytes());
                before.extend_from_slice(&spell(leaf));
                before.push(b',');
            }
        }
        before.extend_from_slice(format!("\"choices\":[{{\"index\":{index},{open}").as_bytes());
        let after = format!("{close},\"logprobs\":null,\"finish_reason\":null}}]}}").into_bytes();
        Envelope { before, after }
    }
}
