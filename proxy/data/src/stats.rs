//! What happened, counted: relaxed atomics, one set a shard, summed when somebody asks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use sluice_engine::{RuleId, Ruleset};

/// Upper bounds of the buckets for time to first byte, in microseconds; the last bucket has none.
pub const FIRST_BYTE_US: [u64; 8] = [50, 100, 200, 400, 800, 1_600, 6_400, 25_600];

/// Codes of refusals, in the order of their counters.
pub const REFUSALS: [&str; 12] = [
    "bad_request",
    "unauthenticated",
    "denied",
    "too_large",
    "unmaskable",
    "upstream_unreachable",
    "upstream_timeout",
    "overloaded",
    "no_route",
    "rate_limited",
    "approval_pending",
    "approval_denied",
];

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// The counters of one shard.
        #[derive(Debug, Default)]
        pub(crate) struct ShardStats {
            $(pub(crate) $name: AtomicU64,)+
            pub(crate) responses: [AtomicU64; 5],
            pub(crate) refusals: [AtomicU64; REFUSALS.len()],
            pub(crate) first_byte: [AtomicU64; FIRST_BYTE_US.len() + 1],
            pub(crate) matches: ArcSwap<MatchSets>,
        }

        /// The sums over all shards at one moment.
        #[derive(Clone, Debug, Default)]
        pub struct StatsSnapshot {
            $($(#[$doc])* pub $name: u64,)+
            /// Responses sent, by class: 1xx to 5xx.
            pub responses: [u64; 5],
            /// Refusals by code, in the order of [`REFUSALS`].
            pub refusals: [u64; REFUSALS.len()],
            /// Time the gateway added to the first byte of a response's body, by [`FIRST_BYTE_US`].
            pub first_byte: [u64; FIRST_BYTE_US.len() + 1],
            /// Matches by rule id.
            pub matches: BTreeMap<String, u64>,
        }

        impl StatsSnapshot {
            fn add(&mut self, shard: &ShardStats) {
                $(self.$name += shard.$name.load(Ordering::Relaxed);)+
                for (sum, n) in self.responses.iter_mut().zip(&shard.responses) {
                    *sum += n.load(Ordering::Relaxed);
                }
                for (sum, n) in self.refusals.iter_mut().zip(&shard.refusals) {
                    *sum += n.load(Ordering::Relaxed);
                }
                for (sum, n) in self.first_byte.iter_mut().zip(&shard.first_byte) {
                    *sum += n.load(Ordering::Relaxed);
                }
                shard.matches.load().sets.iter().for_each(|(_, set)| set.add_to(&mut self.matches));
            }
        }
    };
}

counters! {
    /// Requests whose head was read.
    requests,
    /// Exchanges broken off after the response had begun.
    aborted,
    /// Connections accepted from clients.
    connections_accepted,
    /// Connections of clients that are open.
    connections_open,
    /// Connections made to the upstream.
    upstream_connects,
    /// Requests sent over a pooled connection.
    upstream_reuses,
    /// Requests sent again.
    upstream_retries,
    /// Requests that were not sent again, for the budget was spent.
    upstream_retries_refused,
    /// Failures to connect to the upstream, or of it in mid-exchange.
    upstream_errors,
    /// Request bodies that came with content codings.
    request_bodies_coded,
    /// Response bodies that came with content codings.
    response_bodies_coded,
    /// Bytes of request bodies scanned, decoded.
    request_bytes_scanned,
    /// Bytes of response bodies scanned, decoded.
    response_bytes_scanned,
    /// Bytes of opaque fields, passed without a scan.
    bytes_passed_opaque,
    /// Bytes of bodies that passed where masking is off.
    bytes_passed_off,
    /// Bytes held back at this moment in streams that are open.
    hold_back_bytes,
    /// Microseconds spent masking.
    masking_us,
    /// Sum of the times in `first_byte`, in microseconds.
    first_byte_us,
    /// WebSockets that were opened.
    websockets,
    /// WebSockets that are open.
    websockets_open,
    /// Messages of WebSockets that went to the upstream.
    websocket_request_messages,
    /// Messages of WebSockets that went to the client.
    websocket_response_messages,
    /// Questions whether a request may go on.
    verdicts_asked,
    /// Requests that went on by an answer to the same question before.
    verdicts_remembered,
    /// Questions that had no place, or no answer in time: each request was refused.
    verdicts_missed,
    /// Panics caught at the edge of a session; each closed its connection.
    panics,
}

/// Matches by rule, of each ruleset that counted any.
#[derive(Debug, Default)]
pub(crate) struct MatchSets {
    sets: Vec<(Option<Arc<Ruleset>>, Arc<Matches>)>,
}

