//! Attacks with tokens, a row each: what is presented, and why it is refused.

use serde_json::{Value, json};

use super::forge::{ISSUER, NOW, Signer, at, but, claims, encode, encode_otherwise, present};
use super::{issuer_of, keys_file};
use crate::identity::presented::TOKEN_BYTES_MAX;
use crate::identity::{Algorithm, Identity, Means, Unproved};

type Row = (&'static str, String, Unproved);

/// Headers that a good key has signed.
fn headers(good: &Signer) -> Vec<Row> {
    let with = |name: &str, value: Value| {
        let mut header = good.header();
        header[name] = value;
        good.sign(&header.to_string(), &claims().to_string())
    };
    let raw = |header: &str| good.sign(header, &claims().to_string());
    let jwk = Signer::ed25519("evil", 66).jwk();
    vec![
        ("`alg` none", with("alg", json!("none")), Unproved::Algorithm),
        ("`alg` None", with("alg", json!("None")), Unproved::Algorithm),
        ("`alg` NONE", with("alg", json!("NONE")), Unproved::Algorithm),
        ("`alg` empty", with("alg", json!("")), Unproved::Algorithm),
        ("`alg` of an array", with("alg", json!(["EdDSA"])), Unproved::Algorithm),
        ("`alg` null", with("alg", Value::Null), Unproved::Algorithm),
        ("`alg` in lower case", with("alg", json!("eddsa")), Unproved::Algorithm),
        ("`alg` unknown", with("alg", json!("XX256")), Unproved::Algorithm),
        ("`alg` of encryption", with("alg", json!("RSA-OAEP")), Unproved::Algorithm),
        ("no `alg`", raw(r#"{"typ":"at+jwt","kid":"good"}"#), Unproved::Algorithm),
        ("`crit` that nobody knows", with("crit", json!(["x"])), Unproved::Header),
        ("`crit` empty", with("crit", json!([])), Unproved::Header),
        ("`b64` off", with("b64", json!(false)), Unproved::Header),
        ("an embedded key", with("jwk", jwk), Unproved::Header),
        ("`jku` elsewhere", with("jku", json!("https://evil.example/keys")), Unproved::Header),
        ("`jku` of the issuer", with("jku", json!(format!("{ISSUER}/keys"))), Unproved::Header),
        ("`x5u` elsewhere", with("x5u", json!("https://evil.example/x")), Unproved::Header),
        ("nested", with("cty", json!("JWT")), Unproved::Encrypted),
        ("nested, in lower case", with("cty", json!("application/jwt")), Unproved::Encrypted),
        ("compressed", with("zip", json!("DEF")), Unproved::Encrypted),
        ("of encryption", with("enc", json!("A128GCM")), Unproved::Encrypted),
        ("an id token's type", with("typ", json!("id_token+jwt")), Unproved::Type),
        ("a logout token", with("typ", json!("logout+jwt")), Unproved::Type),
        ("a proof of possession", with("typ", json!("dpop+jwt")), Unproved::Type),
        ("a security event", with("typ", json!("application/secevent+jwt")), Unproved::Type),
        ("`typ` no text", with("typ", json!(1)), Unproved::Type),
        ("`kid` of a path", with("kid", json!("../../../../dev/null")), Unproved::UnknownKey),
        ("`kid` of SQL", with("kid", json!("x' UNION SELECT 'key';--")), Unproved::UnknownKey),
        ("`kid` of a command", with("kid", json!("| cat /etc/passwd")), Unproved::UnknownKey),
        ("`kid` of an address", with("kid", json!("https://evil.example/k")), Unproved::UnknownKey),
        ("`kid` empty", with("kid", json!("")), Unproved::UnknownKey),
        ("`kid` too long", with("kid", json!("k".repeat(257))), Unproved::Header),
        ("`kid` no text", with("kid", json!({"$ne": null})), Unproved::Header),
        ("`kid` of another key", with("kid", json!("other")), Unproved::Signature),
        ("`alg` twice", raw(r#"{"alg":"EdDSA","alg":"none","kid":"good"}"#), Unproved::DuplicateMember),
        ("`alg` twice, escaped", raw(r#"{"alg":"EdDSA","\u0061lg":"none"}"#), Unproved::DuplicateMember),
        ("a header that is an array", raw(r#"["EdDSA"]"#), Unproved::Malformed),
        ("a header that is no JSON", raw("alg=EdDSA"), Unproved::Malformed),
        ("a header of megabytes", with("x", json!("x".repeat(4096))), Unproved::TooLarge),
    ]
}

/// Claims that a good key has signed.
fn claimed(good: &Signer) -> Vec<Row> {
    let with = |changes: Value| good.token(&but(changes));
    let raw = |claims: &str| good.sign(&good.header().to_string(), claims);
    let doubled = |twice: &str| {
        let text = claims().to_string();
        raw(&format!("{},{twice}}}", text.strip_suffix('}').unwrap()))
    };
    vec![
        ("expired", with(json!({"exp": NOW - 31})), Unproved::Expired),
        ("expired to the second", with(json!({"exp": NOW - 30})), Unproved::Expired),
        ("no `exp`", with(json!({"exp": null})), Unproved::MissingClaim),
        ("`exp` of text", with(json!({"exp": "9999999999"})), Unproved::Claim),
        ("`exp` true", with(json!({"exp": true})), Unproved::Claim),
        ("`exp` below zero", with(json!({"exp": -1})), Unproved::Claim),
        ("`exp` past all time", with(json!({"exp": 1e300})), Unproved::Claim),
        ("`exp` of an array", with(json!({"exp": [NOW + 300]})), Unproved::Claim),
        ("`exp` null", raw(&claims().to_string().replace(&(NOW + 300).to_string(), "null")), Unproved::Claim),
        ("not valid yet", with(json!({"nbf": NOW + 31})), Unproved::NotYet),
        ("`nbf` of text", with(json!({"nbf": "0"})), Unproved::Claim),
        ("issued in the future", with(json!({"iat": NOW + 31})), Unproved::IssuedLater),
        ("`iat` of text", with(json!({"iat": "x"})), Unproved::Claim),
        ("another issuer", with(json!({"iss": "https://evil.example"})), Unproved::UnknownIssuer),
        ("an issuer with a slash", with(json!({"iss": format!("{ISSUER}/")})), Unproved::UnknownIssuer),
        ("an issuer in capitals", with(json!({"iss": "https://ISSUER.example"})), Unproved::UnknownIssuer),
        ("an issuer with a space", with(json!({"iss": format!("{ISSUER} ")})), Unproved::UnknownIssuer),
        ("two issuers", with(json!({"iss": [ISSUER, "https://evil.example"]})), Unproved::Claim),
        ("no issuer", with(json!({"iss": null})), Unproved::MissingClaim),
        ("another audience", with(json!({"aud": "billing"})), Unproved::Audience),
        ("an audience that begins alike", with(json!({"aud": "sluice.evil"})), Unproved::Audience),
        ("no audience", with(json!({"aud": null})), Unproved::MissingClaim),
        ("an empty list of audiences", with(json!({"aud": []})), Unproved::Audience),
        ("other audiences", with(json!({"aud": ["a", "b"]})), Unproved::Audience),
        ("audiences within audiences", with(json!({"aud": [["sluice"]]})), Unproved::Claim),
        ("an audience as an object", with(json!({"aud": {"0": "sluice"}})), Unproved::Claim),
        ("too many audiences", with(json!({"aud": vec!["sluice"; 65]})), Unproved::Claim),
        ("another party", with(json!({"client_id": null, "azp": "evil"})), Unproved::Party),
        ("parties that differ", with(json!({"azp": "evil"})), Unproved::Party),
        ("no party", with(json!({"client_id": null})), Unproved::Party),
        ("a party of an array", with(json!({"azp": ["cli"]})), Unproved::Claim),
        ("no subject", with(json!({"sub": null})), Unproved::Subject),
        ("an empty subject", with(json!({"sub": ""})), Unproved::Subject),
        ("a subject of a number", with(json!({"sub": 0})), Unproved::Subject),
        ("a subject with a line end", with(json!({"sub": "ann\r\nroot"})), Unproved::Subject),
        ("a subject too long", with(json!({"sub": "a".repeat(513)})), Unproved::Subject),
        ("groups of an object", with(json!({"groups": {"admin": true}})), Unproved::Subject),
        ("groups that are no texts", with(json!({"groups": [["admin"]]})), Unproved::Subject),
        ("too many groups", with(json!({"groups": many(257)})), Unproved::Subject),
        ("`jti` of a number", with(json!({"jti": 7})), Unproved::Claim),
        ("bound to a key", with(json!({"cnf": {"jkt": "x"}})), Unproved::Bound),
        (
            "bound to a certificate",
            with(json!({"cnf": {"x5t#S256": encode(&"x".repeat(32))}})),
            Unproved::Bound,
        ),
        ("bound to nonsense", with(json!({"cnf": "x"})), Unproved::Claim),
        ("`sub` twice", doubled(r#""sub":"root""#), Unproved::DuplicateMember),
        ("`exp` twice", doubled(r#""exp":9999999999"#), Unproved::DuplicateMember),
        ("`aud` twice, escaped", doubled(r#""\u0061ud":"sluice""#), Unproved::DuplicateMember),
        ("a member twice, within", doubled(r#""x":{"a":1,"a":2}"#), Unproved::DuplicateMember),
        ("claims that are text", raw("\"ann\""), Unproved::Malformed),
        ("claims followed by more", raw(&format!("{}{{}}", claims())), Unproved::Malformed),
        (
            "claims too deep",
            raw(&format!("{{\"a\":{}{}}}", "[".repeat(99), "]".repeat(99))),
            Unproved::Malformed,
        ),
    ]
}

fn many(groups: usize) -> Vec<String> {
    (0..groups).map(|n| n.to_string()).collect()
}

/// Signatures and forms.
fn forged(good: &Signer) -> Vec<Row> {
    let token = good.token(&claims());
    let (message, signature) = token.rsplit_once('.').unwrap();
    let [header, payload] = [message.split('.').next().unwrap(), message.split('.').nth(1).unwrap()];
    let mut bits = signature.to_owned();
    let flipped = if bits.starts_with('A') { "B" } else { "A" };
    bits.replace_range(..1, flipped);
    let root = encode(&but(json!({"sub": "root"})).to_string());
    let hs256 = |secret: &[u8]| {
        let header = json!({"alg": "HS256", "typ": "at+jwt", "kid": "good"}).to_string();
        let key = jsonwebtoken::EncodingKey::from_secret(secret);
        let message = format!("{}.{}", encode(&header), encode(&claims().to_string()));
        let algorithm = jsonwebtoken::Algorithm::HS256;
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, algorithm).unwrap();
        format!("{message}.{signature}")
    };
    let thief = Signer { id: "good", ..Signer::ed25519("evil", 66) };
    let rsa = Signer::rsa("rsa");
    let public = good.jwk()["x"].as_str().unwrap().to_owned();
    let confused = |header: Value, by: &Signer| by.sign(&header.to_string(), &claims().to_string());
    vec![
        ("signed by another key of that id", thief.token(&claims()), Unproved::Signature),
        ("a signature with one bit changed", format!("{message}.{bits}"), Unproved::Signature),
        ("other claims under a signature", format!("{header}.{root}.{signature}"), Unproved::Signature),
        ("no signature", format!("{message}."), Unproved::Signature),
        ("a signature cut short", format!("{message}.{}", &signature[..40]), Unproved::Signature),
        ("a signature too long", format!("{message}.{}", "A".repeat(701)), Unproved::Signature),
        ("a signature of zeros", format!("{message}.{}", "A".repeat(86)), Unproved::Signature),
        ("a signature with loose bits", format!("{message}.{}B", &signature[..85]), Unproved::Signature),
        ("a public key as a secret", hs256(public.as_bytes()), Unproved::Algorithm),
        ("a public key in PEM as a secret", hs256(include_bytes!("rsa.pem")), Unproved::Algorithm),
        ("an empty secret", hs256(b""), Unproved::Algorithm),
        (
            "RS256 for a key of another kind",
            confused(json!({"alg": "RS256", "typ": "at+jwt", "kid": "good"}), &rsa),
            Unproved::UnknownKey,
        ),
        (
            "PS256 for a key of RS256 alone",
            rsa.sign_as(
                &json!({"alg": "PS256", "kid": "rsa"}).to_string(),
                &claims().to_string(),
                jsonwebtoken::Algorithm::PS256,
            ),
            Unproved::UnknownKey,
        ),
        (
            "an algorithm that this issuer may not use",
            Signer::p384("p384").token(&claims()),
            Unproved::Algorithm,
        ),
        (
            "ES256 with a signature of zeros",
            format!("{}.{payload}.{}", encode(r#"{"alg":"ES256","kid":"p256"}"#), "A".repeat(86)),
            Unproved::Signature,
        ),
        ("a weak key", Signer::weak_rsa("weak").token(&claims()), Unproved::UnknownKey),
        (
            "a key that was published whole",
            Signer::ed25519("private", 5).token(&claims()),
            Unproved::UnknownKey,
        ),
        ("a symmetric key", confused(json!({"alg": "EdDSA", "kid": "oct"}), good), Unproved::UnknownKey),
        ("a key of encryption", Signer::ed25519("enc", 6).token(&claims()), Unproved::UnknownKey),
        ("two parts", message.to_owned(), Unproved::Malformed),
        ("four parts", format!("{token}.x"), Unproved::Malformed),
        ("five parts", format!("{token}.x.y"), Unproved::Encrypted),
        ("no parts", "..".to_owned(), Unproved::Malformed),
        ("padding", format!("{header}=.{payload}.{signature}"), Unproved::Malformed),
        (
            "the other alphabet",
            format!("{}.{payload}.{signature}", encode_otherwise("{\"alg\":\"??>>\"}")),
            Unproved::Malformed,
        ),
        ("a token in a token", format!("Bearer.{token}"), Unproved::Malformed),
        ("text", "letmein".to_owned(), Unproved::Malformed),
        ("oversized", format!("{token}{}", "A".repeat(TOKEN_BYTES_MAX)), Unproved::TooLarge),
    ]
}

/// An issuer with keys of every kind, some of which nobody may be believed for.
fn identity() -> (Identity, Signer) {
    let good = Signer::ed25519("good", 1);
    let mut private = Signer::ed25519("private", 5).jwk();
    private["d"] = "AAAA".into();
    let mut encryption = Signer::ed25519("enc", 6).jwk();
    encryption["use"] = "enc".into();
    let oct = json!({"kty": "oct", "kid": "oct", "k": good.jwk()["x"], "alg": "HS256"});
    let more = [Signer::ed25519("other", 2), Signer::rsa("rsa"), Signer::p256("p256"), Signer::p384("p384")];
    let mut keys: Vec<Value> = more.iter().map(Signer::jwk).collect();
    keys.extend([good.jwk(), private, encryption, oct, Signer::weak_rsa("weak").jwk()]);
    let mut issuer = issuer_of("corp", ISSUER, keys_file("attacks", &json!({ "keys": keys })));
    if let Means::Tokens(tokens) = &mut issuer.means {
        tokens.algorithms.retain(|algorithm| *algorithm != Algorithm::Es384);
        tokens.rules.parties = vec!["cli".to_owned()];
    }
    (Identity::new(vec![issuer], std::sync::Arc::default()).unwrap(), good)
}

#[tokio::test]
async fn every_attack_is_refused_for_its_reason() {
    let (identity, good) = identity();
    let rows = [headers(&good), claimed(&good), forged(&good)].concat();
    assert!(rows.len() >= 60, "{} attacks", rows.len());
    let mut faults = Vec::new();
    for (name, token, wanted) in &rows {
        // Twice: a refusal is not remembered as anything else.
        for _ in 0..2 {
            match present(&identity, token, at(0)).await {
                Err(reason) if reason == *wanted => {}
                other => faults.push(format!("{name}: {wanted:?} expected, not {other:?}")),
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let refused: u64 = identity.refusals().map(|(_, count)| count).sum();
    let of_head = rows.iter().filter(|(_, _, wanted)| *wanted == Unproved::TooLarge).count();
    assert!(refused >= 2 * (rows.len() - of_head) as u64, "each is counted: {refused}");
    for signer in [good, Signer::rsa("rsa"), Signer::p256("p256")] {
        let proved = present(&identity, &signer.token(&claims()), at(0)).await;
        assert_eq!(&*proved.expect("a good token").subject.id, "ann");
    }
}
