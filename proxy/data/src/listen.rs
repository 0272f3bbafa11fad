//! The sockets that listen: bound by this process, or handed over by the one whose place it takes.
//!
//! ```text
//!   old process ──sockets──► new process ──it listens──► old process drains
//! ```
//!
//! A socket that is handed over stays the same in the kernel, and so does its queue: a connection that is made in between
//! waits there for whoever accepts next. To bind the same address anew (`SO_REUSEPORT`) was rejected for that: each socket
//! has a queue of its own, and what waits in it is reset when it closes.

use std::fs::Permissions;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use crate::config::{IoDriver, ListenAddress, ListenerConfig};
use crate::gateway::StartError;
use crate::shard::ListenSocket;

/// Connections the kernel may hold for a socket before they are accepted.
pub(crate) const BACKLOG: u16 = 1024;

/// Listening sockets by the names of their listeners.
#[derive(Debug, Default)]
pub struct ListenSockets(Vec<(String, OwnedFd)>);

impl ListenSockets {
    /// One more of a listener. What is no listening socket of that listener's address is closed at the start.
    pub fn push(&mut self, listener: impl Into<String>, socket: OwnedFd) {
        self.0.push((listener.into(), socket));
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &OwnedFd)> {
        self.0.iter().map(|(name, socket)| (name.as_str(), socket))
    }

    fn take(&mut self, listener: &str) -> Vec<OwnedFd> {
        let (taken, left) = std::mem::take(&mut self.0).into_iter().partition(|(name, _)| name == listener);
        self.0 = left;
        let taken: Vec<(String, OwnedFd)> = taken;
        taken.into_iter().map(|(_, socket)| socket).collect()
    }

    /// The same sockets under descriptors of their own.
    pub(crate) fn try_clone(&self) -> std::io::Result<ListenSockets> {
        let clone = |(name, socket): &(String, OwnedFd)| Ok((name.clone(), socket.try_clone()?));
        self.0.iter().map(clone).collect::<std::io::Result<_>>().map(ListenSockets)
    }
}

/// What a gateway listens on.
pub(crate) struct Bound {
    /// Where, in the order of the listeners.
    pub(crate) addresses: Vec<ListenAddress>,
    /// Of each shard: by the number of their listener.
    pub(crate) shards: Vec<Vec<(usize, ListenSocket)>>,
    /// All of them once more, for who takes this process's place.
    pub(crate) sockets: ListenSockets,
    pub(crate) files: Vec<SocketFile>,
}

/// Makes a socket a shard and listener: those of one address share it (SO_REUSEPORT), or the socket itself. Sockets that
/// were handed over are used first, all of them: one that nobody accepts from would keep its connections waiting.
pub(crate) fn bind(
    listeners: &[ListenerConfig],
    shards: usize,
    io: IoDriver,
    mut handed: ListenSockets,
) -> Result<Bound, StartError> {
    // io_uring waits itself, and would give back what a socket that never waits says.
    let is_polled = io == IoDriver::Epoll;
    let mut bound = Bound {
        addresses: Vec::new(),
        shards: (0..shards).map(|_| Vec::new()).collect(),
        sockets: ListenSockets::default(),
        files: Vec::new(),
    };
    for (number, listener) in listeners.iter().enumerate() {
        let fault = |e| StartError::Listen(listener.address.clone(), e);
        let handed = handed.take(&listener.name);
        check_driver(&handed, is_polled).map_err(fault)?;
        let sockets = match &listener.address {
            ListenAddress::Tcp(wanted) => {
                let (address, sockets) = tcp(*wanted, shards, handed).map_err(fault)?;
                bound.addresses.push(ListenAddress::Tcp(address));
                sockets.into_iter().map(ListenSocket::Tcp).collect()
            }
            ListenAddress::Unix(path) => {
                let (socket, file) = unix(path, listener.mode, handed).map_err(fault)?;
                bound.files.push(file);
                bound.addresses.push(listener.address.clone());
                let clones = (0..shards).map(|_| socket.try_clone().map(ListenSocket::Unix));
                clones.collect::<std::io::Result<Vec<_>>>().map_err(fault)?
            }
        };
        for (at, socket) in sockets.into_iter().enumerate() {
            socket.set_nonblocking(is_polled).map_err(fault)?;
            bound.sockets.push(listener.name.as_str(), socket.to_owned_fd().map_err(fault)?);
            if let Some(shard) = bound.shards.get_mut(at % shards) {
                shard.push((number, socket));
            }
        }
    }
    Ok(bound)
}

/// A socket waits or does not for both processes at once, for as long as both have it: they must do I/O alike.
fn check_driver(handed: &[OwnedFd], is_polled: bool) -> std::io::Result<()> {
    for socket in handed {
        if SockRef::from(socket).nonblocking()? != is_polled {
            let reason = "the I/O driver can't change in an upgrade: it needs a restart";
            return Err(std::io::Error::other(reason));
        }
    }
    Ok(())
}

/// At least one socket a shard.
fn tcp(
    wanted: SocketAddr,
    shards: usize,
    handed: Vec<OwnedFd>,
) -> std::io::Result<(SocketAddr, Vec<TcpListener>)> {
    let is_there = |socket: &TcpListener| {
        let is_port = |port| wanted.port() == 0 || wanted.port() == port;
        socket.local_addr().is_ok_and(|address| address.ip() == wanted.ip() && is_port(address.port()))
    };
    let mut sockets: Vec<TcpListener> = handed.into_iter().map(TcpListener::from).filter(is_there).collect();
    // The first socket's port is the port of all.
    let mut address = match sockets.first() {
        Some(socket) => socket.local_addr()?,
        None => wanted,
    };
    while sockets.len() < shards {
        let socket = listen_tcp(address)?;
        address = socket.local_addr()?;
        sockets.push(socket);
    }
    Ok((address, sockets))
}

