//! What goes wrong, and when: one fault at a time, at the n-th call of a kind.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
};

use proptest::prelude::*;

/// A call that leaves the pool's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// The store is read.
    Read,
    /// The store is written to.
    Write,
    /// The node is asked.
    Node,
    /// The node is given a transaction.
    Send,
}

/// Which calls a fault counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Those that write to the store.
    Write,
    /// All to the store.
    Store,
    /// All to the node.
    Node,
    /// Those that give the node a transaction.
    Send,
}

impl Place {
    fn counts(self, call: Call) -> bool {
        match self {
            Self::Write => call == Call::Write,
            Self::Store => matches!(call, Call::Read | Call::Write),
            Self::Node => matches!(call, Call::Node | Call::Send),
            Self::Send => call == Call::Send,
        }
    }
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Harm {
    /// It is not done, and fails: an outage, a time-out.
    Refused,
    /// It is answered with an error that passes.
    Busy,
    /// It is done, but its reply is lost.
    Lost,
    /// The pool dies before it.
    Crash,
    /// The pool dies after it.
    CrashAfter,
}

/// A fault, as an operation brings it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) place: Place,
    /// Calls that go well before.
    pub(crate) after: u8,
    /// Calls that go wrong, one after the other.
    pub(crate) calls: u8,
    pub(crate) harm: Harm,
}

/// A fault of a call to the store, or none: so many operations of a hundred have one.
pub(crate) fn of_store(percent: u32) -> BoxedStrategy<Option<Fault>> {
    perhaps(percent, prop_oneof![4 => Just(Place::Write), 1 => Just(Place::Store)].boxed())
}

/// A fault of any call, or none.
pub(crate) fn of_any(percent: u32) -> BoxedStrategy<Option<Fault>> {
    let place =
        prop_oneof![4 => Just(Place::Write), 1 => Just(Place::Store), 2 => Just(Place::Node), 2 => Just(Place::Send)];
    perhaps(percent, place.boxed())
}

fn perhaps(percent: u32, place: BoxedStrategy<Place>) -> BoxedStrategy<Option<Fault>> {
    let harm = prop_oneof![
        2 => Just(Harm::Refused),
        1 => Just(Harm::Busy),
        2 => Just(Harm::Lost),
        2 => Just(Harm::Crash),
        2 => Just(Harm::CrashAfter),
    ];
    // Most operations make few calls that write, and some make many of the other kinds.
    let after = prop_oneof![3 => 0..2u8, 2 => 0..4u8, 1 => 0..9u8];
    let fault = (place, after, 1..4u8, harm).prop_map(|(place, after, calls, harm)| {
        let after = match place {
            Place::Write => after,
            Place::Store | Place::Node => after * after,
            Place::Send => after / 2,
        };
        Fault { place, after, calls, harm }
    });
    prop_oneof![100 - percent => Just(None), percent => fault.prop_map(Some)].boxed()
}

/// The faults of one life of the pool.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    next: Mutex<Option<Fault>>,
    has_struck: AtomicBool,
    is_dead: AtomicBool,
}

impl Faults {
    /// Takes a fault for the calls to come, in place of any other.
    pub(crate) fn arm(&self, fault: Option<Fault>) {
        self.has_struck.store(false, Ordering::SeqCst);
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    /// Tells what becomes of the next call.
    pub(crate) fn next(&self, call: Call) -> Option<Harm> {
        if self.is_dead.load(Ordering::SeqCst) {
            // Nothing that a dead process began goes on.
            return Some(Harm::Crash);
        }
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let fault = next.as_mut().filter(|fault| fault.place.counts(call))?;
        if fault.after > 0 {
            fault.after -= 1;
            return None;
        }
        self.has_struck.store(true, Ordering::SeqCst);
        let harm = fault.harm;
        fault.calls -= 1;
        if fault.calls == 0 {
            *next = None;
        }
        Some(harm)
    }

    /// Tells whether the fault that was armed last has come.
    pub(crate) fn has_struck(&self) -> bool {
        self.has_struck.load(Ordering::SeqCst)
    }

    /// Ends this life: [`Faults::survive`] drops what it was doing.
    pub(crate) fn die(&self) {
        self.is_dead.store(true, Ordering::SeqCst);
    }

    /// Does something until it is done or the pool dies; nothing of it is in memory then.
    pub(crate) async fn survive<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        poll_fn(|cx| {
            // Looked at before and after: a node's answer wakes the work from another thread.
            if self.is_dead.load(Ordering::SeqCst) {
                return Poll::Ready(None);
            }
            match work.as_mut().poll(cx) {
                _ if self.is_dead.load(Ordering::SeqCst) => Poll::Ready(None),
                Poll::Ready(done) => Poll::Ready(Some(done)),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }
}
