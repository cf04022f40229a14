//! Turns for the cryptography of handshakes: so many at a time, and each address in its turn.
//!
//! A handshake costs the pool a hundred times what a share does, and costs a peer that does not mean it nothing. With one
//! at a time for every two cores, a storm of them waits here, and the cores take up shares in between: each share waits
//! behind one handshake at most, and not behind all that have come. An address that comes with hundreds takes turns with
//! the one that comes with a single connection.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::oneshot;

use super::addresses::Origin;

/// Gives out turns.
#[derive(Debug)]
pub struct Turns {
    queue: Mutex<Queue>,
}

#[derive(Debug)]
struct Queue {
    free: usize,
    /// Whose turn comes next. Each address that waits stands here once.
    order: VecDeque<Origin>,
    waiting: HashMap<Origin, VecDeque<oneshot::Sender<Turn>>>,
}

/// A turn. Dropping it gives it to whoever is next.
#[derive(Debug)]
pub struct Turn {
    /// None if it was never begun.
    turns: Option<Arc<Turns>>,
}

impl Turns {
    /// Begins with so many turns at a time.
    pub fn new(at_a_time: usize) -> Self {
        let queue = Queue { free: at_a_time, order: VecDeque::new(), waiting: HashMap::new() };
        Self { queue: Mutex::new(queue) }
    }

    /// Returns how many turns suit this machine: one for every two of its cores.
    pub fn suited() -> usize {
        std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2))
    }

    /// Waits for a turn. To give up waiting loses nothing.
    pub async fn take(self: &Arc<Self>, origin: Origin) -> Turn {
        let (sender, turn) = oneshot::channel();
        {
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            if queue.free > 0 {
                queue.free -= 1;
                return Turn { turns: Some(Arc::clone(self)) };
            }
            let of_origin = queue.waiting.entry(origin).or_default();
            of_origin.push_back(sender);
            if of_origin.len() == 1 {
                queue.order.push_back(origin);
            }
        }
        turn.await.expect("whoever waits stays in the queue until it gets its turn")
    }

    /// Gives a turn that has ended to the next that still waits.
    fn pass_on(self: &Arc<Self>) {
        while let Some(next) = self.next() {
            match next.send(Turn { turns: Some(Arc::clone(self)) }) {
                Ok(()) => return,
                // It has given up waiting: the turn was never begun, and is not passed on by its end.
                Err(mut turn) => turn.turns = None,
            }
        }
    }

    /// Takes out who is next; if nobody is, the turn is free.
    fn next(&self) -> Option<oneshot::Sender<Turn>> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(origin) = queue.order.pop_front() else {
            queue.free += 1;
            return None;
        };
        let of_origin = queue.waiting.get_mut(&origin)?;
        let next = of_origin.pop_front();
        if of_origin.is_empty() {
            queue.waiting.remove(&origin);
        } else {
            queue.order.push_back(origin);
        }
        next
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(turns) = self.turns.take() {
            turns.pass_on();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{net::Ipv4Addr, pin::pin, task::Poll};

    use super::*;

    fn origin(last: u8) -> Origin {
        Origin::of(Ipv4Addr::new(192, 0, 2, last).into())
    }

    /// Looks once whether a turn has come.
    fn poll<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Option<T> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match future.poll(&mut context) {
            Poll::Ready(turn) => Some(turn),
            Poll::Pending => None,
        }
    }

    #[tokio::test]
    async fn address_with_many_takes_turns_with_an_address_that_has_one() {
        let turns = Arc::new(Turns::new(1));
        let begun = turns.take(origin(1)).await;
        let mut many: Vec<_> = (0..3).map(|_| Box::pin(turns.take(origin(1)))).collect();
        for waiting in &mut many {
            assert!(poll(waiting.as_mut()).is_none());
        }
        let mut one = pin!(turns.take(origin(2)));
        assert!(poll(one.as_mut()).is_none());
        drop(begun);
        let first = poll(many[0].as_mut()).unwrap();
        assert!(poll(one.as_mut()).is_none() && poll(many[1].as_mut()).is_none(), "one at a time");
        drop(first);
        let second = poll(one.as_mut()).expect("it is the other address's turn");
        assert!(poll(many[1].as_mut()).is_none());
        drop(second);
        drop(poll(many[1].as_mut()).unwrap());
        drop(poll(many[2].as_mut()).unwrap());
        assert!(poll(pin!(turns.take(origin(3)))).is_some());
    }

    #[tokio::test]
    async fn turn_of_whoever_gave_up_goes_to_the_next() {
        let turns = Arc::new(Turns::new(1));
        let begun = turns.take(origin(1)).await;
        let (mut early, mut late) = (Box::pin(turns.take(origin(1))), Box::pin(turns.take(origin(1))));
        let mut last = pin!(turns.take(origin(2)));
        assert!(poll(early.as_mut()).is_none() && poll(late.as_mut()).is_none() && poll(last.as_mut()).is_none());
        drop(early);
        drop(begun);
        // The turn has come to it, though it has not looked.
        drop(late);
        drop(poll(last.as_mut()).unwrap());
        assert!(poll(pin!(turns.take(origin(1)))).is_some());
    }

    #[tokio::test]
    async fn so_many_turns_are_given_at_a_time() {
        let turns = Arc::new(Turns::new(2));
        let (one, _other) = (turns.take(origin(1)).await, turns.take(origin(1)).await);
        let mut third = pin!(turns.take(origin(1)));
        assert!(poll(third.as_mut()).is_none());
        drop(one);
        assert!(poll(third.as_mut()).is_some());
    }
}
