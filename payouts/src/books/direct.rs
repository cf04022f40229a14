//! Coinbase outputs that pay miners directly, and what they settle.
//!
//! The ledger follows what a coinbase paid, whatever was meant to be paid: up to the miner's credit of the block an output
//! settles that, and the excess is the miner's debt. Adit's own templates have no such outputs.

use std::{collections::BTreeMap, fmt, str::FromStr};

use bitcoin::{Amount, BlockHash, OutPoint};

use crate::{
    account::AccountId,
    books::{BlockCredit, BlockPhase, BlockRecord, Books, BooksError, COMMIT_ATTEMPTS, FoundBlock},
    ledger::{Draft, DraftLines, EntryKind, LedgerAccount},
    store::{Row, StoreError},
};

/// An output of a coinbase that pays a miner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectPayment {
    /// Its place among the outputs.
    pub vout: u32,
    /// Whom it pays.
    pub account: AccountId,
    /// How much.
    pub amount: Amount,
}

/// The outputs of one coinbase that pay miners, in their order, each once. The text form, by `Display` and `FromStr`, is
/// what stores and the ledger keep: `1:7=5000,2:9=100` is output 1 with 5,000 satoshis for account 7, and so on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DirectPayments(Vec<DirectPayment>);

impl DirectPayments {
    /// Takes payments in; nothing if they are not in the order of the outputs, or come to more than there is money.
    pub fn new(payments: Vec<DirectPayment>) -> Option<Self> {
        let in_order = payments.windows(2).all(|pair| pair[0].vout < pair[1].vout);
        let total = payments.iter().try_fold(Amount::ZERO, |sum, payment| sum.checked_add(payment.amount));
        (in_order && total? <= Amount::MAX_MONEY).then_some(Self(payments))
    }

    /// Returns them in the order of the outputs.
    pub fn iter(&self) -> impl Iterator<Item = &DirectPayment> {
        self.0.iter()
    }

    /// Tells whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns their sum.
    pub fn total(&self) -> Amount {
        self.0.iter().map(|payment| payment.amount).sum()
    }

    /// Returns the part of each payment that settles a credit of its block; the rest of it is debt. Of an account's
    /// payments the first come first.
    fn settled(&self, credits: &[BlockCredit]) -> Vec<(DirectPayment, Amount)> {
        let mut left: BTreeMap<_, _> = credits.iter().map(|credit| (credit.account, credit.amount)).collect();
        let settled = |&payment: &DirectPayment| {
            let left = left.entry(payment.account).or_default();
            let settles = payment.amount.min(*left);
            *left -= settles;
            (payment, settles)
        };
        self.0.iter().map(settled).collect()
    }

    /// Returns how much of each account's credit they settle.
    pub(super) fn settled_of(&self, credits: &[BlockCredit]) -> BTreeMap<AccountId, Amount> {
        let mut sums = BTreeMap::new();
        for (payment, settles) in self.settled(credits) {
            *sums.entry(payment.account).or_default() += settles;
        }
        sums
    }
}

impl fmt::Display for DirectPayments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, DirectPayment { vout, account, amount }) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{vout}:{account}={}", amount.to_sat())?;
        }
        Ok(())
    }
}

/// A text that names no direct payments.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no direct payments: {0:?}")]
pub struct NoDirectPayments(String);

impl FromStr for DirectPayments {
    type Err = NoDirectPayments;

    fn from_str(text: &str) -> Result<Self, NoDirectPayments> {
        let payment = |item: &str| {
            let (vout, rest) = item.split_once(':')?;
            let (account, sat) = rest.split_once('=')?;
            let account = AccountId::new(account.parse().ok()?);
            Some(DirectPayment { vout: vout.parse().ok()?, account, amount: Amount::from_sat(sat.parse().ok()?) })
        };
        let items = text.split(',').filter(|_| !text.is_empty());
        let payments: Option<Vec<_>> = items.map(payment).collect();
        let parsed = payments.and_then(Self::new).filter(|parsed| parsed.to_string() == text);
        parsed.ok_or_else(|| NoDirectPayments(text.to_owned()))
    }
}

impl FoundBlock {
    /// Returns what the pool's own output pays.
    pub fn pool_value(&self) -> Result<Amount, BooksError> {
        let (value, direct) = (self.value, self.direct.total());
        value.checked_sub(direct).ok_or(BooksError::DirectExceedsValue { block: self.hash, value, direct })
    }

    /// Returns the output of a direct payment.
    pub fn direct_output(&self, payment: &DirectPayment) -> OutPoint {
        OutPoint::new(self.coinbase.txid, payment.vout)
    }
}

/// The lines of one payment, of which so much settles the miner's credit.
fn paying(lines: DraftLines, block: BlockHash, payment: &DirectPayment, settles: Amount) -> DraftLines {
    lines
        .debit(LedgerAccount::MinerImmature(payment.account), settles)
        .debit(LedgerAccount::MinerDebt(payment.account), payment.amount - settles)
        .credit(LedgerAccount::Immature(block), payment.amount)
}

/// Adds the lines of all payments of a block to those of its booking.
pub(super) fn with_direct(lines: DraftLines, block: &BlockRecord, credits: &[BlockCredit]) -> DraftLines {
    let settled = block.found.direct.settled(credits);
    settled.iter().fold(lines, |lines, (payment, settles)| paying(lines, block.found.hash, payment, *settles))
}

impl Books {
    /// Posts what the coinbase of an immature block paid directly, as far as its present stay in the chain lacks that. An
    /// output of nothing moves nothing, and is not posted.
    ///
    /// The key of an entry is the output, in later stays with the epoch in which they began: `txid:vout:epoch`.
    pub(super) async fn post_direct(&self, hash: BlockHash) -> Result<(), BooksError> {
        let Some(block) = self.store.block(hash).await? else { return Ok(()) };
        for payment in block.found.direct.iter().filter(|payment| payment.amount > Amount::ZERO) {
            self.post_payment(hash, payment).await?;
        }
        Ok(())
    }

    async fn post_payment(&self, hash: BlockHash, payment: &DirectPayment) -> Result<(), BooksError> {
        for _ in 0..COMMIT_ATTEMPTS {
            let head = self.store.head().await?;
            let block = self.store.block(hash).await?.ok_or(BooksError::UnknownBlock(hash))?;
            if block.state.phase != BlockPhase::Immature {
                // Whoever moved it on has posted it before, or the block is out of the chain.
                return Ok(());
            }
            let output = block.found.direct_output(payment);
            let key = match self.booked(&block).await?.1 {
                0 => output.to_string(),
                epoch => format!("{output}:{epoch}"),
            };
            if self.store.entry(EntryKind::DirectPaid, &key).await?.is_some() {
                return Ok(());
            }
            let credits = self.store.credits(hash).await?;
            let settled = block.found.direct.settled(&credits);
            let Some(&(_, settles)) = settled.iter().find(|(other, _)| other == payment) else { return Ok(()) };
            let lines = paying(Draft::begin(EntryKind::DirectPaid, key), hash, payment, settles);
            let row = Row::DirectPaid { block: hash, account: payment.account, amount: settles };
            if self.commit(head, lines.balanced()?, vec![row]).await? {
                return Ok(());
            }
        }
        Err(StoreError::Contended.into())
    }
}

#[cfg(test)]
mod tests;
