//! Expressions of other tools in the syntax of ours.
//!
//! Go's and Rust's need only a name for the group that holds the value. Python's have look-around and backreferences, which
//! no linear matcher has, and mean some characters of a class differently. What such a part says is kept where it can be:
//!
//! ```text
//!   (?<!\d)X(?!\d)      (?:^|\D)(?P<secret>X)(?:\D|$)     what may not stand beside a value is context of it
//!   (?!BAD)X            X, and `suppress` of ^BAD         what a value may not begin with
//!   (a|b)X\1            (?:a|b)X(?:a|b)                   wider
//!   X(?=Y)Z             XZ                                wider
//! ```
//! What is *wider* finds all that the original finds, and more; it is told.

use regex_syntax::ast::{self, Ast, GroupKind, Visitor};

/// The deepest nesting of groups, and the most branches of an expression, that are looked into.
const DEPTH_MAX: usize = 50;
const BRANCHES_MAX: usize = 32;

/// Names the capturing group of this index `secret`; -1 is the last. No groups: the whole match is the value.
///
/// # Errors
/// What is wrong with the expression.
pub fn name_value(expression: &str, group: i64) -> Result<String, String> {
    let groups = groups(expression)?;
    let wanted = if group < 0 { groups.last() } else { groups.iter().find(|g| i64::from(g.index) == group) };
    Ok(named(expression, wanted))
}

/// As [`name_value`], of the group that a tool takes without being told: one that is named for it, or the first.
pub(super) fn name_own_value(expression: &str) -> Result<String, String> {
    let groups = groups(expression)?;
    let is_named = |group: &&Group| matches!(group.name.as_str(), "TOKEN" | "secret" | "password" | "token");
    Ok(named(expression, groups.iter().find(is_named).or(groups.first())))
}

fn named(expression: &str, group: Option<&Group>) -> String {
    let parts = group.and_then(|g| Some((expression.get(..g.start)?, expression.get(g.end..)?)));
    match parts {
        Some((before, after)) => format!("{before}(?P<secret>{after}"),
        None => expression.to_owned(),
    }
}

/// A capturing group: where its opening stands.
struct Group {
    index: u32,
    start: usize,
    end: usize,
    name: String,
}

fn groups(expression: &str) -> Result<Vec<Group>, String> {
    struct Groups(Vec<Group>);
    impl Visitor for Groups {
        type Output = Vec<Group>;
        type Err = ();
        fn finish(self) -> Result<Self::Output, ()> {
            Ok(self.0)
        }
        fn visit_pre(&mut self, ast: &Ast) -> Result<(), ()> {
            if let Ast::Group(group) = ast {
                let start = group.span.start.offset;
                match &group.kind {
                    GroupKind::CaptureIndex(index) => {
                        self.0.push(Group { index: *index, start, end: start + 1, name: String::new() });
                    }
                    // The name ends before `>`.
                    GroupKind::CaptureName { name, .. } => self.0.push(Group {
                        index: name.index,
                        start,
                        end: name.span.end.offset + 1,
                        name: name.name.clone(),
                    }),
                    GroupKind::NonCapturing(_) => {}
                }
            }
            Ok(())
        }
    }
    let tree = ast::parse::Parser::new().parse(expression).map_err(|e| one_line(&e.to_string()))?;
    let mut groups = ast::visit(&tree, Groups(Vec::new())).unwrap_or_default();
    groups.sort_unstable_by_key(|group| group.index);
    Ok(groups)
}

/// The last line of an error that draws the expression.
pub(super) fn one_line(text: &str) -> String {
    text.lines().last().unwrap_or(text).trim().to_owned()
}

/// What an expression of Python's became.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Translated {
    pub(super) regex: String,
    /// What no value begins with.
    pub(super) never: Vec<String>,
    /// What it no longer asks for.
    pub(super) wider: Vec<String>,
}

