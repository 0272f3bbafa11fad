//! `[[listener]]`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use sluice_data::{ListenAddress, ListenerConfig, ServerTls, ServerTlsFiles, TlsFiles, UnknownName};
use toml::de::DeTable;

use super::source::{Source, Value};

/// The longest path of a Unix socket, in bytes (`sun_path` of unix(7), less its end).
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// The bits of a mode that say who may do what.
const MODE_MAX: u32 = 0o777;

pub(super) const UNKNOWN_NAMES: &[(&str, UnknownName)] =
    &[("first", UnknownName::First), ("refuse", UnknownName::Refuse)];

const KEYS: &[&str] =
    &["name", "listen", "mode", "tls", "trusted", "proxy_protocol", "connect", "absolute_form"];

/// A listener, and what it is shown by.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) config: ListenerConfig,
    pub(super) tls: Option<ServerTlsFiles>,
    /// Line of its address.
    pub(super) line: usize,
    /// Line of `connect`.
    pub(super) connect_line: usize,
}

/// What `client` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Client {
    None,
    Optional,
    Required,
}

pub(super) fn read(
    source: &mut Source,
    value: &Value<'_>,
    table: &DeTable<'_>,
    names: &mut Vec<(String, usize)>,
) -> Option<Listener> {
    source.reader.known_keys(table, KEYS);
    let name = source.name(value, table, "listener", names);
    let address = match table.get("listen") {
        Some(v) => address(source, v),
        None => {
            source.reader.fault(&value.span(), "a listener needs `listen`: ADDRESS:PORT or unix:PATH");
            None
        }
    };
    let line_of = |key: &str| source.reader.line(&table.get(key).unwrap_or(value).span());
    let (line, connect_line) = (line_of("listen"), line_of("connect"));
    let tls = match table.get("tls") {
        Some(v) => tls(source, v).map(|(files, tls)| (Some(files), Some(tls))),
        None => Some((None, None)),
    };
    let mut trusted = Vec::new();
    for item in source.items(table, "trusted") {
        let Some(text) = source.reader.string(item) else { continue };
        match text.parse() {
            Ok(network) => trusted.push(network),
            Err(e) => source.reader.fault(&item.span(), format!("`{text}`: {e}")),
        }
    }
    let mode = match table.get("mode") {
        Some(v) => mode(source, v, matches!(address, Some(ListenAddress::Tcp(_)))),
        None => ListenerConfig::MODE,
    };
    let proxy_protocol = source.switch(table, "proxy_protocol");
    let is_unix = matches!(address, Some(ListenAddress::Unix(_)));
    for key in ["trusted", "proxy_protocol"] {
        if let Some(v) = table.get(key).filter(|_| is_unix) {
            let reason = format!("peers of a Unix socket have no address: `{key}` is for TCP");
            source.reader.fault(&v.span(), reason);
        }
    }
    if let Some(v) = table.get("proxy_protocol").filter(|_| proxy_protocol && !is_unix)
        && !table.contains_key("trusted")
    {
        let reason =
            "nobody is trusted to send the PROXY protocol: give the networks of those who are as `trusted`";
        source.reader.fault(&v.span(), reason);
    }
    let (connect, absolute_form) = (source.switch(table, "connect"), source.switch(table, "absolute_form"));
    let (files, tls) = tls?;
    let config = ListenerConfig {
        name: name?,
        address: address?,
        mode,
        tls,
        trusted,
        proxy_protocol,
        connect,
        absolute_form,
    };
    Some(Listener { config, tls: files, line, connect_line })
}

/// `ADDRESS:PORT` or `unix:PATH`.
fn address(source: &mut Source, value: &Value<'_>) -> Option<ListenAddress> {
    let text = source.reader.string(value)?;
    if let Some(path) = text.strip_prefix("unix:") {
        return socket_path(source, value, path).map(ListenAddress::Unix);
    }
    socket_address(source, value, &text).map(ListenAddress::Tcp)
}

/// Who may connect to a Unix socket: `0660`, as chmod(1) says it. A fault leaves the default, which nobody gets to see.
fn mode(source: &mut Source, value: &Value<'_>, is_tcp: bool) -> u32 {
    let Some(text) = source.reader.string(value) else { return ListenerConfig::MODE };
    let is_octal = matches!(text.len(), 3 | 4) && text.bytes().all(|b| matches!(b, b'0'..=b'7'));
    let mode = u32::from_str_radix(&text, 8).ok().filter(|mode| is_octal && *mode <= MODE_MAX);
    if mode.is_none() {
        source.reader.fault(&value.span(), "expected a mode as chmod(1) takes it, such as \"0660\"");
    } else if is_tcp {
        source.reader.fault(&value.span(), "only a Unix socket has a `mode`");
    }
    mode.unwrap_or(ListenerConfig::MODE)
}

/// An address and a port.
pub(super) fn socket_address(source: &mut Source, value: &Value<'_>, text: &str) -> Option<SocketAddr> {
    let address = text.parse().ok();
    if address.is_none() {
        let reason =
            "expected ADDRESS:PORT with an address of this machine, such as 127.0.0.1:8080 or [::]:8080";
        source.reader.fault(&value.span(), reason);
    }
    address
}

