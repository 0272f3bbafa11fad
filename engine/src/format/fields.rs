//! Declared fields: values that are masked, let pass or dropped for where they stand, whatever they say.
//!
//! A path names the keys from the outermost object to a value; elements of arrays have the path of their array. What
//! it matches, it matches with all that is in it.
#![deny(clippy::indexing_slicing)]

use std::collections::HashMap;
use std::fmt;

use super::Finding;
use super::leaves::{LeafKind, Leaves};
use crate::mask::{self, FILL, Strategy};
use crate::ruleset::RuleId;

/// What is done with a declared field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldAction {
    /// Every value in it is replaced: strings, numbers, `true` and `false`; `null` and keys stay. Strategies that need
    /// the value (`token`, `keep`) label it.
    Mask {
        /// What the value is, for labels.
        entity: String,
        /// How it is replaced.
        strategy: Strategy,
    },
    /// It passes as it is, unscanned and counted ([`crate::Masker::take_unscanned`]).
    Allow,
    /// It is replaced by nothing: `null` in JSON, an empty value in forms.
    Drop,
    /// It is scanned as if it were not declared: it stands before others, and for [`Fields::only`].
    Scan,
}

/// A declared field.
///
/// A path is `$.messages[*].content` from the root, or without `$` at any depth:
/// `resource.attributes["db.statement"]`. `*` in a name stands for any characters, so `*password*` is every key that
/// has the word in it. Letters' case is ignored. `[*]` may be written for the elements of an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRule {
    /// Its name where a value of it is told: that of no other, and of no rule.
    pub id: String,
    /// Where.
    pub path: String,
    /// What then.
    pub action: FieldAction,
}

impl FieldRule {
    /// What the value is, where one is told.
    #[must_use]
    pub fn entity(&self) -> &str {
        match &self.action {
            FieldAction::Mask { entity, .. } => entity,
            FieldAction::Allow => "allowed",
            FieldAction::Drop => "dropped",
            FieldAction::Scan => "scanned",
        }
    }
}

/// Why a path can't be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    rule: usize,
    reason: &'static str,
}

impl FieldError {
    /// Index of the field in the list given.
    #[must_use]
    pub fn rule(&self) -> usize {
        self.rule
    }

    /// What is wrong with it.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        self.reason
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "field {}: {}", self.rule, self.reason)
    }
}

impl std::error::Error for FieldError {}

/// Most keys of one path.
const PARTS_MAX: usize = 32;

/// Declared fields, read. Of several that match a value the first one counts.
///
/// ```
/// use sluice_engine::{FieldAction, FieldRule, Fields};
///
/// let rule = |path: &str| FieldRule { id: path.into(), path: path.into(), action: FieldAction::Drop };
/// assert!(Fields::new(vec![rule("$.messages[*].content"), rule("*password*")]).is_ok());
/// assert!(Fields::new(vec![rule("$.a..b")]).is_err());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Fields {
    fields: Vec<(Path, FieldRule)>,
    /// What becomes of values that none of them matches; none: they are scanned.
    others: Option<FieldRule>,
    /// Number of the first one where values are told.
    first: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Path {
    from_root: bool,
    /// Names in lower case, split at `*`.
    parts: Vec<Vec<Vec<u8>>>,
}

impl Fields {
    /// Reads the paths.
    ///
    /// # Errors
    /// The first path that is none.
    pub fn new(rules: Vec<FieldRule>) -> Result<Fields, FieldError> {
        let read = |(rule, field): (usize, FieldRule)| match Path::read(&field.path) {
            Ok(path) => Ok((path, field)),
            Err(reason) => Err(FieldError { rule, reason }),
        };
        let fields = rules.into_iter().enumerate().map(read).collect::<Result<_, _>>()?;
        Ok(Fields { fields, others: None, first: 0 })
    }

