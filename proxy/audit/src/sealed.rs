//! Segments that are sealed: what is shipped, kept for so long, held, and at last deleted behind a signed tombstone.

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::hash::Hash;
use crate::head::{Head, HeadState};
use crate::key::{EncryptionKey, PublicKey, SigningKey};
use crate::segment::{END_BYTES, HEADER_BYTES, Header, Named, Seal, list, of_end, tombstone_name, walk};
use crate::tombstone::Tombstone;

#[cfg(test)]
mod tests;

/// The folder of holds, in that of the record.
const HOLDS: &str = "holds";
/// The longest file of a hold.
const HOLD_BYTES_MAX: u64 = 64 << 10;

/// A sealed segment can't be read, kept or deleted.
#[derive(Debug)]
pub struct SealedError {
    path: PathBuf,
    kind: SealedErrorKind,
}

#[derive(Debug)]
enum SealedErrorKind {
    Io(io::Error),
    NotSealed,
    Wrong(String),
    NoHold,
    BadName,
}

impl fmt::Display for SealedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path.display())?;
        match &self.kind {
            SealedErrorKind::Io(e) => e.fmt(f),
            SealedErrorKind::NotSealed => f.write_str("it has no seal that holds"),
            SealedErrorKind::Wrong(why) => write!(f, "{why}: it is not deleted"),
            SealedErrorKind::NoHold => f.write_str("it is no hold, so nothing is deleted"),
            SealedErrorKind::BadName => f.write_str("the name of a hold is 1 to 64 of `a`-`z`, `0`-`9`, `-`"),
        }
    }
}

impl std::error::Error for SealedError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            SealedErrorKind::Io(e) => Some(e),
            _ => None,
        }
    }
}

fn error(path: &Path, kind: SealedErrorKind) -> SealedError {
    SealedError { path: path.to_owned(), kind }
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> SealedError + '_ {
    move |e| error(path, SealedErrorKind::Io(e))
}

/// A sealed segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedSegment {
    /// Its number.
    pub number: u64,
    /// Its file.
    pub path: PathBuf,
    /// The file's length.
    pub bytes: u64,
    /// When it was begun, in nanoseconds since 1970.
    pub created_ns: u64,
    /// When it was sealed.
    pub sealed_ns: u64,
    /// Its last record.
    pub last_seq: u64,
    seal: Hash,
    last_record: Hash,
    last_block: Hash,
    log: [u8; 16],
}

impl SealedSegment {
    /// Reads the header and the seal; none where it has none yet. Nothing between them is looked at.
    fn read(path: &Path, number: u64) -> Result<Option<SealedSegment>, SealedError> {
        let mut file = File::open(path).map_err(io_error(path))?;
        let bytes = file.metadata().map_err(io_error(path))?.len();
        if bytes < (HEADER_BYTES + END_BYTES) as u64 {
            return Ok(None);
        }
        let mut header = [0; HEADER_BYTES];
        file.read_exact(&mut header).map_err(io_error(path))?;
        let mut end = [0; END_BYTES];
        file.seek(SeekFrom::Start(bytes - END_BYTES as u64)).map_err(io_error(path))?;
        file.read_exact(&mut end).map_err(io_error(path))?;
        let Some(length) = of_end(&end).filter(|length| *length as u64 <= bytes) else { return Ok(None) };
        let mut seal = vec![0; length];
        file.seek(SeekFrom::Start(bytes - length as u64)).map_err(io_error(path))?;
        file.read_exact(&mut seal).map_err(io_error(path))?;
        let not_sealed = || error(path, SealedErrorKind::NotSealed);
        let (header, _) = Header::parse(&header).map_err(|_| not_sealed())?;
        let seal = Seal::parse(&seal).filter(|seal| seal.is_signed_by(&header.key)).ok_or_else(not_sealed)?;
        Ok(Some(SealedSegment {
            number,
            path: path.to_owned(),
            bytes,
            created_ns: header.created_wall_ns,
            sealed_ns: seal.sealed_wall_ns,
            last_seq: seal.last_seq,
            seal: seal.id(),
            last_record: seal.last_record,
            last_block: seal.last_block,
            log: header.log,
        }))
    }

