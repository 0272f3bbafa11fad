//! The body `built_pack` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sluice_fuzz::built_pack::built_pack(data));
