//! What the pool tells a service manager: a socket of this test stands where systemd's would.

use std::{
    net::TcpStream,
    os::unix::net::UnixDatagram,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{
    reload::hang_up,
    site::{PATIENCE, Site, standard},
};

/// The watchdog's time: short, so that the tests are.
const WATCHDOG: Duration = Duration::from_secs(1);
/// How long the share log may be with one attempt to write until the watchdog hears nothing.
const STUCK_AFTER: Duration = Duration::from_secs(5);

/// Where a service manager listens.
struct Manager {
    socket: UnixDatagram,
    folder: TempDir,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        Self { socket, folder }
    }

    /// Has the pool of a site tell it how it is.
    fn supervise(&self, site: &mut Site) {
        let socket = self.folder.path().join("notify");
        site.pool.set("NOTIFY_SOCKET", socket.display()).set("WATCHDOG_USEC", WATCHDOG.as_micros());
    }

    /// Returns the lines of the next message; none if it does not come in time.
    fn next(&self, patience: Duration) -> Option<Vec<String>> {
        self.socket.set_read_timeout(Some(patience)).unwrap();
        let mut buffer = [0; 4_096];
        let size = self.socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8(buffer[..size].to_vec()).unwrap().lines().map(str::to_owned).collect())
    }

    /// Waits for a message with a line, and returns all lines up to it.
    fn wait_for(&self, line: &str) -> Vec<String> {
        let (deadline, mut lines) = (Instant::now() + PATIENCE, Vec::new());
        while !lines.iter().any(|told: &String| told == line) {
            let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            let Some(message) = self.next(left) else { panic!("{line} was not told, but {lines:?}") };
            lines.extend(message);
        }
        lines
    }

    /// Returns all that is told in such a time.
    fn hear(&self, span: Duration) -> Vec<String> {
        let (deadline, mut lines) = (Instant::now() + span, Vec::new());
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match (!left.is_zero()).then(|| self.next(left)).flatten() {
                Some(message) => lines.extend(message),
                None => return lines,
            }
        }
    }
}

#[test]
fn manager_hears_that_the_pool_waits_is_ready_gets_on_reloads_and_stops() {
    let mut site = Site::regtest();
    let manager = Manager::new();
    manager.supervise(&mut site);
    let address = site.pool.start().unwrap();
    let before = manager.wait_for("READY=1");
    assert_eq!(before[0], "STATUS=waits for its node and the first template");
    assert!(!before.iter().any(|line| line == "WATCHDOG=1"), "{before:?}");
    TcpStream::connect((address.host.as_str(), address.port)).unwrap();

    manager.wait_for("WATCHDOG=1");
    let begun = Instant::now();
    (0..3).for_each(|_| drop(manager.wait_for("WATCHDOG=1")));
    // Twice in its time, so three times in one and a half.
    assert!(begun.elapsed() < 3 * WATCHDOG, "{:?}", begun.elapsed());
    let told = manager.wait_for("STATUS=serves 0 connections with 0 channels");
    assert!(!told.iter().any(|line| line == "STOPPING=1"), "{told:?}");

    hang_up(&site);
    manager.wait_for("RELOADING=1");
    manager.wait_for("READY=1");

    site.pool.stop().unwrap();
    manager.wait_for("STOPPING=1");
    // All that it said is here, now that it has ended.
    assert_eq!(manager.hear(Duration::from_millis(200)).iter().filter(|line| *line == "READY=1").count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn watchdog_hears_nothing_while_the_share_log_is_stuck_and_again_when_it_gets_on() {
    const STUCK: Duration = Duration::from_secs(9);

    let mut site = Site::signet();
    let manager = Manager::new();
    manager.supervise(&mut site);
    site.pool.set("ADIT_SLOW_STEP", format!("append shares:{}", STUCK.as_millis()));
    site.pool.start().unwrap();
    manager.wait_for("WATCHDOG=1");
    let miner = site.miner_with(standard(&site.new_address(), 20_000.0).max_shares(1)).await;
    let submitted = |record: &tests::miner::Record| (!record.submitted.is_empty()).then_some(());
    miner.wait_for(PATIENCE, "a share", submitted).await.unwrap();
    // A disk that is merely slow is no reason to end the pool.
    let told = manager.hear(STUCK_AFTER / 2);
    assert!(told.iter().any(|line| line == "WATCHDOG=1"), "{told:?}");
    // Until then, and until the next look.
    manager.hear(STUCK_AFTER - STUCK_AFTER / 2 + WATCHDOG);
    let told = manager.hear(2 * WATCHDOG);
    assert!(!told.iter().any(|line| line == "WATCHDOG=1"), "{told:?}");
    assert!(told.iter().any(|line| line.starts_with("STATUS=the share log has not got on for ")), "{told:?}");

    miner.wait_for_accepted(1, PATIENCE).await.unwrap();
    manager.wait_for("WATCHDOG=1");
    assert!(site.pool.log().contains("the share log gets on again"));
}
