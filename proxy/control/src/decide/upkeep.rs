//! What decides is kept fresh: revocations, keys of issuers, credentials.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::Pool;
use crate::identity::Revocations;

/// How often it is looked whether something was revoked or renewed.
const LOOK_EVERY: Duration = Duration::from_millis(500);

impl Pool {
    /// Keeps revocations fresh for as long as it is polled, and waits for nothing else: what is revoked counts within
    /// half a second of that. `report` is told what goes wrong, once for each time that it begins to.
    pub async fn keep_revocations(self: Arc<Self>, report: impl Fn(&str)) {
        let (mut version, mut known) = (None, None);
        loop {
            let deciders = self.deciders.load_full();
            let fault = match &deciders.revocations {
                Some(path) => revoked(&self.revocations, path).await,
                None => None,
            };
            let now = Some(self.revocations.version());
            if std::mem::replace(&mut version, now) != now {
                self.desk.forget();
            }
            if let Some(fault) = fault.as_deref().filter(|_| fault != known) {
                report(fault);
            }
            known = fault;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Keeps keys of issuers and credentials fresh, so that requests seldom wait for them. `report` is as there.
    pub async fn keep_fresh(self: Arc<Self>, report: impl Fn(&str)) {
        let mut known: BTreeSet<String> = BTreeSet::new();
        loop {
            let deciders = self.deciders.load_full();
            let mut faults: BTreeSet<String> = BTreeSet::new();
            if let Some(identity) = &deciders.identity {
                let without = identity.keep_fresh(SystemTime::now()).await;
                let told = |name: &Arc<str>| format!("the issuer `{name}` can't be asked for its keys");
                faults.extend(without.iter().map(told));
            }
            let credentials = deciders.credentials.prepare(SystemTime::now()).await;
            faults.extend(credentials.into_iter().map(|fault| fault.reason));
            faults.difference(&known).for_each(|fault| report(fault));
            known = faults;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// How the pool is doing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Numbers {
    /// Questions that nobody has taken.
    pub(crate) waiting: u64,
    /// Requests that people are to decide.
    pub(crate) pending: u64,
    /// Callers who were not proved, by reason.
    pub(crate) unproved: Vec<(&'static str, u64)>,
}

impl Pool {
    pub(crate) fn numbers(&self) -> Numbers {
        let deciders = self.deciders.load();
        let unproved = deciders.identity.iter().flat_map(|identity| identity.refusals());
        Numbers {
            waiting: self.desk.depth() as u64,
            pending: self.approvals.as_ref().map_or(0, |approvals| approvals.pending()),
            unproved: unproved.map(|(reason, count)| (reason.name(), count)).collect(),
        }
    }
}

/// Reads a file of revocations again; what is wrong with it.
pub(super) async fn revoked(revocations: &Arc<Revocations>, path: &Path) -> Option<String> {
    let (all, file) = (Arc::clone(revocations), path.to_owned());
    let read = tokio::task::spawn_blocking(move || all.read(&file)).await;
    match read {
        Ok(Ok(())) => None,
        Ok(Err(e)) => Some(format!("{}: {e}", path.display())),
        Err(_) => Some(format!("{}: it can't be read", path.display())),
    }
}
