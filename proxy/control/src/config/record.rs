//! `[record]`: whether a record is kept, where, and how surely.

use std::path::PathBuf;

use sluice_audit::{
    DigestKey, Durability, EncryptionKey, KeyError, LogOptions, QUEUE_BYTES, QUEUE_RECORDS, RecorderOptions,
    SEGMENT_BYTES, SEGMENT_SECONDS, SYNC_MS, SigningKey,
};
use toml::de::DeTable;

use super::number::{self, RECORD};
use super::source::Source;

pub(super) const DURABILITIES: &[(&str, Durability)] =
    &[("strict", Durability::Strict), ("relaxed", Durability::Relaxed)];

/// The signing key's file in the folder of the record, where no other is named.
const SIGNING_KEY_FILE: &str = "signing-key.pem";
/// The shortest secret that digests are keyed with.
const DIGEST_KEY_BYTES_MIN: usize = 16;

/// The record that a gateway keeps. `Debug` shows no key.
#[derive(Clone, Debug)]
pub struct RecordConfig {
    /// The folder.
    pub dir: PathBuf,
    /// When a record counts as recorded.
    pub durability: Durability,
    /// Frames of a response are durable before they are released.
    pub strict_response: bool,
    /// The key of digests; none: a new one each start.
    pub digest_key: Option<DigestKey>,
    /// Numbers.
    pub numbers: RecordNumbers,
    signing_key: Option<SigningKey>,
    previous_key: Option<SigningKey>,
    encryption_key: Option<EncryptionKey>,
    /// How the keys were named, for who asks for the configuration.
    references: Vec<(&'static str, String)>,
}

/// Limits and times of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordNumbers {
    /// Bytes of a segment.
    pub segment_bytes_max: u64,
    /// Seconds that a segment is written to.
    pub segment_seconds_max: u64,
    /// Records that wait for the disk.
    pub queue_records_max: usize,
    /// Bytes of records that wait for the disk.
    pub queue_bytes_max: usize,
    /// Milliseconds between two syncs in `relaxed`.
    pub sync_ms: u64,
}

impl Default for RecordNumbers {
    fn default() -> RecordNumbers {
        RecordNumbers {
            segment_bytes_max: SEGMENT_BYTES,
            segment_seconds_max: SEGMENT_SECONDS,
            queue_records_max: QUEUE_RECORDS,
            queue_bytes_max: QUEUE_BYTES,
            sync_ms: SYNC_MS,
        }
    }
}

impl RecordConfig {
    /// Strict, in this folder, with defaults and a key of its own: what `--record DIR` asks for.
    #[must_use]
    pub fn new(dir: PathBuf) -> RecordConfig {
        RecordConfig {
            dir,
            durability: Durability::Strict,
            strict_response: false,
            digest_key: None,
            numbers: RecordNumbers::default(),
            signing_key: None,
            previous_key: None,
            encryption_key: None,
            references: Vec::new(),
        }
    }

    /// What the recorder is started with. Where no key is named, one is made in the folder.
    ///
    /// # Errors
    /// Where that key can't be read or made.
    pub fn recorder(&self) -> Result<RecorderOptions, KeyError> {
        let signing_key = match &self.signing_key {
            Some(key) => key.clone(),
            None => SigningKey::load_or_create(&self.dir.join(SIGNING_KEY_FILE))?,
        };
        let numbers = self.numbers;
        let log = LogOptions {
            previous_key: self.previous_key.clone(),
            encryption_key: self.encryption_key.clone(),
            segment_bytes_max: numbers.segment_bytes_max,
            segment_seconds_max: numbers.segment_seconds_max,
            ..LogOptions::new(self.dir.clone(), signing_key)
        };
        Ok(RecorderOptions {
            durability: self.durability,
            queue_records_max: numbers.queue_records_max,
            queue_bytes_max: numbers.queue_bytes_max,
            sync_ms: numbers.sync_ms,
            ..RecorderOptions::new(log)
        })
    }

