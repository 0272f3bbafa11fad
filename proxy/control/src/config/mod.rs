//! The configuration of a gateway from a TOML file.
//!
//! The file is parsed raw and walked by hand with the reader of packs, so that every fault of it is told at once, each
//! on its line and with what to do; unknown keys are faults. What comes out ([`Config`]) can't be invalid: packs are
//! compiled, TLS files loaded, names resolved to indexes. Nothing is half taken: one fault, and there is no
//! configuration. `serde` was rejected, as it stops at the first fault and tells places only in part.

mod approvals;
mod condition;
mod credential;
mod files;
mod gateway;
mod issuer;
mod listener;
mod number;
mod policy;
mod record;
mod route;
mod shown;
mod source;
mod upstream;

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use sluice_data::desk::DeskConfig;
use sluice_data::{GatewayConfig, PathMatch, Routing};
use sluice_patterns::Fault;
use sluice_policy::{PolicySet, Surface};
use toml::de::DeTable;

use crate::credential::Injection;
use crate::identity::Issuer;
pub use files::Files;
pub use gateway::DRAIN_SECONDS;
pub use issuer::IdentityFiles;
use listener::Listener;
use policy::Policies;
pub use record::{RecordConfig, RecordLimits, SIGNING_KEY_FILE};
use route::Route;
use shown::Shown;
use source::Source;
use upstream::Upstream;

/// Bytes of a configuration file: a thousand routes and more.
pub const FILE_BYTES_MAX: u64 = 1 << 20;
/// Listeners of a gateway; each is a socket of every shard.
pub const LISTENERS_MAX: usize = 64;
/// Upstreams of a gateway.
pub const UPSTREAMS_MAX: usize = 1_000;
/// Routes of a gateway: a request is held against one after the other.
pub const ROUTES_MAX: usize = 1_000;

/// A configuration that holds no fault.
#[derive(Clone, Debug)]
pub struct Config {
    /// How faults name it: its file.
    pub name: String,
    /// What the data plane is told.
    pub gateway: GatewayConfig,
    /// Who vouches for callers.
    pub issuers: Vec<Issuer>,
    /// What is revoked, and the keys that the gateway issues.
    pub identity: IdentityFiles,
    /// What upstreams are asked with, by their names.
    pub credentials: BTreeMap<String, Injection>,
    /// Where the admin server listens; none: there is none.
    pub admin: Option<SocketAddr>,
    /// How approvals are run; none: there are none.
    pub approvals: Option<crate::approvals::Settings>,
    /// Seconds that running exchanges get to finish in a drain.
    pub drain_seconds: u64,
    /// Callers who prove nothing may call.
    pub allows_anonymous: bool,
    /// What is allowed; none: all that is proved.
    pub policies: Option<Arc<PolicySet>>,
    /// What is spoken on each route, by its name.
    pub surfaces: BTreeMap<String, Arc<Surface>>,
    /// How requests are asked about.
    pub desk: DeskConfig,
    /// Where exchanges are recorded; none: nowhere.
    pub record: Option<RecordConfig>,
    /// What is allowed and hardly meant, as `file:line: warning: reason`.
    pub warnings: Vec<Fault>,
    /// What it was read from.
    pub files: Files,
    /// All of it as TOML, defaults written out; empty where it came from flags.
    shown: String,
}

/// Every fault of a configuration, one a line when displayed.
#[derive(Clone, Debug)]
pub struct ConfigError {
    faults: Vec<Fault>,
}

impl ConfigError {
    /// Of these faults.
    #[must_use]
    pub fn new(mut faults: Vec<Fault>) -> ConfigError {
        faults.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
        faults.dedup();
        ConfigError { faults }
    }

    /// All faults, by file and line.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, fault) in self.faults.iter().enumerate() {
            if n > 0 {
                writeln!(f)?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads the file at `path`, and every file that it names.
    ///
    /// # Errors
    /// Every fault of it and of the packs and TLS files that it names.
    pub fn read(path: &Path) -> Result<Config, ConfigError> {
        let whole = |reason: String| {
            ConfigError::new(vec![Fault { file: path.display().to_string(), line: 0, reason }])
        };
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path).and_then(|f| f.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
        file.map_err(|e| whole(format!("can't read the configuration: {e}")))?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(whole(format!("a configuration has at most {FILE_BYTES_MAX} bytes")));
        }
        let text = String::from_utf8(bytes).map_err(|_| whole("a configuration is UTF-8 text".to_owned()))?;
        Config::parse(path, &text)
    }

