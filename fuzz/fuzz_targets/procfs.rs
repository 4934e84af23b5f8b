//! `cargo +nightly fuzz run procfs`

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| inputs::procfs::run(input));
