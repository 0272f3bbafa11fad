//! What can be seen of a running gateway from outside: memory, descriptors, counters.

use std::net::SocketAddr;
use std::time::{Duration, Instant};
use std::{fs, thread};

use crate::process::Gateway;
use crate::wire::{WAIT, Wire};

/// The memory that a process holds resident, in KiB (`VmRSS` of proc(5)).
#[must_use]
pub fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS is there");
    line.trim().trim_end_matches(" kB").trim().parse().expect("a number")
}

/// How many descriptors a process has open.
#[must_use]
pub fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("the process runs").count()
}

/// A value of `/metrics` by its name with labels; 0 where it is not there.
#[must_use]
pub fn metric(gateway: &Gateway, name: &str) -> u64 {
    metric_at(gateway.admin, name)
}

/// The same of an admin server.
#[must_use]
pub fn metric_at(admin: SocketAddr, name: &str) -> u64 {
    let mut admin = Wire::connect(admin);
    let metrics = admin.exchange("GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let line = metrics.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0, |value| value.trim().parse::<f64>().expect("a number") as u64)
}

/// Waits until a value of `/metrics` is as wanted.
///
/// # Panics
/// It does not become so in time.
pub fn wait_for(gateway: &Gateway, name: &str, wanted: impl Fn(u64) -> bool) {
    let deadline = Instant::now() + WAIT;
    loop {
        let value = metric(gateway, name);
        if wanted(value) {
            return;
        }
        assert!(Instant::now() < deadline, "{name} stays {value}");
        thread::park_timeout(Duration::from_millis(10));
    }
}

/// Checks, after the clients have left, that a gateway is as it was: it lives and answers, no connection is open, nothing
/// is held back, nothing has panicked.
///
/// # Panics
/// It is not.
pub fn assert_well(gateway: &mut Gateway, what: &str) {
    assert!(gateway.server.is_running(), "{what}: the process ended");
    wait_for(gateway, "sluice_connections_open", |open| open == 0);
    wait_for(gateway, "sluice_hold_back_bytes", |held| held == 0);
    assert_eq!(metric(gateway, "sluice_panics_total"), 0, "{what}: something panicked");
}

/// Closes a connection with a reset.
///
/// # Panics
/// The socket is gone.
pub fn reset(wire: Wire) {
    use std::os::fd::AsRawFd;
    let now = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    let socket = wire.stream().as_raw_fd();
    nix::sys::socket::setsockopt(socket, nix::sys::socket::sockopt::Linger, &now)
        .expect("a socket can be told so");
    drop(wire);
}
