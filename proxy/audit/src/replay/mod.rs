//! What a session was, told again from its records: a conversation where it was one with a model, else frame by frame.
//!
//! Everything here is a function of records; who prints it keeps the time.

mod cast;
mod chain;
mod har;
mod llm;
mod sse;
mod time;

#[cfg(test)]
mod tests;

pub use cast::asciicast;
pub use chain::{ChainStep, chain};
pub use har::har;
pub use time::{from_rfc3339, rfc3339};

use crate::record::{Direction, Kind, Record};

/// Who says something, or what is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Voice {
    /// A message of the request, by its role: `system`, `user`, `assistant`, `tool`.
    Prompt(String),
    /// What the model thinks.
    Reasoning,
    /// What the model says.
    Answer,
    /// A call of the tool of this name; the text is its arguments.
    ToolCall(String),
    /// A frame that is no conversation.
    Frame(&'static str),
    /// What happened: a verdict, an approval, the end, a gap.
    Event,
}

impl Voice {
    /// How a line of it begins.
    #[must_use]
    pub fn label(&self) -> String {
        match self {
            Voice::Prompt(role) => role.clone(),
            Voice::Reasoning => "reasoning".to_owned(),
            Voice::Answer => "assistant".to_owned(),
            Voice::ToolCall(name) => format!("tool call {name}"),
            Voice::Frame(which) => (*which).to_owned(),
            Voice::Event => "--".to_owned(),
        }
    }
}

/// A piece of a replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Nanoseconds since the session's first record.
    pub at_ns: u64,
    /// Who says it.
    pub voice: Voice,
    /// What.
    pub text: String,
    /// It goes on with what the same voice said before.
    pub goes_on: bool,
}

/// The pieces of a session, in the order in which they came.
#[must_use]
pub fn replay(records: &[Record]) -> Vec<Piece> {
    let begin = records.first().map_or(0, |record| record.mono_ns);
    let at = |record: &Record| record.mono_ns.saturating_sub(begin);
    let request = body(records, Direction::Request);
    let prompt = serde_json::from_slice(&request).ok().map(|body| llm::prompt(&body)).unwrap_or_default();
    let mut answer = llm::Answer::new(!prompt.is_empty(), &body(records, Direction::Response));
    let mut pieces = Vec::new();
    let mut is_prompt_told = false;
    for record in records {
        let at_ns = at(record);
        let mut tell = |voice, text, goes_on| pieces.push(Piece { at_ns, voice, text, goes_on });
        match (record.kind, record.direction) {
            (Kind::Frame, Some(Direction::Request)) if !prompt.is_empty() => {
                if !std::mem::replace(&mut is_prompt_told, true) {
                    prompt.iter().for_each(|(voice, text)| tell(voice.clone(), text.clone(), false));
                }
            }
            (Kind::Frame, direction) => {
                let bytes = record.payload_bytes().unwrap_or_default();
                let said = if direction == Some(Direction::Response) { answer.push(&bytes) } else { None };
                match said {
                    Some(said) => {
                        said.into_iter().for_each(|(voice, text, goes_on)| tell(voice, text, goes_on))
                    }
                    None => tell(frame_voice(direction), String::from_utf8_lossy(&bytes).into_owned(), false),
                }
            }
            _ => tell(Voice::Event, event(record), false),
        }
    }
    pieces
}

fn frame_voice(direction: Option<Direction>) -> Voice {
    Voice::Frame(if direction == Some(Direction::Request) { ">" } else { "<" })
}

/// All bytes that went one way.
pub(crate) fn body(records: &[Record], direction: Direction) -> Vec<u8> {
    let of = |record: &&Record| record.kind == Kind::Frame && record.direction == Some(direction);
    records.iter().filter(of).flat_map(|record| record.payload_bytes().unwrap_or_default()).collect()
}

/// A record that is no frame, in a line.
fn event(record: &Record) -> String {
    let mut text = match record.kind {
        Kind::Request | Kind::Response | Kind::Frame => {
            let head = record.head.clone().unwrap_or_default();
            let status = head.status.map(|status| status.to_string()).unwrap_or_default();
            [head.method, head.target, head.protocol, status].join(" ").trim().to_owned()
        }
        Kind::Verdict => "decided".to_owned(),
        Kind::Approval => record.approval_event.as_ref().map_or_else(String::new, |event| {
            format!("approval {} {} {} {}", event.id, event.state, event.by, event.reason)
        }),
        Kind::End => record.end.as_ref().map_or_else(String::new, |end| format!("end: {}", end.outcome)),
        Kind::Gap => "records are missing here".to_owned(),
    };
    if let Some(verdict) = record.verdict.filter(|_| matches!(record.kind, Kind::Request | Kind::Verdict)) {
        text += &format!(" [{}: {}]", verdict.name(), record.policies.join(", "));
    }
    if !record.spans.is_empty() {
        let entities: Vec<&str> = record.spans.iter().map(|span| span.entity.as_str()).collect();
        text += &format!(" masked: {}", entities.join(", "));
    }
    text
}

/// The text as a terminal may see it: what would steer it is shown and does nothing.
#[must_use]
pub fn visible(text: &str) -> String {
    let shown = |c: char| match c {
        '\n' | '\t' => c.to_string(),
        '\r' => String::new(),
        c if c.is_control() => c.escape_unicode().to_string(),
        c => c.to_string(),
    };
    text.chars().map(shown).collect()
}
