//! `sluice pack check`: every fault of packs, and what is allowed but costs or hides something.

use sluice_engine::{CompileOptions, Ruleset};
use sluice_patterns::PackSet;
use sluice_patterns::advice::{self, Advice};
use sluice_patterns::sign::Trust;

use crate::failure::Failure;
use crate::terminal::{Terminal, print};

pub(crate) fn run(names: &[String], terminal: &Terminal) -> Result<u8, Failure> {
    let set = PackSet::load_trusted(names, &Trust::anyone()).map_err(Failure::faults)?;
    let ruleset = set.compile(&CompileOptions::default()).map_err(Failure::faults)?;
    let advice = advice::of(&set, &ruleset);
    for Advice { file, line, reason } in &advice {
        let place = if *line == 0 { file.clone() } else { format!("{file}:{line}") };
        print(format_args!("{place}: warning: {reason}"))?;
    }
    tell(&set, &ruleset, advice.len(), terminal)?;
    Ok(0)
}

fn tell(set: &PackSet, ruleset: &Ruleset, warnings: usize, terminal: &Terminal) -> Result<(), Failure> {
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
    Ok(())
}
