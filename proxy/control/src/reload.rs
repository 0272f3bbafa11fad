//! Reading the configuration again while the gateway serves.
//!
//! A reload is taken whole or not at all: everything is read, checked, compiled and loaded before the gateway is told
//! anything, and one fault leaves all as it was. Reloads come one after the other, whoever asks.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sluice_audit::RecorderStats;
use sluice_data::desk::DeskConfig;
use sluice_data::{Gateway, IoDriver, Limits, ListenSockets, UpstreamConfig};
use sluice_patterns::Fault;
use tokio::sync::Notify;

use crate::config::{Config, ConfigError};
use crate::decide::Pool;
use crate::recorder::RunningRecord;

/// What gives the configuration anew.
type Read = dyn Fn() -> Result<Config, ConfigError> + Send + Sync;
/// Who is told how a reload went.
type Report = dyn Fn(&Result<InForce, ConfigError>) + Send + Sync;

/// The configuration that the gateway runs by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForce {
    /// 1 at the start, one more with each reload that was taken.
    pub version: u64,
    /// SHA-256, in hexadecimal, over the files it was read from.
    pub sha256: String,
    /// Its upstreams, as their URLs.
    pub upstreams: String,
    /// Seconds that running exchanges get to finish in a drain.
    pub drain_seconds: u64,
}

impl InForce {
    fn new(version: u64, config: &Config) -> InForce {
        let urls: Vec<String> = config.gateway.routing.upstreams.iter().map(url).collect();
        let (sha256, drain_seconds) = (config.files.sha256(), config.drain_seconds);
        InForce { version, sha256, upstreams: urls.join(", "), drain_seconds }
    }
}

fn url(upstream: &UpstreamConfig) -> String {
    let scheme = if upstream.tls.is_some() { "https" } else { "http" };
    format!("{scheme}://{}{}", upstream.authority, upstream.base)
}

/// Reads the configuration again, when asked.
pub struct Reloads {
    gateway: Arc<Gateway>,
    /// What decides requests; none where nothing does.
    pool: Option<Arc<Pool>>,
    /// How the record is doing, where there is one.
    record: Option<Box<dyn Fn() -> RecorderStats + Send + Sync>>,
    fixed: Fixed,
    read: Box<Read>,
    report: Box<Report>,
    /// Held while a reload runs.
    turn: Mutex<()>,
    in_force: Mutex<InForce>,
    refused: AtomicU64,
    taken: Arc<Notify>,
}

/// What only a start can set, besides what the gateway itself holds fixed.
#[derive(Clone, Debug)]
struct Fixed {
    admin: Option<SocketAddr>,
    io: IoDriver,
    limits: Limits,
    /// As it shows itself: without its keys.
    record: String,
    desk: DeskConfig,
    is_decided: bool,
    has_approvals: bool,
}

impl Fixed {
    fn of(config: &Config) -> Fixed {
        Fixed {
            admin: config.admin,
            io: config.gateway.io,
            limits: config.gateway.limits,
            record: format!("{:?}", config.record),
            desk: config.desk.clone(),
            is_decided: config.is_decided(),
            has_approvals: config.approvals.is_some(),
        }
    }

    /// What another configuration has otherwise.
    fn differs(&self, other: &Fixed) -> Option<&'static str> {
        let same = [
            ("the address of the admin server", self.admin == other.admin),
            ("`io`", self.io == other.io),
            ("the limits of [gateway]", self.limits == other.limits),
            ("[record]", self.record == other.record),
            ("whether there are [approvals]", self.has_approvals == other.has_approvals),
            ("[decide]", self.desk == other.desk),
            ("whether callers and policies decide at all", self.is_decided == other.is_decided),
        ];
        same.into_iter().find(|(_, is_same)| !is_same).map(|(what, _)| what)
    }
}

impl fmt::Debug for Reloads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloads").field("in_force", &self.in_force).finish_non_exhaustive()
    }
}

impl Reloads {
    /// Starts a gateway by `config`, on `handed` sockets where there are any. `read` gives the configuration at each reload; `report` is told how each went.
    ///
    /// # Errors
    /// The gateway does not start.
    pub fn start(
        config: Config,
        handed: ListenSockets,
        read: impl Fn() -> Result<Config, ConfigError> + Send + Sync + 'static,
        report: impl Fn(&Result<InForce, ConfigError>) + Send + Sync + 'static,
    ) -> Result<Reloads, sluice_data::StartError> {
        let in_force = Mutex::new(InForce::new(1, &config));
        let fixed = Fixed::of(&config);
        let gateway = Arc::new(Gateway::start_with(config.gateway, handed)?);
        Ok(Reloads {
            gateway,
            pool: None,
            record: None,
            fixed,
            read: Box::new(read),
            report: Box::new(report),
            turn: Mutex::new(()),
            in_force,
            refused: AtomicU64::new(0),
            taken: Arc::default(),
        })
    }

    /// From now on reloads swap what this pool decides by, too.
    #[must_use]
    pub fn with_pool(self, pool: Option<Arc<Pool>>) -> Reloads {
        Reloads { pool, ..self }
    }

    /// From now on the metrics tell of this record, too.
    #[must_use]
    pub fn with_record(self, record: Option<&RunningRecord>) -> Reloads {
        let record = record.map(|record| Box::new(record.stats()) as _);
        Reloads { record, ..self }
    }

    /// How the record is doing; none where there is none.
    #[must_use]
    pub fn record_stats(&self) -> Option<RecorderStats> {
        self.record.as_ref().map(|stats| stats())
    }

    /// What decides requests.
    #[must_use]
    pub fn pool(&self) -> Option<&Arc<Pool>> {
        self.pool.as_ref()
    }

    /// The gateway.
    #[must_use]
    pub fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    /// What the gateway runs by.
    #[must_use]
    pub fn in_force(&self) -> InForce {
        lock(&self.in_force).clone()
    }

    /// How many reloads changed nothing because of their faults.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Notified after each reload that was taken.
    pub(crate) fn taken(&self) -> Arc<Notify> {
        Arc::clone(&self.taken)
    }

    /// Reads and takes the configuration. It reads files and compiles packs: not for a thread that must not wait.
    ///
    /// # Errors
    /// Every fault; nothing has changed then.
    pub fn reload(&self) -> Result<InForce, ConfigError> {
        let _turn = lock(&self.turn);
        let done = self.take();
        match &done {
            Ok(_) => self.taken.notify_one(),
            Err(_) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
            }
        }
        (self.report)(&done);
        done
    }

    fn take(&self) -> Result<InForce, ConfigError> {
        let config = (self.read)()?;
        let refused =
            |reason: String| ConfigError::new(vec![Fault { file: config.name.clone(), line: 0, reason }]);
        if let Some(what) = self.fixed.differs(&Fixed::of(&config)) {
            return Err(refused(format!("{what} can't change while the gateway runs: it needs a restart")));
        }
        let next = InForce::new(lock(&self.in_force).version + 1, &config);
        let deciders = self.pool.as_ref().map(|pool| pool.make(&config)).transpose();
        let deciders = deciders.map_err(|e| refused(e.to_string()))?;
        self.gateway.reload(config.gateway.clone()).map_err(|e| refused(e.to_string()))?;
        if let (Some(pool), Some(deciders)) = (&self.pool, deciders) {
            pool.reload(deciders);
            pool.set_people(config.approvals.as_ref());
        }
        *lock(&self.in_force) = next.clone();
        Ok(next)
    }
}

/// A holder that panicked left nothing half done: each value is set at once.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
