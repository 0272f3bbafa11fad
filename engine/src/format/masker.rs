//! Masks one body as it streams: chooses the walker and handles its faults.

use std::sync::Arc;

use super::carried::{Carried, Carrier, Target};
use super::event_stream::EventStreamWalker;
use super::form::FormWalker;
use super::grpc::GrpcWalker;
use super::json::Fail;
use super::multipart::MultipartWalker;
use super::protobuf::ProtobufWalker;
use super::series::SeriesWalker;
use super::sniff::sniff;
use super::sse::SseWalker;
use super::websocket::WebSocketWalker;
use super::{Finding, Format, FormatError, FormatErrorKind, InvalidUtf8, MaskerOptions, OnError};
use crate::mask::Strategy;
use crate::ruleset::Ruleset;
use crate::stream::{Scratch, StreamOptions};

/// Masks one body as it streams.
#[derive(Debug)]
pub struct Masker {
    ruleset: Arc<Ruleset>,
    options: StreamOptions,
    on_error: OnError,
    masker: MaskerOptions,
    depth: u8,
    walker: Walker,
    findings: Vec<Finding>,
    /// Bytes of the body taken so far.
    at: u64,
}

/// ```text
///   Sniff ──► a walker ──fault──► Text (`OnError::Text`)
///                 └──────fault──► Failed (`OnError::Block`)
/// ```
#[derive(Debug)]
enum Walker {
    Sniff(Vec<u8>),
    Text(Box<Carried>),
    Json(Box<SeriesWalker>),
    Form(Box<FormWalker>),
    Multipart(Box<MultipartWalker>),
    Sse(Box<SseWalker>),
    Protobuf(Box<ProtobufWalker>),
    Grpc(Box<GrpcWalker>),
    EventStream(Box<EventStreamWalker>),
    WebSocket(Box<WebSocketWalker>),
    Failed(FormatError),
}

impl Masker {
    /// A masker at the start of a body.
    #[must_use]
    pub fn new(ruleset: &Arc<Ruleset>, format: Format, options: MaskerOptions) -> Self {
        Masker::at_depth(ruleset, format, options, 0)
    }

    /// A masker of a part, so deep within others.
    pub(super) fn at_depth(
        ruleset: &Arc<Ruleset>,
        format: Format,
        options: MaskerOptions,
        depth: u8,
    ) -> Self {
        let strategy = if format.keeps_length() { Some(Strategy::Fill) } else { options.strategy.clone() };
        let stream = StreamOptions { strategy };
        // What is only guessed is never a reason to refuse.
        let on_error = if format == Format::Auto { OnError::Text } else { options.on_error };
        let fields = match &options.fields {
            Some(own) if depth == 0 => {
                Some(Arc::new(own.behind(ruleset.rules().len(), options.strategy.as_ref())))
            }
            Some(outer) => Some(Arc::clone(outer)),
            None => ruleset.fields().map(|fields| match &options.strategy {
                None => Arc::clone(fields),
                strategy => Arc::new(fields.behind(ruleset.rules().len(), strategy.as_ref())),
            }),
        };
        let options = MaskerOptions { fields, ..options };
        let walker = walker(ruleset, format, &stream, &options, depth);
        Masker {
            ruleset: Arc::clone(ruleset),
            options: stream,
            on_error,
            masker: options,
            depth,
            walker,
            findings: Vec::new(),
            at: 0,
        }
    }

    /// Takes the next bytes of the body and appends to `out` what can leave by now.
    ///
    /// # Errors
    /// The body is not valid in its format, or passes a limit. Bytes already appended are masked and may leave;
    /// after an error every further call returns it again and appends nothing.
    pub fn push(
        &mut self,
        scratch: &mut Scratch,
        chunk: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), FormatError> {
        let at = self.at;
        self.at += chunk.len() as u64;
        let findings = &mut self.findings;
        let mut target = Target { scratch, out, findings };
        let result = match &mut self.walker {
            Walker::Sniff(start) => {
                start.extend_from_slice(chunk);
                let Some(format) = sniff(start, false) else { return Ok(()) };
                let start = std::mem::take(start);
                return self.begin(format, scratch, &start, out);
            }
            Walker::Text(text) => {
                text.plain(chunk, at, &mut target);
                Ok(())
            }
            Walker::Form(form) => {
                form.push(chunk, target);
                Ok(())
            }
            Walker::Multipart(parts) => parts.push(chunk, target),
            Walker::Json(json) => json.push(chunk, target),
            Walker::Sse(sse) => sse.push(chunk, target),
            Walker::Protobuf(message) => message.push(chunk, target),
            Walker::Grpc(messages) => messages.push(chunk, target),
            Walker::EventStream(events) => events.push(chunk, target),
            Walker::WebSocket(frames) => frames.push(chunk, target),
            Walker::Failed(error) => return Err(error.clone()),
        };
        match result {
            Ok(()) => Ok(()),
            Err(fail) => self.fault(fail, chunk, at, scratch, out),
        }
    }

