//! `sluice policy`: what its commands print and return.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use sluice_tests::process::{Build, run};

const CONFIG: &str = r#"policies = ["policy.toml"]

[gateway]
allow_anonymous = true

[[listener]]
name = "local"
listen = "127.0.0.1:0"

[[upstream]]
name = "llm"
url = "http://127.0.0.1:1"

[[route]]
name = "all"
upstream = "llm"
speaks = "llm"
sql = ["json:/q", "query:q"]
sql_dialect = "mysql"
"#;

const POLICY: &str = r#"
[[policy]]
id = "chat"
action = "allow"
groups = "staff"
operation = "llm.chat"

[[policy]]
id = "spare"
action = "block"
subject = "eve"
"#;

fn folder(name: &str, files: &[(&str, &str)]) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("policy-{name}"));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).expect("a folder can be made");
    for (file, text) in files {
        fs::write(path.join(file), text).expect("a file can be written");
    }
    path
}

fn sluice(folder: &Path, words: &[&str]) -> (Option<i32>, String) {
    let words: Vec<String> =
        words
            .iter()
            .map(|word| {
                if word.contains('.') { folder.join(word).display().to_string() } else { (*word).to_owned() }
            })
            .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let Output { status, stdout, stderr } = run(Build::Debug, &words, b"");
    let text = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    (status.code(), text.replace(&format!("{}/", folder.display()), ""))
}

#[test]
fn cases_hold_or_not() {
    let case = |action: &str| {
        format!(
            "[[case]]\nname = \"c\"\nexpect = {{ action = \"{action}\" }}\n[case.request]\nmethod = \"POST\"\n\
             path = \"/v1/messages\"\nsubject = {{ id = \"ada\", groups = [\"staff\"] }}\n"
        )
    };
    let files = [
        ("c.toml", CONFIG),
        ("policy.toml", POLICY),
        ("good.toml", &case("allow")),
        ("bad.toml", &case("block")),
    ];
    let folder = folder("cases", &files);
    let (code, text) = sluice(&folder, &["policy", "test", "--config", "c.toml", "good.toml"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("no case is decided by `spare`"), "{text}");
    assert!(text.contains("ok: 1 of 1 cases hold, 1 of 2 policies are covered"), "{text}");
    let (code, text) = sluice(&folder, &["policy", "test", "--config", "c.toml", "--covered", "good.toml"]);
    assert_eq!(code, Some(1), "{text}");
    let (code, text) = sluice(&folder, &["policy", "test", "--config", "c.toml", "bad.toml"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("bad.toml:1: FAILED: case `c`: expected block, found allow (by chat)"), "{text}");
}

#[test]
fn a_request_is_explained() {
    let request = r#"{"subject":{"id":"eve","groups":["staff"]},"method":"POST","path":"/v1/messages"}"#;
    let files =
        [("c.toml", CONFIG), ("policy.toml", POLICY), ("r.json", request), ("x.json", "{\n\"who\":1}")];
    let folder = folder("explain", &files);
    let (code, text) = sluice(&folder, &["policy", "explain", "--config", "c.toml", "r.json"]);
    assert_eq!(code, Some(0), "{text}");
    for wanted in [
        "\"action\": \"block\"",
        "operation: llm.chat, http.post, http.write",
        "policy.toml:2: yes: `chat` (allow)",
        "policy.toml:8: yes: `spare` (block)",
    ] {
        assert!(text.contains(wanted), "{wanted}\n{text}");
    }
    let (code, text) = sluice(&folder, &["policy", "explain", "--config", "c.toml", "x.json"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.starts_with("x.json:2: not a request"), "{text}");
}

#[test]
fn every_fault_of_a_policy_is_one_of_the_configuration() {
    let policy = "[[policy]]\nid = \"a\"\naction = \"permit\"\n\n[[policy]]\nid = \"a\"\naction = \"block\"\nwhen = \"1\"\n";
    let config = CONFIG.replace("\"mysql\"", "\"oracle\"");
    let folder = folder("faults", &[("c.toml", &config), ("policy.toml", policy)]);
    for command in [&["check", "--config", "c.toml"][..], &["policy", "test", "--config", "c.toml", "c.toml"]]
    {
        let (code, text) = sluice(&folder, command);
        assert_eq!(code, Some(2), "{text}");
        for wanted in [
            "c.toml:19: `sql_dialect`: expected one of `generic`",
            "policy.toml:3: expected one of `allow`, `approve`, `block`",
            "policy.toml:6: what is on line 2 has the id `a` too",
            "policy.toml:8: `when`: a condition is true or false",
        ] {
            assert!(text.contains(wanted), "{wanted}\n{text}");
        }
    }
    let (code, text) = sluice(&folder, &["policy", "check", "policy.toml"]);
    assert_eq!(code, Some(2), "{text}");
    let none = CONFIG.replace("policies = [\"policy.toml\"]\n", "");
    fs::write(folder.join("none.toml"), none).unwrap();
    let (code, text) = sluice(&folder, &["policy", "test", "--config", "none.toml", "c.toml"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("names no policies"), "{text}");
}
