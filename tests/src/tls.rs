//! TLS for either side of a connection, with certificates of its own.

use std::fs;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, ConnectionCommon, RootCertStore, ServerConfig, ServerConnection,
    SideData, StreamOwned, SupportedProtocolVersion,
};

use crate::wire::{Carrier, WAIT, Wire};

/// Both versions that are spoken.
pub const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

/// A certificate that signs itself, and its key, in files that are gone when this is dropped.
#[derive(Debug)]
pub struct Identity {
    folder: PathBuf,
    certificate: String,
    key: String,
}

impl Identity {
    /// An identity with these names, which may be addresses.
    ///
    /// # Panics
    /// When it can't be made, or written to the folder for temporary files.
    #[must_use]
    pub fn new(names: &[&str]) -> Arc<Identity> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate can be made");
        let number = COUNT.fetch_add(1, Ordering::SeqCst);
        let folder = std::env::temp_dir().join(format!("sluice-identity-{}-{number}", process::id()));
        fs::create_dir_all(&folder).expect("a temporary folder can be made");
        let identity =
            Identity { folder, certificate: made.cert.pem(), key: made.signing_key.serialize_pem() };
        fs::write(identity.certificate_file(), &identity.certificate).expect("a file can be written");
        fs::write(identity.key_file(), &identity.key).expect("a file can be written");
        Arc::new(identity)
    }

    /// The certificate, PEM; also the root that trusts it.
    #[must_use]
    pub fn certificate_file(&self) -> String {
        self.folder.join("certificate.pem").display().to_string()
    }

    /// The key, PEM.
    #[must_use]
    pub fn key_file(&self) -> String {
        self.folder.join("key.pem").display().to_string()
    }

    /// Connects as a client that trusts this identity and no other, and knows the server as `name`.
    ///
    /// # Panics
    /// When nobody accepts connections.
    #[must_use]
    pub fn connect(
        &self,
        address: SocketAddr,
        name: &'static str,
        version: &'static SupportedProtocolVersion,
    ) -> Wire {
        let mut roots = RootCertStore::empty();
        roots.add(self.der()).expect("a root can be trusted");
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[version])
            .expect("the version is spoken")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(name).expect("a name");
        let session = ClientConnection::new(Arc::new(config), name).expect("a session");
        let stream = TcpStream::connect_timeout(&address, WAIT).expect("it accepts connections");
        carry(stream, session)
    }

    /// Takes over a connection as its server; hands shake at the first read or write.
    ///
    /// # Panics
    /// When the files can't be used.
    #[must_use]
    pub fn accept(&self, stream: TcpStream) -> Wire {
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the versions are spoken")
            .with_no_client_auth()
            .with_single_cert(vec![self.der()], key)
            .expect("certificate and key belong together");
        carry(stream, ServerConnection::new(Arc::new(config)).expect("a session"))
    }

    fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.certificate.as_bytes()).expect("a certificate")
    }
}

impl Drop for Identity {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Carries a connection over TLS.
fn carry<C, S>(stream: TcpStream, session: C) -> Wire
where
    C: DerefMut + Deref<Target = ConnectionCommon<S>> + std::fmt::Debug + Send + 'static,
    S: SideData + 'static,
{
    let own = stream.try_clone().expect("a socket can be named twice");
    Wire::carried(stream, StreamOwned::new(session, own))
}

impl<C, S> Carrier for StreamOwned<C, TcpStream>
where
    C: DerefMut + Deref<Target = ConnectionCommon<S>> + std::fmt::Debug + Send,
    S: SideData,
{
    /// RFC 8446, section 6.1: without this alert what has come may not be all.
    fn end(&mut self) -> io::Result<()> {
        self.conn.send_close_notify();
        while self.conn.wants_write() {
            self.conn.write_tls(&mut self.sock)?;
        }
        self.sock.shutdown(Shutdown::Write)
    }
}
