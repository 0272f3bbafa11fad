//! How WebSockets end: closes, cuts, frames that are not valid, silence, a reader that does not read.

use std::io::Write;
use std::time::Duration;

use sluice_tests::DRIVERS;
use sluice_tests::process::Gateway;
use sluice_tests::upstream::Upstream;

use crate::session::*;

fn close(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes()[..], reason.as_bytes()].concat()
}

#[test]
fn a_close_passes_with_its_reason_masked() {
    for io in DRIVERS {
        let upstream = Upstream::bind();
        let gateway = Gateway::with_keys(&upstream.url(), io, &[]);
        for first in [true, false] {
            let mut session = Session::open(&gateway, &upstream);
            let reason = close(4001, "AKIAEZH5VTGLTMQAZX6T bye");
            let frame = if first {
                session.ask(FIN | CLOSE, reason);
                read(&mut session.server)
            } else {
                session.answer(FIN | CLOSE, reason);
                read(&mut session.client)
            };
            let frame = frame.expect("the close comes");
            assert_eq!(frame.code(), Some(4001), "{io}");
            let text = String::from_utf8(frame.payload[2..].to_vec()).unwrap();
            assert!(text.len() == 24 && text.ends_with(" bye") && !text.contains("AKIAEZH5"), "{io}: {text}");
            // The other side may still say what it has to say.
            if first {
                session.answer(FIN | TEXT, "last words");
                assert_eq!(message(&mut session.client).1, b"last words", "{io}");
                session.answer(FIN | CLOSE, close(4001, ""));
            } else {
                session.ask(FIN | TEXT, "last words");
                assert_eq!(message(&mut session.server).1, b"last words", "{io}");
                session.ask(FIN | CLOSE, close(4001, ""));
            }
            let other = if first { &mut session.client } else { &mut session.server };
            assert_eq!(read(other).and_then(|f| f.code()), Some(4001), "{io}");
            assert!(session.client.is_at_end() && session.server.is_at_end(), "{io}: both are closed");
        }
    }
}

#[test]
fn nothing_goes_on_behind_a_close() {
    for io in DRIVERS {
        let upstream = Upstream::bind();
        let gateway = Gateway::with_keys(&upstream.url(), io, &[]);
        let mut session = Session::open(&gateway, &upstream);
        let after = [frame(FIN | CLOSE, Some(MASK), close(1000, "")), frame(FIN | TEXT, Some(MASK), "more")];
        session.client.send(after.concat());
        session.ask(FIN | TEXT, "and more");
        assert_eq!(read(&mut session.server).and_then(|f| f.code()), Some(1000), "{io}");
        session.answer(FIN | CLOSE, close(1000, ""));
        assert_eq!(read(&mut session.client).and_then(|f| f.code()), Some(1000), "{io}");
        assert_eq!(read(&mut session.server), None, "{io}: something came behind the close");
    }
}

/// A side that leaves without a close: what it said whole arrives, and the other one is cut off as well.
#[test]
fn a_cut_is_passed_on_as_a_cut() {
    for io in DRIVERS {
        let upstream = Upstream::bind();
        let gateway = Gateway::with_keys(&upstream.url(), io, &[]);
        for half in [true, false] {
            let mut session = Session::open(&gateway, &upstream);
            session.ask(FIN | TEXT, "whole");
            session.ask(TEXT, "not whole");
            if half {
                session.client.end_sending();
            } else {
                drop(session.client);
            }
            assert_eq!(message(&mut session.server).1, b"whole", "{io}");
            assert_eq!(read(&mut session.server), None, "{io}: no close is made up");
            let mut session = Session::open(&gateway, &upstream);
            session.answer(FIN | TEXT, "whole");
            session.answer(TEXT, "not whole");
            if half {
                session.server.end_sending();
            } else {
                drop(session.server);
            }
            assert_eq!(message(&mut session.client).1, b"whole", "{io}");
            assert_eq!(read(&mut session.client), None, "{io}: no close is made up");
        }
    }
}

