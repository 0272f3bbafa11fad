//! LLM calls by their paths: OpenAI and those who speak its API, Azure, Anthropic, Gemini, Bedrock.

use std::borrow::Cow;

use super::Name;

/// Calls by the segments that a path ends with, `*` for one of any name. The longer ending counts.
const ENDINGS: &[(&[&str], &str)] = &[
    (&["chat", "completions"], "llm.chat"),
    (&["chat", "completions", "*"], "llm.chat"),
    (&["completions"], "llm.chat"),
    (&["responses"], "llm.chat"),
    (&["responses", "*"], "llm.chat"),
    (&["responses", "*", "cancel"], "llm.chat"),
    (&["responses", "*", "input_items"], "llm.chat"),
    (&["messages"], "llm.chat"),
    (&["complete"], "llm.chat"),
    (&["converse"], "llm.chat"),
    (&["converse-stream"], "llm.chat"),
    (&["invoke"], "llm.chat"),
    (&["invoke-with-response-stream"], "llm.chat"),
    (&["messages", "count_tokens"], "llm.count"),
    (&["messages", "batches"], "llm.batch"),
    (&["messages", "batches", "*"], "llm.batch"),
    (&["messages", "batches", "*", "results"], "llm.batch"),
    (&["messages", "batches", "*", "cancel"], "llm.batch"),
    (&["embeddings"], "llm.embed"),
    (&["files"], "llm.files"),
    (&["files", "*"], "llm.files"),
    (&["files", "*", "content"], "llm.files"),
    (&["uploads"], "llm.files"),
    (&["uploads", "*"], "llm.files"),
    (&["uploads", "*", "*"], "llm.files"),
    (&["batches"], "llm.batch"),
    (&["batches", "*"], "llm.batch"),
    (&["batches", "*", "cancel"], "llm.batch"),
    (&["models"], "llm.models"),
    (&["models", "*"], "llm.models"),
    (&["moderations"], "llm.moderate"),
    (&["images", "*"], "llm.image"),
    (&["audio", "*"], "llm.audio"),
    (&["realtime"], "llm.realtime"),
    (&["realtime", "*"], "llm.realtime"),
    (&["fine_tuning", "jobs"], "llm.tune"),
    (&["fine_tuning", "jobs", "*"], "llm.tune"),
    (&["fine_tuning", "jobs", "*", "*"], "llm.tune"),
];

/// Calls of Gemini, behind the `:` of the last segment.
const VERBS: &[(&str, &str)] = &[
    ("generateContent", "llm.chat"),
    ("streamGenerateContent", "llm.chat"),
    ("predict", "llm.chat"),
    ("rawPredict", "llm.chat"),
    ("streamRawPredict", "llm.chat"),
    ("countTokens", "llm.count"),
    ("embedContent", "llm.embed"),
    ("batchEmbedContents", "llm.embed"),
    ("asyncBatchEmbedContent", "llm.batch"),
    ("batchGenerateContent", "llm.batch"),
];

/// All names that are given here.
pub(super) const NAMES: &[&str] = &[
    "llm.chat",
    "llm.embed",
    "llm.files",
    "llm.batch",
    "llm.count",
    "llm.models",
    "llm.moderate",
    "llm.image",
    "llm.audio",
    "llm.realtime",
    "llm.tune",
    "llm.other",
];

/// A segment before the call that tells an LLM's API from another's: `/v1/…`, `/openai/…`, `/model/ID/…`.
fn is_mark(segment: &str) -> bool {
    let is_version = segment.strip_prefix('v').is_some_and(|v| v.starts_with(|c: char| c.is_ascii_digit()));
    is_version || matches!(segment, "openai" | "model" | "models" | "deployments" | "anthropic" | "chat")
}

/// The call's name; none where the path is no LLM's, unless it `is_sure` that it is.
pub(super) fn names(method: &str, path: &str, is_sure: bool) -> Vec<Name> {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let call = call(&segments).filter(|call| is_sure || segments.iter().any(|s| is_mark(s)) || is_own(call));
    // Reading or deleting a stored answer is no chat that could call tools, yet it gives or takes one: the same name.
    let _ = method;
    match call {
        Some(call) => vec![Cow::Borrowed(call)],
        None if is_sure => vec![Cow::Borrowed("llm.other")],
        None => Vec::new(),
    }
}

/// Names whose paths are nobody else's.
fn is_own(call: &str) -> bool {
    matches!(call, "llm.embed")
}

fn call(segments: &[&str]) -> Option<&'static str> {
    if let Some((_, verb)) = segments.last().and_then(|last| last.rsplit_once(':'))
        && let Some((_, name)) = VERBS.iter().find(|(known, _)| *known == verb)
    {
        return Some(name);
    }
    let holds = |ending: &&(&[&str], &str)| {
        let from = segments.len().checked_sub(ending.0.len());
        let tail = from.and_then(|from| segments.get(from..)).unwrap_or_default();
        tail.len() == ending.0.len() && tail.iter().zip(ending.0).all(|(s, e)| *e == "*" || s == e)
    };
    ENDINGS.iter().filter(holds).max_by_key(|(ending, _)| ending.len()).map(|(_, name)| *name)
}

/// The model that a path names: `/models/NAME:generateContent`, `/model/NAME/converse`, `/deployments/NAME/…`.
#[must_use]
pub fn path_model(path: &str) -> Option<&str> {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let last = segments.last()?;
    if let Some((model, verb)) = last.rsplit_once(':')
        && VERBS.iter().any(|(known, _)| *known == verb)
    {
        return Some(model).filter(|model| !model.is_empty());
    }
    let behind = |name: &str| {
        let at = segments.iter().position(|segment| *segment == name)?;
        // The name of something stands before what is done with it.
        segments.get(at + 1).filter(|_| segments.len() > at + 2).copied()
    };
    behind("model").or_else(|| behind("deployments"))
}
