//! The socket as its users and their enemies find it.
#![allow(clippy::unwrap_used)]

use std::{
    fs::{self, Permissions},
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::Path,
    sync::Arc,
};

use bitcoin::Txid;
use payouts::{payout::BatchId, store::sqlite::SqliteStore};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
    sync::watch,
    task::JoinHandle,
};

use super::*;
use crate::operations::{
    Desk, Port, RefusalCode, Request,
    report::{BatchChange, BatchSummary, Stage},
};

/// A served socket whose desk approves batch 7 and knows no other.
struct Served {
    dir: TempDir,
    draining: watch::Sender<bool>,
    served: JoinHandle<()>,
    _books: TempDir,
}

async fn store() -> (TempDir, Arc<SqliteStore>) {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&dir.path().join("adit.sqlite")).await.unwrap();
    (dir, Arc::new(store))
}

impl Served {
    async fn begin() -> Served {
        let dir = tempfile::tempdir().unwrap();
        let (books, store) = store().await;
        let (draining, drained) = watch::channel(false);
        let (desk, mut orders) = Desk::open(Port::closed(), store);
        tokio::spawn(async move {
            while let Some(order) = orders.recv().await {
                let outcome = match &order.request {
                    Request::Approve { batch, .. } if batch.get() == 7 => Ok(approved()),
                    _ => Err(Refusal::new(RefusalCode::NotFound, "there is no such batch")),
                };
                order.answer(outcome);
            }
        });
        let served = tokio::spawn(ControlSocket::bind(dir.path()).unwrap().serve(desk, drained));
        Served { dir, draining, served, _books: books }
    }

    fn path(&self) -> std::path::PathBuf {
        self.dir.path().join(SOCKET_FILE)
    }

    async fn end(self) {
        let path = self.path();
        self.draining.send_replace(true);
        self.served.await.unwrap();
        assert!(!path.exists(), "the socket is left behind");
    }
}

fn approve(batch: i64) -> Request {
    Request::Approve { batch: BatchId::new(batch), by: "alice".parse().unwrap() }
}

fn approved() -> Outcome {
    let batch = BatchSummary {
        batch: BatchId::new(7),
        stage: Stage::Unsigned,
        txid: Txid::from_raw_hash(bitcoin::hashes::Hash::all_zeros()),
        attempts: 1,
        accounts: 2,
        paid_sat: 300,
        network_fee_sat: 20,
        created_at_ms: 1_700_000_000_000,
        block: None,
    };
    Outcome::Approved(BatchChange { batch, already: false })
}

#[tokio::test]
async fn request_is_answered_and_the_socket_is_gone_at_the_end() {
    let served = Served::begin().await;
    assert_eq!(ask(served.dir.path(), &approve(7)).await.unwrap(), Some(Ok(approved())));
    let refusal = ask(served.dir.path(), &approve(8)).await.unwrap().unwrap().unwrap_err();
    assert_eq!(refusal, Refusal::new(RefusalCode::NotFound, "there is no such batch"));
    served.end().await;
}

#[tokio::test]
async fn nobody_listens_where_no_pool_runs() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(ask(dir.path(), &Request::Status).await.unwrap(), None);
    // A pool that was killed leaves its socket.
    drop(std::os::unix::net::UnixListener::bind(dir.path().join(SOCKET_FILE)).unwrap());
    assert_eq!(ask(dir.path(), &Request::Status).await.unwrap(), None);
}

#[tokio::test]
async fn what_an_earlier_run_left_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    drop(std::os::unix::net::UnixListener::bind(dir.path().join(SOCKET_FILE)).unwrap());
    // Killed in the middle of making its socket.
    fs::create_dir(dir.path().join("adit.sock.new")).unwrap();
    drop(std::os::unix::net::UnixListener::bind(dir.path().join("adit.sock.new").join(SOCKET_FILE)).unwrap());
    drop(ControlSocket::bind(dir.path()).unwrap());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "something is left behind");
}

