//! What numbering schemes have in common: digits without separators, weighted sums, check digits, dates.

/// The digits of a value, which must be as many; separators (space, `-`, `.`, `/`) do not count. A number of one digit
/// repeated is a placeholder and gives nothing.
pub(super) fn digits<const N: usize>(value: &[u8]) -> Option<[u32; N]> {
    let mut out = [0; N];
    let mut places = out.iter_mut();
    for &b in value {
        match b {
            b'0'..=b'9' => *places.next()? = u32::from(b - b'0'),
            b' ' | b'-' | b'.' | b'/' => {}
            _ => return None,
        }
    }
    let full = places.next().is_none();
    let same = out.iter().all(|digit| Some(digit) == out.first());
    (full && !same).then_some(out)
}

/// As [`digits`], behind letters that may be there (`ATU`, `BE`), in any case.
pub(super) fn digits_after<const N: usize>(value: &[u8], letters: &[u8]) -> Option<[u32; N]> {
    match value.split_at_checked(letters.len()) {
        Some((head, rest)) if head.eq_ignore_ascii_case(letters) => digits(rest),
        _ => digits(value),
    }
}

/// The letters and digits of a value, which must be as many, in capitals; separators do not count. One character repeated
/// gives nothing.
pub(super) fn letters<const N: usize>(value: &[u8]) -> Option<[u8; N]> {
    let mut out = [0; N];
    let mut places = out.iter_mut();
    for &b in value {
        match b {
            b' ' | b'-' | b'.' | b'/' | b'(' | b')' => {}
            _ if b.is_ascii_alphanumeric() => *places.next()? = b.to_ascii_uppercase(),
            _ => return None,
        }
    }
    let full = places.next().is_none();
    let same = out.iter().all(|b| Some(b) == out.first());
    (full && !same).then_some(out)
}

/// The value of a digit or of a capital, A being ten; others count nothing.
pub(super) fn value_of(b: u8) -> u32 {
    match b {
        b'0'..=b'9' => u32::from(b - b'0'),
        b'A'..=b'Z' => u32::from(b - b'A') + 10,
        _ => 0,
    }
}

/// Digits of a part that must hold digits only.
pub(super) fn plain<const N: usize>(part: &[u8]) -> Option<[u32; N]> {
    let part: &[u8; N] = part.try_into().ok()?;
    part.iter().all(u8::is_ascii_digit).then(|| part.map(|b| u32::from(b - b'0')))
}

/// The sum of digits by their weights; what has no weight counts nothing.
pub(super) fn weighted(digits: &[u32], weights: &[u32]) -> u32 {
    digits.iter().zip(weights).map(|(digit, weight)| digit * weight).sum()
}

/// The digits as one number.
pub(super) fn whole(digits: &[u32]) -> u64 {
    digits.iter().fold(0, |n, &digit| n * 10 + u64::from(digit))
}

/// ISO/IEC 7812-1, annex B.
pub(super) fn luhn(digits: &[u32]) -> bool {
    let doubled = |(i, &digit): (usize, &u32)| match (i % 2, digit) {
        (0, digit) => digit,
        (_, digit) if digit >= 5 => 2 * digit - 9,
        (_, digit) => 2 * digit,
    };
    digits.iter().rev().enumerate().map(doubled).sum::<u32>().is_multiple_of(10)
}

/// ISO/IEC 7064, MOD 11,10.
pub(super) fn mod11_10(digits: &[u32]) -> bool {
    let Some((check, body)) = digits.split_last() else { return false };
    let mut product = 10;
    for digit in body {
        let sum = match (digit + product) % 10 {
            0 => 10,
            sum => sum,
        };
        product = sum * 2 % 11;
    }
    (product + check) % 10 == 1
}

/// Verhoeff's scheme (Mathematical Centre Tracts 29, 1969), its last digit being the check digit.
pub(super) fn verhoeff(digits: &[u32]) -> bool {
    /// The permutation that is applied once more for each place from the right.
    const PERMUTATION: [u32; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    let mut check = 0;
    for (place, &digit) in digits.iter().rev().enumerate() {
        let moved = (0..place % 8).fold(digit, |d, _| PERMUTATION.get(d as usize).copied().unwrap_or(0));
        check = dihedral(check, moved);
    }
    check == 0
}

/// The product of two elements of the dihedral group of ten: turns are 0 to 4, reflections 5 to 9.
fn dihedral(a: u32, b: u32) -> u32 {
    match (a < 5, b < 5) {
        (true, true) => (a + b) % 5,
        (true, false) => (a + b - 5) % 5 + 5,
        (false, true) => (a - 5 + 5 - b) % 5 + 5,
        (false, false) => (a + 5 - b) % 5,
    }
}

/// A day that exists; without a year, the 29th of February does.
pub(super) fn day_exists(day: u32, month: u32, year: Option<u32>) -> bool {
    (1..=12).contains(&month) && day >= 1 && day <= super::days(year.unwrap_or(2000), month)
}

/// The number that two digits make.
pub(super) fn pair(tens: u32, ones: u32) -> u32 {
    tens * 10 + ones
}
