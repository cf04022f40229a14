//! What must hold of books and chain. Everything expected is worked out from the chain and the model's blocks; of the
//! books only batches are taken as given, and those are compared with the chain.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use bitcoin::{Amount, BlockHash, OutPoint, ScriptBuf, Transaction};
use payouts::{
    AccountId, ChainPosition, SqliteStore, Store, audit,
    books::{BlockPhase, COINBASE_MATURITY},
    export::{
        bookkeeping::{self, Wanted},
        register::{RecordState, RegisterRow, RowSeq},
        rules::profile::CountryProfile,
    },
    ledger::{EntrySeq, LedgerAccount},
    payout::{Attempt, AttemptStage, Batch, BatchState},
};

use crate::{
    bench::THRESHOLD,
    chain::{Chain, Refusal},
    node,
    world::{World, restraint_of},
};

/// More than a run ever has.
pub(crate) const ALL: u32 = 1_000_000;

/// What a comparison saw that is worth counting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    /// What miners were paid of blocks that do not count now.
    pub(crate) debt: i64,
}

/// Balances by account, in satoshis; debits are positive.
type Balances = BTreeMap<LedgerAccount, i64>;

/// Checks what holds at any moment: debits and credits are equal.
pub(crate) async fn balance(store: &SqliteStore) -> Result<()> {
    let sum: i64 = store.balances().await?.values().map(|amount| amount.to_sat()).sum();
    ensure!(sum == 0, "the balances sum to {sum} sat");
    Ok(())
}

/// Compares everything, once the books have seen the tip.
pub(crate) async fn compare(world: &World<'_>, store: &SqliteStore) -> Result<Seen> {
    audit::verify_books(store).await.context("the audit of the books")?;
    let kept: Balances =
        store.balances().await?.into_iter().map(|(account, amount)| (account, amount.to_sat())).collect();
    let batches = store.batches(ALL).await?;
    let rows = store.register_rows(RowSeq::new(0), ALL).await?;
    blocks(world, store).await?;
    let chain = node::locked(&world.chain);
    coins(world, &chain, &kept)?;
    ledger(world, &chain, &kept, &batches)?;
    payments(world, &chain, &batches)?;
    register(world, &chain, &rows)?;
    let debt = kept.iter().filter(|(account, _)| matches!(account, LedgerAccount::MinerDebt(_)));
    Ok(Seen { debt: debt.map(|(_, sat)| sat).sum() })
}

/// Checks that everything that can be paid was paid, and that the chain agrees with the production audit too.
pub(crate) async fn paid_out(world: &mut World<'_>, store: &SqliteStore) -> Result<()> {
    let rpc = node::client(&world.chain, &Default::default());
    let audited = audit::verify_chain(store, rpc).await.context("the audit of the chain")?;
    ensure!(audited.behind.is_empty(), "the books are behind: {:?}", audited.behind);
    let coins = audited.coins.context("the coins were not compared")?;
    ensure!(coins.chain_sat == coins.ledger_sat, "coins: {coins:?}");
    let batches = store.batches(ALL).await?;
    let due = store.due(THRESHOLD).await?;
    let mut debt = 0;
    for (account, amount) in store.balances().await? {
        if matches!(account, LedgerAccount::MinerDebt(_)) {
            debt += amount.to_sat();
        }
    }
    let mut chain = node::locked(&world.chain);
    let mut stuck = 0;
    for batch in &batches {
        if batch.state != BatchState::Open {
            continue;
        }
        ensure!(!batch.is_unsigned(), "batch {} was never signed", batch.id);
        for tx in batch.attempts.iter().filter_map(Attempt::transaction) {
            // Only coins that are gone with their blocks keep a payment from the chain, and never another payment.
            let refusal = chain.check(tx).err();
            ensure!(refusal == Some(Refusal::Missing), "batch {} ends unconfirmed: {refusal:?}", batch.id);
            let inputs: BTreeSet<_> = tx.input.iter().map(|input| input.previous_output).collect();
            let is_rival =
                |other: &Transaction| other.input.iter().any(|input| inputs.contains(&input.previous_output));
            let rival = chain.payments().find(|(other, _)| is_rival(other));
            ensure!(rival.is_none(), "batch {} has coins of another payment", batch.id);
            let is_lost = chain.lost().any(|(outpoint, _, _)| inputs.contains(&outpoint));
            ensure!(!is_lost, "batch {} is not given up, though its coins are lost", batch.id);
        }
        stuck += 1;
    }
    let is_solvent = chain.stolen().next().is_none();
    drop(chain);
    if stuck == 0 && debt == 0 && is_solvent {
        ensure!(due.is_empty(), "there are coins for {due:?}, and it is not paid");
        world.tally.paid_out += 1;
    }
    let confirmed = batches.iter().filter(|batch| matches!(batch.state, BatchState::Confirmed(..)));
    let earlier = confirmed.filter(|batch| batch.txid() != batch.newest().txid).count();
    let replaced = batches.iter().filter(|batch| matches!(batch.state, BatchState::Replaced(_))).count();
    world.tally.replaced += u32::try_from(replaced).expect("batches are few");
    world.tally.earlier += u32::try_from(earlier).expect("batches are few");
    world.tally.stuck += stuck;
    world.tally.payouts += u32::try_from(batches.len()).expect("batches are few");
    Ok(())
}

