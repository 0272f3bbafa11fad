//! The record as a configuration asks for it: keys read from their files, the writer started.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use sluice_audit::{
    Ack, ApprovalEvent, Caller, Context, Decision, Durability, Kind, NewRecord, Payload, Recorder,
    RecorderStats, VerdictName, Writer,
};
use sluice_data::Recording;

use crate::approvals::{Recorded, SinkError, Transition, TransitionSink};
use crate::config::RecordConfig;

/// A record that is being written.
#[derive(Debug)]
pub struct RunningRecord {
    recording: Recording,
    writer: Writer,
}

/// Why nothing can be recorded. It holds nothing of a key.
#[derive(Debug)]
pub struct RecordError(String);

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RecordError {}

impl RunningRecord {
    /// Opens the record, recovers what was left of it, and starts its writer.
    ///
    /// # Errors
    /// A key can't be read, or the record can't be written or is damaged.
    pub fn start(config: &RecordConfig) -> Result<RunningRecord, RecordError> {
        let folder = config.dir.display();
        std::fs::create_dir_all(&config.dir)
            .map_err(|e| RecordError(format!("can't make the folder {folder}: {e}")))?;
        let in_folder = |e: &dyn fmt::Display| RecordError(format!("{folder}: {e}"));
        let options = config.recorder().map_err(|e| in_folder(&e))?;
        let (recorder, writer) = Recorder::start(options).map_err(|e| in_folder(&e))?;
        // In `relaxed` what is written counts as recorded, and nothing waits for the disk.
        let strict = matches!(config.durability, Durability::Strict);
        let digests = config.digest_key.clone();
        let recording = Recording { recorder, strict, strict_response: config.strict_response, digests };
        Ok(RunningRecord { recording, writer })
    }

    /// What the shards are given.
    #[must_use]
    pub fn recording(&self) -> Recording {
        self.recording.clone()
    }

    /// How the writer is doing, to be asked at any time.
    pub fn stats(&self) -> impl Fn() -> RecorderStats + Send + Sync + 'static {
        let recorder = self.recording.recorder.clone();
        move || recorder.stats()
    }

    /// Writes what waits, seals the segment and ends. It waits for the disk.
    ///
    /// # Errors
    /// The disk does not take it.
    pub fn close(self) -> Result<(), RecordError> {
        self.writer.close().map_err(|e| RecordError(e.to_string()))
    }
}

/// What happens to approvals, in the record of exchanges.
#[derive(Debug)]
pub struct ApprovalRecord {
    recording: Recording,
    since: Instant,
}

impl ApprovalRecord {
    /// In this record.
    #[must_use]
    pub fn new(recording: Recording) -> ApprovalRecord {
        ApprovalRecord { recording, since: Instant::now() }
    }

    fn record(&self, transition: &Transition) -> NewRecord {
        let text = |account: &crate::approvals::Account| format!("{}:{}", account.issuer, account.id);
        let subject = Caller {
            issuer: transition.subject.issuer.to_string(),
            id: transition.subject.id.to_string(),
            ..Caller::default()
        };
        let id = transition.request_id.parse().unwrap_or_default();
        NewRecord {
            wall_ns: u64::try_from(transition.at_ms).unwrap_or(0).saturating_mul(1_000_000),
            mono_ns: self.since.elapsed().as_nanos() as u64,
            kind: Kind::Approval,
            context: Arc::new(Context {
                session: id,
                request: id,
                subject: Some(subject),
                upstream: transition.upstream.to_string(),
                ..Context::default()
            }),
            decision: Some(Arc::new(Decision {
                policies: transition.policies.iter().map(|id| id.to_string()).collect(),
                policy_version: transition.policy_version.to_string(),
                verdict: Some(VerdictName::Approve),
                approval: Some(transition.approval.to_string()),
            })),
            payload: Payload::Approval(ApprovalEvent {
                id: transition.approval.to_string(),
                state: transition.to.name().to_owned(),
                by: transition.who.as_ref().map(text).unwrap_or_default(),
                reason: transition.why.clone(),
            }),
            ..NewRecord::default()
        }
    }
}

impl TransitionSink for ApprovalRecord {
    fn record<'a>(&'a self, transition: &'a Transition) -> Recorded<'a> {
        Box::pin(async move {
            let record = ApprovalRecord::record(self, transition);
            let (ack, durable) = Ack::new();
            self.recording.recorder.room().await.map_err(|_| SinkError)?;
            self.recording.recorder.record(record, Some(ack)).map_err(|_| SinkError)?;
            durable.await.map_err(|_| SinkError)
        })
    }
}
