//! Reads a record while it is written or afterwards: from its beginning, from where one stopped, or one block by its
//! place. Each record's hash is checked, and that it follows the one before; signatures are [`crate::verify`]'s.

use std::fmt;
use std::fs::File;
use std::io::{BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::hash::Hash;
use crate::key::{EncryptionKey, SegmentCipher};
use crate::record::{Record, hashes};
use crate::segment::{
    Block, FaultReason, HEADER_BYTES, Item, Named, SegmentFault, SegmentReader, file_name, list, records,
    tombstone_name,
};
use crate::tombstone::Tombstone;

/// A record can't be read.
#[derive(Debug)]
pub struct ArchiveError {
    file: PathBuf,
    offset: u64,
    reason: String,
}

impl fmt::Display for ArchiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: byte {}: {}", self.file.display(), self.offset, self.reason)
    }
}

impl std::error::Error for ArchiveError {}

/// Where a block is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The segment's number.
    pub segment: u64,
    /// Bytes from its beginning.
    pub offset: u64,
}

/// How far a record was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Where the next block is; all zero: at the very beginning.
    pub place: Place,
    /// The hash of the block before.
    pub block: Hash,
    /// The hash of the last record.
    pub record: Hash,
}

/// A record as it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The record.
    pub record: Record,
    /// Its JSON, as it is hashed.
    pub json: String,
}

/// The record in a folder.
#[derive(Clone, Debug)]
pub struct Archive {
    folder: PathBuf,
    key: Option<EncryptionKey>,
}

type Reader = SegmentReader<BufReader<File>>;

impl Archive {
    /// The record in `folder`; `key` opens it where it is encrypted.
    #[must_use]
    pub fn new(folder: &Path, key: Option<EncryptionKey>) -> Archive {
        Archive { folder: folder.to_owned(), key }
    }

    /// Which record it is, in hex; none where there is no segment.
    ///
    /// # Errors
    /// Where the folder or a segment can't be read.
    pub fn id(&self) -> Result<Option<String>, ArchiveError> {
        for (named, path) in self.files()? {
            if let Named::Segment(_) = named {
                let (reader, _) = self.reader(&path, 0)?;
                return Ok(Some(crate::hash::to_hex(&reader.header.log)));
            }
        }
        Ok(None)
    }

    fn files(&self) -> Result<Vec<(Named, PathBuf)>, ArchiveError> {
        list(&self.folder).map_err(|e| fault(&self.folder, 0, e))
    }

    fn reader(&self, path: &Path, offset: u64) -> Result<(Reader, Option<SegmentCipher>), ArchiveError> {
        let wrong = |e: SegmentFault| fault(path, e.offset, e.reason);
        let file = File::open(path).map_err(|e| fault(path, 0, e))?;
        let mut reader = SegmentReader::new(BufReader::new(file)).map_err(wrong)?;
        if offset > reader.offset {
            let mut file = File::open(path).map_err(|e| fault(path, 0, e))?;
            file.seek(SeekFrom::Start(offset)).map_err(|e| fault(path, offset, e))?;
            let (header, hash) = (reader.header, reader.header_hash);
            reader = SegmentReader::resume(BufReader::new(file), header, hash, offset);
        }
        let header = &reader.header;
        let cipher = match (&self.key, header.is_encrypted) {
            (Some(key), true) => Some(key.of_segment(&header.log, header.number, &header.salt)),
            (None, true) => return Err(fault(path, 0, "it is encrypted, and no key was given")),
            (_, false) => None,
        };
        Ok((reader, cipher))
    }

    /// The records of the block at this place.
    ///
    /// # Errors
    /// Where there is none, or it is damaged.
    pub fn block(&self, place: Place) -> Result<Vec<Entry>, ArchiveError> {
        let path = self.folder.join(file_name(place.segment));
        let (mut reader, cipher) = self.reader(&path, place.offset)?;
        match reader.next() {
            Ok(Some(Item::Block(block))) => {
                entries(&block, cipher.as_ref(), None).map_err(|why| fault(&path, place.offset, why))
            }
            Ok(_) => Err(fault(&path, place.offset, "no block begins here")),
            Err(e) => Err(fault(&path, e.offset, e.reason)),
        }
    }

    /// Reads from here on.
    #[must_use]
    pub fn tail(&self, from: Cursor) -> Tail {
        Tail { archive: self.clone(), cursor: from, open: None, is_last_look: false }
    }
}

fn fault(file: &Path, offset: u64, reason: impl ToString) -> ArchiveError {
    ArchiveError { file: file.to_owned(), offset, reason: reason.to_string() }
}

/// A block's records; `previous`: the hash of the record before the first.
fn entries(
    block: &Block,
    cipher: Option<&SegmentCipher>,
    previous: Option<Hash>,
) -> Result<Vec<Entry>, &'static str> {
    let raw = block.raw(cipher)?;
    let (mut all, mut last) = (Vec::new(), previous);
    for json in records(&raw) {
        let json = json?;
        let (hash, said) = hashes(json).ok_or("a record does not end with its hash")?;
        let record: Record = serde_json::from_slice(json).map_err(|_| "a record is not well formed")?;
        if hash != said || last.is_some_and(|last| last != record.previous) {
            return Err("a record does not match its hash");
        }
        last = Some(hash);
        let json = String::from_utf8(json.to_vec()).map_err(|_| "a record is not UTF-8")?;
        all.push(Entry { record, json });
    }
    Ok(all)
}

