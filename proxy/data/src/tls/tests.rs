//! Handshakes from machine to machine, and what files may be.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, ConnectionCommon, HandshakeKind, RootCertStore, ServerConfig,
    ServerConnection, SideData, SupportedProtocolVersion,
};

use super::pem::{FILE_BYTES_MAX, Found};
use super::*;

/// A kind of key.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    P256,
    Ed25519,
}

impl Kind {
    fn key(self) -> KeyPair {
        KeyPair::generate_for(match self {
            Kind::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            Kind::Ed25519 => &rcgen::PKCS_ED25519,
        })
        .unwrap()
    }
}

/// A certificate and its key.
pub(super) struct Made {
    params: CertificateParams,
    certificate: rcgen::Certificate,
    key: KeyPair,
}

fn params(names: &[&str]) -> CertificateParams {
    CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap()
}

impl Made {
    fn sign_itself(params: CertificateParams, kind: Kind) -> Made {
        let key = kind.key();
        Made { certificate: params.self_signed(&key).unwrap(), params, key }
    }

    pub(super) fn self_signed(names: &[&str], kind: Kind) -> Made {
        Made::sign_itself(params(names), kind)
    }

    /// An authority that signs others.
    fn authority(name: &str) -> Made {
        let mut params = params(&[]);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Made::sign_itself(params, Kind::P256)
    }

    fn sign(&self, params: CertificateParams) -> Made {
        let (key, issuer) = (Kind::P256.key(), Issuer::from_params(&self.params, &self.key));
        Made { certificate: params.signed_by(&key, &issuer).unwrap(), params, key }
    }

    pub(super) fn certified(&self) -> Arc<CertifiedKey> {
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).unwrap();
        let chain = vec![self.certificate.der().clone()];
        Arc::new(CertifiedKey::from_der(chain, key, &provider()).unwrap())
    }

    fn root(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).unwrap();
        roots
    }
}

/// A folder that is gone when this is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::SeqCst);
        let folder = std::env::temp_dir().join(format!("sluice-tls-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let file = self.0.join(name);
        fs::write(&file, content).unwrap();
        file
    }

    fn pair(&self, name: &str, made: &Made) -> TlsFiles {
        TlsFiles {
            certificate: self.write(&format!("{name}.pem"), made.certificate.pem()),
            key: self.write(&format!("{name}.key"), made.key.serialize_pem()),
        }
    }

    fn server(&self, made: &[&Made]) -> ServerTlsFiles {
        let pair = |(number, made): (usize, &&Made)| self.pair(&format!("server{number}"), made);
        let certificates = made.iter().enumerate().map(pair).collect();
        ServerTlsFiles {
            certificates,
            unknown_name: UnknownName::First,
            client_ca: None,
            requires_client: false,
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A client's settings for one version, which may show a certificate.
fn client(
    version: &'static SupportedProtocolVersion,
    roots: RootCertStore,
    shown: Option<&Made>,
) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[version]).unwrap();
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build().unwrap();
    let builder = builder.with_webpki_verifier(verifier);
    Arc::new(match shown {
        Some(made) => {
            let key = PrivateKeyDer::try_from(made.key.serialize_der()).unwrap();
            builder.with_client_auth_cert(vec![made.certificate.der().clone()], key).unwrap()
        }
        None => builder.with_no_client_auth(),
    })
}

type Both = (ServerConnection, ClientConnection);

/// Hands shake, and carries all there is, tickets too.
fn handshake(
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    name: &str,
) -> Result<Both, rustls::Error> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut server = ServerConnection::new(server).unwrap();
    let mut client = ClientConnection::new(client, name).unwrap();
    while client.wants_write() || server.wants_write() {
        carry(&mut client, &mut server)?;
        carry(&mut server, &mut client)?;
    }
    Ok((server, client))
}

/// Carries what one side has to write to the other.
fn carry<A: SideData, B: SideData>(
    from: &mut ConnectionCommon<A>,
    to: &mut ConnectionCommon<B>,
) -> Result<(), rustls::Error> {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        to.read_tls(&mut rest).unwrap();
        to.process_new_packets()?;
    }
    Ok(())
}

fn kinds(both: &Both) -> (HandshakeKind, HandshakeKind) {
    (both.0.handshake_kind().unwrap(), both.1.handshake_kind().unwrap())
}

