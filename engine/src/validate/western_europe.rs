//! Austria, Belgium, France, Germany, Ireland, Luxembourg, the Netherlands, Switzerland, the United Kingdom.

use super::global::mod97_10;
use super::number::{
    day_exists, digits, digits_after, letters, luhn, mod11_10, pair, plain, value_of, verhoeff, weighted,
    whole,
};
use super::scheme::Scheme;

pub(super) const SCHEMES: &[Scheme] = &[
    Scheme {
        name: "at_svnr",
        source: "ASVG §31; Dachverband der Sozialversicherungsträger",
        accepts: at_svnr,
    },
    Scheme { name: "at_uid", source: "BMF: Aufbau der UID-Nummer", accepts: at_uid },
    Scheme { name: "be_nn", source: "Royal decree of 3 April 1984 on the national register", accepts: be_nn },
    Scheme {
        name: "be_vat",
        source: "Belgian VAT code, enterprise number (Crossroads Bank)",
        accepts: be_vat,
    },
    Scheme { name: "fr_nir", source: "INSEE: clé de contrôle du NIR", accepts: fr_nir },
    Scheme { name: "fr_siren", source: "INSEE: SIREN and SIRET (Luhn)", accepts: fr_siren },
    Scheme {
        name: "fr_tva",
        source: "BOI-TVA-DECLA-20-10-20: numéro de TVA intracommunautaire",
        accepts: fr_tva,
    },
    Scheme {
        name: "fr_spi",
        source: "DGFiP: numéro fiscal de référence (OECD TIN sheet, France)",
        accepts: fr_spi,
    },
    Scheme { name: "de_idnr", source: "§139b AO; BZSt: Aufbau der Identifikationsnummer", accepts: de_idnr },
    Scheme { name: "de_vat", source: "§27a UStG; BZSt (ISO/IEC 7064 MOD 11,10)", accepts: de_vat },
    Scheme {
        name: "de_rvnr",
        source: "VKVV §4: Versicherungsnummer der Rentenversicherung",
        accepts: de_rvnr,
    },
    Scheme {
        name: "de_kvnr",
        source: "GKV-Spitzenverband: Krankenversichertennummer (§290 SGB V)",
        accepts: de_kvnr,
    },
    Scheme { name: "ie_pps", source: "Revenue: PPS number, check character modulus 23", accepts: ie_pps },
    Scheme {
        name: "lu_matricule",
        source: "RGD of 18 June 2014: numéro d'identification",
        accepts: lu_matricule,
    },
    Scheme { name: "nl_bsn", source: "RvIG: Logisch ontwerp BSN (elfproef)", accepts: nl_bsn },
    Scheme { name: "nl_btw", source: "Belastingdienst: btw-identificatienummer (MOD 97)", accepts: nl_btw },
    Scheme { name: "ch_ahv", source: "ZAS: AHVN13, EAN-13 check digit", accepts: ch_ahv },
    Scheme { name: "ch_uid", source: "BFS: Unternehmens-Identifikationsnummer (eCH-0097)", accepts: ch_uid },
    Scheme { name: "uk_nhs", source: "NHS Data Dictionary: NHS number", accepts: uk_nhs },
    Scheme {
        name: "uk_utr",
        source: "HMRC: Unique Taxpayer Reference (OECD TIN sheet, UK)",
        accepts: uk_utr,
    },
    Scheme { name: "uk_vat", source: "HMRC VATREC: modulus 97 and 9755", accepts: uk_vat },
];

fn at_svnr(value: &[u8]) -> bool {
    digits::<10>(value)
        .is_some_and(|d| d[0] != 0 && weighted(&d, &[3, 7, 9, 0, 5, 8, 4, 2, 1, 6]) % 11 == d[3])
}