/// Matches by rule of one ruleset.
#[derive(Debug, Default)]
pub(crate) struct Matches {
    ids: Vec<String>,
    counts: Vec<AtomicU64>,
}

impl Matches {
    fn new(ruleset: &Ruleset) -> Matches {
        let ids: Vec<String> = ruleset.names().map(|name| name.id.to_owned()).collect();
        let counts = ids.iter().map(|_| AtomicU64::new(0)).collect();
        Matches { ids, counts }
    }

    pub(crate) fn count(&self, rule: RuleId) {
        if let Some(count) = self.counts.get(rule.0 as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn add_to(&self, sums: &mut BTreeMap<String, u64>) {
        for (id, count) in self.ids.iter().zip(&self.counts) {
            let (id, count) = (id.clone(), count.load(Ordering::Relaxed));
            *sums.entry(id).or_default() += count;
        }
    }
}

impl ShardStats {
    pub(crate) fn count(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn response(&self, status: u16) {
        let class = usize::from(status / 100).saturating_sub(1);
        if let Some(counter) = self.responses.get(class) {
            Self::count(counter, 1);
        }
    }

    pub(crate) fn refusal(&self, code: &str) {
        let index = REFUSALS.iter().position(|r| *r == code);
        if let Some(counter) = index.and_then(|i| self.refusals.get(i)) {
            Self::count(counter, 1);
        }
    }

    pub(crate) fn first_byte(&self, us: u64) {
        let index = FIRST_BYTE_US.partition_point(|bound| *bound < us);
        if let Some(counter) = self.first_byte.get(index) {
            Self::count(counter, 1);
        }
        Self::count(&self.first_byte_us, us);
    }

    /// Counts by the ids of these rulesets from now on. What others counted stays in the sums; bodies that began with
    /// them go on counting there.
    pub(crate) fn use_rulesets<'a>(&self, rulesets: impl Iterator<Item = &'a Arc<Ruleset>>) {
        let old = self.matches.load();
        let mut sets: Vec<(Option<Arc<Ruleset>>, Arc<Matches>)> = Vec::new();
        for ruleset in rulesets {
            let is_known = |set: &&(Option<Arc<Ruleset>>, Arc<Matches>)| {
                set.0.as_ref().is_some_and(|known| Arc::ptr_eq(known, ruleset))
            };
            if sets.iter().find(is_known).is_none() {
                let kept = old.sets.iter().find(is_known).cloned();
                sets.push(
                    kept.unwrap_or_else(|| (Some(Arc::clone(ruleset)), Arc::new(Matches::new(ruleset)))),
                );
            }
        }
        let mut earlier = BTreeMap::new();
        let gone = old.sets.iter().filter(|(_, set)| !sets.iter().any(|(_, kept)| Arc::ptr_eq(kept, set)));
        let (counting, done): (Vec<_>, Vec<_>) = gone.partition(|(_, set)| Arc::strong_count(set) > 1);
        done.into_iter().for_each(|(_, set)| set.add_to(&mut earlier));
        sets.extend(counting.into_iter().map(|(_, set)| (None, Arc::clone(set))));
        if !earlier.is_empty() {
            let (ids, counts) = earlier.into_iter().map(|(id, n)| (id, AtomicU64::new(n))).unzip();
            sets.push((None, Arc::new(Matches { ids, counts })));
        }
        self.matches.store(Arc::new(MatchSets { sets }));
    }

    /// The counts of a ruleset; where it is not known, counts that nobody reads.
    pub(crate) fn matches(&self, ruleset: &Arc<Ruleset>) -> Arc<Matches> {
        let sets = self.matches.load();
        let known = sets.sets.iter().find(|(set, _)| set.as_ref().is_some_and(|s| Arc::ptr_eq(s, ruleset)));
        known.map(|(_, matches)| Arc::clone(matches)).unwrap_or_default()
    }
}

/// The counters of a gateway.
#[derive(Debug)]
pub struct GatewayStats {
    pub(crate) shards: Vec<Arc<ShardStats>>,
}

impl GatewayStats {
    /// The sums over all shards.
    #[must_use]
    pub fn snapshot(&self) -> StatsSnapshot {
        let mut snapshot = StatsSnapshot::default();
        self.shards.iter().for_each(|s| snapshot.add(s));
        snapshot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_summed() {
        let shards: Vec<_> = (0..2).map(|_| Arc::new(ShardStats::default())).collect();
        for shard in &shards {
            shard.response(204);
            shard.refusal("unmaskable");
            shard.first_byte(50);
            shard.first_byte(1 << 40);
        }
        let sums = GatewayStats { shards }.snapshot();
        assert_eq!(
            (sums.responses[1], sums.refusals[4], sums.first_byte[0], sums.first_byte[8]),
            (2, 2, 2, 2)
        );
    }
}
