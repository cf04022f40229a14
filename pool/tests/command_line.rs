//! The `adit` binary as an operator meets it: what it prints, where, and how it ends.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
    sync::Arc,
};

use bitcoin::{Address, Amount, BlockHash, CompactTarget, Network, OutPoint, Txid, hashes::Hash};
use bitcoind_regtest::Node;
use payouts::{
    books::{Books, DirectPayments, FoundBlock},
    scheme::{PoolFee, pplns::Pplns},
    share::ShareSeq,
    store::{Store, postgres::PgStore, sqlite::SqliteStore},
    wallet::WalletKey,
};
use postgres_test::TestDatabase;

const ADDRESS: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";

fn adit(dir: &Path, arguments: &[&str]) -> Output {
    // Without the caller's environment: a variable of theirs could be a setting.
    Command::new(env!("CARGO_BIN_EXE_adit")).args(arguments).current_dir(dir).env_clear().output().unwrap()
}

fn new_pool() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let output = adit(dir.path(), &["init", "--network", "regtest", "--cookie-file", "cookie"]);
    assert!(output.status.success(), "{output:?}");
    dir
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn one_complaint(output: &Output) -> &str {
    let text = std::str::from_utf8(&output.stderr).unwrap();
    assert!(text.starts_with("adit: ") && text.lines().count() == 1, "{text}");
    assert!(output.stdout.is_empty());
    text
}

#[test]
fn init_says_what_to_do_next_and_never_does_it_twice() {
    let dir = tempfile::tempdir().unwrap();
    let arguments = ["init", "--network", "signet", "--cookie-file", "c", "--public-host", "pool.example.org"];
    let output = adit(dir.path(), &arguments);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(stdout(&output).contains("stratum2+tcp://pool.example.org:34254/9"), "{}", stdout(&output));
    let key = fs::read_to_string(dir.path().join("authority.key")).unwrap();
    assert!(!stdout(&output).contains(key.trim()), "the secret key was printed");

    let output = adit(dir.path(), &arguments);
    assert_eq!(output.status.code(), Some(1));
    assert!(one_complaint(&output).contains("adit.toml exists already"));
    assert_eq!(fs::read_to_string(dir.path().join("authority.key")).unwrap(), key);
}

#[test]
fn wrong_command_line_ends_with_2() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(adit(dir.path(), &["mine"]).status.code(), Some(2));
    assert_eq!(adit(dir.path(), &["init", "--network", "testnet3"]).status.code(), Some(2));
    assert_eq!(adit(dir.path(), &["ledger", "show", "--last", "0"]).status.code(), Some(2));
}

