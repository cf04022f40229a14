//! What an operator asks for, on a real node: each crash in between, each reorganisation, and money that is taken away.

use bitcoin::{Psbt, TxOut};

use super::*;
use crate::{
    export::register::RecordState,
    payout::{
        Approval, AttemptStage, BatchApproval, BatchEventKind, BatchState, FeePayer, Outcome, Restraint, Schedule,
        WaitsFor,
    },
    wallet::WatchOnly,
};

impl Pool {
    fn key(&self) -> WalletKey {
        WalletKey::read(&self.dir.path().join("wallet.key"), Network::Regtest).unwrap()
    }

    /// Starts a payer whose key is elsewhere.
    async fn watching_payer(&self) -> Payer {
        let public = self.key().watch_only().unwrap();
        let public = WatchOnly::new(&public.external(), &public.internal(), Network::Regtest).unwrap();
        let wallet = Wallet::open(self.store.clone(), public, self.rpc.clone()).await.unwrap();
        Payer::new(self.store.clone(), wallet, self.rpc.clone(), policy(), Screening::by_nobody())
    }

    async fn batch(&self, id: i64) -> Batch {
        self.store.batch(BatchId::new(id)).await.unwrap().unwrap()
    }

    /// All balances that are not zero.
    async fn balances(&self) -> BTreeMap<LedgerAccount, i64> {
        let balances = self.store.balances().await.unwrap().into_iter();
        balances.map(|(account, amount)| (account, amount.to_sat())).filter(|(_, sat)| *sat != 0).collect()
    }

    /// Mines a block with these transactions, whatever the mempool thinks of them.
    fn mine_with(&self, transactions: &[&Transaction]) -> BlockHash {
        let transactions: Vec<_> = transactions.iter().map(|transaction| serialize_hex(*transaction)).collect();
        let address = miner_address(99).to_string();
        let answer: serde_json::Value = self.rpc.call("generateblock", &[address.into(), transactions.into()]).unwrap();
        answer["hash"].as_str().unwrap().parse().unwrap()
    }

    /// Makes the transaction of somebody who has the pool's key and pays himself with a batch's coins.
    fn theft(&self, payer: &Payer, batch: &Batch) -> Transaction {
        let mut psbt = batch.newest().unsigned().unwrap();
        let value = psbt.inputs.iter().map(|input| input.witness_utxo.as_ref().unwrap().value).sum::<Amount>();
        let value = value - Amount::from_sat(10_000);
        psbt.unsigned_tx.output = vec![TxOut { value, script_pubkey: miner_address(98).script_pubkey() }];
        psbt.outputs.truncate(1);
        let signed = Psbt::deserialize(&self.key().sign(&psbt.serialize()).unwrap()).unwrap();
        payer.wallet.finish(signed).unwrap().unwrap()
    }

    async fn assert_books_are_right(&self, payer: &Payer) {
        audit::verify_books(&*self.store).await.unwrap();
        self.assert_coins_are_there(payer).await;
    }
}

