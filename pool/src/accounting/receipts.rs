//! Receipts for shares that are on disk, and their way from the share log to the connection that waits for them.
//!
//! A connection has one mailbox, in which the log puts what concerns it; it is woken once for all that a group brings.
//! There are never more receipts in it than the connection has shares unacknowledged, so it needs no bound of its own.

use std::{
    future::poll_fn,
    mem,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use protocol::messages::mining::SubmitSharesSuccess;

use crate::mining::difficulty::Difficulty;

/// Nothing that is done under the lock can panic.
const UNPOISONED: &str = "nobody panics while he has the lock";

/// Proof that shares are on disk: so many of one channel and difficulty. Only the share log makes one.
#[derive(Clone, Copy, Debug)]
pub struct Durable {
    channel_id: u32,
    last_sequence_number: u32,
    count: u32,
    difficulty: Difficulty,
}

impl Durable {
    /// Says that `count` shares are on disk, the last of which had that number.
    pub(super) fn new(channel_id: u32, last_sequence_number: u32, count: u32, difficulty: Difficulty) -> Self {
        Self { channel_id, last_sequence_number, count, difficulty }
    }

    /// Returns how many shares it is proof of.
    pub fn count(&self) -> usize {
        self.count as usize
    }

    /// Pretends that a share is on disk.
    #[cfg(test)]
    pub(crate) fn pretended(channel_id: u32, sequence_number: u32) -> Self {
        Self::new(channel_id, sequence_number, 1, Difficulty::MIN)
    }
}

/// Builds the acknowledgements for what has become durable: one for each channel, in the order of first appearance.
pub fn acknowledge(receipts: &[Durable]) -> Vec<SubmitSharesSuccess> {
    let mut successes: Vec<(SubmitSharesSuccess, u128)> = Vec::new();
    for receipt in receipts {
        let index = successes.iter().position(|(success, _)| success.channel_id == receipt.channel_id);
        let index = index.unwrap_or_else(|| {
            let (channel_id, last_sequence_number) = (receipt.channel_id, receipt.last_sequence_number);
            let empty = SubmitSharesSuccess {
                channel_id,
                last_sequence_number,
                new_submits_accepted_count: 0,
                new_shares_sum: 0,
            };
            successes.push((empty, 0));
            successes.len() - 1
        });
        let (success, hashes) = &mut successes[index];
        success.last_sequence_number = receipt.last_sequence_number;
        success.new_submits_accepted_count += receipt.count;
        *hashes = hashes.saturating_add(receipt.difficulty.in_hashes().saturating_mul(receipt.count.into()));
        success.new_shares_sum = u64::try_from(*hashes >> 32).unwrap_or(u64::MAX);
    }
    successes.into_iter().map(|(success, _)| success).collect()
}

/// Makes a connection's mailbox: the slot for the log, and the door for the connection.
pub fn mailbox() -> (ReceiptSlot, Receipts) {
    let mailbox = Arc::default();
    (ReceiptSlot(Arc::clone(&mailbox)), Receipts(mailbox))
}

/// Where the log puts receipts.
#[derive(Clone, Debug)]
pub struct ReceiptSlot(Arc<Mutex<Mailbox>>);

/// Where a connection takes them out.
#[derive(Debug)]
pub struct Receipts(Arc<Mutex<Mailbox>>);

#[derive(Debug, Default)]
struct Mailbox {
    receipts: Vec<Durable>,
    /// The task that waits for the next.
    waiting: Option<Waker>,
}

impl ReceiptSlot {
    /// Puts a receipt in. Whoever waits for it is not woken but returned, so that he is when all have come.
    #[must_use]
    pub(super) fn put(&self, receipt: Durable) -> Option<Waker> {
        let mut mailbox = self.0.lock().expect(UNPOISONED);
        mailbox.receipts.push(receipt);
        mailbox.waiting.take()
    }
}

impl Receipts {
    /// Waits until there are some, and takes all. To give up waiting loses nothing.
    pub async fn take(&mut self) -> Vec<Durable> {
        poll_fn(|context| self.poll_take(context)).await
    }

    fn poll_take(&mut self, context: &mut Context<'_>) -> Poll<Vec<Durable>> {
        let mut mailbox = self.0.lock().expect(UNPOISONED);
        if !mailbox.receipts.is_empty() {
            return Poll::Ready(mem::take(&mut mailbox.receipts));
        }
        match &mut mailbox.waiting {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}

impl Drop for Receipts {
    /// Lets go of the task that waited: it would hold the mailbox, and the mailbox it.
    fn drop(&mut self) {
        if let Ok(mut mailbox) = self.0.lock() {
            mailbox.waiting = None;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    fn receipt(channel_id: u32, last_sequence_number: u32, count: u32, log2: i32) -> Durable {
        Durable::new(channel_id, last_sequence_number, count, Difficulty::from_log2(log2))
    }

    #[test]
    fn each_channel_is_told_its_last_number_its_count_and_its_sum() {
        let receipts = [receipt(3, 7, 1, 4), receipt(2, 1, 1, 10), receipt(3, 9, 2, 5), receipt(3, 8, 1, 5)];
        let told: Vec<_> = acknowledge(&receipts)
            .iter()
            .map(|success| {
                let SubmitSharesSuccess { last_sequence_number, new_submits_accepted_count, new_shares_sum, .. } =
                    *success;
                (success.channel_id, last_sequence_number, new_submits_accepted_count, new_shares_sum)
            })
            .collect();
        assert_eq!(told, [(3, 8, 4, 16 + 32 + 32 + 32), (2, 1, 1, 1024)]);
        assert_eq!(acknowledge(&[]), []);
    }

    #[test]
    fn shares_below_difficulty_one_add_up_before_they_are_cut_off() {
        let halves = [receipt(2, 1, 1, -1), receipt(2, 3, 2, -1)];
        assert_eq!(acknowledge(&halves)[0].new_shares_sum, 1);
        for most in [vec![receipt(2, 2, 2, 95)], vec![receipt(2, 1, 1, 95), receipt(2, 2, 4_095, 95)]] {
            assert_eq!(acknowledge(&most)[0].new_shares_sum, u64::MAX);
        }
    }

    #[tokio::test]
    async fn connection_is_woken_once_for_all_that_came_and_takes_it_in_order() {
        let (slot, mut receipts) = mailbox();
        assert!(slot.put(receipt(2, 1, 1, 0)).is_none(), "nobody waits");
        assert_eq!(receipts.take().await.len(), 1);
        let waiting = tokio::spawn(async move {
            let taken = receipts.take().await;
            (taken, receipts)
        });
        tokio::task::yield_now().await;
        let wakers: Vec<_> = (2..5).filter_map(|number| slot.put(receipt(2, number, 1, 0))).collect();
        assert_eq!(wakers.len(), 1);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "it is woken when all have come");
        wakers.into_iter().for_each(Waker::wake);
        let (taken, mut receipts) = waiting.await.unwrap();
        assert_eq!(taken.iter().map(|receipt| receipt.last_sequence_number).collect::<Vec<_>>(), [2, 3, 4]);
        assert!(timeout(Duration::ZERO, receipts.take()).await.is_err());
    }

    #[tokio::test]
    async fn task_that_gave_up_or_ended_is_let_go_of() {
        let (slot, mut receipts) = mailbox();
        assert!(timeout(Duration::ZERO, receipts.take()).await.is_err());
        drop(receipts);
        assert!(slot.put(receipt(2, 1, 1, 0)).is_none());
    }
}
