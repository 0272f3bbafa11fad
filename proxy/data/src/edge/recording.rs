//! What goes into the record of one exchange, and when it must be there.
//!
//! ```text
//!   request's head ─► durable? ─► upstream is asked ─► pieces of its body ─► durable? ─► upstream
//!   response's head, pieces of its body ─► taken, or durable where that is asked for ─► client
//!   the end, however it ends
//! ```
//!
//! What can't be recorded does not go on: before the response has begun it is a refusal, behind that the exchange is broken
//! off. All that is recorded is masked first; values of fields that prove who somebody is are never recorded.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use sluice_audit::{
    Ack, Caller, Context, Decision, DigestKey, Direction as Way, End, FrameKind, Head, Kind, NewRecord,
    Payload, Recorder, RequestId, Span, VerdictName,
};
use sluice_engine::{Format, Masker, MaskerOptions, Ruleset};
use sluice_policy::{Action, Subject};

use super::exchange::SessionContext;
use super::gate::Permit;
use crate::codec::fields::Fields;
use crate::codec::head::RequestHead;
use crate::desk::CREDENTIAL_FIELDS;
use crate::mask::{Copied, Direction, Mask};
use crate::problem::Problem;
use crate::table::{Route, Table};

/// Bytes of a payload that one record holds; a longer piece is told by several.
const PIECE_BYTES_MAX: usize = 256 * 1024;

/// How long an exchange waits for the disk.
const PUT_MAX: Duration = Duration::from_secs(10);

/// Fields whose values are never recorded, besides those by which callers prove who they are.
const UNRECORDED: [&str; 4] = ["cookie", "set-cookie", "proxy-authorization", "www-authenticate"];

/// Where exchanges are recorded, and how strictly.
#[derive(Clone, Debug)]
pub struct Recording {
    /// Takes the records.
    pub recorder: Recorder,
    /// What goes to upstream is durable before.
    pub strict: bool,
    /// What goes to the client, too.
    pub strict_response: bool,
    /// Values that were masked are told by a digest under this key; none: by their place alone.
    pub digests: Option<DigestKey>,
}

/// The record of one exchange.
pub(crate) struct Log<'a> {
    recording: &'a Recording,
    context: Arc<Context>,
    decision: Option<Arc<Decision>>,
    since: Instant,
    ruleset: &'a Arc<Ruleset>,
    /// Of the response, once there is one.
    status: Cell<Option<u16>>,
    has_ended: Cell<bool>,
}

/// It could not be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unrecorded;

impl From<Unrecorded> for Problem {
    fn from(_: Unrecorded) -> Problem {
        Problem::UNRECORDED
    }
}

