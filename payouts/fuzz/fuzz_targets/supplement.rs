//! See [`payouts_fuzz::supplement`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| payouts_fuzz::supplement(data));
