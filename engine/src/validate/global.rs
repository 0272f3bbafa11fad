//! Numbers of no single country: vehicles, devices, securities, companies, researchers, coins.

use super::number::{digits, letters, luhn, value_of};
use super::scheme::Scheme;

pub(super) const SCHEMES: &[Scheme] = &[
    Scheme { name: "vin", source: "ISO 3779; 49 CFR 565.15 (check digit)", accepts: vin },
    Scheme { name: "imei", source: "3GPP TS 23.003, annex B", accepts: imei },
    Scheme { name: "isin", source: "ISO 6166", accepts: isin },
    Scheme { name: "lei", source: "ISO 17442-1 (ISO/IEC 7064 MOD 97-10)", accepts: lei },
    Scheme {
        name: "orcid",
        source: "ORCID: structure of the identifier (ISO/IEC 7064 MOD 11-2)",
        accepts: orcid,
    },
    Scheme { name: "base58check", source: "Bitcoin: Base58Check encoding", accepts: super::base58check },
    Scheme { name: "ripple", source: "XRP Ledger: base58 encodings", accepts: ripple },
    Scheme { name: "icao_document", source: "ICAO Doc 9303, part 3, section 4.9", accepts: icao_document },
];

/// The value of a character of a vehicle's number; I, O and Q have none.
fn vin_value(b: u8) -> Option<u32> {
    Some(match b {
        b'0'..=b'9' => u32::from(b - b'0'),
        b'A'..=b'H' => u32::from(b - b'A') + 1,
        b'J'..=b'N' => u32::from(b - b'J') + 1,
        b'P' => 7,
        b'R' => 9,
        b'S'..=b'Z' => u32::from(b - b'S') + 2,
        _ => return None,
    })
}

fn vin(value: &[u8]) -> bool {
    const WEIGHTS: [u32; 17] = [8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2];
    let Some(number) = letters::<17>(value) else { return false };
    let mut sum = 0;
    for (&b, weight) in number.iter().zip(WEIGHTS) {
        let Some(value) = vin_value(b) else { return false };
        sum += value * weight;
    }
    let check = match sum % 11 {
        10 => b'X',
        rest => b'0' + rest as u8,
    };
    number[8] == check
}

fn imei(value: &[u8]) -> bool {
    digits::<15>(value).is_some_and(|d| luhn(&d))
}

/// The digits of characters, letters counting two each.
fn expanded(number: &[u8]) -> Vec<u32> {
    let pairs = number.iter().map(|&b| value_of(b));
    pairs.flat_map(|n| if n > 9 { vec![n / 10, n % 10] } else { vec![n] }).collect()
}

fn isin(value: &[u8]) -> bool {
    letters::<12>(value).is_some_and(|number| {
        number[..2].iter().all(u8::is_ascii_uppercase)
            && number[11].is_ascii_digit()
            && luhn(&expanded(&number))
    })
}

/// ISO/IEC 7064 MOD 97-10 over letters and digits: one is left.
pub(super) fn mod97_10(number: &[u8]) -> bool {
    expanded(number).iter().fold(0, |rest, digit| (rest * 10 + digit) % 97) == 1
}

fn lei(value: &[u8]) -> bool {
    letters::<20>(value)
        .is_some_and(|number| number[18..].iter().all(u8::is_ascii_digit) && mod97_10(&number))
}

/// ISO/IEC 7064 MOD 11-2, whose check character may be X.
pub(super) fn mod11_2(number: &[u8]) -> bool {
    let Some((check, body)) = number.split_last() else { return false };
    let rest = body.iter().fold(0, |rest, &b| (rest + value_of(b)) * 2 % 11);
    let wanted = match (12 - rest) % 11 {
        10 => b'X',
        digit => b'0' + digit as u8,
    };
    body.iter().all(u8::is_ascii_digit) && *check == wanted
}

fn orcid(value: &[u8]) -> bool {
    letters::<16>(value).is_some_and(|number| mod11_2(&number))
}

/// Base58Check with the ledger's own alphabet: 21 bytes of payload, the first of which is zero.
fn ripple(value: &[u8]) -> bool {
    const RIPPLE: &[u8; 58] = b"rpshnaf39wBUDNEGHJKLM4PQRST7VWXYZ2bcdeCg65jkm8oFqi1tuvAxyz";
    const BITCOIN: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    let translate = |b: &u8| RIPPLE.iter().position(|r| r == b).and_then(|at| BITCOIN.get(at).copied());
    let translated: Option<Vec<u8>> = value.iter().map(translate).collect();
    translated.is_some_and(|value| super::base58check(&value))
}

/// A document's number and its check digit, as they stand in a machine-readable zone.
fn icao_document(value: &[u8]) -> bool {
    letters::<10>(value)
        .is_some_and(|number| icao_check(&number[..9]) == u32::from(number[9]).wrapping_sub(48))
}

/// ICAO's check digit: weights 7, 3 and 1 in turn.
fn icao_check(number: &[u8]) -> u32 {
    number.iter().zip([7, 3, 1].into_iter().cycle()).map(|(&b, weight)| value_of(b) * weight).sum::<u32>()
        % 10
}
