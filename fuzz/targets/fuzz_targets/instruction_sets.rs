//! The body `instruction_sets` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sluice_fuzz::stream::instruction_sets(data));
