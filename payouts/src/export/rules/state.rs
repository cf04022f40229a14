//! The states of a record and of a lot, and which may follow which.
//!
//! Owns the tables and the way back from [`RecordState::Held`] and [`RecordState::Blocked`]. Who may release what, and
//! on which grounds, belongs to screening; what is posted at a change belongs to the ledger.

use std::{fmt, str::FromStr};

/// A text that names no state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {of} state {text:?}")]
pub struct UnknownState {
    of: &'static str,
    text: String,
}

/// A change that no state allows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a {of} does not go from {from} to {to}")]
pub struct Forbidden {
    of: &'static str,
    from: &'static str,
    to: &'static str,
}

/// Gives an enum of states its text form in capitals: `Display`, `FromStr` and serde.
macro_rules! text_states {
    ($state:ident, $of:literal, $($variant:ident => $text:literal,)+) => {
        impl $state {
            /// All states.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Returns the text form that stores and reports use.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }

        impl fmt::Display for $state {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $state {
            type Err = UnknownState;

            fn from_str(text: &str) -> Result<Self, UnknownState> {
                let known = Self::ALL.iter().find(|state| state.as_str() == text);
                known.copied().ok_or_else(|| UnknownState { of: $of, text: text.chars().take(32).collect() })
            }
        }

        impl TryFrom<String> for $state {
            type Error = UnknownState;

            fn try_from(text: String) -> Result<Self, UnknownState> {
                text.parse()
            }
        }

        impl From<$state> for String {
            fn from(state: $state) -> Self {
                state.as_str().to_owned()
            }
        }
    };
}

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordKind {
    /// A paid output.
    Payout,
    /// A sale. Only sales are quoted and contracted.
    Sale,
}

/// The state of a record. Its text form is in capitals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum RecordState {
    /// Begun.
    Draft,
    /// The receiver was screened, without an objection.
    Screened,
    /// A price was offered.
    Quoted,
    /// The price was accepted.
    Contracted,
    /// The output is in a block.
    Delivered,
    /// The money is there; for a payout, nothing more is owed.
    Settled,
    /// It was told to the authority, or stands in a report.
    Declared,
    /// Its period is closed.
    Closed,
    /// Screening wants two operators to look at it.
    Held,
    /// Screening forbids it.
    Blocked,
    /// The price was not accepted in time.
    Expired,
    /// Given up before delivery.
    Cancelled,
    /// The block of the output left the chain.
    Reversed,
    /// A later record corrects it.
    Corrected,
}

text_states! { RecordState, "record",
    Draft => "DRAFT",
    Screened => "SCREENED",
    Quoted => "QUOTED",
    Contracted => "CONTRACTED",
    Delivered => "DELIVERED",
    Settled => "SETTLED",
    Declared => "DECLARED",
    Closed => "CLOSED",
    Held => "HELD",
    Blocked => "BLOCKED",
    Expired => "EXPIRED",
    Cancelled => "CANCELLED",
    Reversed => "REVERSED",
    Corrected => "CORRECTED",
}

impl RecordState {
    /// Tells whether the coin is still here and the record on its way: such a record can be held, blocked or cancelled.
    pub const fn is_before_delivery(self) -> bool {
        matches!(self, Self::Draft | Self::Screened | Self::Quoted | Self::Contracted)
    }

    /// Tells whether a state may follow. From [`Held`](Self::Held) and [`Blocked`](Self::Blocked) this says yes to
    /// every state that a record can have come from; [`RecordProgress`] knows the one.
    ///
    /// A reversed record can be delivered again: its transaction may be in another block. What was delivered is never
    /// cancelled or blocked any more. A closed record is only corrected, by a record of the open period.
    pub const fn may_become(self, next: Self, kind: RecordKind) -> bool {
        let sale = matches!(kind, RecordKind::Sale);
        match (self, next) {
            (Self::Quoted | Self::Contracted, _) | (_, Self::Quoted | Self::Contracted) if !sale => false,
            (Self::Draft, Self::Screened) => true,
            (Self::Screened, Self::Delivered) => !sale,
            (Self::Screened, Self::Quoted) | (Self::Quoted, Self::Contracted | Self::Expired) => true,
            (Self::Contracted, Self::Delivered) => true,
            (Self::Delivered, Self::Settled) | (Self::Settled, Self::Declared) | (Self::Declared, Self::Closed) => true,
            (Self::Held, Self::Expired) => sale,
            (Self::Held, Self::Blocked | Self::Cancelled) | (Self::Blocked, Self::Cancelled) => true,
            (Self::Held | Self::Blocked, next) => next.is_before_delivery(),
            (Self::Delivered | Self::Settled | Self::Declared, Self::Reversed | Self::Corrected) => true,
            (Self::Reversed, Self::Delivered | Self::Corrected) => true,
            (Self::Closed, Self::Corrected) => true,
            (state, Self::Held | Self::Blocked | Self::Cancelled) => state.is_before_delivery(),
            _ => false,
        }
    }
}

/// Where a record stands, and where it goes back to when it is released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "RawProgress")]
pub struct RecordProgress {
    kind: RecordKind,
    state: RecordState,
    /// The state before it was held or blocked; for all others their own.
    resumes: RecordState,
}

/// [`RecordProgress`] as written.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RawProgress {
    kind: RecordKind,
    state: RecordState,
    resumes: RecordState,
}

