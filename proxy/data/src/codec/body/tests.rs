//! Body framing: what is taken, what is refused, and where the limits are.

use super::*;

fn decode(framing: Framing, chunks: &[&[u8]]) -> Result<(String, usize, bool), BodyFault> {
    let mut decoder = BodyDecoder::new(framing);
    let (mut out, mut taken) = (Vec::new(), 0);
    for chunk in chunks {
        taken += decoder.decode(chunk, &mut out)?;
    }
    Ok((String::from_utf8(out).unwrap(), taken, decoder.is_done()))
}

#[test]
fn every_split_of_a_chunked_body() {
    let body = b"5;ext=\"x\"\r\nhello\r\n00a \t;y\r\n, world...\r\n0\r\nX-Sum: 1\r\nETag: \"a\"\r\n\r\n";
    let wanted = ("hello, world...".to_owned(), body.len(), true);
    let bytes: Vec<&[u8]> = body.chunks(1).collect();
    assert_eq!(decode(Framing::Chunked, &bytes), Ok(wanted.clone()));
    for cut in 0..body.len() {
        let (a, b) = body.split_at(cut);
        assert_eq!(decode(Framing::Chunked, &[a, b]), Ok(wanted.clone()), "cut at {cut}");
    }
    let mut decoder = BodyDecoder::new(Framing::Chunked);
    decoder.decode(body, &mut Vec::new()).unwrap();
    assert_eq!(decoder.trailers().text("x-sum"), Some("1"));
}

#[test]
fn what_follows_is_left() {
    assert_eq!(decode(Framing::Length(3), &[b"abcGET"]), Ok(("abc".into(), 3, true)));
    assert_eq!(decode(Framing::Chunked, &[b"1\r\na\r\n0\r\n\r\nGET"]), Ok(("a".into(), 11, true)));
    assert_eq!(decode(Framing::Empty, &[b"GET"]), Ok((String::new(), 0, true)));
}

#[test]
fn broken_framing() {
    for body in [
        "x\r\n",
        "\r\n",
        "-1\r\n",
        "+1\r\n",
        "0x1\r\n",
        " 1\r\n",
        "1 \r\na",
        "1\nx",
        "1\r\nab\r\n",
        "1\r\na\n",
        "1\r\na\r\r",
        "11111111111111111\r\n",
        "1 x\r\n",
        "1;\u{1}\r\n",
        "0\r\nbad\r\n",
        "0\r\n: x\r\n",
        "0\r\na b: x\r\n",
        "0\r\na: \u{1}\r\n",
        "1\r;\r\n",
        "0\r\n x: y\r\n",
    ] {
        assert!(decode(Framing::Chunked, &[body.as_bytes()]).is_err(), "{body:?}");
    }
}

#[test]
fn limits() {
    let line = |n: usize| format!("1;{}\r\na\r\n", "e".repeat(n - 3));
    assert!(decode(Framing::Chunked, &[line(SIZE_LINE_BYTES_MAX).as_bytes()]).is_ok());
    assert!(decode(Framing::Chunked, &[line(SIZE_LINE_BYTES_MAX + 1).as_bytes()]).is_err());
    let trailers = |n: usize| format!("0\r\n{}\r\n", "a: b\r\n".repeat(n));
    assert!(decode(Framing::Chunked, &[trailers(TRAILER_FIELDS_MAX).as_bytes()]).is_ok());
    assert!(decode(Framing::Chunked, &[trailers(TRAILER_FIELDS_MAX + 1).as_bytes()]).is_err());
    let long = |n: usize| format!("0\r\na: {}\r\n", "b".repeat(n));
    assert!(decode(Framing::Chunked, &[long(TRAILER_BYTES_MAX - 4).as_bytes()]).is_ok());
    assert!(decode(Framing::Chunked, &[long(TRAILER_BYTES_MAX).as_bytes()]).is_err());
}

