//! Many honest miners at once: they hand in shares at a steady pace and time the acknowledgements.
//!
//! They do not hash, so that the processor is the pool's: at the least difficulty nearly every header is a share.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use protocol::{
    codec::{Str0_255, U256},
    connection::{ClientConfig, ClientConnection, ClientEvent, Limits},
    messages::{
        common::SetupConnection,
        mining::{
            NewMiningJob, OpenStandardMiningChannel, REQUIRES_STANDARD_JOBS, ServerMessage, SetNewPrevHash,
            SubmitSharesStandard,
        },
    },
};
use tests::miner::PoolAddress;
use tokio::{io::AsyncWriteExt, net::TcpStream, task::JoinSet, time::MissedTickBehavior};

use crate::wire::{setup, unix_now};

/// What a crowd has seen since it was last asked.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) submitted: usize,
    /// From the submission of each share to its acknowledgement.
    pub(crate) waits: Vec<Duration>,
    /// By error code.
    pub(crate) refused: HashMap<String, usize>,
}

impl Seen {
    /// Returns the wait that all but one in a hundred stayed below.
    pub(crate) fn p99(&self) -> Duration {
        let mut waits = self.waits.clone();
        waits.sort_unstable();
        waits[waits.len() * 99 / 100]
    }
}

/// Miners that go on until they are dropped.
pub(crate) struct Crowd {
    seen: Arc<Mutex<Seen>>,
    connections: JoinSet<anyhow::Result<()>>,
}

impl Crowd {
    /// Connects, and opens so many standard channels on each connection. Each hands in a share every `pace`.
    pub(crate) async fn join(
        pool: &PoolAddress,
        identity: &str,
        connections: usize,
        channels: usize,
        pace: Duration,
    ) -> Self {
        let (seen, mut tasks) = (Arc::<Mutex<Seen>>::default(), JoinSet::new());
        let (ready, mut all_ready) = tokio::sync::mpsc::channel(connections);
        for _ in 0..connections {
            let mut member = Member::connect(pool, Arc::clone(&seen)).await.unwrap();
            let (identity, ready) = (Str0_255::new(identity).unwrap(), ready.clone());
            tasks.spawn(async move {
                member.open_all(&identity, channels).await?;
                ready.send(()).await?;
                drop(ready);
                member.mine(pace / u32::try_from(channels)?).await
            });
        }
        drop(ready);
        let mut count = 0;
        while all_ready.recv().await.is_some() {
            count += 1;
        }
        assert_eq!(count, connections, "channels could not be opened");
        Self { seen, connections: tasks }
    }