const RESUMED: (HandshakeKind, HandshakeKind) = (HandshakeKind::Resumed, HandshakeKind::Resumed);
const FULL: (HandshakeKind, HandshakeKind) = (HandshakeKind::Full, HandshakeKind::Full);

#[test]
fn the_name_that_is_asked_for_chooses_the_certificate() {
    let folder = Folder::new();
    let authority = Made::authority("authority");
    let first = authority.sign(params(&["first.test", "unknown.test", "192.0.2.1"]));
    let second = authority.sign(params(&["*.example.test"]));
    let third = authority.sign(params(&["api.example.test"]));
    let server = ServerTls::load(&folder.server(&[&first, &second, &third])).unwrap();
    assert!(server.warnings().is_empty(), "{:?}", server.warnings());
    for version in [&TLS12, &TLS13] {
        for (name, wanted) in [
            ("first.test", &first),
            ("a.example.test", &second),
            ("api.example.test", &third),
            ("unknown.test", &first),
            ("192.0.2.1", &first),
        ] {
            let client = client(version, authority.root(), None);
            let (_, client) = handshake(server.config(), Arc::clone(&client), name).unwrap();
            let shown = client.peer_certificates().unwrap();
            assert_eq!(shown[0], *wanted.certificate.der(), "{name}");
            assert_eq!(client.protocol_version(), Some(version.version));
        }
        let client = client(version, authority.root(), None);
        assert!(
            handshake(server.config(), client, "other.test").is_err(),
            "another name than the client wants"
        );
    }
}

#[test]
fn the_protocol_is_agreed_on() {
    let folder = Folder::new();
    let made = Made::self_signed(&["a.test"], Kind::P256);
    let server = ServerTls::load(&folder.server(&[&made])).unwrap();
    let files = ClientTlsFiles { ca: Some(folder.0.join("server0.pem")), ..ClientTlsFiles::default() };
    let upstream = ClientTls::load(&files).unwrap();
    let (h1, h2) = (Some(&b"http/1.1"[..]), Some(&b"h2"[..]));
    for (server, client, wanted) in [
        (server.config(), upstream.config(), h1),
        (server.config(), upstream.config_with_h2(), h2),
        (server.config(), client(&TLS13, made.root(), None), None),
    ] {
        let (server, client) = handshake(server, client, "a.test").unwrap();
        assert_eq!((server.alpn_protocol(), client.alpn_protocol()), (wanted, wanted));
    }
    let mut other = (*upstream.config()).clone();
    other.alpn_protocols = vec![b"smtp".to_vec()];
    assert!(handshake(server.config(), Arc::new(other), "a.test").is_err(), "none in common");
}

#[test]
fn sessions_are_resumed_on_every_shard_and_after_a_reload() {
    let folder = Folder::new();
    let authority = Made::authority("authority");
    let made = authority.sign(params(&["a.test"]));
    for version in [&TLS12, &TLS13] {
        let server = ServerTls::load(&folder.server(&[&made])).unwrap();
        let client = client(version, authority.root(), None);
        let connect =
            |server: &ServerTls| kinds(&handshake(server.config(), Arc::clone(&client), "a.test").unwrap());
        assert_eq!(connect(&server), FULL, "{version:?}");
        let another_shard = server.clone();
        assert_eq!(connect(&another_shard), RESUMED, "{version:?}");

        // A new certificate, the same trust.
        let renewed = folder.server(&[&authority.sign(params(&["a.test"]))]);
        let reloaded = ServerTls::load(&renewed).unwrap().resuming(&server);
        assert_eq!(connect(&reloaded), RESUMED, "{version:?}: after a reload");
        let anew = ServerTls::load(&renewed).unwrap();
        assert_eq!(connect(&anew), FULL, "{version:?}: other ticket keys");
    }
}

