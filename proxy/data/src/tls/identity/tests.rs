//! Who certificates say that they are, and that no bytes bring the reader down.

use proptest::prelude::*;
use rcgen::string::Ia5String;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, DnType, KeyPair, SanType, SerialNumber};

use super::*;

const SPIFFE: &str = "spiffe://prod.example/agent/7";

fn ia5(text: &str) -> Ia5String {
    text.try_into().unwrap()
}

fn uri(text: &str) -> SanType {
    SanType::URI(ia5(text))
}

fn dns(text: &str) -> SanType {
    SanType::DnsName(ia5(text))
}

fn email(text: &str) -> SanType {
    SanType::Rfc822Name(ia5(text))
}

fn params(names: &[SanType], subject: &[(DnType, &str)]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.subject_alt_names = names.to_vec();
    params.distinguished_name = DistinguishedName::new();
    for (kind, value) in subject {
        params.distinguished_name.push(kind.clone(), *value);
    }
    params
}

fn der(params: &CertificateParams) -> CertificateDer<'static> {
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().into()
}

fn identity(names: &[SanType], subject: &[(DnType, &str)]) -> Result<PeerIdentity, IdentityError> {
    PeerIdentity::of(&[der(&params(names, subject))])
}

/// An extension of alternative names with these entries: tag and content.
fn raw_names(names: &[(u8, &[u8])]) -> CertificateDer<'static> {
    let entries: Vec<u8> = names
        .iter()
        .flat_map(|(tag, name)| [&[*tag, u8::try_from(name.len()).unwrap()], *name].concat())
        .collect();
    let length = u8::try_from(entries.len()).unwrap();
    assert!(length < 128, "a short length");
    let mut params = params(&[], &[(DnType::CommonName, "raw")]);
    let content = [&[0x30, length][..], &entries].concat();
    params.custom_extensions.push(CustomExtension::from_oid_content(&[2, 5, 29, 17], content));
    der(&params)
}

#[test]
fn the_subject_says_which_kind_of_name_it_is() {
    let cn = |text| (DnType::CommonName, text);
    let o = |text| (DnType::OrganizationName, text);
    for (names, subject, wanted) in [
        (vec![uri(SPIFFE), dns("a.test"), email("a@b.test")], vec![cn("x")], SPIFFE),
        (vec![dns("a.test"), uri(SPIFFE)], vec![], SPIFFE),
        (vec![uri("SPIFFE://prod/x")], vec![], "SPIFFE://prod/x"),
        (vec![uri("https://a.test/x"), uri("urn:y")], vec![], "uri:https://a.test/x"),
        (vec![uri("dns:a.test")], vec![], "uri:dns:a.test"),
        (vec![email("a@b.test"), dns("B.Test"), dns("c.test")], vec![cn("x")], "dns:b.test"),
        (vec![email("A@b.test")], vec![cn("x")], "email:A@b.test"),
        (vec![SanType::IpAddress("192.0.2.1".parse().unwrap())], vec![cn("host")], "cn:host"),
        (vec![], vec![o("Org"), cn("Zoë \u{2713}")], "cn:Zoë \u{2713}"),
        (vec![], vec![cn(SPIFFE)], "cn:spiffe://prod.example/agent/7"),
        (vec![dns("spiffe://prod/x")], vec![], "dns:spiffe://prod/x"),
        (vec![], vec![o("Org"), (DnType::CountryName, "NL")], "dn:C=NL,O=Org"),
    ] {
        assert_eq!(identity(&names, &subject).unwrap().subject, wanted, "{names:?} {subject:?}");
    }
}

