//! The fuzz targets of `protocol`: each module's `run` takes any bytes and panics if something that must hold does not.
//!
//! The targets in `fuzz_targets/` hand them libFuzzer's bytes; `protocol/tests/corpus.rs` hands them the files of
//! `corpus/`, so that every `cargo test` repeats what fuzzing has found. `examples/seeds.rs` writes the named files of
//! the corpus. What is fed to a target is read from front to back, so that such files are easy to write.
#![forbid(unsafe_code)]

pub mod connection;
pub mod ends;
pub mod frame;
pub mod handshake;
pub mod messages;
