//! Built packs in the commands: what is built masks as its TOML does, and what can't be used says why.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::PathBuf;

use sluice_tests::checkout;
use sluice_tests::planted::Planted;
use sluice_tests::process::{Build, run};

/// Bytes of the labelled corpus that are masked.
const CORPUS_BYTES: usize = 1 << 20;

/// The packs that are built in, as files.
fn built(folder: &str) -> Vec<String> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(folder);
    fs::create_dir_all(&folder).expect("a folder");
    let build = |name: &&str| {
        let path = folder.join(format!("{name}.built")).display().to_string();
        let output = run(Build::Release, &["pack", "build", &format!("builtin:{name}"), "-o", &path], b"");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        path
    };
    ["secrets", "pii"].iter().map(build).collect()
}

fn outputs(args: &[&str], packs: &[&str], input: &[u8]) -> Vec<u8> {
    let packs = packs.iter().flat_map(|pack| ["--pack", pack]);
    let args: Vec<&str> = args.iter().copied().chain(packs).collect();
    let output = run(Build::Release, &args, input);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn a_built_pack_masks_and_finds_as_its_toml_does() {
    let files = built("alike");
    let mut text: String = Planted::all().iter().map(|planted| planted.sentence() + "\n").collect();
    match checkout::shared() {
        Some(shared) => {
            let rows = fs::read_to_string(shared.join("corpus/dev.jsonl")).expect("the labelled corpus");
            text.extend(rows.lines().map(|row| format!("{row}\n")).take_while({
                let mut left = CORPUS_BYTES;
                move |row| {
                    left = left.saturating_sub(row.len());
                    left > 0
                }
            }));
        }
        None => checkout::skip("built packs", "no corpus beside the checkout (SLUICE_SHARED)"),
    }
    let written = ["builtin:secrets", "builtin:pii"];
    let mixed = ["builtin:secrets", files[1].as_str()];
    let files = [files[0].as_str(), files[1].as_str()];
    for args in [
        &["mask", "--format", "text"][..],
        &["mask", "--chunk", "61"],
        &["mask", "--strategy", "keep:1,1", "--format", "text"],
        &["scan", "-"],
    ] {
        let wanted = outputs(args, &written, text.as_bytes());
        assert!(!wanted.is_empty());
        assert!(outputs(args, &files, text.as_bytes()) == wanted, "{args:?}: another output");
        assert!(outputs(args, &mixed, text.as_bytes()) == wanted, "{args:?}: another output of both kinds");
    }
}

#[test]
fn a_built_pack_is_checked_tested_and_explained() {
    let files = built("tested");
    let told = |args: &[&str]| {
        let output = run(Build::Release, args, b"");
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let pii = files[1].as_str();
    assert!(told(&["pack", "check", pii]).contains("ok"));
    assert!(told(&["pack", "test", pii]).contains("examples hold"));
    let explain = |pack| told(&["pack", "explain", pack, "--rule", "email", "write to jane.doe@example.org"]);
    assert_eq!(explain(pii), explain("builtin:pii"));
    // What is built may be built again, over itself.
    let before = fs::read(pii).expect("the file");
    told(&["pack", "build", pii, "-o", pii]);
    assert!(fs::read(pii).expect("the file") == before);
}

#[test]
fn what_cannot_be_used_says_why() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("refused");
    fs::create_dir_all(&folder).expect("a folder");
    let file = built("refused").remove(1);
    let whole = fs::read(&file).expect("the file");
    let refused = |name: &str, bytes: &[u8], reason: &str| {
        let path = folder.join(name).display().to_string();
        fs::write(&path, bytes).expect("a file");
        for args in
            [&["pack", "check", &path][..], &["mask", "--pack", &path], &["scan", "-", "--pack", &path]]
        {
            let output = run(Build::Release, args, b"");
            let told = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{args:?}: {told}");
            assert!(told.starts_with(&format!("{path}: ")) && told.contains(reason), "{args:?}: {told}");
        }
    };
    refused("cut", &whole[..whole.len() / 2], "cut short");
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 4;
    refused("flipped", &flipped, "damaged");
    let mut other = whole.clone();
    other[20] = b'7';
    refused("other", &other, "build it again with `sluice pack build`");
    // A pack with faults is not built, and what was there stays.
    let bad = folder.join("bad.toml");
    fs::write(&bad, "[pack]\nname = 'x'\nversion = '1'\n[[rule]]\nid = 'a'\nentity = 'a'\nregex = '('\n")
        .expect("a file");
    let output = run(Build::Release, &["pack", "build", &bad.display().to_string(), "-o", &file], b"");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("bad.toml:7: "));
    assert!(fs::read(&file).expect("the file") == whole);
    let output = run(Build::Release, &["pack", "build", "builtin:pii", "-o", "/nonexistent/x"], b"");
    assert_eq!(output.status.code(), Some(1));
}