#[test]
fn a_cut_body_is_not_whole() {
    for (framing, body) in
        [(Framing::Length(3), "ab"), (Framing::Chunked, "1\r\na\r\n"), (Framing::Chunked, "0\r\n")]
    {
        let mut decoder = BodyDecoder::new(framing);
        decoder.decode(body.as_bytes(), &mut Vec::new()).unwrap();
        assert!(decoder.end().is_err(), "{body}");
    }
    assert!(BodyDecoder::new(Framing::UntilClose).end().is_ok());
}

#[test]
fn written_chunks() {
    let mut out = Vec::new();
    Coding::Chunked.write(b"", &mut out);
    Coding::Chunked.write(b"hello world, sixteen", &mut out);
    let mut trailers = Fields::default();
    trailers.push("a", "b");
    Coding::Chunked.end(&trailers, &mut out);
    assert_eq!(out, b"14\r\nhello world, sixteen\r\n0\r\na: b\r\n\r\n");
}

#[test]
fn extensions() {
    for line in
        ["1", "1;a", "1 ; a", "1;a=b;c", "1;a = b", "1;a=\"x;\\\"y\"", "1;a=\"\u{e9}\t\"", "1\t;a;b;c"]
    {
        let body = format!("{line}\r\nx\r\n0;z\r\n\r\n");
        assert_eq!(
            decode(Framing::Chunked, &[body.as_bytes()]),
            Ok(("x".into(), body.len(), true)),
            "{line:?}"
        );
    }
    for line in [
        "1;",
        "1 ",
        "1;;",
        "1;a;",
        "1;a ",
        "1;a=",
        "1;a=;b",
        "1;a b",
        "1;a=b c",
        "1;=b",
        "1;a=\"x",
        "1;a=\"x\"y",
        "1;a=\"x\\",
        "1;a=\"x\\\"",
        "1;a=\"\u{1}\"",
        "1;a(",
        "1;a=b=c",
        "1,a",
        "1:a",
        "1;\u{e9}",
    ] {
        let body = format!("{line}\r\nx\r\n0\r\n\r\n");
        assert!(decode(Framing::Chunked, &[body.as_bytes()]).is_err(), "{line:?}");
    }
}

#[test]
fn extensions_at_their_limit() {
    let chunk = |n: usize| format!("1;{}\r\na\r\n", "e".repeat(n - 1));
    let body = |last: usize| [chunk(4000).repeat(4), chunk(last)].concat();
    let left = EXTENSION_BYTES_MAX - 4 * 4000;
    assert!(decode(Framing::Chunked, &[body(left).as_bytes()]).is_ok());
    assert!(decode(Framing::Chunked, &[body(left + 1).as_bytes()]).is_err());
}

/// A trailer that reaches the limit leaves none for another line, however long.
#[test]
fn nothing_follows_trailers_at_their_limit() {
    for (bytes, rest) in [(TRAILER_BYTES_MAX - 4, "\r\n"), (TRAILER_BYTES_MAX - 4, "b: c\r\n\r\n")] {
        let body = format!("0\r\na: {}\r\n{rest}", "b".repeat(bytes));
        assert!(decode(Framing::Chunked, &[body.as_bytes()]).is_err(), "{rest:?}");
    }
    let body = format!("0\r\na: {}\r\n\r\n", "b".repeat(TRAILER_BYTES_MAX - 6));
    assert!(decode(Framing::Chunked, &[body.as_bytes()]).is_ok());
}

#[test]
fn sizes_are_written_in_hexadecimal() {
    for (number, text) in [
        (0, "0"),
        (1, "1"),
        (15, "f"),
        (16, "10"),
        (255, "ff"),
        (4096, "1000"),
        (usize::MAX, "ffffffffffffffff"),
    ] {
        let mut out = Vec::new();
        write_hex(number, &mut out);
        assert_eq!(out, text.as_bytes());
    }
}

#[test]
fn spaces_about_a_trailer_are_spaces_and_tabs_only() {
    let body = |value: &str| format!("0\r\na:{value}\r\n\r\n");
    assert!(decode(Framing::Chunked, &[body(" \tb\t ").as_bytes()]).is_ok());
    assert!(decode(Framing::Chunked, &[body("\u{c}b").as_bytes()]).is_err());
}
