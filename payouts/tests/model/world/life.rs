//! The pool's lives: starts, stops and crashes, and what becomes of calls meanwhile.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use payouts::SqliteStore;

use super::World;
use crate::{
    bench::{self, Pool},
    faults::{Fault, Faults},
};

impl World<'_> {
    /// Returns the pool, started if it was down.
    pub(super) async fn pool(&mut self) -> Result<&mut Pool> {
        if self.pool.is_none() {
            self.start(None).await?;
        }
        self.pool.as_mut().context("a pool starts when nothing goes wrong")
    }

    pub(super) async fn start(&mut self, fault: Option<Fault>) -> Result<()> {
        let sqlite = SqliteStore::open(&self.database).await?;
        self.faults = Arc::default();
        self.faults.arm(fault);
        let policy = bench::policy();
        let started = bench::start(sqlite.clone(), &self.bench.key, &self.chain, &self.faults, self.mistake, policy);
        match self.faults.survive(started).await {
            Some(Ok(pool)) => self.pool = Some(pool),
            Some(Err(error)) if !self.faults.has_struck() => return Err(error),
            Some(Err(_)) | None => {
                self.tally.crashes += 1;
                sqlite.close().await;
            }
        }
        self.disarm()
    }

    /// Ends the pool; only what is stored is left.
    pub(super) async fn fall(&mut self) {
        self.faults.die();
        if let Some(pool) = self.pool.take() {
            let sqlite = pool.sqlite.clone();
            drop(pool);
            sqlite.close().await;
        }
    }

    /// Returns the running pool, with a fault ahead of it.
    pub(super) fn armed(&mut self, fault: Option<Fault>) -> Result<(&mut Pool, Arc<Faults>)> {
        self.faults.arm(fault);
        let pool = self.pool.as_mut().ok_or_else(|| anyhow!("the pool is down"))?;
        Ok((pool, Arc::clone(&self.faults)))
    }

    /// As [`World::armed`], of a pool that is started if it was down.
    pub(super) async fn armed_pool(&mut self, fault: Option<Fault>) -> Result<(&mut Pool, Arc<Faults>)> {
        self.pool().await?;
        self.armed(fault)
    }

    pub(super) fn disarm(&self) -> Result<()> {
        self.faults.arm(None);
        Ok(())
    }

    /// Takes the outcome of what a pool did; nothing if a fault came between. Other errors are mistakes.
    pub(super) async fn done<T>(&mut self, outcome: Option<Result<T>>) -> Result<Option<T>> {
        let done = self.going(outcome).await;
        self.disarm()?;
        done
    }

    /// As [`World::done`], but the fault stays ahead.
    pub(super) async fn going<T>(&mut self, outcome: Option<Result<T>>) -> Result<Option<T>> {
        match outcome {
            Some(Ok(done)) => Ok(Some(done)),
            Some(Err(_)) if self.faults.has_struck() => {
                self.tally.failed_calls += 1;
                Ok(None)
            }
            Some(Err(error)) => Err(error),
            None => {
                self.tally.crashes += 1;
                self.fall().await;
                Ok(None)
            }
        }
    }
}
