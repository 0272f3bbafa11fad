//! HTTP/2 by hand: frames as a test lays them down, well formed or not, and frames as they come back.
//!
//! Heads are written without compression and are not read: a test looks at what kinds of frames come, for which stream,
//! and with which code.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::wire::WAIT;

/// What a client sends first.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Content.
pub const DATA: u8 = 0;
/// A head, or trailers.
pub const HEADERS: u8 = 1;
/// Deprecated.
pub const PRIORITY: u8 = 2;
/// Ends a stream.
pub const RST_STREAM: u8 = 3;
/// What a side takes.
pub const SETTINGS: u8 = 4;
/// A promise.
pub const PUSH_PROMISE: u8 = 5;
/// Asks whether the peer is there.
pub const PING: u8 = 6;
/// Ends a connection.
pub const GOAWAY: u8 = 7;
/// Opens a window.
pub const WINDOW_UPDATE: u8 = 8;
/// More of a head.
pub const CONTINUATION: u8 = 9;

/// Flag of DATA and HEADERS.
pub const END_STREAM: u8 = 1;
/// Flag of SETTINGS and PING.
pub const ACK: u8 = 1;
/// Flag of HEADERS and CONTINUATION.
pub const END_HEADERS: u8 = 4;
/// Flag of DATA and HEADERS.
pub const PADDED: u8 = 8;
/// Flag of HEADERS.
pub const WITH_PRIORITY: u8 = 32;

/// A frame as it is on the wire.
#[must_use]
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
    let mut out = vec![len[1], len[2], len[3], kind, flags];
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// A field as a literal that enters no table (RFC 7541, section 6.2.2).
#[must_use]
pub fn literal(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Vec<u8> {
    let mut out = vec![0];
    for text in [name.as_ref(), value.as_ref()] {
        let mut len = text.len();
        if len < 127 {
            out.push(len as u8);
        } else {
            out.push(127);
            len -= 127;
            while len >= 128 {
                out.push((len % 128) as u8 | 128);
                len /= 128;
            }
            out.push(len as u8);
        }
        out.extend_from_slice(text);
    }
    out
}

/// A block of fields.
#[must_use]
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| literal(name, value)).collect()
}

/// The fields that every request has, and more.
#[must_use]
pub fn request(method: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let pseudo = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "test")];
    [block(&pseudo), block(more)].concat()
}

/// A whole `GET`.
#[must_use]
pub fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &request("GET", path, &[]))
}

/// A frame that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream; 0: the connection.
    pub stream: u32,
    /// What is behind its header.
    pub payload: Vec<u8>,
}

impl Frame {
    /// The code of a RST_STREAM or GOAWAY.
    #[must_use]
    pub fn code(&self) -> Option<u32> {
        let at = match self.kind {
            RST_STREAM => 0,
            GOAWAY => 4,
            _ => return None,
        };
        let bytes = self.payload.get(at..at + 4)?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    }

    /// Whether it is a head with status 200, which every encoder writes as one byte.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.kind == HEADERS && self.payload.first() == Some(&0x88)
    }
}

/// A connection of frames.
#[derive(Debug)]
pub struct Frames {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Frames {
    /// Connects and sends nothing.
    #[must_use]
    pub fn silent(address: SocketAddr) -> Frames {
        Frames::over(TcpStream::connect_timeout(&address, WAIT).expect("it accepts connections"))
    }

    /// Takes over a connection.
    #[must_use]
    pub fn over(stream: TcpStream) -> Frames {
        stream.set_read_timeout(Some(WAIT)).expect("a timeout can be set");
        stream.set_write_timeout(Some(WAIT)).expect("a timeout can be set");
        stream.set_nodelay(true).expect("Nagle's algorithm can be switched off");
        Frames { stream, buffer: Vec::new() }
    }

    /// Connects, and sends the preface and empty settings.
    #[must_use]
    pub fn connect(address: SocketAddr) -> Frames {
        let mut frames = Frames::silent(address);
        frames.send(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat());
        frames
    }

    /// Takes over a connection as its server: takes the preface, and sends empty settings.
    #[must_use]
    pub fn accept(stream: TcpStream) -> Frames {
        let mut frames = Frames::over(stream);
        let mut preface = [0; PREFACE.len()];
        frames.stream.read_exact(&mut preface).expect("a preface comes");
        assert_eq!(preface, PREFACE, "another preface");
        frames.send(&frame(SETTINGS, 0, 0, &[]));
        frames
    }

    /// The connection itself.
    #[must_use]
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends bytes; false when the peer takes no more.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// The next frame; `None` at the end of the connection.
    pub fn read(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.take() {
                return Some(frame);
            }
            let mut chunk = [0; 16 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) => return None,
                Ok(len) => self.buffer.extend_from_slice(&chunk[..len]),
                Err(e) if matches!(e.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                    return None;
                }
                Err(e) => panic!("no frame came: {e}"),
            }
        }
    }

    fn take(&mut self) -> Option<Frame> {
        let header = self.buffer.get(..9)?;
        let len = usize::from(header[0]) << 16 | usize::from(header[1]) << 8 | usize::from(header[2]);
        let (kind, flags) = (header[3], header[4]);
        let stream = u32::from_be_bytes(header[5..9].try_into().expect("four bytes")) & 0x7FFF_FFFF;
        let payload = self.buffer.get(9..9 + len)?.to_vec();
        self.buffer.drain(..9 + len);
        Some(Frame { kind, flags, stream, payload })
    }

    /// The next frame that `wanted` takes; `None` at the end of the connection.
    pub fn find(&mut self, wanted: impl Fn(&Frame) -> bool) -> Option<Frame> {
        loop {
            let frame = self.read()?;
            if wanted(&frame) {
                return Some(frame);
            }
        }
    }

    /// Whether a request on a new stream is answered with 200.
    pub fn answers(&mut self, stream: u32) -> bool {
        self.send(&get(stream, "/still-there"))
            && self.find(|f| f.stream == stream && f.kind == HEADERS).is_some_and(|f| f.is_ok())
    }
}
