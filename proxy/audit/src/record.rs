//! Records: what a shard hands over, and what stands in a segment.
//!
//! A record is a JSON object (RFC 8259) of known members in a known order, so that its hash is over bytes and not over a
//! reading of them. What a caller can set comes masked; nothing here knows an original value.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::hash::Kind as HashKind;
use crate::{Hash, RequestId};

/// What a record may cost in memory, in bytes: its texts and 64 for each span. A larger payload is given as several
/// records. Its JSON is at most six times as long.
pub const RECORD_COST_MAX: usize = 3 << 19;

/// What one exchange has in all its records.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// The session: one exchange, or all requests of one connection where a protocol has such.
    pub session: RequestId,
    /// The request, as `sluice-request-id` names it.
    pub request: RequestId,
    /// Who asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Caller>,
    /// The chain of thought that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chain: Option<String>,
    /// The step of that chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// The configured name of the upstream.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub upstream: String,
    /// The configured name of the route.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub route: String,
}

/// Who asks, as records name them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// The configured name of the issuer who vouches; empty where nobody does.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub issuer: String,
    /// The id at that issuer; empty for anonymous callers.
    pub id: String,
    /// `human`, `service` or `agent`.
    pub kind: String,
    /// Groups.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub groups: Vec<String>,
    /// What it says that it does this for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// Who acts in its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// Whose agent or service it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

/// What was decided, and by what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Ids of the policies that made the verdict.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub policies: Vec<String>,
    /// The version of all policies together.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub policy_version: String,
    /// The verdict.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<VerdictName>,
    /// The id of the approval that it needs, or that let it go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<String>,
}

/// A verdict by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictName {
    /// It goes on.
    Allow,
    /// It goes on, and something was masked.
    Mask,
    /// It needs an approval.
    Approve,
    /// It is refused.
    Block,
}

impl VerdictName {
    /// As records spell it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            VerdictName::Allow => "allow",
            VerdictName::Mask => "mask",
            VerdictName::Approve => "approve",
            VerdictName::Block => "block",
        }
    }
}

/// What a record tells of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A request's head: in `strict` it is durable before upstream sees a byte.
    Request,
    /// A response's head.
    Response,
    /// A piece of a body, a message, an event.
    #[default]
    Frame,
    /// A decision.
    Verdict,
    /// Something that happened to an approval.
    Approval,
    /// The exchange is over.
    End,
    /// Records are missing here; the writer itself says so.
    Gap,
}

/// Which way it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From the client.
    Request,
    /// From upstream.
    Response,
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FrameKind {
    /// A piece of a body, content coding taken off, cut anywhere.
    Body,
    /// A text message (WebSocket, RFC 6455 section 5.6).
    Text,
    /// A binary message.
    Binary,
    /// A message of gRPC without its prefix.
    Message,
    /// Trailer fields, as a [`Head`].
    Trailers,
}

/// The head of a message; values of fields are masked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Of requests.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub method: String,
    /// Of requests: scheme, authority, path and query, as far as known.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub target: String,
    /// Of responses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// `HTTP/1.1`, `HTTP/2`.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub protocol: String,
    /// Names and masked values, in their order.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub fields: Vec<(String, String)>,
}

/// A value that was masked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Where: the path inside the body (`messages[0].content`), or `header:NAME`; empty for plain text.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub path: String,
    /// Where it began, in bytes of the original text at that path.
    pub offset: u64,
    /// How long the original was, in bytes.
    pub length: u64,
    /// What it was: `us_ssn`.
    pub entity: String,
    /// The rule that found it.
    pub rule: String,
    /// The keyed digest of the original ([`crate::DigestKey`]); empty where it is not known.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub digest: String,
}

/// How an exchange ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// `complete`, `refused`, `aborted` or a code of an error, such as `upstream_timeout`.
    pub outcome: String,
    /// The status that the client got.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Bytes of the request's body.
    #[serde(default)]
    pub request_bytes: u64,
    /// Bytes of the response's body.
    #[serde(default)]
    pub response_bytes: u64,
}

