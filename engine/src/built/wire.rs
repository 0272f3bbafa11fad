//! Bytes of a built pack: numbers little-endian, lists behind their count.
//!
//! A [`Reader`] trusts nothing: a count is checked against the bytes that are left before anything is allocated for
//! it, so what is read takes a small multiple of the file's size at most.

use std::sync::Arc;

/// What in a file can't be so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage(pub &'static str);

const ENDS: Damage = Damage("it ends too soon");

/// Writes a file's content.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// What was written.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Bytes whose number the reader knows.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// A byte.
    pub fn u8(&mut self, number: u8) {
        self.bytes.push(number);
    }

    /// Two bytes.
    pub fn u16(&mut self, number: u16) {
        self.raw(&number.to_le_bytes());
    }

    /// Four bytes.
    pub fn u32(&mut self, number: u32) {
        self.raw(&number.to_le_bytes());
    }

    /// Eight bytes.
    pub fn u64(&mut self, number: u64) {
        self.raw(&number.to_le_bytes());
    }

    /// A byte.
    pub fn bool(&mut self, yes: bool) {
        self.u8(yes.into());
    }

    /// A number of bytes, or of lines.
    pub fn size(&mut self, size: usize) {
        self.u64(size as u64);
    }

    /// How many of something follow. More than four thousand million don't fit, nor do they come from a pack.
    pub fn count(&mut self, count: usize) {
        self.u32(u32::try_from(count).unwrap_or(u32::MAX));
    }

    /// Something, if it is there.
    pub fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Writer, T)) {
        self.bool(value.is_some());
        if let Some(value) = value {
            write(self, value);
        }
    }

    /// A text.
    pub fn text(&mut self, text: &str) {
        self.count(text.len());
        self.raw(text.as_bytes());
    }

    /// A list of texts.
    pub fn texts(&mut self, texts: &[String]) {
        self.count(texts.len());
        texts.iter().for_each(|text| self.text(text));
    }

    pub(crate) fn words16(&mut self, words: &[u16]) {
        words.iter().for_each(|word| self.u16(*word));
    }

    pub(crate) fn words64(&mut self, words: &[u64]) {
        words.iter().for_each(|word| self.u64(*word));
    }
}

/// Reads what a [`Writer`] wrote.
///
/// # Errors
/// All its methods: there are fewer bytes than are asked for, or they can't be what they should.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::missing_errors_doc)]
pub struct Reader<'a> {
    bytes: &'a [u8],
}

