//! Path and query in one spelling (RFC 3986, section 6.2.2): unreserved characters stand as they are, other encodings in
//! upper-case digits. Nothing else is folded: `%2F` is not `/`, and `+` is not `%20`.

use super::Uncanonical;

/// A path, which has no dot segments: the gateway and the upstream could take them out differently.
pub(super) fn path(path: &str) -> Result<String, Uncanonical> {
    let path = normal(path)?;
    if path.split('/').any(|segment| segment == "." || segment == "..") {
        return Err(Uncanonical::new("the path has dot segments"));
    }
    Ok(path)
}

/// A text with its percent-encodings in their normal form.
pub(super) fn normal(text: &str) -> Result<String, Uncanonical> {
    let mut normal = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        if c != '%' {
            normal.push(c);
            continue;
        }
        let mut digit = || characters.next().and_then(|c| c.to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return Err(Uncanonical::new("the target has a `%` without two digits"));
        };
        match u8::try_from(high * 16 + low) {
            Ok(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                normal.push(char::from(byte))
            }
            Ok(byte) => normal.push_str(&format!("%{byte:02X}")),
            Err(_) => return Err(Uncanonical::new("the target has a `%` without two digits")),
        }
    }
    Ok(normal)
}
