//! `sluice serve`: the gateway from a file, or from flags.

use std::path::Path;
use std::sync::Arc;

use sluice_control::{Config, ConfigError, Files, RecordConfig};
use sluice_data::{
    ClientTls, ClientTlsFiles, Gateway, GatewayConfig, ListenAddress, ListenerConfig, RouteConfig, Routing,
    ServerTls, ServerTlsFiles, TlsError, TlsFiles, UnknownName, UpstreamConfig, UpstreamUrl,
};
use sluice_engine::{CompileOptions, Ruleset};
use sluice_patterns::{Fault, PackSet, SetError};
use sluice_policy::Access;

use crate::args::{PackArgs, ServeArgs};
use crate::failure::Failure;
use crate::running::Running;
use crate::terminal::{Terminal, print, tell};

pub(crate) fn run(args: ServeArgs, terminal: &Terminal) -> Result<u8, Failure> {
    // It holds credentials: no core is dumped, and no process of the same user reads its memory. Where the kernel has no
    // such switch it serves all the same.
    let _ = nix_process::sys::prctl::set_dumpable(false);
    let file = args.config.clone();
    let read: Box<dyn Fn() -> Result<Config, ConfigError> + Send + Sync> = match file {
        Some(file) => Box::new(move || Config::read(&file)),
        None => {
            let (listen, upstream, access) = needed(&args)?;
            Box::new(move || from_flags(&args, listen.clone(), &upstream, access))
        }
    };
    let read = move || read().inspect(|config| config.warnings.iter().for_each(tell));
    let config = read().map_err(Failure::faults)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|e| Failure::work(format!("can't start the control pool: {e}")))?;
    runtime.block_on(async {
        let listeners = config.gateway.listeners.clone();
        let running = Running::start(config, read, *terminal).await?;
        introduce(running.gateway(), &listeners, &running.upstreams())?;
        if let Some(admin) = running.admin {
            print(format_args!("sluice: admin on http://{admin}"))?;
        }
        running.until_signal(terminal).await
    })
}

/// A line for each listener.
fn introduce(gateway: &Gateway, listeners: &[ListenerConfig], upstreams: &str) -> Result<(), Failure> {
    let (shards, io) = (gateway.shards(), gateway.io_driver());
    for (listener, address) in listeners.iter().zip(gateway.addresses()) {
        let place = match (address, &listener.tls) {
            (ListenAddress::Tcp(address), None) => format!("http://{address}"),
            (ListenAddress::Tcp(address), Some(_)) => format!("https://{address}"),
            (ListenAddress::Unix(_), _) => address.to_string(),
        };
        let name = if listeners.len() > 1 { format!(" ({})", listener.name) } else { String::new() };
        print(format_args!("sluice: gateway{name} on {place} to {upstreams}, {shards} shards, {io}"))?;
    }
    Ok(())
}

/// What has no default.
fn needed(args: &ServeArgs) -> Result<(ListenAddress, UpstreamUrl, Access), Failure> {
    let Some(listen) = args.listen else {
        return Err(Failure::usage("--listen ADDR is needed, or --config FILE"));
    };
    let Some(upstream) = args.upstream.clone() else {
        return Err(Failure::usage("--upstream URL is needed"));
    };
    let access = Access::without_identity(args.allow_anonymous).map_err(Failure::usage)?;
    Ok((ListenAddress::Tcp(listen), upstream, access))
}

/// One listener, one route and one upstream, as the flags say.
fn from_flags(
    args: &ServeArgs,
    listen: ListenAddress,
    upstream: &UpstreamUrl,
    access: Access,
) -> Result<Config, ConfigError> {
    let mut files = Files::default();
    let named = args.packs.packs.iter().filter(|name| !name.starts_with("builtin:")).map(Path::new);
    let paths = [args.tls_cert.as_deref(), args.upstream_ca.as_deref()];
    named.chain(paths.into_iter().flatten()).for_each(|path| files.note(path));
    let ruleset = compile(&args.packs)?;
    let mut listener = ListenerConfig::new("default", listen);
    if let Some((certificate, key)) = args.tls_cert.clone().zip(args.tls_key.clone()) {
        let certificates = vec![TlsFiles { certificate, key }];
        let files = ServerTlsFiles {
            certificates,
            unknown_name: UnknownName::First,
            client_ca: None,
            requires_client: false,
        };
        listener.tls = Some(ServerTls::load(&files).map_err(tls_faults)?);
    }
    let client = ClientTlsFiles { ca: args.upstream_ca.clone(), ..ClientTlsFiles::default() };
    let client = if upstream.is_tls { Some(ClientTls::load(&client).map_err(tls_faults)?) } else { None };
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
    let upstream = UpstreamConfig::new("default", upstream, client);
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
    let mut config = Config::from_flags(config, args.admin, args.drain_seconds, files);
    config.record = args.record.clone().map(RecordConfig::new);
    Ok(config)
}

/// Loads and compiles packs for a gateway.
pub(crate) fn compile(packs: &PackArgs) -> Result<Arc<Ruleset>, ConfigError> {
    let set = PackSet::load(&packs.packs).map_err(pack_faults)?;
    set.compile(&CompileOptions::default()).map_err(|e| pack_faults(SetError::Packs(e)))
}

/// Faults without a file of their own are the command's.
fn fault(reason: impl ToString) -> Fault {
    Fault { file: "sluice".to_owned(), line: 0, reason: reason.to_string() }
}

fn pack_faults(error: SetError) -> ConfigError {
    match error {
        SetError::Packs(error) => ConfigError::new(error.faults().to_vec()),
        SetError::Unknown(_) => ConfigError::new(vec![fault(error)]),
    }
}

fn tls_faults(errors: Vec<TlsError>) -> ConfigError {
    ConfigError::new(errors.iter().map(fault).collect())
}