/// The path of a Unix socket.
pub(super) fn socket_path(source: &mut Source, value: &Value<'_>, path: &str) -> Option<PathBuf> {
    let is_empty = path.is_empty() || path.contains('\0');
    let path = source.joined(path);
    if is_empty || path.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
        let reason =
            format!("expected unix:PATH with a path of 1 to {SOCKET_PATH_BYTES_MAX} bytes, folder and all");
        source.reader.fault(&value.span(), reason);
        return None;
    }
    Some(path)
}

fn tls(source: &mut Source, value: &Value<'_>) -> Option<(ServerTlsFiles, ServerTls)> {
    let table = source.reader.table(value)?;
    source.reader.known_keys(table, &["certificates", "unknown_name", "client_ca", "client"]);
    let (mut certificates, mut places, mut is_whole) = (Vec::new(), Vec::new(), true);
    let items = source.items(table, "certificates");
    if items.is_empty() {
        let reason = "TLS needs `certificates = [{ cert = \"FILE\", key = \"FILE\" }]`";
        source.reader.fault(&table.get("certificates").unwrap_or(value).span(), reason);
        is_whole = false;
    }
    for item in items {
        match pair(source, item, &mut places) {
            Some(files) => certificates.push(files),
            None => is_whole = false,
        }
    }
    let client_ca = match table.get("client_ca") {
        Some(v) => {
            let path = source.file(v);
            is_whole &= path.is_some();
            if let Some(path) = &path {
                source.files.note(path);
                places.push((path.clone(), v.span()));
            }
            path
        }
        None => None,
    };
    let unknown_name = source.word(table, "unknown_name", UNKNOWN_NAMES).unwrap_or_default();
    let words = [("none", Client::None), ("optional", Client::Optional), ("required", Client::Required)];
    let client = source.word(table, "client", &words);
    let span = table.get("client").unwrap_or(value).span();
    match (client, table.contains_key("client_ca")) {
        (Some(Client::None), true) => {
            let reason =
                "no client certificate is asked for, so `client_ca` would not be used: leave one of them out";
            source.reader.fault(&span, reason);
        }
        (Some(Client::Optional | Client::Required), false) => {
            let reason = "`client_ca` is needed: the file with the roots that client certificates lead to";
            source.reader.fault(&span, reason);
        }
        (Some(Client::None) | None, false) | (Some(Client::Optional | Client::Required) | None, true) => {}
    }
    // Who names roots and says no more wants to know who calls.
    let requires_client = client_ca.is_some() && !matches!(client, Some(Client::Optional));
    let files = ServerTlsFiles { certificates, unknown_name, client_ca, requires_client };
    if !is_whole {
        return None;
    }
    match ServerTls::load(&files) {
        Ok(tls) => {
            let line = source.reader.line(&value.span());
            tls.warnings().iter().for_each(|warning| source.warn(line, warning.to_string()));
            Some((files, tls))
        }
        Err(errors) => {
            source.tls_faults(&errors, &places, &value.span());
            None
        }
    }
}

/// A certificate with its key.
fn pair(
    source: &mut Source,
    item: &Value<'_>,
    places: &mut Vec<(PathBuf, std::ops::Range<usize>)>,
) -> Option<TlsFiles> {
    let table = source.reader.table(item)?;
    source.reader.known_keys(table, &["cert", "key"]);
    let mut file = |key: &str| {
        let Some(v) = table.get(key) else {
            source.reader.fault(&item.span(), format!("a certificate needs `{key}`"));
            return None;
        };
        let path = source.file(v)?;
        places.push((path.clone(), v.span()));
        Some(path)
    };
    let (certificate, key) = (file("cert"), file("key"));
    source.files.note(certificate.as_ref()?);
    Some(TlsFiles { certificate: certificate?, key: key? })
}

/// Faults of listeners that can't listen beside each other, or beside the admin server.
pub(super) fn clashes(source: &mut Source, listeners: &[Listener], admin: Option<(SocketAddr, usize)>) {
    let mut before: Vec<(ListenAddress, usize)> = Vec::new();
    let all = listeners.iter().map(|l| (l.config.address.clone(), l.line));
    for (address, line) in all.chain(admin.map(|(address, line)| (ListenAddress::Tcp(address), line))) {
        if let Some((_, other)) = before.iter().find(|(other, _)| do_clash(&address, other)) {
            let (line, earlier) = (line.max(*other), line.min(*other));
            let reason =
                format!("`{address}` is taken by what listens on line {earlier}: give another port or path");
            source.fault_on(line, reason);
        }
        before.push((address, line));
    }
}

fn do_clash(a: &ListenAddress, b: &ListenAddress) -> bool {
    match (a, b) {
        (ListenAddress::Unix(a), ListenAddress::Unix(b)) => a == b,
        (ListenAddress::Tcp(a), ListenAddress::Tcp(b)) => {
            let takes = |one: IpAddr, other: IpAddr| {
                // `[::]` takes IPv4 too (ipv6(7), IPV6_V6ONLY).
                one == other || (one.is_unspecified() && (one.is_ipv6() || other.is_ipv4()))
            };
            a.port() != 0 && a.port() == b.port() && (takes(a.ip(), b.ip()) || takes(b.ip(), a.ip()))
        }
        (ListenAddress::Unix(_), ListenAddress::Tcp(_)) | (ListenAddress::Tcp(_), ListenAddress::Unix(_)) => {
            false
        }
    }
}