    /// Returns what was seen since this was last asked for. No connection may have ended.
    pub(crate) fn take(&mut self) -> Seen {
        if let Some(ended) = self.connections.try_join_next() {
            panic!("a connection of the crowd has ended: {ended:?}");
        }
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

/// One connection of the crowd.
struct Member {
    stream: TcpStream,
    connection: ClientConnection,
    seen: Arc<Mutex<Seen>>,
    channels: Vec<u32>,
    jobs: HashMap<u32, Job>,
    waiting: HashMap<u32, VecDeque<(u32, Instant)>>,
    next_number: u32,
}

/// What a channel works on.
#[derive(Default)]
struct Job {
    future: Option<NewMiningJob>,
    active: Option<(NewMiningJob, u32)>,
}

impl Member {
    async fn connect(pool: &PoolAddress, seen: Arc<Mutex<Seen>>) -> anyhow::Result<Self> {
        let stream = TcpStream::connect((pool.host.as_str(), pool.port)).await?;
        stream.set_nodelay(true)?;
        let setup = SetupConnection { flags: REQUIRES_STANDARD_JOBS, ..setup(pool) };
        let config = ClientConfig { authority: pool.authority, setup, extensions: vec![], limits: Limits::default() };
        let connection = ClientConnection::new(config, Instant::now());
        let (channels, jobs, waiting) = (Vec::new(), HashMap::new(), HashMap::new());
        let mut member = Self { stream, connection, seen, channels, jobs, waiting, next_number: 1 };
        while !matches!(member.next().await?, ClientEvent::Connected { .. }) {}
        Ok(member)
    }

    async fn open_all(&mut self, identity: &Str0_255, count: usize) -> anyhow::Result<()> {
        for request_id in 0..u32::try_from(count)? {
            self.connection.send(&OpenStandardMiningChannel {
                request_id,
                user_identity: identity.clone(),
                nominal_hash_rate: 1.0,
                max_target: U256::MAX,
            });
        }
        while self.channels.len() < count || self.jobs.values().filter(|job| job.active.is_some()).count() < count {
            let event = self.next().await?;
            self.take_in(event)?;
        }
        Ok(())
    }

    /// Hands in a share every `pace`, of one channel after the other.
    async fn mine(&mut self, pace: Duration) -> anyhow::Result<()> {
        let mut ticks = tokio::time::interval(pace);
        // After a time in which this process had no turn, the pool is not made to pay for that.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for turn in 0.. {
            loop {
                let tick = tokio::select! {
                    _ = ticks.tick() => true,
                    ready = self.stream.readable() => ready.map(|()| false)?,
                };
                if tick {
                    break;
                }
                self.read()?;
                while let Some(event) = self.connection.poll(Instant::now(), unix_now())? {
                    self.take_in(event)?;
                }
            }
            self.submit(self.channels[turn % self.channels.len()]);
            self.flush().await?;
        }
        Ok(())
    }

    fn submit(&mut self, channel_id: u32) {
        let Some((job, ntime)) = self.jobs.get(&channel_id).and_then(|job| job.active) else { return };
        let sequence_number = self.next_number;
        self.next_number += 1;
        let (nonce, version) = (sequence_number, job.version);
        self.connection.send(&SubmitSharesStandard {
            channel_id,
            sequence_number,
            job_id: job.job_id,
            nonce,
            ntime,
            version,
        });
        self.waiting.entry(channel_id).or_default().push_back((sequence_number, Instant::now()));
        self.seen.lock().unwrap().submitted += 1;
    }

    fn take_in(&mut self, event: ClientEvent) -> anyhow::Result<()> {
        let ClientEvent::Message(message) = event else { return Ok(()) };
        match message {
            ServerMessage::OpenStandardMiningChannelSuccess(opened) => self.channels.push(opened.channel_id),
            ServerMessage::OpenMiningChannelError(error) => anyhow::bail!("channel refused: {}", error.error_code),
            ServerMessage::NewMiningJob(job) => {
                let slot = self.jobs.entry(job.channel_id).or_default();
                match job.min_ntime {
                    Some(ntime) => slot.active = Some((job, ntime)),
                    None => slot.future = Some(job),
                }
            }
            ServerMessage::SetNewPrevHash(SetNewPrevHash { channel_id, min_ntime, .. }) => {
                let slot = self.jobs.entry(channel_id).or_default();
                slot.active = slot.future.take().map(|job| (job, min_ntime));
            }
            ServerMessage::SubmitSharesSuccess(success) => {
                let waiting = self.waiting.entry(success.channel_id).or_default();
                let mut seen = self.seen.lock().unwrap();
                while waiting.front().is_some_and(|(number, _)| *number <= success.last_sequence_number) {
                    let (_, since) = waiting.pop_front().unwrap();
                    seen.waits.push(since.elapsed());
                }
            }
            ServerMessage::SubmitSharesError(error) => {
                let waiting = self.waiting.entry(error.channel_id).or_default();
                waiting.retain(|(number, _)| *number != error.sequence_number);
                *self.seen.lock().unwrap().refused.entry(error.error_code.to_string()).or_default() += 1;
            }
            _ => {}
        }
        Ok(())
    }

    async fn next(&mut self) -> anyhow::Result<ClientEvent> {
        loop {
            let event = self.connection.poll(Instant::now(), unix_now())?;
            self.flush().await?;
            if let Some(event) = event {
                return Ok(event);
            }
            self.stream.readable().await?;
            self.read()?;
        }
    }

    fn read(&mut self) -> anyhow::Result<()> {
        let mut buffer = [0; 16 * 1024];
        match self.stream.try_read(&mut buffer) {
            Ok(0) => anyhow::bail!("closed by the pool"),
            Ok(len) => self.connection.receive(&buffer[..len]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    async fn flush(&mut self) -> anyhow::Result<()> {
        self.stream.write_all(self.connection.output()).await?;
        self.connection.consume_output(self.connection.output().len());
        Ok(())
    }
}
