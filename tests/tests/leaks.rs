//! Each planted value, cut at every offset, in every place where text travels: none of it arrives, all around it does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use sluice_tests::DRIVERS;
use sluice_tests::llm::Field;
use sluice_tests::planted::Planted;
use sluice_tests::process::Gateway;
use sluice_tests::upstream::{Answering, Upstream};
use sluice_tests::wire::{End, Message, Wire, ok, post};

/// An upstream that answers with the body that the request asks for, so that the test decides every byte of it. Each byte
/// is spelled with two letters from `a` to `p`, four bits each: words that no rule can touch.
fn dictated() -> Answering {
    Upstream::answering(|request| {
        let letters: Vec<u8> = request.body.iter().filter(|b| **b != b' ').map(|b| b - b'a').collect();
        let body: Vec<u8> = letters.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect();
        ok(request.head.field("x-answer-type").expect("the type is dictated"), body)
    })
}

/// Asks for `body` as the answer.
fn dictate(client: &mut Wire, path: &str, content_type: &str, body: &[u8]) -> Message {
    let mut letters = Vec::with_capacity(body.len() * 3);
    for byte in body {
        letters.extend([b'a' + (byte >> 4), b'a' + (byte & 15), b' ']);
    }
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nhost: test\r\ncontent-type: text/plain\r\nx-answer-type: {content_type}\r\n\
         content-length: {}\r\n\r\n",
        letters.len()
    )
    .into_bytes();
    request.extend(letters);
    client.exchange(request)
}

/// Checks what became of a planted sentence.
fn assert_masked(planted: &Planted, text: &str, what: &str) {
    let class = &planted.class;
    assert_eq!(planted.leak_in(text.as_bytes()), None, "{class} leaks, {what}: {text:?}");
    let (before, after) = planted.text.split_once("{}").expect("a place for the value");
    assert!(text.starts_with(before), "{class}: the text before the value changed, {what}: {text:?}");
    assert!(text.ends_with(after), "{class}: the text after the value changed, {what}: {text:?}");
}

/// The text of a field: the sentence itself, or JSON that holds it.
fn travelling(field: Field, planted: &Planted) -> String {
    if field.is_json() {
        serde_json::json!({"note": planted.sentence(), "n": 1}).to_string()
    } else {
        planted.sentence()
    }
}

/// Checks a stream that came, and gives its text.
fn sentence_of(field: Field, response: &Message, what: &str) -> String {
    assert_eq!((response.status(), response.end), (200, End::Complete), "{what}");
    let joined = field.joined(response.text());
    if !field.is_json() {
        return joined;
    }
    let value: serde_json::Value =
        serde_json::from_str(&joined).unwrap_or_else(|e| panic!("{what}: not JSON: {e}: {joined}"));
    assert_eq!(value["n"], 1, "{what}");
    value["note"].as_str().expect("a note").to_owned()
}

/// Every two-way cut of every planted value in this field.
fn cut_everywhere(io: &'static str, field: Field) {
    let upstream = dictated();
    let gateway = Gateway::with_driver(&upstream.url(), io);
    let mut client = Wire::connect(gateway.address);
    for planted in Planted::all() {
        let text = travelling(field, &planted);
        for at in (0..=text.len()).filter(|at| text.is_char_boundary(*at)) {
            let what = format!("{io}, {field:?}, cut at {at}");
            let stream = field.stream(&[&text[..at], &text[at..]]);
            let response = dictate(&mut client, field.path(), "text/event-stream", stream.as_bytes());
            assert_eq!(planted.leak_in(&response.body), None, "{what}: {}", response.text());
            assert_masked(&planted, &sentence_of(field, &response, &what), &what);
        }
    }
}

#[test]
fn openai_content_cut_at_every_offset() {
    for io in DRIVERS {
        cut_everywhere(io, Field::OpenAiContent);
    }
}

#[test]
fn openai_second_choice_cut_at_every_offset() {
    cut_everywhere("uring", Field::OpenAiSecondChoice);
}

#[test]
fn openai_arguments_cut_at_every_offset() {
    cut_everywhere("uring", Field::OpenAiArguments);
}

#[test]
fn anthropic_text_cut_at_every_offset() {
    for io in DRIVERS {
        cut_everywhere(io, Field::AnthropicText);
    }
}

