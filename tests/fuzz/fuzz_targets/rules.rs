//! Feeds rules files.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| haversack_tests::feed("rules", bytes));
