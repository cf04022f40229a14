//! The corpus of each fuzz target, run once: what fuzzing has found stays found without cargo-fuzz.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;

// The bodies belong to a workspace of their own, whose instrumented build this one is not to know.
#[allow(dead_code, unreachable_pub, clippy::disallowed_methods, clippy::unwrap_used)]
#[path = "../fuzz/src/lib.rs"]
mod targets;

fn replay(target: &str, run: impl Fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(&corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 5, "{} is not the corpus", corpus.display());
    for file in files {
        // Shown if the target panics.
        println!("{}", file.display());
        run(&fs::read(&file).unwrap());
    }
}

#[test]
fn the_handshake_corpus_passes() {
    replay("handshake", targets::handshake::run);
}

#[test]
fn the_frame_corpus_passes() {
    replay("frame", targets::frame::run);
}

#[test]
fn the_messages_corpus_passes() {
    replay("messages", targets::messages::run);
}

#[test]
fn the_connection_corpus_passes() {
    replay("connection", targets::connection::run);
}

#[test]
fn no_message_is_left_out_of_fuzzing() {
    use protocol::framing::Header;
    use protocol::messages::name_of;

    for extension in 0..=2 {
        for message_type in 0..=u8::MAX {
            let header = Header::from_bytes([extension, 0, message_type, 0, 0, 0]);
            let fuzzed = targets::messages::ALL.iter().find(|kind| {
                let kind = (kind.header)(0).unwrap();
                (kind.extension_type, kind.message_type) == (header.extension_type, message_type)
            });
            assert_eq!(fuzzed.map(|kind| kind.name), name_of(header));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_inputs_pass_every_target(data in vec(any::<u8>(), 0..400)) {
        targets::handshake::run(&data);
        targets::frame::run(&data);
        targets::messages::run(&data);
        targets::connection::run(&data);
    }
}
