//! `[[upstream]]`.

use std::path::PathBuf;

use sluice_data::{
    ClientTls, ClientTlsFiles, EndpointAddress, HealthCheck, HealthConfig, PoolLimits, RetryConfig, TlsFiles,
    UpstreamConfig, UpstreamProtocol, UpstreamUrl,
};
use toml::de::DeTable;

use super::credential::{self, Servers};
use super::listener::socket_path;
use super::number::{self, CHECK, HEALTH, POOL, RETRY};
use super::source::{Source, Value};
use crate::credential::Injection;

/// Endpoints of one upstream.
const ENDPOINTS_MAX: usize = 256;

const KEYS: &[&str] = &[
    "name",
    "url",
    "endpoints",
    "authority",
    "ca",
    "client_cert",
    "client_key",
    "server_name",
    "protocol",
    "pool",
    "health",
    "retry",
    "credential",
];

pub(super) const PROTOCOLS: &[(&str, UpstreamProtocol)] = &[
    ("auto", UpstreamProtocol::Auto),
    ("http1", UpstreamProtocol::Http1),
    ("http2", UpstreamProtocol::Http2),
];

/// An upstream, and what it is shown by.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) config: UpstreamConfig,
    pub(super) tls: Option<ClientTlsFiles>,
    /// What it is asked with, in place of the caller's own.
    pub(super) credential: Option<Injection>,
}

/// Where its endpoints are, and what they have in common.
struct Place {
    endpoints: Vec<EndpointAddress>,
    authority: String,
    base: String,
    is_tls: bool,
}

pub(super) fn read(
    source: &mut Source,
    value: &Value<'_>,
    table: &DeTable<'_>,
    names: &mut Vec<(String, usize)>,
    servers: &Servers,
) -> Option<Upstream> {
    source.reader.known_keys(table, KEYS);
    let name = source.name(value, table, "upstream", names);
    let place = place(source, value, table);
    let tls = match &place {
        Some(place) => tls(source, value, table, place.is_tls),
        None => None,
    };
    let protocol = source.word(table, "protocol", PROTOCOLS).unwrap_or_default();
    let (mut pool, mut retry) = (PoolLimits::default(), RetryConfig::default());
    if let Some((_, inner)) = source.inner(table, "pool", &number::keys(POOL, &[])) {
        number::read(source, inner, POOL, &mut pool);
    }
    if let Some((_, inner)) = source.inner(table, "retry", &number::keys(RETRY, &[])) {
        number::read(source, inner, RETRY, &mut retry);
    }
    let health = health(source, table);
    let credential = credential::injection(source, table, servers);
    let (place, (files, tls)) = (place?, tls?);
    let Place { endpoints, authority, base, .. } = place;
    let config = UpstreamConfig {
        name: name?,
        endpoints,
        authority,
        base,
        tls,
        protocol,
        pool,
        health: health?,
        retry,
    };
    Some(Upstream { config, tls: files, credential })
}

