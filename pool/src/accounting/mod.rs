//! What is owed for the work: shares to disk, found blocks to the node and the books, due balances to the chain.

pub mod block_news;
pub mod blocks;
pub mod identity;
pub mod kept_blocks;
pub mod metrics;
pub mod pulse;
pub mod receipts;
pub mod registry;
pub mod segments;
pub mod settlement;
pub mod share_log;
pub mod upkeep;
