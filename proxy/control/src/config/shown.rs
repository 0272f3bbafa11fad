//! A resolved configuration as TOML, every default written out: a configuration that is the same again.

use std::fmt::{self, Display, Write};
use std::path::Path;

use sluice_data::desk::DeskConfig;
use sluice_data::{
    EndpointAddress, GatewayConfig, ListenAddress, PathMatch, ServerTlsFiles, UpstreamConfig, UpstreamUrl,
};
use sluice_policy::SQL_DIALECTS;

use super::credential::shown_injection;
use super::gateway::{IO_DRIVERS, Whole};
use super::listener::Listener;
use super::number::{self, CHECK, DECIDE, HEALTH, LIMITS, POOL, RECORD, RETRY, TIMEOUTS};
use super::policy::{self, PROTOCOLS as PROTOCOLS_SPOKEN, Policies};
use super::record::{MODES, RecordConfig};
use super::route::{FORWARDED, ON_ERROR, RATE_BY, RESPONSE_CODINGS, Route};
use super::upstream::{PROTOCOLS, Upstream};

/// All of it.
pub(super) struct Shown<'a> {
    pub(super) gateway: &'a GatewayConfig,
    pub(super) whole: &'a Whole,
    pub(super) policies: Option<&'a Policies>,
    pub(super) desk: &'a DeskConfig,
    pub(super) record: Option<&'a RecordConfig>,
    pub(super) admin: Option<std::net::SocketAddr>,
    pub(super) listeners: &'a [Listener],
    pub(super) upstreams: &'a [Upstream],
    pub(super) routes: &'a [Route],
    /// Issuers and servers of secrets, as TOML.
    pub(super) identity: &'a str,
}

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let GatewayConfig { shards, io, limits, .. } = self.gateway;
        if let Some(policies) = self.policies {
            let files: Vec<String> = policies.files.iter().map(|path| absolute(path)).collect();
            writeln!(f, "policies = {}\n", list(&files))?;
        }
        writeln!(f, "[gateway]\nshards = {shards}\nio = {}", word(IO_DRIVERS, io))?;
        let Whole { drain_seconds, allows_anonymous, .. } = self.whole;
        writeln!(f, "drain_seconds = {drain_seconds}\nallow_anonymous = {allows_anonymous}")?;
        write!(f, "\n[gateway.limits]\n{}", number::lines(LIMITS, limits))?;
        if let Some(admin) = self.admin {
            writeln!(f, "\n[admin]\nlisten = {}", text(&admin))?;
        }
        write!(f, "\n[decide]\n{}", number::lines(DECIDE, self.desk))?;
        if let Some(record) = self.record {
            show_record(f, record)?;
        }
        f.write_str(self.identity)?;
        self.listeners.iter().try_for_each(|listener| show_listener(f, listener))?;
        self.upstreams.iter().try_for_each(|upstream| show_upstream(f, upstream))?;
        self.routes.iter().try_for_each(|route| {
            let upstream = self.upstreams.get(route.config.upstream).map_or("", |u| u.config.name.as_str());
            show_route(f, route, upstream)
        })
    }
}

fn show_record(f: &mut fmt::Formatter<'_>, record: &RecordConfig) -> fmt::Result {
    writeln!(f, "\n[record]\nfolder = {}\nmode = {}", file(&record.folder), word(MODES, &record.mode))?;
    writeln!(f, "strict_response = {}\nsigning_key = {}", record.strict_response, file(&record.signing_key))?;
    let RecordConfig { previous_key, encryption_key, digest_key, .. } = record;
    for (name, path) in
        [("previous_key", previous_key), ("encryption_key", encryption_key), ("digest_key", digest_key)]
    {
        if let Some(path) = path {
            writeln!(f, "{name} = {}", file(path))?;
        }
    }
    write!(f, "{}", number::lines(RECORD, &record.limits))
}

