//! The index: where each session's records are, and what one looks for sessions by.
//!
//! SQLite, because it is one file that any tool reads. The segments are the truth: the index is made of them, can be
//! thrown away at any time, and is when it is of another record. It holds no payload.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use sluice_audit::{Archive, ArchiveError, Cursor, Entry, Kind, Place, Record, VerdictName};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteRow, SqliteSynchronous};
use sqlx::{Connection, QueryBuilder, Row, Sqlite};

#[cfg(test)]
mod tests;

/// Records that are put into the index with one transaction.
const BATCH_RECORDS: usize = 20_000;
/// The most sessions that a list has.
pub const LIST_MAX: u32 = 100_000;

const SCHEMA: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS progress (id INTEGER PRIMARY KEY CHECK (id = 1), log TEXT NOT NULL, cursor TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS sessions (session TEXT PRIMARY KEY, started_ns INTEGER NOT NULL, ended_ns INTEGER NOT NULL, \
     subject TEXT, issuer TEXT, upstream TEXT, route TEXT, verdict TEXT, chain TEXT, step TEXT, approval TEXT, method TEXT, \
     target TEXT, status INTEGER, outcome TEXT, records INTEGER NOT NULL, spans INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS sessions_started ON sessions (started_ns)",
    "CREATE INDEX IF NOT EXISTS sessions_subject ON sessions (subject, started_ns)",
    "CREATE INDEX IF NOT EXISTS sessions_upstream ON sessions (upstream, started_ns)",
    "CREATE INDEX IF NOT EXISTS sessions_verdict ON sessions (verdict, started_ns)",
    "CREATE INDEX IF NOT EXISTS sessions_chain ON sessions (chain, started_ns)",
    "CREATE TABLE IF NOT EXISTS labels (kind TEXT NOT NULL, name TEXT NOT NULL, started_ns INTEGER NOT NULL, \
     session TEXT NOT NULL, PRIMARY KEY (kind, name, started_ns, session)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS places (session TEXT NOT NULL, segment INTEGER NOT NULL, offset INTEGER NOT NULL, \
     PRIMARY KEY (session, segment, offset)) WITHOUT ROWID",
];

/// The index can't be made or read.
#[derive(Debug)]
pub struct IndexError {
    kind: ErrorKind,
}

#[derive(Debug)]
enum ErrorKind {
    Database(sqlx::Error),
    Archive(ArchiveError),
    Cursor(serde_json::Error),
}

impl fmt::Display for IndexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ErrorKind::Database(e) => write!(f, "the index: {e}"),
            ErrorKind::Archive(e) => e.fmt(f),
            ErrorKind::Cursor(e) => write!(f, "the index says not how far it is: {e}"),
        }
    }
}

impl std::error::Error for IndexError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            ErrorKind::Database(e) => Some(e),
            ErrorKind::Archive(e) => Some(e),
            ErrorKind::Cursor(e) => Some(e),
        }
    }
}

impl From<sqlx::Error> for IndexError {
    fn from(e: sqlx::Error) -> IndexError {
        IndexError { kind: ErrorKind::Database(e) }
    }
}

impl From<ArchiveError> for IndexError {
    fn from(e: ArchiveError) -> IndexError {
        IndexError { kind: ErrorKind::Archive(e) }
    }
}

impl From<serde_json::Error> for IndexError {
    fn from(e: serde_json::Error) -> IndexError {
        IndexError { kind: ErrorKind::Cursor(e) }
    }
}

/// What sessions are looked for by; all that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The subject's id.
    pub subject: Option<String>,
    /// Not before, in nanoseconds since 1970.
    pub since_ns: Option<u64>,
    /// Before, in nanoseconds since 1970.
    pub until_ns: Option<u64>,
    /// The upstream.
    pub upstream: Option<String>,
    /// The verdict.
    pub verdict: Option<VerdictName>,
    /// A policy that made the verdict.
    pub policy: Option<String>,
    /// An entity that was masked.
    pub entity: Option<String>,
    /// The chain of thought.
    pub chain: Option<String>,
    /// So many at most.
    pub limit: u32,
}

