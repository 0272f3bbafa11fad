//! What a shard remembers of answers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::{Asked, Ruling};

/// A question's facts as one number: SHA-256 over all of them, each with its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key([u8; 32]);

impl Key {
    pub(crate) fn of(asked: &Asked) -> Key {
        let mut hash = Sha256::new();
        let mut add = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        for text in [&asked.route, &asked.upstream, &asked.method, &asked.target] {
            add(text.as_bytes());
        }
        add(asked.content_type.as_deref().unwrap_or_default().as_bytes());
        add(&[u8::from(asked.has_body), u8::from(asked.content_type.is_some())]);
        for (name, value) in &asked.fields {
            add(name.as_bytes());
            add(value.as_bytes());
        }
        // A count, so that no field can be taken for a credential.
        add(&(asked.fields.len() as u64).to_le_bytes());
        for credential in &asked.credentials {
            add(credential.field.as_bytes());
            add(credential.value.bytes());
        }
        add(&(asked.credentials.len() as u64).to_le_bytes());
        if let Some(certificate) = &asked.certificate {
            add(&certificate.fingerprint);
        }
        Key(hash.finalize().into())
    }
}

/// The rulings of one epoch, each for its time. When half of them are full the older half goes: no list to keep in order.
#[derive(Debug)]
pub(crate) struct RulingCache {
    epoch: u64,
    half: usize,
    young: HashMap<Key, (Instant, Arc<Ruling>)>,
    old: HashMap<Key, (Instant, Arc<Ruling>)>,
}

impl RulingCache {
    pub(crate) fn new(rulings_max: usize) -> RulingCache {
        RulingCache { epoch: 0, half: rulings_max / 2, young: HashMap::new(), old: HashMap::new() }
    }

    /// The ruling on the same question in this epoch.
    pub(crate) fn find(&mut self, epoch: u64, key: &Key, now: Instant) -> Option<Arc<Ruling>> {
        self.enter(epoch);
        let (until, ruling) = self.young.get(key).or_else(|| self.old.get(key))?;
        (now < *until).then(|| Arc::clone(ruling))
    }

    /// Keeps a ruling for its time, if it was asked for in this epoch: what decides may have changed since.
    pub(crate) fn keep(&mut self, asked_in: u64, epoch: u64, key: Key, ruling: &Arc<Ruling>, now: Instant) {
        self.enter(epoch);
        let Some(time) = ruling.remembered.filter(|time| *time > Duration::ZERO && asked_in == epoch) else {
            return;
        };
        let Some(until) = now.checked_add(time) else { return };
        if self.half == 0 {
            return;
        }
        if self.young.len() >= self.half {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, (until, Arc::clone(ruling)));
    }

    fn enter(&mut self, epoch: u64) {
        if self.epoch != epoch {
            (self.epoch, self.young, self.old) = (epoch, HashMap::new(), HashMap::new());
        }
    }
}
