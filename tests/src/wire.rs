//! HTTP/1.1 by hand, for either side of a connection.
//!
//! Written for tests: it sends exactly the bytes it is given, reads strictly, and fails the test on anything that is
//! not as RFC 9112 says.

use std::fmt::Debug;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// How long any single read or write may wait.
pub const WAIT: Duration = Duration::from_secs(15);

/// The head of a message.
#[derive(Clone, Debug)]
pub struct Head {
    /// The first line: request line or status line.
    pub line: String,
    /// Fields in order, names in lower case.
    pub fields: Vec<(String, String)>,
}

impl Head {
    /// The value of a field, the first one of that name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The status code of a response.
    #[must_use]
    pub fn status(&self) -> u16 {
        let code = self.line.split(' ').nth(1).expect("a status line has a code");
        code.parse().expect("a status code is a number")
    }

    /// The method of a request.
    #[must_use]
    pub fn method(&self) -> &str {
        self.line.split(' ').next().expect("a request line has a method")
    }

    /// The target of a request.
    #[must_use]
    pub fn target(&self) -> &str {
        self.line.split(' ').nth(1).expect("a request line has a target")
    }

    /// Whether the body is chunked.
    #[must_use]
    pub fn is_chunked(&self) -> bool {
        self.field("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked"))
    }

    /// The length of the body as stated.
    #[must_use]
    pub fn length(&self) -> Option<usize> {
        self.field("content-length").map(|v| v.parse().expect("a length is a number"))
    }
}

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// As its framing says it must.
    Complete,
    /// The connection closed before.
    Truncated,
}

/// A whole message.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its head.
    pub head: Head,
    /// Its content, without framing.
    pub body: Vec<u8>,
    /// How it ended.
    pub end: End,
    /// Trailer fields.
    pub trailers: Vec<(String, String)>,
}

impl Message {
    /// The status code of a response.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.head.status()
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is UTF-8")
    }

    /// The body as JSON.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e} in {:?}", String::from_utf8_lossy(&self.body)))
    }
}

/// What carries the bytes of a connection: TCP, or TLS over it.
pub trait Carrier: Read + Write + Debug + Send {
    /// Says on its own level that nothing more will be sent.
    ///
    /// # Errors
    /// The peer is gone.
    fn end(&mut self) -> io::Result<()>;
}

impl Carrier for TcpStream {
    fn end(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

/// One side of a connection.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    carrier: Box<dyn Carrier>,
    /// Read and not yet taken.
    buffer: Vec<u8>,
    /// It ended by a reset, or TLS without saying so: what has come may not be all.
    is_cut: bool,
}

impl Wire {
    /// Connects as a client.
    #[must_use]
    pub fn connect(address: SocketAddr) -> Wire {
        Wire::new(TcpStream::connect_timeout(&address, WAIT).expect("it accepts connections"))
    }

    /// Takes over a connection.
    #[must_use]
    pub fn new(stream: TcpStream) -> Wire {
        let carrier = stream.try_clone().expect("a socket can be named twice");
        Wire::carried(stream, carrier)
    }

    /// Takes over a connection whose bytes `carrier` carries.
    #[must_use]
    pub fn carried(stream: TcpStream, carrier: impl Carrier + 'static) -> Wire {
        stream.set_read_timeout(Some(WAIT)).expect("a timeout can be set");
        stream.set_write_timeout(Some(WAIT)).expect("a timeout can be set");
        stream.set_nodelay(true).expect("Nagle's algorithm can be switched off");
        Wire { stream, carrier: Box::new(carrier), buffer: Vec::new(), is_cut: false }
    }

