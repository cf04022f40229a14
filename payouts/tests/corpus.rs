//! The corpus of each fuzz target, run once: what fuzzing has found stays found without cargo-fuzz.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::Index;

// The bodies belong to a workspace of their own, whose instrumented build this one is not to know.
#[allow(dead_code, unreachable_pub, clippy::unwrap_used)]
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
fn the_advanced_corpus_passes() {
    replay("ofac_advanced", targets::ofac_advanced);
}

#[test]
fn the_plain_xml_corpus_passes() {
    replay("ofac_sdn_xml", targets::ofac_sdn_xml);
}

#[test]
fn the_plain_csv_corpus_passes() {
    replay("ofac_sdn_csv", targets::ofac_sdn_csv);
}

#[test]
fn the_eu_corpus_passes() {
    replay("eu_fsf", targets::eu_fsf);
}

#[test]
fn the_uk_corpus_passes() {
    replay("uk_csv", targets::uk_csv);
}

#[test]
fn the_supplement_corpus_passes() {
    replay("supplement", targets::supplement);
}

type Target = fn(&[u8]);

/// The targets with the folders of their files.
const TARGETS: [(&str, Target); 6] = [
    ("ofac_advanced", targets::ofac_advanced),
    ("ofac_sdn_xml", targets::ofac_sdn_xml),
    ("ofac_sdn_csv", targets::ofac_sdn_csv),
    ("eu_fsf", targets::eu_fsf),
    ("uk_csv", targets::uk_csv),
    ("supplement", targets::supplement),
];

proptest! {
    // What fuzzing would do first, in each run of the tests: pieces of a list are repeated, left out and moved.
    #[test]
    fn lists_that_were_cut_and_pasted_pass(
        target in 0usize..6,
        moves in proptest::collection::vec((any::<Index>(), any::<Index>(), any::<Index>(), 0u8..3), 1..5),
    ) {
        let (name, run) = TARGETS[target];
        let mut bytes = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name).join("list")).unwrap();
        for (from, to, at, what) in moves {
            let (from, to, at) = (from.index(bytes.len()), to.index(bytes.len()), at.index(bytes.len()));
            let piece = bytes[from.min(to)..from.max(to)].to_vec();
            match what {
                0 => drop(bytes.splice(at..at, piece)),
                1 => drop(bytes.splice(at..(at + piece.len()).min(bytes.len()), piece)),
                _ if piece.len() < bytes.len() => drop(bytes.drain(from.min(to)..from.max(to))),
                _ => {}
            }
            prop_assume!(bytes.len() < 100_000 && !bytes.is_empty());
        }
        run(&bytes);
    }
}
