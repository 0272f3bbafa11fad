//! `sluice scan` as a process: what is named is scanned, and `--fail` holds whoever reads the output.

use std::io::Write;
use std::process::{Command, Stdio};

const LINE: &[u8] = b"mail jane.doe@example.org\n";
const FOUND: Option<i32> = Some(3);

fn scan(file: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
    command.args(["scan", "--quiet", "--fail", "--pack", "builtin:pii", file]);
    command
}

/// `/proc/self/fd/0` is a pipe here, as a shell's `<(…)` is.
#[test]
fn a_pipe_that_is_named_is_scanned() {
    let mut child = scan("/proc/self/fd/0").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(LINE).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), FOUND);
    assert!(String::from_utf8(output.stdout).unwrap().contains(r#""rule":"email""#));
}

#[test]
fn a_reader_that_leaves_does_not_hide_what_was_found() {
    let mut child = scan("-").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut input = child.stdin.take().unwrap();
    input.write_all(LINE).unwrap();
    drop(input);
    assert_eq!(child.wait().unwrap().code(), FOUND);
}