/// One branch or more, whose values are those of the expression: the whole match.
pub(super) fn from_python(expression: &str) -> Result<Vec<Translated>, String> {
    let mut parser = Parser { rest: expression, depth: 0, groups: Vec::new() };
    let branches = parser.branches()?;
    if !parser.rest.is_empty() {
        return Err("a bracket is closed that was not opened".into());
    }
    let groups = parser.groups;
    let branches = peeled(branches);
    if branches.len() > BRANCHES_MAX || !branches.iter().any(|branch| needs_context(branch)) {
        return Ok(vec![translated(&[Item::Group("(?:", branches)], &groups)]);
    }
    Ok(branches.iter().map(|branch| translated(branch, &groups)).collect())
}

/// A part of a branch.
#[derive(Clone, Debug)]
enum Item {
    /// Characters, classes and repetitions, as they are written.
    Text(String),
    /// A word boundary, the start or end of a line: it takes no bytes.
    Edge(&'static str),
    /// Flags for what follows.
    Flags(String),
    /// A group by its opening, and its branches.
    Group(&'static str, Vec<Vec<Item>>),
    /// A group with flags of its own.
    Scoped(String, Vec<Vec<Item>>),
    Look {
        ahead: bool,
        negative: bool,
        branches: Vec<Vec<Item>>,
    },
    Back(usize),
}

struct Parser<'a> {
    rest: &'a str,
    depth: usize,
    /// By index: the branches of a capturing group.
    groups: Vec<Vec<Vec<Item>>>,
}

impl<'a> Parser<'a> {
    fn take(&mut self, prefix: &str) -> bool {
        let after = self.rest.strip_prefix(prefix);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    fn take_char(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = self.rest.get(c.len_utf8()..)?;
        Some(c)
    }

    fn branches(&mut self) -> Result<Vec<Vec<Item>>, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(format!("groups are nested deeper than {DEPTH_MAX}"));
        }
        let mut branches: Vec<Vec<Item>> = vec![Vec::new()];
        while !self.rest.is_empty() && !self.rest.starts_with(')') {
            if self.take("|") {
                branches.push(Vec::new());
            } else {
                let item = self.item()?;
                if let Some(branch) = branches.last_mut() {
                    branch.extend(item);
                }
            }
        }
        self.depth -= 1;
        Ok(branches)
    }

    fn item(&mut self) -> Result<Option<Item>, String> {
        if self.take("(") {
            return self.group();
        }
        let Some(c) = self.take_char() else { return Ok(None) };
        Ok(Some(match c {
            '[' => Item::Text(self.class()?),
            '^' => Item::Edge("^"),
            '$' => Item::Edge("$"),
            '\\' => self.escape()?,
            '*' | '+' | '?' => {
                let lazy = self.take("?");
                // Possessive: without backtracking there is no difference.
                let _ = !lazy && self.take("+");
                Item::Text(if lazy { format!("{c}?") } else { c.to_string() })
            }
            '{' if self.rest.starts_with(|c: char| c.is_ascii_digit() || c == ',') => {
                let (count, after) = self.rest.split_once('}').ok_or("a count without an end")?;
                self.rest = after;
                let _ = self.take("+");
                let zero = if count.starts_with(',') { "0" } else { "" };
                Item::Text(format!("{{{zero}{count}}}"))
            }
            '{' | '}' => Item::Text(format!("\\{c}")),
            c => Item::Text(c.to_string()),
        }))
    }

    fn escape(&mut self) -> Result<Item, String> {
        let c = self.take_char().ok_or("it ends in a backslash")?;
        Ok(match c {
            'b' => Item::Edge(r"\b"),
            'B' => Item::Edge(r"\B"),
            'A' => Item::Edge("^"),
            'Z' | 'z' => Item::Edge("$"),
            '1'..='9' => {
                let digits = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
                let (more, after) = self.rest.split_at(digits);
                self.rest = after;
                Item::Back(format!("{c}{more}").parse().map_err(|_| "a backreference to nothing")?)
            }
            c if c.is_ascii_alphanumeric() => Item::Text(format!("\\{c}")),
            c if regex_syntax::is_meta_character(c) => Item::Text(format!("\\{c}")),
            c => Item::Text(c.to_string()),
        })
    }

