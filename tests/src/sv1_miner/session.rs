//! One Stratum V1 miner's conversation and pace. Owns its connections, one after the other, and writes its record.

use std::time::Duration;

use anyhow::{Context, ensure};
use bitcoin::{BlockHash, hashes::Hash};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

use super::{
    Notified, Record, Share, Sv1MinerConfig,
    job::{Job, Search, Solution, Subscription},
};

/// Pause before a miner connects again.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);
/// After so long a silence a miner takes its server for dead, as devices do.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(180);
/// The version bits that the miner would like to roll: those that devices roll.
const VERSION_MASK: u32 = 0x1fff_e000;
/// The hashes that the pause between two goes is made for, within its bounds.
const HASHES_A_GO: f64 = 256.0;
/// The least and the longest pause between two goes, in seconds.
const PAUSE_S: (f64, f64) = (0.02, 1.0);
/// Most hashes that are made up for after a delay, in seconds of the speed.
const MAX_SAVED_S: f64 = 2.0;

/// Most bytes of the second extranonce: more than any device can use.
const MAX_EXTRANONCE2_SIZE: u64 = 16;

/// The ids of the requests that a connection begins with.
const CONFIGURE: u64 = 1;
const SUBSCRIBE: u64 = 2;
const SUBSCRIBE_EXTRANONCE: u64 = 3;
const AUTHORIZE: u64 = 4;
/// The id of a connection's first share.
const FIRST_SHARE: u64 = 5;

/// Connects, mines, and connects again, until the task is aborted.
pub(super) async fn run(config: Sv1MinerConfig, mut hash_rate: watch::Receiver<f64>, record: watch::Sender<Record>) {
    // Counts on through all connections, so that no part of a job is ever searched twice.
    let mut searches = 0;
    loop {
        // A server that is not there, or not any more, has done nothing wrong.
        if let Ok(stream) = TcpStream::connect(config.server).await {
            record.send_modify(|record| {
                record.connections += 1;
                record.jobs_of_connection = 0;
                record.unanswered.clear();
            });
            let mut session = Session::new(&config, stream, &record, &mut searches);
            if let Err(error) = session.mine(&mut hash_rate).await {
                record.send_modify(|record| record.faults.push(format!("{error:#}")));
            }
        }
        sleep(RECONNECT_PAUSE).await;
    }
}

/// What a miner wakes up for.
enum Event {
    Line(std::io::Result<Option<String>>),
    Pause,
    HashRate,
}

/// One connection.
struct Session<'a> {
    config: &'a Sv1MinerConfig,
    record: &'a watch::Sender<Record>,
    searches: &'a mut u64,
    lines: Lines<BufReader<OwnedReadHalf>>,
    writer: OwnedWriteHalf,
    subscription: Subscription,
    subscribed: bool,
    authorized: bool,
    /// The difficulty of the jobs to come.
    difficulty: f64,
    work: Option<Work>,
    next_share: u64,
    heard_at: Instant,
    hashed_at: Instant,
    /// Hashes that are due by the speed and have not been done.
    saved_hashes: f64,
}

/// The job that is hashed, for the difficulty that was in force when it came.
struct Work {
    prev_hash: BlockHash,
    job_id: String,
    difficulty: f64,
    search: Search,
}

impl<'a> Session<'a> {
    fn new(
        config: &'a Sv1MinerConfig,
        stream: TcpStream,
        record: &'a watch::Sender<Record>,
        searches: &'a mut u64,
    ) -> Self {
        let (reader, writer) = stream.into_split();
        let lines = BufReader::new(reader).lines();
        let now = Instant::now();
        Self {
            config,
            record,
            searches,
            lines,
            writer,
            subscription: Subscription::default(),
            subscribed: false,
            authorized: false,
            difficulty: 1.0,
            work: None,
            next_share: FIRST_SHARE,
            heard_at: now,
            hashed_at: now,
            saved_hashes: 0.0,
        }
    }

