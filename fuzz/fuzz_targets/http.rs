//! `cargo +nightly fuzz run http`

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| inputs::http::run(input));
