//! How a pool's money is put together here: shares, rules, stores, wallet, payer. The one file to change when their
//! making changes.

use std::{
    collections::BTreeSet,
    env, fs,
    num::NonZeroU32,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use bitcoin::{
    Address, Amount, CompactTarget, FeeRate, Network, PubkeyHash, ScriptBuf, ScriptHash, WPubkeyHash, WitnessProgram,
    hashes::Hash,
};
use payouts::{
    AccountId, Books, Difficulty, Payer, PayoutPolicy, ShareGroup, ShareRun, SqliteStore, Store, Wallet, WalletKey,
    export::{
        lists::{Lists, ReadList},
        screening::{ListSource, RequiredLists, read_supplement},
    },
    payout::{Approval, Screening},
    scheme::{PoolFee, pplns::Pplns},
    share::{JobNumber, JobTerms, Reward},
};
use tempfile::TempDir;

use crate::{
    books::{ModelGroup, ModelRule},
    faults::Faults,
    node::{self, SharedChain},
    store::{FallibleStore, Mistake},
};

/// Miners of a run.
pub(crate) const MINERS: usize = 5;
/// The least balance that is paid: many credits are less.
pub(crate) const THRESHOLD: Amount = Amount::from_sat(30_000_000);
/// Batches that take more than this wait for approval.
const APPROVAL_LIMIT: Amount = Amount::from_sat(600_000_000);
/// The rule of every run: a window of a few shares, and a fee that does not come out even.
pub(crate) const RULE: ModelRule = ModelRule { window: 3, fee_bp: 173 };
/// A key for regtest (the first vector of BIP 32), so that a run is the same each time.
const KEY_FILE: &str = r#"{"network":"regtest","xpriv":"tprv8ZgxMBicQKsPeDgjzdC36fs6bMjGApWDNLR9erAXMs5skhMv36j9MV5ecvfavji5khqjWaWSFhN3YcCUUdiKH6isR4Pwy3U5y5egddBr16m"}"#;
/// A folder in memory, where there is one: what a disk adds is only time.
const MEMORY_FOLDER: &str = "/dev/shm";
/// What the names of a database's files end with.
const DATABASE_FILES: [&str; 2] = ["", "-wal"];

/// What all runs of a test begin with: a database with its tables, its accounts and a wallet, and a key.
pub(crate) struct Bench {
    folder: TempDir,
    /// The files of the database: what was written last may still stand in the log.
    database: Vec<(&'static str, Vec<u8>)>,
    pub(crate) key: WalletKey,
    pub(crate) miners: Vec<Miner>,
    /// Where the pool's coinbases pay.
    pub(crate) script: ScriptBuf,
}

/// One miner.
#[derive(Clone, Debug)]
pub(crate) struct Miner {
    pub(crate) account: AccountId,
    pub(crate) script: ScriptBuf,
}

impl Bench {
    /// Makes the database that runs copy. The chain is one that no block was mined on.
    pub(crate) async fn new(chain: &SharedChain) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir_in(folder())?;
        let key_path = folder.path().join("wallet.key");
        fs::write(&key_path, KEY_FILE)?;
        fs::set_permissions(&key_path, fs::Permissions::from_mode(0o600))?;
        let key = WalletKey::read(&key_path, Network::Regtest)?;
        let path = folder.path().join("first.sqlite");
        let store = SqliteStore::open(&path).await?;
        let mut miners = Vec::new();
        for index in 0..MINERS {
            let address = address(index);
            let account = store.account(&address).await?;
            miners.push(Miner { account, script: address.script_pubkey() });
        }
        let rpc = node::client(chain, &Arc::default());
        let wallet = Wallet::open(Arc::new(store.clone()), key.clone(), rpc).await?;
        let script = wallet.coinbase_script();
        drop(wallet);
        store.close().await;
        let mut database = Vec::new();
        for suffix in DATABASE_FILES {
            let path = folder.path().join(format!("first.sqlite{suffix}"));
            if path.exists() {
                database.push((suffix, fs::read(path)?));
            }
        }
        Ok(Self { folder, database, key, miners, script })
    }

    /// Puts a database in its first state where a run can open it.
    pub(crate) fn database(&self) -> anyhow::Result<PathBuf> {
        let file = |suffix| self.folder.path().join(format!("run.sqlite{suffix}"));
        for path in DATABASE_FILES.map(file).iter().chain([&file("-shm")]).filter(|path| path.exists()) {
            fs::remove_file(path)?;
        }
        for (suffix, content) in &self.database {
            fs::write(file(suffix), content)?;
        }
        Ok(file(""))
    }
}

/// One life of a pool's money: from a start to a crash or a stop.
pub(crate) struct Pool {
    /// The store as it is, without faults.
    pub(crate) sqlite: SqliteStore,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) books: Books,
    pub(crate) payer: Payer,
    /// Counts its starts.
    pub(crate) session: i64,
}