    /// The first bytes have told the format.
    fn begin(
        &mut self,
        format: Format,
        scratch: &mut Scratch,
        start: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), FormatError> {
        self.walker = walker(&self.ruleset, format, &self.options, &self.masker, self.depth);
        self.at -= start.len() as u64;
        self.push(scratch, start, out)
    }

    /// The walker can't go on at `fail.taken` of `chunk`, whose first byte lies at `at`.
    fn fault(
        &mut self,
        fail: Fail,
        chunk: &[u8],
        at: u64,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Result<(), FormatError> {
        let offset = at + fail.taken as u64;
        if self.on_error == OnError::Block || self.walker.always_blocks() {
            let kind = if fail.limit {
                FormatErrorKind::Limit(fail.what)
            } else {
                FormatErrorKind::Invalid(fail.what)
            };
            // What it held may have come with earlier chunks.
            let offset = match &self.walker {
                Walker::Multipart(parts) => parts.fault_at(),
                Walker::Json(json) => json.fault_at().unwrap_or(offset),
                _ => offset,
            };
            let error = FormatError { kind, offset };
            self.walker = Walker::Failed(error.clone());
            return Err(error);
        }
        let mut target = Target { scratch, out, findings: &mut self.findings };
        let inner = Target { scratch: target.scratch, out: target.out, findings: target.findings };
        let pending = match &mut self.walker {
            Walker::Multipart(parts) => parts.break_off(inner),
            Walker::Json(json) => json.break_off(inner),
            Walker::Sse(sse) => sse.break_off(inner),
            Walker::Protobuf(message) => message.break_off(inner),
            Walker::Sniff(_)
            | Walker::Text(_)
            | Walker::Form(_)
            | Walker::Grpc(_)
            | Walker::EventStream(_)
            | Walker::WebSocket(_)
            | Walker::Failed(_) => Vec::new(),
        };
        let mut text = Box::new(Carried::new(&self.ruleset, &self.options, Carrier::Text));
        text.plain(&pending, offset - pending.len() as u64, &mut target);
        text.plain(chunk.get(fail.taken..).unwrap_or_default(), offset, &mut target);
        self.walker = Walker::Text(text);
        Ok(())
    }

    /// Ends the body: appends what was held.
    ///
    /// # Errors
    /// As [`Masker::push`]; also where the body ends too early for its format.
    pub fn finish(&mut self, scratch: &mut Scratch, out: &mut Vec<u8>) -> Result<(), FormatError> {
        if let Walker::Sniff(start) = &mut self.walker {
            let start = std::mem::take(start);
            let format = sniff(&start, true).unwrap_or(Format::Text);
            self.begin(format, scratch, &start, out)?;
        }
        let mut target = Target { scratch, out, findings: &mut self.findings };
        let result = match &mut self.walker {
            Walker::Sniff(_) => Ok(()),
            Walker::Text(text) => {
                text.finish(&mut target);
                Ok(())
            }
            Walker::Form(form) => {
                form.finish(target);
                Ok(())
            }
            Walker::Multipart(parts) => parts.finish(target),
            Walker::Json(json) => json.finish(target),
            Walker::Sse(sse) => sse.finish(target),
            Walker::Protobuf(message) => message.finish(target),
            Walker::Grpc(messages) => messages.finish(),
            Walker::EventStream(events) => events.finish(target),
            Walker::WebSocket(frames) => frames.finish(target),
            Walker::Failed(error) => Err(error.clone())?,
        };
        if let Err(fail) = result {
            self.fault(fail, &[], self.at, scratch, out)?;
            if let Walker::Text(text) = &mut self.walker {
                text.finish(&mut Target { scratch, out, findings: &mut self.findings });
            }
        }
        Ok(())
    }

    /// What was found since this was last asked, in the order of decision.
    pub fn take_findings(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.findings)
    }

