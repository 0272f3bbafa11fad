//! Every fault of a client that RFC 9113 says a server must answer, frame by frame: a connection error, a stream error, or
//! a refusal, and never an answer as if nothing were wrong; then floods, each of which must leave the gateway as it was.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Instant;

use sluice_tests::DRIVERS;
use sluice_tests::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, PADDED, PING, PREFACE,
    PRIORITY, PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, WITH_PRIORITY, block, frame, get, literal,
    request,
};
use sluice_tests::process::Gateway;
use sluice_tests::upstream::{Answering, Upstream};
use sluice_tests::wire::ok;

const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE_ERROR: u32 = 6;
const COMPRESSION_ERROR: u32 = 9;
const ENHANCE_YOUR_CALM: u32 = 11;

/// What must come of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// GOAWAY with this code, or with PROTOCOL_ERROR, and the end.
    Connection(u32),
    /// RST_STREAM or GOAWAY with this code, or a status of 4xx.
    Stream(u32),
    /// It is taken or passed over: the connection goes on.
    Fine,
}
use Wanted::{Connection, Fine, Stream};

fn upstream() -> Answering {
    Upstream::answering(|_| ok("text/plain", "fine "))
}

fn head(flags: u8, stream: u32, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, flags, stream, &block(fields))
}

const WHOLE: u8 = END_HEADERS | END_STREAM;

/// A request with these fields and no others.
fn fields(list: &[(&str, &str)]) -> Vec<u8> {
    head(WHOLE, 1, list)
}

/// A whole request with one more field.
fn with(name: &str, value: &str) -> Vec<u8> {
    frame(HEADERS, WHOLE, 1, &request("GET", "/", &[(name, value)]))
}

fn open() -> Vec<u8> {
    frame(HEADERS, END_HEADERS, 1, &request("POST", "/", &[]))
}

fn setting(id: u16, value: u32) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
}