/// Reads a record on and on: at its end there may be more later.
#[derive(Debug)]
pub struct Tail {
    archive: Archive,
    cursor: Cursor,
    open: Option<(Reader, Option<SegmentCipher>)>,
    /// The next segment was seen, so this one grows no more: what it may have got since is read once again.
    is_last_look: bool,
}

/// Some block's place and records.
pub type Read = (Place, Vec<Entry>);

impl Tail {
    /// How far it has read.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// The next block; none where there is none yet.
    ///
    /// # Errors
    /// Where the record can't be read, or is damaged.
    pub fn next_block(&mut self) -> Result<Option<Read>, ArchiveError> {
        loop {
            if !self.ready()? {
                return Ok(None);
            }
            let path = self.archive.folder.join(file_name(self.cursor.place.segment));
            let Some((reader, cipher)) = &mut self.open else { return Ok(None) };
            let item = match reader.next() {
                Ok(item) => item,
                // The writer is in the middle of it.
                Err(SegmentFault { reason: FaultReason::Cut, .. }) => None,
                Err(e) => return Err(fault(&path, e.offset, e.reason)),
            };
            match item {
                Some(Item::Block(block)) => {
                    let place = self.cursor.place;
                    if !block.follows(&self.cursor.block) {
                        return Err(fault(&path, place.offset, "the block does not match its hash"));
                    }
                    let all = entries(&block, cipher.as_ref(), Some(self.cursor.record));
                    let all = all.map_err(|why| fault(&path, place.offset, why))?;
                    self.cursor.block = block.header.hash;
                    self.cursor.record = all.last().map_or(self.cursor.record, |entry| entry.record.hash);
                    self.cursor.place.offset = reader.offset;
                    return Ok(Some((place, all)));
                }
                Some(Item::Seal(_)) => self.turn_to(self.cursor.place.segment + 1),
                None => {
                    // There is no seal where the writer writes, or where it was stopped and had no key.
                    self.open = None;
                    let next = self.cursor.place.segment + 1;
                    if !self.archive.folder.join(file_name(next)).exists() {
                        return Ok(None);
                    }
                    if std::mem::replace(&mut self.is_last_look, true) {
                        self.turn_to(next);
                    }
                }
            }
        }
    }

    fn turn_to(&mut self, segment: u64) {
        self.open = None;
        self.is_last_look = false;
        self.cursor.place = Place { segment, offset: 0 };
    }

    /// Opens the segment that is next; false where there is none yet.
    fn ready(&mut self) -> Result<bool, ArchiveError> {
        if self.open.is_some() {
            return Ok(true);
        }
        loop {
            let number = self.cursor.place.segment.max(1);
            self.cursor.place.segment = number;
            let path = self.archive.folder.join(file_name(number));
            if path.exists() {
                // A segment without its header was just made.
                let is_begun = std::fs::metadata(&path).is_ok_and(|m| m.len() >= HEADER_BYTES as u64);
                if !is_begun {
                    return Ok(false);
                }
                let opened = self.archive.reader(&path, self.cursor.place.offset)?;
                if self.cursor.place.offset == 0 {
                    self.cursor.place.offset = opened.0.offset;
                    self.cursor.block = opened.0.header_hash;
                    self.cursor.record = opened.0.header.previous_record;
                }
                self.open = Some(opened);
                return Ok(true);
            }
            let path = self.archive.folder.join(tombstone_name(number));
            if !path.exists() {
                return Ok(false);
            }
            let read = Tombstone::read(&path).map_err(|e| fault(&path, 0, e))?;
            let tombstone = read.ok_or_else(|| fault(&path, 0, "its signature does not hold"))?;
            self.cursor.record = tombstone.last_record;
            self.turn_to(number + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::tests::{Folder, numbered, options};
    use crate::log::{Log, SystemDisk};

    #[test]
    fn a_record_is_read_while_it_grows_and_again_from_any_cursor() {
        let folder = Folder::new("tail");
        let options = options(&folder);
        std::fs::create_dir_all(&options.folder).unwrap();
        let mut log = Log::open(options.clone(), Box::new(SystemDisk), 1).unwrap();
        let archive = Archive::new(&options.folder, None);
        let mut tail = archive.tail(Cursor::default());
        let mut cursors = Vec::new();
        for n in 1..8 {
            assert!(tail.next_block().unwrap().is_none());
            log.append([(&numbered(n), None)], n).unwrap();
            log.commit().unwrap();
            let before = tail.cursor();
            let (place, entries) = tail.next_block().unwrap().unwrap();
            assert_eq!(entries[0].record.seq, n);
            assert_eq!(archive.block(place).unwrap(), entries);
            let again: Vec<Entry> = archive.tail(before).next_block().unwrap().unwrap().1;
            assert_eq!(again, entries);
            cursors.push(before);
            if n % 3 == 0 {
                log.seal(n).unwrap();
            }
        }
        let mut all = archive.tail(Cursor::default());
        let seqs: Vec<u64> = std::iter::from_fn(|| all.next_block().unwrap())
            .flat_map(|(_, all)| all)
            .map(|e| e.record.seq)
            .collect();
        assert_eq!(seqs, [1, 2, 3, 4, 5, 6, 7]);
        assert!(archive.id().unwrap().is_some());
        assert!(archive.block(Place { segment: 1, offset: 5_000 }).is_err());
    }
}
