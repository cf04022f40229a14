//! Payouts: balances that are due become a batch, a signed transaction, and in the end export records.
//!
//! [`batch`](Batch) owns what a batch is and the entries of its life, [`Schedule`] and [`PayoutPolicy`] what an operator
//! decides beforehand. The [`Payer`] drives batches over store, wallet and node, and does what an operator asks for.

mod batch;
mod event;
mod fee;
mod node;
mod payer;
mod policy;
mod refusal;
pub(crate) mod restraint;
mod schedule;
mod status;

pub use batch::{
    Attempt, AttemptHead, AttemptProgress, AttemptStage, Batch, BatchApproval, BatchEvent, BatchEventKind, BatchHead,
    BatchId, BatchState, ConfirmationBlock, Due, PaidOutput,
};
pub use event::PayoutEvent;
pub use payer::{
    Ownership, Payer, PayoutError, Preview, PreviewOutput, Replacement, Review, SaleOrder, SaleStatus, Screening,
    Selection,
};
pub use policy::{Approval, FeePayer, PayoutPolicy, SalePolicy};
pub use refusal::{Outcome, Refusal};
pub use restraint::{Restraint, RestraintAct, RestraintRow};
pub use schedule::{NoSchedule, PayoutRun, Schedule, Slot, TimeOfDay, Weekday};
pub use status::{LedgerTotals, OpenBatch, PayoutStatus, WaitsFor};
