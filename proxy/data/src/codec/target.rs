//! Methods, the four forms of a request target, and hosts (RFC 9110, section 4; RFC 9112, section 3).

use std::net::Ipv6Addr;

use super::deciding::Single;
use super::head::{HeadRules, Refusal, refuse};

/// What a target in absolute-form says besides path and query.
#[derive(Clone, PartialEq, Eq)]
pub struct Absolute {
    /// `https`, else `http`.
    pub is_https: bool,
    /// Host, and the port where one is named: in lower case, without the dot at the end of a name.
    pub authority: String,
}

/// What is asked for, and of whom.
pub(super) struct Target {
    pub(super) target: String,
    pub(super) authority: Option<String>,
    pub(super) absolute: Option<Absolute>,
}

/// Methods that decide how the response is framed, or that are known to all: in another case they would be others to
/// us and the same to some (RFC 9110, section 9.1).
const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// RFC 9110, section 9.3.
///
/// # Errors
/// It is not served here.
pub(super) fn check_method(method: &str, rules: &HeadRules) -> Result<(), Refusal> {
    match method {
        "GET" | "POST" => Ok(()),
        "CONNECT" if !rules.connect => refuse(405, "CONNECT is not configured"),
        "TRACE" => refuse(405, "TRACE is not forwarded"),
        _ if METHODS.iter().any(|m| m.eq_ignore_ascii_case(method) && *m != method) => {
            refuse(400, "a method in another case than its own")
        }
        _ => Ok(()),
    }
}

/// Reads a target and whom it is for.
///
/// # Errors
/// The rule that it or `Host` breaks.
pub(super) fn read(
    method: &str,
    target: &str,
    host: Single<'_>,
    is_1_1: bool,
    rules: &HeadRules,
) -> Result<Target, Refusal> {
    // RFC 9112, section 3.2: exactly one, and a valid one.
    let host = match host {
        Single::More => return refuse(400, "more than one Host"),
        Single::None if is_1_1 => return refuse(400, "no Host"),
        Single::None => None,
        Single::One(value) => {
            let text = std::str::from_utf8(value).ok();
            let read = text.and_then(|text| Some((text, authority(text)?)));
            Some(read.ok_or(Refusal { status: 400, reason: "the Host is not valid" })?)
        }
    };
    if target.len() > rules.limits.target_bytes_max {
        return refuse(414, "the request target is longer than the limit");
    }
    if method == "CONNECT" {
        return authority_form(target, host.map(|(_, host)| host));
    }
    if target.starts_with('/') || target == "*" && method == "OPTIONS" {
        check_path(target)?;
        return Ok(Target {
            target: target.to_owned(),
            authority: host.map(|(_, host)| host),
            absolute: None,
        });
    }
    absolute_form(method, target, host, rules)
}

/// RFC 9112, section 3.2.2.
fn absolute_form(
    method: &str,
    target: &str,
    host: Option<(&str, String)>,
    rules: &HeadRules,
) -> Result<Target, Refusal> {
    let known = target.split_once("://").and_then(|(scheme, rest)| {
        let is_https = scheme.eq_ignore_ascii_case("https");
        (is_https || scheme.eq_ignore_ascii_case("http")).then_some((is_https, rest))
    });
    let Some((is_https, rest)) = known else { return refuse(400, "the request target is not a path") };
    let at = rest.find(['/', '?']).unwrap_or(rest.len());
    let (named, path) = rest.split_at(at);
    if !rules.absolute_form && !host.is_some_and(|(host, _)| host.eq_ignore_ascii_case(named)) {
        return refuse(400, "the request target names another host than Host does");
    }
    let Some(authority) = authority(named) else {
        return refuse(400, "the host of the request target is not valid");
    };
    let target = match path {
        // Section 3.2.4: it is how a client asks a proxy for `*`.
        "" if method == "OPTIONS" => "*".to_owned(),
        path if path.starts_with('/') => path.to_owned(),
        query => format!("/{query}"),
    };
    check_path(&target)?;
    Ok(Target {
        target,
        authority: Some(authority.clone()),
        absolute: Some(Absolute { is_https, authority }),
    })
}

/// RFC 9112, section 3.2.3.
fn authority_form(target: &str, host: Option<String>) -> Result<Target, Refusal> {
    let read = authority(target).filter(|read| port_at(read).is_some());
    let Some(read) = read else { return refuse(400, "the target of CONNECT is not a host and a port") };
    let name = read.get(..port_at(&read).unwrap_or(read.len())).unwrap_or_default();
    if host.is_some_and(|host| host != read && host != name) {
        return refuse(400, "the request target names another host than Host does");
    }
    Ok(Target { target: read.clone(), authority: Some(read), absolute: None })
}

