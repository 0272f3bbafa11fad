//! Content codings for either side: the engine's own, whose libraries the clients of other tests (curl, the Python and
//! JavaScript SDKs) hold to.

use sluice_engine::{Coding, CodingLimits, Codings, Decoder, Encoder};

/// Every coding alone, both kinds of `deflate`, and stacks: the value of the field, and the codings.
#[must_use]
pub fn stacks() -> Vec<(&'static str, Codings)> {
    let raw = Codings::new(vec![Coding::RawDeflate]).expect("one coding");
    ["gzip", "x-gzip", "deflate", "br", "zstd", "gzip, br", "identity, deflate, zstd, gzip"]
        .into_iter()
        .map(|value| (value, codings(value)))
        .chain([("deflate", raw)])
        .collect()
}

/// The codings of a value of `Content-Encoding`.
#[must_use]
pub fn codings(value: &str) -> Codings {
    Codings::parse(value).expect("codings that are known")
}

/// A whole body in these codings.
#[must_use]
pub fn encoded(codings: &Codings, body: impl AsRef<[u8]>) -> Vec<u8> {
    let (mut encoder, mut out) = (Encoder::new(codings), Vec::new());
    encoder.push(body.as_ref(), &mut out).expect("a library that encodes");
    encoder.finish(&mut out).expect("a library that encodes");
    out
}

/// What a whole coded body says.
#[must_use]
pub fn decoded(codings: &Codings, coded: &[u8]) -> Vec<u8> {
    let (mut decoder, mut out) = (Decoder::new(codings, CodingLimits::default()), Vec::new());
    decoder.push(coded, &mut out).expect("it is valid in its coding");
    decoder.finish(&mut out).expect("it ends where its coding does");
    out
}

/// As much as the beginning of a coded body says, and whether it is whole.
#[must_use]
pub fn decoded_so_far(codings: &Codings, coded: &[u8]) -> (Vec<u8>, bool) {
    let (mut decoder, mut out) = (Decoder::new(codings, CodingLimits::default()), Vec::new());
    let whole = decoder.push(coded, &mut out).and_then(|()| decoder.finish(&mut out));
    (out, whole.is_ok() && !coded.is_empty())
}
