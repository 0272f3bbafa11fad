//! Who a client is, by the certificate that it proved to have.
//!
//! A certificate may name its owner in several ways, and the text of one way could be that of another: a common name is
//! free text, so `spiffe://prod/admin` may be one. [`PeerIdentity::subject`] therefore says which way it is, and
//! two identities with the same subject are of the same kind. What can't be told without doubt is an error: names with
//! control characters, several SPIFFE ids, an extension twice.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use x509_parser::asn1_rs::ToDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// Names in a certificate, attributes of a distinguished name included.
const NAMES_MAX: usize = 128;

/// Bytes of a name; a SPIFFE id has at most as many (SPIFFE-ID, section 2.3).
const NAME_BYTES_MAX: usize = 2048;

/// The owner of a verified client certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerIdentity {
    /// Its first name of the first of these kinds that it has: `spiffe://…` (X509-SVID), `uri:…`, `dns:…`, `email:…`
    /// (subject alternative names, RFC 5280, section 4.2.1.6), `cn:…`, `dn:…` (RFC 4514).
    pub subject: String,
    /// URIs, as they are.
    pub uris: Vec<String>,
    /// DNS names, in lower case.
    pub dns_names: Vec<String>,
    /// E-mail addresses, as they are.
    pub emails: Vec<String>,
    /// The common name of the subject, where it has exactly one.
    pub common_name: Option<String>,
    /// Who signed it: a distinguished name (RFC 4514).
    pub issuer: String,
    /// Serial number, in lower-case hexadecimal without leading zeros.
    pub serial: String,
    /// SHA-256 of the certificate.
    pub fingerprint: [u8; 32],
    /// Valid until then ([`PeerIdentity::is_expired`]).
    pub not_after: SystemTime,
}

/// Why a certificate tells no identity. It holds nothing of the certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdentityError(&'static str);

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the client certificate tells no identity: {}", self.0)
    }
}

impl std::error::Error for IdentityError {}

impl PeerIdentity {
    /// True where its time is over. The handshake refuses such a certificate; but a session is resumed for half a day
    /// with the one it began with, and a connection may stay open for longer.
    #[must_use]
    pub fn is_expired(&self, now: SystemTime) -> bool {
        now > self.not_after
    }

    /// The identity of a chain's first certificate. The chain must have been verified: nothing is verified here.
    ///
    /// # Errors
    /// There is no certificate, or it does not name its owner without doubt.
    pub fn of(chain: &[CertificateDer<'_>]) -> Result<PeerIdentity, IdentityError> {
        let leaf = chain.first().ok_or(IdentityError("there is no certificate"))?;
        let (rest, parsed) =
            parse_x509_certificate(leaf).map_err(|_| IdentityError("it is no X.509 certificate"))?;
        if !rest.is_empty() {
            return Err(IdentityError("something stands after it"));
        }
        let Names { uris, dns_names, emails } = Names::of(&parsed)?;
        let name = distinguished(parsed.subject())?;
        let common_name = common_name(parsed.subject())?;
        let spiffe: Vec<&String> = uris.iter().filter(|uri| is_spiffe(uri)).collect();
        if !spiffe.is_empty() && uris.len() > 1 {
            return Err(IdentityError("a SPIFFE id must be its only URI (X509-SVID, section 2)"));
        }
        let of_kind = |kind: &str, name: Option<&String>| name.map(|name| format!("{kind}:{name}"));
        let subject = spiffe
            .first()
            .map(|uri| (*uri).clone())
            .or_else(|| of_kind("uri", uris.first()))
            .or_else(|| of_kind("dns", dns_names.first()))
            .or_else(|| of_kind("email", emails.first()))
            .or_else(|| of_kind("cn", common_name.as_ref()))
            .or_else(|| of_kind("dn", Some(&name).filter(|name| !name.is_empty())))
            .ok_or(IdentityError("it names nobody"))?;
        let serial = match hex(parsed.raw_serial()).trim_start_matches('0') {
            "" => "0".to_owned(),
            digits => digits.to_owned(),
        };
        let seconds = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0);
        Ok(PeerIdentity {
            subject,
            uris,
            dns_names,
            emails,
            common_name,
            issuer: distinguished(parsed.issuer())?,
            serial,
            fingerprint: Sha256::digest(leaf).into(),
            not_after: UNIX_EPOCH + Duration::from_secs(seconds),
        })
    }
}

/// Subject alternative names.
#[derive(Default)]
struct Names {
    uris: Vec<String>,
    dns_names: Vec<String>,
    emails: Vec<String>,
}

