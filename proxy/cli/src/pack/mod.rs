//! `sluice pack`: list, check, test, score, build, sign, import, explain.

mod check;
mod import;
mod score;
mod watch;

use std::io::{BufRead, Read};
use std::path::Path;

use sluice_engine::AllowList;
use sluice_patterns::overrides::{from_hex, to_hex};
use sluice_patterns::sign::Trust;
use sluice_patterns::{Pack, PackSet, SCHEMA, builtin, examples, explain, load, sign};

use crate::args::PackCommand;
use crate::failure::Failure;
use crate::terminal::{Terminal, print};

/// Most bytes of a text that is explained.
const TEXT_BYTES_MAX: u64 = 1 << 20;
/// Most bytes of a value that is hashed.
const VALUE_BYTES_MAX: usize = 1 << 20;

pub(crate) fn run(command: &PackCommand, terminal: &Terminal) -> Result<u8, Failure> {
    match command {
        PackCommand::List => list(),
        PackCommand::Check { packs } => check::run(packs, terminal),
        PackCommand::Test { packs, watch: false } => test(packs, terminal),
        PackCommand::Test { packs, watch: true } => watch::run(packs, terminal),
        PackCommand::Score(args) => score::run(args),
        PackCommand::Import(args) => import::run(args, terminal),
        PackCommand::Build { packs, out, sign_key } => build(packs, out, sign_key.as_deref(), terminal),
        PackCommand::Sign { pack, key, out } => {
            sign_pack(pack, key, out.as_deref().unwrap_or(pack), terminal)
        }
        PackCommand::Hash { salt } => hash(salt.as_deref()),
        PackCommand::Schema => print(SCHEMA.trim_end()).map(|()| 0),
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

fn build(names: &[String], out: &Path, key: Option<&Path>, terminal: &Terminal) -> Result<u8, Failure> {
    let set = PackSet::load_trusted(names, &Trust::anyone()).map_err(Failure::faults)?;
    let mut bytes = set.build().map_err(Failure::faults)?;
    if let Some(key) = key {
        bytes = signed(&bytes, key)?;
    }
    write_whole(out, &bytes).map_err(|e| Failure::work(format!("{}: {e}", out.display())))?;
    let rules: usize = set.packs().iter().map(|pack| pack.rules.len()).sum();
    let kib = bytes.len().div_ceil(1024);
    terminal.note(format_args!("sluice: {}: {rules} rules, {kib} KiB", out.display()));
    Ok(0)
}

/// The bytes of a built pack with a signature by the key in that file.
fn signed(bytes: &[u8], key: &Path) -> Result<Vec<u8>, Failure> {
    let named = |e: &dyn std::fmt::Display| Failure::usage(format!("{}: {e}", key.display()));
    let text = std::fs::read_to_string(key).map_err(|e| named(&e))?;
    sign::sign(bytes, &text).map_err(|e| named(&e))
}

fn sign_pack(pack: &Path, key: &Path, out: &Path, terminal: &Terminal) -> Result<u8, Failure> {
    let bytes = std::fs::read(pack).map_err(|e| Failure::usage(format!("{}: {e}", pack.display())))?;
    // What is damaged, or another version's, is not signed.
    let name = pack.display().to_string();
    let built = sign::open(&bytes, &Trust::anyone()).map_err(|e| Failure::faults(format!("{name}: {e}")))?;
    Pack::from_built(&name, built).map_err(Failure::faults)?;
    let bytes = signed(&bytes, key)?;
    write_whole(out, &bytes).map_err(|e| Failure::work(format!("{}: {e}", out.display())))?;
    terminal.note(format_args!("sluice: {}: signed", out.display()));
    Ok(0)
}

/// Prints a `[[allow]]` with the hashes of the values on standard input.
fn hash(salt: Option<&str>) -> Result<u8, Failure> {
    let salt = match salt {
        Some(text) => from_hex(text).filter(|salt| salt.len() >= AllowList::SALT_BYTES_MIN),
        None => {
            let mut salt = [0; 16];
            getrandom::fill(&mut salt).ok().map(|()| salt.to_vec())
        }
    };
    let least = AllowList::SALT_BYTES_MIN;
    let salt =
        salt.ok_or_else(|| Failure::usage(format!("a salt has at least {least} bytes, as digits of hex")))?;
    let mut digests = Vec::new();
    let mut input = std::io::stdin().lock();
    loop {
        let mut line = Vec::new();
        let read = input.by_ref().take(VALUE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut line);
        if read.map_err(|e| Failure::work(format!("standard input: {e}")))? == 0 {
            break;
        }
        if line.len() > VALUE_BYTES_MAX {
            return Err(Failure::usage(format!("a value has at most {VALUE_BYTES_MAX} bytes")));
        }
        let value = line.strip_suffix(b"\n").unwrap_or(&line);
        digests.push(format!("    \"{}\",", to_hex(&AllowList::digest(&salt, value))));
    }
    let (salt, digests) = (to_hex(&salt), digests.join("\n"));
    print(format_args!("[[allow]]\nsalt = \"{salt}\"\nsha256 = [\n{digests}\n]"))?;
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
