//! China, Hong Kong, India, Indonesia, Iran, Israel, Japan, Korea, Kuwait, Malaysia, Saudi Arabia, Singapore, Taiwan, Thailand, the Emirates.

use super::global::mod11_2;
use super::number::{day_exists, digits, letters, luhn, pair, plain, value_of, verhoeff, weighted};
use super::scheme::Scheme;

pub(super) const SCHEMES: &[Scheme] = &[
    Scheme { name: "cn_rid", source: "GB 11643-1999 (ISO/IEC 7064 MOD 11-2)", accepts: cn_rid },
    Scheme { name: "cn_uscc", source: "GB 32100-2015: unified social credit code", accepts: cn_uscc },
    Scheme { name: "hk_hkid", source: "Immigration Department: HKID, modulus 11", accepts: hk_hkid },
    Scheme { name: "in_aadhaar", source: "UIDAI: Aadhaar (Verhoeff)", accepts: in_aadhaar },
    Scheme { name: "in_gstin", source: "CBIC: GSTIN, modulus 36", accepts: in_gstin },
    Scheme {
        name: "id_nik",
        source: "Permendagri 40/2019: NIK (no check digit; district and birth date)",
        accepts: id_nik,
    },
    Scheme { name: "ir_melli", source: "NOCR: national code, modulus 11", accepts: ir_melli },
    Scheme { name: "il_id", source: "Population registry: identity number (Luhn)", accepts: il_id },
    Scheme { name: "jp_my_number", source: "MIC ordinance 85 of 2014, article 5", accepts: jp_my_number },
    Scheme { name: "jp_corporate", source: "NTA: corporate number, modulus 9", accepts: jp_corporate },
    Scheme {
        name: "kr_rrn",
        source: "MOIS: RRN (birth date; no check digit since October 2020)",
        accepts: kr_rrn,
    },
    Scheme { name: "kr_brn", source: "NTS: business registration number", accepts: kr_brn },
    Scheme { name: "kw_civil", source: "PACI: civil number, modulus 11", accepts: kw_civil },
    Scheme { name: "my_nric", source: "JPN: MyKad (no check digit; birth date and place)", accepts: my_nric },
    Scheme { name: "sa_id", source: "Ministry of Interior: national id and iqama (Luhn)", accepts: sa_id },
    Scheme { name: "sg_nric", source: "ICA: NRIC and FIN check letter", accepts: sg_nric },
    Scheme {
        name: "tw_id",
        source: "Ministry of the Interior: national identification card",
        accepts: tw_id,
    },
    Scheme { name: "th_id", source: "DOPA: identification number, modulus 11", accepts: th_id },
    Scheme { name: "ae_eid", source: "ICP: Emirates ID (Luhn)", accepts: ae_eid },
];

fn cn_rid(value: &[u8]) -> bool {
    letters::<18>(value).is_some_and(|n| {
        let Some(d) = plain::<17>(&n[..17]) else { return false };
        let year = d[6] * 1000 + d[7] * 100 + pair(d[8], d[9]);
        let born = day_exists(pair(d[12], d[13]), pair(d[10], d[11]), Some(year));
        d[0] != 0 && (1850..2100).contains(&year) && born && mod11_2(&n)
    })
}

fn cn_uscc(value: &[u8]) -> bool {
    const ALPHABET: &[u8; 31] = b"0123456789ABCDEFGHJKLMNPQRTUWXY";
    let Some(number) = letters::<18>(value) else { return false };
    let (mut sum, mut weight) = (0, 1);
    for b in &number[..17] {
        let Some(at) = ALPHABET.iter().position(|a| a == b) else { return false };
        sum += at * weight;
        weight = weight * 3 % 31;
    }
    number[2..8].iter().all(u8::is_ascii_digit) && ALPHABET.get((31 - sum % 31) % 31) == Some(&number[17])
}

/// One or two letters, six digits and a check character; a space counts 36.
fn hk_hkid(value: &[u8]) -> bool {
    let short = letters::<8>(value).map(|n| (36, value_of(n[0]), n[1..].to_vec(), n[0].is_ascii_uppercase()));
    let long = || {
        let n = letters::<9>(value)?;
        let both = n[0].is_ascii_uppercase() && n[1].is_ascii_uppercase();
        Some((value_of(n[0]), value_of(n[1]), n[2..].to_vec(), both))
    };
    let Some((first, second, tail, lettered)) = short.or_else(long) else { return false };
    let Some((check, body)) = tail.split_last() else { return false };
    let Some(d) = plain::<6>(body) else { return false };
    let check = match check {
        b'A' => 10,
        b'0'..=b'9' => value_of(*check),
        _ => return false,
    };
    lettered && (first * 9 + second * 8 + weighted(&d, &[7, 6, 5, 4, 3, 2]) + check).is_multiple_of(11)
}

fn in_aadhaar(value: &[u8]) -> bool {
    digits::<12>(value).is_some_and(|d| d[0] >= 2 && verhoeff(&d))
}

