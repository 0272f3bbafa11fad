//! Who calls and for whom, as a file says: the PROXY protocol, fields of proxies, `CONNECT`, absolute-form, Unix sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use sluice_tests::DRIVERS;
use sluice_tests::configured::Configured;
use sluice_tests::tls::{Identity, VERSIONS};
use sluice_tests::upstream::{Answering, Upstream};
use sluice_tests::wire::{Message, Wire, ok};

const GET: &str = "GET /x HTTP/1.1\r\nhost: test\r\n";

/// Answers with the fields that tell of clients.
fn told(request: &Message) -> Vec<u8> {
    let is_told = |name: &str| name == "forwarded" || name.starts_with("x-forwarded") || name == "x-real-ip";
    let fields = request.head.fields.iter().filter(|(name, _)| is_told(name));
    let lines: Vec<String> = fields.map(|(name, value)| format!("{name}={value}")).collect();
    ok("text/plain", lines.join("|"))
}

fn start(io: &str, listener: &str, route: &str) -> (Answering, Configured) {
    let upstream = Upstream::answering(told);
    let text = Configured::text(io, listener, &format!("url = \"{}\"", upstream.url()), route);
    let gateway = Configured::start(&text);
    (upstream, gateway)
}

/// A header of version 2 (section 2.2) for a client over TCP and IPv4.
fn version_2(address: [u8; 4], port: u16) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C".to_vec();
    header.extend(address);
    header.extend([127, 0, 0, 1]);
    header.extend(port.to_be_bytes());
    header.extend(443u16.to_be_bytes());
    header
}

