//! Screening on a real node and a real database.

use std::collections::BTreeSet;

use bitcoin::CompressedPublicKey;

use super::*;
use crate::{
    export::{
        journal::{JournalAudit, JournalRow, JournalSeq},
        lists::tests::{lists, lists_with_name},
        owner::{Hosting, Proof},
        party::{KEY_SIZE, Party, Vault},
        rules::profile::PartyFact,
        screened::{Moment, ReviewReason, Screened, ScreenedAll, ScreenedBatch},
    },
    payout::{Ownership, Restraint, Review},
};

const DAY_MS: i64 = 86_400_000;

/// Whatever the pool's miners are paid at, as a list has it.
fn listed(id: u8) -> String {
    Address::p2pkh(PubkeyHash::from_byte_array([id; 20]), Network::Bitcoin).to_string()
}

async fn journal(store: &SqliteStore) -> Vec<JournalRow> {
    let rows = store.journal_rows(JournalSeq::new(0), 1_000).await.unwrap();
    let mut audit = JournalAudit::default();
    for row in &rows {
        let ledger = audit.check(row).unwrap();
        let entries = store.entries(crate::ledger::EntrySeq::new(0), 1_000).await.unwrap();
        let hash = entries.iter().find(|entry| entry.seq == ledger.seq).map(|entry| entry.hash);
        assert_eq!(hash.unwrap_or(crate::hash_chain::ChainHash::ORIGIN), ledger.hash);
    }
    rows
}

async fn of_kind<T: serde::de::DeserializeOwned>(store: &SqliteStore, kind: &str) -> Vec<T> {
    journal(store).await.iter().filter(|row| row.kind == kind).map(|row| row.read().unwrap()).collect()
}

fn screening(addresses: &[&str]) -> Screening {
    Screening::new(Arc::new(lists(addresses, now_ms())), BTreeSet::new())
}

/// A pool with two miners whose block is mature, and a payer that screens by these addresses.
async fn pool_with_due(addresses: &[&str]) -> (Pool, Payer) {
    let pool = pool(&[1, 1]).await;
    let mut payer = pool.payer().await;
    *payer.screening_mut() = screening(addresses);
    pool.earn(&payer, 1).await;
    (pool, payer)
}

#[tokio::test]
async fn listed_address_is_blocked_with_evidence_and_the_others_are_paid() {
    let (pool, mut payer) = pool_with_due(&[&listed(1)]).await;
    let events = payer.step().await.unwrap();
    assert_eq!((count(&events, "found"), count(&events, "created")), (1, 1));
    let batch = pool.store.batches(1).await.unwrap().remove(0);
    assert_eq!(batch.outputs.iter().map(|output| output.due.account).collect::<Vec<_>>(), [pool.miners[1]]);

    let found: Vec<Screened> = of_kind(&pool.store, Screened::KIND).await;
    let [found] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((found.account, found.outcome.as_str()), (pool.miners[0], "BLOCKED"));
    assert_eq!(found.script_pubkey, miner_address(1).script_pubkey().to_hex_string());
    let [evidence] = found.evidence.as_slice() else { panic!("{found:?}") };
    assert_eq!((evidence.reason.as_str(), evidence.listed.as_str()), ("EXACT_ADDRESS", listed(1).as_str()));
    assert_eq!((evidence.source.as_str(), evidence.sha256.len()), ("supplement", 64));
    // Not forfeited and not shared out: it stands on an account of its own.
    let blocked = pool.store.balance(LedgerAccount::Blocked(pool.miners[0])).await.unwrap();
    let payable = pool.store.balance(LedgerAccount::MinerPayable(pool.miners[0])).await.unwrap();
    assert!(blocked.is_negative() && payable == bitcoin::SignedAmount::ZERO, "{blocked} {payable}");

    let screened: Vec<ScreenedBatch> = of_kind(&pool.store, ScreenedBatch::KIND).await;
    let moments: Vec<_> = screened.iter().map(|screened| screened.moment).collect();
    assert_eq!(moments, [Moment::Batch, Moment::Broadcast]);
    assert!(screened.iter().all(|screened| screened.outputs.len() == 1 && screened.outputs[0].outcome == "CLEAR"));
    // Nothing new: nothing more is written.
    let before = journal(&pool.store).await.len();
    payer.step().await.unwrap();
    assert_eq!(journal(&pool.store).await.len(), before);
}

