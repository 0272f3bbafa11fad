//! Built packs: a damaged file is refused or loads to something that scans, whatever its hash says.
//!
//! A document is a list of edits of a file that is built here, for files kept in the corpus would be of another engine
//! after the next change. The hash and the length are set right afterwards, so that what is tried is the validation.

use std::sync::OnceLock;

use sha2::{Digest, Sha256};
use sluice_engine::{CompileOptions, Scratch, Stream, StreamOptions, TokenKey};
use sluice_patterns::Pack;

use crate::random::Random;
use crate::stream::Outcome;

/// Where the length of the content is, its hash, and the content.
const LENGTH_AT: usize = 36;
const HASH_AT: usize = 44;
const CONTENT_AT: usize = 76;
/// Bytes of an edit: how, where, what.
const EDIT_BYTES: usize = 6;
/// Edits of one document, by its first byte.
const EDITS: [usize; 4] = [1, 1, 2, 8];
/// The longest text that is scanned.
const TEXT_BYTES_MAX: usize = 512;

/// What the rules of the pack find, so that little of a scan is left out.
const TEXT: &[u8] =
    b"ghp_abcd1234 password=abcdef a.b@c.de 4539578767717959 -----BEGIN KEY-----x-----END KEY----- <<<a>>> \
    key is my secret = 0f1e2d3c4b5a. ";

fn file() -> &'static [u8] {
    static FILE: OnceLock<Vec<u8>> = OnceLock::new();
    FILE.get_or_init(|| {
        let pack = Pack::parse("every_part.toml", include_str!("../packs/every_part.toml"));
        let built = pack.and_then(|pack| pack.build());
        built.unwrap_or_else(|faults| panic!("{faults}"))
    })
}

/// Loads a damaged file; what loads is scanned with.
pub fn built_pack(document: &[u8]) {
    let mut file = file().to_vec();
    // Mostly few: of a file that is refused at its first fault, the others are not looked at.
    let edits = document.first().map_or(0, |first| EDITS[usize::from(first & 3)]);
    for edit in document.chunks_exact(EDIT_BYTES).take(edits) {
        damage(&mut file, edit);
    }
    seal(&mut file);
    let pack = match Pack::from_built("fuzz.built", &file) {
        Ok(pack) => pack,
        Err(error) => {
            let fault = error.faults().first().expect("an error has a fault");
            assert!(fault.line == 0 && fault.reason.contains("build it again"), "{fault}");
            return;
        }
    };
    let options = CompileOptions { token_key: TokenKey::new(vec![7; 32]), ..CompileOptions::default() };
    // Rules may have got the same id.
    let Ok(ruleset) = pack.compile(&options) else { return };
    let text = [TEXT, document.get(..TEXT_BYTES_MAX).unwrap_or(document), TEXT].concat();
    let (mut scratch, mut outcome) = (Scratch::new(), Outcome::default());
    let mut stream = Stream::new(&ruleset, StreamOptions::default());
    for chunk in Random::of(document).chunks(&text) {
        stream.push(&mut scratch, chunk, &mut outcome);
    }
    stream.finish(&mut scratch, &mut outcome);
}

/// One edit of the content.
fn damage(file: &mut Vec<u8>, edit: &[u8]) {
    let &[how, a, b, c, what, many] = edit else { return };
    let content = file.len().saturating_sub(CONTENT_AT);
    let place = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
    // Half of all edits are of the rules and sets, which come first and are small.
    let at = CONTENT_AT
        + place.wrapping_mul(2_654_435_761) % if how & 1 == 0 { content } else { content.min(8192) }.max(1);
    let Some(byte) = file.get_mut(at) else { return };
    match how >> 1 & 15 {
        0..3 => *byte = what,
        3..6 => *byte ^= 1 << (what & 7),
        6..9 => *byte = byte.wrapping_add(1),
        9..12 => *byte = byte.wrapping_sub(1),
        12 => file.iter_mut().skip(at).take(usize::from(many & 15)).for_each(|byte| *byte = what),
        13 => drop(file.drain(at..(at + usize::from(many)).min(file.len()))),
        14 => drop(file.splice(at..at, std::iter::repeat_n(what, many.into()))),
        _ => file.truncate(at),
    }
}

/// Sets length and hash right.
fn seal(file: &mut [u8]) {
    let Some((head, content)) = file.split_at_mut_checked(CONTENT_AT) else { return };
    let (head, hash) = head.split_at_mut(HASH_AT);
    head[LENGTH_AT..].copy_from_slice(&(content.len() as u64).to_le_bytes());
    hash.copy_from_slice(&Sha256::new().chain_update(&*head).chain_update(content).finalize());
}
