//! See [`payouts_fuzz::eu_fsf`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| payouts_fuzz::eu_fsf(data));
