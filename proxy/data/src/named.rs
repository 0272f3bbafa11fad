//! Counters by the names of routes and upstreams: as many as the configuration has names, and no more.
//!
//! A name is looked up when a table is taken, not when something is counted: what counts holds its counters.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counters of one route on one shard.
#[derive(Debug, Default)]
pub(crate) struct RouteStats {
    pub(crate) requests: AtomicU64,
}

/// Counters of one upstream on one shard.
#[derive(Debug, Default)]
pub(crate) struct UpstreamStats {
    pub(crate) connects: AtomicU64,
    pub(crate) reuses: AtomicU64,
    pub(crate) faults: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) retries_refused: AtomicU64,
    pub(crate) outs: AtomicU64,
    pub(crate) panics: AtomicU64,
    pub(crate) running: AtomicU64,
    pub(crate) targets_in: AtomicU64,
    pub(crate) targets_out: AtomicU64,
}

/// What is counted of an upstream, over all shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpstreamSnapshot {
    /// Connections made.
    pub connects: u64,
    /// Requests sent over a connection that was there.
    pub reuses: u64,
    /// Connections that could not be made, and answers that did not come, broke off, or were 502, 503 or 504.
    pub faults: u64,
    /// Requests sent again.
    pub retries: u64,
    /// Requests that were not sent again, for the budget was spent.
    pub retries_refused: u64,
    /// Times that a target was left out, for its faults or its checks.
    pub outs: u64,
    /// Times that a target was chosen although all were out.
    pub panics: u64,
    /// Exchanges that run.
    pub running: u64,
    /// Targets that are chosen from, summed over the shards, each of which judges for itself.
    pub targets_in: u64,
    /// Targets that are left out, summed likewise.
    pub targets_out: u64,
}

impl UpstreamSnapshot {
    fn add(&mut self, stats: &UpstreamStats) {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        self.connects += get(&stats.connects);
        self.reuses += get(&stats.reuses);
        self.faults += get(&stats.faults);
        self.retries += get(&stats.retries);
        self.retries_refused += get(&stats.retries_refused);
        self.outs += get(&stats.outs);
        self.panics += get(&stats.panics);
        self.running += get(&stats.running);
        self.targets_in += get(&stats.targets_in);
        self.targets_out += get(&stats.targets_out);
    }
}

/// The counters of one shard by name.
#[derive(Debug, Default)]
pub(crate) struct Named {
    routes: Mutex<BTreeMap<String, Arc<RouteStats>>>,
    upstreams: Mutex<BTreeMap<String, Arc<UpstreamStats>>>,
}

impl Named {
    pub(crate) fn route(&self, name: &str) -> Arc<RouteStats> {
        Arc::clone(lock(&self.routes).entry(name.to_owned()).or_default())
    }

    pub(crate) fn upstream(&self, name: &str) -> Arc<UpstreamStats> {
        Arc::clone(lock(&self.upstreams).entry(name.to_owned()).or_default())
    }

    /// Forgets the names that a configuration has no more, whatever still counts by them.
    pub(crate) fn keep(&self, routes: &[&str], upstreams: &[&str]) {
        lock(&self.routes).retain(|name, _| routes.contains(&name.as_str()));
        lock(&self.upstreams).retain(|name, _| upstreams.contains(&name.as_str()));
    }

    pub(crate) fn add_to(
        &self,
        routes: &mut BTreeMap<String, u64>,
        upstreams: &mut BTreeMap<String, UpstreamSnapshot>,
    ) {
        for (name, stats) in lock(&self.routes).iter() {
            *routes.entry(name.clone()).or_default() += stats.requests.load(Ordering::Relaxed);
        }
        for (name, stats) in lock(&self.upstreams).iter() {
            upstreams.entry(name.clone()).or_default().add(stats);
        }
    }
}

/// A holder that panicked left nothing half done: counters are set at once.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_summed_and_those_that_are_gone_forgotten() {
        let shards = [Named::default(), Named::default()];
        for shard in &shards {
            shard.route("a").requests.fetch_add(2, Ordering::Relaxed);
            shard.route("b").requests.fetch_add(1, Ordering::Relaxed);
            shard.upstream("u").connects.fetch_add(3, Ordering::Relaxed);
        }
        let sums = || {
            let (mut routes, mut upstreams) = (BTreeMap::new(), BTreeMap::new());
            shards.iter().for_each(|shard| shard.add_to(&mut routes, &mut upstreams));
            (routes.into_iter().collect::<Vec<_>>(), upstreams)
        };
        assert_eq!(sums().0, [("a".to_owned(), 4), ("b".to_owned(), 2)]);
        assert_eq!(sums().1.get("u").map(|u| u.connects), Some(6));
        shards.iter().for_each(|shard| shard.keep(&["b"], &[]));
        assert_eq!(sums().0, [("b".to_owned(), 2)]);
        assert!(sums().1.is_empty());
    }
}