#[test]
fn a_session_is_not_resumed_under_another_trust() {
    let folder = Folder::new();
    let (authority, clients, others) =
        (Made::authority("servers"), Made::authority("clients"), Made::authority("others"));
    let (made, agent) = (authority.sign(params(&["a.test"])), clients.sign(params(&["agent.test"])));
    let ca = |made: &Made, name| Some(folder.write(name, made.certificate.pem()));
    let (clients_ca, others_ca) = (ca(&clients, "clients.pem"), ca(&others, "others.pem"));
    let copied_ca = ca(&clients, "copy.pem");
    let files = |client_ca: &Option<PathBuf>, requires_client| {
        let client_ca = client_ca.clone();
        ServerTlsFiles { client_ca, requires_client, ..folder.server(&[&made]) }
    };
    for version in [&TLS12, &TLS13] {
        for (before, after, wanted) in [
            (files(&clients_ca, true), files(&clients_ca, true), Some(RESUMED)),
            (files(&clients_ca, true), files(&copied_ca, true), Some(RESUMED)),
            (files(&clients_ca, true), files(&others_ca, true), None),
            (files(&clients_ca, true), files(&clients_ca, false), Some(FULL)),
            (files(&None, false), files(&clients_ca, true), Some(FULL)),
            (files(&clients_ca, false), files(&None, false), Some(FULL)),
        ] {
            let client = client(version, authority.root(), Some(&agent));
            let server = ServerTls::load(&before).unwrap();
            handshake(server.config(), Arc::clone(&client), "a.test").unwrap();
            let reloaded = ServerTls::load(&after).unwrap().resuming(&server);
            let again = handshake(reloaded.config(), client, "a.test");
            assert_eq!(again.ok().as_ref().map(kinds), wanted, "{before:?} {after:?}");
        }
    }
}

#[test]
fn who_must_prove_what() {
    let folder = Folder::new();
    let (authority, clients) = (Made::authority("servers"), Made::authority("clients"));
    let server = authority.sign(params(&["a.test"]));
    let agent = clients.sign(params(&["agent.test"]));
    let stranger = authority.sign(params(&["agent.test"]));
    let mut old = params(&["agent.test"]);
    old.not_after = rcgen::date_time_ymd(2001, 1, 1);
    let expired = clients.sign(old);
    let client_ca = Some(folder.write("clients.pem", clients.certificate.pem()));
    for version in [&TLS12, &TLS13] {
        // Served: with which identity. Refused: none.
        for (client_ca, requires_client, shown, wanted) in [
            (&None, false, None, Some(None)),
            (&None, true, None, Some(None)),
            (&None, false, Some(&agent), Some(None)),
            (&client_ca, false, None, Some(None)),
            (&client_ca, false, Some(&agent), Some(Some("dns:agent.test"))),
            (&client_ca, false, Some(&stranger), None),
            (&client_ca, false, Some(&expired), None),
            (&client_ca, true, None, None),
            (&client_ca, true, Some(&agent), Some(Some("dns:agent.test"))),
            (&client_ca, true, Some(&stranger), None),
            (&client_ca, true, Some(&expired), None),
        ] {
            let client_ca = client_ca.clone();
            let files = ServerTlsFiles { client_ca, requires_client, ..folder.server(&[&server]) };
            let tls = ServerTls::load(&files).unwrap();
            let client = client(version, authority.root(), shown);
            for turn in ["first", "resumed"] {
                let result = handshake(tls.config(), Arc::clone(&client), "a.test");
                let identity = result.as_ref().ok().map(|(server, _)| {
                    let chain = server.peer_certificates();
                    chain.map(|chain| PeerIdentity::of(chain).unwrap().subject)
                });
                let identity = identity.as_ref().map(Option::as_deref);
                assert_eq!(identity, wanted, "{version:?} {files:?} {turn}");
                let is_resumed = result.as_ref().is_ok_and(|both| kinds(both) == RESUMED);
                assert_eq!(is_resumed, wanted.is_some() && turn == "resumed", "{version:?} {files:?} {turn}");
            }
        }
    }
}

