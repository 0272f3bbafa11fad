//! Denmark, Estonia, Finland, Iceland, Latvia, Lithuania, Norway, Sweden.

use super::number::{day_exists, digits, digits_after, letters, luhn, pair, plain, weighted, whole};
use super::scheme::Scheme;

pub(super) const SCHEMES: &[Scheme] = &[
    Scheme {
        name: "dk_cpr",
        source: "CPR-kontoret: Personnummeret i CPR (no check digit since 2007)",
        accepts: dk_cpr,
    },
    Scheme { name: "dk_cvr", source: "Erhvervsstyrelsen: CVR-nummer, modulus 11", accepts: dk_cvr },
    Scheme {
        name: "ee_ik",
        source: "EVS 585: isikukood; Lithuania's asmens kodas is the same",
        accepts: ee_ik,
    },
    Scheme { name: "fi_hetu", source: "DVV: personal identity code, modulus 31", accepts: fi_hetu },
    Scheme { name: "fi_ytunnus", source: "PRH: Business ID, modulus 11", accepts: fi_ytunnus },
    Scheme {
        name: "is_kennitala",
        source: "Registers Iceland: kennitala, modulus 11",
        accepts: is_kennitala,
    },
    Scheme { name: "lv_pk", source: "PMLP: personas kods (no check digit in codes from 32)", accepts: lv_pk },
    Scheme { name: "no_fnr", source: "Skatteetaten: fødselsnummer and D-number", accepts: no_fnr },
    Scheme { name: "no_orgnr", source: "Brønnøysundregistrene: organisasjonsnummer", accepts: no_orgnr },
    Scheme {
        name: "se_pnr",
        source: "Skatteverket SKV 704: personnummer, samordningsnummer",
        accepts: se_pnr,
    },
    Scheme { name: "se_orgnr", source: "Skatteverket SKV 709: organisationsnummer", accepts: se_orgnr },
];

fn dk_cpr(value: &[u8]) -> bool {
    digits::<10>(value)
        .is_some_and(|d| day_exists(pair(d[0], d[1]), pair(d[2], d[3]), None) && whole(&d[6..]) != 0)
}

fn dk_cvr(value: &[u8]) -> bool {
    digits_after::<8>(value, b"DK")
        .is_some_and(|d| d[0] != 0 && weighted(&d, &[2, 7, 6, 5, 4, 3, 2, 1]).is_multiple_of(11))
}

/// The sum of the first weights counts unless it leaves ten; then that of the second; then nothing.
fn ee_ik(value: &[u8]) -> bool {
    digits::<11>(value).is_some_and(|d| {
        let check = match weighted(&d[..10], &[1, 2, 3, 4, 5, 6, 7, 8, 9, 1]) % 11 {
            10 => weighted(&d[..10], &[3, 4, 5, 6, 7, 8, 9, 1, 2, 3]) % 11 % 10,
            check => check,
        };
        let born = day_exists(pair(d[5], d[6]), pair(d[3], d[4]), None);
        (1..=8).contains(&d[0]) && born && check == d[10]
    })
}

/// Day, month and year, the century's sign, three digits and a check character.
fn fi_hetu(value: &[u8]) -> bool {
    const CHECK: &[u8; 31] = b"0123456789ABCDEFHJKLMNPRSTUVWXY";
    let Ok(number) = <[u8; 11]>::try_from(value) else { return false };
    let (Some(born), Some(serial)) = (plain::<6>(&number[..6]), plain::<3>(&number[7..10])) else {
        return false;
    };
    let century = matches!(number[6], b'-' | b'+' | b'A'..=b'F' | b'U'..=b'Y');
    let exists = day_exists(pair(born[0], born[1]), pair(born[2], born[3]), None);
    let rest = (whole(&born) * 1000 + whole(&serial)) % 31;
    century && exists && CHECK.get(rest as usize) == Some(&number[10].to_ascii_uppercase())
}

fn fi_ytunnus(value: &[u8]) -> bool {
    let number = digits_after::<8>(value, b"FI");
    number.is_some_and(|d| weighted(&d, &[7, 9, 10, 5, 8, 4, 2, 1]).is_multiple_of(11))
}

fn is_kennitala(value: &[u8]) -> bool {
    digits::<10>(value).is_some_and(|d| {
        // Companies have 40 added to the day.
        let born = day_exists(pair(d[0], d[1]) % 40, pair(d[2], d[3]), None);
        born && matches!(d[9], 0 | 8 | 9) && weighted(&d, &[3, 2, 7, 6, 5, 4, 3, 2, 1]).is_multiple_of(11)
    })
}

fn lv_pk(value: &[u8]) -> bool {
    digits::<11>(value).is_some_and(|d| {
        let born = day_exists(pair(d[0], d[1]), pair(d[2], d[3]), None);
        let sum = 1 + weighted(&d, &[10, 5, 8, 4, 2, 1, 6, 3, 7, 9]);
        d.starts_with(&[3, 2]) || (born && sum % 11 % 10 == d[10])
    })
}

fn no_fnr(value: &[u8]) -> bool {
    digits::<11>(value).is_some_and(|d| {
        // 40 is added to the day of D-numbers, 40 or 80 to the month of synthetic ones.
        let born = day_exists(pair(d[0], d[1]) % 40, pair(d[2], d[3]) % 40, None);
        let first = weighted(&d, &[3, 7, 6, 1, 8, 9, 4, 5, 2, 1]);
        let second = weighted(&d, &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1]);
        born && first.is_multiple_of(11) && second.is_multiple_of(11)
    })
}

fn no_orgnr(value: &[u8]) -> bool {
    let value = value.strip_suffix(b"MVA").unwrap_or(value);
    digits_after::<9>(value, b"NO")
        .is_some_and(|d| weighted(&d, &[3, 2, 7, 6, 5, 4, 3, 2, 1]).is_multiple_of(11))
}

/// The last ten digits; a coordination number has 60 added to the day.
fn se_pnr(value: &[u8]) -> bool {
    let plain: Vec<u8> = value.iter().copied().filter(|b| *b != b'+').collect();
    let ten = digits::<10>(&plain).or_else(|| digits::<12>(&plain).and_then(|d| d[2..].try_into().ok()));
    ten.is_some_and(|d: [u32; 10]| day_exists(pair(d[4], d[5]) % 60, pair(d[2], d[3]), None) && luhn(&d))
}

fn se_orgnr(value: &[u8]) -> bool {
    let ten = digits::<10>(value).or_else(|| {
        let vat = letters::<14>(value)?;
        let trimmed = vat.strip_prefix(b"SE")?.strip_suffix(b"01")?;
        digits(trimmed)
    });
    ten.is_some_and(|d: [u32; 10]| d[2] >= 2 && luhn(&d))
}
