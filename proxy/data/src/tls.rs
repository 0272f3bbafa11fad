//! TLS settings: certificates of the listener, roots for the upstream. Verification can't be switched off.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

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
    /// At least one; the name that a client asks for (SNI) chooses, and the first one answers those who ask for none.
    pub certificates: Vec<TlsFiles>,
    /// PEM: roots that client certificates must lead to. None: no client certificate is asked for.
    pub client_ca: Option<PathBuf>,
    /// A client without a certificate is refused; without `client_ca` it means nothing.
    pub requires_client: bool,
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

/// TLS of a listener, loaded.
#[derive(Clone)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
}

/// TLS to an upstream, loaded.
#[derive(Clone)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    server_name: Option<String>,
}

impl ServerTls {
    /// Reads the files.
    ///
    /// # Errors
    /// Every file that can't be used.
    pub fn load(files: &ServerTlsFiles) -> Result<ServerTls, Vec<TlsError>> {
        let first = files.certificates.first().ok_or_else(Vec::new)?;
        Ok(ServerTls { config: server(first).map_err(|e| vec![e])? })
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }
}

impl ClientTls {
    /// Reads the files.
    ///
    /// # Errors
    /// Every file that can't be used.
    pub fn load(files: &ClientTlsFiles) -> Result<ClientTls, Vec<TlsError>> {
        let config = client(files.ca.as_deref()).map_err(|e| vec![e])?;
        Ok(ClientTls { config, server_name: files.server_name.clone() })
    }

    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }

    /// The name that a certificate must prove, where it is not that of the upstream's authority.
    pub(crate) fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

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
fn server(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = certificates(&files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|e| fault(&files.key, e))?;
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder.map_err(|e| fault(&files.certificate, e))?.with_no_client_auth();
    let mut config = builder.with_single_cert(chain, key).map_err(|e| fault(&files.certificate, e))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Settings for the upstream: the roots in `ca`, or the system's.
fn client(ca: Option<&Path>) -> Result<Arc<ClientConfig>, TlsError> {
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