    /// The connection itself.
    #[must_use]
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends these bytes.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).then_some(()).expect("the peer takes bytes");
    }

    /// Sends these bytes; the peer may have closed the connection by now.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.carrier.write_all(bytes.as_ref()).and_then(|()| self.carrier.flush()).is_ok()
    }

    /// Sends one chunk (RFC 9112, section 7.1).
    pub fn send_chunk(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        let mut framed = format!("{:x}\r\n", bytes.len()).into_bytes();
        framed.extend_from_slice(bytes);
        framed.extend_from_slice(b"\r\n");
        self.send(framed);
    }

    /// Says that nothing more will be sent.
    pub fn end_sending(&mut self) {
        // The peer may have closed the connection by now.
        let _ = self.carrier.end();
    }

    /// Reads more; `false` at the end of the stream, or where the peer reset it.
    fn fill(&mut self) -> bool {
        let mut chunk = [0; 16 * 1024];
        loop {
            match self.carrier.read(&mut chunk) {
                Ok(0) => return false,
                Ok(n) => {
                    self.buffer.extend_from_slice(chunk.get(..n).expect("a read is within its buffer"));
                    return true;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if matches!(e.kind(), ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof) => {
                    self.is_cut = true;
                    return false;
                }
                Err(e) => {
                    panic!("nothing came in time ({e}); so far {:?}", String::from_utf8_lossy(&self.buffer))
                }
            }
        }
    }

    /// Takes the next line without its CRLF; `None` at the end of the stream.
    fn line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.buffer.windows(2).position(|w| w == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..at + 2).take(at).collect();
                return Some(String::from_utf8(line).expect("a line is UTF-8"));
            }
            if !self.fill() {
                return None;
            }
        }
    }

    /// Reads `n` bytes; fewer at the end of the stream.
    fn take(&mut self, n: usize) -> Vec<u8> {
        while self.buffer.len() < n && self.fill() {}
        let n = n.min(self.buffer.len());
        self.buffer.drain(..n).collect()
    }

    /// Reads so many bytes; fewer at the end of the stream, or where the peer reset it.
    pub fn bytes(&mut self, n: usize) -> Vec<u8> {
        self.take(n)
    }

    /// Reads fields up to the empty line; `None` where the stream ends before.
    fn fields(&mut self) -> Option<Vec<(String, String)>> {
        let mut fields = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Some(fields);
            }
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("not a field: {line:?}"));
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// Reads a head; `None` where the stream ends first.
    pub fn try_head(&mut self) -> Option<Head> {
        let line = self.line()?;
        Some(Head { line, fields: self.fields()? })
    }

    /// Reads a head.
    pub fn head(&mut self) -> Head {
        self.try_head().expect("a head comes before the end of the stream")
    }

    /// Reads the data of the next chunk; empty is the last one; `None` where the stream ends first.
    pub fn try_chunk(&mut self) -> Option<Vec<u8>> {
        let line = self.line()?;
        let digits = line.split(';').next().unwrap_or("").trim();
        let size = usize::from_str_radix(digits, 16).unwrap_or_else(|_| panic!("not a chunk size: {line:?}"));
        if size == 0 {
            return Some(Vec::new());
        }
        let data = self.take(size);
        if data.len() < size {
            return None;
        }
        let end = self.take(2);
        assert!(end.is_empty() || end == b"\r\n", "a chunk ends with {end:?}");
        (end.len() == 2).then_some(data)
    }

    /// Reads the body of a request, or of a response to a request other than HEAD.
    pub fn body_of(&mut self, head: Head) -> Message {
        let response = head.line.starts_with("HTTP/");
        let (mut body, mut trailers, mut end) = (Vec::new(), Vec::new(), End::Complete);
        if response && (head.status() / 100 == 1 || head.status() == 204 || head.status() == 304) {
            assert!(head.field("transfer-encoding").is_none(), "no framing belongs here: {head:?}");
        } else if head.is_chunked() {
            assert!(head.length().is_none(), "two framings at once: {head:?}");
            end = End::Truncated;
            while let Some(data) = self.try_chunk() {
                if data.is_empty() {
                    if let Some(fields) = self.fields() {
                        (trailers, end) = (fields, End::Complete);
                    }
                    break;
                }
                body.extend(data);
            }
        } else if let Some(length) = head.length() {
            body = self.take(length);
            end = if body.len() == length { End::Complete } else { End::Truncated };
        } else if response {
            while self.fill() {}
            body = std::mem::take(&mut self.buffer);
            end = if self.is_cut { End::Truncated } else { End::Complete };
        }
        Message { head, body, end, trailers }
    }

    /// Reads a message; interim responses (1xx) are left out.
    pub fn message(&mut self) -> Message {
        loop {
            let head = self.head();
            if head.line.starts_with("HTTP/") && head.status() / 100 == 1 {
                continue;
            }
            return self.body_of(head);
        }
    }

    /// Sends a request and reads its response.
    pub fn exchange(&mut self, request: impl AsRef<[u8]>) -> Message {
        self.send(request);
        self.message()
    }

    /// Reads until what was read since the last call holds `wanted`, and gives all of it.
    pub fn read_until(&mut self, wanted: &[u8]) -> Vec<u8> {
        while !self.buffer.windows(wanted.len()).any(|w| w == wanted) {
            assert!(self.fill(), "the stream ended with {:?}", String::from_utf8_lossy(&self.buffer));
        }
        std::mem::take(&mut self.buffer)
    }

    /// Reads to the end of the stream.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.buffer)
    }

    /// Reads to the end of the stream; whether that end is a reset.
    pub fn ends_by_reset(&mut self) -> bool {
        let mut chunk = [0; 16 * 1024];
        loop {
            match self.carrier.read(&mut chunk) {
                Ok(0) => return false,
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::ConnectionReset => return true,
                Err(e) => panic!("the stream does not end: {e}"),
            }
        }
    }

    /// Whether the peer has closed the connection with nothing more to read.
    pub fn is_at_end(&mut self) -> bool {
        self.buffer.is_empty() && !self.fill()
    }
}

/// A request with a sized body.
#[must_use]
pub fn post(path: &str, content_type: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nhost: test\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    request
}

/// A response with a sized body.
#[must_use]
pub fn ok(content_type: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut response =
        format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n", body.len())
            .into_bytes();
    response.extend_from_slice(body);
    response
}