impl<'a> Log<'a> {
    /// Of an exchange on this route; none where nothing is recorded.
    pub(crate) fn new(
        session: &'a SessionContext,
        table: &Table,
        route: &'a Route,
        id: RequestId,
        permit: Option<&Permit<'_>>,
    ) -> Option<Log<'a>> {
        let recording = session.recording.as_ref()?;
        let upstream = table.upstreams().get(route.config.upstream);
        let ruling = permit.and_then(Permit::ruling);
        let subject = ruling.map(|ruling| &*ruling.subject);
        let text = |text: &Option<Arc<str>>| text.as_deref().map(str::to_owned);
        let context = Context {
            session: id,
            request: id,
            subject: subject.map(caller),
            chain: subject.and_then(|subject| text(&subject.chain)),
            step: subject.and_then(|subject| text(&subject.step)),
            upstream: upstream.map(|upstream| upstream.config.name.clone()).unwrap_or_default(),
            route: route.config.name.clone(),
        };
        let decision = ruling.map(|ruling| {
            Arc::new(Decision {
                policies: ruling.verdict.policies.iter().map(|id| id.to_string()).collect(),
                policy_version: ruling.verdict.version.to_string(),
                verdict: Some(match ruling.verdict.action {
                    Action::Allow => VerdictName::Allow,
                    Action::Approve(_) => VerdictName::Approve,
                    Action::Block => VerdictName::Block,
                }),
                approval: ruling.approval.as_deref().map(str::to_owned),
            })
        });
        Some(Log {
            recording,
            context: Arc::new(context),
            decision,
            since: session.since,
            ruleset: &route.config.ruleset,
            status: Cell::new(None),
            has_ended: Cell::new(false),
        })
    }

    /// Copies what leaves of a body, for this.
    pub(crate) fn watch(&self, mask: &mut Mask) {
        mask.copy();
    }

    /// The request's head; durable before anything of it goes on, where the record is strict.
    pub(crate) async fn request(
        &self,
        session: &SessionContext,
        head: &RequestHead,
    ) -> Result<(), Unrecorded> {
        let authority = head.authority.as_deref().unwrap_or_default();
        let payload = Head {
            method: head.method.clone(),
            target: self.masked(session, format!("{authority}{}", head.target).as_bytes()),
            status: None,
            protocol: if head.is_1_1 { "HTTP/1.1" } else { "HTTP/1.0" }.to_owned(),
            fields: self.fields(session, &head.fields),
        };
        let record = self.new_record(Kind::Request, Some(Way::Request), Payload::Head(payload));
        self.put(record, self.recording.strict).await
    }

    /// The response's head.
    pub(crate) async fn response(
        &self,
        session: &SessionContext,
        status: u16,
        fields: &Fields,
    ) -> Result<(), Unrecorded> {
        self.status.set(Some(status));
        let fields = self.fields(session, fields);
        let payload = Head { status: Some(status), fields, ..Head::default() };
        let record = self.new_record(Kind::Response, Some(Way::Response), Payload::Head(payload));
        self.put(record, self.recording.strict_response).await
    }

    /// What left of a body since this was last called.
    pub(crate) async fn body(
        &self,
        mask: &mut Mask,
        way: Direction,
        kind: FrameKind,
    ) -> Result<(), Unrecorded> {
        let Some(Copied { masked, found, .. }) = mask.take_copy() else { return Ok(()) };
        if masked.is_empty() && found.is_empty() {
            return Ok(());
        }
        let mut spans: Vec<Span> = Vec::with_capacity(found.len());
        for found in found {
            let Some(name) = self.ruleset.name(found.finding.rule) else { continue };
            let digest = found
                .value
                .zip(self.recording.digests.as_ref())
                .map(|(value, key)| key.digest(value.bytes()));
            spans.push(Span {
                path: String::new(),
                offset: found.finding.start,
                length: found.finding.end.saturating_sub(found.finding.start),
                entity: name.entity.to_owned(),
                rule: name.id.to_owned(),
                digest: digest.unwrap_or_default(),
            });
        }
        let (way, is_strict) = match way {
            Direction::Request => (Way::Request, self.recording.strict),
            Direction::Response => (Way::Response, self.recording.strict_response),
        };
        let masked = Bytes::from(masked);
        let mut from = 0;
        loop {
            let to = masked.len().min(from + PIECE_BYTES_MAX);
            let piece = Payload::Bytes(masked.slice(from..to));
            let mut record = self.new_record(Kind::Frame, Some(way), piece);
            record.frame = Some(kind);
            record.spans = std::mem::take(&mut spans);
            from = to;
            // The last one durable, all before it are.
            self.put(record, is_strict && from == masked.len()).await?;
            if from == masked.len() {
                return Ok(());
            }
        }
    }

    /// The exchange is over. Where that can't be recorded the writer tells of a gap.
    pub(crate) fn end(&self, outcome: &str, status: Option<u16>) {
        if self.has_ended.replace(true) {
            return;
        }
        let end = End { outcome: outcome.to_owned(), status: status.or(self.status.get()), ..End::default() };
        let record = self.new_record(Kind::End, None, Payload::End(end));
        // Refused, it is counted and told by the writer; nothing more goes on here.
        let _ = self.recording.recorder.record(record, None);
    }

    /// A request that does not go on, and why.
    pub(crate) fn refused(&mut self, session: &SessionContext, head: &RequestHead, code: &str, status: u16) {
        let verdict =
            matches!(code, "denied" | "unauthenticated" | "approval_denied").then_some(VerdictName::Block);
        let verdict = verdict.or((code == "approval_pending").then_some(VerdictName::Approve));
        if self.decision.is_none() {
            self.decision = Some(Arc::new(Decision { verdict, ..Decision::default() }));
        }
        let payload = Head {
            method: head.method.clone(),
            target: self.masked(session, head.target.as_bytes()),
            fields: self.fields(session, &head.fields),
            ..Head::default()
        };
        let record = self.new_record(Kind::Verdict, Some(Way::Request), Payload::Head(payload));
        let _ = self.recording.recorder.record(record, None);
        self.end(code, Some(status));
    }

    fn new_record(&self, kind: Kind, way: Option<Way>, payload: Payload) -> NewRecord {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_nanos() as u64);
        NewRecord {
            wall_ns: wall,
            mono_ns: self.since.elapsed().as_nanos() as u64,
            kind,
            context: Arc::clone(&self.context),
            decision: self.decision.clone(),
            direction: way,
            frame: None,
            payload,
            spans: Vec::new(),
        }
    }

    /// Waits for room, so that a slow disk slows traffic, and for the disk where it must be durable.
    async fn put(&self, record: NewRecord, is_durable: bool) -> Result<(), Unrecorded> {
        let put = monoio::time::timeout(PUT_MAX, self.put_in_any_time(record, is_durable));
        put.await.unwrap_or(Err(Unrecorded))
    }

    async fn put_in_any_time(&self, record: NewRecord, is_durable: bool) -> Result<(), Unrecorded> {
        let recorder = &self.recording.recorder;
        recorder.room().await.map_err(|_| Unrecorded)?;
        if !is_durable {
            return recorder.record(record, None).map_err(|_| Unrecorded);
        }
        let (ack, durable) = Ack::new();
        recorder.record(record, Some(ack)).map_err(|_| Unrecorded)?;
        durable.await.map_err(|_| Unrecorded)
    }

    fn fields(&self, session: &SessionContext, fields: &Fields) -> Vec<(String, String)> {
        let hidden = |name: &str| {
            CREDENTIAL_FIELDS.iter().chain(&UNRECORDED).any(|hidden| name.eq_ignore_ascii_case(hidden))
        };
        let told = |(name, value): (&str, &[u8])| {
            let value = if hidden(name) { "[not recorded]".to_owned() } else { self.masked(session, value) };
            (name.to_owned(), value)
        };
        fields.iter().map(told).collect()
    }

    /// As the rules of the route mask a text; what is no UTF-8 is spelled with replacement characters.
    fn masked(&self, session: &SessionContext, text: &[u8]) -> String {
        let mut masker = Masker::new(self.ruleset, Format::Text, MaskerOptions::default());
        let (mut out, scratch) = (Vec::with_capacity(text.len()), &mut session.scratch.borrow_mut());
        let whole = masker.push(scratch, text, &mut out).and_then(|()| masker.finish(scratch, &mut out));
        // Text has no faults; should that change, nothing of it is recorded.
        if whole.is_ok() { String::from_utf8_lossy(&out).into_owned() } else { String::new() }
    }
}

fn caller(subject: &Subject) -> Caller {
    let text = |text: &Option<Arc<str>>| text.as_deref().map(str::to_owned);
    Caller {
        issuer: subject.issuer.to_string(),
        id: subject.id.to_string(),
        kind: subject.kind.name().to_owned(),
        groups: subject.groups.iter().map(|group| group.to_string()).collect(),
        purpose: text(&subject.purpose),
        actor: text(&subject.actor),
        owner: text(&subject.owner),
    }
}

impl Drop for Log<'_> {
    /// An exchange that nobody ended was broken off: its client left, or the connection did.
    fn drop(&mut self) {
        self.end("aborted", None);
    }
}
