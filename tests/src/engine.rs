//! The engine with the built-in packs, and no gateway between.

use std::sync::{Arc, OnceLock};

use sluice_engine::{CompileOptions, Format, Masker, MaskerOptions, Ruleset, Scratch};
use sluice_patterns::PackSet;

/// Both built-in packs, compiled once.
///
/// # Panics
/// When one has a fault.
pub fn builtin() -> Arc<Ruleset> {
    static RULESET: OnceLock<Arc<Ruleset>> = OnceLock::new();
    let make = || {
        let packs = PackSet::load::<&str>(&[]).unwrap_or_else(|faults| panic!("{faults}"));
        packs.compile(&CompileOptions::default()).unwrap_or_else(|faults| panic!("{faults}"))
    };
    Arc::clone(RULESET.get_or_init(make))
}

/// Masks a body in chunks of this size.
///
/// # Panics
/// When the body is not valid in its format.
#[must_use]
pub fn mask(format: Format, body: &[u8], chunk: usize, scratch: &mut Scratch) -> Vec<u8> {
    let (mut masker, mut out) = (Masker::new(&builtin(), format, MaskerOptions::default()), Vec::new());
    for part in body.chunks(chunk) {
        masker.push(scratch, part, &mut out).expect("the body is valid");
    }
    masker.finish(scratch, &mut out).expect("the body is valid");
    out
}
