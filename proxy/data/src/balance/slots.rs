//! How many exchanges run at once, and who waits: a semaphore of one thread with a bounded queue.
//!
//! ```text
//!   acquire ──► a place is free ─────────────────────────► Slot ──dropped──┐
//!          │                                                 ▲             ▼
//!          ├──► there is room in the queue ──► waits ────────┘◄──── the first that waits
//!          └──► Full                             └─dropped─► leaves the queue, or gives the place on
//! ```
//!
//! Who came first goes first: a place that is given back belongs to the first that waits, so that a newcomer can't
//! overtake it. It names no runtime: a waiter is woken by its `Waker`, and its time limit is the caller's, who drops
//! it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Those that left the queue stay in its memory until they are more than those that wait, and this many.
const LEFT_MIN: usize = 16;

/// Places of one route on one shard.
pub(crate) struct Slots {
    max: usize,
    queue_max: usize,
    taken: Cell<usize>,
    /// In the queue, without those that left it.
    waiting: Cell<usize>,
    queue: RefCell<VecDeque<Rc<Turn>>>,
}

/// No place is free, and as many wait as may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no place is free, and the queue is full")
    }
}

impl std::error::Error for Full {}

/// A place; given back when it is dropped.
#[must_use = "the place is given back at once"]
pub(crate) struct Slot(Rc<Slots>);

/// Becomes a [`Slot`]. Its place in the queue is that of the call that made it, and is given up when it is dropped.
#[must_use = "the place in the queue is given up at once"]
pub(crate) struct Waiting(State);

enum State {
    Free(Slot),
    Queued(Rc<Slots>, Rc<Turn>),
    Taken,
}

/// A waiter's place in the queue.
#[derive(Default)]
struct Turn {
    stage: Cell<Stage>,
    waker: RefCell<Option<Waker>>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Waits,
    /// A place is its own, counted in `taken`.
    Called,
    /// It was dropped.
    Left,
}

impl Slots {
    /// `max` places, at least one, and at most `queue_max` that wait.
    pub(crate) fn new(max: usize, queue_max: usize) -> Rc<Slots> {
        Rc::new(Slots {
            max: max.max(1),
            queue_max,
            taken: Cell::new(0),
            waiting: Cell::new(0),
            queue: RefCell::default(),
        })
    }

    /// A place, at once or when it is this caller's turn.
    ///
    /// # Errors
    /// As many wait as may.
    pub(crate) fn acquire(self: &Rc<Self>) -> Result<Waiting, Full> {
        if let Some(slot) = self.try_acquire() {
            return Ok(Waiting(State::Free(slot)));
        }
        if self.waiting.get() >= self.queue_max {
            return Err(Full);
        }
        let turn = Rc::new(Turn::default());
        self.waiting.set(self.waiting.get() + 1);
        self.queue.borrow_mut().push_back(Rc::clone(&turn));
        Ok(Waiting(State::Queued(Rc::clone(self), turn)))
    }

    /// A place if one is free. While somebody waits, none is.
    pub(crate) fn try_acquire(self: &Rc<Self>) -> Option<Slot> {
        let taken = self.taken.get();
        (taken < self.max).then(|| {
            self.taken.set(taken + 1);
            Slot(Rc::clone(self))
        })
    }

    /// Places that are taken.
    pub(crate) fn taken(&self) -> usize {
        self.taken.get()
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.get()
    }

    /// A place came back: it is the first waiter's, or free.
    fn give_back(&self) {
        while let Some(turn) = self.next_turn() {
            if turn.stage.get() == Stage::Waits {
                turn.stage.set(Stage::Called);
                self.waiting.set(self.waiting.get().saturating_sub(1));
                // Nothing is borrowed while it runs: it may drop slots itself.
                let waker = turn.waker.take();
                if let Some(waker) = waker {
                    waker.wake();
                }
                return;
            }
        }
        self.taken.set(self.taken.get().saturating_sub(1));
    }

    fn next_turn(&self) -> Option<Rc<Turn>> {
        self.queue.borrow_mut().pop_front()
    }

