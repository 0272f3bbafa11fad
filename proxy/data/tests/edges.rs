//! What is before and behind HTTP: the PROXY protocol, fields of proxies, `CONNECT`, absolute-form, Unix sockets; over
//! real sockets, on both I/O drivers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use sluice_data::{
    EndpointAddress, ForwardedFields, Gateway, GatewayConfig, IoDriver, ListenAddress, ListenerConfig,
    RouteConfig, Routing, UpstreamConfig, UpstreamUrl,
};
use sluice_engine::{CompileOptions, Ruleset};
use sluice_policy::Access;

const WAIT: Duration = Duration::from_secs(10);
const DRIVERS: [IoDriver; 2] = [IoDriver::Uring, IoDriver::Epoll];

/// Answers each connection's requests with 200 and no body, and tells the heads.
fn answer(mut stream: impl Read + Write, heads: &Sender<String>) {
    let mut came = Vec::new();
    let mut byte = [0];
    while matches!(stream.read(&mut byte), Ok(1)) {
        came.push(byte[0]);
        if came.ends_with(b"\r\n\r\n") {
            let _ = heads.send(String::from_utf8(std::mem::take(&mut came)).unwrap());
            if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").is_err() {
                return;
            }
        }
    }
}

/// An upstream on TCP, and the heads that reach it.
fn upstream() -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, (sender, heads)) = (listener.local_addr().unwrap(), channel());
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let sender = sender.clone();
            thread::spawn(move || answer(stream, &sender));
        }
    });
    (address, heads)
}

fn start(
    io: IoDriver,
    upstream: SocketAddr,
    set: impl FnOnce(&mut ListenerConfig, &mut RouteConfig, &mut UpstreamConfig),
) -> Gateway {
    let url: UpstreamUrl = format!("http://{upstream}").parse().unwrap();
    let mut upstream = UpstreamConfig::new("u", &url, None);
    let ruleset = Ruleset::compile(Vec::new(), &CompileOptions::default()).unwrap();
    let mut route = RouteConfig::new("r", 0, ruleset);
    let mut listener = ListenerConfig::new("l", ListenAddress::Tcp("127.0.0.1:0".parse().unwrap()));
    set(&mut listener, &mut route, &mut upstream);
    let access = Access::without_identity(true).unwrap();
    let mut config = GatewayConfig::new(listener, Routing::everything_to(upstream, route), access);
    (config.shards, config.io, config.limits.head_ms_max) = (1, io, 1_000);
    Gateway::start(config).unwrap()
}

/// What comes back for these bytes, up to the end of a head, or of the connection.
fn ask(stream: &mut (impl Read + Write), bytes: &[u8]) -> String {
    let _ = stream.write_all(bytes);
    let (mut came, mut byte) = (Vec::new(), [0]);
    while !came.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => came.push(byte[0]),
            // A task of this process ended: the read goes on.
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) if e.kind() != ErrorKind::ConnectionReset => panic!("nothing came in time: {e}"),
            Ok(_) | Err(_) => break,
        }
    }
    String::from_utf8_lossy(&came).into_owned()
}

fn connect(gateway: &Gateway) -> TcpStream {
    let stream = TcpStream::connect(tcp_address(gateway)).unwrap();
    stream.set_read_timeout(Some(WAIT)).unwrap();
    stream
}

const GET: &str = "GET /x HTTP/1.1\r\nhost: api.test\r\nx-forwarded-for: 198.51.100.9\r\n\r\n";

