//! A running gateway: its shards, and what can be told and asked of them.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::Permissions;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::config::{GatewayConfig, IoDriver, ListenAddress, ListenerConfig};
use crate::shard::{self, ListenSocket, ShardConfig, ShardControl};
use crate::stats::{GatewayStats, ShardStats};
use crate::table::Table;

/// Connections the kernel may hold for a shard before it accepts them.
const BACKLOG: i32 = 1024;

/// Running shards.
pub struct Gateway {
    addresses: Vec<ListenAddress>,
    io: IoDriver,
    listeners: Arc<ArcSwap<Vec<ListenerConfig>>>,
    table: Arc<ArcSwap<Table>>,
    stats: Arc<GatewayStats>,
    control: Arc<ShardControl>,
    since: Instant,
    shards: Vec<JoinHandle<u64>>,
    /// There for as long as it runs.
    _files: Vec<SocketFile>,
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway")
            .field("addresses", &self.addresses)
            .field("io", &self.io)
            .finish_non_exhaustive()
    }
}

/// Why a gateway does not start.
#[derive(Debug)]
pub enum StartError {
    /// An address that can't be listened on, or a shard that has no runtime.
    Listen(ListenAddress, std::io::Error),
    /// io_uring was asked for and the kernel does not allow it.
    NoUring,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Listen(address, e) => write!(f, "can't listen on {address}: {e}"),
            StartError::NoUring => {
                f.write_str("this kernel does not allow io_uring: use --io auto or --io epoll")
            }
        }
    }
}

impl std::error::Error for StartError {}

/// Why a configuration does not take the place of the one in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReloadError(String);

impl fmt::Display for ReloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ReloadError {}

/// How a drain went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainReport {
    /// Connections that were still open at the deadline and were closed.
    pub aborted: u64,
}

impl Gateway {
    /// Binds, starts all shards and returns once each of them listens.
    ///
    /// # Errors
    /// An address that can't be bound, no io_uring where it was asked for.
    pub fn start(config: GatewayConfig) -> Result<Gateway, StartError> {
        let io = match (config.io, shard::has_uring()) {
            (IoDriver::Auto, true) | (IoDriver::Uring, true) => IoDriver::Uring,
            (IoDriver::Auto, false) | (IoDriver::Epoll, _) => IoDriver::Epoll,
            (IoDriver::Uring, false) => return Err(StartError::NoUring),
        };
        let shards = config.shards.max(1);
        let (addresses, mut sockets, files) = bind(&config.listeners, shards, io)?;
        let control = Arc::new(ShardControl::default());
        let table = Arc::new(ArcSwap::from_pointee(Table::new(config.routing, None)));
        let mut gateway = Gateway {
            addresses,
            io,
            listeners: Arc::new(ArcSwap::from_pointee(config.listeners)),
            table,
            stats: Arc::new(GatewayStats { shards: Vec::new() }),
            control,
            since: Instant::now(),
            shards: Vec::new(),
            _files: files,
        };
        let seed = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64);
        let mut all_stats = Vec::new();
        for number in 0..shards as u16 {
            let stats = Arc::new(ShardStats::default());
            stats.use_rulesets(gateway.table.load().routes().iter().map(|r| &r.config.ruleset));
            all_stats.push(Arc::clone(&stats));
            let shard = ShardConfig {
                number,
                sockets: sockets.pop().unwrap_or_default(),
                listeners: Arc::clone(&gateway.listeners),
                table: Arc::clone(&gateway.table),
                stats,
                limits: config.limits,
                desk: config.desk.clone(),
                recording: config.recording.clone(),
                control: Arc::clone(&gateway.control),
                shards,
                seed: seed ^ u64::from(number).rotate_left(32),
            };
            if let Err(e) = gateway.spawn(shard) {
                let address = gateway.addresses.first().cloned();
                gateway.join(Duration::ZERO);
                return Err(StartError::Listen(address.unwrap_or(ListenAddress::Unix("".into())), e));
            }
        }
        gateway.stats = Arc::new(GatewayStats { shards: all_stats });
        Ok(gateway)
    }

    fn spawn(&mut self, config: ShardConfig) -> std::io::Result<()> {
        let (started, answer): (_, Receiver<std::io::Result<()>>) = channel();
        let (io, since) = (self.io, self.since);
        let thread = std::thread::Builder::new().name(format!("shard-{}", config.number));
        self.shards.push(thread.spawn(move || shard::run(config, io, since, &started))?);
        answer.recv().map_err(|_| std::io::Error::other("the shard ended before it listened"))?
    }

    /// Where it listens, in the order of its listeners.
    #[must_use]
    pub fn addresses(&self) -> &[ListenAddress] {
        &self.addresses
    }

    /// How its shards do I/O: never `Auto`.
    #[must_use]
    pub fn io_driver(&self) -> IoDriver {
        self.io
    }

    /// Its counters.
    #[must_use]
    pub fn stats(&self) -> Arc<GatewayStats> {
        Arc::clone(&self.stats)
    }

    /// Number of its shards.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// Puts another configuration in force, as a whole: for new connections its certificates, for new exchanges its
    /// routes and upstreams. Exchanges that run end as they began; upstreams that are as before keep their connections.
    ///
    /// # Errors
    /// It changes what only a start can: listeners' names and addresses, shards, I/O driver, limits of connections.
    pub fn reload(&self, config: GatewayConfig) -> Result<(), ReloadError> {
        let old = self.listeners.load();
        let places = |all: &[ListenerConfig]| -> Vec<_> {
            all.iter().map(|l| (l.name.clone(), l.address.clone())).collect()
        };
        let fixed = [
            ("listeners", places(&old) == places(&config.listeners)),
            ("shards", self.shards.len() == config.shards.max(1)),
        ];
        if let Some((what, _)) = fixed.iter().find(|(_, is_same)| !is_same) {
            return Err(ReloadError(format!(
                "the {what} can't change while the gateway runs: it needs a restart"
            )));
        }
        let table = Table::new(config.routing, Some(&self.table.load()));
        resolve_new(&table);
        self.stats
            .shards
            .iter()
            .for_each(|s| s.use_rulesets(table.routes().iter().map(|r| &r.config.ruleset)));
        self.table.store(Arc::new(table));
        let resuming = |(mut new, old): (ListenerConfig, &ListenerConfig)| {
            if let (Some(tls), Some(old)) = (new.tls.take(), &old.tls) {
                new.tls = Some(tls.resuming(old));
            }
            new
        };
        let listeners = config.listeners.into_iter().zip(old.iter()).map(resuming).collect();
        self.listeners.store(Arc::new(listeners));
        Ok(())
    }

    /// The names of endpoints, to be resolved by whoever knows how.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let table = self.table.load();
        let names: BTreeSet<&str> = table.upstreams().iter().flat_map(|upstream| upstream.names()).collect();
        names.into_iter().map(str::to_owned).collect()
    }

    /// The addresses that a name has from now on.
    pub fn set_addresses(&self, host: &str, addresses: Vec<IpAddr>) {
        self.table.load().upstreams().iter().for_each(|upstream| upstream.set_addresses(host, &addresses));
    }

    /// Accepts nothing more, closes idle connections, lets exchanges finish.
    pub fn begin_drain(&self) {
        self.control.draining.store(true, Ordering::Relaxed);
    }

    /// True once [`Gateway::begin_drain`] was called.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.control.draining.load(Ordering::Relaxed)
    }

    /// Waits until the shards have drained; what is left after `deadline` is closed.
    pub fn join(self, deadline: Duration) -> DrainReport {
        self.begin_drain();
        let at = (self.since.elapsed() + deadline).as_millis() as u64;
        self.control.deadline_ms.store(at.max(1), Ordering::Relaxed);
        let aborted = self.shards.into_iter().map(|s| s.join().unwrap_or(0)).sum();
        DrainReport { aborted }
    }
}

