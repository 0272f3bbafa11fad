//! `sluice check`: every fault of a configuration on its line, and a good one shown so that it is one again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde::Deserialize;
use sluice_tests::checkout;
use sluice_tests::process::{Build, keys_pack, run};
use sluice_tests::tls::Identity;

/// A folder with the files that configurations of tests name, gone when this is dropped.
struct Folder {
    path: PathBuf,
}

impl Folder {
    fn new(name: &str) -> Folder {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("config-{name}"));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(path.join("folder")).expect("a folder can be made");
        let folder = Folder { path };
        let identity = Identity::new(&["gateway.test"]);
        for (from, to) in [
            (keys_pack(), "keys.toml"),
            (identity.certificate_file(), "certificate.pem"),
            (identity.key_file(), "key.pem"),
        ] {
            fs::copy(from, folder.path.join(to)).expect("a file can be copied");
        }
        let pack = "[pack]\nname = \"bad\"\nversion = \"1\"\n[[rule]]\nid = \"broken\"\nentity = \"e\"\n";
        folder.write("bad.toml", &format!("{pack}regex = '(a'\n"));
        folder
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.path.join(name);
        fs::write(&path, text).expect("a file can be written");
        path.display().to_string()
    }

    /// Checks a configuration in this folder.
    fn check(&self, text: &str) -> Output {
        run(Build::Debug, &["check", "--config", &self.write("sluice.toml", text)], b"")
    }

    /// What a good configuration resolves to.
    fn resolved(&self, text: &str) -> String {
        let output = self.check(text);
        let told = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(0), "{text}\n{told}");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// The lines on standard error, without this folder's name.
    fn lines(&self, output: &Output) -> Vec<String> {
        let folder = format!("{}/", self.path.display());
        let text = String::from_utf8(output.stderr.clone()).expect("UTF-8").replace(&folder, "");
        text.lines().map(str::to_owned).collect()
    }

    /// The faults of a configuration, without this folder's name.
    fn faults(&self, text: &str) -> Vec<String> {
        let output = self.check(text);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(output.stdout.is_empty(), "{text}");
        self.lines(&output)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// A configuration in which one line or another may be replaced.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    gateway: Option<String>,
    admin: Option<String>,
    listener: Option<String>,
    upstream: Option<String>,
    route: Option<String>,
    /// In place of all lines.
    text: Option<String>,
    /// What is printed.
    #[serde(default)]
    faults: Vec<String>,
}

