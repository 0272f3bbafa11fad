//! Chains: who is believed, what goes on, and what is spoofed.

use super::*;
use crate::codec::head::{HeadLimits, parse_request};
use crate::config::{ListenAddress, ListenerConfig};

fn client(peer: &str) -> Client {
    let mut listener = ListenerConfig::new("x", ListenAddress::Tcp("127.0.0.1:1".parse().unwrap()));
    listener.trusted = ["10.0.0.0/8", "fd00::/8"].iter().map(|net| net.parse().unwrap()).collect();
    Client::new(Some(peer.parse().unwrap()), listener)
}

fn head(fields: &str) -> RequestHead {
    let limits = HeadLimits { bytes_max: 65536, fields_max: 64, target_bytes_max: 100 };
    parse_request(format!("GET / HTTP/1.1\r\nHost: api.test\r\n{fields}\r\n").as_bytes(), &limits).unwrap()
}

fn lines(fields: &[&str]) -> String {
    fields.iter().map(|field| format!("{field}\r\n")).collect()
}

#[test]
fn whose_request_it_is() {
    let (trusted, other) = ("10.0.0.1:1", "192.0.2.7:1");
    for (peer, fields, found) in [
        (trusted, &[][..], "10.0.0.1"),
        (trusted, &["X-Forwarded-For: 198.51.100.1"], "198.51.100.1"),
        // What an untrusted address says of others is not believed, wherever it stands.
        (other, &["X-Forwarded-For: 198.51.100.1"], "192.0.2.7"),
        (other, &["Forwarded: for=198.51.100.1"], "192.0.2.7"),
        (trusted, &["X-Forwarded-For: 1.1.1.1, 198.51.100.1"], "198.51.100.1"),
        (trusted, &["X-Forwarded-For: 10.9.9.9, 198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        (trusted, &["X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: 198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        (trusted, &["X-Forwarded-For: 10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        // Ports, brackets, IPv4 in IPv6.
        (trusted, &["X-Forwarded-For: 198.51.100.1:55"], "198.51.100.1"),
        (trusted, &["X-Forwarded-For: [2001:db8::1]:55"], "2001:db8::1"),
        (trusted, &["X-Forwarded-For: 2001:db8::1"], "2001:db8::1"),
        (trusted, &["X-Forwarded-For: ::ffff:198.51.100.1"], "198.51.100.1"),
        ("[fd00::1]:9", &["X-Forwarded-For: 198.51.100.1, ::ffff:10.0.0.2"], "198.51.100.1"),
        // Behind what is no address nothing is known.
        (trusted, &["X-Forwarded-For: 198.51.100.1, garbage"], "10.0.0.1"),
        (trusted, &["X-Forwarded-For: 198.51.100.1, garbage, 10.0.0.2"], "10.0.0.2"),
        (trusted, &["X-Forwarded-For: 1.1.1.1, unknown, 198.51.100.1"], "198.51.100.1"),
        (trusted, &["X-Forwarded-For: "], "10.0.0.1"),
        (trusted, &["X-Forwarded-For: 198.51.100.1,"], "10.0.0.1"),
        (trusted, &["X-Forwarded-For: 198.51.100.1:123456"], "10.0.0.1"),
        (trusted, &["X-Forwarded-For: [198.51.100.1]"], "10.0.0.1"),
        (trusted, &["X-Forwarded-For: 198.51.100.01"], "10.0.0.1"),
        // RFC 7239, sections 4 and 6.
        (trusted, &["Forwarded: for=198.51.100.1;proto=https;by=10.0.0.1"], "198.51.100.1"),
        (trusted, &["Forwarded: FOR=\"198.51.100.1:80\" , for=10.0.0.2"], "198.51.100.1"),
        (trusted, &["Forwarded: for=\"[2001:db8::1]:_x\""], "2001:db8::1"),
        (trusted, &["Forwarded: for=\"1\\98.51.100.1\""], "198.51.100.1"),
        (trusted, &["Forwarded: for=198.51.100.1, proto=http"], "10.0.0.1"),
        (trusted, &["Forwarded: for=_secret, for=10.0.0.2"], "10.0.0.2"),
        (trusted, &["Forwarded: for=unknown"], "10.0.0.1"),
        (trusted, &["Forwarded: for=[2001:db8::1]"], "10.0.0.1"),
        (trusted, &["Forwarded: for=198.51.100.1;for=198.51.100.2"], "10.0.0.1"),
        (trusted, &["Forwarded: for = 198.51.100.1"], "10.0.0.1"),
        (trusted, &["Forwarded: for=198.51.100.1;"], "10.0.0.1"),
        // A quote that is left open takes what a proxy wrote behind it: the line is not valid, so nothing of it holds.
        (trusted, &["Forwarded: for=\"1.1.1.1, for=198.51.100.1"], "10.0.0.1"),
        (trusted, &["Forwarded: for=\"1.1.1.1", "Forwarded: for=198.51.100.1"], "198.51.100.1"),
        (trusted, &["Forwarded: for=198.51.100.1", "Forwarded: garbage"], "10.0.0.1"),
        // Two kinds of fields that do not say the same.
        (trusted, &["X-Forwarded-For: 198.51.100.1", "Forwarded: for=198.51.100.1"], "198.51.100.1"),
        (trusted, &["X-Forwarded-For: 198.51.100.1", "Forwarded: for=1.1.1.1"], "10.0.0.1"),
        (trusted, &["X-Forwarded-For: 1.1.1.1, 198.51.100.1", "Forwarded: for=198.51.100.1"], "198.51.100.1"),
    ] {
        let address = client_address(&head(&lines(fields)).fields, &client(peer));
        assert_eq!(address, Some(found.parse().unwrap()), "{peer} {fields:?}");
    }
}

#[test]
fn what_the_upstream_is_told() {
    let told = |peer: &str, fields: &[&str], sent| {
        let mut out = Fields::default();
        write(&mut out, &head(&lines(fields)), &client(peer), sent);
        let line = |(name, value): (&str, &[u8])| format!("{name}: {}", String::from_utf8_lossy(value));
        out.iter().map(line).collect::<Vec<_>>()
    };
    let spoofed = ["X-Forwarded-For: 1.1.1.1", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil"];
    let own = [
        "X-Forwarded-For: 192.0.2.7",
        "X-Forwarded-Proto: http",
        "X-Forwarded-Host: api.test",
        "X-Forwarded-Port: 80",
        "X-Real-IP: 192.0.2.7",
    ];
    let standard = "Forwarded: for=192.0.2.7;proto=http;host=api.test";
    assert!(told("192.0.2.7:1", &spoofed, ForwardedFields::None).is_empty());
    assert_eq!(told("192.0.2.7:1", &spoofed, ForwardedFields::XForwarded), own);
    assert_eq!(told("192.0.2.7:1", &spoofed, ForwardedFields::Rfc7239), [standard]);
    assert_eq!(told("192.0.2.7:1", &spoofed, ForwardedFields::Both), [&own[..], &[standard]].concat());
    let chain = [
        "X-Forwarded-For: 2001:db8::1, what?, 10.0.0.2",
        "X-Forwarded-Proto: HTTPS",
        "X-Forwarded-Host: front.test:8443",
    ];
    assert_eq!(
        told("[fd00::1]:1", &chain, ForwardedFields::Both),
        [
            "X-Forwarded-For: 2001:db8::1, unknown, 10.0.0.2, fd00::1",
            "X-Forwarded-Proto: https",
            "X-Forwarded-Host: front.test:8443",
            "X-Forwarded-Port: 8443",
            "X-Real-IP: 10.0.0.2",
            "Forwarded: for=\"[2001:db8::1]\";proto=https;host=\"front.test:8443\", for=unknown, for=10.0.0.2, \
             for=\"[fd00::1]\"",
        ]
    );
    // What can't be a name, or a protocol, is not passed on.
    let garbage = ["X-Forwarded-Host: a b", "X-Forwarded-Proto: gopher"];
    assert_eq!(
        told("10.0.0.1:1", &garbage, ForwardedFields::Rfc7239),
        ["Forwarded: for=10.0.0.1;proto=http;host=api.test"]
    );
}

#[test]
fn chains_are_bounded() {
    for (before, kept) in [(HOPS_MAX - 1, HOPS_MAX), (HOPS_MAX, HOPS_MAX)] {
        let chain: Vec<String> = (0..before).map(|n| format!("198.51.100.{n}")).collect();
        let mut out = Fields::default();
        let request = head(&format!("X-Forwarded-For: {}\r\n", chain.join(",")));
        write(&mut out, &request, &client("10.0.0.1:1"), ForwardedFields::XForwarded);
        let sent = out.text("x-forwarded-for").unwrap();
        assert_eq!(sent.split(", ").count(), kept);
        assert!(sent.ends_with(", 10.0.0.1"));
    }
}

#[test]
fn names() {
    for name in
        ["Forwarded", "X-Forwarded-For", "x_forwarded_host", "X-FORWARDED", "X-Real-IP", "X-Forwarded-User"]
    {
        assert!(is_forwarded(name), "{name}");
    }
    for name in ["Forward", "X-Forward", "X-Real", "Forwarded-By", "Host"] {
        assert!(!is_forwarded(name), "{name}");
    }
}