/// A session as the index knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Session {
    /// Its id.
    pub session: String,
    /// Its first record's time, in nanoseconds since 1970.
    pub started_ns: u64,
    /// Its last record's.
    pub ended_ns: u64,
    /// Who asked.
    pub subject: Option<String>,
    /// Who vouches for that.
    pub issuer: Option<String>,
    /// The upstream.
    pub upstream: Option<String>,
    /// The route.
    pub route: Option<String>,
    /// The last verdict.
    pub verdict: Option<String>,
    /// The chain of thought.
    pub chain: Option<String>,
    /// Its step.
    pub step: Option<String>,
    /// The approval that it needed.
    pub approval: Option<String>,
    /// The method of its request.
    pub method: Option<String>,
    /// The target of its request.
    pub target: Option<String>,
    /// The status of its response.
    pub status: Option<u16>,
    /// How it ended.
    pub outcome: Option<String>,
    /// Its records.
    pub records: u64,
    /// Values that were masked in it.
    pub spans: u64,
}

/// What a batch says of a session.
#[derive(Debug, Default)]
struct Found {
    session: Session,
    places: BTreeSet<Place>,
    entities: BTreeSet<String>,
    policies: BTreeSet<String>,
}

fn put(to: &mut Option<String>, from: &str) {
    if !from.is_empty() {
        *to = Some(from.to_owned());
    }
}

impl Found {
    fn take(&mut self, record: &Record, place: Place) {
        let session = &mut self.session;
        if session.records == 0 {
            session.started_ns = record.wall_ns;
        }
        session.started_ns = session.started_ns.min(record.wall_ns);
        session.ended_ns = session.ended_ns.max(record.wall_ns);
        session.records += 1;
        session.spans += record.spans.len() as u64;
        if let Some(subject) = &record.subject {
            put(&mut session.subject, &subject.id);
            put(&mut session.issuer, &subject.issuer);
        }
        put(&mut session.upstream, &record.upstream);
        put(&mut session.route, &record.route);
        for (to, from) in [
            (&mut session.chain, &record.chain),
            (&mut session.step, &record.step),
            (&mut session.approval, &record.approval),
        ] {
            put(to, from.as_deref().unwrap_or_default());
        }
        put(&mut session.verdict, record.verdict.map_or("", VerdictName::name));
        if let Some(head) = &record.head {
            put(&mut session.method, &head.method);
            put(&mut session.target, &head.target);
            session.status = head.status.or(session.status);
        }
        if let Some(end) = &record.end {
            put(&mut session.outcome, &end.outcome);
            session.status = end.status.or(session.status);
        }
        self.entities.extend(record.spans.iter().map(|span| span.entity.clone()));
        self.policies.extend(record.policies.iter().cloned());
        self.places.insert(place);
    }
}

/// The index of a record.
#[derive(Debug)]
pub struct Index {
    connection: SqliteConnection,
    archive: Archive,
}

impl Index {
    /// Opens the index in `file`, or makes it, and brings it up to what `archive` has.
    ///
    /// # Errors
    /// Where the file is no index or can't be written, or the record can't be read.
    pub async fn open(file: &Path, archive: Archive) -> Result<Index, IndexError> {
        // It tells who asked for what: its owner alone may read it, from the first byte on.
        let made = std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(file);
        made.map_err(sqlx::Error::Io)?;
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // A loss of power may cost the index, which is made anew.
            .synchronous(SqliteSynchronous::Off);
        let mut connection = SqliteConnection::connect_with(&options).await?;
        for statement in SCHEMA {
            sqlx::query(*statement).execute(&mut connection).await?;
        }
        let mut index = Index { connection, archive };
        index.catch_up().await?;
        Ok(index)
    }