/// What happened to an approval.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalEvent {
    /// The approval.
    pub id: String,
    /// `pending`, `approved`, `denied`, `expired`, `cancelled`, `consumed`, `revoked`.
    pub state: String,
    /// Who did it.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub by: String,
    /// Why, masked.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub reason: String,
}

/// Records that are missing, told by the writer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// `stopped`: the process ended without closing the record; `disk`: it could not be written.
    pub reason: String,
    /// The error of the disk, where there was one.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub error: String,
    /// Records that were taken and may not have been written; none of them was acknowledged. Not known after a stop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<u64>,
    /// Records that were refused meanwhile, and what they were about with them.
    #[serde(default)]
    pub refused: u64,
    /// Bytes of an unfinished write that were cut off.
    #[serde(default)]
    pub bytes_cut: u64,
}

/// A payload, masked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Payload {
    /// None.
    #[default]
    None,
    /// The head of a request or a response, or trailers.
    Head(Head),
    /// Bytes; text where they are UTF-8.
    Bytes(Bytes),
    /// How it ended.
    End(End),
    /// An approval.
    Approval(ApprovalEvent),
}

/// A record that is to be written. Nothing in it may hold what is to be masked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewRecord {
    /// Nanoseconds since 1970.
    pub wall_ns: u64,
    /// Nanoseconds of a clock that never goes back, since any fixed time of the process.
    pub mono_ns: u64,
    /// What it tells of.
    pub kind: Kind,
    /// Whose it is: shared by all records of the exchange.
    pub context: Arc<Context>,
    /// What was decided, once it is.
    pub decision: Option<Arc<Decision>>,
    /// Which way it went.
    pub direction: Option<Direction>,
    /// What the frame is.
    pub frame: Option<FrameKind>,
    /// The payload.
    pub payload: Payload,
    /// What was masked in the payload.
    pub spans: Vec<Span>,
}

impl NewRecord {
    /// What it costs in memory, in bytes, close enough to bound it.
    #[must_use]
    pub fn cost(&self) -> usize {
        let spans: usize = self.spans.iter().map(|span| 64 + span_bytes(span)).sum();
        let payload = match &self.payload {
            Payload::None => 0,
            Payload::Head(head) => head_bytes(head),
            Payload::Bytes(bytes) => bytes.len(),
            Payload::End(end) => 32 + end.outcome.len(),
            Payload::Approval(event) => {
                event.id.len() + event.state.len() + event.by.len() + event.reason.len()
            }
        };
        512 + spans
            + payload
            + context_bytes(&self.context)
            + self.decision.as_deref().map_or(0, decision_bytes)
    }
}

fn span_bytes(span: &Span) -> usize {
    span.path.len() + span.entity.len() + span.rule.len() + span.digest.len()
}

fn head_bytes(head: &Head) -> usize {
    let fields: usize = head.fields.iter().map(|(name, value)| 16 + name.len() + value.len()).sum();
    fields + head.method.len() + head.target.len() + head.protocol.len()
}

fn context_bytes(context: &Context) -> usize {
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let caller = context.subject.as_ref().map_or(0, |caller| {
        let groups: usize = caller.groups.iter().map(|group| 8 + group.len()).sum();
        groups
            + caller.issuer.len()
            + caller.id.len()
            + caller.kind.len()
            + text(&caller.purpose)
            + text(&caller.actor)
            + text(&caller.owner)
    });
    caller + text(&context.chain) + text(&context.step) + context.upstream.len() + context.route.len()
}

fn decision_bytes(decision: &Decision) -> usize {
    let policies: usize = decision.policies.iter().map(|policy| 8 + policy.len()).sum();
    policies + decision.policy_version.len() + decision.approval.as_ref().map_or(0, String::len)
}

/// A record as it is written, all but its hash.
#[derive(Serialize)]
struct Written<'a> {
    seq: u64,
    wall_ns: u64,
    mono_ns: u64,
    kind: Kind,
    #[serde(flatten)]
    context: &'a Context,
    #[serde(flatten)]
    decision: Option<&'a Decision>,
    #[serde(skip_serializing_if = "Option::is_none")]
    direction: Option<Direction>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frame: Option<FrameKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    head: Option<&'a Head>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
    #[serde(skip_serializing_if = "<[Span]>::is_empty")]
    spans: &'a [Span],
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<&'a End>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approval_event: Option<&'a ApprovalEvent>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gap: Option<&'a Gap>,
    previous: Hash,
}

