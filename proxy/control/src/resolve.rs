//! The addresses of upstreams' names, kept fresh.
//!
//! Each name has a task of its own: it is looked up at the start and again when what was told of it ends (its TTL, within
//! bounds). A lookup that fails changes nothing: the last addresses stay, and it is tried again, ever less often. The
//! data plane hears of changes only.
//!
//! As the system's own resolver does, `/etc/hosts` goes before DNS, and DNS is asked as `/etc/resolv.conf` says; both are
//! read anew when they change. `getaddrinfo` was rejected, because it tells no TTL; sources other than these two
//! (`nsswitch.conf`: mDNS, LDAP) are not asked.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use hickory_resolver::config::{LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Hosts, Resolver, ResolverBuilder, TokioResolver};
use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::reload::{Reloads, lock};

/// The soonest that a name is looked up again, however short its TTL is.
pub const TTL_MIN: Duration = Duration::from_secs(1);
/// The latest, however long it is: a name that moves is followed within this.
pub const TTL_MAX: Duration = Duration::from_secs(300);
/// How long what `/etc/hosts` says is taken for true.
const HOSTS_TTL: Duration = Duration::from_secs(5);
/// The longest time between two tries of a name that can't be looked up; the first is [`TTL_MIN`], each next twice as
/// long.
pub const RETRY_MAX: Duration = Duration::from_secs(60);
/// The longest that a start waits for names, all together.
const FIRST_WAIT: Duration = Duration::from_secs(3);
/// Addresses of one name that are used; more than a server would ever tell of for load balancing.
const ADDRESSES_MAX: usize = 64;
/// Where name servers are told of.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Why a name has no addresses.
#[derive(Debug)]
pub struct ResolveError {
    name: String,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Lookup(NetError),
    NoAddress,
    TooSlow,
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "can't resolve `{}`: ", self.name)?;
        match &self.kind {
            Kind::Lookup(e) => e.fmt(f),
            Kind::NoAddress => f.write_str("it has no address"),
            Kind::TooSlow => f.write_str("no answer yet"),
        }
    }
}

impl std::error::Error for ResolveError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            Kind::Lookup(e) => Some(e),
            Kind::NoAddress | Kind::TooSlow => None,
        }
    }
}

/// Looks up the names of a gateway's endpoints, now and for as long as the runtime lives. It returns when each has
/// been looked up once, or after three seconds; what could not be is tried again.
pub async fn keep_resolving(reloads: &Arc<Reloads>) -> Vec<ResolveError> {
    let gateway = Arc::clone(reloads.gateway());
    let publish = move |name: &str, addresses: Vec<IpAddr>| gateway.set_addresses(name, addresses);
    let mut names = Names::new(Source::System(Mutex::default()), publish);
    let gateway = Arc::clone(reloads.gateway());
    let failed = names.follow(&gateway.names()).await;
    let taken: Arc<Notify> = reloads.taken();
    tokio::spawn(async move {
        loop {
            taken.notified().await;
            // Names that are new are looked up by tasks of their own; who can't be is seen by refusals.
            drop(names.follow(&gateway.names()).await);
        }
    });
    failed
}

/// Addresses, and until when they are good.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Answer {
    addresses: Vec<IpAddr>,
    ttl: Duration,
}

/// Who is asked.
enum Source {
    /// As the files of the system say.
    System(Mutex<Option<(Option<SystemTime>, TokioResolver)>>),
    /// These servers.
    #[cfg(test)]
    Servers(TokioResolver),
}

impl Source {
    async fn look_up(&self, host: &str) -> Result<Answer, Kind> {
        let name = Name::from_str_relaxed(host).map_err(|e| Kind::Lookup(e.into()))?;
        let resolver = match self {
            Source::System(known) => {
                if let Some(addresses) = in_hosts(&name) {
                    return Ok(Answer { addresses, ttl: HOSTS_TTL });
                }
                system(known).map_err(Kind::Lookup)?
            }
            #[cfg(test)]
            Source::Servers(resolver) => resolver.clone(),
        };
        let found = resolver.lookup_ip(name).await.map_err(Kind::Lookup)?;
        let ttl = found.valid_until().saturating_duration_since(std::time::Instant::now());
        let addresses: Vec<IpAddr> = found.iter().collect();
        Ok(Answer { addresses: ordered(addresses)?, ttl: ttl.clamp(TTL_MIN, TTL_MAX) })
    }
}

/// In an order of their own, for servers turn theirs round, which is no change.
fn ordered(mut addresses: Vec<IpAddr>) -> Result<Vec<IpAddr>, Kind> {
    addresses.sort_unstable();
    addresses.dedup();
    addresses.truncate(ADDRESSES_MAX);
    if addresses.is_empty() { Err(Kind::NoAddress) } else { Ok(addresses) }
}