    /// A head that ends with this segment, both slots: what is put beside shipped segments, so that a copy of the
    /// record up to here verifies.
    #[must_use]
    pub fn head(&self, key: &SigningKey) -> Vec<u8> {
        let head = |counter| Head {
            state: HeadState::Sealed,
            log: self.log,
            number: self.number,
            seq: self.last_seq,
            counter,
            last_record: self.last_record,
            last_block: self.last_block,
            seal: self.seal,
            key: key.public(),
        };
        [head(2), head(3)].iter().flat_map(|head| head.to_bytes(key)).collect()
    }
}

/// The sealed segments of the record in `folder`, by number.
///
/// # Errors
/// Where one can't be read, or its seal does not hold.
pub fn sealed_segments(folder: &Path) -> Result<Vec<SealedSegment>, SealedError> {
    let mut all = Vec::new();
    for (named, path) in list(folder).map_err(io_error(folder))? {
        if let Named::Segment(number) = named {
            all.extend(SealedSegment::read(&path, number)?);
        }
    }
    Ok(all)
}

/// What must not be deleted, whatever its age.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// Why.
    pub reason: String,
    /// Segments that have records from then on, in nanoseconds since 1970; none: from the beginning.
    pub from_ns: Option<u64>,
    /// Segments that have records before then; none: whatever comes.
    pub until_ns: Option<u64>,
}

impl Hold {
    fn holds(&self, segment: &SealedSegment) -> bool {
        self.from_ns.is_none_or(|from| segment.sealed_ns >= from)
            && self.until_ns.is_none_or(|until| segment.created_ns < until)
    }
}

fn hold_path(folder: &Path, name: &str) -> Result<PathBuf, SealedError> {
    let is_of_name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let path = folder.join(HOLDS).join(format!("{name}.json"));
    let is_name = (1..=64).contains(&name.len()) && name.bytes().all(is_of_name);
    if is_name { Ok(path) } else { Err(error(&path, SealedErrorKind::BadName)) }
}

/// Puts a hold on the record in `folder`; one of the same name is replaced.
///
/// # Errors
/// Where it can't be written, or its name is none.
pub fn hold(folder: &Path, name: &str, hold: &Hold) -> Result<(), SealedError> {
    let path = hold_path(folder, name)?;
    let text = serde_json::to_vec(hold).map_err(|e| error(&path, SealedErrorKind::Io(e.into())))?;
    std::fs::create_dir_all(folder.join(HOLDS)).map_err(io_error(&path))?;
    replace(&path, &text)
}

/// Takes a hold off.
///
/// # Errors
/// Where there is no such hold.
pub fn release(folder: &Path, name: &str) -> Result<(), SealedError> {
    let path = hold_path(folder, name)?;
    std::fs::remove_file(&path).map_err(io_error(&path))
}

/// The holds on the record in `folder`, by name.
///
/// # Errors
/// Where one can't be read: then nobody knows what it holds.
pub fn holds(folder: &Path) -> Result<Vec<(String, Hold)>, SealedError> {
    let folder = folder.join(HOLDS);
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(error(&folder, SealedErrorKind::Io(e))),
    };
    let mut all = Vec::new();
    for entry in entries {
        let path = entry.map_err(io_error(&folder))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".json")) else {
            continue;
        };
        let mut text = Vec::new();
        let file = File::open(&path).map_err(io_error(&path))?;
        file.take(HOLD_BYTES_MAX).read_to_end(&mut text).map_err(io_error(&path))?;
        let hold = serde_json::from_slice(&text).map_err(|_| error(&path, SealedErrorKind::NoHold))?;
        all.push((name.to_owned(), hold));
    }
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(all)
}

