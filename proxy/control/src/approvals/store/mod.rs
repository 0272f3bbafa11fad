//! Where approvals are kept: SQLite, or PostgreSQL for several nodes, by the same statements and migrations.
//!
//! Every change is one transaction with the transition that tells of it and the deliveries that it causes. On SQLite,
//! which has one writer, changes that wait are written together in one transaction, each in a savepoint of its own: one
//! `fsync` for all of them, and still no answer before its change is durable. On PostgreSQL each is a transaction.
//!
//! A change that was begun is brought to its end even where nobody waits for it any more; whoever waited too long is told
//! that the store is slow, and refuses. So a grant may be used up for nothing, and none is used twice.

pub(crate) mod delegations;
pub(crate) mod deliveries;
pub(crate) mod events;
pub(crate) mod list;
pub(crate) mod rows;
mod statement;
pub(crate) mod sweep;
pub(crate) mod transitions;
mod writer;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::str::FromStr;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::any::{AnyConnectOptions, AnyPoolOptions, install_default_drivers};
use sqlx::{AnyConnection, AnyPool, ConnectOptions, Executor};

use super::clock::{Clock, Seen};
use super::error::{ApprovalError, StoreFault};

pub use delegations::Delegation;
pub(crate) use deliveries::Delivery;
pub(crate) use list::Filter;
pub use rows::Review;
pub(crate) use transitions::Written;
use writer::Writer;

/// What a piece of work on the store gives.
pub(crate) type Work<'c, T> = Pin<Box<dyn Future<Output = Result<T, ApprovalError>> + Send + 'c>>;

/// Connections for reading.
const READERS: u32 = 8;

/// Which database it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    Sqlite,
    Postgres,
}

/// The database of approvals. `Debug` shows no URL: it may hold a password.
#[derive(Clone)]
pub struct Database {
    url: SecretString,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Database({:?})", self.flavour())
    }
}

impl Database {
    /// By its URL: `sqlite:PATH` or `postgres://…`.
    #[must_use]
    pub fn new(url: impl Into<SecretString>) -> Database {
        Database { url: url.into() }
    }

    fn flavour(&self) -> Option<Flavour> {
        let url = self.url.expose_secret();
        if url.starts_with("sqlite:") {
            Some(Flavour::Sqlite)
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            Some(Flavour::Postgres)
        } else {
            None
        }
    }

    /// Whether the URL is one of a database that can be used.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.flavour().is_some() && AnyConnectOptions::from_str(self.url.expose_secret()).is_ok()
    }
}

/// An open store.
pub(crate) struct Store {
    flavour: Flavour,
    read: AnyPool,
    writer: Writer,
    /// The longest that anyone waits for it.
    limit: Duration,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("flavour", &self.flavour).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens it and brings its schema up to date.
    pub(crate) async fn open(database: &Database, op_ms_max: u64) -> Result<Store, ApprovalError> {
        install_default_drivers();
        let unreachable = ApprovalError::Unavailable(StoreFault::Unreachable);
        let flavour = database.flavour().ok_or(unreachable.clone())?;
        let mut url = database.url.expose_secret().to_owned();
        if flavour == Flavour::Sqlite && !url.contains('?') {
            url.push_str("?mode=rwc");
        }
        let options = AnyConnectOptions::from_str(&url).map_err(|_| unreachable)?;
        // Statements hold no values, but nobody needs them in a log.
        let options = options.disable_statement_logging();
        let limit = Duration::from_millis(op_ms_max);
        let connections = match flavour {
            Flavour::Sqlite => 1,
            Flavour::Postgres => 16,
        };
        let write = pool(flavour, connections, limit).connect_with(options.clone()).await?;
        let migrated = sqlx::migrate!("./migrations").run(&write).await;
        migrated.map_err(|_| ApprovalError::Unavailable(StoreFault::Refused))?;
        let read = pool(flavour, READERS, limit).connect_with(options).await?;
        Ok(Store { flavour, read, writer: Writer::start(flavour, write), limit })
    }

    /// Changes something, in a transaction: done when it is durable.
    pub(crate) async fn write<T, F>(&self, work: F) -> Result<T, ApprovalError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut AnyConnection) -> Work<'c, T> + Send + 'static,
    {
        let answer = self.writer.submit(work)?;
        match tokio::time::timeout(self.limit, answer).await {
            Ok(Ok(done)) => done,
            Ok(Err(_)) => Err(ApprovalError::Unavailable(StoreFault::Closed)),
            Err(_) => Err(ApprovalError::Unavailable(StoreFault::Slow)),
        }
    }

    /// Reads something.
    pub(crate) async fn read<T, F>(&self, work: F) -> Result<T, ApprovalError>
    where
        F: for<'c> FnOnce(&'c mut AnyConnection) -> Work<'c, T>,
    {
        let done = tokio::time::timeout(self.limit, async {
            let mut connection = self.read.acquire().await?;
            work(&mut connection).await
        });
        done.await.unwrap_or(Err(ApprovalError::Unavailable(StoreFault::Slow)))
    }

    /// Sets the clock going from what is stored of it.
    pub(crate) async fn resume(&self, clock: &Clock) -> Result<(), ApprovalError> {
        let rows: Vec<(String, i64, i64)> = self
            .read(|c| {
                Box::pin(async move {
                    let sql = "SELECT boot, steady_ms, now_ms FROM approval_clock";
                    Ok(sqlx::query_as(sql).fetch_all(c).await?)
                })
            })
            .await?;
        let seen = rows.into_iter().map(|(boot, steady_ms, now_ms)| Seen { boot, steady_ms, now_ms });
        clock.resume(&seen.collect::<Vec<_>>());
        Ok(())
    }

    /// Closes its connections.
    pub(crate) async fn close(&self) {
        self.read.close().await;
        self.writer.close().await;
    }
}

fn pool(flavour: Flavour, connections: u32, limit: Duration) -> AnyPoolOptions {
    let ms = limit.as_millis();
    AnyPoolOptions::new().max_connections(connections).acquire_timeout(limit).after_connect(move |c, _| {
        Box::pin(async move {
            let settings = match flavour {
                // FULL: a grant that was consumed stays so, even if the machine loses its power now.
                Flavour::Sqlite => format!(
                    "PRAGMA busy_timeout = {ms}; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
                     PRAGMA cache_size = -16384"
                ),
                Flavour::Postgres => format!("SET statement_timeout = {ms}; SET lock_timeout = {ms}"),
            };
            c.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(settings))).await?;
            Ok(())
        })
    })
}