#[test]
fn anthropic_thinking_cut_at_every_offset() {
    cut_everywhere("uring", Field::AnthropicThinking);
}

#[test]
fn anthropic_json_cut_at_every_offset() {
    cut_everywhere("uring", Field::AnthropicJson);
}

#[test]
fn deltas_of_a_few_characters() {
    let upstream = dictated();
    let gateway = Gateway::with_driver(&upstream.url(), "uring");
    let mut client = Wire::connect(gateway.address);
    for field in Field::ALL {
        for planted in Planted::all() {
            let text = travelling(field, &planted);
            assert!(text.is_ascii(), "{}: parts are cut by bytes", planted.class);
            for size in 1..=5 {
                let what = format!("{field:?}, {size} a delta");
                let parts: Vec<&str> = text
                    .as_bytes()
                    .chunks(size)
                    .map(|part| std::str::from_utf8(part).expect("ASCII"))
                    .collect();
                let response =
                    dictate(&mut client, field.path(), "text/event-stream", field.stream(&parts).as_bytes());
                assert_masked(&planted, &sentence_of(field, &response, &what), &what);
            }
        }
    }
}

#[test]
fn two_choices_interleaved_are_two_texts() {
    let upstream = dictated();
    let gateway = Gateway::with_driver(&upstream.url(), "uring");
    let mut client = Wire::connect(gateway.address);
    let (first, second) = (Field::OpenAiContent, Field::OpenAiSecondChoice);
    let all = Planted::all();
    for (a, b) in all.iter().zip(all.iter().skip(1)) {
        let (one, two) = (a.sentence(), b.sentence());
        let mut stream = String::new();
        for at in 0..one.len().max(two.len()) {
            for (field, text) in [(first, &one), (second, &two)] {
                stream.extend(text.get(at..=at).map(|part| field.event(part)));
            }
        }
        stream += &second.closing().replace("data: [DONE]\n\n", "");
        stream += &first.closing();
        let response = dictate(&mut client, first.path(), "text/event-stream", stream.as_bytes());
        assert_masked(a, &sentence_of(first, &response, "first choice"), "first choice");
        assert_masked(b, &sentence_of(second, &response, "second choice"), "second choice");
    }
}

#[test]
fn whole_responses_are_masked_in_every_format() {
    let upstream = dictated();
    let gateway = Gateway::with_driver(&upstream.url(), "uring");
    let mut client = Wire::connect(gateway.address);
    for planted in Planted::all() {
        let sentence = planted.sentence();
        let response = dictate(&mut client, "/t", "text/plain", sentence.as_bytes());
        assert_masked(&planted, response.text(), "text");

        let body = serde_json::json!({"choices": [{"message": {"content": sentence}}], "n": [1, null, true]});
        let response =
            dictate(&mut client, "/v1/chat/completions", "application/json", body.to_string().as_bytes());
        let content =
            response.json()["choices"][0]["message"]["content"].as_str().expect("content").to_owned();
        assert_masked(&planted, &content, "JSON");
        assert_eq!(response.json()["n"], body["n"]);

        // Every character escaped: the value is what it decodes to.
        let escaped: String = sentence.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect();
        let response =
            dictate(&mut client, "/e", "application/json", format!("{{\"e\":\"{escaped}\"}}").as_bytes());
        assert_masked(&planted, response.json()["e"].as_str().expect("a string"), "JSON, escaped");

        let lines = format!("{}\n{}\n", serde_json::json!({"a": 1}), serde_json::json!({"b": sentence}));
        let response = dictate(&mut client, "/n", "application/x-ndjson", lines.as_bytes());
        let last = response.text().lines().nth(1).expect("two lines").to_owned();
        let value: serde_json::Value = serde_json::from_str(&last).expect("a line is JSON");
        assert_masked(&planted, value["b"].as_str().expect("a string"), "NDJSON");
    }
}

