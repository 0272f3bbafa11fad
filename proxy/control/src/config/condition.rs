//! Conditions of routes: hosts, paths, methods and fields, in the spelling in which they are compared.

use sluice_data::HeaderMatch;
use toml::de::DeTable;

use super::source::{Source, Value};

/// Methods of RFC 9110, section 9.3, and RFC 5789.
const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// A character of a token (RFC 9110, section 5.6.2).
fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

/// A name without port, in lower case, or `*.` and one.
pub(super) fn host(source: &mut Source, value: &Value<'_>) -> Option<String> {
    let text = source.reader.string(value)?.to_ascii_lowercase();
    let name = text.strip_prefix("*.").unwrap_or(&text);
    let is_name = |label: &str| {
        !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    let reason = if text == "*" {
        "leave `hosts` out to take every host"
    } else if text.contains(':') {
        "expected a host without scheme and port"
    } else if name.contains('*') {
        "`*` stands only at the start: `*.example.com` is every name below example.com"
    } else if !name.split('.').all(is_name) {
        "expected a host such as `api.example.com` or `*.example.com`"
    } else {
        return Some(text);
    };
    source.reader.fault(&value.span(), reason);
    None
}

/// A path in the only spelling that requests are compared in (RFC 3986, section 6.2.2).
pub(super) fn path(source: &mut Source, value: &Value<'_>, is_prefix: bool) -> Option<String> {
    let text = source.reader.string(value)?;
    let reason = if !text.starts_with('/') {
        "a path begins with `/`".to_owned()
    } else if text.contains(['?', '#']) {
        "a path has no query and no fragment".to_owned()
    } else if text.split('/').any(|segment| segment == "." || segment == "..") {
        "`.` and `..` are taken out of paths before they are compared: write what is left".to_owned()
    } else if text.bytes().any(|b| b <= b' ' || b >= 0x7F) {
        "spaces and letters beyond ASCII are percent-encoded in paths".to_owned()
    } else if let Some(reason) = misspelled(&text) {
        reason
    } else if is_prefix && text.len() > 1 && text.ends_with('/') {
        let path = text.trim_end_matches('/');
        format!("without the last `/`: `{path}` takes itself and everything below it, but not `{path}x`")
    } else {
        return Some(text);
    };
    source.reader.fault(&value.span(), reason);
    None
}

/// Why a percent-encoding is not in its normal form.
fn misspelled(path: &str) -> Option<String> {
    for (at, _) in path.match_indices('%') {
        let digits = path.get(at + 1..at + 3).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        let Some(byte) = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) else {
            return Some("`%` is written `%25`".to_owned());
        };
        let digits = digits.unwrap_or_default();
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            return Some(format!("`%{digits}` needs no encoding: write `{}`", char::from(byte)));
        }
        let upper = digits.to_ascii_uppercase();
        if upper != digits {
            return Some(format!("`%{digits}` is compared as `%{upper}`: write it so"));
        }
    }
    None
}

/// A method, which is case-sensitive (RFC 9110, section 9.1).
pub(super) fn method(source: &mut Source, value: &Value<'_>) -> Option<String> {
    let text = source.reader.string(value)?;
    let upper = text.to_ascii_uppercase();
    if text.is_empty() || !text.bytes().all(is_token) {
        source.reader.fault(&value.span(), "expected a method such as `POST`");
        return None;
    }
    if upper != text && METHODS.contains(&upper.as_str()) {
        source.reader.fault(&value.span(), format!("methods are case-sensitive: write `{upper}`"));
        return None;
    }
    Some(text)
}

/// `{ name = "…", value = "…" }`, the value left out where the field must only be there.
pub(super) fn header(source: &mut Source, value: &Value<'_>) -> Option<HeaderMatch> {
    let table = source.reader.table(value)?;
    source.reader.known_keys(table, &["name", "value"]);
    let Some(name_value) = table.get("name") else {
        source.reader.fault(&value.span(), "a condition on a field needs `name`");
        return None;
    };
    let name = source.reader.string(name_value)?.to_ascii_lowercase();
    if name.is_empty() || !name.bytes().all(is_token) {
        source.reader.fault(&name_value.span(), "expected the name of a field, such as `x-team`");
        return None;
    }
    if name == "host" {
        source.reader.fault(&name_value.span(), "`hosts` says which hosts a route takes");
        return None;
    }
    let text = source.text(table, "value");
    if let (Some(text), Some(v)) = (&text, table.get("value"))
        && (text.trim() != text || text.bytes().any(|b| b < b' ' || b == 0x7F))
    {
        let reason = "a field's value has no control characters, and no spaces around it";
        source.reader.fault(&v.span(), reason);
        return None;
    }
    Some(HeaderMatch { name, value: text })
}

/// Two values of one field can't both be the whole of it.
pub(super) fn at_odds(source: &mut Source, table: &DeTable<'_>, headers: &[HeaderMatch]) {
    for (n, header) in headers.iter().enumerate() {
        let is_other = |other: &&HeaderMatch| {
            other.name == header.name
                && other.value.is_some()
                && header.value.is_some()
                && other.value != header.value
        };
        if let (Some(_), Some(v)) = (headers.iter().take(n).find(is_other), table.get("headers")) {
            let reason = format!("`{}` can't have two values: the route would take nothing", header.name);
            source.reader.fault(&v.span(), reason);
        }
    }
}