/// The reports of all months in which something was booked reconcile, and each month begins as the one before ended.
/// Returns how many months there were.
pub(crate) async fn reports(store: &SqliteStore) -> Result<u32> {
    let profile = CountryProfile::shipped("neutral").context("it is shipped")?;
    let entries = store.entries(EntrySeq::new(0), ALL).await?;
    let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return Ok(0) };
    let (mut at_ms, mut months) = (first.at_ms, 0);
    let mut closing: BTreeMap<i64, i128> = BTreeMap::new();
    while at_ms <= last.at_ms {
        let period = profile.period_at(at_ms)?;
        let (software_version, parties) = ("adit 0.1.0", BTreeMap::new());
        let wanted = Wanted {
            profile: &profile,
            period,
            software_version,
            generated_at_ms: at_ms,
            parties: &parties,
            as_of: None,
        };
        let reports = bookkeeping::gather(store, &wanted).await?;
        let equalities = reports.figures.reconcile().equalities;
        let wrong: Vec<_> = equalities.iter().filter(|equality| equality.difference != 0).collect();
        ensure!(wrong.is_empty(), "{period} does not reconcile: {wrong:?}");
        let mut before = std::mem::take(&mut closing);
        for statement in reports.statements {
            let (account, balanced) = (statement.account, statement.balanced()?);
            let opening = before.remove(&account).unwrap_or_default();
            ensure!(
                balanced.totals().opening_sat == opening,
                "{period}: account {account} does not begin with {opening}"
            );
            closing.insert(account, balanced.totals().closing_sat());
        }
        before.retain(|_, sat| *sat != 0);
        ensure!(before.is_empty(), "{period}: no statements go on with {before:?}");
        at_ms = period.end_ms(profile.zone());
        months += 1;
    }
    Ok(months)
}

/// Each block stands where the chain has it, and is split as the shares say.
async fn blocks(world: &World<'_>, store: &SqliteStore) -> Result<()> {
    for block in &world.blocks {
        let hash = block.found.hash;
        let position = node::locked(&world.chain).position(hash);
        let record = store.block(hash).await?.with_context(|| format!("block {hash} is not in the books"))?;
        ensure!(record.state.phase == phase(position), "block {hash} is {:?} at {position:?}", record.state);
        ensure!(record.fee == block.fee, "block {hash}: fee {} instead of {}", record.fee, block.fee);
        let kept = store.credits(hash).await?;
        let credits: BTreeMap<_, _> = kept.iter().map(|credit| (credit.account, credit.amount)).collect();
        ensure!(credits == block.credits, "block {hash}: credits {credits:?} instead of {:?}", block.credits);
        let sum = credits.values().copied().sum::<Amount>() + record.fee;
        ensure!(sum == block.found.value, "block {hash}: {sum} of {} are given", block.found.value);
    }
    let recorded = store.blocks(ALL).await?.len();
    ensure!(recorded == world.blocks.len(), "{recorded} blocks are in the books, {} were found", world.blocks.len());
    Ok(())
}

