//! Times the cases of `bench/cases.toml` with all built-in packs, each after its answer was checked.
#![allow(missing_docs)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sluice_bench::{CHUNKS, cases, ruleset};

fn mask(criterion: &mut Criterion) {
    let ruleset = ruleset();
    for case in cases() {
        case.check(&ruleset);
        let document = case.document();
        let mut group = criterion.benchmark_group(&case.name);
        group.throughput(Throughput::Bytes(document.len() as u64)).sample_size(10);
        for chunk in CHUNKS {
            group.bench_function(format!("chunks of {chunk}"), |bencher| {
                bencher.iter(|| case.mask(&ruleset, &document, chunk));
            });
        }
        group.finish();
    }
}

fn compile(criterion: &mut Criterion) {
    criterion.bench_function("compile the built-in packs", |bencher| bencher.iter(ruleset));
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10);
    targets = mask, compile
}
criterion_main!(benches);
