//! Sales of the pool's own coin on a real node: what is delivered, to whom, and what undoes it.

use std::collections::BTreeSet;

use super::*;
use crate::{
    export::{
        LotCredit,
        lists::tests::lists,
        owner::Hosting,
        party::{KEY_SIZE, Party, PartyId, PartyKind, Vault},
        rules::{
            desk::{DeskError, Reference},
            sale::{LotMethod, Pick},
            state::RecordState as SaleState,
        },
    },
    payout::{Approval, SalePolicy},
};

const DAY_MS: i64 = 86_400_000;
/// The pool's part of each block.
const FEE_SAT: u64 = 100_000_000;
const SOLD_SAT: u64 = 120_000_000;

fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

fn selling(lots: LotMethod) -> PayoutPolicy {
    PayoutPolicy { sales: SalePolicy { lots, residency: Some("KZ".parse().unwrap()) }, ..policy() }
}

fn party(name: &str) -> Party {
    Party {
        kind: PartyKind::Legal,
        legal_name: name.to_owned(),
        other_names: Vec::new(),
        residency: "AE".parse().unwrap(),
        address: None,
        birth_date: None,
        tax_ids: Vec::new(),
        registrations: Vec::new(),
        lei: None,
        bic: None,
        is_casp: true,
    }
}

fn desk_address() -> Address {
    miner_address(90)
}

/// A pool that has earned two blocks, and a desk that it knows.
async fn pool_and_desk(policy: PayoutPolicy) -> (Pool, Payer, AccountId) {
    let pool = pool(&[1]).await;
    let mut payer = pool.payer_with(policy).await;
    payer.open_vault(Vault::new(&[7; KEY_SIZE])).await.unwrap();
    pool.earn(&payer, 2).await;
    let desk = pool.store.account(&desk_address()).await.unwrap();
    let id = payer.set_party(None, &party("Example Desk LLC"), "alice").await.unwrap();
    own(&mut payer, desk, id).await;
    payer.step().await.unwrap();
    for batch in pool.store.batches_to_watch(u32::MAX).await.unwrap() {
        if batch.approval == crate::payout::BatchApproval::Awaited {
            payer.approve(batch.id, "bob").await.unwrap();
        }
    }
    payer.step().await.unwrap();
    pool.node.mine(1).unwrap();
    payer.step().await.unwrap();
    (pool, payer, desk)
}

async fn own(payer: &mut Payer, account: AccountId, party: PartyId) {
    let owned = Ownership { party, hosting: Hosting::SelfHosted, provider: None, proof: None };
    payer.own_address(account, owned, "alice").await.unwrap();
}

fn quote(desk: AccountId, expires_ms: i64) -> SaleOrder {
    let fee = crate::export::rules::fiat::FiatAmount::parse("42", "USD".parse().unwrap()).unwrap();
    SaleOrder::Quote { quote: reference("Q1"), desk, venue: None, price: "70000".parse().unwrap(), fee, expires_ms }
}

async fn order(payer: &mut Payer, order: SaleOrder) -> Result<SaleStatus, PayoutError> {
    payer.order_sale(&reference("S1"), order, "alice").await
}

/// Takes a sale of 1.2 bitcoins as far as its contract.
async fn contracted(payer: &mut Payer, desk: AccountId) {
    order(payer, SaleOrder::Request(Amount::from_sat(SOLD_SAT))).await.unwrap();
    order(payer, quote(desk, now_ms() + DAY_MS)).await.unwrap();
    order(payer, SaleOrder::Accept(reference("C1"))).await.unwrap();
}

async fn state(payer: &Payer) -> SaleState {
    payer.sales().await.unwrap().remove(0).state
}

