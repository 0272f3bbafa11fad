//! Argentina, Brazil, Canada, Chile, Colombia, the Dominican Republic, Ecuador, Mexico, Peru, the United States, Uruguay, Venezuela.

use super::number::{day_exists, digits, letters, luhn, pair, plain, value_of, weighted};
use super::scheme::Scheme;

pub(super) const SCHEMES: &[Scheme] = &[
    Scheme {
        name: "us_npi",
        source: "45 CFR 162.406; CMS: NPI check digit (Luhn with 80840)",
        accepts: us_npi,
    },
    Scheme { name: "us_dea", source: "DEA Diversion Control: registration number", accepts: us_dea },
    Scheme { name: "us_aba", source: "ABA Key to Routing Numbers, weights 3 7 1", accepts: us_aba },
    Scheme { name: "us_cusip", source: "ANSI X9.6: CUSIP", accepts: us_cusip },
    Scheme { name: "ca_sin", source: "Service Canada: SIN (Luhn)", accepts: ca_sin },
    Scheme { name: "br_cpf", source: "Receita Federal, IN RFB 1548: CPF", accepts: br_cpf },
    Scheme {
        name: "br_cnpj",
        source: "Receita Federal, IN RFB 2229: CNPJ, with letters from 2026",
        accepts: br_cnpj,
    },
    Scheme { name: "br_pis", source: "Caixa: PIS, PASEP, NIS", accepts: br_pis },
    Scheme { name: "br_titulo", source: "TSE, resolution 21538: título de eleitor", accepts: br_titulo },
    Scheme { name: "mx_curp", source: "RENAPO: instructivo normativo of the CURP", accepts: mx_curp },
    Scheme { name: "mx_rfc", source: "SAT: dígito verificador of the RFC", accepts: mx_rfc },
    Scheme { name: "ar_cuit", source: "AFIP: CUIT and CUIL, modulus 11", accepts: ar_cuit },
    Scheme { name: "cl_rut", source: "SII: RUT, modulus 11", accepts: cl_rut },
    Scheme { name: "co_nit", source: "DIAN: dígito de verificación of the NIT", accepts: co_nit },
    Scheme { name: "pe_ruc", source: "SUNAT: RUC, modulus 11", accepts: pe_ruc },
    Scheme { name: "ec_cedula", source: "Registro Civil: cédula, modulus 10", accepts: ec_cedula },
    Scheme { name: "uy_cedula", source: "DNIC: cédula de identidad, weights 2987634", accepts: uy_cedula },
    Scheme { name: "do_cedula", source: "JCE: cédula (Luhn)", accepts: do_cedula },
    Scheme { name: "ve_rif", source: "SENIAT: RIF, modulus 11", accepts: ve_rif },
];

fn us_npi(value: &[u8]) -> bool {
    digits::<10>(value).is_some_and(|d| {
        let mut prefixed = vec![8, 0, 8, 4, 0];
        prefixed.extend_from_slice(&d);
        matches!(d[0], 1 | 2) && luhn(&prefixed)
    })
}

fn us_dea(value: &[u8]) -> bool {
    letters::<9>(value).is_some_and(|n| {
        let types = n[0].is_ascii_uppercase() && (n[1].is_ascii_uppercase() || n[1] == b'9');
        plain::<7>(&n[2..]).is_some_and(|d| types && weighted(&d, &[1, 2, 1, 2, 1, 2]) % 10 == d[6])
    })
}

fn us_aba(value: &[u8]) -> bool {
    digits::<9>(value).is_some_and(|d| {
        let area = matches!(pair(d[0], d[1]), 1..=12 | 21..=32 | 61..=72 | 80);
        area && weighted(&d, &[3, 7, 1, 3, 7, 1, 3, 7, 1]).is_multiple_of(10)
    })
}

fn us_cusip(value: &[u8]) -> bool {
    letters::<9>(value).is_some_and(|n| {
        let split = |(place, &b): (usize, &u8)| {
            let value = value_of(b) * if place % 2 == 1 { 2 } else { 1 };
            value / 10 + value % 10
        };
        let sum: u32 = n[..8].iter().enumerate().map(split).sum();
        n[8].is_ascii_digit() && (sum + value_of(n[8])).is_multiple_of(10)
    })
}

fn ca_sin(value: &[u8]) -> bool {
    digits::<9>(value).is_some_and(|d| d[0] != 8 && luhn(&d))
}

/// The digit that makes a sum of two to eleven whole, ten counting as nothing.
fn mod11_check(sum: u32) -> u32 {
    match sum % 11 {
        0 | 1 => 0,
        rest => 11 - rest,
    }
}

fn br_cpf(value: &[u8]) -> bool {
    digits::<11>(value).is_some_and(|d| {
        mod11_check(weighted(&d, &[10, 9, 8, 7, 6, 5, 4, 3, 2])) == d[9]
            && mod11_check(weighted(&d, &[11, 10, 9, 8, 7, 6, 5, 4, 3, 2])) == d[10]
    })
}

fn br_cnpj(value: &[u8]) -> bool {
    letters::<14>(value).is_some_and(|n| {
        let values = n.map(|b| u32::from(b) - 48);
        let first = weighted(&values[..12], &[5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2]);
        let second = weighted(&values[..13], &[6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2]);
        let same = n.iter().all(|b| *b == n[0]);
        !same && mod11_check(first) == values[12] && mod11_check(second) == values[13]
    })
}

fn br_pis(value: &[u8]) -> bool {
    digits::<11>(value).is_some_and(|d| mod11_check(weighted(&d, &[3, 2, 9, 8, 7, 6, 5, 4, 3, 2])) == d[10])
}

