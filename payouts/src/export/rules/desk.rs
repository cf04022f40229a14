//! A sale to a desk: from the request over its quote to the declaration, as states that only their own steps lead on
//! from.
//!
//! Each step consumes a state and gives the next one with the event that made it. Events are what is stored; replaying
//! them gives the state, and refuses whatever the steps would have refused. Whether the desk was screened, and what
//! becomes of a record whose delivery leaves the chain, is the register's.

use std::{fmt, str::FromStr};

use bitcoin::{Amount, OutPoint, SignedAmount};

use super::{
    fiat::{FiatAmount, FiatError, worth},
    prices::SourceName,
    rate::Rate,
    zone::Instant,
};

mod event;

pub use event::{DeskEvent, DeskSale, replay};

/// The longest text of a reference, in bytes: longer than any id or reference of a bank.
pub const MAX_REFERENCE_BYTES: usize = 140;

/// An id or reference that people chose: 1 to [`MAX_REFERENCE_BYTES`] bytes, without control characters, and without
/// blanks at its ends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference(String);

/// A text that is no reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no reference: 1 to {MAX_REFERENCE_BYTES} bytes without control characters or outer blanks are expected"
)]
pub struct BadReference(String);

impl Reference {
    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Reference {
    type Err = BadReference;

    fn from_str(text: &str) -> Result<Self, BadReference> {
        let fits = (1..=MAX_REFERENCE_BYTES).contains(&text.len());
        if fits && text.trim() == text && !text.chars().any(char::is_control) {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadReference(text.chars().take(MAX_REFERENCE_BYTES).collect()))
        }
    }
}

impl TryFrom<String> for Reference {
    type Error = BadReference;

    fn try_from(text: String) -> Result<Self, BadReference> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.0
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What is to be sold.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SaleRequest {
    /// The id of the sale, which all its events name.
    pub sale: Reference,
    /// How much.
    #[serde(with = "bitcoin::amount::serde::as_sat")]
    pub amount_sat: Amount,
    /// When it was asked for, in milliseconds since 1970 UTC.
    pub at_ms: i64,
}

/// A desk's offer.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quote {
    /// The desk's id of the quote.
    pub quote: Reference,
    /// The party that offers.
    pub desk_party: Reference,
    /// The desk's address, to which the coin is delivered.
    pub address: String,
    /// The venue at which the desk sells on, if sales are told apart by that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub venue: Option<SourceName>,
    /// The price of one bitcoin, in the currency of the fee.
    pub price: Rate,
    /// What the desk charges. Not negative; zero for nothing.
    pub fee: FiatAmount,
    /// The first millisecond at which the quote no longer holds, since 1970 UTC.
    pub expires_ms: i64,
    /// When it was offered, in milliseconds since 1970 UTC.
    pub at_ms: i64,
}

/// The acceptance of a quote.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acceptance {
    /// The number of the contract.
    pub contract: Reference,
    /// When the quote was accepted, in milliseconds since 1970 UTC.
    pub at_ms: i64,
}

/// The delivery of the coin.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delivery {
    /// The output that paid the desk, `txid:vout`.
    pub outpoint: OutPoint,
    /// When it was delivered, in milliseconds since 1970 UTC.
    pub at_ms: i64,
}

/// The receipt of the money.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settlement {
    /// What came in. It is what the quote comes to, less its fee and what banks kept.
    pub received: FiatAmount,
    /// The bank's reference.
    pub bank_reference: Reference,
    /// When it came in, in milliseconds since 1970 UTC.
    pub settled_ms: i64,
}

/// The declaration to an authority.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declaration {
    /// The id of the declaration.
    pub declaration: Reference,
    /// The authority.
    pub authority: Reference,
    /// When it was declared, in milliseconds since 1970 UTC.
    pub at_ms: i64,
}

/// The end of a sale before delivery.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cancellation {
    /// Why.
    pub reason: Reference,
    /// When, in milliseconds since 1970 UTC.
    pub at_ms: i64,
}

