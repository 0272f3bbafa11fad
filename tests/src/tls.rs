//! TLS for either side of a connection, with certificates of its own.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{
    ClientConfig, ClientConnection, ConnectionCommon, HandshakeKind, RootCertStore, ServerConfig,
    ServerConnection, SideData, StreamOwned, SupportedProtocolVersion,
};

use crate::wire::{Carrier, WAIT, Wire};

/// Both versions that are spoken.
pub const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

/// A certificate that signs itself, and its key, in files that are gone when this is dropped.
#[derive(Debug)]
pub struct Identity {
    folder: PathBuf,
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    server: Arc<ServerConfig>,
}

/// A client that trusts one [`Identity`] and no other, and resumes its sessions.
#[derive(Clone, Debug)]
pub struct Client(Arc<ClientConfig>);

impl Identity {
    /// An identity with these names, which may be addresses.
    ///
    /// # Panics
    /// When it can't be made, or written to the folder for temporary files.
    #[must_use]
    pub fn new(names: &[&str]) -> Arc<Identity> {
        Identity::made(names, None)
    }

    /// The same, which as a server asks its clients for the certificate of `client`.
    ///
    /// # Panics
    /// As there.
    #[must_use]
    pub fn asking_for(names: &[&str], client: &Identity) -> Arc<Identity> {
        Identity::made(names, Some(client))
    }

    fn made(names: &[&str], client: Option<&Identity>) -> Arc<Identity> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate can be made");
        let number = COUNT.fetch_add(1, Ordering::SeqCst);
        let folder = std::env::temp_dir().join(format!("sluice-identity-{}-{number}", process::id()));
        fs::create_dir_all(&folder).expect("a temporary folder can be made");
        let certificate = made.cert.der().clone();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the versions are spoken");
        let builder = match client {
            Some(client) => builder.with_client_cert_verifier(client.verifier()),
            None => builder.with_no_client_auth(),
        };
        let server = builder
            .with_single_cert(vec![certificate.clone()], key.clone_key())
            .expect("certificate and key belong together");
        let identity = Identity { folder, certificate, key, server: Arc::new(server) };
        fs::write(identity.certificate_file(), made.cert.pem()).expect("a file can be written");
        fs::write(identity.key_file(), made.signing_key.serialize_pem()).expect("a file can be written");
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

    /// A client that trusts this identity and no other.
    ///
    /// # Panics
    /// When it can't be made.
    #[must_use]
    pub fn client(&self, version: &'static SupportedProtocolVersion) -> Client {
        self.client_with(version, None)
    }

    /// The same, which shows the certificate of `shown` where it is asked for one.
    ///
    /// # Panics
    /// When it can't be made.
    #[must_use]
    pub fn client_with(
        &self,
        version: &'static SupportedProtocolVersion,
        shown: Option<&Identity>,
    ) -> Client {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version])
            .expect("the version is spoken")
            .with_root_certificates(self.roots());
        let config = match shown {
            Some(shown) => builder
                .with_client_auth_cert(vec![shown.certificate.clone()], shown.key.clone_key())
                .expect("certificate and key belong together"),
            None => builder.with_no_client_auth(),
        };
        Client(Arc::new(config))
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("a root can be trusted");
        roots
    }

    fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        WebPkiClientVerifier::builder_with_provider(Arc::new(self.roots()), provider())
            .build()
            .expect("clients can be verified")
    }

    /// Connects as a new [`Identity::client`] that knows the server as `name`; hands shake at the first read or write.
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
        let (stream, session) = self.client(version).begin(address, name);
        carry(stream, session)
    }

    /// Takes over a connection as its server; hands shake at the first read or write.
    ///
    /// # Panics
    /// When there are no random numbers.
    #[must_use]
    pub fn accept(&self, stream: TcpStream) -> Wire {
        carry(stream, self.begin())
    }

    /// Takes over a connection as its server and hands shake at once; how, comes with it.
    ///
    /// # Panics
    /// When the client ends it.
    #[must_use]
    pub fn accept_now(&self, stream: TcpStream) -> (Wire, HandshakeKind) {
        carry_now(stream, self.begin())
    }

    fn begin(&self) -> ServerConnection {
        ServerConnection::new(Arc::clone(&self.server)).expect("a session")
    }
}

impl Client {
    /// Connects and hands shake at once; how, comes with it.
    ///
    /// # Panics
    /// When nobody accepts connections, or the server ends it.
    #[must_use]
    pub fn connect(&self, address: SocketAddr, name: &'static str) -> (Wire, HandshakeKind) {
        let (stream, session) = self.begin(address, name);
        carry_now(stream, session)
    }

    /// Shakes hands over a connection that is there, at the first read or write.
    ///
    /// # Panics
    /// There is no such name.
    #[must_use]
    pub fn over(&self, stream: TcpStream, name: &'static str) -> Wire {
        carry(stream, self.session(name))
    }

    /// Connects; `None` where the server ends the handshake, or the first exchange behind it.
    ///
    /// # Panics
    /// When nobody accepts connections.
    #[must_use]
    pub fn try_get(&self, address: SocketAddr, name: &'static str) -> Option<Vec<u8>> {
        let (stream, session) = self.begin(address, name);
        stream.set_read_timeout(Some(WAIT)).expect("a timeout can be set");
        let mut stream = StreamOwned::new(session, stream);
        stream.write_all(b"GET /x HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        Some(answer)
    }

    fn begin(&self, address: SocketAddr, name: &'static str) -> (TcpStream, ClientConnection) {
        (TcpStream::connect_timeout(&address, WAIT).expect("it accepts connections"), self.session(name))
    }

    fn session(&self, name: &'static str) -> ClientConnection {
        let name = ServerName::try_from(name).expect("a name");
        ClientConnection::new(Arc::clone(&self.0), name).expect("a session")
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
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

/// Carries a connection over TLS after the handshake.
fn carry_now<C, S>(mut stream: TcpStream, mut session: C) -> (Wire, HandshakeKind)
where
    C: DerefMut + Deref<Target = ConnectionCommon<S>> + std::fmt::Debug + Send + 'static,
    S: SideData + 'static,
{
    stream.set_read_timeout(Some(WAIT)).expect("a timeout can be set");
    while session.is_handshaking() {
        session.complete_io(&mut stream).expect("hands are shaken");
    }
    let kind = session.handshake_kind().expect("hands were shaken");
    (carry(stream, session), kind)
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
