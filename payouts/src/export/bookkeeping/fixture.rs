//! Books on a real database with times of their own, for the tests of what reads them.

#![allow(clippy::unwrap_used)]

use std::{cell::RefCell, collections::BTreeMap, io::Write, path::PathBuf, rc::Rc, sync::Arc};

use bitcoin::{
    Amount, CompactTarget, OutPoint, Psbt, Transaction, TxIn, TxOut, Txid, absolute::LockTime, hashes::Hash,
    transaction::Version,
};
use tempfile::TempDir;

use super::{Reports, Wanted, Written, gather};
use crate::{
    account::AccountId,
    books::{BlockCredit, BlockPhase, BlockRecord, BlockState, DirectPayments, FoundBlock},
    export::{
        self, Lot, LotCredit,
        journal::{JournalRow, Recorded},
        party::{Party, PartyId},
        register::{ExportRecord, RecordState, RegisterRow},
        rules::{
            price_files::{PriceFile, RateFile},
            prices::PriceBook,
            profile::CountryProfile,
            sale::Pick,
        },
        sales::SaleDelivering,
        screened::{self, Moment, ScreenedBatch, ScreenedOutput},
    },
    ledger::{Draft, DraftLines, EntryKind, LedgerAccount},
    payout::{
        Attempt, AttemptStage, Batch, BatchApproval, BatchEvent, BatchEventKind, BatchId, BatchState,
        ConfirmationBlock, PaidOutput, Restraint, RestraintAct, RestraintRow,
    },
    reserve::PoolMoney,
    share::ShareSeq,
    store::{
        Change, Commit, Row, Store,
        conformance::{address, block_hash},
        sqlite::SqliteStore,
    },
};

/// What a coinbase of check 1 pays, the pool's part of it, and what the miners get.
pub(crate) const COINBASE_SAT: u64 = 316_737_819;
pub(crate) const FEE_SAT: u64 = 3_167_378;
pub(crate) const CREDITS_SAT: [u64; 3] = [156_785_221, 94_071_132, 62_714_088];
/// What the transactions of the fixture pay the network, and what comes back.
const NETWORK_FEE_SAT: u64 = 1_000;
const CHANGE_SAT: u64 = 5_000;

pub(crate) fn ms(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

/// A shipped profile with its blanks filled in.
pub(crate) fn profile(name: &str) -> CountryProfile {
    let (_, text) = CountryProfile::SHIPPED.iter().find(|(shipped, _)| *shipped == name).unwrap();
    let text = text
        .replace("venue = \"\"", "venue = \"example-venue\"")
        .replace("source = \"\"", "source = \"example-bank\"")
        .replace("legal_name = \"\"", "legal_name = \"Example Pool LLC\"")
        .replace("residency = \"\"", "residency = \"KZ\"")
        .replace("eligible_venues = []", "eligible_venues = [\"example-venue\"]")
        .replace(" = \"\"", " = \"X-1\"");
    CountryProfile::parse(&text).unwrap()
}

/// A book with these prices in USD, each the close of a day in UTC, and these rates in RUB.
pub(crate) fn book(closes: &[(&str, &str)], rates: &[(&str, &str)]) -> PriceBook {
    let mut book = PriceBook::default();
    let mut prices = "venue,pair,basis,time,price\n".to_owned();
    closes.iter().for_each(|(day, price)| prices += &format!("example-venue,BTC/USD,close,{day}T23:59:59Z,{price}\n"));
    book.add_prices(&PriceFile::read(prices.as_bytes()).unwrap()).unwrap();
    if !rates.is_empty() {
        let mut text = "source,base,quote,date,rate\n".to_owned();
        rates.iter().for_each(|(day, rate)| text += &format!("example-bank,USD,RUB,{day},{rate}\n"));
        book.add_rates(&RateFile::read(text.as_bytes()).unwrap()).unwrap();
    }
    book
}

pub(crate) struct Fixture {
    pub(crate) dir: TempDir,
    pub(crate) store: Arc<SqliteStore>,
    pub(crate) miners: [AccountId; 3],
    pub(crate) parties: BTreeMap<PartyId, Party>,
}

pub(crate) async fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(&dir.path().join("adit.sqlite")).await.unwrap());
    let mut miners = [AccountId::new(0); 3];
    for (miner, id) in miners.iter_mut().zip(1..) {
        *miner = store.account(&address(id)).await.unwrap();
    }
    Fixture { dir, store, miners, parties: BTreeMap::new() }
}

