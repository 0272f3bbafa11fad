//! The targets of one upstream as one shard sees them: which is chosen, and which is left out.
//!
//! ```text
//!             faults_max faults in a row                 falls checks failed in a row
//!   in ───────────────────────────────► out     in ────────────────────────────────► down
//!    ▲ ◄──── its time is over (again      │       ▲                                     │
//!    │       out at the next fault) ──────┤       └── rises checks passed in a row ─────┘
//!    └────── a good answer ◄──────────────┘
//! ```
//!
//! Both must say "in": a health page that answers does not make up for exchanges that fail. The time that a target is
//! out doubles each time, until a good answer. An exchange tells of the time it began in: what began before its target
//! was left out neither brings it back nor counts against it again, or one long stream that ends well would reopen
//! an endpoint that takes no connections.
//!
//! Among the targets that are in, the one with fewer exchanges in flight of two chosen at random: nearly as even as
//! the least of all, without every shard running to the same one (Mitzenmacher, "The power of two choices in
//! randomized load balancing", 2001). Round robin was rejected: it does not see that a target is slow.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::attempt_order;
use crate::config::HealthConfig;

/// No target is left out for longer, whatever the configuration says: an instant can't be further away than clocks
/// count.
const OUT_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Where a target is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum TargetAddress {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// A target of one [`Endpoints`]. Numbers are not used again, so that one whose target has gone names none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TargetId(u64);

/// An exchange in flight: it is to be given to [`Endpoints::end`], once.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "its target counts it until it is ended"]
pub(crate) struct Exchange {
    target: TargetId,
    /// How often its target had been left out when it began.
    outs: u64,
}

impl Exchange {
    /// Its target.
    pub(crate) fn target(&self) -> TargetId {
        self.target
    }
}

/// How an exchange ended, as far as it tells of its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// An answer came, and it was none of 502, 503 and 504.
    Good,
    /// No connection, no answer, a broken one, or 502, 503 or 504.
    Fault,
    /// The client left, or something here failed: it tells nothing.
    Neutral,
}

/// What is known of a target, for metrics and the admin API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TargetView<'a> {
    pub(crate) id: TargetId,
    pub(crate) address: &'a TargetAddress,
    /// Exchanges in flight.
    pub(crate) open: u32,
    pub(crate) is_in: bool,
}

#[derive(Debug)]
struct Target {
    id: TargetId,
    address: TargetAddress,
    open: u32,
    /// Faults in a row.
    faults: u32,
    out_until: Option<Instant>,
    /// Times that it was left out since its last good answer.
    times_out: u32,
    /// Times that it was left out at all.
    outs: u64,
    /// Active checks that failed in a row while it is up, or passed in a row while it is down.
    against: u32,
    is_down: bool,
}

impl Target {
    fn new(id: TargetId, address: TargetAddress) -> Target {
        Target {
            id,
            address,
            open: 0,
            faults: 0,
            out_until: None,
            times_out: 0,
            outs: 0,
            against: 0,
            is_down: false,
        }
    }

    fn is_out(&self, now: Instant) -> bool {
        self.out_until.is_some_and(|until| now < until)
    }

    fn is_in(&self, now: Instant) -> bool {
        !self.is_down && !self.is_out(now)
    }
}

/// The targets of an upstream.
#[derive(Debug)]
pub(crate) struct Endpoints {
    health: HealthConfig,
    /// In the order of the addresses. A handful: they are searched one by one.
    targets: Vec<Target>,
    /// The number of the next target.
    next: u64,
    panics: u64,
    outs: u64,
}

impl Endpoints {
    /// Without targets.
    pub(crate) fn new(health: HealthConfig) -> Endpoints {
        Endpoints { health, targets: Vec::new(), next: 0, panics: 0, outs: 0 }
    }

    /// Takes these targets, each once; those that it has keep their ids and their state.
    pub(crate) fn set_targets(&mut self, addresses: Vec<TargetAddress>) {
        let mut had: HashMap<TargetAddress, Target> =
            self.targets.drain(..).map(|target| (target.address.clone(), target)).collect();
        let mut seen = HashSet::new();
        for address in addresses {
            if seen.insert(address.clone()) {
                let target = had.remove(&address).unwrap_or_else(|| {
                    self.next += 1;
                    Target::new(TargetId(self.next), address)
                });
                self.targets.push(target);
            }
        }
    }

    /// Judges by another configuration from now on; who is out stays so for its time.
    pub(crate) fn set_health(&mut self, health: HealthConfig) {
        if health.check.is_none() {
            // Nobody would bring them in again.
            for target in &mut self.targets {
                (target.is_down, target.against) = (false, 0);
            }
        }
        self.health = health;
    }

    /// Where a target is; none: it has gone.
    pub(crate) fn address(&self, id: TargetId) -> Option<&TargetAddress> {
        self.target(id).map(|target| &target.address)
    }

