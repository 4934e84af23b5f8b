//! `cargo +nightly fuzz run record`

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| inputs::record::run(input));
