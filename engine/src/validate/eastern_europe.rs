//! Bulgaria, Kazakhstan, Moldova, Romania, Russia, Turkey, Ukraine.

use super::number::{day_exists, digits, digits_after, pair, weighted, whole};
use super::scheme::Scheme;

pub(super) const SCHEMES: &[Scheme] = &[
    Scheme { name: "bg_egn", source: "GRAO: ЕГН, modulus 11", accepts: bg_egn },
    Scheme {
        name: "kz_iin",
        source: "Order 853 of 2003: ИИН and БИН, two passes of modulus 11",
        accepts: kz_iin,
    },
    Scheme { name: "md_idnp", source: "ASP: IDNP, weights 7 3 1", accepts: md_idnp },
    Scheme { name: "ro_cnp", source: "Law 105/1996; OUG 97/2005: CNP", accepts: ro_cnp },
    Scheme { name: "ro_cui", source: "ANAF: cod de înregistrare fiscală", accepts: ro_cui },
    Scheme { name: "ru_inn", source: "FNS, order MMV-7-6/435@: ИНН", accepts: ru_inn },
    Scheme { name: "ru_snils", source: "Pension fund, resolution 192p: СНИЛС", accepts: ru_snils },
    Scheme { name: "tr_tckn", source: "NVİ: T.C. kimlik numarası", accepts: tr_tckn },
    Scheme { name: "tr_vkn", source: "GİB: vergi kimlik numarası", accepts: tr_vkn },
    Scheme { name: "ua_rnokpp", source: "State Tax Service: РНОКПП", accepts: ua_rnokpp },
];

fn bg_egn(value: &[u8]) -> bool {
    digits::<10>(value).is_some_and(|d| {
        // 20 is added to the month before 1900, 40 from 2000.
        let born = day_exists(pair(d[4], d[5]), pair(d[2], d[3]) % 20, None);
        born && weighted(&d, &[2, 4, 8, 5, 10, 9, 7, 3, 6]) % 11 % 10 == d[9]
    })
}

fn kz_iin(value: &[u8]) -> bool {
    digits::<12>(value).is_some_and(|d| {
        let check = match weighted(&d[..11], &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]) % 11 {
            10 => weighted(&d[..11], &[3, 4, 5, 6, 7, 8, 9, 10, 11, 1, 2]) % 11,
            check => check,
        };
        (1..=12).contains(&pair(d[2], d[3])) && check == d[11]
    })
}

fn md_idnp(value: &[u8]) -> bool {
    digits::<13>(value).is_some_and(|d| weighted(&d, &[7, 3, 1, 7, 3, 1, 7, 3, 1, 7, 3, 1]) % 10 == d[12])
}

fn ro_cnp(value: &[u8]) -> bool {
    digits::<13>(value).is_some_and(|d| {
        let rest = weighted(&d, &[2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9]) % 11;
        let born = day_exists(pair(d[5], d[6]), pair(d[3], d[4]), None);
        d[0] != 0 && born && d[12] == if rest == 10 { 1 } else { rest }
    })
}

/// Two to ten digits, weighted from the right.
fn ro_cui(value: &[u8]) -> bool {
    let body = value.strip_prefix(b"RO").unwrap_or(value);
    let number: Option<Vec<u32>> = body
        .iter()
        .filter(|b| **b != b' ')
        .map(|b| b.is_ascii_digit().then(|| u32::from(b - b'0')))
        .collect();
    let Some(number) = number.filter(|n| (4..=10).contains(&n.len())) else { return false };
    let Some((check, front)) = number.split_last() else { return false };
    let reversed: Vec<u32> = front.iter().rev().copied().collect();
    let same = front.iter().all(|digit| digit == check);
    !same && weighted(&reversed, &[2, 3, 5, 7, 1, 2, 3, 5, 7]) * 10 % 11 % 10 == *check
}

fn ru_inn(value: &[u8]) -> bool {
    if let Some(d) = digits::<10>(value) {
        return weighted(&d, &[2, 4, 10, 3, 5, 9, 4, 6, 8]) % 11 % 10 == d[9];
    }
    digits::<12>(value).is_some_and(|d| {
        let first = weighted(&d, &[7, 2, 4, 10, 3, 5, 9, 4, 6, 8]) % 11 % 10;
        let second = weighted(&d, &[3, 7, 2, 4, 10, 3, 5, 9, 4, 6, 8]) % 11 % 10;
        first == d[10] && second == d[11]
    })
}

fn ru_snils(value: &[u8]) -> bool {
    digits::<11>(value).is_some_and(|d| {
        let sum = weighted(&d, &[9, 8, 7, 6, 5, 4, 3, 2, 1]);
        u64::from(sum % 101 % 100) == whole(&d[9..])
    })
}

fn tr_tckn(value: &[u8]) -> bool {
    digits::<11>(value).is_some_and(|d| {
        let odd = d[0] + d[2] + d[4] + d[6] + d[8];
        let even = d[1] + d[3] + d[5] + d[7];
        // 9 × even stands for −even, modulo ten.
        d[0] != 0 && (7 * odd + 9 * even) % 10 == d[9] && (odd + even + d[9]) % 10 == d[10]
    })
}

fn tr_vkn(value: &[u8]) -> bool {
    digits::<10>(value).is_some_and(|d| {
        let part = |(place, &digit): (usize, &u32)| {
            let shifted = (digit + 9 - place as u32) % 10;
            let scaled = shifted * 2_u32.pow(9 - place as u32) % 9;
            if shifted != 0 && scaled == 0 { 9 } else { scaled }
        };
        let sum: u32 = d[..9].iter().enumerate().map(part).sum();
        (10 - sum % 10) % 10 == d[9]
    })
}

/// The first weight is −1, which is ten modulo eleven.
fn ua_rnokpp(value: &[u8]) -> bool {
    digits_after::<10>(value, b"UA")
        .is_some_and(|d| weighted(&d, &[10, 5, 7, 9, 4, 6, 10, 5, 7]) % 11 % 10 == d[9])
}