    /// The keys as they were named.
    pub(super) fn references(&self) -> &[(&'static str, String)] {
        &self.references
    }
}

pub(super) fn read(source: &mut Source, document: &DeTable<'_>) -> Option<RecordConfig> {
    const OTHERS: &[&str] = &[
        "dir",
        "durability",
        "strict_response",
        "signing_key",
        "previous_key",
        "encryption_key",
        "digest_key",
    ];
    let (value, table) = source.inner(document, "record", &number::keys(RECORD, OTHERS))?;
    let Some(dir) = source.text(table, "dir").filter(|dir| !dir.is_empty()) else {
        source.reader.fault(&value.span(), "[record] needs `dir`: the folder of the record");
        return None;
    };
    let mut record = RecordConfig::new(source.joined(&dir));
    record.durability = source.word(table, "durability", DURABILITIES).unwrap_or_default();
    record.strict_response = source.switch(table, "strict_response");
    number::read(source, table, RECORD, &mut record.numbers);
    let mut references = Vec::new();
    let mut key = |source: &mut Source, name: &'static str| secret(source, table, name, &mut references);
    let signing = key(source, "signing_key");
    let previous = key(source, "previous_key");
    let encryption = key(source, "encryption_key");
    let digest = key(source, "digest_key");
    record.references = references;
    let fault = |source: &mut Source, name: &str, why: String| {
        let span = table.get(name).map_or(value.span(), |v| v.span());
        source.reader.fault(&span, format!("`{name}`: {why}"));
    };
    for (name, text, to) in [
        ("signing_key", signing, &mut record.signing_key),
        ("previous_key", previous, &mut record.previous_key),
    ] {
        match text.map(|text| SigningKey::from_pem(&text)).transpose() {
            Ok(read) => *to = read,
            Err(e) => fault(source, name, e.to_string()),
        }
    }
    match encryption.map(|text| EncryptionKey::from_hex(&text)).transpose() {
        Ok(read) => record.encryption_key = read,
        Err(e) => fault(source, "encryption_key", e.to_string()),
    }
    match digest {
        Some(text) if text.trim().len() < DIGEST_KEY_BYTES_MIN => {
            fault(source, "digest_key", format!("a key has at least {DIGEST_KEY_BYTES_MIN} bytes"));
        }
        digest => record.digest_key = digest.map(|text| DigestKey::new(text.trim().as_bytes())),
    }
    Some(record)
}

/// The longest secret.
const SECRET_BYTES_MAX: usize = 16 << 10;

/// A secret by its reference, `env:NAME` or `file:PATH`; the reference is noted as it can be read from anywhere.
fn secret(
    source: &mut Source,
    table: &DeTable<'_>,
    key: &'static str,
    references: &mut Vec<(&'static str, String)>,
) -> Option<zeroize::Zeroizing<String>> {
    let value = table.get(key)?;
    let reference = source.text(table, key)?;
    let (read, shown) = match reference.split_once(':') {
        Some(("env", name)) => {
            (std::env::var(name).map_err(|_| format!("the environment has no `{name}`")), reference.clone())
        }
        Some(("file", path)) => {
            let path = source.joined(path);
            let shown = std::path::absolute(&path).unwrap_or_else(|_| path.clone());
            let read = std::fs::read_to_string(&path);
            let read = read.map_err(|e| format!("can't read `{}`: {e}", path.display()));
            (read, format!("file:{}", shown.display()))
        }
        _ => (
            Err("expected env:NAME or file:PATH: a secret never stands in a configuration".to_owned()),
            reference,
        ),
    };
    match read {
        Ok(text) if text.len() <= SECRET_BYTES_MAX => {
            references.push((key, shown));
            Some(zeroize::Zeroizing::new(text))
        }
        Ok(_) => {
            source.reader.fault(&value.span(), format!("`{key}`: longer than {SECRET_BYTES_MAX} bytes"));
            None
        }
        Err(why) => {
            source.reader.fault(&value.span(), format!("`{key}`: {why}"));
            None
        }
    }
}