#[test]
fn wrong_configuration_ends_with_3_and_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let output = adit(dir.path(), &["run"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(one_complaint(&output).contains("cannot read the config file adit.toml: "));

    fs::write(dir.path().join("adit.toml"), "netwrok = \"regtest\"\n").unwrap();
    let output = adit(dir.path(), &["run"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        one_complaint(&output).contains("netwrok in adit.toml, line 1 is not a setting; the nearest one is network")
    );
}

#[test]
fn key_open_to_others_ends_the_run() {
    use std::os::unix::fs::PermissionsExt;

    let dir = new_pool();
    let key = dir.path().join("authority.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_adit"))
        .args(["run"])
        .current_dir(dir.path())
        .env_clear()
        .env("ADIT__STRATUM__LISTEN", "127.0.0.1:0")
        .env("ADIT__API__LISTEN", "127.0.0.1:0")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(one_complaint(&output).contains("authority.key has mode 0644"));
}

#[test]
fn each_payout_command_explains_itself_with_an_example() {
    let dir = tempfile::tempdir().unwrap();
    let commands = [
        "status",
        "list",
        "show",
        "run",
        "approve",
        "cancel",
        "hold",
        "release",
        "threshold",
        "bump",
        "export-psbt",
        "import-psbt",
    ];
    let all = adit(dir.path(), &["payout", "--help"]);
    for command in commands {
        assert!(stdout(&all).contains(command), "{command} is not in\n{}", stdout(&all));
        let help = adit(dir.path(), &["payout", command, "--help"]);
        assert_eq!(help.status.code(), Some(0));
        let help = stdout(&help);
        assert!(help.contains(&format!("Example:\n  adit payout {command}")), "{help}");
        assert!(help.contains("Exit status") && help.contains("--json"), "{help}");
    }
}

#[test]
fn wrong_payout_arguments_end_with_2() {
    let dir = tempfile::tempdir().unwrap();
    for arguments in [
        &["show", "0"][..],
        &["show", "first"],
        &["list", "--last", "0"],
        &["approve", "1"],
        &["approve", "1", "--by", " "],
        &["cancel", "1", "--reason", "two\nlines"],
        &["hold", ADDRESS],
        &["hold", "no.where", "--reason", "because"],
        &["threshold", ADDRESS, "0"],
        &["threshold", ADDRESS, "some"],
        &["bump", "1", "--fee-rate", "0"],
        &["bump", "1"],
        &["export-psbt", "1"],
    ] {
        let output = adit(dir.path(), &[&["payout"], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
    }
}

#[test]
fn wrong_account_arguments_end_with_2() {
    let dir = tempfile::tempdir().unwrap();
    for arguments in [
        &["add"][..],
        &["add", "farm"],
        &["add", "7up", ADDRESS],
        &["add", ADDRESS, "farm"],
        &["add", "bc1qfarm", ADDRESS],
        &["remove"],
        &["remove", ADDRESS],
        &["show", "farm.rig"],
    ] {
        let output = adit(dir.path(), &[&["account"], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
    }
}

#[test]
fn account_and_reserve_are_changed_where_no_pool_runs_and_need_its_books() {
    let mut node = Node::start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (cookie_file, url) = (node.cookie_file(), node.rpc_url());
    let cookie_file = cookie_file.to_str().unwrap();
    let arguments = ["init", "--network", "regtest", "--cookie-file", cookie_file, "--bitcoind-url", &url];
    assert!(adit(dir.path(), &arguments).status.success());
    let set = ["account", "set", ADDRESS, "--scheme", "solo"];
    let fund = ["reserve", "fund", "1", "--reference", "first"];
    for arguments in [&set[..], &fund[..]] {
        let output = adit(dir.path(), arguments);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(one_complaint(&output).contains("there are no books in "), "{output:?}");
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let store = runtime.block_on(SqliteStore::open(&dir.path().join("data/adit.sqlite"))).unwrap();
    runtime.block_on(store.close());

    let output = adit(dir.path(), &set);
    assert!(output.status.success(), "{output:?}");
    assert!(stdout(&output).contains("Mines     for itself alone"), "{output:?}");
    // The wallet is known from then on, so the node need not be there.
    node.stop().unwrap();
    let output = adit(dir.path(), &set);
    assert!(stdout(&output).ends_with("It was so already.\n"), "{output:?}");
    let output = adit(dir.path(), &["account", "set", ADDRESS, "--scheme", "pool", "--json"]);
    let json: serde_json::Value = serde_json::from_str(stdout(&output)).unwrap();
    assert_eq!(json["account"]["account"]["mines_for"], "pool", "{output:?}");
    let output = adit(dir.path(), &["account", "show", ADDRESS, "--json"]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(stdout(&output)).unwrap(), json["account"]["account"]);

    let output = adit(dir.path(), &["account", "add", ADDRESS]);
    assert_eq!(stdout(&output), format!("{ADDRESS} was already account 1.\n"), "{output:?}");
    let output = adit(dir.path(), &["account", "add", "Farm", ADDRESS]);
    assert_eq!(stdout(&output), format!("{ADDRESS} is account 1, called farm.\n"), "{output:?}");
    let output = adit(dir.path(), &["account", "set", "FARM", "--scheme", "pool"]);
    assert!(stdout(&output).contains("Name      farm") && stdout(&output).ends_with("already.\n"), "{output:?}");
    let output = adit(dir.path(), &["account", "remove", "farm"]);
    assert!(stdout(&output).starts_with(&format!("{ADDRESS} is not called farm any more")), "{output:?}");
    let output = adit(dir.path(), &["account", "list"]);
    assert_eq!(stdout(&output), format!("ACCOUNT  NAME  ADDRESS\n      1        {ADDRESS}\n"), "{output:?}");
    let output = adit(dir.path(), &["account", "remove", "shed"]);
    assert!(one_complaint(&output).contains("no account is called shed"), "{output:?}");

    let output = adit(dir.path(), &fund);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(one_complaint(&output).contains("of the fee 0 sat can be given, not 1 sat"), "{output:?}");
    let output = adit(dir.path(), &["account", "set", ADDRESS]);
    assert!(one_complaint(&output).contains("nothing is to change"), "{output:?}");
}

#[test]
fn pool_without_a_key_is_made_of_two_descriptors() {
    let dir = tempfile::tempdir().unwrap();
    let key = WalletKey::create(&dir.path().join("cold.key"), Network::Regtest).unwrap().watch_only().unwrap();
    let (external, change) = (key.external(), key.internal());
    let init = ["init", "--network", "regtest", "--cookie-file", "cookie", "--dir", "pool", "--watch-only", &external];
    assert_eq!(adit(dir.path(), &init).status.code(), Some(2), "change needs a descriptor too");
    let output = adit(dir.path(), &[&init[..], &["--change", &change]].concat());
    assert!(output.status.success(), "{output:?}");
    let pool = dir.path().join("pool");
    assert!(!pool.join("wallet.key").exists() && pool.join("authority.key").exists());

    let config = fs::read_to_string(pool.join("adit.toml")).unwrap();
    fs::write(pool.join("adit.toml"), config.replace("/0/*", "/0'/*")).unwrap();
    let output = adit(&pool, &["run"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(one_complaint(&output).contains("payout.watch_only_descriptor in adit.toml"), "{output:?}");
}

#[test]
fn payouts_of_a_pool_that_never_ran_are_not_there() {
    let dir = new_pool();
    let output = adit(dir.path(), &["payout", "status"]);
    assert_eq!(output.status.code(), Some(1));
    let said = one_complaint(&output);
    assert!(said.contains("there are no books in ") && said.contains("start the pool once"), "{said}");
    assert!(!dir.path().join("data/adit.sqlite").exists());

    let output = adit(dir.path(), &["payout", "import-psbt", "1", "adit.toml"]);
    assert!(one_complaint(&output).contains("adit.toml holds no PSBT"));
    let output = adit(dir.path(), &["payout", "export-psbt", "1", "--out", "adit.toml"]);
    assert!(one_complaint(&output).contains("adit.toml exists already"));
}

#[test]
fn books_that_are_not_there_are_not_made() {
    let dir = new_pool();
    let output = adit(dir.path(), &["ledger", "show"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(one_complaint(&output).contains("there are no books in "));
    assert!(!dir.path().join("data/adit.sqlite").exists());
}

#[test]
fn books_are_read_while_the_pool_has_them_open() {
    let dir = new_pool();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let store: Arc<dyn Store> =
        Arc::new(runtime.block_on(SqliteStore::open(&dir.path().join("data/adit.sqlite"))).unwrap());
    runtime.block_on(async {
        let address: Address<_> = ADDRESS.parse().unwrap();
        let finder = store.account(&address.require_network(Network::Regtest).unwrap()).await.unwrap();
        let scheme = Pplns { window: 8.try_into().unwrap(), fee: PoolFee::from_basis_points(100).unwrap() };
        let found = FoundBlock {
            hash: BlockHash::from_byte_array([7; 32]),
            height: 101,
            coinbase: OutPoint { txid: Txid::from_byte_array([8; 32]), vout: 0 },
            value: Amount::from_sat(5_000_000_000),
            subsidy: Amount::from_sat(5_000_000_000),
            finder,
            share_position: ShareSeq::new(0),
            nbits: CompactTarget::from_consensus(0x207f_ffff),
            found_at_ms: 1_700_000_000_000,
            direct: DirectPayments::default(),
        };
        Books::new(Arc::clone(&store), scheme).record_found(&found).await.unwrap();
    });

    let output = adit(dir.path(), &["ledger", "show"]);
    assert!(output.status.success(), "{output:?}");
    let text = stdout(&output);
    let (balances, entries) = text.split_once("\nEntries\n").unwrap();
    let owed = balances.lines().find(|line| line.starts_with("miner_immature:")).unwrap();
    assert!(owed.contains("-4950000000") && owed.ends_with(ADDRESS), "{text}");
    assert!(entries.contains("block_found") && entries.contains("-50000000"), "{text}");

    let output = adit(dir.path(), &["ledger", "verify", "--offline"]);
    assert!(output.status.success() && stdout(&output).contains("All records are as they were written"), "{output:?}");
    let block = BlockHash::from_byte_array([7; 32]).to_string();
    let output = adit(dir.path(), &["ledger", "explain", &block, &ADDRESS.to_uppercase()]);
    assert!(output.status.success(), "{output:?}");
    let text = stdout(&output);
    assert!(text.contains("Rule      pplns window=8 fee_bp=100\n"), "{text}");
    assert!(
        text.contains("Account   1 found the block: all of it\nEarned    4950000000 sat\nCredit    4950000000 sat\n"),
        "{text}"
    );
    let stranger = "bcrt1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qzf4jry";
    let output = adit(dir.path(), &["ledger", "explain", &block, stranger]);
    assert_eq!(output.status.code(), Some(1));
    assert!(one_complaint(&output).contains("no account has address"));

    let output = adit(dir.path(), &["export", "list"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(stdout(&output).lines().count(), 1, "a header and no record: {}", stdout(&output));
}

#[test]
fn books_are_compared_with_the_chain_unless_told_not_to() {
    let mut node = Node::start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (cookie_file, url) = (node.cookie_file(), node.rpc_url());
    let cookie_file = cookie_file.to_str().unwrap();
    let arguments = ["init", "--network", "regtest", "--cookie-file", cookie_file, "--bitcoind-url", &url];
    let output = adit(dir.path(), &arguments);
    assert!(output.status.success(), "{output:?}");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let store = runtime.block_on(SqliteStore::open(&dir.path().join("data/adit.sqlite"))).unwrap();
    let height = node.height().unwrap();
    let output = adit(dir.path(), &["ledger", "verify"]);
    assert!(output.status.success(), "{output:?}");
    let compared = format!("Compared with the chain up to height {height}: 0 blocks, 0 payouts.");
    assert!(stdout(&output).contains(&compared), "{output:?}");

    // A block of the books that pays otherwise on the chain.
    let hash = node.mine(1).unwrap()[0];
    let block = node.block(hash).unwrap();
    let store: Arc<dyn Store> = Arc::new(store);
    runtime.block_on(async {
        let address: Address<_> = ADDRESS.parse().unwrap();
        let finder = store.account(&address.require_network(Network::Regtest).unwrap()).await.unwrap();
        let scheme = Pplns { window: 8.try_into().unwrap(), fee: PoolFee::from_basis_points(0).unwrap() };
        let found = FoundBlock {
            hash,
            height: height + 1,
            coinbase: OutPoint { txid: block.txdata[0].compute_txid(), vout: 0 },
            value: block.txdata[0].output[0].value + Amount::ONE_SAT,
            subsidy: Amount::ZERO,
            finder,
            share_position: ShareSeq::new(0),
            nbits: block.header.bits,
            found_at_ms: 1,
            direct: DirectPayments::default(),
        };
        Books::new(Arc::clone(&store), scheme).record_found(&found).await.unwrap();
    });
    let output = adit(dir.path(), &["ledger", "verify"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(one_complaint(&output).contains(&format!("block {hash} has no coinbase output")), "{output:?}");
    node.stop().unwrap();
    let output = adit(dir.path(), &["ledger", "verify"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(one_complaint(&output).contains("(--offline leaves that out): bitcoind"), "{output:?}");
    let output = adit(dir.path(), &["ledger", "verify", "--offline"]);
    assert!(output.status.success(), "{output:?}");
    assert!(stdout(&output).contains("Not compared with the node's chain."), "{output:?}");
}

/// Runs `adit` on a pool whose books are in the database that a file names.
fn adit_on_server(dir: &Path, url_file: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_adit"))
        .args(arguments)
        .current_dir(dir)
        .env_clear()
        .env("ADIT__STRATUM__LISTEN", "127.0.0.1:0")
        .env("ADIT__API__LISTEN", "127.0.0.1:0")
        .env("ADIT__STORE__PATH", "")
        .env("ADIT__STORE__URL_FILE", url_file)
        .output()
        .unwrap()
}

fn write_secret(file: &Path, text: &str) {
    pool::config::secret_file::create(file, text).unwrap();
}

#[test]
fn books_are_copied_to_a_server_and_read_there() {
    let dir = new_pool();
    let database = TestDatabase::create().unwrap();
    let url_file = dir.path().join("store.url");
    write_secret(&url_file, database.url());
    let copy = ["store", "copy", "--to", "store.url"];
    let output = adit(dir.path(), &copy);
    assert!(one_complaint(&output).contains("there are no books in "), "{output:?}");

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let store = runtime.block_on(SqliteStore::open(&dir.path().join("data/adit.sqlite"))).unwrap();
    let address: Address<_> = ADDRESS.parse().unwrap();
    runtime.block_on(store.account(&address.require_network(Network::Regtest).unwrap())).unwrap();
    // As long as a pool works on them, they are not copied.
    let output = adit(dir.path(), &copy);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(one_complaint(&output).contains("another pool works on this database"));
    runtime.block_on(store.close());

    let output = adit(dir.path(), &copy);
    assert!(output.status.success(), "{output:?}");
    let arrived = stdout(&output).lines().any(|line| line.split_whitespace().eq(["accounts", "1"]));
    assert!(arrived && stdout(&output).contains("set store.url_file to store.url"), "{}", stdout(&output));
    let there = adit_on_server(dir.path(), &url_file, &["ledger", "verify", "--offline"]);
    assert!(there.status.success(), "{there:?}");
    assert_eq!(stdout(&there), stdout(&adit(dir.path(), &["ledger", "verify", "--offline"])));

    let output = adit(dir.path(), &copy);
    assert_eq!(output.status.code(), Some(1));
    assert!(one_complaint(&output).contains("the target is not empty: it has accounts"), "{output:?}");
    let output = adit_on_server(dir.path(), &url_file, &["store", "backup", "copy.sqlite"]);
    assert!(one_complaint(&output).contains("pg_dump"), "{output:?}");
}

#[test]
fn url_file_open_to_others_is_refused() {
    use std::os::unix::fs::PermissionsExt;

    let dir = new_pool();
    let url_file = dir.path().join("store.url");
    write_secret(&url_file, "postgres://adit:correct-horse@127.0.0.1:1/adit");
    let output = adit_on_server(dir.path(), &url_file, &["ledger", "show"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(one_complaint(&output).contains("the database cannot be reached"), "{output:?}");
    assert!(!one_complaint(&output).contains("correct-horse"));
    fs::set_permissions(&url_file, fs::Permissions::from_mode(0o640)).unwrap();
    let output = adit_on_server(dir.path(), &url_file, &["ledger", "show"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(one_complaint(&output).contains("chmod 600"));
}

#[test]
fn second_pool_on_the_same_books_is_refused() {
    let dir = new_pool();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let file = runtime.block_on(SqliteStore::open(&dir.path().join("data/adit.sqlite"))).unwrap();
    let is_refused = |output: &Output| {
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(one_complaint(output).contains("another pool works on this database"), "{output:?}");
    };
    let on_file = Command::new(env!("CARGO_BIN_EXE_adit"))
        .arg("run")
        .current_dir(dir.path())
        .env_clear()
        .env("ADIT__STRATUM__LISTEN", "127.0.0.1:0")
        .env("ADIT__API__LISTEN", "127.0.0.1:0")
        .output()
        .unwrap();
    is_refused(&on_file);
    runtime.block_on(file.close());

    let database = TestDatabase::create().unwrap();
    let url_file = dir.path().join("store.url");
    write_secret(&url_file, database.url());
    let server = runtime.block_on(PgStore::open(database.url())).unwrap();
    is_refused(&adit_on_server(dir.path(), &url_file, &["run"]));
    runtime.block_on(server.close());
}

#[test]
fn backup_of_a_running_pool_is_the_pool_as_it_was() {
    let dir = new_pool();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let store = runtime.block_on(SqliteStore::open(&dir.path().join("data/adit.sqlite"))).unwrap();
    let address: Address<_> = ADDRESS.parse().unwrap();
    runtime.block_on(store.account(&address.require_network(Network::Regtest).unwrap())).unwrap();
    let output = adit(dir.path(), &["store", "backup", "copy.sqlite"]);
    assert!(output.status.success(), "{output:?}");
    assert!(stdout(&output).contains("copy.sqlite holds the books up to ledger entry 0"), "{}", stdout(&output));
    let copy = runtime.block_on(SqliteStore::open_read_only(&dir.path().join("copy.sqlite"))).unwrap();
    assert!(runtime.block_on(copy.find_account(ADDRESS)).unwrap().is_some());

    let output = adit(dir.path(), &["store", "backup", "copy.sqlite"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(one_complaint(&output).contains("copy.sqlite exists already"));
}