/// Writes a whole file in the place of what was there, durably.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), SealedError> {
    let new = path.with_extension("new");
    let written =
        File::create(&new).and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    written.and_then(|()| std::fs::rename(&new, path)).map_err(io_error(path))?;
    sync_folder(path)
}

fn sync_folder(path: &Path) -> Result<(), SealedError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io_error(folder))
}

/// How long segments are kept; what is not said is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Seconds since a segment was sealed.
    pub age_seconds_max: Option<u64>,
    /// Bytes of all sealed segments together; the oldest go first.
    pub bytes_max: Option<u64>,
}

impl Retention {
    /// The segments that may go, the oldest first, each with the reason. The last one stays, for the chain ends there.
    fn choose<'a>(
        &self,
        segments: &'a [SealedSegment],
        holds: &[(String, Hold)],
        now_ns: u64,
    ) -> Vec<(&'a SealedSegment, &'static str)> {
        let mut bytes: u64 = segments.iter().map(|segment| segment.bytes).sum();
        let (_, older) = segments.split_last().unzip();
        let mut chosen = Vec::new();
        for segment in older.unwrap_or(&[]) {
            let age_ns = now_ns.saturating_sub(segment.sealed_ns);
            let is_old = self.age_seconds_max.is_some_and(|max| age_ns > max.saturating_mul(1_000_000_000));
            let is_much = self.bytes_max.is_some_and(|max| bytes > max);
            let is_held = holds.iter().any(|(_, hold)| hold.holds(segment));
            if (is_old || is_much) && !is_held {
                bytes -= segment.bytes;
                chosen.push((segment, if is_old { "age" } else { "size" }));
            }
        }
        chosen
    }
}

/// Deletes what is kept no longer and is not held, each segment behind a tombstone signed with `key`. `may_go` is asked
/// for each: where segments are shipped, whether this one was. Gives the numbers of the deleted ones.
///
/// # Errors
/// Where a segment is not good, a hold can't be read, or something can't be written: what was deleted until then has
/// its tombstone.
pub fn retain(
    folder: &Path,
    retention: &Retention,
    key: &SigningKey,
    encryption_key: Option<&EncryptionKey>,
    now_ns: u64,
    may_go: impl Fn(&SealedSegment) -> bool,
) -> Result<Vec<u64>, SealedError> {
    let (segments, holds) = (sealed_segments(folder)?, holds(folder)?);
    let mut deleted = Vec::new();
    for (segment, reason) in retention.choose(&segments, &holds, now_ns) {
        if !may_go(segment) {
            continue;
        }
        let bytes = tombstone(segment, key, &key.public(), encryption_key, now_ns, reason)?;
        replace(&folder.join(tombstone_name(segment.number)), &bytes)?;
        std::fs::remove_file(&segment.path).map_err(io_error(&segment.path))?;
        sync_folder(&segment.path)?;
        deleted.push(segment.number);
    }
    Ok(deleted)
}

/// The tombstone of a segment that is good.
fn tombstone(
    segment: &SealedSegment,
    key: &SigningKey,
    signer: &PublicKey,
    encryption_key: Option<&EncryptionKey>,
    now_ns: u64,
    reason: &str,
) -> Result<Vec<u8>, SealedError> {
    let path = &segment.path;
    let wrong = |why: String| error(path, SealedErrorKind::Wrong(why));
    let walked = walk(path, encryption_key, |_| {}).map_err(|fault| wrong(fault.reason.to_string()))?;
    if let Some(fault) = &walked.fault {
        return Err(wrong(fault.reason.to_string()));
    }
    let tombstone = Tombstone::of(&walked, signer, now_ns, reason);
    let tombstone = tombstone.ok_or_else(|| error(path, SealedErrorKind::NotSealed))?;
    tombstone.to_bytes(key).map_err(|e| error(path, SealedErrorKind::Io(e.into())))
}
