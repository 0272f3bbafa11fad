//! The PROXY protocol, versions 1 and 2 (haproxy's proxy-protocol.txt): a header before the first byte of a connection
//! that tells for whom a proxy made it.
//!
//! ```text
//!   accepted ──trusted──► header ──whole──► TLS, HTTP
//!      │ not trusted        │ none, not valid, too slow
//!      ▼                    ▼
//!    closed               closed          (nothing was read of what is no header, nothing was sent)
//! ```
//!
//! A header is read to its last byte and no further, so that TLS finds its own first byte: what [`step`] asks for always
//! belongs to the header.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use monoio::io::AsyncReadRent;

use super::connection::Stream;
use crate::client::Client;
use crate::config::ListenerConfig;

/// The longest header of version 1, with its CRLF (section 2.1).
const V1_BYTES_MAX: usize = 107;
/// The longest header of version 2 that is taken: addresses, and a few of the values behind them.
const V2_BYTES_MAX: usize = 4096;
/// Section 2.2.
const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const V2_PREFIX_BYTES: usize = 16;
/// `PP2_TYPE_CRC32C`.
const TYPE_CRC32C: u8 = 3;

/// A header that is no header, or one that can't be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Invalid;

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// At least so many bytes of the header are missing.
    More(usize),
    Done(Told),
}

/// Whom a header names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// The proxy itself, or nobody it knows.
    Proxy,
    /// A client; none: one without an address.
    Client(Option<SocketAddr>),
}

/// Lets a connection in: at once, or behind its header where the listener asks for one. `None`: it is to be closed.
pub(crate) async fn admit(
    mut stream: Stream,
    peer: Option<SocketAddr>,
    listener: ListenerConfig,
    ms_max: u64,
) -> Option<(Stream, Client)> {
    let mut client = Client::new(peer, listener);
    if !client.listener.proxy_protocol {
        return Some((stream, client));
    }
    if !client.is_trusted() {
        return None;
    }
    let read = monoio::time::timeout(Duration::from_millis(ms_max), read(&mut stream));
    match read.await.ok()?? {
        Told::Proxy => {}
        Told::Client(address) => (client.via, client.peer) = (client.peer, address),
    }
    Some((stream, client))
}

async fn read(stream: &mut Stream) -> Option<Told> {
    let mut header = Vec::new();
    loop {
        let missing = match step(&header).ok()? {
            Step::Done(told) => return Some(told),
            Step::More(missing) => missing,
        };
        // A buffer of just that size: what is behind the header stays in the socket.
        let buffer = vec![0; missing].into_boxed_slice();
        let (len, buffer) = match stream {
            Stream::Tcp(stream) => stream.read(buffer).await,
            Stream::Unix(stream) => stream.read(buffer).await,
        };
        let came = buffer.get(..len.ok()?).filter(|came| !came.is_empty())?;
        header.extend_from_slice(came);
    }
}

/// Reads a header as far as it is in.
fn step(header: &[u8]) -> Result<Step, Invalid> {
    let signature = V2_SIGNATURE.get(..header.len().min(V2_SIGNATURE.len())).unwrap_or_default();
    match V2_SIGNATURE.len().checked_sub(header.len()) {
        _ if !header.starts_with(signature) => version_1(header),
        // No header is shorter, of either version.
        Some(missing @ 1..) => Ok(Step::More(missing)),
        Some(0) | None => version_2(header),
    }
}

/// Section 2.1.
fn version_1(header: &[u8]) -> Result<Step, Invalid> {
    const START: &[u8] = b"PROXY ";
    let start = START.get(..header.len().min(START.len())).unwrap_or_default();
    if !header.starts_with(start) {
        return Err(Invalid);
    }
    if let [line @ .., b'\r', b'\n'] = header {
        return line_1(line).map(Step::Done).ok_or(Invalid);
    }
    let line = header.strip_suffix(b"\r").unwrap_or(header);
    if !is_text(line) || header.len() >= V1_BYTES_MAX {
        return Err(Invalid);
    }
    // The shortest one is `PROXY UNKNOWN`.
    let missing = match header {
        [.., b'\r'] => 1,
        _ => 15usize.saturating_sub(header.len()).max(2).min(V1_BYTES_MAX - header.len()),
    };
    Ok(Step::More(missing))
}

fn is_text(line: &[u8]) -> bool {
    line.iter().all(|b| matches!(b, b' '..=b'~'))
}

