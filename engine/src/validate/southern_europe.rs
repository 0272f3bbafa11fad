//! Croatia, Cyprus, Greece, Italy, Portugal, Slovenia, Spain, and what Yugoslavia left.

use super::number::{
    day_exists, digits, digits_after, letters, luhn, mod11_10, pair, plain, value_of, weighted, whole,
};
use super::scheme::Scheme;

pub(super) const SCHEMES: &[Scheme] = &[
    Scheme { name: "hr_oib", source: "Zakon o OIB-u (ISO/IEC 7064 MOD 11,10)", accepts: hr_oib },
    Scheme { name: "cy_tin", source: "European Commission: TIN algorithms, Cyprus", accepts: cy_tin },
    Scheme { name: "gr_amka", source: "AMKA, law 3655/2008 (Luhn)", accepts: gr_amka },
    Scheme {
        name: "gr_afm",
        source: "AADE: ΑΦΜ (European Commission: TIN algorithms, Greece)",
        accepts: gr_afm,
    },
    Scheme { name: "it_cf", source: "D.M. 23 December 1976: codice fiscale", accepts: it_cf },
    Scheme { name: "it_piva", source: "D.M. 23 December 1976: partita IVA (Luhn)", accepts: it_piva },
    Scheme { name: "pt_nif", source: "Decree-law 14/2013: NIF, modulus 11", accepts: pt_nif },
    Scheme { name: "pt_cc", source: "AMA: cartão de cidadão, número de documento", accepts: pt_cc },
    Scheme { name: "jmbg", source: "Official Gazette SFRJ 58/76: JMBG; Slovenia's EMŠO", accepts: jmbg },
    Scheme { name: "si_tax", source: "FURS: davčna številka, modulus 11", accepts: si_tax },
    Scheme { name: "es_dni", source: "Royal decree 1553/2005: DNI, letter by modulus 23", accepts: es_dni },
    Scheme { name: "es_nie", source: "Order INT/2058/2008: NIE", accepts: es_nie },
    Scheme { name: "es_cif", source: "Order EHA/451/2008: NIF of legal persons", accepts: es_cif },
    Scheme { name: "es_nuss", source: "TGSS: número de afiliación, modulus 97", accepts: es_nuss },
    Scheme { name: "rs_pib", source: "Poreska uprava: PIB (ISO/IEC 7064 MOD 11,10)", accepts: rs_pib },
];

fn hr_oib(value: &[u8]) -> bool {
    digits_after::<11>(value, b"HR").is_some_and(|d| mod11_10(&d))
}

fn cy_tin(value: &[u8]) -> bool {
    /// What a digit at an odd place counts.
    const ODD: [u32; 10] = [1, 0, 5, 7, 9, 13, 15, 17, 19, 21];
    let Some(number) = letters::<9>(value) else { return false };
    let Some(d) = plain::<8>(&number[..8]) else { return false };
    let odd = |digit: u32| ODD.get(digit as usize).copied().unwrap_or(0);
    let sum = odd(d[0]) + d[1] + odd(d[2]) + d[3] + odd(d[4]) + d[5] + odd(d[6]) + d[7];
    u32::from(number[8]) == u32::from(b'A') + sum % 26
}

fn gr_amka(value: &[u8]) -> bool {
    digits::<11>(value).is_some_and(|d| luhn(&d))
}

fn gr_afm(value: &[u8]) -> bool {
    let number = digits_after::<9>(value, b"EL").or_else(|| digits_after(value, b"GR"));
    number.is_some_and(|d| weighted(&d, &[256, 128, 64, 32, 16, 8, 4, 2]) % 11 % 10 == d[8])
}

/// Fifteen letters and digits, of which digits may have been replaced by letters, and a check letter.
fn it_cf(value: &[u8]) -> bool {
    /// What characters at odd places count, `0` and `A` alike.
    const ODD: [u32; 26] =
        [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23];
    let Some(number) = letters::<16>(value) else { return false };
    let index = |b: u8| if b.is_ascii_digit() { b - b'0' } else { b - b'A' };
    let sum = number[..15].iter().enumerate().map(|(place, &b)| match place % 2 {
        0 => ODD.get(usize::from(index(b))).copied().unwrap_or(0),
        _ => u32::from(index(b)),
    });
    let check = u32::from(b'A') + sum.sum::<u32>() % 26;
    number[..6].iter().all(u8::is_ascii_uppercase) && u32::from(number[15]) == check
}

