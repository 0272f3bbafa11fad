//! The commands around packs, as scripts use them: import, score, sign, hash, schema, and what they refuse.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use sluice_tests::checkout;
use sluice_tests::process::{Build, binary, run};

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("pack-tools-{name}"));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn good(args: &[&str], input: &[u8]) -> String {
    let output = run(Build::Release, args, input);
    assert!(output.status.success(), "{args:?}: {}", told(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// With a variable of the environment.
fn with_env(args: &[&str], name: &str, value: &str) -> Output {
    let mut command = Command::new(binary(Build::Release));
    command.args(args).env(name, value).stdin(Stdio::null()).output().unwrap()
}

/// The numbers of the corpus's own scorer, group by group and category by category.
#[test]
fn score_gives_the_numbers_of_the_corpus_scorer() {
    let Some(shared) = checkout::shared() else {
        return checkout::skip("pack score", "no corpus beside the checkout (SLUICE_SHARED)");
    };
    let corpus = shared.join("corpus");
    let rows = corpus.join("dev.jsonl").display().to_string();
    let found = folder("score").join("found.jsonl").display().to_string();
    let ours = good(&["pack", "score", "--json", "--predictions", &found, &rows], b"");
    let scorer = Command::new("python3")
        .arg(corpus.join("score.py"))
        .args([&rows, &found, "--json"])
        .output()
        .unwrap();
    assert!(scorer.status.success(), "{}", told(&scorer));
    let (ours, theirs): (Value, Value) =
        (serde_json::from_str(&ours).unwrap(), serde_json::from_slice(&scorer.stdout).unwrap());
    for part in ["groups", "categories"] {
        let (ours, theirs) = (ours[part].as_object().unwrap(), theirs[part].as_object().unwrap());
        assert_eq!(ours.len(), theirs.len(), "{part}");
        for (name, counts) in theirs {
            for (key, theirs) in counts.as_object().unwrap() {
                let ours = &ours[name][key];
                let same = match (ours.as_f64(), theirs.as_f64()) {
                    (Some(a), Some(b)) => (a - b).abs() < 0.00015,
                    _ => ours == theirs,
                };
                assert!(same, "{part} {name} {key}: {ours}, and the scorer says {theirs}");
            }
        }
    }
    let table = good(&["pack", "score", &rows], b"");
    assert!(table.contains("worst categories") && table.contains("worst rules"), "{table}");
    let diff = good(&["pack", "score", "--diff", "builtin:pii", &found, &rows], b"");
    assert!(diff.contains("matches gained"), "{diff}");
}

#[test]
fn rules_of_every_tool_become_packs_that_hold() {
    let folder = folder("import");
    let Some(shared) = checkout::shared() else {
        return checkout::skip("pack import", "no corpus beside the checkout (SLUICE_SHARED)");
    };
    for tool in ["gitleaks", "kingfisher", "noseyparker"] {
        let rules = shared.join(format!("corpus/rules/{tool}_rules.json")).display().to_string();
        let pack = folder.join(format!("{tool}.toml")).display().to_string();
        let told = good(&["pack", "import", "--from", tool, &rules, "-o", &pack], b"");
        let last = told.lines().last().unwrap();
        let numbers: Vec<f64> = last.split(' ').filter_map(|word| word.parse().ok()).collect();
        assert!(numbers[0] >= 0.95 * numbers[1] && numbers[2] >= 0.98 * numbers[3], "{last}");
        let tested = good(&["pack", "test", &pack], b"");
        assert!(tested.contains("examples hold"), "{tested}");
    }
    let none = run(Build::Release, &["pack", "import", "--from", "gitleaks", "/dev/null", "-o", "x"], b"");
    assert_eq!(none.status.code(), Some(2), "{}", told(&none));
}

const PACK: &str = "[pack]\nname = \"acme\"\nversion = \"1\"\n[[rule]]\nid = \"acme\"\nentity = \"acme\"\n\
                    regex = 'acme_[0-9]{4}'\nexamples = [{ text = \"acme_1234\", matches = [\"acme_1234\"] }]\n";
/// RFC 8410, section 10.3: a private key and its public key.
const KEY: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";

#[test]
fn only_signed_packs_are_loaded_where_a_key_is_trusted() {
    let folder = folder("sign");
    let file = |name: &str| folder.join(name).display().to_string();
    fs::write(file("p.toml"), PACK).unwrap();
    fs::write(file("key.pem"), KEY).unwrap();
    fs::write(file("key.pub"), PUBLIC).unwrap();
    good(&["pack", "build", &file("p.toml"), "-o", &file("p.built"), "--sign-key", &file("key.pem")], b"");
    good(&["pack", "build", &file("p.toml"), "-o", &file("plain.built")], b"");
    good(
        &["pack", "sign", &file("plain.built"), "--key", &file("key.pem"), "-o", &file("signed.built")],
        b"",
    );
    assert_eq!(fs::read(file("p.built")).unwrap(), fs::read(file("signed.built")).unwrap());
    fs::write(file("text"), "acme_1234\n").unwrap();
    let mask = |pack: &str, keys: &str| {
        with_env(&["mask", "--pack", &file(pack), &file("text")], "SLUICE_PACK_KEYS", keys)
    };
    assert_eq!(mask("p.built", &file("key.pub")).stdout, b"[acme]\n");
    assert_eq!(mask("p.built", "").stdout, b"[acme]\n");
    let mut wrong = fs::read(file("p.built")).unwrap();
    wrong[60] ^= 1;
    fs::write(file("wrong.built"), wrong).unwrap();
    for (pack, keys, part) in [
        ("plain.built", file("key.pub"), "is not signed"),
        ("p.toml", file("key.pub"), "is not signed"),
        ("wrong.built", file("key.pub"), "signature is wrong"),
        ("wrong.built", String::new(), "signature is wrong"),
        ("p.built", file("key.pem"), "not an Ed25519 public key"),
        ("p.built", file("none.pub"), "No such file"),
    ] {
        let output = mask(pack, &keys);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{pack}: {}", told(&output));
        assert!(told(&output).contains(part), "{pack} {keys}: {}", told(&output));
    }
    let unsigned = run(Build::Release, &["pack", "sign", &file("p.toml"), "--key", &file("key.pem")], b"");
    assert_eq!(unsigned.status.code(), Some(2), "{}", told(&unsigned));
}

#[test]
fn what_a_built_pack_of_exact_values_keeps_is_no_value() {
    let folder = folder("exact");
    let file = |name: &str| folder.join(name).display().to_string();
    let values: String = (0..5000).map(|n| format!("CUST-{:06}\n", n * 37)).collect();
    fs::write(file("values.txt"), values).unwrap();
    let pack = |key: &str| {
        format!(
            "[pack]\nname = \"c\"\nversion = \"1\"\n[[rule]]\nid = \"customers\"\nentity = \"customer\"\n\
             exact = {{ file = \"values.txt\", key = \"{key}\" }}\n"
        )
    };
    fs::write(file("c.toml"), pack("salt")).unwrap();
    fs::write(file("keyed.toml"), pack("token")).unwrap();
    good(&["pack", "build", &file("c.toml"), "-o", &file("c.built")], b"");
    let built = fs::read(file("c.built")).unwrap();
    assert!(!built.windows(5).any(|w| w == b"CUST-"));
    let text = b"a CUST-000037 b CUST-000038 builtin jane@example.org";
    let args = ["mask", "--pack", &file("c.built"), "--pack", "builtin:pii", "--chunk", "1"];
    assert_eq!(good(&args, text), "a [customer] b CUST-000038 builtin [email]");
    // The key is asked for, told wrong, and then right.
    let variable = "SLUICE_TOKEN_KEY";
    let unkeyed = with_env(&["pack", "check", &file("keyed.toml")], variable, "short");
    assert!(unkeyed.status.code() == Some(2) && told(&unkeyed).contains(variable), "{}", told(&unkeyed));
    let built = with_env(
        &["pack", "build", &file("keyed.toml"), "-o", &file("k.built")],
        variable,
        "0123456789abcdef",
    );
    assert!(built.status.success(), "{}", told(&built));
    fs::write(file("text"), "CUST-000037").unwrap();
    let scan = |key: &str| with_env(&["scan", "--pack", &file("k.built"), &file("text")], variable, key);
    assert!(told(&scan("0123456789abcdef")).contains("\"customers\""), "{}", told(&scan("0123456789abcdef")));
    for key in ["", "fedcba9876543210"] {
        assert_eq!(scan(key).status.code(), Some(2), "{}", told(&scan(key)));
    }
}

#[test]
fn a_watch_tests_again_when_the_file_changes() {
    let folder = folder("watch");
    let file = folder.join("p.toml");
    fs::write(&file, PACK).unwrap();
    let mut child = Command::new(binary(Build::Release))
        .args(["pack", "test", "--watch", &file.display().to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    fs::write(&file, PACK.replace("matches = [\"acme_1234\"]", "matches = []")).unwrap();
    let second = lines.next().unwrap().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(first.contains("1 of 1 examples hold"), "{first}");
    assert!(second.contains("expected []"), "{second}");
}

#[test]
fn hashes_and_schema_are_printed_for_files() {
    let allow = good(&["pack", "hash", "--salt", "0011223344556677"], b"acme_1234\nother\n");
    assert!(!allow.contains("acme_1234") && allow.matches("    \"").count() == 2, "{allow}");
    let folder = folder("hash");
    let file = folder.join("p.toml").display().to_string();
    fs::write(&file, format!("{PACK}{allow}")).unwrap();
    assert_eq!(good(&["mask", "--pack", &file], b"acme_1234 acme_1235"), "acme_1234 [acme]");
    let short = run(Build::Release, &["pack", "hash", "--salt", "00"], b"x\n");
    assert_eq!(short.status.code(), Some(2));
    let schema: Value = serde_json::from_str(&good(&["pack", "schema"], b"")).unwrap();
    assert_eq!(schema["required"][0], "pack");
}