/// A record as it stands in a segment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Its number in the record: 1, 2, 3 …
    pub seq: u64,
    /// Nanoseconds since 1970.
    pub wall_ns: u64,
    /// Nanoseconds of the process's clock that never goes back.
    pub mono_ns: u64,
    /// What it tells of.
    pub kind: Kind,
    /// The session.
    pub session: RequestId,
    /// The request.
    pub request: RequestId,
    /// Who asks.
    #[serde(default)]
    pub subject: Option<Caller>,
    /// The chain of thought.
    #[serde(default)]
    pub chain: Option<String>,
    /// Its step.
    #[serde(default)]
    pub step: Option<String>,
    /// The upstream.
    #[serde(default)]
    pub upstream: String,
    /// The route.
    #[serde(default)]
    pub route: String,
    /// The policies that made the verdict.
    #[serde(default)]
    pub policies: Vec<String>,
    /// Their version.
    #[serde(default)]
    pub policy_version: String,
    /// The verdict.
    #[serde(default)]
    pub verdict: Option<VerdictName>,
    /// The approval that it needs or has.
    #[serde(default)]
    pub approval: Option<String>,
    /// Which way it went.
    #[serde(default)]
    pub direction: Option<Direction>,
    /// What the frame is.
    #[serde(default)]
    pub frame: Option<FrameKind>,
    /// A head.
    #[serde(default)]
    pub head: Option<Head>,
    /// A payload that is text.
    #[serde(default)]
    pub payload: Option<String>,
    /// A payload that is not, in Base64 (RFC 4648 section 4).
    #[serde(default)]
    pub payload_base64: Option<String>,
    /// What was masked.
    #[serde(default)]
    pub spans: Vec<Span>,
    /// How it ended.
    #[serde(default)]
    pub end: Option<End>,
    /// What happened to an approval.
    #[serde(default)]
    pub approval_event: Option<ApprovalEvent>,
    /// What is missing.
    #[serde(default)]
    pub gap: Option<Gap>,
    /// The hash of the record before.
    pub previous: Hash,
    /// Its own.
    pub hash: Hash,
}

impl Record {
    /// Its payload's bytes, where it has any.
    #[must_use]
    pub fn payload_bytes(&self) -> Option<Vec<u8>> {
        match (&self.payload, &self.payload_base64) {
            (Some(text), _) => Some(text.clone().into_bytes()),
            (None, Some(text)) => STANDARD.decode(text).ok(),
            (None, None) => None,
        }
    }
}

/// What stands between a record's other members and its end.
const HASH_MEMBER: &[u8] = b",\"hash\":\"";
/// That, 64 digits, `"}`.
const HASH_BYTES: usize = HASH_MEMBER.len() + 64 + 2;

/// Appends a record's JSON to `out` and gives its hash.
///
/// # Errors
/// Where it can't be serialised, which no record of these types does.
pub(crate) fn write(
    record: &NewRecord,
    gap: Option<&Gap>,
    seq: u64,
    previous: Hash,
    out: &mut Vec<u8>,
) -> Result<Hash, serde_json::Error> {
    let (payload, payload_base64) = match &record.payload {
        Payload::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => (Some(text), None),
            Err(_) => (None, Some(STANDARD.encode(bytes))),
        },
        Payload::None | Payload::Head(_) | Payload::End(_) | Payload::Approval(_) => (None, None),
    };
    let begin = out.len();
    let written = Written {
        seq,
        wall_ns: record.wall_ns,
        mono_ns: record.mono_ns,
        kind: record.kind,
        context: &record.context,
        decision: record.decision.as_deref(),
        direction: record.direction,
        frame: record.frame,
        head: if let Payload::Head(head) = &record.payload { Some(head) } else { None },
        payload,
        payload_base64,
        spans: &record.spans,
        end: if let Payload::End(end) = &record.payload { Some(end) } else { None },
        approval_event: if let Payload::Approval(event) = &record.payload { Some(event) } else { None },
        gap,
        previous,
    };
    serde_json::to_writer(&mut *out, &written)?;
    let hash = Hash::of(HashKind::Record, &[out.get(begin..).unwrap_or_default()]);
    out.pop();
    out.extend_from_slice(HASH_MEMBER);
    out.extend_from_slice(hash.to_string().as_bytes());
    out.extend_from_slice(b"\"}");
    Ok(hash)
}

