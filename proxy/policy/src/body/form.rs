//! Forms: pairs (WHATWG URL, `application/x-www-form-urlencoded`) and parts (RFC 7578).

use super::Unreadable;

/// Names and values.
pub(super) type Pairs = Vec<(String, String)>;

/// Values of a name, which may be there more than once.
pub(super) fn of_name(pairs: Pairs, name: &str) -> Vec<String> {
    pairs.into_iter().filter(|(other, _)| other == name).map(|(_, value)| value).collect()
}

/// The pairs of a form.
pub(super) fn pairs(body: &[u8]) -> Pairs {
    let pairs = body.split(|b| *b == b'&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let at = pair.iter().position(|b| *b == b'=');
            let (name, value) = pair.split_at(at.unwrap_or(pair.len()));
            (decoded(name), decoded(value.strip_prefix(b"=").unwrap_or(value)))
        })
        .collect()
}

fn decoded(text: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, behind)) = rest.split_first() {
        let hex = behind.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let byte = hex.filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
        match (first, byte.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = behind.get(2..).unwrap_or_default();
                continue;
            }
            (b'+', _) => bytes.push(b' '),
            (other, _) => bytes.push(*other),
        }
        rest = behind;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The boundary among the parameters of a media type; empty where there is none.
pub(super) fn boundary(parameters: &str) -> &str {
    let mut found = parameters.split(';').filter_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"'))
    });
    match (found.next(), found.next()) {
        (Some(one), None) => one,
        _ => "",
    }
}

/// The parts of a body in which a file has the name of its field and no text.
///
/// # Errors
/// Where lines that open parts, or their fields, could be read in several ways.
pub(super) fn parts(boundary: &str, body: &[u8]) -> Result<Pairs, Unreadable> {
    const BROKEN: Unreadable = Unreadable("its parts can't be told from each other");
    if boundary.is_empty() || boundary.len() > 70 {
        return Err(BROKEN);
    }
    let opening = format!("--{boundary}");
    let mut rest = body.strip_prefix(opening.as_bytes()).ok_or(BROKEN)?;
    let line = format!("\r\n{opening}");
    let finder = |text: &[u8]| text.windows(line.len()).position(|window| window == line.as_bytes());
    let mut pairs: Pairs = Vec::new();
    while !rest.starts_with(b"--") {
        let part = rest.strip_prefix(b"\r\n").ok_or(BROKEN)?;
        let end = finder(part).ok_or(BROKEN)?;
        let (whole, behind) = part.split_at_checked(end).ok_or(BROKEN)?;
        let split = whole.windows(4).position(|window| window == b"\r\n\r\n").ok_or(BROKEN)?;
        let head = whole.get(..split).and_then(|head| std::str::from_utf8(head).ok()).ok_or(BROKEN)?;
        let value = whole.get(split + 4..).ok_or(BROKEN)?;
        let (name, is_file) = disposition(head).ok_or(BROKEN)?;
        let value = if is_file { String::new() } else { String::from_utf8_lossy(value).into_owned() };
        pairs.push((name, value));
        rest = behind.get(line.len()..).ok_or(BROKEN)?;
    }
    Ok(pairs)
}

/// The name of a part, and whether it is a file. Fields of its head that are folded or there twice are none.
fn disposition(head: &str) -> Option<(String, bool)> {
    let mut fields = head.split("\r\n").filter_map(|line| line.split_once(':'));
    let mut found = fields.by_ref().filter(|(name, _)| name.eq_ignore_ascii_case("content-disposition"));
    let (_, value) = found.next()?;
    let has_other =
        head.contains(['\r', '\n']) && head.split("\r\n").any(|line| line.starts_with([' ', '\t']));
    if has_other || head.to_ascii_lowercase().matches("content-disposition").count() != 1 {
        return None;
    }
    let names: Vec<&str> = value.split(';').skip(1).map(str::trim).collect();
    let of = |key: &str| {
        let mut all = names.iter().filter_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            name.trim().eq_ignore_ascii_case(key).then(|| value.trim().trim_matches('"').to_owned())
        });
        (all.next(), all.next().is_some())
    };
    let (name, is_twice) = of("name");
    let has_file = names.iter().any(|parameter| parameter.to_ascii_lowercase().starts_with("filename"));
    let has_star = names.iter().any(|parameter| parameter.to_ascii_lowercase().starts_with("name*"));
    if is_twice || has_star { None } else { Some((name?, has_file)) }
}
