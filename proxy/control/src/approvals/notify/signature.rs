//! HMAC-SHA-256, made and checked in constant time.

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::super::request::hex;

/// The signature of a text in hexadecimal.
pub(crate) fn sign(key: &[u8], text: &[u8]) -> String {
    match mac(key, text) {
        Some(mac) => hex(&mac.finalize().into_bytes()),
        None => String::new(),
    }
}

/// Whether `signature`, in hexadecimal, is that of a text.
pub(crate) fn is_signed(key: &[u8], text: &[u8], signature: &str) -> bool {
    let bytes: Option<Vec<u8>> = signature
        .as_bytes()
        .chunks(2)
        .map(|pair| {
            std::str::from_utf8(pair)
                .ok()
                .filter(|p| p.len() == 2)
                .and_then(|p| u8::from_str_radix(p, 16).ok())
        })
        .collect();
    match (mac(key, text), bytes) {
        (Some(mac), Some(bytes)) => mac.verify_slice(&bytes).is_ok(),
        (Some(_) | None, Some(_) | None) => false,
    }
}

/// A key of any length will do (RFC 2104, section 3), but for none at all.
fn mac(key: &[u8], text: &[u8]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok().filter(|_| !key.is_empty())?;
    mac.update(text);
    Some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_of_rfc_4231() {
        // Test case 2.
        let mac = sign(b"Jefe", b"what do ya want for nothing?");
        assert_eq!(mac, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        assert!(is_signed(b"Jefe", b"what do ya want for nothing?", &mac));
        assert!(!is_signed(b"Jefe", b"what do ya want for nothing!", &mac));
        for bad in ["", "5b", "zz", &mac[1..], &format!("{mac}00"), "+5"] {
            assert!(!is_signed(b"Jefe", b"what do ya want for nothing?", bad), "{bad}");
        }
        assert!(!is_signed(b"", b"x", &sign(b"", b"x")), "without a key nothing is signed");
    }
}