/// The cases: section of RFC 9113, what is sent behind the preface and empty settings, what must come of it.
#[rustfmt::skip]
fn cases() -> Vec<(&'static str, &'static str, Vec<u8>, Wanted)> {
    let m = (":method", "GET");
    let s = (":scheme", "http");
    let p = (":path", "/");
    let a = (":authority", "test");
    let request = request("GET", "/", &[]);
    let cut = request.len() / 2;
    vec![
        ("4.1", "an unknown frame type is passed over", frame(99, 0, 0, b"what"), Fine),
        ("4.1", "an unknown frame type on a stream that is idle", frame(99, 0xFF, 1, b"what"), Fine),
        ("4.1", "unknown flags of PING", frame(PING, 0xFE & !ACK, 0, &[0; 8]), Fine),
        ("4.1", "the reserved bit is passed over", frame(PING, 0, 0x8000_0000, &[0; 8]), Fine),
        ("4.2", "DATA above the largest frame", [open(), frame(DATA, 0, 1, &[b'x'; 16_385])].concat(), Connection(FRAME_SIZE_ERROR)),
        ("4.2", "HEADERS above the largest frame", frame(HEADERS, WHOLE, 1, &[0; 16_385]), Connection(FRAME_SIZE_ERROR)),
        ("4.2", "an unknown frame above the largest frame", frame(99, 0, 0, &[0; 16_385]), Connection(FRAME_SIZE_ERROR)),
        ("4.3", "a block that can't be decoded", frame(HEADERS, WHOLE, 1, &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]), Connection(COMPRESSION_ERROR)),
        ("4.3", "an index that no table has", frame(HEADERS, WHOLE, 1, &[0xFE]), Connection(COMPRESSION_ERROR)),
        ("4.3", "index 0", frame(HEADERS, WHOLE, 1, &[0x80]), Connection(COMPRESSION_ERROR)),
        ("4.3", "a Huffman text with a wrong end", frame(HEADERS, WHOLE, 1, &[0x00, 0x81, 0x00, 0x00]), Connection(COMPRESSION_ERROR)),
        ("4.3", "a table larger than was allowed", frame(HEADERS, WHOLE, 1, &[0x3F, 0xE1, 0xFF, 0xFF, 0x03]), Connection(COMPRESSION_ERROR)),
        ("4.3", "a string longer than its block", frame(HEADERS, WHOLE, 1, &[0x00, 0x7E, b'x']), Connection(COMPRESSION_ERROR)),
        ("5.1", "DATA on an idle stream", frame(DATA, 0, 1, b"x"), Connection(PROTOCOL_ERROR)),
        ("5.1", "RST_STREAM on an idle stream", frame(RST_STREAM, 0, 1, &[0; 4]), Connection(PROTOCOL_ERROR)),
        ("5.1", "WINDOW_UPDATE on an idle stream", frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]), Connection(PROTOCOL_ERROR)),
        ("5.1", "CONTINUATION on an idle stream", frame(CONTINUATION, END_HEADERS, 1, &request), Connection(PROTOCOL_ERROR)),
        ("5.1", "DATA behind END_STREAM", [get(1, "/"), frame(DATA, 0, 1, b"x")].concat(), Stream(STREAM_CLOSED)),
        ("5.1", "HEADERS behind END_STREAM", [get(1, "/"), get(1, "/")].concat(), Stream(STREAM_CLOSED)),
        ("5.1", "CONTINUATION behind END_HEADERS", [get(1, "/"), frame(CONTINUATION, END_HEADERS, 1, &request)].concat(), Connection(PROTOCOL_ERROR)),
        ("5.1", "DATA behind a reset of ours", [open(), frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]), frame(DATA, 0, 1, b"x")].concat(), Stream(STREAM_CLOSED)),
        ("5.1", "HEADERS behind a reset of ours", [open(), frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]), get(1, "/")].concat(), Stream(STREAM_CLOSED)),
        ("5.1", "WINDOW_UPDATE behind END_STREAM", [get(1, "/"), frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])].concat(), Fine),
        ("5.1", "RST_STREAM behind END_STREAM", [get(1, "/"), frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])].concat(), Fine),
        ("5.1.1", "an even stream", get(2, "/"), Connection(PROTOCOL_ERROR)),
        ("5.1.1", "a stream below the last one", [get(5, "/"), get(3, "/")].concat(), Connection(PROTOCOL_ERROR)),
        ("5.1.2", "more streams than were allowed", (0..101u32).flat_map(|n| frame(HEADERS, END_HEADERS, 2 * n + 1, &sluice_tests::frames::request("POST", "/", &[]))).collect(), Stream(7)),
        ("5.3.1", "a stream that depends on itself", frame(HEADERS, WHOLE | WITH_PRIORITY, 1, &[&[0, 0, 0, 1, 16][..], &request].concat()), Stream(PROTOCOL_ERROR)),
        ("5.4.1", "GOAWAY is no fault", frame(GOAWAY, 0, 0, &[0; 8]), Fine),
        ("6.1", "DATA on the connection", [open(), frame(DATA, 0, 0, b"x")].concat(), Connection(PROTOCOL_ERROR)),
        ("6.1", "DATA with more padding than payload", [open(), frame(DATA, PADDED, 1, &[9, b'x'])].concat(), Connection(PROTOCOL_ERROR)),
        ("6.1", "padded DATA without a byte", [open(), frame(DATA, PADDED, 1, &[])].concat(), Connection(PROTOCOL_ERROR)),
        ("6.1", "padded DATA", [open(), frame(DATA, PADDED | END_STREAM, 1, &[2, b'x', 0, 0])].concat(), Fine),
        ("6.2", "HEADERS on the connection", frame(HEADERS, WHOLE, 0, &request), Connection(PROTOCOL_ERROR)),
        ("6.2", "HEADERS with more padding than payload", frame(HEADERS, WHOLE | PADDED, 1, &[255, 0]), Connection(PROTOCOL_ERROR)),
        ("6.2", "padded HEADERS", frame(HEADERS, WHOLE | PADDED, 1, &[&[2][..], &request, &[0, 0]].concat()), Fine),
        ("6.2", "HEADERS without END_HEADERS, then another stream's", [frame(HEADERS, END_STREAM, 1, &request), get(3, "/")].concat(), Connection(PROTOCOL_ERROR)),
        ("6.2", "HEADERS without END_HEADERS, then DATA", [frame(HEADERS, 0, 1, &request), frame(DATA, 0, 1, b"x")].concat(), Connection(PROTOCOL_ERROR)),
        ("6.2", "HEADERS without END_HEADERS, then PING", [frame(HEADERS, 0, 1, &request), frame(PING, 0, 0, &[0; 8])].concat(), Connection(PROTOCOL_ERROR)),
        ("6.2", "HEADERS without END_HEADERS, then an unknown frame", [frame(HEADERS, 0, 1, &request), frame(99, 0, 1, b"x")].concat(), Connection(PROTOCOL_ERROR)),
        ("6.3", "PRIORITY on the connection", frame(PRIORITY, 0, 0, &[0; 5]), Connection(PROTOCOL_ERROR)),
        ("6.3", "PRIORITY of another length", frame(PRIORITY, 0, 1, &[0; 4]), Stream(FRAME_SIZE_ERROR)),
        ("6.3", "PRIORITY on an idle stream", frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1]), Fine),
        ("6.4", "RST_STREAM on the connection", frame(RST_STREAM, 0, 0, &[0; 4]), Connection(PROTOCOL_ERROR)),
        ("6.4", "RST_STREAM of another length", [open(), frame(RST_STREAM, 0, 1, &[0; 3])].concat(), Connection(FRAME_SIZE_ERROR)),
        ("6.5", "an acknowledgement with a payload", frame(SETTINGS, ACK, 0, &[0; 6]), Connection(FRAME_SIZE_ERROR)),
        ("6.5", "SETTINGS on a stream", frame(SETTINGS, 0, 1, &[]), Connection(PROTOCOL_ERROR)),
        ("6.5", "SETTINGS of another length", frame(SETTINGS, 0, 0, &[0; 5]), Connection(FRAME_SIZE_ERROR)),
        ("6.5.2", "ENABLE_PUSH of 2", setting(2, 2), Connection(PROTOCOL_ERROR)),
        ("6.5.2", "a window above the largest", setting(4, 0x8000_0000), Connection(FLOW_CONTROL_ERROR)),
        ("6.5.2", "a frame size below the smallest", setting(5, 16_383), Connection(PROTOCOL_ERROR)),
        ("6.5.2", "a frame size above the largest", setting(5, 16_777_216), Connection(PROTOCOL_ERROR)),
        ("6.5.2", "an unknown setting", setting(99, 7), Fine),
        ("6.6", "PUSH_PROMISE from a client", frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 2][..], &request].concat()), Connection(PROTOCOL_ERROR)),
        ("6.7", "PING on a stream", frame(PING, 0, 1, &[0; 8]), Connection(PROTOCOL_ERROR)),
        ("6.7", "PING of another length", frame(PING, 0, 0, &[0; 7]), Connection(FRAME_SIZE_ERROR)),
        ("6.7", "an answer to no PING", frame(PING, ACK, 0, &[9; 8]), Fine),
        ("6.8", "GOAWAY on a stream", frame(GOAWAY, 0, 1, &[0; 8]), Connection(PROTOCOL_ERROR)),
        ("6.8", "GOAWAY that is too short", frame(GOAWAY, 0, 0, &[0; 7]), Connection(FRAME_SIZE_ERROR)),
        ("6.9", "WINDOW_UPDATE of 0 on the connection", frame(WINDOW_UPDATE, 0, 0, &[0; 4]), Connection(PROTOCOL_ERROR)),
        ("6.9", "WINDOW_UPDATE of 0 on a stream", [open(), frame(WINDOW_UPDATE, 0, 1, &[0; 4])].concat(), Stream(PROTOCOL_ERROR)),
        ("6.9", "WINDOW_UPDATE of another length", frame(WINDOW_UPDATE, 0, 0, &[0; 3]), Connection(FRAME_SIZE_ERROR)),
        ("6.9.1", "a window of the connection above the largest", frame(WINDOW_UPDATE, 0, 0, &[0x7F, 0xFF, 0xFF, 0xFF]), Connection(FLOW_CONTROL_ERROR)),
        ("6.9.1", "a window of a stream above the largest", [open(), frame(WINDOW_UPDATE, 0, 1, &[0x7F, 0xFF, 0xFF, 0xFF])].concat(), Stream(FLOW_CONTROL_ERROR)),
        ("6.9.2", "windows that a setting lifts above the largest", [open(), frame(WINDOW_UPDATE, 0, 1, &[0, 1, 0, 0]), setting(4, 0x7FFF_FFFF)].concat(), Connection(FLOW_CONTROL_ERROR)),
        ("6.10", "CONTINUATION on the connection", frame(CONTINUATION, END_HEADERS, 0, &request), Connection(PROTOCOL_ERROR)),
        ("6.10", "CONTINUATION of another stream", [frame(HEADERS, END_STREAM, 1, &request[..cut]), frame(CONTINUATION, END_HEADERS, 3, &request[cut..])].concat(), Connection(PROTOCOL_ERROR)),
        ("6.10", "CONTINUATION in order", [frame(HEADERS, END_STREAM, 1, &request[..cut]), frame(CONTINUATION, END_HEADERS, 1, &request[cut..])].concat(), Fine),
        ("8.1", "trailers without END_STREAM", [open(), frame(HEADERS, END_HEADERS, 1, &block(&[("x", "y")]))].concat(), Stream(PROTOCOL_ERROR)),
        ("8.1.1", "a length above what came", [head(END_HEADERS, 1, &[(":method", "POST"), s, p, a, ("content-length", "5")]), frame(DATA, END_STREAM, 1, b"1234")].concat(), Stream(PROTOCOL_ERROR)),
        ("8.1.1", "a length below what came", [head(END_HEADERS, 1, &[(":method", "POST"), s, p, a, ("content-length", "3")]), frame(DATA, END_STREAM, 1, b"1234")].concat(), Stream(PROTOCOL_ERROR)),
        ("8.1.1", "a length and no content", with("content-length", "3"), Stream(PROTOCOL_ERROR)),
        ("8.2", "a name in upper case", with("X-Name", "y"), Stream(PROTOCOL_ERROR)),
        ("8.2.1", "a name with a space", with("x name", "y"), Stream(PROTOCOL_ERROR)),
        ("8.2.1", "a name with a colon", with("x:name", "y"), Stream(PROTOCOL_ERROR)),
        ("8.2.1", "an empty name", with("", "y"), Stream(PROTOCOL_ERROR)),
        ("8.2.1", "a value with CR LF", with("x", "y\r\nz: w"), Stream(PROTOCOL_ERROR)),
        ("8.2.1", "a value with NUL", with("x", "y\0z"), Stream(PROTOCOL_ERROR)),
        ("8.2.1", "a value that begins with a space", with("x", " y"), Stream(PROTOCOL_ERROR)),
        ("8.2.1", "a value that ends with a tab", with("x", "y\t"), Stream(PROTOCOL_ERROR)),
        ("8.2.2", "connection", with("connection", "close"), Stream(PROTOCOL_ERROR)),
        ("8.2.2", "keep-alive", with("keep-alive", "1"), Stream(PROTOCOL_ERROR)),
        ("8.2.2", "proxy-connection", with("proxy-connection", "close"), Stream(PROTOCOL_ERROR)),
        ("8.2.2", "transfer-encoding", with("transfer-encoding", "chunked"), Stream(PROTOCOL_ERROR)),
        ("8.2.2", "upgrade", with("upgrade", "websocket"), Stream(PROTOCOL_ERROR)),
        ("8.2.2", "te other than trailers", with("te", "gzip"), Stream(PROTOCOL_ERROR)),
        ("8.2.2", "te: trailers", with("te", "trailers"), Fine),
        ("8.3", "a pseudo field behind a field", fields(&[m, s, ("x", "y"), p, a]), Stream(PROTOCOL_ERROR)),
        ("8.3", "an unknown pseudo field", fields(&[m, s, p, a, (":what", "y")]), Stream(PROTOCOL_ERROR)),
        ("8.3", "a pseudo field of responses", fields(&[m, s, p, a, (":status", "200")]), Stream(PROTOCOL_ERROR)),
        // The codec leaves it out: it goes nowhere.
        ("8.3", "a pseudo field in trailers", [open(), frame(HEADERS, WHOLE, 1, &block(&[m]))].concat(), Fine),
        ("8.3.1", "no :method", fields(&[s, p, a]), Stream(PROTOCOL_ERROR)),
        ("8.3.1", "no :scheme", fields(&[m, p, a]), Stream(PROTOCOL_ERROR)),
        ("8.3.1", "no :path", fields(&[m, s, a]), Stream(PROTOCOL_ERROR)),
        ("8.3.1", "an empty :path", fields(&[m, s, a, (":path", "")]), Stream(PROTOCOL_ERROR)),
        ("8.3.1", "two :method", fields(&[m, m, s, p, a]), Stream(PROTOCOL_ERROR)),
        ("8.3.1", "two :scheme", fields(&[m, s, s, p, a]), Stream(PROTOCOL_ERROR)),
        ("8.3.1", "two :path", fields(&[m, s, p, p, a]), Stream(PROTOCOL_ERROR)),
        ("8.3.1", "two :authority", fields(&[m, s, p, a, a]), Stream(PROTOCOL_ERROR)),
        ("8.3.1", "no authority and no Host", fields(&[m, s, p]), Stream(PROTOCOL_ERROR)),
        ("8.3.1", "Host other than :authority", with("host", "other"), Stream(PROTOCOL_ERROR)),
        ("8.5", "CONNECT", fields(&[(":method", "CONNECT"), a]), Stream(PROTOCOL_ERROR)),
        ("8.5", "CONNECT with a path", fields(&[(":method", "CONNECT"), s, p, a]), Stream(PROTOCOL_ERROR)),
        ("RFC 8441", "CONNECT with :protocol, which was not offered", fields(&[(":method", "CONNECT"), (":protocol", "websocket"), s, p, a]), Stream(PROTOCOL_ERROR)),
    ]
}

