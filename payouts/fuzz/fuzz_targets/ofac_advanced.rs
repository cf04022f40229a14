//! See [`payouts_fuzz::ofac_advanced`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| payouts_fuzz::ofac_advanced(data));
