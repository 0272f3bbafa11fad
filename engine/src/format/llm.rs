//! What the fields of LLM traffic are: which strings are one logical text, which are opaque, what ends a text.
//!
//! Sources: openai-python `types/chat/chat_completion_chunk.py`, anthropic-sdk-python
//! `types/raw_content_block_delta_event.py`, python-genai `types.py`, the AWS Bedrock API reference.

use super::leaves::{Leaf, Leaves};

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
    /// Of a block of Bedrock's Converse.
    Converse(Member),
    /// Of a completion that is one string a member: which of [`COMPLETIONS`].
    Completion(&'static str),
}

/// Members of a `contentBlockDelta.delta` of Bedrock's Converse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Member {
    /// Place in [`CONVERSE`].
    index: usize,
    /// The event is within a member of its own name, as the native events of Nova are.
    is_nested: bool,
}

/// Path of a delta's text, and what stands around it in an event made for it.
const CONVERSE: &[(&str, &str, &str)] = &[
    ("delta.text", r#"{"text":""#, "\"}"),
    ("delta.toolUse.input", r#"{"toolUse":{"input":""#, "\"}}"),
    ("delta.reasoningContent.text", r#"{"reasoningContent":{"text":""#, "\"}}"),
];

/// Outermost members that carry a completion, piece by piece: of Titan, Llama, and the older completions of Anthropic.
const COMPLETIONS: &[&str] = &["outputText", "generation", "completion"];
/// Members that say, as a string, that such a completion has ended.
const COMPLETION_ENDS: &[&str] = &["completionReason", "stop_reason"];

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

/// Reads an event's leaves. `name`: what its carrier says it is, as the header `:event-type` of an event stream does.
pub(super) fn read(leaves: &Leaves<'_>, name: Option<&str>) -> Reading {
    if let Some(reading) = read_converse(leaves, name, false).or_else(|| read_converse(leaves, None, true)) {
        return reading;
    }
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
    let reading = read_choices(leaves);
    let is_other = reading.deltas.is_empty() && reading.ends == Ends::Nothing;
    if is_other { read_completion(leaves) } else { reading }
}

/// An event of Bedrock's ConverseStream (`contentBlockDelta`, `contentBlockStop`, `messageStop`), bare or `nested`.
fn read_converse(leaves: &Leaves<'_>, name: Option<&str>, is_nested: bool) -> Option<Reading> {
    let prefix = |of: &str| if is_nested { format!("{of}.") } else { String::new() };
    let delta = prefix("contentBlockDelta");
    let mut reading = Reading::default();
    if let Some(index) = leaves.integer(&format!("{delta}contentBlockIndex")) {
        for (n, leaf) in leaves.iter().enumerate().filter(|(_, l)| l.is_string()) {
            let path = leaves.path(leaf).strip_prefix(delta.as_bytes()).unwrap_or_default();
            if let Some(member) = CONVERSE.iter().position(|(p, _, _)| p.as_bytes() == path) {
                let field = Field::Converse(Member { index: member, is_nested });
                reading.deltas.push((n, Key { index, field }));
            }
        }
    }
    let stop = leaves.integer(&format!("{}contentBlockIndex", prefix("contentBlockStop")));
    let ended = name == Some("contentBlockStop") || is_nested;
    match (stop, name) {
        (Some(index), _) if ended => reading.ends = Ends::Of(vec![index]),
        (_, Some("messageStop" | "metadata")) => reading.ends = Ends::All,
        _ if is_nested && leaves.find("messageStop.stopReason").is_some() => reading.ends = Ends::All,
        _ => {}
    }
    (!reading.deltas.is_empty() || reading.ends != Ends::Nothing).then_some(reading)
}

/// A completion whose text is an outermost member.
fn read_completion(leaves: &Leaves<'_>) -> Reading {
    let mut reading = Reading::default();
    for (n, leaf) in leaves.iter().enumerate().filter(|(_, l)| l.is_string()) {
        let path = leaves.path(leaf);
        if let Some(member) = COMPLETIONS.iter().find(|m| m.as_bytes() == path) {
            reading.deltas.push((n, Key { index: 0, field: Field::Completion(member) }));
        }
        if COMPLETION_ENDS.iter().any(|m| m.as_bytes() == path) {
            reading.ends = Ends::All;
        }
    }
    if reading.deltas.is_empty() { Reading { ends: Ends::Nothing, ..reading } } else { reading }
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
            Field::Converse(member) => return Envelope::of_converse(index, member),
            Field::Completion(member) => {
                let before = format!("{{\"{member}\":\"").into_bytes();
                return Envelope { before, after: b"\"}".to_vec() };
            }
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

    fn of_converse(index: u64, member: Member) -> Envelope {
        let (_, open, close) = CONVERSE.get(member.index).copied().unwrap_or_default();
        let (outer, end) = if member.is_nested { ("{\"contentBlockDelta\":", "}") } else { ("", "") };
        Envelope {
            before: format!("{outer}{{\"contentBlockIndex\":{index},\"delta\":{open}").into_bytes(),
            after: format!("{close}}}{end}").into_bytes(),
        }
    }
}