    /// Mines until the server closes the connection.
    async fn mine(&mut self, hash_rate: &mut watch::Receiver<f64>) -> anyhow::Result<()> {
        self.introduce().await;
        loop {
            let speed = *hash_rate.borrow_and_update();
            let pause = Duration::from_secs_f64((HASHES_A_GO / speed).clamp(PAUSE_S.0, PAUSE_S.1));
            let event = tokio::select! {
                line = self.lines.next_line() => Event::Line(line),
                () = sleep_until(self.hashed_at + pause) => Event::Pause,
                _ = hash_rate.changed() => Event::HashRate,
            };
            match event {
                Event::Line(Ok(Some(line))) => {
                    self.heard_at = Instant::now();
                    self.hear(&line).with_context(|| format!("the server said {line}"))?;
                }
                // An end in the middle of a line, or of a conversation, is what a server that dies looks like.
                Event::Line(Ok(None) | Err(_)) => return Ok(()),
                Event::Pause => self.hash(speed).await,
                Event::HashRate => {}
            }
            ensure!(self.heard_at.elapsed() < SILENCE_TIMEOUT, "the server was silent for {SILENCE_TIMEOUT:?}");
        }
    }

    /// Sends all that a miner says before it is let in, without waiting for answers.
    async fn introduce(&mut self) {
        let mask = format!("{VERSION_MASK:08x}");
        let rolling = json!({"version-rolling.mask": mask, "version-rolling.min-bit-count": 2});
        let requests = [
            (CONFIGURE, "mining.configure", json!([["version-rolling"], rolling])),
            (SUBSCRIBE, "mining.subscribe", json!(["adit-sv1-miner/1"])),
            (SUBSCRIBE_EXTRANONCE, "mining.extranonce.subscribe", json!([])),
            (AUTHORIZE, "mining.authorize", json!([self.config.user, "x"])),
        ];
        let lines = requests.map(|(id, method, parameters)| request(id, method, &parameters));
        self.send(&lines.concat()).await;
    }

    async fn send(&mut self, lines: &str) {
        // Where the other end is gone, reading tells.
        let _ = self.writer.write_all(lines.as_bytes()).await;
    }

    fn hear(&mut self, line: &str) -> anyhow::Result<()> {
        let message: Value = serde_json::from_str(line)?;
        let Some(method) = message["method"].as_str() else { return self.hear_answer(&message) };
        let parameters = message["params"].as_array().map_or(&[][..], Vec::as_slice);
        match method {
            "mining.notify" => self.begin(Job::from_parameters(parameters)?),
            "mining.set_difficulty" => {
                let difficulty = parameters.first().and_then(Value::as_f64).context("no difficulty")?;
                ensure!(difficulty > 0.0, "a difficulty of {difficulty}");
                self.difficulty = difficulty;
                self.record.send_modify(|record| record.difficulties.push(difficulty));
                Ok(())
            }
            "mining.set_extranonce" => self.subscribe(parameters),
            "mining.set_version_mask" => self.allow_version_bits(parameters.first()),
            // A miner has no use for the rest, such as `client.show_message`.
            _ => Ok(()),
        }
    }

    fn hear_answer(&mut self, message: &Value) -> anyhow::Result<()> {
        let id = message["id"].as_u64().context("neither a method nor the id of a request")?;
        let result = &message["result"];
        match id {
            CONFIGURE if result["version-rolling"] == json!(true) => {
                self.allow_version_bits(result.get("version-rolling.mask"))
            }
            CONFIGURE | SUBSCRIBE_EXTRANONCE => Ok(()),
            SUBSCRIBE => {
                self.subscribe(result.as_array().and_then(|result| result.get(1..)).context("no subscription")?)?;
                self.subscribed = true;
                self.note_admission();
                Ok(())
            }
            AUTHORIZE => {
                ensure!(result == &json!(true), "not authorised");
                self.authorized = true;
                self.note_admission();
                Ok(())
            }
            share => self.hear_verdict(share, message),
        }
    }