    /// A class, with what only our syntax gives a meaning in it written as a character.
    fn class(&mut self) -> Result<String, String> {
        let mut class = String::from("[");
        if self.take("^") {
            class.push('^');
        }
        if self.take("]") {
            class.push_str(r"\]");
        }
        loop {
            match self.take_char().ok_or("a class without an end")? {
                ']' => {
                    class.push(']');
                    return Ok(class);
                }
                '[' => class.push_str(r"\["),
                c @ ('&' | '~') => class.extend(['\\', c]),
                '-' if self.rest.starts_with('-') => class.push_str(r"\-"),
                '\\' => {
                    let c = self.take_char().ok_or("a class without an end")?;
                    match c {
                        // A backspace, in a class.
                        'b' => class.push_str(r"\x08"),
                        c if c.is_ascii_alphanumeric() => class.extend(['\\', c]),
                        c if c.is_ascii() && !matches!(c, '<' | '>') => class.extend(['\\', c]),
                        c => class.push(c),
                    }
                }
                c => class.push(c),
            }
        }
    }

    fn group(&mut self) -> Result<Option<Item>, String> {
        let look = |ahead, negative| move |branches| Item::Look { ahead, negative, branches };
        let item = if self.take("?=") {
            look(true, false)(self.branches()?)
        } else if self.take("?!") {
            look(true, true)(self.branches()?)
        } else if self.take("?<=") {
            look(false, false)(self.branches()?)
        } else if self.take("?<!") {
            look(false, true)(self.branches()?)
        } else if self.take("?#") {
            let (_, after) = self.rest.split_once(')').ok_or("a comment without an end")?;
            self.rest = after;
            return Ok(None);
        } else if self.take("?>") || self.take("?:") {
            Item::Group("(?:", self.branches()?)
        } else if self.take("?P<") || self.take("?<") || !self.rest.starts_with('?') {
            if self.rest.starts_with(|c: char| c.is_alphabetic() || c == '_')
                && let Some((name, after)) = self.rest.split_once('>')
                && name.chars().all(|c| c.is_alphanumeric() || c == '_')
            {
                self.rest = after;
            }
            let index = self.groups.len();
            self.groups.push(Vec::new());
            let branches = self.branches()?;
            if let Some(group) = self.groups.get_mut(index) {
                group.clone_from(&branches);
            }
            Item::Group("(?:", branches)
        } else {
            let end = self.rest.find([')', ':']).ok_or("a group without an end")?;
            let (flags, after) = self.rest.split_at(end);
            let flags: String = flags.chars().filter(|c| !matches!(c, 'u' | 'a' | 'L')).collect();
            if !flags.chars().all(|c| matches!(c, '?' | '-' | 'i' | 'm' | 's' | 'x')) {
                return Err(format!("`({flags}` is not known"));
            }
            self.rest = after;
            if self.take(")") {
                return Ok((flags.len() > 1).then(|| Item::Flags(format!("({flags})"))));
            }
            let _ = self.take(":");
            Item::Scoped(format!("({flags}:"), self.branches()?)
        };
        if self.take(")") { Ok(Some(item)) } else { Err("a bracket that is not closed".into()) }
    }
}

/// Takes off the brackets around all of an expression.
fn peeled(mut branches: Vec<Vec<Item>>) -> Vec<Vec<Item>> {
    while let [only] = branches.as_slice()
        && let [Item::Group(_, inner)] = only.as_slice()
    {
        branches = inner.clone();
    }
    branches
}

