//! Feeds changes, through the gate and admission.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| haversack_tests::feed("gate", bytes));