/// What is bound: addresses, the sockets of each shard, files.
type Bound = (Vec<ListenAddress>, Vec<Vec<ListenSocket>>, Vec<SocketFile>);

/// Makes a socket a shard and listener: those of one address share it (SO_REUSEPORT), or the socket itself.
fn bind(listeners: &[ListenerConfig], shards: usize, io: IoDriver) -> Result<Bound, StartError> {
    // io_uring waits itself, and would give back what a socket that never waits says.
    let is_polled = io == IoDriver::Epoll;
    let (mut addresses, mut files) = (Vec::new(), Vec::new());
    let mut sockets: Vec<Vec<ListenSocket>> = (0..shards).map(|_| Vec::new()).collect();
    for listener in listeners {
        let fault = |e| StartError::Listen(listener.address.clone(), e);
        match &listener.address {
            ListenAddress::Tcp(wanted) => {
                // The first socket's port is the port of all.
                let mut address = *wanted;
                for shard in &mut sockets {
                    let socket = listen_tcp(address).map_err(fault)?;
                    address = socket.local_addr().map_err(fault)?;
                    socket.set_nonblocking(is_polled).map_err(fault)?;
                    shard.push(ListenSocket::Tcp(socket));
                }
                addresses.push(ListenAddress::Tcp(address));
            }
            ListenAddress::Unix(path) => {
                let (socket, file) = listen_unix(path).map_err(fault)?;
                socket.set_nonblocking(is_polled).map_err(fault)?;
                files.push(file);
                for shard in &mut sockets {
                    shard.push(ListenSocket::Unix(socket.try_clone().map_err(fault)?));
                }
                addresses.push(listener.address.clone());
            }
        }
    }
    Ok((addresses, sockets, files))
}

fn listen_tcp(address: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Who may connect to a Unix socket: its owner, and its group.
const SOCKET_MODE: u32 = 0o660;

/// A socket that another process left behind is replaced; one that answers is in use.
fn listen_unix(path: &Path) -> std::io::Result<(UnixListener, SocketFile)> {
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
    std::fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE))?;
    socket.listen(BACKLOG)?;
    Ok((socket.into(), file))
}

/// The file of a Unix socket, removed when dropped unless another one took its place.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    id: (u64, u64),
}

impl SocketFile {
    fn of(path: &Path) -> std::io::Result<SocketFile> {
        Ok(SocketFile { path: path.to_owned(), id: SocketFile::id(path)? })
    }

    fn id(path: &Path) -> std::io::Result<(u64, u64)> {
        std::fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if SocketFile::id(&self.path).is_ok_and(|id| id == self.id) {
            // Where it can't be removed, the next start replaces it.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn lookup(name: &str) -> Vec<IpAddr> {
    let found = (name, 0).to_socket_addrs();
    found.map(|all| all.map(|a| a.ip()).collect()).unwrap_or_default()
}

/// Looks up names that nobody has looked up yet, so that a reload does not make them wait.
fn resolve_new(table: &Table) {
    for upstream in table.upstreams() {
        for name in upstream.unresolved() {
            upstream.set_addresses(&name, &lookup(&name));
        }
    }
}
