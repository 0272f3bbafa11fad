//! Checks of a value beyond its shape.

use crate::rule::Validator;

mod americas;
mod asia;
mod central_europe;
mod eastern_europe;
mod global;
mod northern_europe;
mod number;
pub(crate) mod scheme;
mod southern_europe;
mod southern_hemisphere;
mod western_europe;

impl Validator {
    /// True when `value` passes. Never panics, whatever the bytes.
    #[must_use]
    pub fn accepts(&self, value: &[u8]) -> bool {
        match self {
            Validator::Unlisted(list) => !list.has(value),
            Validator::Luhn => luhn(value),
            Validator::Mod97 => mod97(value),
            Validator::UsSsn => us_ssn(value),
            Validator::Entropy { min } => entropy_bits(value) >= *min,
            Validator::Jwt => jwt(value),
            Validator::Ip => std::str::from_utf8(value).is_ok_and(ip),
            Validator::Crc32Github => crc32_token(value, 30),
            Validator::Crc32Npm => crc32_token(value, 30),
            Validator::Base64 => base64(value),
            Validator::Date => date(value),
            Validator::Bitcoin => bitcoin(value),
            Validator::Ethereum => ethereum(value),
            Validator::Scheme(scheme) => scheme.accepts(value),
            Validator::Chars { digits, lower, upper, letters, distinct } => {
                let count = |f: fn(&u8) -> bool| value.iter().filter(|b| f(b)).count();
                let mut seen = [false; 256];
                value.iter().for_each(|&b| seen[b as usize] = true);
                count(u8::is_ascii_digit) >= *digits
                    && count(u8::is_ascii_lowercase) >= *lower
                    && count(u8::is_ascii_uppercase) >= *upper
                    && count(u8::is_ascii_alphabetic) >= *letters
                    && seen.iter().filter(|s| **s).count() >= *distinct
            }
        }
    }

    /// The name in packs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Validator::Unlisted(_) => "allow",
            Validator::Luhn => "luhn",
            Validator::Mod97 => "mod97",
            Validator::UsSsn => "us_ssn",
            Validator::Entropy { .. } => "entropy",
            Validator::Jwt => "jwt",
            Validator::Ip => "ip",
            Validator::Crc32Github => "crc32_github",
            Validator::Crc32Npm => "crc32_npm",
            Validator::Base64 => "base64",
            Validator::Date => "date",
            Validator::Bitcoin => "bitcoin",
            Validator::Ethereum => "ethereum",
            Validator::Scheme(scheme) => scheme.name(),
            Validator::Chars { .. } => "chars",
        }
    }
}

/// The digits of a value whose other bytes are separators; `None` when there is another byte.
fn digits(value: &[u8]) -> Option<Vec<u8>> {
    let mut digits = Vec::with_capacity(value.len());
    for &b in value {
        match b {
            b'0'..=b'9' => digits.push(b - b'0'),
            b' ' | b'-' | b'.' | b'/' => {}
            _ => return None,
        }
    }
    Some(digits)
}

