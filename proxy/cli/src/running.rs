//! A gateway with its admin server, from start to drain: what `serve` and `demo` share.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sluice_control::{Admin, Config, ConfigError, Pool, Readiness, Reloads, RunningRecord, keep_resolving};
use sluice_data::Gateway;
use sluice_data::desk::Desk;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::Failure;
use crate::terminal::{Terminal, tell};

/// A gateway that serves.
pub(crate) struct Running {
    signals: Signals,
    reloads: Arc<Reloads>,
    readiness: Readiness,
    record: Option<RunningRecord>,
    pub(crate) admin: Option<SocketAddr>,
}

impl Running {
    /// Starts the shards, and the admin server where one is asked for. `read` gives the configuration anew at each
    /// reload. From now on signals wait for [`Running::until_signal`]: whoever knows the addresses may send one.
    pub(crate) async fn start(
        mut config: Config,
        read: impl Fn() -> Result<Config, ConfigError> + Send + Sync + 'static,
        terminal: Terminal,
    ) -> Result<Running, Failure> {
        let signals = Signals::listen().map_err(|e| Failure::work(format!("can't take signals: {e}")))?;
        let admin = match config.admin {
            Some(address) => Some(Admin::bind(address).await.map_err(Failure::usage)?),
            None => None,
        };
        let pool = start_pool(&mut config).await?;
        let record = config.record.as_ref().map(RunningRecord::start).transpose();
        let record = record.map_err(|e| Failure::work(format!("can't record: {e}")))?;
        config.gateway.recording = record.as_ref().map(RunningRecord::recording);
        let reloads = Reloads::start(config, read, move |done| match done {
            Ok(in_force) => {
                let (version, sha256) = (in_force.version, &in_force.sha256);
                terminal.note(format_args!("sluice: configuration {version} is in force, sha256 {sha256}"));
            }
            Err(error) => {
                tell(error);
                tell("sluice: nothing of it was taken; what was in force before stays so");
            }
        });
        let reloads = Arc::new(reloads.map_err(Failure::usage)?.with_pool(pool));
        for failed in keep_resolving(&reloads).await {
            tell(format_args!("sluice: {failed}; it is tried again"));
        }
        let readiness = Readiness::default();
        let address = admin.as_ref().map(Admin::local_addr);
        if let Some(admin) = admin {
            let (reloads, readiness) = (Arc::clone(&reloads), readiness.clone());
            tokio::spawn(async move {
                if let Err(e) = admin.serve(reloads, readiness).await {
                    tell(format_args!("sluice: the admin server ended: {e}"));
                }
            });
        }
        Ok(Running { signals, reloads, readiness, record, admin: address })
    }

    pub(crate) fn gateway(&self) -> &Gateway {
        self.reloads.gateway()
    }

    /// The URLs of its upstreams.
    pub(crate) fn upstreams(&self) -> String {
        self.reloads.in_force().upstreams
    }

    /// Serves until SIGTERM or SIGINT, then drains. SIGHUP reloads.
    pub(crate) async fn until_signal(self, terminal: &Terminal) -> Result<u8, Failure> {
        let Signals { mut terminate, mut interrupt, mut hang_up } = self.signals;
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hang_up.recv() => {
                    let reloads = Arc::clone(&self.reloads);
                    // It reads files and compiles packs; a signal in the meantime must not wait for it. How it went is
                    // reported by itself.
                    drop(tokio::task::spawn_blocking(move || reloads.reload()));
                }
            }
        }
        terminal.note("sluice: draining; a second signal ends at once");
        self.readiness.set_draining();
        let drain = Duration::from_secs(self.reloads.in_force().drain_seconds);
        let gateway = self.reloads.gateway();
        gateway.begin_drain();
        let stats = gateway.stats();
        let idle = async {
            let until = tokio::time::Instant::now() + drain;
            while stats.snapshot().connections_open > 0 && tokio::time::Instant::now() < until {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            () = idle => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        let left = stats.snapshot().connections_open;
        if left > 0 {
            terminal.note(format_args!("sluice: {left} connections were closed at the end of the drain"));
        }
        if let Some(record) = self.record {
            record.close().map_err(|e| Failure::work(format!("the record could not be closed: {e}")))?;
        }
        Ok(0)
    }
}

/// Starts what decides requests, where a configuration asks for it. Credentials that can't be had now are tried again:
/// until then their upstreams' requests are refused.
async fn start_pool(config: &mut Config) -> Result<Option<Arc<Pool>>, Failure> {
    if !config.is_decided() {
        return Ok(None);
    }
    let desk = Arc::new(Desk::new(config.desk.clone()));
    let (pool, faults) = Pool::start(Arc::clone(&desk), config).await.map_err(Failure::usage)?;
    faults.iter().for_each(|fault| tell(format_args!("{fault}; it is tried again")));
    tokio::spawn(Arc::clone(&pool).run());
    tokio::spawn(
        Arc::clone(&pool).keep_fresh(|fault| tell(format_args!("sluice: {fault}; it is tried again"))),
    );
    config.gateway.desk = Some(desk);
    Ok(Some(pool))
}

/// The signals that mean something to a server.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    /// From now on none of them ends the process by itself.
    fn listen() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }
}
