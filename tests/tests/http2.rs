//! HTTP/2 with real clients and by hand: curl in every version, TLS whose first flight holds requests, and streams of
//! many small frames.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use sluice_tests::DRIVERS;
use sluice_tests::frames::{
    DATA, END_HEADERS, END_STREAM, Frame, Frames, GOAWAY, HEADERS, PREFACE, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, block, frame, get, request,
};
use sluice_tests::process::{Gateway, GatewayOptions};
use sluice_tests::protobuf::{field, framed};
use sluice_tests::tls::Identity;
use sluice_tests::upstream::Upstream;
use sluice_tests::wire::{Message, ok};

const KEY: &str = "the key AKIAEZH5VTGLTMQAZX6T is here. ";
const MASKED: &str = "the key [aws_access_key] is here. ";

fn echo(request: &Message) -> Vec<u8> {
    ok("text/plain", [KEY.as_bytes(), &request.body].concat())
}

/// Runs curl; gives its output, which ends with the version that was spoken.
fn curl(args: &[&str], url: &str, input: &str) -> String {
    let mut child = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "20", "--write-out", "%{http_version}"])
        .args(args)
        .arg(url)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("curl is there");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("curl reads");
    let output = child.wait_with_output().expect("curl ends");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn curl_speaks_every_version_on_one_port() {
    for io in DRIVERS {
        let upstream = Upstream::answering(echo);
        let gateway = Gateway::with_keys(&upstream.url(), io, &[]);
        let url = format!("http://{}/x", gateway.address);
        for (version, said) in [("--http2-prior-knowledge", "2"), ("--http1.1", "1.1"), ("--http1.0", "1.1")]
        {
            for repeated in [0, 1, 20_000] {
                let data = ["--data-binary", "@-", "--header", "content-type: text/plain", version];
                let output = curl(&data, &url, &KEY.repeat(repeated));
                let wanted = format!("{MASKED}{}{said}", MASKED.repeat(repeated));
                assert!(output == wanted, "{io} {version} {repeated}: {} bytes", output.len());
                let request = upstream.take_requests().pop().expect("a request");
                assert!(request.text() == MASKED.repeat(repeated), "{io} {version} {repeated}");
            }
        }
        let output = curl(&["--http2-prior-knowledge", "--head"], &url, "");
        assert!(output.starts_with("HTTP/2 200"), "{io}: {output}");
        let output = curl(&["--http2-prior-knowledge", "--upload-file", "-"], &url, KEY);
        assert_eq!(output, format!("{MASKED}{MASKED}2"), "{io}");
    }
}

fn listening(identity: &Identity, upstream: &str, io: &'static str) -> Gateway {
    let args =
        vec!["--tls-cert".into(), identity.certificate_file(), "--tls-key".into(), identity.key_file()];
    Gateway::start(upstream, &GatewayOptions { io, args, ..GatewayOptions::default() })
}

#[test]
fn tls_gives_the_version_that_the_client_asks_for() {
    let identity = Identity::new(&["gateway.test"]);
    for io in DRIVERS {
        let upstream = Upstream::answering(echo);
        let gateway = listening(&identity, &upstream.url(), io);
        let port = gateway.address.port();
        let url = format!("https://gateway.test:{port}/x");
        let name = format!("gateway.test:{port}:127.0.0.1");
        let (certificate, body) = (identity.certificate_file(), KEY.repeat(20_000));
        for (version, said) in [("--http2", "2"), ("--http1.1", "1.1"), ("--no-alpn", "1.1")] {
            let text = ["--header", "content-type: text/plain", "--data-binary", "@-"];
            let args = [&["--cacert", &certificate, "--resolve", &name, version], &text[..]].concat();
            let output = curl(&args, &url, &body);
            assert!(output == format!("{MASKED}{}{said}", MASKED.repeat(20_000)), "{io} {version}");
        }
    }
}

