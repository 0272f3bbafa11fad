//! Random documents of each format, values planted in random places and encodings: none is in what leaves, by any decoding.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fmt::Write;

use serde_json::{Value, json};
use sluice_engine::{Boundary, Coding, Format, Schema, Scratch};
use sluice_tests::coding::{codings, decoded, encoded, stacks};
use sluice_tests::engine::mask;
use sluice_tests::planted::Planted;
use sluice_tests::protobuf::framed;
use sluice_tests::random::{Planter, Random, decodings, spell, strings};
use sluice_tests::streams::{message_to, messages};
use sluice_tests::{checkout, llm};

/// A format: how a document is made, and what can be read in one.
struct Kind {
    name: &'static str,
    format: Format,
    make: fn(&mut Planter<'_>, &mut Random) -> Vec<u8>,
    read: fn(&[u8]) -> Vec<String>,
}

fn utf8(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The strings of JSON documents.
fn of_json<'a>(documents: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
    let mut all = Vec::new();
    for document in documents {
        let value: Value =
            serde_json::from_slice(document).unwrap_or_else(|e| panic!("{e}: {}", utf8(document)));
        strings(&value, &mut |text| all.push(text.to_owned()));
    }
    all
}

fn document(planter: &mut Planter<'_>, random: &mut Random) -> Vec<u8> {
    let value = json!({"a": planter.json(4, random), "b": planter.json(3, random)});
    spell(&value, random).into_bytes()
}

/// A text for the name or value of a pair (WHATWG URL, section 5).
fn form_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b' ' => out.push('+'),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => out.push(char::from(byte)),
            _ => write!(out, "%{byte:02X}").expect("memory"),
        }
        out
    })
}

fn form_decoded(pair: &str) -> String {
    let spaced = pair.replace('+', " ");
    let all = decodings(&spaced);
    all.get(1).cloned().unwrap_or(spaced)
}

/// A number as protobuf writes it.
fn varint(mut number: usize, out: &mut Vec<u8>) {
    while number >= 128 {
        out.push((number & 127) as u8 | 128);
        number >>= 7;
    }
    out.push(number as u8);
}

/// A message of texts, and messages in it.
fn message(planter: &mut Planter<'_>, depth: usize, random: &mut Random) -> Vec<u8> {
    let mut out = Vec::new();
    for number in 1..2 + random.below(4) {
        let inner = match random.below(3) {
            0 if depth > 0 => message(planter, depth - 1, random),
            _ => planter.text(random).into_bytes(),
        };
        varint(number << 3 | 2, &mut out);
        varint(inner.len(), &mut out);
        out.extend(inner);
    }
    out
}

/// Messages behind their prefixes, decompressed.
fn grpc_messages(mut body: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    while let [flag, a, b, c, d, rest @ ..] = body {
        let (inner, rest) = rest.split_at(u32::from_be_bytes([*a, *b, *c, *d]) as usize);
        all.push(if *flag == 1 { decoded(&codings("gzip"), inner) } else { inner.to_vec() });
        body = rest;
    }
    assert!(body.is_empty(), "a message is cut");
    all
}

