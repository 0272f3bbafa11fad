//! The opening handshake (RFC 6455, section 4) on both sides: what is asked for and what is granted, without I/O.
//!
//! The upstream gets a key of our own, so that its accept answers this gateway and not a cache before it. Offers of
//! extensions do not go on: what they change of frames can't be scanned.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};
use sluice_audit::RequestId;

use crate::codec::fields::Fields;
use crate::codec::head::{RequestHead, ResponseHead, Upgrade};
use crate::problem::Problem;

/// Section 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Fields of the handshake that are each side's own.
const OWN: &[&str] = &["sec-websocket-key", "sec-websocket-accept"];
/// And what is not negotiated where frames are masked.
const EXTENSIONS: &str = "sec-websocket-extensions";

/// What a client asks for.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Handshake {
    /// The client's key: none in HTTP/2, which has no such thing (RFC 8441, section 5).
    key: Option<String>,
    /// Ours for the upstream.
    own: String,
    /// For frames of our own to the upstream.
    mask: [u8; 4],
    /// Subprotocols in order.
    protocols: Vec<String>,
}

impl Handshake {
    /// Of a request; none where it asks for no WebSocket.
    ///
    /// # Errors
    /// It asks in a way that is not valid.
    pub(crate) fn of(
        head: &RequestHead,
        id: RequestId,
        is_http2: bool,
    ) -> Result<Option<Handshake>, Problem> {
        match head.upgrade {
            Some(Upgrade::WebSocket) => {}
            None => return Ok(None),
        }
        if only(&head.fields, "sec-websocket-version") != Some("13") {
            return Err(Problem::WEBSOCKET_VERSION);
        }
        let key = if is_http2 {
            None
        } else {
            let key = only(&head.fields, "sec-websocket-key");
            let is_key = |key: &&str| STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16);
            Some(key.filter(is_key).ok_or(Problem::WEBSOCKET_KEY)?.to_owned())
        };
        // The client's key is a nonce that nobody else foresees, and so is what is made of it; without one the keys that
        // this process's maps have are.
        let seed = Sha1::new().chain_update(key.as_deref().unwrap_or_default()).chain_update(id.to_string());
        let seed = seed.chain_update(RandomState::new().hash_one(id).to_be_bytes());
        let seed: [u8; 20] = seed.finalize().into();
        let (own, mask) = seed.split_at(16);
        let protocols = list(&head.fields, "sec-websocket-protocol");
        let mask = mask.first_chunk().copied().unwrap_or_default();
        Ok(Some(Handshake { key, own: STANDARD.encode(own), mask, protocols }))
    }

    /// The fields of the request as the upstream gets them, of those that go on.
    pub(super) fn request(&self, fields: &Fields, is_off: bool) -> Fields {
        let mut fields = own_left_out(fields, is_off);
        fields.push("Sec-WebSocket-Key", self.own.as_str());
        fields
    }

    /// Checks the upstream's answer (section 4.1).
    ///
    /// # Errors
    /// It is no answer to what was asked.
    pub(super) fn check(&self, answer: &ResponseHead, is_off: bool) -> Result<(), Problem> {
        let chosen = list(&answer.fields, "sec-websocket-protocol");
        let is_offered = match chosen.as_slice() {
            [] => true,
            [one] => self.protocols.contains(one),
            [_, _, ..] => false,
        };
        let is_granted = answer.upgrade == Some(Upgrade::WebSocket)
            && only(&answer.fields, "sec-websocket-accept") == Some(&accept(&self.own))
            && is_offered
            && (is_off || list(&answer.fields, EXTENSIONS).is_empty());
        if is_granted { Ok(()) } else { Err(Problem::WEBSOCKET_ANSWER) }
    }

    /// The fields of the answer as the client gets them, of those that go on.
    pub(super) fn response(&self, fields: &Fields, is_off: bool) -> Fields {
        let mut fields = own_left_out(fields, is_off);
        if let Some(key) = &self.key {
            fields.push("Sec-WebSocket-Accept", accept(key));
        }
        fields
    }

    /// The key of frames of our own to the upstream.
    pub(super) fn mask(&self) -> [u8; 4] {
        self.mask
    }
}

/// The accept that answers a key (section 4.2.2).
fn accept(key: &str) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

fn own_left_out(fields: &Fields, is_off: bool) -> Fields {
    let mut kept = Fields::default();
    for (name, value) in fields.iter() {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        if !OWN.iter().any(|own| is(own)) && (is_off || !is(EXTENSIONS)) {
            kept.push(name, value);
        }
    }
    kept
}

/// The value of a field that comes once.
fn only<'a>(fields: &'a Fields, name: &'a str) -> Option<&'a str> {
    let mut values = fields.all(name);
    let value = values.next().and_then(|value| std::str::from_utf8(value).ok());
    value.filter(|_| values.next().is_none())
}