#[test]
fn requests_that_come_with_the_end_of_the_handshake_are_answered() {
    let identity = Identity::new(&["gateway.test"]);
    for io in DRIVERS {
        let upstream = Upstream::answering(echo);
        let gateway = listening(&identity, &upstream.url(), io);
        for alpn in [&b"h2"[..], b""] {
            let mut roots = RootCertStore::empty();
            let certificate =
                CertificateDer::from_pem_file(identity.certificate_file()).expect("a certificate");
            roots.add(certificate).expect("a root can be trusted");
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let config = ClientConfig::builder_with_provider(provider);
            let config = config.with_safe_default_protocol_versions().expect("versions");
            let mut config = config.with_root_certificates(roots).with_no_client_auth();
            if !alpn.is_empty() {
                config.alpn_protocols = vec![alpn.to_vec()];
            }
            let name = ServerName::try_from("gateway.test").expect("a name");
            let mut tls = ClientConnection::new(Arc::new(config), name).expect("a session");
            let mut socket = TcpStream::connect(gateway.address).expect("it accepts connections");
            socket.set_nodelay(true).expect("Nagle's algorithm can be switched off");
            while tls.is_handshaking() {
                if tls.wants_write() {
                    tls.write_tls(&mut socket).expect("the gateway reads");
                }
                if tls.wants_read() && tls.is_handshaking() {
                    tls.read_tls(&mut socket).expect("the gateway writes");
                    tls.process_new_packets().expect("TLS");
                }
            }
            // The client's Finished has not left: it goes with all of this in one write.
            let first =
                [PREFACE, &frame(SETTINGS, 0, 0, &[]), &get(1, "/first"), &get(3, "/second")].concat();
            tls.writer().write_all(&first).expect("it is kept");
            let mut flight = Vec::new();
            while tls.wants_write() {
                tls.write_tls(&mut flight).expect("it is kept");
            }
            socket.write_all(&flight).expect("the gateway reads");
            let (mut plain, mut oks) = (Vec::new(), 0);
            while oks < 2 {
                assert!(tls.read_tls(&mut socket).expect("the gateway writes") > 0, "{io}: it ended");
                tls.process_new_packets().expect("TLS");
                let _ = tls.reader().read_to_end(&mut plain);
                // A head with status 200.
                oks = plain
                    .windows(10)
                    .filter(|w| w[3] == HEADERS && w[4] & END_HEADERS != 0 && w[9] == 0x88)
                    .count();
            }
            let mut targets: Vec<String> =
                upstream.take_requests().iter().map(|r| r.head.target().to_owned()).collect();
            targets.sort();
            assert_eq!(targets, ["/first", "/second"], "{io}");
        }
    }
}

/// A side that sends DATA within its windows.
struct Sender {
    frames: Frames,
    connection: i64,
    stream: i64,
}

impl Sender {
    /// RFC 9113, section 6.9.2: the windows before any was opened.
    fn new(frames: Frames) -> Sender {
        Sender { frames, connection: 65_535, stream: 65_535 }
    }

    fn take(&mut self, frame: &Frame) {
        if frame.kind == WINDOW_UPDATE {
            let more = i64::from(u32::from_be_bytes(frame.payload[..4].try_into().unwrap()));
            if frame.stream == 0 { self.connection += more } else { self.stream += more }
        }
    }

    /// Sends `count` frames with this payload, many in a write.
    fn send(&mut self, count: usize, payload: &[u8]) {
        let one = frame(DATA, 0, 1, payload);
        let mut left = count;
        while left > 0 {
            let window = usize::try_from(self.connection.min(self.stream)).unwrap_or(0);
            let now = left.min(window / payload.len()).min(200);
            if now == 0 {
                let frame = self.frames.read().expect("the windows open again");
                self.take(&frame);
                continue;
            }
            assert!(self.frames.send(&one.repeat(now)), "the gateway reads");
            let sent = (now * payload.len()) as i64;
            (self.connection, self.stream) = (self.connection - sent, self.stream - sent);
            left -= now;
        }
    }
}

