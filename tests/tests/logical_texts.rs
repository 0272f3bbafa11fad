//! Each planted value in the deltas of LLM streams, with the built-in packs and no gateway between: every two-way cut of
//! every field, for every one of them fed to the masker a byte at a time as well.
//!
//! `leaks.rs` asks the same through sockets; here a fault is the engine's or a pack's, and is found in seconds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{fs, path::PathBuf};

use sluice_engine::{Format, Masker, MaskerOptions, OnError, Scratch};
use sluice_tests::checkout;
use sluice_tests::engine;
use sluice_tests::llm::Field;
use sluice_tests::planted::Planted;

/// Masks a body in chunks of this size.
fn mask(format: Format, body: &[u8], chunk: usize) -> String {
    let out = engine::mask(format, body, chunk, &mut Scratch::new());
    String::from_utf8(out).expect("the output is UTF-8")
}

/// What is wrong with a masked sentence.
fn fault(planted: &Planted, text: &str) -> Option<String> {
    let (before, after) = planted.text.split_once("{}").expect("a place for the value");
    if let Some(fragment) = planted.leak_in(text.as_bytes()) {
        return Some(format!("{fragment:?} leaks: {text:?}"));
    }
    let intact = text.starts_with(before) && text.ends_with(after);
    (!intact).then(|| format!("the text around the value changed: {text:?}"))
}

/// The text of a field: the sentence itself, or JSON that holds it.
fn travelling(field: Field, planted: &Planted) -> String {
    if field.is_json() {
        serde_json::json!({"note": planted.sentence(), "n": 1}).to_string()
    } else {
        planted.sentence()
    }
}

/// The sentence that arrived.
fn arrived(field: Field, body: &str) -> Result<String, String> {
    let joined = field.joined(body);
    if !field.is_json() {
        return Ok(joined);
    }
    let value: serde_json::Value =
        serde_json::from_str(&joined).map_err(|e| format!("not JSON: {e}: {joined}"))?;
    value["note"].as_str().map(String::from).ok_or_else(|| format!("no note: {joined}"))
}

/// Every planted value, at every cut, in this field: all faults, one a class.
fn cut_everywhere(field: Field) {
    let mut faults = Vec::new();
    for planted in Planted::all() {
        let text = travelling(field, &planted);
        let fault = (0..=text.len()).find_map(|at| {
            let stream = field.stream(&[&text[..at], &text[at..]]);
            let whole = mask(Format::Sse, stream.as_bytes(), stream.len());
            if at % 8 == 0 {
                assert_eq!(mask(Format::Sse, stream.as_bytes(), 1), whole, "chunks matter, cut at {at}");
            }
            let what = arrived(field, &whole).map_or_else(Some, |text| fault(&planted, &text));
            what.map(|what| format!("{}, cut at {at}: {what}", planted.class))
        });
        faults.extend(fault);
    }
    assert!(faults.is_empty(), "{field:?}\n{}", faults.join("\n"));
}

#[test]
fn the_corpus_is_masked_the_same_for_every_chunking() {
    /// As much of each file as is taken.
    const FILE_BYTES_MAX: usize = 128 * 1024;
    let test = "the_corpus_is_masked_the_same_for_every_chunking";
    let Some(shared) = checkout::shared() else {
        checkout::skip(test, "no corpus beside the checkout (SLUICE_SHARED)");
        return;
    };
    let clean = fs::read_dir(shared.join("corpus/clean")).expect("clean traffic");
    let mut files: Vec<PathBuf> = clean.map(|entry| entry.expect("an entry").path()).collect();
    files.push(shared.join("corpus/dev.jsonl"));
    let options = || MaskerOptions { on_error: OnError::Text, ..MaskerOptions::default() };
    let run = |format, body: &[u8], chunk: usize| {
        let (mut masker, mut scratch, mut out) =
            (Masker::new(&engine::builtin(), format, options()), Scratch::new(), Vec::new());
        for part in body.chunks(chunk) {
            masker.push(&mut scratch, part, &mut out).expect("what can't be read is text");
        }
        masker.finish(&mut scratch, &mut out).expect("what can't be read is text");
        out
    };
    for file in files {
        let bytes = fs::read(&file).expect("a file of the corpus");
        let body = &bytes[..bytes.len().min(FILE_BYTES_MAX)];
        for format in [Format::Text, Format::Auto] {
            let whole = run(format, body, body.len());
            for chunk in [1, 2, 3, 7, 64, 4096] {
                assert!(
                    run(format, body, chunk) == whole,
                    "{}: {format:?} in chunks of {chunk}",
                    file.display()
                );
            }
        }
    }
}

#[test]
fn openai_content() {
    cut_everywhere(Field::OpenAiContent);
}

#[test]
fn openai_second_choice() {
    cut_everywhere(Field::OpenAiSecondChoice);
}

#[test]
fn openai_arguments() {
    cut_everywhere(Field::OpenAiArguments);
}

#[test]
fn anthropic_text() {
    cut_everywhere(Field::AnthropicText);
}

#[test]
fn anthropic_thinking() {
    cut_everywhere(Field::AnthropicThinking);
}

#[test]
fn anthropic_json() {
    cut_everywhere(Field::AnthropicJson);
}

#[test]
fn a_character_a_delta_as_in_a_whole_body() {
    let mut faults = Vec::new();
    for planted in Planted::all() {
        let mut note = |what: &str, fault: Option<String>| {
            faults.extend(fault.map(|fault| format!("{}, {what}: {fault}", planted.class)));
        };
        for field in Field::ALL {
            let text = travelling(field, &planted);
            let parts: Vec<&str> = (0..text.len()).map(|at| &text[at..=at]).collect();
            let masked = mask(Format::Sse, field.stream(&parts).as_bytes(), 4096);
            note(
                &format!("{field:?}"),
                arrived(field, &masked).map_or_else(Some, |text| fault(&planted, &text)),
            );
        }
        let sentence = planted.sentence();
        note("text", fault(&planted, &mask(Format::Text, sentence.as_bytes(), 4096)));
        let body = serde_json::json!({ "messages": [{ "content": sentence }] }).to_string();
        let masked: serde_json::Value =
            serde_json::from_str(&mask(Format::Json, body.as_bytes(), 4096)).expect("JSON");
        note("JSON", fault(&planted, masked["messages"][0]["content"].as_str().expect("a string")));
        let inner =
            serde_json::json!({ "arguments": serde_json::json!({ "q": sentence }).to_string() }).to_string();
        let masked: serde_json::Value =
            serde_json::from_str(&mask(Format::Json, inner.as_bytes(), 4096)).expect("JSON");
        let arguments = masked["arguments"].as_str().expect("a string");
        match serde_json::from_str::<serde_json::Value>(arguments) {
            Ok(value) => note("JSON in JSON", fault(&planted, value["q"].as_str().expect("a string"))),
            Err(e) => note("JSON in JSON", Some(format!("{e}: {arguments}"))),
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
