//! TLS on both sides: which certificate is shown, who is believed, and which sessions go on.
//!
//! [`ServerTls`] and [`ClientTls`] are files, loaded: every faulty file is told at once, and what is loaded stays as it
//! is. A reload loads anew ([`ServerTls::load`]) and puts the result in the place of the old; connections keep
//! what they began with.
//!
//! # Invariants
//! * Verification can't be switched off: no setting leads to rustls's `dangerous` interfaces.
//! * A session is resumed only under the trust it began under: resumption skips certificates, so ticket keys and
//!   session stores outlive a reload only where roots and demands are the same.
//! * No early data (RFC 8446, section 8): it could be replayed.
//! * Nothing of a key in a message, not even a line of a file that may be one.

mod by_name;
mod client;
mod identity;
mod pem;
mod server;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;

pub use client::ClientTls;
pub use identity::{IdentityError, PeerIdentity};
pub use server::ServerTls;

/// A certificate with its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM: the certificate, then its chain.
    pub certificate: PathBuf,
    /// PEM: the private key.
    pub key: PathBuf,
}

/// What a TLS listener is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTlsFiles {
    /// At least one; the name that a client asks for (SNI, RFC 6066, section 3) chooses: one that has this name, else
    /// one with a wildcard for it. The first one answers those who ask for no name, so that who connects by address is
    /// served.
    pub certificates: Vec<TlsFiles>,
    /// What becomes of a client that asks for a name that none of them has.
    pub unknown_name: UnknownName,
    /// PEM: roots that client certificates must lead to. None: no client certificate is asked for.
    pub client_ca: Option<PathBuf>,
    /// A client without a certificate is refused; without `client_ca` it means nothing.
    pub requires_client: bool,
}

/// What becomes of a client that asks for a name that no certificate has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownName {
    /// It gets the first certificate, and refuses it where it expected the name.
    #[default]
    First,
    /// It gets an alert and is closed.
    Refuse,
}

/// What TLS to an upstream is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTlsFiles {
    /// PEM: trusted roots in place of the system's.
    pub ca: Option<PathBuf>,
    /// The certificate shown to upstreams that ask for one.
    pub certificate: Option<TlsFiles>,
    /// The name that the upstream's certificate must prove. None: the host of the upstream's authority.
    pub server_name: Option<String>,
}

/// Why TLS can't be set up: what is wrong with which file, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsError(Remark);

/// What works, and soon or for some won't.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsWarning(Remark);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Remark {
    file: Option<PathBuf>,
    reason: String,
}

impl Remark {
    fn of(file: &Path, reason: impl Into<String>) -> Remark {
        Remark { file: Some(file.to_owned()), reason: reason.into() }
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{}: {}", file.display(), self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

impl TlsError {
    fn of(file: &Path, reason: impl Into<String>) -> TlsError {
        TlsError(Remark::of(file, reason))
    }

    fn without_file(reason: impl Into<String>) -> TlsError {
        TlsError(Remark { file: None, reason: reason.into() })
    }

    /// The file at fault, as it was named; none: it is no file's fault.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.0.file.as_deref()
    }

    /// What is wrong, without the file.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.0.reason
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for TlsError {}

impl TlsWarning {
    fn of(file: &Path, reason: impl Into<String>) -> TlsWarning {
        TlsWarning(Remark::of(file, reason))
    }

    /// The file it is about, as it was named.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.0.file.as_deref()
    }
}

impl fmt::Display for TlsWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Protocols offered in the handshake (RFC 7301), the one liked best first.
fn alpn(with_h2: bool) -> Vec<Vec<u8>> {
    let all = if with_h2 { &[&b"h2"[..], b"http/1.1"][..] } else { &[&b"http/1.1"[..]] };
    all.iter().map(|protocol| protocol.to_vec()).collect()
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

#[cfg(test)]
mod tests;
