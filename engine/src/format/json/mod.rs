//! JSON (RFC 8259) as a stream: each string, key and number is a logical text of its own.
//!
//! The tokenizer's memory is constant but for the stack of containers, which has a limit. A string that is the
//! value of a key is scanned behind the context `"key":"`, so that rules which read the name of a value find it
//! there as they would in the raw text; an element of an array has the key of the array.
//!
//! A number in which something is found becomes a string. Strings that upstreams sign or encrypt
//! ([`super::llm::is_opaque`]) pass as they are and are counted; log probabilities restate the text token by
//! token, and leave empty where a value is in them.

mod keys;
mod skim;
mod token;
mod walk;

pub(super) use keys::{Keys, context};
pub(super) use token::{Fail, Handler, Kind, Tokens, unescaped};
#[cfg(test)]
pub(super) use walk::RESTATING_BYTES_MAX;
pub(super) use walk::{JsonWalker, NUMBER_BYTES_MAX};

/// Appends `text` as a JSON string.
pub(super) fn quote(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    escape(text, out);
    out.push(b'"');
}

/// Appends `bytes` as they are written inside a JSON string; what is not UTF-8 becomes U+FFFD.
pub(super) fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    for chunk in bytes.utf8_chunks() {
        for &byte in chunk.valid().as_bytes() {
            match byte {
                b'"' => out.extend_from_slice(br#"\""#),
                b'\\' => out.extend_from_slice(br"\\"),
                b'\n' => out.extend_from_slice(br"\n"),
                b'\r' => out.extend_from_slice(br"\r"),
                b'\t' => out.extend_from_slice(br"\t"),
                0..=0x1F => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
                _ => out.push(byte),
            }
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{FFFD}".as_bytes());
        }
    }
}
