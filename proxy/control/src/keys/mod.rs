//! Keys that the gateway issues, for tools that can hold only a static key.
//!
//! A key is 256 random bits. It is shown once, when it is minted; what is kept is its keyed hash, which neither gives the
//! key back nor lets who has the store alone check guesses. It stands for the subject who minted it, with no more groups
//! than that one had, ends on a set day, and may be limited to upstreams, routes and methods. Whoever revokes the subject
//! revokes its keys.
//!
//! Keys are checked in memory; the store is read when the gateway starts and written before a change counts.

mod api;
mod store;

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sluice_policy::{Kind, Proof, Subject};
use zeroize::Zeroizing;

use crate::credential::Secret;
use crate::identity::Unproved;
pub use api::{InForce, WISH_BYTES_MAX, routes};
use store::Store;

/// What every key begins with.
pub const PREFIX: &str = "sluice_";
/// Keys of one gateway, ended and revoked ones included.
pub const KEYS_MAX: usize = 100_000;
/// The longest life of a key.
pub const LIFE_MAX: Duration = Duration::from_secs(366 * 86_400);
/// The shortest.
pub const LIFE_MIN: Duration = Duration::from_secs(60);
/// The life of a key where nothing is said.
pub const LIFE: Duration = Duration::from_secs(90 * 86_400);
/// Bytes of a label.
pub const LABEL_BYTES_MAX: usize = 200;
/// Scopes of a key.
pub const SCOPES_MAX: usize = 64;
/// Bytes of a scope.
const SCOPE_BYTES_MAX: usize = 128;
/// The least bytes of the secret that hashes are keyed with.
const HASH_KEY_BYTES_MIN: usize = 32;
/// Random bytes of a key, and of its id.
const KEY_BYTES: usize = 32;
const ID_BYTES: usize = 8;

/// What is known of a key; never the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its public id: lower-case hexadecimal.
    pub id: Arc<str>,
    /// What people call it.
    pub label: String,
    /// Whom it stands for; its proof is the key.
    pub subject: Subject,
    /// When it was minted.
    pub minted: SystemTime,
    /// When it ends.
    pub ends: SystemTime,
    /// When it was revoked.
    pub revoked: Option<SystemTime>,
}

/// What a key is asked to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// What people call it.
    pub label: String,
    /// Its groups, each one of the minter's; none: all of them.
    pub groups: Option<Vec<String>>,
    /// What it is for; a minter who has a purpose can't give it another.
    pub purpose: Option<String>,
    /// What will hold it; none: what the minter is.
    pub kind: Option<Kind>,
    /// What it is limited to: `upstream:NAME`, `route:NAME`, `method:NAME`; none: nothing.
    pub scopes: Vec<String>,
    /// How long it lives; none: [`LIFE`].
    pub life: Option<Duration>,
}

/// A key that was minted: the only time that it is seen.
#[derive(Clone, Debug)]
pub struct Minted {
    /// What is known of it from now on.
    pub key: Key,
    /// The key itself.
    pub secret: Secret,
}

/// A key was not minted, or the store does not do what it should.
#[derive(Debug)]
pub enum KeyError {
    /// The wish can't be granted: why.
    Wish(&'static str),
    /// There are [`KEYS_MAX`] already.
    Full,
    /// The secret that hashes are keyed with is too short.
    HashKey,
    /// The system gives no random bytes.
    Random,
    /// The store.
    Store(sqlx::Error),
    /// The store's file.
    File(std::io::Error),
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyError::Wish(reason) => f.write_str(reason),
            KeyError::Full => write!(f, "there are {KEYS_MAX} keys already"),
            KeyError::HashKey => {
                write!(f, "the secret of the store of keys needs {HASH_KEY_BYTES_MIN} bytes at least")
            }
            KeyError::Random => f.write_str("the system gives no random bytes"),
            KeyError::Store(_) => f.write_str("the store of keys can't be used"),
            KeyError::File(e) => write!(f, "the store of keys can't be opened: {}", e.kind()),
        }
    }
}

impl std::error::Error for KeyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            KeyError::Store(e) => Some(e),
            KeyError::File(e) => Some(e),
            KeyError::Wish(_) | KeyError::Full | KeyError::HashKey | KeyError::Random => None,
        }
    }
}