/// What `/etc/hosts` says. A short file, read at each look.
fn in_hosts(name: &Name) -> Option<Vec<IpAddr>> {
    let hosts = Hosts::from_system().ok()?;
    let mut name = name.clone();
    name.set_fqdn(true);
    let found = [RecordType::A, RecordType::AAAA]
        .into_iter()
        .filter_map(|kind| hosts.lookup_static_host(&Query::query(name.clone(), kind)));
    let records: Vec<_> = found.flat_map(|lookup| lookup.answers().to_vec()).collect();
    ordered(records.iter().filter_map(|record| record.data.ip_addr()).collect()).ok()
}

/// A resolver as `/etc/resolv.conf` says, made anew when that changes.
fn system(known: &Mutex<Option<(Option<SystemTime>, TokioResolver)>>) -> Result<TokioResolver, NetError> {
    let changed = Path::new(RESOLV_CONF).metadata().and_then(|m| m.modified()).ok();
    let mut known = lock(known);
    if let Some((_, resolver)) = known.as_ref().filter(|(at, _)| *at == changed) {
        return Ok(resolver.clone());
    }
    let builder = TokioResolver::builder_tokio().unwrap_or_else(|_| {
        // As resolv.conf(5) says of a file that is not there, or names no server.
        let here = NameServerConfig::udp_and_tcp(Ipv4Addr::LOCALHOST.into());
        Resolver::builder_with_config(
            ResolverConfig::from_parts(None, Vec::new(), vec![here]),
            TokioRuntimeProvider::default(),
        )
    });
    let resolver = build(builder)?;
    *known = Some((changed, resolver.clone()));
    Ok(resolver)
}

fn build(mut builder: ResolverBuilder<TokioRuntimeProvider>) -> Result<TokioResolver, NetError> {
    let options = builder.options_mut();
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.use_hosts_file = ResolveHosts::Never;
    builder.build()
}

/// The names that are looked up, each by a task.
struct Names<P> {
    source: Arc<Source>,
    publish: Arc<P>,
    tasks: BTreeMap<String, Task>,
}

/// Who looks up a name, and what was found last.
struct Task {
    abort: AbortHandle,
    known: Arc<Mutex<Vec<IpAddr>>>,
}

impl<P: Fn(&str, Vec<IpAddr>) + Send + Sync + 'static> Names<P> {
    fn new(source: Source, publish: P) -> Names<P> {
        Names { source: Arc::new(source), publish: Arc::new(publish), tasks: BTreeMap::new() }
    }

    /// Looks up these names from now on, and no others. What is known of them is published again, for there may be
    /// upstreams that are new and have not heard of it. Returns when the new ones were looked up once, or after
    /// [`FIRST_WAIT`], with what failed so far.
    async fn follow(&mut self, names: &[String]) -> Vec<ResolveError> {
        self.tasks.retain(|name, task| {
            let stays = names.contains(name);
            if !stays {
                task.abort.abort();
            }
            stays
        });
        let mut first = Vec::new();
        for name in names {
            if let Some(task) = self.tasks.get(name) {
                let known = lock(&task.known).clone();
                if !known.is_empty() {
                    (self.publish)(name, known);
                }
                continue;
            }
            let (told, hears) = oneshot::channel();
            let (source, publish) = (Arc::clone(&self.source), Arc::clone(&self.publish));
            let known = Arc::default();
            let task = tokio::spawn(keep(name.clone(), source, publish, Arc::clone(&known), told));
            self.tasks.insert(name.clone(), Task { abort: task.abort_handle(), known });
            first.push((name, hears));
        }
        let until = Instant::now() + FIRST_WAIT;
        let mut failed = Vec::new();
        for (name, hears) in first {
            let left = until.saturating_duration_since(Instant::now());
            let kind = match timeout(left, hears).await {
                Ok(Ok(Ok(()))) => continue,
                Ok(Ok(Err(kind))) => kind,
                Ok(Err(_)) | Err(_) => Kind::TooSlow,
            };
            failed.push(ResolveError { name: name.clone(), kind });
        }
        failed
    }
}

/// Looks up a name for ever; `told` hears how it went the first time.
async fn keep<P: Fn(&str, Vec<IpAddr>)>(
    name: String,
    source: Arc<Source>,
    publish: Arc<P>,
    known: Arc<Mutex<Vec<IpAddr>>>,
    told: oneshot::Sender<Result<(), Kind>>,
) {
    let mut told = Some(told);
    let mut retry = TTL_MIN;
    loop {
        let answer = source.look_up(&name).await;
        let (pause, done) = match answer {
            Ok(Answer { addresses, ttl }) => {
                let is_change = *lock(&known) != addresses;
                if is_change {
                    // Known first: who publishes it again must not tell of what was before.
                    lock(&known).clone_from(&addresses);
                    publish(&name, addresses);
                }
                retry = TTL_MIN;
                (ttl, Ok(()))
            }
            Err(kind) => {
                let pause = retry;
                retry = (retry * 2).min(RETRY_MAX);
                (pause, Err(kind))
            }
        };
        if let Some(told) = told.take() {
            // Who started this may not wait any more.
            let _ = told.send(done);
        }
        sleep(pause).await;
    }
}

#[cfg(test)]
mod tests;