    /// A waiter left. It stays in memory until it is its turn, or until most of the queue has left: so leaving costs
    /// the same however long the queue is.
    fn leave(&self) {
        let waiting = self.waiting.get().saturating_sub(1);
        self.waiting.set(waiting);
        let mut queue = self.queue.borrow_mut();
        if queue.len() >= LEFT_MIN.max(2 * waiting) {
            queue.retain(|turn| turn.stage.get() == Stage::Waits);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.give_back();
    }
}

impl Future for Waiting {
    type Output = Slot;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Slot> {
        if let State::Queued(_, turn) = &self.0
            && turn.stage.get() == Stage::Waits
        {
            let before = turn.waker.replace(Some(context.waker().clone()));
            drop(before);
            return Poll::Pending;
        }
        match std::mem::replace(&mut self.0, State::Taken) {
            State::Free(slot) => Poll::Ready(slot),
            State::Queued(slots, _) => Poll::Ready(Slot(slots)),
            // Polled again after it was ready: a fault of its caller, who gets nothing.
            State::Taken => Poll::Pending,
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let State::Queued(slots, turn) = &self.0 else { return };
        match turn.stage.replace(Stage::Left) {
            Stage::Waits => slots.leave(),
            Stage::Called => slots.give_back(),
            Stage::Left => {}
        }
        turn.waker.take();
    }
}

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slots")
            .field("max", &self.max)
            .field("taken", &self.taken)
            .field("queue_max", &self.queue_max)
            .field("waiting", &self.waiting)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Slot")
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waiting")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use proptest::prelude::*;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// A waiter with its own waker.
    struct Waiter {
        waiting: Pin<Box<Waiting>>,
        woken: Arc<Woken>,
    }

    impl Waiter {
        fn of(slots: &Rc<Slots>) -> Result<Waiter, Full> {
            Ok(Waiter { waiting: Box::pin(slots.acquire()?), woken: Arc::default() })
        }

        fn poll(&mut self) -> Option<Slot> {
            let waker = Waker::from(Arc::clone(&self.woken));
            match self.waiting.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(slot) => Some(slot),
                Poll::Pending => None,
            }
        }

        fn wakes(&self) -> usize {
            self.woken.0.load(Ordering::SeqCst)
        }
    }

    #[test]
    fn at_the_limit_and_one_past_it() {
        for (max, queue_max) in [(1, 0), (1, 1), (3, 0), (3, 2), (0, 1)] {
            let slots = Slots::new(max, queue_max);
            let mut running: Vec<Slot> = Vec::new();
            for n in 0..max.max(1) {
                running.extend(Waiter::of(&slots).unwrap().poll());
                assert_eq!(slots.taken(), n + 1, "{max} {queue_max}");
            }
            let mut queue: Vec<_> = (0..queue_max).map(|_| Waiter::of(&slots).unwrap()).collect();
            assert!(queue.iter_mut().all(|waiter| waiter.poll().is_none()));
            assert!(matches!(Waiter::of(&slots), Err(Full)), "{max} {queue_max}: one past both");
            assert!(slots.try_acquire().is_none());
            assert_eq!((slots.taken(), slots.waiting()), (max.max(1), queue_max));
            drop(queue);
            drop(running);
            assert_eq!((slots.taken(), slots.waiting()), (0, 0));
        }
    }

    #[test]
    fn who_came_first_goes_first_and_nobody_overtakes() {
        let slots = Slots::new(1, 3);
        let running = slots.try_acquire().unwrap();
        let mut queue: Vec<_> = (0..3).map(|_| Waiter::of(&slots).unwrap()).collect();
        // Polled in another order than they came.
        queue.iter_mut().rev().for_each(|waiter| assert!(waiter.poll().is_none()));
        drop(running);
        assert!(slots.try_acquire().is_none(), "the place is the first waiter's, who has not taken it yet");
        assert_eq!(queue.iter().map(Waiter::wakes).collect::<Vec<_>>(), [1, 0, 0]);
        assert!(queue[1].poll().is_none());
        let first = queue[0].poll().unwrap();
        drop(first);
        assert_eq!(queue.iter().map(Waiter::wakes).collect::<Vec<_>>(), [1, 1, 0]);
        // The second leaves after it was called: its place goes on.
        queue.remove(1);
        assert_eq!(queue[1].wakes(), 1);
        let third = queue[1].poll().unwrap();
        assert_eq!((slots.taken(), slots.waiting()), (1, 0));
        drop(third);
        assert_eq!(slots.taken(), 0);
    }

