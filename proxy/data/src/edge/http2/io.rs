//! A connection as the HTTP/2 codec reads and writes it: polled, over the same owned buffers as HTTP/1.1's.
//!
//! ```text
//!   codec ◄─ poll_read ── inbox ◄─ pump ◄─ Reader        (what the Reader holds already comes first)
//!   codec ── poll_write ─► outbox ── pump ─► Writer
//! ```
//!
//! A pump is one future that lives as long as the connection and is polled by whoever polls the codec. So every kind of
//! stream (TCP, Unix, TLS of either side) serves HTTP/2 as it serves HTTP/1.1, no byte that came with a handshake or
//! with the preface is lost, and io_uring does the I/O. The runtime's own poll interface was the alternative: it waits
//! for readiness and reads then, twice the system calls, and has no TLS.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use monoio::io::poll_io::{AsyncRead, AsyncWrite, ReadBuf};

use super::guard::Guard;
use crate::config::Limits;
use crate::edge::connection::{Reader, Writer};

/// Bytes that wait for a write that is under way; the codec waits when there are as many.
const OUTBOX_BYTES_MAX: usize = 64 * 1024;

type Pump = RefCell<Pin<Box<dyn Future<Output = ()>>>>;

/// One connection; clones are the same one.
#[derive(Clone)]
pub(crate) struct PolledIo(Rc<Inner>);

struct Inner {
    shared: Rc<Shared>,
    read: Pump,
    write: Pump,
}

/// What the pumps and the codec's side share.
struct Shared {
    inbox: RefCell<Vec<u8>>,
    /// Bytes of the inbox that were taken.
    taken: Cell<usize>,
    /// Bytes received in all.
    received: Cell<u64>,
    outbox: RefCell<Vec<u8>>,
    is_writing: Cell<bool>,
    is_read_over: Cell<bool>,
    is_write_over: Cell<bool>,
    has_failed: Cell<bool>,
    is_shut: Cell<bool>,
    guard: RefCell<Guard>,
}

impl PolledIo {
    pub(crate) fn new(reader: Reader, writer: Writer, guard: Guard) -> PolledIo {
        let shared = Rc::new(Shared {
            inbox: RefCell::default(),
            taken: Cell::new(0),
            received: Cell::new(0),
            outbox: RefCell::default(),
            is_writing: Cell::new(false),
            is_read_over: Cell::new(false),
            is_write_over: Cell::new(false),
            has_failed: Cell::new(false),
            is_shut: Cell::new(false),
            guard: guard.into(),
        });
        PolledIo(Rc::new(Inner {
            read: RefCell::new(Box::pin(read(reader, Rc::clone(&shared)))),
            write: RefCell::new(Box::pin(write(writer, Rc::clone(&shared)))),
            shared,
        }))
    }

    /// Counts the frames of the connection.
    pub(crate) fn with_guard<T>(&self, f: impl FnOnce(&mut Guard) -> T) -> T {
        f(&mut self.0.shared.guard.borrow_mut())
    }

    /// Bytes received in all.
    pub(crate) fn received(&self) -> u64 {
        self.0.shared.received.get()
    }

    /// Reads and throws away what still comes, so that the peer reads what was sent before the connection closes.
    pub(crate) async fn linger(&self, bytes_max: u64, time_max: Duration) {
        let end = self.received().saturating_add(bytes_max);
        let drained = poll_fn(|cx| {
            while !self.0.shared.is_read_over.get() && self.received() < end {
                self.0.shared.take_all();
                if self.0.poll_read_pump(cx).is_pending() {
                    return Poll::Pending;
                }
            }
            Poll::Ready(())
        });
        // Whether the peer has gone in time does not matter: the connection is closed next.
        let _ = monoio::time::timeout(time_max, drained).await;
    }
}

impl Shared {
    fn is_inbox_empty(&self) -> bool {
        self.taken.get() == self.inbox.borrow().len()
    }

    fn take_all(&self) {
        self.inbox.borrow_mut().clear();
        self.taken.set(0);
    }
}

