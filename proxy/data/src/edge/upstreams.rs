//! The pools of one shard, one an upstream of the table in force.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use super::upstream::Pool;
use crate::balance::Slots;
use crate::config::Limits;
use crate::named::RouteStats;
use crate::stats::ShardStats;
use crate::table::{Route, Table, UpstreamShared};

pub(crate) struct Upstreams {
    stats: Arc<ShardStats>,
    limits: Limits,
    seed: Cell<u64>,
    /// Of the gateway.
    shards: usize,
    current: RefCell<Current>,
}

/// What belongs to one version of the table.
#[derive(Default)]
struct Current {
    version: u64,
    pools: Vec<Rc<Pool>>,
    /// This shard's share of each route's places; none: it has no limit. Exchanges that began with the table before
    /// are counted there.
    slots: Vec<Option<Rc<Slots>>>,
    /// The counters of each route.
    routes: Vec<Arc<RouteStats>>,
}

impl Upstreams {
    pub(crate) fn new(stats: Arc<ShardStats>, limits: Limits, seed: u64, shards: usize) -> Upstreams {
        Upstreams { stats, limits, seed: Cell::new(seed), shards, current: RefCell::default() }
    }

    /// The pool of an upstream of `table`. Another table than the last one brings pools for what is new in it; those
    /// that stay keep their connections.
    pub(crate) fn pool(&self, table: &Table, upstream: usize) -> Option<Rc<Pool>> {
        self.follow(table);
        let shared = table.upstreams().get(upstream)?;
        let kept = self.current.borrow().pools.iter().find(|pool| pool.is_of(shared)).map(Rc::clone);
        // An exchange that began before the table was changed has no pool of its upstream any more: it gets one of its
        // own, which ends with it.
        Some(kept.unwrap_or_else(|| self.make(shared)))
    }

    /// The places of a route.
    pub(crate) fn slots(&self, table: &Table, route: usize) -> Option<Rc<Slots>> {
        self.follow(table);
        self.current.borrow().slots.get(route)?.clone()
    }

    /// Counts a request of a route.
    pub(crate) fn count_request(&self, table: &Table, route: usize) {
        self.follow(table);
        if let Some(stats) = self.current.borrow().routes.get(route) {
            ShardStats::count(&stats.requests, 1);
        }
    }

    fn follow(&self, table: &Table) {
        if self.current.borrow().version >= table.version() {
            return;
        }
        let old = self.current.take().pools;
        let kept = |shared| old.iter().find(|pool| pool.is_of(shared)).map(Rc::clone);
        let new = table.upstreams().iter().map(|shared| kept(shared).unwrap_or_else(|| self.make(shared)));
        let share = |all: u32| (all as usize).div_ceil(self.shards);
        let slots = |route: &Route| {
            let limit = route.config.limits.concurrency?;
            Some(Slots::new(share(limit.exchanges_max), share(limit.queue_max)))
        };
        let slots = table.routes().iter().map(slots).collect();
        let routes = table.routes().iter().map(|route| self.stats.named.route(&route.config.name)).collect();
        self.current.replace(Current { version: table.version(), pools: new.collect(), slots, routes });
    }

    fn make(&self, shared: &Arc<UpstreamShared>) -> Rc<Pool> {
        let seed = self.seed.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
        self.seed.set(seed);
        Rc::new(Pool::new(Arc::clone(shared), self.limits, Arc::clone(&self.stats), seed))
    }

    /// The pools of `table`, one an upstream.
    pub(crate) fn all(&self, table: &Table) -> Vec<Rc<Pool>> {
        self.follow(table);
        self.current.borrow().pools.clone()
    }

    /// Closes connections that have been idle for too long.
    pub(crate) fn sweep(&self) {
        self.current.borrow().pools.iter().for_each(|pool| pool.sweep());
    }

    /// Closes all idle connections.
    pub(crate) fn clear(&self) {
        self.current.borrow().pools.iter().for_each(|pool| pool.clear());
    }
}