fn at_uid(value: &[u8]) -> bool {
    let doubled = |d: u32| 2 * d / 10 + 2 * d % 10;
    let number = digits_after::<8>(value, b"ATU").or_else(|| digits_after(value, b"U"));
    number.is_some_and(|d| {
        let sum = d[0] + doubled(d[1]) + d[2] + doubled(d[3]) + d[4] + doubled(d[5]) + d[6];
        (sum + 4 + d[7]).is_multiple_of(10)
    })
}

fn be_nn(value: &[u8]) -> bool {
    digits::<11>(value).is_some_and(|d| {
        let (body, check) = (whole(&d[..9]), whole(&d[9..]));
        // Months are raised by 20 or 40 in numbers of people who are not on the register.
        let month = pair(d[2], d[3]) % 20;
        let possible = month <= 12 && pair(d[4], d[5]) <= 31;
        possible && [body, 2_000_000_000 + body].iter().any(|body| 97 - body % 97 == check)
    })
}

fn be_vat(value: &[u8]) -> bool {
    let number = digits_after::<10>(value, b"BE");
    number.is_some_and(|d| d[0] <= 1 && 97 - whole(&d[..8]) % 97 == whole(&d[8..]))
}

/// Thirteen places, of which two may name Corsica, and a key of two.
fn fr_nir(value: &[u8]) -> bool {
    let Some(mut number) = letters::<15>(value) else { return false };
    match &number[5..7] {
        b"2A" => number[5..7].copy_from_slice(b"19"),
        b"2B" => number[5..7].copy_from_slice(b"18"),
        _ => {}
    }
    plain::<15>(&number)
        .is_some_and(|d| d[0] != 0 && d[0] != 9 && 97 - whole(&d[..13]) % 97 == whole(&d[13..]))
}

fn fr_siren(value: &[u8]) -> bool {
    digits::<9>(value).is_some_and(|d| luhn(&d))
        || digits::<14>(value).is_some_and(|d| luhn(&d) && luhn(&d[..9]))
}

fn fr_tva(value: &[u8]) -> bool {
    let number = digits_after::<11>(value, b"FR");
    number.is_some_and(|d| luhn(&d[2..]) && (12 + 3 * (whole(&d[2..]) % 97)) % 97 == whole(&d[..2]))
}

fn fr_spi(value: &[u8]) -> bool {
    digits::<13>(value).is_some_and(|d| d[0] <= 3 && whole(&d[..10]) % 511 == whole(&d[10..]))
}

/// Of the first ten digits one comes twice or three times, the others at most once.
fn de_idnr(value: &[u8]) -> bool {
    digits::<11>(value).is_some_and(|d| {
        let counts = (0..10).map(|digit| d[..10].iter().filter(|d| **d == digit).count());
        let repeated: Vec<usize> = counts.filter(|count| *count > 1).collect();
        d[0] != 0 && matches!(repeated.as_slice(), [2 | 3]) && mod11_10(&d)
    })
}

fn de_vat(value: &[u8]) -> bool {
    digits_after::<9>(value, b"DE").is_some_and(|d| d[0] != 0 && mod11_10(&d))
}

/// The sum of the digits of products.
fn cross_sum(digits: &[u32], weights: &[u32]) -> u32 {
    digits.iter().zip(weights).map(|(digit, weight)| digit * weight).map(|n| n / 10 + n % 10).sum()
}

/// Twelve characters; the letter of the name counts as two digits.
fn de_rvnr(value: &[u8]) -> bool {
    let Some(number) = letters::<12>(value) else { return false };
    let (Some(front), Some(back)) = (plain::<8>(&number[..8]), plain::<3>(&number[9..])) else {
        return false;
    };
    if !number[8].is_ascii_uppercase() || pair(front[2], front[3]) > 81 {
        return false;
    }
    let letter = value_of(number[8]) - 9;
    let mut all = front.to_vec();
    all.extend([letter / 10, letter % 10, back[0], back[1]]);
    let month = pair(front[4], front[5]);
    (1..=12).contains(&month) && cross_sum(&all, &[2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1]) % 10 == back[2]
}

