//! The body `builtin` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sluice_fuzz::stream::builtin_vs_whole(data));