fn show_listener(f: &mut fmt::Formatter<'_>, listener: &Listener) -> fmt::Result {
    let config = &listener.config;
    let address = match &config.address {
        ListenAddress::Tcp(address) => address.to_string(),
        ListenAddress::Unix(path) => format!("unix:{}", absolute(path)),
    };
    writeln!(f, "\n[[listener]]\nname = {}\nlisten = {}", text(&config.name), text(&address))?;
    if let Some(files) = &listener.tls {
        writeln!(f, "tls = {}", server_tls(files))?;
    }
    if matches!(config.address, ListenAddress::Tcp(_)) {
        writeln!(f, "trusted = {}\nproxy_protocol = {}", list(&config.trusted), config.proxy_protocol)?;
    }
    writeln!(f, "connect = {}\nabsolute_form = {}", config.connect, config.absolute_form)
}

fn server_tls(files: &ServerTlsFiles) -> String {
    let pair = |pair: &sluice_data::TlsFiles| {
        format!("{{ cert = {}, key = {} }}", file(&pair.certificate), file(&pair.key))
    };
    let certificates: Vec<String> = files.certificates.iter().map(pair).collect();
    let mut shown = format!("{{ certificates = [{}]", certificates.join(", "));
    // Writing to a string does not fail.
    let _ = match &files.client_ca {
        Some(ca) => {
            let client = if files.requires_client { "required" } else { "optional" };
            write!(shown, ", client_ca = {}, client = {} }}", file(ca), text(&client))
        }
        None => write!(shown, ", client = {} }}", text(&"none")),
    };
    shown
}

fn show_upstream(f: &mut fmt::Formatter<'_>, upstream: &Upstream) -> fmt::Result {
    let config = &upstream.config;
    let endpoints: Vec<String> = config.endpoints.iter().map(|e| endpoint(config, e)).collect();
    writeln!(f, "\n[[upstream]]\nname = {}\nendpoints = {}", text(&config.name), list(&endpoints))?;
    writeln!(f, "authority = {}", text(&config.authority))?;
    if let Some(files) = &upstream.tls {
        let (certificate, key) = files.certificate.as_ref().map(|c| (&c.certificate, &c.key)).unzip();
        for (name, path) in [("ca", files.ca.as_ref()), ("client_cert", certificate), ("client_key", key)] {
            if let Some(path) = path {
                writeln!(f, "{name} = {}", file(path))?;
            }
        }
        if let Some(name) = &files.server_name {
            writeln!(f, "server_name = {}", text(name))?;
        }
    }
    if let Some(injection) = &upstream.credential {
        writeln!(f, "credential = {}", shown_injection(injection))?;
    }
    writeln!(f, "protocol = {}", word(PROTOCOLS, &config.protocol))?;
    writeln!(f, "pool = {{ {} }}", number::inline(POOL, &config.pool))?;
    let check = config.health.check.as_ref().map(|check| {
        format!(", check = {{ path = {}, {} }}", text(&check.path), number::inline(CHECK, check))
    });
    let health = number::inline(HEALTH, &config.health);
    writeln!(f, "health = {{ {health}{} }}", check.unwrap_or_default())?;
    writeln!(f, "retry = {{ {} }}", number::inline(RETRY, &config.retry))
}

fn endpoint(config: &UpstreamConfig, endpoint: &EndpointAddress) -> String {
    match endpoint {
        EndpointAddress::Tcp { host, port } => {
            let (is_tls, base) = (config.tls.is_some(), config.base.clone());
            UpstreamUrl { is_tls, host: host.clone(), port: *port, base }.to_string()
        }
        EndpointAddress::Unix(path) => format!("unix:{}", absolute(path)),
    }
}

