//! Certificates and keys in files.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::parse_x509_certificate;

use super::{TlsError, TlsFiles, TlsWarning};

/// Bytes of a file: all roots of a system are a quarter of a MiB.
pub(super) const FILE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What was found while loading.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) errors: Vec<TlsError>,
    pub(super) warnings: Vec<TlsWarning>,
}

impl Found {
    /// The value; none: its error is kept.
    pub(super) fn keep<T>(&mut self, result: Result<T, TlsError>) -> Option<T> {
        result.map_err(|error| self.errors.push(error)).ok()
    }

    /// A certificate that fits its key. Both files are read, so that the faults of both are told.
    pub(super) fn certified(
        &mut self,
        files: &TlsFiles,
        provider: &CryptoProvider,
    ) -> Option<Arc<CertifiedKey>> {
        let (chain, key) = (certificates(&files.certificate), key(&files.key));
        let (chain, key) = (self.keep(chain), self.keep(key));
        if let Some(chain) = &chain {
            self.warn_of_dates(&files.certificate, chain, SystemTime::now());
        }
        let (chain, key) = (chain?, key?);
        let loaded = provider.key_provider.load_private_key(key).map_err(|_| {
            let reason = "the key is of no kind that is supported: use ECDSA on P-256 or P-384, Ed25519, or RSA of \
                          2048 to 8192 bits";
            TlsError::of(&files.key, reason)
        });
        let certified = CertifiedKey::new(chain, self.keep(loaded)?);
        match certified.keys_match() {
            Ok(()) => Some(Arc::new(certified)),
            Err(rustls::Error::InconsistentKeys(_)) => {
                let reason = format!(
                    "the key does not fit the first certificate of {}: name the key that it was made for, and put \
                     the certificate before its chain",
                    files.certificate.display()
                );
                self.errors.push(TlsError::of(&files.key, reason));
                None
            }
            Err(_) => {
                self.errors.push(TlsError::of(&files.certificate, NO_CERTIFICATE));
                None
            }
        }
    }

    /// Warns of certificates that verifiers refuse for their dates.
    pub(super) fn warn_of_dates(&mut self, file: &Path, chain: &[CertificateDer<'_>], now: SystemTime) {
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs().cast_signed());
        for (number, certificate) in chain.iter().enumerate() {
            let Ok((_, parsed)) = parse_x509_certificate(certificate) else { continue };
            let (from, to) = (parsed.validity().not_before, parsed.validity().not_after);
            let which = if number == 0 { "the certificate" } else { "a certificate of the chain" };
            if now > to.timestamp() {
                let reason =
                    format!("{which} expired on {to}: who verifies it refuses it; renew it and reload");
                self.warnings.push(TlsWarning::of(file, reason));
            } else if now < from.timestamp() {
                let reason = format!("{which} is valid only from {from} on: check it, and the clock");
                self.warnings.push(TlsWarning::of(file, reason));
            }
        }
    }
}

const NO_CERTIFICATE: &str =
    "the first section is no X.509 certificate of version 3: get the file from its authority again";

/// Certificates that are trusted.
pub(super) fn roots(file: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for (number, certificate) in certificates(file)?.into_iter().enumerate() {
        roots.add(certificate).map_err(|_| {
            let number = number + 1;
            TlsError::of(file, format!("certificate {number} can't be a root: it is no X.509 certificate"))
        })?;
    }
    Ok(roots)
}

/// All certificates of a file; at least one.
pub(super) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(file)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let all = all.map_err(|error| TlsError::of(file, no_pem(&error)))?;
    if all.is_empty() {
        let reason = "no certificate is in it: it must hold PEM, with `-----BEGIN CERTIFICATE-----`";
        return Err(TlsError::of(file, reason));
    }
    Ok(all)
}

/// The first key of a file.
fn key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let bytes = read(file)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
        pem::Error::NoItemsFound => {
            let reason = "no private key is in it: it must hold PEM of PKCS #8, PKCS #1 or SEC 1, and not be \
                          encrypted (`openssl pkey -in FILE` decrypts it)";
            TlsError::of(file, reason)
        }
        error => TlsError::of(file, no_pem(&error)),
    })
}

/// What is wrong with PEM. The errors of the reader hold lines of the file, which may be a key.
fn no_pem(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "it ends within a section of PEM: copy it again, whole",
        pem::Error::IllegalSectionStart { .. } => {
            "a line that begins a section of PEM is broken: copy it again"
        }
        pem::Error::Base64Decode(_) => "a section of PEM is not valid base64: copy it again",
        _ => "it is not valid PEM: copy it again",
    }
}

fn read(file: &Path) -> Result<Vec<u8>, TlsError> {
    let mut bytes = Vec::new();
    File::open(file)
        .and_then(|open| open.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| TlsError::of(file, format!("it can't be read: {error}")))?;
    if bytes.len() > FILE_BYTES_MAX {
        let reason = format!("it is longer than {FILE_BYTES_MAX} bytes: no file of certificates is");
        return Err(TlsError::of(file, reason));
    }
    Ok(bytes)
}
