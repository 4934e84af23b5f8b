//! `cargo +nightly fuzz run config`

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| inputs::config::run(input));