#[test]
fn the_proxy_protocol_tells_of_the_client_and_nothing_else_is_taken() {
    let local = [&b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"[..]].concat();
    for io in DRIVERS {
        let lines = "proxy_protocol = true\ntrusted = [\"127.0.0.0/8\"]";
        let (upstream, gateway) = start(io, lines, "forwarded = \"x-forwarded\"");
        for (header, client) in [
            (b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 80\r\n".to_vec(), Some("192.0.2.7")),
            (b"PROXY TCP6 2001:db8::7 ::1 4711 80\r\n".to_vec(), Some("2001:db8::7")),
            (b"PROXY UNKNOWN\r\n".to_vec(), Some("127.0.0.1")),
            (version_2([198, 51, 100, 9], 5), Some("198.51.100.9")),
            (local.clone(), Some("127.0.0.1")),
            (Vec::new(), None),
            (b"PROXY TCP4 192.0.2.7 127.0.0.1 4711\r\n".to_vec(), None),
            (b"PROXY TCP4 192.0.2.256 127.0.0.1 4711 80\r\n".to_vec(), None),
            (b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0C".to_vec(), None),
        ] {
            let what = format!("{io} {:?}", String::from_utf8_lossy(&header));
            let mut wire = Wire::connect(gateway.address);
            // Cut in two: a header need not come at once.
            let (start, rest) = header.split_at(header.len() / 2);
            wire.try_send(start);
            wire.try_send([rest, GET.as_bytes(), b"\r\n"].concat());
            match client {
                Some(client) => {
                    let text = wire.message().text().to_owned();
                    assert!(text.contains(&format!("x-real-ip={client}")), "{what}: {text}");
                    assert!(text.contains(&format!("x-forwarded-for={client}")), "{what}: {text}");
                }
                None => assert!(wire.rest().is_empty(), "{what}: it was answered"),
            }
        }
        assert_eq!(upstream.take_requests().len(), 5, "{io}");
    }
}

#[test]
fn the_proxy_protocol_stands_before_tls() {
    let identity = Identity::new(&["gateway.test"]);
    let (cert, key) = (identity.certificate_file(), identity.key_file());
    let tls = format!("tls = {{ certificates = [{{ cert = \"{cert}\", key = \"{key}\" }}] }}");
    let lines = format!("proxy_protocol = true\ntrusted = [\"127.0.0.1\"]\n{tls}");
    for io in DRIVERS {
        let (_upstream, gateway) = start(io, &lines, "forwarded = \"rfc7239\"");
        let mut stream = std::net::TcpStream::connect(gateway.address).expect("it accepts connections");
        stream.write_all(&version_2([203, 0, 113, 4], 99)).expect("it takes bytes");
        let mut wire = identity.client(VERSIONS[1]).over(stream, "gateway.test");
        let answer = wire.exchange(format!("{GET}\r\n"));
        assert_eq!(answer.text(), "forwarded=for=203.0.113.4;proto=https;host=test", "{io}");
    }
}

#[test]
fn the_proxy_protocol_of_a_peer_that_is_not_trusted_is_refused() {
    let lines = "proxy_protocol = true\ntrusted = [\"192.0.2.0/24\"]";
    let (upstream, gateway) = start("uring", lines, "");
    let mut wire = Wire::connect(gateway.address);
    wire.try_send(format!("PROXY TCP4 192.0.2.7 127.0.0.1 4711 80\r\n{GET}\r\n"));
    assert!(wire.rest().is_empty());
    assert!(upstream.take_requests().is_empty());
}

#[test]
fn fields_of_proxies_are_believed_from_trusted_peers_only() {
    let said = "x-forwarded-for: 192.0.2.1, 10.0.0.9\r\nx-forwarded-proto: https\r\n";
    let hidden = "forwarded: for=192.0.2.1;proto=https\r\n";
    for io in DRIVERS {
        for (trusted, fields, sent, wanted) in [
            ("", said, "x-forwarded", "x-forwarded-for=127.0.0.1|x-forwarded-proto=http|"),
            ("", hidden, "rfc7239", "forwarded=for=127.0.0.1;proto=http;host=test"),
            (
                "\"127.0.0.1\", \"10.0.0.0/8\"",
                said,
                "x-forwarded",
                "x-forwarded-for=192.0.2.1, 10.0.0.9, 127.0.0.1|x-forwarded-proto=https|",
            ),
            (
                "\"127.0.0.1\"",
                hidden,
                "rfc7239",
                "forwarded=for=192.0.2.1;proto=https;host=test, for=127.0.0.1",
            ),
            ("\"127.0.0.1\"", said, "none", ""),
        ] {
            let what = format!("{io} trusted = [{trusted}] {sent}");
            let (_upstream, gateway) =
                start(io, &format!("trusted = [{trusted}]"), &format!("forwarded = \"{sent}\""));
            let answer = Wire::connect(gateway.address).exchange(format!("{GET}{fields}\r\n"));
            assert!(answer.text().starts_with(wanted), "{what}: {}", answer.text());
            assert_eq!(wanted.is_empty(), answer.text().is_empty(), "{what}: {}", answer.text());
            if sent == "x-forwarded" {
                let real = if trusted.is_empty() { "127.0.0.1" } else { "192.0.2.1" };
                assert!(answer.text().contains(&format!("x-real-ip={real}")), "{what}: {}", answer.text());
            }
        }
    }
}

#[test]
fn the_rate_of_a_subject_is_that_of_the_client_behind_a_trusted_proxy() {
    let route = "rate = { requests = 2, window_ms = 3_600_000, by = \"subject\" }";
    let (_upstream, gateway) = start("uring", "trusted = [\"127.0.0.1\"]", route);
    for (client, status) in [(1, 200), (2, 200), (1, 200), (1, 429), (2, 200), (2, 429), (3, 200)] {
        let request = format!("{GET}x-forwarded-for: 192.0.2.{client}\r\n\r\n");
        let answer = Wire::connect(gateway.address).exchange(request);
        assert_eq!(answer.status(), status, "client {client}");
        assert_eq!(answer.head.field("retry-after").is_some(), status == 429);
    }
    assert_eq!(gateway.metric("sluice_refusals_total{code=\"rate_limited\"}"), 2);
}

#[test]
fn connect_and_absolute_form_are_taken_where_they_are_configured() {
    let connect = "CONNECT api.test:80 HTTP/1.1\r\nhost: api.test:80\r\n\r\n";
    let absolute = "GET http://api.test/x HTTP/1.1\r\nhost: other.test\r\n\r\n";
    let inside = "GET /x HTTP/1.1\r\nhost: api.test\r\n\r\n";
    let elsewhere = "GET /x HTTP/1.1\r\nhost: other.test\r\n\r\n";
    for io in DRIVERS {
        let (upstream, gateway) = start(io, "", "hosts = [\"api.test\"]");
        assert_eq!(Wire::connect(gateway.address).exchange(connect).status(), 405, "{io}");
        assert_eq!(Wire::connect(gateway.address).exchange(absolute).status(), 400, "{io}");
        assert!(upstream.take_requests().is_empty(), "{io}");

        let (upstream, gateway) = start(io, "connect = true\nabsolute_form = true", "hosts = [\"api.test\"]");
        assert_eq!(Wire::connect(gateway.address).exchange(absolute).status(), 200, "{io}");
        assert_eq!(upstream.take_requests().pop().expect("a request").head.target(), "/x", "{io}");
        let mut tunnel = Wire::connect(gateway.address);
        tunnel.send(connect);
        assert_eq!(tunnel.head().status(), 200, "{io}");
        assert_eq!(tunnel.exchange(inside).status(), 200, "{io}");
        assert_eq!(tunnel.exchange(elsewhere).status(), 421, "{io}: a tunnel leads to one host");
        for target in ["other.test:80", "127.0.0.1:22", "localhost:80"] {
            let request = format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n\r\n");
            assert_eq!(Wire::connect(gateway.address).exchange(request).status(), 404, "{io} {target}");
        }
        let mut tunnel = Wire::connect(gateway.address);
        tunnel.send(connect);
        tunnel.head();
        // The start of a handshake of TLS: nothing in it could be masked.
        tunnel.try_send([22, 3, 1, 0, 200]);
        assert_eq!(tunnel.rest().get(..2), Some(&[21, 3][..]), "{io}: an alert");
        assert_eq!(upstream.take_requests().len(), 1, "{io}");
    }
}

#[test]
fn a_unix_listener_has_the_mode_that_the_file_says_and_leads_to_a_unix_upstream() {
    for io in DRIVERS {
        for (lines, mode) in [("", 0o660), ("mode = \"0600\"", 0o600), ("mode = \"777\"", 0o777)] {
            let folder = tempdir();
            let (listen, upstream) = (folder.join("listen.sock"), folder.join("upstream.sock"));
            let server = std::os::unix::net::UnixListener::bind(&upstream).expect("a socket");
            let text = Configured::text(
                io,
                "",
                &format!("url = \"unix:{}\"\nauthority = \"here\"", upstream.display()),
                "",
            );
            let more = format!(
                "[[listener]]\nname = \"unix\"\nlisten = \"unix:{}\"\n{lines}\n\n[[upstream]]",
                listen.display()
            );
            let gateway = Configured::start(&text.replacen("[[upstream]]", &more, 1));
            let found = fs::metadata(&listen).expect("a socket").permissions().mode() & 0o777;
            assert_eq!(found, mode, "{io} {lines}");
            let mut client = UnixStream::connect(&listen).expect("it accepts connections");
            client.write_all(format!("{GET}connection: close\r\n\r\n").as_bytes()).expect("it takes bytes");
            let (mut served, _) = server.accept().expect("the gateway connects");
            let mut came = [0; 1024];
            let len = served.read(&mut came).expect("a request");
            assert!(String::from_utf8_lossy(&came[..len]).contains("Host: here\r\n"), "{io}");
            served.write_all(&ok("text/plain", "by unix")).expect("it takes bytes");
            let mut answer = String::new();
            client.read_to_string(&mut answer).expect("an answer");
            assert!(answer.ends_with("by unix"), "{io}: {answer}");
            drop(gateway);
            let _ = fs::remove_dir_all(folder);
        }
    }
}

/// A folder whose path is short, as sockets need it.
fn tempdir() -> std::path::PathBuf {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::SeqCst);
    let folder = std::env::temp_dir().join(format!("sluice-network-{}-{number}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder can be made");
    folder
}
