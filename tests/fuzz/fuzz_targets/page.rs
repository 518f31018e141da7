//! Feeds pages, applied to a real store.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| haversack_tests::feed("page", bytes));
