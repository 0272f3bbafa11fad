//! Keyed hashes of words and values.

use std::ops::Range;

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::VALUE_BYTES_MAX;
use crate::mask::TokenKey;

/// What the keys are derived under where no key is asked for: all that is secret then is the salt, which the file has.
const NO_KEY: &[u8] = b"sluice: exact values without a key";
const ONES: u64 = 0x0101_0101_0101_0101;

/// Keys of one set: HMAC-SHA-256 (RFC 2104) of its salt.
#[derive(Clone)]
pub(super) struct Keys {
    fast: [u64; 2],
    sip: [u64; 2],
    /// Tells whether these are the keys that a set was built with.
    pub(super) check: u64,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(…)")
    }
}

impl Keys {
    pub(super) fn new(salt: &[u8], key: Option<&TokenKey>) -> Keys {
        let key = key.map_or(NO_KEY, TokenKey::bytes);
        let part = |what: &[u8]| -> [u64; 4] {
            // HMAC takes keys of any length.
            let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 4] };
            mac.update(salt);
            mac.update(what);
            let bytes: [u8; 32] = mac.finalize().into_bytes().into();
            let (words, _) = bytes.as_chunks::<8>();
            let mut all = [0; 4];
            words.iter().zip(&mut all).for_each(|(word, to)| *to = u64::from_le_bytes(*word));
            all
        };
        let [a, b, c, d] = part(b"hash");
        let [check, ..] = part(b"check");
        Keys { fast: [a, b | 1], sip: [c, d], check }
    }

    /// The hash of a part of a text behind what has the hash `seed`; never 0.
    #[inline]
    pub(super) fn hash(&self, seed: u64, text: &[u8], range: Range<usize>, ignore_case: bool) -> u64 {
        let Range { start, end } = range;
        let mut hash = seed ^ self.fast[0] ^ (end - start) as u64;
        let mut at = start;
        while at < end {
            let have = (end - at).min(8);
            // Where the text goes on, eight bytes are there: what is too much of them is cut off.
            let word = match text.get(at..).and_then(<[u8]>::first_chunk::<8>) {
                Some(bytes) => u64::from_le_bytes(*bytes) & (u64::MAX >> (64 - 8 * have)),
                None => {
                    text.get(at..end).unwrap_or_default().iter().rev().fold(0, |w, b| w << 8 | u64::from(*b))
                }
            };
            let word = if ignore_case { lower(word) } else { word };
            hash = fold(hash ^ word, self.fast[1]);
            at += 8;
        }
        fold(hash, self.fast[0] | 1) | 1
    }

    /// SipHash-2-4 of a value.
    pub(super) fn digest(&self, value: &[u8], ignore_case: bool) -> u64 {
        if !ignore_case {
            return sip(self.sip, value);
        }
        let mut folded = [0; VALUE_BYTES_MAX];
        let folded = folded.get_mut(..value.len()).unwrap_or_default();
        folded.copy_from_slice(value.get(..folded.len()).unwrap_or_default());
        folded.make_ascii_lowercase();
        sip(self.sip, folded)
    }
}

/// Both halves of a product, one over the other.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// ASCII capitals of eight bytes as small letters.
#[inline]
fn lower(word: u64) -> u64 {
    let low = word & (0x7f * ONES);
    let from = low + ONES * u64::from(0x80 - b'A');
    let beyond = low + ONES * u64::from(0x7f - b'Z');
    let is_capital = !word & (from ^ beyond) & (0x80 * ONES);
    word | is_capital >> 2
}

/// Where in a list of so many a hash belongs, in the order of hashes.
#[inline]
pub(super) fn place(hash: u64, len: usize) -> usize {
    ((u128::from(hash) * len as u128) >> 64) as usize
}

/// The filter's word for a hash.
#[inline]
pub(super) fn block(hash: u64, blocks: usize) -> usize {
    place(hash, blocks)
}

/// The bits of that word: for a beginning, and for a whole value.
#[inline]
pub(super) fn masks(hash: u64) -> (u64, u64) {
    let mask = |bits: u64| {
        1 << (bits & 63) | 1 << (bits >> 6 & 63) | 1 << (bits >> 12 & 63) | 1 << (bits >> 18 & 63)
    };
    (mask(hash >> 1), mask((hash >> 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40))
}

/// SipHash-2-4 (Aumasson, Bernstein: SipHash: a fast short-input PRF, 2012).
fn sip(key: [u64; 2], value: &[u8]) -> u64 {
    let mut v = [
        key[0] ^ 0x736f_6d65_7073_6575,
        key[1] ^ 0x646f_7261_6e64_6f6d,
        key[0] ^ 0x6c79_6765_6e65_7261,
        key[1] ^ 0x7465_6462_7974_6573,
    ];
    let (words, rest) = value.as_chunks::<8>();
    let last = rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
    let last = (value.len() as u64) << 56 | last;
    for word in words.iter().map(|word| u64::from_le_bytes(*word)).chain([last]) {
        v[3] ^= word;
        (0..2).for_each(|_| round(&mut v));
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    (0..4).for_each(|_| round(&mut v));
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

#[inline]
fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[2] = v[2].wrapping_add(v[3]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[1]);
    v[0] = v[0].wrapping_add(v[3]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].rotate_left(32);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector of the paper's appendix A, and two of its reference implementation.
    #[test]
    fn siphash_is_siphash() {
        let key = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
        let input: Vec<u8> = (0..15).collect();
        assert_eq!(sip(key, &input), 0xa129_ca61_49be_45e5);
        assert_eq!(sip(key, b""), 0x726f_db47_dd0e_0e31);
        assert_eq!(sip(key, &input[..1]), 0x74f8_39c5_93dc_67fd);
    }

    #[test]
    fn the_hash_is_of_the_part_alone() {
        let keys = Keys::new(b"salt", None);
        let of = |text: &str, range| keys.hash(0, text.as_bytes(), range, false);
        for len in 1..20 {
            let text = "abcdefghijklmnopqrstuvwxyz";
            let padded = format!("..{}", &text[..len]);
            assert_eq!(of(text, 0..len), of(&padded, 2..2 + len), "{len}");
            assert_ne!(of(text, 0..len), of(text, 0..len + 1));
        }
        let folded = |text: &str| keys.hash(0, text.as_bytes(), 0..text.len(), true);
        assert_eq!(folded("AzZ@[`{\u{e9}9Q"), folded("azz@[`{\u{e9}9q"));
        assert_ne!(folded("@"), folded("`"));
        assert_ne!(folded("\u{c9}"), folded("\u{e9}"));
        let other = TokenKey::new(vec![1; 16]);
        assert_ne!(Keys::new(b"salt", other.as_ref()).check, keys.check);
    }
}
