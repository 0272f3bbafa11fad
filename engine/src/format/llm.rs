//! What the fields of LLM traffic are: which strings are one logical text, which are opaque, what ends a text.
//!
//! Sources: openai-python `types/chat/chat_completion_chunk.py` and `types/responses/`, anthropic-sdk-python
//! `types/raw_content_block_delta_event.py`, python-genai `types.py`, the AWS Bedrock API reference.

mod reading;

#[cfg(test)]
mod tests;

use super::leaves::Leaves;
pub(super) use reading::{Manner, Reading, Said, is_read};

/// Whether the bytes of a value have a name by which [`is_event`] could know it, or spell some in another way.
pub(super) fn may_be_event(value: &[u8]) -> bool {
    const NAMES: &[&[u8]] = &[
        b"\"choices\"",
        b"\"candidates\"",
        b"\"delta\"",
        b"\"content_block",
        b"\"message_start\"",
        b"\"response.",
        b"\"contentBlock",
        b"\"done\"",
        b"\"is_finished\"",
        b"\"outputText\"",
        b"\"generation\"",
        b"\"completion\"",
        br"\u",
    ];
    NAMES.iter().any(|name| memchr::memmem::find(value, name).is_some())
}

/// Whether a value is an event of an LLM's stream, as [`Reading`] knows them.
pub(super) fn is_event(leaves: &Leaves<'_>) -> bool {
    let mut reading = Reading::default();
    reading.read(leaves, None);
    reading.is_of_stream(leaves)
}

/// Whether a string of this name may be opaque, by its path.
pub(super) fn may_be_opaque(name: &[u8]) -> bool {
    const NAMES: &[&[u8]] = &[
        b"signature",
        b"data",
        b"thoughtSignature",
        b"thought_signature",
        b"encrypted_content",
        b"redactedContent",
    ];
    NAMES.contains(&name)
}

/// Signed or encrypted by the upstream: an edit would break the conversation, and nothing can be read in them.
///
/// `path` is the keys from the outermost object; arrays add none.
pub(super) fn is_opaque(path: &[&[u8]]) -> bool {
    let Some((last, outer)) = path.split_last() else { return false };
    let in_content =
        outer.ends_with(&[b"content"]) || outer.ends_with(&[b"delta"]) || outer == [b"content_block"];
    match *last {
        b"signature" => in_content || outer.ends_with(&[b"reasoningText"]) || is_reasoning(outer),
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
        b"redactedContent" => is_reasoning(outer),
        _ => false,
    }
}

fn is_reasoning(outer: &[&[u8]]) -> bool {
    outer.ends_with(&[b"reasoningContent"])
}

/// Whether a container of this name may say a text again, by its path.
pub(super) fn may_be_restating(name: &[u8]) -> bool {
    matches!(name, b"logprobs" | b"content" | b"refusal" | b"logprobsResult" | b"logprobs_result")
}

/// Containers that say a text again, token by token, also as arrays of bytes: a value cut over tokens could not be
/// masked in them, so where one is in them they leave empty.
pub(super) fn is_restating(path: &[&[u8]]) -> bool {
    let Some((last, outer)) = path.split_last() else { return false };
    match *last {
        b"logprobs" => {
            matches!(outer, [] | [b"choices" | b"part"] | [b"item" | b"output" | b"choices", b"content"])
                || matches!(outer, [b"response", b"output", b"content"] | [b"choices", b"delta" | b"message"])
                || outer == [b"content"]
        }
        b"content" | b"refusal" => outer == [&b"choices"[..], b"logprobs"],
        b"logprobsResult" | b"logprobs_result" => outer == [b"candidates"],
        _ => false,
    }
}
