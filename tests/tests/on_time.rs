//! Held is only the suffix that could still become a masked value.
//!
//! Upstream and client move in lockstep: upstream sends one part and then nothing until the client has received all that
//! may not be held. A gateway that holds more makes the client wait until its deadline, which fails the test; no clock is
//! asked.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use sluice_tests::DRIVERS;
use sluice_tests::llm::Field;
use sluice_tests::process::Gateway;
use sluice_tests::upstream::Upstream;
use sluice_tests::wire::Wire;

/// A response that is open on both sides.
struct Exchange {
    server: Wire,
    client: Wire,
    headed: bool,
    received: Vec<u8>,
}

impl Exchange {
    /// Opens a streamed response of this type.
    fn open(upstream: &Upstream, gateway: &Gateway, path: &str, content_type: &str) -> Exchange {
        let mut client = Wire::connect(gateway.address);
        client.send(format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n"));
        let mut server = upstream.accept();
        server.head();
        server.send(format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n\r\n"
        ));
        let mut exchange = Exchange { server, client, headed: false, received: Vec::new() };
        if content_type == "text/event-stream" {
            // An event source is open once its head has come, before there is any event.
            exchange.receive_head();
        }
        exchange
    }

    fn receive_head(&mut self) {
        let head = self.client.head();
        assert!(head.is_chunked(), "{head:?}");
        self.headed = true;
    }

    /// Upstream sends a part.
    fn send(&mut self, part: &str) {
        // A chunk of no bytes would be the last one.
        if !part.is_empty() {
            self.server.send_chunk(part);
        }
    }

    /// The client reads one more chunk.
    fn receive(&mut self) {
        if !self.headed {
            self.receive_head();
        }
        let data = self.client.try_chunk().expect("the response goes on");
        self.received.extend(data);
    }

    /// The client reads until it has `wanted` bytes.
    fn receive_bytes(&mut self, wanted: usize) {
        while self.received.len() < wanted {
            self.receive();
        }
    }

    /// The client reads until it has the text of `field` up to `wanted` bytes.
    fn receive_text(&mut self, field: Field, wanted: usize) -> String {
        loop {
            let text = field.joined(&String::from_utf8_lossy(&self.received));
            if text.len() >= wanted {
                return text;
            }
            self.receive();
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("received {:?}", String::from_utf8_lossy(&self.received));
        }
    }
}

/// Prose as a model writes it, with the marks that prose has.
const PROSE: &str = "Streams carry words, one after another; a reader should see each of them as soon as it is written. \
    \"Is that so?\" she asked. It is: nothing but the last word may wait, and only until the next space (or stop) comes. \
    Code is text as well: let total = items.iter().map(|item| item.size).sum::<usize>(); and it flows the same way. ";

/// How many bytes at the end of `text` are one word.
fn trailing_word(text: &str) -> usize {
    text.chars().rev().take_while(|c| !c.is_whitespace()).map(char::len_utf8).sum()
}

#[test]
fn words_of_text_lag_by_a_word_and_no_more() {
    for io in DRIVERS {
        let upstream = Upstream::bind();
        let gateway = Gateway::with_driver(&upstream.url(), io);
        for size in [1, 3, 7] {
            let mut exchange = Exchange::open(&upstream, &gateway, "/text", "text/plain");
            let mut sent = String::new();
            for part in PROSE.as_bytes().chunks(size) {
                let part = std::str::from_utf8(part).expect("ASCII");
                exchange.send(part);
                sent.push_str(part);
                exchange.receive_bytes(sent.len() - trailing_word(&sent));
                assert!(sent.as_bytes().starts_with(&exchange.received), "{io}: the text changed");
            }
            exchange.server.send("0\r\n\r\n");
            exchange.receive_bytes(sent.len());
            assert_eq!(String::from_utf8_lossy(&exchange.received), PROSE, "{io}");
        }
    }
}

#[test]
fn words_of_deltas_lag_by_a_word_and_no_more() {
    for io in DRIVERS {
        let upstream = Upstream::bind();
        let gateway = Gateway::with_driver(&upstream.url(), io);
        for field in [Field::OpenAiContent, Field::AnthropicText, Field::AnthropicThinking] {
            let mut exchange = Exchange::open(&upstream, &gateway, field.path(), "text/event-stream");
            exchange.send(&field.opening());
            let mut sent = String::new();
            // Tokens: a word with the space before it, as models make them.
            for part in PROSE.split_inclusive(|c: char| !c.is_alphanumeric()) {
                exchange.send(&field.event(part));
                sent.push_str(part);
                let text = exchange.receive_text(field, sent.len() - trailing_word(&sent));
                assert!(sent.starts_with(&text), "{io}, {field:?}: the text changed");
            }
            exchange.send(&field.closing());
            exchange.server.send("0\r\n\r\n");
            assert_eq!(exchange.receive_text(field, sent.len()), PROSE, "{io}, {field:?}");
        }
    }
}

#[test]
fn what_stands_before_a_value_is_released_at_once() {
    for io in DRIVERS {
        let upstream = Upstream::bind();
        let gateway = Gateway::with_driver(&upstream.url(), io);
        let mut exchange = Exchange::open(&upstream, &gateway, "/text", "text/plain");
        let mut expected = String::new();
        for (part, leaves) in [
            // The keyword and the quote leave before the value comes.
            ("api_key = \"", "api_key = \""),
            ("\" is empty. ", "\" is empty. "),
            // A prefix of a value is held …
            ("AKIAEZH5", ""),
            ("VTGLTMQ", ""),
            // … until it can't become one any more; then all of it leaves,
            ("!\n", "AKIAEZH5VTGLTMQ!\n"),
            // or until it has.
            ("AKIAEZH5VTGLTM", ""),
            ("QAZX6T and ", "[aws_access_key] and "),
        ] {
            exchange.send(part);
            expected.push_str(leaves);
            exchange.receive_bytes(expected.len());
            assert_eq!(String::from_utf8_lossy(&exchange.received), expected, "{io}, after {part:?}");
        }
    }
}

#[test]
fn a_request_streams_upstream_as_it_comes() {
    for io in DRIVERS {
        let upstream = Upstream::bind();
        let gateway = Gateway::with_driver(&upstream.url(), io);
        let mut client = Wire::connect(gateway.address);
        client.send("POST /up HTTP/1.1\r\nhost: test\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n");
        let (mut server, mut received, mut sent) = (None, Vec::new(), String::new());
        for part in PROSE.split_inclusive(' ') {
            client.send_chunk(part);
            sent.push_str(part);
            let server = server.get_or_insert_with(|| {
                let mut server = upstream.accept();
                server.head();
                server
            });
            while received.len() < sent.len() {
                received.extend(server.try_chunk().expect("the request goes on"));
            }
            assert_eq!(String::from_utf8_lossy(&received), sent, "{io}");
        }
    }
}
