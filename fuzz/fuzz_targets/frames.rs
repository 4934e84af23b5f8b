//! `cargo +nightly fuzz run frames`

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| inputs::frames::run(input));