    /// What may leave: nothing at a path of `drop`, and where there are any of `allow`, only what is at one of them,
    /// scanned. A value without leave is told by the number behind all fields; the keys above it stay.
    ///
    /// # Errors
    /// The first path that is none, by its index in `drop` and then `allow`.
    pub fn only(allow: &[String], drop: &[String]) -> Result<Fields, FieldError> {
        let rule = |path: &String, action| FieldRule { id: path.clone(), path: path.clone(), action };
        let dropped = drop.iter().map(|path| rule(path, FieldAction::Drop));
        let allowed = allow.iter().map(|path| rule(path, FieldAction::Scan));
        let fields = Fields::new(dropped.chain(allowed).collect())?;
        let others = (!allow.is_empty()).then(|| rule(&"*".to_owned(), FieldAction::Drop));
        Ok(Fields { others, ..fields })
    }

    /// Whether only what is declared may leave.
    #[must_use]
    pub fn drops_others(&self) -> bool {
        self.others.is_some()
    }

    /// Those for which `is_out` does not hold.
    pub(crate) fn without(&self, is_out: impl Fn(&FieldRule) -> bool) -> Fields {
        let kept = self.fields.iter().filter(|(_, rule)| !is_out(rule));
        Fields { fields: kept.cloned().collect(), ..self.clone() }
    }

    /// The same behind so many rules, with this strategy in place of their own.
    pub(crate) fn behind(&self, rules: usize, strategy: Option<&Strategy>) -> Fields {
        let mut fields = Fields { first: u32::try_from(rules).unwrap_or(u32::MAX), ..self.clone() };
        for (_, rule) in &mut fields.fields {
            if let (FieldAction::Mask { strategy: own, .. }, Some(strategy)) = (&mut rule.action, strategy) {
                own.clone_from(strategy);
            }
        }
        fields
    }

    /// These, and then those.
    pub(crate) fn and(&mut self, others: &Fields) {
        self.fields.extend(others.fields.iter().cloned());
        self.others = self.others.take().or_else(|| others.others.clone());
    }

    /// The declared field that a finding is of.
    pub(crate) fn told(&self, rule: RuleId) -> Option<&FieldRule> {
        let index = rule.0.checked_sub(self.first)?;
        let others = self.others.as_ref().filter(|_| index as usize == self.fields.len());
        self.fields.get(index as usize).map(|(_, rule)| rule).or(others)
    }

    /// The declared fields, in order.
    pub fn rules(&self) -> impl Iterator<Item = &FieldRule> {
        self.fields.iter().map(|(_, rule)| rule).chain(&self.others)
    }

    /// Settles the declared ones of a document's leaves: how they are spelled then, if that is new. Gives the bytes
    /// that pass unscanned. The document lies at `at`.
    pub(super) fn settle(
        &self,
        leaves: &Leaves<'_>,
        at: u64,
        done: &mut HashMap<usize, Option<Vec<u8>>>,
        findings: &mut Vec<Finding>,
    ) -> u64 {
        let mut unscanned = 0;
        for (n, leaf) in leaves.iter().enumerate().filter(|(_, leaf)| leaf.kind != LeafKind::Key) {
            let Some((rule, action)) = self.find_told(&leaves.keys(leaf)) else { continue };
            let content = leaves.bytes(leaf.content.clone());
            let is_null = content == b"null" && leaf.kind == LeafKind::Literal;
            if *action != FieldAction::Allow && !is_null && !done.contains_key(&n) {
                let mut telling = Telling::of(rule);
                telling.see(at + leaf.content.start as u64, content.len());
                telling.tell(findings);
            }
            let spelled = match action {
                FieldAction::Mask { .. } if is_null => None,
                FieldAction::Mask { entity, strategy } => {
                    let mut text = Vec::new();
                    replacement(entity, strategy, content.len(), &mut text);
                    let mut spelled = Vec::with_capacity(text.len() + 2);
                    super::json::quote(&text, &mut spelled);
                    Some(spelled)
                }
                FieldAction::Allow => {
                    unscanned += content.len() as u64;
                    None
                }
                FieldAction::Drop => Some(b"null".to_vec()),
                FieldAction::Scan => continue,
            };
            done.entry(n).or_insert(spelled);
        }
        unscanned
    }