/// The files of a set, by name.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

struct File(Rc<RefCell<Files>>, String);

impl Write for File {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.borrow_mut().entry(self.1.clone()).or_default().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Writes reports to memory.
pub(crate) fn written(reports: Reports) -> (Written, Files) {
    let files = Rc::new(RefCell::new(Files::new()));
    let mut open =
        |name: &str| -> std::io::Result<Box<dyn Write>> { Ok(Box::new(File(Rc::clone(&files), name.to_owned()))) };
    let written = reports.write(&mut open).unwrap();
    let files = files.borrow().clone();
    (written, files)
}

/// A column of a table.
pub(crate) fn column(files: &Files, file: &str, column: &str) -> Vec<String> {
    let mut reader = csv::Reader::from_reader(files.get(file).unwrap_or_else(|| panic!("no {file}")).as_slice());
    // The first header follows the byte order mark.
    let header = reader.headers().unwrap().clone();
    let at = header.iter().position(|name| name.trim_start_matches('\u{feff}') == column).unwrap();
    reader.records().map(|record| record.unwrap()[at].to_owned()).collect()
}

impl Fixture {
    pub(crate) async fn post(
        &self,
        at_ms: i64,
        lines: DraftLines,
        rows: impl FnOnce(&crate::ledger::Entry) -> Vec<Row>,
    ) {
        let entry = lines.balanced().unwrap().seal(self.store.head().await.unwrap(), at_ms);
        let rows = rows(&entry);
        assert_eq!(self.store.commit(Change { entry, rows }).await.unwrap(), Commit::Done);
    }

    pub(crate) async fn record(&self, at_ms: i64, event: &impl Recorded) -> JournalRow {
        let head = self.store.journal_head().await.unwrap();
        let row = JournalRow::seal(head, at_ms, self.store.head().await.unwrap(), event);
        assert_eq!(self.store.append_journal(std::slice::from_ref(&row)).await.unwrap(), Commit::Done);
        row
    }

    /// A block whose coinbase pays what that of check 1 does.
    pub(crate) fn found_block(id: u8, miners: [AccountId; 3]) -> FoundBlock {
        FoundBlock {
            hash: block_hash(id),
            height: id.into(),
            coinbase: OutPoint::new(Txid::from_byte_array([id; 32]), 0),
            value: Amount::from_sat(COINBASE_SAT),
            subsidy: Amount::from_sat(312_500_000),
            finder: miners[0],
            share_position: ShareSeq::new(0),
            nbits: CompactTarget::from_consensus(0x207f_ffff),
            found_at_ms: 1,
            direct: DirectPayments::default(),
        }
    }

    fn block(id: u8, miners: [AccountId; 3]) -> (BlockRecord, Vec<BlockCredit>) {
        let found = Self::found_block(id, miners);
        let state = BlockState { phase: BlockPhase::Immature, epoch: 0 };
        let fee = Amount::from_sat(FEE_SAT);
        let rule = Some("solo fee_bp=100".parse().unwrap());
        let credit = |(account, sat)| BlockCredit { account, amount: Amount::from_sat(sat), paid: Amount::ZERO };
        let credits = miners.into_iter().zip(CREDITS_SAT).map(credit).collect();
        (BlockRecord { found, fee, reserve: Amount::ZERO, rule, state }, credits)
    }

    fn booking(&self, kind: EntryKind, key: String, id: u8) -> DraftLines {
        let (block, credits) = Self::block(id, self.miners);
        let lines = Draft::begin(kind, key)
            .debit(LedgerAccount::Immature(block_hash(id)), block.found.value)
            .credit(LedgerAccount::FeeImmature, block.fee);
        credits
            .iter()
            .fold(lines, |lines, credit| lines.credit(LedgerAccount::MinerImmature(credit.account), credit.amount))
    }

    /// Books a block of check 1.
    pub(crate) async fn found(&self, id: u8, at_ms: i64) {
        let (block, credits) = Self::block(id, self.miners);
        let lines = self.booking(EntryKind::BlockFound, block_hash(id).to_string(), id).facts(block.facts());
        self.post(at_ms, lines, |_| vec![Row::BlockFound { block, credits, window: None }]).await;
    }

