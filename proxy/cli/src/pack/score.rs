//! `sluice pack score`: what packs find in a labelled corpus, and what another version of them finds.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};

use sluice_engine::CompileOptions;
use sluice_patterns::PackSet;
use sluice_patterns::score::{self, Change, Counts, Finder, Predictions, Row, Score};

use super::write_whole;
use crate::args::ScoreArgs;
use crate::failure::Failure;
use crate::terminal::print;

/// Categories and rules that are shown as the worst.
const WORST: usize = 15;
/// Changes that are shown one by one, of each kind.
const CHANGES_SHOWN: usize = 200;

/// What is scored: labelled rows, and files in which nothing is to be found.
struct Corpus {
    rows: Vec<Row>,
    clean: Vec<(String, Vec<u8>)>,
}

pub(crate) fn run(args: &ScoreArgs) -> Result<u8, Failure> {
    let corpus = read(&args.corpus)?;
    if let [old, new] = args.diff.as_slice() {
        return tell_diff(&corpus, &found_by(old, &corpus)?, &found_by(new, &corpus)?);
    }
    let set = PackSet::load(&args.packs.packs).map_err(Failure::faults)?;
    let found = find(&set, &corpus)?;
    if let Some(out) = &args.predictions {
        let lines: String =
            found.iter().map(|(id, spans)| score::prediction_line(id, spans) + "\n").collect();
        write_whole(out, lines.as_bytes()).map_err(|e| Failure::work(format!("{}: {e}", out.display())))?;
    }
    let scored = score::score(&corpus.rows, &found, !args.no_contested);
    if args.json {
        print(format_args!("{:#}", scored.to_json()))?;
        return Ok(0);
    }
    tell(&scored, args.categories)?;
    tell_clean(&corpus.clean, &found)?;
    Ok(0)
}

/// A file of rows, or a folder: its `*.jsonl`, and clean files in `clean/`.
fn read(path: &Path) -> Result<Corpus, Failure> {
    let mut corpus = Corpus { rows: Vec::new(), clean: Vec::new() };
    if !path.is_dir() {
        corpus.rows = read_rows(path)?;
        return Ok(corpus);
    }
    for file in files(path)? {
        if file.extension().is_some_and(|e| e == "jsonl") {
            corpus.rows.extend(read_rows(&file)?);
        }
    }
    if path.join("clean").is_dir() {
        for file in files(&path.join("clean"))? {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            corpus.clean.push((name, fs::read(&file).map_err(|e| unreadable(&file, e))?));
        }
    }
    if corpus.rows.is_empty() && corpus.clean.is_empty() {
        return Err(Failure::usage(format!("{}: no labelled rows (*.jsonl) in it", path.display())));
    }
    Ok(corpus)
}

fn unreadable(path: &Path, error: impl Display) -> Failure {
    Failure::usage(format!("{}: {error}", path.display()))
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries = fs::read_dir(folder).map_err(|e| unreadable(folder, e))?;
    let paths: Result<Vec<_>, _> = entries.map(|entry| entry.map(|e| e.path())).collect();
    let mut paths = paths.map_err(|e| unreadable(folder, e))?;
    paths.retain(|path| path.is_file());
    paths.sort();
    Ok(paths)
}

fn read_rows(path: &Path) -> Result<Vec<Row>, Failure> {
    let text = fs::read_to_string(path).map_err(|e| unreadable(path, e))?;
    score::rows(&text).map_err(|reason| Failure::faults(format!("{}:{reason}", path.display())))
}

fn find(set: &PackSet, corpus: &Corpus) -> Result<Predictions, Failure> {
    let ruleset = set.compile(&CompileOptions::default()).map_err(Failure::faults)?;
    let mut finder = Finder::new(ruleset);
    let mut found = finder.predict(&corpus.rows);
    for (name, bytes) in &corpus.clean {
        found.insert(name.clone(), finder.find(bytes));
    }
    Ok(found)
}

/// What a pack finds, or what a file of predictions says.
fn found_by(name: &str, corpus: &Corpus) -> Result<Predictions, Failure> {
    if name.ends_with(".jsonl") {
        let text = fs::read_to_string(name).map_err(|e| unreadable(Path::new(name), e))?;
        return score::predictions(&text).map_err(|reason| Failure::faults(format!("{name}:{reason}")));
    }
    find(&PackSet::load(&[name]).map_err(Failure::faults)?, corpus)
}

fn number(number: Option<f64>) -> String {
    number.map_or_else(|| "-".into(), |n| format!("{n:.4}"))
}