fn refusal(result: Result<impl std::fmt::Debug, PayoutError>) -> Refusal {
    match result {
        Err(PayoutError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

async fn deliver(payer: &mut Payer, lots: &[Pick]) -> Result<SaleStatus, PayoutError> {
    payer.deliver_sale(&reference("S1"), lots, "alice").await.map(|(status, _)| status)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sold_is_delivered_to_the_satoshi_and_comes_from_the_oldest_coins_of_the_pool() {
    let (pool, mut payer, desk) = pool_and_desk(selling(LotMethod::Fifo)).await;
    contracted(&mut payer, desk).await;
    assert_eq!(state(&payer).await, SaleState::Contracted);
    let delivering = deliver(&mut payer, &[]).await.unwrap();
    assert_eq!(delivering.state, SaleState::Contracted, "it is not in a block");
    let batch = pool.store.batch(delivering.batch.unwrap()).await.unwrap().unwrap();
    let [output] = &batch.outputs[..] else { panic!("{batch:?}") };
    assert_eq!((output.due.account, output.pays().to_sat()), (desk, SOLD_SAT));
    assert_eq!(output.lots.iter().map(|lot| lot.amount.to_sat()).collect::<Vec<_>>(), [FEE_SAT, SOLD_SAT - FEE_SAT]);
    assert!(matches!(refusal(deliver(&mut payer, &[]).await), Refusal::Delivering { .. }));
    assert_eq!(pool.balance(LedgerAccount::Fee).await, -((2 * FEE_SAT - SOLD_SAT) as i64));

    pool.node.mine(1).unwrap();
    payer.step().await.unwrap();
    assert_eq!(state(&payer).await, SaleState::Delivered);
    let rows = pool.rows().await;
    let sold = rows.iter().find(|row| row.record.account == desk).unwrap();
    assert!(sold.record.lots.iter().all(|lot| lot.credit == LotCredit::Fee));
    assert_eq!(sold.record.amount.to_sat(), SOLD_SAT);
    let delivery = sold.record.delivery;
    let paid = pool.rpc.get_tx_out(&delivery.txid, delivery.vout, None).unwrap().unwrap();
    assert_eq!((paid.value.to_sat(), paid.script_pub_key.hex), (SOLD_SAT, desk_address().script_pubkey().to_bytes()));
    audit::verify(&*pool.store).await.unwrap();
    pool.assert_coins_are_there(&payer).await;

    let money = |text| crate::export::rules::fiat::FiatAmount::parse(text, "USD".parse().unwrap()).unwrap();
    let settle =
        |text| SaleOrder::Settle { received: money(text), bank_reference: reference("B1"), settled_ms: Some(1) };
    let too_much = refusal(order(&mut payer, settle("83958.01")).await);
    assert!(matches!(too_much, Refusal::Sale(DeskError::Settlement { .. })), "{too_much}");
    assert_eq!(order(&mut payer, settle("83958")).await.unwrap().state, SaleState::Settled);
    let declare = SaleOrder::Declare { declaration: reference("D1"), authority: reference("Customs") };
    assert_eq!(order(&mut payer, declare).await.unwrap().state, SaleState::Declared);
    // What is left of the pool's own coin is the rest of the second block's.
    let left = pool.store.pool_coins(reserve_of_fee()).await.unwrap();
    assert_eq!(left.iter().map(|lot| lot.amount.to_sat()).collect::<Vec<_>>(), [2 * FEE_SAT - SOLD_SAT]);
}

fn reserve_of_fee() -> crate::reserve::PoolMoney {
    crate::reserve::PoolMoney::Fee
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_offer_is_not_accepted_and_ends_the_sale() {
    let (_pool, mut payer, desk) = pool_and_desk(selling(LotMethod::Fifo)).await;
    order(&mut payer, SaleOrder::Request(Amount::from_sat(SOLD_SAT))).await.unwrap();
    let again = refusal(order(&mut payer, SaleOrder::Request(Amount::ONE_SAT)).await);
    assert_eq!(again, Refusal::SaleExists(reference("S1")));
    order(&mut payer, quote(desk, now_ms() + 50)).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(60)).await;
    let late = refusal(order(&mut payer, SaleOrder::Accept(reference("C1"))).await);
    assert!(matches!(late, Refusal::Sale(DeskError::QuoteExpired { .. })), "{late}");
    payer.step().await.unwrap();
    assert_eq!(state(&payer).await, SaleState::Expired);
    assert!(matches!(refusal(deliver(&mut payer, &[]).await), Refusal::NotContracted { state: "EXPIRED", .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn desk_that_is_listed_unknown_or_somebody_elses_by_now_gets_nothing() {
    let (pool, mut payer, desk) = pool_and_desk(selling(LotMethod::Fifo)).await;
    order(&mut payer, SaleOrder::Request(Amount::from_sat(SOLD_SAT))).await.unwrap();
    let unknown = refusal(order(&mut payer, quote(pool.miners[0], now_ms() + DAY_MS)).await);
    assert_eq!(unknown, Refusal::DeskUnknown(pool.miners[0]));
    order(&mut payer, quote(desk, now_ms() + DAY_MS)).await.unwrap();
    order(&mut payer, SaleOrder::Accept(reference("C1"))).await.unwrap();

    let other = payer.set_party(None, &party("Another Desk LLC"), "alice").await.unwrap();
    own(&mut payer, desk, other).await;
    assert!(matches!(refusal(deliver(&mut payer, &[]).await), Refusal::DeskMoved(_)));
    own(&mut payer, desk, PartyId::new(1)).await;

    let mainnet = Address::p2pkh(PubkeyHash::from_byte_array([90; 20]), Network::Bitcoin).to_string();
    payer.screening_mut().use_lists(Arc::new(lists(&[&mainnet], now_ms())));
    assert_eq!(refusal(deliver(&mut payer, &[]).await), Refusal::Restrained(desk, "blocked"));
    assert_eq!(state(&payer).await, SaleState::Blocked);
    assert_eq!(pool.balance(LedgerAccount::Fee).await, -((2 * FEE_SAT) as i64));
    // Lists that may not be relied upon stop it too.
    let old = lists(&["1BitcoinEaterAddressDontSendf59kuE"], now_ms() - 2 * DAY_MS);
    *payer.screening_mut() = Screening::new(Arc::new(old), BTreeSet::new());
    assert!(matches!(refusal(deliver(&mut payer, &[]).await), Refusal::NotScreened(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn delivery_that_is_given_back_or_reorganised_can_be_made_again() {
    let policy = PayoutPolicy { approval: Approval::Above(Amount::from_sat(SOLD_SAT - 1)), ..selling(LotMethod::Fifo) };
    let (pool, mut payer, desk) = pool_and_desk(policy).await;
    contracted(&mut payer, desk).await;
    let first = deliver(&mut payer, &[]).await.unwrap().batch.unwrap();
    let refused = refusal(order(&mut payer, SaleOrder::Cancel(reference("changed our minds"))).await);
    assert!(matches!(refused, Refusal::Delivering { .. }));
    payer.cancel(first, "wrong address", false).await.unwrap();
    assert_eq!(pool.balance(LedgerAccount::Fee).await, -((2 * FEE_SAT) as i64));
    audit::verify(&*pool.store).await.unwrap();

    let second = deliver(&mut payer, &[]).await.unwrap().batch.unwrap();
    assert_ne!(first, second);
    payer.approve(second, "bob").await.unwrap();
    payer.step().await.unwrap();
    let block = pool.node.mine(1).unwrap()[0];
    payer.step().await.unwrap();
    assert_eq!(state(&payer).await, SaleState::Delivered);
    pool.node.invalidate(block).unwrap();
    pool.node.mine_empty(2).unwrap();
    payer.step().await.unwrap();
    assert_eq!(state(&payer).await, SaleState::Reversed);
    let early = refusal(
        order(&mut payer, SaleOrder::Declare { declaration: reference("D1"), authority: reference("A") }).await,
    );
    assert!(matches!(early, Refusal::Sale(DeskError::Order { .. })), "{early}");
    pool.node.mine(1).unwrap();
    payer.step().await.unwrap();
    assert_eq!(state(&payer).await, SaleState::Delivered);
    audit::verify(&*pool.store).await.unwrap();
    pool.assert_coins_are_there(&payer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_specific_identification_the_named_coins_are_sold_and_never_more_than_there_is() {
    let (pool, mut payer, desk) = pool_and_desk(selling(LotMethod::Specific)).await;
    contracted(&mut payer, desk).await;
    assert_eq!(refusal(deliver(&mut payer, &[]).await), Refusal::LotsNotNamed);
    let coins = pool.store.pool_coins(reserve_of_fee()).await.unwrap();
    let pick = |coin: usize, sat| Pick { lot: coins[coin].coinbase.to_string(), amount: Amount::from_sat(sat) };
    let short = refusal(deliver(&mut payer, &[pick(1, FEE_SAT)]).await);
    assert!(matches!(short, Refusal::Lots(_)), "{short}");
    let status = deliver(&mut payer, &[pick(1, FEE_SAT), pick(0, SOLD_SAT - FEE_SAT)]).await.unwrap();
    let batch = pool.store.batch(status.batch.unwrap()).await.unwrap().unwrap();
    let taken: Vec<_> = batch.outputs[0].lots.iter().map(|lot| (lot.coinbase, lot.amount.to_sat())).collect();
    assert_eq!(taken, [(coins[1].coinbase, FEE_SAT), (coins[0].coinbase, SOLD_SAT - FEE_SAT)]);
    let name = reference("S2");
    payer.order_sale(&name, SaleOrder::Request(Amount::from_sat(SOLD_SAT)), "alice").await.unwrap();
    payer.order_sale(&name, quote(desk, now_ms() + DAY_MS), "alice").await.unwrap();
    payer.order_sale(&name, SaleOrder::Accept(reference("C2")), "alice").await.unwrap();
    let short = refusal(payer.deliver_sale(&name, &[], "alice").await);
    assert!(matches!(short, Refusal::ShortOfFee { .. }), "{short}");
    audit::verify(&*pool.store).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sold_by_a_pool_that_does_not_say_where_it_is_resident() {
    let (_pool, mut payer, desk) = pool_and_desk(policy()).await;
    order(&mut payer, SaleOrder::Request(Amount::from_sat(SOLD_SAT))).await.unwrap();
    assert_eq!(refusal(order(&mut payer, quote(desk, now_ms() + DAY_MS)).await), Refusal::SellerResidency);
}
