//! The rules of HTTP/1.1 requests as one would write them on one page: whole buffers, copies, no thought of speed.

use crate::http::{LIMITS, Request};

/// How the reading of a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// No more bytes, or a request that said it is the last one.
    Done,
    /// What followed breaks a rule.
    Refused,
}

/// Reads all requests of a connection.
#[must_use]
pub fn requests(document: &[u8]) -> (Vec<Request>, End) {
    let (mut requests, mut rest) = (Vec::new(), document.to_vec());
    loop {
        while rest.starts_with(b"\r\n") {
            rest.drain(..2);
        }
        match request(&rest) {
            None => return (requests, End::Refused),
            Some(Read::More) => return (requests, End::Done),
            Some(Read::Request(request, len, keep_alive)) => {
                requests.push(request);
                rest.drain(..len);
                if !keep_alive {
                    return (requests, End::Done);
                }
            }
        }
    }
}

enum Read {
    More,
    Request(Request, usize, bool),
}

/// The request at the start of `bytes`; `None` where it breaks a rule.
fn request(bytes: &[u8]) -> Option<Read> {
    let Some(head) = head_length(bytes)? else { return Some(Read::More) };
    let text = bytes.get(..head - 4)?;
    let mut lines = split(text, b"\r\n").into_iter();
    let line = String::from_utf8(lines.next()?.to_vec()).ok()?;
    let [method, target, version] = line.split(' ').collect::<Vec<_>>().try_into().ok()?;
    let is_1_1 = match version {
        "HTTP/1.1" => true,
        "HTTP/1.0" => false,
        _ => return None,
    };
    let fields = lines.map(field).collect::<Option<Vec<_>>>()?;
    let values =
        |name: &str| fields.iter().filter(|(n, _)| n == name).map(|(_, v)| v.clone()).collect::<Vec<_>>();
    let target = read_target(method, target, &values("host"), is_1_1)?;
    let keep_alive = connection(&values("connection"), is_1_1)?;
    let is_named = |name: &str| fields.iter().any(|(n, _)| n.replace('_', "-") == name && n != name);
    let is_expected = match values("expect").as_slice() {
        [] => true,
        [one] => one.eq_ignore_ascii_case(b"100-continue"),
        _ => false,
    };
    if fields.len() > LIMITS.fields_max
        || is_named("content-length")
        || is_named("transfer-encoding")
        || !is_expected
    {
        return None;
    }
    let mut made = Request {
        method: method.to_owned(),
        target,
        fields: Vec::new(),
        body: Vec::new(),
        trailers: Vec::new(),
    };
    let len = match (values("transfer-encoding").as_slice(), values("content-length").as_slice()) {
        ([], []) => head,
        ([], [length]) => {
            let digits = String::from_utf8(length.clone()).ok()?;
            if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            let end = u64::try_from(head).ok()?.saturating_add(digits.parse::<u64>().ok()?);
            let Some(body) = usize::try_from(end).ok().and_then(|end| bytes.get(head..end)) else {
                return Some(Read::More);
            };
            made.body = body.to_vec();
            head + body.len()
        }
        ([coding], []) if is_1_1 && coding.eq_ignore_ascii_case(b"chunked") => {
            match chunked(bytes.get(head..)?, &mut made)? {
                Some(len) => head + len,
                None => return Some(Read::More),
            }
        }
        _ => return None,
    };
    made.fields = fields;
    Some(Read::Request(made, len, keep_alive))
}

/// The length of the head with its empty line; `Some(None)` while it is not whole; `None` where a line end is wrong.
fn head_length(bytes: &[u8]) -> Option<Option<usize>> {
    for at in 0..bytes.len().min(LIMITS.bytes_max) {
        let before = bytes.get(..=at)?;
        let is_cr_alone = at > 0 && bytes[at - 1] == b'\r' && bytes[at] != b'\n';
        if bytes[at] == 0 || is_cr_alone || bytes[at] == b'\n' && !before.ends_with(b"\r\n") {
            return None;
        }
        if before.ends_with(b"\r\n\r\n") || before == b"\r\n" {
            return (before.len() >= 4).then_some(Some(before.len()));
        }
    }
    (bytes.len() < LIMITS.bytes_max).then_some(None)
}

fn split<'a>(text: &'a [u8], by: &[u8; 2]) -> Vec<&'a [u8]> {
    let (mut parts, mut from) = (Vec::new(), 0);
    for at in 0..text.len().saturating_sub(1) {
        if text[at..].starts_with(by) && at >= from {
            parts.push(&text[from..at]);
            from = at + 2;
        }
    }
    parts.push(&text[from..]);
    parts
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c))
}

/// A name in lower case and a value without the spaces and tabs about it.
fn field(line: &[u8]) -> Option<(String, Vec<u8>)> {
    let at = line.iter().position(|b| *b == b':')?;
    let name = String::from_utf8(line[..at].to_vec()).ok()?;
    let text = |b: &u8| *b == b'\t' || (b' '..0x7F).contains(b) || *b >= 0x80;
    let mut value = &line[at + 1..];
    while let Some((b' ' | b'\t', rest)) = value.split_first() {
        value = rest;
    }
    while let Some((b' ' | b'\t', rest)) = value.split_last() {
        value = rest;
    }
    (is_token(&name) && value.iter().all(text)).then(|| (name.to_ascii_lowercase(), value.to_vec()))
}

