//! Headers of both versions: every prefix asks for bytes of its own only, faults, limits.

use super::*;

/// Feeds a header as it is asked for: what it says, and how many of the bytes it took.
fn fed(bytes: &[u8]) -> (Result<Option<Told>, Invalid>, usize) {
    let mut taken = 0;
    loop {
        match step(&bytes[..taken]) {
            Err(fault) => return (Err(fault), taken),
            Ok(Step::Done(told)) => return (Ok(Some(told)), taken),
            Ok(Step::More(more)) => {
                assert!(more > 0, "it asks for something");
                if taken == bytes.len() {
                    return (Ok(None), taken);
                }
                taken = (taken + more).min(bytes.len());
            }
        }
    }
}

fn client(text: &str) -> Told {
    Told::Client(Some(text.parse().unwrap()))
}

fn v2(kind: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let len = (rest.len() as u16).to_be_bytes();
    [&V2_SIGNATURE[..], &[kind, family], &len, rest].concat()
}

/// Source 192.0.2.1:56324.
const V4: &[u8] = &[192, 0, 2, 1, 198, 51, 100, 1, 0xDC, 0x04, 1, 0xBB];

fn v6() -> Vec<u8> {
    let source: Ipv6Addr = "2001:db8::1".parse().unwrap();
    [&source.octets()[..], &[0; 16], &[0xDC, 0x04, 1, 0xBB]].concat()
}

/// With a checksum behind a value that is skipped.
fn checked(flip: u8) -> Vec<u8> {
    let values = [V4, &[0xEA, 0, 2, 7, 7, TYPE_CRC32C, 0, 4, 0, 0, 0, 0]].concat();
    let mut header = v2(0x21, 0x11, &values);
    let sum = crc32c(header.iter());
    let at = header.len() - 4;
    header[at..].copy_from_slice(&sum.to_be_bytes());
    header[20] ^= flip;
    header
}

#[test]
fn headers() {
    let unix = [0u8; 216];
    let long = format!("PROXY UNKNOWN {}\r\n", "f".repeat(V1_BYTES_MAX - 16));
    for (header, told) in [
        (b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n".to_vec(), client("192.0.2.1:56324")),
        (b"PROXY TCP6 2001:db8::1 ::1 1 65535\r\n".to_vec(), client("[2001:db8::1]:1")),
        (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 0\r\n".to_vec(), client("255.255.255.255:65535")),
        (b"PROXY UNKNOWN\r\n".to_vec(), Told::Proxy),
        (b"PROXY UNKNOWN what ever 1 2\r\n".to_vec(), Told::Proxy),
        (long.into_bytes(), Told::Proxy),
        (v2(0x21, 0x11, V4), client("192.0.2.1:56324")),
        (v2(0x21, 0x11, &[V4, &[4, 0, 0, 0xEA, 0, 1, 9]].concat()), client("192.0.2.1:56324")),
        (v2(0x21, 0x21, &v6()), client("[2001:db8::1]:56324")),
        (v2(0x21, 0x31, &unix), Told::Client(None)),
        (v2(0x21, 0x00, b""), Told::Proxy),
        (v2(0x20, 0x00, b""), Told::Proxy),
        (v2(0x20, 0x11, b"what ever"), Told::Proxy),
        (v2(0x20, 0x00, &vec![0; V2_BYTES_MAX - V2_PREFIX_BYTES]), Told::Proxy),
        (checked(0), client("192.0.2.1:56324")),
    ] {
        for behind in [&b""[..], b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n"] {
            let (found, taken) = fed(&[&header, behind].concat());
            assert_eq!(
                (found, taken),
                (Ok(Some(told)), header.len()),
                "{:?}",
                String::from_utf8_lossy(&header)
            );
        }
        for cut in 0..header.len() {
            assert_eq!(fed(&header[..cut]), (Ok(None), cut), "{:?}", String::from_utf8_lossy(&header[..cut]));
        }
    }
}

#[test]
fn what_is_no_header() {
    let long = format!("PROXY UNKNOWN {}\r\n", "f".repeat(V1_BYTES_MAX - 15));
    for header in [
        b"GET / HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"proxy TCP4 1.1.1.1 1.1.1.1 1 1\r\n".to_vec(),
        b"PROXY TCP5 1.1.1.1 1.1.1.1 1 1\r\n".to_vec(),
        b"PROXY TCP4 1.1.1.1 1.1.1.1 1\r\n".to_vec(),
        b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1 1\r\n".to_vec(),
        b"PROXY TCP4  1.1.1.1 1.1.1.1 1 1\r\n".to_vec(),
        b"PROXY TCP4 1.1.1.1 1.1.1.1 1 65536\r\n".to_vec(),
        b"PROXY TCP4 1.1.1.1 1.1.1.1 01 1\r\n".to_vec(),
        b"PROXY TCP4 1.1.1.1 1.1.1.1 +1 1\r\n".to_vec(),
        b"PROXY TCP4 ::1 ::1 1 1\r\n".to_vec(),
        b"PROXY TCP6 1.1.1.1 1.1.1.1 1 1\r\n".to_vec(),
        b"PROXY TCP4 01.1.1.1 1.1.1.1 1 1\r\n".to_vec(),
        b"PROXY UNKNOWN\n and on and on".to_vec(),
        b"PROXY UNKNOWN \r and on and on\r\n".to_vec(),
        b"PROXY\r\nand on and on".to_vec(),
        long.into_bytes(),
        v2(0x11, 0x11, V4),
        v2(0x22, 0x11, V4),
        v2(0x21, 0x12, V4),
        v2(0x21, 0x41, V4),
        v2(0x21, 0x11, &V4[..11]),
        v2(0x21, 0x21, V4),
        v2(0x21, 0x11, &[V4, &[4, 0]].concat()),
        v2(0x21, 0x11, &[V4, &[4, 0, 2, 0]].concat()),
        v2(0x21, 0x11, &[V4, &[TYPE_CRC32C, 0, 3, 0, 0, 0]].concat()),
        v2(0x20, 0x00, &vec![0; V2_BYTES_MAX - V2_PREFIX_BYTES + 1]),
        checked(1),
    ] {
        let (found, taken) = fed(&header);
        assert_eq!(found, Err(Invalid), "{:?}", String::from_utf8_lossy(&header));
        assert!(taken <= V2_BYTES_MAX);
    }
}

/// RFC 9260's polynomial; the check value of the catalogue of CRCs.
#[test]
fn the_checksum() {
    assert_eq!(crc32c(b"123456789".iter()), 0xE306_9283);
}