    pub(crate) async fn orphaned(&self, id: u8, at_ms: i64) {
        let hash = block_hash(id);
        let found = self.store.entry(EntryKind::BlockFound, &hash.to_string()).await.unwrap().unwrap();
        let lines = self.booking(EntryKind::Orphaned, format!("{hash}:0"), id).reversed().corrects(found.seq);
        let state = BlockState { phase: BlockPhase::Orphaned, epoch: 1 };
        self.post(at_ms, lines, |_| vec![Row::BlockMoved { hash, state }]).await;
    }

    pub(crate) async fn matured(&self, id: u8, at_ms: i64) {
        let (hash, (block, credits)) = (block_hash(id), Self::block(id, self.miners));
        let lines = Draft::begin(EntryKind::Matured, format!("{hash}:0"))
            .debit(LedgerAccount::Spendable, block.found.value)
            .credit(LedgerAccount::Immature(hash), block.found.value)
            .debit(LedgerAccount::FeeImmature, block.fee)
            .credit(LedgerAccount::Fee, block.fee);
        let lines = credits.iter().fold(lines, |lines, credit| {
            lines
                .debit(LedgerAccount::MinerImmature(credit.account), credit.amount)
                .credit(LedgerAccount::MinerPayable(credit.account), credit.amount)
        });
        let state = BlockState { phase: BlockPhase::Matured, epoch: 0 };
        self.post(at_ms, lines, |_| vec![Row::BlockMoved { hash, state }]).await;
    }

    /// Books a block that is the pool's own whole, found and mature at one time.
    pub(crate) async fn earned(&self, id: u8, sat: u64, at_ms: i64) {
        let (hash, value) = (block_hash(id), Amount::from_sat(sat));
        let found = FoundBlock { value, subsidy: value, ..Self::found_block(id, self.miners) };
        let state = BlockState { phase: BlockPhase::Immature, epoch: 0 };
        let rule = Some("solo fee_bp=10000".parse().unwrap());
        let block = BlockRecord { found, fee: value, reserve: Amount::ZERO, rule, state };
        let lines = Draft::begin(EntryKind::BlockFound, hash)
            .debit(LedgerAccount::Immature(hash), value)
            .credit(LedgerAccount::FeeImmature, value)
            .facts(block.facts());
        self.post(at_ms, lines, |_| vec![Row::BlockFound { block, credits: Vec::new(), window: None }]).await;
        let lines = Draft::begin(EntryKind::Matured, format!("{hash}:0"))
            .debit(LedgerAccount::Spendable, value)
            .credit(LedgerAccount::Immature(hash), value)
            .debit(LedgerAccount::FeeImmature, value)
            .credit(LedgerAccount::Fee, value);
        let state = BlockState { phase: BlockPhase::Matured, epoch: 0 };
        self.post(at_ms, lines, |_| vec![Row::BlockMoved { hash, state }]).await;
    }

    /// Books that a block of [`Fixture::earned`] left the chain, or that it came back, mature or not at once.
    pub(crate) async fn earned_moved(&self, id: u8, sat: u64, is_back: bool, at_ms: i64) {
        let (hash, value) = (block_hash(id), Amount::from_sat(sat));
        let maturing = |kind, epoch| {
            Draft::begin(kind, format!("{hash}:{epoch}"))
                .debit(LedgerAccount::Spendable, value)
                .credit(LedgerAccount::Immature(hash), value)
                .debit(LedgerAccount::FeeImmature, value)
                .credit(LedgerAccount::Fee, value)
        };
        let booking = |kind, epoch| {
            Draft::begin(kind, format!("{hash}:{epoch}"))
                .debit(LedgerAccount::Immature(hash), value)
                .credit(LedgerAccount::FeeImmature, value)
        };
        let corrected = async |kind, key: String| self.store.entry(kind, &key).await.unwrap().unwrap().seq;
        let steps = match is_back {
            false => {
                let matured = corrected(EntryKind::Matured, format!("{hash}:0")).await;
                let found = corrected(EntryKind::BlockFound, hash.to_string()).await;
                [
                    (maturing(EntryKind::Unmatured, 0).reversed().corrects(matured), BlockPhase::Immature, 1),
                    (booking(EntryKind::Orphaned, 1).reversed().corrects(found), BlockPhase::Orphaned, 2),
                ]
            }
            true => [
                (booking(EntryKind::Reconnected, 2), BlockPhase::Immature, 2),
                (maturing(EntryKind::Matured, 2), BlockPhase::Matured, 2),
            ],
        };
        for (lines, phase, epoch) in steps {
            self.post(at_ms, lines, |_| vec![Row::BlockMoved { hash, state: BlockState { phase, epoch } }]).await;
        }
    }

