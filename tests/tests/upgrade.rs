//! SIGUSR2: another process takes the place of the one that serves, with the same sockets, and under load no connection is
//! refused, reset or left without an answer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use sluice_tests::DRIVERS;
use sluice_tests::configured::Configured;
use sluice_tests::upstream::Upstream;
use sluice_tests::wire::{WAIT, Wire, ok};

/// Clients at once.
const CLIENTS: usize = 6;
/// How long anything of an upgrade may take.
const TAKES_MAX: Duration = Duration::from_secs(40);

/// The process that has taken over, ended with the test.
struct Successor(u32);

impl Successor {
    /// Waits until the gateway says that the `number`th one has taken over.
    fn of(gateway: &Configured, number: usize) -> Successor {
        let deadline = Instant::now() + TAKES_MAX;
        loop {
            let printed = gateway.server.printed();
            let mut pids = printed.iter().filter_map(|line| {
                let rest = line.strip_prefix("sluice: process ")?;
                rest.split(' ').next()?.parse().ok()
            });
            if let Some(pid) = pids.nth(number) {
                return Successor(pid);
            }
            assert!(Instant::now() < deadline, "nobody takes over: {printed:#?}");
            thread::park_timeout(Duration::from_millis(10));
        }
    }

    fn signal(&self, name: &str) -> bool {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.0.to_string()]).output();
        sent.expect("kill runs").status.success()
    }

    fn is_running(&self) -> bool {
        let status = fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap_or_default();
        !status.is_empty() && !status.contains(") Z ")
    }

    fn wait_for_end(&self) {
        let deadline = Instant::now() + TAKES_MAX;
        while self.is_running() {
            assert!(Instant::now() < deadline, "process {} does not end", self.0);
            thread::park_timeout(Duration::from_millis(10));
        }
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        let _ = self.signal("KILL");
    }
}

