//! Planted values in every encoding, nested; identity, cuts, limits.

use super::find;
use crate::format::tests::{Done, check_bytes, mask, rules};
use crate::format::{Format, OnError};

pub(in crate::format) fn b64(text: impl AsRef<[u8]>) -> String {
    let mut out = Vec::new();
    find::encode(text.as_ref(), false, &mut out);
    while !out.len().is_multiple_of(4) {
        out.push(b'=');
    }
    String::from_utf8(out).unwrap()
}

fn unbase64(text: &str) -> String {
    let mut out = Vec::new();
    find::Bits::default().decode(text.trim_end_matches('=').as_bytes(), &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

pub(in crate::format) fn percent(text: &str) -> String {
    text.bytes().map(|b| format!("%{b:02x}")).collect()
}

pub(in crate::format) fn entities(text: &str) -> String {
    text.bytes()
        .enumerate()
        .map(|(n, b)| if n % 2 == 0 { format!("&#{b};") } else { format!("&#x{b:X};") })
        .collect()
}

pub(in crate::format) fn unicode(text: &str) -> String {
    text.chars().map(|c| format!("\\u{:04x}", c as u32)).collect()
}

pub(in crate::format) fn escaped(text: &str) -> String {
    let mut out = Vec::new();
    crate::format::json::escape(text.as_bytes(), &mut out);
    String::from_utf8(out).unwrap()
}

fn masked(body: &str) -> String {
    String::from_utf8(check_bytes(Format::Text, body.as_bytes()).output).unwrap()
}

#[test]
fn what_spells_nothing_to_mask_leaves_as_it_came() {
    let long = b64((0..=255u8).chain(0..=255).collect::<Vec<u8>>());
    for body in [
        "100% of R&D, a\\b, %zz &c; &#; &#xg; &amp &quot; %",
        "a&amp;b &lt;i&gt; %20x%C3%A9 \\n \\u00e9 \\ud83d\\ude00 \\ud83d x \\u12",
        "550e8400-e29b-41d4-a716-446655440000 claude-3-5-sonnet-20241022 chatcmpl-AbCdEfGhIjKlMnOpQrStUv12",
        "a path /usr/local/lib/python3/site/packages/Thing and \\\\\\\\server\\share",
        &long,
        &format!("data:image/png;base64,{long}"),
        &b64("some words that mean nothing, in base64"),
        &b64(b64("some words that mean nothing, in base64 twice, which is longer")),
        &percent(&entities(&unicode("words of no value"))),
    ] {
        assert_eq!(masked(body), body);
    }
}

#[test]
fn escapes_are_read() {
    for (body, output) in [
        ("x ghp%5FAbcd1234 y", "x %5Bgh%5D y"),
        ("x %67hp_Abcd1234 y", "x %5Bgh%5D y"),
        ("q?k=me%40example.org&x=1", "q?k=%5Bmail%5D&x=1"),
        ("x ghp&#95;Abcd1234 y", "x [gh] y"),
        ("x ghp&lowbar;Abcd1234&amp;z", "x [gh]&amp;z"),
        ("x ghp\\u005fAbcd1234\\n y", "x [gh]\\n y"),
        ("%20password%3Dhunter2%20x", "%20password%3D%5Bpw%5D%20x"),
        ("a\\nghp_Abcd1234\\nb ghp_Abcd1234", "a\\n[gh]\\nb [gh]"),
        ("%20-----BEGIN%20KEY-----abc-----END%20KEY----- x", "%20%5Bpem%5D x"),
        ("%2520ghp%255FAbcd1234%2520", "%2520%255Bgh%255D%2520"),
    ] {
        assert_eq!(masked(body), output, "{body}");
    }
    let all = [percent("ghp_Abcd1234"), entities("ghp_Abcd1234"), unicode("ghp_Abcd1234")];
    for body in all {
        let output = masked(&format!("x {body} y"));
        assert!(output.contains("gh") && output.len() < 20, "{output}");
    }
}

#[test]
fn base64_is_read() {
    for text in [
        "ghp_Abcd1234 and more words",
        "x ghp_Abcd1234 and more words",
        "xy ghp_Abcd1234 and more words",
        "this ends with ghp_Abcd1234",
        "ghp_Abcd1234 ghp_Abcd1234,ghp_Abcd1234 mail me@example.org now",
        "{\"password\":\"hunter2\",\"other\":[1,2,3]}",
        "-----BEGIN KEY-----\nabc\ndef\n-----END KEY-----\nand what comes behind it",
        "card 4111111111111111 of somebody",
        "\u{1}\u{2}\u{3}ghp_Abcd1234\u{1}\u{2}\u{3}\u{4}\u{5}",
    ] {
        let body = format!("before {}, after", b64(text));
        let output = masked(&body);
        let run = &output["before ".len()..output.len() - ", after".len()];
        assert_eq!(run.len() % 4, 0, "{output}");
        let plain = masked(text).replace("[gh]", "[gh] ").split_whitespace().collect::<Vec<_>>().join(" ");
        let decoded = unbase64(run).replace("[gh]", "[gh] ").split_whitespace().collect::<Vec<_>>().join(" ");
        let strip = |s: &str| s.replace(' ', "");
        assert_eq!(strip(&decoded), strip(&plain), "{text}");
    }
}

#[test]
fn what_is_short_or_no_text_is_not_read() {
    let short = b64("ghp_Abcd1234")[..16].to_owned();
    assert_eq!(masked(&format!("x {short} y")), format!("x {short} y"));
    // Of equal length in a format that keeps it, and still base64.
    let text = "x ghp_Abcd1234 and more words";
    let body = b64(text);
    let output = String::from_utf8(check_bytes(Format::Bytes, body.as_bytes()).output).unwrap();
    assert_eq!(output.len(), body.len());
    assert_eq!(unbase64(&output), "x ************ and more words");
    let body = "x ghp%5FAbcd1234 y";
    let output = String::from_utf8(check_bytes(Format::Bytes, body.as_bytes()).output).unwrap();
    assert_eq!(output, "x ************** y");
}

#[test]
fn depth_is_limited() {
    let nest = |n: usize| (0..n).fold("x ghp_Abcd1234 y".to_owned(), |t, _| percent(&t));
    for depth in 1..=4 {
        let output = masked(&nest(depth));
        assert!(!decodings(output.as_bytes()).iter().any(|t| leaks(t)), "{depth}");
        assert!(!output.contains("too_deeply"));
    }
    let output = masked(&nest(5));
    assert!(output.contains("5Bnested_too_deeply%"), "{output}");
    let deep = (0..6).fold("ghp_Abcd1234 and words behind it".to_owned(), |t, _| b64(t));
    let output = check_bytes(Format::Text, deep.as_bytes()).output;
    assert!(!decodings(&output).iter().any(|t| leaks(t)));
    assert!(decodings(&output).iter().any(|t| String::from_utf8_lossy(t).contains("too_deeply")));
    let art = "\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\ \\o/";
    assert_eq!(masked(art), art);
}

#[test]
fn json_within_json() {
    let mut text =
        "{\"password\":\"hunter2\",\"t\":\"ghp\\u005fAbcd1234\",\"u\":\"a\\nghp_Abcd1234\"}".to_owned();
    for _ in 0..4 {
        text = format!("{{\"arguments\":\"{}\"}}", escaped(&text));
    }
    let mut output = check_bytes(Format::Json, text.as_bytes());
    assert_eq!(output.error, None);
    for _ in 0..4 {
        let leaves = crate::format::leaves::Leaves::of(&output.output).expect("valid JSON");
        let inner = leaves.string("arguments").expect("a string");
        output.output = inner.into_bytes();
    }
    let inner = String::from_utf8(output.output).unwrap();
    assert_eq!(inner, "{\"password\":\"[pw]\",\"t\":\"[gh]\",\"u\":\"a\\n[gh]\"}");
}

#[test]
fn every_format_reads_nested_texts() {
    let run = b64("words, then ghp_Abcd1234 and more");
    for (format, body) in [
        (Format::Json, format!("{{\"a\":\"{run}\",\"b\":[\"x%20ghp%5FAbcd1234\"]}}")),
        (Format::Form, format!("a={}&b=ghp%255FAbcd1234", run.replace('=', "%3D"))),
        (Format::Sse, format!("data: {run}\n\ndata: {{\"a\":\"ghp&#95;Abcd1234\"}}\n\n")),
        (Format::Text, run.clone()),
    ] {
        let Done { output, error, findings } = check_bytes(format, body.as_bytes());
        assert_eq!(error, None);
        assert!(!decodings(&output).iter().any(|t| leaks(t)), "{}", String::from_utf8_lossy(&output));
        assert!(!findings.is_empty());
    }
}

#[test]
fn a_run_over_an_escape_is_one() {
    let run = b64("words??>>, then ghp_Abcd1234 and more>>>???");
    let body = run.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let output = masked(&body);
    assert!(!decodings(output.as_bytes()).iter().any(|t| leaks(t)), "{output}");
    for at in 0..run.len() {
        let body = format!("{}%{:02X}{}", &run[..at], run.as_bytes()[at], &run[at + 1..]);
        let output = masked(&body);
        assert!(!decodings(output.as_bytes()).iter().any(|t| leaks(t)), "{at}: {output}");
    }
}

pub(in crate::format) fn leaks(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    ["ghp_Abcd1234", "hunter2", "4111111111111111"].iter().any(|s| text.contains(s))
}

/// Base64 in lines, as MIME and PEM have it.
fn in_lines(run: &str, width: usize, feed: &str) -> String {
    let lines: Vec<&str> =
        run.as_bytes().chunks(width).map(|line| std::str::from_utf8(line).unwrap()).collect();
    lines.join(feed)
}

#[test]
fn base64_is_read_over_line_breaks() {
    let words = "some words before it that fill a line or two of base64, ".repeat(2);
    for before in 0..60 {
        let secret = ["ghp_Abcd1234", "password=hunter2", "4111111111111111"][before % 3];
        let text = format!("{} {secret} and {words}", &words[..before]);
        for (width, feed) in [(24, "\n"), (64, "\n"), (76, "\r\n"), (28, "\\n"), (32, "\\r\\n"), (36, "%0A")]
        {
            let body = format!("before\n{}\nafter", in_lines(&b64(&text), width, feed));
            let rules = rules();
            for format in [Format::Text, Format::Bytes] {
                let whole = mask(&rules, format, OnError::Block, [body.as_bytes()]);
                let shown = String::from_utf8_lossy(&whole.output);
                assert!(!decodings(&whole.output).iter().any(|t| leaks(t)), "{body}\n{shown}");
                assert!(!whole.findings.is_empty(), "{secret} {before} {width} {feed:?} {format:?} {shown}");
                assert!(shown.starts_with("before\n") && shown.ends_with("\nafter"), "{shown}");
                let cut = mask(&rules, format, OnError::Block, body.as_bytes().chunks(1 + before % 7));
                assert_eq!(String::from_utf8_lossy(&cut.output), shown, "{body}");
                if format == Format::Bytes {
                    let ends = |s: &str| s.match_indices(feed).map(|(at, _)| at).collect::<Vec<_>>();
                    assert_eq!(whole.output.len(), body.len());
                    assert!(feed.starts_with(['\\', '%']) || ends(&shown) == ends(&body), "{shown}");
                }
            }
        }
    }
    let text = format!("{words} ghp_Abcd1234 {words}");
    let body = in_lines(&b64(&text), 40, "\r\n");
    let output = String::from_utf8(check_bytes(Format::Text, body.as_bytes()).output).unwrap();
    assert_eq!(
        unbase64(&output.replace("\r\n", "")).replace(' ', ""),
        text.replace("ghp_Abcd1234", "[gh]").replace(' ', "")
    );
    for clean in [
        in_lines(&b64(words.repeat(3)), 64, "\n"),
        in_lines(&"0123456789abcdef".repeat(20), 32, "\r\n"),
        "deadbeefdeadbeefdeadbeefdeadbeef\nfoo\r\n\r\nbar\n\r".to_owned(),
    ] {
        assert_eq!(masked(&clean), clean);
    }
}

/// All readings of a text, some levels deep.
pub(in crate::format) fn decodings(text: &[u8]) -> Vec<Vec<u8>> {
    let mut all = vec![text.to_vec()];
    let mut from = 0;
    for _ in 0..7 {
        let to = all.len();
        for index in from..to {
            let text = all[index].clone();
            let mut plain = Vec::new();
            let mut at = 0;
            while let Some((found, Some(escape))) = find::next_escape(&text, at, true) {
                plain.extend_from_slice(&text[at..found]);
                plain.extend_from_slice(escape.decoded());
                at = found + escape.len;
            }
            plain.extend_from_slice(&text[at..]);
            if plain != text {
                all.push(plain);
            }
            let joined: Vec<u8> = text.iter().copied().filter(|b| !matches!(b, b'\r' | b'\n')).collect();
            if joined != text {
                all.push(joined);
            }
            let mut at = 0;
            while let Some(start) = find::next_run(&text, at) {
                let len = find::run_len(&text[start..]);
                let mut decoded = Vec::new();
                find::Bits::default().decode(&text[start..start + len], &mut decoded);
                all.push(decoded);
                at = start + len;
            }
        }
        from = to;
    }
    all
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }

    fn words(&mut self) -> String {
        let words = ["one", "Two", "3", "four%20", "&amp;", "\\n", "/", "é", "=", "x+y", "%", "\\", "A1b2C3"];
        (0..self.below(7)).map(|_| words[self.below(words.len())].to_owned() + " ").collect()
    }

    fn encoded(&mut self, text: &str) -> String {
        match self.below(5) {
            0 => percent(text),
            1 => entities(text),
            2 => unicode(text),
            3 => format!("\"{}\"", escaped(text)),
            _ => format!("{} {} ", self.words(), b64(format!("padding to be long: {text}"))),
        }
    }
}

#[test]
fn random_documents_leak_nothing() {
    let rules = rules();
    for seed in 1..160 {
        let mut random = Random(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(seed));
        let mut body = String::new();
        for _ in 0..1 + random.below(3) {
            let secret = ["ghp_Abcd1234", "password=hunter2", "4111111111111111"][random.below(3)];
            let mut text = format!("{} {secret} {}", random.words(), random.words());
            for _ in 0..random.below(5) {
                text = format!("{}{}", random.words(), random.encoded(&text));
            }
            body += &format!("{}; {text}; ", random.words());
        }
        for format in [Format::Text, Format::Bytes] {
            let whole = mask(&rules, format, OnError::Block, [body.as_bytes()]);
            let shown = String::from_utf8_lossy(&whole.output);
            assert!(!decodings(&whole.output).iter().any(|t| leaks(t)), "seed {seed}: {body}\n{shown}");
            assert!(
                format == Format::Text || whole.output.len() == body.len(),
                "seed {seed}: {body}\n{shown}"
            );
            for size in [1, 2, 3, 7, 29] {
                let cut = mask(&rules, format, OnError::Block, body.as_bytes().chunks(size));
                assert_eq!(
                    String::from_utf8_lossy(&cut.output),
                    shown,
                    "seed {seed}, chunks of {size}: {body}"
                );
                assert_eq!(cut.findings, whole.findings, "seed {seed}, chunks of {size}: {body}");
            }
        }
    }
}
