//! Writes a list in the size of the largest published one, or measures how a list is read and asked.
//!
//! `screening_list write PATH [PARTIES]` writes `sdn_advanced.xml` with made-up parties; `screening_list read PATH` reads
//! it and tells the time and, on Linux, the largest memory of the process.
#![allow(clippy::print_stderr)]

use std::fs::File;
use std::io::{BufWriter, Write};
use std::sync::Arc;
use std::time::Instant;

use payouts::export::screening::list::PartyKind;
use payouts::export::screening::{ScreeningIndex, read_ofac_advanced};

mod synthetic;

/// As many as OFAC's list has.
const PARTIES: usize = 19_000;
const ADDRESSES: usize = 470;
const QUERIES: usize = 200;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["write", path] => write(path, PARTIES),
        ["write", path, parties] => write(path, parties.parse()?),
        ["read", path] => read(path),
        _ => Err("write PATH [PARTIES], or read PATH".into()),
    }
}

fn write(path: &str, parties: usize) -> Result<(), Box<dyn std::error::Error>> {
    let mut out = BufWriter::new(File::create(path)?);
    synthetic::write_list(&mut out, parties, ADDRESSES)?;
    Ok(out.flush()?)
}

fn read(path: &str) -> Result<(), Box<dyn std::error::Error>> {
    let start = Instant::now();
    let mut chunks = 0;
    let list = read_ofac_advanced("ofac-sdn".parse()?, File::open(path)?, &mut |_| chunks += 1)?;
    println!("read {} bytes in {chunks} chunks: {:?}, peak {}", list.bytes, start.elapsed(), peak_memory());
    println!("{} parties, {} names, {} addresses", list.entry_count, list.names.len(), list.addresses.len());
    let start = Instant::now();
    let index = ScreeningIndex::new([Arc::new(list)]);
    println!("index: {:?}, peak {}", start.elapsed(), peak_memory());
    let queries = synthetic::names(QUERIES);
    let start = Instant::now();
    let mut slowest = std::time::Duration::ZERO;
    let mut hits = 0;
    for query in &queries {
        let start = Instant::now();
        hits += index.screen_name(query, PartyKind::Unknown).len();
        slowest = slowest.max(start.elapsed());
    }
    println!("a name: {:?}, the slowest {slowest:?}, {hits} hits", start.elapsed() / QUERIES as u32);
    Ok(())
}

fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or("unknown".to_owned(), |peak| peak.trim().to_owned())
}