/// A letter, which counts as two digits, eight digits and the check digit.
fn de_kvnr(value: &[u8]) -> bool {
    let Some(number) = letters::<10>(value) else { return false };
    let Some(tail) = plain::<9>(&number[1..]) else { return false };
    let letter = value_of(number[0]).wrapping_sub(9);
    let mut all = vec![letter / 10, letter % 10];
    all.extend_from_slice(&tail[..8]);
    number[0].is_ascii_uppercase() && cross_sum(&all, &[1, 2, 1, 2, 1, 2, 1, 2, 1, 2]) % 10 == tail[8]
}

/// Seven digits, the check letter, and since 2013 a second letter that counts nine times.
fn ie_pps(value: &[u8]) -> bool {
    const CHECK: &[u8; 23] = b"WABCDEFGHIJKLMNOPQRSTUV";
    let parts = letters::<8>(value).map(|n| (n[..7].to_vec(), n[7], b'W'));
    let Some((body, check, second)) =
        parts.or_else(|| letters::<9>(value).map(|n| (n[..7].to_vec(), n[7], n[8])))
    else {
        return false;
    };
    let second = if second == b'W' { 0 } else { value_of(second).saturating_sub(9) };
    plain::<7>(&body).is_some_and(|d| {
        let sum = weighted(&d, &[8, 7, 6, 5, 4, 3, 2]) + second * 9;
        CHECK.get((sum % 23) as usize) == Some(&check)
    })
}

fn lu_matricule(value: &[u8]) -> bool {
    digits::<13>(value).is_some_and(|d| {
        let mut second = d[..11].to_vec();
        second.push(d[12]);
        let born = day_exists(pair(d[6], d[7]), pair(d[4], d[5]), None);
        born && luhn(&d[..12]) && verhoeff(&second)
    })
}

fn nl_bsn(value: &[u8]) -> bool {
    digits::<9>(value).is_some_and(|d| {
        let sum = weighted(&d, &[9, 8, 7, 6, 5, 4, 3, 2]);
        sum % 11 == d[8]
    })
}

/// Since 2020 modulus 97 over the whole number; before, the owner's BSN.
fn nl_btw(value: &[u8]) -> bool {
    let number = letters::<14>(value).or_else(|| {
        let short = letters::<12>(value)?;
        let mut whole = *b"NL000000000000";
        whole[2..].copy_from_slice(&short);
        Some(whole)
    });
    number.is_some_and(|n| n.starts_with(b"NL") && n[11] == b'B' && (mod97_10(&n) || nl_bsn(&n[2..11])))
}

fn ch_ahv(value: &[u8]) -> bool {
    digits::<13>(value).is_some_and(|d| {
        d.starts_with(&[7, 5, 6]) && weighted(&d, &[1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1]).is_multiple_of(10)
    })
}

fn ch_uid(value: &[u8]) -> bool {
    digits_after::<9>(value, b"CHE")
        .is_some_and(|d| (weighted(&d, &[5, 4, 3, 2, 7, 6, 5, 4]) + d[8]).is_multiple_of(11))
}

fn uk_nhs(value: &[u8]) -> bool {
    digits::<10>(value)
        .is_some_and(|d| (weighted(&d, &[10, 9, 8, 7, 6, 5, 4, 3, 2]) + d[9]).is_multiple_of(11))
}

fn uk_utr(value: &[u8]) -> bool {
    const CHECK: [u32; 11] = [2, 1, 9, 8, 7, 6, 5, 4, 3, 2, 1];
    let number = digits::<10>(value);
    number.is_some_and(|d| {
        CHECK.get((weighted(&d[1..], &[6, 7, 8, 9, 10, 5, 4, 3, 2]) % 11) as usize) == Some(&d[0])
    })
}

fn uk_vat(value: &[u8]) -> bool {
    digits_after::<9>(value, b"GB").is_some_and(|d| {
        let sum = weighted(&d, &[8, 7, 6, 5, 4, 3, 2, 10, 1]);
        matches!(sum % 97, 0 | 42 | 55)
    })
}
