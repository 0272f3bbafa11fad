//! A WebSocket by hand (RFC 6455): handshakes and frames of both sides, byte by byte the test's own.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};
use sluice_tests::process::Gateway;
use sluice_tests::upstream::Upstream;
use sluice_tests::wire::{Head, Wire};

pub(crate) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub(crate) const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

pub(crate) const CONTINUATION: u8 = 0;
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;
/// Set in the first byte of a message's last frame.
pub(crate) const FIN: u8 = 0x80;

/// Section 4.2.2.
pub(crate) fn accept_of(key: &str) -> String {
    let digest =
        Sha1::new().chain_update(key).chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11").finalize();
    STANDARD.encode(digest)
}

/// A request for a WebSocket, with further fields.
pub(crate) fn asking(fields: &str) -> String {
    format!(
        "GET /v1/realtime HTTP/1.1\r\nhost: test\r\nupgrade: websocket\r\nconnection: keep-alive, Upgrade\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: {KEY}\r\n{fields}\r\n"
    )
}

/// The answer to a request, with further fields.
pub(crate) fn granting(request: &Head, fields: &str) -> String {
    let accept = accept_of(request.field("sec-websocket-key").expect("a key comes"));
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
         sec-websocket-accept: {accept}\r\n{fields}\r\n"
    )
}

/// A frame: `first` is opcode and bits.
pub(crate) fn frame(first: u8, mask: Option<[u8; 4]>, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let bit = if mask.is_some() { 0x80 } else { 0 };
    let mut out = vec![first];
    match payload.len() {
        len @ 0..126 => out.push(bit | len as u8),
        len @ 126..0x1_0000 => {
            out.push(bit | 126);
            out.extend((len as u16).to_be_bytes());
        }
        len => {
            out.push(bit | 127);
            out.extend((len as u64).to_be_bytes());
        }
    }
    out.extend(mask.into_iter().flatten());
    let key = mask.unwrap_or_default();
    out.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    out
}

/// A frame as it was read: its first byte, whether it had a key, its payload.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) first: u8,
    pub(crate) is_masked: bool,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn opcode(&self) -> u8 {
        self.first & 15
    }

    /// Of a close.
    pub(crate) fn code(&self) -> Option<u16> {
        assert_eq!(self.opcode(), CLOSE, "{self:?}");
        self.payload.first_chunk().map(|code| u16::from_be_bytes(*code))
    }
}

/// The next frame; none at the end of the stream.
pub(crate) fn read(wire: &mut Wire) -> Option<Frame> {
    let head = wire.bytes(2);
    let [first, second] = *head.as_slice() else {
        assert!(head.is_empty(), "the stream ends in a header");
        return None;
    };
    let long = match second & 0x7F {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let digits = wire.bytes(long);
    let len = digits.iter().fold(0, |len, byte| len << 8 | usize::from(*byte));
    let len = if long == 0 { usize::from(second & 0x7F) } else { len };
    let is_masked = second & 0x80 != 0;
    let key = wire.bytes(if is_masked { 4 } else { 0 });
    let mut payload = wire.bytes(len);
    assert_eq!(payload.len(), len, "the stream ends in a frame");
    if is_masked {
        payload.iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
    }
    Some(Frame { first, is_masked, payload })
}

/// The next message, and the control frames that came before its end.
pub(crate) fn message(wire: &mut Wire) -> (u8, Vec<u8>, Vec<Frame>) {
    let (mut kind, mut payload, mut control) = (None, Vec::new(), Vec::new());
    loop {
        let frame = read(wire).expect("a message comes");
        if frame.opcode() >= 8 {
            assert_ne!(frame.opcode(), CLOSE, "a message comes before the close");
            control.push(frame);
            continue;
        }
        assert_eq!(frame.opcode() == CONTINUATION, kind.is_some(), "fragments follow one another");
        kind = kind.or(Some(frame.opcode()));
        payload.extend(&frame.payload);
        if frame.first & FIN != 0 {
            return (kind.expect("a message has a kind"), payload, control);
        }
    }
}

/// Both ends of a session through a gateway.
pub(crate) struct Session {
    pub(crate) client: Wire,
    pub(crate) server: Wire,
}

impl Session {
    pub(crate) fn open(gateway: &Gateway, upstream: &Upstream) -> Session {
        Session::over(Wire::connect(gateway.address), |upstream| upstream.accept(), upstream)
    }

    /// Over connections of any kind.
    pub(crate) fn over(
        mut client: Wire,
        accept: impl FnOnce(&Upstream) -> Wire,
        upstream: &Upstream,
    ) -> Session {
        client.send(asking(""));
        let mut server = accept(upstream);
        let request = server.head();
        server.send(granting(&request, ""));
        let answer = client.head();
        assert_eq!(answer.status(), 101, "{answer:?}");
        assert_eq!(answer.field("sec-websocket-accept"), Some(accept_of(KEY).as_str()));
        Session { client, server }
    }

    /// Sends a frame from the client.
    pub(crate) fn ask(&mut self, first: u8, payload: impl AsRef<[u8]>) {
        self.client.send(frame(first, Some(MASK), payload));
    }

    /// Sends a frame from the server.
    pub(crate) fn answer(&mut self, first: u8, payload: impl AsRef<[u8]>) {
        self.server.send(frame(first, None, payload));
    }
}