/// Whether the connection goes on; `None` where `Connection` is not as it must be.
fn connection(values: &[Vec<u8>], is_1_1: bool) -> Option<bool> {
    let mut all = Vec::new();
    for value in values {
        let text = String::from_utf8(value.clone()).ok()?.to_ascii_lowercase();
        all.extend(text.split(',').map(|t| t.trim_matches([' ', '\t']).to_owned()).filter(|t| !t.is_empty()));
    }
    let everybodys = [
        "content-length",
        "transfer-encoding",
        "content-type",
        "content-encoding",
        "content-range",
        "host",
        "authorization",
        "cookie",
        "set-cookie",
        "expect",
        "cache-control",
        "date",
    ];
    let fine = all.iter().all(|t| is_token(t) && !everybodys.contains(&t.replace('_', "-").as_str()));
    let has = |option: &str| all.iter().any(|t| t == option);
    fine.then(|| !has("close") && (is_1_1 || has("keep-alive")))
}

fn is_host(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((inner, port)) if inner.parse::<std::net::Ipv6Addr>().is_ok() => ("x", port),
        Some(_) => return false,
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let labels = host.strip_suffix('.').unwrap_or(host);
    let is_label =
        |l: &str| !l.is_empty() && l.chars().all(|c| c.is_ascii_alphanumeric() || "-_~".contains(c));
    let is_port =
        |p: &str| !p.is_empty() && p.chars().all(|c| c.is_ascii_digit()) && p.parse::<u16>().is_ok();
    labels.split('.').all(is_label) && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
}

/// Path and query, or `*`.
fn read_target(method: &str, target: &str, hosts: &[Vec<u8>], is_1_1: bool) -> Option<String> {
    let known = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
    let upper = method.to_ascii_uppercase();
    if !is_token(method)
        || ["CONNECT", "TRACE"].contains(&method)
        || known.contains(&&*upper) && method != upper
    {
        return None;
    }
    let host = match hosts {
        [] if !is_1_1 => None,
        [host] => Some(String::from_utf8(host.clone()).ok().filter(|host| is_host(host))?),
        _ => return None,
    };
    let target = if target.starts_with('/') || target == "*" && method == "OPTIONS" {
        target.to_owned()
    } else {
        let (scheme, rest) = target.split_once("://")?;
        let named = rest.split(['/', '?']).next()?;
        let is_same = host.is_some_and(|host| host.eq_ignore_ascii_case(named));
        if !["http", "https"].contains(&&*scheme.to_ascii_lowercase()) || !is_same {
            return None;
        }
        match &rest[named.len()..] {
            "" if method == "OPTIONS" => "*".to_owned(),
            path if path.starts_with('/') => path.to_owned(),
            query => format!("/{query}"),
        }
    };
    let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
    let visible = |c: char| c.is_ascii_graphic() && !"\"#<>".contains(c);
    let is_path = path.chars().all(|c| visible(c) && !"\\`".contains(c)) && query.chars().all(visible);
    let hex = |part: &str| part.chars().take(2).filter(char::is_ascii_hexdigit).count() == 2;
    (is_path && path.split('%').skip(1).all(hex) && target.len() <= LIMITS.target_bytes_max).then_some(target)
}

/// Reads a chunked body into `made`: its length, `Some(None)` while it is not whole, `None` where it breaks a rule.
fn chunked(bytes: &[u8], made: &mut Request) -> Option<Option<usize>> {
    let mut at = 0;
    loop {
        let Some(line) = line(&bytes[at..])? else { return Some(None) };
        at += line.len() + 2;
        let text = line.iter().map(|b| char::from(*b)).collect::<String>();
        let digits: String = text.chars().take_while(char::is_ascii_hexdigit).collect();
        if digits.is_empty()
            || digits.len() > 16
            || !extensions(&text[digits.len()..].chars().collect::<Vec<_>>())
        {
            return None;
        }
        let size = usize::from_str_radix(&digits, 16).ok()?;
        if size == 0 {
            break;
        }
        let rest = &bytes[at..];
        made.body.extend_from_slice(&rest[..size.min(rest.len())]);
        if rest.len() < size {
            return Some(None);
        }
        match &rest[size..] {
            [b'\r', b'\n', ..] => at += size + 2,
            [] | [b'\r'] => return Some(None),
            _ => return None,
        }
    }
    loop {
        let Some(line) = line(&bytes[at..])? else { return Some(None) };
        at += line.len() + 2;
        if line.is_empty() {
            return Some(Some(at));
        }
        made.trailers.push(field(line)?);
    }
}

/// The line that `bytes` begin with, without its CRLF.
fn line(bytes: &[u8]) -> Option<Option<&[u8]>> {
    let Some(at) = bytes.iter().position(|b| *b == b'\n') else { return Some(None) };
    let line = bytes[..at].strip_suffix(b"\r")?;
    (!line.contains(&b'\r')).then_some(Some(line))
}

/// `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )`, each byte a letter of Latin-1.
fn extensions(text: &[char]) -> bool {
    let spaces = |from: usize| from + text[from..].iter().take_while(|c| " \t".contains(**c)).count();
    let token = |from: usize| from + text[from..].iter().take_while(|c| is_token(&c.to_string())).count();
    let mut at = 0;
    while at < text.len() {
        let semicolon = spaces(at);
        if text.get(semicolon) != Some(&';') {
            return false;
        }
        let name = spaces(semicolon + 1);
        at = token(name);
        if at == name {
            return false;
        }
        let equals = spaces(at);
        if text.get(equals) != Some(&'=') {
            continue;
        }
        let value = spaces(equals + 1);
        at = token(value);
        if at > value {
            continue;
        }
        if text.get(value) != Some(&'"') {
            return false;
        }
        at = value + 1;
        let is_text = |c: Option<&char>| c.is_some_and(|c| *c == '\t' || *c >= ' ' && *c != '\x7f');
        while text.get(at) != Some(&'"') {
            let escaped = usize::from(text.get(at) == Some(&'\\'));
            if !is_text(text.get(at)) || !is_text(text.get(at + escaped)) {
                return false;
            }
            at += 1 + escaped;
        }
        at += 1;
    }
    true
}
