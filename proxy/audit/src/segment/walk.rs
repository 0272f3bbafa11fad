//! Walks a segment and holds every byte of it against hashes, chain and signature, up to the first that is wrong.
//!
//! Recovery takes what stands before that place, verification tells of it: both mean the same by a good segment.

use std::fmt;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use super::block::records;
use super::{Block, BlockPlace, FaultReason, Header, Item, Seal, SegmentFault, SegmentReader};
use crate::hash::{Hash, Merkle};
use crate::key::{EncryptionKey, SegmentCipher};
use crate::record::{Record, hashes};

/// What is wrong in a segment.
#[derive(Debug)]
pub(crate) struct WalkFault {
    /// Where, in bytes from the beginning of the file.
    pub(crate) offset: u64,
    /// The first record that can't be trusted; none where the header is wrong.
    pub(crate) seq: Option<u64>,
    pub(crate) reason: WalkReason,
}

#[derive(Debug)]
pub(crate) enum WalkReason {
    Segment(FaultReason),
    Record(&'static str),
}

impl fmt::Display for WalkReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WalkReason::Segment(reason) => reason.fmt(f),
            WalkReason::Record(why) => write!(f, "the record {why}"),
        }
    }
}

/// What of a segment is good.
#[derive(Debug)]
pub(crate) struct Walked {
    pub(crate) header: Header,
    /// Up to here, in bytes, the file is good.
    pub(crate) good_bytes: u64,
    pub(crate) next_seq: u64,
    pub(crate) last_record: Hash,
    pub(crate) last_block: Hash,
    pub(crate) places: Vec<BlockPlace>,
    pub(crate) merkle: Merkle,
    pub(crate) seal: Option<Seal>,
    /// Its records could not be read, for lack of the key.
    pub(crate) is_closed: bool,
    pub(crate) fault: Option<WalkFault>,
}

impl Walked {
    pub(crate) fn records(&self) -> u64 {
        self.next_seq - self.header.first_seq
    }
}

/// Walks the segment in `file`. `on_record` gets each good record.
///
/// # Errors
/// Where there is no good header, so nothing at all is good.
pub(crate) fn walk(
    file: &Path,
    key: Option<&EncryptionKey>,
    mut on_record: impl FnMut(&Record),
) -> Result<Walked, WalkFault> {
    let no_header = |fault: SegmentFault| WalkFault {
        offset: fault.offset,
        seq: None,
        reason: WalkReason::Segment(fault.reason),
    };
    let opened = File::open(file).map_err(|e| SegmentFault { offset: 0, reason: FaultReason::Io(e) });
    let mut reader = SegmentReader::new(BufReader::new(opened.map_err(no_header)?)).map_err(no_header)?;
    let header = reader.header.clone();
    let cipher =
        key.filter(|_| header.is_encrypted).map(|k| k.of_segment(&header.log, header.number, &header.salt));
    let mut walked = Walked {
        good_bytes: reader.offset,
        next_seq: header.first_seq,
        last_record: header.previous_record,
        last_block: reader.header_hash,
        places: Vec::new(),
        merkle: Merkle::default(),
        seal: None,
        is_closed: header.is_encrypted && cipher.is_none(),
        fault: None,
        header,
    };
    loop {
        let item = match reader.next() {
            Ok(Some(item)) => item,
            Ok(None) => return Ok(walked),
            Err(fault) => {
                let seq = Some(walked.next_seq);
                let reason = WalkReason::Segment(fault.reason);
                walked.fault = Some(WalkFault { offset: fault.offset, seq, reason });
                return Ok(walked);
            }
        };
        let taken = match item {
            Item::Block(block) => walked.take_block(&block, cipher.as_ref(), &mut on_record),
            Item::Seal(seal) => walked.take_seal(seal),
        };
        if let Err((seq, reason)) = taken {
            walked.fault = Some(WalkFault { offset: walked.good_bytes, seq: Some(seq), reason });
            return Ok(walked);
        }
        walked.good_bytes = reader.offset;
    }
}

/// The first record that is wrong, and why.
type Wrong = (u64, WalkReason);