#[tokio::test]
async fn list_that_is_old_stops_payments_and_a_fresh_one_lets_them_go() {
    let (pool, mut payer) = pool_with_due(&[&listed(9)]).await;
    *payer.screening_mut() =
        Screening::new(Arc::new(lists(&[&listed(9)], now_ms() - DAY_MS - 3_600_000)), BTreeSet::new());
    let events = payer.step().await.unwrap();
    assert_eq!((count(&events, "unusable"), count(&events, "created")), (1, 0));
    assert_eq!(count(&payer.step().await.unwrap(), "unusable"), 0, "it is told once");
    let refused = payer.run(Selection::Due).await.unwrap_err();
    assert!(matches!(&refused, PayoutError::Refused(Refusal::NotScreened(why)) if why.contains("25 h")), "{refused}");
    assert_eq!(pool.store.batches(1).await.unwrap(), []);

    payer.screening_mut().use_lists(Arc::new(lists(&[&listed(9)], now_ms())));
    assert_eq!(count(&payer.step().await.unwrap(), "broadcast"), 1);
}

#[tokio::test]
async fn list_that_gets_old_between_approval_and_broadcast_stops_the_payment() {
    let pool = pool(&[1]).await;
    let policy = PayoutPolicy { approval: crate::payout::Approval::Always, ..policy() };
    let mut payer = pool.payer_with(policy).await;
    pool.earn(&payer, 1).await;
    assert_eq!(count(&payer.step().await.unwrap(), "created"), 1);
    let batch = pool.store.batches(1).await.unwrap().remove(0).id;
    payer.screening_mut().use_lists(Arc::new(lists(&[&listed(9)], now_ms() - DAY_MS - 3_600_000)));
    payer.approve(batch, "alice").await.unwrap();
    assert_eq!(count(&payer.step().await.unwrap(), "broadcast"), 0);
    assert!(pool.store.batch(batch).await.unwrap().unwrap().is_unsigned());
    payer.screening_mut().use_lists(Arc::new(lists(&[&listed(9)], now_ms())));
    assert_eq!(count(&payer.step().await.unwrap(), "broadcast"), 1);
}

#[tokio::test]
async fn payout_that_was_made_up_before_a_list_named_one_of_its_miners_is_given_back_and_pays_the_others() {
    let pool = pool(&[1, 1]).await;
    let policy = PayoutPolicy { approval: crate::payout::Approval::Always, ..policy() };
    let mut payer = pool.payer_with(policy).await;
    pool.earn(&payer, 1).await;
    payer.step().await.unwrap();
    let first = pool.store.batches(1).await.unwrap().remove(0).id;
    payer.screening_mut().use_lists(Arc::new(lists(&[&listed(2)], now_ms())));
    payer.approve(first, "alice").await.unwrap();
    let events = payer.step().await.unwrap();
    assert_eq!((count(&events, "given back"), count(&events, "broadcast")), (1, 0));
    let second = pool.store.batches(1).await.unwrap().remove(0);
    assert_ne!(second.id, first);
    assert_eq!(second.outputs.iter().map(|output| output.due.account).collect::<Vec<_>>(), [pool.miners[0]]);
    payer.approve(second.id, "alice").await.unwrap();
    assert_eq!(count(&payer.step().await.unwrap(), "broadcast"), 1);
    assert!(pool.store.balance(LedgerAccount::Blocked(pool.miners[1])).await.unwrap().is_negative());
}

