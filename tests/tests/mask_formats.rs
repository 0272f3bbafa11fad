//! `sluice mask --format F` for every F of the contract: values are masked as the format hides them, the rest leaves as
//! it came, whatever `--chunk` is; what is not valid in F ends with exit code 1, or is scanned as text.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::Output;

use sluice_tests::process::{Build, keys_pack, run};
use sluice_tests::protobuf::{field, framed, traces};

const SECRET: &str = "AKIAEZH5VTGLTMQAZX6T";
const MASKED: &str = "[aws_access_key]";

fn mask(args: &[&str], input: &[u8]) -> Output {
    let pack = keys_pack();
    let all: Vec<&str> = ["mask", "--pack", &pack].into_iter().chain(args.iter().copied()).collect();
    run(Build::Debug, &all, input)
}

/// A format, an input, and the output.
fn cases() -> Vec<(&'static str, Vec<u8>, Vec<u8>)> {
    let escaped = SECRET.replacen('K', "\\u004b", 1);
    let text = |format, input: String, output: String| (format, input.into_bytes(), output.into_bytes());
    let label =
        |format, pattern: &str| text(format, pattern.replace("{}", SECRET), pattern.replace("{}", MASKED));
    let escape =
        |format, pattern: &str| text(format, pattern.replace("{}", &escaped), pattern.replace("{}", MASKED));
    let event = |content: &str| {
        format!(
            "data: {{\"object\":\"chat.completion.chunk\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{content}\"}}}}]}}\n\n"
        )
    };
    let export = |value: &str| traces("db.statement", value);
    let attribute = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"q","attributes":[{"key":"db.statement","value":{"stringValue":"key {}"}}]}]}]}]}"#;
    vec![
        label("auto", "the key {} here\n"),
        escape("auto", "{\"key\" : \"{}\"}\n{\"n\":1.50}\n"),
        escape("auto", "data: {\"key\":\"{}\"}\n\n"),
        label("text", "key {}, \\u004b stays\n"),
        escape("json", "{ \"key\":\"{}\", \"n\" : 1e3 }\n"),
        escape("ndjson", "{\"key\":\"{}\"}\n[1, 2]\n"),
        text(
            "sse",
            [event("the key AKIAEZ"), event("H5VTGLT"), event("MQAZX6T here")].concat(),
            [event("the key [aws_access_key]"), event(""), event(" here")].concat(),
        ),
        text(
            "form",
            format!("a=b+c&key=AK%49A{}&d", &SECRET[4..]),
            "a=b+c&key=%5Baws_access_key%5D&d".into(),
        ),
        escape("otlp-json", attribute),
        ("otlp-proto", export(&format!("key {SECRET}")), export("key ********************")),
        (
            "grpc",
            [framed(0, &field(1, format!("key {SECRET}"))), framed(0, b"")].concat(),
            [framed(0, &field(1, "key ********************")), framed(0, b"")].concat(),
        ),
    ]
}

#[test]
fn every_format_masks_for_every_chunking() {
    for (format, input, output) in cases() {
        for chunk in ["1", "7", "262144"] {
            let done = mask(&["--format", format, "--chunk", chunk], &input);
            let what =
                format!("--format {format} --chunk {chunk}: {}", String::from_utf8_lossy(&done.stderr));
            assert!(done.status.success(), "{what}");
            assert_eq!(String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&output), "{what}");
        }
    }
}

#[test]
fn what_is_not_valid_in_its_format_ends_with_1() {
    for (format, input) in [
        ("json", format!("{{\"a\": }} {SECRET}").into_bytes()),
        ("ndjson", format!("{{}}\n{{{SECRET}").into_bytes()),
        ("otlp-json", SECRET.into()),
        ("otlp-proto", [traces("k", "v"), vec![0x0A, 0x7F], SECRET.into()].concat()),
        ("grpc", [framed(0, &field(1, "x")), SECRET.into()].concat()),
        // Nothing tells how it is compressed.
        ("grpc", framed(1, SECRET.as_bytes())),
    ] {
        let done = mask(&["--format", format], &input);
        assert_eq!(done.status.code(), Some(1), "{format}");
        for output in [&done.stdout, &done.stderr] {
            assert!(!String::from_utf8_lossy(output).contains(&SECRET[4..]), "{format}");
        }
    }
}

#[test]
fn what_is_not_valid_can_be_scanned_as_text() {
    for (format, input) in [
        ("json", format!("{{\"a\": }} {SECRET}\n")),
        ("ndjson", format!("{{}}\nkey {SECRET}\n")),
        ("otlp-json", format!("key {SECRET}\n")),
    ] {
        let done = mask(&["--format", format, "--on-error", "text"], input.as_bytes());
        assert!(done.status.success(), "{format}");
        assert_eq!(String::from_utf8_lossy(&done.stdout), input.replace(SECRET, MASKED), "{format}");
    }
    // What is no message may have been read as numbers up to where that shows: never as text.
    for format in ["otlp-proto", "grpc"] {
        let done = mask(&["--format", format, "--on-error", "text"], format!("\n\x7F{SECRET}").as_bytes());
        assert_eq!(done.status.code(), Some(1), "{format}");
        assert!(!String::from_utf8_lossy(&done.stdout).contains(&SECRET[..12]), "{format}");
    }
}
