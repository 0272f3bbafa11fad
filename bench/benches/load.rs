//! Times what a start costs: packs compiled from TOML or read from built files, to a ruleset that is ready.
//!
//! The files are read from a folder of temporary files, so from page cache; what is loaded is checked to be what was
//! compiled. `cargo bench -p sluice-bench --bench load`
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sluice_bench::corpus::Corpus;
use sluice_bench::import::{self, Imported};
use sluice_bench::synthetic;
use sluice_engine::{Built, CompileOptions, Rule, Ruleset, Source};
use sluice_patterns::{PackSet, builtin};

/// Loads that are timed of each file, and compilations.
const LOADS: usize = 50;
const COMPILATIONS: usize = 5;
/// Numbers of made up rules.
const SYNTHETIC: [usize; 3] = [10, 1000, 2000];
/// Rules of others, at most.
const IMPORTED: usize = 1000;

fn main() {
    // `cargo bench -- engine` is of the other bench: this one has nothing to do then.
    if std::env::args().skip(1).any(|argument| !argument.starts_with("--")) {
        return;
    }
    let folder = std::env::temp_dir().join(format!("sluice-load-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    println!("ms, min/median/max");
    for count in SYNTHETIC {
        synthetic_rules(&folder, count);
    }
    imported_rules(&folder);
    builtin_packs(&folder);
    std::fs::remove_dir_all(&folder).unwrap();
}

fn synthetic_rules(folder: &Path, count: usize) {
    let rules: Vec<Rule> = synthetic::rules(count).iter().map(Imported::rule).collect();
    time_rules(folder, &format!("{count} synthetic rules"), &rules);
}

/// A thousand rules in use, where there is a corpus: from all of it in turn.
fn imported_rules(folder: &Path) {
    let Ok(corpus) = Corpus::find() else { return println!("imported rules: there is no corpus") };
    let (rules, refused) = import::everyone(&corpus).unwrap();
    refused.iter().for_each(|r| println!("{}: {}", r.id, r.reason));
    let (rules, refused) = import::keep_ours(rules);
    refused.iter().for_each(|r| println!("{}: {}", r.id, r.reason));
    let every = |n: usize| (n + 1) * IMPORTED / rules.len() > n * IMPORTED / rules.len();
    let some = rules.iter().enumerate().filter(|(n, _)| rules.len() <= IMPORTED || every(*n));
    let some: Vec<Rule> = some.map(|(_, rule)| rule.rule()).collect();
    time_rules(folder, &format!("{} imported rules", some.len()), &some);
}

fn time_rules(folder: &Path, name: &str, rules: &[Rule]) {
    let count = rules.len();
    let rules = || rules.to_vec();
    let options = CompileOptions::default();
    let compiled = times(COMPILATIONS, || Ruleset::compile(rules(), &options).unwrap());
    let path = folder.join("rules.built");
    std::fs::write(&path, Built::compile(rules()).unwrap().to_bytes(&[])).unwrap();
    let loaded = times(LOADS, || {
        let bytes = std::fs::read(&path).unwrap();
        let (built, _) = Built::from_bytes(&bytes).unwrap();
        let ruleset = Ruleset::link(&[Source::Built(&built)], &options).unwrap();
        assert_eq!(ruleset.rules().len(), count);
        ruleset
    });
    report(name, &[path], &compiled, &loaded);
    let ruleset = Ruleset::compile(rules(), &options).unwrap();
    println!("    its ruleset: {} KiB", ruleset.memory_bytes() / 1024);
}

fn builtin_packs(folder: &Path) {
    let options = CompileOptions::default();
    let compiled = times(COMPILATIONS, || {
        let set = PackSet::load::<&str>(&[]).unwrap();
        set.compile(&options).unwrap()
    });
    let build = |pack: &builtin::Builtin| {
        let path = folder.join(pack.name.replace(':', "-"));
        std::fs::write(&path, pack.load().unwrap().build().unwrap()).unwrap();
        path
    };
    let both = folder.join("both");
    std::fs::write(&both, PackSet::load::<&str>(&[]).unwrap().build().unwrap()).unwrap();
    let name = both.display().to_string();
    let loaded = times(LOADS, || PackSet::load(&[&name]).unwrap().compile(&options).unwrap());
    report("both built-in packs in one file", &[both], &compiled, &loaded);
    let paths: Vec<PathBuf> = builtin::ALL.iter().map(build).collect();
    let names: Vec<String> = paths.iter().map(|p| p.display().to_string()).collect();
    let loaded = times(LOADS, || PackSet::load(&names).unwrap().compile(&options).unwrap());
    report("both built-in packs, a file each", &paths, &compiled, &loaded);
}

/// How long each of so many runs takes, in ascending order; what they make is dropped outside of the time.
fn times<T>(count: usize, mut run: impl FnMut() -> T) -> Vec<Duration> {
    let mut times: Vec<Duration> = (0..=count)
        .map(|_| {
            let start = Instant::now();
            let made = run();
            let taken = start.elapsed();
            drop(made);
            taken
        })
        .skip(1)
        .collect();
    times.sort();
    times
}

fn report(name: &str, files: &[PathBuf], compiled: &[Duration], loaded: &[Duration]) {
    let figures = |times: &[Duration]| {
        let ms = |at: usize| times[at].as_secs_f64() * 1e3;
        format!("{:.1}/{:.1}/{:.1}", ms(0), ms(times.len() / 2), ms(times.len() - 1))
    };
    let bytes: u64 = files.iter().map(|f| f.metadata().unwrap().len()).sum();
    println!("{name}: compiled {}; built, {} KiB: {}", figures(compiled), bytes / 1024, figures(loaded));
}
