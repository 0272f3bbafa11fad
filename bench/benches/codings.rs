//! Times masking through content codings (decode, mask, encode) against decoding and encoding by the same libraries without
//! masking: `cargo bench -p sluice-bench --bench codings [-- codings --markdown FILE]`.
//!
//! Both sides take the coded body in the pieces of the gateway, use the same levels, and take turns; each round gives one
//! ratio. Before anything is timed, what both give is decoded and compared.
#![allow(missing_docs, clippy::expect_used, clippy::panic)]

use std::fmt::Write as _;
use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use sluice_bench::corpus::Corpus;
use sluice_bench::formats::ruleset;
use sluice_bench::machine;
use sluice_engine::{
    Coding, CodingLimits, Codings, Decoder, Encoder, Format, Masker, MaskerOptions, Ruleset, Scratch,
};

/// Bytes of a coded body that the gateway decodes at once.
const PIECE_BYTES: usize = 4096;
/// Bytes of a body without codings that are masked at once.
const CHUNK_BYTES: usize = 16 * 1024;
/// Rounds of both sides; the first is not counted.
const ROUNDS: usize = 16;
/// Bytes of a document, of which the file is a part or which it is repeated to.
const DOCUMENT_BYTES: usize = 4 << 20;
/// The levels that [`Encoder`] has.
const BR: (u32, u32) = (2, 18);
const ZSTD_LEVEL: i32 = 1;

/// Decodes, masks if there is a ruleset, and encodes.
fn ours(ruleset: Option<&Arc<Ruleset>>, format: Format, codings: &Codings, body: &[u8]) -> Vec<u8> {
    let mut masker = ruleset.map(|ruleset| Masker::new(ruleset, format, MaskerOptions::default()));
    let (mut decoder, mut encoder) = (Decoder::new(codings, CodingLimits::default()), Encoder::new(codings));
    let (mut plain, mut masked, mut out) = (Vec::new(), Vec::new(), Vec::new());
    let mut scratch = Scratch::new();
    for piece in body.chunks(PIECE_BYTES) {
        decoder.push(piece, &mut plain).expect("the body is coded");
        let bytes = match &mut masker {
            Some(masker) => {
                masker.push(&mut scratch, &plain, &mut masked).expect("the body is valid");
                &masked
            }
            None => &plain,
        };
        encoder.push(bytes, &mut out).expect("memory");
        plain.clear();
        masked.clear();
    }
    decoder.finish(&mut plain).expect("the body is whole");
    if let Some(masker) = &mut masker {
        masker.push(&mut scratch, &plain, &mut masked).expect("the body is valid");
        masker.finish(&mut scratch, &mut masked).expect("the body is valid");
        plain.clone_from(&masked);
    }
    encoder.push(&plain, &mut out).expect("memory");
    encoder.finish(&mut out).expect("memory");
    out
}

/// Masks what is not coded.
fn uncoded(ruleset: &Arc<Ruleset>, format: Format, text: &[u8]) -> Vec<u8> {
    let mut masker = Masker::new(ruleset, format, MaskerOptions::default());
    let (mut scratch, mut out) = (Scratch::new(), Vec::new());
    for chunk in text.chunks(CHUNK_BYTES) {
        masker.push(&mut scratch, chunk, &mut out).expect("the body is valid");
    }
    masker.finish(&mut scratch, &mut out).expect("the body is valid");
    out
}

/// Decodes and encodes by the libraries alone.
fn plainly(coding: Coding, body: &[u8]) -> Vec<u8> {
    let fast = flate2::Compression::fast();
    let out = Vec::new();
    match coding {
        Coding::Gzip => {
            let encoder = flate2::write::GzEncoder::new(out, fast);
            let mut machine = flate2::write::GzDecoder::new(encoder);
            body.chunks(PIECE_BYTES).for_each(|piece| machine.write_all(piece).expect("memory"));
            machine.finish().and_then(flate2::write::GzEncoder::finish).expect("memory")
        }
        Coding::Deflate => {
            let encoder = flate2::write::ZlibEncoder::new(out, fast);
            let mut machine = flate2::write::ZlibDecoder::new(encoder);
            body.chunks(PIECE_BYTES).for_each(|piece| machine.write_all(piece).expect("memory"));
            machine.finish().and_then(flate2::write::ZlibEncoder::finish).expect("memory")
        }
        Coding::RawDeflate => unreachable!("no header names it"),
        Coding::Br => {
            let encoder = brotli::CompressorWriter::new(out, PIECE_BYTES, BR.0, BR.1);
            let mut machine = brotli::DecompressorWriter::new(encoder, PIECE_BYTES);
            body.chunks(PIECE_BYTES).for_each(|piece| machine.write_all(piece).expect("memory"));
            machine.into_inner().unwrap_or_else(|_| panic!("memory")).into_inner()
        }
        Coding::Zstd => {
            let encoder = zstd::stream::write::Encoder::new(out, ZSTD_LEVEL).expect("memory");
            let mut machine = zstd::stream::write::Decoder::new(encoder).expect("memory");
            body.chunks(PIECE_BYTES).for_each(|piece| machine.write_all(piece).expect("memory"));
            machine.flush().expect("memory");
            machine.into_inner().finish().expect("memory")
        }
    }
}