/// Eight digits, the state, and two check digits; São Paulo and Minas Gerais have an exception.
fn br_titulo(value: &[u8]) -> bool {
    digits::<12>(value).is_some_and(|d| {
        let state = pair(d[8], d[9]);
        let rest = |sum: u32| match sum % 11 {
            10 => 0,
            0 if state <= 2 => 1,
            rest => rest,
        };
        let first = rest(weighted(&d[..8], &[2, 3, 4, 5, 6, 7, 8, 9]));
        let second = rest(d[8] * 7 + d[9] * 8 + first * 9);
        (1..=28).contains(&state) && first == d[10] && second == d[11]
    })
}

/// The place of a character in the alphabet that has Ñ behind N.
fn spanish(b: u8) -> u32 {
    value_of(b) + u32::from(b > b'N')
}

fn mx_curp(value: &[u8]) -> bool {
    letters::<18>(value).is_some_and(|n| {
        let sum: u32 = n[..17].iter().zip((2..=18).rev()).map(|(&b, weight)| spanish(b) * weight).sum();
        let born =
            plain::<6>(&n[4..10]).is_some_and(|d| day_exists(pair(d[4], d[5]), pair(d[2], d[3]), None));
        born && (10 - sum % 10) % 10 == value_of(n[17])
    })
}

/// Twelve characters for companies, thirteen for people, the last being the check.
fn mx_rfc(value: &[u8]) -> bool {
    /// The alphabet; a space stands before the number of a company.
    const ALPHABET: &[u8; 38] = b"0123456789ABCDEFGHIJKLMN&OPQRSTUVWXYZ ";
    let shown: Vec<u8> =
        value.iter().filter(|b| !matches!(b, b' ' | b'-')).map(u8::to_ascii_uppercase).collect();
    let Some((&check, body)) = shown.split_last() else { return false };
    if !(11..=12).contains(&body.len()) || body.iter().all(|b| *b == check) {
        return false;
    }
    let padded = std::iter::repeat_n(b' ', 12 - body.len()).chain(body.iter().copied());
    let mut sum = 0;
    for (b, weight) in padded.zip((2..=13).rev()) {
        let Some(at) = ALPHABET.iter().position(|a| *a == b) else { return false };
        sum += at as u32 * weight;
    }
    let wanted = match 11 - sum % 11 {
        11 => b'0',
        10 => b'A',
        digit => b'0' + digit as u8,
    };
    check == wanted
}

fn ar_cuit(value: &[u8]) -> bool {
    digits::<11>(value).is_some_and(|d| {
        let check = match 11 - weighted(&d, &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11 {
            11 => 0,
            10 => 9,
            check => check,
        };
        matches!(pair(d[0], d[1]), 20 | 23..=27 | 30 | 33 | 34) && check == d[10]
    })
}

/// Seven or eight digits and a check character, which may be K.
fn cl_rut(value: &[u8]) -> bool {
    let short = letters::<8>(value).map(|n| (n[..7].to_vec(), n[7]));
    let Some((body, check)) = short.or_else(|| letters::<9>(value).map(|n| (n[..8].to_vec(), n[8]))) else {
        return false;
    };
    let weights = [2, 3, 4, 5, 6, 7].into_iter().cycle();
    let sum: u32 = body.iter().rev().zip(weights).map(|(&b, weight)| value_of(b) * weight).sum();
    let wanted = match 11 - sum % 11 {
        11 => b'0',
        10 => b'K',
        digit => b'0' + digit as u8,
    };
    let same = body.iter().all(|b| Some(b) == body.first());
    body.iter().all(u8::is_ascii_digit) && !same && check == wanted
}

/// Nine or ten digits, the last being the check, weighted by primes from the right.
fn co_nit(value: &[u8]) -> bool {
    const WEIGHTS: [u32; 9] = [3, 7, 13, 17, 19, 23, 29, 37, 41];
    let nine = digits::<9>(value).map(|d| d.to_vec());
    let Some(number) = nine.or_else(|| digits::<10>(value).map(|d| d.to_vec())) else { return false };
    let Some((check, body)) = number.split_last() else { return false };
    let sum: u32 = body.iter().rev().zip(WEIGHTS).map(|(digit, weight)| digit * weight).sum();
    *check == if sum % 11 < 2 { sum % 11 } else { 11 - sum % 11 }
}

fn pe_ruc(value: &[u8]) -> bool {
    digits::<11>(value).is_some_and(|d| {
        let check = (11 - weighted(&d, &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11) % 10;
        matches!(pair(d[0], d[1]), 10 | 15 | 16 | 17 | 20) && check == d[10]
    })
}

fn ec_cedula(value: &[u8]) -> bool {
    digits::<10>(value).is_some_and(|d| {
        let province = pair(d[0], d[1]);
        matches!(province, 1..=24 | 30) && d[2] < 6 && luhn(&d)
    })
}

fn uy_cedula(value: &[u8]) -> bool {
    digits::<8>(value).is_some_and(|d| (10 - weighted(&d, &[2, 9, 8, 7, 6, 3, 4]) % 10) % 10 == d[7])
}

fn do_cedula(value: &[u8]) -> bool {
    digits::<11>(value).is_some_and(|d| luhn(&d))
}

fn ve_rif(value: &[u8]) -> bool {
    letters::<10>(value).is_some_and(|n| {
        let kind = match n[0] {
            b'V' => 1,
            b'E' => 2,
            b'J' | b'C' => 3,
            b'P' => 4,
            b'G' => 5,
            _ => return false,
        };
        plain::<9>(&n[1..])
            .is_some_and(|d| mod11_check(4 * kind + weighted(&d, &[3, 2, 7, 6, 5, 4, 3, 2])) == d[8])
    })
}
