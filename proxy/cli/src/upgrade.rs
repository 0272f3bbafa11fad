//! An upgrade of the binary while it serves: the program is started anew with the same arguments, gets the listening
//! sockets, and says when it serves; then the process before it drains.
//!
//! ```text
//!   SIGUSR2 ──► spawn ──sockets──► new: reads, compiles, listens ──"ready"──► old: drains, ends
//!                 │                  │ fails, or is too slow
//!                 ▼                  ▼
//!               told               killed, told: the old process goes on as if nothing had been asked
//! ```
//!
//! The sockets go over a socket of Unix that is the new process's standard input, each with the name of its listener
//! (`SCM_RIGHTS`, unix(7)). Descriptors that are inherited by number, as systemd's `LISTEN_FDS` are, were rejected: nothing
//! tells who made them, and a number is no owner.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recv, recvmsg, send, sendmsg, socketpair,
};
use sluice_data::ListenSockets;

/// Set for a process that gets its sockets from the one before it.
const VARIABLE: &str = "SLUICE_UPGRADE";
/// How long the new process may take until it serves: packs are compiled before.
const READY_MAX: Duration = Duration::from_secs(60);
/// Bytes of a message: a kind and a name.
const MESSAGE_BYTES_MAX: usize = 256;
/// Sockets that are taken: as many as there can be shards and listeners, and the admin server's.
const SOCKETS_MAX: usize = 64 * 1024 + 1;

const LISTENER: u8 = b'l';
const ADMIN: u8 = b'a';
const END: u8 = b'.';
const READY: &[u8] = b"ready";

/// How this process was started: to do the same again.
pub(crate) struct Program {
    /// Known from the start: what runs may be replaced by then.
    path: PathBuf,
    args: Vec<OsString>,
}

/// Why there is no new process.
#[derive(Debug)]
pub(crate) enum UpgradeError {
    /// The program can't be started, or not be given the sockets.
    Start(PathBuf, io::Error),
    /// It ended, or did not serve in time.
    NotReady,
}

impl fmt::Display for UpgradeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UpgradeError::Start(path, e) => write!(f, "{} can't be started: {e}", path.display()),
            UpgradeError::NotReady => {
                write!(f, "the new process ended, or did not serve within {} s", READY_MAX.as_secs())
            }
        }
    }
}

impl std::error::Error for UpgradeError {}

impl Program {
    pub(crate) fn of_this_process() -> io::Result<Program> {
        Ok(Program { path: std::env::current_exe()?, args: std::env::args_os().skip(1).collect() })
    }

    /// Starts it on these sockets and waits until it serves. Gives its process id.
    ///
    /// # Errors
    /// There is no such process then.
    pub(crate) fn hand_over(
        &self,
        sockets: &ListenSockets,
        admin: Option<&OwnedFd>,
    ) -> Result<u32, UpgradeError> {
        let failed = |e: io::Error| UpgradeError::Start(self.path.clone(), e);
        let (ours, theirs) = pair().map_err(failed)?;
        let mut child = Command::new(&self.path)
            .args(&self.args)
            .env(VARIABLE, "1")
            .stdin(Stdio::from(theirs))
            .spawn()
            .map_err(failed)?;
        let given = give(&ours, sockets, admin).map_err(failed);
        let ready = given.and_then(|()| match is_ready(&ours) {
            true => Ok(child.id()),
            false => Err(UpgradeError::NotReady),
        });
        if ready.is_err() {
            end(&mut child);
        }
        ready
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Both ends of what sockets are given through; neither waits for ever.
fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    for timeout in [Timeout::Recv, Timeout::Send] {
        set_socket_timeout(&ours, timeout, Some(READY_MAX))?;
        set_socket_timeout(&theirs, timeout, Some(READY_MAX))?;
    }
    Ok((ours, theirs))
}

fn give(to: &OwnedFd, sockets: &ListenSockets, admin: Option<&OwnedFd>) -> io::Result<()> {
    for (listener, socket) in sockets.iter() {
        give_one(to, LISTENER, listener, Some(socket))?;
    }
    if let Some(admin) = admin {
        give_one(to, ADMIN, "", Some(admin))?;
    }
    give_one(to, END, "", None)
}

fn give_one(to: &OwnedFd, kind: u8, name: &str, socket: Option<&OwnedFd>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    let sockets = socket.map(AsFd::as_fd);
    if let Some(socket) = &sockets
        && !beside.push(SendAncillaryMessage::ScmRights(std::slice::from_ref(socket)))
    {
        return Err(io::ErrorKind::OutOfMemory.into());
    }
    let message = [&[kind], name.as_bytes()].concat();
    sendmsg(to, &[IoSlice::new(&message)], &mut beside, SendFlags::NOSIGNAL)?;
    Ok(())
}

fn is_ready(from: &OwnedFd) -> bool {
    let mut answer = [0; MESSAGE_BYTES_MAX];
    let came = recv(from, answer.as_mut_slice(), RecvFlags::empty());
    came.is_ok_and(|(_, len)| answer.get(..len) == Some(READY))
}

fn end(child: &mut Child) {
    // It may have ended by itself.
    let _ = child.kill();
    let _ = child.wait();
}

/// What the process before this one has handed over.
#[derive(Default)]
pub(crate) struct Inherited {
    pub(crate) sockets: ListenSockets,
    pub(crate) admin: Option<std::net::TcpListener>,
    /// Who waits to hear that this process serves.
    before: Option<OwnedFd>,
}

impl Inherited {
    /// Takes the sockets where there are any.
    ///
    /// # Errors
    /// They do not come.
    pub(crate) fn take() -> io::Result<Inherited> {
        if std::env::var_os(VARIABLE).is_none() {
            return Ok(Inherited::default());
        }
        let before = io::stdin().as_fd().try_clone_to_owned()?;
        let mut inherited = Inherited::default();
        for _ in 0..=SOCKETS_MAX {
            match take_one(&before)? {
                (LISTENER, name, Some(socket)) => inherited.sockets.push(name, socket),
                (ADMIN, _, Some(socket)) => inherited.admin = Some(socket.into()),
                (END, _, None) => {
                    inherited.before = Some(before);
                    return Ok(inherited);
                }
                _ => break,
            }
        }
        Err(io::Error::other("what the process before this one hands over can't be read"))
    }