/// The ledger's coins are the pool's coins on the chain: all that is neither a miner's nor another pool's.
fn coins(world: &World<'_>, chain: &Chain, kept: &Balances) -> Result<()> {
    let miners: BTreeSet<_> = world.bench.miners.iter().map(|miner| &miner.script).collect();
    let is_own = |script: &ScriptBuf| script.is_p2wpkh() && !miners.contains(script);
    let own = chain.coins().filter(|(_, output)| is_own(&output.script_pubkey));
    let on_chain: i64 = own.map(|(_, output)| sat(output.value)).sum();
    // What is stolen is a loss once it is too deep to come back.
    let sum =
        |coins: &mut dyn Iterator<Item = (OutPoint, u32, Amount)>| coins.map(|(_, _, value)| sat(value)).sum::<i64>();
    let undecided = sum(&mut chain.stolen()) - sum(&mut chain.lost());
    let is_coin = |account: &LedgerAccount| {
        matches!(account, LedgerAccount::Immature(_) | LedgerAccount::Spendable | LedgerAccount::InFlight(_))
    };
    let in_books: i64 = kept.iter().filter(|(account, _)| is_coin(account)).map(|(_, sat)| sat).sum();
    ensure!(
        in_books == on_chain + undecided,
        "the books have coins of {in_books} sat, the chain {on_chain} sat and {undecided} sat stolen"
    );
    Ok(())
}

/// Every balance is what the chain makes it.
fn ledger(world: &World<'_>, chain: &Chain, kept: &Balances, batches: &[Batch]) -> Result<()> {
    let mut expected = Balances::new();
    let mut add = |account, sat: i64| *expected.entry(account).or_default() += sat;
    // What miners earned less what they were paid or are about to be; a debt counts against it.
    let mut owed: BTreeMap<AccountId, i64> = BTreeMap::new();
    let mut spendable = 0;
    for block in &world.blocks {
        let (value, fee) = (sat(block.found.value), sat(block.fee));
        match phase(chain.position(block.found.hash)) {
            BlockPhase::Immature => {
                add(LedgerAccount::Immature(block.found.hash), value);
                add(LedgerAccount::FeeImmature, -fee);
                for (&account, &credit) in &block.credits {
                    add(LedgerAccount::MinerImmature(account), -sat(credit));
                }
            }
            BlockPhase::Matured => {
                spendable += value;
                add(LedgerAccount::Fee, -fee);
                for (&account, &credit) in &block.credits {
                    *owed.entry(account).or_default() += sat(credit);
                }
            }
            BlockPhase::Orphaned => {}
        }
    }
    for (tx, fee) in chain.payments() {
        add(LedgerAccount::NetworkFee, sat(fee));
        let delivered = delivered(world, tx);
        spendable -= sat(fee) + delivered.iter().map(|(_, _, amount)| sat(*amount)).sum::<i64>();
        for (account, _, amount) in delivered {
            *owed.entry(account).or_default() -= sat(amount);
        }
    }
    for batch in batches {
        if batch.state != BatchState::Open {
            continue;
        }
        add(LedgerAccount::Reserved(batch.id), -sat(batch.paid()));
        for output in &batch.outputs {
            *owed.entry(output.due.account).or_default() -= sat(output.due.amount);
        }
        // What waits is the pool's until it is in a block.
        let sent = batch.attempts.iter().rfind(|attempt| matches!(attempt.stage, AttemptStage::Broadcast(_)));
        let leaving = sent.map_or(0, |attempt| sat(batch.paid() + attempt.network_fee));
        add(LedgerAccount::InFlight(batch.id), leaving);
        spendable -= leaving;
    }
    for (_, _, value) in chain.lost() {
        add(LedgerAccount::Fee, sat(value));
        spendable -= sat(value);
    }
    let deposited = sat(chain.deposited(&world.bench.script));
    spendable += deposited;
    add(LedgerAccount::Remainder, -deposited);
    add(LedgerAccount::Spendable, spendable);
    let debts = debts(world, chain, batches)?;
    for miner in &world.bench.miners {
        let debt = debts.get(&miner.account).copied().unwrap_or_default();
        let payable = owed.get(&miner.account).copied().unwrap_or_default() + debt;
        ensure!(payable >= 0, "account {} is owed {payable} sat", miner.account);
        add(LedgerAccount::MinerDebt(miner.account), debt);
        // The payer has just taken a step, so that nothing is left where it would be paid.
        let kept = match world.restrained.contains(&miner.account) {
            true => restraint_of(miner.account).ledger_account(miner.account),
            false => LedgerAccount::MinerPayable(miner.account),
        };
        add(kept, -payable);
    }
    let accounts: BTreeSet<_> = expected.keys().chain(kept.keys()).copied().collect();
    for account in accounts {
        let (kept, expected) = (kept.get(&account).copied().unwrap_or(0), expected.get(&account).copied().unwrap_or(0));
        ensure!(kept == expected, "{account} has {kept} sat, but the chain makes it {expected} sat");
    }
    Ok(())
}

