//! What an operator wants of a connection, on its way to the task that owns it.
//!
//! The task looks for orders at each of its turns, thousands of times a second, and there is hardly ever one. So it reads
//! one flag that is written when an order comes, and its waker is left here only when it is another than before: no lock,
//! no place in a list.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use super::trace::Trace;
use crate::mining::difficulty::Difficulty;

/// Orders that may wait for one connection. It takes them at once, unless it is stuck.
const MAX_WAITING: usize = 8;

/// What a connection is to do.
#[derive(Clone, Debug)]
pub enum Order {
    /// To end at once.
    Kick,
    /// To ask the client to connect again, and to end when all of its shares are acknowledged.
    Drain,
    /// To give a difficulty to a channel, or to all.
    SetDifficulty {
        /// The channel; all of them if there is none.
        channel: Option<u32>,
        /// The difficulty, within what the network and the client allow.
        difficulty: Difficulty,
    },
    /// To write down what is said from now on, for a while.
    Trace(Arc<Trace>),
}

/// The orders of one connection.
#[derive(Debug, Default)]
pub struct Orders {
    has_some: AtomicBool,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    orders: VecDeque<Order>,
    /// The task that takes them.
    task: Option<Waker>,
    has_ended: bool,
}

impl Orders {
    /// Gives an order. False if the connection takes none: it has ended, or so many wait already.
    pub fn give(&self, order: Order) -> bool {
        let mut waiting = self.waiting();
        if waiting.has_ended || waiting.orders.len() >= MAX_WAITING {
            return false;
        }
        waiting.orders.push_back(order);
        self.has_some.store(true, Ordering::Release);
        if let Some(task) = &waiting.task {
            task.wake_by_ref();
        }
        true
    }

    /// Waits for the next order. `known` is the waker that was left here at the last turn.
    pub(super) fn poll(&self, known: &mut Option<Waker>, context: &Context<'_>) -> Poll<Order> {
        let is_known = known.as_ref().is_some_and(|known| known.will_wake(context.waker()));
        if is_known && !self.has_some.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        let mut waiting = self.waiting();
        if !is_known {
            waiting.task = Some(context.waker().clone());
            *known = Some(context.waker().clone());
        }
        let order = waiting.orders.pop_front();
        self.has_some.store(!waiting.orders.is_empty(), Ordering::Release);
        order.map_or(Poll::Pending, Poll::Ready)
    }

    /// Takes no more, and lets go of the task: it would hold these, and these it.
    pub(super) fn end(&self) {
        let mut waiting = self.waiting();
        *waiting = Waiting { has_ended: true, ..Waiting::default() };
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use tokio::time::timeout;

    use super::*;

    async fn next(orders: &Orders, known: &mut Option<Waker>) -> Order {
        let next = poll_fn(|context| orders.poll(known, context));
        timeout(Duration::from_secs(60), next).await.unwrap()
    }

    #[tokio::test]
    async fn orders_reach_the_task_that_waits_and_in_their_order() {
        let (orders, mut known) = (Arc::new(Orders::default()), None);
        let giver = Arc::clone(&orders);
        let given = tokio::spawn(async move {
            tokio::task::yield_now().await;
            giver.give(Order::Drain) && giver.give(Order::Kick)
        });
        assert!(matches!(next(&orders, &mut known).await, Order::Drain));
        assert!(matches!(next(&orders, &mut known).await, Order::Kick));
        assert!(given.await.unwrap());
        // Also one that comes between two waits.
        orders.give(Order::Kick);
        assert!(matches!(next(&orders, &mut known).await, Order::Kick));
    }

    #[test]
    fn orders_are_bounded_and_whoever_has_ended_takes_none() {
        let orders = Orders::default();
        assert_eq!((0..2 * MAX_WAITING).filter(|_| orders.give(Order::Drain)).count(), MAX_WAITING);
        orders.end();
        assert!(!orders.give(Order::Kick));
    }
}
