//! Times masking whole documents (`[[case]]` of `bench/cases.toml`) with all built-in packs, each after its answer was
//! checked; `-- ratios` tells instead what the layers of a format cost beside the engine's own scan, in one run.
#![allow(missing_docs)]

use criterion::{Criterion, Throughput, criterion_group};
use sluice_bench::cases::Cases;
use sluice_bench::formats::{CHUNKS, ratios, ruleset};

fn mask(criterion: &mut Criterion) {
    let ruleset = ruleset();
    for case in Cases::read().case {
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

/// `cargo bench -- engine` is of the other bench: this one has nothing to do then.
fn main() {
    if std::env::args().skip(1).any(|argument| argument == "ratios") {
        return println!("{}", ratios());
    }
    if std::env::args().skip(1).all(|argument| argument != "engine") {
        benches();
        Criterion::default().configure_from_args().final_summary();
    }
}
