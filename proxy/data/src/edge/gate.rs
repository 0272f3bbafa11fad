//! The gate: no request goes on without a ruling made for that caller and that request, where there is a desk.
//!
//! ```text
//!   facts ──► remembered? ──► permit
//!               │ no
//!               ▼         read the body
//!              ask ◄──────────────────┐
//!               │                     │
//!               ├── go ──► permit     │
//!               ├── read the body ────┘  once: 413, 503 where it does not fit
//!               ├── waiting ──► wait for the next answer, for a longer time
//!               └── refused, silence, too late, no place ──► 401, 403, 503
//! ```

use std::cell::Cell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use sluice_audit::RequestId;
use sluice_engine::Ruleset;
use sluice_policy::ResponseLimits;

use super::body::{Head, Sink, Source, SourceFault};
use super::exchange::SessionContext;
use crate::client::Client;
use crate::codec::body::Framing;
use crate::codec::fields::Fields;
use crate::codec::head::RequestHead;
use crate::content::Content;
use crate::desk::{
    Answer, Asked, CREDENTIAL_FIELDS, Credential, Desk, HeldBody, Key, Refusal, RefusalKind, Ruling, Secret,
};
use crate::forward::{self, BodyLength};
use crate::forwarded;
use crate::mask::{Direction, Mask, MaskContext, Seen};
use crate::problem::Problem;
use crate::rate::Subject;
use crate::stats::ShardStats;
use crate::table::{Route, Table, normal_path};

/// Answers to one question; a desk that says more than this is out of order.
const ANSWERS_MAX: usize = 8;

/// How often a client that reads events is told that its request waits.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// What a request goes on with.
pub(crate) struct Permit<'a> {
    route: &'a Route,
    /// None: there is no desk.
    ruling: Option<Arc<Ruling>>,
    held: Option<Held<'a>>,
}

/// Why it does not.
pub(crate) enum Barred {
    Problem(Problem),
    Refused(Refusal),
    /// The client left.
    Gone,
}

impl Barred {
    /// Its code and status; none where nobody is there to be told.
    pub(crate) fn outcome(&self) -> Option<(&'static str, u16)> {
        let problem = match self {
            Barred::Problem(problem) => *problem,
            Barred::Refused(refusal) => Problem::of_refusal(refusal),
            Barred::Gone => return None,
        };
        Some((problem.code, problem.status))
    }
}

impl From<Problem> for Barred {
    fn from(problem: Problem) -> Barred {
        Barred::Problem(problem)
    }
}

/// A body that is held, and its room.
struct Held<'a> {
    /// As it came, without framing.
    content: Vec<u8>,
    _room: Room<'a>,
}

/// Bytes of held bodies of one shard, given back when dropped.
struct Room<'a> {
    all: &'a Cell<u64>,
    bytes: u64,
}

impl Room<'_> {
    /// False where there is no more.
    fn grow(&mut self, bytes: u64, most: u64) -> bool {
        let Some(sum) = self.all.get().checked_add(bytes).filter(|sum| *sum <= most) else { return false };
        self.all.set(sum);
        self.bytes += bytes;
        true
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.all.set(self.all.get().saturating_sub(self.bytes));
    }
}