/// What a client or server sends that section 5 forbids, and the code that it gets for it.
fn attacks(mask: Option<[u8; 4]>) -> Vec<(&'static str, Vec<u8>, u16)> {
    let other = if mask.is_some() { None } else { Some(MASK) };
    let bit = if mask.is_some() { 0x80 } else { 0 };
    let key = mask.map(|key| key.to_vec()).unwrap_or_default();
    let raw = |head: &[u8]| [head, &key, b"planted".as_slice()].concat();
    vec![
        ("the first reserved bit", frame(FIN | 0x40 | TEXT, mask, "planted"), 1002),
        ("the second reserved bit", frame(FIN | 0x20 | TEXT, mask, "planted"), 1002),
        ("the third reserved bit", frame(FIN | 0x10 | BINARY, mask, "planted"), 1002),
        ("a frame masked as the other side's", frame(FIN | TEXT, other, "planted"), 1002),
        ("an unknown data frame", frame(FIN | 3, mask, "planted"), 1002),
        ("an unknown control frame", frame(FIN | 11, mask, "planted"), 1002),
        ("a ping of 126 bytes", frame(FIN | PING, mask, "planted".repeat(18)), 1002),
        ("a close of 126 bytes", frame(FIN | CLOSE, mask, "planted".repeat(18)), 1002),
        ("a ping in fragments", frame(PING, mask, "planted"), 1002),
        ("a fragment of nothing", frame(FIN | CONTINUATION, mask, "planted"), 1002),
        (
            "a message within another",
            [frame(TEXT, mask, "planted"), frame(FIN | TEXT, mask, "planted")].concat(),
            1002,
        ),
        ("a length of two bytes that fits in one", raw(&[FIN | TEXT, bit | 126, 0, 7]), 1002),
        (
            "a length of eight bytes that fits in one",
            raw(&[FIN | TEXT, bit | 127, 0, 0, 0, 0, 0, 0, 0, 7]),
            1002,
        ),
        ("a length of 2^63", raw(&[FIN | BINARY, bit | 127, 0x80, 0, 0, 0, 0, 0, 0, 0]), 1002),
        ("a text that is not UTF-8", frame(FIN | TEXT, mask, b"planted \xFF"), 1007),
        ("a text that ends in a character", frame(FIN | TEXT, mask, b"planted \xE2\x82"), 1007),
        ("a surrogate", frame(FIN | TEXT, mask, b"planted \xED\xA0\x80"), 1007),
        ("a reason that is not UTF-8", frame(FIN | CLOSE, mask, b"\x03\xE8planted\xFF"), 1007),
        ("half a code", frame(FIN | CLOSE, mask, b"\x03"), 1002),
        ("code 1005", frame(FIN | CLOSE, mask, close(1005, "planted")), 1002),
        ("code 1006", frame(FIN | CLOSE, mask, close(1006, "planted")), 1002),
        ("code 1015", frame(FIN | CLOSE, mask, close(1015, "planted")), 1002),
        ("code 999", frame(FIN | CLOSE, mask, close(999, "planted")), 1002),
        ("code 5000", frame(FIN | CLOSE, mask, close(5000, "planted")), 1002),
        ("a text over the limit", frame(FIN | TEXT, mask, "planted ".repeat(600_000)), 1009),
    ]
}

#[test]
fn frames_that_are_not_valid_end_both_sides() {
    for io in DRIVERS {
        let upstream = Upstream::bind();
        let gateway = Gateway::with_keys(&upstream.url(), io, &["--shards", "1"]);
        for from_client in [true, false] {
            for (what, frames, code) in attacks(from_client.then_some(MASK)) {
                let mut session = Session::open(&gateway, &upstream);
                session.ask(FIN | TEXT, "before");
                session.answer(FIN | TEXT, "before");
                for wire in [&mut session.client, &mut session.server] {
                    assert_eq!(message(wire).1, b"before", "{io}: {what}");
                }
                let (sender, other) = if from_client {
                    (&mut session.client, &mut session.server)
                } else {
                    (&mut session.server, &mut session.client)
                };
                // It may be closed before all of a long one is sent.
                sender.try_send(&frames);
                let frame = read(other).expect("a close comes");
                assert_eq!((frame.code(), frame.is_masked), (Some(1011), from_client), "{io}: {what}");
                let frame = read(sender).expect("a close comes");
                assert_eq!((frame.code(), frame.is_masked), (Some(code), !from_client), "{io}: {what}");
                sender.end_sending();
                other.end_sending();
                assert_eq!(read(other), None, "{io}: {what}");
            }
        }
        let metrics = crate::metrics(&gateway);
        let refused = 2 * attacks(None).len();
        let line = format!("sluice_refusals_total{{code=\"unmaskable\"}} {refused}");
        assert!(metrics.lines().any(|l| l == line), "{io}: {metrics}");
        assert!(metrics.contains("sluice_websockets_open 0"), "{io}: {metrics}");
        assert!(metrics.contains("sluice_hold_back_bytes 0"), "{io}: {metrics}");
        assert!(metrics.contains("sluice_panics_total 0"), "{io}: {metrics}");
    }
}

#[test]
fn silence_ends_a_session() {
    for io in DRIVERS {
        let upstream = Upstream::bind();
        let gateway = Gateway::with_keys(&upstream.url(), io, &["--upstream-seconds-max", "1"]);
        let mut session = Session::open(&gateway, &upstream);
        // What one side says keeps both.
        for _ in 0..4 {
            session.ask(FIN | PING, "");
            read(&mut session.server).expect("it goes on");
            std::thread::park_timeout(Duration::from_millis(400));
        }
        for wire in [&mut session.server, &mut session.client] {
            assert_eq!(read(wire).and_then(|f| f.code()), Some(1001), "{io}");
        }
    }
}

#[test]
fn a_drain_ends_a_session_that_is_quiet() {
    for io in DRIVERS {
        let upstream = Upstream::bind();
        let mut gateway = Gateway::with_keys(&upstream.url(), io, &[]);
        let mut session = Session::open(&gateway, &upstream);
        gateway.server.signal("TERM");
        session.ask(FIN | TEXT, "before");
        assert_eq!(message(&mut session.server).1, b"before", "{io}");
        for wire in [&mut session.server, &mut session.client] {
            assert_eq!(read(wire).and_then(|f| f.code()), Some(1001), "{io}");
        }
        drop(session);
        assert!(gateway.server.exit().success(), "{io}");
    }
}

/// A client that does not read stops what its upstream sends.
#[test]
fn a_slow_reader_stops_the_other_side() {
    const SENT_MAX: usize = 64 << 20;
    for io in DRIVERS {
        let upstream = Upstream::bind();
        let gateway = Gateway::with_keys(&upstream.url(), io, &[]);
        let session = Session::open(&gateway, &upstream);
        let mut server = session.server.stream().try_clone().unwrap();
        server.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
        let message = frame(FIN | BINARY, None, vec![7; 32 << 10]);
        let mut sent = 0;
        while sent < SENT_MAX && server.write_all(&message).is_ok() {
            sent += message.len();
        }
        assert!(sent < SENT_MAX, "{io}: all of it was taken, and nobody read it");
    }
}