    /// Moves what a miner is due aside, or back.
    pub(crate) async fn restrain(&self, miner: usize, restraint: Restraint, act: RestraintAct, at_ms: i64) {
        let account = self.miners[miner];
        let last = self.store.restraint(account, restraint).await.unwrap();
        let number = last.map_or(0, |last| last.number) + 1;
        let (payable, kept) = (LedgerAccount::MinerPayable(account), restraint.ledger_account(account));
        let (from, to) = if act == RestraintAct::Ended { (kept, payable) } else { (payable, kept) };
        let balance = self.store.balance(from).await.unwrap();
        let key = crate::payout::restraint::move_key(account, number);
        let lines = crate::payout::restraint::moving(restraint.entry_kind(act), key, from, to, balance);
        let reason = format!("{} for a test", act.as_str());
        let row = |entry| RestraintRow { entry, account, restraint, number, act, reason, at_ms };
        self.post(at_ms, lines, |entry| vec![Row::Restrained(row(entry.seq))]).await;
    }

    /// Makes up a payout: for each miner what is taken, and how much of that goes to the network.
    pub(crate) async fn created(&self, id: i64, takes: &[(usize, u64, u64)], at_ms: i64) -> Batch {
        let mut outputs = Vec::new();
        for (vout, &(miner, sat, fee_sat)) in (0..).zip(takes) {
            let account = self.miners[miner];
            let due = self.store.due_of(account).await.unwrap().unwrap();
            let due = crate::payout::Due { amount: Amount::from_sat(sat), ..due };
            let lots = export::allocate(self.store.unpaid_lots(account).await.unwrap(), due.amount).unwrap();
            outputs.push(PaidOutput { vout, due, fee: Amount::from_sat(fee_sat), lots });
        }
        self.made(id, outputs, None, at_ms).await
    }

    /// Makes up the payout that delivers a sale out of the oldest coins of the pool's own.
    pub(crate) async fn selling(&self, id: i64, sale: &str, desk: AccountId, sat: u64, at_ms: i64) -> Batch {
        let amount = Amount::from_sat(sat);
        let due = crate::payout::Due { amount, ..self.store.due_of(desk).await.unwrap().unwrap() };
        let coins = self.store.pool_coins(PoolMoney::Fee).await.unwrap();
        let coins = coins.into_iter().map(|coin| Lot { credit: LotCredit::Fee, ..coin });
        let lots = export::allocate(coins, amount).unwrap();
        let picks = lots.iter().map(|lot| Pick { lot: lot.coinbase.to_string(), amount: lot.amount }).collect();
        let outputs = vec![PaidOutput { vout: 0, due, fee: Amount::ZERO, lots }];
        let batch = self.made(id, outputs, Some(sale), at_ms).await;
        let (sale, by) = (sale.parse().unwrap(), "alice".to_owned());
        self.record(at_ms, &SaleDelivering { sale, batch: batch.id, lots: picks, by }).await;
        self.screened(id, desk, at_ms).await;
        batch
    }

    /// Puts on record that a payout to an account was screened.
    pub(crate) async fn screened(&self, batch: i64, account: AccountId, at_ms: i64) {
        let lists = serde_json::from_value("ab".repeat(32).into()).unwrap();
        let basis = screened::Basis { lists, algorithm: "1".to_owned(), software: "adit 0.1.0".to_owned() };
        let output = ScreenedOutput { vout: 0, account, script_pubkey: "00".to_owned(), outcome: "CLEAR".to_owned() };
        let batch = ScreenedBatch { moment: Moment::Batch, batch: BatchId::new(batch), outputs: vec![output], basis };
        self.record(at_ms, &batch).await;
    }