/// ISO/IEC 7812-1, annex B.
fn luhn(value: &[u8]) -> bool {
    let Some(digits) = digits(value) else { return false };
    if digits.len() < 2 || digits.iter().all(|&d| d == 0) {
        return false;
    }
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(i, &d)| match (i % 2, u32::from(d)) {
            (0, d) => d,
            (_, d) if d >= 5 => 2 * d - 9,
            (_, d) => 2 * d,
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Lengths of IBANs by country, from the IBAN registry (SWIFT, release 99).
const IBAN_LENGTHS: &[(&[u8; 2], usize)] = &[
    (b"AD", 24),
    (b"AE", 23),
    (b"AL", 28),
    (b"AT", 20),
    (b"AZ", 28),
    (b"BA", 20),
    (b"BE", 16),
    (b"BG", 22),
    (b"BH", 22),
    (b"BI", 27),
    (b"BR", 29),
    (b"BY", 28),
    (b"CH", 21),
    (b"CR", 22),
    (b"CY", 28),
    (b"CZ", 24),
    (b"DE", 22),
    (b"DJ", 27),
    (b"DK", 18),
    (b"DO", 28),
    (b"EE", 20),
    (b"EG", 29),
    (b"ES", 24),
    (b"FI", 18),
    (b"FK", 18),
    (b"FO", 18),
    (b"FR", 27),
    (b"GB", 22),
    (b"GE", 22),
    (b"GI", 23),
    (b"GL", 18),
    (b"GR", 27),
    (b"GT", 28),
    (b"HN", 28),
    (b"HR", 21),
    (b"HU", 28),
    (b"IE", 22),
    (b"IL", 23),
    (b"IQ", 23),
    (b"IS", 26),
    (b"IT", 27),
    (b"JO", 30),
    (b"KW", 30),
    (b"KZ", 20),
    (b"LB", 28),
    (b"LC", 32),
    (b"LI", 21),
    (b"LT", 20),
    (b"LU", 20),
    (b"LV", 21),
    (b"LY", 25),
    (b"MC", 27),
    (b"MD", 24),
    (b"ME", 22),
    (b"MK", 19),
    (b"MN", 20),
    (b"MR", 27),
    (b"MT", 31),
    (b"MU", 30),
    (b"NI", 28),
    (b"NL", 18),
    (b"NO", 15),
    (b"OM", 23),
    (b"PK", 24),
    (b"PL", 28),
    (b"PS", 29),
    (b"PT", 25),
    (b"QA", 29),
    (b"RO", 24),
    (b"RS", 22),
    (b"RU", 33),
    (b"SA", 24),
    (b"SC", 31),
    (b"SD", 18),
    (b"SE", 24),
    (b"SI", 19),
    (b"SK", 24),
    (b"SM", 27),
    (b"SO", 23),
    (b"ST", 25),
    (b"SV", 28),
    (b"TL", 23),
    (b"TN", 24),
    (b"TR", 26),
    (b"UA", 29),
    (b"VA", 22),
    (b"VG", 24),
    (b"XK", 20),
    (b"YE", 30),
];

/// ISO 13616-1 with ISO/IEC 7064 MOD 97-10.
fn mod97(value: &[u8]) -> bool {
    let compact: Vec<u8> =
        value.iter().filter(|b| !matches!(b, b' ' | b'-')).map(u8::to_ascii_uppercase).collect();
    let Some((head, body)) = compact.split_at_checked(4) else {
        return false;
    };
    if body.is_empty() || !compact.iter().all(u8::is_ascii_alphanumeric) {
        return false;
    }
    let known = IBAN_LENGTHS.iter().find(|(country, _)| head.starts_with(*country));
    if known.is_some_and(|(_, len)| *len != compact.len()) {
        return false;
    }
    let mut rest = 0u32;
    for &b in body.iter().chain(head) {
        rest = match b {
            b'0'..=b'9' => (rest * 10 + u32::from(b - b'0')) % 97,
            _ => (rest * 100 + u32::from(b - b'A') + 10) % 97,
        };
    }
    rest == 1
}

/// The SSA's rules since the randomisation of 2011, and numbers it has declared void.
fn us_ssn(value: &[u8]) -> bool {
    let Some(digits) = digits(value) else { return false };
    let number = digits.iter().fold(0u64, |n, &d| n * 10 + u64::from(d));
    if digits.len() != 9 {
        return false;
    }
    let (area, group, serial) = (number / 1_000_000, number / 10_000 % 100, number % 10_000);
    let void = [78_051_120, 219_099_999, 123_456_789, 987_654_321];
    let same = digits.iter().all(|d| Some(d) == digits.first());
    area != 0 && area != 666 && area < 900 && group != 0 && serial != 0 && !same && !void.contains(&number)
}

/// Shannon entropy in bits a byte.
fn entropy_bits(value: &[u8]) -> f64 {
    let mut counts = [0u32; 256];
    value.iter().for_each(|&b| counts[b as usize] += 1);
    let len = value.len() as f64;
    counts.iter().filter(|c| **c > 0).map(|&c| f64::from(c) / len).map(|p| -p * p.log2()).sum()
}

/// RFC 7519, section 3 and RFC 7515, section 3.1: a header that is a JSON object naming `alg`, and two more parts.
fn jwt(value: &[u8]) -> bool {
    let mut parts = value.split(|&b| b == b'.');
    let (Some(header), Some(body)) = (parts.next(), parts.next()) else {
        return false;
    };
    let Some(header) = decode_base64(header) else {
        return false;
    };
    let shaped = header.first() == Some(&b'{') && header.last() == Some(&b'}');
    shaped && !body.is_empty() && memchr::memmem::find(&header, b"\"alg\"").is_some()
}

fn ip(text: &str) -> bool {
    let text = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    let text = text.split(['%', '/']).next().unwrap_or(text);
    text.parse::<std::net::IpAddr>().is_ok()
}

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// GitHub's scheme ("Behind GitHub's new authentication token formats", 2021), which npm shares: after the
/// prefix, `body_len` base62 digits and the CRC-32 of them in six base62 digits.
fn crc32_token(value: &[u8], body_len: usize) -> bool {
    let Some(at) = value.len().checked_sub(body_len + 6) else {
        return false;
    };
    let (body, check) = value.split_at(at).1.split_at(body_len);
    let mut crc = crc32(body);
    let mut digits = [b'0'; 6];
    for digit in digits.iter_mut().rev() {
        *digit = BASE62[(crc % 62) as usize];
        crc /= 62;
    }
    check == digits
}

/// CRC-32 as in IEEE 802.3 (polynomial 0xEDB88320, reflected), bit by bit: the inputs are 30 bytes.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for &b in bytes {
        crc ^= u32::from(b);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

fn base64(value: &[u8]) -> bool {
    decode_base64(value).is_some()
}

/// Base64 or base64url (RFC 4648, sections 4 and 5), padding optional.
fn decode_base64(value: &[u8]) -> Option<Vec<u8>> {
    let end = value.iter().rposition(|&b| b != b'=').map_or(0, |i| i + 1);
    let (body, padding) = value.split_at(end);
    if body.len() % 4 == 1 || padding.len() > 2 || (!padding.is_empty() && !value.len().is_multiple_of(4)) {
        return None;
    }
    let mut out = Vec::with_capacity(body.len() / 4 * 3 + 2);
    let (mut bits, mut held) = (0u32, 0);
    for &b in body {
        let six = match b {
            b'A'..=b'Z' => b - b'A',
            b'a'..=b'z' => b - b'a' + 26,
            b'0'..=b'9' => b - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(six);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
        }
    }
    Some(out)
}

/// A day, month and year in one of the common orders, as numbers or with an English month name.
fn date(value: &[u8]) -> bool {
    let parts: Vec<&[u8]> =
        value.split(|b| matches!(b, b'-' | b'/' | b'.' | b' ' | b',')).filter(|p| !p.is_empty()).collect();
    let number = |p: &[u8]| -> Option<u32> { std::str::from_utf8(p).ok()?.parse().ok() };
    let month = |p: &[u8]| -> Option<u32> {
        const NAMES: [&str; 12] =
            ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
        let name = std::str::from_utf8(p.get(..3)?).ok()?.to_ascii_lowercase();
        (1u32..).zip(NAMES).find(|(_, n)| *n == name).map(|(i, _)| i)
    };
    let day_of = |p: &[u8]| -> Option<u32> {
        let end = p.iter().position(|b| !b.is_ascii_digit()).unwrap_or(p.len());
        let suffix = p.get(end..)?.to_ascii_lowercase();
        let known = [&b""[..], b"st", b"nd", b"rd", b"th"].contains(&suffix.as_slice());
        if known { number(p.get(..end)?) } else { None }
    };
    let possible = |y: Option<u32>, m: Option<u32>, d: Option<u32>| match (y, m, d) {
        (Some(y), Some(m @ 1..=12), Some(d)) => d >= 1 && d <= days(y, m),
        _ => false,
    };
    match parts.as_slice() {
        [a, b, c] => {
            let named = possible(number(c), month(b), day_of(a)) || possible(number(c), month(a), day_of(b));
            let numbers = (number(a), number(b), number(c));
            named
                || (a.len() == 4 && possible(numbers.0, numbers.1, numbers.2))
                || possible(numbers.2, numbers.0, numbers.1)
                || possible(numbers.2, numbers.1, numbers.0)
        }
        [all] if all.len() == 8 => {
            let ymd = (number(&all[..4]), number(&all[4..6]), number(&all[6..]));
            let dmy = (number(&all[..2]), number(&all[2..4]), number(&all[4..]));
            possible(ymd.0, ymd.1, ymd.2) || possible(dmy.2, dmy.1, dmy.0) || possible(dmy.2, dmy.0, dmy.1)
        }
        _ => false,
    }
}

fn days(year: u32, month: u32) -> u32 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn bitcoin(value: &[u8]) -> bool {
    let lower = value.to_ascii_lowercase();
    if let Some(rest) = lower.strip_prefix(b"bc1").or_else(|| lower.strip_prefix(b"tb1")) {
        let one_case = lower == value || value.to_ascii_uppercase() == value;
        return one_case && bech32(lower.get(..2).unwrap_or_default(), rest);
    }
    base58check(value)
}

/// BIP 173 and BIP 350: the polynomial leaves 1 (Bech32) or 0x2bc830a3 (Bech32m).
fn bech32(prefix: &[u8], data: &[u8]) -> bool {
    const ALPHABET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    let mut check = 1u32;
    let mut take = |v: u32| {
        let top = check >> 25;
        check = (check & 0x1ff_ffff) << 5 ^ v;
        for (i, g) in GENERATOR.iter().enumerate() {
            if top >> i & 1 == 1 {
                check ^= g;
            }
        }
    };
    prefix.iter().for_each(|&b| take(u32::from(b >> 5)));
    take(0);
    prefix.iter().for_each(|&b| take(u32::from(b & 31)));
    for &b in data {
        let Some(v) = ALPHABET.iter().position(|&a| a == b) else {
            return false;
        };
        take(v as u32);
    }
    data.len() >= 8 && (check == 1 || check == 0x2bc8_30a3)
}

/// Base58Check: 25 bytes of which the last four are the start of the double SHA-256 of the others.
fn base58check(value: &[u8]) -> bool {
    use sha2::{Digest, Sha256};
    const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    if !(25..=35).contains(&value.len()) {
        return false;
    }
    let mut bytes = [0u8; 25];
    for &b in value {
        let Some(digit) = ALPHABET.iter().position(|&a| a == b) else {
            return false;
        };
        let mut carry = digit as u32;
        for byte in bytes.iter_mut().rev() {
            carry += u32::from(*byte) * 58;
            *byte = carry as u8;
            carry >>= 8;
        }
        if carry != 0 {
            return false;
        }
    }
    let (payload, check) = bytes.split_at(21);
    Sha256::digest(Sha256::digest(payload)).starts_with(check)
}

/// EIP-55 where cases are mixed; one case carries no checksum.
fn ethereum(value: &[u8]) -> bool {
    let Some(hex) = value.strip_prefix(b"0x") else {
        return false;
    };
    if hex.len() != 40 || !hex.iter().all(u8::is_ascii_hexdigit) {
        return false;
    }
    let one_case = hex.to_ascii_lowercase() == hex || hex.to_ascii_uppercase() == hex;
    one_case || {
        let lower = hex.to_ascii_lowercase();
        let hash = keccak256(&lower);
        hex.iter().enumerate().all(|(i, b)| {
            let nibble = if i % 2 == 0 { hash[i / 2] >> 4 } else { hash[i / 2] & 15 };
            b.is_ascii_digit() || b.is_ascii_uppercase() == (nibble >= 8)
        })
    }
}

/// Keccak-256 with the padding of the original submission, as Ethereum uses it, of at most 135 bytes.
fn keccak256(bytes: &[u8]) -> [u8; 32] {
    const RATE: usize = 136;
    debug_assert!(bytes.len() < RATE, "one block only");
    let mut block = [0u8; RATE];
    block[..bytes.len()].copy_from_slice(bytes);
    block[bytes.len()] ^= 0x01;
    block[RATE - 1] ^= 0x80;
    let mut lanes = [0u64; 25];
    for (lane, bytes) in lanes.iter_mut().zip(block.chunks_exact(8)) {
        *lane = bytes.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b));
    }
    keccak_f(&mut lanes);
    let mut out = [0u8; 32];
    for (bytes, lane) in out.chunks_exact_mut(8).zip(lanes) {
        bytes.copy_from_slice(&lane.to_le_bytes());
    }
    out
}

