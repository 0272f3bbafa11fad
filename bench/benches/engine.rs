//! Scans the `[[engine]]` cases of `bench/cases.toml` and prints a table of MB/s.
//!
//! Ours runs with all built-in packs and with the imported rules; beside it, where the feature `hyperscan` is on, the peer
//! with the very same expressions, and ours with windows that the peer finds. No time is asserted; every answer is.
//!
//! ```text
//! cargo bench -p sluice-bench [--features hyperscan] -- engine [--quick] [--only NAME] [--markdown FILE] [--differential]
//! ```
#![forbid(unsafe_code)]
#![allow(missing_docs, clippy::expect_used, clippy::panic)]

use std::process::ExitCode;
use std::time::Instant;

use sluice_bench::cases::Cases;
use sluice_bench::contender::{Contender, Ours};
use sluice_bench::corpus::Corpus;
use sluice_bench::differential::{Difference, LEGEND, compare};
use sluice_bench::formats::ruleset;
use sluice_bench::import::{self, Imported, Refused};
use sluice_bench::input::{Case, Document};
use sluice_bench::machine;
use sluice_bench::measure::{Effort, measure};
#[cfg(feature = "hyperscan")]
use sluice_bench::peer;
use sluice_bench::report::{Row, Table};
use sluice_bench::synthetic;
use sluice_engine::{CompileOptions, Ruleset};

/// The sizes of chunks: a read of a socket, and what a slow model sends.
const CHUNKS: [usize; 2] = [16 * 1024, 256];
/// How many synthetic rules.
const RULE_COUNTS: [usize; 5] = [10, 100, 300, 1000, 2000];
/// The case that only synthetic rules run on.
const RULES_CASE: &str = "rules";

type Peer = Box<dyn Contender>;
type Fault = Box<dyn std::error::Error>;

/// What was asked for.
struct Options {
    effort: Effort,
    only: Option<String>,
    markdown: Option<String>,
    differential: bool,
}

impl Options {
    /// `None`: another bench was named.
    fn parse() -> Result<Option<Options>, String> {
        let mut options = Options { effort: Effort::FULL, only: None, markdown: None, differential: false };
        let mut arguments = std::env::args().skip(1);
        let mut ours = true;
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "--bench" | "engine" => {}
                "--quick" => options.effort = Effort::QUICK,
                "--only" => options.only = Some(value()?),
                "--markdown" => options.markdown = Some(value()?),
                "--differential" => options.differential = true,
                other if other.starts_with('-') => {
                    return Err(format!(
                        "no option {other}: --quick, --only NAME, --markdown FILE, --differential"
                    ));
                }
                _ => ours = false,
            }
        }
        Ok(ours.then_some(options))
    }

    fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| name.starts_with(only.as_str()))
    }
}

