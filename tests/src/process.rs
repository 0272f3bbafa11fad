//! The real binary: started, watched, ended.

use std::env;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use crate::checkout;

/// How long a started server may take to print its addresses, and to exit when told to.
const START_MS_MAX: u64 = 20_000;

/// Which build of the binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Build {
    /// With debug assertions: for behaviour.
    Debug,
    /// As released: for what is measured.
    Release,
}

/// The path of the binary; `tests/run` builds it and says where (`SLUICE_BIN`, `SLUICE_BIN_RELEASE`), else cargo is
/// asked to build it now.
#[must_use]
pub fn binary(build: Build) -> PathBuf {
    static DEBUG: OnceLock<PathBuf> = OnceLock::new();
    static RELEASE: OnceLock<PathBuf> = OnceLock::new();
    let (cell, variable) = match build {
        Build::Debug => (&DEBUG, "SLUICE_BIN"),
        Build::Release => (&RELEASE, "SLUICE_BIN_RELEASE"),
    };
    cell.get_or_init(|| env::var_os(variable).map_or_else(|| built(build), PathBuf::from)).clone()
}

/// Builds the binary and says where cargo put it.
fn built(build: Build) -> PathBuf {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["build", "--quiet", "-p", "sluice", "--message-format", "json"])
        .current_dir(checkout::root());
    if build == Build::Release {
        command.arg("--release");
    }
    let output = command.stderr(Stdio::inherit()).output().expect("cargo runs");
    assert!(output.status.success(), "sluice does not build");
    let messages = String::from_utf8(output.stdout).expect("cargo prints UTF-8");
    let executable = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "sluice")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from));
    executable.expect("cargo names the executable")
}

/// Runs a command of the binary with `input` on its standard input, to its end.
#[must_use]
pub fn run(build: Build, args: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(binary(build))
        .args(args)
        .env_remove("NO_COLOR")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("sluice starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    thread::scope(|scope| {
        // A command that refuses its input closes the pipe early; its exit code says so.
        scope.spawn(move || {
            let _ = stdin.write_all(input);
        });
        child.wait_with_output().expect("sluice ends")
    })
}

/// A pack of one rule, for keys of AWS.
#[must_use]
pub fn keys_pack() -> String {
    checkout::root().join("tests/cases/keys.toml").display().to_string()
}

/// A server of the binary: `serve` or `demo`. Killed when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    lines: Receiver<String>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Starts the binary with these arguments.
    #[must_use]
    pub fn start(build: Build, args: &[OsString]) -> Server {
        let mut child = Command::new(binary(build))
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("sluice starts");
        let (sender, lines) = channel();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let outputs: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().expect("a pipe")), Box::new(child.stderr.take().expect("a pipe"))];
        for output in outputs {
            let (sender, seen) = (sender.clone(), Arc::clone(&seen));
            thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    seen.lock().expect("no holder panics").push(line.clone());
                    let _ = sender.send(line);
                }
            });
        }
        Server { child, lines, seen }
    }

    /// Waits until a line that holds `word` is printed, and gives the address in it.
    pub fn address(&mut self, word: &str) -> SocketAddr {
        let deadline = Instant::now() + Duration::from_millis(START_MS_MAX);
        let mut earlier = self.seen.lock().expect("no holder panics").clone().into_iter();
        loop {
            let line = match earlier.next() {
                Some(line) => line,
                None => self.line_before(deadline),
            };
            if let Some(address) = address_in(&line).filter(|_| line.to_lowercase().contains(word)) {
                return address;
            }
        }
    }

    fn line_before(&mut self, deadline: Instant) -> String {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.lines.recv_timeout(left) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => panic!("no such line in time; printed: {:#?}", self.printed()),
            Err(RecvTimeoutError::Disconnected) => panic!("sluice ended; printed: {:#?}", self.printed()),
        }
    }

    /// All that was printed so far, on either output.
    #[must_use]
    pub fn printed(&self) -> Vec<String> {
        self.seen.lock().expect("no holder panics").clone()
    }

    /// The process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name: `TERM`, `INT`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status();
        assert!(sent.expect("kill runs").success(), "the signal could not be sent");
    }

    /// Waits for the exit.
    pub fn exit(&mut self) -> ExitStatus {
        let deadline = Instant::now() + Duration::from_millis(START_MS_MAX);
        loop {
            if let Some(status) = self.child.try_wait().expect("the child can be waited for") {
                return status;
            }
            assert!(Instant::now() < deadline, "sluice does not exit; printed: {:#?}", self.printed());
            thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// Whether the process still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("the child can be waited for").is_none()
    }

    /// The most memory the process ever held resident, in KiB (`VmHWM` of proc(5)).
    #[must_use]
    pub fn resident_kib_max(&self) -> u64 {
        resident_kib_max(self.pid())
    }
}

