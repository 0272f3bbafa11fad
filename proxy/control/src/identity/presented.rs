//! What a request brings to prove who sends it, read from its head alone.
//!
//! Unchanged SDKs put their key into one of four fields; a token may stand in each of them. Two that differ are refused
//! rather than ranked: what one component takes, another one must not read over.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use sluice_data::PeerIdentity;
use zeroize::Zeroizing;

use super::Unproved;

/// Bytes of a token, however it is made.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a chain, step or purpose in a field.
pub const CONTEXT_BYTES_MAX: usize = 256;

/// Fields that carry a caller's credential; none of them ever goes upstream as it came.
pub const CREDENTIAL_FIELDS: [&str; 5] =
    ["authorization", "x-api-key", "api-key", "x-goog-api-key", "proxy-authorization"];

/// Names, in lower case, of the fields that callers may tell chain, step and purpose in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContextNames {
    /// Fields that some issuer reads, and those that always have this meaning.
    pub(super) names: Vec<Arc<str>>,
}

impl ContextNames {
    /// The names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<str>> {
        self.names.iter()
    }
}

/// Fields that have this meaning for every issuer: one that does not allow them refuses requests that have them.
pub(super) const RESERVED: [&str; 3] = ["sluice-chain", "sluice-step", "sluice-purpose"];

/// A credential as it came; nothing shows it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Token(Zeroizing<String>);

impl Token {
    pub(super) fn new(text: &str) -> Token {
        Token(Zeroizing::new(text.to_owned()))
    }

    pub(super) fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({} bytes)", self.0.len())
    }
}

/// What a request brings to prove who sends it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presented {
    pub(super) token: Option<Token>,
    pub(super) certificate: Option<Arc<PeerIdentity>>,
    pub(super) peer: Option<IpAddr>,
    /// Fields of [`ContextNames`], in their order.
    pub(super) context: Vec<(Arc<str>, String)>,
}

impl Presented {
    /// Reads the fields of a request's head; names count in any case. `certificate` is the owner of a client certificate
    /// that the TLS handshake has verified, `peer` the address of the caller.
    ///
    /// # Errors
    /// The credentials can be read in two ways, or are none that is taken here.
    pub fn read<'a>(
        fields: impl IntoIterator<Item = (&'a str, &'a [u8])>,
        names: &ContextNames,
        certificate: Option<Arc<PeerIdentity>>,
        peer: Option<IpAddr>,
    ) -> Result<Presented, Unproved> {
        let mut presented = Presented { certificate, peer, ..Presented::default() };
        let mut seen = [false; CREDENTIAL_FIELDS.len()];
        for (name, value) in fields {
            if let Some(n) = CREDENTIAL_FIELDS.iter().position(|field| name.eq_ignore_ascii_case(field)) {
                if let Some(seen) = seen.get_mut(n)
                    && std::mem::replace(seen, true)
                {
                    return Err(Unproved::TwoCredentials);
                }
                presented.take(n, value)?;
            } else if let Some(name) = names.names.iter().find(|known| name.eq_ignore_ascii_case(known)) {
                let value = context_value(value).ok_or(Unproved::Context)?;
                if presented.context.iter().any(|(other, _)| other == name) {
                    return Err(Unproved::Context);
                }
                presented.context.push((Arc::clone(name), value));
            }
        }
        Ok(presented)
    }

    /// Takes the credential of one field.
    fn take(&mut self, field: usize, value: &[u8]) -> Result<(), Unproved> {
        let text = std::str::from_utf8(value).map_err(|_| Unproved::Malformed)?.trim_matches([' ', '\t']);
        let token = match CREDENTIAL_FIELDS.get(field) {
            // It is for a proxy that the caller knows of: this one takes none, and passes none on.
            Some(&"proxy-authorization") | None => return Ok(()),
            Some(&"authorization") => bearer(text)?,
            Some(_) => text,
        };
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Unproved::TooLarge);
        }
        if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Unproved::Malformed);
        }
        match &self.token {
            Some(other) if other.text() != token => Err(Unproved::TwoCredentials),
            Some(_) => Ok(()),
            None => {
                self.token = Some(Token::new(token));
                Ok(())
            }
        }
    }
}

