//! What the fake LLM says, and into which deltas it is cut.

use serde::Deserialize;

/// An answer that a test has scripted.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Script {
    pub(super) id: String,
    #[serde(default)]
    pub(super) kind: Kind,
    pub(super) text: String,
    /// Places in characters at which the text is cut into deltas.
    #[serde(default)]
    pub(super) cuts: Vec<usize>,
    /// Characters a delta, where there are no cuts.
    #[serde(default = "delta_chars")]
    pub(super) delta_chars: usize,
    /// Milliseconds between two deltas.
    #[serde(default)]
    pub(super) pause_ms: u64,
    /// Bytes a write; 0: an event a write.
    #[serde(default)]
    pub(super) wire_bytes: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// The text is what the assistant says.
    #[default]
    Text,
    /// The text is the arguments of a tool call.
    Tool,
    /// The text is the assistant's reasoning.
    Thinking,
}

const fn delta_chars() -> usize {
    5
}

impl Script {
    /// The text in deltas.
    pub(super) fn deltas(&self) -> Vec<String> {
        let chars: Vec<char> = self.text.chars().collect();
        if self.cuts.is_empty() {
            return chars.chunks(self.delta_chars.max(1)).map(|c| c.iter().collect()).collect();
        }
        let mut places: Vec<usize> = self.cuts.iter().map(|c| (*c).min(chars.len())).collect();
        places.push(chars.len());
        places.sort_unstable();
        let mut from = 0;
        let mut deltas = Vec::new();
        for to in places {
            deltas.push(chars.get(from..to).unwrap_or_default().iter().collect());
            from = to;
        }
        deltas
    }

    /// What the fake LLM says without a script: it repeats the prompt, and lets slip values that look secret.
    pub(super) fn improvised(prompt: &str, has_tools: bool) -> Script {
        let (kind, text) = if has_tools {
            let arguments = r#"{"user": "jane", "password": "tr0ub4dor&3x", "token": "ghp_Zx9Kq2Lm8Wv4Rt7Yb3Nc6Hd1Jf5Gs0Pa2QeU"}"#;
            (Kind::Tool, arguments.to_owned())
        } else {
            (Kind::Text, format!("You wrote: {prompt}\n{LEAK}"))
        };
        Script {
            id: String::new(),
            kind,
            text,
            cuts: Vec::new(),
            delta_chars: delta_chars(),
            pause_ms: 15,
            wire_bytes: 0,
        }
    }
}

/// Values made up for the demo; none of them is of any use anywhere.
const LEAK: &str = "Here is what I should not tell: the key AKIAQX7T3Z5J2M6W4KPL, the token \
                    ghp_Zx9Kq2Lm8Wv4Rt7Yb3Nc6Hd1Jf5Gs0Pa2QeU, the card 4111 1111 1111 1111, and \
                    john.smith@example.com.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deltas_join_to_the_text() {
        let mut script = Script::improvised("é😀", false);
        assert_eq!(script.deltas().concat(), script.text);
        script.cuts = vec![3, 1, 9_999];
        assert_eq!(script.deltas().concat(), script.text);
        assert_eq!(script.deltas()[0], "Y");
    }
}
