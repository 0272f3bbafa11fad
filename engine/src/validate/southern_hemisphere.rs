//! Australia, New Zealand, South Africa.

use super::number::{day_exists, digits, letters, luhn, pair, value_of, weighted};
use super::scheme::Scheme;

pub(super) const SCHEMES: &[Scheme] = &[
    Scheme { name: "au_tfn", source: "ATO: TFN algorithm", accepts: au_tfn },
    Scheme { name: "au_abn", source: "ABR: format of the ABN, modulus 89", accepts: au_abn },
    Scheme { name: "au_acn", source: "ASIC: ACN check digit", accepts: au_acn },
    Scheme { name: "au_medicare", source: "Services Australia: Medicare card number", accepts: au_medicare },
    Scheme { name: "nz_ird", source: "Inland Revenue: IRD number validation", accepts: nz_ird },
    Scheme { name: "nz_nhi", source: "HISO 10046: NHI number", accepts: nz_nhi },
    Scheme { name: "za_id", source: "Department of Home Affairs: identity number (Luhn)", accepts: za_id },
];

fn au_tfn(value: &[u8]) -> bool {
    let old = digits::<8>(value).is_some_and(|d| weighted(&d, &[10, 7, 8, 4, 6, 3, 5, 1]).is_multiple_of(11));
    old || digits::<9>(value).is_some_and(|d| weighted(&d, &[1, 4, 3, 7, 5, 8, 6, 9, 10]).is_multiple_of(11))
}

/// One is taken from the first digit before it is weighted.
fn au_abn(value: &[u8]) -> bool {
    digits::<11>(value).is_some_and(|d| {
        d[0] != 0 && (weighted(&d, &[10, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19]) - 10).is_multiple_of(89)
    })
}

fn au_acn(value: &[u8]) -> bool {
    digits::<9>(value).is_some_and(|d| (10 - weighted(&d, &[8, 7, 6, 5, 4, 3, 2, 1]) % 10) % 10 == d[8])
}

/// Ten digits; the place on the card may follow as an eleventh.
fn au_medicare(value: &[u8]) -> bool {
    let ten = digits::<10>(value).or_else(|| digits::<11>(value).and_then(|d| d[..10].try_into().ok()));
    ten.is_some_and(|d: [u32; 10]| {
        (2..=6).contains(&d[0]) && weighted(&d, &[1, 3, 7, 9, 1, 3, 7, 9]) % 10 == d[8]
    })
}

/// Eight or nine digits; where the first weights leave ten, the second ones count.
fn nz_ird(value: &[u8]) -> bool {
    let padded = digits::<8>(value).map(|d| [0, d[0], d[1], d[2], d[3], d[4], d[5], d[6], d[7]]);
    padded.or_else(|| digits::<9>(value)).is_some_and(|d| {
        let check = |weights: &[u32; 8]| match 11 - weighted(&d, weights) % 11 {
            11 => 0,
            check => check,
        };
        let wanted = match check(&[3, 2, 7, 6, 5, 4, 3, 2]) {
            10 => check(&[7, 4, 3, 2, 5, 2, 7, 6]),
            wanted => wanted,
        };
        let number = super::number::whole(&d);
        (10_000_000..150_000_000).contains(&number) && wanted == d[8]
    })
}

/// Three letters without I and O, and four digits, or two digits and two letters.
fn nz_nhi(value: &[u8]) -> bool {
    const ALPHABET: &[u8; 24] = b"ABCDEFGHJKLMNPQRSTUVWXYZ";
    let place = |b: u8| ALPHABET.iter().position(|a| *a == b).map(|at| at as u32 + 1);
    let Some(number) = letters::<7>(value) else { return false };
    let Some(head) = number[..3].iter().map(|&b| place(b)).collect::<Option<Vec<u32>>>() else {
        return false;
    };
    let middle_digits = number[3..5].iter().all(u8::is_ascii_digit);
    let front = weighted(&head, &[7, 6, 5]) + value_of(number[3]) * 4 + value_of(number[4]) * 3;
    if number[5..].iter().all(u8::is_ascii_digit) {
        let rest = (front + value_of(number[5]) * 2) % 11;
        return middle_digits && rest != 0 && (11 - rest) % 10 == value_of(number[6]);
    }
    let Some(sixth) = place(number[5]) else { return false };
    let rest = (front + sixth * 2) % 24;
    middle_digits && ALPHABET.get((23 - rest) as usize) == Some(&number[6])
}

fn za_id(value: &[u8]) -> bool {
    digits::<13>(value).is_some_and(|d| {
        day_exists(pair(d[4], d[5]), pair(d[2], d[3]), None) && matches!(d[10], 0..=2) && luhn(&d)
    })
}