/// A line of version 1 without its end.
fn line_1(line: &[u8]) -> Option<Told> {
    let text = std::str::from_utf8(line).ok().filter(|_| is_text(line))?;
    let mut words = text.split(' ');
    words.next().filter(|word| *word == "PROXY")?;
    let kind = words.next()?;
    if kind == "UNKNOWN" {
        return Some(Told::Proxy);
    }
    let (source, destination) = (words.next()?, words.next()?);
    let address = |text: &str| -> Option<IpAddr> {
        match kind {
            "TCP4" => text.parse().ok().map(IpAddr::V4),
            "TCP6" => text.parse().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    let port = |text: &str| -> Option<u16> {
        let is_number = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
        text.parse().ok().filter(|_| is_number)
    };
    let (source, _) = (address(source)?, address(destination)?);
    let (port, _) = (port(words.next()?)?, port(words.next()?)?);
    words.next().is_none().then_some(Told::Client(Some(SocketAddr::new(source, port))))
}

/// Section 2.2.
fn version_2(header: &[u8]) -> Result<Step, Invalid> {
    let [.., kind, family, high, low] = *header.get(..V2_PREFIX_BYTES).unwrap_or_default() else {
        return Ok(Step::More(V2_PREFIX_BYTES - header.len()));
    };
    let whole = V2_PREFIX_BYTES + usize::from(u16::from_be_bytes([high, low]));
    if kind >> 4 != 2 || kind & 15 > 1 || whole > V2_BYTES_MAX {
        return Err(Invalid);
    }
    if header.len() < whole {
        return Ok(Step::More(whole - header.len()));
    }
    if kind & 15 == 0 {
        return Ok(Step::Done(Told::Proxy));
    }
    let rest = header.get(V2_PREFIX_BYTES..).unwrap_or_default();
    let (told, values) = addresses_2(family, rest).ok_or(Invalid)?;
    check_values(header, values)?;
    Ok(Step::Done(told))
}

/// The addresses of version 2, and what is behind them.
fn addresses_2(family: u8, rest: &[u8]) -> Option<(Told, &[u8])> {
    match family {
        0x00 => Some((Told::Proxy, rest)),
        0x11 => {
            let ([a, b, c, d, _, _, _, _, high, low, _, _], values) = rest.split_first_chunk::<12>()?;
            let address =
                SocketAddr::from((Ipv4Addr::new(*a, *b, *c, *d), u16::from_be_bytes([*high, *low])));
            Some((Told::Client(Some(address)), values))
        }
        0x21 => {
            let (addresses, values) = rest.split_first_chunk::<36>()?;
            let source: Ipv6Addr = addresses.first_chunk::<16>().copied().map(Ipv6Addr::from)?;
            let (high, low) = (*addresses.get(32)?, *addresses.get(33)?);
            let address = SocketAddr::from((source, u16::from_be_bytes([high, low])));
            Some((Told::Client(Some(address)), values))
        }
        0x31 => rest.split_first_chunk::<216>().map(|(_, values)| (Told::Client(None), values)),
        // Datagrams are no streams.
        _ => None,
    }
}

/// The values of type and length behind the addresses: skipped, but for the checksum (section 2.2.3).
fn check_values(header: &[u8], mut values: &[u8]) -> Result<(), Invalid> {
    while let Some(([kind, high, low], rest)) = values.split_first_chunk::<3>() {
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        let (value, after) = rest.split_at_checked(len).ok_or(Invalid)?;
        if *kind == TYPE_CRC32C {
            let wanted = u32::from_be_bytes(*value.first_chunk::<4>().filter(|_| len == 4).ok_or(Invalid)?);
            let at = header.len() - rest.len();
            let (before, behind) = header.split_at_checked(at).ok_or(Invalid)?;
            let zeroed = before.iter().chain(&[0; 4]).chain(behind.get(4..).unwrap_or_default());
            if crc32c(zeroed) != wanted {
                return Err(Invalid);
            }
        }
        values = after;
    }
    if values.is_empty() { Ok(()) } else { Err(Invalid) }
}

/// CRC-32C (RFC 9260, appendix A), a bit at a time: headers are short and few have one.
fn crc32c<'a>(bytes: impl Iterator<Item = &'a u8>) -> u32 {
    !bytes.fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82F6_3B78 & (crc & 1).wrapping_neg()))
    })
}

#[cfg(test)]
mod tests;
