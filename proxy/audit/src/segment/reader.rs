//! Reads a segment from its beginning to its end, one block at a time.

use std::io::{ErrorKind, Read};

use super::block::{BLOCK_HEADER_BYTES, Block, BlockHeader, MAGIC as BLOCK};
use super::header::{HEADER_BYTES, Header};
use super::seal::{MAGIC as SEAL, Seal, blocks_of, bytes_of};
use super::{FaultReason, SegmentFault};
use crate::Hash;

/// What stands in a segment after its header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Block(Block),
    Seal(Seal),
}

/// A segment that is read. Hashes of blocks are the reader's to check, their bounds are checked here.
#[derive(Debug)]
pub(crate) struct SegmentReader<R> {
    input: R,
    /// Where the next item begins.
    pub(crate) offset: u64,
    pub(crate) header: Header,
    pub(crate) header_hash: Hash,
}

/// Reads as much as there is; fewer bytes only at the end.
fn fill(input: &mut impl Read, bytes: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match input.read(rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

impl<R: Read> SegmentReader<R> {
    pub(crate) fn new(mut input: R) -> Result<SegmentReader<R>, SegmentFault> {
        let fault = |reason| SegmentFault { offset: 0, reason };
        let mut bytes = [0; HEADER_BYTES];
        let filled = fill(&mut input, &mut bytes).map_err(|e| fault(FaultReason::Io(e)))?;
        if filled < HEADER_BYTES {
            return Err(fault(FaultReason::Cut));
        }
        let (header, header_hash) = Header::parse(&bytes).map_err(|why| fault(FaultReason::Header(why)))?;
        Ok(SegmentReader { input, offset: HEADER_BYTES as u64, header, header_hash })
    }

    /// As [`SegmentReader::new`], of a file whose header is known, from where a block begins on.
    pub(crate) fn resume(input: R, header: Header, header_hash: Hash, offset: u64) -> SegmentReader<R> {
        SegmentReader { input, offset, header, header_hash }
    }

    fn fault(&self, reason: FaultReason) -> SegmentFault {
        SegmentFault { offset: self.offset, reason }
    }

    fn exactly(&mut self, bytes: &mut [u8]) -> Result<(), SegmentFault> {
        match fill(&mut self.input, bytes) {
            Ok(filled) if filled == bytes.len() => Ok(()),
            Ok(_) => Err(self.fault(FaultReason::Cut)),
            Err(e) => Err(self.fault(FaultReason::Io(e))),
        }
    }

    /// The next block or the seal; none at the end of the file.
    pub(crate) fn next(&mut self) -> Result<Option<Item>, SegmentFault> {
        let mut magic = [0; 4];
        match fill(&mut self.input, &mut magic) {
            Ok(0) => return Ok(None),
            Ok(4) => {}
            Ok(_) => return Err(self.fault(FaultReason::Cut)),
            Err(e) => return Err(self.fault(FaultReason::Io(e))),
        }
        match &magic {
            BLOCK => self.block().map(Some),
            SEAL => self.seal().map(Some),
            _ => Err(self.fault(FaultReason::NoMagic)),
        }
    }

    fn block(&mut self) -> Result<Item, SegmentFault> {
        let mut bytes = [0; BLOCK_HEADER_BYTES];
        let (magic, rest) = bytes.split_at_mut(BLOCK.len());
        magic.copy_from_slice(BLOCK);
        self.exactly(rest)?;
        let header = BlockHeader::parse(&bytes).map_err(|why| self.fault(FaultReason::Block(why)))?;
        let mut body = vec![0; header.stored_bytes as usize];
        self.exactly(&mut body)?;
        self.offset += (BLOCK_HEADER_BYTES + body.len()) as u64;
        Ok(Item::Block(Block { header, body }))
    }

    fn seal(&mut self) -> Result<Item, SegmentFault> {
        let mut count = [0; 4];
        self.exactly(&mut count)?;
        let not_well_formed = FaultReason::Seal("is not well formed");
        let Some(blocks) = blocks_of(count) else {
            return Err(self.fault(not_well_formed));
        };
        let mut bytes = vec![0; bytes_of(blocks)];
        for (to, from) in bytes.iter_mut().zip(SEAL.iter().chain(&count)) {
            *to = *from;
        }
        if let Some(rest) = bytes.get_mut(SEAL.len() + count.len()..) {
            self.exactly(rest)?;
        }
        let Some(seal) = Seal::parse(&bytes) else {
            return Err(self.fault(not_well_formed));
        };
        self.offset += bytes.len() as u64;
        let mut more = [0];
        match fill(&mut self.input, &mut more) {
            Ok(0) => Ok(Item::Seal(seal)),
            Ok(_) => Err(self.fault(FaultReason::AfterSeal)),
            Err(e) => Err(self.fault(FaultReason::Io(e))),
        }
    }
}
