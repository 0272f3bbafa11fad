//! The record as a configuration asks for it: keys read from their files, the writer started.

use std::fmt;
use std::path::Path;

use sluice_audit::{
    DigestKey, Durability, EncryptionKey, LogOptions, Recorder, RecorderOptions, RecorderStats, SigningKey,
    Writer,
};
use sluice_data::Recording;

use crate::config::RecordConfig;

/// The longest file of a key.
const KEY_BYTES_MAX: u64 = 64 * 1024;
/// The fewest bytes of a secret under which values have digests.
const DIGEST_KEY_BYTES_MIN: usize = 16;

/// A record that is being written.
#[derive(Debug)]
pub struct RunningRecord {
    recording: Recording,
    writer: Writer,
}

/// Why nothing can be recorded. It holds nothing of a key.
#[derive(Debug)]
pub struct RecordError(String);

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RecordError {}

impl RunningRecord {
    /// Opens the record, recovers what was left of it, and starts its writer.
    ///
    /// # Errors
    /// A key can't be read, or the record can't be written or is damaged.
    pub fn start(config: &RecordConfig) -> Result<RunningRecord, RecordError> {
        std::fs::create_dir_all(&config.folder)
            .map_err(|e| RecordError(format!("can't make the folder {}: {e}", config.folder.display())))?;
        let in_file = |file: &Path, e: &dyn fmt::Display| RecordError(format!("{}: {e}", file.display()));
        let signing = |file: &Path| SigningKey::load_or_create(file).map_err(|e| in_file(file, &e));
        let mut log = LogOptions::new(config.folder.clone(), signing(&config.signing_key)?);
        log.previous_key = config.previous_key.as_deref().map(signing).transpose()?;
        if let Some(file) = &config.encryption_key {
            let text = String::from_utf8_lossy(&read(file)?).trim().to_owned();
            log.encryption_key = Some(EncryptionKey::from_hex(&text).map_err(|e| in_file(file, &e))?);
        }
        log.segment_bytes_max = config.limits.segment_bytes_max;
        log.segment_seconds_max = config.limits.segment_seconds_max;
        let digests = match &config.digest_key {
            Some(file) => {
                let secret = read(file)?;
                if secret.trim_ascii().len() < DIGEST_KEY_BYTES_MIN {
                    let reason = format!("a digest key has at least {DIGEST_KEY_BYTES_MIN} bytes");
                    return Err(in_file(file, &reason));
                }
                Some(DigestKey::new(secret.trim_ascii()))
            }
            None => None,
        };
        let options = RecorderOptions {
            durability: config.mode,
            queue_records_max: config.limits.queue_records_max,
            queue_bytes_max: config.limits.queue_bytes_max,
            sync_ms: config.limits.sync_ms,
            ..RecorderOptions::new(log)
        };
        let (recorder, writer) =
            Recorder::start(options).map_err(|e| RecordError(format!("{}: {e}", config.folder.display())))?;
        // In `relaxed` an acknowledged record is written, which is what must be before upstream sees anything.
        let strict = matches!(config.mode, Durability::Strict);
        let recording = Recording { recorder, strict, strict_response: config.strict_response, digests };
        Ok(RunningRecord { recording, writer })
    }

    /// What the shards are given.
    #[must_use]
    pub fn recording(&self) -> Recording {
        self.recording.clone()
    }

    /// How the writer is doing, to be asked at any time.
    #[must_use]
    pub fn stats(&self) -> impl Fn() -> RecorderStats + Send + Sync + 'static {
        let recorder = self.recording.recorder.clone();
        move || recorder.stats()
    }

    /// Writes what waits, seals the segment and ends. It waits for the disk.
    ///
    /// # Errors
    /// The disk does not take it.
    pub fn close(self) -> Result<(), RecordError> {
        self.writer.close().map_err(|e| RecordError(e.to_string()))
    }
}

fn read(file: &Path) -> Result<zeroize::Zeroizing<Vec<u8>>, RecordError> {
    let fault = |e: std::io::Error| RecordError(format!("can't read {}: {e}", file.display()));
    if std::fs::metadata(file).map_err(fault)?.len() > KEY_BYTES_MAX {
        return Err(RecordError(format!("{} is too large for a key", file.display())));
    }
    std::fs::read(file).map(zeroize::Zeroizing::new).map_err(fault)
}
