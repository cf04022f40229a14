//! The course of a soak: trouble, recovery, a look at what the process holds, and so on to the recount.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use bitcoin::{
    Address,
    secp256k1::rand::{SeedableRng, rngs::StdRng},
};
use tokio::time::sleep;

use crate::{
    Arguments,
    crew::Crew,
    gauge::{self, Sample},
    recount,
    site::Site,
    summary::{Summary, Took},
    trouble::Trouble,
};

/// Accounts that the miners share.
const ACCOUNTS: usize = 5;
/// The part of the time in which the pool also dies.
const DYING_PART: f64 = 0.35;
/// How long the pool may take until all miners are served again.
const PATIENCE: Duration = Duration::from_secs(150);
/// How long a calm lasts, at the end of which the process is looked at.
const CALM: Duration = Duration::from_secs(3);
/// How often a line is printed.
const LINE_INTERVAL: Duration = Duration::from_secs(60);

/// A soak that goes on.
pub(crate) struct Soaking {
    arguments: Arguments,
    seed: u64,
    random: StdRng,
    site: Site,
    crew: Option<Crew>,
    addresses: Vec<Address>,
    troubles: BTreeMap<Trouble, u32>,
    starts: Took,
    ends: Took,
    returns: Took,
    /// Of the process that runs now.
    samples: Vec<Sample>,
    begun: Instant,
    last_line: Instant,
}

impl Soaking {
    /// Starts a node, a pool and its miners.
    pub(crate) async fn begin(arguments: &Arguments, seed: u64) -> anyhow::Result<Self> {
        let mut site = Site::new(arguments.store).await?;
        let addresses: Vec<Address> = (0..ACCOUNTS).map(|_| site.new_address()).collect();
        site.start()?;
        let crew = Crew::start(site.pool.address()?, arguments.miners, arguments.per_second, &addresses);
        let (random, now) = (StdRng::seed_from_u64(seed), Instant::now());
        Ok(Self {
            arguments: arguments.clone(),
            seed,
            random,
            site,
            crew: Some(crew),
            addresses,
            troubles: BTreeMap::new(),
            starts: Took::default(),
            ends: Took::default(),
            returns: Took::default(),
            samples: Vec::new(),
            begun: now,
            last_line: now,
        })
    }

    /// Lets things happen until the time is over, then counts.
    pub(crate) async fn run(&mut self) -> anyhow::Result<Summary> {
        let time = Duration::try_from_secs_f64(self.arguments.minutes * 60.0).context("these minutes are no time")?;
        self.crew()?.wait_until_served(PATIENCE).await.context("at the beginning")?;
        println!(
            "  min  acknowledged  troubles  memory MiB  files  threads  slowest start  slowest return  last trouble"
        );
        while self.begun.elapsed() < time {
            let may_die = self.begun.elapsed() < time.mul_f64(DYING_PART);
            let trouble = Trouble::choose(&mut self.random, may_die, &self.site);
            let crew = self.crew.take().context("the crew works until the end")?;
            let happened = trouble.happen(&mut self.site, &crew, &mut self.random).await;
            self.crew = Some(crew);
            let passed = happened.with_context(|| format!("while it happened: {trouble}"))?;
            *self.troubles.entry(trouble).or_default() += 1;
            let served = self.crew()?.wait_until_served(PATIENCE).await;
            let took = served.with_context(|| format!("after it had happened: {trouble}"))?;
            passed.start.into_iter().for_each(|start| self.starts.add(start));
            passed.end.into_iter().for_each(|end| self.ends.add(end));
            match Trouble::DEATHS.contains(&trouble) {
                true => {
                    self.returns.add(took);
                    self.samples.clear();
                }
                false => ensure!(self.site.pool.ended()?.is_none(), "the pool has ended by itself: {trouble}"),
            }
            sleep(CALM).await;
            self.samples.push(self.site.sample()?);
            self.print_line(trouble)?;
        }
        self.settle(time).await
    }

    /// Returns the last lines of the pool's log.
    pub(crate) fn log_end(&self) -> String {
        let log = self.site.pool.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    fn crew(&self) -> anyhow::Result<&Crew> {
        self.crew.as_ref().context("the crew works until the end")
    }

    fn print_line(&mut self, trouble: Trouble) -> anyhow::Result<()> {
        if self.last_line.elapsed() < LINE_INTERVAL {
            return Ok(());
        }
        self.last_line = Instant::now();
        let last = self.samples.last().context("a sample was just taken")?;
        println!(
            "{:5.1}  {:12}  {:8}  {:10}  {:5}  {:7}  {:>11.2} s  {:>12.2} s  {trouble}",
            self.begun.elapsed().as_secs_f64() / 60.0,
            self.crew()?.acknowledged(),
            self.troubles.values().sum::<u32>(),
            last.resident_bytes >> 20,
            last.files,
            last.threads,
            self.starts.longest_s,
            self.returns.longest_s,
        );
        Ok(())
    }

    /// Ends the pool in order, counts, and lets it start once more on what it has left.
    async fn settle(&mut self, time: Duration) -> anyhow::Result<Summary> {
        let level = gauge::level(&self.samples);
        let crew = self.crew.take().context("the crew works until the end")?;
        let count = recount::count(&mut self.site, crew, &self.addresses).await?;
        Ok(Summary {
            seed: self.seed,
            minutes: time.as_secs_f64() / 60.0,
            store: format!("{:?}", self.arguments.store).to_lowercase(),
            miners: self.arguments.miners,
            shares_per_second: self.arguments.per_second * self.arguments.miners as f64,
            troubles: self.troubles.iter().map(|(trouble, count)| (trouble.to_string(), *count)).collect(),
            starts: self.starts,
            ends: self.ends,
            returns: self.returns,
            count,
            level,
            samples: self.samples.clone(),
        })
    }
}
