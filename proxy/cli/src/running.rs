//! A gateway with its admin server, from start to drain: what `serve` and `demo` share.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use sluice_control::approvals::{Approvals, Authenticate, TransitionSink, routes};
use sluice_control::{
    Admin, ApprovalRecord, Config, ConfigError, Pool, Readiness, Reloads, RunningRecord, keep_resolving,
};
use sluice_data::Gateway;
use sluice_data::desk::Desk;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;

use crate::failure::Failure;
use crate::notify::notify;
use crate::terminal::{Terminal, tell};
use crate::upgrade::{Inherited, Program, UpgradeError};

/// A gateway that serves.
pub(crate) struct Running {
    signals: Signals,
    reloads: Arc<Reloads>,
    readiness: Readiness,
    record: Option<RunningRecord>,
    pub(crate) admin: Option<SocketAddr>,
    /// The admin server's socket and task.
    admin_server: Option<(OwnedFd, JoinHandle<()>)>,
    inherited: Inherited,
    program: Arc<Program>,
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
        // What runs may be replaced by the time it is asked for.
        let program = Arc::new(Program::of_this_process().map_err(Failure::work)?);
        let mut inherited = Inherited::take().map_err(Failure::work)?;
        let admin = match config.admin {
            Some(address) => {
                Some(Admin::bind_or_take(address, inherited.admin.take()).await.map_err(Failure::usage)?)
            }
            None => None,
        };
        let handed = std::mem::take(&mut inherited.sockets);
        let record = config.record.as_ref().map(RunningRecord::start).transpose();
        let record = record.map_err(|e| Failure::work(format!("can't record: {e}")))?;
        let approvals = start_approvals(&config, record.as_ref()).await?;
        let pool = start_pool(&mut config, approvals.clone()).await?;
        let admin = match (admin, &approvals, &pool) {
            (Some(admin), Some(approvals), Some(pool)) => {
                let authenticate: Arc<dyn Authenticate> = Arc::clone(pool) as _;
                let routes = routes(Arc::clone(approvals), authenticate).map_err(Failure::work)?;
                Some(admin.with_routes(routes))
            }
            (admin, ..) => admin,
        };
        let key_routes = pool.as_ref().and_then(Pool::key_routes);
        let admin = admin.map(|admin| key_routes.into_iter().fold(admin, Admin::with_routes));
        config.gateway.recording = record.as_ref().map(RunningRecord::recording);
        let reloads = Reloads::start(config, handed, read, move |done| match done {
            Ok(in_force) => {
                let (version, sha256) = (in_force.version, &in_force.sha256);
                terminal.note(format_args!("sluice: configuration {version} is in force, sha256 {sha256}"));
            }
            Err(error) => {
                tell(error);
                tell("sluice: nothing of it was taken; what was in force before stays so");
            }
        });
        let reloads = Arc::new(reloads.map_err(Failure::usage)?.with_pool(pool).with_record(record.as_ref()));
        for failed in keep_resolving(&reloads).await {
            tell(format_args!("sluice: {failed}; it is tried again"));
        }
        let readiness = Readiness::default();
        let address = admin.as_ref().map(Admin::local_addr);
        let admin_server = match admin {
            Some(admin) => Some(serve_admin(admin, &reloads, &readiness).map_err(Failure::work)?),
            None => None,
        };
        Ok(Running { signals, reloads, readiness, record, admin: address, admin_server, inherited, program })
    }

    pub(crate) fn gateway(&self) -> &Gateway {
        self.reloads.gateway()
    }

    /// The URLs of its upstreams.
    pub(crate) fn upstreams(&self) -> String {
        self.reloads.in_force().upstreams
    }

    /// Serves until SIGTERM or SIGINT, or until another process has taken its place (SIGUSR2); then drains. SIGHUP
    /// reloads.
    pub(crate) async fn until_signal(mut self, terminal: &Terminal) -> Result<u8, Failure> {
        let told = self.inherited.tell_ready();
        told.map_err(|e| Failure::work(format!("the process before this one has gone: {e}")))?;
        notify("READY=1");
        let mut upgrade: Option<JoinHandle<Result<u32, UpgradeError>>> = None;
        loop {
            tokio::select! {
                _ = self.signals.terminate.recv() => break,
                _ = self.signals.interrupt.recv() => break,
                _ = self.signals.hang_up.recv() => {
                    let reloads = Arc::clone(&self.reloads);
                    // It reads files and compiles packs; a signal in the meantime must not wait for it. How it went is
                    // reported by itself.
                    drop(tokio::task::spawn_blocking(move || reloads.reload()));
                }
                _ = self.signals.upgrade.recv(), if upgrade.is_none() => {
                    terminal.note(format_args!("sluice: starting {} anew", self.program.path().display()));
                    upgrade = self.begin_upgrade();
                }
                done = ended(&mut upgrade) => match done {
                    Some(pid) => {
                        self.give_way(pid, terminal);
                        return self.drain(terminal).await;
                    }
                    None => upgrade = None,
                },
            }
        }
        terminal.note("sluice: draining; a second signal ends at once");
        self.readiness.set_draining();
        self.gateway().begin_drain();
        notify("STOPPING=1");
        self.drain(terminal).await
    }

    /// Starts the process that is to take this one's place.
    fn begin_upgrade(&self) -> Option<JoinHandle<Result<u32, UpgradeError>>> {
        let sockets = match self.gateway().sockets() {
            Ok(Some(sockets)) => sockets,
            Ok(None) => return None,
            Err(e) => {
                tell(format_args!("sluice: no upgrade: {e}; this process goes on"));
                return None;
            }
        };
        let admin = self.admin_server.as_ref().map(|(socket, _)| socket.try_clone()).transpose();
        let (admin, program) = (admin.ok().flatten(), Arc::clone(&self.program));
        Some(tokio::task::spawn_blocking(move || program.hand_over(&sockets, admin.as_ref())))
    }

    /// Accepts nothing more, for another process does.
    fn give_way(&mut self, pid: u32, terminal: &Terminal) {
        notify(&format!("MAINPID={pid}"));
        terminal.note(format_args!("sluice: process {pid} has taken over; draining"));
        if let Some((socket, task)) = self.admin_server.take() {
            task.abort();
            drop(socket);
        }
        self.readiness.set_draining();
        self.gateway().begin_hand_over();
    }

    /// Waits until what runs has ended, or may run no longer.
    async fn drain(mut self, terminal: &Terminal) -> Result<u8, Failure> {
        let limit = Duration::from_secs(self.reloads.in_force().drain_seconds);
        let gateway = self.reloads.gateway();
        let idle = async {
            let until = tokio::time::Instant::now() + limit;
            while !gateway.has_drained() && tokio::time::Instant::now() < until {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            () = idle => {}
            _ = self.signals.terminate.recv() => {}
            _ = self.signals.interrupt.recv() => {}
        }
        let left = gateway.stats().snapshot().connections_open;
        if left > 0 {
            terminal.note(format_args!("sluice: {left} connections were closed at the end of the drain"));
        }
        if let Some(record) = self.record {
            record.close().map_err(|e| Failure::work(format!("the record could not be closed: {e}")))?;
        }
        Ok(0)
    }
}

