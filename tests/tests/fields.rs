//! Declared fields of a pack, as a security team uses them: in the commands and through the gateway, told like any value.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use sluice_tests::DRIVERS;
use sluice_tests::process::{Build, Gateway, run};
use sluice_tests::upstream::Upstream;
use sluice_tests::wire::Wire;

const PACK: &str = r#"
[pack]
name = "fields"
version = "1"
[[field]]
id = "team-password"
path = "*password*"
entity = "password"
[[field]]
id = "team-debug"
path = "$.debug"
action = "drop"
[[field]]
id = "team-build"
path = "$.build"
action = "allow"
"#;
const BODY: &str = r#"{"db_password":[1,"x"],"debug":{"a":"b"},"build":"AKIAEZH5VTGLTMQAZX6T"}"#;
const MASKED: &str =
    r#"{"db_password":["[password]","[password]"],"debug":null,"build":"AKIAEZH5VTGLTMQAZX6T"}"#;

/// The pack in a file of this name.
fn pack(name: &str, text: &str) -> String {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&file, text).expect("a scratch file");
    file.display().to_string()
}

#[test]
fn commands_tell_fields_as_they_tell_rules() {
    let file = pack("fields.toml", PACK);
    let output = run(Build::Debug, &["mask", "--pack", &file, "--stats"], BODY.as_bytes());
    assert_eq!(String::from_utf8_lossy(&output.stdout), MASKED);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    for line in ["2  team-password", "1  team-debug", "3  matches"] {
        assert!(told.lines().any(|l| l.trim() == line), "{line} in {told}");
    }
    let output = run(Build::Debug, &["scan", "--pack", &file, "-"], BODY.as_bytes());
    let lines: Vec<Value> =
        String::from_utf8_lossy(&output.stdout).lines().map(|l| l.parse().expect("a line of JSON")).collect();
    let told: Vec<(&str, &str, &str)> = lines
        .iter()
        .map(|line| {
            let place = |key: &str| line[key].as_u64().expect("an offset") as usize;
            let text = |key: &str| line[key].as_str().expect("a text");
            (text("rule"), text("entity"), &BODY[place("start")..place("end")])
        })
        .collect();
    let wanted = [
        ("team-password", "password", "1"),
        ("team-password", "password", "x"),
        ("team-debug", "dropped", r#"{"a":"b"}"#),
    ];
    assert_eq!(told, wanted);
}

#[test]
fn a_path_that_is_none_is_told_with_its_line() {
    let file = pack("bad_fields.toml", &PACK.replace("$.debug", "$..debug"));
    for command in [&["pack", "check"][..], &["mask", "--pack"]] {
        let args: Vec<&str> = command.iter().copied().chain([file.as_str()]).collect();
        let output = run(Build::Debug, &args, b"");
        assert_eq!(output.status.code(), Some(2), "{command:?}");
        let told = [output.stderr, output.stdout].concat();
        let told = String::from_utf8_lossy(&told);
        assert!(told.contains(&format!("{file}:11: not a path: a name is empty")), "{told}");
    }
}

#[test]
fn the_gateway_masks_fields_both_ways_and_counts_them() {
    let file = pack("gateway_fields.toml", PACK);
    for io in DRIVERS {
        let upstream = Upstream::answering(|_| {
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
            format!("{head}content-length: {}\r\n\r\n{BODY}", BODY.len()).into_bytes()
        });
        let gateway = Gateway::with_keys(&upstream.url(), io, &["--pack", &file]);
        let mut client = Wire::connect(gateway.address);
        let request = format!(
            "POST / HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{BODY}",
            BODY.len()
        );
        let response = client.exchange(request.as_bytes());
        assert_eq!(String::from_utf8_lossy(&response.body), MASKED, "{io}");
        let request = upstream.take_requests().pop().expect("a request");
        assert_eq!(String::from_utf8_lossy(&request.body), MASKED, "{io}");
        let metrics =
            Wire::connect(gateway.admin).exchange("GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n");
        for line in [
            "sluice_matches_total{rule=\"team-password\"} 4",
            "sluice_matches_total{rule=\"team-debug\"} 2",
            "sluice_passed_bytes_total{reason=\"opaque_field\"} 40",
        ] {
            assert!(metrics.text().lines().any(|l| l == line), "{io}: {line} in {}", metrics.text());
        }
    }
}