/// What came of a case: the connection's error, the stream's, or neither.
fn outcome(address: std::net::SocketAddr, bytes: &[u8], wanted: Wanted) -> Result<(), String> {
    let mut frames = Frames::connect(address);
    frames.send(bytes);
    if wanted == Fine {
        let is_fine = frames.send(&frame(PING, 0, 0, b"is there"))
            && frames.find(|f| f.kind == PING && f.payload == b"is there").is_some();
        return if is_fine { Ok(()) } else { Err("the connection ended".to_owned()) };
    }
    loop {
        let Some(found) = frames.read() else { return Err("the end, and no error before".to_owned()) };
        let code = found.code();
        match (wanted, found.kind) {
            (Connection(code), GOAWAY) if found.code() == Some(code) => return Ok(()),
            (Connection(_) | Stream(_), GOAWAY) if code == Some(PROTOCOL_ERROR) => return Ok(()),
            (Stream(wanted), GOAWAY | RST_STREAM) if code == Some(wanted) => return Ok(()),
            (Stream(_), RST_STREAM) if code == Some(PROTOCOL_ERROR) || code == Some(STREAM_CLOSED) => {
                return Ok(());
            }
            (Stream(PROTOCOL_ERROR), HEADERS) if !found.is_ok() => return Ok(()),
            (_, GOAWAY | RST_STREAM) => return Err(format!("code {code:?}")),
            (Stream(PROTOCOL_ERROR), HEADERS) => return Err("it was answered".to_owned()),
            _ => {}
        }
    }
}

