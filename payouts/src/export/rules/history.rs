//! What happened to a record or a lot, and the state that it comes to.
//!
//! Owns the way from what books and journal tell to the states of [`state`](super::state), each step one that its tables
//! allow. Pure: where it is written what happened is not known here.

use super::state::{Forbidden, LotProgress, LotState, RecordKind, RecordProgress, RecordState};

/// Something that happened to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happened {
    /// Its receiver was screened, without an objection; perhaps not for the first time.
    Screened,
    /// A price was offered. Sales only.
    Quoted,
    /// The price was accepted. Sales only.
    Contracted,
    /// Its output came into a block.
    Delivered,
    /// The money for it came in. Sales only: a payout is settled with its delivery.
    Settled,
    /// Its period was declared.
    Declared,
    /// Its period was closed.
    Closed,
    /// Its value was corrected after its period was closed.
    Corrected,
    /// The block of its output left the chain.
    Reversed,
}

/// A record on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHistory {
    progress: RecordProgress,
    /// A sale may be declared, and its period closed, before its money is there; the record takes these steps once it is.
    awaits_money: AwaitsMoney,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct AwaitsMoney {
    is_declared: bool,
    is_closed: bool,
}

impl RecordHistory {
    /// Begins a record: its payout was made, or its sale thought of.
    pub const fn begin(kind: RecordKind) -> Self {
        let awaits_money = AwaitsMoney { is_declared: false, is_closed: false };
        Self { progress: RecordProgress::begin(kind), awaits_money }
    }

    /// Returns the state that it has come to.
    pub const fn state(&self) -> RecordState {
        self.progress.state()
    }

    /// Tells whether what happens next is another record's, of the open period: this one stood in a closed period and is
    /// corrected.
    pub const fn is_over(&self) -> bool {
        matches!(self.state(), RecordState::Corrected)
    }

    /// Takes in what happened next.
    ///
    /// # Errors
    ///
    /// If it cannot happen to a record in this state.
    pub fn note(&mut self, happened: Happened) -> Result<(), Forbidden> {
        use RecordState as State;

        match (happened, self.state()) {
            // Its money came in after its value was corrected.
            (Happened::Settled, State::Corrected) => Ok(()),
            (Happened::Screened, state) if state != State::Draft => Ok(()),
            (Happened::Screened, _) => self.advance(State::Screened),
            (Happened::Quoted, _) => self.advance(State::Quoted),
            (Happened::Contracted, _) => self.advance(State::Contracted),
            (Happened::Delivered, _) => {
                self.advance(State::Delivered)?;
                match self.progress.kind() {
                    RecordKind::Payout => self.advance(State::Settled),
                    RecordKind::Sale => Ok(()),
                }
            }
            (Happened::Settled, _) => {
                self.advance(State::Settled)?;
                let AwaitsMoney { is_declared, is_closed } = std::mem::take(&mut self.awaits_money);
                if is_declared {
                    self.advance(State::Declared)?;
                }
                if is_closed { self.advance(State::Closed) } else { Ok(()) }
            }
            (Happened::Declared, State::Settled) => self.advance(State::Declared),
            (Happened::Declared, State::Delivered) => {
                self.awaits_money.is_declared = true;
                Ok(())
            }
            (Happened::Closed, State::Declared) => self.advance(State::Closed),
            (Happened::Closed, State::Delivered) => {
                self.awaits_money.is_closed = self.awaits_money.is_declared;
                Ok(())
            }
            // Declared again, by itself after its period perhaps, or nothing of it is left.
            (Happened::Declared, State::Declared | State::Closed) => Ok(()),
            (Happened::Declared | Happened::Closed | Happened::Corrected, State::Reversed) => Ok(()),
            (Happened::Declared | Happened::Closed | Happened::Corrected, State::Corrected) => Ok(()),
            (Happened::Declared, _) => self.advance(State::Declared),
            (Happened::Closed, _) => self.advance(State::Closed),
            (Happened::Corrected, _) => self.advance(State::Corrected),
            (Happened::Reversed, State::Corrected) => Ok(()),
            // A closed record stays as it was declared: that it came back is a correction in the open period.
            (Happened::Reversed, State::Closed) => self.advance(State::Corrected),
            (Happened::Reversed, _) => {
                self.awaits_money = AwaitsMoney::default();
                self.advance(State::Reversed)
            }
        }
    }

