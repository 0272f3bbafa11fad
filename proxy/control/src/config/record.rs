//! `[record]`: where exchanges are recorded, and how strictly.

use std::path::PathBuf;

use sluice_audit::{Durability, QUEUE_BYTES, QUEUE_RECORDS, SEGMENT_BYTES, SEGMENT_SECONDS, SYNC_MS};
use toml::de::DeTable;

use super::number::{self, RECORD};
use super::source::Source;

pub(super) const MODES: &[(&str, Durability)] =
    &[("strict", Durability::Strict), ("relaxed", Durability::Relaxed)];

/// The name of the file with the signing key, where none is given: in the folder of the record.
pub const SIGNING_KEY_FILE: &str = "signing-key.pem";

/// Where exchanges are recorded, and how strictly. Keys stay in their files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordConfig {
    /// The folder of segments; made where it is not there.
    pub folder: PathBuf,
    /// `strict`: what goes to upstream is on disk before. `relaxed`: it is written, and on disk within a second.
    pub mode: Durability,
    /// What goes to clients is on disk before, too.
    pub strict_response: bool,
    /// The key that signs, in PEM; made where it is not there.
    pub signing_key: PathBuf,
    /// The key that signed before: it vouches for the new one.
    pub previous_key: Option<PathBuf>,
    /// The key that encrypts, as 64 hexadecimal digits; none: segments are not encrypted.
    pub encryption_key: Option<PathBuf>,
    /// The secret under which values that were masked have digests; none: they have none.
    pub digest_key: Option<PathBuf>,
    /// Sizes and times.
    pub limits: RecordLimits,
}

/// Sizes and times of the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordLimits {
    /// Bytes after which a segment is sealed.
    pub segment_bytes_max: u64,
    /// Seconds after which it is.
    pub segment_seconds_max: u64,
    /// Records that may wait for the disk.
    pub queue_records_max: usize,
    /// Bytes of them.
    pub queue_bytes_max: usize,
    /// Milliseconds between two syncs in `relaxed`.
    pub sync_ms: u64,
}

impl Default for RecordLimits {
    fn default() -> RecordLimits {
        RecordLimits {
            segment_bytes_max: SEGMENT_BYTES,
            segment_seconds_max: SEGMENT_SECONDS,
            queue_records_max: QUEUE_RECORDS,
            queue_bytes_max: QUEUE_BYTES,
            sync_ms: SYNC_MS,
        }
    }
}

impl RecordConfig {
    /// A strict record in a folder, with the defaults.
    #[must_use]
    pub fn new(folder: PathBuf) -> RecordConfig {
        RecordConfig {
            mode: Durability::Strict,
            strict_response: false,
            signing_key: folder.join(SIGNING_KEY_FILE),
            previous_key: None,
            encryption_key: None,
            digest_key: None,
            limits: RecordLimits::default(),
            folder,
        }
    }
}

const KEYS: &[&str] =
    &["folder", "mode", "strict_response", "signing_key", "previous_key", "encryption_key", "digest_key"];

pub(super) fn read(source: &mut Source, document: &DeTable<'_>) -> Option<RecordConfig> {
    let (value, table) = source.inner(document, "record", &number::keys(RECORD, KEYS))?;
    let Some(folder) = table.get("folder") else {
        source.reader.fault(&value.span(), "[record] needs `folder`: where its segments are");
        return None;
    };
    let mut config = RecordConfig::new(source.path(folder)?);
    config.mode = source.word(table, "mode", MODES).unwrap_or_default();
    config.strict_response = source.switch(table, "strict_response");
    if config.strict_response
        && config.mode == Durability::Relaxed
        && let Some(value) = table.get("strict_response")
    {
        source.reader.fault(&value.span(), "`strict_response` asks for `mode = \"strict\"`");
    }
    if let Some(value) = table.get("signing_key") {
        // Made at the start where it is not there.
        config.signing_key = source.path(value)?;
    }
    let mut file = |key: &str| match table.get(key) {
        Some(value) => source.file(value).map(Some),
        None => Some(None),
    };
    let (previous, encryption, digest) = (file("previous_key"), file("encryption_key"), file("digest_key"));
    (config.previous_key, config.encryption_key, config.digest_key) = (previous?, encryption?, digest?);
    number::read(source, table, RECORD, &mut config.limits);
    Some(config)
}