impl Inner {
    /// Ready when something is in the inbox, or nothing more comes.
    fn poll_read_pump(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.shared.is_read_over.get() && self.shared.is_inbox_empty() {
            let over = self.read.borrow_mut().as_mut().poll(cx).is_ready();
            self.shared.is_read_over.set(over);
        }
        let is_ready = self.shared.is_read_over.get() || !self.shared.is_inbox_empty();
        if is_ready { Poll::Ready(()) } else { Poll::Pending }
    }

    fn poll_write_pump(&self, cx: &mut Context<'_>) {
        if !self.shared.is_write_over.get() {
            let over = self.write.borrow_mut().as_mut().poll(cx).is_ready();
            self.shared.is_write_over.set(over);
        }
    }

    fn poll_written(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_write_pump(cx);
        if self.shared.has_failed.get() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let is_idle = self.shared.outbox.borrow().is_empty() && !self.shared.is_writing.get();
        if is_idle { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}

/// Fills the inbox whenever it is empty, until the peer ends or the connection fails.
async fn read(mut reader: Reader, shared: Rc<Shared>) {
    loop {
        if reader.buffered().is_empty() && !matches!(reader.fill_in_any_time().await, Ok(len) if len > 0) {
            return;
        }
        let bytes = reader.buffered();
        shared.received.set(shared.received.get() + bytes.len() as u64);
        shared.guard.borrow_mut().received(bytes, Instant::now());
        shared.taken.set(0);
        {
            let mut inbox = shared.inbox.borrow_mut();
            inbox.clear();
            inbox.extend_from_slice(bytes);
        }
        reader.consume(usize::MAX);
        poll_fn(|_| if shared.is_inbox_empty() { Poll::Ready(()) } else { Poll::Pending }).await;
    }
}

/// Writes what is in the outbox, all of it at once, until the connection fails or is shut.
async fn write(mut writer: Writer, shared: Rc<Shared>) {
    let mut bytes = Vec::new();
    loop {
        let has_work = || !shared.outbox.borrow().is_empty() || shared.is_shut.get();
        poll_fn(|_| if has_work() { Poll::Ready(()) } else { Poll::Pending }).await;
        std::mem::swap(&mut bytes, &mut shared.outbox.borrow_mut());
        if bytes.is_empty() {
            writer.shutdown().await;
            return;
        }
        shared.is_writing.set(true);
        match writer.write(bytes).await {
            // A connection that is idle holds no more than one of HTTP/1.1.
            Ok(empty) => bytes = if empty.capacity() > Limits::READ_BYTES { Vec::new() } else { empty },
            Err(_) => {
                shared.has_failed.set(true);
                return;
            }
        }
        shared.is_writing.set(false);
    }
}

impl AsyncRead for PolledIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let shared = &self.0.shared;
        if shared.is_inbox_empty() {
            // From a peer that sent what it may not nothing more is read; whoever serves the connection ends it.
            let is_over = shared.guard.borrow().fault().is_some();
            if is_over || self.0.poll_read_pump(cx).is_pending() {
                return Poll::Pending;
            }
        }
        let inbox = shared.inbox.borrow();
        let rest = inbox.get(shared.taken.get()..).unwrap_or_default();
        let len = rest.len().min(buf.remaining());
        buf.put_slice(rest.get(..len).unwrap_or_default());
        shared.taken.set(shared.taken.get() + len);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for PolledIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let shared = &self.0.shared;
        if shared.outbox.borrow().len() >= OUTBOX_BYTES_MAX {
            self.0.poll_write_pump(cx);
        }
        if shared.has_failed.get() || shared.is_shut.get() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let mut outbox = shared.outbox.borrow_mut();
        let len = bytes.len().min(OUTBOX_BYTES_MAX.saturating_sub(outbox.len()));
        if len == 0 && !bytes.is_empty() {
            return Poll::Pending;
        }
        outbox.extend_from_slice(bytes.get(..len).unwrap_or_default());
        Poll::Ready(Ok(len))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_written(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.0.shared.is_write_over.get() {
            return Poll::Ready(Ok(()));
        }
        if self.0.poll_written(cx)?.is_pending() {
            return Poll::Pending;
        }
        self.0.shared.is_shut.set(true);
        self.0.poll_write_pump(cx);
        if self.0.shared.is_write_over.get() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}