impl From<sqlx::Error> for KeyError {
    fn from(error: sqlx::Error) -> KeyError {
        KeyError::Store(error)
    }
}

/// A key, and the hash that it is known by.
#[derive(Clone)]
struct Entry {
    key: Key,
    hash: [u8; 32],
}

/// The keys that the gateway has issued.
pub struct Keys {
    store: Store,
    hash_key: Zeroizing<[u8; 32]>,
    entries: RwLock<HashMap<Arc<str>, Arc<Entry>>>,
    /// Held while one is minted, so that there are never too many.
    minting: tokio::sync::Mutex<()>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.entries.read().map_or(0, |entries| entries.len());
        f.debug_struct("Keys").field("count", &count).finish_non_exhaustive()
    }
}

/// Times in the store are whole seconds.
fn whole_seconds(time: SystemTime) -> SystemTime {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

impl Keys {
    /// Opens the store, which is made where it is not there. `secret` keys the hashes: without it they are of no use.
    ///
    /// # Errors
    /// The store can't be read, or the secret is too short.
    pub async fn open(path: &Path, secret: &Secret) -> Result<Keys, KeyError> {
        if secret.text().len() < HASH_KEY_BYTES_MIN {
            return Err(KeyError::HashKey);
        }
        let hash_key = blake3::derive_key("sluice 2026 hashes of issued keys", secret.text().as_bytes());
        let store = Store::open(path).await?;
        let entries = store.all().await?.into_iter();
        let entries = entries.map(|entry| (Arc::clone(&entry.key.id), Arc::new(entry))).collect();
        let (hash_key, minting) = (Zeroizing::new(hash_key), tokio::sync::Mutex::default());
        Ok(Keys { store, hash_key, entries: RwLock::new(entries), minting })
    }

    /// Mints a key for who asks for it.
    ///
    /// # Errors
    /// It would be more than who asks, or can't be kept: then there is no key.
    pub async fn mint(&self, minter: &Subject, wish: &Wish, now: SystemTime) -> Result<Minted, KeyError> {
        let life = wish.life.unwrap_or(LIFE);
        if !(LIFE_MIN..=LIFE_MAX).contains(&life) {
            return Err(KeyError::Wish("a key lives for a minute to a year"));
        }
        let _minting = self.minting.lock().await;
        if self.entries.read().unwrap_or_else(PoisonError::into_inner).len() >= KEYS_MAX {
            return Err(KeyError::Full);
        }
        let mut random = Zeroizing::new([0; KEY_BYTES + ID_BYTES]);
        getrandom::fill(&mut *random).map_err(|_| KeyError::Random)?;
        let (secret, id) = random.split_at(KEY_BYTES);
        let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        let encoded = Zeroizing::new(URL_SAFE_NO_PAD.encode(secret));
        let id: Arc<str> = Arc::from(id);
        let subject = granted(minter, wish, &id)?;
        let minted = whole_seconds(now);
        let key = Key { id, label: wish.label.clone(), subject, minted, ends: minted + life, revoked: None };
        let entry = Entry { hash: self.hash(&encoded), key: key.clone() };
        self.store.insert(&entry).await?;
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        entries.insert(Arc::clone(&key.id), Arc::new(entry));
        let secret = Secret::new(format!("{PREFIX}{}_{}", key.id, encoded.as_str()));
        Ok(Minted { key, secret })
    }

    /// What is known of all keys, the newest first.
    #[must_use]
    pub fn list(&self) -> Vec<Key> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let mut keys: Vec<Key> = entries.values().map(|entry| entry.key.clone()).collect();
        keys.sort_by(|a, b| (b.minted, &a.id).cmp(&(a.minted, &b.id)));
        keys
    }

    /// Revokes a key, at once; false where there is none with this id. One that was revoked before stays so.
    ///
    /// # Errors
    /// The store can't be written; the key is revoked until the gateway starts anew all the same.
    pub async fn revoke(&self, id: &str, now: SystemTime) -> Result<bool, KeyError> {
        let now = whole_seconds(now);
        {
            let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
            let Some(entry) = entries.get_mut(id) else { return Ok(false) };
            if entry.key.revoked.is_none() {
                Arc::make_mut(entry).key.revoked = Some(now);
            }
        }
        self.store.revoke(id, now).await?;
        Ok(true)
    }

    /// The key that a text is.
    pub(crate) fn find(&self, text: &str, now: SystemTime) -> Result<Key, Unproved> {
        let rest = text.strip_prefix(PREFIX).ok_or(Unproved::UnknownCredential)?;
        let (id, secret) = rest.split_once('_').ok_or(Unproved::UnknownCredential)?;
        let entry = self.entries.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned();
        let hash = blake3::Hash::from(self.hash(secret));
        // Compared in a time that tells nothing (`blake3::Hash`).
        let entry = entry.filter(|entry| hash == blake3::Hash::from(entry.hash));
        let key = &entry.as_ref().ok_or(Unproved::UnknownCredential)?.key;
        if key.revoked.is_some() {
            return Err(Unproved::Revoked);
        }
        // A clock before its minting is wrong: it might be as wrong about its end.
        if now >= key.ends || now + Duration::from_secs(60) < key.minted {
            return Err(Unproved::Expired);
        }
        Ok(key.clone())
    }

    fn hash(&self, secret: &str) -> [u8; 32] {
        blake3::keyed_hash(&self.hash_key, secret.as_bytes()).into()
    }
}

