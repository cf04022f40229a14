//! What every store must do with lists for people: pages that follow each other give what the whole list gives.

use super::*;
use crate::store::AccountPosting;

/// Goes through a list a page of one at a time.
async fn one_by_one<T, C: Copy>(mut page: impl AsyncFnMut(Option<C>) -> Vec<T>, cursor: impl Fn(&T) -> C) -> Vec<T> {
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let Some(item) = page(after).await.pop() else { return seen };
        after = Some(cursor(&item));
        seen.push(item);
        assert!(seen.len() < 100, "the list goes in circles");
    }
}

pub(crate) async fn some_accounts_are_found_by_their_numbers(store: AnyStore) {
    let mut ids = Vec::new();
    for id in 1..=3 {
        ids.push(store.account(&address(id)).await.unwrap());
    }
    let all = store.accounts(AccountId::new(0), 10).await.unwrap();
    let [one, _, three] = ids[..] else { unreachable!() };
    let found = store.accounts_among(&[three, AccountId::new(99), one, three]).await.unwrap();
    assert_eq!(found, [all[0].clone(), all[2].clone()]);
    assert_eq!(store.accounts_among(&[]).await.unwrap(), []);
    // More than one statement asks for.
    let many: Vec<_> = (1..2_000).map(AccountId::new).collect();
    assert_eq!(store.accounts_among(&many).await.unwrap(), all);
}

pub(crate) async fn pages_of_blocks_and_batches_follow_each_other(store: AnyStore) {
    let account = store.account(&address(1)).await.unwrap();
    for id in [1, 2, 3] {
        matured_block(&store, id, account, 100).await;
        let paid = Batch { id: BatchId::new(id.into()), ..batch(&store, account, 60).await };
        let row = Row::BatchCreated { batch: paid.clone(), wallet_change: "{}".to_owned() };
        post(&store, draft(&format!("batch {id}"), 1), vec![row]).await.unwrap();
    }
    let blocks = one_by_one(
        async |after| store.blocks_after(after, 1).await.unwrap(),
        |block| (block.found.height, block.found.hash),
    );
    assert_eq!(blocks.await, store.blocks(10).await.unwrap());
    let heads = one_by_one(async |before| store.batches_before(before, 1).await.unwrap(), |batch| batch.id).await;
    let batches = store.batches(10).await.unwrap();
    assert_eq!(heads, batches.iter().map(Batch::head).collect::<Vec<_>>());
    assert_eq!(store.batches_before(None, 2).await.unwrap(), heads[..2]);
    assert_eq!(store.batch_head(heads[1].id).await.unwrap().as_ref(), Some(&heads[1]));
    assert_eq!(store.batch_head(BatchId::new(4)).await.unwrap(), None);

    let payments =
        one_by_one(async |before| store.payments_to(account, before, 1).await.unwrap(), |payment| payment.batch);
    let payments = payments.await;
    assert_eq!(payments.len(), 3);
    for (payment, batch) in payments.iter().zip(&batches) {
        let output = &batch.outputs[0];
        assert_eq!((payment.batch, payment.vout, payment.amount), (batch.id, output.vout, output.due.amount));
        assert_eq!((payment.txid, payment.fee, payment.state.as_str()), (batch.txid(), output.fee, "open"));
        assert_eq!((payment.height, payment.created_at_ms), (None, batch.created_at_ms));
    }
    for batch in &batches {
        assert_eq!(store.batch_of(batch.txid()).await.unwrap(), Some(batches[0].id), "the newest that has made it");
    }
    assert_eq!(store.batch_of(Txid::from_byte_array([9; 32])).await.unwrap(), None);

    let credits = one_by_one(
        async |after| store.credits_to(account, after, 1).await.unwrap(),
        |credit| (credit.block.found.height, credit.block.found.hash),
    );
    let credits = credits.await;
    assert_eq!(credits.iter().map(|credit| credit.block.clone()).collect::<Vec<_>>(), store.blocks(10).await.unwrap());
    for credit in &credits {
        let stored = store.credits(credit.block.found.hash).await.unwrap();
        assert_eq!((credit.amount, credit.paid), (stored[0].amount, stored[0].paid));
    }
    let nobody = store.account(&address(2)).await.unwrap();
    assert_eq!(store.payments_to(nobody, None, 10).await.unwrap(), []);
    assert_eq!(store.credits_to(nobody, None, 10).await.unwrap(), []);
}

pub(crate) async fn postings_of_an_account_are_its_own_alone(store: AnyStore) {
    let (one, other) = (store.account(&address(1)).await.unwrap(), store.account(&address(2)).await.unwrap());
    for (key, account, sat) in [("a", one, 5), ("b", other, 6), ("c", one, 7)] {
        let lines = Draft::begin(EntryKind::Broadcast, key)
            .debit(LedgerAccount::MinerPayable(account), Amount::from_sat(sat))
            .credit(LedgerAccount::Held(account), Amount::from_sat(sat));
        post(&store, lines, Vec::new()).await.unwrap();
    }
    let all = store.postings_of(one, None, 10).await.unwrap();
    let said: Vec<_> = all.iter().map(|it| (it.key.as_str(), it.account, it.amount.to_sat())).collect();
    let (payable, held) = (LedgerAccount::MinerPayable(one), LedgerAccount::Held(one));
    let mut expected = [("a", payable, 5), ("a", held, -5), ("c", payable, 7), ("c", held, -7)];
    expected.sort_by_key(|(key, account, _)| {
        let line = all.iter().find(|it| it.key == *key && it.account == *account).map(|it| it.line);
        std::cmp::Reverse((*key, line))
    });
    assert_eq!(said, expected);
    let cursor = |it: &AccountPosting| (it.entry, it.line);
    let paged = one_by_one(async |before| store.postings_of(one, before, 1).await.unwrap(), cursor).await;
    assert_eq!(paged, all);

    // All entries of these tests are of the time 1.
    let turned: Vec<_> = all.into_iter().rev().collect();
    let within = async |after| store.postings_between(one, 1, 2, after, 1).await.unwrap();
    assert_eq!(one_by_one(within, cursor).await, turned);
    for (from_ms, until_ms) in [(0, 1), (2, i64::MAX)] {
        assert_eq!(store.postings_between(one, from_ms, until_ms, None, 10).await.unwrap(), []);
    }
}