    /// The configuration that the file at `path` holds as its text.
    fn parse(path: &Path, text: &str) -> Result<Config, ConfigError> {
        let mut source = Source::new(path, text);
        let config = source.reader.document(text).and_then(|document| resolve(&mut source, &document));
        match config {
            Some(config) if source.reader.faults.is_empty() => {
                let mut warnings = source.warnings;
                warnings.sort_by_key(|warning| warning.line);
                Ok(Config { name: path.display().to_string(), warnings, files: source.files, ..config })
            }
            Some(_) | None => Err(ConfigError::new(source.reader.faults)),
        }
    }

    /// A configuration that was not read from a file; faults that show later are told as the command's.
    #[must_use]
    pub fn from_flags(
        gateway: GatewayConfig,
        admin: Option<SocketAddr>,
        drain_seconds: u64,
        files: Files,
    ) -> Config {
        Config {
            name: "sluice".to_owned(),
            gateway,
            issuers: Vec::new(),
            identity: IdentityFiles::default(),
            credentials: BTreeMap::new(),
            admin,
            approvals: None,
            drain_seconds,
            allows_anonymous: true,
            policies: None,
            surfaces: BTreeMap::new(),
            desk: DeskConfig::default(),
            record: None,
            warnings: Vec::new(),
            files,
            shown: String::new(),
        }
    }

    /// Requests are decided: there are policies, or callers prove who they are.
    #[must_use]
    pub fn is_decided(&self) -> bool {
        self.policies.is_some() || !self.issuers.is_empty() || !self.credentials.is_empty()
    }

    /// The configuration as TOML with every default, a valid configuration itself. Files are named from the root;
    /// secrets stay in theirs.
    #[must_use]
    pub fn to_toml(&self) -> &str {
        &self.shown
    }
}

/// The configuration in a document; none, or one that counts for nothing, where there are faults.
fn resolve(source: &mut Source, document: &DeTable<'_>) -> Option<Config> {
    let keys = [
        "policies",
        "gateway",
        "admin",
        "decide",
        "record",
        "approvals",
        "identity",
        "vault",
        "issuer",
        "listener",
        "upstream",
        "route",
    ];
    source.reader.known_keys(document, &keys);
    for key in ["listener", "upstream", "route"] {
        let is_empty = document.get(key).is_none_or(|v| v.get_ref().as_array().is_some_and(|a| a.is_empty()));
        if is_empty {
            source.reader.fault(&(0..0), format!("a gateway has at least one [[{key}]]"));
        }
    }
    let whole = gateway::read(source, document);
    let admin = gateway::admin(source, document);
    let policies = policy::read(source, document);
    let desk = policy::desk(source, document);
    let record = record::read(source, document);
    let servers = credential::vaults(source, document);
    let (issuers, identity) = issuer::read(source, document, &servers);
    let approvals = approvals::read(source, document);
    let mut names = Vec::new();
    let mut listeners = Vec::new();
    for (value, table) in source.tables(document, "listener", LISTENERS_MAX) {
        listeners.extend(listener::read(source, value, table, &mut names));
    }
    let (mut upstreams, mut upstream_names) = (Vec::new(), Vec::new());
    for (value, table) in source.tables(document, "upstream", UPSTREAMS_MAX) {
        upstreams.extend(upstream::read(source, value, table, &mut upstream_names, &servers));
    }
    let (mut routes, mut names) = (Vec::new(), Vec::new());
    for (value, table) in source.tables(document, "route", ROUTES_MAX) {
        routes.extend(route::read(source, value, table, &mut names, &upstream_names));
    }
    listener::clashes(source, &listeners, admin);
    check_connect(source, &listeners, &routes, document);
    route::unreachable(source, &routes);
    if !source.reader.faults.is_empty() {
        return None;
    }
    if !issuers.is_empty() && policies.is_none() {
        let reason =
            "callers prove who they are, and nothing says what they may do: name files in `policies`";
        source.reader.fault(&(0..0), reason);
        return None;
    }
    check_use(source, &upstream_names, &routes);
    let admin = admin.map(|(address, _)| address);
    let identity_shown = format!("{}{}", servers.shown, issuer::shown(&issuers, &identity));
    let parts = Parts { whole, policies, desk, record, identity_shown, admin, listeners, upstreams, routes };
    let config = Config { issuers, identity, ..parts.assemble()? };
    Some(approvals.into_iter().fold(config, |config, approvals| Config {
        shown: format!("{}{}", config.shown, approvals.shown),
        approvals: Some(approvals.settings),
        ..config
    }))
}