/// The most memory a process ever held resident, in KiB (`VmHWM` of proc(5)).
#[must_use]
pub fn resident_kib_max(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM is there");
    line.trim().trim_end_matches(" kB").trim().parse().expect("a number")
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("sluice printed: {:#?}", self.printed());
        }
    }
}

/// The address in a line that holds `http://ADDR` or `https://ADDR`.
fn address_in(line: &str) -> Option<SocketAddr> {
    let rest = line.split("://").nth(1)?;
    let end = rest.find(|c: char| !(c.is_ascii_hexdigit() || matches!(c, '.' | ':' | '[' | ']')));
    rest.get(..end.unwrap_or(rest.len()))?.parse().ok()
}

/// `sluice serve` before an upstream.
#[derive(Debug)]
pub struct Gateway {
    /// The process.
    pub server: Server,
    /// Where clients connect.
    pub address: SocketAddr,
    /// The admin port.
    pub admin: SocketAddr,
}

/// How a [`Gateway`] is started.
#[derive(Clone, Debug)]
pub struct GatewayOptions {
    /// Which build.
    pub build: Build,
    /// `--io`.
    pub io: &'static str,
    /// Further arguments.
    pub args: Vec<String>,
}

impl Default for GatewayOptions {
    fn default() -> Self {
        GatewayOptions { build: Build::Debug, io: "uring", args: Vec::new() }
    }
}

impl Gateway {
    /// Starts it on ports of its own before `upstream`, and waits until it listens.
    #[must_use]
    pub fn start(upstream: &str, options: &GatewayOptions) -> Gateway {
        let mut args: Vec<OsString> = ["serve", "--listen", "127.0.0.1:0", "--upstream", upstream]
            .into_iter()
            .chain(["--allow-anonymous", "--admin", "127.0.0.1:0", "--io", options.io])
            .map(OsString::from)
            .collect();
        if !options.args.iter().any(|arg| arg == "--shards") {
            // Two, so that what must not depend on the shard meets both.
            args.extend(["--shards".into(), "2".into()]);
        }
        args.extend(options.args.iter().map(OsString::from));
        let mut server = Server::start(options.build, &args);
        let address = server.address("gateway");
        let admin = server.address("admin");
        Gateway { server, address, admin }
    }

    /// With the rule of [`keys_pack`] alone, which starts at once, and further arguments.
    #[must_use]
    pub fn with_keys(upstream: &str, io: &'static str, args: &[&str]) -> Gateway {
        let args =
            ["--pack", &keys_pack()].into_iter().chain(args.iter().copied()).map(String::from).collect();
        Gateway::start(upstream, &GatewayOptions { io, args, ..GatewayOptions::default() })
    }

    /// With `--io` and otherwise the defaults.
    #[must_use]
    pub fn with_driver(upstream: &str, io: &'static str) -> Gateway {
        Gateway::start(upstream, &GatewayOptions { io, ..GatewayOptions::default() })
    }
}