/// Opens the approvals, where a configuration asks for them; every transition goes into the record, where there is one.
async fn start_approvals(
    config: &Config,
    record: Option<&RunningRecord>,
) -> Result<Option<Arc<Approvals>>, Failure> {
    let Some(settings) = config.approvals.clone() else { return Ok(None) };
    let sink =
        record.map(|record| Arc::new(ApprovalRecord::new(record.recording())) as Arc<dyn TransitionSink>);
    let approvals = Approvals::open(settings, sink).await;
    let approvals = approvals.map_err(|e| Failure::work(format!("can't open the approvals: {e}")))?;
    tokio::spawn(Arc::clone(&approvals).run());
    Ok(Some(approvals))
}

/// Serves the admin server; gives its socket once more, and its task.
fn serve_admin(
    admin: Admin,
    reloads: &Arc<Reloads>,
    readiness: &Readiness,
) -> std::io::Result<(OwnedFd, JoinHandle<()>)> {
    let socket = admin.socket()?;
    let (reloads, readiness) = (Arc::clone(reloads), readiness.clone());
    let task = tokio::spawn(async move {
        if let Err(e) = admin.serve(reloads, readiness).await {
            tell(format_args!("sluice: the admin server ended: {e}"));
        }
    });
    Ok((socket, task))
}

/// The process that takes over, once it serves; `None`, and told, where there is none. Without an upgrade it waits.
async fn ended(upgrade: &mut Option<JoinHandle<Result<u32, UpgradeError>>>) -> Option<u32> {
    let Some(upgrade) = upgrade else { return std::future::pending().await };
    match upgrade.await {
        Ok(Ok(pid)) => return Some(pid),
        Ok(Err(e)) => tell(format_args!("sluice: no upgrade: {e}; this process goes on")),
        Err(_) => tell("sluice: the upgrade broke off; this process goes on"),
    }
    None
}

/// Starts what decides requests, where a configuration asks for it. Credentials that can't be had now are tried again:
/// until then their upstreams' requests are refused.
async fn start_pool(
    config: &mut Config,
    approvals: Option<Arc<Approvals>>,
) -> Result<Option<Arc<Pool>>, Failure> {
    if !config.is_decided() {
        return Ok(None);
    }
    let desk = Arc::new(Desk::new(config.desk.clone()));
    let (pool, faults) = Pool::start(Arc::clone(&desk), config, approvals).await.map_err(Failure::usage)?;
    faults.iter().for_each(|fault| tell(format_args!("{fault}; it is tried again")));
    tokio::spawn(Arc::clone(&pool).run());
    let told = |fault: &str| tell(format_args!("sluice: {fault}; it is tried again"));
    tokio::spawn(Arc::clone(&pool).keep_revocations(told));
    tokio::spawn(Arc::clone(&pool).keep_fresh(told));
    config.gateway.desk = Some(desk);
    Ok(Some(pool))
}

/// The signals that mean something to a server.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    upgrade: Signal,
}

impl Signals {
    /// From now on none of them ends the process by itself.
    fn listen() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            upgrade: signal(SignalKind::user_defined2())?,
        })
    }
}