#[test]
fn all_facts_of_a_certificate() {
    let mut params = params(
        &[uri(SPIFFE), dns("A.test"), dns("*.b.test"), email("a@b.test")],
        &[
            (DnType::CountryName, "NL"),
            (DnType::OrganizationName, "Org, Inc."),
            (DnType::CommonName, "Agent 7"),
        ],
    );
    params.serial_number = Some(SerialNumber::from_slice(&[0x00, 0x0A, 0xBC]));
    params.not_after = rcgen::date_time_ymd(2030, 1, 2);
    let der = der(&params);
    let got = PeerIdentity::of(std::slice::from_ref(&der)).unwrap();
    let wanted = PeerIdentity {
        subject: SPIFFE.to_owned(),
        uris: vec![SPIFFE.to_owned()],
        dns_names: vec!["a.test".to_owned(), "*.b.test".to_owned()],
        emails: vec!["a@b.test".to_owned()],
        common_name: Some("Agent 7".to_owned()),
        issuer: "CN=Agent 7,O=Org\\, Inc.,C=NL".to_owned(),
        serial: "abc".to_owned(),
        fingerprint: Sha256::digest(&der).into(),
        not_after: UNIX_EPOCH + Duration::from_secs(1_893_542_400),
    };
    assert_eq!(got, wanted);
    assert!(!got.is_expired(got.not_after) && got.is_expired(got.not_after + Duration::from_secs(1)));
    // The chain behind it changes nothing.
    assert_eq!(PeerIdentity::of(&[der, CertificateDer::from(vec![1])]).unwrap(), wanted);
}

#[test]
fn a_distinguished_name_can_not_be_forged_by_what_is_in_it() {
    for (value, wanted) in [
        ("x,O=Evil", "O=x\\,O\\=Evil"),
        ("a+b;c<d>e\"f\\g", "O=a\\+b\\;c\\<d\\>e\\\"f\\\\g"),
        (" a b ", "O=\\ a b\\ "),
        (" ", "O=\\ "),
        ("#a#", "O=\\#a#"),
        ("a\r\nb\0", "O=a\\0d\\0ab\\00"),
        ("a\u{202E}b\u{200B}", "O=a\\e2\\80\\aeb\\e2\\80\\8b"),
        ("Zoë", "O=Zoë"),
    ] {
        let subject = identity(&[], &[(DnType::OrganizationName, value)]).unwrap().subject;
        assert_eq!(subject, format!("dn:{wanted}"), "{value:?}");
    }
    let odd = identity(&[], &[(DnType::from_oid(&[1, 2, 3, 4]), "a=b")]).unwrap().subject;
    assert_eq!(odd, "dn:1.2.3.4=#0c03613d62", "UTF8String of three bytes");
}

#[test]
fn what_can_be_doubted_is_no_identity() {
    let many: Vec<_> = (0..=NAMES_MAX).map(|n| dns(&format!("h{n}.test"))).collect();
    assert!(identity(&many[..NAMES_MAX], &[]).is_ok(), "at the limit of names");
    let longest = "x".repeat(NAME_BYTES_MAX - 2);
    let name = |text: &str| identity(&[uri(text)], &[]);
    assert!(name(&format!("u:{longest}")).is_ok(), "at the limit of bytes");
    assert!(identity(&[], &[(DnType::CommonName, &longest)]).is_ok());

    let cn = |text: &str| identity(&[], &[(DnType::CommonName, text)]);
    for (what, got, wanted) in [
        ("nothing", PeerIdentity::of(&[]), "no certificate"),
        ("not DER", PeerIdentity::of(&[CertificateDer::from(vec![0x30, 0])]), "no X.509"),
        ("one name too many", identity(&many, &[]), "too many"),
        ("one byte too many", name(&format!("u:{longest}x")), "too long"),
        ("a long common name", cn(&format!("{longest}xyz")), "too long"),
        ("no name", identity(&[], &[]), "names nobody"),
        ("two SPIFFE ids", identity(&[uri(SPIFFE), uri("spiffe://prod/admin")], &[]), "only URI"),
        ("SPIFFE and another", identity(&[uri("https://a.test"), uri(SPIFFE)], &[]), "only URI"),
        ("an empty common name", cn(""), "empty"),
        ("a line break", cn("a\nb"), "characters"),
        ("a NUL", cn("admin\0.test"), "characters"),
        ("a mark of direction", cn("a\u{202E}b"), "characters"),
        ("a DNS name with NUL", PeerIdentity::of(&[raw_names(&[(0x82, b"a.test\0.b.test")])]), "characters"),
        (
            "a DNS name in UTF-8",
            PeerIdentity::of(&[raw_names(&[(0x82, "zoë.test".as_bytes())])]),
            "characters",
        ),
        ("a URI with a space", PeerIdentity::of(&[raw_names(&[(0x86, b"u:a b")])]), "characters"),
        ("an empty URI", PeerIdentity::of(&[raw_names(&[(0x86, b"")])]), "empty"),
        ("no UTF-8", PeerIdentity::of(&[raw_names(&[(0x81, b"a@\xFF")])]), "broken"),
    ] {
        let error = got.expect_err(what).to_string();
        assert!(error.contains(wanted), "{what}: {error}");
    }
    // What follows the certificate is not its.
    let mut der = der(&params(&[uri(SPIFFE)], &[])).to_vec();
    der.push(0);
    assert!(PeerIdentity::of(&[CertificateDer::from(der)]).is_err());
    // Twice the extension: whose names count?
    let mut twice = params(&[uri(SPIFFE)], &[]);
    let content = [&[0x30, 8, 0x82, 6][..], b"a.test"].concat();
    twice.custom_extensions.push(CustomExtension::from_oid_content(&[2, 5, 29, 17], content));
    assert!(PeerIdentity::of(&[self::der(&twice)]).is_err());
}