/// All DATA of stream 1 until it ends; the windows are opened again as it comes.
fn received(side: &mut Sender) -> (Vec<u8>, Frame) {
    let (mut data, mut owed) = (Vec::new(), 0u32);
    loop {
        let frame = side.frames.read().expect("the stream ends before the connection does");
        side.take(&frame);
        if frame.stream != 1 || !matches!(frame.kind, DATA | HEADERS) {
            assert!(frame.code().is_none_or(|code| code == 0), "{frame:?}");
            continue;
        }
        if frame.kind == DATA {
            data.extend_from_slice(&frame.payload);
            owed += frame.payload.len() as u32;
        }
        if frame.flags & END_STREAM != 0 {
            return (data, frame);
        }
        if owed > 16_384 {
            let update = |stream| sluice_tests::frames::frame(WINDOW_UPDATE, 0, stream, &owed.to_be_bytes());
            side.frames.send(&[update(0), update(1)].concat());
            owed = 0;
        }
    }
}

/// RFC 9113, section 8.7.
#[test]
fn what_the_upstream_did_nothing_with_is_sent_again() {
    let refused = frame(RST_STREAM, 0, 1, &[0, 0, 0, 7]);
    let going = frame(GOAWAY, 0, 0, &[0; 8]);
    for (what, refusal) in [("REFUSED_STREAM", refused), ("GOAWAY", going)] {
        let upstream = Upstream::bind();
        let gateway = Gateway::with_keys(&upstream.url(), "uring", &["--shards", "1"]);
        let mut client = Frames::connect(gateway.address);
        let head = request("POST", "/s/m", &[("content-type", "application/grpc"), ("te", "trailers")]);
        client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &head));
        let mut first = Frames::accept(upstream.accept_stream());
        assert!(first.find(|f| f.kind == HEADERS).is_some(), "{what}");
        first.send(&refusal);
        let mut second = Frames::accept(upstream.accept_stream());
        assert!(second.find(|f| f.kind == HEADERS).is_some(), "{what}");
        second.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0x88]));
        assert!(client.find(|f| f.kind == HEADERS).is_some_and(|f| f.is_ok()), "{what}");
        // Another error is the request's own.
        let mut client = Frames::connect(gateway.address);
        client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &head));
        let again = if what == "GOAWAY" { &mut second } else { &mut first };
        let asked = again.find(|f| f.kind == HEADERS).expect("the connection is used again");
        again.send(&frame(RST_STREAM, 0, asked.stream, &[0, 0, 0, 2]));
        let answer = client.find(|f| f.kind == HEADERS).expect("an answer");
        assert!(answer.flags & END_STREAM != 0, "{what}: a status of gRPC alone");
        assert!(upstream.try_accept(Duration::from_millis(50)).is_none(), "{what}: it was sent again");
    }
}

#[test]
fn a_hundred_thousand_small_frames_pass_both_ways() {
    const COUNT: usize = 100_000;
    let message = framed(0, &field(1, [b'.'; 43]));
    assert_eq!(message.len(), 50);
    let upstream = Upstream::bind();
    let gateway = Gateway::with_keys(&upstream.url(), "uring", &["--shards", "1"]);
    let (sent, answer) = (message.repeat(COUNT), message.clone());
    let mut client = Sender::new(Frames::connect(gateway.address));
    let fields = [("content-type", "application/grpc"), ("te", "trailers")];
    client.frames.send(&frame(HEADERS, END_HEADERS, 1, &request("POST", "/s/m", &fields)));
    // gRPC goes up in HTTP/2 with prior knowledge.
    let server = thread::spawn(move || {
        let mut server = Sender::new(Frames::accept(upstream.accept_stream()));
        let (data, _) = received(&mut server);
        let head = [&[0x88][..], &block(&[("content-type", "application/grpc")])].concat();
        server.frames.send(&frame(HEADERS, END_HEADERS, 1, &head));
        server.send(COUNT, &answer);
        let trailers = block(&[("grpc-status", "0")]);
        server.frames.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &trailers));
        let _ = server.frames.find(|_| false);
        data
    });
    client.send(COUNT, &message);
    client.frames.send(&frame(DATA, END_STREAM, 1, &[]));
    let (data, last) = received(&mut client);
    assert!(data == sent, "{} bytes", data.len());
    assert_eq!(last.kind, HEADERS, "trailers end it");
    drop(gateway);
    assert!(server.join().expect("the server ends") == sent);
}
