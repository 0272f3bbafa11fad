//! `sluice serve`: the gateway from flags.

use std::time::Duration;

use sluice_data::{
    ClientTls, ClientTlsFiles, GatewayConfig, ListenAddress, ListenerConfig, RouteConfig, Routing, ServerTls,
    ServerTlsFiles, TlsError, TlsFiles, UpstreamConfig,
};
use sluice_engine::CompileOptions;
use sluice_policy::Access;

use crate::args::ServeArgs;
use crate::failure::Failure;
use crate::mask::compile;
use crate::running::Running;
use crate::terminal::{Terminal, print};

pub(crate) fn run(args: &ServeArgs, terminal: &Terminal) -> Result<u8, Failure> {
    let config = configure(args)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|e| Failure::work(format!("can't start the control pool: {e}")))?;
    runtime.block_on(async {
        let tls = args.tls_cert.is_some();
        let upstream = args.upstream.as_ref().map(ToString::to_string).unwrap_or_default();
        let running = Running::start(config, upstream.clone(), args.admin).await?;
        let gateway = running.gateway();
        let scheme = if tls { "https" } else { "http" };
        let (shards, io) = (gateway.shards(), gateway.io_driver());
        for address in gateway.addresses() {
            print(format_args!(
                "sluice: gateway on {scheme}://{address} to {upstream}, {shards} shards, {io}"
            ))?;
        }
        if let Some(admin) = running.admin {
            print(format_args!("sluice: admin on http://{admin}"))?;
        }
        let reload = || configure(args);
        running.until_signal(Duration::from_secs(args.drain_seconds), terminal, reload).await
    })
}

fn configure(args: &ServeArgs) -> Result<GatewayConfig, Failure> {
    if args.config.is_some() {
        return Err(Failure::usage("--config is not available yet: give --listen and --upstream"));
    }
    if args.record.is_some() {
        return Err(Failure::usage("--record is not available yet: without it nothing is recorded"));
    }
    let Some(listen) = args.listen else { return Err(Failure::usage("--listen ADDR is needed")) };
    let Some(upstream) = args.upstream.clone() else {
        return Err(Failure::usage("--upstream URL is needed"));
    };
    let access = Access::without_identity(args.allow_anonymous).map_err(Failure::usage)?;
    let ruleset = compile(&args.packs, &CompileOptions::default())?;
    let mut listener = ListenerConfig::new("default", ListenAddress::Tcp(listen));
    if let Some((certificate, key)) = args.tls_cert.clone().zip(args.tls_key.clone()) {
        let certificates = vec![TlsFiles { certificate, key }];
        let files = ServerTlsFiles { certificates, client_ca: None, requires_client: false };
        listener.tls = Some(ServerTls::load(&files).map_err(tls_failure)?);
    }
    let client = ClientTlsFiles { ca: args.upstream_ca.clone(), ..ClientTlsFiles::default() };
    let client = if upstream.is_tls { Some(ClientTls::load(&client).map_err(tls_failure)?) } else { None };
    let mut route = RouteConfig::new("default", 0, ruleset);
    route.masking.on_error = args.on_error.into();
    route.masking.response_coding = args.response_coding.into();
    if let Some(ratio) = args.coding_ratio_max {
        route.masking.coding_limits.ratio_max = ratio;
    }
    route.limits.body_bytes_max = args.body_bytes_max;
    if let Some(seconds) = args.upstream_seconds_max {
        route.limits.upstream_ms_max = u64::from(seconds) * 1000;
    }
    let upstream = UpstreamConfig::new("default", &upstream, client);
    let mut config = GatewayConfig::new(listener, Routing::everything_to(upstream, route), access);
    if let Some(shards) = args.shards {
        config.shards = usize::from(shards);
    }
    config.io = args.io.into();
    if let Some(bodies) = args.coded_bodies_max {
        config.limits.coded_bodies_max = bodies as usize;
    }
    if let Some(connections) = args.connections_max {
        config.limits.connections_max = connections as usize;
    }
    Ok(config)
}

fn tls_failure(faults: Vec<TlsError>) -> Failure {
    Failure::usage(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}
