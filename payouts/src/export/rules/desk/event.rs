//! The events of a sale to a desk, and their replay.

use super::super::state::RecordState;
use super::{
    Acceptance, Cancellation, Cancelled, Contracted, Declaration, Declared, Delivered, Delivery, DeskError, Expired,
    Quote, Quoted, Reference, Requested, SaleRequest, Settled, Settlement,
};

/// One step of a sale, as it is stored. In JSON an object with the `event` in capitals, the `sale`, and the `step`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "event", rename_all = "UPPERCASE", deny_unknown_fields)]
pub enum DeskEvent {
    /// The sale was asked for; the request names the sale.
    Requested(SaleRequest),
    /// A desk made an offer.
    Quoted {
        /// The sale.
        sale: Reference,
        /// The offer.
        step: Quote,
    },
    /// The offer was accepted.
    Accepted {
        /// The sale.
        sale: Reference,
        /// The acceptance.
        step: Acceptance,
    },
    /// The coin was delivered.
    Delivered {
        /// The sale.
        sale: Reference,
        /// The delivery.
        step: Delivery,
    },
    /// The money came in.
    Settled {
        /// The sale.
        sale: Reference,
        /// The settlement.
        step: Settlement,
    },
    /// The sale was declared.
    Declared {
        /// The sale.
        sale: Reference,
        /// The declaration.
        step: Declaration,
    },
    /// The sale was given up.
    Cancelled {
        /// The sale.
        sale: Reference,
        /// The cancellation.
        step: Cancellation,
    },
    /// Nobody accepted in time.
    Expired {
        /// The sale.
        sale: Reference,
        /// When it was noticed, in milliseconds since 1970 UTC.
        at_ms: i64,
    },
}

impl DeskEvent {
    /// Returns the sale that it is about.
    pub const fn sale(&self) -> &Reference {
        match self {
            Self::Requested(request) => &request.sale,
            Self::Quoted { sale, .. }
            | Self::Accepted { sale, .. }
            | Self::Delivered { sale, .. }
            | Self::Settled { sale, .. }
            | Self::Declared { sale, .. }
            | Self::Cancelled { sale, .. }
            | Self::Expired { sale, .. } => sale,
        }
    }

    /// Returns its name as JSON writes it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Requested(_) => "REQUESTED",
            Self::Quoted { .. } => "QUOTED",
            Self::Accepted { .. } => "ACCEPTED",
            Self::Delivered { .. } => "DELIVERED",
            Self::Settled { .. } => "SETTLED",
            Self::Declared { .. } => "DECLARED",
            Self::Cancelled { .. } => "CANCELLED",
            Self::Expired { .. } => "EXPIRED",
        }
    }
}

/// A sale to a desk in whichever state it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeskSale {
    /// Asked for.
    Requested(Requested),
    /// With an offer.
    Quoted(Quoted),
    /// With a contract.
    Contracted(Contracted),
    /// With its coin delivered.
    Delivered(Delivered),
    /// With its money received.
    Settled(Settled),
    /// Declared.
    Declared(Declared),
    /// Given up before delivery.
    Cancelled(Cancelled),
    /// Not accepted in time.
    Expired(Expired),
}