/// Where runs keep their files: in memory, if there is such a folder.
pub(crate) fn folder() -> PathBuf {
    let memory = Path::new(MEMORY_FOLDER);
    if memory.is_dir() { memory.to_owned() } else { env::temp_dir() }
}

/// Starts a pool as its server does: store, wallet, books, payer.
pub(crate) async fn start(
    sqlite: SqliteStore,
    key: &WalletKey,
    chain: &SharedChain,
    faults: &Arc<Faults>,
    mistake: Option<Mistake>,
    policy: PayoutPolicy,
) -> anyhow::Result<Pool> {
    let store: Arc<dyn Store> = Arc::new(FallibleStore::new(sqlite.clone(), Arc::clone(faults), mistake));
    let session = store.begin_session().await?;
    let rpc = node::client(chain, faults);
    let wallet = Wallet::open(Arc::clone(&store), key.clone(), Arc::clone(&rpc)).await?;
    let payer = Payer::new(Arc::clone(&store), wallet, rpc, policy, screening()?);
    let books = Books::new(Arc::clone(&store), scheme(RULE)).with_running_window().await?;
    Ok(Pool { sqlite, store, books, payer, session })
}

/// Screens payments by a list that has none of the miners.
fn screening() -> anyhow::Result<Screening> {
    Ok(Screening::new(Arc::new(lists("1BitcoinEaterAddressDontSendf59kuE")?), BTreeSet::new()))
}

/// Returns a list that names one address of the main network, and is never too old.
pub(crate) fn lists(listed: &str) -> anyhow::Result<Lists> {
    let source: ListSource = "supplement".parse()?;
    let text = format!("address,name,label,programme,reference\n{listed},,XBT,TEST,\n");
    let list = read_supplement(source.clone(), text.as_bytes(), &mut |_| {})?;
    let required = RequiredLists::new([source.clone()])?;
    let content = Some(Ok(Arc::new(list)));
    let read = ReadList { source, content, fetched_at_ms: 0, max_age_s: u64::MAX, last_entry_count: None };
    Ok(Lists::new(required, vec![read]))
}

/// Returns a production scheme that should do what a rule of the model says.
pub(crate) fn scheme(rule: ModelRule) -> Pplns {
    let window = NonZeroU32::new(rule.window).expect("a window is not empty");
    Pplns { window, fee: PoolFee::from_basis_points(rule.fee_bp).expect("a fee is under the whole") }
}

/// What every run pays by.
pub(crate) fn policy() -> PayoutPolicy {
    PayoutPolicy {
        threshold: THRESHOLD,
        approval: Approval::Above(APPROVAL_LIMIT),
        fallback_fee_rate: FeeRate::from_sat_per_vb_u32(5),
        max_fee_rate: FeeRate::from_sat_per_vb_u32(200),
        max_outputs: 3,
        ..PayoutPolicy::default()
    }
}

/// Returns a group of shares as the share log stores it.
pub(crate) fn share_group(group: &ModelGroup) -> ShareGroup {
    let job = JobTerms {
        job: JobNumber::new(group.session << 32 | group.number),
        position: payouts::ShareSeq::new(group.segment.get() - 1),
        opened_at_ms: group.number,
        prev_hash: None,
        height: None,
        nbits: nbits(group.network_log2),
        subsidy: None,
        fees: None,
    };
    let share = ShareRun {
        account: group.account,
        worker: "rig".into(),
        job,
        difficulty: Difficulty::from_log2(group.log2).expect("the model's shares are ordinary"),
        reward: Reward::Shared,
        count: 1,
        first_at_ms: group.number,
        last_at_ms: group.number,
    };
    // As a connection hands them over that gathers what comes at once: the first alone, the others together.
    let rest = ShareRun { count: u32::from(group.count).saturating_sub(1), ..share.clone() };
    let runs = [share, rest].into_iter().take(group.count.into()).collect();
    ShareGroup { session: group.session, number: group.number, segment: group.segment, runs }
}

/// Returns the target of a network of difficulty 1 or 2.
pub(crate) fn nbits(network_log2: u8) -> CompactTarget {
    CompactTarget::from_consensus(if network_log2 == 0 { 0x1d00_ffff } else { 0x1c7f_ff80 })
}

/// Each miner has another kind of address.
pub(crate) fn address(index: usize) -> Address {
    let id = u8::try_from(index + 1).expect("miners are few");
    let network = Network::Regtest;
    match index % 4 {
        0 => Address::p2pkh(PubkeyHash::from_byte_array([id; 20]), network),
        1 => Address::from_script(&ScriptBuf::new_p2wpkh(&WPubkeyHash::from_byte_array([id; 20])), network)
            .expect("a witness program has an address"),
        2 => Address::p2sh_from_hash(ScriptHash::from_byte_array([id; 20]), network),
        _ => {
            let program = WitnessProgram::new(bitcoin::WitnessVersion::V1, &[id; 32]).expect("32 bytes are right");
            Address::from_witness_program(program, network)
        }
    }
}