/// Whether look-around stands at either end of a branch.
fn needs_context(branch: &[Item]) -> bool {
    let is_look = |item: &&Item| matches!(item, Item::Look { .. });
    let is_still = |item: &&Item| matches!(item, Item::Edge(_) | Item::Flags(_) | Item::Look { .. });
    branch.iter().take_while(is_still).any(|item| is_look(&item))
        || branch.iter().rev().take_while(is_still).any(|item| is_look(&item))
}

/// A branch with the look-around at its ends as context.
fn translated(branch: &[Item], groups: &[Vec<Vec<Item>>]) -> Translated {
    let is_still = |item: &&Item| matches!(item, Item::Edge(_) | Item::Flags(_) | Item::Look { .. });
    let head = branch.iter().take_while(is_still).count();
    let tail = branch.iter().skip(head).rev().take_while(is_still).count();
    let (mut before, mut after) = (String::new(), String::new());
    let mut out = Translated::default();
    let mut edges = String::new();
    for item in branch.iter().take(head) {
        match item {
            Item::Look { ahead: false, negative, branches } => {
                match context(*negative, branches, groups) {
                    Some(context) if *negative => before.push_str(&format!("(?:^|{context})")),
                    Some(context) => before.push_str(&context),
                    None => out.wider.push("look-behind".into()),
                };
            }
            Item::Look { ahead: true, negative: true, branches } => {
                let never = translated(&[Item::Group("(?:", branches.clone())], groups);
                out.never.push(format!("^{}", never.regex));
            }
            Item::Look { .. } => out.wider.push("look-ahead".into()),
            Item::Flags(flags) => before.insert_str(0, flags),
            item => write(item, groups, &mut edges, &mut out.wider),
        }
    }
    let mut body = String::new();
    for item in branch.iter().take(branch.len() - tail).skip(head) {
        write(item, groups, &mut body, &mut out.wider);
    }
    for item in branch.iter().skip(branch.len() - tail) {
        match item {
            Item::Look { ahead: true, negative, branches } => {
                match context(*negative, branches, groups) {
                    Some(context) if *negative => after.push_str(&format!("(?:{context}|$)")),
                    Some(context) => after.push_str(&context),
                    None => out.wider.push("look-ahead".into()),
                };
            }
            Item::Look { .. } => out.wider.push("look-behind".into()),
            item => write(item, groups, &mut body, &mut out.wider),
        }
    }
    let has_context = !before.trim_start_matches("(?i)").is_empty() || !after.is_empty();
    out.regex = match has_context && !body.is_empty() {
        true => format!("{before}{edges}(?P<secret>{body}){after}"),
        false => format!("{before}{edges}{body}{after}"),
    };
    out
}

/// What must stand beside a value, as an expression that takes it; `None` where there is none.
fn context(negative: bool, branches: &[Vec<Item>], groups: &[Vec<Vec<Item>>]) -> Option<String> {
    let mut wider = Vec::new();
    if !negative {
        let mut text = String::new();
        write(&Item::Group("(?:", branches.to_vec()), groups, &mut text, &mut wider);
        return wider.is_empty().then_some(text);
    }
    // None of some single characters.
    let mut class = String::from("[^");
    for branch in branches {
        let [Item::Text(text)] = branch.as_slice() else {
            // The start or end of a line is no character; that a value may not stand there is left.
            if let [Item::Edge(_)] = branch.as_slice() {
                continue;
            }
            return None;
        };
        let inner = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
        match inner {
            Some(inner) if inner.starts_with('^') => {
                return (branches.len() == 1).then(|| format!("[{}]", inner.trim_start_matches('^')));
            }
            Some(inner) => class.push_str(inner),
            None if text == "." || text.starts_with(['*', '+', '?', '{']) => return None,
            None => class.push_str(text),
        }
    }
    (class.len() > 2).then(|| class + "]")
}