#[tokio::test]
async fn account_with_the_key_of_a_listed_address_is_held_until_two_operators_agree() {
    let key: CompressedPublicKey =
        "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798".parse().unwrap();
    let p2wpkh = Address::p2wpkh(&key, Network::Regtest);
    let mut pool = pool(&[]).await;
    let account = pool.store.account(&p2wpkh).await.unwrap();
    pool.miners.push(account);
    append(&*pool.store, &[share(account, 1)]).await;
    let mut payer = pool.payer().await;
    let listed = Address::p2pkh(key, Network::Bitcoin).to_string();
    *payer.screening_mut() = screening(&[&listed]);
    pool.earn(&payer, 1).await;
    payer.step().await.unwrap();
    assert_eq!(pool.store.batches(1).await.unwrap(), []);
    let held = pool.store.balance(LedgerAccount::Held(account)).await.unwrap();
    assert!(held.is_negative());
    let found: Vec<Screened> = of_kind(&pool.store, Screened::KIND).await;
    assert_eq!((found[0].outcome.as_str(), found[0].evidence[0].reason.as_str()), ("HELD", "SAME_KEY"));

    let reason = ReviewReason::FalsePositive;
    let first = payer.review(account, "alice", reason, "the key is shared by a custodian", None).await.unwrap();
    assert_eq!(first, Review::Noted);
    let again = payer.review(account, "Alice ", reason, "the same", None).await.unwrap_err();
    assert!(matches!(again, PayoutError::Refused(Refusal::SameOperator(_))), "{again}");
    assert_eq!(count(&payer.step().await.unwrap(), "created"), 0, "one operator is not enough");
    let second = payer.review(account, "bob", reason, "seen the custodian's letter", None).await.unwrap();
    assert_eq!(second, Review::Released);
    // What was released is not found again, whatever edition of the list comes.
    payer.screening_mut().use_lists(Arc::new(lists(&[&listed, &self::listed(9)], now_ms())));
    assert_eq!(count(&payer.step().await.unwrap(), "broadcast"), 1);
    journal(&pool.store).await;
}

#[tokio::test]
async fn blocked_account_is_released_only_when_it_is_delisted_or_an_authority_allows_it() {
    let (pool, mut payer) = pool_with_due(&[&listed(1)]).await;
    payer.step().await.unwrap();
    let account = pool.miners[0];
    let refused = payer.review(account, "alice", ReviewReason::FalsePositive, "not him", None).await.unwrap_err();
    assert!(matches!(refused, PayoutError::Refused(Refusal::StillListed(_))), "{refused}");
    let by_licence = payer.review(account, "alice", ReviewReason::Authorised, "see letter", Some("licence 7")).await;
    assert_eq!(by_licence.unwrap(), Review::Noted);
    payer.screening_mut().use_lists(Arc::new(lists(&[&listed(9)], now_ms())));
    payer.step().await.unwrap();
    let delisted = payer.review(account, "bob", ReviewReason::Delisted, "gone since yesterday", None).await;
    assert_eq!(delisted.unwrap(), Review::Released);
    // Until then, all coins are on their way to the other miner.
    pool.node.mine(1).unwrap();
    payer.step().await.unwrap();
    let batch = pool.store.batches(1).await.unwrap().remove(0);
    assert_eq!(batch.outputs[0].due.account, account);
    let nothing = payer.review(account, "carol", ReviewReason::Delisted, "again", None).await.unwrap_err();
    assert!(matches!(nothing, PayoutError::Refused(Refusal::NotFoundByScreening(_))), "{nothing}");
}

#[tokio::test]
async fn owner_whose_name_is_listed_is_blocked_without_a_listed_address() {
    let (pool, mut payer) = pool_with_due(&[&listed(9)]).await;
    payer.open_vault(Vault::new(&[7; KEY_SIZE])).await.unwrap();
    let party: Party = toml::from_str("kind = 'legal'\nlegal_name = 'Example Trading LLC'\nresidency = 'NO'").unwrap();
    let id = payer.set_party(None, &party, "alice").await.unwrap();
    let owned = Ownership { party: id, hosting: Hosting::SelfHosted, provider: None, proof: None };
    payer.own_address(pool.miners[0], owned, "alice").await.unwrap();
    payer.screening_mut().use_lists(Arc::new(lists_with_name("EXAMPLE TRADING L.L.C.", now_ms())));
    payer.step().await.unwrap();
    let found: Vec<Screened> = of_kind(&pool.store, Screened::KIND).await;
    assert_eq!((found[0].account, found[0].outcome.as_str()), (pool.miners[0], "BLOCKED"));
    assert_eq!((found[0].party, found[0].evidence[0].reason.as_str()), (Some(id), "EXACT_NAME"));
    let batch = pool.store.batches(1).await.unwrap().remove(0);
    assert_eq!(batch.outputs.iter().map(|output| output.due.account).collect::<Vec<_>>(), [pool.miners[1]]);
    // The name itself is in no row.
    assert!(journal(&pool.store).await.iter().all(|row| !row.body.contains("Example Trading")));
}