    fn advance(&mut self, next: RecordState) -> Result<(), Forbidden> {
        self.progress = self.progress.advance(next)?;
        Ok(())
    }
}

/// Something that happened to a lot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LotHappened {
    /// Its coinbase can be spent, and the credit is due.
    Matured,
    /// Its coinbase cannot be spent any more.
    Unmatured,
    /// Its coinbase left the chain.
    Orphaned,
    /// Its coinbase is in the chain again.
    Reconnected,
    /// An output that paid it is in a block.
    Paid,
    /// That block left the chain.
    PaidBack,
}

/// A lot on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LotHistory {
    progress: LotProgress,
    is_mature: bool,
    is_paid: bool,
}

impl LotHistory {
    /// Begins a lot, with its block.
    pub const fn begin() -> Self {
        Self { progress: LotProgress::begin(), is_mature: false, is_paid: false }
    }

    /// Returns the state that it has come to.
    pub const fn state(&self) -> LotState {
        self.progress.state()
    }

    /// Takes in what happened next.
    ///
    /// # Errors
    ///
    /// If it cannot happen to a lot in this state.
    pub fn note(&mut self, happened: LotHappened) -> Result<(), Forbidden> {
        use LotState as State;

        self.is_mature = match happened {
            LotHappened::Matured => true,
            LotHappened::Unmatured | LotHappened::Orphaned | LotHappened::Reconnected => false,
            LotHappened::Paid | LotHappened::PaidBack => self.is_mature,
        };
        match (happened, self.state()) {
            // What was paid out of it stays paid, however deep its block is.
            (LotHappened::Matured | LotHappened::Unmatured, State::Paid) => Ok(()),
            (LotHappened::Matured, _) => {
                self.advance(State::Mature)?;
                self.advance(State::Payable)?;
                if self.is_paid { self.advance(State::Paid) } else { Ok(()) }
            }
            (LotHappened::Unmatured | LotHappened::Reconnected, _) => self.advance(State::Provisional),
            (LotHappened::Orphaned, _) => self.advance(State::Reversed),
            (LotHappened::Paid, state) => {
                self.is_paid = true;
                // A coinbase that has left the chain meanwhile is what the pool lost, not what was paid.
                if matches!(state, State::Reversed | State::Provisional) { Ok(()) } else { self.advance(State::Paid) }
            }
            (LotHappened::PaidBack, state) => {
                self.is_paid = false;
                if state != State::Paid {
                    return Ok(());
                }
                self.advance(State::Payable)?;
                if self.is_mature { Ok(()) } else { self.advance(State::Provisional) }
            }
        }
    }