fn listen_tcp(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG.into())?;
    Ok(socket.into())
}

/// The one socket of a path.
fn unix(path: &Path, mode: u32, handed: Vec<OwnedFd>) -> std::io::Result<(UnixListener, SocketFile)> {
    let is_there =
        |socket: &UnixListener| socket.local_addr().is_ok_and(|address| address.as_pathname() == Some(path));
    match handed.into_iter().map(UnixListener::from).find(is_there) {
        Some(socket) => {
            let file = SocketFile::of(path)?;
            std::fs::set_permissions(path, Permissions::from_mode(mode))?;
            Ok((socket, file))
        }
        None => listen_unix(path, mode),
    }
}

/// A socket that another process left behind is replaced; one that answers is in use.
fn listen_unix(path: &Path, mode: u32) -> std::io::Result<(UnixListener, SocketFile)> {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket());
    if is_socket {
        if UnixStream::connect(path).is_ok() {
            return Err(std::io::ErrorKind::AddrInUse.into());
        }
        std::fs::remove_file(path)?;
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile::of(path)?;
    // Before it listens nobody can connect.
    std::fs::set_permissions(path, Permissions::from_mode(mode))?;
    socket.listen(BACKLOG.into())?;
    Ok((socket.into(), file))
}

/// The file of a Unix socket, removed when dropped unless another one took its place.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    id: (u64, u64),
    /// Another process goes on with it.
    is_left: bool,
}

impl SocketFile {
    fn of(path: &Path) -> std::io::Result<SocketFile> {
        Ok(SocketFile { path: path.to_owned(), id: SocketFile::id(path)?, is_left: false })
    }

    fn id(path: &Path) -> std::io::Result<(u64, u64)> {
        std::fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
    }

    /// Leaves it where it is.
    pub(crate) fn leave(&mut self) {
        self.is_left = true;
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if !self.is_left && SocketFile::id(&self.path).is_ok_and(|id| id == self.id) {
            // Where it can't be removed, the next start replaces it.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(name: &str, address: &str) -> ListenerConfig {
        ListenerConfig::new(name, ListenAddress::Tcp(address.parse().unwrap()))
    }

    fn handed(bound: &Bound) -> ListenSockets {
        bound.sockets.try_clone().unwrap()
    }

    fn counts(bound: &Bound) -> Vec<usize> {
        bound.shards.iter().map(Vec::len).collect()
    }

    #[test]
    fn sockets_that_were_handed_over_are_all_used_and_others_are_bound_beside_them() {
        let listeners = [listener("a", "127.0.0.1:0"), listener("b", "127.0.0.1:0")];
        let old = bind(&listeners, 3, IoDriver::Epoll, ListenSockets::default()).unwrap();
        assert_eq!(counts(&old), [2, 2, 2]);
        for (shards, wanted) in [(1, vec![6]), (2, vec![4, 2]), (3, vec![2; 3]), (5, vec![2; 5])] {
            let new = bind(&listeners, shards, IoDriver::Epoll, handed(&old)).unwrap();
            assert_eq!(new.addresses, old.addresses, "{shards}");
            assert_eq!(counts(&new), wanted, "{shards}");
        }
    }

    #[test]
    fn sockets_of_another_name_or_address_are_not_used() {
        let old =
            bind(&[listener("a", "127.0.0.1:0")], 1, IoDriver::Epoll, ListenSockets::default()).unwrap();
        for other in [listener("b", "127.0.0.1:0"), listener("a", "127.0.0.2:0")] {
            let new = bind(&[other], 1, IoDriver::Epoll, handed(&old)).unwrap();
            assert_ne!(new.addresses, old.addresses);
            assert_eq!(counts(&new), [1]);
        }
    }

    #[test]
    fn another_driver_is_refused() {
        let listeners = [listener("a", "127.0.0.1:0")];
        let old = bind(&listeners, 1, IoDriver::Uring, ListenSockets::default()).unwrap();
        let refused = bind(&listeners, 1, IoDriver::Epoll, handed(&old)).err().unwrap().to_string();
        assert!(refused.contains("driver"), "{refused}");
    }

    #[test]
    fn a_unix_socket_that_was_handed_over_keeps_its_file_and_has_its_mode() {
        let path = std::env::temp_dir().join(format!("sluice-listen-{}.sock", std::process::id()));
        let mut listeners = [ListenerConfig::new("u", ListenAddress::Unix(path.clone()))];
        let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        let mut old = bind(&listeners, 1, IoDriver::Epoll, ListenSockets::default()).unwrap();
        assert_eq!(mode(), 0o660);
        let in_use = bind(&listeners, 1, IoDriver::Epoll, ListenSockets::default()).err().unwrap();
        assert!(in_use.to_string().contains("in use"), "{in_use}");
        listeners[0].mode = 0o600;
        let new = bind(&listeners, 2, IoDriver::Epoll, handed(&old)).unwrap();
        assert_eq!((counts(&new), mode()), (vec![1, 1], 0o600));
        old.files.iter_mut().for_each(SocketFile::leave);
        drop(old);
        assert!(UnixStream::connect(&path).is_ok(), "the file stays, and the socket listens");
        drop(new);
        assert!(!path.exists(), "the last one removes it");
    }
}
