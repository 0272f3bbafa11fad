//! Bodies far larger than memory may hold: 2 GiB through the gateway, and a pipe through `sluice mask`.
//!
//! By default 2 GiB come downstream, and a part of that goes upstream and through the pipe, which take as long for each byte;
//! `SLUICE_LONG=1` makes all of them 2 GiB and adds 100 GB through the pipe. Memory is asserted for every size.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::thread;

use sluice_tests::checkout;
use sluice_tests::process::{Build, Gateway, GatewayOptions, binary, resident_kib_max};
use sluice_tests::upstream::Upstream;
use sluice_tests::wire::Wire;

/// The most memory a process may ever hold resident: hundreds of times less than what streams through it. Most of it is
/// what compiling both packs takes at its peak; serving them takes less.
const RESIDENT_KIB_MAX: u64 = 80 * 1024;
/// The size of a large body.
const BODY_BYTES: u64 = 2 << 30;
/// The size of a large body where time is short.
const SHORT_BODY_BYTES: u64 = 256 << 20;
/// What a body repeats.
const BLOCK_BYTES: usize = 1 << 20;

const SECRET: &str = "AKIAEZH5VTGLTMQAZX6T";
const MASKED: &str = "[aws_access_key]";

/// A block of prose with one secret in its middle, and what must arrive of it.
fn block() -> (Vec<u8>, Vec<u8>) {
    let prose =
        "The quick brown fox jumps over the lazy dog, and a stream of plain words flows on without an end. ";
    let half = prose.repeat(BLOCK_BYTES / 2 / prose.len());
    let sent = format!("{half}the key is {SECRET} here. {half}");
    let arriving = sent.replace(SECRET, MASKED);
    (sent.into_bytes(), arriving.into_bytes())
}

/// Takes a body as it comes and checks that it is a pattern repeated.
struct Repeated<'a> {
    pattern: &'a [u8],
    at: usize,
    bytes: u64,
}

impl<'a> Repeated<'a> {
    fn new(pattern: &'a [u8]) -> Self {
        Repeated { pattern, at: 0, bytes: 0 }
    }

    fn take(&mut self, mut data: &[u8]) {
        self.bytes += data.len() as u64;
        while !data.is_empty() {
            let n = data.len().min(self.pattern.len() - self.at);
            assert!(
                data[..n] == self.pattern[self.at..self.at + n],
                "wrong bytes before byte {}",
                self.bytes
            );
            self.at = (self.at + n) % self.pattern.len();
            data = &data[n..];
        }
    }
}

/// The size of a body that need not have 2 GiB in every run.
fn short_bytes() -> u64 {
    if checkout::long_runs() { BODY_BYTES } else { SHORT_BODY_BYTES }
}

/// Sends the block as chunks until the body is as large as it should be; gives the number of blocks.
fn send_blocks(wire: &mut Wire, block: &[u8], bytes: u64) -> u64 {
    let blocks = bytes.div_ceil(block.len() as u64);
    for _ in 0..blocks {
        wire.send_chunk(block);
    }
    wire.send("0\r\n\r\n");
    blocks
}

/// Receives chunks to the last one.
fn receive_blocks(wire: &mut Wire, pattern: &[u8]) -> u64 {
    let mut body = Repeated::new(pattern);
    loop {
        let data = wire.try_chunk().expect("the body comes to its end");
        if data.is_empty() {
            assert_eq!(body.at, 0, "the last block is whole");
            return body.bytes / pattern.len() as u64;
        }
        body.take(&data);
    }
}

#[test]
fn bodies_stream_through_the_gateway_in_constant_memory() {
    let upstream = Upstream::bind();
    let options = GatewayOptions { build: Build::Release, ..GatewayOptions::default() };
    let gateway = Gateway::start(&upstream.url(), &options);
    let (sent, arriving) = block();
    thread::scope(|scope| {
        let server = scope.spawn(|| {
            let mut server = upstream.accept();
            server.head();
            let received = receive_blocks(&mut server, &arriving);
            server.send("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n");
            (received, send_blocks(&mut server, &sent, BODY_BYTES))
        });
        let mut client = Wire::connect(gateway.address);
        client.send(
            "POST /bulk HTTP/1.1\r\nhost: test\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n",
        );
        let uploaded = send_blocks(&mut client, &sent, short_bytes());
        let head = client.head();
        assert_eq!(head.status(), 200, "{head:?}");
        let downloaded = receive_blocks(&mut client, &arriving);
        assert_eq!(server.join().expect("upstream is content"), (uploaded, downloaded));
        assert!(downloaded * sent.len() as u64 >= BODY_BYTES);
    });
    let resident = gateway.server.resident_kib_max();
    eprintln!("2 GiB downstream: at most {resident} KiB resident");
    assert!(resident < RESIDENT_KIB_MAX, "{resident} KiB resident");
}

#[test]
fn a_reader_that_stops_stops_the_other_side() {
    let upstream = Upstream::bind();
    let options = GatewayOptions { build: Build::Release, ..GatewayOptions::default() };
    let gateway = Gateway::start(&upstream.url(), &options);
    let mut client = Wire::connect(gateway.address);
    client.send("GET /stall HTTP/1.1\r\nhost: test\r\n\r\n");
    let mut server = upstream.accept();
    server.head();
    server.send("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n");
    // Nobody reads: what the gateway and the kernel hold between the two is bounded, so a write blocks in time.
    let (sent, _) = block();
    server
        .stream()
        .set_write_timeout(Some(std::time::Duration::from_millis(700)))
        .expect("a timeout can be set");
    let mut written = 0_usize;
    let mut framed = format!("{:x}\r\n", sent.len()).into_bytes();
    framed.extend_from_slice(&sent);
    framed.extend_from_slice(b"\r\n");
    while server.try_send(&framed) {
        written += sent.len();
        assert!(written < 256 << 20, "{written} bytes went to a client that reads none");
    }
    let resident = gateway.server.resident_kib_max();
    assert!(resident < RESIDENT_KIB_MAX, "{resident} KiB resident");
}

/// `sluice mask` over this many bytes from a pipe.
fn mask_from_a_pipe(bytes: u64) {
    let mut child = Command::new(binary(Build::Release))
        .args(["mask", "--format", "text"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("sluice starts");
    let (sent, arriving) = block();
    let blocks = bytes.div_ceil(sent.len() as u64);
    let (mut stdin, mut stdout) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
    let (pid, last) = (child.id(), sent.clone());
    thread::scope(|scope| {
        scope.spawn(move || {
            for _ in 1..blocks {
                stdin.write_all(&sent).expect("sluice reads");
            }
            // Asked while it still runs: all but the last block has been read or stands in the pipe.
            let resident = resident_kib_max(pid);
            eprintln!("{bytes} bytes from a pipe: at most {resident} KiB resident");
            assert!(resident < RESIDENT_KIB_MAX, "{resident} KiB resident");
            stdin.write_all(&last).expect("sluice reads");
        });
        let mut body = Repeated::new(&arriving);
        let mut buffer = vec![0; 1 << 16];
        loop {
            match stdout.read(&mut buffer).expect("sluice writes") {
                0 => break,
                n => body.take(&buffer[..n]),
            }
        }
        assert_eq!((body.at, body.bytes), (0, blocks * arriving.len() as u64));
    });
    assert!(child.wait().expect("sluice ends").success());
}

#[test]
fn a_pipe_is_masked_in_constant_memory() {
    mask_from_a_pipe(short_bytes());
}

#[test]
fn a_hundred_gb_from_a_pipe_in_constant_memory() {
    if checkout::long_runs() {
        mask_from_a_pipe(100_000_000_000);
    }
}