fn in_gstin(value: &[u8]) -> bool {
    letters::<15>(value).is_some_and(|n| {
        let part = |(place, &b): (usize, &u8)| {
            let product = value_of(b) * if place % 2 == 1 { 2 } else { 1 };
            product / 36 + product % 36
        };
        let sum: u32 = n[..14].iter().enumerate().map(part).sum();
        n[..2].iter().all(u8::is_ascii_digit) && (36 - sum % 36) % 36 == value_of(n[14])
    })
}

/// 40 is added to the day of women.
fn id_nik(value: &[u8]) -> bool {
    digits::<16>(value).is_some_and(|d| {
        let born = day_exists(pair(d[6], d[7]) % 40, pair(d[8], d[9]), None);
        (1..=9).contains(&d[0]) && pair(d[2], d[3]) != 0 && born && d[12..] != [0, 0, 0, 0]
    })
}

fn ir_melli(value: &[u8]) -> bool {
    digits::<10>(value).is_some_and(|d| {
        let rest = weighted(&d, &[10, 9, 8, 7, 6, 5, 4, 3, 2]) % 11;
        d[9] == if rest < 2 { rest } else { 11 - rest }
    })
}

fn il_id(value: &[u8]) -> bool {
    digits::<9>(value).is_some_and(|d| luhn(&d))
}

fn jp_my_number(value: &[u8]) -> bool {
    digits::<12>(value).is_some_and(|d| {
        let rest = weighted(&d[..11], &[6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11;
        d[11] == if rest <= 1 { 0 } else { 11 - rest }
    })
}

/// The check digit stands first.
fn jp_corporate(value: &[u8]) -> bool {
    digits::<13>(value)
        .is_some_and(|d| 9 - weighted(&d[1..], &[2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1]) % 9 == d[0])
}

fn kr_rrn(value: &[u8]) -> bool {
    digits::<13>(value).is_some_and(|d| day_exists(pair(d[4], d[5]), pair(d[2], d[3]), None))
}

fn kr_brn(value: &[u8]) -> bool {
    digits::<10>(value).is_some_and(|d| {
        let sum = weighted(&d, &[1, 3, 7, 1, 3, 7, 1, 3, 5]) + d[8] * 5 / 10;
        (10 - sum % 10) % 10 == d[9]
    })
}

fn kw_civil(value: &[u8]) -> bool {
    digits::<12>(value).is_some_and(|d| {
        let born = day_exists(pair(d[5], d[6]), pair(d[3], d[4]), None);
        let rest = weighted(&d[..11], &[2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2]) % 11;
        matches!(d[0], 1..=4) && born && 11 - rest == d[11]
    })
}

fn my_nric(value: &[u8]) -> bool {
    digits::<12>(value).is_some_and(|d| {
        let place = !matches!(pair(d[6], d[7]), 0 | 17..=20 | 69 | 70 | 73 | 80 | 81 | 94..=97);
        place && day_exists(pair(d[4], d[5]), pair(d[2], d[3]), None)
    })
}

fn sa_id(value: &[u8]) -> bool {
    digits::<10>(value).is_some_and(|d| matches!(d[0], 1 | 2) && luhn(&d))
}

fn sg_nric(value: &[u8]) -> bool {
    letters::<9>(value).is_some_and(|n| {
        let Some(d) = plain::<7>(&n[1..8]) else { return false };
        let (offset, alphabet): (u32, &[u8; 11]) = match n[0] {
            b'S' => (0, b"JZIHGFEDCBA"),
            b'T' => (4, b"JZIHGFEDCBA"),
            b'F' => (0, b"XWUTRQPNMLK"),
            b'G' => (4, b"XWUTRQPNMLK"),
            b'M' => (3, b"XWUTRQPNJLK"),
            _ => return false,
        };
        let rest = (offset + weighted(&d, &[2, 7, 6, 5, 4, 3, 2])) % 11;
        alphabet.get(rest as usize) == Some(&n[8])
    })
}

/// The letter's number has two digits, which count once and nine times.
fn tw_id(value: &[u8]) -> bool {
    const LETTERS: &[u8; 26] = b"ABCDEFGHJKLMNPQRSTUVXYWZIO";
    letters::<10>(value).is_some_and(|n| {
        let Some(d) = plain::<9>(&n[1..]) else { return false };
        let Some(at) = LETTERS.iter().position(|letter| *letter == n[0]) else { return false };
        let letter = at as u32 + 10;
        let sum = letter / 10 + letter % 10 * 9 + weighted(&d, &[8, 7, 6, 5, 4, 3, 2, 1, 1]);
        matches!(d[0], 1 | 2 | 8 | 9) && sum.is_multiple_of(10)
    })
}

fn th_id(value: &[u8]) -> bool {
    digits::<13>(value).is_some_and(|d| {
        let sum = weighted(&d, &[13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2]);
        (1..=8).contains(&d[0]) && (11 - sum % 11) % 10 == d[12]
    })
}

fn ae_eid(value: &[u8]) -> bool {
    digits::<15>(value).is_some_and(|d| d.starts_with(&[7, 8, 4]) && luhn(&d))
}
