//! The certificate for the name that a client asks for (SNI, RFC 6066, section 3).

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::pki_types::CertificateDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use super::UnknownName;

/// Certificates of a listener. Several may have one name, with keys of several kinds.
pub(super) struct ByName {
    /// In the order of the configuration.
    all: Vec<Arc<CertifiedKey>>,
    /// Indexes of `all` by name, in lower case; those of `*.example.com` under `.example.com`.
    names: HashMap<String, Vec<usize>>,
    unknown: UnknownName,
}

impl ByName {
    pub(super) fn new(all: Vec<Arc<CertifiedKey>>, unknown: UnknownName) -> ByName {
        let mut names: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, certified) in all.iter().enumerate() {
            for mut name in certified.cert.first().map(dns_names).unwrap_or_default() {
                if name.starts_with("*.") {
                    name.remove(0);
                }
                names.entry(name).or_default().push(index);
            }
        }
        ByName { all, names, unknown }
    }

    /// One that has the name, else one with a wildcard for it, which stands for one label (RFC 9525, section 6.3),
    /// else the first, or none where unknown names are refused; of those the first whose key the client can verify.
    fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<&Arc<CertifiedKey>> {
        let name = name.map(str::to_ascii_lowercase).unwrap_or_default();
        let name = name.trim_end_matches('.');
        let wildcard = name.find('.').and_then(|dot| name.get(dot..));
        let named = [Some(name), wildcard].into_iter().flatten().find_map(|name| self.names.get(name));
        let first = self.all.first()?;
        let of_name: Vec<_> = named.into_iter().flatten().filter_map(|index| self.all.get(*index)).collect();
        let is_refused = !name.is_empty() && self.unknown == UnknownName::Refuse;
        let candidates = match of_name.is_empty() {
            true if is_refused => return None,
            true => vec![first],
            false => of_name,
        };
        let is_verifiable = |certified: &&&Arc<CertifiedKey>| certified.key.choose_scheme(schemes).is_some();
        candidates.iter().find(is_verifiable).or(candidates.first()).copied()
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name(), hello.signature_schemes()).cloned()
    }
}

impl fmt::Debug for ByName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByName").field("names", &self.names).finish_non_exhaustive()
    }
}

/// The names of hosts that a certificate proves, in lower case. Its common name is none (RFC 9525, section 2).
pub(super) fn dns_names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, parsed)) = parse_x509_certificate(certificate) else { return Vec::new() };
    let Ok(Some(names)) = parsed.subject_alternative_name() else { return Vec::new() };
    let names = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.trim_end_matches('.').to_ascii_lowercase()),
        _ => None,
    });
    names.filter(|name| !name.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::tests::{Kind, Made};

    #[test]
    fn the_name_chooses_then_the_kind_of_key() {
        use SignatureScheme::{ECDSA_NISTP256_SHA256, ED25519, RSA_PSS_SHA256};
        let made = |names: &[&str], kind| Made::self_signed(names, kind).certified();
        let certified = vec![
            made(&["first.test"], Kind::P256),
            made(&["*.example.test", "api.example.test"], Kind::P256),
            made(&["API.example.test", "example.test"], Kind::Ed25519),
            made(&["x.example.test"], Kind::P256),
        ];
        let strict = ByName::new(certified.clone(), UnknownName::Refuse);
        let by_name = ByName::new(certified, UnknownName::First);
        let any = &[ED25519, ECDSA_NISTP256_SHA256][..];
        for (name, schemes, wanted) in [
            (None, any, 0),
            (Some(""), any, 0),
            (Some("unknown.test"), any, 0),
            (Some("first.test"), any, 0),
            (Some("FIRST.test"), any, 0),
            (Some("first.test."), any, 0),
            (Some("a.example.test"), any, 1),
            (Some("A.Example.Test"), any, 1),
            (Some("a.b.example.test"), any, 0),
            (Some(".example.test"), any, 1),
            (Some("example.test"), any, 2),
            (Some("x.example.test"), any, 3),
            (Some("*.example.test"), any, 1),
            (Some("api.example.test"), any, 1),
            (Some("api.example.test"), &[ED25519], 2),
            (Some("api.example.test"), &[ECDSA_NISTP256_SHA256], 1),
            (Some("api.example.test"), &[RSA_PSS_SHA256], 1),
            (Some("example.test"), &[ECDSA_NISTP256_SHA256], 2),
        ] {
            let chosen = by_name.choose(name, schemes).unwrap();
            let index = by_name.all.iter().position(|one| Arc::ptr_eq(one, chosen)).unwrap();
            assert_eq!(index, wanted, "{name:?} {schemes:?}");
            let is_unknown = matches!(name, Some("unknown.test" | "a.b.example.test"));
            assert_eq!(strict.choose(name, schemes).is_none(), is_unknown, "{name:?}");
        }
        assert!(ByName::new(Vec::new(), UnknownName::First).choose(Some("a.test"), any).is_none());
    }

    #[test]
    fn what_is_no_certificate_has_no_names() {
        assert!(dns_names(&CertificateDer::from(b"\x30\x03\x02\x01\x01".to_vec())).is_empty());
        assert!(dns_names(&CertificateDer::from(Vec::new())).is_empty());
    }
}