    /// Tells the process before this one that it may drain.
    ///
    /// # Errors
    /// It has gone, or does not want that any more: then it is not this process's turn.
    pub(crate) fn tell_ready(&mut self) -> io::Result<()> {
        match self.before.take() {
            Some(before) => send(before, READY, SendFlags::NOSIGNAL).map(drop).map_err(io::Error::from),
            None => Ok(()),
        }
    }
}

fn take_one(from: &OwnedFd) -> io::Result<(u8, String, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let mut message = [0; MESSAGE_BYTES_MAX];
    let came = recvmsg(from, &mut [IoSliceMut::new(&mut message)], &mut beside, RecvFlags::CMSG_CLOEXEC)?;
    let mut socket = None;
    for message in beside.drain() {
        if let RecvAncillaryMessage::ScmRights(mut sockets) = message {
            socket = sockets.next();
        }
    }
    let (kind, name) = message.get(..came.bytes).and_then(<[u8]>::split_first).unwrap_or((&0, &[]));
    Ok((*kind, String::from_utf8_lossy(name).into_owned(), socket))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_arrive_with_their_names() {
        let (ours, theirs) = pair().unwrap();
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let name = "n".repeat(64);
        let mut sockets = ListenSockets::default();
        sockets.push(name.as_str(), socket.into());
        give(&ours, &sockets, None).unwrap();
        let (kind, came, socket) = take_one(&theirs).unwrap();
        assert_eq!((kind, came), (LISTENER, name));
        assert_eq!(std::net::TcpListener::from(socket.unwrap()).local_addr().unwrap(), address);
        assert!(matches!(take_one(&theirs).unwrap(), (END, name, None) if name.is_empty()));
        drop(ours);
        assert!(matches!(take_one(&theirs).unwrap(), (0, _, None)), "the other side has gone");
    }

    #[test]
    fn only_the_word_says_that_it_is_ready() {
        for (said, wanted) in [(READY, true), (b"", false), (b"ready ", false), (b"no", false)] {
            let (ours, theirs) = pair().unwrap();
            let mut inherited = Inherited { before: Some(theirs), ..Inherited::default() };
            if wanted {
                inherited.tell_ready().unwrap();
            } else {
                send(inherited.before.take().unwrap(), said, SendFlags::NOSIGNAL).unwrap();
            }
            assert_eq!(is_ready(&ours), wanted, "{said:?}");
        }
    }

    #[test]
    fn a_process_before_that_has_gone_is_an_error() {
        let (ours, theirs) = pair().unwrap();
        drop(ours);
        let mut inherited = Inherited { before: Some(theirs), ..Inherited::default() };
        assert!(inherited.tell_ready().is_err());
    }

    #[test]
    fn a_program_that_can_not_start_or_ends_is_told() {
        let program = |path: &str| Program { path: path.into(), args: vec!["-c".into(), "exit 3".into()] };
        let fault = program("/nowhere/sluice").hand_over(&ListenSockets::default(), None).unwrap_err();
        assert!(fault.to_string().contains("/nowhere/sluice"), "{fault}");
        let fault = program("/bin/sh").hand_over(&ListenSockets::default(), None).unwrap_err();
        assert!(matches!(fault, UpgradeError::NotReady | UpgradeError::Start(..)), "{fault}");
    }
}
