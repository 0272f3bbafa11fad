//! The two ends of a body, whatever version of HTTP carries it: where its content comes from, where it goes.

use crate::codec::body::{BodyDecoder, Coding, Framing};
use crate::codec::fields::Fields;
use crate::forward::BodyLength;
use crate::problem::reason;

use super::connection::{IoFault, Reader, Writer};
use super::http2::message::{Http2Sink, Http2Source};

/// Where a body comes from.
pub(crate) enum Source<'a> {
    Http1 { reader: &'a mut Reader, decoder: BodyDecoder },
    Http2(Http2Source),
}

/// Why a body does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SourceFault {
    /// Nothing came in time.
    TimedOut,
    /// The sender broke off.
    Gone,
    /// The framing is broken, and how.
    Framing(&'static str),
}

impl From<IoFault> for SourceFault {
    fn from(fault: IoFault) -> SourceFault {
        match fault {
            IoFault::TimedOut => SourceFault::TimedOut,
            IoFault::Failed => SourceFault::Gone,
        }
    }
}

impl<'a> Source<'a> {
    pub(crate) fn http1(reader: &'a mut Reader, framing: Framing) -> Source<'a> {
        Source::Http1 { reader, decoder: BodyDecoder::new(framing) }
    }

    /// What comes from here on is content without framing, up to the end of the stream.
    pub(crate) fn set_raw(&mut self) {
        match self {
            Source::Http1 { decoder, .. } => *decoder = BodyDecoder::new(Framing::UntilClose),
            // It never has any other.
            Source::Http2(_) => {}
        }
    }

    pub(crate) fn is_http2(&self) -> bool {
        matches!(self, Source::Http2(_))
    }

    /// True when content is at hand without waiting.
    pub(crate) fn is_ready(&self) -> bool {
        match self {
            Source::Http1 { reader, .. } => !reader.buffered().is_empty(),
            Source::Http2(source) => source.is_ready(),
        }
    }

    /// Appends the next content; true when it was the last. It may append nothing.
    pub(crate) async fn next(&mut self, ms_max: u64, content: &mut Vec<u8>) -> Result<bool, SourceFault> {
        match self {
            Source::Http1 { reader, decoder } => {
                let ended = reader.buffered().is_empty() && reader.fill(ms_max).await? == 0;
                let taken =
                    decoder.decode(reader.buffered(), content).map_err(|f| SourceFault::Framing(f.0))?;
                reader.consume(taken);
                if ended {
                    decoder.end().map_err(|_| SourceFault::Gone)?;
                }
                Ok(decoder.is_done())
            }
            Source::Http2(source) => source.next(ms_max, content).await,
        }
    }

    /// The trailers, once the last content was given.
    pub(crate) fn trailers(&self) -> &Fields {
        match self {
            Source::Http1 { decoder, .. } => decoder.trailers(),
            Source::Http2(source) => source.trailers(),
        }
    }
}

/// Where a message goes. Its head, content and end are laid down, and leave at a flush: what is whole by the first one
/// leaves with its length.
pub(crate) enum Sink<'a> {
    Http1(Http1Sink<'a>),
    Http2(Http2Sink),
}

impl Sink<'_> {
    /// Lays down a message's head, in place of what was laid down and has not left.
    pub(crate) fn head(&mut self, head: Head<'_>, fields: Fields, length: BodyLength) {
        match self {
            Sink::Http1(sink) => sink.head(head, fields, length),
            Sink::Http2(sink) => sink.head(head, fields, length),
        }
    }

    /// What is laid down from here on is content without framing.
    pub(crate) fn set_raw(&mut self) {
        match self {
            Sink::Http1(sink) => sink.coding = Some(Coding::UntilClose),
            Sink::Http2(_) => {}
        }
    }

    pub(crate) fn is_http2(&self) -> bool {
        matches!(self, Sink::Http2(_))
    }

    /// Whether the connection can go on behind a message, as far as its framing tells.
    pub(crate) fn persists(&self, length: BodyLength) -> bool {
        match self {
            Sink::Http1(sink) => sink.is_1_1 || length != BodyLength::Unknown,
            Sink::Http2(_) => true,
        }
    }

