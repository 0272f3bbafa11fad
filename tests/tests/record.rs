//! The record from outside: a gateway writes it, the commands read it, and one flipped byte is found.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::thread;

use sluice_tests::planted::Planted;
use sluice_tests::process::{Build, Gateway, run};
use sluice_tests::upstream::Upstream;
use sluice_tests::wire::{Wire, ok, post};

/// A folder that is not there yet.
fn folder(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("sluice-record-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    path
}

fn sluice(args: &[&str]) -> Output {
    run(Build::Debug, args, b"")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn succeeds(args: &[&str]) -> String {
    let output = sluice(args);
    assert!(output.status.success(), "{args:?}: {output:?}");
    text(&output)
}

/// One exchange whose request repeats `value`, through a gateway that records into `folder` and then drains.
fn recorded(folder: &Path, value: &str) {
    let upstream = Upstream::bind();
    let mut gateway = Gateway::with_keys(&upstream.url(), "uring", &["--record", folder.to_str().unwrap()]);
    let body = format!(r#"{{"messages":[{{"role":"user","content":"My key is {value}"}}]}}"#);
    let request = post("/v1/chat/completions", "application/json", body);
    let served = thread::spawn(move || {
        let mut side = upstream.accept();
        side.message();
        let answer = r#"{"choices":[{"message":{"content":"noted"}}]}"#;
        side.send(ok("application/json", answer));
        side
    });
    let answer = Wire::connect(gateway.address).exchange(&request);
    assert_eq!(answer.status(), 200);
    drop(served.join().unwrap());
    gateway.server.signal("TERM");
    assert!(gateway.server.exit().success());
}

#[test]
fn an_exchange_is_listed_shown_replayed_exported_and_verified_until_a_byte_is_flipped() {
    let folder = folder("whole");
    let dir = folder.to_str().unwrap().to_owned();
    let planted = Planted::all().into_iter().find(|planted| planted.value.starts_with("AKIA")).unwrap();
    recorded(&folder, &planted.value);

    let listed = succeeds(&["sessions", "list", "--dir", &dir, "--json"]);
    let session: serde_json::Value = serde_json::from_str(listed.lines().next().unwrap()).unwrap();
    let id = session["session"].as_str().unwrap();
    assert_eq!(succeeds(&["sessions", "list", "--dir", &dir, "--subject", "nobody"]), "");
    let replayed = succeeds(&["sessions", "replay", "--dir", &dir, "--speed", "0", id]);
    assert!(replayed.contains("user: My key is [") && replayed.contains("assistant: noted"), "{replayed}");
    let har: serde_json::Value =
        serde_json::from_str(&succeeds(&["sessions", "export", "--dir", &dir, "--har", id])).unwrap();
    assert_eq!(har["log"]["entries"][0]["response"]["status"], 200);
    let shown = succeeds(&["sessions", "show", "--dir", &dir, id]);
    for output in [&listed, &replayed, &shown, &har.to_string()] {
        assert_eq!(planted.leak_in(output.as_bytes()), None, "{output}");
    }
    assert_eq!(sluice(&["sessions", "show", "--dir", &dir, "nobody"]).status.code(), Some(1));
    for file in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
        assert_eq!(planted.leak_in(&fs::read(&file).unwrap()), None, "{}", file.display());
    }

    let key = folder.join("signing-key.pem.pub");
    let verified = succeeds(&["audit", "verify", &dir, "--key", key.to_str().unwrap()]);
    assert!(verified.contains("verified: "), "{verified}");
    let segment = folder.join(format!("segment-{:020}.slr", 1));
    let mut bytes = fs::read(&segment).unwrap();
    bytes[400] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let output = sluice(&["audit", "verify", &dir]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("record 1"), "{}", text(&output));
    fs::remove_dir_all(folder).unwrap();
}
