//! What a source file may hold: its length, its name, what it names.

use std::path::{Path, PathBuf};

use sluice_tests::checkout;

use crate::assert_none;

/// The most lines a source file may have.
const LINES_MAX: usize = 800;

/// A word that only some places may name in code.
struct Confined {
    word: &'static str,
    /// Where it may stand, by prefix of the path.
    allowed: &'static [&'static str],
    /// Where it is looked for, by prefix; everything is under the empty one.
    within: &'static str,
    why: &'static str,
}

/// Words and the places they are confined to. Tests inside a crate are held like its code.
const CONFINED: &[Confined] = &[
    Confined {
        word: "monoio",
        allowed: &["proxy/data/src/shard", "proxy/data/src/edge", "tests/tests/tidy/"],
        within: "",
        why: "only `shard` and `edge/` name the runtime",
    },
    Confined {
        word: "tokio",
        allowed: &["proxy/control/", "proxy/cli/", "tests/"],
        within: "",
        why: "tokio belongs to the control pool",
    },
    Confined {
        word: "dangerous",
        allowed: &[],
        within: "proxy/",
        why: "rustls's interfaces of that name switch verification off",
    },
    Confined { word: "TcpStream", allowed: &[], within: "engine/", why: "the engine knows no sockets" },
    Confined { word: "TcpListener", allowed: &[], within: "engine/", why: "the engine knows no sockets" },
    Confined { word: "Instant", allowed: &[], within: "engine/src/", why: "the engine knows no clock" },
    Confined { word: "SystemTime", allowed: &[], within: "engine/src/", why: "the engine knows no clock" },
    Confined { word: "TcpStream", allowed: &[], within: "patterns/", why: "packs know no sockets" },
    Confined { word: "TcpListener", allowed: &[], within: "patterns/", why: "packs know no sockets" },
    Confined { word: "TcpStream", allowed: &[], within: "proxy/policy/", why: "policy does no I/O" },
];

/// Paths whose name says nothing of what is in them.
const EMPTY_NAMES: &[&str] = &["util", "utils", "common", "helper", "helpers", "misc", "stuff"];

/// Marks of work that was left undone. Spelled apart, so that this file does not hold them.
const LEFT_OPEN: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

/// The code of a line: what stands before a `//` comment. A `//` in a string cuts too much, never too little of
/// what is confined, as no such word belongs in a string after one.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or(line)
}

/// Whether `word` stands in `text` with no identifier character beside it.
fn has_word(text: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}

/// The Rust files of the checkout.
fn rust_files() -> Vec<PathBuf> {
    let files = checkout::files_with_extension("rs");
    assert!(files.len() > 10, "only {} Rust files found", files.len());
    files
}

/// Calls `f` with each line of each Rust file and its place as `file:line`.
fn each_line(mut f: impl FnMut(&Path, &str, &str)) {
    for file in rust_files() {
        for (index, line) in checkout::read(&file).lines().enumerate() {
            f(&file, &format!("{}:{}", file.display(), index + 1), line);
        }
    }
}

#[test]
fn no_source_file_is_over_the_limit_of_lines() {
    let mut faults = Vec::new();
    for file in rust_files() {
        let lines = checkout::read(&file).lines().count();
        if lines > LINES_MAX {
            faults.push(format!("{}: {lines} lines, over {LINES_MAX}: split it by noun", file.display()));
        }
    }
    assert_none(&faults);
}

#[test]
fn runtimes_sockets_and_clocks_are_named_only_where_they_may_be() {
    let mut faults = Vec::new();
    each_line(|file, place, line| {
        for confined in CONFINED {
            let allowed = confined.allowed.iter().any(|prefix| file.starts_with_text(prefix));
            if file.starts_with_text(confined.within) && !allowed && has_word(code(line), confined.word) {
                faults.push(format!("{place}: names {}: {}", confined.word, confined.why));
            }
        }
    });
    assert_none(&faults);
}