    async fn made(&self, id: i64, outputs: Vec<PaidOutput>, sale: Option<&str>, at_ms: i64) -> Batch {
        let pays = outputs
            .iter()
            .map(|output| TxOut { value: output.pays(), script_pubkey: output.due.script_pubkey.clone() });
        let change = TxOut { value: Amount::from_sat(CHANGE_SAT), script_pubkey: address(99).script_pubkey() };
        let output: Vec<_> = pays.chain([change]).collect();
        let spent = output.iter().map(|output| output.value).sum::<Amount>() + Amount::from_sat(NETWORK_FEE_SAT);
        let coin = OutPoint::new(Txid::from_byte_array([200; 32]), u32::try_from(id).unwrap());
        let input = vec![TxIn { previous_output: coin, ..TxIn::default() }];
        let transaction = Transaction { version: Version::TWO, lock_time: LockTime::ZERO, input, output };
        let mut psbt = Psbt::from_unsigned_tx(transaction.clone()).unwrap();
        psbt.inputs[0].witness_utxo = Some(TxOut { value: spent, script_pubkey: address(98).script_pubkey() });
        let attempt = Attempt {
            number: 0,
            txid: transaction.compute_txid(),
            psbt: psbt.serialize(),
            network_fee: Amount::from_sat(NETWORK_FEE_SAT),
            stage: AttemptStage::Created,
            created_at_ms: at_ms,
        };
        let batch = Batch {
            id: BatchId::new(id),
            outputs,
            attempts: vec![attempt],
            approval: BatchApproval::NotNeeded,
            state: BatchState::Open,
            epoch: 0,
            created_at_ms: at_ms,
        };
        let lines = batch.outputs.iter().fold(Draft::begin(EntryKind::PayoutCreated, id), |lines, output| {
            let from = match output.is_sold() {
                true => LedgerAccount::Fee,
                false => LedgerAccount::MinerPayable(output.due.account),
            };
            lines.debit(from, output.due.amount)
        });
        let lines = match sale {
            Some(sale) => lines.facts(format_args!("sale {sale}")),
            None => lines,
        };
        let lines = lines
            .credit(LedgerAccount::Reserved(batch.id), batch.paid())
            .credit(LedgerAccount::NetworkFee, batch.fee_of_accounts());
        let row = Row::BatchCreated { batch: batch.clone(), wallet_change: "{}".to_owned() };
        self.post(at_ms, lines, |_| vec![row]).await;
        batch
    }

    /// Gives a payout up that was not signed.
    pub(crate) async fn cancelled(&self, batch: &Batch, at_ms: i64) {
        let created = self.store.entry(EntryKind::PayoutCreated, &batch.id.to_string()).await.unwrap().unwrap();
        let lines = Draft::begin(EntryKind::Reversed, format!("{}:cancelled", batch.id))
            .corrects(created.seq)
            .debit(LedgerAccount::Reserved(batch.id), batch.paid())
            .debit(LedgerAccount::NetworkFee, batch.fee_of_accounts());
        let lines = batch.outputs.iter().fold(lines, |lines, output| {
            lines.credit(LedgerAccount::MinerPayable(output.due.account), output.due.amount)
        });
        let event = BatchEvent { kind: BatchEventKind::Cancelled, at_ms, note: "for a test".to_owned() };
        let (state, wallet_change) = (BatchState::Cancelled, "{}".to_owned());
        self.post(at_ms, lines, |_| vec![Row::BatchEnded { batch: batch.id, state, event, wallet_change }]).await;
    }

    /// Signs a payout and gives it to the node.
    pub(crate) async fn sent(&self, batch: &Batch, at_ms: i64) {
        let transaction = Psbt::deserialize(&batch.newest().psbt).unwrap().unsigned_tx;
        self.store.store_signed(batch.id, 0, &transaction).await.unwrap();
        let leaving = batch.leaving(batch.newest());
        let lines = Draft::begin(EntryKind::Broadcast, batch.txid())
            .debit(LedgerAccount::InFlight(batch.id), leaving)
            .credit(LedgerAccount::Spendable, leaving);
        self.post(at_ms, lines, |_| vec![Row::BatchBroadcast { batch: batch.id, attempt: 0 }]).await;
    }

    fn settling(batch: &Batch, lines: DraftLines) -> DraftLines {
        lines
            .debit(LedgerAccount::Reserved(batch.id), batch.paid())
            .debit(LedgerAccount::NetworkFee, batch.network_fee())
            .credit(LedgerAccount::InFlight(batch.id), batch.leaving(batch.newest()))
    }

