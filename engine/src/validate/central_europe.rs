//! Czechia, Hungary, Poland, Slovakia.

use super::number::{day_exists, digits, digits_after, letters, pair, value_of, weighted, whole};
use super::scheme::Scheme;

pub(super) const SCHEMES: &[Scheme] = &[
    Scheme { name: "cz_rc", source: "Act 133/2000: rodné číslo; Slovakia's is the same", accepts: cz_rc },
    Scheme { name: "cz_ico", source: "Czech Statistical Office: IČO, modulus 11", accepts: cz_ico },
    Scheme { name: "sk_dph", source: "Finančná správa: IČ DPH, divisible by 11", accepts: sk_dph },
    Scheme { name: "hu_tax", source: "Act CL of 2017: adóazonosító jel", accepts: hu_tax },
    Scheme { name: "hu_taj", source: "Act XX of 1996: TAJ", accepts: hu_taj },
    Scheme { name: "hu_vat", source: "NAV: adószám", accepts: hu_vat },
    Scheme { name: "pl_pesel", source: "Ministry of Digital Affairs: PESEL", accepts: pl_pesel },
    Scheme { name: "pl_nip", source: "Ministry of Finance: NIP, modulus 11", accepts: pl_nip },
    Scheme { name: "pl_regon", source: "GUS: REGON", accepts: pl_regon },
    Scheme {
        name: "pl_dowod",
        source: "Ministry of the Interior: dowód osobisty, weights 7 3 1",
        accepts: pl_dowod,
    },
];

/// Ten digits divisible by eleven; nine before 1954, without a check digit.
fn cz_rc(value: &[u8]) -> bool {
    let born = |d: &[u32; 6]| {
        // 50 is added to the month of women, 20 where the day's numbers have run out.
        let month = pair(d[2], d[3]) % 50;
        day_exists(pair(d[4], d[5]), if month > 20 { month - 20 } else { month }, None)
    };
    let value = value.strip_prefix(b"CZ").or_else(|| value.strip_prefix(b"SK")).unwrap_or(value);
    if let Some(d) = digits::<9>(value) {
        return pair(d[0], d[1]) < 54 && born(&[d[0], d[1], d[2], d[3], d[4], d[5]]) && whole(&d[6..]) != 0;
    }
    digits::<10>(value).is_some_and(|d| {
        let number = whole(&d);
        let old = whole(&d[..9]) % 11 == 10 && d[9] == 0;
        born(&[d[0], d[1], d[2], d[3], d[4], d[5]]) && (number.is_multiple_of(11) || old)
    })
}

fn cz_ico(value: &[u8]) -> bool {
    digits_after::<8>(value, b"CZ").is_some_and(|d| {
        let check = (11 - weighted(&d[..7], &[8, 7, 6, 5, 4, 3, 2]) % 11) % 10;
        check == d[7]
    })
}

fn sk_dph(value: &[u8]) -> bool {
    let number = digits_after::<10>(value, b"SK");
    number.is_some_and(|d| d[0] != 0 && matches!(d[2], 2 | 3 | 4 | 7 | 8 | 9) && whole(&d).is_multiple_of(11))
}

fn hu_tax(value: &[u8]) -> bool {
    digits::<10>(value).is_some_and(|d| d[0] == 8 && weighted(&d, &[1, 2, 3, 4, 5, 6, 7, 8, 9]) % 11 == d[9])
}

fn hu_taj(value: &[u8]) -> bool {
    digits::<9>(value).is_some_and(|d| weighted(&d, &[3, 7, 3, 7, 3, 7, 3, 7]) % 10 == d[8])
}

/// Eight digits, of which the last checks, and behind a dash those of the tax office.
fn hu_vat(value: &[u8]) -> bool {
    let eight =
        digits_after::<8>(value, b"HU").or_else(|| digits::<11>(value).and_then(|d| d[..8].try_into().ok()));
    eight.is_some_and(|d: [u32; 8]| weighted(&d, &[9, 7, 3, 1, 9, 7, 3, 1]).is_multiple_of(10))
}

fn pl_pesel(value: &[u8]) -> bool {
    digits::<11>(value).is_some_and(|d| weighted(&d, &[1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1]).is_multiple_of(10))
}

fn pl_nip(value: &[u8]) -> bool {
    digits_after::<10>(value, b"PL").is_some_and(|d| weighted(&d, &[6, 5, 7, 2, 3, 4, 5, 6, 7]) % 11 == d[9])
}

fn pl_regon(value: &[u8]) -> bool {
    let nine = |d: &[u32]| Some(&(weighted(d, &[8, 9, 2, 3, 4, 5, 6, 7]) % 11 % 10)) == d.get(8);
    let long = [2, 4, 8, 5, 0, 9, 7, 3, 6, 1, 2, 4, 8];
    digits::<9>(value).is_some_and(|d| nine(&d))
        || digits::<14>(value).is_some_and(|d| nine(&d) && weighted(&d, &long) % 11 % 10 == d[13])
}

fn pl_dowod(value: &[u8]) -> bool {
    letters::<9>(value).is_some_and(|n| {
        let values = n.map(value_of);
        n[..3].iter().all(u8::is_ascii_uppercase)
            && n[3..].iter().all(u8::is_ascii_digit)
            && weighted(&values, &[7, 3, 1, 9, 7, 3, 1, 7, 3]).is_multiple_of(10)
    })
}
