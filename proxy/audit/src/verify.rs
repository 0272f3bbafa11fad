//! Verification, offline: holds every byte of a record against its hashes, its chain and its signatures.
//!
//! What it trusts is the public keys it is given. Without any, the key of the first segment is taken at its word, which
//! shows that the record is whole and of one hand, not of whose.

use std::fmt;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use crate::hash::{Hash, to_hex};
use crate::head::{self, HEAD_FILE, Head};
use crate::key::{EncryptionKey, PublicKey, endorsed};
use crate::record::Gap;
use crate::segment::{Named, Walked, file_name, list, walk};
use crate::tombstone::Tombstone;

#[cfg(test)]
mod tests;

/// What a record is verified with.
#[derive(Clone, Debug, Default)]
pub struct VerifyOptions {
    /// The keys that are trusted; a key that one of them endorsed is too.
    pub keys: Vec<PublicKey>,
    /// Opens an encrypted record; without it only what is signed of its ciphertext is verified.
    pub encryption_key: Option<EncryptionKey>,
    /// A record and its hash that were noted earlier: they must still be there.
    pub pin: Option<(u64, Hash)>,
}

/// What was found of a record that is good.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Segments that are there.
    pub segments: u64,
    /// Segments that were deleted, each with a signed tombstone.
    pub tombstones: u64,
    /// Records that are there.
    pub records: u64,
    /// The last record's number and hash: what a later verification can be pinned to.
    pub last_seq: u64,
    /// The hash of the last record; zero where it can't be read for lack of a key.
    pub last_record: Hash,
    /// The keys that signed, in the order in which they did.
    pub keys: Vec<PublicKey>,
    /// Gaps, with the numbers of the records that tell them.
    pub gaps: Vec<(u64, Gap)>,
    /// What one should know, and is no fault.
    pub notes: Vec<String>,
}

/// The first thing that is wrong with a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyFault {
    /// The file.
    pub file: PathBuf,
    /// Where in it, in bytes.
    pub offset: u64,
    /// The first record that can't be trusted.
    pub seq: Option<u64>,
    /// Why.
    pub reason: String,
}

impl fmt::Display for VerifyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.file.display())?;
        if let Some(seq) = self.seq {
            write!(f, "record {seq}, ")?;
        }
        write!(f, "byte {}: {}", self.offset, self.reason)
    }
}

impl std::error::Error for VerifyFault {}

fn fault(file: &Path, seq: Option<u64>, reason: impl Into<String>) -> VerifyFault {
    VerifyFault { file: file.to_owned(), offset: 0, seq, reason: reason.into() }
}

/// Verifies the record in `folder`.
///
/// # Errors
/// The first thing that is wrong.
pub fn verify(folder: &Path, options: &VerifyOptions) -> Result<Verified, VerifyFault> {
    let head_path = folder.join(HEAD_FILE);
    let is_written = is_locked(folder);
    let head = read_head(folder, is_written)?;
    let (ends, found) = (Ends::default(), Verified::default());
    let mut walk = Verification { options, head: &head, ends, found, pinned: false, signers: Vec::new() };
    let files = list(folder).map_err(|e| fault(folder, None, format!("it can't be listed: {e}")))?;
    check_names(folder)?;
    let numbers = files.iter().map(|(named, _)| match *named {
        Named::Segment(number) | Named::Tombstone(number) => number,
    });
    let last = numbers.clone().max().unwrap_or(0);
    for ((named, path), at) in files.iter().zip(numbers) {
        match named {
            Named::Segment(_) => walk.segment(path, at, last, is_written)?,
            Named::Tombstone(_) if walk.ends.number == at => walk.tombstone_beside(path)?,
            Named::Tombstone(_) => walk.tombstone(path, at)?,
        }
    }
    walk.end(&head_path, is_written)
}

/// Whether a writer has the record open.
fn is_locked(folder: &Path) -> bool {
    File::open(folder.join("lock")).is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
}

/// Times that the head is read again while a writer may be in the middle of writing it.
const HEAD_TRIES: usize = 20;

fn read_head(folder: &Path, is_written: bool) -> Result<Head, VerifyFault> {
    let path = folder.join(HEAD_FILE);
    for left in (0..HEAD_TRIES).rev() {
        let read = head::read(folder);
        let read = read.map_err(|e| fault(&path, None, format!("it can't be read: {e}")))?;
        match read.head {
            Some(head) if !read.is_damaged => return Ok(head),
            _ if is_written && left > 0 => {}
            _ => break,
        }
    }
    Err(fault(&path, None, "it is damaged: what it says is not what was signed"))
}

/// Files that look like segments and are none hide something, or something was renamed.
fn check_names(folder: &Path) -> Result<(), VerifyFault> {
    let entries =
        std::fs::read_dir(folder).map_err(|e| fault(folder, None, format!("it can't be listed: {e}")))?;
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("segment-") && crate::segment::named(&name).is_none() {
            return Err(fault(&entry.path(), None, "it has the name of no segment of the record"));
        }
    }
    Ok(())
}