#[tokio::test]
async fn new_accounts_are_screened_when_they_come_and_all_when_lists_change() {
    let (pool, mut payer) = pool_with_due(&[&listed(9)]).await;
    payer.step().await.unwrap();
    let late = pool.store.account(&miner_address(9)).await.unwrap();
    let events = payer.step().await.unwrap();
    assert_eq!(count(&events, "found"), 1);
    assert!(pool.store.restraint(late, Restraint::Blocked).await.unwrap().unwrap().is_in_force());
    payer.screening_mut().use_lists(Arc::new(lists(&[&listed(9), &listed(8)], now_ms())));
    payer.step().await.unwrap();
    let all: Vec<ScreenedAll> = of_kind(&pool.store, ScreenedAll::KIND).await;
    let seen: Vec<_> = all.iter().map(|all| (all.moment, all.accounts, all.restrained)).collect();
    assert_eq!(seen[seen.len() - 2..], [(Moment::Registration, 1, 1), (Moment::ListUpdate, 3, 1)]);
    // A payer that starts anew knows what was found, and does not find it again.
    let rows = journal(&pool.store).await.len();
    let mut restarted = pool.payer().await;
    *restarted.screening_mut() = screening(&[&listed(9), &listed(8)]);
    restarted.step().await.unwrap();
    assert_eq!(journal(&pool.store).await.len(), rows);
    assert!(restarted.screening().findings().of(late).is_some());
}

#[tokio::test]
async fn erased_data_of_a_party_leaves_the_chain_whole() {
    let (pool, mut payer) = pool_with_due(&[&listed(9)]).await;
    payer.open_vault(Vault::new(&[7; KEY_SIZE])).await.unwrap();
    let party: Party = toml::from_str("kind = 'natural'\nlegal_name = 'EXAMPLE PERSON'\nresidency = 'NO'").unwrap();
    let id = payer.set_party(None, &party, "alice").await.unwrap();
    assert_eq!(payer.party(id), Some(&party));
    payer.erase_party(id, "asked for it", "bob").await.unwrap();
    assert_eq!((payer.party(id), pool.store.parties().await.unwrap().len()), (None, 0));
    journal(&pool.store).await;
    assert!(payer.screening().owners().party(id).unwrap().is_erased);
}

#[tokio::test]
async fn miner_of_whom_too_little_is_known_is_held_until_it_is() {
    let (pool, mut payer) = pool_with_due(&[&listed(9)]).await;
    let required = [PartyFact::LegalName, PartyFact::TaxId, PartyFact::ControlProof];
    *payer.screening_mut() = Screening::new(Arc::new(lists(&[&listed(9)], now_ms())), required.into());
    payer.open_vault(Vault::new(&[7; KEY_SIZE])).await.unwrap();
    let party: Party = toml::from_str("kind = 'legal'\nlegal_name = 'Example LLC'\nresidency = 'NO'").unwrap();
    let id = payer.set_party(None, &party, "alice").await.unwrap();
    let proof = Some(Proof { method: "BIP 322".to_owned(), at_ms: 5 });
    let owned = Ownership { party: id, hosting: Hosting::SelfHosted, provider: None, proof };
    payer.own_address(pool.miners[0], owned, "alice").await.unwrap();
    payer.step().await.unwrap();
    assert_eq!(pool.store.batches(1).await.unwrap(), []);
    let found: Vec<Screened> = of_kind(&pool.store, Screened::KIND).await;
    let missing: Vec<_> =
        found.iter().map(|found| (found.account, found.outcome.as_str(), found.missing.clone())).collect();
    let all = ["control_proof", "legal_name", "tax_id"].map(str::to_owned).to_vec();
    let expected = [(pool.miners[0], "HELD", vec!["tax_id".to_owned()]), (pool.miners[1], "HELD", all)];
    assert_eq!(missing, expected);
}
