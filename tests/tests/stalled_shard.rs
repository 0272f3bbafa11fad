//! One shard that stands still: the others serve, what waits for it is answered once it runs again, and a gauge tells of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use nix::sys::ptrace::{self, Options};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use sluice_tests::DRIVERS;
use sluice_tests::observed::{assert_well, wait_for};
use sluice_tests::process::{Gateway, Server};
use sluice_tests::upstream::Upstream;
use sluice_tests::wire::{WAIT, ok};

/// Connections, so that both shards get some: with this many one gets none once in 2^39 runs.
const CONNECTIONS: usize = 40;

/// The thread of a shard.
fn thread_of(server: &Server, name: &str) -> Pid {
    let tasks = fs::read_dir(format!("/proc/{}/task", server.pid())).expect("the process runs");
    let is_it = |task: &fs::DirEntry| {
        fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim() == name)
    };
    let task = tasks.map(|task| task.expect("a thread")).find(is_it).expect("a thread of that name");
    Pid::from_raw(task.file_name().to_string_lossy().parse().expect("a number"))
}

/// Stops one thread, as nothing but a debugger can.
fn stop(thread: Pid) {
    ptrace::seize(thread, Options::empty()).expect("a child can be traced");
    ptrace::interrupt(thread).expect("it can be stopped");
    waitpid(thread, Some(WaitPidFlag::__WALL)).expect("it stops");
}

fn go_on(thread: Pid) {
    ptrace::detach(thread, None).expect("it goes on");
}

#[test]
fn the_others_serve_and_what_waits_is_answered_at_last() {
    for io in DRIVERS {
        let upstream = Upstream::answering(|_| ok("text/plain", "answered"));
        let mut gateway = Gateway::with_keys(&upstream.url(), io, &[]);
        let shard = thread_of(&gateway.server, "shard-1");
        stop(shard);
        let mut clients: Vec<TcpStream> = (0..CONNECTIONS)
            .map(|_| {
                let mut client = TcpStream::connect_timeout(&gateway.address, WAIT).expect("it connects");
                client
                    .write_all(b"GET /x HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n")
                    .expect("it takes bytes");
                client
            })
            .collect();
        wait_for(&gateway, "sluice_shards_stalled", |stalled| stalled == 1);
        // What can be answered by then is there: the other shard had two seconds.
        let is_answered = |client: &mut TcpStream| {
            client.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout");
            client.peek(&mut [0]).is_ok()
        };
        let answered = clients.iter_mut().filter_map(|client| is_answered(client).then_some(())).count();
        assert!(answered > 0 && answered < CONNECTIONS, "{io}: {answered} were answered");
        go_on(shard);
        for client in &mut clients {
            client.set_read_timeout(Some(WAIT)).expect("a timeout");
            let mut answer = String::new();
            client.read_to_string(&mut answer).expect("an answer");
            assert!(answer.ends_with("answered"), "{io}: {answer}");
        }
        drop(clients);
        wait_for(&gateway, "sluice_shards_stalled", |stalled| stalled == 0);
        assert_well(&mut gateway, io);
    }
}
