//! The record on the disk, as its one writer has it: append, commit, seal.
//!
//! ```text
//! open ── append* ── commit ──▶ durable, head written ── full or old ──▶ sealed ──▶ the next segment
//!   │         any error: this log is dropped, and opened anew
//!   └── recovery: what an unfinished write left is cut off, the segment sealed, a gap told
//! ```
//!
//! After an error nothing is written to the same file again: after a failed sync nobody knows what the kernel kept, so
//! the truth is read back from the disk. A segment that was not sealed is never continued either, which makes each
//! nonce of its encryption stand once.

mod disk;
mod error;
mod recover;
#[cfg(test)]
pub(crate) mod tests;

use std::path::PathBuf;

use crate::hash::{Hash, Merkle};
use crate::head::{HEAD_FILE, Head, HeadState};
use crate::key::{EncryptionKey, PublicKey, SegmentCipher, SigningKey, endorsed, random};
use crate::record::{Gap, NewRecord, write};
use crate::segment::{BLOCKS_MAX, Block, BlockPlace, Header, NewBlock, Seal, file_name};

pub(crate) use disk::{Disk, DiskFile, SystemDisk};
pub use error::LogError;
pub(crate) use recover::lock;

/// Bytes of a segment, where nothing is said.
pub const SEGMENT_BYTES: u64 = 64 << 20;
/// Seconds that a segment is written to, where nothing is said.
pub const SEGMENT_SECONDS: u64 = 3_600;

/// Where the record is, and its keys.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// The folder; it is made where it is not there.
    pub folder: PathBuf,
    /// The key that signs.
    pub signing_key: SigningKey,
    /// The key that signed before: it vouches for the new one, and seals what it left open.
    pub previous_key: Option<SigningKey>,
    /// The key that encrypts; none: the record is not encrypted.
    pub encryption_key: Option<EncryptionKey>,
    /// Bytes after which a segment is sealed.
    pub segment_bytes_max: u64,
    /// Seconds after which a segment is sealed.
    pub segment_seconds_max: u64,
}

impl LogOptions {
    /// With defaults.
    #[must_use]
    pub fn new(folder: PathBuf, signing_key: SigningKey) -> LogOptions {
        LogOptions {
            folder,
            signing_key,
            previous_key: None,
            encryption_key: None,
            segment_bytes_max: SEGMENT_BYTES,
            segment_seconds_max: SEGMENT_SECONDS,
        }
    }

    /// The key whose public half is this.
    fn key_of(&self, public: &PublicKey) -> Option<&SigningKey> {
        [Some(&self.signing_key), self.previous_key.as_ref()]
            .into_iter()
            .flatten()
            .find(|key| key.public() == *public)
    }
}

/// Where the chain ends.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Chain {
    log: [u8; 16],
    /// The last segment; 0: there is none.
    number: u64,
    next_seq: u64,
    last_record: Hash,
    last_block: Hash,
    /// The seal of the last segment; zero where it has none.
    seal: Hash,
    /// The key of the last segment.
    key: Option<PublicKey>,
}

/// The signed seal of a segment whose blocks are these.
fn sealed(
    header: &Header,
    chain: &Chain,
    root: Hash,
    places: Vec<BlockPlace>,
    key: &SigningKey,
    now_ns: u64,
) -> Seal {
    let mut seal = Seal {
        records: chain.next_seq - header.first_seq,
        first_seq: header.first_seq,
        last_seq: chain.next_seq - 1,
        sealed_wall_ns: now_ns,
        last_record: chain.last_record,
        last_block: chain.last_block,
        root,
        places,
        signature: [0; 64],
    };
    seal.sign(key);
    seal
}

/// The segment that is written.
struct OpenSegment {
    file: Box<dyn DiskFile>,
    header: Header,
    cipher: Option<SegmentCipher>,
    places: Vec<BlockPlace>,
    merkle: Merkle,
    /// Bytes of it.
    offset: u64,
    /// Its name is durable too.
    is_named: bool,
}

/// The record, opened to be written.
pub(crate) struct Log {
    options: LogOptions,
    disk: Box<dyn Disk>,
    head_file: Box<dyn DiskFile>,
    head_counter: u64,
    chain: Chain,
    open: Option<OpenSegment>,
    /// Bytes of an unfinished write that were cut off at opening; none: the record had been closed.
    pub(crate) cut: Option<u64>,
    /// Bytes of blocks that were appended since it was opened.
    bytes: u64,
}

impl Log {
    /// The number of the last record.
    #[cfg(test)]
    pub(crate) fn last_seq(&self) -> u64 {
        self.chain.next_seq - 1
    }

