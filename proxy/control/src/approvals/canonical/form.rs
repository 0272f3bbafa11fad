//! Forms (WHATWG URL, section 5.1): names and values in their order, decoded. An encoding that is not whole is refused,
//! for readers differ in what they make of it.

use super::Uncanonical;

/// The greatest number of pairs.
const PAIRS_MAX: usize = 10_000;

/// Names and values.
pub(crate) fn pairs(body: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Uncanonical> {
    let mut pairs = Vec::new();
    let mut at = 0;
    for pair in body.split(|&b| b == b'&') {
        if !pair.is_empty() {
            if pairs.len() == PAIRS_MAX {
                return Err(Uncanonical::at("the form has too many pairs", at));
            }
            let middle = pair.iter().position(|&b| b == b'=').unwrap_or(pair.len());
            let (name, value) = pair.split_at(middle);
            pairs.push((decoded(name, at)?, decoded(value.strip_prefix(b"=").unwrap_or(value), at)?));
        }
        at += pair.len() + 1;
    }
    Ok(pairs)
}

fn decoded(text: &[u8], place: usize) -> Result<Vec<u8>, Uncanonical> {
    let mut bytes = text.iter().copied();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || bytes.next().and_then(|b| char::from(b).to_digit(16));
                let (Some(high), Some(low)) = (digit(), digit()) else {
                    return Err(Uncanonical::at("the form has a `%` without two digits", place));
                };
                (high * 16 + low) as u8
            }
            other => other,
        });
    }
    Ok(decoded)
}