/// Clients that ask without a pause until they are told to stop: half of them on a connection for each request, the others
/// on one for as long as it lasts.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    fn start(address: SocketAddr) -> Load {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let client = |number| {
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            thread::spawn(move || ask(address, number % 2 == 0, &stop, &answered))
        };
        let clients = (0..CLIENTS).map(client).collect();
        Load { stop, answered, clients }
    }

    /// Waits until so many more requests were answered.
    fn more(&self, count: usize) {
        let wanted = self.answered.load(Ordering::SeqCst) + count;
        let deadline = Instant::now() + TAKES_MAX;
        while self.answered.load(Ordering::SeqCst) < wanted {
            assert!(Instant::now() < deadline, "requests are not answered");
            thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// Every request that failed.
    fn faults(self) -> Vec<String> {
        self.stop.store(true, Ordering::SeqCst);
        self.clients.into_iter().flat_map(|client| client.join().expect("no client panics")).collect()
    }
}

fn ask(address: SocketAddr, is_short: bool, stop: &AtomicBool, answered: &AtomicUsize) -> Vec<String> {
    let mut faults = Vec::new();
    let mut kept: Option<TcpStream> = None;
    while !stop.load(Ordering::SeqCst) && faults.len() < 20 {
        let is_new = kept.is_none();
        match exchange(kept.take(), address, is_short) {
            Ok(stream) => {
                kept = stream;
                answered.fetch_add(1, Ordering::SeqCst);
            }
            Err(e) => faults.push(format!("new: {is_new}, short: {is_short}: {e}")),
        }
    }
    faults
}

/// One request; gives the connection back where it goes on.
fn exchange(
    kept: Option<TcpStream>,
    address: SocketAddr,
    is_short: bool,
) -> std::io::Result<Option<TcpStream>> {
    let mut stream = match kept {
        Some(stream) => stream,
        None => TcpStream::connect_timeout(&address, WAIT)?,
    };
    stream.set_read_timeout(Some(WAIT))?;
    let close = if is_short { "connection: close\r\n" } else { "" };
    stream.write_all(format!("GET /x HTTP/1.1\r\nhost: test\r\n{close}\r\n").as_bytes())?;
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    while !answer.ends_with(b"answered") {
        let len = stream.read(&mut chunk)?;
        if len == 0 {
            let text = format!("the end, behind {:?}", String::from_utf8_lossy(&answer));
            return Err(std::io::Error::other(text));
        }
        answer.extend_from_slice(&chunk[..len]);
    }
    let ends = String::from_utf8_lossy(&answer).to_lowercase().contains("connection: close");
    Ok((!ends).then_some(stream))
}

fn text(io: &str, upstream: &str) -> String {
    Configured::text(io, "", &format!("url = \"{upstream}\""), "")
}

fn pid_of(gateway: &Configured) -> u32 {
    gateway.server.pid()
}

#[test]
fn two_upgrades_under_load_lose_no_request() {
    for io in DRIVERS {
        let upstream = Upstream::answering(|_| ok("text/plain", "answered"));
        let mut gateway = Configured::start(&text(io, &upstream.url()));
        let load = Load::start(gateway.address);
        load.more(50);
        gateway.server.signal("USR2");
        let first = Successor::of(&gateway, 0);
        assert_ne!(first.0, pid_of(&gateway));
        load.more(50);
        assert_eq!(gateway.server.exit().code(), Some(0), "{io}: it drains and ends");
        // On the same admin port, without what the one before had counted, and by another file.
        assert_eq!(gateway.version(), 1, "{io}");
        gateway.write("sluice.toml", &text(io, &upstream.url()).replace("shards = 2", "shards = 1"));
        assert!(first.signal("USR2"));
        let second = Successor::of(&gateway, 1);
        load.more(50);
        first.wait_for_end();
        load.more(50);
        assert_eq!(gateway.status()["shards"], 1, "{io}");
        let faults = load.faults();
        assert!(faults.is_empty(), "{io}: {} requests failed: {faults:#?}", faults.len());
        assert!(second.signal("TERM"));
        second.wait_for_end();
        assert!(TcpStream::connect(gateway.address).is_err(), "{io}: nobody listens any more");
    }
}

#[test]
fn an_exchange_that_runs_is_finished_by_the_process_that_began_it() {
    let upstream = Upstream::bind();
    let mut gateway = Configured::start(&text("uring", &upstream.url()));
    let mut client = Wire::connect(gateway.address);
    client.send("GET /s HTTP/1.1\r\nhost: test\r\n\r\n");
    let mut server = upstream.accept();
    server.head();
    gateway.server.signal("USR2");
    let _successor = Successor::of(&gateway, 0);
    assert!(gateway.server.is_running());
    let mut other = Wire::connect(gateway.address);
    other.send("GET /t HTTP/1.1\r\nhost: test\r\n\r\n");
    let mut beside = upstream.accept();
    assert_eq!(beside.head().target(), "/t");
    beside.send(ok("text/plain", "by the new one"));
    assert_eq!(other.message().text(), "by the new one");
    server.send(ok("text/plain", "by the old one"));
    assert_eq!(client.message().text(), "by the old one");
    assert_eq!(gateway.server.exit().code(), Some(0));
}

#[test]
fn a_new_process_that_does_not_start_changes_nothing() {
    let upstream = Upstream::answering(|_| ok("text/plain", "answered"));
    let good = text("uring", &upstream.url());
    let mut gateway = Configured::start(&good);
    let told = |gateway: &Configured| {
        gateway.server.printed().iter().filter(|line| line.contains("this process goes on")).count()
    };
    let driver = if good.contains("io = \"uring\"") { good.replace("\"uring\"", "\"epoll\"") } else { good };
    for (number, bad) in ["not TOML", &driver].iter().enumerate() {
        gateway.write("sluice.toml", bad);
        gateway.server.signal("USR2");
        let deadline = Instant::now() + TAKES_MAX;
        while told(&gateway) <= number {
            assert!(Instant::now() < deadline, "{:#?}", gateway.server.printed());
            thread::park_timeout(Duration::from_millis(10));
        }
        assert_eq!(gateway.get("/x").text(), "answered");
        assert!(gateway.server.is_running());
    }
}

#[test]
fn the_file_of_a_unix_socket_stays_and_the_last_process_removes_it() {
    let upstream = Upstream::answering(|_| ok("text/plain", "answered"));
    let path = std::env::temp_dir().join(format!("sluice-upgrade-{}.sock", std::process::id()));
    let listener =
        format!("[[listener]]\nname = \"unix\"\nlisten = \"unix:{}\"\n\n[[upstream]]", path.display());
    let mut gateway =
        Configured::start(&text("uring", &upstream.url()).replacen("[[upstream]]", &listener, 1));
    gateway.server.signal("USR2");
    let successor = Successor::of(&gateway, 0);
    assert_eq!(gateway.server.exit().code(), Some(0));
    let mut client = UnixStream::connect(&path).expect("it accepts connections");
    client.write_all(b"GET /x HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").expect("it takes bytes");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("an answer");
    assert!(answer.ends_with("answered"), "{answer}");
    assert!(successor.signal("TERM"));
    successor.wait_for_end();
    assert!(!path.exists());
}

/// Connections that wait in the queue of a socket are not reset when a plain drain closes it.
#[test]
fn a_drain_answers_what_had_connected_before_it() {
    for io in DRIVERS {
        let upstream = Upstream::answering(|_| ok("text/plain", "answered"));
        let mut gateway = Configured::start(&text(io, &upstream.url()));
        // Both shards stand still, so that nobody accepts.
        gateway.server.signal("STOP");
        let mut clients: Vec<Wire> = (0..40).map(|_| Wire::connect(gateway.address)).collect();
        gateway.server.signal("TERM");
        gateway.server.signal("CONT");
        for (number, client) in clients.iter_mut().enumerate() {
            client.send("GET /x HTTP/1.1\r\nhost: test\r\n\r\n");
            assert_eq!(client.message().text(), "answered", "{io}: connection {number}");
        }
        assert_eq!(gateway.server.exit().code(), Some(0), "{io}");
    }
}