/// `connect` is of no use where no route takes that method, which has no path (RFC 9110, section 9.3.6).
fn check_connect(source: &mut Source, listeners: &[Listener], routes: &[Route], document: &DeTable<'_>) {
    let takes = |route: &Route| {
        let matches = &route.config.matches;
        let method = matches.methods.is_empty() || matches.methods.iter().any(|m| m == "CONNECT");
        method && matches.path == PathMatch::default()
    };
    // Where a route has faults of its own, nobody knows what it takes.
    let written = document.get("route").and_then(|v| v.get_ref().as_array()).map_or(0, |a| a.len());
    if written != routes.len() || routes.iter().any(takes) {
        return;
    }
    for listener in listeners.iter().filter(|l| l.config.connect) {
        let reason =
            "no route takes `CONNECT`: one is needed that has no `path`, and that method or no `methods`";
        source.fault_on(listener.connect_line, reason.to_owned());
    }
}

/// Warns of upstreams that no route leads to.
fn check_use(source: &mut Source, upstreams: &[(String, usize)], routes: &[Route]) {
    for (n, (name, line)) in upstreams.iter().enumerate() {
        if !routes.iter().any(|route| route.config.upstream == n) {
            source.warn(*line, format!("no route leads to the upstream `{name}`"));
        }
    }
}

/// What a file says, without a fault.
struct Parts {
    whole: gateway::Whole,
    policies: Option<Policies>,
    desk: DeskConfig,
    record: Option<RecordConfig>,
    identity_shown: String,
    admin: Option<SocketAddr>,
    listeners: Vec<Listener>,
    upstreams: Vec<Upstream>,
    routes: Vec<Route>,
}

impl Parts {
    fn assemble(self) -> Option<Config> {
        let Parts { whole, policies, desk, record, identity_shown, admin, listeners, upstreams, routes } =
            self;
        let routing = Routing {
            upstreams: upstreams.iter().map(|u| u.config.clone()).collect(),
            routes: routes.iter().map(|r| r.config.clone()).collect(),
        };
        let first = listeners.first()?.config.clone();
        let mut gateway = GatewayConfig::new(first, routing, whole.access?);
        gateway.listeners = listeners.iter().map(|l| l.config.clone()).collect();
        gateway.shards = whole.shards.unwrap_or(gateway.shards);
        gateway.io = whole.io;
        gateway.limits = whole.limits;
        let shown = Shown {
            gateway: &gateway,
            whole: &whole,
            policies: policies.as_ref(),
            desk: &desk,
            record: record.as_ref(),
            admin,
            listeners: &listeners,
            upstreams: &upstreams,
            routes: &routes,
            identity: &identity_shown,
        };
        let shown = shown.to_string();
        let surfaces = routes.into_iter().map(|route| (route.config.name, Arc::new(route.surface))).collect();
        let credential = |upstream: Upstream| Some((upstream.config.name, upstream.credential?));
        let credentials = upstreams.into_iter().filter_map(credential).collect();
        let flags = Config::from_flags(gateway, admin, whole.drain_seconds, Files::default());
        Some(Config {
            shown,
            allows_anonymous: whole.allows_anonymous,
            policies: policies.map(|policies| policies.set),
            surfaces,
            desk,
            record,
            credentials,
            ..flags
        })
    }
}

#[cfg(test)]
mod identity_tests;
#[cfg(test)]
mod tests;
