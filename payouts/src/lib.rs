//! What miners earned and what they were paid: shares, schemes, ledger, wallet, payouts, export register.
//!
//! This crate knows money and nothing of miners' wires. The rules ([`ledger`], [`scheme`], [`export`]) are
//! synchronous and pure: they turn facts into entries. [`store`] keeps them, [`wallet`] and [`payout`] move the
//! coins, [`books`] applies the rules to what the chain does, and [`crediting`] pays work out of the [`reserve`].
//!
//! What always holds:
//! - Every ledger entry sums to zero and is never changed; a correction is a new entry that names the old one.
//! - For each block: fee + reserve + credits = what its coinbase paid, to the satoshi.
//! - Work is never credited out of a reserve that has less.
//! - A payment is stored before it is broadcast, and the same bytes are sent until they confirm.
//! - Each paid output has exactly one export record, traced to the coinbases it came from.

pub mod access;
pub mod account;
pub mod audit;
pub mod books;
pub mod clock;
pub mod crash_point;
pub mod crediting;
pub mod deposits;
pub mod export;
pub mod hash_chain;
pub mod history;
mod id;
pub mod ledger;
pub mod payout;
pub mod reserve;
pub mod scheme;
pub mod share;
mod slow_step;
pub mod store;
pub mod wallet;

pub use account::{Account, AccountId};
pub use books::{BlockRecord, Books, BooksError, ChainPosition, FoundBlock};
pub use payout::{Payer, PayoutEvent, PayoutPolicy};
pub use share::{Appended, Difficulty, ShareGroup, ShareRun, ShareSeq};
pub use store::{Store, StoreError, sqlite::SqliteStore};
pub use wallet::{Wallet, WalletKey};