#[allow(clippy::missing_errors_doc)]
impl<'a> Reader<'a> {
    /// Reads from the first of `bytes` on.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes }
    }

    /// That was all.
    pub fn end(&self) -> Result<(), Damage> {
        if self.bytes.is_empty() { Ok(()) } else { Err(Damage("bytes after its end")) }
    }

    /// So many bytes.
    pub fn raw(&mut self, len: usize) -> Result<&'a [u8], Damage> {
        let (head, rest) = self.bytes.split_at_checked(len).ok_or(ENDS)?;
        self.bytes = rest;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], Damage> {
        let (head, rest) = self.bytes.split_first_chunk().ok_or(ENDS)?;
        self.bytes = rest;
        Ok(head)
    }

    /// A byte.
    pub fn u8(&mut self) -> Result<u8, Damage> {
        Ok(u8::from_le_bytes(*self.array()?))
    }

    /// Two bytes.
    pub fn u16(&mut self) -> Result<u16, Damage> {
        Ok(u16::from_le_bytes(*self.array()?))
    }

    /// Four bytes.
    pub fn u32(&mut self) -> Result<u32, Damage> {
        Ok(u32::from_le_bytes(*self.array()?))
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> Result<u64, Damage> {
        Ok(u64::from_le_bytes(*self.array()?))
    }

    /// A byte that is 0 or 1.
    pub fn bool(&mut self) -> Result<bool, Damage> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Damage("neither yes nor no")),
        }
    }

    /// A number that is at most `max`.
    pub fn size(&mut self, max: usize) -> Result<usize, Damage> {
        let size = usize::try_from(self.u64()?).ok();
        size.filter(|size| *size <= max).ok_or(Damage("a number that is too large"))
    }

    /// How many items follow, each of at least `bytes_min` bytes.
    pub fn count(&mut self, bytes_min: usize) -> Result<usize, Damage> {
        let count = usize::try_from(self.u32()?).ok();
        let fits = |count: &usize| *count <= self.bytes.len() / bytes_min.max(1);
        count.filter(fits).ok_or(Damage("a count that is too large"))
    }

    /// Something, if it is there.
    pub fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Reader<'a>) -> Result<T, Damage>,
    ) -> Result<Option<T>, Damage> {
        if self.bool()? { read(self).map(Some) } else { Ok(None) }
    }

    /// As many as the count before them says, each of at least `bytes_min` bytes.
    pub fn list<T>(
        &mut self,
        bytes_min: usize,
        mut read: impl FnMut(&mut Reader<'a>) -> Result<T, Damage>,
    ) -> Result<Vec<T>, Damage> {
        let count = self.count(bytes_min)?;
        (0..count).map(|_| read(self)).collect()
    }

    /// A text.
    pub fn text(&mut self) -> Result<String, Damage> {
        let len = self.count(1)?;
        let text = std::str::from_utf8(self.raw(len)?).map_err(|_| Damage("a text that is not UTF-8"))?;
        Ok(text.to_owned())
    }

    /// A list of texts.
    pub fn texts(&mut self) -> Result<Vec<String>, Damage> {
        self.list(4, Reader::text)
    }

    pub(crate) fn words16(&mut self, count: usize) -> Result<Arc<[u16]>, Damage> {
        let bytes = self.raw(count.checked_mul(2).ok_or(ENDS)?)?;
        let (words, _) = bytes.as_chunks();
        Ok(words.iter().map(|word| u16::from_le_bytes(*word)).collect())
    }

    pub(crate) fn words64(&mut self, count: usize) -> Result<Arc<[u64]>, Damage> {
        let bytes = self.raw(count.checked_mul(8).ok_or(ENDS)?)?;
        let (words, _) = bytes.as_chunks();
        Ok(words.iter().map(|word| u64::from_le_bytes(*word)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let mut out = Writer::default();
        out.u8(1);
        out.u16(0x0203);
        out.u64(u64::MAX);
        out.option(Some(7), Writer::size);
        out.option(None::<usize>, Writer::size);
        out.texts(&["a".to_owned(), String::new()]);
        out.words16(&[1, 0xff00]);
        let bytes = out.into_bytes();
        let mut from = Reader::new(&bytes);
        assert_eq!((from.u8(), from.u16(), from.u64()), (Ok(1), Ok(0x0203), Ok(u64::MAX)));
        assert_eq!(from.option(|f| f.size(7)), Ok(Some(7)));
        assert_eq!(from.option(|f| f.size(7)), Ok(None));
        assert_eq!(from.texts(), Ok(vec!["a".to_owned(), String::new()]));
        assert_eq!(from.words16(2).as_deref(), Ok(&[1, 0xff00][..]));
        assert_eq!(from.end(), Ok(()));
        assert_eq!(from.u8(), Err(ENDS));
    }

    #[test]
    fn a_count_is_no_more_than_what_is_left_holds() {
        let bytes = |count: u32| [&count.to_le_bytes()[..], &[0; 8]].concat();
        assert_eq!(Reader::new(&bytes(4)).count(2), Ok(4));
        assert!(Reader::new(&bytes(5)).count(2).is_err());
        assert!(Reader::new(&bytes(u32::MAX)).texts().is_err());
        assert!(Reader::new(&7u64.to_le_bytes()).size(6).is_err());
    }
}