/// What miners were paid of blocks that cannot be spent now. No credit is taken twice.
fn debts(world: &World<'_>, chain: &Chain, batches: &[Batch]) -> Result<BTreeMap<AccountId, i64>> {
    let mut taken: BTreeMap<(AccountId, BlockHash), i64> = BTreeMap::new();
    let ended = |batch: &&Batch| matches!(batch.state, BatchState::Cancelled | BatchState::Replaced(_));
    for output in batches.iter().filter(|batch| !ended(batch)).flat_map(|batch| &batch.outputs) {
        for lot in &output.lots {
            *taken.entry((output.due.account, lot.block)).or_default() += sat(lot.amount);
        }
    }
    let mut debts = BTreeMap::new();
    for ((account, hash), taken) in taken {
        let block = world.blocks.iter().find(|block| block.found.hash == hash).context("a lot of an unknown block")?;
        let credit = block.credits.get(&account).copied().unwrap_or_default();
        ensure!(taken <= sat(credit), "account {account} is paid {taken} sat of {credit} in block {hash}");
        ensure!(block.has_matured, "account {account} is paid from block {hash}, which never matured");
        if phase(chain.position(hash)) != BlockPhase::Matured {
            *debts.entry(account).or_default() += taken;
        }
    }
    Ok(debts)
}

/// Nobody is paid more than blocks that matured came to: not in the best chain, and not by all transactions together
/// that the node was ever given, of which those that share an input exclude each other.
fn payments(world: &World<'_>, chain: &Chain, batches: &[Batch]) -> Result<()> {
    let mut earned: BTreeMap<AccountId, i64> = BTreeMap::new();
    for block in world.blocks.iter().filter(|block| block.has_matured) {
        for (&account, &credit) in &block.credits {
            *earned.entry(account).or_default() += sat(credit);
        }
    }
    let mut paid: BTreeMap<AccountId, i64> = BTreeMap::new();
    let lost: BTreeSet<_> = chain.lost().map(|(outpoint, _, _)| outpoint).collect();
    let is_possible = |tx: &&Transaction| tx.input.iter().all(|input| !lost.contains(&input.previous_output));
    for rivals in rivals(chain.offered().filter(is_possible)) {
        let mut most: BTreeMap<AccountId, i64> = BTreeMap::new();
        for tx in rivals {
            let mut one: BTreeMap<AccountId, i64> = BTreeMap::new();
            for (account, _, amount) in delivered(world, tx) {
                *one.entry(account).or_default() += sat(amount);
            }
            for (account, sat) in one {
                let most = most.entry(account).or_default();
                *most = sat.max(*most);
            }
        }
        most.into_iter().for_each(|(account, sat)| *paid.entry(account).or_default() += sat);
    }
    for (account, paid) in paid {
        let earned = earned.get(&account).copied().unwrap_or_default();
        ensure!(paid <= earned, "account {account} earned {earned} sat, but can be paid {paid} sat");
    }
    for (tx, fee) in chain.payments() {
        let txid = tx.compute_txid();
        let batch = batches.iter().find(|batch| batch.attempts.iter().any(|attempt| attempt.txid == txid));
        let batch = batch.with_context(|| format!("{txid} is in the chain, but in no batch"))?;
        ensure!(
            matches!(batch.state, BatchState::Confirmed(..)) && batch.txid() == txid,
            "{txid} of batch {} is in the chain: {:?}",
            batch.id,
            batch.state
        );
        ensure!(batch.network_fee() == fee, "batch {} costs {} instead of {fee}", batch.id, batch.network_fee());
    }
    Ok(())
}