impl Case {
    fn text(&self) -> String {
        if let Some(text) = &self.text {
            return text.clone();
        }
        let lines = [
            ("gateway", &self.gateway, "{ allow_anonymous = true }"),
            ("admin", &self.admin, r#"{ listen = "127.0.0.1:0" }"#),
            ("listener", &self.listener, r#"[{ name = "l", listen = "127.0.0.1:0" }]"#),
            ("upstream", &self.upstream, r#"[{ name = "u", url = "http://127.0.0.1:9" }]"#),
            ("route", &self.route, r#"[{ name = "r", upstream = "u", packs = ["keys.toml"] }]"#),
        ];
        lines.map(|(key, given, usual)| format!("{key} = {}\n", given.as_deref().unwrap_or(usual))).concat()
    }
}

#[derive(Debug, Deserialize)]
struct Cases {
    case: Vec<Case>,
}

#[test]
fn every_fault_is_told_on_its_line_and_all_of_a_file_at_once() {
    let folder = Folder::new("faults");
    let text = checkout::read(Path::new("tests/cases/config_faults.toml"));
    let cases: Cases = toml::from_str(&text).expect("the table is TOML");
    let (mut faults, mut different) = (0, Vec::new());
    for case in &cases.case {
        let text = case.text();
        let place = |fault: &String| match fault.split_once(':') {
            Some((line, _)) if line.parse::<usize>().is_ok() => format!("sluice.toml:{fault}"),
            Some(_) | None => fault.clone(),
        };
        let wanted: Vec<String> = case.faults.iter().map(place).collect();
        let found = folder.faults(&text);
        if found != wanted {
            different.push(format!("{text}\nwanted {wanted:#?}\nfound {found:#?}"));
        }
        faults += wanted.len();
    }
    assert!(different.is_empty(), "{}", different.join("\n\n"));
    assert!(faults >= 100, "only {faults} faults in the table");
}

/// A configuration that says something of everything.
const WHOLE: &str = r#"
[gateway]
shards = 3
io = "epoll"
drain_seconds = 0
allow_anonymous = true
limits = { head_bytes_max = 0x4000, interim_max = 0 }

[admin]
listen = "[::1]:0"

[[listener]]
name = "public"
listen = "0.0.0.0:8443"
tls = { certificates = [{ cert = "certificate.pem", key = "key.pem" }], client_ca = "certificate.pem" }
trusted = ["10.0.0.0/8", "::1"]
proxy_protocol = true
connect = true

[[listener]]
name = "local"
listen = "unix:run/sluice.sock"
absolute_form = true

[[upstream]]
name = "models"
endpoints = ["https://a.test/base/", "https://b.test:8443/base"]
authority = "models.test"
ca = "certificate.pem"
client_cert = "certificate.pem"
client_key = "key.pem"
server_name = "models.internal"
protocol = "http2"
pool = { idle_max = 0 }
retry = { retries_max = 0 }

[[upstream]]
name = "store"
endpoints = ["http://[::1]:9001", "unix:store.sock"]
authority = "store.internal:80"
health = { faults_max = 0, check = { path = "/healthz?full" } }

[[route]]
name = "traces"
hosts = ["OTLP.Example.com", "*.otlp.test"]
path = "/v1/traces"
methods = ["POST", "PURGE"]
headers = [{ name = "X-Team", value = 'say "hi"\' }, { name = "x-debug" }]
upstream = "store"
packs = ["keys.toml"]
mask = false
body_bytes_max = 1048576
rate = { requests = 10, window_ms = 1000 }
concurrency = { exchanges_max = 10, queue_max = 3 }

[[route]]
name = "one"
path_exact = "/one%2Fpath"
upstream = "store"
packs = ["keys.toml"]
on_error = "text"
response_coding = "identity"
coding_ratio_max = 9
timeouts = { body_ms_max = 5 }
rate = { requests = 10, window_ms = 1000, burst = 2, by = "subject" }
concurrency = { exchanges_max = 1 }

[[route]]
name = "rest"
upstream = "models"
packs = ["keys.toml"]
"#;

#[test]
fn what_is_shown_is_a_configuration_that_is_shown_alike() {
    let (folder, elsewhere) = (Folder::new("shown"), Folder::new("shown-elsewhere"));
    for text in [WHOLE, &Case::default().text()] {
        let shown = folder.resolved(text);
        // From another folder: the files are named from the root.
        assert_eq!(elsewhere.resolved(&shown), shown);
    }
    let shown = folder.resolved(WHOLE);
    for line in [
        "shards = 3",
        "io = \"epoll\"",
        "head_bytes_max = 16384",
        "idle_ms_max = 75000",
        "trusted = [\"10.0.0.0/8\", \"::1/128\"]",
        "endpoints = [\"https://a.test/base\", \"https://b.test:8443/base\"]",
        "hosts = [\"otlp.example.com\", \"*.otlp.test\"]",
        "rate = { requests = 10, window_ms = 1000, burst = 10, by = \"route\" }",
        "concurrency = { exchanges_max = 10, queue_max = 3, queue_ms_max = 1000 }",
        "path_exact = \"/one%2Fpath\"",
        "timeouts = { body_ms_max = 5, upstream_ms_max = 600000 }",
    ] {
        assert!(shown.lines().any(|l| l == line), "{line} is not in\n{shown}");
    }
    // Who names roots wants certificates; keys are named, not shown.
    assert!(shown.contains("client = \"required\""), "{shown}");
    assert!(!shown.contains("PRIVATE"), "{shown}");
}

#[test]
fn what_is_hardly_meant_is_told_and_taken() {
    let folder = Folder::new("warnings");
    let text = r#"gateway = { allow_anonymous = true }
admin = { listen = "0.0.0.0:0" }
listener = [{ name = "l", listen = "127.0.0.1:0" }]
upstream = [
  { name = "u", url = "http://127.0.0.1:9" },
  { name = "idle", url = "http://127.0.0.1:9" },
]
[[route]]
name = "v1"
path = "/v1"
upstream = "u"
packs = ["keys.toml"]
[[route]]
name = "chat"
path_exact = "/v1/chat"
upstream = "u"
packs = ["keys.toml"]
[[route]]
name = "rest"
hosts = []
mask = false
upstream = "u"
packs = ["keys.toml"]
"#;
    let output = folder.check(text);
    assert_eq!(output.status.code(), Some(0));
    let wanted = [
        "2: warning: the admin server asks nobody who they are, and this address is not a loopback one",
        "6: warning: no route leads to the upstream `idle`",
        "13: warning: route `chat` never takes a request: `v1` on line 8 comes first and takes all of them; put `chat` before it",
        "20: warning: `hosts` is empty, which holds for every request",
        "21: warning: what this route carries passes unmasked, both ways",
    ];
    assert_eq!(folder.lines(&output), wanted.map(|line| format!("sluice.toml:{line}")));
}

#[test]
fn limits_hold_at_the_limit_and_not_one_past() {
    let folder = Folder::new("limits");
    let many = |count: usize, one: &dyn Fn(usize) -> String| {
        let all: Vec<String> = (0..count).map(one).collect();
        format!("[{}]", all.join(", "))
    };
    let listener = |n: usize| format!("{{ name = \"l{n}\", listen = \"127.0.0.1:{}\" }}", 20_000 + n);
    let upstream = |n: usize| format!("{{ name = \"u{n}\", url = \"http://127.0.0.1:{}\" }}", 1 + n);
    let route = |n: usize| {
        format!("{{ name = \"r{n}\", path = \"/{n}\", upstream = \"u0\", packs = [\"keys.toml\"] }}")
    };
    let endpoint = |n: usize| format!("\"http://127.0.0.1:{}\"", 1 + n);
    let in_all = |more: usize| Case {
        listener: Some(many(64 + more, &listener)),
        upstream: Some(many(1_000 + more, &upstream)),
        route: Some(many(1_000 + more, &route)),
        ..Case::default()
    };
    folder.resolved(&in_all(0).text());
    let wanted = ["3: there are at most 64 [[listener]]", "4: there are at most 1000 [[upstream]]"];
    let wanted = [wanted.as_slice(), &["5: there are at most 1000 [[route]]"]].concat();
    assert_eq!(
        folder.faults(&in_all(1).text()),
        wanted.iter().map(|w| format!("sluice.toml:{w}")).collect::<Vec<_>>()
    );
    for (count, is_good) in [(256, true), (257, false)] {
        let (endpoints, name) = (many(count, &endpoint), "name = \"u\", authority = \"u.test\"");
        let upstream = Some(format!("[{{ {name}, endpoints = {endpoints} }}]"));
        let output = folder.check(&Case { upstream, ..Case::default() }.text());
        assert_eq!(output.status.success(), is_good, "{count}: {:?}", folder.lines(&output));
    }
    for (bytes, is_good) in [(1 << 20, true), ((1 << 20) + 1, false)] {
        let mut text = Case::default().text();
        text.push('#');
        text.push_str(&"x".repeat(bytes - text.len()));
        let output = folder.check(&text);
        assert_eq!(output.status.success(), is_good, "{bytes}: {:?}", folder.lines(&output));
    }
    assert_eq!(
        folder.faults(&" ".repeat(2 << 20)),
        ["sluice.toml: a configuration has at most 1048576 bytes"]
    );
}

#[test]
fn what_is_no_configuration_is_told_so() {
    let folder = Folder::new("none");
    let path = folder.write("latin1.toml", "");
    fs::write(&path, b"# caf\xE9\n").expect("a file can be written");
    for (args, code, part) in [
        (&["check", "--config", "/nowhere/sluice.toml"][..], 2, "/nowhere/sluice.toml: can't read"),
        (&["serve", "--config", "/nowhere/sluice.toml"], 2, "/nowhere/sluice.toml: can't read"),
        (&["check", "--config", &path], 2, "a configuration is UTF-8 text"),
        (&["check"], 2, "--config"),
        (&["serve", "--config", &path, "--listen", "127.0.0.1:0"], 2, "--listen"),
        (&["serve", "--config", &path, "--upstream", "http://127.0.0.1:9"], 2, "--upstream"),
        (&["serve", "--config", &path, "--allow-anonymous"], 2, "--allow-anonymous"),
        (&["serve", "--config", &path, "--pack", "builtin:pii"], 2, "--pack"),
    ] {
        let output = run(Build::Debug, args, b"");
        let told = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(code), "{args:?}: {told}");
        assert!(output.stdout.is_empty() && told.contains(part), "{args:?}: {told}");
    }
}

/// The blocks of a document that are configurations.
fn blocks(text: &str) -> Vec<String> {
    let parts = text.split("```toml\n").skip(1);
    parts.map(|part| part.split("```").next().expect("a block ends").to_owned()).collect()
}

#[test]
fn the_page_on_configuration_holds() {
    let page = checkout::read(Path::new("docs/configure.md"));
    let folder = Folder::new("page");
    fs::create_dir_all(folder.path.join("tls")).expect("a folder can be made");
    for (from, to) in [
        ("certificate.pem", "tls/gateway.pem"),
        ("key.pem", "tls/gateway.key"),
        ("certificate.pem", "tls/clients.pem"),
        ("certificate.pem", "tls/store-ca.pem"),
    ] {
        fs::copy(folder.path.join(from), folder.path.join(to)).expect("a file can be copied");
    }
    let pack = fs::read_to_string(keys_pack()).expect("a pack").replace("\"aws-access-key-id\"", "\"acme\"");
    folder.write("acme.toml", &pack);
    let blocks = blocks(&page);
    assert!(blocks.len() >= 2, "the page has examples");
    for block in &blocks {
        // They name the built-in packs, which a release compiles in no time.
        let file = folder.write("page.toml", block);
        let output = run(Build::Release, &["check", "--config", &file], b"");
        assert_eq!(output.status.code(), Some(0), "{block}\n{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stderr.is_empty(), "{block}\n{}", String::from_utf8_lossy(&output.stderr));
    }
    // Each key has its row, and each default stands in it.
    let rows = |key: &str| -> Vec<&str> {
        page.lines().filter(|line| line.starts_with(&format!("| `{key}` |"))).collect()
    };
    let keys =
        ["ca", "client_cert", "client_key", "server_name", "hosts", "path_exact", "methods", "headers"];
    let more =
        ["url", "tls", "certificates", "client_ca", "client", "rate", "requests", "window_ms", "burst"];
    let yet_more =
        ["by", "concurrency", "queue_max", "queue_ms_max", "body_bytes_max", "check", "rises", "falls"];
    for key in keys.into_iter().chain(more).chain(yet_more) {
        assert!(!rows(key).is_empty(), "the page has no row for `{key}`");
    }
    let check = r#"[{ name = "u", url = "http://127.0.0.1:9", health = { check = { path = "/up" } } }]"#;
    let shown = folder.resolved(&Case { upstream: Some(check.to_owned()), ..Case::default() }.text());
    // Of this machine, or needed.
    let without =
        ["shards", "allow_anonymous", "name", "listen", "endpoints", "authority", "upstream", "packs"];
    // Inner tables have their own rows.
    let plain = shown.replace(" }", "").replace("check = { ", "");
    let mut count = 0;
    for line in plain.lines() {
        let pairs = match line.split_once(" = { ") {
            Some((_, inner)) => inner.split(", ").collect(),
            None => vec![line],
        };
        for (key, value) in pairs.into_iter().filter_map(|pair| pair.split_once(" = ")) {
            if !without.contains(&key) && value != "\"/up\"" {
                let rows = rows(key);
                assert!(rows.iter().any(|row| has_default(row, value)), "`{key}` = {value}: {rows:?}");
                count += 1;
            }
        }
    }
    assert!(count > 35, "only {count} defaults");
}

/// Whether a row of the page says this default: in the third column.
fn has_default(row: &str, value: &str) -> bool {
    let column = row.split('|').nth(3).unwrap_or_default().replace(',', "");
    column.contains(&format!("`{value}`"))
}
