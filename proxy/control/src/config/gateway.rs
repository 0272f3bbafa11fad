//! `[gateway]` and `[admin]`.

use std::net::SocketAddr;

use sluice_data::{IoDriver, Limits};
use sluice_policy::Access;
use toml::de::DeTable;

use super::listener::socket_address;
use super::number::{self, LIMITS};
use super::source::Source;

/// Seconds that running exchanges get to finish in a drain, where nothing is said.
pub const DRAIN_SECONDS: u64 = 30;
/// The longest drain: a day.
const DRAIN_SECONDS_MAX: u64 = 86_400;
/// The most shards; more threads than this have no cores.
const SHARDS_MAX: u64 = 1_024;

pub(super) const IO_DRIVERS: &[(&str, IoDriver)] =
    &[("auto", IoDriver::Auto), ("uring", IoDriver::Uring), ("epoll", IoDriver::Epoll)];

/// What `[gateway]` says.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) shards: Option<usize>,
    pub(super) io: IoDriver,
    pub(super) drain_seconds: u64,
    pub(super) access: Option<Access>,
    pub(super) allows_anonymous: bool,
    pub(super) limits: Limits,
}

pub(super) fn read(source: &mut Source, document: &DeTable<'_>) -> Whole {
    let mut whole = Whole {
        shards: None,
        io: IoDriver::Auto,
        drain_seconds: DRAIN_SECONDS,
        access: None,
        allows_anonymous: false,
        limits: Limits::default(),
    };
    let keys = ["shards", "io", "drain_seconds", "allow_anonymous", "limits"];
    let mut place = 0..0;
    if let Some((value, table)) = source.inner(document, "gateway", &keys) {
        place = table.get("allow_anonymous").unwrap_or(value).span();
        whole.shards = source.integer(table, "shards", 1, SHARDS_MAX).map(|n| n as usize);
        whole.io = source.word(table, "io", IO_DRIVERS).unwrap_or(IoDriver::Auto);
        let seconds = source.integer(table, "drain_seconds", 0, DRAIN_SECONDS_MAX);
        whole.drain_seconds = seconds.unwrap_or(DRAIN_SECONDS);
        whole.allows_anonymous = source.switch(table, "allow_anonymous");
        whole.access = Access::without_identity(whole.allows_anonymous).ok();
        if let Some((_, limits)) = source.inner(table, "limits", &number::keys(LIMITS, &[])) {
            number::read(source, limits, LIMITS, &mut whole.limits);
        }
    }
    if document.get("issuer").is_some() {
        whole.access = Some(Access::Proved);
    }
    if whole.access.is_none() {
        let reason = "no identity is configured, so anyone who reaches the gateway could use it: \
                      `allow_anonymous = true` in [gateway] allows just that";
        source.reader.fault(&place, reason);
    }
    whole
}

/// Where the admin server listens, and the line that says so.
pub(super) fn admin(source: &mut Source, document: &DeTable<'_>) -> Option<(SocketAddr, usize)> {
    let (value, table) = source.inner(document, "admin", &["listen"])?;
    let Some(v) = table.get("listen") else {
        source.reader.fault(&value.span(), "[admin] needs `listen`: ADDRESS:PORT");
        return None;
    };
    let text = source.reader.string(v)?;
    let address = socket_address(source, v, &text)?;
    let line = source.reader.line(&v.span());
    if !address.ip().is_loopback() {
        source
            .warn(line, "the admin server asks nobody who they are, and this address is not a loopback one");
    }
    Some((address, line))
}