/// Whom a key stands for: its minter, and nothing more than that.
fn granted(minter: &Subject, wish: &Wish, id: &Arc<str>) -> Result<Subject, KeyError> {
    if minter.is_anonymous() {
        return Err(KeyError::Wish("nobody proved who asks for a key"));
    }
    if matches!(minter.proof, Proof::Key { .. }) {
        return Err(KeyError::Wish("a key can't mint keys"));
    }
    if wish.label.len() > LABEL_BYTES_MAX || wish.label.chars().any(char::is_control) {
        return Err(KeyError::Wish("a label has at most 200 bytes, and no control characters"));
    }
    let groups = match &wish.groups {
        None => minter.groups.clone(),
        Some(wanted) => {
            let wanted: BTreeSet<Arc<str>> = wanted.iter().map(|group| Arc::from(group.as_str())).collect();
            if !wanted.iter().all(|group| minter.groups.contains(group)) {
                return Err(KeyError::Wish("a key has no groups that its minter has not"));
            }
            wanted.into_iter().collect()
        }
    };
    let wanted = wish.purpose.as_deref().filter(|purpose| !purpose.is_empty());
    let purpose = match (&minter.purpose, wanted) {
        (Some(purpose), Some(wanted)) if &**purpose != wanted => {
            return Err(KeyError::Wish("a key has its minter's purpose"));
        }
        (Some(purpose), _) => Some(Arc::clone(purpose)),
        (None, Some(wanted)) if wanted.len() <= SCOPE_BYTES_MAX => Some(Arc::from(wanted)),
        (None, Some(_)) => return Err(KeyError::Wish("that purpose is too long")),
        (None, None) => None,
    };
    let kind = wish.kind.unwrap_or(minter.kind);
    if kind == Kind::Human && minter.kind != Kind::Human {
        return Err(KeyError::Wish("only people mint keys that stand for people"));
    }
    if wish.scopes.len() > SCOPES_MAX || !wish.scopes.iter().all(|scope| is_scope(scope)) {
        return Err(KeyError::Wish("a scope is `upstream:NAME`, `route:NAME` or `method:NAME`"));
    }
    let scopes: BTreeSet<Arc<str>> = wish.scopes.iter().map(|scope| Arc::from(scope.as_str())).collect();
    // Whose key it is: another subject could not approve for it.
    let owner = minter.owner.clone().unwrap_or_else(|| Arc::clone(&minter.id));
    Ok(Subject {
        groups,
        purpose,
        kind,
        owner: Some(owner),
        scopes: scopes.into_iter().collect(),
        proof: Proof::Key { id: Arc::clone(id) },
        ..minter.clone()
    })
}

fn is_scope(scope: &str) -> bool {
    let named = scope.split_once(':').filter(|(kind, _)| ["upstream", "route", "method"].contains(kind));
    let is_name = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic());
    scope.len() <= SCOPE_BYTES_MAX && named.is_some_and(|(_, name)| is_name(name))
}

#[cfg(test)]
mod tests;