/// Where the chain ends so far.
#[derive(Clone, Debug, Default)]
struct Ends {
    number: u64,
    last_seq: u64,
    last_record: Hash,
    last_block: Hash,
    /// Zero where the last segment has none.
    seal: Hash,
    key: Option<PublicKey>,
}

struct Verification<'a> {
    options: &'a VerifyOptions,
    head: &'a Head,
    ends: Ends,
    found: Verified,
    /// The pinned record was seen.
    pinned: bool,
    /// Keys that signed tombstones: they may come later than what they tell of.
    signers: Vec<(PublicKey, PathBuf)>,
}

impl Verification<'_> {
    fn segment(&mut self, path: &Path, number: u64, last: u64, is_written: bool) -> Result<(), VerifyFault> {
        self.check_number(path, number)?;
        let (gaps, pin, mut pinned) = (&mut self.found.gaps, self.options.pin, false);
        let walked = walk(path, self.options.encryption_key.as_ref(), |record| {
            gaps.extend(record.gap.iter().map(|gap| (record.seq, gap.clone())));
            pinned |= pin == Some((record.seq, record.hash));
        });
        self.pinned |= pinned;
        let walked = match walked {
            Ok(walked) => walked,
            // The writer has just made it.
            Err(_) if is_written && number == last && number > self.head.number => return Ok(()),
            Err(wrong) => {
                let seq = Some(self.ends.last_seq + 1);
                return Err(VerifyFault {
                    offset: wrong.offset,
                    ..fault(path, seq, wrong.reason.to_string())
                });
            }
        };
        self.follows(path, number, &walked)?;
        if let Some(wrong) = &walked.fault {
            // What the writer is about to write.
            let is_unfinished = is_written && number == last && walked.next_seq > self.head.seq;
            if !is_unfinished {
                let reason = wrong.reason.to_string();
                return Err(VerifyFault { offset: wrong.offset, ..fault(path, wrong.seq, reason) });
            }
        }
        if walked.seal.is_none() && number < last {
            let note = format!("segment {number} has no seal; what follows it vouches for it");
            self.found.notes.push(note);
        }
        if walked.is_closed {
            let note = format!("segment {number} is encrypted: only its ciphertext was verified");
            self.found.notes.push(note);
        }
        self.found.segments += 1;
        self.found.records += walked.records();
        self.ends = Ends {
            number,
            last_seq: walked.next_seq - 1,
            last_record: if walked.is_closed && walked.seal.is_none() {
                Hash::ZERO
            } else {
                walked.last_record
            },
            last_block: walked.last_block,
            seal: walked.seal.as_ref().map_or(Hash::ZERO, crate::segment::Seal::id),
            key: Some(walked.header.key),
        };
        Ok(())
    }

    fn check_number(&self, path: &Path, number: u64) -> Result<(), VerifyFault> {
        if number == self.ends.number + 1 {
            return Ok(());
        }
        let missing = path.with_file_name(file_name(self.ends.number + 1));
        Err(fault(&missing, Some(self.ends.last_seq + 1), "it is not there, and no tombstone tells of it"))
    }

    /// Whether the segment is the one that comes next.
    fn follows(&mut self, path: &Path, number: u64, walked: &Walked) -> Result<(), VerifyFault> {
        let header = &walked.header;
        let wrong = |why: &str| Err(fault(path, Some(self.ends.last_seq + 1), why));
        if header.log != self.head.log {
            return wrong("it is of another record");
        }
        if header.number != number {
            return wrong("its name says another number than it does");
        }
        // Without its key an unsealed encrypted segment does not tell its last record; its last block stands for it.
        let is_record_known = self.ends.last_record != Hash::ZERO || self.ends.number == 0;
        let follows = header.first_seq == self.ends.last_seq + 1
            && header.previous_seal == self.ends.seal
            && header.previous_block == self.ends.last_block
            && (!is_record_known || header.previous_record == self.ends.last_record);
        if !follows {
            return wrong(
                "it does not follow the segment before: the chain forks, or something was taken out",
            );
        }
        self.trust(path, number, header.key, &header.endorsement)
    }

    /// Whether the key of segment `number` is one to believe.
    fn trust(
        &mut self,
        path: &Path,
        number: u64,
        key: PublicKey,
        endorsement: &[u8; 64],
    ) -> Result<(), VerifyFault> {
        let is_first = self.ends.key.is_none();
        let is_same = self.ends.key == Some(key);
        let is_endorsed = self
            .ends
            .key
            .is_some_and(|before| before.verifies(&endorsed(&self.head.log, number, &key), endorsement));
        let is_given = self.options.keys.contains(&key);
        let is_taken_at_its_word = is_first && self.options.keys.is_empty();
        if !(is_same || is_endorsed || is_given || is_taken_at_its_word) {
            let reason =
                format!("it is signed with the key {key}, which is not trusted and nothing vouches for");
            return Err(fault(path, Some(self.ends.last_seq + 1), reason));
        }
        if !self.found.keys.contains(&key) {
            self.found.keys.push(key);
        }
        Ok(())
    }

    fn read_tombstone(&self, path: &Path) -> Result<Tombstone, VerifyFault> {
        let seq = Some(self.ends.last_seq + 1);
        let read = Tombstone::read(path).map_err(|e| fault(path, seq, format!("it can't be read: {e}")))?;
        let tombstone = read.ok_or_else(|| fault(path, seq, "its signature does not hold"))?;
        if tombstone.log != to_hex(&self.head.log) {
            return Err(fault(path, seq, "it is of another record"));
        }
        Ok(tombstone)
    }

    /// A tombstone in the place of a segment.
    fn tombstone(&mut self, path: &Path, number: u64) -> Result<(), VerifyFault> {
        self.check_number(path, number)?;
        let tombstone = self.read_tombstone(path)?;
        let follows = tombstone.number == number
            && tombstone.first_seq == self.ends.last_seq + 1
            && tombstone.previous_seal == self.ends.seal
            && tombstone.previous_block == self.ends.last_block
            && tombstone.previous_record == self.ends.last_record;
        if !follows {
            return Err(fault(path, Some(self.ends.last_seq + 1), "it does not follow the segment before"));
        }
        let not_formed = || fault(path, Some(tombstone.first_seq), "it is not well formed");
        let key = tombstone.public_key().ok_or_else(not_formed)?;
        let endorsement = tombstone.endorsement().ok_or_else(not_formed)?;
        self.trust(path, number, key, &endorsement)?;
        self.signers.extend(tombstone.signer().map(|signer| (signer, path.to_owned())));
        self.found.tombstones += 1;
        self.ends = Ends {
            number,
            last_seq: tombstone.last_seq,
            last_record: tombstone.last_record,
            last_block: tombstone.last_block,
            seal: tombstone.seal,
            key: Some(key),
        };
        let note = format!(
            "segment {number}, records {} to {}, was deleted: {}",
            tombstone.first_seq, tombstone.last_seq, tombstone.reason
        );
        self.found.notes.push(note);
        Ok(())
    }

    /// A tombstone whose segment is still there: the deletion was cut short.
    fn tombstone_beside(&mut self, path: &Path) -> Result<(), VerifyFault> {
        let tombstone = self.read_tombstone(path)?;
        if tombstone.number != self.ends.number || tombstone.seal != self.ends.seal {
            return Err(fault(path, Some(self.ends.last_seq), "it is of another segment than stands there"));
        }
        self.found.notes.push(format!("segment {} has a tombstone and is still there", self.ends.number));
        Ok(())
    }

    /// Holds the end of the chain against the head.
    fn end(mut self, path: &Path, is_written: bool) -> Result<Verified, VerifyFault> {
        let (head, ends) = (self.head, &self.ends);
        let wrong = |seq: u64, why: String| Err(fault(path, Some(seq), why));
        let is_known = |key: &PublicKey| {
            let is_of_none = self.found.keys.is_empty() && self.options.keys.is_empty();
            is_of_none || self.found.keys.contains(key) || self.options.keys.contains(key)
        };
        if let Some((signer, path)) = self.signers.iter().find(|(signer, _)| !is_known(signer)) {
            return Err(fault(
                path,
                None,
                format!("it is signed with the key {signer}, which is not trusted"),
            ));
        }
        if !is_known(&head.key) {
            return wrong(head.seq, format!("it is signed with the key {}, which is not trusted", head.key));
        }
        if ends.number < head.number || ends.last_seq < head.seq {
            let why = format!(
                "the record ends with {}, but {} was durable: the end was cut off",
                ends.last_seq, head.seq
            );
            return wrong(ends.last_seq + 1, why);
        }
        if ends.last_seq > head.seq && !is_written && ends.seal == Hash::ZERO {
            let why = format!(
                "records behind {} are not signed: the writer was stopped before it could, or they were added; its \
                 next start keeps them and writes a gap",
                head.seq
            );
            return wrong(head.seq + 1, why);
        }
        if ends.last_seq == head.seq && ends.number == head.number {
            let is_record_known = ends.last_record != Hash::ZERO;
            let differs = ends.last_block != head.last_block
                || (is_record_known && ends.last_record != head.last_record)
                || (head.seal != Hash::ZERO && head.seal != ends.seal);
            if differs {
                return wrong(head.seq, "the end of the record is not the one that was signed".to_owned());
            }
        }
        if let Some((seq, hash)) = self.options.pin.filter(|_| !self.pinned) {
            return wrong(
                seq,
                format!("there is no record {seq} with the hash {hash}, which was noted earlier"),
            );
        }
        if is_written {
            self.found.notes.push("a writer has the record open".to_owned());
        }
        self.found.last_seq = self.ends.last_seq;
        self.found.last_record = self.ends.last_record;
        Ok(self.found)
    }
}
