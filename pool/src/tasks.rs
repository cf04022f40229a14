//! The parts of a running pool, each a task of its own, and what follows when one of them dies.
//!
//! A task dies only of a fault of the pool itself: what the node, the disk or a peer may do is dealt with inside. A vital one
//! takes the pool with it, in order and with an error, because a start from what is on disk is what is known to be right. One
//! that miners and money do without begins anew, after a pause that grows.

use std::{
    any::Any,
    fmt::Display,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, OnceLock},
    thread,
    time::Duration,
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
};
use thiserror::Error;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, timeout, timeout_at},
};
use tracing::{error, warn};

use crate::{
    metrics::{Metrics, Moment},
    service,
};

/// How long a task may take to finish what it has begun when the pool shuts down.
const END_TIMEOUT: Duration = Duration::from_secs(10);
/// When what has failed begins anew.
const PAUSES: Pauses =
    Pauses { first: Duration::from_secs(1), last: Duration::from_secs(60), recovered_after: Duration::from_secs(600) };

/// A vital part of the pool has died.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the pool cannot go on without {part}, which failed: {words}")]
pub(crate) struct Fault {
    part: String,
    words: String,
}

/// The end of the pool, by an operator's wish or a fault; all clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ending(Arc<State>);

#[derive(Debug, Default)]
struct State {
    draining: watch::Sender<bool>,
    fault: OnceLock<Fault>,
}

impl Ending {
    /// Begins the shutdown.
    pub(crate) fn begin(&self) {
        service::tell_stopping();
        self.0.draining.send_replace(true);
    }

    /// Returns what turns true when the shutdown begins.
    pub(crate) fn watch(&self) -> watch::Receiver<bool> {
        self.0.draining.subscribe()
    }

    /// Returns why the pool ends if nobody wanted it to.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.0.fault.get().cloned()
    }

    /// Starts a thread that the pool cannot be without. It may end when it has nothing more to do.
    ///
    /// # Panics
    ///
    /// When the operating system can start no more threads.
    pub(crate) fn vital_thread(&self, name: String, work: impl FnOnce() + Send + 'static) {
        let (ending, part) = (self.clone(), name.clone());
        let work = move || {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(work)) {
                ending.fail(&format!("the thread {part}"), words_of(&*panic));
            }
        };
        thread::Builder::new().name(name).spawn(work).expect("a thread can be started");
    }

    fn has_begun(&self) -> bool {
        *self.0.draining.borrow()
    }

    /// Ends the pool because it cannot go on. The first fault is the one that counts: others may follow from it.
    fn fail(&self, part: &str, words: impl Display) {
        let fault = Fault { part: part.to_owned(), words: words.to_string() };
        error!("{fault}");
        if self.0.fault.set(fault).is_ok() && !self.has_begun() {
            self.begin();
        }
    }
}

/// A part of the pool that miners and money do without for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Folds and deletes old shares.
    Upkeep,
    /// Takes the share log into the history.
    History,
    /// Takes what connections count into the history.
    Tallies,
    /// Tells of what happens.
    Events,
    /// Shows the newest template to API and pages.
    Newest,
    /// Waits for SIGHUP.
    Hangups,
}

impl Part {
    const ALL: [Part; 6] = [Part::Upkeep, Part::History, Part::Tallies, Part::Events, Part::Newest, Part::Hangups];

    fn name(self) -> &'static str {
        match self {
            Part::Upkeep => "upkeep",
            Part::History => "history",
            Part::Tallies => "tallies",
            Part::Events => "events",
            Part::Newest => "newest_template",
            Part::Hangups => "hangups",
        }
    }
}

/// How long what has failed waits before it begins anew.
#[derive(Clone, Copy, Debug)]
struct Pauses {
    /// After the first failure; it doubles with each further one.
    first: Duration,
    /// At most.
    last: Duration,
    /// What has worked for so long begins anew as if it had never failed.
    recovered_after: Duration,
}

/// The label that says which part.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfTask {
    task: &'static str,
}

/// What has failed since the start and began anew.
#[derive(Clone, Debug, Default)]
struct Failures {
    counts: Family<OfTask, Counter>,
    last: Moment,
}

impl Failures {
    fn note(&self, part: Part) {
        self.counts.get_or_create(&OfTask { task: part.name() }).inc();
        self.last.note();
    }
}

/// The tasks of a run of the pool, in the order in which they are waited for in the end.
#[derive(Debug)]
pub(crate) struct Tasks {
    ending: Ending,
    failures: Failures,
    pauses: Pauses,
    tasks: Vec<(&'static str, JoinHandle<()>)>,
}

impl Tasks {
    /// Begins without any, and has shown what fails.
    pub(crate) fn new(ending: Ending, metrics: &mut Metrics) -> Self {
        let failures = Failures::default();
        for part in Part::ALL {
            drop(failures.counts.get_or_create(&OfTask { task: part.name() }));
        }
        metrics.add("task_failures", "Times that a part of the pool failed and began anew", failures.counts.clone());
        metrics.age("task_failure_age", "Time since a part of the pool failed last", &failures.last);
        Self { ending, failures, pauses: PAUSES, tasks: Vec::new() }
    }

    /// Has a task be one that the pool cannot be without: if it dies, or ends before the pool does, the pool ends.
    pub(crate) fn vital(&mut self, part: &'static str, task: JoinHandle<()>) {
        let ending = self.ending.clone();
        let watched = async move {
            match task.await {
                Ok(()) if ending.has_begun() => {}
                Ok(()) => ending.fail(part, "it has ended"),
                Err(error) => ending.fail(part, error),
            }
        };
        self.tasks.push((part, tokio::spawn(watched)));
    }