fn v2(source: [u8; 4]) -> Vec<u8> {
    [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c"[..], &source, &[127, 0, 0, 1, 0x10, 0, 0, 80]].concat()
}

#[test]
fn a_proxy_tells_for_whom_it_connects() {
    for io in DRIVERS {
        let (address, heads) = upstream();
        let gateway = start(io, address, |listener, route, _| {
            listener.proxy_protocol = true;
            listener.trusted = vec!["127.0.0.0/8".parse().unwrap()];
            route.forwarded = ForwardedFields::XForwarded;
        });
        for (header, client) in [
            (b"PROXY TCP4 192.0.2.7 127.0.0.1 4000 80\r\n".to_vec(), "192.0.2.7"),
            (b"PROXY TCP6 2001:db8::7 ::1 4000 80\r\n".to_vec(), "2001:db8::7"),
            (v2([192, 0, 2, 8]), "192.0.2.8"),
            // Who is told of is trusted by its own address: what it says of others is believed, then.
            (v2([127, 1, 1, 1]), "198.51.100.9, 127.1.1.1"),
            (b"PROXY UNKNOWN\r\n".to_vec(), "198.51.100.9, 127.0.0.1"),
        ] {
            for parts in [vec![[&header[..], GET.as_bytes()].concat()], vec![header.clone(), GET.into()]] {
                let mut stream = connect(&gateway);
                let (last, before) = parts.split_last().unwrap();
                before.iter().for_each(|part| stream.write_all(part).unwrap());
                assert!(ask(&mut stream, last).starts_with("HTTP/1.1 200"), "{io}: {client}");
                let head = heads.recv_timeout(WAIT).unwrap();
                assert!(head.contains(&format!("X-Forwarded-For: {client}\r\n")), "{io}: {head}");
            }
        }
        for wrong in [
            GET.as_bytes(),
            b"PROXY TCP4 x\r\nGET / HTTP/1.1\r\nhost: h\r\n\r\n",
            b"\x16\x03\x01",
            b"PROXY T",
        ] {
            assert_eq!(ask(&mut connect(&gateway), wrong), "", "{io}: {:?}", String::from_utf8_lossy(wrong));
        }
        assert!(heads.try_recv().is_err(), "{io}: something went upstream");
    }
}

#[test]
fn who_is_not_trusted_is_not_read() {
    for io in DRIVERS {
        let (address, heads) = upstream();
        let gateway = start(io, address, |listener, _, _| {
            listener.proxy_protocol = true;
            listener.trusted = vec!["192.0.2.0/24".parse().unwrap()];
        });
        let bytes = [&v2([192, 0, 2, 8])[..], GET.as_bytes()].concat();
        assert_eq!(ask(&mut connect(&gateway), &bytes), "", "{io}");
        assert!(heads.try_recv().is_err(), "{io}: something went upstream");
    }
}

#[test]
fn fields_of_clients_do_not_go_on() {
    for io in DRIVERS {
        for sent in [ForwardedFields::None, ForwardedFields::Both] {
            let (address, heads) = upstream();
            let gateway = start(io, address, |_, route, _| route.forwarded = sent);
            let spoofed =
                GET.replace("\r\n\r\n", "\r\nforwarded: for=1.1.1.1\r\nx_forwarded_host: evil\r\n\r\n");
            assert!(ask(&mut connect(&gateway), spoofed.as_bytes()).starts_with("HTTP/1.1 200"), "{io}");
            let head = heads.recv_timeout(WAIT).unwrap();
            assert!(
                !head.contains("198.51.100.9") && !head.contains("1.1.1.1") && !head.contains("evil"),
                "{head}"
            );
            let own = "Forwarded: for=127.0.0.1;proto=http;host=api.test\r\n";
            assert_eq!(head.contains(own), sent == ForwardedFields::Both, "{head}");
            assert_eq!(head.contains("X-Real-IP: 127.0.0.1"), sent == ForwardedFields::Both, "{head}");
        }
    }
}

#[test]
fn a_tunnel_ends_in_the_gateway() {
    for io in DRIVERS {
        let (address, heads) = upstream();
        let gateway = start(io, address, |listener, route, _| {
            listener.connect = true;
            route.matches.hosts = vec!["api.test".into()];
        });
        let open = |host: &str| {
            let mut stream = connect(&gateway);
            let answer =
                ask(&mut stream, format!("CONNECT {host} HTTP/1.1\r\nhost: {host}\r\n\r\n").as_bytes());
            (stream, answer)
        };
        let (mut stream, answer) = open("api.test:80");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && !answer.contains("ontent-"), "{io}: {answer}");
        assert!(heads.try_recv().is_err(), "{io}: a tunnel is no request");
        for _ in 0..2 {
            assert!(ask(&mut stream, GET.as_bytes()).starts_with("HTTP/1.1 200"), "{io}");
            assert!(heads.recv_timeout(WAIT).unwrap().starts_with("GET /x HTTP/1.1\r\n"), "{io}");
        }
        for (inside, status) in [
            ("GET /x HTTP/1.1\r\nhost: other.test\r\n\r\n", "HTTP/1.1 421"),
            ("CONNECT api.test:80 HTTP/1.1\r\nhost: api.test:80\r\n\r\n", "HTTP/1.1 405"),
            ("SSH-2.0-OpenSSH_9\r\n\r\n", "HTTP/1.1 400"),
        ] {
            let (mut stream, _) = open("api.test:80");
            let answer = ask(&mut stream, inside.as_bytes());
            assert!(answer.starts_with(status), "{io}: {inside}: {answer}");
        }
        let (mut stream, _) = open("api.test:443");
        stream.write_all(&[22, 3, 1, 0, 1, 1]).unwrap();
        let mut alert = Vec::new();
        let _ = stream.read_to_end(&mut alert);
        assert_eq!(alert, [21, 3, 1, 0, 2, 2, 49], "{io}: TLS inside");
        assert!(open("other.test:80").1.starts_with("HTTP/1.1 404"), "{io}");
        assert!(heads.try_recv().is_err(), "{io}: something went upstream");
    }
}

