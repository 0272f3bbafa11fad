//! TLS of a listener.

use std::fmt;
use std::sync::Arc;

use rustls::server::{NoClientAuth, danger::ClientCertVerifier};
use rustls::server::{ServerSessionMemoryCache, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};

use super::by_name::{ByName, dns_names};
use super::pem::{self, Found};
use super::{ServerTlsFiles, TlsError, TlsWarning, alpn, provider};

/// Sessions kept for clients of TLS 1.2 that know no tickets.
const SESSIONS_MAX: usize = 1024;

/// TLS of a listener, loaded: TLS 1.2 and 1.3. Clones share everything, so that a session that began on one shard is
/// resumed on another.
#[derive(Clone)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    trust: Trust,
    warnings: Arc<[TlsWarning]>,
}

/// What a client had to prove when its session began.
#[derive(Clone)]
struct Trust {
    client_roots: Option<Arc<RootCertStore>>,
    requires_client: bool,
}

impl Trust {
    fn is_like(&self, other: &Trust) -> bool {
        let roots = |trust: &Trust| trust.client_roots.as_ref().map(|roots| roots.roots.clone());
        self.requires_client == other.requires_client && roots(self) == roots(other)
    }
}

impl ServerTls {
    /// Reads the files.
    ///
    /// # Errors
    /// Every file that can't be used.
    pub fn load(files: &ServerTlsFiles) -> Result<ServerTls, Vec<TlsError>> {
        let mut found = Found::default();
        let provider = provider();
        let certified: Vec<_> =
            files.certificates.iter().filter_map(|files| found.certified(files, &provider)).collect();
        if files.certificates.is_empty() {
            let reason = "a TLS listener needs a certificate: name one, with its key";
            found.errors.push(TlsError::without_file(reason));
        }
        let client_roots = files.client_ca.as_deref().and_then(|file| found.keep(pem::roots(file)));
        if !found.errors.is_empty() {
            return Err(found.errors);
        }
        for (files, certified) in files.certificates.iter().zip(&certified).skip(1) {
            if certified.cert.first().is_none_or(|leaf| dns_names(leaf).is_empty()) {
                let reason = "the certificate has no DNS name: no client gets it, for it is not the first";
                found.warnings.push(TlsWarning::of(&files.certificate, reason));
            }
        }

        let trust =
            Trust { client_roots: client_roots.map(Arc::new), requires_client: files.requires_client };
        let verifier = client_verifier(files, &trust).map_err(|error| vec![error])?;
        let broken = |_| vec![TlsError::without_file("the system gives no random numbers for ticket keys")];
        let tickets = rustls::crypto::ring::Ticketer::new().map_err(broken)?;
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| vec![TlsError::without_file(error.to_string())])?;
        let builder = builder.with_client_cert_verifier(verifier);
        let mut config = builder.with_cert_resolver(Arc::new(ByName::new(certified, files.unknown_name)));
        config.ticketer = tickets;
        config.session_storage = ServerSessionMemoryCache::new(SESSIONS_MAX);
        config.alpn_protocols = alpn(true);
        Ok(ServerTls { config: Arc::new(config), trust, warnings: found.warnings.into() })
    }

    /// The same with the ticket keys and sessions of `old`: clients that were served before are resumed. Not where
    /// clients must prove something else than before, for who is resumed proves nothing anew.
    pub(crate) fn resuming(self, old: &ServerTls) -> ServerTls {
        if !old.trust.is_like(&self.trust) {
            return self;
        }
        let mut config = (*self.config).clone();
        config.ticketer = Arc::clone(&old.config.ticketer);
        config.session_storage = Arc::clone(&old.config.session_storage);
        ServerTls { config: Arc::new(config), ..self }
    }

    /// What is to be told to who runs this.
    #[must_use]
    pub fn warnings(&self) -> &[TlsWarning] {
        &self.warnings
    }

    /// HTTP/2, and HTTP/1.1 where the client does not offer it.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("warnings", &self.warnings).finish_non_exhaustive()
    }
}

fn client_verifier(files: &ServerTlsFiles, trust: &Trust) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let Some((file, roots)) = files.client_ca.as_deref().zip(trust.client_roots.as_ref()) else {
        return Ok(Arc::new(NoClientAuth));
    };
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), provider());
    let builder = if files.requires_client { builder } else { builder.allow_unauthenticated() };
    builder.build().map_err(|error| TlsError::of(file, format!("clients can't be verified by it: {error}")))
}
