//! How the writer tells a shard that a record is durable: an atomic state and a waker, so that any runtime can wait.
//!
//! ```text
//! waiting ── written and synced ──▶ durable
//!    └────── could not be, or the writer is gone ──▶ lost
//! ```

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use atomic_waker::AtomicWaker;

const WAITING: u8 = 0;
const DURABLE: u8 = 1;
const LOST: u8 = 2;

#[derive(Debug)]
struct State {
    value: AtomicU8,
    waker: AtomicWaker,
}

/// The writer's half. Dropped without a word it says that the record is not durable.
#[derive(Debug)]
pub struct Ack(Arc<State>);

/// The shard's half: a future that ends when the record is durable, or never will be.
#[derive(Debug)]
pub struct Durable(Arc<State>);

/// The record was not made durable. In `strict` its exchange must not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotDurable(());

impl fmt::Display for NotDurable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the record could not be written")
    }
}

impl std::error::Error for NotDurable {}

impl Ack {
    /// Both halves.
    #[must_use]
    pub fn new() -> (Ack, Durable) {
        let state = Arc::new(State { value: AtomicU8::new(WAITING), waker: AtomicWaker::new() });
        (Ack(Arc::clone(&state)), Durable(state))
    }

    /// The record is durable.
    pub(crate) fn durable(self) {
        self.end(DURABLE);
    }

    /// The first end counts.
    fn end(&self, value: u8) {
        let ended = self.0.value.compare_exchange(WAITING, value, Ordering::AcqRel, Ordering::Acquire);
        if ended.is_ok() {
            self.0.waker.wake();
        }
    }
}

impl Drop for Ack {
    fn drop(&mut self) {
        self.end(LOST);
    }
}

impl Durable {
    fn ended(&self) -> Option<Result<(), NotDurable>> {
        match self.0.value.load(Ordering::Acquire) {
            WAITING => None,
            DURABLE => Some(Ok(())),
            _ => Some(Err(NotDurable(()))),
        }
    }
}

impl Future for Durable {
    type Output = Result<(), NotDurable>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(ended) = self.ended() {
            return Poll::Ready(ended);
        }
        self.0.waker.register(cx.waker());
        // It may have ended before the waker was there.
        self.ended().map_or(Poll::Pending, Poll::Ready)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::task::{Wake, Waker};

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn who_waits_is_woken_once_and_a_dropped_ack_is_no_promise() {
        for (is_durable, expected) in [(true, Ok(())), (false, Err(NotDurable(())))] {
            let count = Arc::new(Count::default());
            let waker = Waker::from(Arc::clone(&count));
            let mut cx = Context::from_waker(&waker);
            let (ack, mut durable) = Ack::new();
            assert_eq!(Pin::new(&mut durable).poll(&mut cx), Poll::Pending);
            if is_durable {
                ack.durable()
            } else {
                drop(ack)
            }
            assert_eq!(count.0.load(Ordering::SeqCst), 1);
            assert_eq!(Pin::new(&mut durable).poll(&mut cx), Poll::Ready(expected));
        }
    }
}