    /// Takes the two values that an answer to `mining.subscribe` ends with, and that `mining.set_extranonce` consists of.
    fn subscribe(&mut self, values: &[Value]) -> anyhow::Result<()> {
        let [extranonce1, size] = values.first_chunk().context("no extranonce")?;
        self.subscription.extranonce1 = hex::decode(extranonce1.as_str().context("an extranonce that is no text")?)?;
        let size = size.as_u64().context("no size of the extranonce")?;
        ensure!(size <= MAX_EXTRANONCE2_SIZE, "a second extranonce of {size} bytes");
        self.subscription.extranonce2_size = size as usize;
        Ok(())
    }

    fn allow_version_bits(&mut self, mask: Option<&Value>) -> anyhow::Result<()> {
        let mask = u32::from_str_radix(mask.and_then(Value::as_str).context("no mask")?, 16)?;
        ensure!(mask & !VERSION_MASK == 0, "the mask {mask:08x} has bits that were not asked for");
        self.subscription.version_mask = mask;
        self.record.send_modify(|record| record.version_mask = mask);
        Ok(())
    }

    fn note_admission(&mut self) {
        if self.subscribed && self.authorized {
            self.record.send_modify(|record| record.admissions += 1);
        }
    }

    /// Begins with a job; the one before is dropped, also where it would still be good.
    fn begin(&mut self, job: Job) -> anyhow::Result<()> {
        ensure!(self.subscribed, "a job before there is a subscription");
        *self.searches += 1;
        let search = job.search(&self.subscription, self.difficulty, *self.searches);
        let prev_hash = job.prev_block();
        self.work = Some(Work { prev_hash, job_id: job.id.clone(), difficulty: self.difficulty, search });
        let notified = Notified { job_id: job.id, prev_hash, clean: job.clean };
        self.record.send_modify(|record| {
            record.jobs.push(notified);
            record.jobs_of_connection += 1;
        });
        Ok(())
    }

    /// Hashes as much as is due, and submits what it finds.
    async fn hash(&mut self, speed: f64) {
        let elapsed_s = self.hashed_at.elapsed().as_secs_f64();
        self.hashed_at = Instant::now();
        let Some(work) = &mut self.work else { return };
        self.saved_hashes = (self.saved_hashes + speed * elapsed_s).min((speed * MAX_SAVED_S).max(1.0));
        let due = self.saved_hashes as u64;
        self.saved_hashes -= due as f64;
        let found: Vec<Solution> = (0..due).filter_map(|_| work.search.step()).collect();
        let Work { prev_hash, job_id, difficulty, .. } = work;
        let share = |solution: &Solution| Share {
            job_id: job_id.clone(),
            prev_hash: *prev_hash,
            hash: BlockHash::from_byte_array(solution.hash),
            difficulty: *difficulty,
            is_block: solution.is_block,
            answer: None,
        };
        let shares: Vec<Share> = found.iter().map(share).collect();
        let mut lines = String::new();
        for (solution, share) in found.iter().zip(shares) {
            let id = self.next_share;
            self.next_share += 1;
            let parameters = solution.parameters(&self.config.user, self.subscription.version_mask != 0);
            lines += &request(id, "mining.submit", &Value::Array(parameters));
            self.record.send_modify(|record| {
                record.unanswered.insert(id, record.shares.len());
                record.shares.push(share);
            });
        }
        if !lines.is_empty() {
            self.send(&lines).await;
        }
    }

    fn hear_verdict(&mut self, id: u64, message: &Value) -> anyhow::Result<()> {
        let accepted = message["result"] == json!(true);
        let reason = || message["error"].get(1).unwrap_or(&message["error"]).to_string();
        let verdict = if accepted { Ok(()) } else { Err(reason()) };
        let mut known = false;
        self.record.send_modify(|record| {
            let share = record.unanswered.remove(&id).map(|at| &mut record.shares[at]);
            known = share.is_some();
            share.into_iter().for_each(|share| share.answer = Some(verdict.clone()));
        });
        ensure!(known, "an answer to a request that was not made, or was answered before");
        Ok(())
    }
}

fn request(id: u64, method: &str, parameters: &Value) -> String {
    format!("{}\n", json!({"id": id, "method": method, "params": parameters}))
}
