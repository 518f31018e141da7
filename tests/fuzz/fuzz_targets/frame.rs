//! Feeds frames, and what lies in them.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| haversack_tests::feed("frame", bytes));