#[test]
fn an_upstream_must_prove_its_name_by_a_trusted_root_and_may_ask_who_we_are() {
    let folder = Folder::new();
    let (authority, other, clients) =
        (Made::authority("one"), Made::authority("other"), Made::authority("clients"));
    let mut old = params(&["up.test"]);
    old.not_after = rcgen::date_time_ymd(2001, 1, 1);
    let good = authority.sign(params(&["up.test"]));
    let (expired, misnamed) = (authority.sign(old), authority.sign(params(&["elsewhere.test"])));
    let (strange, own) = (other.sign(params(&["up.test"])), Made::self_signed(&["up.test"], Kind::P256));
    let ca = Some(folder.write("ca.pem", authority.certificate.pem()));
    let shown = clients.sign(params(&["gateway.test"]));
    let files = ClientTlsFiles { ca, certificate: Some(folder.pair("gateway", &shown)), server_name: None };
    let upstream = ClientTls::load(&files).unwrap();
    let client_ca = Some(folder.write("clients.pem", clients.certificate.pem()));
    for (what, made, is_trusted) in [
        ("good", &good, true),
        ("expired", &expired, false),
        ("of another name", &misnamed, false),
        ("of another root", &strange, false),
        ("its own root", &own, false),
    ] {
        let server = folder.server(&[made]);
        let server = ServerTlsFiles { client_ca: client_ca.clone(), requires_client: true, ..server };
        let server = ServerTls::load(&server).unwrap();
        let result = handshake(server.config(), upstream.config_with_h2(), "up.test");
        assert_eq!(result.is_ok(), is_trusted, "{what}");
        if let Ok(both) = result {
            let chain = both.0.peer_certificates().unwrap();
            assert_eq!(PeerIdentity::of(chain).unwrap().subject, "dns:gateway.test");
            // The same sessions for both protocols and for what is loaded alike, and only for that.
            assert!(ClientTls::load(&files).unwrap().is_alike(&upstream));
            let resumed = handshake(server.config(), upstream.config(), "up.test").unwrap();
            assert_eq!(kinds(&resumed), RESUMED);
            let bare = ClientTlsFiles { certificate: None, ..files.clone() };
            let bare = ClientTls::load(&bare).unwrap();
            assert!(!bare.is_alike(&upstream));
            assert!(handshake(server.config(), bare.config(), "up.test").is_err(), "it shows nothing");
        }
    }
}

#[test]
fn every_faulty_file_is_told_at_once() {
    let folder = Folder::new();
    let (one, two) = (Made::self_signed(&["a.test"], Kind::P256), Made::self_signed(&["b.test"], Kind::P256));
    let (one, two) = (folder.pair("one", &one), folder.pair("two", &two));
    let missing = folder.0.join("missing.pem");
    let crossed = TlsFiles { certificate: one.certificate.clone(), key: two.key.clone() };
    let absent = TlsFiles { certificate: missing.clone(), key: missing.clone() };
    let files = ServerTlsFiles {
        certificates: vec![crossed, one.clone(), absent],
        client_ca: Some(folder.write("empty.pem", "")),
        requires_client: true,
        ..folder.server(&[])
    };
    let errors = ServerTls::load(&files).unwrap_err();
    let at: Vec<_> = errors.iter().map(|error| error.file().unwrap()).collect();
    let client_ca = files.client_ca.unwrap();
    assert_eq!(at, [&*two.key, &missing, &missing, &client_ca]);
    assert!(errors[0].reason().contains("does not fit"), "{}", errors[0]);
    assert!(errors[0].to_string().starts_with(two.key.to_str().unwrap()), "{}", errors[0]);

    let server_name = Some("not a name".to_owned());
    let certificate = Some(TlsFiles { certificate: one.key.clone(), key: one.certificate.clone() });
    let errors =
        ClientTls::load(&ClientTlsFiles { ca: Some(missing), certificate, server_name }).unwrap_err();
    assert_eq!(errors.len(), 4, "{errors:?}");
    assert!(errors[3].file().is_none() && errors[3].reason().contains("not a name"));

    let none = ServerTlsFiles { certificates: Vec::new(), ..folder.server(&[]) };
    assert_eq!(ServerTls::load(&none).unwrap_err().len(), 1);
}

