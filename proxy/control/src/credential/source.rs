//! A secret that is read where its reference points, and read again before it is old.
//!
//! What was read is kept for a bounded time in memory that is zeroed when it goes. A value that can't be read again is used
//! until it is too old, then there is none: nothing goes upstream without a credential that is known to be current.

use std::fmt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use zeroize::{Zeroize, Zeroizing};

use super::Vaults;
use super::reference::Reference;
use super::secret::{SECRET_BYTES_MAX, Secret};
use crate::reload::lock;

/// How long a program may take to print a secret.
pub const EXEC_TIME_MAX: Duration = Duration::from_secs(10);

/// How long a secret is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keeping {
    /// Read again after this.
    pub fresh: Duration,
    /// Used for so long after it was read, where it can't be read again.
    pub stale_max: Duration,
}

impl Default for Keeping {
    fn default() -> Keeping {
        Keeping { fresh: Duration::from_secs(30), stale_max: Duration::from_secs(300) }
    }
}

/// A secret can't be had. It says where it should be, and nothing of what is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialError {
    reference: String,
    reason: String,
}

impl CredentialError {
    pub(super) fn new(reference: &Reference, reason: impl Into<String>) -> CredentialError {
        CredentialError { reference: reference.to_string(), reason: reason.into() }
    }
}

impl fmt::Display for CredentialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the secret of {}: {}", self.reference, self.reason)
    }
}

impl std::error::Error for CredentialError {}

/// A secret by its reference. Clones share what was read.
#[derive(Clone)]
pub struct Source(Arc<Inner>);

struct Inner {
    reference: Reference,
    keeping: Keeping,
    vaults: Vaults,
    read: Mutex<Option<Read>>,
    /// Held while it is read.
    flight: tokio::sync::Mutex<()>,
}

/// What was read, and when.
struct Read {
    secret: Arc<Secret>,
    at: SystemTime,
    /// When it last could not be read again.
    failed: Option<SystemTime>,
}

/// The least time between two tries to read a secret that can't be read.
const RETRY_MIN: Duration = Duration::from_secs(1);

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Source").field(&self.0.reference).finish()
    }
}

fn is_within(then: SystemTime, now: SystemTime, span: Duration) -> bool {
    now.duration_since(then).is_ok_and(|age| age < span)
}

impl Source {
    /// Of this reference; nothing is read yet.
    #[must_use]
    pub fn new(reference: Reference, keeping: Keeping, vaults: Vaults) -> Source {
        let (read, flight) = (Mutex::default(), tokio::sync::Mutex::default());
        Source(Arc::new(Inner { reference, keeping, vaults, read, flight }))
    }

    /// Where it is.
    #[must_use]
    pub fn reference(&self) -> &Reference {
        &self.0.reference
    }

    /// The secret.
    ///
    /// # Errors
    /// It can't be read, and none that was read before is recent enough.
    pub async fn value(&self, now: SystemTime) -> Result<Arc<Secret>, CredentialError> {
        if let Some(secret) = self.kept(now) {
            return Ok(secret);
        }
        let _flight = self.0.flight.lock().await;
        if let Some(secret) = self.kept(now) {
            return Ok(secret);
        }
        match read(&self.0.reference, &self.0.vaults, now).await {
            Ok(secret) => {
                let secret = Arc::new(secret);
                *lock(&self.0.read) = Some(Read { secret: Arc::clone(&secret), at: now, failed: None });
                Ok(secret)
            }
            Err(error) => {
                let mut kept = lock(&self.0.read);
                match &mut *kept {
                    Some(read) if is_within(read.at, now, self.0.keeping.stale_max) => {
                        read.failed = Some(now);
                        Ok(Arc::clone(&read.secret))
                    }
                    _ => {
                        *kept = None;
                        Err(error)
                    }
                }
            }
        }
    }

    /// What was read and need not be read again.
    fn kept(&self, now: SystemTime) -> Option<Arc<Secret>> {
        let kept = lock(&self.0.read);
        let read = kept.as_ref()?;
        let is_fresh = is_within(read.at, now, self.0.keeping.fresh);
        let is_stale = is_within(read.at, now, self.0.keeping.stale_max)
            && read.failed.is_some_and(|failed| is_within(failed, now, RETRY_MIN));
        (is_fresh || is_stale).then(|| Arc::clone(&read.secret))
    }

    /// Forgets what was read: for an upstream that takes it no more.
    pub fn forget(&self) {
        *lock(&self.0.read) = None;
    }
}

