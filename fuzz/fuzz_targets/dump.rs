//! `cargo +nightly fuzz run dump`

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| inputs::dump::run(input));
