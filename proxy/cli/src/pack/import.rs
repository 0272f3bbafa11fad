//! `sluice pack import`: the rules of another tool as a pack.

use std::fs;
use std::path::{Path, PathBuf};

use sluice_patterns::import::{self, Dialect, Imported};

use super::write_whole;
use crate::args::ImportArgs;
use crate::failure::Failure;
use crate::terminal::{Terminal, print};

/// Endings of files that may hold rules, in a folder of them.
const ENDINGS: &[&str] = &["json", "toml", "yml", "yaml", "py"];
/// Most files of a folder.
const FILES_MAX: usize = 10_000;

pub(crate) fn run(args: &ImportArgs, terminal: &Terminal) -> Result<u8, Failure> {
    let dialect: Dialect = args.from.into();
    let mut files = Vec::new();
    for path in list(&args.file)? {
        let name = path.display().to_string();
        let text = fs::read_to_string(&path).map_err(|e| Failure::usage(format!("{name}: {e}")))?;
        files.push((name, text));
    }
    let imported = import::import(dialect, &files).map_err(|faults| Failure::faults(faults.join("\n")))?;
    if imported.rules.is_empty() {
        return Err(Failure::usage(format!("{}: no rule of it can be carried", args.file.display())));
    }
    let named = args.out.file_stem().map_or_else(|| "imported".into(), |stem| stem.to_string_lossy());
    let from = dialect_name(dialect);
    let text = imported.to_toml(&named, "1.0.0", &format!("Rules of {from}, imported by sluice"));
    write_whole(&args.out, text.as_bytes())
        .map_err(|e| Failure::work(format!("{}: {e}", args.out.display())))?;
    tell(&imported, terminal, &args.out)?;
    Ok(0)
}

fn dialect_name(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Gitleaks => "gitleaks",
        Dialect::Kingfisher => "Kingfisher",
        Dialect::NoseyParker => "Nosey Parker",
        Dialect::Presidio => "Presidio",
    }
}

/// The file, or the files of rules in a folder and those in it, in order.
fn list(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !path.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let mut files = Vec::new();
    for entry in ignore::WalkBuilder::new(path).sort_by_file_name(Ord::cmp).build() {
        let entry = entry.map_err(Failure::usage)?;
        let ending = entry.path().extension().and_then(|e| e.to_str()).unwrap_or_default();
        if entry.file_type().is_some_and(|t| t.is_file()) && ENDINGS.contains(&ending) {
            files.push(entry.into_path());
        }
        if files.len() > FILES_MAX {
            return Err(Failure::usage(format!("{}: more than {FILES_MAX} files", path.display())));
        }
    }
    Ok(files)
}

/// Every rule that was not carried, every one that finds more, and the counts.
fn tell(imported: &Imported, terminal: &Terminal, out: &Path) -> Result<(), Failure> {
    for refused in &imported.refused {
        print(format_args!("{}: not carried: {}", refused.id, refused.reason))?;
    }
    let (mut examples, mut found) = (0, 0);
    for carried in &imported.carried {
        for note in &carried.notes {
            print(format_args!("{}: carried: {note}", carried.id))?;
        }
        if carried.found < carried.examples {
            let missed = carried.examples - carried.found;
            print(format_args!(
                "{}: carried: {missed} of its {} examples are not found",
                carried.id, carried.examples
            ))?;
        }
        examples += carried.examples;
        found += carried.found;
    }
    let (carried, all) = (imported.carried.len(), imported.carried.len() + imported.refused.len());
    print(format_args!(
        "{carried} of {all} rules carried; {found} of {examples} of their examples are found"
    ))?;
    terminal.note(format_args!("sluice: {}: {} rules", out.display(), imported.rules.len()));
    Ok(())
}
