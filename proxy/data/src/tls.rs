//! TLS settings: certificates of the listener, roots for the upstream. Verification can't be switched off.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::config::TlsFiles;

/// Why TLS can't be set up.
#[derive(Debug)]
pub struct TlsError {
    file: Option<PathBuf>,
    reason: String,
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{}: {}", file.display(), self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

impl std::error::Error for TlsError {}

fn fault(file: &Path, reason: impl fmt::Display) -> TlsError {
    TlsError { file: Some(file.to_owned()), reason: reason.to_string() }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all = CertificateDer::pem_file_iter(file).map_err(|e| fault(file, e))?;
    let all: Vec<_> = all.collect::<Result<_, _>>().map_err(|e| fault(file, e))?;
    if all.is_empty() { Err(fault(file, "no certificate in PEM")) } else { Ok(all) }
}

/// Settings of a listener: TLS 1.2 and 1.3, HTTP/1.1.
pub(crate) fn server(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = certificates(&files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|e| fault(&files.key, e))?;
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder.map_err(|e| fault(&files.certificate, e))?.with_no_client_auth();
    let mut config = builder.with_single_cert(chain, key).map_err(|e| fault(&files.certificate, e))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Settings for the upstream: the roots in `ca`, or the system's.
pub(crate) fn client(ca: Option<&Path>) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(file) => {
            for certificate in certificates(file)? {
                roots.add(certificate).map_err(|e| fault(file, e))?;
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
        }
    }
    if roots.is_empty() {
        let reason =
            "the system has no trusted roots for an https upstream: install ca-certificates, or name a file";
        return Err(TlsError { file: None, reason: reason.to_owned() });
    }
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder.map_err(|e| TlsError { file: None, reason: e.to_string() })?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