    #[test]
    fn one_that_leaves_makes_room_in_the_queue() {
        let slots = Slots::new(1, 1);
        let running = slots.try_acquire().unwrap();
        for _ in 0..1_000 {
            let waiter = Waiter::of(&slots).unwrap();
            assert!(Waiter::of(&slots).is_err());
            drop(waiter);
        }
        assert!(slots.queue.borrow().len() <= LEFT_MIN, "{}", slots.queue.borrow().len());
        let mut last = Waiter::of(&slots).unwrap();
        drop(running);
        assert!(last.poll().is_some(), "those that left are passed over");
        assert_eq!((slots.taken(), slots.waiting()), (0, 0));
    }

    #[test]
    fn a_waiter_that_was_never_polled_has_its_turn_too() {
        let slots = Slots::new(1, 2);
        let running = slots.try_acquire().unwrap();
        let (unpolled, mut polled) = (Waiter::of(&slots).unwrap(), Waiter::of(&slots).unwrap());
        assert!(polled.poll().is_none());
        drop(running);
        assert!(polled.poll().is_none());
        drop(unpolled);
        assert!(polled.poll().is_some());
    }

    #[test]
    fn the_last_waker_is_the_one_that_is_woken() {
        let slots = Slots::new(1, 1);
        let running = slots.try_acquire().unwrap();
        let mut waiter = Waiter::of(&slots).unwrap();
        assert!(waiter.poll().is_none());
        let before = std::mem::take(&mut waiter.woken);
        assert!(waiter.poll().is_none());
        drop(running);
        assert_eq!((before.0.load(Ordering::SeqCst), waiter.wakes()), (0, 1));
    }

    /// What a driver does next.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        Acquire,
        Poll(usize),
        Leave(usize),
        Finish(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            Just(Step::Acquire),
            (0..40usize).prop_map(Step::Poll),
            (0..40usize).prop_map(Step::Leave),
            (0..40usize).prop_map(Step::Finish),
        ]
    }

    proptest! {
        /// However they come and go: never more run than may, never more wait than may, no place is lost, and who is
        /// called is always the one that came first.
        #[test]
        fn no_place_is_lost(
            max in 1..4usize,
            queue_max in 0..6usize,
            steps in prop::collection::vec(step(), 1..300),
        ) {
            let slots = Slots::new(max, queue_max);
            let (mut waiters, mut running) = (Vec::new(), Vec::new());
            let mut count = 0;
            let mut last_called = 0;
            for step in steps {
                match step {
                    Step::Acquire => {
                        let is_full = slots.taken() == max && slots.waiting() == queue_max;
                        let waiter = Waiter::of(&slots);
                        prop_assert_eq!(waiter.is_err(), is_full);
                        count += 1;
                        waiters.extend(waiter.ok().map(|waiter| (count, waiter)));
                    }
                    Step::Poll(n) if n < waiters.len() => {
                        if let Some(slot) = waiters[n].1.poll() {
                            waiters.remove(n);
                            running.push(slot);
                        }
                    }
                    Step::Leave(n) if n < waiters.len() => drop(waiters.remove(n)),
                    Step::Finish(n) if n < running.len() => drop(running.remove(n)),
                    _ => {}
                }
                let queued = |waiter: &Waiter| match &waiter.waiting.0 {
                    State::Queued(_, turn) => turn.stage.get() == Stage::Waits,
                    State::Free(_) | State::Taken => false,
                };
                let still = waiters.iter().filter(|(_, waiter)| queued(waiter)).count();
                prop_assert_eq!(slots.waiting(), still);
                prop_assert_eq!(slots.taken(), running.len() + waiters.len() - still);
                prop_assert!(slots.taken() <= max && still <= queue_max);
                prop_assert!(still == 0 || slots.taken() == max, "a place is free while somebody waits");
                let called = waiters.iter().filter(|(_, w)| !queued(w)).map(|(n, _)| *n).max();
                let waits = waiters.iter().find(|(_, w)| queued(w)).map(|(n, _)| *n);
                last_called = last_called.max(called.unwrap_or(0));
                prop_assert!(waits.is_none_or(|n| n > last_called), "somebody was overtaken");
            }
            drop((waiters, running));
            prop_assert_eq!((slots.taken(), slots.waiting()), (0, 0));
        }
    }
}
