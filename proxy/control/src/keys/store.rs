//! The file that issued keys are kept in: SQLite, readable by the gateway's user alone.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use sluice_policy::{Kind, Proof, Subject};
use sqlx::Row;
use sqlx::sqlite::SqliteSynchronous;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow};

use super::{Entry, KEYS_MAX, Key, KeyError};

/// Its one table. Lists are JSON, times seconds since 1970.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS issued_key (
    id TEXT PRIMARY KEY NOT NULL, hash BLOB NOT NULL, label TEXT NOT NULL,
    issuer TEXT NOT NULL, subject TEXT NOT NULL, groups TEXT NOT NULL, purpose TEXT, kind TEXT NOT NULL,
    chain TEXT, step TEXT, actor TEXT, owner TEXT, scopes TEXT NOT NULL,
    minted INTEGER NOT NULL, ends INTEGER NOT NULL, revoked INTEGER
) STRICT";

const INSERT: &str = "INSERT INTO issued_key VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)";

/// The open file.
pub(super) struct Store(SqlitePool);

impl Store {
    pub(super) async fn open(path: &Path) -> Result<Store, KeyError> {
        private(path).map_err(KeyError::File)?;
        let options = SqliteConnectOptions::new().filename(path).journal_mode(SqliteJournalMode::Wal);
        // A key that was shown must be there after a power cut.
        let options = options.synchronous(SqliteSynchronous::Full);
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await?;
        sqlx::query(TABLE).execute(&pool).await?;
        Ok(Store(pool))
    }

    pub(super) async fn all(&self) -> Result<Vec<Entry>, KeyError> {
        let query = sqlx::query("SELECT * FROM issued_key LIMIT ?").bind(KEYS_MAX as i64 + 1);
        let rows = query.fetch_all(&self.0).await?;
        if rows.len() > KEYS_MAX {
            return Err(KeyError::Full);
        }
        rows.iter().map(entry).collect()
    }

    pub(super) async fn insert(&self, entry: &Entry) -> Result<(), KeyError> {
        let Entry { key, hash } = entry;
        let subject = &key.subject;
        let query = sqlx::query(INSERT).bind(&*key.id).bind(hash.as_slice()).bind(&key.label);
        let query = query.bind(&*subject.issuer).bind(&*subject.id).bind(list(&subject.groups));
        let query = query.bind(subject.purpose.as_deref()).bind(subject.kind.name());
        let query = query.bind(subject.chain.as_deref()).bind(subject.step.as_deref());
        let query = query.bind(subject.actor.as_deref()).bind(subject.owner.as_deref());
        let query = query.bind(list(&subject.scopes)).bind(seconds(key.minted)).bind(seconds(key.ends));
        query.execute(&self.0).await?;
        Ok(())
    }

    pub(super) async fn revoke(&self, id: &str, now: SystemTime) -> Result<(), KeyError> {
        let query = sqlx::query("UPDATE issued_key SET revoked = ? WHERE id = ? AND revoked IS NULL");
        query.bind(seconds(now)).bind(id).execute(&self.0).await?;
        Ok(())
    }
}

/// Makes the file, for its owner alone, where it is not there.
fn private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true).mode(0o600).open(path).map(drop)
}

fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn time(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

fn list(items: &[Arc<str>]) -> String {
    Value::from(items.iter().map(|item| &**item).collect::<Vec<_>>()).to_string()
}

/// What a row holds. One that can't be read is a fault of the store: no key is left out in silence.
fn entry(row: &SqliteRow) -> Result<Entry, KeyError> {
    let broken = |column: &str| KeyError::Store(sqlx::Error::ColumnNotFound(column.to_owned()));
    let text = |column: &str| row.try_get::<String, _>(column);
    let optional = |column: &str| row.try_get::<Option<String>, _>(column).map(|text| text.map(Arc::from));
    let list = |column: &str| -> Result<Vec<Arc<str>>, KeyError> {
        let items: Vec<String> = serde_json::from_str(&text(column)?).map_err(|_| broken(column))?;
        Ok(items.into_iter().map(Arc::from).collect())
    };
    let kind = text("kind")?;
    let kinds = [Kind::Human, Kind::Service, Kind::Agent];
    let id: Arc<str> = Arc::from(text("id")?);
    let subject = Subject {
        issuer: Arc::from(text("issuer")?),
        id: Arc::from(text("subject")?),
        groups: list("groups")?,
        purpose: optional("purpose")?,
        kind: kinds.into_iter().find(|known| known.name() == kind).ok_or_else(|| broken("kind"))?,
        chain: optional("chain")?,
        step: optional("step")?,
        actor: optional("actor")?,
        owner: optional("owner")?,
        scopes: list("scopes")?,
        proof: Proof::Key { id: Arc::clone(&id) },
    };
    let hash: Vec<u8> = row.try_get("hash")?;
    let key = Key {
        id,
        label: text("label")?,
        subject,
        minted: time(row.try_get("minted")?),
        ends: time(row.try_get("ends")?),
        revoked: row.try_get::<Option<i64>, _>("revoked")?.map(time),
    };
    Ok(Entry { key, hash: hash.try_into().map_err(|_| broken("hash"))? })
}