#[test]
fn targets_in_absolute_form() {
    for io in DRIVERS {
        let (address, heads) = upstream();
        let gateway = start(io, address, |listener, route, _| {
            listener.absolute_form = true;
            route.matches.hosts = vec!["api.test".into()];
        });
        for (target, host, status) in [
            ("http://api.test/y?z", "elsewhere.test", "200"),
            ("http://other.test/y", "api.test", "404"),
            ("https://api.test/y", "api.test", "400"),
        ] {
            let request = format!("GET {target} HTTP/1.1\r\nhost: {host}\r\n\r\n");
            let answer = ask(&mut connect(&gateway), request.as_bytes());
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{io}: {target}: {answer}");
        }
        let head = heads.recv_timeout(WAIT).unwrap();
        assert!(head.starts_with("GET /y?z HTTP/1.1\r\n") && heads.try_recv().is_err(), "{io}: {head}");
    }
}

#[test]
fn unix_sockets_on_both_sides() {
    for io in DRIVERS {
        let folder = std::env::temp_dir().join(format!("sluice-edges-{}-{io}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (path, behind): (PathBuf, PathBuf) = (folder.join("gateway"), folder.join("upstream"));
        let listener = UnixListener::bind(&behind).unwrap();
        let (sender, heads) = channel();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let sender = sender.clone();
                thread::spawn(move || answer(stream, &sender));
            }
        });
        // One that somebody left behind is replaced.
        drop(UnixListener::bind(&path).unwrap());
        let unix = |listener: &mut ListenerConfig, _: &mut RouteConfig, upstream: &mut UpstreamConfig| {
            listener.address = ListenAddress::Unix(path.clone());
            upstream.endpoints = vec![EndpointAddress::Unix(behind.clone())];
            upstream.authority = "behind.test".into();
        };
        let gateway = start(io, "127.0.0.1:1".parse().unwrap(), unix);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660, "{io}");
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.set_read_timeout(Some(WAIT)).unwrap();
        for _ in 0..2 {
            assert!(ask(&mut stream, GET.as_bytes()).starts_with("HTTP/1.1 200"), "{io}");
            assert!(heads.recv_timeout(WAIT).unwrap().contains("Host: behind.test\r\n"), "{io}");
        }
        // One that answers is in use.
        let mut config = ListenerConfig::new("l", ListenAddress::Unix(path.clone()));
        config.name = "second".into();
        let ruleset = Ruleset::compile(Vec::new(), &CompileOptions::default()).unwrap();
        let upstream = UpstreamConfig::new("u", &"http://127.0.0.1:1".parse().unwrap(), None);
        let routing = Routing::everything_to(upstream, RouteConfig::new("r", 0, ruleset));
        let config = GatewayConfig::new(config, routing, Access::without_identity(true).unwrap());
        let fault = Gateway::start(config).expect_err("it is in use").to_string();
        assert!(fault.contains("in use"), "{io}: {fault}");
        drop(stream);
        gateway.join(Duration::from_secs(5));
        assert!(!path.exists(), "{io}: it is removed at the end");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

/// The address of the first listener, which is one of TCP.
fn tcp_address(gateway: &Gateway) -> SocketAddr {
    match gateway.addresses().first() {
        Some(ListenAddress::Tcp(address)) => *address,
        other => panic!("no TCP: {other:?}"),
    }
}