    fn advance(&mut self, next: LotState) -> Result<(), Forbidden> {
        self.progress = self.progress.advance(next)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn state(kind: RecordKind, happened: &[Happened]) -> Result<RecordState, Forbidden> {
        let mut history = RecordHistory::begin(kind);
        happened.iter().try_for_each(|happened| history.note(*happened))?;
        Ok(history.state())
    }

    fn payout(happened: &[Happened]) -> RecordState {
        state(RecordKind::Payout, happened).unwrap()
    }

    #[test]
    fn a_payout_goes_from_draft_to_closed_and_is_settled_with_its_delivery() {
        use Happened::{Closed, Declared, Delivered, Screened};
        let way = [Screened, Screened, Delivered, Declared, Declared, Closed];
        let states: Vec<_> = (0..=way.len()).map(|count| payout(&way[..count]).as_str()).collect();
        assert_eq!(states, ["DRAFT", "SCREENED", "SCREENED", "SETTLED", "DECLARED", "DECLARED", "CLOSED"]);
    }

    #[test]
    fn what_was_not_screened_is_not_delivered_and_what_was_not_declared_not_closed() {
        assert!(state(RecordKind::Payout, &[Happened::Delivered]).is_err());
        assert!(state(RecordKind::Payout, &[Happened::Screened, Happened::Declared]).is_err());
        assert!(state(RecordKind::Payout, &[Happened::Screened, Happened::Delivered, Happened::Closed]).is_err());
        assert!(state(RecordKind::Payout, &[Happened::Screened, Happened::Quoted]).is_err());
    }

    #[test]
    fn a_reversed_payout_can_be_delivered_again_and_a_closed_one_is_corrected() {
        use Happened::{Closed, Corrected, Declared, Delivered, Reversed, Screened};
        assert_eq!(payout(&[Screened, Delivered, Reversed]), RecordState::Reversed);
        assert_eq!(payout(&[Screened, Delivered, Reversed, Declared, Closed]), RecordState::Reversed);
        assert_eq!(payout(&[Screened, Delivered, Declared, Reversed, Delivered]), RecordState::Settled);
        assert_eq!(payout(&[Screened, Delivered, Declared, Closed, Reversed]), RecordState::Corrected);
        let corrected = [Screened, Delivered, Declared, Closed, Corrected, Corrected, Reversed];
        assert_eq!(payout(&corrected), RecordState::Corrected);
        let mut history = RecordHistory::begin(RecordKind::Payout);
        corrected.iter().for_each(|happened| history.note(*happened).unwrap());
        assert!(history.is_over());
        assert!(history.note(Delivered).is_err(), "that is a record of the open period");
    }

    #[test]
    fn a_sale_is_settled_when_its_money_is_there_and_only_then_declared() {
        use Happened::{Closed, Contracted, Declared, Delivered, Quoted, Screened, Settled};
        let sale = |happened: &[Happened]| state(RecordKind::Sale, happened).unwrap();
        let delivered = [Screened, Quoted, Contracted, Delivered];
        assert_eq!(sale(&delivered), RecordState::Delivered);
        let declared = [&delivered[..], &[Declared, Closed]].concat();
        assert_eq!(sale(&declared), RecordState::Delivered);
        assert_eq!(sale(&[&declared[..], &[Settled]].concat()), RecordState::Closed);
        assert_eq!(sale(&[&delivered[..], &[Settled]].concat()), RecordState::Settled);
        // It is declared by itself whenever that is due, and its money comes when it comes.
        assert_eq!(sale(&[&declared[..], &[Settled, Declared]].concat()), RecordState::Closed);
        assert_eq!(sale(&[&declared[..], &[Happened::Corrected, Settled]].concat()), RecordState::Corrected);
        assert!(state(RecordKind::Sale, &[Screened, Delivered]).is_err(), "it was not contracted");
    }

    fn lot(happened: &[LotHappened]) -> &'static str {
        let mut history = LotHistory::begin();
        happened.iter().for_each(|happened| history.note(*happened).unwrap());
        history.state().as_str()
    }

    #[test]
    fn a_lot_is_provisional_then_payable_then_paid() {
        use LotHappened::{Matured, Orphaned, Paid, PaidBack, Reconnected, Unmatured};
        assert_eq!(lot(&[]), "PROVISIONAL");
        assert_eq!(lot(&[Matured]), "PAYABLE");
        assert_eq!(lot(&[Matured, Unmatured]), "PROVISIONAL");
        assert_eq!(lot(&[Matured, Paid]), "PAID");
        assert_eq!(lot(&[Matured, Paid, PaidBack]), "PAYABLE");
        assert_eq!(lot(&[Matured, Paid, PaidBack, Paid]), "PAID");
        assert_eq!(lot(&[Orphaned]), "REVERSED");
        assert_eq!(lot(&[Orphaned, Reconnected, Matured]), "PAYABLE");
    }

    #[test]
    fn a_paid_lot_stays_paid_until_its_coinbase_leaves_the_chain() {
        use LotHappened::{Matured, Orphaned, Paid, PaidBack, Reconnected, Unmatured};
        assert_eq!(lot(&[Matured, Paid, Unmatured]), "PAID");
        assert_eq!(lot(&[Matured, Paid, Unmatured, PaidBack]), "PROVISIONAL");
        assert_eq!(lot(&[Matured, Paid, Unmatured, PaidBack, Matured]), "PAYABLE");
        assert_eq!(lot(&[Matured, Paid, Unmatured, Orphaned]), "REVERSED");
        assert_eq!(lot(&[Matured, Paid, Unmatured, Orphaned, Reconnected, Matured]), "PAID");
        assert_eq!(lot(&[Matured, Paid, Orphaned, PaidBack, Reconnected, Matured]), "PAYABLE");
        let mut history = LotHistory::begin();
        history.note(Orphaned).unwrap();
        assert!(history.note(Orphaned).is_err());
    }
}
