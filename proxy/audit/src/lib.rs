//! The record of exchanges: what was asked, by whom, under which policy, what was masked, who approved, what came back.
//!
//! Records are JSON in segments, chained by their hashes; a segment that is complete carries a signed root. Everything
//! here is synchronous and knows no runtime: the writer is a thread, and what awaits it needs a waker alone.
#![forbid(unsafe_code)]

mod ack;
mod archive;
mod digest;
mod fields;
mod hash;
mod head;
mod key;
mod log;
mod record;
mod recorder;
mod replay;
mod request_id;
mod sealed;
mod segment;
mod tombstone;
mod verify;

pub use ack::{Ack, Durable, NotDurable};
pub use archive::{Archive, ArchiveError, Cursor, Entry, Place, Read, Tail};
pub use digest::DigestKey;
pub use hash::{Hash, HashError};
pub use key::{EncryptionKey, KeyError, PublicKey, SigningKey};
pub use log::{LogError, LogOptions, SEGMENT_BYTES, SEGMENT_SECONDS};
pub use record::{
    ApprovalEvent, Caller, Context, Decision, Direction, End, FrameKind, Gap, Head, Kind, NewRecord, Payload,
    RECORD_COST_MAX, Record, Span, VerdictName,
};
pub use recorder::{
    Durability, QUEUE_BYTES, QUEUE_RECORDS, RETRY_MS, Recorder, RecorderOptions, RecorderStats, Refused,
    Room, SYNC_MS, Writer,
};
pub use replay::{ChainStep, Piece, Voice, asciicast, chain, from_rfc3339, har, replay, rfc3339, visible};
pub use request_id::{RequestId, RequestIdError, RequestIds};
pub use sealed::{
    Hold, Retention, SealedError, SealedSegment, hold, holds, release, retain, sealed_segments,
};
pub use tombstone::Tombstone;
pub use verify::{Verified, VerifyFault, VerifyOptions, verify};
