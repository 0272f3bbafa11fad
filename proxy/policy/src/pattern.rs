//! Patterns of selectors: a text with `*` for any characters; in paths `*` stays within a segment and `**` at the end
//! is all that follows.
//!
//! Matching takes time in the product of both lengths at worst, and both are bounded: there is no `*` inside of which
//! another could go back (a star's last try is all that is kept).

/// Bytes of a pattern.
pub(crate) const PATTERN_BYTES_MAX: usize = 512;

/// A pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    text: Box<str>,
    is_path: bool,
}

impl Pattern {
    /// A pattern of names: `*` is any characters.
    pub(crate) fn name(text: &str) -> Result<Pattern, &'static str> {
        match text {
            "" => Err("an empty text matches nothing: leave the key out to take everything"),
            _ if text.len() > PATTERN_BYTES_MAX => Err("a pattern has at most 512 bytes"),
            _ => Ok(Pattern { text: text.into(), is_path: false }),
        }
    }

    /// A pattern of paths: `*` is any characters of a segment, `/**` at the end the path before it and all below.
    pub(crate) fn path(text: &str) -> Result<Pattern, &'static str> {
        let body = text.strip_suffix("/**").unwrap_or(text);
        let is_dot = |segment: &str| segment == "." || segment == "..";
        if text.len() > PATTERN_BYTES_MAX {
            Err("a pattern has at most 512 bytes")
        } else if !text.starts_with('/') {
            Err("a path begins with `/`")
        } else if body.contains("**") {
            Err("`**` stands only at the end, after `/`: `/v1/**` is `/v1` and all below it")
        } else if body.contains("//") {
            Err("a path has no empty segments: `//` would be compared with nothing")
        } else if body.split('/').any(is_dot) {
            Err("`.` and `..` are taken out of paths before they are compared: write what is left")
        } else if text.contains(['?', '#']) {
            Err("a path has no query: `request.query` is for conditions")
        } else {
            Ok(Pattern { text: text.into(), is_path: true })
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// The text itself, where nothing in it stands for something else.
    pub(crate) fn exact(&self) -> Option<&str> {
        (!self.text.contains('*')).then_some(&self.text)
    }

    /// What every text that matches begins with.
    pub(crate) fn prefix(&self) -> &str {
        let text = self.text.split('*').next().unwrap_or_default();
        // `/v1/**` takes `/v1` too.
        if self.is_below() && !text.is_empty() { text.strip_suffix('/').unwrap_or(text) } else { text }
    }

    /// `/**` at the end, and no star before it.
    fn is_below(&self) -> bool {
        self.is_path && self.text.find('*').is_some_and(|at| self.text.get(at..) == Some("**"))
    }

    pub(crate) fn matches(&self, value: &str) -> bool {
        if !self.is_path {
            return !value.is_empty() && stars(self.text.as_bytes(), value.as_bytes());
        }
        let (body, has_rest) = match self.text.strip_suffix("/**") {
            Some(body) => (body, true),
            None => (&*self.text, false),
        };
        let mut values = value.split('/');
        for segment in body.split('/') {
            let Some(value) = values.next() else { return false };
            let is_empty = value.is_empty() && !segment.is_empty();
            if is_empty || !stars(segment.as_bytes(), value.as_bytes()) {
                return false;
            }
        }
        has_rest || values.next().is_none()
    }
}

/// Whether a text has the form of a pattern in which `*` is any bytes.
fn stars(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where the last star stands, and where the text goes on behind what it took.
    let mut last: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            last = Some((p, t));
            p += 1;
        } else if pattern.get(p) == text.get(t) {
            (p, t) = (p + 1, t + 1);
        } else if let Some((star, taken)) = last {
            (p, t) = (star + 1, taken + 1);
            last = Some((star, taken + 1));
        } else {
            return false;
        }
    }
    pattern.get(p..).is_some_and(|rest| rest.iter().all(|b| *b == b'*'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (pattern, value, wanted) in [
            ("gpt-4o", "gpt-4o", true),
            ("gpt-4o", "gpt-4o-mini", false),
            ("gpt-4o*", "gpt-4o", true),
            ("gpt-*-mini", "gpt-4o-mini", true),
            ("gpt-*-mini", "gpt-4o-mini-high", false),
            ("*", "a/b", true),
            ("*", "", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("a**b", "ab", true),
            ("*aab", "aaab", true),
        ] {
            assert_eq!(Pattern::name(pattern).unwrap().matches(value), wanted, "{pattern} {value}");
        }
    }

    #[test]
    fn paths() {
        for (pattern, value, wanted) in [
            ("/v1/traces", "/v1/traces", true),
            ("/v1/traces", "/v1/traces/", false),
            ("/v1/*", "/v1/traces", true),
            ("/v1/*", "/v1/traces/1", false),
            ("/v1/*", "/v1/", false),
            ("/v1/*", "/v1", false),
            ("/v1/**", "/v1", true),
            ("/v1/**", "/v1/", true),
            ("/v1/**", "/v1/a/b", true),
            ("/v1/**", "/v10", false),
            ("/v1/**", "/v10/a", false),
            ("/**", "/", true),
            ("/**", "/a", true),
            ("/", "/", true),
            ("/*/team-*/**", "/kv/team-a/x/y", true),
            ("/*/team-*/**", "/kv/x/team-a/y", false),
            ("/a/*/c", "/a//c", false),
            ("/a", "", false),
        ] {
            assert_eq!(Pattern::path(pattern).unwrap().matches(value), wanted, "{pattern} {value}");
        }
    }

    #[test]
    fn what_is_no_pattern() {
        for text in ["", "v1", "/a/**/b", "/a**", "/a//b", "/a/../b", "/a/.", "/a?b"] {
            assert!(Pattern::path(text).is_err(), "{text}");
        }
        assert!(Pattern::name(&"a".repeat(PATTERN_BYTES_MAX)).is_ok());
        assert!(Pattern::name(&"a".repeat(PATTERN_BYTES_MAX + 1)).is_err());
        assert!(Pattern::path(&format!("/{}", "a".repeat(PATTERN_BYTES_MAX))).is_err());
    }

    #[test]
    fn a_match_begins_with_the_prefix() {
        for (pattern, prefix) in [("/v1/**", "/v1"), ("/v1/*", "/v1/"), ("/*/b/**", "/"), ("/**", "")] {
            assert_eq!(Pattern::path(pattern).unwrap().prefix(), prefix);
        }
        assert_eq!(Pattern::name("gpt-*").unwrap().prefix(), "gpt-");
    }

    proptest::proptest! {
        #[test]
        fn stars_agree_with_going_back(pattern in "[ab*]{0,8}", text in "[ab]{0,8}") {
            fn naive(p: &[u8], t: &[u8]) -> bool {
                match (p.split_first(), t.split_first()) {
                    (None, None) => true,
                    (Some((b'*', rest)), _) => naive(rest, t) || t.split_first().is_some_and(|(_, t)| naive(p, t)),
                    (Some((a, p)), Some((b, t))) => a == b && naive(p, t),
                    (None, Some(_)) | (Some(_), None) => false,
                }
            }
            proptest::prop_assert_eq!(stars(pattern.as_bytes(), text.as_bytes()), naive(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
