//! The commands that read the record.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

/// The key of an encrypted record.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RecordKeyArgs {
    /// The key of an encrypted record, 64 hex digits: env:NAME or file:PATH
    #[arg(long, value_name = "REF")]
    pub(crate) encryption_key: Option<String>,
}

/// Where the record is.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RecordArgs {
    /// The folder of the record
    #[arg(long, value_name = "DIR", default_value = "record")]
    pub(crate) dir: PathBuf,
    /// The index [default: index.sqlite in DIR]; it is made of the segments, and may be removed at any time
    #[arg(long, value_name = "FILE")]
    pub(crate) index: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) key: RecordKeyArgs,
}

/// The record: list, show, replay, export sessions.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Examples:\n  sluice sessions list --dir /var/lib/sluice/record --verdict block --since 2026-11-22\n  sluice sessions replay --dir record 0192f0…"
)]
pub(crate) enum SessionsCommand {
    List(ListArgs),
    /// Print the records of a session as they stand in the record
    Show {
        #[command(flatten)]
        record: RecordArgs,
        /// The session
        id: String,
    },
    Replay(ReplayArgs),
    Export(ExportArgs),
    /// List the steps of a chain of thought with their verdicts, and what led to a privileged action
    Chain {
        #[command(flatten)]
        record: RecordArgs,
        /// The chain
        id: String,
        /// JSON Lines
        #[arg(long)]
        json: bool,
    },
    /// Make the index anew
    Index {
        #[command(flatten)]
        record: RecordArgs,
    },
}

/// List sessions, the newest first; all filters that are given must hold.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) record: RecordArgs,
    /// The subject's id
    #[arg(long, value_name = "ID")]
    pub(crate) subject: Option<String>,
    /// Not before: 2026-11-22 or 2026-11-22T04:05:06Z
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Before
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// The upstream
    #[arg(long, value_name = "NAME")]
    pub(crate) upstream: Option<String>,
    /// The verdict
    #[arg(long, value_enum, value_name = "V")]
    pub(crate) verdict: Option<VerdictArg>,
    /// A policy that made the verdict
    #[arg(long, value_name = "ID")]
    pub(crate) policy: Option<String>,
    /// An entity that was masked
    #[arg(long, value_name = "E")]
    pub(crate) entity: Option<String>,
    /// The chain of thought
    #[arg(long, value_name = "ID")]
    pub(crate) chain: Option<String>,
    /// So many at most
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) limit: u32,
    /// JSON Lines
    #[arg(long)]
    pub(crate) json: bool,
}

/// Tell a session again: a conversation with a model as one, anything else frame by frame.
#[derive(Debug, clap::Args)]
pub(crate) struct ReplayArgs {
    #[command(flatten)]
    pub(crate) record: RecordArgs,
    /// The session
    pub(crate) id: String,
    /// How many times as fast as it was; 0: without waiting
    #[arg(long, value_name = "X", default_value_t = 1.0, value_parser = speed)]
    pub(crate) speed: f64,
}

fn speed(text: &str) -> Result<f64, String> {
    let speed: f64 = text.parse().map_err(|_| "expected a number".to_owned())?;
    let is_within = speed == 0.0 || (0.001..=1e6).contains(&speed);
    if is_within { Ok(speed) } else { Err("expected 0, or 0.001 to 1000000".to_owned()) }
}

/// Write a session to standard output in another form.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("form").required(true))]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    pub(crate) record: RecordArgs,
    /// The session
    pub(crate) id: String,
    /// HAR 1.2
    #[arg(long, group = "form")]
    pub(crate) har: bool,
    /// Its records, one a line, byte for byte as they are hashed
    #[arg(long, group = "form")]
    pub(crate) jsonl: bool,
    /// Its frames as an asciicast, version 2
    #[arg(long, group = "form")]
    pub(crate) asciicast: bool,
}

/// A verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum VerdictArg {
    /// It went on
    Allow,
    /// It went on, masked
    Mask,
    /// It needed an approval
    Approve,
    /// It was refused
    Block,
}

/// The record, held against its signatures.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    Verify(VerifyArgs),
    Retain(RetainArgs),
    /// Hold segments, so that retention deletes none of them
    Hold {
        /// The folder of the record
        #[arg(value_name = "DIR")]
        folder: PathBuf,
        /// The hold's name: `a`-`z`, `0`-`9`, `-`
        name: String,
        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Segments with records from then on: 2026-11-22 or 2026-11-22T04:05:06Z [default: from the beginning]
        #[arg(long, value_name = "TIME")]
        from: Option<String>,
        /// Segments with records before then [default: whatever comes]
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
    },
    /// Let held segments go
    Release {
        /// The folder of the record
        #[arg(value_name = "DIR")]
        folder: PathBuf,
        /// The hold's name
        name: String,
    },
}

/// Delete the oldest sealed segments, each behind a signed tombstone; never the last, a held, or a bad one.
#[derive(Debug, clap::Args)]
pub(crate) struct RetainArgs {
    /// The folder of the record
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// The key that signs tombstones, PEM: env:NAME or file:PATH
    #[arg(long, value_name = "REF")]
    pub(crate) signing_key: String,
    /// Segments sealed longer ago go
    #[arg(long, value_name = "N", required_unless_present = "bytes")]
    pub(crate) days: Option<u32>,
    /// The oldest go until the rest has so many bytes
    #[arg(long, value_name = "N")]
    pub(crate) bytes: Option<u64>,
    #[command(flatten)]
    pub(crate) key: RecordKeyArgs,
}

/// Verify a record offline: every hash, the chain, every root and signature.
///
/// Exit: 0 it is good; 1 the first record that is wrong, and why; 2 usage.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  sluice audit verify /var/lib/sluice/record --key record.pub")]
pub(crate) struct VerifyArgs {
    /// The folder of the record
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// A public key that is trusted: a PEM file, or 64 hex digits; may be given again. A key that it endorsed is too
    #[arg(long = "key", value_name = "KEY")]
    pub(crate) keys: Vec<String>,
    /// A record that must still be there, as an earlier verification printed it: NUMBER:HASH
    #[arg(long, value_name = "PIN")]
    pub(crate) pin: Option<String>,
    #[command(flatten)]
    pub(crate) key: RecordKeyArgs,
}
