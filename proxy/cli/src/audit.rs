//! `sluice audit`: verifies a record offline, holds and deletes its segments.

use std::time::{SystemTime, UNIX_EPOCH};

use sluice_audit::{Hold, PublicKey, Retention, SigningKey, VerifyOptions, from_rfc3339, retain, verify};

use crate::args::{AuditCommand, RecordKeyArgs, RetainArgs, VerifyArgs};
use crate::failure::Failure;
use crate::terminal::{Terminal, print};

pub(crate) fn run(command: &AuditCommand, terminal: &Terminal) -> Result<u8, Failure> {
    match command {
        AuditCommand::Verify(args) => run_verify(args, terminal),
        AuditCommand::Retain(args) => run_retain(args),
        AuditCommand::Hold { folder, name, reason, from, until } => {
            let (from_ns, until_ns) = (time(from.as_deref())?, time(until.as_deref())?);
            let held = Hold { reason: reason.clone(), from_ns, until_ns };
            sluice_audit::hold(folder, name, &held).map(|()| 0).map_err(Failure::work)
        }
        AuditCommand::Release { folder, name } => {
            sluice_audit::release(folder, name).map(|()| 0).map_err(Failure::work)
        }
    }
}

/// A time as it is written on the command line.
pub(crate) fn time(text: Option<&str>) -> Result<Option<u64>, Failure> {
    let Some(text) = text else { return Ok(None) };
    let wrong = || Failure::usage(format!("`{text}`: a time is 2026-11-22 or 2026-11-22T04:05:06Z"));
    from_rfc3339(text).map(Some).ok_or_else(wrong)
}

/// A secret by its reference.
fn secret(reference: &str, flag: &str) -> Result<String, Failure> {
    match reference.split_once(':') {
        Some(("env", name)) => std::env::var(name).map_err(|_| Failure::usage(format!("{name} is not set"))),
        Some(("file", path)) => {
            std::fs::read_to_string(path).map_err(|e| Failure::usage(format!("{path}: {e}")))
        }
        _ => Err(Failure::usage(format!("{flag} is env:NAME or file:PATH"))),
    }
}

fn run_retain(args: &RetainArgs) -> Result<u8, Failure> {
    let key = SigningKey::from_pem(&secret(&args.signing_key, "--signing-key")?).map_err(Failure::usage)?;
    let age_seconds_max = args.days.map(|days| u64::from(days) * 86_400);
    let retention = Retention { age_seconds_max, bytes_max: args.bytes };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now_ns = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
    let encryption = encryption_key(&args.key)?;
    let deleted = retain(&args.folder, &retention, &key, encryption.as_ref(), now_ns, |_| true);
    for number in deleted.map_err(Failure::work)? {
        print(format_args!("deleted: segment {number}, and its tombstone stands there"))?;
    }
    Ok(0)
}

/// The key of an encrypted record, by the reference that was given.
pub(crate) fn encryption_key(args: &RecordKeyArgs) -> Result<Option<sluice_audit::EncryptionKey>, Failure> {
    let Some(reference) = &args.encryption_key else { return Ok(None) };
    let text = secret(reference, "--encryption-key")?;
    sluice_audit::EncryptionKey::from_hex(&text).map(Some).map_err(Failure::usage)
}

fn public_key(text: &str) -> Result<PublicKey, Failure> {
    if let Ok(key) = PublicKey::from_text(text) {
        return Ok(key);
    }
    let pem = std::fs::read_to_string(text).map_err(|e| Failure::usage(format!("{text}: {e}")))?;
    PublicKey::from_text(&pem).map_err(|e| Failure::usage(format!("{text}: {e}")))
}

fn run_verify(args: &VerifyArgs, terminal: &Terminal) -> Result<u8, Failure> {
    let keys = args.keys.iter().map(|key| public_key(key)).collect::<Result<Vec<_>, _>>()?;
    let pin = args.pin.as_deref().map(parse_pin).transpose()?;
    let options = VerifyOptions { keys, encryption_key: encryption_key(&args.key)?, pin };
    let found = match verify(&args.folder, &options) {
        Ok(found) => found,
        Err(fault) => {
            print(format_args!("{}: {fault}", terminal.mark(false, "not verified")))?;
            return Ok(1);
        }
    };
    for (seq, gap) in &found.gaps {
        let lost = gap
            .lost
            .map_or_else(|| "an unknown number of records".to_owned(), |lost| format!("{lost} records"));
        print(format_args!(
            "gap: record {seq}: {}: {lost} lost, {} refused, {} bytes of an unfinished write cut off{}{}",
            gap.reason,
            gap.refused,
            gap.bytes_cut,
            if gap.error.is_empty() { "" } else { ": " },
            gap.error
        ))?;
    }
    for note in &found.notes {
        print(format_args!("note: {note}"))?;
    }
    if options.keys.is_empty() {
        print("note: no --key was given, so it is whole and of one hand, but not shown of whose")?;
    }
    for key in &found.keys {
        print(format_args!("key: {key}"))?;
    }
    print(format_args!(
        "{}: {} records in {} segments ({} deleted), to be pinned as {}:{}",
        terminal.mark(true, "verified"),
        found.records,
        found.segments,
        found.tombstones,
        found.last_seq,
        found.last_record
    ))?;
    Ok(0)
}

fn parse_pin(text: &str) -> Result<(u64, sluice_audit::Hash), Failure> {
    let parts = text.split_once(':').and_then(|(seq, hash)| Some((seq.parse().ok()?, hash.parse().ok()?)));
    parts.ok_or_else(|| Failure::usage("--pin is NUMBER:HASH, as an earlier verification printed it"))
}