impl DeskSale {
    /// Takes the event that follows.
    ///
    /// # Errors
    ///
    /// If it is of another sale, does not follow from the state, or the step refuses it.
    pub fn apply(self, event: &DeskEvent) -> Result<Self, DeskError> {
        if *event.sale() != self.request().sale {
            return Err(DeskError::OtherSale { sale: self.request().sale.clone(), found: event.sale().clone() });
        }
        Ok(match (self, event) {
            (Self::Requested(sale), DeskEvent::Quoted { step, .. }) => Self::Quoted(sale.quote(step.clone())?.0),
            (Self::Quoted(sale), DeskEvent::Accepted { step, .. }) => Self::Contracted(sale.accept(step.clone())?.0),
            (Self::Contracted(sale), DeskEvent::Delivered { step, .. }) => {
                Self::Delivered(sale.deliver(step.clone()).0)
            }
            (Self::Delivered(sale), DeskEvent::Settled { step, .. }) => Self::Settled(sale.settle(step.clone())?.0),
            (Self::Settled(sale), DeskEvent::Declared { step, .. }) => Self::Declared(sale.declare(step.clone()).0),
            (Self::Quoted(sale), DeskEvent::Expired { at_ms, .. }) => Self::Expired(sale.expire(*at_ms)?.0),
            (Self::Requested(sale), DeskEvent::Cancelled { step, .. }) => Self::Cancelled(sale.cancel(step.clone()).0),
            (Self::Quoted(sale), DeskEvent::Cancelled { step, .. }) => Self::Cancelled(sale.cancel(step.clone()).0),
            (Self::Contracted(sale), DeskEvent::Cancelled { step, .. }) => Self::Cancelled(sale.cancel(step.clone()).0),
            (state, event) => {
                let (sale, state) = (state.request().sale.clone(), state.name());
                return Err(DeskError::Order { sale, state, step: event.name() });
            }
        })
    }

    /// Returns what was to be sold.
    pub const fn request(&self) -> &SaleRequest {
        match self {
            Self::Requested(sale) => sale.request(),
            Self::Quoted(sale) => sale.request(),
            Self::Contracted(sale) => sale.quoted().request(),
            Self::Delivered(sale) => sale.contracted().quoted().request(),
            Self::Settled(sale) => sale.delivered().contracted().quoted().request(),
            Self::Declared(sale) => sale.settled().delivered().contracted().quoted().request(),
            Self::Cancelled(sale) => sale.request(),
            Self::Expired(sale) => sale.quoted().request(),
        }
    }

    /// Returns its contract, once there is one.
    pub const fn contracted(&self) -> Option<&Contracted> {
        match self {
            Self::Contracted(sale) => Some(sale),
            _ => match self.delivered() {
                Some(sale) => Some(sale.contracted()),
                None => None,
            },
        }
    }

    /// Returns its delivery, once there is one.
    pub const fn delivered(&self) -> Option<&Delivered> {
        match self {
            Self::Delivered(sale) => Some(sale),
            _ => match self.settled() {
                Some(sale) => Some(sale.delivered()),
                None => None,
            },
        }
    }

    /// Returns its settlement, once there is one.
    pub const fn settled(&self) -> Option<&Settled> {
        match self {
            Self::Settled(sale) => Some(sale),
            Self::Declared(sale) => Some(sale.settled()),
            _ => None,
        }
    }

    /// Returns the state of the sale's record; none for a request, of which only screening knows whether the record is
    /// a draft or screened.
    pub const fn record_state(&self) -> Option<RecordState> {
        match self {
            Self::Requested(_) => None,
            Self::Quoted(_) => Some(RecordState::Quoted),
            Self::Contracted(_) => Some(RecordState::Contracted),
            Self::Delivered(_) => Some(RecordState::Delivered),
            Self::Settled(_) => Some(RecordState::Settled),
            Self::Declared(_) => Some(RecordState::Declared),
            Self::Cancelled(_) => Some(RecordState::Cancelled),
            Self::Expired(_) => Some(RecordState::Expired),
        }
    }

    const fn name(&self) -> &'static str {
        match self.record_state() {
            Some(state) => state.as_str(),
            None => "REQUESTED",
        }
    }
}

/// Returns the state that a sale's events lead to, oldest first.
///
/// # Errors
///
/// If they do not begin with the request, or one of them does not follow from those before it.
pub fn replay<'a>(events: impl IntoIterator<Item = &'a DeskEvent>) -> Result<DeskSale, DeskError> {
    let mut events = events.into_iter();
    let first = match events.next() {
        Some(DeskEvent::Requested(request)) => Requested::begin(request.clone())?.0,
        Some(other) => return Err(DeskError::Beginning(other.name())),
        None => return Err(DeskError::Beginning("nothing")),
    };
    events.try_fold(DeskSale::Requested(first), DeskSale::apply)
}
