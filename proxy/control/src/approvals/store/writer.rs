//! The way of changes into the database: together on SQLite, each for itself on PostgreSQL.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::{AnyConnection, AnyPool, Connection};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::super::error::{ApprovalError, StoreFault};
use super::{Flavour, Work};

/// Changes that may wait; one more is refused.
const QUEUE_MAX: usize = 4_096;
/// Changes that are written in one transaction on SQLite.
const BATCH_MAX: usize = 128;

/// A change that waits, whatever it gives.
trait Job: Send {
    /// Does it. An error means that nothing of it may stay.
    fn run<'c>(&'c mut self, connection: &'c mut AnyConnection) -> Work<'c, ()>;
    /// Whether nobody waits for it any more.
    fn is_left(&self) -> bool;
    /// Tells the one who waits; `committed` holds why nothing of it stayed, where that is so.
    fn answer(self: Box<Self>, committed: Result<(), ApprovalError>);
}

struct JobOf<T, F> {
    work: Option<F>,
    done: Option<Result<T, ApprovalError>>,
    answer: oneshot::Sender<Result<T, ApprovalError>>,
}

impl<T, F> Job for JobOf<T, F>
where
    T: Send,
    F: for<'c> FnOnce(&'c mut AnyConnection) -> Work<'c, T> + Send,
{
    fn run<'c>(&'c mut self, connection: &'c mut AnyConnection) -> Work<'c, ()> {
        Box::pin(async move {
            let Some(work) = self.work.take() else { return Ok(()) };
            let done = work(connection).await;
            let outcome = done.as_ref().map(|_| ()).map_err(Clone::clone);
            self.done = Some(done);
            outcome
        })
    }

    fn is_left(&self) -> bool {
        self.answer.is_closed()
    }

    fn answer(self: Box<Self>, committed: Result<(), ApprovalError>) {
        let done = match (committed, self.done) {
            (Ok(()), Some(done)) | (Err(_), Some(done @ Err(_))) => done,
            (Ok(()), None) => Err(ApprovalError::Unavailable(StoreFault::Closed)),
            (Err(error), Some(Ok(_)) | None) => Err(error),
        };
        // Who waited may have left.
        let _ = self.answer.send(done);
    }
}

pub(super) struct Writer {
    pool: AnyPool,
    way: Way,
    is_closed: Arc<AtomicBool>,
}

enum Way {
    /// To the one task that writes.
    Together(mpsc::Sender<Box<dyn Job>>),
    /// Each in a task of its own, as many as there are permits.
    Apart(Arc<Semaphore>),
}

impl Writer {
    pub(super) fn start(flavour: Flavour, pool: AnyPool) -> Writer {
        let way = match flavour {
            Flavour::Sqlite => {
                let (sender, jobs) = mpsc::channel(QUEUE_MAX);
                tokio::spawn(write_together(pool.clone(), jobs));
                Way::Together(sender)
            }
            Flavour::Postgres => Way::Apart(Arc::new(Semaphore::new(QUEUE_MAX))),
        };
        Writer { pool, way, is_closed: Arc::default() }
    }

    pub(super) fn submit<T, F>(
        &self,
        work: F,
    ) -> Result<oneshot::Receiver<Result<T, ApprovalError>>, ApprovalError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut AnyConnection) -> Work<'c, T> + Send + 'static,
    {
        if self.is_closed.load(Ordering::Relaxed) {
            return Err(ApprovalError::Unavailable(StoreFault::Closed));
        }
        let (answer, answered) = oneshot::channel();
        let job: Box<dyn Job> = Box::new(JobOf { work: Some(work), done: None, answer });
        match &self.way {
            Way::Together(jobs) => jobs.try_send(job).map_err(|e| match e {
                mpsc::error::TrySendError::Full(_) => ApprovalError::Overloaded,
                mpsc::error::TrySendError::Closed(_) => ApprovalError::Unavailable(StoreFault::Closed),
            })?,
            Way::Apart(permits) => {
                let permit =
                    Arc::clone(permits).try_acquire_owned().map_err(|_| ApprovalError::Overloaded)?;
                let pool = self.pool.clone();
                tokio::spawn(async move {
                    let _permit = permit;
                    write_apart(&pool, job).await;
                });
            }
        }
        Ok(answered)
    }

    pub(super) async fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
        self.pool.close().await;
    }
}

async fn write_apart(pool: &AnyPool, mut job: Box<dyn Job>) {
    if job.is_left() {
        return;
    }
    let written = async {
        let mut transaction = pool.begin().await?;
        job.run(&mut transaction).await?;
        transaction.commit().await?;
        Ok(())
    };
    let written = written.await;
    job.answer(written);
}

async fn write_together(pool: AnyPool, mut jobs: mpsc::Receiver<Box<dyn Job>>) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while jobs.recv_many(&mut batch, BATCH_MAX).await > 0 {
        batch.retain(|job| !job.is_left());
        let mut done = Vec::with_capacity(batch.len());
        let written = write_batch(&pool, &mut batch, &mut done).await;
        for job in done {
            job.answer(written.clone());
        }
        for job in batch.drain(..) {
            job.answer(written.clone().and(Err(ApprovalError::Unavailable(StoreFault::Refused))));
        }
    }
}

/// Moves the jobs of `batch` to `done` as they are run; none of them stays where this fails.
async fn write_batch(
    pool: &AnyPool,
    batch: &mut Vec<Box<dyn Job>>,
    done: &mut Vec<Box<dyn Job>>,
) -> Result<(), ApprovalError> {
    // IMMEDIATE: the lock for writing is taken now, and waited for, and not in the middle.
    let mut connection = pool.acquire().await?;
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    for mut job in batch.drain(..) {
        sqlx::query("SAVEPOINT change").execute(&mut *transaction).await?;
        let undo = job.run(&mut transaction).await.is_err();
        let end = if undo { "ROLLBACK TO change" } else { "RELEASE change" };
        sqlx::query(end).execute(&mut *transaction).await?;
        if undo {
            sqlx::query("RELEASE change").execute(&mut *transaction).await?;
        }
        done.push(job);
    }
    transaction.commit().await?;
    Ok(())
}
