//! A gateway with its admin server, from start to drain: what `serve` and `demo` share.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sluice_control::{Admin, Readiness};
use sluice_data::{Gateway, GatewayConfig};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::Failure;
use crate::terminal::{Terminal, tell};

/// A gateway that serves.
pub(crate) struct Running {
    signals: Signals,
    gateway: Arc<Gateway>,
    readiness: Readiness,
    pub(crate) admin: Option<SocketAddr>,
}

impl Running {
    /// Starts the shards, and the admin server where one is asked for. From now on signals wait for
    /// [`Running::until_signal`]: whoever knows the addresses may send one.
    pub(crate) async fn start(
        config: GatewayConfig,
        upstream: String,
        admin: Option<SocketAddr>,
    ) -> Result<Running, Failure> {
        let signals = Signals::listen().map_err(|e| Failure::work(format!("can't take signals: {e}")))?;
        let admin = match admin {
            Some(address) => Some(Admin::bind(address).await.map_err(Failure::usage)?),
            None => None,
        };
        let gateway = Arc::new(Gateway::start(config).map_err(Failure::usage)?);
        let readiness = Readiness::default();
        let address = admin.as_ref().map(Admin::local_addr);
        if let Some(admin) = admin {
            let (gateway, readiness) = (Arc::clone(&gateway), readiness.clone());
            tokio::spawn(async move {
                if let Err(e) = admin.serve(&gateway, upstream, readiness).await {
                    tell(format_args!("sluice: the admin server ended: {e}"));
                }
            });
        }
        Ok(Running { signals, gateway, readiness, admin: address })
    }

    pub(crate) fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// Serves until SIGTERM or SIGINT, then drains. `reload` gives the rules anew at SIGHUP.
    pub(crate) async fn until_signal(
        self,
        drain: Duration,
        terminal: &Terminal,
        reload: impl Fn() -> Result<GatewayConfig, Failure>,
    ) -> Result<u8, Failure> {
        let Signals { mut terminate, mut interrupt, mut hang_up } = self.signals;
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hang_up.recv() => match reload() {
                    Ok(config) => {
                        let rules: usize =
                            config.routing.routes.iter().map(|route| route.ruleset.names().count()).sum();
                        match self.gateway.reload(config) {
                            Ok(()) => terminal.note(format_args!("sluice: packs read again, {rules} rules")),
                            Err(e) => tell(format_args!("sluice: {e}")),
                        }
                    }
                    Err(failure) => {
                        failure.print();
                        tell("sluice: the packs were not taken; those before stay in force");
                    }
                },
            }
        }
        terminal.note("sluice: draining; a second signal ends at once");
        self.readiness.set_draining();
        self.gateway.begin_drain();
        let stats = self.gateway.stats();
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
        Ok(0)
    }
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