/// Why a step is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeskError {
    /// Nothing is to be sold.
    #[error("sale {0}: 0 sat are none")]
    Nothing(Reference),
    /// The quote expires before or when it is offered.
    #[error("quote {quote} of {at} expires at {expires}: it never held", at = Instant(*at_ms), expires = Instant(*expires_ms))]
    NeverHeld {
        /// The quote.
        quote: Reference,
        /// When it was offered.
        at_ms: i64,
        /// When it expires.
        expires_ms: i64,
    },
    /// The quote no longer holds.
    #[error("quote {quote} expired at {expires} and cannot be accepted at {at}", at = Instant(*at_ms), expires = Instant(*expires_ms))]
    QuoteExpired {
        /// The quote.
        quote: Reference,
        /// When it was to be accepted.
        at_ms: i64,
        /// When it expired.
        expires_ms: i64,
    },
    /// The quote still holds.
    #[error("quote {quote} holds until {expires} and is not expired at {at}", at = Instant(*at_ms), expires = Instant(*expires_ms))]
    QuoteHolds {
        /// The quote.
        quote: Reference,
        /// When it was to be expired.
        at_ms: i64,
        /// When it expires.
        expires_ms: i64,
    },
    /// The fee is negative, or more than the sale comes to.
    #[error("a fee of {fee} is not within nothing and the {gross} of the sale")]
    Fee {
        /// The fee.
        fee: FiatAmount,
        /// What the sale comes to before the fee.
        gross: FiatAmount,
    },
    /// The money is not a positive amount in the currency of the quote.
    #[error("{received} cannot settle a sale for {due}")]
    Settlement {
        /// What came in.
        received: FiatAmount,
        /// What the quote comes to, less its fee.
        due: FiatAmount,
    },
    /// The sale is worth more than an amount of money holds.
    #[error(transparent)]
    Fiat(#[from] FiatError),
    /// The step does not follow from the state.
    #[error("sale {sale} is {state}: {step} does not follow")]
    Order {
        /// The sale.
        sale: Reference,
        /// Its state.
        state: &'static str,
        /// The step.
        step: &'static str,
    },
    /// There are no events, or the first one requests nothing.
    #[error("a sale begins with a request, not with {0}")]
    Beginning(&'static str),
    /// An event of another sale stands among those of a sale.
    #[error("an event of sale {found} stands among those of sale {sale}")]
    OtherSale {
        /// The sale.
        sale: Reference,
        /// The sale of the event.
        found: Reference,
    },
}

/// A sale that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requested {
    request: SaleRequest,
}

/// A sale with an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quoted {
    requested: Requested,
    quote: Quote,
    gross: FiatAmount,
}

/// A sale whose offer was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contracted {
    quoted: Quoted,
    acceptance: Acceptance,
}

/// A sale whose coin was delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    contracted: Contracted,
    delivery: Delivery,
}

/// A sale whose money came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    delivered: Delivered,
    settlement: Settlement,
}

/// A sale that was declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    settled: Settled,
    declaration: Declaration,
}

/// A sale that was given up before delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cancelled {
    request: SaleRequest,
    cancellation: Cancellation,
}

/// A sale whose offer nobody accepted in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expired {
    quoted: Quoted,
    at_ms: i64,
}

impl Requested {
    /// Begins a sale.
    ///
    /// # Errors
    ///
    /// If nothing is to be sold.
    pub fn begin(request: SaleRequest) -> Result<(Self, DeskEvent), DeskError> {
        if request.amount_sat == Amount::ZERO {
            return Err(DeskError::Nothing(request.sale));
        }
        let event = DeskEvent::Requested(request.clone());
        Ok((Self { request }, event))
    }

    /// Returns what is to be sold.
    pub const fn request(&self) -> &SaleRequest {
        &self.request
    }

    /// Takes a desk's offer.
    ///
    /// # Errors
    ///
    /// If it expires no later than it is offered, or its amounts make no sense.
    pub fn quote(self, quote: Quote) -> Result<(Quoted, DeskEvent), DeskError> {
        let Quote { at_ms, expires_ms, fee, .. } = quote;
        if expires_ms <= at_ms {
            return Err(DeskError::NeverHeld { quote: quote.quote, at_ms, expires_ms });
        }
        let sold = SignedAmount::try_from(self.request.amount_sat).map_err(|_| FiatError::Range(fee.currency()))?;
        let gross = worth(sold, &quote.price, None, fee.currency())?;
        if !(0..=gross.minor()).contains(&fee.minor()) {
            return Err(DeskError::Fee { fee, gross });
        }
        let event = DeskEvent::Quoted { sale: self.request.sale.clone(), step: quote.clone() };
        Ok((Quoted { requested: self, quote, gross }, event))
    }

    /// Gives the sale up.
    pub fn cancel(self, cancellation: Cancellation) -> (Cancelled, DeskEvent) {
        Cancelled::begin(self.request, cancellation)
    }
}

impl Quoted {
    /// Returns what is to be sold.
    pub const fn request(&self) -> &SaleRequest {
        self.requested.request()
    }

    /// Returns the offer.
    pub const fn offer(&self) -> &Quote {
        &self.quote
    }

    /// Returns what the amount comes to at the price, before the fee.
    pub const fn gross(&self) -> FiatAmount {
        self.gross
    }

    /// Returns what is due for the coin: gross less the fee.
    pub fn due(&self) -> FiatAmount {
        self.gross.checked_sub(self.quote.fee).expect("the fee was checked to be no more than gross")
    }