    /// Bytes of blocks that were appended since it was opened.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Appends these records as one block. They are not durable before [`Log::commit`].
    pub(crate) fn append<'a>(
        &mut self,
        records: impl IntoIterator<Item = (&'a NewRecord, Option<&'a Gap>)>,
        now_ns: u64,
    ) -> Result<(), LogError> {
        let segment = match self.open.take() {
            Some(open) => open,
            None => self.create(now_ns)?,
        };
        let open = self.open.insert(segment);
        let path = self.options.folder.join(file_name(open.header.number));
        let (mut raw, mut count, mut first_wall_ns) = (Vec::new(), 0u32, None);
        let mut chain = self.chain.clone();
        for (record, gap) in records {
            let begin = raw.len();
            raw.extend_from_slice(&[0; 4]);
            let hash = write(record, gap, chain.next_seq, chain.last_record, &mut raw);
            chain.last_record = hash.map_err(|e| LogError::io("serialise for", &path)(e.into()))?;
            // A record is far shorter than 4 GiB: its cost is bounded.
            let length = (raw.len() - begin - 4) as u32;
            if let Some(prefix) = raw.get_mut(begin..begin + 4) {
                prefix.copy_from_slice(&length.to_le_bytes());
            }
            chain.next_seq += 1;
            count += 1;
            first_wall_ns = first_wall_ns.or(Some(record.wall_ns));
            open.merkle.push(&chain.last_record);
        }
        let new = NewBlock {
            raw: &raw,
            records: count,
            first_seq: self.chain.next_seq,
            first_wall_ns: first_wall_ns.unwrap_or(now_ns),
            nonce: open.places.len() as u64,
            previous: chain.last_block,
        };
        let block = Block::new(&new, open.cipher.as_ref()).map_err(LogError::io("compress for", &path))?;
        let bytes = block.to_bytes();
        open.file.write_at(&bytes, open.offset).map_err(LogError::io("write", &path))?;
        open.places.push(BlockPlace {
            offset: open.offset,
            first_seq: new.first_seq,
            first_wall_ns: new.first_wall_ns,
            records: count,
            stored_bytes: block.header.stored_bytes,
        });
        open.offset += bytes.len() as u64;
        self.bytes += bytes.len() as u64;
        chain.last_block = block.header.hash;
        self.chain = chain;
        Ok(())
    }

    /// Makes all that was appended durable, and says so in the head.
    pub(crate) fn commit(&mut self) -> Result<(), LogError> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let path = self.options.folder.join(file_name(open.header.number));
        open.file.sync().map_err(LogError::io("sync", &path))?;
        if !open.is_named {
            let folder = &self.options.folder;
            self.disk.sync_folder(folder).map_err(LogError::io("sync", folder))?;
            open.is_named = true;
        }
        self.write_head(HeadState::Open)
    }

    /// Whether the open segment should be sealed now.
    pub(crate) fn is_due(&self, now_ns: u64) -> bool {
        self.open.as_ref().is_some_and(|open| {
            let age_ns = now_ns.saturating_sub(open.header.created_wall_ns);
            let is_old = age_ns >= self.options.segment_seconds_max.saturating_mul(1_000_000_000);
            is_old || open.offset >= self.options.segment_bytes_max || open.places.len() >= BLOCKS_MAX
        })
    }

    /// Seals the open segment, where there is one.
    pub(crate) fn seal(&mut self, now_ns: u64) -> Result<(), LogError> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        let path = self.options.folder.join(file_name(open.header.number));
        let Some(key) = self.options.key_of(&open.header.key) else { return Ok(()) };
        let seal = sealed(&open.header, &self.chain, open.merkle.root(), open.places, key, now_ns);
        open.file.write_at(&seal.to_bytes(), open.offset).map_err(LogError::io("write", &path))?;
        open.file.sync().map_err(LogError::io("sync", &path))?;
        self.chain.seal = seal.id();
        self.write_head(HeadState::Sealed)?;
        self.sync_head()
    }

    /// Seals, and says that the record was closed.
    pub(crate) fn close(mut self, now_ns: u64) -> Result<(), LogError> {
        self.seal(now_ns)?;
        self.write_head(HeadState::Closed)?;
        self.sync_head()
    }

    fn create(&mut self, now_ns: u64) -> Result<OpenSegment, LogError> {
        let options = &self.options;
        let key = options.signing_key.public();
        let number = self.chain.number + 1;
        let is_new_key = self.chain.key.is_some_and(|before| before != key);
        let before = self.chain.key.filter(|_| is_new_key);
        let endorser = before.and_then(|before| options.key_of(&before));
        let endorsement = endorser.map(|old| old.sign(&endorsed(&self.chain.log, number, &key)));
        let header = Header {
            is_encrypted: options.encryption_key.is_some(),
            log: self.chain.log,
            number,
            first_seq: self.chain.next_seq,
            created_wall_ns: now_ns,
            previous_seal: self.chain.seal,
            previous_record: self.chain.last_record,
            previous_block: self.chain.last_block,
            key,
            endorsement: endorsement.unwrap_or([0; 64]),
            salt: random().map_err(LogError::key)?,
        };
        let path = options.folder.join(file_name(number));
        let bytes = header.to_bytes();
        let mut file = self.disk.create(&path).map_err(LogError::io("create", &path))?;
        file.write_at(&bytes, 0).map_err(LogError::io("write", &path))?;
        let (_, hash) = Header::parse(&bytes).map_err(|why| LogError::damaged(&path, why))?;
        let cipher = options.encryption_key.as_ref().map(|k| k.of_segment(&header.log, number, &header.salt));
        self.chain.number = number;
        self.chain.last_block = hash;
        self.chain.seal = Hash::ZERO;
        self.chain.key = Some(key);
        Ok(OpenSegment {
            file,
            header,
            cipher,
            places: Vec::new(),
            merkle: Merkle::default(),
            offset: bytes.len() as u64,
            is_named: false,
        })
    }

    fn write_head(&mut self, state: HeadState) -> Result<(), LogError> {
        self.head_counter += 1;
        let head = Head {
            state,
            log: self.chain.log,
            number: self.chain.number,
            seq: self.chain.next_seq - 1,
            counter: self.head_counter,
            last_record: self.chain.last_record,
            last_block: self.chain.last_block,
            seal: self.chain.seal,
            key: self.options.signing_key.public(),
        };
        let path = self.options.folder.join(HEAD_FILE);
        let bytes = head.to_bytes(&self.options.signing_key);
        self.head_file.write_at(&bytes, head.offset()).map_err(LogError::io("write", &path))
    }

    fn sync_head(&mut self) -> Result<(), LogError> {
        let path = self.options.folder.join(HEAD_FILE);
        self.head_file.sync().map_err(LogError::io("sync", &path))
    }
}
