//! Tells all tasks of one shard that it drains.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Set once, seen by every task of the shard.
#[derive(Clone, Default)]
pub(crate) struct Signal(Rc<Inner>);

#[derive(Default)]
struct Inner {
    is_set: Cell<bool>,
    next: Cell<u64>,
    /// Bounded by the number of tasks that wait, which the limit of connections bounds.
    waiting: RefCell<BTreeMap<u64, Waker>>,
}

impl Signal {
    pub(crate) fn set(&self) {
        self.0.is_set.set(true);
        self.0.waiting.take().into_values().for_each(Waker::wake);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.is_set.get()
    }

    /// Ready once it is set.
    pub(crate) fn wait(&self) -> impl Future<Output = ()> + use<> {
        let id = self.0.next.get();
        self.0.next.set(id.wrapping_add(1));
        Wait { signal: self.clone(), id }
    }
}

struct Wait {
    signal: Signal,
    id: u64,
}

impl Future for Wait {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.signal.is_set() {
            return Poll::Ready(());
        }
        self.signal.0.waiting.borrow_mut().insert(self.id, cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.signal.0.waiting.borrow_mut().remove(&self.id);
    }
}