/// Keccak-f[1600] (FIPS 202, section 3.2).
fn keccak_f(a: &mut [u64; 25]) {
    const ROTATIONS: [u32; 24] =
        [1, 3, 6, 10, 15, 21, 28, 36, 45, 55, 2, 14, 27, 41, 56, 8, 25, 43, 62, 18, 39, 61, 20, 44];
    const PLACES: [usize; 24] =
        [10, 7, 11, 17, 18, 3, 5, 16, 8, 21, 24, 4, 15, 23, 19, 13, 12, 2, 20, 14, 22, 9, 6, 1];
    let mut lfsr = 1u8;
    for _ in 0..24 {
        let columns: [u64; 5] = std::array::from_fn(|x| a[x] ^ a[x + 5] ^ a[x + 10] ^ a[x + 15] ^ a[x + 20]);
        for x in 0..5 {
            let d = columns[(x + 4) % 5] ^ columns[(x + 1) % 5].rotate_left(1);
            (0..5).for_each(|y| a[x + 5 * y] ^= d);
        }
        let mut moved = a[1];
        for (rotation, place) in ROTATIONS.iter().zip(PLACES) {
            moved = std::mem::replace(&mut a[place], moved.rotate_left(*rotation));
        }
        for y in 0..5 {
            let row: [u64; 5] = std::array::from_fn(|x| a[5 * y + x]);
            (0..5).for_each(|x| a[5 * y + x] = row[x] ^ (!row[(x + 1) % 5] & row[(x + 2) % 5]));
        }
        for j in 0..7 {
            if lfsr & 1 == 1 {
                a[0] ^= 1 << ((1u32 << j) - 1);
            }
            lfsr = lfsr << 1 ^ if lfsr & 0x80 != 0 { 0x71 } else { 0 };
        }
    }
}

#[cfg(test)]
mod tests;
