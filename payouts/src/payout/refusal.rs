//! What an operator asked for that cannot be done, and why.

use bitcoin::{Amount, FeeRate, Txid};

use crate::{
    account::AccountId,
    export::{
        party::PartyId,
        rules::{
            desk::{DeskError, Reference},
            sale::SaleError,
        },
    },
    payout::BatchId,
};

/// Why a request was refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such batch.
    #[error("there is no batch {0}")]
    UnknownBatch(BatchId),
    /// There is no such account.
    #[error("there is no account {0}")]
    UnknownAccount(AccountId),
    /// The account is not paid at present.
    #[error("account {0} is {1}, so it is not paid")]
    Restrained(AccountId, &'static str),
    /// There is nothing to pay, or less than an output can carry.
    #[error(
        "account {account} is due {} sat, but an output to its address needs {} sat",
        .due.to_sat(),
        .least.to_sat()
    )]
    NothingDue {
        /// Whose balance it is.
        account: AccountId,
        /// How much it is due.
        due: Amount,
        /// The least that can be paid to its address.
        least: Amount,
    },
    /// A threshold that no output could carry.
    #[error(
        "{} sat is below {} sat, the least that an output to this address can carry",
        .wanted.to_sat(),
        .least.to_sat()
    )]
    ThresholdTooLow {
        /// What was asked for.
        wanted: Amount,
        /// The least.
        least: Amount,
    },
    /// The batch has come to its end.
    #[error("batch {0} is {1} already")]
    Ended(BatchId, &'static str),
    /// The batch waits for approval.
    #[error("batch {0} must be approved first")]
    NotApproved(BatchId),
    /// The batch needs no approval.
    #[error("batch {0} needs no approval")]
    NoApprovalNeeded(BatchId),
    /// The batch was signed: whoever has its transaction can send it.
    #[error("batch {0} is signed already, so it cannot be cancelled; a greater fee can replace its transaction")]
    Signed(BatchId),
    /// The batch was handed out to be signed elsewhere: whoever has the file can still pay it.
    #[error(
        "batch {0} was exported to be signed elsewhere; if you are sure that nobody signs that file, cancel it with \
         --even-if-exported"
    )]
    Exported(BatchId),
    /// There is no transaction that waits for a signature.
    #[error("no transaction of batch {0} waits for a signature")]
    NothingToSign(BatchId),
    /// The batch's coins were spent by a transaction that is not its own.
    #[error("the coins of batch {0} were spent by {1}; it is given up by itself once that is deep in the chain")]
    Conflicted(BatchId, Txid),
    /// The newest transaction is not signed, so there is none to replace.
    #[error("the latest transaction of batch {0} is not signed yet, so there is none to replace")]
    NothingToReplace(BatchId),
    /// The fee rate is above the policy's greatest.
    #[error(
        "{} sat/vB is above the greatest fee rate allowed, {} sat/vB",
        .wanted.to_sat_per_vb_ceil(),
        .max.to_sat_per_vb_floor()
    )]
    FeeRateTooHigh {
        /// What was asked for.
        wanted: FeeRate,
        /// The greatest.
        max: FeeRate,
    },
    /// A replacement must pay more, by the nodes' rules, than what it replaces (BIP 125).
    #[error(
        "a replacement of batch {batch} must pay at least {} sat; at this rate it would pay {} sat",
        .least.to_sat(),
        .offered.to_sat()
    )]
    FeeTooLow {
        /// The batch.
        batch: BatchId,
        /// What it must pay.
        least: Amount,
        /// What it would pay.
        offered: Amount,
    },
    /// There are not coins enough for the greater fee.
    #[error("there are not coins enough to pay a greater fee for batch {0}")]
    NoCoins(BatchId),
    /// A file is not a partially signed transaction (BIP 174).
    #[error("this is not a partially signed transaction: {0}")]
    NotPsbt(String),
    /// A file holds another transaction than the one that was exported.
    #[error("this is not the transaction of batch {batch}: {difference}; export {txid} again and sign that")]
    OtherTransaction {
        /// The batch.
        batch: BatchId,
        /// Its transaction.
        txid: Txid,
        /// The first thing that differs.
        difference: String,
    },
    /// An input is not signed, or not by enough keys.
    #[error("input {0} is not completely signed")]
    SignatureMissing(usize),
    /// An input's signature is wrong.
    #[error("input {input} has a signature that is not valid: {reason}")]
    SignatureWrong {
        /// Which input.
        input: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The lists that payments are screened by may not be relied upon.
    #[error("nothing is paid: {0}")]
    NotScreened(String),
    /// A payout has an output that may not be paid.
    #[error("batch {0} pays an account that screening has found: see `adit screening show`")]
    Found(BatchId),
    /// Screening has not found the account, so there is nothing to release it from.
    #[error("account {0} is not restrained by screening")]
    NotFoundByScreening(AccountId),
    /// There is no such list, or it cannot be read.
    #[error("no list {0} could be read")]
    UnknownList(String),
    /// The second word for a list must be another operator's.
    #[error("the first word for list {0} is this operator's; another one must agree")]
    SameWord(String),
    /// The second word for a release must be another operator's.
    #[error("the first word for account {0} is this operator's; another one must agree")]
    SameOperator(AccountId),
    /// An account that is blocked is still listed.
    #[error(
        "account {0} is still on a list; it can be released when a newer list has it no more, or with the reference of an \
         authority that allows it"
    )]
    StillListed(AccountId),
    /// There is no such party.
    #[error("there is no party {0}, or what was known of it is erased")]
    UnknownParty(PartyId),
    /// What is said of a party cannot be used.
    #[error("{0}")]
    Party(String),
    /// There is no key to seal personal data with.
    #[error("export.party_key_file is not set, and personal data is never stored unsealed")]
    NoVault,
    /// There is no such sale.
    #[error("there is no sale {0}")]
    UnknownSale(Reference),
    /// There is such a sale already.
    #[error("there is a sale {0} already; choose another name")]
    SaleExists(Reference),
    /// A step of a sale does not follow.
    #[error(transparent)]
    Sale(DeskError),
    /// A sale is not at the point where it is delivered.
    #[error("sale {sale} is {state}; what is delivered is a sale whose offer was accepted")]
    NotContracted {
        /// The sale.
        sale: Reference,
        /// Its state.
        state: &'static str,
    },
    /// A payout delivers the sale.
    #[error(
        "sale {sale} is delivered by batch {batch}; as long as that is not signed, `adit payout cancel {batch}` ends it"
    )]
    Delivering {
        /// The sale.
        sale: Reference,
        /// The payout.
        batch: BatchId,
    },
    /// Nobody knows whose the desk's address is.
    #[error("account {0} has no owner on record; say whose address it is with `adit party own`")]
    DeskUnknown(AccountId),
    /// The desk's address belongs to somebody else by now.
    #[error("{0} is not the address of the desk that made the offer any more")]
    DeskMoved(String),
    /// It is not known where the pool is resident, so nobody could tell whether the sale is an export.
    #[error("the country profile does not say where the pool is resident: fill in its pool.facts.residency")]
    SellerResidency,
    /// The pool has less coin of its own.
    #[error("of the pool's fee {} sat can be sold, not {} sat", .available.to_sat(), .amount.to_sat())]
    ShortOfFee {
        /// What there is.
        available: Amount,
        /// What was to be sold.
        amount: Amount,
    },
    /// No output can carry so little.
    #[error("{} sat are below {} sat, the least that an output to the desk's address can carry", .amount.to_sat(), .least.to_sat())]
    Dust {
        /// What was to be sold.
        amount: Amount,
        /// The least.
        least: Amount,
    },
    /// The wallet has not enough coins that are free, or too many batches wait.
    #[error("{} sat cannot be delivered now: the coins wait for confirmations of other payouts; try again after the next block", .0.to_sat())]
    NoCoinsToSell(Amount),
    /// By the country profile, the oldest coins are sold, and none are named.
    #[error("the country profile sells the oldest coins first (lot_method fifo), so none can be named")]
    LotsAreFifo,
    /// By the country profile, coins that are sold are named.
    #[error(
        "the country profile wants the coins that are sold to be named (lot_method specific): name them with --lot"
    )]
    LotsNotNamed,
    /// The named coins cannot be sold.
    #[error(transparent)]
    Lots(SaleError),
    /// Reasons and names are recorded, so they have a limit.
    #[error("a name or reason has from 1 to {max} characters")]
    Words {
        /// The most characters.
        max: usize,
    },
}

/// Whether a request changed something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Done,
    /// It had been done before; nothing was changed.
    Already,
}
