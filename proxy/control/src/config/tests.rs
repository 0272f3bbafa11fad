//! Whatever a file holds, it is refused or it is a configuration that is shown as one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::PathBuf;

use super::*;

const WHOLE: &str = r#"gateway = { allow_anonymous = true, shards = 2, limits = { fields_max = 64 } }
admin = { listen = "[::1]:9090" }
[[listener]]
name = "a"
listen = "127.0.0.1:80"
trusted = ["10.0.0.0/8"]
proxy_protocol = true
connect = true
[[listener]]
name = "b"
listen = "unix:b.sock"
[[upstream]]
name = "u"
endpoints = ["http://a.test:81/x", "unix:u.sock"]
authority = "u.test"
protocol = "http1"
pool = { idle_max = 1 }
health = { out_ms = 3, check = { path = "/up", falls = 1 } }
[[route]]
name = "r"
hosts = ["*.a.test"]
path_exact = "/x%2F"
methods = ["POST"]
headers = [{ name = "x", value = "1" }]
upstream = "u"
packs = ["keys.toml"]
rate = { requests = 1, window_ms = 2 }
concurrency = { exchanges_max = 3, queue_max = 4 }
[[route]]
name = "s"
mask = false
upstream = "u"
packs = ["keys.toml"]
body_bytes_max = 5
"#;

/// A file beside the pack of tests.
fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases/sluice.toml")
}

/// Holds for every text: there are faults, or it is shown as a configuration that is shown alike. Says which.
fn is_taken(text: &str) -> bool {
    // A route that names no packs has the built-in ones, which take their time to compile.
    if text.matches("packs = [\"keys.toml\"]").count() < text.matches("[[route]]").count() {
        return false;
    }
    match Config::parse(&file(), text) {
        Ok(config) => {
            let again = Config::parse(Path::new("/elsewhere.toml"), config.to_toml());
            let again = again.unwrap_or_else(|e| panic!("{text}\nis shown with faults:\n{e}"));
            assert_eq!(again.to_toml(), config.to_toml(), "{text}");
            true
        }
        Err(error) => {
            assert!(!error.faults().is_empty(), "refused without a fault: {text}");
            false
        }
    }
}

/// Places of the text, one of so many.
const EVERY: usize = 4;

#[test]
fn a_text_cut_in_two_is_refused_or_shown() {
    assert!(is_taken(WHOLE));
    for at in (0..WHOLE.len()).step_by(EVERY) {
        is_taken(&WHOLE[..at]);
        is_taken(&WHOLE[at..]);
    }
}

#[test]
fn a_text_without_a_byte_or_a_line_is_refused_or_shown() {
    let mut taken = 0;
    for at in (1..WHOLE.len()).step_by(EVERY) {
        let [before, after] = [&WHOLE[..at], &WHOLE[at + 1..]];
        taken += usize::from(is_taken(&[before, after].concat()));
        is_taken(&[before, "\"", after].concat());
    }
    assert!(taken > 10, "{taken}");
    let lines: Vec<&str> = WHOLE.lines().collect();
    for left_out in 0..lines.len() {
        let rest = lines.iter().enumerate().filter(|(n, _)| *n != left_out);
        is_taken(&rest.map(|(_, line)| format!("{line}\n")).collect::<String>());
    }
}

const APPROVALS: &str = r#"
[approvals]
database = "sqlite:a.db"
grant_ms = 1000
across_issuers = "by_id"
page = "https://g.test/approvals"
break_glass = { groups = ["oncall"] }
slack = { url = "env:PATH", signing_secret = "file:keys.toml" }
[[approvals.person]]
name = "alice"
accounts = ["corp:alice", "hub:ally"]
groups = []
[[approvals.webhook]]
name = "w"
url = "env:PATH"
secret = "env:PATH"
"#;

#[test]
fn approvals_are_taken_and_shown_without_their_secrets() {
    let text = format!("{WHOLE}{APPROVALS}");
    assert!(is_taken(&text));
    let config = Config::parse(&file(), &text).unwrap();
    let settings = config.approvals.as_ref().unwrap();
    assert_eq!((settings.grant_ms, settings.pending_ms), (1_000, 900_000));
    assert_eq!(settings.people.persons[0].groups.as_deref(), Some(&[][..]), "nothing counts for her");
    let secret = std::env::var("PATH").unwrap();
    assert!(!config.to_toml().contains(&secret) && !format!("{config:?}").contains(&secret));
}

#[test]
fn faults_of_approvals_are_told() {
    for (from, to, wanted) in [
        ("database = \"sqlite:a.db\"", "", "needs `database`"),
        ("sqlite:a.db", "sqlite:", "expected sqlite:PATH"),
        ("sqlite:a.db", "postgres://u:p@h/d", "a secret does not stand in the file"),
        ("sqlite:a.db", "env:SLUICE_IS_NOT_SET", "has no such variable"),
        ("sqlite:a.db", "env:PATH", "holds no URL"),
        ("grant_ms = 1000", "grant_ms = 1", "`grant_ms`"),
        ("by_id", "all", "across_issuers"),
        ("https://g.test", "ftp://g.test", "approvals page"),
        ("groups = [\"oncall\"]", "groups = []", "needs `groups`"),
        ("hub:ally", "corp:alice", "linked already"),
        ("hub:ally", "ally", "issuer:id"),
        ("signing_secret = \"file:keys.toml\"", "", "`signing_secret` is needed"),
        ("file:keys.toml", "s3cret", "a secret does not stand in the file"),
        ("name = \"w\"", "name = \"slack\"", "slack"),
        ("grant_ms", "grant_s", "grant_s"),
    ] {
        let text = format!("{WHOLE}{}", APPROVALS.replacen(from, to, 1));
        let error = Config::parse(&file(), &text).unwrap_err().to_string();
        assert!(error.contains(wanted) && !error.contains("u:p@h"), "{wanted}: {error}");
    }
}