    /// Bytes of input read and not yet released.
    #[must_use]
    pub fn held(&self) -> usize {
        match &self.walker {
            Walker::Sniff(start) => start.len(),
            Walker::Text(text) => text.held(),
            Walker::Multipart(parts) => parts.held(),
            Walker::Json(json) => json.held(),
            Walker::Form(form) => form.held(),
            Walker::Sse(sse) => sse.held(),
            Walker::Protobuf(message) => message.held(),
            Walker::Grpc(messages) => messages.held(),
            Walker::EventStream(events) => events.held(),
            Walker::WebSocket(frames) => frames.held(),
            Walker::Failed(_) => 0,
        }
    }

    /// Bytes that passed unscanned since this was last asked: fields that are opaque by the format's own
    /// definition, such as an upstream's signature of its reasoning.
    pub fn take_unscanned(&mut self) -> u64 {
        match &mut self.walker {
            Walker::Multipart(parts) => parts.take_unscanned(),
            Walker::Json(json) => json.take_unscanned(),
            Walker::Sse(sse) => sse.take_unscanned(),
            Walker::Protobuf(message) => message.take_unscanned(),
            Walker::Grpc(messages) => messages.take_unscanned(),
            Walker::EventStream(events) => events.take_unscanned(),
            Walker::WebSocket(frames) => frames.take_unscanned(),
            Walker::Form(form) => form.take_unscanned(),
            Walker::Sniff(_) | Walker::Text(_) | Walker::Failed(_) => 0,
        }
    }
}

impl Walker {
    /// Whether a fault ends the body whatever is asked for: where a walker decodes, the rest can't be scanned as text.
    fn always_blocks(&self) -> bool {
        match self {
            Walker::Grpc(_) | Walker::EventStream(_) | Walker::WebSocket(_) => true,
            Walker::Sniff(_)
            | Walker::Text(_)
            | Walker::Json(_)
            | Walker::Form(_)
            | Walker::Multipart(_)
            | Walker::Sse(_)
            | Walker::Protobuf(_)
            | Walker::Failed(_) => false,
        }
    }
}

fn walker(
    ruleset: &Arc<Ruleset>,
    format: Format,
    options: &StreamOptions,
    masker: &MaskerOptions,
    depth: u8,
) -> Walker {
    let fields = masker.fields.clone();
    let any = masker.invalid_utf8 == InvalidUtf8::Scan;
    match format {
        Format::Auto => Walker::Sniff(Vec::new()),
        Format::Text | Format::Bytes => Walker::Text(Box::new(Carried::new(ruleset, options, Carrier::Text))),
        Format::Json | Format::Ndjson => {
            let many = format == Format::Ndjson;
            Walker::Json(Box::new(SeriesWalker::new(ruleset, options, many, any, fields)))
        }
        Format::Sse => Walker::Sse(Box::new(SseWalker::new(ruleset, options).with_fields(fields))),
        Format::Protobuf(schema) => {
            let is_lenient = masker.on_error == OnError::Text;
            Walker::Protobuf(Box::new(ProtobufWalker::new(ruleset, schema, is_lenient)))
        }
        Format::Grpc { schema, coding } => Walker::Grpc(Box::new(GrpcWalker::new(ruleset, schema, coding))),
        Format::EventStream => {
            Walker::EventStream(Box::new(EventStreamWalker::new(ruleset, options).with_fields(fields)))
        }
        Format::WebSocket(side) => {
            Walker::WebSocket(Box::new(WebSocketWalker::new(ruleset, options, side).with_fields(fields)))
        }
        Format::Multipart(boundary) => {
            Walker::Multipart(Box::new(MultipartWalker::new(ruleset, options, masker, boundary, depth)))
        }
        Format::Form => Walker::Form(Box::new(FormWalker::new(ruleset, options).with_fields(fields))),
    }
}