#[test]
fn no_message_holds_anything_of_a_file() {
    let folder = Folder::new();
    let made = Made::self_signed(&["a.test"], Kind::P256);
    let pair = folder.pair("good", &made);
    let key = made.key.serialize_pem();
    let secret = key.lines().nth(1).unwrap().to_owned();
    let cut = key.rsplit_once("-----END").unwrap().0.to_owned();
    for (what, content, wanted) in [
        ("empty", String::new(), "no private key"),
        ("a certificate", made.certificate.pem(), "no private key"),
        ("text", secret.clone(), "no private key"),
        ("cut off", cut, "ends within"),
        ("a broken first line", format!("-----BEGIN PRIVATE KEY {secret}\n{key}"), "begins a section"),
        ("no base64", key.replace(&secret, &format!("{secret}!")), "base64"),
        ("another kind", key.replace(&secret, "AAAA"), "no kind that is supported"),
        ("encrypted", key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"), "decrypts"),
    ] {
        let file = folder.write("bad.key", content);
        let certificates = vec![TlsFiles { certificate: pair.certificate.clone(), key: file }];
        let files = ServerTlsFiles { certificates, ..folder.server(&[]) };
        let errors = ServerTls::load(&files).unwrap_err();
        let told = format!("{} {errors:?}", errors[0]);
        assert!(errors.len() == 1 && told.contains(wanted), "{what}: {told}");
        assert!(!told.contains(&secret[..8]), "{what}: it holds the key");
    }
    for (what, content) in [
        ("text", "hello".to_owned()),
        ("the key", key.clone()),
        ("no DER", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned()),
    ] {
        let file = folder.write("bad.pem", content);
        let certificates = vec![TlsFiles { certificate: file.clone(), key: pair.key.clone() }];
        let files = ServerTlsFiles { certificates, client_ca: Some(file.clone()), ..folder.server(&[]) };
        let errors = ServerTls::load(&files).unwrap_err();
        assert_eq!(errors.len(), 2, "{what}: {errors:?}");
        assert!(errors.iter().all(|error| error.file() == Some(&file)), "{what}: {errors:?}");
        assert!(!format!("{errors:?}").contains(&secret[..8]), "{what}");
    }
    let server = ServerTls::load(&ServerTlsFiles {
        certificates: vec![pair.clone()],
        client_ca: Some(pair.certificate.clone()),
        requires_client: true,
        ..folder.server(&[])
    });
    let ca = Some(pair.certificate.clone());
    let client = ClientTls::load(&ClientTlsFiles { ca, certificate: Some(pair), server_name: None });
    let shown = format!("{:?} {:?}", server.unwrap(), client.unwrap());
    assert!(shown.len() < 200, "{shown}");
}

#[test]
fn a_file_at_the_limit_and_one_byte_past_it() {
    let folder = Folder::new();
    let pem = Made::authority("authority").certificate.pem();
    let padded = |length: usize| format!("{pem}{}\n", "#".repeat(length - pem.len() - 1));
    for (length, is_ok) in [(FILE_BYTES_MAX, true), (FILE_BYTES_MAX + 1, false)] {
        let ca = Some(folder.write("long.pem", padded(length)));
        let loaded = ClientTls::load(&ClientTlsFiles { ca, ..ClientTlsFiles::default() });
        assert_eq!(loaded.is_ok(), is_ok, "{length}");
    }
    let endless = ClientTlsFiles { ca: Some("/dev/zero".into()), ..ClientTlsFiles::default() };
    assert!(ClientTls::load(&endless).unwrap_err()[0].reason().contains("longer"));
}

#[test]
fn certificates_that_verifiers_refuse_for_their_dates_are_warned_of() {
    let folder = Folder::new();
    let dated = |from, to| {
        let mut params = params(&["a.test"]);
        (params.not_before, params.not_after) =
            (rcgen::date_time_ymd(from, 1, 1), rcgen::date_time_ymd(to, 1, 1));
        Made::sign_itself(params, Kind::P256)
    };
    let (good, old, early) = (dated(2000, 4000), dated(2000, 2001), dated(3999, 4000));
    let mut files = folder.server(&[&good, &old, &early]);
    let nameless = Made::self_signed(&["192.0.2.1"], Kind::P256);
    files.certificates.push(folder.pair("nameless", &nameless));
    let warnings: Vec<_> =
        ServerTls::load(&files).unwrap().warnings().iter().map(ToString::to_string).collect();
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    for (warning, (file, text)) in warnings.iter().zip([
        ("server1.pem", "expired on Jan  1 00:00:00 2001"),
        ("server2.pem", "valid only from"),
        ("nameless.pem", "no DNS name"),
    ]) {
        assert!(warning.contains(file) && warning.contains(text), "{warning}");
    }
    let certificate = files.certificates.into_iter().nth(1);
    let ca = Some(folder.write("ca.pem", good.certificate.pem()));
    let client = ClientTls::load(&ClientTlsFiles { ca, certificate, server_name: None }).unwrap();
    assert_eq!(client.warnings().len(), 1);

    // On the second, and one past it.
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let chain = [CertificateDer::from(old.certificate), good.certificate.into()];
    for (now, wanted) in [(978_307_200, 0), (978_307_201, 1), (946_684_800, 0), (946_684_799, 2)] {
        let mut found = Found::default();
        found.warn_of_dates(Path::new("x"), &chain, at(now));
        assert_eq!(found.warnings.len(), wanted, "{now}: {:?}", found.warnings);
    }
}