#[test]
fn requests_are_masked_at_every_cut_of_their_chunks() {
    for io in DRIVERS {
        let upstream = Upstream::answering(|_| ok("text/plain", "ok"));
        let gateway = Gateway::with_driver(&upstream.url(), io);
        let mut client = Wire::connect(gateway.address);
        for planted in Planted::all() {
            let body = serde_json::json!({"model": "m", "messages": [{"role": "user", "content": planted.sentence()}]});
            let body = body.to_string();
            for at in 1..body.len() {
                client.send(
                    "POST /v1/chat/completions HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n",
                );
                client.send_chunk(&body[..at]);
                client.send_chunk(&body[at..]);
                client.send("0\r\n\r\n");
                assert_eq!(client.message().text(), "ok", "{io}, {}, cut at {at}", planted.class);
            }
            for request in upstream.take_requests() {
                assert_eq!(request.end, End::Complete, "{io}");
                assert_eq!(planted.leak_in(&request.body), None, "{io}: {}", request.text());
                let content = request.json()["messages"][0]["content"].as_str().expect("content").to_owned();
                assert_masked(&planted, &content, io);
            }
        }
    }
}

#[test]
fn forms_and_texts_are_masked_upstream() {
    let upstream = Upstream::answering(|_| ok("text/plain", "ok"));
    let gateway = Gateway::with_driver(&upstream.url(), "uring");
    let mut client = Wire::connect(gateway.address);
    for planted in Planted::all() {
        let sentence = planted.sentence();
        let encoded: String = sentence.bytes().map(|b| format!("%{b:02X}")).collect();
        client.exchange(post("/f", "application/x-www-form-urlencoded", format!("a=1&note={encoded}&z=%20")));
        client.exchange(post("/t", "text/plain", &sentence));
        client.exchange(post("/u", "application/octet-stream", &sentence));
        let requests = upstream.take_requests();
        assert_eq!(requests.len(), 3);
        let form = requests[0].text();
        let note = form.split('&').find_map(|pair| pair.strip_prefix("note=")).expect("a note");
        assert_masked(&planted, &percent_decoded(note), "form");
        assert!(form.starts_with("a=1&") && form.ends_with("&z=%20"), "{form}");
        assert_masked(&planted, requests[1].text(), "text");
        assert_masked(&planted, requests[2].text(), "bytes");
        assert_eq!(requests[2].body.len(), sentence.len(), "bytes of unknown framing keep their length");
    }
}

/// A value of a form, decoded (WHATWG URL, section 5.1).
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match *first {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits = std::str::from_utf8(&rest[..2]).expect("two digits");
                bytes.push(u8::from_str_radix(digits, 16).expect("two digits"));
                rest = &rest[2..];
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8(bytes).expect("UTF-8")
}

#[test]
fn clean_text_arrives_byte_for_byte() {
    let upstream = dictated();
    let gateway = Gateway::with_driver(&upstream.url(), "uring");
    let mut client = Wire::connect(gateway.address);
    let text = "Grüße, 世界! 👩‍👩‍👧‍👦 \u{301}e naïve café — fn main() { println!(\"{}\", x << 2); } // 100% & <b>\t\u{1F980}\r\n";
    for field in Field::ALL {
        let cases = [
            field.stream(&text.split_inclusive(' ').collect::<Vec<_>>()),
            // Spelled as other serialisers do: spaces, escapes, CRLF, comments, fields in any order.
            format!(
                ": comment\r\n\r\nid: 7\r\nretry: 10\r\ndata: {{ \"x\" : \"gr\\u00fc\\u00DFe \\ud83e\\udd80 \\/\" , \"n\": 1.0e+3 }}\r\n\r\n{}",
                field.stream(&["a. ", ""])
            ),
        ];
        for stream in cases {
            let response = dictate(&mut client, field.path(), "text/event-stream", stream.as_bytes());
            assert_eq!(response.text(), stream, "{field:?}");
        }
    }
    for (content_type, body) in [
        ("text/plain", text.to_owned()),
        (
            "application/json",
            format!(" {{ \"k\" :\t[ 1.50, -0, 1e5, \"\\u00e9\\n\", {} ] }}\n", serde_json::json!(text)),
        ),
        ("application/octet-stream", "\0\u{1}\u{2} binary-ish \u{7f}".to_owned()),
    ] {
        let response = dictate(&mut client, "/clean", content_type, body.as_bytes());
        assert_eq!(response.text(), body, "{content_type}");
    }
}