    /// Starts what begins anew whenever it fails, after a pause, until the pool shuts down.
    pub(crate) fn restarted<W>(&mut self, part: Part, mut work: impl FnMut() -> W + Send + 'static)
    where
        W: Future<Output = ()> + Send + 'static,
    {
        let (ending, failures, mut draining) = (self.ending.clone(), self.failures.clone(), self.ending.watch());
        let Pauses { first, last, recovered_after } = self.pauses;
        let watched = async move {
            let mut pause = first;
            loop {
                let begun = Instant::now();
                let words = match tokio::spawn(work()).await {
                    Ok(()) if ending.has_begun() => return,
                    Ok(()) => "it has ended".to_owned(),
                    Err(error) => error.to_string(),
                };
                failures.note(part);
                if begun.elapsed() >= recovered_after {
                    pause = first;
                }
                error!(task = part.name(), seconds = pause.as_secs(), "failed and begins anew after a pause: {words}");
                if timeout(pause, draining.wait_for(|draining| *draining)).await.is_ok() {
                    return;
                }
                pause = (pause * 2).min(last);
            }
        };
        self.tasks.push((part.name(), tokio::spawn(watched)));
    }

    /// Waits until all have ended, one after the other, each for a while. After a fault they share that time: some may wait for
    /// what is no more.
    pub(crate) async fn end(self) {
        let mut until = Instant::now() + END_TIMEOUT;
        for (name, task) in self.tasks {
            if timeout_at(until, task).await.is_err() {
                warn!("{name} did not end within {} s and is cut off", END_TIMEOUT.as_secs());
            }
            if self.ending.fault().is_none() {
                until = Instant::now() + END_TIMEOUT;
            }
        }
    }
}

/// What a panic says.
fn words_of(panic: &(dyn Any + Send)) -> &str {
    let words = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    words.unwrap_or("a panic without words")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    fn none() -> (Tasks, Ending, Metrics) {
        let (ending, mut metrics) = (Ending::default(), Metrics::new());
        (Tasks::new(ending.clone(), &mut metrics), ending, metrics)
    }

    async fn ended(ending: &Ending) {
        timeout(Duration::from_secs(5), ending.watch().wait_for(|draining| *draining)).await.unwrap().unwrap();
    }

    /// Works until the pool ends.
    async fn endure(mut draining: watch::Receiver<bool>) {
        let _ = draining.wait_for(|draining| *draining).await;
    }

    #[tokio::test]
    async fn vital_part_that_panics_ends_the_pool_with_its_words() {
        let (mut tasks, ending, _) = none();
        tasks.vital("API", tokio::spawn(endure(ending.watch())));
        tasks.vital("settlement", tokio::spawn(async { panic!("a sum of {} sat", 7) }));
        ended(&ending).await;
        tasks.end().await;
        let said = ending.fault().unwrap().to_string();
        assert!(said.contains("without settlement, which failed: ") && said.contains("a sum of 7 sat"), "{said}");
    }

    #[tokio::test]
    async fn vital_part_that_returns_before_the_end_is_a_fault_and_at_the_end_is_none() {
        let (mut tasks, ending, _) = none();
        tasks.vital("blocks", tokio::spawn(endure(ending.watch())));
        ending.begin();
        tasks.end().await;
        assert_eq!(ending.fault(), None);
        let (mut tasks, ending, _) = none();
        tasks.vital("blocks", tokio::spawn(async {}));
        ended(&ending).await;
        assert_eq!(ending.fault(), Some(Fault { part: "blocks".to_owned(), words: "it has ended".to_owned() }));
    }

    #[tokio::test]
    async fn panic_of_a_vital_thread_ends_the_pool_and_its_end_does_not() {
        let ending = Ending::default();
        let (sender, done) = std::sync::mpsc::channel();
        ending.vital_thread("tip".to_owned(), move || sender.send(()).unwrap());
        done.recv().unwrap();
        assert!(!ending.has_begun());
        ending.vital_thread("tip".to_owned(), || panic!("no tip"));
        ended(&ending).await;
        let said = ending.fault().unwrap().to_string();
        assert!(said.ends_with("the thread tip, which failed: no tip"), "{said}");
    }

    #[tokio::test]
    async fn part_that_fails_begins_anew_after_growing_pauses_until_the_pool_ends() {
        const FAILS: usize = 5;

        let (mut tasks, ending, metrics) = none();
        let ms = Duration::from_millis;
        tasks.pauses = Pauses { first: ms(20), last: ms(80), ..PAUSES };
        let (sender, mut begins) = mpsc::unbounded_channel();
        let (mut begun, draining) = (0, ending.watch());
        tasks.restarted(Part::History, move || {
            begun += 1;
            sender.send(Instant::now()).unwrap();
            let (fails, draining) = (begun <= FAILS, draining.clone());
            async move {
                assert!(!fails, "once more");
                endure(draining).await;
            }
        });
        let mut before = begins.recv().await.unwrap();
        for pause_ms in [20, 40, 80, 80, 80] {
            let at = begins.recv().await.unwrap();
            assert!(at - before >= ms(pause_ms), "{:?} is less than {pause_ms} ms", at - before);
            before = at;
        }
        assert!(timeout(ms(200), begins.recv()).await.is_err(), "it works, and is left alone");
        let text = metrics.text();
        assert!(text.contains("adit_task_failures_total{task=\"history\"} 5\n"), "{text}");
        assert!(text.contains("adit_task_failures_total{task=\"events\"} 0\n"), "{text}");
        ending.begin();
        tasks.end().await;
        assert_eq!(ending.fault(), None);
    }
}
