//! See [`payouts_fuzz::uk_csv`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| payouts_fuzz::uk_csv(data));
