//! HTTP/2 (RFC 9113) on both sides: the `h2` crate's frames over our connections, its streams as exchanges.
//!
//! ```text
//!   server: connection ──► stream ──► head (the rules of HTTP/1.1's) ──► exchange ──► Sink
//!   client: pool ──► connection ──► stream: Sink, Answer ──► Source
//! ```
//!
//! Flow control goes through from end to end: a window opens only once what came was sent on, and nothing more is read
//! from one side than the other side takes. What a peer may make us hold is bounded by the settings here.

pub(crate) mod client;
pub(crate) mod guard;
pub(crate) mod head;
pub(crate) mod io;
pub(crate) mod message;
pub(crate) mod server;

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::codec::fields::Fields;

/// What a client with prior knowledge sends first (RFC 9113, section 3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The protocol's name in TLS (RFC 9113, section 3.2).
pub(crate) const ALPN: &[u8] = b"h2";

/// Bytes of one stream that the peer may send before they were passed on. What a stream holds at most.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
/// Bytes of a frame's payload.
const FRAME_BYTES_MAX: u32 = 16 * 1024;
/// Bytes of one stream that wait to be written.
const SEND_BYTES_MAX: usize = 64 * 1024;
/// Overhead of small DATA frames that may wait to be passed on, by the codec's count: 256 bytes a frame less its
/// payload. As much as one and a half windows of 50-byte events on every stream at once, all of them stalled.
const SMALL_FRAMES_BYTES_MAX: usize = 40 * 1024 * 1024;
/// Streams that we reset and still know (RFC 9113, section 5.4.2), and for how long.
const RESET_STREAMS_MAX: usize = 32;
const RESET_STREAMS_TIME: Duration = Duration::from_secs(1);
/// Streams that the peer reset before they were taken up (CVE-2023-44487).
const PENDING_RESETS_MAX: usize = 20;
/// Streams that faults of the peer made us reset (CVE-2025-8671), over the life of a connection.
const FAULTS_MAX: usize = 100;

/// Fields that must not enter tables which later fields are compared with (RFC 7541, section 7.1.3).
const NEVER_INDEXED: &[&str] =
    &["authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "api-key"];

/// The fields of a message, in our form.
pub(crate) fn fields_of(map: &HeaderMap) -> Fields {
    let mut fields = Fields::default();
    map.iter().for_each(|(name, value)| fields.push(name.as_str(), value.as_bytes()));
    fields
}

/// The fields of a message as the codec takes them; `None` when a name is none. What a value must not hold becomes a
/// space, as in HTTP/1.1.
pub(crate) fn map_of(fields: &Fields) -> Option<HeaderMap> {
    let mut map = HeaderMap::with_capacity(fields.len());
    for (name, value) in fields.iter() {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        let mut value = HeaderValue::from_bytes(value).or_else(|_| {
            let held: Vec<u8> = value
                .iter()
                .map(|b| if *b < b' ' && *b != b'\t' || *b == 0x7F { b' ' } else { *b })
                .collect();
            HeaderValue::from_bytes(&held)
        });
        if let Ok(value) = &mut value {
            value.set_sensitive(NEVER_INDEXED.contains(&name.as_str()));
        }
        map.try_append(name, value.ok()?).ok()?;
    }
    Some(map)
}