impl<'a> Permit<'a> {
    pub(crate) fn masks<'m>(&'m self, context: &'m SessionContext, direction: Direction) -> MaskContext<'m> {
        let own = self.ruling.as_ref().and_then(|ruling| ruling.rulesets.as_ref());
        let ruleset: &'m Arc<Ruleset> = match (own, direction) {
            (Some(own), Direction::Request) => &own.request,
            (Some(own), Direction::Response) => &own.response,
            (None, _) => &self.route.config.ruleset,
        };
        let limits = match (&self.ruling, direction) {
            (Some(ruling), Direction::Response) => ruling.verdict.limits,
            (Some(_), Direction::Request) | (None, _) => ResponseLimits::default(),
        };
        MaskContext { ruleset, limits, ..context.masks(self.route) }
    }

    pub(crate) fn ruling(&self) -> Option<&Ruling> {
        self.ruling.as_deref()
    }

    /// The body, where it was held: all of it.
    pub(crate) fn held(&self) -> Option<&[u8]> {
        self.held.as_ref().map(|held| held.content.as_slice())
    }

    /// Who calls, where that was proved, and else the address it comes from.
    pub(crate) fn subject<'s>(&'s self, address: Option<IpAddr>) -> Subject<'s> {
        let proved = self.ruling.as_ref().filter(|ruling| !ruling.subject.is_anonymous());
        match proved {
            Some(ruling) => Subject::Proved { issuer: &ruling.subject.issuer, id: &ruling.subject.id },
            None => Subject::At(address.unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED))),
        }
    }

    /// Puts the gateway's own credential in place of the caller's.
    pub(crate) fn apply(&self, target: &mut String, fields: &mut Fields) {
        let Some(ruling) = &self.ruling else { return };
        let names: Vec<String> = ruling.set_fields.iter().map(|set| set.name.to_ascii_lowercase()).collect();
        let out: Vec<&str> = ruling.strip_fields.iter().chain(&names).map(String::as_str).collect();
        if !out.is_empty() {
            *fields = fields.without(&out);
        }
        ruling.set_fields.iter().for_each(|set| fields.push(&set.name, set.value.bytes()));
        if !ruling.set_query.is_empty() || !ruling.strip_query.is_empty() {
            *target = forward::with_query(target, &ruling.strip_query, &ruling.set_query);
        }
    }
}

/// A request at the gate.
pub(crate) struct AtGate<'a> {
    pub(crate) context: &'a SessionContext,
    pub(crate) client: &'a Client,
    pub(crate) table: &'a Table,
    pub(crate) route: &'a Route,
    pub(crate) head: &'a RequestHead,
    pub(crate) id: RequestId,
    /// A stream of events has begun, which says that the request waits.
    pub(crate) begun: &'a Cell<bool>,
}