#[test]
fn two_common_names_are_none() {
    let mut params = params(&[], &[]);
    params.distinguished_name.push(DnType::CommonName, "one");
    // The generator keeps one of each kind; the second is written in the place of another of the same length.
    params.distinguished_name.push(DnType::OrganizationName, "two");
    let mut der = der(&params).to_vec();
    let id = [0x06, 3, 0x55, 4, 10];
    let places: Vec<usize> = (0..der.len() - 5).filter(|at| der[*at..].starts_with(&id)).collect();
    assert_eq!(places.len(), 2, "issuer and subject");
    places.into_iter().for_each(|at| der[at + 4] = 3);
    let identity = PeerIdentity::of(&[CertificateDer::from(der)]).unwrap();
    assert_eq!((identity.common_name, identity.subject.as_str()), (None, "dn:CN=two,CN=one"));
}

/// A certificate with names of every kind.
fn rich() -> Vec<u8> {
    let names = [uri(SPIFFE), dns("a.test"), email("a@b.test"), SanType::IpAddress("::1".parse().unwrap())];
    der(&params(&names, &[(DnType::CountryName, "NL"), (DnType::CommonName, "Agent")])).to_vec()
}

/// Whatever it says, nothing in it could end a line or a field.
fn read_hostile(der: Vec<u8>) {
    let Ok(identity) = PeerIdentity::of(&[CertificateDer::from(der)]) else { return };
    let PeerIdentity { subject, uris, dns_names, emails, common_name, issuer, serial, .. } = identity;
    let names = [uris, dns_names, emails, common_name.into_iter().collect(), vec![subject, issuer, serial]];
    for name in names.concat() {
        assert!(!name.chars().any(|c| c.is_control() || is_invisible(c)), "{name:?}");
    }
}

#[test]
fn every_cut_and_every_byte_changed() {
    let whole = rich();
    for cut in 0..whole.len() {
        assert!(PeerIdentity::of(&[CertificateDer::from(whole[..cut].to_vec())]).is_err(), "{cut}");
    }
    for at in 0..whole.len() {
        for value in [0, 1, 0x0A, 0x30, 0x7F, 0x80, 0x84, 0xFF, whole[at] ^ 1, whole[at] ^ 0x80] {
            let mut changed = whole.clone();
            changed[at] = value;
            read_hostile(changed);
        }
    }
}

proptest! {
    #[test]
    fn hostile_bytes_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 1..12),
        noise in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut der = rich();
        for (at, value, how) in changes {
            let at = at.index(der.len());
            match how {
                0 => der[at] = value,
                1 => der.insert(at, value),
                _ => drop(der.remove(at)),
            }
        }
        read_hostile(der);
        read_hostile(noise);
    }
}
