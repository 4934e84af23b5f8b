//! `cargo +nightly fuzz run web_config`

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| inputs::web_config::run(input));
