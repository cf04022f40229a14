//! What a payer tells of its steps.

use bitcoin::{Amount, Txid};

use crate::{
    account::AccountId,
    payout::{BatchId, ConfirmationBlock, Restraint},
};

/// What a [`Payer`](crate::Payer) did, or why it waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PayoutEvent {
    /// Nothing is paid, because lists may not be relied upon. Told once for each reason.
    ListsUnusable {
        /// Which, and why.
        reason: String,
    },
    /// A list names an account, or its owner is not known enough: it is not paid.
    Found {
        /// The account.
        account: AccountId,
        /// What was laid on it.
        restraint: Restraint,
    },
    /// A batch that was not signed has an output that may not be paid: what it took is due again.
    GivenBack {
        /// The batch.
        batch: BatchId,
    },
    /// A signed batch has an output that may not be paid: it is not given to the node.
    Withheld {
        /// The batch.
        batch: BatchId,
    },
    /// A batch was created, and its transaction stored.
    Created {
        /// The batch.
        batch: BatchId,
        /// Its transaction.
        txid: Txid,
        /// How many accounts it pays.
        outputs: usize,
        /// What it pays them.
        paid: Amount,
        /// What it pays the network.
        network_fee: Amount,
    },
    /// A batch waits for somebody's approval. Told when it is created.
    AwaitsApproval {
        /// The batch.
        batch: BatchId,
    },
    /// A batch waits for a signature from elsewhere. Told when it is created, replaced or approved.
    AwaitsSignature {
        /// The batch.
        batch: BatchId,
        /// Its transaction.
        txid: Txid,
    },
    /// A batch's transaction was given to the node.
    Broadcast {
        /// The batch.
        batch: BatchId,
        /// Its transaction.
        txid: Txid,
    },
    /// A batch's transaction is in a block; its export records are written.
    Confirmed {
        /// The batch.
        batch: BatchId,
        /// Its transaction.
        txid: Txid,
        /// The block.
        block: ConfirmationBlock,
        /// How many outputs were recorded.
        records: usize,
    },
    /// The block with a batch's transaction left the chain; the same bytes are sent again.
    Reversed {
        /// The batch.
        batch: BatchId,
        /// Its transaction.
        txid: Txid,
        /// The block that left.
        block: ConfirmationBlock,
    },
    /// The node does not take a batch's transaction now, or gave no usable answer, so that it may have taken it; the
    /// same bytes are sent again with the next step.
    Refused {
        /// The batch.
        batch: BatchId,
        /// Its transaction.
        txid: Txid,
        /// What the node says.
        reason: String,
    },
    /// A transaction that is not the batch's has spent its coins, so that the batch cannot confirm while that one stays
    /// in the chain.
    Conflicted {
        /// The batch.
        batch: BatchId,
        /// The transaction that has the coins.
        by: Txid,
        /// How many confirmations it has.
        depth: u32,
    },
    /// The transaction that has a batch's coins is too deep to leave the chain: the batch is given up, its balances are
    /// due again, and the coins are booked as the pool's loss.
    Replaced {
        /// The batch.
        batch: BatchId,
        /// The transaction that has the coins.
        by: Txid,
        /// The coins that were lost with it, and were not booked before.
        loss: Amount,
    },
    /// What fell due of a restrained account was kept back.
    Swept {
        /// How many accounts.
        accounts: usize,
    },
    /// Balances are due, but the pool has no coins free to pay any of them.
    Waiting {
        /// How many accounts wait.
        accounts: usize,
        /// What they are due.
        due: Amount,
    },
}