/// The token of `Bearer TOKEN` (RFC 6750, section 2.1); the scheme counts in any case (RFC 9110, section 11.1).
fn bearer(text: &str) -> Result<&str, Unproved> {
    let (scheme, token) = text.split_once(' ').ok_or(Unproved::Scheme)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Unproved::Scheme);
    }
    Ok(token.trim_matches(' '))
}

/// A chain, step or purpose: visible characters of ASCII, spaces only between them.
fn context_value(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?.trim_matches([' ', '\t']);
    let is_plain = text.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    (!text.is_empty() && text.len() <= CONTEXT_BYTES_MAX && is_plain).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(fields: &[(&str, &str)]) -> Result<Presented, Unproved> {
        let names = ContextNames { names: RESERVED.iter().map(|name| Arc::from(*name)).collect() };
        let fields = fields.iter().map(|(name, value)| (*name, value.as_bytes()));
        Presented::read(fields, &names, None, None)
    }

    #[test]
    fn one_credential_in_one_of_the_fields() {
        for (fields, wanted) in [
            (&[("Authorization", "Bearer a.b.c")][..], Ok("a.b.c")),
            (&[("authorization", "bearer   abc ")], Ok("abc")),
            (&[("X-Api-Key", "abc")], Ok("abc")),
            (&[("api-key", "abc")], Ok("abc")),
            (&[("x-goog-api-key", "abc"), ("accept", "*/*")], Ok("abc")),
            (&[("x-api-key", "abc"), ("authorization", "Bearer abc")], Ok("abc")),
            (&[("x-api-key", "abc"), ("authorization", "Bearer abd")], Err(Unproved::TwoCredentials)),
            (&[("x-api-key", "abc"), ("X-API-KEY", "abc")], Err(Unproved::TwoCredentials)),
            (&[("authorization", "Basic YTpi")], Err(Unproved::Scheme)),
            (&[("authorization", "Bearer")], Err(Unproved::Scheme)),
            (&[("authorization", "Bearer  ")], Err(Unproved::Scheme)),
            (&[("authorization", "Bearer a b")], Err(Unproved::Malformed)),
            (&[("authorization", "Bearer a,Bearer b")], Err(Unproved::Malformed)),
            (&[("x-api-key", "")], Err(Unproved::Malformed)),
            (&[("x-api-key", "k\u{e9}y")], Err(Unproved::Malformed)),
        ] {
            let read = read(fields);
            let token = read.as_ref().map(|p| p.token.as_ref().map_or("", |token| token.text()));
            assert_eq!(token.map_err(|e| *e), wanted, "{fields:?}");
        }
        assert_eq!(read(&[("accept", "*/*")]), Ok(Presented::default()));
    }

    #[test]
    fn a_token_of_the_greatest_length_and_one_more() {
        let long = "a".repeat(TOKEN_BYTES_MAX);
        assert!(read(&[("x-api-key", &long)]).is_ok());
        assert_eq!(read(&[("x-api-key", &format!("{long}a"))]), Err(Unproved::TooLarge));
    }

    #[test]
    fn a_chain_that_is_told_twice_or_not_plainly_is_refused() {
        let presented = read(&[("Sluice-Chain", " c 1 ")]).unwrap();
        assert_eq!(presented.context, [(Arc::from("sluice-chain"), "c 1".to_owned())]);
        let long = "c".repeat(CONTEXT_BYTES_MAX);
        assert!(read(&[("sluice-chain", &long)]).is_ok());
        for value in [format!("{long}c"), String::new(), "a\u{0}".to_owned(), "\u{e9}".to_owned()] {
            assert_eq!(read(&[("sluice-chain", &value)]), Err(Unproved::Context), "{value}");
        }
        let twice = [("sluice-step", "a"), ("SLUICE-STEP", "a")];
        assert_eq!(read(&twice), Err(Unproved::Context));
    }

    #[test]
    fn nothing_shows_a_token() {
        let presented = read(&[("x-api-key", "very-secret")]).unwrap();
        assert!(!format!("{presented:?}").contains("secret"));
    }
}