    /// Takes in what the record has got since.
    ///
    /// # Errors
    /// Where the record can't be read, or the index not written.
    pub async fn catch_up(&mut self) -> Result<u64, IndexError> {
        let Some(log) = self.archive.id()? else { return Ok(0) };
        let known =
            sqlx::query("SELECT log, cursor FROM progress").fetch_optional(&mut self.connection).await?;
        let mut cursor = Cursor::default();
        if let Some(row) = known {
            if row.try_get::<String, _>(0)? == log {
                cursor = serde_json::from_str(&row.try_get::<String, _>(1)?)?;
            } else {
                self.forget().await?;
            }
        }
        let mut tail = self.archive.tail(cursor);
        let mut taken = 0;
        loop {
            let (mut found, mut records) = (HashMap::<String, Found>::new(), 0);
            while records < BATCH_RECORDS {
                let Some((place, entries)) = tail.next_block()? else { break };
                records += entries.len();
                entries.iter().for_each(|entry| take(&mut found, entry, place));
            }
            if records == 0 {
                return Ok(taken);
            }
            taken += records as u64;
            self.store(&log, tail.cursor(), &found).await?;
        }
    }

    /// Everything is forgotten: it is of another record.
    async fn forget(&mut self) -> Result<(), IndexError> {
        for statement in
            ["DELETE FROM progress", "DELETE FROM sessions", "DELETE FROM labels", "DELETE FROM places"]
        {
            sqlx::query(statement).execute(&mut self.connection).await?;
        }
        Ok(())
    }