#[test]
fn every_fault_of_a_client_is_answered_as_the_rfc_says() {
    let cases = cases();
    assert!(cases.len() >= 60, "{}", cases.len());
    for io in DRIVERS {
        let upstream = upstream();
        let gateway = Gateway::with_keys(&upstream.url(), io, &[]);
        let mut faults = Vec::new();
        for (section, what, bytes, wanted) in &cases {
            if let Err(why) = outcome(gateway.address, bytes, *wanted) {
                faults.push(format!("{section}: {what}: wanted {wanted:?}: {why}"));
            }
        }
        assert!(faults.is_empty(), "{io}:\n{}", faults.join("\n"));
        assert!(Frames::connect(gateway.address).answers(1), "{io}");
    }
}

#[test]
fn what_is_no_preface_is_no_connection() {
    for io in DRIVERS {
        let upstream = upstream();
        let gateway = Gateway::with_keys(&upstream.url(), io, &[]);
        // A byte less is a part of it, a byte more is not it.
        let mut frames = Frames::silent(gateway.address);
        frames.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX");
        let mut rest = Vec::new();
        let _ = std::io::Read::read_to_end(&mut frames.stream(), &mut rest);
        assert!(rest.starts_with(b"HTTP/1.1 4") || rest.starts_with(b"HTTP/1.1 505"), "{io}: {rest:?}");
        // Behind the preface, something other than SETTINGS.
        let mut frames = Frames::silent(gateway.address);
        frames.send(&[PREFACE, &get(1, "/")].concat());
        assert!(frames.find(|f| f.kind == GOAWAY).is_some_and(|f| f.code() == Some(PROTOCOL_ERROR)), "{io}");
        // Byte by byte.
        let mut frames = Frames::silent(gateway.address);
        for byte in [PREFACE, &frame(SETTINGS, 0, 0, &[]), &get(1, "/")].concat() {
            frames.send(&[byte]);
        }
        assert!(frames.find(|f| f.kind == HEADERS).is_some_and(|f| f.is_ok()), "{io}");
    }
}