    /// Every target.
    pub(crate) fn targets(&self, now: Instant) -> impl Iterator<Item = TargetView<'_>> {
        self.targets.iter().map(move |target| TargetView {
            id: target.id,
            address: &target.address,
            open: target.open,
            is_in: target.is_in(now),
        })
    }

    /// Times that a target was chosen although all were out.
    pub(crate) fn panics(&self) -> u64 {
        self.panics
    }

    /// Times that a target was left out, for its faults or its checks.
    pub(crate) fn outs(&self) -> u64 {
        self.outs
    }

    /// The target for an exchange that was at those in `not` before. None: there is no other that is in. Where all are
    /// out, all are in: a fault of the check must not be an outage.
    ///
    /// `random` decides alone which two are compared.
    pub(crate) fn pick(&mut self, now: Instant, random: u64, not: &[TargetId]) -> Option<TargetId> {
        let is_panic = !self.targets.iter().any(|target| target.is_in(now));
        let choice = |target: &&Target| (is_panic || target.is_in(now)) && !not.contains(&target.id);
        let count = self.targets.iter().filter(choice).count();
        let (first, second) = two_of(count, random)?;
        let mut choices = self.targets.iter().filter(choice);
        let (low, high) = (first.min(second), first.max(second));
        let low_target = choices.nth(low)?;
        let high_target = if high == low { low_target } else { choices.nth(high - low - 1)? };
        let (first, second) =
            if first == low { (low_target, high_target) } else { (high_target, low_target) };
        let id = if second.open < first.open { second.id } else { first.id };
        self.panics += u64::from(is_panic);
        Some(id)
    }

    /// The order in which a connection for `first` may be tried: it, then the others that are in, the families by
    /// turns ([`attempt_order`]). Empty: `first` has gone.
    pub(crate) fn attempt_order(&self, first: TargetId, now: Instant) -> Vec<TargetId> {
        let Some(first) = self.target(first) else { return Vec::new() };
        let others = self.targets.iter().filter(|other| other.id != first.id && other.is_in(now));
        let order = attempt_order([first].into_iter().chain(others).collect(), |target| &target.address);
        order.into_iter().map(|target| target.id).collect()
    }

    /// Counts an exchange in flight. Where its target has gone, it is counted nowhere.
    pub(crate) fn begin(&mut self, id: TargetId) -> Exchange {
        let Some(target) = self.target_mut(id) else { return Exchange { target: id, outs: 0 } };
        target.open += 1;
        Exchange { target: id, outs: target.outs }
    }

    /// Ends an exchange, and judges its target by it.
    pub(crate) fn end(&mut self, exchange: Exchange, outcome: Outcome, now: Instant) {
        let HealthConfig { faults_max, out_ms, out_ms_max, .. } = self.health;
        let Some(target) = self.target_mut(exchange.target) else { return };
        target.open = target.open.saturating_sub(1);
        if exchange.outs != target.outs {
            return;
        }
        match outcome {
            Outcome::Good => (target.faults, target.out_until, target.times_out) = (0, None, 0),
            Outcome::Neutral => {}
            Outcome::Fault => {
                target.faults = target.faults.saturating_add(1);
                // In panic mode exchanges begin while it is out: they don't make it longer.
                if faults_max > 0 && target.faults >= faults_max && !target.is_out(now) {
                    let ms = out_ms.saturating_mul(1u64 << target.times_out.min(63)).min(out_ms_max);
                    target.out_until = now.checked_add(Duration::from_millis(ms).min(OUT_MAX));
                    target.times_out = target.times_out.saturating_add(1);
                    target.outs += 1;
                    self.outs += 1;
                }
            }
        }
    }

    /// Takes the result of an active check ([`HealthConfig::check`]).
    pub(crate) fn checked(&mut self, id: TargetId, is_well: bool) {
        let Some(check) = &self.health.check else { return };
        let (rises, falls) = (check.rises, check.falls);
        let Some(target) = self.target_mut(id) else { return };
        if is_well != target.is_down {
            target.against = 0;
            return;
        }
        target.against = target.against.saturating_add(1);
        if target.against >= if is_well { rises } else { falls } {
            (target.is_down, target.against) = (!is_well, 0);
            self.outs += u64::from(!is_well);
        }
    }

    fn target(&self, id: TargetId) -> Option<&Target> {
        self.targets.iter().find(|target| target.id == id)
    }

    fn target_mut(&mut self, id: TargetId) -> Option<&mut Target> {
        self.targets.iter_mut().find(|target| target.id == id)
    }
}

/// Two different numbers below `count`, of all pairs equally often; the same one twice where there is no other.
fn two_of(count: usize, random: u64) -> Option<(usize, usize)> {
    // A number of 32 bits, scaled: its bias is below count / 2^32.
    let below = |random: u64, count: usize| (((random & 0xFFFF_FFFF) * count as u64) >> 32) as usize;
    match count {
        0 => None,
        1 => Some((0, 0)),
        _ => {
            let (first, second) = (below(random >> 32, count), below(random, count - 1));
            Some((first, if second >= first { second + 1 } else { second }))
        }
    }
}

#[cfg(test)]
mod tests;