/// RFC 3986, section 3.3 and 3.4, and what browsers leave as it is besides (WHATWG URL): in a path `[]^{|}`, in a query
/// also `` ` `` and `\`. `%` in a path begins two hexadecimal digits.
fn check_path(target: &str) -> Result<(), Refusal> {
    let bytes = target.as_bytes();
    let at = memchr::memchr(b'?', bytes).unwrap_or(bytes.len());
    let (path, query) = bytes.split_at(at);
    let class = |b: &u8| CLASSES.get(usize::from(*b)).copied().unwrap_or(NOWHERE);
    if path.iter().any(|b| class(b) != ANYWHERE) || query.iter().any(|b| class(b) == NOWHERE) {
        return refuse(400, "the request target is not valid");
    }
    let is_coded = |at: usize| {
        let code = path.get(at + 1..at + 3).unwrap_or_default();
        code.len() == 2 && code.iter().all(u8::is_ascii_hexdigit)
    };
    if !memchr::memchr_iter(b'%', path).all(is_coded) {
        return refuse(400, "a `%` in the request target does not begin a code");
    }
    Ok(())
}

/// In no target; in queries only; in paths as well.
const NOWHERE: u8 = 0;
const IN_QUERIES: u8 = 1;
const ANYWHERE: u8 = 2;

/// Where a byte may stand.
const CLASSES: [u8; 256] = {
    let mut classes = [NOWHERE; 256];
    let mut byte = 0x21u8;
    while byte <= 0x7E {
        let class = match byte {
            b'"' | b'#' | b'<' | b'>' => NOWHERE,
            b'\\' | b'`' => IN_QUERIES,
            _ => ANYWHERE,
        };
        #[allow(clippy::indexing_slicing)]
        {
            classes[byte as usize] = class;
        }
        byte += 1;
    }
    classes
};

/// A host and perhaps a port (RFC 3986, section 3.2, without what names of hosts don't have: credentials, codes and
/// delimiters), in lower case and without the dot at the end of a name; `None` where it is not valid.
fn authority(text: &str) -> Option<String> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (inner, port) = rest.split_once(']')?;
            inner.parse::<Ipv6Addr>().ok()?;
            (text.get(..inner.len() + 2)?, port)
        }
        None => {
            let at = text.bytes().position(|b| b == b':').unwrap_or(text.len());
            let (host, port) = text.split_at_checked(at)?;
            let host = host.strip_suffix('.').unwrap_or(host);
            let mut before = b'.';
            for byte in host.bytes() {
                let is_fine = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~');
                if !is_fine && (byte != b'.' || before == b'.') {
                    return None;
                }
                before = byte;
            }
            // A name of nothing, or another dot at its end.
            if before == b'.' {
                return None;
            }
            (host, port)
        }
    };
    if !port.is_empty() {
        let digits = port.strip_prefix(':').filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?;
        digits.parse::<u16>().ok()?;
    }
    let mut read = String::with_capacity(text.len());
    read.push_str(host);
    read.push_str(port);
    read.make_ascii_lowercase();
    Some(read)
}

/// Where the `:` of the port stands in an authority that was read.
fn port_at(read: &str) -> Option<usize> {
    read.rfind(':').filter(|at| !read.get(*at..).is_some_and(|port| port.contains(']')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities() {
        for (text, read) in [
            ("Example.COM", "example.com"),
            ("h.:8080", "h:8080"),
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("[2001:DB8::1]", "[2001:db8::1]"),
            ("[::1]:443", "[::1]:443"),
            ("my_service-1~a", "my_service-1~a"),
            ("h:0", "h:0"),
            ("h:00080", "h:00080"),
        ] {
            assert_eq!(authority(text).as_deref(), Some(read), "{text}");
        }
        for text in [
            "",
            ".",
            "h..",
            "a..b",
            ".a",
            "h:",
            "h:x",
            "h:+1",
            "h:65536",
            "h:80:81",
            ":80",
            "u@h",
            "u:p@h",
            "h/x",
            "h?x",
            "h#x",
            "h x",
            "h,i",
            "h;i",
            "h%00",
            "h%2ei",
            "*",
            "[::1",
            "::1",
            "[::1]x",
            "[::1%25eth0]",
            "[v1.x]",
            "[]",
            "[1.2.3.4]",
            "h\\i",
            "h\u{e9}",
            "(h)",
            "h!",
            "h$",
            "h&i",
            "h'",
            "h+",
            "h=",
        ] {
            assert_eq!(authority(text), None, "{text}");
        }
    }

    #[test]
    fn ports_of_authorities() {
        assert_eq!(port_at("h:80"), Some(1));
        assert_eq!(port_at("[::1]:80"), Some(5));
        assert_eq!(port_at("[::1]"), None);
        assert_eq!(port_at("h"), None);
    }
}
