//! `cargo +nightly fuzz run ctnetlink`

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| inputs::ctnetlink::run(input));