/// Groups transactions by the inputs that they have in common.
fn rivals<'a>(transactions: impl Iterator<Item = &'a Transaction>) -> Vec<Vec<&'a Transaction>> {
    let mut groups: Vec<(BTreeSet<OutPoint>, Vec<&Transaction>)> = Vec::new();
    for tx in transactions {
        let mut inputs: BTreeSet<_> = tx.input.iter().map(|input| input.previous_output).collect();
        let mut members = vec![tx];
        groups.retain_mut(|(spent, others)| {
            let is_apart = spent.is_disjoint(&inputs);
            if !is_apart {
                inputs.append(spent);
                members.append(others);
            }
            is_apart
        });
        groups.push((inputs, members));
    }
    groups.into_iter().map(|(_, members)| members).collect()
}

/// The register has one delivered record for each output in the chain that pays a miner, and no other.
fn register(world: &World<'_>, chain: &Chain, rows: &[RegisterRow]) -> Result<()> {
    let mut records = BTreeMap::new();
    for row in rows {
        records.insert(row.record.delivery, row);
    }
    records.retain(|_, row| row.state == RecordState::Delivered);
    for (tx, _) in chain.payments() {
        let txid = tx.compute_txid();
        for (account, vout, amount) in delivered(world, tx) {
            let delivery = OutPoint::new(txid, vout);
            let row = records.remove(&delivery).with_context(|| format!("{delivery} is not in the register"))?;
            let record = &row.record;
            ensure!((record.account, record.amount) == (account, amount), "the register says {record:?}");
            ensure!(record.script_pubkey == tx.output[vout as usize].script_pubkey, "the register says {record:?}");
            let at = chain.confirmations(row.block.hash);
            ensure!(at.is_some(), "{delivery} is delivered in block {}, which left the chain", row.block.hash);
        }
    }
    ensure!(records.is_empty(), "delivered, but not in the chain: {:?}", records.keys());
    Ok(())
}

/// What a transaction pays to miners: to whom, in which output, how much.
fn delivered(world: &World<'_>, tx: &Transaction) -> Vec<(AccountId, u32, Amount)> {
    let miner = |script: &ScriptBuf| world.bench.miners.iter().find(|miner| miner.script == *script);
    let outputs = (0..).zip(&tx.output);
    outputs.filter_map(|(vout, output)| Some((miner(&output.script_pubkey)?.account, vout, output.value))).collect()
}

pub(crate) fn phase(position: ChainPosition) -> BlockPhase {
    match position {
        ChainPosition::NotInBestChain => BlockPhase::Orphaned,
        ChainPosition::Confirmed { confirmations } if confirmations >= COINBASE_MATURITY => BlockPhase::Matured,
        ChainPosition::Confirmed { .. } => BlockPhase::Immature,
    }
}

fn sat(amount: Amount) -> i64 {
    i64::try_from(amount.to_sat()).expect("amounts are small")
}