fn tell(scored: &Score, all_categories: bool) -> Result<(), Failure> {
    let head = [
        "positive",
        "negative",
        "recall",
        "precision",
        "f1",
        "span_recall",
        "span_exact",
        "covered",
        "extra",
    ];
    let head: String = head.iter().map(|name| format!("{name:>12}")).collect();
    print(format_args!("{:<44}{head}", "group"))?;
    for (name, counts) in &scored.groups {
        tell_counts(name, counts)?;
    }
    let mut worst: Vec<_> = scored.categories.iter().collect();
    let lost = |counts: &Counts| counts.positive - counts.tp + counts.fp_rows;
    if !all_categories {
        worst.retain(|(_, counts)| lost(counts) > 0);
        worst.sort_by_key(|(_, counts)| std::cmp::Reverse(lost(counts)));
        worst.truncate(WORST);
    }
    print(format_args!(
        "\n{}",
        if all_categories { "categories" } else { "worst categories, by rows lost or wrong" }
    ))?;
    for (name, counts) in worst {
        tell_counts(name, counts)?;
    }
    let mut rules: Vec<_> = scored.rules.iter().filter(|(_, r)| r.wrong + r.extra > 0).collect();
    rules.sort_by_key(|(_, rule)| std::cmp::Reverse((rule.wrong, rule.extra)));
    print(format_args!("\nworst rules{:<33}{:>12}{:>12}{:>12}", "", "right", "wrong", "extra"))?;
    for (name, rule) in rules.into_iter().take(WORST) {
        print(format_args!("{name:<44}{:>12}{:>12}{:>12}", rule.right, rule.wrong, rule.extra))?;
    }
    Ok(())
}

fn tell_counts(name: &str, c: &Counts) -> Result<(), Failure> {
    let shares = [c.recall(), c.precision(), c.f1(), c.span_recall(), c.span_exact(), c.covered()];
    let shares: String = shares.iter().map(|share| format!("{:>12}", number(*share))).collect();
    let name: String = name.chars().take(43).collect();
    print(format_args!("{name:<44}{:>12}{:>12}{shares}{:>12}", c.positive, c.negative, c.extra_spans))
}

/// What was found where there is nothing, by file.
fn tell_clean(clean: &[(String, Vec<u8>)], found: &Predictions) -> Result<(), Failure> {
    if clean.is_empty() {
        return Ok(());
    }
    print(format_args!("\n{:<32}{:>12}{:>12}{:>14}", "clean file", "bytes", "spans", "per 10 MB"))?;
    for (name, bytes) in clean {
        let spans = found.get(name).map_or(0, Vec::len);
        let rate = spans as f64 / bytes.len().max(1) as f64 * 1e7;
        print(format_args!("{name:<32}{:>12}{spans:>12}{rate:>14.2}", bytes.len()))?;
    }
    Ok(())
}

fn tell_diff(corpus: &Corpus, old: &Predictions, new: &Predictions) -> Result<u8, Failure> {
    let (gained, lost) = score::diff(&corpus.rows, old, new);
    for (sign, changes) in [("+", &gained), ("-", &lost)] {
        for change in changes.iter().take(CHANGES_SHOWN) {
            let place = match change.is_right {
                Some(true) => "labelled",
                Some(false) => "not labelled",
                None => "clean",
            };
            let (id, span) = (&change.id, &change.span);
            print(format_args!("{sign} {id} {}..{} {} ({place})", span.start, span.end, span.rule))?;
        }
        if let Some(more) = changes.len().checked_sub(CHANGES_SHOWN).filter(|more| *more > 0) {
            print(format_args!("{sign} … and {more} more"))?;
        }
    }
    let mut rules: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    gained.iter().for_each(|change| rules.entry(&change.span.rule).or_default().0 += 1);
    lost.iter().for_each(|change| rules.entry(&change.span.rule).or_default().1 += 1);
    print(format_args!("\n{:<44}{:>12}{:>12}", "rule", "gained", "lost"))?;
    for (rule, (gained, lost)) in rules {
        print(format_args!("{rule:<44}{gained:>12}{lost:>12}"))?;
    }
    let right = |changes: &[Change]| changes.iter().filter(|c| c.is_right == Some(true)).count();
    print(format_args!(
        "{} matches gained, {} of them labelled; {} lost, {} of them labelled",
        gained.len(),
        right(&gained),
        lost.len(),
        right(&lost)
    ))?;
    for (name, predictions) in [("old", old), ("new", new)] {
        let scored = score::score(&corpus.rows, predictions, true);
        for (group, counts) in scored.groups.iter().filter(|(group, _)| !group.contains(['/'])) {
            tell_counts(&format!("{name}: {group}"), counts)?;
        }
    }
    Ok(0)
}