fn refusal<T: std::fmt::Debug>(result: Result<T, PayoutError>) -> Refusal {
    match result {
        Err(PayoutError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

const RATE: FeeRate = FeeRate::from_sat_per_vb_u32(9);

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_needs_approval_is_signed_only_once_it_is_given() {
    let pool = pool(&[1, 1]).await;
    let limit = Approval::Above(Amount::from_sat(4_900_000_000));
    let mut payer = pool.payer_with(PayoutPolicy { approval: limit, ..policy() }).await;
    pool.earn(&payer, 1).await;
    payer.step().await.unwrap();
    assert_eq!(pool.batch(1).await.approval, BatchApproval::NotNeeded, "it is not above the limit");
    let refused = refusal(payer.approve(BatchId::new(1), "alice").await);
    assert_eq!(refused, Refusal::NoApprovalNeeded(BatchId::new(1)));
    pool.earn(&payer, 2).await;
    let id = BatchId::new(2);
    let events = payer.step().await.unwrap();
    assert_eq!((count(&events, "created"), count(&events, "approval"), count(&events, "broadcast")), (1, 1, 0));
    payer.step().await.unwrap();
    assert_eq!(pool.batch(2).await.newest().stage, AttemptStage::Created);
    assert_eq!(refusal(payer.export_psbt(id).await), Refusal::NotApproved(id));
    assert_eq!(payer.status().await.unwrap().open[0].waits_for, WaitsFor::Approval);

    assert_eq!(payer.approve(id, "alice").await.unwrap(), Outcome::Done);
    // A crash right after it: the approval holds, also under another policy.
    let mut payer = pool.payer_with(PayoutPolicy { approval: Approval::Always, ..policy() }).await;
    assert_eq!(payer.approve(id, "bob").await.unwrap(), Outcome::Already);
    assert_eq!(count(&payer.step().await.unwrap(), "broadcast"), 1);
    let events = pool.store.batch_events(id).await.unwrap();
    assert!(matches!(&events[..], [event] if event.kind == BatchEventKind::Approved && event.note == "alice"));
    pool.node.mine(1).unwrap();
    assert_eq!(count(&payer.step().await.unwrap(), "confirmed"), 1);
    pool.assert_books_are_right(&payer).await;
    assert_eq!(refusal(payer.approve(id, " ").await), Refusal::Words { max: 500 });
    assert_eq!(refusal(payer.approve(BatchId::new(9), "bob").await), Refusal::UnknownBatch(BatchId::new(9)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_batch_gives_back_balances_lots_and_coins() {
    let pool = pool(&[2, 1]).await;
    let always = PayoutPolicy { approval: Approval::Always, schedule: Schedule::Manual, ..policy() };
    let mut payer = pool.payer_with(always.clone()).await;
    pool.earn(&payer, 1).await;
    let (balances, due) = (pool.balances().await, pool.store.due(Amount::ONE_SAT).await.unwrap());
    let id = BatchId::new(1);
    payer.run(Selection::Due).await.unwrap();
    assert_eq!(pool.store.due(Amount::ONE_SAT).await.unwrap(), []);
    pool.assert_books_are_right(&payer).await;
    assert_eq!(payer.cancel(id, "wrong rate", false).await.unwrap(), Outcome::Done);
    assert_eq!(payer.cancel(id, "wrong rate", false).await.unwrap(), Outcome::Already);
    // A crash right after it.
    let mut payer = pool.payer_with(always).await;
    assert_eq!(payer.cancel(id, "twice", false).await.unwrap(), Outcome::Already);
    assert_eq!((pool.balances().await, pool.store.due(Amount::ONE_SAT).await.unwrap()), (balances, due));
    assert_eq!(pool.store.unpaid_lots(pool.miners[0]).await.unwrap().len(), 1);
    assert_eq!(payer.step().await.unwrap(), [], "it is never taken up again");
    assert_eq!(refusal(payer.approve(id, "alice").await), Refusal::Ended(id, "cancelled"));
    pool.assert_books_are_right(&payer).await;

    // The one coin there is can be spent by the next batch.
    payer.run(Selection::Due).await.unwrap();
    let second = BatchId::new(2);
    assert_eq!(pool.batch(2).await.inputs(), pool.batch(1).await.inputs());
    payer.approve(second, "alice").await.unwrap();
    payer.step().await.unwrap();
    assert_eq!(refusal(payer.cancel(second, "too late", true).await), Refusal::Signed(second));
    pool.node.mine(1).unwrap();
    payer.step().await.unwrap();
    assert_eq!(refusal(payer.cancel(second, "too late", true).await), Refusal::Ended(second, "confirmed"));
    assert_eq!(audit::verify(&*pool.store).await.unwrap().delivered.to_sat(), 4_900_000_000);
    pool.assert_books_are_right(&payer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_cancelled_while_its_block_is_out_of_the_chain_leaves_no_debt() {
    let pool = pool(&[2, 1]).await;
    let policy = PayoutPolicy { approval: Approval::Always, schedule: Schedule::Manual, ..policy() };
    let mut payer = pool.payer_with(policy).await;
    let base = pool.node.height().unwrap();
    pool.earn(&payer, 1).await;
    let before = pool.balances().await;
    payer.run(Selection::Due).await.unwrap();
    let depth = pool.node.height().unwrap() - base;
    let reorganised = pool.node.reorganise(depth, depth + 1).unwrap();
    pool.settle().await;
    payer.step().await.unwrap();
    assert_eq!(pool.balance(LedgerAccount::MinerDebt(pool.miners[1])).await, 1_633_333_333);
    payer.cancel(BatchId::new(1), "its block is gone", false).await.unwrap();
    assert!(pool.balances().await.is_empty(), "{:?}", pool.balances().await);
    audit::verify_books(&*pool.store).await.unwrap();

    pool.node.invalidate(reorganised.mined[0]).unwrap();
    pool.node.mine(5).unwrap();
    payer.step().await.unwrap();
    pool.settle().await;
    assert_eq!(pool.balances().await, before);
    pool.assert_books_are_right(&payer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_account_is_not_paid_and_loses_nothing() {
    let pool = pool(&[1, 3]).await;
    let [one, other] = pool.miners[..] else { panic!() };
    let mut payer = pool.payer().await;
    pool.earn(&payer, 1).await;
    assert_eq!(payer.restrain(one, Restraint::Held, "lost key").await.unwrap(), Outcome::Done);
    assert_eq!(payer.restrain(one, Restraint::Held, "again").await.unwrap(), Outcome::Already);
    // A crash right after it.
    let mut payer = pool.payer().await;
    payer.step().await.unwrap();
    let paid: Vec<_> = pool.batch(1).await.outputs.iter().map(|output| output.due.account).collect();
    assert_eq!((paid, pool.balance(LedgerAccount::Held(one)).await), (vec![other], -1_225_000_000));
    pool.node.mine(1).unwrap();

    // What falls due meanwhile is kept back too; a block goes before a hold.
    pool.earn(&payer, 1).await;
    assert_eq!(pool.balance(LedgerAccount::MinerPayable(one)).await, -1_225_000_000);
    let refused = refusal(payer.run(Selection::Account(one)).await);
    assert_eq!(refused, Refusal::Restrained(one, "held"));
    assert_eq!(pool.balance(LedgerAccount::Held(one)).await, -2_450_000_000);
    payer.restrain(one, Restraint::Blocked, "listed").await.unwrap();
    assert_eq!(payer.lift(one, Restraint::Held, "found").await.unwrap(), Outcome::Done);
    assert_eq!(payer.lift(one, Restraint::Held, "found").await.unwrap(), Outcome::Already);
    assert_eq!(count(&payer.step().await.unwrap(), "swept"), 1);
    assert_eq!(pool.balance(LedgerAccount::Blocked(one)).await, -2_450_000_000);
    assert_eq!(payer.status().await.unwrap().totals.blocked_sat, 2_450_000_000);
    audit::verify_books(&*pool.store).await.unwrap();

    payer.lift(one, Restraint::Blocked, "cleared").await.unwrap();
    let mut payer = pool.payer().await;
    for _ in 0..3 {
        payer.step().await.unwrap();
        pool.node.mine(1).unwrap();
    }
    payer.step().await.unwrap();
    assert!(pool.store.due(Amount::ONE_SAT).await.unwrap().is_empty());
    assert_eq!(audit::verify(&*pool.store).await.unwrap().delivered.to_sat(), 9_800_000_000);
    pool.assert_books_are_right(&payer).await;
    let unknown = AccountId::new(77);
    let refused = refusal(payer.restrain(unknown, Restraint::Held, "who").await);
    assert_eq!(refused, Refusal::UnknownAccount(unknown));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_held_of_a_block_that_leaves_the_chain_is_taken_off_again() {
    let pool = pool(&[1]).await;
    let mut payer = pool.payer().await;
    let base = pool.node.height().unwrap();
    pool.earn(&payer, 1).await;
    payer.restrain(pool.miners[0], Restraint::Held, "lost key").await.unwrap();
    payer.step().await.unwrap();
    let depth = pool.node.height().unwrap() - base;
    pool.node.reorganise(depth, depth + 1).unwrap();
    pool.settle().await;
    payer.step().await.unwrap();
    assert!(pool.balances().await.is_empty(), "{:?}", pool.balances().await);
    pool.assert_books_are_right(&payer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn miners_pay_the_fee_by_the_weight_of_their_outputs() {
    let pool = pool(&[1, 1]).await;
    let heavy = Address::p2tr_tweaked(
        bitcoin::key::TweakedPublicKey::dangerous_assume_tweaked(
            pool.key().xpriv().private_key.x_only_public_key(&bitcoin::secp256k1::Secp256k1::new()).0,
        ),
        Network::Regtest,
    );
    let heavy = pool.store.account(&heavy).await.unwrap();
    append(&*pool.store, &[share(heavy, 500), share(heavy, 501)]).await;
    // Next to a share of regtest's difficulty, this one earns less than its part of the fee and the dust limit.
    let tiny = pool.store.account(&miner_address(7)).await.unwrap();
    let mut small = share(tiny, 9_000);
    small.job = job_at(1, 0x1d00_ffff);
    small.difficulty = Difficulty::from_log2(7).unwrap();
    append(&*pool.store, &[small]).await;
    let threshold = Amount::ONE_SAT;
    let miners_pay = PayoutPolicy { fee_payer: FeePayer::Miners, threshold, ..policy() };
    let mut payer = pool.payer_with(miners_pay).await;
    pool.earn(&payer, 1).await;
    let least = miner_address(7).script_pubkey().minimal_non_dust().to_sat() as i64;
    let tiny_due = -pool.balance(LedgerAccount::MinerPayable(tiny)).await;
    assert!((least..least + 100).contains(&tiny_due), "{tiny_due}");
    payer.step().await.unwrap();

    let batch = pool.batch(1).await;
    assert_eq!(batch.outputs.len(), 3, "{batch:?}");
    assert_eq!(pool.balance(LedgerAccount::MinerPayable(tiny)).await, -tiny_due, "it waits");
    let sent = pool.in_mempool();
    for output in &batch.outputs {
        assert_eq!(sent.output[output.vout as usize].value, output.due.amount - output.fee);
        assert_eq!(output.delivered_lots().iter().map(|lot| lot.amount).sum::<Amount>(), output.pays());
        // 34 virtual bytes to a key's hash, 43 to a taproot key.
        let bytes = if output.due.account == heavy { 43 } else { 34 };
        let part = batch.fee_of_accounts().to_sat() * bytes / 111;
        assert!(output.fee.to_sat().abs_diff(part) <= 1, "{output:?}");
    }
    assert_eq!(batch.fee_of_accounts(), batch.network_fee());
    let price = FEE_RATE.fee_wu(sent.weight()).unwrap().to_sat();
    assert!(batch.network_fee().to_sat().abs_diff(price) <= 10, "{} is not {price}", batch.network_fee());
    pool.assert_books_are_right(&payer).await;

    pool.node.mine(1).unwrap();
    payer.step().await.unwrap();
    assert_eq!(pool.balance(LedgerAccount::NetworkFee).await, 0);
    let delivered = audit::verify_books(&*pool.store).await.unwrap().delivered;
    assert_eq!(delivered.to_sat(), batch.paid().to_sat() as i64);
    pool.assert_coins_are_there(&payer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_pays_the_same_and_confirms_instead() {
    for crash in ["no", "stored", "signed", "sent"] {
        let pool = pool(&[2, 1]).await;
        let mut payer = pool.payer().await;
        pool.earn(&payer, 2).await;
        payer.step().await.unwrap();
        let id = BatchId::new(1);
        let first = pool.in_mempool();
        let too_little = refusal(payer.bump(id, FeeRate::from_sat_per_kwu(751)).await);
        assert!(matches!(too_little, Refusal::FeeTooLow { .. }), "{too_little}");
        let too_much = refusal(payer.bump(id, FeeRate::from_sat_per_vb_u32(201)).await);
        assert!(matches!(too_much, Refusal::FeeRateTooHigh { .. }), "{too_much}");
        let replacement = payer.bump(id, RATE).await.unwrap();
        assert_eq!(replacement.attempt, 1);
        if crash == "signed" || crash == "sent" {
            let signed = payer.sign(pool.batch(1).await).await.unwrap();
            if crash == "sent" {
                pool.rpc.send_raw_transaction(signed.newest().transaction().unwrap()).unwrap();
            }
        }
        if crash != "no" {
            payer = pool.payer().await;
        }
        payer.step().await.unwrap();
        let second = pool.in_mempool();
        assert_eq!((second.compute_txid(), crash), (replacement.txid, crash));
        assert_eq!(second.output[..2], first.output[..2]);
        assert!(
            first.input.iter().all(|input| second.input.iter().any(|o| o.previous_output == input.previous_output))
        );
        let price = RATE.fee_wu(second.weight()).unwrap();
        assert!(replacement.network_fee.to_sat().abs_diff(price.to_sat()) <= 20, "{}", replacement.network_fee);
        let batch = pool.batch(1).await;
        assert_eq!(pool.balance(LedgerAccount::InFlight(id)).await, batch.leaving(batch.newest()).to_sat() as i64);
        pool.assert_books_are_right(&payer).await;

        pool.node.mine(1).unwrap();
        let events = payer.step().await.unwrap();
        assert!(
            matches!(events[..], [PayoutEvent::Confirmed { txid, .. }] if txid == replacement.txid),
            "{crash}: {events:?}"
        );
        assert_eq!(pool.balance(LedgerAccount::NetworkFee).await, replacement.network_fee.to_sat() as i64);
        assert_eq!(pool.balance(LedgerAccount::InFlight(id)).await, 0);
        assert_eq!(refusal(payer.bump(id, FeeRate::from_sat_per_vb_u32(20)).await), Refusal::Ended(id, "confirmed"));
        assert_eq!(audit::verify(&*pool.store).await.unwrap().delivered.to_sat(), 9_800_000_000);
        pool.assert_books_are_right(&payer).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_original_confirms_instead_of_the_replacement_and_a_reorganisation_swaps_them() {
    let pool = pool(&[2, 1]).await;
    let mut payer = pool.payer().await;
    pool.earn(&payer, 1).await;
    pool.node.mine(5).unwrap();
    payer.step().await.unwrap();
    let first = pool.in_mempool();
    let replacement = payer.bump(BatchId::new(1), RATE).await.unwrap();
    payer.step().await.unwrap();
    let second = pool.in_mempool();
    assert_eq!(second.compute_txid(), replacement.txid);

    let block = pool.mine_with(&[&first]);
    let events = payer.step().await.unwrap();
    assert!(matches!(events[..], [PayoutEvent::Confirmed { txid, .. }] if txid == first.compute_txid()), "{events:?}");
    let batch = pool.batch(1).await;
    assert_eq!(batch.txid(), first.compute_txid());
    assert_eq!(pool.balance(LedgerAccount::NetworkFee).await, batch.network_fee().to_sat() as i64);
    assert_eq!(pool.balance(LedgerAccount::InFlight(batch.id)).await, 0);
    pool.assert_books_are_right(&payer).await;

    pool.node.invalidate(block).unwrap();
    pool.mine_with(&[&second]);
    pool.node.mine_empty(1).unwrap();
    let events = payer.step().await.unwrap();
    assert_eq!((count(&events, "reversed"), count(&events, "confirmed"), events.len()), (1, 1, 2), "{events:?}");
    assert_eq!(pool.batch(1).await.txid(), second.compute_txid());
    assert_eq!(pool.balance(LedgerAccount::NetworkFee).await, replacement.network_fee.to_sat() as i64);
    let states: Vec<_> = pool.rows().await.iter().map(|row| row.state).collect();
    let (delivered, reversed) = (RecordState::Delivered, RecordState::Reversed);
    assert_eq!(states, [delivered, delivered, reversed, reversed, delivered, delivered]);
    assert_eq!(audit::verify(&*pool.store).await.unwrap().delivered.to_sat(), 4_900_000_000);
    pool.assert_books_are_right(&payer).await;

    // Thrown out once more, its latest transaction is replaced again: the wallet still takes the coins for spent by it.
    let tip = pool.node.block_hash(pool.node.height().unwrap() - 1).unwrap();
    pool.node.invalidate(tip).unwrap();
    pool.node.mine_empty(3).unwrap();
    payer.step().await.unwrap();
    let third = payer.bump(BatchId::new(1), FeeRate::from_sat_per_vb_u32(20)).await.unwrap();
    payer.step().await.unwrap();
    assert_eq!(pool.in_mempool().compute_txid(), third.txid);
    pool.node.mine(1).unwrap();
    payer.step().await.unwrap();
    assert_eq!((pool.batch(1).await.txid(), third.attempt), (third.txid, 2));
    pool.assert_books_are_right(&payer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_whose_coins_were_taken_is_given_up_once_that_is_certain() {
    let pool = pool(&[2, 1]).await;
    let mut payer = pool.payer().await;
    pool.earn(&payer, 1).await;
    payer.step().await.unwrap();
    let (id, batch) = (BatchId::new(1), pool.batch(1).await);
    let theft = pool.theft(&payer, &batch);
    pool.mine_with(&[&theft]);
    let events = payer.step().await.unwrap();
    let by = theft.compute_txid();
    assert_eq!(events, [PayoutEvent::Conflicted { batch: id, by, depth: 1 }]);
    assert_eq!(payer.status().await.unwrap().open[0].waits_for, WaitsFor::Conflict { by, depth: 1 });
    assert_eq!(refusal(payer.bump(id, RATE).await), Refusal::Conflicted(id, by));
    pool.node.mine(98).unwrap();
    let events = payer.step().await.unwrap();
    assert_eq!(events, [PayoutEvent::Conflicted { batch: id, by, depth: 99 }]);
    assert_eq!(pool.balance(LedgerAccount::Reserved(id)).await, -4_900_000_000);

    pool.node.mine(1).unwrap();
    let loss = Amount::from_sat(BLOCK_SAT);
    let events = payer.step().await.unwrap();
    assert_eq!(events[0], PayoutEvent::Replaced { batch: id, by, loss });
    assert_eq!(pool.batch(1).await.state, BatchState::Replaced(by));
    assert_eq!(pool.balance(LedgerAccount::Reserved(id)).await, 0);
    assert_eq!(pool.balance(LedgerAccount::InFlight(id)).await, 0);
    assert_eq!(pool.balance(LedgerAccount::Spendable).await, 0);
    assert_eq!(pool.balance(LedgerAccount::Fee).await, BLOCK_SAT as i64 - 100_000_000);
    pool.assert_books_are_right(&payer).await;

    // A crash right after it. The miners are paid from other coins.
    let mut payer = pool.payer().await;
    pool.earn(&payer, 2).await;
    payer.step().await.unwrap();
    assert_eq!(pool.store.batches(9).await.unwrap().len(), 2);
    pool.node.mine(1).unwrap();
    payer.step().await.unwrap();
    assert_eq!(pool.batch(2).await.outputs.len(), 1, "the larger balance waits for coins");
    pool.assert_books_are_right(&payer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_that_leaves_the_chain_is_forgotten() {
    let pool = pool(&[1]).await;
    let mut payer = pool.payer().await;
    pool.earn(&payer, 1).await;
    pool.node.mine(5).unwrap();
    payer.step().await.unwrap();
    let sent = pool.in_mempool();
    let theft = pool.theft(&payer, &pool.batch(1).await);
    let block = pool.mine_with(&[&theft]);
    assert_eq!(count(&payer.step().await.unwrap(), "conflicted"), 1);
    pool.node.invalidate(block).unwrap();
    // The thief's transaction goes back to the mempool; the block takes ours all the same.
    pool.mine_with(&[&sent]);
    pool.node.mine_empty(1).unwrap();
    assert_eq!(count(&payer.step().await.unwrap(), "confirmed"), 1);
    pool.assert_books_are_right(&payer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_without_its_key_pays_what_is_signed_elsewhere() {
    let pool = pool(&[2, 1]).await;
    let mut payer = pool.watching_payer().await;
    pool.earn(&payer, 2).await;
    let events = payer.step().await.unwrap();
    assert_eq!((count(&events, "created"), count(&events, "signature"), events.len()), (1, 1, 2), "{events:?}");
    let id = BatchId::new(1);
    assert_eq!(payer.status().await.unwrap().open[0].waits_for, WaitsFor::Signature);
    let exported = payer.export_psbt(id).await.unwrap();
    assert_eq!(payer.export_psbt(id).await.unwrap(), exported);
    assert_eq!(refusal(payer.cancel(id, "changed my mind", false).await), Refusal::Exported(id));

    let signed = pool.key().sign(&exported).unwrap();
    let tampered = |change: fn(&mut Psbt)| {
        let mut psbt = Psbt::deserialize(&signed).unwrap();
        change(&mut psbt);
        psbt.serialize()
    };
    let mut refused = async |file: Vec<u8>| refusal(payer.import_psbt(id, &[file]).await);
    let other = refused(tampered(|psbt| psbt.unsigned_tx.output[0].value += Amount::ONE_SAT)).await;
    assert!(matches!(&other, Refusal::OtherTransaction { difference, .. } if difference.starts_with("output 0 pays")));
    for change in [
        (|psbt| psbt.unsigned_tx.input[0].previous_output.vout += 1) as fn(&mut Psbt),
        |psbt| psbt.unsigned_tx.input[0].sequence = bitcoin::Sequence::MAX,
        |psbt| psbt.unsigned_tx.lock_time = bitcoin::absolute::LockTime::ZERO,
        |psbt| psbt.unsigned_tx.version = bitcoin::transaction::Version::ONE,
        |psbt| psbt.unsigned_tx.output[1].script_pubkey = miner_address(50).script_pubkey(),
    ] {
        let refused = refused(tampered(change)).await;
        assert!(matches!(refused, Refusal::OtherTransaction { .. }), "{refused}");
    }
    assert_eq!(refused(exported.clone()).await, Refusal::SignatureMissing(0));
    let wrong = refused(tampered(|psbt| {
        for signature in psbt.inputs[0].partial_sigs.values_mut() {
            let mut bytes = signature.signature.serialize_compact();
            bytes[40] ^= 1;
            signature.signature = bitcoin::secp256k1::ecdsa::Signature::from_compact(&bytes).unwrap();
        }
    }))
    .await;
    assert!(matches!(wrong, Refusal::SignatureWrong { input: 0, .. }), "{wrong}");
    let swapped = refused(tampered(|psbt| {
        let input = &mut psbt.inputs[0];
        let script = input.partial_sigs.values().next().unwrap().to_vec();
        let key = input.partial_sigs.keys().next().unwrap().to_bytes();
        let mut forged = script;
        forged[20] ^= 1;
        input.final_script_witness = Some(bitcoin::Witness::from_slice(&[forged, key]));
    }))
    .await;
    assert!(matches!(swapped, Refusal::SignatureWrong { input: 0, .. }), "{swapped}");
    assert!(matches!(refused(b"psbt".to_vec()).await, Refusal::NotPsbt(_)));
    assert_eq!(pool.batch(1).await.newest().stage, AttemptStage::Created);

    assert_eq!(payer.import_psbt(id, std::slice::from_ref(&signed)).await.unwrap(), Outcome::Done);
    // A crash right after it.
    let mut payer = pool.watching_payer().await;
    assert_eq!(payer.import_psbt(id, std::slice::from_ref(&signed)).await.unwrap(), Outcome::Already);
    assert_eq!(refusal(payer.export_psbt(id).await), Refusal::NothingToSign(id));
    assert_eq!(count(&payer.step().await.unwrap(), "broadcast"), 1);

    // A replacement is signed elsewhere too; until then the first is what is sent.
    payer.bump(id, RATE).await.unwrap();
    assert_eq!(refusal(payer.bump(id, RATE).await), Refusal::NothingToReplace(id));
    assert_eq!(payer.step().await.unwrap(), []);
    assert!(matches!(refusal(payer.import_psbt(id, &[signed]).await), Refusal::OtherTransaction { .. }));
    let second = pool.key().sign(&payer.export_psbt(id).await.unwrap()).unwrap();
    payer.import_psbt(id, &[second]).await.unwrap();
    assert_eq!(count(&payer.step().await.unwrap(), "broadcast"), 1);
    pool.node.mine(1).unwrap();
    assert_eq!(count(&payer.step().await.unwrap(), "confirmed"), 1);
    pool.assert_books_are_right(&payer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_was_signed_and_sent_elsewhere_is_booked() {
    let pool = pool(&[1]).await;
    let mut payer = pool.watching_payer().await;
    pool.earn(&payer, 1).await;
    payer.step().await.unwrap();
    let signed = pool.key().sign(&payer.export_psbt(BatchId::new(1)).await.unwrap()).unwrap();
    let transaction = payer.wallet.finish(Psbt::deserialize(&signed).unwrap()).unwrap().unwrap();
    pool.rpc.send_raw_transaction(&transaction).unwrap();
    pool.node.mine(1).unwrap();
    let events = payer.step().await.unwrap();
    assert_eq!((count(&events, "broadcast"), count(&events, "confirmed")), (1, 1), "{events:?}");
    pool.assert_books_are_right(&payer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_slot_is_run_once_and_none_is_left_out() {
    const HOUR_MS: i64 = 3_600_000;
    let pool = pool(&[1]).await;
    let scheduled = PayoutPolicy { schedule: Schedule::Every { hours: 6 }, ..policy() };
    let mut payer = pool.payer_with(scheduled.clone()).await;
    pool.earn(&payer, 1).await;
    assert_eq!(payer.step_at(7 * HOUR_MS).await.unwrap(), [], "it begins with the next slot");
    assert_eq!(payer.step_at(12 * HOUR_MS - 1).await.unwrap(), []);
    // The pool is down at the slot, and makes up for it.
    let mut payer = pool.payer_with(scheduled.clone()).await;
    assert_eq!(count(&payer.step_at(13 * HOUR_MS).await.unwrap(), "created"), 1);
    pool.earn(&payer, 1).await;
    let mut payer = pool.payer_with(scheduled).await;
    assert_eq!(count(&payer.step_at(14 * HOUR_MS).await.unwrap(), "created"), 0, "the slot is done with");
    assert_eq!(payer.open_slot(18 * HOUR_MS).await.unwrap().unwrap().at_ms, 18 * HOUR_MS);
    assert_eq!(count(&payer.step_at(18 * HOUR_MS).await.unwrap(), "created"), 1);

    // Manual, and the same schedule again: what lies between is not made up for.
    let mut payer = pool.payer_with(PayoutPolicy { schedule: Schedule::Manual, ..policy() }).await;
    pool.earn(&payer, 1).await;
    assert_eq!(count(&payer.step_at(30 * HOUR_MS).await.unwrap(), "created"), 0);
    let again = PayoutPolicy { schedule: Schedule::Every { hours: 6 }, ..policy() };
    let mut payer = pool.payer_with(again).await;
    assert_eq!(count(&payer.step_at(50 * HOUR_MS).await.unwrap(), "created"), 0);
    assert_eq!(count(&payer.step_at(54 * HOUR_MS).await.unwrap(), "created"), 1);
    let mut payer = pool.payer().await;
    pool.earn(&payer, 1).await;
    assert_eq!(count(&payer.step_at(55 * HOUR_MS).await.unwrap(), "created"), 1, "continuous begins at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn thresholds_of_accounts_and_payments_on_demand() {
    let pool = pool(&[1, 3]).await;
    let [one, other] = pool.miners[..] else { panic!() };
    let threshold = Amount::from_sat(2_000_000_000);
    let mut payer = pool.payer_with(PayoutPolicy { threshold, ..policy() }).await;
    pool.earn(&payer, 2).await;
    let high = Some(Amount::from_sat(100_000_000_000));
    assert_eq!(payer.set_threshold(other, high).await.unwrap(), Outcome::Done);
    assert_eq!(payer.set_threshold(other, high).await.unwrap(), Outcome::Already);
    payer.step().await.unwrap();
    let paid = async |id| pool.batch(id).await.outputs.iter().map(|output| output.due.account).collect::<Vec<_>>();
    assert_eq!(paid(1).await, [one], "2,450,000,000 sat are above the pool's threshold");
    pool.node.mine(1).unwrap();
    let events = payer.run(Selection::Account(other)).await.unwrap();
    assert_eq!((count(&events, "created"), count(&events, "broadcast"), paid(2).await), (1, 1, vec![other]));
    let refused = refusal(payer.run(Selection::Account(other)).await);
    assert!(matches!(refused, Refusal::NothingDue { due: Amount::ZERO, .. }), "{refused}");
    let dust = refusal(payer.set_threshold(one, Some(Amount::from_sat(545))).await);
    assert!(matches!(dust, Refusal::ThresholdTooLow { least, .. } if least.to_sat() == 546), "{dust}");
}