impl Walked {
    fn take_block(
        &mut self,
        block: &Block,
        cipher: Option<&SegmentCipher>,
        on_record: &mut impl FnMut(&Record),
    ) -> Result<(), Wrong> {
        let wrong = |why| Err((self.next_seq, WalkReason::Segment(FaultReason::Block(why))));
        let header = &block.header;
        if !block.follows(&self.last_block) {
            return Err(self.first_wrong(block, cipher));
        }
        if header.first_seq != self.next_seq {
            return wrong("has records that are not the next ones");
        }
        if !self.is_closed {
            let mut tail =
                Tail { next_seq: self.next_seq, last: self.last_record, merkle: self.merkle.clone() };
            let raw = block.raw(cipher);
            let raw = raw.map_err(|why| (self.next_seq, WalkReason::Segment(FaultReason::Block(why))))?;
            let mut good = Vec::new();
            for json in records(&raw) {
                let json =
                    json.map_err(|why| (tail.next_seq, WalkReason::Segment(FaultReason::Block(why))))?;
                good.push(tail.take(json)?);
            }
            let starts = good.first().map(|record| record.wall_ns);
            if good.len() != header.records as usize || starts != Some(header.first_wall_ns) {
                return wrong("has other records than it says");
            }
            good.iter().for_each(on_record);
            self.last_record = tail.last;
            self.merkle = tail.merkle;
        }
        self.places.push(BlockPlace {
            offset: self.good_bytes,
            first_seq: header.first_seq,
            first_wall_ns: header.first_wall_ns,
            records: header.records,
            stored_bytes: header.stored_bytes,
        });
        self.next_seq += u64::from(header.records);
        self.last_block = header.hash;
        Ok(())
    }

    /// The first wrong record of a block whose hash does not hold: what can still be read of it tells.
    fn first_wrong(&self, block: &Block, cipher: Option<&SegmentCipher>) -> Wrong {
        let mut tail = Tail { next_seq: self.next_seq, last: self.last_record, merkle: Merkle::default() };
        let raw = if self.is_closed { Err("") } else { block.raw(cipher) };
        for json in raw.iter().flat_map(|raw| records(raw)).map_while(Result::ok) {
            if let Err(wrong) = tail.take(json) {
                return wrong;
            }
        }
        (self.next_seq, WalkReason::Segment(FaultReason::Block("does not match its hash")))
    }

    fn take_seal(&mut self, seal: Seal) -> Result<(), Wrong> {
        let wrong = |why| Err((self.next_seq, WalkReason::Segment(FaultReason::Seal(why))));
        if !seal.is_signed_by(&self.header.key) {
            return wrong("is not signed by the segment's key");
        }
        let counts = seal.records == self.records()
            && seal.first_seq == self.header.first_seq
            && seal.last_seq == self.next_seq - 1;
        if !counts || seal.places != self.places || seal.last_block != self.last_block {
            return wrong("is of other blocks than stand before it");
        }
        if !self.is_closed && (seal.root != self.merkle.root() || seal.last_record != self.last_record) {
            return wrong("is of other records than stand before it");
        }
        self.last_record = seal.last_record;
        self.seal = Some(seal);
        Ok(())
    }
}

/// How far the chain was followed.
struct Tail {
    next_seq: u64,
    last: Hash,
    merkle: Merkle,
}

impl Tail {
    fn take(&mut self, json: &[u8]) -> Result<Record, Wrong> {
        let wrong = |why| Err((self.next_seq, WalkReason::Record(why)));
        let Some((hash, said)) = hashes(json) else {
            return wrong("does not end with its hash");
        };
        if hash != said {
            return wrong("does not match its hash");
        }
        let Ok(record) = serde_json::from_slice::<Record>(json) else {
            return wrong("is not well formed");
        };
        if record.previous != self.last {
            return wrong("does not follow the one before");
        }
        if record.seq != self.next_seq {
            return wrong("has another number than it should");
        }
        self.next_seq += 1;
        self.last = hash;
        self.merkle.push(&hash);
        Ok(record)
    }
}
