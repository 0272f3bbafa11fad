//! Why a caller was not proved.

use std::fmt;

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident $name:literal $text:literal;)+) => {
        /// Why a caller was not proved. It holds nothing of what the caller sent.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Unproved {
            $($(#[$doc])* $variant,)+
        }

        impl Unproved {
            /// All of them, for counters.
            pub const ALL: &'static [Unproved] = &[$(Unproved::$variant),+];

            /// Its stable name in counters and logs.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Unproved::$variant => $name,)+
                }
            }

            fn text(self) -> &'static str {
                match self {
                    $(Unproved::$variant => $text,)+
                }
            }
        }
    };
}

reasons! {
    /// There is no token, key or client certificate.
    NoCredential "no_credential" "there is no credential: send a token as `Authorization: Bearer`";
    /// There are two that differ, or one field twice.
    TwoCredentials "two_credentials" "there is more than one credential";
    /// `Authorization` has another scheme than `Bearer`.
    Scheme "scheme" "`Authorization` must be of the scheme `Bearer`";
    /// What was sent is no token.
    Malformed "malformed" "the token can't be read";
    /// It is longer than a token may be.
    TooLarge "too_large" "the token is too long";
    /// An object in it has a member twice.
    DuplicateMember "duplicate_member" "the token names something twice";
    /// It is encrypted, compressed or nested.
    Encrypted "encrypted" "the token is encrypted, compressed or nested";
    /// Its header asks for something that is not done here: `crit`, `jwk`, `jku`, `x5u`.
    Header "header" "the token's header is not acceptable";
    /// Its algorithm is not one that its issuer may use.
    Algorithm "algorithm" "the token's algorithm is not acceptable";
    /// Its `typ` is not one of an access token of that issuer.
    Type "type" "the token is of another type";
    /// No issuer is configured that would have issued it.
    UnknownIssuer "unknown_issuer" "nobody here knows the token's issuer";
    /// Its key is not among its issuer's.
    UnknownKey "unknown_key" "the token's key is not one of its issuer";
    /// Its signature is wrong.
    Signature "signature" "the token's signature is wrong";
    /// A claim is not of the form that it must have.
    Claim "claim" "a claim of the token has the wrong form";
    /// A claim that must be there is not.
    MissingClaim "missing_claim" "a claim is missing from the token";
    /// It is for somebody else.
    Audience "audience" "the token is for another audience";
    /// It was issued to a client that may not use it here.
    Party "party" "the token was issued to another party";
    /// Its time is over.
    Expired "expired" "the credential has expired";
    /// Its time has not come.
    NotYet "not_yet" "the token is not valid yet";
    /// It was issued in the future.
    IssuedLater "issued_later" "the token was issued in the future";
    /// It was issued too long ago.
    TooOld "too_old" "the token was issued too long ago";
    /// It is bound to a key that the caller did not prove to have (`cnf`).
    Bound "bound" "the token is bound to another key";
    /// It, or its subject, was revoked.
    Revoked "revoked" "the credential was revoked";
    /// Its issuer says that it is not active (RFC 7662).
    Inactive "inactive" "the token is not active";
    /// What it says does not make a subject.
    Subject "subject" "the credential names no subject";
    /// The request tells a chain, step or purpose that this issuer's callers may not tell so.
    Context "context" "the request's chain, step or purpose is not acceptable from this caller";
    /// Nobody here knows the client certificate's owner.
    Certificate "certificate" "the client certificate is not one of a known caller";
    /// The gateway never issued this key.
    UnknownCredential "unknown_credential" "nobody here knows this key";
    /// Its issuer can't be asked, and nothing that is known of it is fresh enough.
    IssuerUnreachable "issuer_unreachable" "the token's issuer can't be reached";
    /// Too many are being proved already.
    Busy "busy" "too many callers are being proved";
}

impl Unproved {
    /// True where the caller may be proved later with the same credential: 503 rather than 401.
    #[must_use]
    pub fn is_temporary(self) -> bool {
        matches!(self, Unproved::IssuerUnreachable | Unproved::Busy)
    }
}

impl fmt::Display for Unproved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for Unproved {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_those_of_counters() {
        let names: BTreeSet<&str> = Unproved::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), Unproved::ALL.len());
        for name in names {
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
        }
    }
}