impl Names {
    fn of(parsed: &X509Certificate<'_>) -> Result<Names, IdentityError> {
        let extension = parsed.subject_alternative_name();
        let extension =
            extension.map_err(|_| IdentityError("its alternative names are there twice or broken"))?;
        let mut names = Names::default();
        let Some(extension) = extension else { return Ok(names) };
        let all = &extension.value.general_names;
        if all.len() > NAMES_MAX {
            return Err(IdentityError("it has too many names"));
        }
        for name in all {
            match name {
                GeneralName::URI(uri) => names.uris.push(plain(uri)?),
                GeneralName::DNSName(name) => names.dns_names.push(plain(name)?.to_ascii_lowercase()),
                GeneralName::RFC822Name(email) => names.emails.push(plain(email)?),
                GeneralName::Invalid(..) => {
                    return Err(IdentityError("one of its alternative names is broken"));
                }
                GeneralName::OtherName(..)
                | GeneralName::X400Address(_)
                | GeneralName::DirectoryName(_)
                | GeneralName::EDIPartyName(_)
                | GeneralName::IPAddress(_)
                | GeneralName::RegisteredID(_) => {}
            }
        }
        Ok(names)
    }
}

/// A name of visible ASCII, as IA5String must be here (RFC 5280, sections 4.2.1.6 and 7).
fn plain(name: &str) -> Result<String, IdentityError> {
    match name.len() {
        0 => Err(IdentityError("a name is empty")),
        length if length > NAME_BYTES_MAX => Err(IdentityError("a name is too long")),
        _ if name.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(name.to_owned()),
        _ => Err(IdentityError("a name has characters that no such name has")),
    }
}

/// True for a SPIFFE id: the scheme counts in any case (RFC 3986, section 3.1), so that none is taken for another URI.
fn is_spiffe(uri: &str) -> bool {
    uri.get(..9).is_some_and(|scheme| scheme.eq_ignore_ascii_case("spiffe://"))
}

/// The only common name of a distinguished name.
fn common_name(name: &X509Name<'_>) -> Result<Option<String>, IdentityError> {
    let mut all = name.iter_common_name();
    let (Some(only), None) = (all.next(), all.next()) else { return Ok(None) };
    let Ok(text) = only.as_str() else { return Ok(None) };
    if text.is_empty() {
        return Err(IdentityError("a name is empty"));
    }
    if text.len() > NAME_BYTES_MAX {
        return Err(IdentityError("a name is too long"));
    }
    if text.chars().any(|c| c.is_control() || is_invisible(c)) {
        return Err(IdentityError("a name has characters that no such name has"));
    }
    Ok(Some(text.to_owned()))
}

/// Characters that change how a name looks in a log without being seen: marks of direction, joiners, separators.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{AD}' | '\u{61C}' | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}')
        || matches!(c, '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}')
}

/// A distinguished name as text: the last part first (RFC 4514, section 2).
fn distinguished(name: &X509Name<'_>) -> Result<String, IdentityError> {
    if name.iter_attributes().take(NAMES_MAX + 1).count() > NAMES_MAX {
        return Err(IdentityError("it has too many names"));
    }
    let parts: Vec<Vec<String>> = name
        .iter_rdn()
        .map(|part| part.iter().map(attribute).collect::<Result<_, _>>())
        .collect::<Result<_, _>>()?;
    Ok(parts.iter().rev().map(|part| part.join("+")).collect::<Vec<_>>().join(","))
}

/// The short names that every reader knows (RFC 4514, section 3).
const SHORT: &[(&str, &str)] = &[
    ("2.5.4.3", "CN"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "STREET"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
];

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> Result<String, IdentityError> {
    let bytes = attribute.as_slice();
    if bytes.len() > NAME_BYTES_MAX {
        return Err(IdentityError("a name is too long"));
    }
    let kind = attribute.attr_type().to_id_string();
    let short = SHORT.iter().find(|(id, _)| *id == kind).map(|(_, short)| *short);
    if let (Some(short), Ok(text)) = (short, attribute.as_str()) {
        return Ok(format!("{short}={}", escaped(text)));
    }
    let der = attribute.attr_value().to_der_vec().map_err(|_| IdentityError("a name is broken"))?;
    Ok(format!("{kind}=#{}", hex(&der)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// RFC 4514, section 2.4; what is not visible is escaped byte by byte too.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let last = text.chars().count().saturating_sub(1);
    for (at, c) in text.chars().enumerate() {
        let is_edge = (c == ' ' && (at == 0 || at == last)) || (c == '#' && at == 0);
        if c.is_control() || is_invisible(c) {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                escaped.push_str(&format!("\\{byte:02x}"));
            }
        } else {
            if is_edge || matches!(c, '"' | '+' | ',' | ';' | '<' | '=' | '>' | '\\') {
                escaped.push('\\');
            }
            escaped.push(c);
        }
    }
    escaped
}

#[cfg(test)]
mod tests;
