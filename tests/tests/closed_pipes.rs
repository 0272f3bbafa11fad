//! Whoever reads the output may leave (`sluice pack list | head -1`): a command says nothing of it and ends with the exit
//! code that it would have had. The reading end is closed before the command starts, so that every write fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{PipeWriter, Write, pipe};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use sluice_tests::process::{Build, binary};
use sluice_tests::wire::WAIT;

/// A text with a value in it.
const TEXT: &[u8] = b"mail jane.doe@example.org\n";

/// Commands that print, with the exit code they have.
const COMMANDS: &[(&[&str], i32)] = &[
    (&["pack", "list"], 0),
    (&["pack", "check", "builtin:pii"], 0),
    (&["pack", "test", "builtin:pii"], 0),
    (&["pack", "explain", "builtin:pii", "--rule", "email", "a@example.org"], 0),
    (&["pack", "explain", "builtin:pii", "--rule", "none", "a@example.org"], 2),
    (&["scan", "--pack", "builtin:pii", "--fail", "-"], 3),
    (&["scan", "--pack", "builtin:pii", "nowhere"], 2),
    (&["mask", "--pack", "builtin:pii", "--stats"], 0),
    (&["mask", "--pack", "builtin:pii", "--on-error", "text", "--format", "json"], 0),
    (&["mask", "nowhere"], 2),
    (&["serve"], 2),
    (&["help"], 0),
    (&["--version"], 0),
    (&["mask", "--nonsense"], 2),
];

/// The writing end of a pipe that nobody reads.
fn unread() -> PipeWriter {
    let (_, writer) = pipe().expect("a pipe");
    writer
}

/// Runs a command with a value on its standard input; its exit code and standard error.
fn run(args: &[&str], stdout: Stdio, stderr: Stdio) -> (Option<i32>, String) {
    let mut child = Command::new(binary(Build::Debug))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(stdout)
        .stderr(stderr)
        .spawn()
        .expect("sluice starts");
    // A command that reads no input is gone by now, or will be.
    let _ = child.stdin.take().expect("a pipe").write_all(TEXT);
    let output = child.wait_with_output().expect("sluice ends");
    (output.status.code(), String::from_utf8(output.stderr).expect("UTF-8"))
}

#[test]
fn a_reader_of_the_output_that_has_left_is_no_fault() {
    for (args, code) in COMMANDS {
        let (ended, told) = run(args, unread().into(), Stdio::piped());
        assert_eq!(ended, Some(*code), "{args:?}: {told}");
        assert!(!told.contains("panicked") && !told.contains("pipe"), "{args:?}: {told}");
    }
}

#[test]
fn a_reader_of_standard_error_that_has_left_is_no_fault() {
    for (args, code) in COMMANDS {
        let (ended, _) = run(args, Stdio::null(), unread().into());
        assert_eq!(ended, Some(*code), "{args:?}");
    }
}

/// A port that is free, by the look of it.
fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("an address")
}

#[test]
fn servers_serve_though_nobody_reads_their_addresses() {
    for command in ["serve", "demo"] {
        // The kernel may close the listener of an io_uring after its process has ended: each has a port of its own.
        let (gateway, other) = (free(), free().to_string());
        let address = gateway.to_string();
        let mut args = vec![command, "--listen", &address, "--pack", "builtin:pii"];
        args.extend(match command {
            "serve" => vec!["--upstream", "http://127.0.0.1:9", "--admin", &other, "--allow-anonymous"],
            _ => vec!["--llm", &other, "--admin", "127.0.0.1:0"],
        });
        let mut child = Command::new(binary(Build::Debug))
            .args(&args)
            .stdin(Stdio::null())
            .stdout(unread())
            .stderr(unread())
            .spawn()
            .expect("sluice starts");
        let deadline = Instant::now() + WAIT;
        while TcpStream::connect(gateway).is_err() {
            assert!(child.try_wait().expect("the child can be waited for").is_none(), "{args:?}: it ended");
            assert!(Instant::now() < deadline, "{args:?}: it does not listen");
            thread::park_timeout(Duration::from_millis(5));
        }
        let sent = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
        let status = child.wait().expect("it ends");
        assert!(status.success(), "{args:?}: {status}");
    }
}
