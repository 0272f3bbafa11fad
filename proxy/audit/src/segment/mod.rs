//! A segment: one file of the record, a header, blocks of records, and a signed seal once it is complete.
//!
//! ```text
//! header (312 bytes) │ block │ block │ … │ seal
//! ```
//!
//! Each block's hash is over the one before, the first over the header's, so that the last one stands for all bytes
//! before it. docs/record-format.md tells each byte.

mod block;
mod header;
mod reader;
mod seal;
#[cfg(test)]
mod vector;
mod walk;

use std::fmt;
use std::path::{Path, PathBuf};

pub(crate) use block::{Block, NewBlock, records};
pub(crate) use header::{HEADER_BYTES, Header};
pub(crate) use reader::{Item, SegmentReader};
pub(crate) use seal::{BLOCKS_MAX, BlockPlace, END_BYTES, Seal, of_end};
pub(crate) use walk::{WalkReason, Walked, walk};

/// What the names of segments end with.
const EXTENSION: &str = "slr";

/// The name of segment `number`; names sort as numbers do.
pub(crate) fn file_name(number: u64) -> String {
    format!("segment-{number:020}.{EXTENSION}")
}

/// The name of what stands where segment `number` was deleted.
pub(crate) fn tombstone_name(number: u64) -> String {
    format!("segment-{number:020}.tombstone")
}

/// What the file names of a record say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    Segment(u64),
    Tombstone(u64),
}

/// What the name says; none where it is another file's.
pub(crate) fn named(name: &str) -> Option<Named> {
    let (digits, extension) = name.strip_prefix("segment-")?.split_once('.')?;
    let is_number = digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit());
    let number = digits.parse().ok().filter(|_| is_number)?;
    match extension {
        EXTENSION => Some(Named::Segment(number)),
        "tombstone" => Some(Named::Tombstone(number)),
        _ => None,
    }
}

/// The segments and tombstones of a folder, by number.
///
/// # Errors
/// Where it can't be listed.
pub(crate) fn list(folder: &Path) -> std::io::Result<Vec<(Named, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if let Some(named) = entry.file_name().to_str().and_then(named) {
            found.push((named, entry.path()));
        }
    }
    found.sort_by_key(|(named, _)| match *named {
        Named::Segment(number) => (number, 0),
        Named::Tombstone(number) => (number, 1),
    });
    Ok(found)
}

/// Why bytes are no segment, and where.
#[derive(Debug)]
pub(crate) struct SegmentFault {
    /// The offset in the file where what is wrong begins.
    pub(crate) offset: u64,
    pub(crate) reason: FaultReason,
}

#[derive(Debug)]
pub(crate) enum FaultReason {
    Io(std::io::Error),
    /// The file ends inside of something.
    Cut,
    Header(&'static str),
    Block(&'static str),
    Seal(&'static str),
    /// There is something after the seal.
    AfterSeal,
    /// Neither a block nor a seal begins here.
    NoMagic,
}

impl fmt::Display for FaultReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FaultReason::Io(e) => write!(f, "it can't be read: {e}"),
            FaultReason::Cut => f.write_str("the file ends in the middle"),
            FaultReason::Header(why) => write!(f, "the header {why}"),
            FaultReason::Block(why) => write!(f, "the block {why}"),
            FaultReason::Seal(why) => write!(f, "the seal {why}"),
            FaultReason::AfterSeal => f.write_str("there are bytes after the seal"),
            FaultReason::NoMagic => f.write_str("neither a block nor a seal begins here"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_numbers_and_others_say_nothing() {
        assert_eq!(named(&file_name(7)), Some(Named::Segment(7)));
        assert_eq!(named(&tombstone_name(u64::MAX)), Some(Named::Tombstone(u64::MAX)));
        for name in
            ["segment-7.slr", "segment-0000000000000000000x.slr", "HEAD", "segment-00000000000000000007.tmp"]
        {
            assert_eq!(named(name), None, "{name}");
        }
    }
}
