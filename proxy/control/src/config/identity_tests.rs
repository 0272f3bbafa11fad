//! Issuers, credentials and servers of secrets in a configuration: the pages' examples hold, faults are told.

use std::path::PathBuf;

use super::*;

const BASE: &str = r#"policies = ["POLICY"]
gateway = { allow_anonymous = true }
listener = [{ name = "l", listen = "127.0.0.1:0" }]
route = [{ name = "r", upstream = "u", packs = ["keys.toml"] }]
"#;
const UPSTREAM: &str = "[[upstream]]\nname = \"u\"\nurl = \"http://127.0.0.1:9\"\n";

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases/sluice.toml")
}

/// A file of policies, written once: tests read it at the same time.
fn policy() -> &'static str {
    static PATH: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    PATH.get_or_init(|| {
        let path = std::env::temp_dir().join(format!("sluice-identity-policy-{}.toml", std::process::id()));
        std::fs::write(&path, "[[policy]]\nid = \"all\"\naction = \"allow\"\nwhen = \"true\"\n").unwrap();
        path.display().to_string()
    })
}

fn parse(more: &str) -> Result<Config, ConfigError> {
    Config::parse(&file(), &format!("{}{UPSTREAM}{more}", BASE.replace("POLICY", policy())))
}

/// Examples name files that are not here: another file stands for each.
fn with_files(block: &str) -> String {
    block
        .replace("ca = \"/var/run/secrets/kubernetes.io/serviceaccount/ca.crt\"\n", "")
        .replace("\"revoked.jsonl\"", "\"keys.toml\"")
}

#[test]
fn the_examples_of_the_pages_hold() {
    let mut count = 0;
    for page in ["identity.md", "credentials.md"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(page);
        let text = std::fs::read_to_string(path).unwrap();
        for block in text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()) {
            let config = parse(&with_files(block)).unwrap_or_else(|e| panic!("{page}:\n{block}\n{e}"));
            let again = Config::parse(Path::new("/elsewhere.toml"), config.to_toml());
            let again = again.unwrap_or_else(|e| panic!("{}\nis shown with faults:\n{e}", config.to_toml()));
            assert_eq!(again.to_toml(), config.to_toml());
            let (issuers, credentials) = (config.issuers.len(), config.credentials.len());
            assert_eq!((again.issuers.len(), again.credentials.len()), (issuers, credentials));
            let identity = crate::identity::Identity::new(config.issuers, std::sync::Arc::default());
            assert!(identity.is_ok(), "{page}:\n{block}\n{:?}", identity.err());
            count += 1;
        }
    }
    assert!(count >= 8, "{count} examples");
}

const CORP: &str = "[[issuer]]\nname = \"corp\"\nissuer = \"https://a.example\"\naudience = [\"s\"]\n";

#[test]
fn faults_are_told_on_their_lines() {
    // The first line after the base is line 8.
    for (more, wanted) in [
        (
            "[[issuer]]\nname = \"corp\"\n".to_owned(),
            &[(8, "`issuer` is needed"), (8, "`audience` is needed")][..],
        ),
        (format!("{CORP}audiences = []\n"), &[(12, "unknown key `audiences`; did you mean `audience`?")]),
        (format!("{CORP}kind = \"saml\"\n"), &[(12, "expected one of `jwt`, `introspection`, `mtls`")]),
        (
            format!("{CORP}algorithms = [\"HS256\"]\n"),
            &[(12, "expected one of `RS256`"), (12, "no algorithms")],
        ),
        (format!("{CORP}algorithms = [\"none\"]\n"), &[(12, "expected one of"), (12, "no algorithms")]),
        (format!("{CORP}skew_seconds = 301\n"), &[(12, "expected 0 to 300")]),
        (format!("{CORP}jwks_url = \"http://a.example/k\"\n"), &[(12, "must be https")]),
        (
            format!("{CORP}jwks_url = \"https://a.b/k\"\ndiscovery = \"https://a.b/d\"\n"),
            &[(8, "one of them")],
        ),
        (format!("{CORP}jwks_file = \"nowhere.json\"\n"), &[(12, "can't read")]),
        (
            format!(
                "{CORP}[issuer.claims]\nsubject = \"claim.sub\"\ngroups = \"size(claims)\"\nkind = \"1 +\"\n"
            ),
            &[(13, "unknown name `claim`"), (14, "it must give a list"), (15, "not valid CEL")],
        ),
        (
            format!(
                "{CORP}claims = {{ purpose = \"claims.a.foo(1)\", step = \"'a' + 1\", chain = \"claims == 1\" }}\n"
            ),
            &[
                (12, "unknown function `foo`"),
                (12, "`+` does not take a string and a number"),
                (12, "a string"),
            ],
        ),
        (format!("{CORP}ca = \"keys.toml\"\n"), &[(12, "no certificates in PEM")]),
        (format!("{CORP}headers = {{ chain = \"x-api-key\" }}\n"), &[(12, "a field of its own")]),
        (format!("{CORP}{}", CORP.replace("corp", "b")), &[(12, "can't be told from")]),
        (format!("{CORP}token = \"sk-secret\"\n"), &[(12, "never the secret")]),
        (format!("{CORP}token = \"vault:main/a#b\"\n"), &[(12, "no [[vault]] has the name `main`")]),
        ("[identity]\nkeys = { store = \"k.db\" }\n".to_owned(), &[(9, "`secret` is needed")]),
        (
            "credential = { kind = \"header\", name = \"host\", from = \"env:A\" }\n".to_owned(),
            &[(8, "name of a field")],
        ),
        ("credential = { kind = \"header\", name = \"x\" }\n".to_owned(), &[(8, "`from` is needed")]),
        ("credential = { kind = \"basic\", user = \"a:b\", from = \"env:A\" }\n".to_owned(), &[(8, "`:`")]),
        ("credential = { from = \"env:A\" }\n".to_owned(), &[(8, "`kind` is needed")]),
        (
            "[[vault]]\nname = \"v\"\naddress = \"http://v.example\"\ntoken = \"env:T\"\n".to_owned(),
            &[(10, "must be https")],
        ),
    ] {
        let error = parse(&more).err().unwrap_or_else(|| panic!("taken: {more}"));
        for (line, reason) in wanted {
            let is_told =
                error.faults().iter().any(|fault| fault.line == *line && fault.reason.contains(reason));
            assert!(is_told, "{more}\nline {line}: {reason}, not\n{error}");
        }
        assert!(!error.to_string().contains("sk-secret"), "{error}");
    }
}

#[test]
fn the_shown_configuration_has_references_and_no_secrets() {
    let more = format!(
        "{CORP}token = [\"exec:/bin/echo\", \"a b\"]\n[identity]\nkeys = {{ store = \"k.db\", secret = \"env:PATH\" }}\n"
    );
    let config = parse(&more).unwrap();
    assert!(config.to_toml().contains("token = [\"exec:/bin/echo\", \"a b\"]"), "{}", config.to_toml());
    let path = std::env::var("PATH").unwrap();
    assert!(!config.to_toml().contains(&path) && !format!("{config:?}").contains(&path));
}
