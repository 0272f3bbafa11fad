//! TLS to an upstream.

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, RootCertStore};

use super::pem::{self, Found};
use super::{ClientTlsFiles, TlsError, TlsWarning, alpn, provider};

/// TLS to an upstream, loaded: TLS 1.2 and 1.3. Clones share the sessions that can be resumed.
#[derive(Clone)]
pub struct ClientTls {
    http1: Arc<ClientConfig>,
    with_h2: Arc<ClientConfig>,
    server_name: Option<String>,
    trust: Trust,
    warnings: Arc<[TlsWarning]>,
}

/// Who is believed, and what is shown.
#[derive(Clone)]
struct Trust {
    roots: Arc<RootCertStore>,
    shown: Vec<CertificateDer<'static>>,
}

impl Trust {
    fn is_like(&self, other: &Trust) -> bool {
        self.roots.roots == other.roots.roots && self.shown == other.shown
    }
}

impl ClientTls {
    /// Reads the files.
    ///
    /// # Errors
    /// Every file that can't be used.
    pub fn load(files: &ClientTlsFiles) -> Result<ClientTls, Vec<TlsError>> {
        let mut found = Found::default();
        let provider = provider();
        let roots = match &files.ca {
            Some(file) => pem::roots(file),
            None => system_roots(),
        };
        let roots = found.keep(roots);
        let certified = files.certificate.as_ref().and_then(|files| found.certified(files, &provider));
        if let Some(name) = &files.server_name
            && ServerName::try_from(name.as_str()).is_err()
        {
            let reason =
                format!("{name:?} is no name that a certificate can prove: give a host or an address");
            found.errors.push(TlsError::without_file(reason));
        }
        let Some(roots) = roots.filter(|_| found.errors.is_empty()) else { return Err(found.errors) };

        let shown = certified.as_ref().map(|certified| certified.cert.clone()).unwrap_or_default();
        let trust = Trust { roots: Arc::new(roots), shown };
        let (server_name, warnings) = (files.server_name.clone(), found.warnings.into());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| vec![TlsError::without_file(error.to_string())])?;
        let builder = builder.with_root_certificates(Arc::clone(&trust.roots));
        let mut config = match certified {
            Some(certified) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified))),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = alpn(false);
        let mut with_h2 = config.clone();
        with_h2.alpn_protocols = alpn(true);
        Ok(ClientTls { http1: Arc::new(config), with_h2: Arc::new(with_h2), server_name, trust, warnings })
    }

    /// Whether connections made with one are as good as those made with the other: the same roots, name and
    /// certificate.
    pub(crate) fn is_alike(&self, other: &ClientTls) -> bool {
        self.trust.is_like(&other.trust) && self.server_name == other.server_name
    }

    /// What is to be told to who runs this.
    #[must_use]
    pub fn warnings(&self) -> &[TlsWarning] {
        &self.warnings
    }

    /// For HTTP/1.1 alone.
    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.http1)
    }

    /// For HTTP/2, and HTTP/1.1 where the upstream does not speak it.
    pub(crate) fn config_with_h2(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.with_h2)
    }

    /// The name that a certificate must prove, where it is not that of the upstream's authority.
    pub(crate) fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls")
            .field("server_name", &self.server_name)
            .field("warnings", &self.warnings)
            .finish_non_exhaustive()
    }
}

/// The roots that the system trusts.
fn system_roots() -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        let reason =
            "the system has no trusted roots for an https upstream: install ca-certificates, or name a file";
        return Err(TlsError::without_file(reason));
    }
    Ok(roots)
}
