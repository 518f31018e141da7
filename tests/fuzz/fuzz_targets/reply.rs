//! Feeds everything a server answers.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| haversack_tests::feed("reply", bytes));