    async fn rows(
        &self,
        batch: &Batch,
        state: RecordState,
        block: ConfirmationBlock,
        entry: &crate::ledger::Entry,
    ) -> Vec<Row> {
        let mut head = self.store.register_head().await.unwrap();
        let row = |output: &PaidOutput| {
            let record = ExportRecord {
                delivery: OutPoint::new(batch.txid(), output.vout),
                amount: output.pays(),
                account: output.due.account,
                address: output.due.address.clone(),
                script_pubkey: output.due.script_pubkey.clone(),
                lots: output.delivered_lots(),
            };
            let row = RegisterRow::seal(head, record, state, block, entry);
            head = row.head();
            Row::Registered(row)
        };
        batch.outputs.iter().map(row).collect()
    }

    /// Books that a payout is in a block, for the `epoch`-th time after the first.
    pub(crate) async fn confirmed(&self, batch: &Batch, block: u8, epoch: u32, at_ms: i64) {
        let block = ConfirmationBlock { hash: block_hash(block), height: block.into(), time: at_ms / 1_000 };
        let key = format!("{}:{}:{epoch}", batch.txid(), block.hash);
        let lines = Self::settling(batch, Draft::begin(EntryKind::Confirmed, key));
        let entry = lines.balanced().unwrap().seal(self.store.head().await.unwrap(), at_ms);
        let mut rows = self.rows(batch, RecordState::Delivered, block, &entry).await;
        rows.insert(0, Row::BatchConfirmed { batch: batch.id, attempt: 0, block });
        assert_eq!(self.store.commit(Change { entry, rows }).await.unwrap(), Commit::Done);
    }

    /// Books that the block of a payout's first confirmation left the chain.
    pub(crate) async fn reversed(&self, batch: &Batch, block: u8, at_ms: i64) {
        let block = ConfirmationBlock { hash: block_hash(block), height: block.into(), time: at_ms / 1_000 };
        let key = format!("{}:{}:0", batch.txid(), block.hash);
        let confirmed = self.store.entry(EntryKind::Confirmed, &key).await.unwrap().unwrap().seq;
        let key = format!("{}:reorganised:{}:0", batch.id, block.hash);
        let lines = Self::settling(batch, Draft::begin(EntryKind::Reversed, key)).reversed().corrects(confirmed);
        let entry = lines.balanced().unwrap().seal(self.store.head().await.unwrap(), at_ms);
        let mut rows = self.rows(batch, RecordState::Reversed, block, &entry).await;
        rows.insert(0, Row::BatchReversed { batch: batch.id, epoch: 1 });
        assert_eq!(self.store.commit(Change { entry, rows }).await.unwrap(), Commit::Done);
    }

    /// Gathers the reports of a period as of now.
    pub(crate) async fn reports(&self, profile: &CountryProfile, period: &str) -> Reports {
        gather(&*self.store, &self.wanted(profile, period)).await.unwrap()
    }

    pub(crate) fn wanted<'a>(&'a self, profile: &'a CountryProfile, period: &str) -> Wanted<'a> {
        Wanted {
            profile,
            period: period.parse().unwrap(),
            software_version: "adit 0.1.0",
            generated_at_ms: ms("2026-12-24T00:00:00Z"),
            parties: &self.parties,
            as_of: None,
        }
    }

    /// Copies the database, changes the copy behind the store's back, and opens it.
    pub(crate) async fn tampered(&self, number: usize, statement: &'static str) -> SqliteStore {
        use sqlx::Connection as _;
        let file: PathBuf = self.dir.path().join(format!("copy{number}.sqlite"));
        self.store.backup(&file).await.unwrap();
        let mut connection = sqlx::SqliteConnection::connect(file.to_str().unwrap()).await.unwrap();
        let changed = sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
        assert!(changed.rows_affected() > 0, "{statement}");
        connection.close().await.unwrap();
        SqliteStore::open_read_only(&file).await.unwrap()
    }

    /// Books check 5: a block found late in January by UTC, of which two miners are paid and one is blocked.
    pub(crate) async fn eventful(&self) -> Batch {
        self.found(1, ms("2026-01-31T21:30:00Z")).await;
        self.matured(1, ms("2026-02-05T00:00:00Z")).await;
        self.restrain(2, Restraint::Blocked, RestraintAct::Begun, ms("2026-02-06T10:00:00Z")).await;
        let batch = self.created(1, &[(0, CREDITS_SAT[0], 0), (1, 93_214_779, 0)], ms("2026-02-07T00:00:00Z")).await;
        self.sent(&batch, ms("2026-02-07T00:00:01Z")).await;
        self.confirmed(&batch, 50, 0, ms("2026-02-07T01:00:00Z")).await;
        batch
    }
}