fn place(source: &mut Source, value: &Value<'_>, table: &DeTable<'_>) -> Option<Place> {
    let listed = match (table.get("url"), table.get("endpoints")) {
        (Some(url), None) => std::slice::from_ref(url),
        (None, Some(list)) => source.reader.array(list)?,
        (Some(_), Some(list)) => {
            source.reader.fault(&list.span(), "an upstream has either `url` or `endpoints`");
            return None;
        }
        (None, None) => {
            let reason = "an upstream needs `url`, or a list of `endpoints`: http://HOST:PORT/PATH, https://… or unix:PATH";
            source.reader.fault(&value.span(), reason);
            return None;
        }
    };
    if listed.is_empty() || listed.len() > ENDPOINTS_MAX {
        let span = table.get("endpoints").unwrap_or(value).span();
        source.reader.fault(&span, format!("an upstream has 1 to {ENDPOINTS_MAX} endpoints"));
        return None;
    }
    let (mut endpoints, mut sockets, mut is_whole) = (Vec::new(), Vec::new(), true);
    let mut urls: Vec<UpstreamUrl> = Vec::new();
    for item in listed {
        let Some(endpoint) = endpoint(source, item, &mut urls) else {
            is_whole = false;
            continue;
        };
        if endpoints.contains(&endpoint) {
            source
                .reader
                .fault(&item.span(), format!("`{endpoint}` is there twice: each takes its share once"));
        }
        if let EndpointAddress::Unix(_) = endpoint {
            sockets.push(item.span());
        }
        endpoints.push(endpoint);
    }
    if urls.first().is_some_and(|url| url.is_tls) {
        for span in sockets {
            source.reader.fault(&span, "a Unix socket is plain, and the other endpoints are https");
        }
    }
    let authority = match table.get("authority") {
        Some(v) => authority(source, v),
        None if !is_whole => None,
        None => {
            let first = urls.first().map(UpstreamUrl::authority);
            if first.is_none() || urls.iter().any(|url| Some(url.authority()) != first) {
                let span = table.get("endpoints").or(table.get("url")).unwrap_or(value).span();
                let reason =
                    "`authority` is needed: the name that these endpoints are asked for, and prove with TLS";
                source.reader.fault(&span, reason);
                None
            } else {
                first
            }
        }
    };
    let (is_tls, base) = urls.first().map_or((false, String::new()), |url| (url.is_tls, url.base.clone()));
    if !is_whole {
        return None;
    }
    Some(Place { endpoints, authority: authority?, base, is_tls })
}

/// One endpoint; `urls` are those before it, which have scheme and path in common.
fn endpoint(source: &mut Source, item: &Value<'_>, urls: &mut Vec<UpstreamUrl>) -> Option<EndpointAddress> {
    let text = source.reader.string(item)?;
    if let Some(path) = text.strip_prefix("unix:") {
        return socket_path(source, item, path).map(EndpointAddress::Unix);
    }
    let url: UpstreamUrl = match text.parse() {
        Ok(url) => url,
        Err(e) => {
            // The text may hold a password: it is not told.
            let e: sluice_data::UpstreamUrlError = e;
            source.reader.fault(&item.span(), format!("{e}, or unix:PATH"));
            return None;
        }
    };
    if url.port == 0 {
        source.reader.fault(&item.span(), "nobody listens on port 0");
        return None;
    }
    if let Some(first) = urls.first() {
        if first.is_tls != url.is_tls {
            source.reader.fault(&item.span(), "endpoints are all http or all https");
            return None;
        }
        if first.base != url.base {
            source.reader.fault(&item.span(), "endpoints have the same path: make two upstreams of them");
            return None;
        }
    }
    let endpoint = EndpointAddress::Tcp { host: url.host.clone(), port: url.port };
    urls.push(url);
    Some(endpoint)
}

/// `HOST` or `HOST:PORT`.
fn authority(source: &mut Source, value: &Value<'_>) -> Option<String> {
    let text = source.reader.string(value)?;
    let is_valid = !text.contains('/') && format!("http://{text}").parse::<UpstreamUrl>().is_ok();
    if !is_valid {
        source.reader.fault(&value.span(), "expected HOST or HOST:PORT, without scheme and path");
    }
    is_valid.then_some(text)
}