    /// What is done with the value at this path, keys from the outermost object, and by what number it is told; `None`:
    /// it is scanned.
    pub(super) fn find_told(&self, keys: &[&[u8]]) -> Option<(RuleId, &FieldAction)> {
        let others = || Some((self.fields.len(), self.others.as_ref()?));
        let (index, rule) = self.find(keys).or_else(others)?;
        self.numbered(index, rule)
    }

    /// As [`Fields::find_told`], of an object or array: one that is not declared itself may have values that are.
    pub(super) fn find_container(&self, keys: &[&[u8]]) -> Option<(RuleId, &FieldAction)> {
        let (index, rule) = self.find(keys)?;
        self.numbered(index, rule)
    }

    fn find(&self, keys: &[&[u8]]) -> Option<(usize, &FieldRule)> {
        let mut all = self.fields.iter().enumerate();
        all.find(|(_, (path, _))| path.covers(keys)).map(|(index, (_, rule))| (index, rule))
    }

    fn numbered<'a>(&self, index: usize, rule: &'a FieldRule) -> Option<(RuleId, &'a FieldAction)> {
        let number = u32::try_from(index).ok().and_then(|n| self.first.checked_add(n))?;
        (rule.action != FieldAction::Scan).then_some((RuleId(number), &rule.action))
    }
}

/// A value that is replaced for where it stands, and is told where it ends. One of no bytes is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Telling {
    rule: RuleId,
    place: Option<(u64, u64)>,
}

impl Telling {
    pub(super) fn of(rule: RuleId) -> Telling {
        Telling { rule, place: None }
    }

    /// So many of its bytes lie at `at`.
    pub(super) fn see(&mut self, at: u64, len: usize) {
        if len > 0 {
            let (_, end) = self.place.get_or_insert((at, at));
            *end = at + len as u64;
        }
    }

    pub(super) fn tell(self, findings: &mut Vec<Finding>) {
        if let Some((start, end)) = self.place {
            findings.push(Finding { rule: self.rule, start, end });
        }
    }
}

/// Appends what stands for a value of which `len` bytes are not told.
pub(super) fn replacement(entity: &str, strategy: &Strategy, len: usize, out: &mut Vec<u8>) {
    match strategy {
        Strategy::Label | Strategy::Token | Strategy::Keep { .. } => mask::label(entity, out),
        Strategy::Constant(text) => out.extend_from_slice(text.as_bytes()),
        Strategy::Fill => out.resize(out.len() + len, FILL),
        Strategy::Drop => {}
    }
}

impl Path {
    fn read(text: &str) -> Result<Path, &'static str> {
        let (from_root, mut rest) = match text.strip_prefix('$') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let mut parts = Vec::new();
        let mut is_first = !from_root;
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix("[*]") {
                rest = after;
            } else if let Some(quoted) = rest.strip_prefix("[\"") {
                let (name, after) = quoted.split_once("\"]").ok_or("a name in brackets ends with `\"]`")?;
                parts.push(names(name)?);
                rest = after;
            } else if rest.starts_with('[') {
                return Err("only `[*]` and `[\"name\"]` may stand in brackets");
            } else {
                let name =
                    if is_first { rest } else { rest.strip_prefix('.').ok_or("expected `.` or `[`")? };
                let end = name.find(['.', '[']).unwrap_or(name.len());
                let (name, after) = name.split_at(end);
                parts.push(names(name)?);
                rest = after;
            }
            is_first = false;
        }
        if parts.is_empty() {
            return Err("a path names at least one key");
        }
        if parts.len() > PARTS_MAX {
            return Err("a path names at most 32 keys");
        }
        Ok(Path { from_root, parts })
    }

    /// Whether the value at `keys` is what the path names, or is in it.
    fn covers(&self, keys: &[&[u8]]) -> bool {
        let at = |window: &[&[u8]]| self.parts.iter().zip(window).all(|(part, key)| is_like(part, key));
        let mut windows = keys.windows(self.parts.len());
        if self.from_root { windows.next().is_some_and(at) } else { windows.any(at) }
    }
}

fn names(name: &str) -> Result<Vec<Vec<u8>>, &'static str> {
    if name.is_empty() {
        return Err("a name is empty");
    }
    Ok(name.split('*').map(|piece| piece.to_ascii_lowercase().into_bytes()).collect())
}