fn show_route(f: &mut fmt::Formatter<'_>, route: &Route, upstream: &str) -> fmt::Result {
    let config = &route.config;
    writeln!(f, "\n[[route]]\nname = {}", text(&config.name))?;
    let matches = &config.matches;
    // An empty list holds for every request, which is said by leaving it out.
    if !matches.hosts.is_empty() {
        writeln!(f, "hosts = {}", list(&matches.hosts))?;
    }
    match &matches.path {
        PathMatch::Prefix(path) => writeln!(f, "path = {}", text(path))?,
        PathMatch::Exact(path) => writeln!(f, "path_exact = {}", text(path))?,
    }
    if !matches.methods.is_empty() {
        writeln!(f, "methods = {}", list(&matches.methods))?;
    }
    let headers = matches.headers.iter().map(|header| match &header.value {
        Some(value) => format!("{{ name = {}, value = {} }}", text(&header.name), text(value)),
        None => format!("{{ name = {} }}", text(&header.name)),
    });
    let headers: Vec<String> = headers.collect();
    if !headers.is_empty() {
        writeln!(f, "headers = [{}]", headers.join(", "))?;
    }
    writeln!(f, "upstream = {}", text(&upstream))?;
    let packs = route.packs.iter().map(|name| match name.starts_with("builtin:") {
        true => name.clone(),
        false => absolute(Path::new(name)),
    });
    writeln!(f, "packs = {}", list(&packs.collect::<Vec<_>>()))?;
    writeln!(f, "mask = {}", !config.masking.is_off)?;
    writeln!(f, "on_error = {}", word(ON_ERROR, &config.masking.on_error))?;
    writeln!(f, "response_coding = {}", word(RESPONSE_CODINGS, &config.masking.response_coding))?;
    writeln!(f, "coding_ratio_max = {}", config.masking.coding_limits.ratio_max)?;
    writeln!(f, "forwarded = {}", word(FORWARDED, &config.forwarded))?;
    let surface = &route.surface;
    writeln!(f, "speaks = {}", word(PROTOCOLS_SPOKEN, &surface.protocol))?;
    if !surface.sql.is_empty() {
        let places: Vec<String> = surface.sql.iter().map(policy::spelled).collect();
        writeln!(f, "sql = {}\nsql_dialect = {}", list(&places), word(SQL_DIALECTS, &surface.dialect))?;
    }
    let limits = &config.limits;
    if let Some(bytes) = limits.body_bytes_max {
        writeln!(f, "body_bytes_max = {bytes}")?;
    }
    writeln!(f, "timeouts = {{ {} }}", number::inline(TIMEOUTS, limits))?;
    if let Some(rate) = &limits.rate {
        let (requests, window_ms, burst) = (rate.requests, rate.window_ms, rate.burst);
        let by = word(RATE_BY, &rate.by);
        let shown = format!("requests = {requests}, window_ms = {window_ms}, burst = {burst}, by = {by}");
        writeln!(f, "rate = {{ {shown} }}")?;
    }
    if let Some(limit) = &limits.concurrency {
        write!(
            f,
            "concurrency = {{ exchanges_max = {}, queue_max = {}",
            limit.exchanges_max, limit.queue_max
        )?;
        if limit.queue_max > 0 {
            write!(f, ", queue_ms_max = {}", limit.queue_ms_max)?;
        }
        writeln!(f, " }}")?;
    }
    Ok(())
}

/// A string of TOML.
pub(super) fn text(text: &(impl Display + ?Sized)) -> String {
    toml::Value::String(text.to_string()).to_string()
}

pub(super) fn list<T: Display>(items: &[T]) -> String {
    format!("[{}]", items.iter().map(text).collect::<Vec<_>>().join(", "))
}

/// The word that stands for a value.
pub(super) fn word<T: PartialEq>(words: &[(&str, T)], value: &T) -> String {
    text(words.iter().find(|(_, other)| other == value).map_or("", |(word, _)| word))
}

fn file(path: &Path) -> String {
    text(&absolute(path))
}

/// From the root, so that the text is valid wherever it is put.
pub(super) fn absolute(path: &Path) -> String {
    std::path::absolute(path).as_deref().unwrap_or(path).display().to_string()
}
