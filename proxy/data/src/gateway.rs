//! A running gateway: its shards, and what can be told and asked of them.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use sluice_engine::Ruleset;

use crate::config::{EndpointAddress, GatewayConfig, IoDriver, ListenAddress, Routing};
use crate::shard::{self, ShardConfig, ShardControl};
use crate::stats::{GatewayStats, ShardStats};

/// How long an upstream's addresses are used before its name is resolved again.
const RESOLVE_EVERY: Duration = Duration::from_secs(30);
/// How soon a name is tried again that could not be resolved.
const RESOLVE_RETRY: Duration = Duration::from_secs(2);

/// Running shards.
pub struct Gateway {
    addresses: Vec<ListenAddress>,
    address: SocketAddr,
    io: IoDriver,
    ruleset: Arc<ArcSwap<Ruleset>>,
    stats: Arc<GatewayStats>,
    control: Arc<ShardControl>,
    since: Instant,
    shards: Vec<JoinHandle<u64>>,
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway")
            .field("address", &self.address)
            .field("io", &self.io)
            .finish_non_exhaustive()
    }
}

/// Why a gateway does not start.
#[derive(Debug)]
pub enum StartError {
    /// A shard can't listen, or has no runtime.
    Listen(SocketAddr, std::io::Error),
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

/// Why a running gateway can't take a configuration.
#[derive(Debug)]
pub struct ReloadError(&'static str);

impl fmt::Display for ReloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
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
    /// TLS files that can't be used, an address that can't be bound, no io_uring where it was asked for.
    pub fn start(config: GatewayConfig) -> Result<Gateway, StartError> {
        let io = match (config.io, shard::has_uring()) {
            (IoDriver::Auto, true) | (IoDriver::Uring, true) => IoDriver::Uring,
            (IoDriver::Auto, false) | (IoDriver::Epoll, _) => IoDriver::Epoll,
            (IoDriver::Uring, false) => return Err(StartError::NoUring),
        };
        let Routing { upstreams, routes } = &config.routing;
        let (Some(listener), Some(upstream), Some(route)) =
            (config.listeners.first(), upstreams.first(), routes.first())
        else {
            return Err(StartError::NoUring);
        };
        let ListenAddress::Tcp(listen) = listener.address else { return Err(StartError::NoUring) };
        let ruleset = Arc::new(ArcSwap::new(Arc::clone(&route.ruleset)));
        let control = Arc::new(ShardControl::default());
        let Some(endpoint) = upstream.endpoints.first() else { return Err(StartError::NoUring) };
        let addresses = Arc::new(ArcSwap::from_pointee(resolve(endpoint)));
        keep_resolving(endpoint.clone(), Arc::downgrade(&control), Arc::clone(&addresses));
        let since = Instant::now();
        let seed = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64);
        let mut gateway = Gateway {
            addresses: config.listeners.iter().map(|l| l.address.clone()).collect(),
            address: listen,
            io,
            ruleset: Arc::clone(&ruleset),
            stats: Arc::new(GatewayStats { shards: Vec::new() }),
            control: Arc::clone(&control),
            since,
            shards: Vec::new(),
        };
        let mut all_stats = Vec::new();
        for number in 0..config.shards.max(1) as u16 {
            let stats = Arc::new(ShardStats::default());
            stats.use_ruleset(&route.ruleset);
            all_stats.push(Arc::clone(&stats));
            let shard = ShardConfig {
                number,
                listen: gateway.address,
                upstream: upstream.clone(),
                addresses: Arc::clone(&addresses),
                ruleset: Arc::clone(&ruleset),
                stats,
                route: route.clone(),
                limits: config.limits,
                downstream_tls: listener.tls.as_ref().map(|tls| tls.config()),
                control: Arc::clone(&control),
                seed: seed ^ u64::from(number).rotate_left(32),
            };
            // The first shard's port is the port of all.
            match gateway.spawn(shard) {
                Ok(address) => gateway.address = address,
                Err(e) => {
                    let address = gateway.address;
                    gateway.begin_drain();
                    gateway.join(Duration::ZERO);
                    return Err(StartError::Listen(address, e));
                }
            }
        }
        gateway.stats = Arc::new(GatewayStats { shards: all_stats });
        if let Some(first) = gateway.addresses.first_mut() {
            *first = ListenAddress::Tcp(gateway.address);
        }
        Ok(gateway)
    }

    fn spawn(&mut self, config: ShardConfig) -> std::io::Result<SocketAddr> {
        let (bound, answer): (_, Receiver<std::io::Result<SocketAddr>>) = channel();
        let (io, since) = (self.io, self.since);
        let thread = std::thread::Builder::new().name(format!("shard-{}", config.number));
        self.shards.push(thread.spawn(move || shard::run(config, io, since, &bound))?);
        answer.recv().map_err(|_| std::io::Error::other("the shard ended before it listened"))?
    }

    /// Where it listens, in the order of its listeners.
    #[must_use]
    pub fn addresses(&self) -> &[ListenAddress] {
        &self.addresses
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
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

    /// Masks new exchanges with another ruleset; those that run keep theirs.
    pub fn set_ruleset(&self, ruleset: &Arc<Ruleset>) {
        self.stats.shards.iter().for_each(|s| s.use_ruleset(ruleset));
        self.ruleset.store(Arc::clone(ruleset));
    }

    /// Serves new exchanges by another configuration; those that run keep theirs.
    ///
    /// # Errors
    /// It needs a restart.
    pub fn reload(&self, config: GatewayConfig) -> Result<(), ReloadError> {
        if config.shards.max(1) != self.shards.len() {
            return Err(ReloadError("another number of shards needs a restart"));
        }
        let route = config.routing.routes.first().ok_or(ReloadError("there is no route"))?;
        self.set_ruleset(&route.ruleset);
        Ok(())
    }

    /// The names of endpoints, to be resolved.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        Vec::new()
    }

    /// The addresses that a name has from now on.
    pub fn set_addresses(&self, _host: &str, _addresses: Vec<std::net::IpAddr>) {}

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

fn resolve(endpoint: &EndpointAddress) -> Vec<SocketAddr> {
    let EndpointAddress::Tcp { host, port } = endpoint else { return Vec::new() };
    let found = (host.as_str(), *port).to_socket_addrs();
    found.map(Iterator::collect).unwrap_or_default()
}

/// Resolves the upstream's name from time to time, for as long as the gateway lives. Addresses that were found
/// once stay when a later look fails.
fn keep_resolving(
    upstream: EndpointAddress,
    alive: std::sync::Weak<ShardControl>,
    addresses: Arc<ArcSwap<Vec<SocketAddr>>>,
) {
    if let EndpointAddress::Tcp { host, .. } = &upstream
        && host.parse::<std::net::IpAddr>().is_ok()
    {
        return;
    }
    let draining = |c: &AtomicBool| c.load(Ordering::Relaxed);
    let watch = move || {
        let mut next =
            Instant::now() + if addresses.load().is_empty() { RESOLVE_RETRY } else { RESOLVE_EVERY };
        while alive.upgrade().is_some_and(|c| !draining(&c.draining)) {
            std::thread::sleep(Duration::from_millis(200));
            if Instant::now() < next {
                continue;
            }
            let found = resolve(&upstream);
            next = Instant::now() + if found.is_empty() { RESOLVE_RETRY } else { RESOLVE_EVERY };
            if !found.is_empty() {
                addresses.store(Arc::new(found));
            }
        }
    };
    // Without the thread the addresses found at the start are used.
    let _ = std::thread::Builder::new().name("resolver".into()).spawn(watch);
}
