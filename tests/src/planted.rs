//! The values that must never arrive, one of each class, in a sentence (`tests/cases/planted.json`).
//!
//! All are made up. The Python and JavaScript clients read the same file.

use serde::Deserialize;

/// The shortest part of a value whose arrival counts as a leak, in bytes.
pub const FRAGMENT_BYTES: usize = 8;

/// A value in a sentence.
#[derive(Clone, Debug, Deserialize)]
pub struct Planted {
    /// What it is: the name of the case.
    pub class: String,
    /// The sentence, `{}` where the value stands.
    pub text: String,
    /// The value.
    pub value: String,
    /// The part that matters, where the value has a frame that may stay; line breaks left out.
    #[serde(default)]
    sensitive: Option<String>,
}

impl Planted {
    /// All of them.
    ///
    /// # Panics
    /// When the file is not as it should be.
    #[must_use]
    pub fn all() -> Vec<Planted> {
        let all: Vec<Planted> = serde_json::from_str(include_str!("../cases/planted.json"))
            .expect("planted.json is as it should be");
        assert!(all.len() >= 14, "only {} values are planted", all.len());
        all
    }

    /// The sentence with its value.
    #[must_use]
    pub fn sentence(&self) -> String {
        self.text.replacen("{}", &self.value, 1)
    }

    /// Where the value stands in the sentence.
    #[must_use]
    pub fn span(&self) -> std::ops::Range<usize> {
        let start = self.text.find("{}").expect("the sentence has a place for its value");
        start..start + self.value.len()
    }

    /// How many bytes of the value are in fragments of it that `text` holds, line breaks and their JSON escapes left out.
    #[must_use]
    pub fn leaked_bytes(&self, text: &str) -> usize {
        let text = text.replace("\\n", "").replace('\n', "");
        let sensitive = self.sensitive.as_deref().unwrap_or(&self.value);
        let length = FRAGMENT_BYTES.min(sensitive.len());
        let mut leaked = vec![false; sensitive.len()];
        for at in 0..=sensitive.len() - length {
            if sensitive.get(at..at + length).is_some_and(|fragment| text.contains(fragment)) {
                leaked[at..at + length].fill(true);
            }
        }
        leaked.into_iter().filter(|leaked| *leaked).count()
    }

    /// The first fragment of the value that `text` holds, line breaks and their JSON escapes left out.
    #[must_use]
    pub fn leak_in(&self, text: &[u8]) -> Option<String> {
        let text = String::from_utf8_lossy(text).replace("\\n", "").replace('\n', "");
        let sensitive = self.sensitive.as_deref().unwrap_or(&self.value);
        let length = FRAGMENT_BYTES.min(sensitive.len());
        (0..=sensitive.len() - length)
            .filter_map(|at| sensitive.get(at..at + length))
            .find(|fragment| text.contains(fragment))
            .map(String::from)
    }
}