/// Bytes of a flood at most.
const FLOOD_BYTES: usize = 24 * 1024 * 1024;

/// Sends `part` again and again until the gateway ends the connection; gives the code of its GOAWAY.
fn flood(
    address: std::net::SocketAddr,
    first: &[u8],
    part: impl Fn(u32) -> Vec<u8> + Send + 'static,
) -> Option<u32> {
    let mut frames = Frames::connect(address);
    let mut writer = frames.stream().try_clone().expect("a socket can be named twice");
    let first = first.to_vec();
    let sender = std::thread::spawn(move || {
        use std::io::Write;
        let mut is_taken = writer.write_all(&first).is_ok();
        let (mut sent, mut number) = (0, 0);
        // More than lies in sockets: a flood that is not noticed is taken to its end.
        while is_taken && sent < FLOOD_BYTES {
            let parts: Vec<u8> = (number..number + 100).flat_map(&part).collect();
            is_taken = writer.write_all(&parts).is_ok();
            (sent, number) = (sent + parts.len(), number + 100);
        }
        let _ = writer.shutdown(std::net::Shutdown::Write);
        is_taken
    });
    let code = frames.find(|f| f.kind == GOAWAY && f.code() != Some(0)).and_then(|f| f.code());
    let _ = frames.stream().shutdown(std::net::Shutdown::Both);
    let is_taken = sender.join().expect("the sender ends");
    assert!(code.is_some() || !is_taken, "it was not noticed");
    code
}