/// The files of TLS, and what they are loaded to; both none for plain endpoints.
fn tls(
    source: &mut Source,
    value: &Value<'_>,
    table: &DeTable<'_>,
    is_tls: bool,
) -> Option<(Option<ClientTlsFiles>, Option<ClientTls>)> {
    if !is_tls {
        for key in ["ca", "client_cert", "client_key", "server_name"] {
            if let Some(v) = table.get(key) {
                source
                    .reader
                    .fault(&v.span(), format!("`{key}` is for https, and these endpoints are plain"));
            }
        }
        return Some((None, None));
    }
    let mut places = Vec::new();
    let mut file = |key: &str| -> Result<Option<PathBuf>, ()> {
        let Some(v) = table.get(key) else { return Ok(None) };
        let path = source.file(v).ok_or(())?;
        places.push((path.clone(), v.span()));
        if key != "client_key" {
            source.files.note(&path);
        }
        Ok(Some(path))
    };
    let (ca, certificate, key) = (file("ca"), file("client_cert"), file("client_key"));
    for (key, other) in [("client_cert", "client_key"), ("client_key", "client_cert")] {
        if let Some(v) = table.get(key).filter(|_| !table.contains_key(other)) {
            source.reader.fault(&v.span(), format!("`{other}` is needed too: a certificate and its key"));
        }
    }
    let server_name = match table.get("server_name") {
        Some(v) => server_name(source, v).map(Some)?,
        None => None,
    };
    let certificate = match (certificate, key) {
        (Ok(Some(certificate)), Ok(Some(key))) => Some(TlsFiles { certificate, key }),
        (Ok(None), Ok(None)) => None,
        (Ok(_) | Err(()), Ok(_) | Err(())) => return None,
    };
    let files = ClientTlsFiles { ca: ca.ok()?, certificate, server_name };
    match source.client_tls(&files) {
        Ok(tls) => Some((Some(files), Some(tls))),
        Err(errors) => {
            let whole = table.get("url").or(table.get("endpoints")).unwrap_or(value).span();
            source.tls_faults(&errors, &places, &whole);
            None
        }
    }
}

fn server_name(source: &mut Source, value: &Value<'_>) -> Option<String> {
    let text = source.reader.string(value)?;
    let is_valid = text.parse::<std::net::IpAddr>().is_ok()
        || (!text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)));
    if !is_valid {
        source.reader.fault(&value.span(), "expected the name in the upstream's certificate, without port");
    }
    is_valid.then_some(text)
}

fn health(source: &mut Source, table: &DeTable<'_>) -> Option<HealthConfig> {
    let mut health = HealthConfig::default();
    let Some((_, inner)) = source.inner(table, "health", &number::keys(HEALTH, &["check"])) else {
        return (!table.contains_key("health")).then_some(health);
    };
    number::read(source, inner, HEALTH, &mut health);
    if let Some(v) = inner.get("out_ms").filter(|_| health.out_ms > health.out_ms_max) {
        let reason =
            format!("the first time out is longer than the longest: `out_ms_max` is {}", health.out_ms_max);
        source.reader.fault(&v.span(), reason);
    }
    if let Some((value, check)) = source.inner(inner, "check", &number::keys(CHECK, &["path"])) {
        health.check = Some(read_check(source, value, check)?);
    }
    Some(health)
}

fn read_check(source: &mut Source, value: &Value<'_>, table: &DeTable<'_>) -> Option<HealthCheck> {
    let mut check = HealthCheck { path: String::new(), every_ms: 10_000, ms_max: 2_000, rises: 2, falls: 3 };
    number::read(source, table, CHECK, &mut check);
    if check.ms_max > check.every_ms {
        let span = table.get("ms_max").or(table.get("every_ms")).unwrap_or(value).span();
        let reason = format!(
            "a check must end before the next begins: `ms_max` is at most `every_ms`, {}",
            check.every_ms
        );
        source.reader.fault(&span, reason);
    }
    let Some(v) = table.get("path") else {
        source.reader.fault(&value.span(), "a check needs `path`: what it asks for with GET");
        return None;
    };
    let path = source.reader.string(v)?;
    if !path.starts_with('/') || path.contains('#') || path.bytes().any(|b| b <= b' ' || b >= 0x7F) {
        source
            .reader
            .fault(&v.span(), "expected a path that begins with `/`, with spaces and letters encoded");
        return None;
    }
    check.path = path;
    Some(check)
}