fn main() -> ExitCode {
    let result = Options::parse().map_err(Fault::from).and_then(|options| match options {
        Some(options) if options.differential => differential(),
        Some(options) => tables(&options),
        None => Ok(true),
    });
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("engine: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The rules that both sides take, and the text that counts them.
fn common_rules(corpus: &Corpus) -> Result<(Vec<Imported>, String), Fault> {
    let (rules, invalid) = import::rules(corpus)?;
    let all = rules.len() + invalid.len();
    let (mut common, by_peer) = keep_peer(rules.clone());
    let (ours, by_ours) = import::keep_ours(rules);
    common.retain(|rule| ours.iter().any(|kept| kept.id == rule.id));
    let mut text = format!(
        "{} of {all} imported rules run on both sides; left out: {} that are no valid expression, {} that ours refuses, \
         {} that the peer refuses",
        common.len(),
        invalid.len(),
        by_ours.len(),
        by_peer.len()
    );
    for Refused { id, reason } in invalid.iter().chain(&by_ours).chain(&by_peer) {
        text.push_str(&format!("\n* `{id}`: {reason}"));
    }
    Ok((common, text))
}

fn compile(name: &str, rules: &[Imported]) -> Result<Ours, Fault> {
    compile_as(name, rules, &CompileOptions::default())
}

fn compile_as(name: &str, rules: &[Imported], options: &CompileOptions) -> Result<Ours, Fault> {
    let rules = rules.iter().map(Imported::rule).collect();
    Ok(Ours::new(name, Ruleset::compile(rules, options)?))
}

/// Ours, with the windows found by the peer.
#[cfg(feature = "hyperscan")]
fn compile_mixed(rules: &[Imported]) -> Result<Option<Ours>, Fault> {
    let options = CompileOptions { hyperscan: true, ..CompileOptions::default() };
    compile_as("imported rules, Hyperscan's windows", rules, &options).map(Some)
}

#[cfg(not(feature = "hyperscan"))]
fn compile_mixed(_rules: &[Imported]) -> Result<Option<Ours>, Fault> {
    Ok(None)
}

#[cfg(feature = "hyperscan")]
fn compile_peer(rules: &[Imported]) -> Result<Option<Peer>, Fault> {
    Ok(Some(Box::new(peer::Hyperscan::compile(rules)?)))
}

#[cfg(not(feature = "hyperscan"))]
fn compile_peer(_rules: &[Imported]) -> Result<Option<Peer>, Fault> {
    Ok(None)
}

#[cfg(feature = "hyperscan")]
fn keep_peer(rules: Vec<Imported>) -> (Vec<Imported>, Vec<Refused>) {
    peer::keep(rules)
}

#[cfg(not(feature = "hyperscan"))]
fn keep_peer(rules: Vec<Imported>) -> (Vec<Imported>, Vec<Refused>) {
    (rules, Vec::new())
}

#[cfg(feature = "hyperscan")]
fn peer_machine() -> String {
    peer::describe()
}

#[cfg(not(feature = "hyperscan"))]
fn peer_machine() -> String {
    "no peer: build with `--features hyperscan` and libhyperscan-dev".into()
}

/// Runs one case for every size of chunks, and prints each row as it is done.
fn run(
    table: &mut Table,
    name: &str,
    contenders: &mut [(&mut dyn Contender, bool)],
    document: &Document,
    effort: &Effort,
    chunks: &[usize],
) {
    for chunk in chunks {
        let mut figures: Vec<_> =
            measure(contenders, document, *chunk, effort).into_iter().map(Some).collect();
        figures.resize(table.contenders.len(), None);
        let row = Row { name: name.to_owned(), chunk: *chunk, figures };
        println!("{}", table.line(&row));
        table.rows.push(row);
    }
}

fn tables(options: &Options) -> Result<bool, Fault> {
    let corpus = Corpus::find()?;
    let mut text = format!("{}  \n{}\n\n", machine::describe(), peer_machine());
    let cases = Cases::read().engine;
    if cases.iter().any(|case| case.name != RULES_CASE && options.wants(&case.name)) {
        text += &traffic(options, &corpus, &cases)?;
    } else {
        println!("{text}");
    }
    if options.wants(RULES_CASE) {
        let case = cases.iter().find(|case| case.name == RULES_CASE).expect("the case is there");
        text += &rule_counts(options, &corpus, case)?;
    }
    if let Some(file) = &options.markdown {
        std::fs::write(file, &text).map_err(|e| format!("{file}: {e}"))?;
    }
    Ok(true)
}

/// The table of all cases with the packs and the imported rules.
fn traffic(options: &Options, corpus: &Corpus, cases: &[Case]) -> Result<String, Fault> {
    let (rules, counted) = common_rules(corpus)?;
    let mut packs = Ours::new("built-in packs", ruleset());
    let mut ours = compile("imported rules", &rules)?;
    let mut peer = compile_peer(&rules)?;
    let mut mixed = compile_mixed(&rules)?;
    println!("{}\n{}\n\n{counted}\n", machine::describe(), peer_machine());
    let columns = ["ours, both packs", "ours, imported", "peer, imported", "ours, the peer's windows"];
    let mut table = Table::new("Traffic, MB/s: median (min–max)", &columns, Some((1, 2)));
    println!("{}", table.head());
    for case in cases.iter().filter(|case| case.name != RULES_CASE && options.wants(&case.name)) {
        let document = case.document(corpus, options.effort.bytes)?;
        let mut contenders: Vec<(&mut dyn Contender, bool)> = vec![(&mut packs, true), (&mut ours, false)];
        if let Some(peer) = &mut peer {
            contenders.push((peer.as_mut(), false));
        }
        if let Some(mixed) = &mut mixed {
            contenders.push((mixed, false));
        }
        run(&mut table, &case.name, &mut contenders, &document, &options.effort, &CHUNKS);
    }
    let about: Vec<String> = cases.iter().map(|case| format!("* {}: {}", case.name, case.about)).collect();
    Ok(format!("{counted}\n\n{}\n{}\n\n{}\n\n", table.markdown(), NOTES, about.join("\n")))
}

const NOTES: &str = "Ratio: ours over the peer, both with the imported rules, by medians. The last column of speeds is \
    ours with the same rules, where Hyperscan finds the windows in place of our own first stages. Matches: of each contender, in \
    its own terms: ours resolves overlaps and replaces values, the peer tells every end. `of N MB`: too slow for the whole \
    document, so a part was scanned and its matches counted.";

/// The table of synthetic rules in growing numbers.
fn rule_counts(options: &Options, corpus: &Corpus, case: &Case) -> Result<String, Fault> {
    let document = case.document(corpus, options.effort.bytes)?;
    let mut table = Table::new("Synthetic rules, MB/s: median (min–max)", &["ours", "peer"], Some((0, 1)));
    println!("\n{}", table.head());
    let mut built = Vec::new();
    for count in RULE_COUNTS {
        let rules = synthetic::rules(count);
        let began = Instant::now();
        let mut ours = compile("ours", &rules)?;
        let ours_took = began.elapsed();
        let began = Instant::now();
        let mut peer = compile_peer(&rules)?;
        let peer_took = began.elapsed();
        built.push(format!(
            "* {count} rules: ours compiled in {:.2} s to {} KiB{}",
            ours_took.as_secs_f64(),
            ours.memory_bytes() / 1024,
            peer.as_ref().map_or(String::new(), |peer| format!(
                "; the peer in {:.2} s to {} KiB",
                peer_took.as_secs_f64(),
                peer.memory_bytes() / 1024
            ))
        ));
        let mut contenders: Vec<(&mut dyn Contender, bool)> = vec![(&mut ours, true)];
        if let Some(peer) = &mut peer {
            contenders.push((peer.as_mut(), true));
        }
        run(&mut table, &format!("rules/{count}"), &mut contenders, &document, &options.effort, &CHUNKS);
    }
    let built = built.join("\n");
    println!("\n{built}");
    Ok(format!("{}\n{built}\n", table.markdown()))
}

/// Prints the rules that the two sides don't agree on; whether all is explained.
fn differential() -> Result<bool, Fault> {
    let corpus = Corpus::find()?;
    let (rules, counted) = common_rules(&corpus)?;
    println!("{}\n\n{counted}\n", peer_machine());
    let mut texts = corpus.clean()?;
    texts.extend(corpus.rows()?);
    println!(
        "| rule | ours | peer | ours alone | peer alone | peer too long | bytes ours alone | bytes of other ends | explained by | first fault |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|---|---|");
    let (mut faults, mut equal, mut matched, mut totals) = (0, 0, 0, (0, 0));
    for rule in &rules {
        let whole = [rule.whole()];
        let mut ours = compile("ours", &whole)?;
        let Some(mut peer) = compile_peer(&whole)? else {
            return Err(peer_machine().into());
        };
        let d = compare(&mut ours, peer.as_mut(), &texts, rule.len_max, CHUNKS[0]);
        totals = (totals.0 + d.ours, totals.1 + d.peer);
        faults += usize::from(d.is_fault());
        equal += usize::from(d.is_empty());
        matched += usize::from(d.ours > 0);
        if !d.is_empty() {
            println!("{}", difference_line(&rule.id, &d));
        }
    }
    println!("\n{LEGEND}\n\n{} matches of ours, {} runs of matches of the peer", totals.0, totals.1);
    println!(
        "{} rules over {} texts: {matched} match somewhere (of the others nothing is known), {equal} cover the same bytes, {} differ only by ends or \
         by `max_len`, {faults} differ otherwise",
        rules.len(),
        texts.len(),
        rules.len() - equal - faults
    );
    Ok(faults == 0)
}

fn difference_line(id: &str, d: &Difference) -> String {
    let place = d.first_fault.map_or(String::new(), |(text, at)| format!("text {text}, byte {at}"));
    let Difference { ours, peer, ours_alone, peer_alone, peer_too_long, bytes_ours_alone, .. } = d;
    format!(
        "| `{id}` | {ours} | {peer} | {ours_alone} | {peer_alone} | {peer_too_long} | {bytes_ours_alone} | {} | {} | {place} |",
        d.bytes_other_ends,
        d.explained_by()
    )
}
