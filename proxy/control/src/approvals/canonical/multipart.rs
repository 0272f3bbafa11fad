//! Multipart bodies (RFC 2046, section 5.1; RFC 7578): the parts in their order, each with its fields and its bytes as
//! they are. The boundary carries no meaning. What only some readers take (text around the parts, folded fields, a field
//! twice, a line that ends without CR) is refused.

use super::Uncanonical;

/// The greatest number of parts.
const PARTS_MAX: usize = 1_000;
/// The greatest number of fields of a part.
const FIELDS_MAX: usize = 32;

/// A part of a body.
pub(super) struct Part<'a> {
    /// By name, in lower case; values without the space around them.
    pub(super) fields: Vec<(String, Vec<u8>)>,
    pub(super) body: &'a [u8],
}

pub(super) fn parts<'a>(body: &'a [u8], boundary: &str) -> Result<Vec<Part<'a>>, Uncanonical> {
    if boundary.is_empty() || boundary.len() > 70 || boundary.ends_with(' ') {
        return Err(Uncanonical::new("the boundary has 1 to 70 characters"));
    }
    let first = format!("--{boundary}").into_bytes();
    let between = format!("\r\n--{boundary}").into_bytes();
    let not_at_start = Uncanonical::at("a multipart body begins with its boundary", 0);
    let mut rest = body.strip_prefix(first.as_slice()).ok_or(not_at_start)?;
    let mut parts = Vec::new();
    loop {
        let at = body.len() - rest.len();
        if let Some(end) = rest.strip_prefix(b"--") {
            let is_end = end.is_empty() || end == b"\r\n";
            return is_end
                .then_some(parts)
                .ok_or(Uncanonical::at("there is something behind the last part", at));
        }
        let unended = Uncanonical::at("a line of a boundary goes on", at);
        let inner = rest.strip_prefix(b"\r\n").ok_or(unended)?;
        // The delimiter's own line break may be the one that ends the fields of a part without a body.
        let length = find(inner, &between).ok_or(Uncanonical::at("a part has no end", at))?;
        if parts.len() == PARTS_MAX {
            return Err(Uncanonical::at("there are too many parts", at));
        }
        let (part, behind) = inner.split_at(length);
        parts.push(read(part, at)?);
        rest = behind.strip_prefix(between.as_slice()).unwrap_or_default();
    }
}

fn read(part: &[u8], at: usize) -> Result<Part<'_>, Uncanonical> {
    let mut fields: Vec<(String, Vec<u8>)> = Vec::new();
    let mut rest = part;
    while let Some(length) = find(rest, b"\r\n") {
        let (line, behind) = rest.split_at(length);
        rest = behind.strip_prefix(b"\r\n").unwrap_or_default();
        if line.is_empty() {
            fields.sort();
            return Ok(Part { fields, body: rest });
        }
        let odd = Uncanonical::at("a field of a part can't be read", at);
        let middle = line.iter().position(|&b| b == b':').ok_or(odd)?;
        let (name, value) = line.split_at(middle);
        let is_token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
        if name.is_empty()
            || !name.iter().all(is_token)
            || line.iter().any(|b| matches!(b, b'\r' | b'\n' | 0))
        {
            return Err(odd);
        }
        let name = String::from_utf8(name.to_ascii_lowercase()).map_err(|_| odd)?;
        if fields.len() == FIELDS_MAX || fields.iter().any(|(other, _)| *other == name) {
            return Err(Uncanonical::at("a part has a field twice, or too many", at));
        }
        fields.push((name, value.strip_prefix(b":").unwrap_or(value).trim_ascii().to_vec()));
    }
    Err(Uncanonical::at("the fields of a part have no end", at))
}

/// The first place of `needle`. The search goes by its first byte: bodies are bounded, boundaries are short.
fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