fn it_piva(value: &[u8]) -> bool {
    digits_after::<11>(value, b"IT").is_some_and(|d| luhn(&d))
}

fn pt_nif(value: &[u8]) -> bool {
    digits_after::<9>(value, b"PT").is_some_and(|d| {
        let rest = weighted(&d[..8], &[9, 8, 7, 6, 5, 4, 3, 2]) % 11;
        d[0] != 0 && d[0] != 4 && (11 - rest) % 11 % 10 == d[8]
    })
}

/// Twelve characters; every second one from the left counts double.
fn pt_cc(value: &[u8]) -> bool {
    let Some(number) = letters::<12>(value) else { return false };
    let doubled = |n: u32| if n > 9 { n - 9 } else { n };
    let sum: u32 = number
        .iter()
        .enumerate()
        .map(|(place, &b)| if place % 2 == 0 { doubled(value_of(b) * 2) } else { value_of(b) })
        .sum();
    number[..9].iter().all(u8::is_ascii_digit) && number[11].is_ascii_digit() && sum.is_multiple_of(10)
}

pub(super) fn jmbg(value: &[u8]) -> bool {
    digits::<13>(value).is_some_and(|d| {
        let rest = weighted(&d[..12], &[7, 6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11;
        day_exists(pair(d[0], d[1]), pair(d[2], d[3]), None) && (11 - rest) % 11 % 10 == d[12]
    })
}

fn si_tax(value: &[u8]) -> bool {
    digits_after::<8>(value, b"SI").is_some_and(|d| {
        let check = 11 - weighted(&d[..7], &[8, 7, 6, 5, 4, 3, 2]) % 11;
        d[0] != 0 && check != 11 && check % 10 == d[7]
    })
}

/// The letter that eight digits have.
fn dni_letter(number: u64) -> Option<u8> {
    b"TRWAGMYFPDXBNJZSQVHLCKE".get((number % 23) as usize).copied()
}

fn es_dni(value: &[u8]) -> bool {
    letters::<9>(value).is_some_and(|n| {
        plain::<8>(&n[..8]).is_some_and(|d| whole(&d) != 0 && dni_letter(whole(&d)) == Some(n[8]))
    })
}

fn es_nie(value: &[u8]) -> bool {
    letters::<9>(value).is_some_and(|n| {
        let Some(first) = b"XYZ".iter().position(|letter| *letter == n[0]) else { return false };
        plain::<7>(&n[1..8]).is_some_and(|d| dni_letter(first as u64 * 10_000_000 + whole(&d)) == Some(n[8]))
    })
}

/// A letter for the form of the company, seven digits, and a digit or letter.
fn es_cif(value: &[u8]) -> bool {
    letters::<9>(value).is_some_and(|n| {
        let Some(d) = plain::<7>(&n[1..8]) else { return false };
        let doubled = |d: u32| 2 * d / 10 + 2 * d % 10;
        let sum = doubled(d[0]) + d[1] + doubled(d[2]) + d[3] + doubled(d[4]) + d[5] + doubled(d[6]);
        let check = (10 - sum % 10) % 10;
        let letter = b"JABCDEFGHI".get(check as usize).copied();
        let digit = Some(b'0' + check as u8);
        match n[0] {
            b'P' | b'Q' | b'R' | b'S' | b'N' | b'W' => letter == Some(n[8]),
            b'A' | b'B' | b'E' | b'H' => digit == Some(n[8]),
            b'C' | b'D' | b'F' | b'G' | b'J' | b'U' | b'V' => letter == Some(n[8]) || digit == Some(n[8]),
            _ => false,
        }
    })
}

/// The province, up to eight digits and the rest by 97; a short number stands without its leading zeros.
fn es_nuss(value: &[u8]) -> bool {
    digits::<12>(value).is_some_and(|d| {
        let (province, number) = (whole(&d[..2]), whole(&d[2..10]));
        let body = if number < 10_000_000 { province * 10_000_000 + number } else { whole(&d[..10]) };
        d[..2] != [0, 0] && body % 97 == whole(&d[10..])
    })
}

fn rs_pib(value: &[u8]) -> bool {
    digits::<9>(value).is_some_and(|d| mod11_10(&d))
}