#[test]
fn floods_end_their_connection_and_nothing_else() {
    type Part = Box<dyn Fn(u32) -> Vec<u8> + Send>;
    let floods: Vec<(&str, Vec<u8>, Part)> = vec![
        ("PING", vec![], Box::new(|_| frame(PING, 0, 0, &[0; 8]))),
        ("SETTINGS", vec![], Box::new(|_| frame(SETTINGS, 0, 0, &[]))),
        ("PRIORITY", vec![], Box::new(|n| frame(PRIORITY, 0, 2 * n + 1, &[0, 0, 0, 0, 1]))),
        ("unknown frames", vec![], Box::new(|_| frame(99, 0, 0, &[]))),
        ("WINDOW_UPDATE", vec![], Box::new(|_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]))),
        ("empty DATA", open(), Box::new(|_| frame(DATA, 0, 1, &[]))),
        (
            "rapid reset (CVE-2023-44487)",
            vec![],
            Box::new(|n| [get(2 * n + 1, "/"), frame(RST_STREAM, 0, 2 * n + 1, &[0, 0, 0, 8])].concat()),
        ),
        (
            "CONTINUATION (CVE-2024-27316)",
            frame(HEADERS, END_STREAM, 1, &request("GET", "/", &[])),
            Box::new(|_| frame(CONTINUATION, 0, 1, &literal("x", [b'y'; 1000]))),
        ),
        (
            "empty CONTINUATION",
            frame(HEADERS, END_STREAM, 1, &request("GET", "/", &[])),
            Box::new(|_| frame(CONTINUATION, 0, 1, &[])),
        ),
        (
            "MadeYouReset (CVE-2025-8671)",
            vec![],
            Box::new(|n| {
                let stream = 2 * n + 1;
                [get(stream, "/"), frame(WINDOW_UPDATE, 0, stream, &[0, 0, 0, 0])].concat()
            }),
        ),
        (
            "an HPACK bomb",
            // 4,000 bytes enter the table, and are named again 1,000 times a head.
            frame(HEADERS, WHOLE, 1, &{
                let mut entry = literal("x", [b'y'; 4000]);
                entry[0] = 0x40;
                [request("GET", "/", &[]), entry].concat()
            }),
            Box::new(|n| {
                frame(HEADERS, WHOLE, 2 * n + 3, &[&request("GET", "/", &[])[..], &[0xBE; 1000]].concat())
            }),
        ),
    ];
    let upstream = upstream();
    let gateway = Gateway::with_keys(&upstream.url(), "uring", &["--shards", "1"]);
    let mut other = Frames::connect(gateway.address);
    assert!(other.answers(1));
    let before = resident_kib(gateway.server.pid());
    for (number, (what, first, part)) in floods.into_iter().enumerate() {
        let started = Instant::now();
        let code = flood(gateway.address, &first, part);
        let calm = [ENHANCE_YOUR_CALM, PROTOCOL_ERROR, COMPRESSION_ERROR];
        // What the gateway still says may be lost with the connection.
        assert!(
            code.is_none_or(|code| calm.contains(&code)),
            "{what}: {code:?} after {:?}",
            started.elapsed()
        );
        assert!(other.answers(2 * number as u32 + 3), "{what}: another connection goes on");
    }
    let after = resident_kib(gateway.server.pid());
    assert!(after < before + 64 * 1024, "{before} KiB, then {after} KiB");
}

