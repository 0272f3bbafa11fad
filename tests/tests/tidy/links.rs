//! Relative links in the documents lead to a file, and to a heading where they name one.

use std::path::{Path, PathBuf};

use sluice_tests::checkout;

use crate::assert_none;

/// The lines of a document outside fenced blocks, with their numbers.
fn prose(text: &str) -> Vec<(usize, &str)> {
    let mut fenced = false;
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            lines.push((index + 1, line));
        }
    }
    lines
}

/// The targets of the links in a line of Markdown: `[text](target)`.
fn targets(line: &str) -> Vec<&str> {
    line.match_indices("](").filter_map(|(at, _)| line[at + 2..].split(')').next()).collect()
}

/// The anchor that a heading gets: lower case, spaces to hyphens, punctuation left out.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

/// Whether the document has a heading with this anchor.
fn has_heading(file: &Path, wanted: &str) -> bool {
    let text = checkout::read(file);
    prose(&text).iter().any(|(_, line)| line.starts_with('#') && anchor(line) == wanted)
}

/// The path with its `..` taken out.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path {
        if part == ".." {
            plain.pop();
        } else if part != "." {
            plain.push(part);
        }
    }
    plain
}

#[test]
fn anchors_are_made_as_forges_make_them() {
    assert_eq!(anchor("## Rules, and how to add one"), "rules-and-how-to-add-one");
    assert_eq!(anchor("# `sluice mask`"), "sluice-mask");
}

#[test]
fn relative_links_resolve() {
    let mut faults = Vec::new();
    let mut links = 0;
    for file in checkout::files_with_extension("md") {
        let text = checkout::read(&file);
        for (number, line) in prose(&text) {
            for target in targets(line) {
                if target.contains("://") || target.starts_with("mailto:") {
                    continue;
                }
                links += 1;
                let (path, heading) = target.split_once('#').unwrap_or((target, ""));
                let folder = file.parent().unwrap_or(Path::new(""));
                let wanted = if path.is_empty() { file.clone() } else { plain(&folder.join(path)) };
                let exists = checkout::root().join(&wanted).exists();
                if !exists || (!heading.is_empty() && !has_heading(&wanted, heading)) {
                    faults.push(format!("{}:{number}: {target} leads nowhere", file.display()));
                }
            }
        }
    }
    assert!(links > 0, "the documents hold no link at all");
    assert_none(&faults);
}