/// The members of a field that is a list (RFC 9110, section 5.6.1).
fn list(fields: &Fields, name: &str) -> Vec<String> {
    let text = |value| String::from_utf8_lossy(value).into_owned();
    let members = |value: String| -> Vec<String> {
        value.split(',').map(|member| member.trim().to_owned()).filter(|member| !member.is_empty()).collect()
    };
    fields.all(name).map(text).flat_map(members).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::head::{HeadLimits, parse_request, parse_response};
    use sluice_audit::RequestIds;

    const LIMITS: HeadLimits = HeadLimits { bytes_max: 4096, fields_max: 32, target_bytes_max: 100 };
    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    fn request(fields: &str) -> RequestHead {
        let text =
            format!("GET / HTTP/1.1\r\nHost: h\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n{fields}\r\n");
        parse_request(text.as_bytes(), &LIMITS).unwrap()
    }

    fn answer(fields: &str) -> ResponseHead {
        parse_response(format!("HTTP/1.1 101 x\r\n{fields}\r\n").as_bytes(), "GET", &LIMITS).unwrap()
    }

    fn of(fields: &str) -> Result<Handshake, Problem> {
        Handshake::of(&request(fields), RequestIds::new(0, 0).next(0), false).map(Option::unwrap)
    }

    /// RFC 6455, section 1.3.
    #[test]
    fn the_standards_example() {
        assert_eq!(accept(KEY), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn what_is_asked_for() {
        let version = "Sec-WebSocket-Version: 13\r\n";
        let key = format!("Sec-WebSocket-Key: {KEY}\r\n");
        for (fields, fault) in [
            (format!("{version}{key}"), None),
            (format!("{key}Sec-WebSocket-Version: 8\r\n"), Some(Problem::WEBSOCKET_VERSION)),
            (format!("{key}{version}{version}"), Some(Problem::WEBSOCKET_VERSION)),
            (key.clone(), Some(Problem::WEBSOCKET_VERSION)),
            (version.to_owned(), Some(Problem::WEBSOCKET_KEY)),
            (format!("{version}{key}{key}"), Some(Problem::WEBSOCKET_KEY)),
            (format!("{version}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ\r\n"), Some(Problem::WEBSOCKET_KEY)),
            (format!("{version}Sec-WebSocket-Key: dGhlIHNhbXBsZQ==\r\n"), Some(Problem::WEBSOCKET_KEY)),
            (format!("{version}Sec-WebSocket-Key: not base64 at all!!!\r\n"), Some(Problem::WEBSOCKET_KEY)),
        ] {
            assert_eq!(of(&fields).err(), fault, "{fields}");
        }
        let plain =
            parse_request(b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n", &LIMITS).unwrap();
        let id = || RequestIds::new(0, 0).next(0);
        assert!(Handshake::of(&plain, id(), false).unwrap().is_none());
        let keyless = Handshake::of(&request(version), id(), true).unwrap().unwrap();
        assert!(!keyless.response(&Fields::default(), false).has("sec-websocket-accept"));
        assert_eq!(STANDARD.decode(&keyless.own).unwrap().len(), 16);
    }

    #[test]
    fn what_goes_on() {
        let asked = of(&format!("Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n")).unwrap();
        let mut fields = Fields::default();
        for (name, value) in [
            ("sec-websocket-KEY", KEY),
            ("Sec-WebSocket-Extensions", "permessage-deflate"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Accept", "x"),
        ] {
            fields.push(name, value);
        }
        let names = |fields: Fields| -> Vec<String> { fields.iter().map(|(n, _)| n.to_owned()).collect() };
        assert_eq!(names(asked.request(&fields, false)), ["Sec-WebSocket-Version", "Sec-WebSocket-Key"]);
        assert_eq!(asked.request(&fields, false).text("sec-websocket-key"), Some(asked.own.as_str()));
        assert_ne!(asked.own, KEY);
        assert_eq!(names(asked.response(&fields, false)), ["Sec-WebSocket-Version", "Sec-WebSocket-Accept"]);
        assert_eq!(
            asked.response(&fields, true).text("sec-websocket-accept"),
            Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        );
        assert!(asked.response(&fields, true).has("sec-websocket-extensions"));
    }

    #[test]
    fn what_is_granted() {
        let asked = of(&format!(
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Protocol: a, b\r\n"
        ));
        let asked = asked.unwrap();
        let (right, of_client) = (accept(&asked.own), accept(KEY));
        let switched = "Upgrade: websocket\r\nConnection: upgrade\r\n";
        for (fields, is_granted) in [
            (format!("{switched}Sec-WebSocket-Accept: {right}\r\n"), true),
            (format!("{switched}Sec-WebSocket-Accept: {right}\r\nSec-WebSocket-Protocol: b\r\n"), true),
            (format!("{switched}Sec-WebSocket-Accept: {right}\r\nSec-WebSocket-Protocol: c\r\n"), false),
            (format!("{switched}Sec-WebSocket-Accept: {right}\r\nSec-WebSocket-Protocol: a, b\r\n"), false),
            (
                format!(
                    "{switched}Sec-WebSocket-Accept: {right}\r\nSec-WebSocket-Extensions: permessage-deflate\r\n"
                ),
                false,
            ),
            (format!("{switched}Sec-WebSocket-Accept: {of_client}\r\n"), false),
            (format!("{switched}Sec-WebSocket-Accept: {right}\r\nSec-WebSocket-Accept: {right}\r\n"), false),
            (switched.to_owned(), false),
            (format!("Upgrade: websocket\r\nSec-WebSocket-Accept: {right}\r\n"), false),
            (format!("Upgrade: h2c\r\nConnection: upgrade\r\nSec-WebSocket-Accept: {right}\r\n"), false),
        ] {
            assert_eq!(asked.check(&answer(&fields), false).is_ok(), is_granted, "{fields}");
        }
    }
}
