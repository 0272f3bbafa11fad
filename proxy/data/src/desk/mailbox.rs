//! The way back: answers to one question, from any thread to the one that asked.

use std::fmt;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use atomic_waker::AtomicWaker;
use crossbeam_queue::ArrayQueue;

use super::Answer;

/// Answers to one question that may wait to be read.
const ANSWERS_MAX: usize = 4;

#[derive(Debug)]
struct Shared {
    answers: ArrayQueue<Answer>,
    reader: AtomicWaker,
    writer: AtomicWaker,
    /// No answer comes any more.
    is_closed: AtomicBool,
    /// Nobody reads answers any more.
    is_gone: AtomicBool,
}

/// Where answers are put. Dropped, it says that no other comes.
pub struct Mailbox(Arc<Shared>);

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mailbox")
    }
}

impl Mailbox {
    /// Puts an answer; false where nobody reads it, or where as many wait as may.
    pub fn put(&self, answer: Answer) -> bool {
        let is_put = !self.is_gone() && self.0.answers.push(answer).is_ok();
        self.0.reader.wake();
        is_put
    }

    /// Whoever asked has left.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.0.is_gone.load(Ordering::Acquire)
    }

    /// Waits until whoever asked has left; for one at a time.
    pub fn gone(&self) -> impl Future<Output = ()> + Send {
        poll_fn(|cx| {
            self.0.writer.register(cx.waker());
            if self.is_gone() { Poll::Ready(()) } else { Poll::Pending }
        })
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.0.is_closed.store(true, Ordering::Release);
        self.0.reader.wake();
    }
}

/// The asking side.
pub(crate) struct Answers(Arc<Shared>);

/// The question was dropped without another answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Silence;

impl Answers {
    /// The next answer.
    pub(crate) fn next(&self) -> impl Future<Output = Result<Answer, Silence>> {
        poll_fn(|cx| {
            self.0.reader.register(cx.waker());
            // Before the ring is looked at: what was put before the close is there then.
            let is_closed = self.0.is_closed.load(Ordering::Acquire);
            match self.0.answers.pop() {
                Some(answer) => Poll::Ready(Ok(answer)),
                None if is_closed => Poll::Ready(Err(Silence)),
                None => Poll::Pending,
            }
        })
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.0.is_gone.store(true, Ordering::Release);
        self.0.writer.wake();
    }
}

pub(super) fn new() -> (Mailbox, Answers) {
    let shared = Arc::new(Shared {
        answers: ArrayQueue::new(ANSWERS_MAX),
        reader: AtomicWaker::new(),
        writer: AtomicWaker::new(),
        is_closed: AtomicBool::new(false),
        is_gone: AtomicBool::new(false),
    });
    (Mailbox(Arc::clone(&shared)), Answers(shared))
}
