//! Input that a thread of its own reads ahead, so that reading takes no time from masking.
//!
//! ```text
//!   reading thread ──filled──► command
//!          ▲                      │
//!          └──────── empty ───────┘
//! ```
//!
//! Invariants: there are [`BUFFERS`] buffers and never more, so memory is bounded and a slow command stops the
//! reads. Bytes arrive in order, as soon as they are read: a buffer is handed over with whatever one read gave. The
//! end of the input is said and never guessed: a reading thread that is gone without a word is an error.
//!
//! Rejected: reading and masking in turns on one thread (keeps 0.77 of an engine of 3.3 GB/s where this
//! keeps 0.93, see `docs/tune.md`); a mapped file (needs `unsafe`, and a file cut short
//! meanwhile kills the process).

use std::io::{self, ErrorKind, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

/// Buffers in turn: one is read into, one is masked, and two wait, so that neither side waits for a short delay of
/// the other.
pub(crate) const BUFFERS: usize = 4;

/// Bytes of one read.
#[derive(Debug)]
pub(crate) struct Filled {
    buffer: Vec<u8>,
    len: usize,
}

impl Filled {
    /// What was read.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.buffer.get(..self.len).unwrap_or_default()
    }
}

/// An input that is read ahead.
#[derive(Debug)]
pub(crate) struct ReadAhead {
    filled: Receiver<io::Result<Filled>>,
    empty: SyncSender<Vec<u8>>,
}

impl ReadAhead {
    /// Starts to read `input`, at most `buffer_bytes` at once. Takes [`BUFFERS`] times as much memory at most; what
    /// is never read into is never touched.
    ///
    /// The thread ends with the input, or when this is dropped and its read returns.
    ///
    /// # Errors
    /// No thread can be started.
    pub(crate) fn start(input: impl Read + Send + 'static, buffer_bytes: usize) -> io::Result<ReadAhead> {
        let (send_filled, filled) = sync_channel(BUFFERS);
        let (empty, receive_empty) = sync_channel(BUFFERS);
        for _ in 0..BUFFERS {
            // The channel has room for all there are.
            let _ = empty.try_send(vec![0; buffer_bytes]);
        }
        thread::Builder::new()
            .name("reader".into())
            .spawn(move || fill(input, &receive_empty, &send_filled))?;
        Ok(ReadAhead { filled, empty })
    }

    /// Waits for the bytes of the next read; `None` at the end of the input.
    ///
    /// # Errors
    /// The input can't be read; nothing comes after that.
    pub(crate) fn next(&self) -> io::Result<Option<Filled>> {
        let read = self.filled.recv().map_err(|_| io::Error::other("the reading thread ended too early"))?;
        read.map(|filled| (filled.len > 0).then_some(filled))
    }

    /// Gives a buffer back to be read into again.
    pub(crate) fn give_back(&self, filled: Filled) {
        // The thread may have ended with its input.
        let _ = self.empty.try_send(filled.buffer);
    }
}

/// Fills buffers until the input ends or fails, or nobody takes them any more.
fn fill(mut input: impl Read, empty: &Receiver<Vec<u8>>, filled: &SyncSender<io::Result<Filled>>) {
    while let Ok(mut buffer) = empty.recv() {
        let read = loop {
            match input.read(&mut buffer) {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        let more = matches!(read, Ok(len) if len > 0);
        if filled.send(read.map(|len| Filled { buffer, len })).is_err() || !more {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives what it is told to, one item a read.
    struct Script(Vec<io::Result<&'static [u8]>>);

    impl Read for Script {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let bytes = if self.0.is_empty() { &[][..] } else { self.0.remove(0)? };
            buffer[..bytes.len()].copy_from_slice(bytes);
            Ok(bytes.len())
        }
    }

    #[test]
    fn reads_arrive_in_order_to_the_end() {
        let parts: Vec<String> = (0..100).map(|n| format!("part {n}")).collect();
        let script = parts.iter().map(|part| Ok(&*part.clone().into_bytes().leak())).collect();
        let input = ReadAhead::start(Script(script), 16).unwrap();
        for part in &parts {
            let filled = input.next().unwrap().unwrap();
            assert_eq!(filled.bytes(), part.as_bytes());
            input.give_back(filled);
        }
        assert!(input.next().unwrap().is_none());
    }

    #[test]
    fn an_error_comes_after_the_bytes_before_it() {
        let interrupted = io::Error::from(ErrorKind::Interrupted);
        let script = vec![Ok(&b"a"[..]), Err(interrupted), Ok(&b"b"[..]), Err(io::Error::other("broken"))];
        let input = ReadAhead::start(Script(script), 1).unwrap();
        assert_eq!(input.next().unwrap().unwrap().bytes(), b"a");
        assert_eq!(input.next().unwrap().unwrap().bytes(), b"b");
        assert_eq!(input.next().unwrap_err().to_string(), "broken");
        assert!(input.next().is_err(), "what comes after an error is not the end");
    }

    #[test]
    fn a_reader_that_is_gone_is_no_end() {
        struct Panics;
        impl Read for Panics {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                std::panic::resume_unwind(Box::new("gone"))
            }
        }
        assert!(ReadAhead::start(Panics, 1).unwrap().next().is_err());
    }

    #[test]
    fn no_more_is_read_than_there_are_buffers() {
        let (send, read) = std::sync::mpsc::channel();
        struct Endless(std::sync::mpsc::Sender<()>);
        impl Read for Endless {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0.send(()).map_err(io::Error::other)?;
                Ok(buffer.len())
            }
        }
        let input = ReadAhead::start(Endless(send), 1).unwrap();
        for _ in 0..BUFFERS {
            read.recv().unwrap();
        }
        let first = input.next().unwrap().unwrap();
        assert!(read.try_recv().is_err(), "no buffer is left to read into");
        input.give_back(first);
        read.recv().unwrap();
    }
}