impl<'a> AtGate<'a> {
    /// Lets a request on, or not.
    pub(crate) async fn pass(
        &self,
        source: &mut Source<'_>,
        sink: &mut Sink<'_>,
    ) -> Result<Permit<'a>, Barred> {
        match &self.context.desk {
            // In a place of its own, as all that most exchanges do without: every exchange would be as large else.
            Some(desk) => Box::pin(self.decided(desk, source, sink)).await,
            None => Ok(Permit { route: self.route, ruling: None, held: None }),
        }
    }

    async fn decided(
        &self,
        desk: &Desk,
        source: &mut Source<'_>,
        sink: &mut Sink<'_>,
    ) -> Result<Permit<'a>, Barred> {
        let route = self.route;
        let asked = self.facts(desk)?;
        let (key, epoch) = (Key::of(&asked), desk.epoch());
        let known = self.context.rulings.borrow_mut().find(epoch, &key, Instant::now());
        if let Some(ruling) = known {
            ShardStats::count(&self.context.stats.verdicts_remembered, 1);
            return Ok(Permit { route, ruling: Some(ruling), held: None });
        }
        let mut held = None;
        let ruling = match self.ask(desk, asked.clone(), None, sink).await? {
            Some(ruling) => ruling,
            None => {
                let (content, body) = self.hold(desk, source, sink).await?;
                held = Some(content);
                // Who asks for it twice can't decide.
                self.ask(desk, asked, Some(body), sink).await?.ok_or(Problem::UNDECIDED)?
            }
        };
        if held.is_none() {
            let now = Instant::now();
            self.context.rulings.borrow_mut().keep(epoch, desk.epoch(), key, &ruling, now);
        }
        Ok(Permit { route, ruling: Some(ruling), held })
    }

    fn facts(&self, desk: &Desk) -> Result<Asked, Problem> {
        let AtGate { client, table, route, head, id, .. } = *self;
        let upstream = table.upstreams().get(route.config.upstream).ok_or(Problem::NO_ROUTE)?;
        let names = desk.fields();
        let (mut fields, mut credentials) = (Vec::new(), Vec::new());
        let mut bytes = head.target.len();
        for (name, value) in head.fields.iter() {
            let is = |known: &&str| name.eq_ignore_ascii_case(known);
            if let Some(field) = CREDENTIAL_FIELDS.into_iter().find(|known| is(known)) {
                bytes += value.len();
                credentials.push(Credential { field, value: Secret::new(value) });
            } else if let Some(name) = names.iter().find(|known| is(&known.as_str())) {
                bytes += name.len() + value.len();
                let value = std::str::from_utf8(value).map_err(|_| Problem::FACTS_NOT_TEXT)?;
                fields.push((name.clone(), value.to_owned()));
            }
        }
        if bytes > desk.config().facts_bytes_max {
            return Err(Problem::FACTS_TOO_LARGE);
        }
        let certificate = client.certificate.clone();
        if certificate.as_ref().is_some_and(|c| c.is_expired(SystemTime::now())) {
            return Err(Problem::CERTIFICATE_EXPIRED);
        }
        Ok(Asked {
            id,
            route: route.config.name.clone(),
            upstream: upstream.config.name.clone(),
            ruleset: Arc::clone(&route.config.ruleset),
            method: head.method.clone(),
            target: head.target.clone(),
            path: normal_path(&head.target),
            fields,
            content_type: head.fields.text("content-type").map(str::to_owned),
            has_body: head.framing != Framing::Empty,
            credentials,
            certificate,
            peer: forwarded::client_address(&head.fields, client),
        })
    }

    /// Asks and waits; `None`: the body decides.
    async fn ask(
        &self,
        desk: &Desk,
        asked: Asked,
        body: Option<HeldBody>,
        sink: &mut Sink<'_>,
    ) -> Result<Option<Arc<Ruling>>, Barred> {
        let stats = &self.context.stats;
        ShardStats::count(&stats.verdicts_asked, 1);
        let Some(answers) = desk.ask(asked, body) else {
            ShardStats::count(&stats.verdicts_missed, 1);
            return Err(Problem::UNDECIDED.into());
        };
        let mut deadline = Instant::now() + Duration::from_millis(desk.config().answer_ms_max);
        let mut tells = None;
        for _ in 0..ANSWERS_MAX {
            let answer = loop {
                let left = deadline.saturating_duration_since(Instant::now());
                let step = if tells.is_some() { left.min(TELL_EVERY) } else { left };
                match monoio::time::timeout(step, answers.next()).await {
                    Ok(Ok(answer)) => break answer,
                    Err(_) if step < left => self.tell_waiting(tells.as_deref(), sink).await?,
                    Ok(Err(_)) | Err(_) => {
                        ShardStats::count(&stats.verdicts_missed, 1);
                        return Err(Problem::UNDECIDED.into());
                    }
                }
            };
            match answer {
                Answer::Go(ruling) => return Ok(Some(ruling)),
                Answer::ReadBody => return Ok(None),
                Answer::Waiting { at_most, id, reads_events } => {
                    deadline = Instant::now() + at_most;
                    if reads_events && self.head.method != "HEAD" {
                        self.tell_waiting(Some(&id), sink).await?;
                        tells = Some(id);
                    }
                }
                Answer::Refused(refusal) => return Err(Barred::Refused(refusal)),
            }
        }
        Err(Problem::UNDECIDED.into())
    }

    /// Says in a comment (WHATWG HTML, section 9.2.6) that the request waits; the first one begins the response.
    async fn tell_waiting(&self, id: Option<&str>, sink: &mut Sink<'_>) -> Result<(), Barred> {
        if !self.begun.replace(true) {
            let mut fields = Fields::default();
            fields.push("Content-Type", "text/event-stream");
            fields.push("Cache-Control", "no-store");
            fields.push("sluice-request-id", self.id.to_string());
            self.context.stats.response(200);
            sink.head(Head::Response { status: 200, persists: false }, fields, BodyLength::Unknown);
        }
        let comment = format!(": waits for approval {}\n\n", id.unwrap_or_default());
        sink.content().extend_from_slice(comment.as_bytes());
        sink.flush().await.map_err(|_| Barred::Gone)
    }

    /// Takes all of the body in, scanned as it comes.
    async fn hold(
        &self,
        desk: &Desk,
        source: &mut Source<'_>,
        sink: &mut Sink<'_>,
    ) -> Result<(Held<'a>, HeldBody), Barred> {
        let AtGate { context, route, head, .. } = *self;
        let mut held = Held { content: Vec::new(), _room: Room { all: &context.held_bytes, bytes: 0 } };
        if head.framing == Framing::Empty {
            let body = HeldBody { plain: Vec::new(), masked: Vec::new(), labels: BTreeMap::new() };
            return Ok((held, body));
        }
        let most = desk.config().body_bytes_max;
        if matches!(head.framing, Framing::Length(len) if len > most) {
            return Err(Problem::HELD_TOO_LARGE.into());
        }
        if head.expects_continue && !source.is_ready() {
            sink.go_on().await.map_err(|_| Barred::Gone)?;
        }
        let masks = context.masks(route);
        let content = Content::of(&head.fields, Some(&head.target)).map_err(forward::unreadable)?;
        let mut mask = Mask::new(&masks, &content, Direction::Request, true)?;
        mask.watch();
        let (mut masked, mut piece) = (Vec::new(), Vec::new());
        loop {
            piece.clear();
            let next = source.next(route.config.limits.body_ms_max, &mut piece).await;
            let done = next.map_err(|fault| match fault {
                SourceFault::Gone => Barred::Gone,
                SourceFault::TimedOut => Barred::Problem(Problem::BODY_TIMED_OUT),
                SourceFault::Framing(reason) => Barred::Problem(Problem::bad_request(400, reason)),
            })?;
            held.content.extend_from_slice(&piece);
            let pushed =
                mask.push(&mut context.scratch.borrow_mut(), &context.stats, &piece, done, &mut masked);
            if let Err(problem) = pushed {
                mask.close(&context.stats);
                return Err(problem.into());
            }
            // Decoded it may be the larger one; what is masked of it may be larger still.
            let seen = mask.seen().map_or(0, |seen| seen.plain.len() as u64);
            let sum = (held.content.len() as u64).max(seen);
            let fits = sum <= most && masked.len() as u64 <= most.saturating_mul(4);
            let kept = held.content.len() as u64 + seen + masked.len() as u64;
            let more = kept.saturating_sub(held._room.bytes);
            if !fits || !held._room.grow(more, desk.config().held_bytes_max) {
                mask.close(&context.stats);
                return Err(if fits { Problem::HELD_FULL } else { Problem::HELD_TOO_LARGE }.into());
            }
            if done {
                break;
            }
        }
        mask.close(&context.stats);
        let Seen { plain, rules } = mask.take_seen();
        Ok((held, HeldBody { plain, masked, labels: labels(&route.config.ruleset, &rules) }))
    }
}