/// The hash that a record's JSON should have and the one that it says, where it ends as a record does.
pub(crate) fn hashes(json: &[u8]) -> Option<(Hash, Hash)> {
    let (body, end) = json.split_at_checked(json.len().checked_sub(HASH_BYTES)?)?;
    let digits = end.strip_prefix(HASH_MEMBER)?.strip_suffix(b"\"}")?;
    let said = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some((Hash::of(HashKind::Record, &[body, b"}"]), said))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_of_it() -> NewRecord {
        let caller =
            Caller { issuer: "corp".into(), id: "ann".into(), kind: "human".into(), ..Caller::default() };
        let context = Context {
            subject: Some(caller),
            chain: Some("c".into()),
            upstream: "llm".into(),
            ..Context::default()
        };
        let decision =
            Decision { policies: vec!["p".into()], verdict: Some(VerdictName::Mask), ..Decision::default() };
        let span =
            Span { path: "a.b".into(), offset: 3, length: 11, entity: "us_ssn".into(), ..Span::default() };
        NewRecord {
            wall_ns: 1,
            mono_ns: 2,
            kind: Kind::Frame,
            context: Arc::new(context),
            decision: Some(Arc::new(decision)),
            direction: Some(Direction::Request),
            frame: Some(FrameKind::Body),
            payload: Payload::Bytes(Bytes::from_static("h\"é".as_bytes())),
            spans: vec![span],
        }
    }

    #[test]
    fn what_is_written_is_read_and_its_hash_holds() {
        let mut out = Vec::new();
        let hash = write(&all_of_it(), None, 7, Hash::ZERO, &mut out).unwrap();
        assert_eq!(hashes(&out), Some((hash, hash)));
        let record: Record = serde_json::from_slice(&out).unwrap();
        assert_eq!((record.seq, record.hash, record.previous), (7, hash, Hash::ZERO));
        assert_eq!(record.payload_bytes().unwrap(), "h\"é".as_bytes());
        assert_eq!(record.subject.unwrap().id, "ann");
        assert_eq!(record.verdict, Some(VerdictName::Mask));
        assert_eq!(record.spans, all_of_it().spans);
    }

    #[test]
    fn bytes_that_are_no_text_come_back() {
        let mut out = Vec::new();
        let payload = Payload::Bytes(Bytes::from_static(&[0xff, 0, 1]));
        write(&NewRecord { payload, ..all_of_it() }, None, 1, Hash::ZERO, &mut out).unwrap();
        let record: Record = serde_json::from_slice(&out).unwrap();
        assert_eq!(record.payload_bytes().unwrap(), [0xff, 0, 1]);
    }

    #[test]
    fn a_record_that_differs_by_a_byte_has_another_hash() {
        let mut out = Vec::new();
        let hash = write(&all_of_it(), None, 7, Hash::ZERO, &mut out).unwrap();
        for at in 0..out.len() {
            out[at] ^= 1;
            assert_ne!(hashes(&out), Some((hash, hash)), "byte {at}");
            out[at] ^= 1;
        }
        assert_eq!(hashes(b"{}"), None);
    }

    #[test]
    fn its_json_is_at_most_six_times_its_cost() {
        let payload = Payload::Bytes(Bytes::from(vec![1u8; 4096]));
        let record = NewRecord { payload, ..all_of_it() };
        let mut out = Vec::new();
        write(&record, Some(&Gap::default()), u64::MAX, Hash::ZERO, &mut out).unwrap();
        assert!(out.len() <= 6 * record.cost(), "{} {}", out.len(), record.cost());
    }
}
