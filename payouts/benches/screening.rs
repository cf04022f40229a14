//! What reading a list and asking an index cost.
#![allow(missing_docs)]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use payouts::export::screening::list::PartyKind;
use payouts::export::screening::{ScreeningIndex, address, read_ofac_advanced};

#[path = "../examples/synthetic/mod.rs"]
mod synthetic;

const PARTIES: usize = 19_000;
const ADDRESSES: usize = 470;

fn screening(criterion: &mut Criterion) {
    let mut bytes = Vec::new();
    synthetic::write_list(&mut bytes, PARTIES, ADDRESSES).expect("memory can be written to");
    let source: payouts::export::screening::ListSource = "ofac-sdn".parse().expect("it names a source");
    let read = || read_ofac_advanced(source.clone(), &bytes[..], &mut |_| ()).expect("it is a list");

    let mut group = criterion.benchmark_group("screening");
    group.sample_size(10).throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("read", |bencher| bencher.iter(read));
    group.finish();

    let list = Arc::new(read());
    let mut group = criterion.benchmark_group("screening");
    group.sample_size(10);
    group.bench_function("index", |bencher| bencher.iter(|| ScreeningIndex::new([Arc::clone(&list)])));
    let index = ScreeningIndex::new([list]);
    let script = address::parse_listed("12QtD5BFwRsdNsAZY76UVE1xyCGNTojH9h").expect("it is an address");
    group.bench_function("script", |bencher| bencher.iter(|| index.screen_script(black_box(&script))));
    let names = synthetic::names(100);
    let mut turn = names.iter().cycle();
    group.bench_function("name", |bencher| {
        bencher.iter(|| index.screen_name(turn.next().expect("it is a cycle"), PartyKind::Individual));
    });
    group.finish();
}

criterion_group!(benches, screening);
criterion_main!(benches);
