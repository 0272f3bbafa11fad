//! The reference: one byte after another.

/// Writes the symbols of the bytes, as the table has them; how many it has written.
pub(super) fn fold(table: &[u8; 256], bytes: &[u8], symbols: &mut [u8]) -> usize {
    for (byte, symbol) in bytes.iter().zip(symbols) {
        *symbol = table[usize::from(*byte)];
    }
    bytes.len()
}

/// Writes the codes of the first `len` pairs of neighbours; `parts` has what each symbol gives as the first, and as the
/// second.
pub(super) fn pair(parts: &[[u8; 64]; 2], symbols: &[u8], pairs: &mut [u8], len: usize) {
    for (pair, both) in pairs.iter_mut().zip(symbols.windows(2)).take(len) {
        *pair = parts[0][usize::from(both[0] & 63)] ^ parts[1][usize::from(both[1] & 63)];
    }
}

/// Where a stretch of text that comes again may begin.
pub(super) const ANCHORS: [u8; 2] = [b'"', b'\n'];

/// A bit for each of at most 64 bytes that is one of [`ANCHORS`].
pub(super) fn anchors(bytes: &[u8]) -> u64 {
    bytes.iter().enumerate().fold(0, |marks, (n, byte)| marks | u64::from(ANCHORS.contains(byte)) << n)
}