fn encoded(codings: &Codings, text: &[u8]) -> Vec<u8> {
    let (mut encoder, mut out) = (Encoder::new(codings), Vec::new());
    encoder.push(text, &mut out).expect("memory");
    encoder.finish(&mut out).expect("memory");
    out
}

fn decoded(codings: &Codings, body: &[u8]) -> Vec<u8> {
    let limits = CodingLimits { ratio_max: u32::MAX, ..CodingLimits::default() };
    let (mut decoder, mut out) = (Decoder::new(codings, limits), Vec::new());
    decoder.push(body, &mut out).expect("it is coded");
    decoder.finish(&mut out).expect("it is whole");
    out
}

/// Least, middle and most.
fn spread(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [values[0], values[values.len() / 2], values[values.len() - 1]]
}

fn table() -> String {
    let corpus = Corpus::find().unwrap_or_else(|e| panic!("{e}"));
    let ruleset = ruleset();
    let mut text = format!(
        "{}\n\n| Document | Coding | plain, MB/s | ours without masking | masked | masking without coding | ours without masking : \
         plain (least to most) | masked : plain (least to most) |\n|---|---|--:|--:|--:|--:|--:|--:|\n",
        machine::describe()
    );
    for (name, file, format) in [
        ("LLM deltas (SSE)", "clean/llm_chat.sse", Format::Sse),
        ("OTLP traces (NDJSON)", "clean/otlp_traces.jsonl", Format::Ndjson),
        ("source code (text)", "clean/source_code.txt", Format::Text),
    ] {
        let unit = corpus.read(file).unwrap_or_else(|e| panic!("{e}"));
        let document = unit.repeat(DOCUMENT_BYTES / unit.len());
        for (word, coding) in
            [("gzip", Coding::Gzip), ("deflate", Coding::Deflate), ("br", Coding::Br), ("zstd", Coding::Zstd)]
        {
            let codings = Codings::new(vec![coding]).expect("one coding");
            let body = encoded(&codings, &document);
            assert!(decoded(&codings, &plainly(coding, &body)) == document, "{word}: plainly");
            let masked = decoded(&codings, &ours(Some(&ruleset), format, &codings, &body));
            assert!(masked.len() * 100 > document.len() * 99, "{word}: little of {name} is masked");
            let (mut ratios, mut speeds) = ([Vec::new(), Vec::new()], [const { Vec::new() }; 4]);
            for round in 0..=ROUNDS {
                let time = |run: &dyn Fn() -> Vec<u8>| {
                    let began = Instant::now();
                    std::hint::black_box(run());
                    began.elapsed().as_secs_f64()
                };
                let seconds = [
                    time(&|| plainly(coding, &body)),
                    time(&|| ours(None, format, &codings, &body)),
                    time(&|| ours(Some(&ruleset), format, &codings, &body)),
                    time(&|| uncoded(&ruleset, format, &document)),
                ];
                if round > 0 {
                    ratios[0].push(seconds[0] / seconds[1]);
                    ratios[1].push(seconds[0] / seconds[2]);
                    for (speeds, seconds) in speeds.iter_mut().zip(seconds) {
                        speeds.push(document.len() as f64 / seconds / 1e6);
                    }
                }
            }
            let [through, masked] = ratios.map(|ratios| {
                let [least, middle, most] = spread(ratios);
                format!("{middle:.2} ({least:.2} to {most:.2})")
            });
            let speeds = speeds.map(|speeds| format!("{:.0}", spread(speeds)[1])).join(" | ");
            writeln!(text, "| {name} | {word} | {speeds} | {through} | {masked} |").expect("memory");
            println!("{name}, {word}: {masked}");
        }
    }
    text
}

/// Only where it is asked for, `cargo bench -- codings` or `--bench codings`: it takes minutes.
fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|a| a == "--test") || arguments.iter().all(|a| a != "codings") {
        println!("codings: run it with `cargo bench -p sluice-bench --bench codings -- codings`");
        return;
    }
    let table = table();
    print!("{table}");
    let file = arguments.iter().position(|a| a == "--markdown").and_then(|at| arguments.get(at + 1));
    if let Some(file) = file {
        // Of the working folder of whoever asked, not of the crate.
        let path =
            std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(Default::default, std::path::PathBuf::from);
        std::fs::write(path.join("..").join(file), table).unwrap_or_else(|e| panic!("{file}: {e}"));
    }
}