#[tokio::test]
async fn socket_is_for_its_owner_alone() {
    let served = Served::begin().await;
    let metadata = fs::metadata(served.path()).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    served.end().await;
}

#[tokio::test]
async fn folder_that_others_may_change_is_refused_with_the_cure() {
    let dir = tempfile::tempdir().unwrap();
    for mode in [0o777, 0o770, 0o702] {
        fs::set_permissions(dir.path(), Permissions::from_mode(mode)).unwrap();
        let said = ControlSocket::bind(dir.path()).unwrap_err().to_string();
        assert!(said.contains("chmod go-w"), "{said}");
    }
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    ControlSocket::bind(dir.path()).unwrap();
}

#[tokio::test]
async fn folder_with_too_long_a_path_is_refused_with_the_cure() {
    let dir = tempfile::tempdir().unwrap();
    let long = dir.path().join("a".repeat(100));
    fs::create_dir(&long).unwrap();
    let said = ControlSocket::bind(&long).unwrap_err().to_string();
    assert!(said.contains("too long for a socket"), "{said}");
}

/// Sends bytes as they are and returns the lines that come back until the pool closes.
async fn raw(path: &Path, bytes: &[u8]) -> Vec<String> {
    let (reader, mut writer) = UnixStream::connect(path).await.unwrap().into_split();
    writer.write_all(bytes).await.unwrap();
    writer.shutdown().await.unwrap();
    let mut lines = BufReader::new(reader).lines();
    let mut replies = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        replies.push(line);
    }
    replies
}

#[tokio::test]
async fn several_requests_of_one_connection_are_answered_in_their_order() {
    let served = Served::begin().await;
    let requests = [line_of(&approve(8)).unwrap(), line_of(&approve(7)).unwrap()].concat();
    let replies = raw(&served.path(), &requests).await;
    assert!(replies[0].starts_with(r#"{"refused":{"code":"not_found","#), "{replies:?}");
    assert!(replies[1].starts_with(r#"{"done":{"approved":"#), "{replies:?}");
    assert_eq!(replies.len(), 2);
    served.end().await;
}

#[tokio::test]
async fn what_is_no_request_is_told_so_and_does_no_harm() {
    let served = Served::begin().await;
    for bytes in [&b"hello\n"[..], b"{\"operation\":\"burn\"}\n", b"\n", b"\xff\xfe\n"] {
        let replies = raw(&served.path(), bytes).await;
        assert_eq!(replies.len(), 1);
        assert!(replies[0].starts_with(r#"{"refused":{"code":"malformed","#), "{replies:?}");
    }
    // Half a line is nothing.
    assert_eq!(raw(&served.path(), b"{\"operation\":").await, [""; 0]);
    assert_eq!(ask(served.dir.path(), &approve(7)).await.unwrap(), Some(Ok(approved())));
    served.end().await;
}

#[tokio::test]
async fn line_without_end_is_cut_off() {
    let mut endless = BufReader::new(tokio::io::repeat(b'a'));
    let error = read_line(&mut endless).await.unwrap_err();
    assert!(error.to_string().contains("longer than"), "{error}");
}

#[tokio::test]
async fn idle_connections_do_not_keep_the_pool_from_ending() {
    let served = Served::begin().await;
    let mut idle = Vec::new();
    for _ in 0..MAX_CONNECTIONS + 2 {
        idle.push(UnixStream::connect(served.path()).await.unwrap());
    }
    served.end().await;
}

#[tokio::test]
async fn what_is_asked_while_the_pool_ends_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let (_draining, drained) = watch::channel(false);
    let (_books, store) = store().await;
    let (desk, orders) = Desk::open(Port::closed(), store);
    let served = tokio::spawn(ControlSocket::bind(dir.path()).unwrap().serve(desk, drained));
    drop(orders);
    let refusal = ask(dir.path(), &approve(7)).await.unwrap().unwrap().unwrap_err();
    assert_eq!(refusal.code, RefusalCode::Unavailable);
    served.abort();
}