/// Memory a process holds now, in KiB.
fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS is there");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn a_drain_tells_clients_and_lets_streams_end() {
    for io in DRIVERS {
        let upstream = Upstream::bind();
        let mut gateway = Gateway::with_keys(&upstream.url(), io, &[]);
        let mut client = Frames::connect(gateway.address);
        client.send(&get(1, "/slow"));
        let mut server = upstream.accept();
        server.head();
        gateway.server.signal("TERM");
        assert!(client.find(|f| f.kind == GOAWAY).is_some_and(|f| f.code() == Some(0)), "{io}");
        server.send(ok("text/plain", "late "));
        let end = client.find(|f| f.stream == 1 && f.flags & END_STREAM != 0).expect("the stream ends");
        assert_eq!((end.kind, end.payload.as_slice()), (DATA, &b"late "[..]), "{io}");
        assert!(gateway.server.exit().success(), "{io}");
    }
}

#[test]
fn a_client_that_resets_its_stream_cancels_what_is_done_for_it() {
    for io in DRIVERS {
        let upstream = Upstream::bind();
        let gateway = Gateway::with_keys(&upstream.url(), io, &[]);
        let mut client = Frames::connect(gateway.address);
        client.send(&get(1, "/slow"));
        let mut server = upstream.accept();
        server.head();
        client.send(&frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]));
        assert!(server.rest().is_empty(), "{io}: the upstream's connection ends");
        client.send(&get(3, "/again"));
        let mut server = upstream.accept();
        server.head();
        server.send(ok("text/plain", "fine "));
        assert!(client.find(|f| f.stream == 3 && f.kind == HEADERS).is_some_and(|f| f.is_ok()), "{io}");
    }
}

#[test]
fn a_response_that_breaks_off_never_ends() {
    for io in DRIVERS {
        let upstream = Upstream::bind();
        let gateway = Gateway::with_keys(&upstream.url(), io, &[]);
        let mut client = Frames::connect(gateway.address);
        client.send(&get(1, "/cut"));
        let mut server = upstream.accept();
        server.head();
        server.send(
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 100\r\n\r\nfirst words and ",
        );
        assert!(client.find(|f| f.stream == 1 && f.kind == DATA).is_some(), "{io}");
        drop(server);
        let last = client.find(|f| f.stream == 1 && (f.kind == RST_STREAM || f.flags & END_STREAM != 0));
        assert_eq!(last.map(|f| f.kind), Some(RST_STREAM), "{io}");
        client.send(&frame(PING, 0, 0, b"is there"));
        assert!(client.find(|f| f.kind == PING).is_some(), "{io}: the connection goes on");
    }
}
