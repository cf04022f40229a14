//! See [`payouts_fuzz::ofac_sdn_csv`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| payouts_fuzz::ofac_sdn_csv(data));