async fn read(reference: &Reference, vaults: &Vaults, now: SystemTime) -> Result<Secret, CredentialError> {
    let failed = |reason: String| CredentialError::new(reference, reason);
    let bytes = match reference {
        Reference::Env(name) => env(name).map_err(failed)?,
        Reference::File(path) => file(path.clone()).await.map_err(failed)?,
        Reference::Exec(words) => exec(words, EXEC_TIME_MAX).await.map_err(failed)?,
        Reference::Vault { server, path, field } => {
            return vaults.read(server, path, field, now).await.map_err(failed);
        }
    };
    secret(bytes).map_err(failed)
}

/// The text of these bytes without its line end.
fn secret(mut bytes: Zeroizing<Vec<u8>>) -> Result<Secret, String> {
    if bytes.len() > SECRET_BYTES_MAX {
        return Err(format!("it has more than {SECRET_BYTES_MAX} bytes"));
    }
    let kept = match bytes.as_slice() {
        [rest @ .., b'\r', b'\n'] | [rest @ .., b'\n'] => rest.len(),
        all => all.len(),
    };
    bytes.truncate(kept);
    let text = String::from_utf8(std::mem::take(&mut *bytes)).map_err(|error| {
        let mut bytes = error.into_bytes();
        bytes.zeroize();
        "it is not text".to_owned()
    })?;
    if text.is_empty() { Err("it is empty".to_owned()) } else { Ok(Secret::new(text)) }
}

fn env(name: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    use std::os::unix::ffi::OsStringExt;
    let value = std::env::var_os(name).ok_or("there is no such variable")?;
    Ok(Zeroizing::new(value.into_vec()))
}

async fn file(path: std::path::PathBuf) -> Result<Zeroizing<Vec<u8>>, String> {
    let read = tokio::task::spawn_blocking(move || read_file(&path)).await;
    read.map_err(|_| "it can't be read".to_owned())?.map_err(|e| format!("it can't be read: {}", e.kind()))
}

/// Into memory that never moves, so that no copy is left behind.
fn read_file(path: &Path) -> std::io::Result<Zeroizing<Vec<u8>>> {
    use std::io::Read as _;
    let mut bytes = Zeroizing::new(Vec::with_capacity(SECRET_BYTES_MAX + 2));
    let file = std::fs::File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::ErrorKind::InvalidInput.into());
    }
    file.take(SECRET_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What a program prints. It gets nothing to read, and nobody sees what it complains of: that may hold the secret.
///
/// `tokio::process` was rejected: it takes a handler of signals for the whole process.
async fn exec(words: &[String], limit: Duration) -> Result<Zeroizing<Vec<u8>>, String> {
    let (program, arguments) = words.split_first().ok_or("there is no program")?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = Running(command.spawn().map_err(|e| format!("it can't run: {}", e.kind()))?);
    let output = child.0.stdout.take().ok_or("it prints nothing")?;
    let output = pipe::Receiver::from_owned_fd(output.into());
    let output = output.map_err(|e| format!("its output can't be read: {}", e.kind()))?;
    let done = tokio::time::timeout(limit, printed(&mut child.0, output)).await;
    done.map_err(|_| "it takes too long".to_owned())?
}

async fn printed(child: &mut Child, output: pipe::Receiver) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(SECRET_BYTES_MAX + 2));
    let mut output = output.take(SECRET_BYTES_MAX as u64 + 1);
    output.read_to_end(&mut bytes).await.map_err(|e| format!("its output breaks off: {}", e.kind()))?;
    if bytes.len() > SECRET_BYTES_MAX {
        return Err(format!("it prints more than {SECRET_BYTES_MAX} bytes"));
    }
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(bytes),
            Ok(Some(_)) => return Err("it fails".to_owned()),
            Ok(None) => tokio::time::sleep(EXIT_POLL).await,
            Err(e) => return Err(format!("it can't be waited for: {}", e.kind())),
        }
    }
}

/// How often a program that prints nothing more is asked whether it has ended.
const EXIT_POLL: Duration = Duration::from_millis(5);

/// A program that ends when nobody waits for it any more.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself; else it does at once, so that waiting for it takes no time.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_that_does_not_end_is_ended() {
        let words = ["/bin/sleep", "1000"].map(str::to_owned);
        let error = exec(&words, Duration::from_millis(20)).await.unwrap_err();
        assert_eq!(error, "it takes too long");
    }
}
