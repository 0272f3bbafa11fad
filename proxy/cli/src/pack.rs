//! `sluice pack`: list, check, test, build, explain.

use std::io::Read;
use std::path::Path;

use sluice_engine::{CompileOptions, RuleId};
use sluice_patterns::{Pack, PackSet, builtin, examples, explain, load};

use crate::args::PackCommand;
use crate::failure::Failure;
use crate::terminal::{Terminal, print};

/// Most bytes of a text that is explained.
const TEXT_BYTES_MAX: u64 = 1 << 20;
/// A rule of which more candidates are expected in usual traffic is told to be slow.
const CANDIDATES_MANY_PER_MIB: f64 = 10_000.0;

pub(crate) fn run(command: &PackCommand, terminal: &Terminal) -> Result<u8, Failure> {
    match command {
        PackCommand::List => list(),
        PackCommand::Check { packs } => check(packs, terminal),
        PackCommand::Test { packs } => test(packs, terminal),
        PackCommand::Build { packs, out } => build(packs, out, terminal),
        PackCommand::Explain { pack, rule, text } => explain_text(pack, rule, text, terminal),
    }
}

fn list() -> Result<u8, Failure> {
    for builtin in builtin::ALL {
        let pack = builtin.load().map_err(Failure::faults)?;
        print(format_args!(
            "{:<16} {:<8} {:>4} rules  {}",
            builtin.name,
            pack.version,
            pack.rules.len(),
            pack.description
        ))?;
    }
    Ok(0)
}

fn check(names: &[String], terminal: &Terminal) -> Result<u8, Failure> {
    let set = PackSet::load(names).map_err(Failure::faults)?;
    let ruleset = set.compile(&CompileOptions::default()).map_err(Failure::faults)?;
    let mut warnings = 0;
    for (pack, rule) in set.packs().iter().flat_map(|p| p.rules.iter().map(move |r| (p, r))) {
        if rule.examples.is_empty() {
            warnings += 1;
            print(format_args!(
                "{}:{}: warning: rule `{}` has no examples",
                pack.file, rule.line, rule.rule.id
            ))?;
        }
    }
    for (n, rule) in ruleset.rules().iter().enumerate() {
        let candidates = ruleset.prefilter(RuleId(n as u32)).map_or(0.0, |p| p.candidates_per_mib);
        if candidates > CANDIDATES_MANY_PER_MIB {
            warnings += 1;
            print(format_args!(
                "warning: rule `{}` is expected to be tried {candidates:.0} times a MiB, which is slow: begin it with \
                 a literal or `\\b`, or with rarer characters",
                rule.id
            ))?;
        }
    }
    for pack in set.packs() {
        let fields = match pack.fields.len() {
            0 => String::new(),
            count => format!(", {count} fields"),
        };
        let rules = pack.rules.len();
        print(format_args!("{}: {} ({rules} rules{fields})", pack.file, terminal.mark(true, "ok")))?;
    }
    let kib = ruleset.memory_bytes() / 1024;
    let rules = ruleset.rules().len();
    terminal.note(format_args!("sluice: {rules} rules compile to {kib} KiB; {warnings} warnings"));
    Ok(0)
}

fn test(names: &[String], terminal: &Terminal) -> Result<u8, Failure> {
    let mut failed = 0;
    for name in names {
        let pack = load(name).map_err(Failure::faults)?;
        let report = examples::run(&pack);
        for failure in &report.failures {
            print(format_args!(
                "{}:{}: rule `{}`: expected {:?}, found {:?}",
                pack.file, failure.line, failure.rule, failure.expected, failure.found
            ))?;
        }
        for (rule, line) in &report.without {
            print(format_args!("{}:{line}: warning: rule `{rule}` has no examples", pack.file))?;
        }
        let word = terminal
            .mark(report.failures.is_empty(), if report.failures.is_empty() { "ok" } else { "FAILED" });
        let good = report.examples - report.failures.len();
        print(format_args!(
            "{}: {word}: {good} of {} examples hold, {} rules",
            pack.file, report.examples, report.rules
        ))?;
        failed += report.failures.len();
    }
    Ok(u8::from(failed > 0))
}

fn build(names: &[String], out: &Path, terminal: &Terminal) -> Result<u8, Failure> {
    let set = PackSet::load(names).map_err(Failure::faults)?;
    let bytes = set.build().map_err(Failure::faults)?;
    write_whole(out, &bytes).map_err(|e| Failure::work(format!("{}: {e}", out.display())))?;
    let rules: usize = set.packs().iter().map(|pack| pack.rules.len()).sum();
    let kib = bytes.len().div_ceil(1024);
    terminal.note(format_args!("sluice: {}: {rules} rules, {kib} KiB", out.display()));
    Ok(0)
}

/// Writes a file that is there whole or not at all, for a gateway may read it at any time.
fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if path.metadata().is_ok_and(|m| !m.is_file()) {
        return std::fs::write(path, bytes);
    }
    let mut part = path.as_os_str().to_owned();
    part.push(format!(".{}.part", std::process::id()));
    let written = std::fs::write(&part, bytes).and_then(|()| std::fs::rename(&part, path));
    if written.is_err() {
        // What went wrong first is told; what is left of it may be gone already.
        let _ = std::fs::remove_file(&part);
    }
    written
}

fn explain_text(name: &str, rule: &str, text: &str, terminal: &Terminal) -> Result<u8, Failure> {
    let pack = load(name).map_err(Failure::faults)?;
    let text = match text {
        "-" => read_text()?,
        text => text.to_owned(),
    };
    let Some(steps) = explain::explain(&pack, rule, &text) else { return Err(unknown_rule(&pack, rule)) };
    for step in steps {
        let word = terminal.mark(step.passed, if step.passed { "yes" } else { "no" });
        print(format_args!("{:<14} {word:<4} {}", step.name, step.detail))?;
    }
    Ok(0)
}

fn unknown_rule(pack: &Pack, rule: &str) -> Failure {
    let near: Vec<&str> =
        pack.rules.iter().map(|r| r.rule.id.as_str()).filter(|id| id.contains(rule)).take(8).collect();
    let hint = if near.is_empty() { String::new() } else { format!("; there are: {}", near.join(", ")) };
    Failure::usage(format!("{} has no rule `{rule}`{hint}", pack.file))
}

/// The text on standard input. What is over the limit is refused: a part of it could be explained wrongly.
fn read_text() -> Result<String, Failure> {
    let mut text = Vec::new();
    let read = std::io::stdin().take(TEXT_BYTES_MAX + 1).read_to_end(&mut text);
    read.map_err(|e| Failure::work(format!("standard input: {e}")))?;
    if text.len() as u64 > TEXT_BYTES_MAX {
        return Err(Failure::usage(format!(
            "standard input: a text that is explained has at most {TEXT_BYTES_MAX} bytes (1 MiB)"
        )));
    }
    String::from_utf8(text).map_err(|_| Failure::usage("standard input: a text that is explained is UTF-8"))
}