/// What policies call what was found: `entity:…`, or the labels of the rule.
fn labels(ruleset: &Ruleset, rules: &BTreeMap<u32, u64>) -> BTreeMap<String, u64> {
    let mut labels = BTreeMap::new();
    let mut add = |label: String, count: u64| *labels.entry(label).or_default() += count;
    for (number, count) in rules {
        let id = sluice_engine::RuleId(*number);
        let own = ruleset.rule(id).map_or(&[][..], |rule| &rule.labels);
        own.iter().for_each(|label| add(label.clone(), *count));
        if let Some(name) = ruleset.name(id) {
            add(format!("entity:{}", name.entity), *count);
        }
    }
    labels
}

impl Problem {
    /// The problem of a refusal; its detail is told apart.
    pub(crate) fn of_refusal(refusal: &Refusal) -> Problem {
        let (status, code) = match refusal.kind {
            RefusalKind::Unauthenticated => (401, "unauthenticated"),
            RefusalKind::Denied => (403, "denied"),
            RefusalKind::ApprovalPending => (403, "approval_pending"),
            RefusalKind::ApprovalDenied => (403, "approval_denied"),
            RefusalKind::RateLimited => (429, "rate_limited"),
            RefusalKind::BadRequest => (400, "bad_request"),
            RefusalKind::Overloaded => (503, "overloaded"),
        };
        let problem = Problem::new(status, code, "");
        let retry_after_s =
            if refusal.retry_after_s > 0 { refusal.retry_after_s } else { problem.retry_after_s };
        Problem { retry_after_s, ..problem }
    }
}