const KINDS: &[Kind] = &[
    Kind {
        name: "text",
        format: Format::Text,
        make: |planter, random| planter.text(random).into_bytes(),
        read: |_| Vec::new(),
    },
    Kind { name: "JSON", format: Format::Json, make: document, read: |body| of_json([body]) },
    Kind {
        name: "a JSON array",
        format: Format::Json,
        make: |planter, random| {
            let elements: Vec<String> =
                (0..random.below(5)).map(|_| utf8(&document(planter, random))).collect();
            format!("[{}]", elements.join(",\n")).into_bytes()
        },
        read: |body| of_json([body]),
    },
    Kind {
        name: "NDJSON",
        format: Format::Ndjson,
        make: |planter, random| {
            (0..random.below(5)).flat_map(|_| [document(planter, random), b"\n".to_vec()].concat()).collect()
        },
        read: |body| of_json(body.split(|b| *b == b'\n').filter(|line| !line.is_empty())),
    },
    Kind {
        name: "server-sent events",
        format: Format::Sse,
        make: |planter, random| {
            let event = |_| {
                let words = planter.text(random).replace('\n', "\ndata: ");
                let comment = planter.text(random).replace('\n', " ");
                match random.below(4) {
                    0 => format!(": {comment}\nid: 7\ndata: {}\n\n", utf8(&document(planter, random))),
                    1 => format!("data: {words}\n\n"),
                    _ => format!("event: x\r\ndata:{}\r\n\r\n", utf8(&document(planter, random))),
                }
            };
            (0..4).map(event).collect::<String>().into_bytes()
        },
        read: |body| {
            let text = utf8(body).replace("\r\n", "\n");
            let mut all = Vec::new();
            for data in llm::events(&text) {
                match serde_json::from_str(&data) {
                    Ok(value) => strings(&value, &mut |text| all.push(text.to_owned())),
                    Err(_) => all.push(data),
                }
            }
            all
        },
    },
    Kind {
        name: "a form",
        format: Format::Form,
        make: |planter, random| {
            let pair = |n| format!("f{n}={}", form_encoded(&planter.text(random)));
            (0..4).map(pair).collect::<Vec<_>>().join("&").into_bytes()
        },
        read: |body| utf8(body).split(['&', '=']).map(form_decoded).collect(),
    },
    Kind {
        name: "multipart",
        format: Format::Auto,
        make: |planter, random| {
            let part = |n| {
                let (kind, content) = match random.below(3) {
                    0 => ("application/json", document(planter, random)),
                    1 => (
                        "application/x-www-form-urlencoded",
                        form_encoded(&planter.text(random)).into_bytes(),
                    ),
                    _ => ("text/plain", planter.text(random).into_bytes()),
                };
                let head = format!(
                    "--XyZ\r\nContent-Disposition: form-data; name=\"f{n}\"\r\nContent-Type: {kind}\r\n\r\n"
                );
                [head.as_bytes(), &content, b"\r\n"].concat()
            };
            let mut body: Vec<u8> = (0..4).flat_map(part).collect();
            body.extend(b"--XyZ--\r\n");
            body
        },
        read: |body| {
            let text = utf8(body);
            let mut all = Vec::new();
            for part in text.split("--XyZ").filter_map(|part| part.split_once("\r\n\r\n")) {
                let (head, content) = (part.0, part.1.trim_end());
                if head.contains("application/json") {
                    all.extend(of_json([content.as_bytes()]));
                } else {
                    all.push(form_decoded(content));
                }
            }
            all
        },
    },
    Kind {
        name: "protobuf",
        format: Format::Protobuf(Schema::Unknown),
        make: |planter, random| message(planter, 3, random),
        read: |_| Vec::new(),
    },
    Kind {
        name: "gRPC",
        format: Format::Grpc { schema: Schema::Unknown, coding: Some(Coding::Gzip) },
        make: |planter, random| {
            let one = |_| {
                let message = message(planter, 2, random);
                match random.below(2) {
                    0 => framed(0, &message),
                    _ => framed(1, &encoded(&codings("gzip"), &message)),
                }
            };
            (0..4).flat_map(one).collect()
        },
        read: |body| grpc_messages(body).iter().map(|message| utf8(message)).collect(),
    },
    Kind {
        name: "the AWS event stream",
        format: Format::EventStream,
        make: |planter, random| {
            let mut body = Vec::new();
            for _ in 0..=random.below(4) {
                let payload = match random.below(3) {
                    0 => planter.text(random).into_bytes(),
                    _ => document(planter, random),
                };
                message_to(&mut body, "contentBlockDelta", &payload);
            }
            body
        },
        read: |body| {
            let mut all = Vec::new();
            for payload in messages(body) {
                match serde_json::from_slice(&payload) {
                    Ok(value) => strings(&value, &mut |text| all.push(text.to_owned())),
                    Err(_) => all.push(utf8(&payload)),
                }
            }
            all
        },
    },
];

/// Runs one kind; gives how many values were planted.
fn run(kind: &Kind, seeds: u64, all: &[Planted]) -> usize {
    let mut scratch = Scratch::new();
    let mut planted_count = 0;
    let format = match kind.name {
        "multipart" => Format::Multipart(Boundary::new("XyZ").expect("a boundary")),
        _ => kind.format,
    };
    for seed in 0..seeds {
        let random = &mut Random(seed);
        random.below(1);
        let mut planter = Planter::new(all);
        let body = (kind.make)(&mut planter, random);
        let stack = &stacks()[random.below(stacks().len())].1;
        // What the gateway does with a coded body: decoded, masked, coded.
        let came = decoded(stack, &encoded(stack, &body));
        let output = mask(format, &came, 1 + random.below(300), &mut scratch);
        let output = decoded(stack, &encoded(stack, &output));
        let of = format!("{}, seed {seed}", kind.name);
        if planter.values.is_empty() {
            assert!(output == body, "{of}: a clean document changed: {}", utf8(&output));
        }
        planted_count += planter.values.len();
        let mut read = (kind.read)(&output);
        read.push(utf8(&output));
        for text in read.iter().flat_map(|text| decodings(text)) {
            for planted in &planter.values {
                assert_eq!(
                    planted.leaked_bytes(&text),
                    0,
                    "{of}: {} leaks: {text}\nof {}",
                    planted.class,
                    utf8(&body)
                );
            }
        }
    }
    planted_count
}

#[test]
fn no_value_is_in_what_leaves() {
    let seeds = if checkout::long_runs() { 5000 } else { 24 };
    let all = Planted::all();
    let mut faults = Vec::new();
    for kind in KINDS {
        match std::panic::catch_unwind(|| run(kind, seeds, &all)) {
            Ok(count) => assert!(count as u64 > seeds / 4, "{}: only {count} values were planted", kind.name),
            Err(_) => faults.push(kind.name),
        }
    }
    assert!(faults.is_empty(), "values leak: {faults:?}");
}
