//! The past of the pool in a store: what is kept for charts, and how far it has come with the share log.

use async_trait::async_trait;
use bitcoin::BlockHash;

use super::StoreError;
use crate::{
    account::AccountId,
    history::{
        BlockWork, Past, PeakRow, Progress, RefusedRow, Resolution, Seen, Subject, WorkRow, WorkerId, WorkerShares,
    },
    share::{ShareSeq, Work},
};

/// A step of the history with the share log: from where it was to where it is, with the rows that lie between.
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryStep {
    /// Where it was; nothing before its first step.
    pub from: Option<Progress>,
    /// Where it is then.
    pub to: Progress,
    /// What comes in: one row at most for each stretch and difficulty.
    pub rows: Vec<WorkRow>,
    /// Whose last share is a later one now.
    pub seen: Vec<Seen>,
}

/// The part of a store that keeps the past for charts.
#[async_trait]
pub trait HistoryStore {
    /// Returns how far the history has come; nothing before its first step.
    async fn history_progress(&self) -> Result<Option<Progress>, StoreError>;

    /// Returns the shares in the segments after `after` up to and with `upto` of workers with numbers over `worker`, in the
    /// order of workers, whoever they are paid by.
    async fn shares_by_worker(
        &self,
        after: ShareSeq,
        upto: ShareSeq,
        worker: WorkerId,
    ) -> Result<Vec<WorkerShares>, StoreError>;

    /// Returns the sum of all work in the segments after `after` up to and with `upto`, whoever it is paid by.
    async fn all_work_between(&self, after: ShareSeq, upto: ShareSeq) -> Result<Work, StoreError>;

    /// Takes a step, all in one transaction. Returns false, and changes nothing, if the history is not where the step begins:
    /// it was taken already, or another one was.
    async fn step_history(&self, step: &HistoryStep) -> Result<bool, StoreError>;

    /// Adds to the history what no share log has, all in one transaction: one row at most for each stretch, and code.
    async fn add_to_history(&self, refused: &[RefusedRow], peaks: &[PeakRow]) -> Result<(), StoreError>;

    /// Deletes the oldest stretch of a resolution that begins before `before_ms`, of all subjects. Returns how many rows that
    /// were; 0 if there is none left.
    async fn prune_history(&self, resolution: Resolution, before_ms: i64) -> Result<u64, StoreError>;

    /// Returns somebody's past in the stretches that begin at or after `from_ms` and before `to_ms`, in their order;
    /// of so many that nobody shows them, the first 512.
    async fn past(
        &self,
        subject: Subject,
        resolution: Resolution,
        from_ms: i64,
        to_ms: i64,
    ) -> Result<Past, StoreError>;

    /// Returns the number of an account's worker.
    async fn worker_id(&self, account: AccountId, name: &str) -> Result<Option<WorkerId>, StoreError>;

    /// Returns how many workers had a share accepted at or after `since_ms`, of an account or of all.
    async fn workers_seen(&self, account: Option<AccountId>, since_ms: i64) -> Result<u64, StoreError>;

    /// Returns the blocks whose work is not kept and whose share positions lie from `from` up to and with `upto`, newest
    /// first.
    async fn blocks_without_work(
        &self,
        from: ShareSeq,
        upto: ShareSeq,
        limit: u32,
    ) -> Result<Vec<(BlockHash, ShareSeq)>, StoreError>;

    /// Keeps the work of all shares up to a block's share position. What is kept of a block stays.
    async fn keep_block_work(&self, block: BlockHash, work: Work) -> Result<(), StoreError>;

    /// Returns the newest blocks by their places in the share log, newest first.
    async fn blocks_with_work(&self, limit: u32) -> Result<Vec<BlockWork>, StoreError>;
}