    /// Tells a client that waits with its body to go on (RFC 9110, section 10.1.1).
    pub(crate) async fn go_on(&mut self) -> Result<(), IoFault> {
        match self {
            Sink::Http1(sink) => sink.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec()).await.map(drop),
            Sink::Http2(sink) => sink.go_on(),
        }
    }

    /// Where content is laid down.
    pub(crate) fn content(&mut self) -> &mut Vec<u8> {
        match self {
            Sink::Http1(sink) => &mut sink.content,
            Sink::Http2(sink) => sink.content(),
        }
    }

    /// Nothing comes after what was laid down.
    pub(crate) fn end(&mut self, trailers: Fields) {
        match self {
            Sink::Http1(sink) => sink.trailers = Some(trailers),
            Sink::Http2(sink) => sink.end(trailers),
        }
    }

    /// Sends what was laid down.
    pub(crate) async fn flush(&mut self) -> Result<(), IoFault> {
        match self {
            Sink::Http1(sink) => sink.flush().await,
            Sink::Http2(sink) => sink.flush().await,
        }
    }
}

/// The first line of a message.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Head<'a> {
    Request {
        method: &'a str,
        target: &'a str,
    },
    /// `persists`: the connection goes on behind it.
    Response {
        status: u16,
        persists: bool,
    },
}

/// A message in HTTP/1.1 (RFC 9112).
pub(crate) struct Http1Sink<'a> {
    writer: &'a mut Writer,
    /// The peer reads chunks; else the end of the connection ends a body of unknown length.
    is_1_1: bool,
    /// A head whose framing is not known yet.
    head: Option<Vec<u8>>,
    coding: Option<Coding>,
    content: Vec<u8>,
    trailers: Option<Fields>,
    wire: Vec<u8>,
}

impl<'a> Http1Sink<'a> {
    pub(crate) fn new(writer: &'a mut Writer, is_1_1: bool) -> Http1Sink<'a> {
        Http1Sink {
            writer,
            is_1_1,
            head: None,
            coding: None,
            content: Vec::new(),
            trailers: None,
            wire: Vec::new(),
        }
    }

    fn head(&mut self, head: Head<'_>, mut fields: Fields, length: BodyLength) {
        // What was laid down before and has not left never leaves.
        self.content.clear();
        self.wire.clear();
        (self.trailers, self.coding) = (None, None);
        let mut out = std::mem::take(&mut self.wire);
        match head {
            Head::Request { method, target } => {
                for part in [method, " ", target, " HTTP/1.1\r\n"] {
                    out.extend_from_slice(part.as_bytes());
                }
            }
            Head::Response { status, persists } => {
                out.extend_from_slice(format!("HTTP/1.1 {status} {}\r\n", reason(status)).as_bytes());
                if !persists {
                    fields.push("Connection", "close");
                } else if !self.is_1_1 {
                    fields.push("Connection", "keep-alive");
                }
            }
        }
        if let BodyLength::Known(len) = length {
            fields.push("Content-Length", len.to_string());
            self.coding = Some(Coding::UntilClose);
        }
        if length == BodyLength::Upgraded {
            fields.push("Connection", "Upgrade");
            fields.push("Upgrade", "websocket");
            self.coding = Some(Coding::UntilClose);
        }
        fields.write(&mut out);
        if length == BodyLength::Unknown {
            self.head = Some(out);
        } else {
            out.extend_from_slice(b"\r\n");
            self.wire = out;
        }
    }

    async fn flush(&mut self) -> Result<(), IoFault> {
        if let Some(mut head) = self.head.take() {
            let coding = match (&self.trailers, self.is_1_1) {
                (Some(trailers), _) if trailers.is_empty() => {
                    head.extend_from_slice(
                        format!("Content-Length: {}\r\n\r\n", self.content.len()).as_bytes(),
                    );
                    Coding::UntilClose
                }
                (_, true) => {
                    head.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
                    Coding::Chunked
                }
                (_, false) => {
                    head.extend_from_slice(b"\r\n");
                    Coding::UntilClose
                }
            };
            self.coding = Some(coding);
            self.wire = head;
        }
        if let Some(coding) = self.coding {
            coding.write(&self.content, &mut self.wire);
            self.content.clear();
            if let Some(trailers) = self.trailers.take() {
                coding.end(&trailers, &mut self.wire);
            }
        }
        self.wire = self.writer.write(std::mem::take(&mut self.wire)).await?;
        Ok(())
    }
}