fn write(item: &Item, groups: &[Vec<Vec<Item>>], out: &mut String, wider: &mut Vec<String>) {
    let mut all = |open: &str, branches: &[Vec<Item>], wider: &mut Vec<String>| {
        out.push_str(open);
        for (n, branch) in branches.iter().enumerate() {
            out.push_str(if n > 0 { "|" } else { "" });
            branch.iter().for_each(|item| write(item, groups, out, wider));
        }
        out.push(')');
    };
    match item {
        Item::Text(text) | Item::Flags(text) => out.push_str(text),
        Item::Edge(edge) => out.push_str(edge),
        Item::Group(open, branches) => all(open, branches, wider),
        Item::Scoped(open, branches) => all(open, branches, wider),
        Item::Back(index) => {
            wider.push(format!("that group {index} comes again as it was"));
            // A group within itself would have no end.
            let group = index.checked_sub(1).and_then(|index| groups.get(index));
            let has_back = |branches: &[Vec<Item>]| format!("{branches:?}").contains("Back(");
            match group.filter(|branches| !has_back(branches)) {
                Some(branches) => all("(?:", branches, wider),
                None => all("(?:", &[], wider),
            }
        }
        Item::Look { ahead, .. } => {
            wider.push(if *ahead { "look-ahead".into() } else { "look-behind".into() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_is_the_group_that_is_asked_for() {
        assert_eq!(name_value(r"(a)\((b)", 2).unwrap(), r"(a)\((?P<secret>b)");
        assert_eq!(name_value(r"x(?P<v>a)", 1).unwrap(), r"x(?P<secret>a)");
        assert_eq!(name_value("(a)(b)", -1).unwrap(), "(a)(?P<secret>b)");
        assert_eq!(name_value("ab", 1).unwrap(), "ab");
        assert_eq!(name_own_value("(a)(?P<TOKEN>b)").unwrap(), "(a)(?P<secret>b)");
        assert!(name_value("(a", 1).is_err());
    }

    #[test]
    fn look_around_becomes_context() {
        let one = |text: &str| from_python(text).unwrap().remove(0);
        assert_eq!(one(r"\b\d{9}\b").regex, r"(?:\b\d{9}\b)");
        let sides = one(r"(?<!\d)\d{9}(?!\d)");
        assert_eq!(sides.regex, r"(?:^|[^\d])(?P<secret>\d{9})(?:[^\d]|$)");
        assert_eq!(one(r"(?i)(?<![\w:])a(?=,|$)").regex, r"(?i)(?:^|[^\w:])(?P<secret>a)(?:,|$)");
        let never = one(r"\b(?!000|666)\d{3}");
        assert_eq!(
            (never.regex.as_str(), never.never.as_slice()),
            (r"\b\d{3}", &["^(?:000|666)".to_owned()][..])
        );
        let again = one(r"\b([a-f])x\1");
        assert_eq!((again.regex.as_str(), again.wider.len()), (r"(?:\b(?:[a-f])x(?:[a-f]))", 1));
        assert_eq!(one(r"a(?=b)c").wider, ["look-ahead"]);
        let two = from_python(r"(?<!\d)a|b(?!\d)").unwrap();
        assert_eq!(two.len(), 2);
        assert_eq!(two[1].regex, r"(?P<secret>b)(?:[^\d]|$)");
    }

    #[test]
    fn classes_and_counts_mean_the_same() {
        let one = |text: &str| from_python(text).unwrap().remove(0).regex;
        assert_eq!(one(r"[[\]&~--]{,3}+"), r"(?:[\[\]\&\~\--]{0,3})");
        assert_eq!(one(r"a{x}\'\/"), r"(?:a\{x\}'/)");
        for text in ["(a", "a)", "[a", "a\\", "(?P=n)", "(?i"] {
            assert!(from_python(text).is_err(), "{text}");
        }
        let deep = |depth: usize| format!("{}a{}", "(".repeat(depth), ")".repeat(depth));
        assert!(from_python(&deep(DEPTH_MAX - 1)).is_ok());
        assert!(from_python(&deep(DEPTH_MAX)).is_err());
    }
}