/// Prefixes of paths as text, where a prefix need not end at a folder.
trait StartsWithText {
    /// Whether the path, written with `/`, starts with `prefix`.
    fn starts_with_text(&self, prefix: &str) -> bool;
}

impl StartsWithText for Path {
    fn starts_with_text(&self, prefix: &str) -> bool {
        self.to_str().is_some_and(|path| path.starts_with(prefix))
    }
}

#[test]
fn every_file_is_named_after_what_it_holds() {
    let mut faults = Vec::new();
    for file in checkout::files() {
        for part in &file {
            let part = part.to_str().expect("names are UTF-8");
            let stem = part.split('.').next().unwrap_or(part);
            if EMPTY_NAMES.contains(&stem) {
                faults.push(format!("{}: `{part}` says nothing of what it holds", file.display()));
            }
        }
    }
    each_line(|_, place, line| {
        let declared = code(line).trim_start().trim_start_matches("pub ").strip_prefix("mod ");
        let name = declared.and_then(|rest| rest.split([' ', ';', '{']).next());
        if let Some(name) = name.filter(|name| EMPTY_NAMES.contains(name)) {
            faults.push(format!("{place}: `mod {name}` says nothing of what it holds"));
        }
    });
    assert_none(&faults);
}

#[test]
fn nothing_is_left_open() {
    let mut faults = Vec::new();
    for file in checkout::files() {
        let extension = file.extension().and_then(|e| e.to_str()).unwrap_or("");
        if !["rs", "py", "mjs", "sh", "toml", "md", ""].contains(&extension) {
            continue;
        }
        let Ok(text) = std::fs::read_to_string(checkout::root().join(&file)) else {
            continue;
        };
        for (index, line) in text.lines().enumerate() {
            for mark in LEFT_OPEN {
                if has_word(line, mark) {
                    faults.push(format!("{}:{}: {mark}", file.display(), index + 1));
                }
            }
        }
    }
    each_line(|_, place, line| {
        if code(line).contains(concat!("#[", "ignore")) {
            faults.push(format!("{place}: a test that never runs"));
        }
    });
    assert_none(&faults);
}

/// Leaves that may hold `unsafe`, each behind a safe function and with a SAFETY comment on each block. The workspace
/// denies it everywhere else, and every crate without such a leaf forbids it.
const UNSAFE_LEAVES: &[&str] = &[
    "engine/src/kernel/avx2.rs",
    "engine/src/kernel/avx512.rs",
    "engine/src/kernel/hyperscan.rs",
    "engine/src/kernel/neon.rs",
];

#[test]
fn unsafe_code_is_in_its_leaves_only() {
    let mut faults = Vec::new();
    let mut roots = 0;
    for file in rust_files() {
        let name = file.to_string_lossy().replace('\\', "/");
        let text = checkout::read(&file);
        let leaf = UNSAFE_LEAVES.iter().any(|leaf| name.ends_with(leaf));
        if text.contains(concat!("allow(", "unsafe_code)")) && !leaf {
            faults.push(format!("{name}: may not allow unsafe code"));
        }
        if file.ends_with("src/lib.rs") || file.ends_with("src/main.rs") {
            roots += 1;
            let has_leaf = name.ends_with("engine/src/lib.rs");
            if !text.contains("#![forbid(unsafe_code)]") && !has_leaf {
                faults.push(format!("{name}: lacks #![forbid(unsafe_code)]"));
            }
        }
    }
    assert!(roots >= 10, "only {roots} crate roots found");
    assert_none(&faults);
}

#[test]
fn no_function_starts_with_get() {
    let mut faults = Vec::new();
    each_line(|_, place, line| {
        if code(line).contains(concat!("fn ", "get_")) {
            faults.push(format!("{place}: `get_` says nothing: name what is got"));
        }
    });
    assert_none(&faults);
}

#[test]
fn every_module_opens_with_its_idea() {
    let mut faults = Vec::new();
    for file in rust_files() {
        if !checkout::read(&file).starts_with("//!") {
            faults.push(format!("{}:1: the first line is not module documentation", file.display()));
        }
    }
    assert_none(&faults);
}
