//! A running gateway: its shards, and what can be told and asked of them.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;

use crate::config::{GatewayConfig, IoDriver, ListenAddress, ListenerConfig};
use crate::listen::{Bound, ListenSockets, SocketFile, bind};
use crate::shard::{self, ShardConfig, ShardControl};
use crate::stats::{GatewayStats, ShardStats};
use crate::table::Table;

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
    /// For who takes its place; none once it drains.
    sockets: Mutex<Option<ListenSockets>>,
    /// There for as long as it runs.
    files: Mutex<Vec<SocketFile>>,
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
        Gateway::start_with(config, ListenSockets::default())
    }

    /// As [`Gateway::start`], on sockets that the process before this one listens on.
    ///
    /// # Errors
    /// As there; and an I/O driver other than that process has.
    pub fn start_with(config: GatewayConfig, handed: ListenSockets) -> Result<Gateway, StartError> {
        let io = match (config.io, shard::has_uring()) {
            (IoDriver::Auto, true) | (IoDriver::Uring, true) => IoDriver::Uring,
            (IoDriver::Auto, false) | (IoDriver::Epoll, _) => IoDriver::Epoll,
            (IoDriver::Uring, false) => return Err(StartError::NoUring),
        };
        let shards = config.shards.max(1);
        let bound = bind(&config.listeners, shards, io, handed)?;
        let Bound { addresses, shards: mut shard_sockets, sockets, files } = bound;
        let control = Arc::new(ShardControl::default());
        let since = Instant::now();
        let table = Arc::new(ArcSwap::from_pointee(Table::new(config.routing, None)));
        let mut gateway = Gateway {
            addresses,
            io,
            listeners: Arc::new(ArcSwap::from_pointee(config.listeners)),
            table,
            stats: Arc::new(GatewayStats { since, shards: Vec::new() }),
            control,
            since,
            shards: Vec::new(),
            sockets: Mutex::new(Some(sockets)),
            files: Mutex::new(files),
        };
        let seed = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64);
        let mut all_stats = Vec::new();
        for number in 0..shards as u16 {
            let stats = Arc::new(ShardStats::default());
            stats.use_rulesets(gateway.table.load().routes().iter().map(|r| &r.config.ruleset));
            all_stats.push(Arc::clone(&stats));
            let shard = ShardConfig {
                number,
                sockets: shard_sockets.pop().unwrap_or_default(),
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
        gateway.stats = Arc::new(GatewayStats { since, shards: all_stats });
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
        let routes: Vec<&str> = table.routes().iter().map(|route| route.config.name.as_str()).collect();
        let upstreams: Vec<&str> = table.upstreams().iter().map(|u| u.config.name.as_str()).collect();
        self.stats.shards.iter().for_each(|s| s.named.keep(&routes, &upstreams));
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

    /// Its listening sockets, for the process that takes its place; none once it drains.
    ///
    /// # Errors
    /// No more descriptors.
    pub fn sockets(&self) -> std::io::Result<Option<ListenSockets>> {
        lock(&self.sockets).as_ref().map(ListenSockets::try_clone).transpose()
    }

    /// Drains, for another process has its sockets: the files of Unix sockets stay.
    pub fn begin_hand_over(&self) {
        lock(&self.files).iter_mut().for_each(SocketFile::leave);
        self.begin_drain();
    }

    /// Accepts what waits in the queues and nothing more, closes idle connections, lets exchanges finish.
    pub fn begin_drain(&self) {
        drop(lock(&self.sockets).take());
        self.control.draining.store(true, Ordering::Relaxed);
    }

    /// True once it accepts nothing more and every connection has ended.
    #[must_use]
    pub fn has_drained(&self) -> bool {
        // In this order: what is accepted last is counted before its shard stops listening.
        self.control.listening.load(Ordering::SeqCst) == 0 && self.stats.snapshot().connections_open == 0
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

/// A holder that panicked left nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