    /// Accepts the offer.
    ///
    /// # Errors
    ///
    /// At and after its expiry.
    pub fn accept(self, acceptance: Acceptance) -> Result<(Contracted, DeskEvent), DeskError> {
        let (at_ms, expires_ms) = (acceptance.at_ms, self.quote.expires_ms);
        if at_ms >= expires_ms {
            return Err(DeskError::QuoteExpired { quote: self.quote.quote, at_ms, expires_ms });
        }
        let event = DeskEvent::Accepted { sale: self.request().sale.clone(), step: acceptance.clone() };
        Ok((Contracted { quoted: self, acceptance }, event))
    }

    /// Ends the sale because nobody accepted in time.
    ///
    /// # Errors
    ///
    /// Before the expiry.
    pub fn expire(self, at_ms: i64) -> Result<(Expired, DeskEvent), DeskError> {
        let expires_ms = self.quote.expires_ms;
        if at_ms < expires_ms {
            return Err(DeskError::QuoteHolds { quote: self.quote.quote, at_ms, expires_ms });
        }
        let event = DeskEvent::Expired { sale: self.request().sale.clone(), at_ms };
        Ok((Expired { quoted: self, at_ms }, event))
    }

    /// Gives the sale up.
    pub fn cancel(self, cancellation: Cancellation) -> (Cancelled, DeskEvent) {
        Cancelled::begin(self.requested.request, cancellation)
    }
}

impl Contracted {
    /// Returns the offer that was accepted.
    pub const fn quoted(&self) -> &Quoted {
        &self.quoted
    }

    /// Returns the acceptance.
    pub const fn acceptance(&self) -> &Acceptance {
        &self.acceptance
    }

    /// Notes that the coin was delivered. From here on the sale cannot be cancelled.
    pub fn deliver(self, delivery: Delivery) -> (Delivered, DeskEvent) {
        let event = DeskEvent::Delivered { sale: self.quoted.request().sale.clone(), step: delivery.clone() };
        (Delivered { contracted: self, delivery }, event)
    }

    /// Gives the sale up.
    pub fn cancel(self, cancellation: Cancellation) -> (Cancelled, DeskEvent) {
        Cancelled::begin(self.quoted.requested.request, cancellation)
    }
}

impl Delivered {
    /// Returns the contract.
    pub const fn contracted(&self) -> &Contracted {
        &self.contracted
    }

    /// Returns the delivery.
    pub const fn delivery(&self) -> &Delivery {
        &self.delivery
    }

    /// Notes that the money came in.
    ///
    /// # Errors
    ///
    /// If it is nothing, more than what is due, or in another currency.
    pub fn settle(self, settlement: Settlement) -> Result<(Settled, DeskEvent), DeskError> {
        let (received, due) = (settlement.received, self.contracted.quoted.due());
        if received.currency() != due.currency() || !(1..=due.minor()).contains(&received.minor()) {
            return Err(DeskError::Settlement { received, due });
        }
        let event =
            DeskEvent::Settled { sale: self.contracted.quoted.request().sale.clone(), step: settlement.clone() };
        Ok((Settled { delivered: self, settlement }, event))
    }
}

impl Settled {
    /// Returns the delivery.
    pub const fn delivered(&self) -> &Delivered {
        &self.delivered
    }

    /// Returns the settlement.
    pub const fn settlement(&self) -> &Settlement {
        &self.settlement
    }

    /// Returns what did not come in although the quote says so: what banks kept.
    pub fn withheld(&self) -> FiatAmount {
        let due = self.delivered.contracted.quoted.due();
        due.checked_sub(self.settlement.received).expect("what came in was checked to be no more than what is due")
    }

    /// Notes that the sale was declared.
    pub fn declare(self, declaration: Declaration) -> (Declared, DeskEvent) {
        let sale = self.delivered.contracted.quoted.request().sale.clone();
        let event = DeskEvent::Declared { sale, step: declaration.clone() };
        (Declared { settled: self, declaration }, event)
    }
}

impl Declared {
    /// Returns the settlement.
    pub const fn settled(&self) -> &Settled {
        &self.settled
    }

    /// Returns the declaration.
    pub const fn declaration(&self) -> &Declaration {
        &self.declaration
    }
}

impl Cancelled {
    /// Returns what was to be sold.
    pub const fn request(&self) -> &SaleRequest {
        &self.request
    }

    /// Returns why and when it was given up.
    pub const fn cancellation(&self) -> &Cancellation {
        &self.cancellation
    }

    fn begin(request: SaleRequest, cancellation: Cancellation) -> (Self, DeskEvent) {
        let event = DeskEvent::Cancelled { sale: request.sale.clone(), step: cancellation.clone() };
        (Self { request, cancellation }, event)
    }
}

impl Expired {
    /// Returns the offer that expired.
    pub const fn quoted(&self) -> &Quoted {
        &self.quoted
    }

    /// Returns when that was noticed, in milliseconds since 1970 UTC.
    pub const fn at_ms(&self) -> i64 {
        self.at_ms
    }
}

#[cfg(test)]
mod tests;