    async fn store(
        &mut self,
        log: &str,
        cursor: Cursor,
        found: &HashMap<String, Found>,
    ) -> Result<(), IndexError> {
        let mut transaction = self.connection.begin().await?;
        for found in found.values() {
            let s = &found.session;
            sqlx::query(
                "INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (session) DO UPDATE SET \
                 ended_ns = max(ended_ns, excluded.ended_ns), subject = coalesce(excluded.subject, subject), \
                 issuer = coalesce(excluded.issuer, issuer), upstream = coalesce(excluded.upstream, upstream), \
                 route = coalesce(excluded.route, route), verdict = coalesce(excluded.verdict, verdict), \
                 chain = coalesce(excluded.chain, chain), step = coalesce(excluded.step, step), \
                 approval = coalesce(excluded.approval, approval), method = coalesce(excluded.method, method), \
                 target = coalesce(excluded.target, target), status = coalesce(excluded.status, status), \
                 outcome = coalesce(excluded.outcome, outcome), records = records + excluded.records, \
                 spans = spans + excluded.spans",
            )
            .bind(&s.session)
            .bind(s.started_ns as i64)
            .bind(s.ended_ns as i64)
            .bind(&s.subject)
            .bind(&s.issuer)
            .bind(&s.upstream)
            .bind(&s.route)
            .bind(&s.verdict)
            .bind(&s.chain)
            .bind(&s.step)
            .bind(&s.approval)
            .bind(&s.method)
            .bind(&s.target)
            .bind(s.status)
            .bind(&s.outcome)
            .bind(s.records as i64)
            .bind(s.spans as i64)
            .execute(&mut *transaction)
            .await?;
            let entities = found.entities.iter().map(|name| ("entity", name));
            let policies = found.policies.iter().map(|name| ("policy", name));
            for (kind, name) in entities.chain(policies) {
                // The time of the session's first record, so that the newest come first without looking at the session.
                sqlx::query(
                    "INSERT OR IGNORE INTO labels SELECT ?, ?, started_ns, session FROM sessions WHERE session = ?",
                )
                .bind(kind)
                .bind(name)
                .bind(&s.session)
                .execute(&mut *transaction)
                .await?;
            }
            for place in &found.places {
                sqlx::query("INSERT OR IGNORE INTO places VALUES (?, ?, ?)")
                    .bind(&s.session)
                    .bind(place.segment as i64)
                    .bind(place.offset as i64)
                    .execute(&mut *transaction)
                    .await?;
            }
        }
        sqlx::query("INSERT OR REPLACE INTO progress VALUES (1, ?, ?)")
            .bind(log)
            .bind(serde_json::to_string(&cursor)?)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Sessions, the newest first.
    ///
    /// # Errors
    /// Where the index can't be read.
    pub async fn list(&mut self, filter: &Filter) -> Result<Vec<Session>, IndexError> {
        let mut labels = [("entity", &filter.entity), ("policy", &filter.policy)]
            .into_iter()
            .filter_map(|(kind, name)| Some((kind, name.clone()?)));
        let mut query = QueryBuilder::<Sqlite>::new("SELECT s.* FROM ");
        // One label leads to its sessions, the newest first; another one is looked up for each of them.
        let by = match labels.next() {
            Some((kind, name)) => {
                query.push("labels l CROSS JOIN sessions s WHERE l.session = s.session AND l.kind = ");
                query.push_bind(kind).push(" AND l.name = ").push_bind(name);
                "l"
            }
            None => {
                query.push("sessions s WHERE 1");
                "s"
            }
        };
        for (kind, name) in labels {
            query.push(" AND EXISTS (SELECT 1 FROM labels o WHERE o.kind = ").push_bind(kind);
            query.push(" AND o.name = ").push_bind(name);
            query.push(" AND o.started_ns = s.started_ns AND o.session = s.session)");
        }
        let verdict = filter.verdict.map(|verdict| verdict.name().to_owned());
        for (column, value) in [
            ("subject", &filter.subject),
            ("upstream", &filter.upstream),
            ("verdict", &verdict),
            ("chain", &filter.chain),
        ] {
            if let Some(value) = value {
                query.push(format_args!(" AND s.{column} = "));
                query.push_bind(value.clone());
            }
        }
        for (compare, ns) in [(">=", filter.since_ns), ("<", filter.until_ns)] {
            if let Some(ns) = ns {
                query.push(format_args!(" AND {by}.started_ns {compare} "));
                query.push_bind(i64::try_from(ns).unwrap_or(i64::MAX));
            }
        }
        query.push(format_args!(" ORDER BY {by}.started_ns DESC LIMIT {}", filter.limit.min(LIST_MAX)));
        let rows = query.build().fetch_all(&mut self.connection).await?;
        rows.iter().map(session).collect()
    }

    /// The records of a session, in their order; none where there is no such session.
    ///
    /// # Errors
    /// Where the index or the record can't be read.
    pub async fn entries(&mut self, session: &str) -> Result<Vec<Entry>, IndexError> {
        let places =
            sqlx::query("SELECT segment, offset FROM places WHERE session = ? ORDER BY segment, offset")
                .bind(session)
                .fetch_all(&mut self.connection)
                .await?;
        let mut all = Vec::new();
        for row in places {
            let place =
                Place { segment: row.try_get::<i64, _>(0)? as u64, offset: row.try_get::<i64, _>(1)? as u64 };
            let block = self.archive.block(place)?;
            all.extend(block.into_iter().filter(|entry| entry.record.session.to_string() == session));
        }
        Ok(all)
    }
}

fn take(found: &mut HashMap<String, Found>, entry: &Entry, place: Place) {
    if entry.record.kind == Kind::Gap {
        return;
    }
    let id = entry.record.session.to_string();
    let found = found.entry(id.clone()).or_default();
    found.session.session = id;
    found.take(&entry.record, place);
}

fn session(row: &SqliteRow) -> Result<Session, IndexError> {
    let number = |column: &str| row.try_get::<i64, _>(column).map(|n| n as u64);
    Ok(Session {
        session: row.try_get("session")?,
        started_ns: number("started_ns")?,
        ended_ns: number("ended_ns")?,
        subject: row.try_get("subject")?,
        issuer: row.try_get("issuer")?,
        upstream: row.try_get("upstream")?,
        route: row.try_get("route")?,
        verdict: row.try_get("verdict")?,
        chain: row.try_get("chain")?,
        step: row.try_get("step")?,
        approval: row.try_get("approval")?,
        method: row.try_get("method")?,
        target: row.try_get("target")?,
        status: row.try_get("status")?,
        outcome: row.try_get("outcome")?,
        records: number("records")?,
        spans: number("spans")?,
    })
}
