//! The commands, as scripts use them: exit codes, what goes to which output, and an output that never depends on how the
//! input was cut.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;
use sluice_tests::checkout;
use sluice_tests::planted::Planted;
use sluice_tests::process::{Build, binary, run};

/// The output of `sluice mask` fed with this many bytes at a time.
fn masked(args: &[&str], chunk: usize, input: &[u8]) -> Vec<u8> {
    let chunk = chunk.to_string();
    let all: Vec<&str> = ["mask", "--chunk", &chunk].into_iter().chain(args.iter().copied()).collect();
    let output = run(Build::Release, &all, input);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// The clean files of the corpus, and the first rows of the labelled ones; empty where the corpus is not there.
fn corpus(test: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let Some(shared) = checkout::shared() else {
        checkout::skip(test, "no corpus beside the checkout (SLUICE_SHARED)");
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = fs::read_dir(shared.join("corpus/clean"))
        .expect("clean traffic")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    files.push(shared.join("corpus/dev.jsonl"));
    files.into_iter().map(|file| (file.clone(), fs::read(&file).expect("a file of the corpus"))).collect()
}

#[test]
fn every_planted_value_is_masked_for_every_chunking() {
    let all = Planted::all();
    let text: String = all.iter().map(|planted| planted.sentence() + "\n\n").collect();
    let whole = masked(&["--format", "text"], 1 << 20, text.as_bytes());
    for planted in &all {
        assert_eq!(planted.leak_in(&whole), None, "{}: {}", planted.class, String::from_utf8_lossy(&whole));
    }
    for chunk in [1, 2, 3, 7, 64, 4096] {
        assert!(masked(&["--format", "text"], chunk, text.as_bytes()) == whole, "--chunk {chunk}");
    }
}

/// What is read at once, what is fed at once and what the kernel gives at once are three cuts of the same text.
#[test]
fn a_text_of_many_reads_is_masked_alike_for_every_chunking() {
    let sentences: String = Planted::all().iter().map(|planted| planted.sentence() + "\n\n").collect();
    let text = sentences.repeat(400_000_usize.div_ceil(sentences.len()));
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("many_reads.txt");
    fs::write(&file, &text).expect("a scratch file");
    let name = file.to_str().expect("UTF-8");
    let whole = masked(&["--format", "text"], 1 << 30, text.as_bytes());
    for chunk in [1000, 65_537, 1 << 30] {
        assert!(masked(&["--format", "text", name], chunk, b"") == whole, "--chunk {chunk} of a file");
    }
    assert!(masked(&["--format", "text"], 65_537, text.as_bytes()) == whole, "of a pipe");
    for planted in Planted::all() {
        assert_eq!(planted.leak_in(&whole), None, "{}", planted.class);
    }
}

/// What is read ahead is not read for later: a pause in the input holds nothing back that could leave.
#[test]
fn what_came_before_a_pause_leaves_before_its_end() {
    let mut child = Command::new(binary(Build::Debug))
        .args(["mask", "--format", "text"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("sluice starts");
    let (mut stdin, mut stdout) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
    for _ in 0..3 {
        stdin.write_all(b"the key AKIAEZH5VTGLTMQAZX6T is here.\n").expect("sluice reads");
        let mut line = [0; "the key [aws_access_key] is here.\n".len()];
        stdout.read_exact(&mut line).expect("a line comes while the input goes on");
        assert_eq!(&line, b"the key [aws_access_key] is here.\n");
    }
    drop(stdin);
    assert!(child.wait().expect("sluice ends").success());
}

#[test]
fn clean_files_leave_as_they_came_but_for_what_scan_reports() {
    for (file, bytes) in corpus("clean_files_leave_as_they_came_but_for_what_scan_reports") {
        let whole = masked(&["--format", "text"], 1 << 20, &bytes);
        let scanned = run(Build::Release, &["scan", "--format", "text", "-"], &bytes);
        assert!(scanned.status.success(), "{}", file.display());
        let found: Vec<Value> = scanned
            .stdout
            .split(|b| *b == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).expect("a line of scan is JSON"))
            .collect();
        // Between two findings, the output is the input.
        let (mut at, mut rest) = (0, whole.as_slice());
        for finding in &found {
            let offset =
                |name: &str| usize::try_from(finding[name].as_u64().expect("an offset")).expect("fits");
            let clean = &bytes[at..offset("start")];
            assert!(rest.starts_with(clean), "{}: bytes before {finding} changed", file.display());
            rest = &rest[clean.len()..];
            let label = format!("[{}]", finding["entity"].as_str().expect("an entity"));
            assert!(
                rest.starts_with(label.as_bytes()),
                "{}: {finding} is not masked by its label",
                file.display()
            );
            rest = &rest[label.len()..];
            at = offset("end");
        }
        assert!(rest == &bytes[at..], "{}: bytes after the last finding changed", file.display());
    }
}

#[test]
fn scan_tells_where_and_never_what() {
    let planted = Planted::all();
    let text: String = planted.iter().map(|p| p.sentence() + "\n").collect();
    let output = run(Build::Debug, &["scan", "-"], text.as_bytes());
    assert_eq!(output.status.code(), Some(0));
    for p in &planted {
        assert_eq!(p.leak_in(&output.stdout), None, "{}", p.class);
    }
    let lines = String::from_utf8(output.stdout).expect("UTF-8");
    for line in lines.lines() {
        let finding: Value = serde_json::from_str(line).expect("JSON");
        for key in ["file", "rule", "entity", "start", "end", "line", "column", "confidence"] {
            assert!(!finding[key].is_null(), "{key} in {line}");
        }
        let start = usize::try_from(finding["start"].as_u64().expect("an offset")).expect("fits");
        let line_number = text[..start].matches('\n').count() + 1;
        assert_eq!(finding["line"].as_u64(), Some(line_number as u64), "{line}");
    }
    assert!(lines.lines().count() >= planted.len(), "{lines}");
    let output = run(Build::Debug, &["scan", "--fail", "-"], text.as_bytes());
    assert_eq!(output.status.code(), Some(3));
    let output = run(Build::Debug, &["scan", "--fail", "-"], b"nothing here\n");
    assert_eq!((output.status.code(), output.stdout.len()), (Some(0), 0));
}

#[test]
fn a_body_that_is_not_valid_in_its_format_is_refused() {
    let text = b"{\"a\": \"fine\", \"b\": } AKIAEZH5VTGLTMQAZX6T";
    let output = run(Build::Debug, &["mask", "--format", "json"], text);
    assert_eq!(output.status.code(), Some(1));
    assert!(!String::from_utf8_lossy(&output.stdout).contains("AKIA"));
    assert!(!String::from_utf8_lossy(&output.stderr).contains("AKIA"));
    assert!(!output.stderr.is_empty());
    let output = run(Build::Debug, &["mask", "--format", "json", "--on-error", "text"], text);
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stdout).ends_with(" [aws_access_key]"));
}

#[test]
fn the_built_in_packs_pass_their_own_examples() {
    for pack in ["builtin:secrets", "builtin:pii"] {
        for command in ["check", "test"] {
            let output = run(Build::Release, &["pack", command, pack], b"");
            assert!(output.status.success(), "{command} {pack}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
    let output = run(Build::Release, &["pack", "list"], b"");
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(listed.contains("builtin:secrets") && listed.contains("builtin:pii"), "{listed}");
}

#[test]
fn usage_errors_are_said_so() {
    for args in [&["mask", "--format", "nonsense"][..], &["nonsense"], &["mask", "--chunk", "0"], &["serve"]]
    {
        let output = run(Build::Debug, args, b"");
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{args:?}");
    }
    // Everyone who reaches the port may use it: that has to be said.
    let output =
        run(Build::Debug, &["serve", "--listen", "127.0.0.1:0", "--upstream", "http://127.0.0.1:9"], b"");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--allow-anonymous"));
}

#[test]
fn a_text_over_the_limit_is_not_explained() {
    let explain = ["pack", "explain", "builtin:pii", "--rule", "email", "-"];
    let end = b"mail jane.doe@example.org in the end.";
    let mut text = b"words, ".repeat(1 << 18);
    text.truncate((1 << 20) - end.len());
    text.extend_from_slice(end);
    let output = run(Build::Release, &explain, &text);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!told.is_empty() && !told.contains("jane"), "{told}");
    text.push(b'.');
    let output = run(Build::Release, &explain, &text);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    assert!(String::from_utf8_lossy(&output.stderr).contains("1 MiB"));
}
