//! Packs: whatever a file holds, it is loaded or its faults are named, each at a line of the file.

use sluice_engine::{CompileOptions, Ruleset};
use sluice_patterns::Pack;

/// The largest file that is tried: compiling what a pack says takes time that grows with it.
const PACK_BYTES_MAX: usize = 4096;

/// Loads a pack.
pub fn pack(file: &[u8]) {
    let Ok(text) = std::str::from_utf8(file.get(..PACK_BYTES_MAX).unwrap_or(file)) else { return };
    match Pack::parse("fuzz.toml", text) {
        Ok(pack) => {
            let rules = pack.rules.into_iter().map(|rule| rule.rule).collect();
            // A pack that was loaded compiles, but for what only the options give (a token's key).
            let _ = Ruleset::compile(rules, &CompileOptions::default());
        }
        Err(error) => {
            assert!(!error.faults().is_empty(), "an error without a fault");
            let lines = text.split('\n').count();
            for fault in error.faults() {
                assert!((1..=lines + 1).contains(&fault.line), "line {} of {lines}", fault.line);
                assert!(!fault.reason.is_empty(), "a fault without a reason");
            }
        }
    }
}