/// Whether `key` is the pieces in order, with anything between them.
fn is_like(pieces: &[Vec<u8>], key: &[u8]) -> bool {
    let key = key.to_ascii_lowercase();
    let [first, middle @ .., last] = pieces else {
        return pieces.first().is_some_and(|only| *only == key);
    };
    let Some(mut rest) = key.strip_prefix(first.as_slice()) else { return false };
    for piece in middle {
        let found = (0..=rest.len()).find(|at| rest.get(*at..).is_some_and(|r| r.starts_with(piece)));
        match found.and_then(|at| rest.get(at + piece.len()..)) {
            Some(after) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::format::tests::rules;
    use crate::format::{Format, Masker, MaskerOptions};
    use crate::stream::Scratch;

    #[test]
    fn paths() {
        for (path, keys, covers) in [
            ("$.messages[*].content", "messages content", true),
            ("$.messages[*].content", "messages content text", true),
            ("$.messages[*].content", "x messages content", false),
            ("$.messages[*].content", "messages", false),
            ("$[*].a", "a", true),
            ("content", "messages content text", true),
            ("resource.attributes[\"db.statement\"]", "x resource attributes db.statement", true),
            ("*password*", "a userPassword_hash", true),
            ("*password*", "a pass word", false),
            ("a*b*c", "axbxc", true),
            ("a*b", "ab", true),
            ("ab*ba", "aba", false),
            ("$.*.b", "x b", true),
        ] {
            let path = Path::read(path).unwrap();
            assert_eq!(
                path.covers(&keys.split(' ').map(str::as_bytes).collect::<Vec<_>>()),
                covers,
                "{path:?}"
            );
        }
        let long = |n: usize| vec!["a"; n].join(".");
        for path in ["", "$", "$.", "a..b", "a[1]", "a[\"b", "$a", "a.", &long(33)] {
            assert!(Path::read(path).is_err(), "{path}");
        }
        assert!(Path::read(&long(32)).is_ok());
    }

    /// What leaves, how many bytes pass unscanned, and what is told, by its rule and as it stands in the body.
    type Done = (String, u64, Vec<(u32, String)>);

    fn mask(format: Format, fields: &[(&str, FieldAction)], body: &str) -> Done {
        let rule = |(path, action): &(&str, FieldAction)| FieldRule {
            id: (*path).into(),
            path: (*path).into(),
            action: action.clone(),
        };
        masked_by(format, Fields::new(fields.iter().map(rule).collect()).unwrap(), body)
    }

    fn masked_by(format: Format, fields: Fields, body: &str) -> Done {
        let fields = Arc::new(fields);
        let mut first: Option<Done> = None;
        let cuts: Vec<Vec<&[u8]>> = std::iter::once(body.as_bytes().chunks(1).collect())
            .chain((0..=body.len()).map(|at| vec![&body.as_bytes()[..at], &body.as_bytes()[at..]]))
            .collect();
        for chunks in cuts {
            let options = MaskerOptions { fields: Some(Arc::clone(&fields)), ..MaskerOptions::default() };
            let mut masker = Masker::new(&rules(), format, options);
            let (mut scratch, mut out) = (Scratch::new(), Vec::new());
            for chunk in chunks {
                masker.push(&mut scratch, chunk, &mut out).unwrap();
            }
            masker.finish(&mut scratch, &mut out).unwrap();
            let place = |f: &Finding| body.get(f.start as usize..f.end as usize).unwrap().to_owned();
            let told = masker.take_findings().iter().map(|f| (f.rule.0, place(f))).collect();
            let done = (String::from_utf8(out).unwrap(), masker.take_unscanned(), told);
            assert_eq!(*first.get_or_insert(done.clone()), done, "{body}");
        }
        first.unwrap()
    }

    #[test]
    fn fields_are_masked_dropped_and_allowed() {
        let masks = |strategy| FieldAction::Mask { entity: "own".into(), strategy };
        let label = || masks(Strategy::Label);
        let secret = [("*secret*", label())];
        for (format, fields, body, output) in [
            (
                Format::Json,
                &secret[..],
                r#"{"a":{"mySecret":"x\n\"","secrets":[1,-2.5,true,null,{"k":"v","e":{}}],"b":"ghp_Abcd1234"},"n":3}"#,
                r#"{"a":{"mySecret":"[own]","secrets":["[own]","[own]","[own]",null,{"k":"[own]","e":{}}],"b":"[gh]"},"n":3}"#,
            ),
            (
                Format::Json,
                &[("$.a", FieldAction::Drop)],
                r#"{"a":{"b":[1,"ghp_"]},"b":{"a":"x"}}"#,
                r#"{"a":null,"b":{"a":"x"}}"#,
            ),
            (
                Format::Json,
                &[("a", FieldAction::Drop)],
                r#"[{"a":"b" },{"a": 12,"c":true},{"a":false}]"#,
                r#"[{"a":null },{"a": null,"c":true},{"a":null}]"#,
            ),
            (
                Format::Json,
                &[("a", FieldAction::Allow)],
                r#"{"a":"ghp_Abcd1234","b":"ghp_Abcd1234"}"#,
                r#"{"a":"ghp_Abcd1234","b":"[gh]"}"#,
            ),
            (Format::Json, &[("a", masks(Strategy::Fill))], r#"{"a":"xyz","b":1}"#, r#"{"a":"***","b":1}"#),
            (Format::Json, &[("a.b", label()), ("a", FieldAction::Drop)], r#"{"a":"x"}"#, r#"{"a":null}"#),
            (
                Format::Ndjson,
                &secret[..],
                "{\"secret\":1}\n{\"secret\":\"\"}\n",
                "{\"secret\":\"[own]\"}\n{\"secret\":\"[own]\"}\n",
            ),
            (
                Format::Form,
                &secret[..],
                "a=1&my%53ecret=a%20b+c&b=&secret=&secret",
                "a=1&my%53ecret=%5Bown%5D&b=&secret=%5Bown%5D&secret",
            ),
            (Format::Form, &[("a", FieldAction::Drop)], "a=ghp&b=2", "a=&b=2"),
            (
                Format::Form,
                &[("a", FieldAction::Allow)],
                "a=ghp_Abcd1234&b=ghp_Abcd1234",
                "a=ghp_Abcd1234&b=%5Bgh%5D",
            ),
            (
                Format::Sse,
                &secret[..],
                "data: {\"x\":{\"secret\":[1,\"b\",true,null]},\"y\":\"ghp_Abcd1234\"}\n\n",
                "data: {\"x\":{\"secret\":[\"[own]\",\"[own]\",\"[own]\",null]},\"y\":\"[gh]\"}\n\n",
            ),
            (
                Format::Sse,
                &[("content", FieldAction::Allow), ("role", FieldAction::Drop)],
                "data: {\"choices\":[{\"delta\":{\"role\":\"a\",\"content\":\"ghp_Abcd1234\"}}]}\n\n",
                "data: {\"choices\":[{\"delta\":{\"role\":null,\"content\":\"ghp_Abcd1234\"}}]}\n\n",
            ),
        ] {
            assert_eq!(mask(format, fields, body).0, output, "{body}");
        }
        assert_eq!(mask(Format::Json, &[("a", FieldAction::Allow)], r#"{"a":"12345","b":"x"}"#).1, 5);
    }

    #[test]
    fn only_what_is_allowed_leaves_and_that_scanned() {
        let list = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>();
        for (format, allow, drop, body, output) in [
            (
                Format::Json,
                &["$.a.b", "$.c[*].d"][..],
                &[][..],
                r#"{"a":{"b":"ghp_Abcd1234","x":1,"y":[true,{"z":"q"}]},"c":[{"d":7,"e":"s"},{"d":{"f":"g"}}],"n":null}"#,
                r#"{"a":{"b":"[gh]","x":null,"y":[null,{"z":null}]},"c":[{"d":7,"e":null},{"d":{"f":"g"}}],"n":null}"#,
            ),
            (
                Format::Json,
                &["$.a"],
                &["secret"],
                r#"{"a":{"secret":[1],"b":2}}"#,
                r#"{"a":{"secret":null,"b":2}}"#,
            ),
            (Format::Json, &[], &["$.a"], r#"{"a":1,"b":"ghp_Abcd1234"}"#, r#"{"a":null,"b":"[gh]"}"#),
            (Format::Json, &["$.a"], &[], r#"["x",1,true,null]"#, "[null,null,null,null]"),
            (Format::Json, &["$.a"], &[], r#" "text" "#, " null "),
            (Format::Ndjson, &["$.a"], &[], "{\"a\":1,\"b\":2}\n7\n", "{\"a\":1,\"b\":null}\nnull\n"),
            (Format::Form, &["a"], &[], "a=1&b=2&c", "a=1&b=&c"),
            (
                Format::Sse,
                &["$.choices[*].delta.content"],
                &[],
                "data: {\"id\":\"x\",\"choices\":[{\"delta\":{\"role\":\"a\",\"content\":\"hi\"}}]}\n\ndata: words\n\ndata: [DONE]\n\n",
                "data: {\"id\":null,\"choices\":[{\"delta\":{\"role\":null,\"content\":\"hi\"}}]}\n\ndata: null\n\ndata: [DONE]\n\n",
            ),
        ] {
            let fields = Fields::only(&list(allow), &list(drop)).unwrap();
            assert_eq!(masked_by(format, fields, body).0, output, "{body}");
        }
        assert_eq!(Fields::only(&list(&["a"]), &list(&["b", "$."])).unwrap_err().rule(), 1);
    }

    #[test]
    fn fields_that_match_nothing_change_nothing() {
        let body = r#" {"a":[1,2.0,"x\u00e9"],"b":{"c":null}} "#;
        assert_eq!(mask(Format::Json, &[("$.c", FieldAction::Drop)], body), (body.to_owned(), 0, Vec::new()));
    }

    #[test]
    fn each_value_is_told_where_it_stands() {
        let own = FieldAction::Mask { entity: "own".into(), strategy: Strategy::Label };
        let fields = [("a", own), ("b", FieldAction::Drop), ("c", FieldAction::Allow)];
        let first = rules().rules().len() as u32;
        let body = r#"{"a":["x\n","",12,true,null,{"k":false}],"b":{"l":[1]},"c":"ghp_Abcd1234","d":"ghp_Abcd1234","b":-1.5}"#;
        let told = |list: &[(u32, &str)]| {
            list.iter().map(|(rule, text)| (first + rule, (*text).to_owned())).collect::<Vec<_>>()
        };
        let mut wanted =
            told(&[(0, r"x\n"), (0, "12"), (0, "true"), (0, "false"), (1, r#"{"l":[1]}"#), (1, "-1.5")]);
        wanted.insert(5, (0, "ghp_Abcd1234".to_owned()));
        assert_eq!(mask(Format::Json, &fields, body).2, wanted);
        // Of an event, leaf by leaf, before what is found in it.
        let body = format!("data: {body}\n\n");
        let (mut found, mut wanted) = (mask(Format::Sse, &fields, &body).2, wanted);
        found.sort();
        wanted.retain(|(_, text)| !text.starts_with('{'));
        wanted.extend(told(&[(1, "1")]));
        wanted.sort();
        assert_eq!(found, wanted);
        assert_eq!(
            mask(Format::Form, &fields, "a=x%20y&b=2&a=&c=3&d=ghp_Abcd1234&a=z").2,
            [told(&[(0, "x%20y"), (1, "2")]), vec![(0, "ghp_Abcd1234".into())], told(&[(0, "z")])].concat()
        );
        let part = |name: &str, text: &str| {
            format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n")
        };
        let body = [part("a", "x\ny"), part("b", "2"), part("c", "3"), "--b--\r\n".to_owned()].concat();
        let boundary = crate::format::Boundary::new("b").unwrap();
        assert_eq!(mask(Format::Multipart(boundary), &fields, &body).2, told(&[(0, "x\ny"), (1, "2")]));
    }
}
