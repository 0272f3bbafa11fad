//! Messages of protobuf and gRPC by hand: of one-byte lengths, which is all that a test needs.

/// A field that holds bytes, of fewer than 128.
#[must_use]
pub fn field(number: u8, bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    let len = u8::try_from(bytes.len()).ok().filter(|len| *len < 128).expect("a short field");
    [&[number << 3 | 2, len], bytes].concat()
}

/// `ExportTraceServiceRequest` (opentelemetry-proto) of one span with one attribute.
#[must_use]
pub fn traces(key: &str, value: &str) -> Vec<u8> {
    let attribute = [field(1, key), field(2, field(1, value))].concat();
    field(1, field(2, field(2, [field(1, [7; 16]), field(5, "a span"), field(9, attribute)].concat())))
}

/// A message behind its prefix (grpc/doc/PROTOCOL-HTTP2.md); `flag` 1: it is compressed.
#[must_use]
pub fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
    let len = u32::try_from(message.len()).expect("a short message").to_be_bytes();
    [&[flag], &len[..], message].concat()
}