impl TryFrom<RawProgress> for RecordProgress {
    type Error = Forbidden;

    fn try_from(RawProgress { kind, state, resumes }: RawProgress) -> Result<Self, Forbidden> {
        let aside = matches!(state, RecordState::Held | RecordState::Blocked);
        let sales_only = |state| matches!(state, RecordState::Quoted | RecordState::Contracted | RecordState::Expired);
        let of_kind = kind == RecordKind::Sale || !(sales_only(state) || sales_only(resumes));
        let possible =
            if aside { resumes.may_become(state, kind) && resumes.is_before_delivery() } else { resumes == state };
        if of_kind && possible {
            Ok(Self { kind, state, resumes })
        } else {
            Err(Forbidden { of: "record", from: resumes.as_str(), to: state.as_str() })
        }
    }
}

impl RecordProgress {
    /// Begins a record.
    pub const fn begin(kind: RecordKind) -> Self {
        Self { kind, state: RecordState::Draft, resumes: RecordState::Draft }
    }

    /// Returns what the record is about.
    pub const fn kind(self) -> RecordKind {
        self.kind
    }

    /// Returns the state.
    pub const fn state(self) -> RecordState {
        self.state
    }

    /// Returns the state before it was held or blocked; otherwise that in which it is.
    pub const fn resumes(self) -> RecordState {
        self.resumes
    }

    /// Takes the next state. A held or blocked record goes back only to the state in which it was.
    ///
    /// # Errors
    ///
    /// If the state may not follow.
    pub fn advance(self, next: RecordState) -> Result<Self, Forbidden> {
        let aside = |state| matches!(state, RecordState::Held | RecordState::Blocked);
        let another_way = aside(self.state)
            && ((next.is_before_delivery() && next != self.resumes)
                || (next == RecordState::Expired && self.resumes != RecordState::Quoted));
        if another_way || !self.state.may_become(next, self.kind) {
            return Err(Forbidden { of: "record", from: self.state.as_str(), to: next.as_str() });
        }
        let resumes = if aside(next) { self.resumes } else { next };
        Ok(Self { state: next, resumes, ..self })
    }
}

/// The state of a lot. Its text form is in capitals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum LotState {
    /// Its coinbase has fewer than 100 confirmations.
    Provisional,
    /// Its coinbase can be spent.
    Mature,
    /// It can be paid out.
    Payable,
    /// It left by a payout.
    Paid,
    /// It left by a sale.
    Sold,
    /// Screening forbids that it leaves.
    Blocked,
    /// Its coinbase left the chain.
    Reversed,
}

text_states! { LotState, "lot",
    Provisional => "PROVISIONAL",
    Mature => "MATURE",
    Payable => "PAYABLE",
    Paid => "PAID",
    Sold => "SOLD",
    Blocked => "BLOCKED",
    Reversed => "REVERSED",
}

impl LotState {
    /// Tells whether the coin is here and free to go on: such a lot can be blocked, and is where a released one returns
    /// to.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Provisional | Self::Mature | Self::Payable)
    }

    /// Tells whether a state may follow. From [`Blocked`](Self::Blocked) this says yes to every state that a lot can
    /// have come from; [`LotProgress`] knows the one.
    ///
    /// A reorganisation makes a mature lot provisional again, a reversed one too if its block returns, and a paid or
    /// sold one payable if its transaction left the chain. Its coinbase may leave the chain in any state.
    pub const fn may_become(self, next: Self) -> bool {
        match (self, next) {
            (Self::Provisional, Self::Mature) | (Self::Mature, Self::Payable) => true,
            (Self::Payable, Self::Paid | Self::Sold) | (Self::Paid | Self::Sold, Self::Payable) => true,
            (Self::Mature | Self::Payable | Self::Reversed, Self::Provisional) => true,
            (Self::Reversed, Self::Reversed) => false,
            (_, Self::Reversed) => true,
            (state, Self::Blocked) => state.is_open(),
            (Self::Blocked, next) => next.is_open(),
            _ => false,
        }
    }
}

/// Where a lot stands, and where it goes back to when it is released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LotProgress {
    state: LotState,
    resumes: LotState,
}

impl LotProgress {
    /// Begins a lot, with its block.
    pub const fn begin() -> Self {
        Self { state: LotState::Provisional, resumes: LotState::Provisional }
    }

    /// Returns the state.
    pub const fn state(self) -> LotState {
        self.state
    }

    /// Takes the next state. A blocked lot goes back only to the state in which it was.
    ///
    /// # Errors
    ///
    /// If the state may not follow.
    pub fn advance(self, next: LotState) -> Result<Self, Forbidden> {
        let another_way = self.state == LotState::Blocked && next.is_open() && next != self.resumes;
        if another_way || !self.state.may_become(next) {
            return Err(Forbidden { of: "lot", from: self.state.as_str(), to: next.as_str() });
        }
        let resumes = if next == LotState::Blocked { self.resumes } else { next };
        Ok(Self { state: next, resumes })
    }
}

#[cfg(test)]
mod tests;
