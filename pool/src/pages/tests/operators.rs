//! The pages by which operators look after accounts, the ledger, tokens and settings; and the help pages.

use bitcoin::{
    Address, Amount, BlockHash, CompactTarget, Network, OutPoint, PubkeyHash, Txid, address::NetworkUnchecked,
    hashes::Hash,
};
use jiff::Timestamp;
use payouts::{
    account::AccountId,
    books::{BlockCredit, BlockPhase, BlockRecord, BlockState, DirectPayments, FoundBlock},
    history::{Progress, seen},
    ledger::{Draft, EntryKind, LedgerAccount},
    share::{Difficulty, JobNumber, JobTerms, Reward, ShareGroup, ShareRun, ShareSeq},
    store::{Change, Commit, HistoryStep, HistoryStore, Row},
};

use super::*;

impl Fixture {
    async fn logged_in(&self, grant: Grant) -> String {
        let (_, token) = self.token(&format!("{grant:?}"), grant).await;
        self.log_in(&token, "/").await.1
    }

    async fn form_key(&self, session: &str) -> String {
        form_key(&self.get("/blocks", session).await.html)
    }

    /// Uses a form, and returns what the next page says of it.
    async fn post(&self, path: &str, session: &str, fields: &[(&str, &str)]) -> Got {
        let key = self.form_key(session).await;
        let mut fields = fields.to_vec();
        fields.push(("form_key", &key));
        let got = self.ask(Method::POST, path, session, &fields).await;
        assert_eq!(got.status, 303, "{path}: {}", got.html);
        self.get(&got.location, session).await
    }

    /// Books something, and returns the account that it is about.
    async fn book(&self) -> AccountId {
        let address: Address<NetworkUnchecked> = ADDRESS.parse().unwrap();
        let account = self.store.account(address.assume_checked_ref()).await.unwrap();
        let lines = Draft::begin(EntryKind::ReserveFunded, "<first> gift")
            .debit(LedgerAccount::Spendable, Amount::from_sat(150_000_000))
            .credit(LedgerAccount::MinerPayable(account), Amount::from_sat(150_000_000));
        let entry = lines.balanced().unwrap().seal(self.store.head().await.unwrap(), 1_700_000_000_000);
        assert_eq!(self.store.commit(Change { entry, rows: Vec::new() }).await.unwrap(), Commit::Done);
        account
    }

    /// Has an account find a share, and takes it into the history.
    async fn mine(&self, account: AccountId, at_ms: i64) {
        self.mine_with(account, &[("rig".to_owned(), 1)], at_ms).await;
    }

    /// Has workers of an account find so many shares, and takes them into the history.
    async fn mine_with(&self, account: AccountId, workers: &[(String, u32)], at_ms: i64) {
        let session = self.store.begin_session().await.unwrap();
        let [position, segment] = [0, 1].map(|number| ShareSeq::of_session(session, number).unwrap());
        let job = JobTerms {
            job: JobNumber::new(1),
            position,
            opened_at_ms: 0,
            prev_hash: None,
            height: None,
            nbits: CompactTarget::from_consensus(0x207f_ffff),
            subsidy: None,
            fees: None,
        };
        let run = |(worker, count): &(String, u32)| ShareRun {
            account,
            worker: worker.as_str().into(),
            job,
            difficulty: Difficulty::from_log2(10).unwrap(),
            reward: Reward::Shared,
            count: *count,
            first_at_ms: at_ms,
            last_at_ms: at_ms,
        };
        let runs = workers.iter().map(run).collect();
        self.store.append_shares(&ShareGroup { session, number: 1, segment, runs }).await.unwrap();
        let to = Progress::begin(segment, Some(0), at_ms);
        let shares = self.store.shares_by_worker(ShareSeq::new(0), segment, to.worker).await.unwrap();
        let step = HistoryStep { from: None, to, rows: Vec::new(), seen: seen(&shares) };
        assert!(self.store.step_history(&step).await.unwrap());
    }
}

#[tokio::test]
async fn strongest_workers_of_an_account_are_shown_and_the_others_counted() {
    let fixture = Fixture::new(false).await;
    let account = fixture.book().await;
    let workers: Vec<_> = (1..=103).map(|count| (format!("rig{count}"), count)).collect();
    fixture.mine_with(account, &workers, Timestamp::now().as_millisecond()).await;
    let session = fixture.logged_in(Grant::View).await;
    let page = fixture.get(&format!("/accounts/{ADDRESS}"), &session).await.html;
    let shown: Vec<_> = page.split("<th scope=\"row\">rig").skip(1).filter_map(|row| row.split('<').next()).collect();
    assert!(shown.iter().map(|name| name.parse::<u32>().unwrap()).eq((4..=103).rev()), "{shown:?}");
    assert!(page.contains("And 3 weaker ones."), "{page}");
}

#[tokio::test]
async fn credits_of_a_block_are_shown_in_parts_the_greatest_first() {
    let fixture = Fixture::new(false).await;
    let mut credits = Vec::new();
    for number in 1..=120 {
        let address = Address::p2pkh(PubkeyHash::from_byte_array([number; 20]), Network::Regtest);
        let account = fixture.store.account(&address).await.unwrap();
        credits.push(BlockCredit { account, amount: Amount::from_sat(number.into()), paid: Amount::ZERO });
    }
    let whole: Amount = credits.iter().map(|credit| credit.amount).sum();
    let hash = BlockHash::from_byte_array([1; 32]);
    let found = FoundBlock {
        hash,
        height: 7,
        coinbase: OutPoint::new(Txid::from_byte_array([1; 32]), 0),
        value: whole,
        subsidy: whole,
        finder: credits[0].account,
        share_position: ShareSeq::new(0),
        nbits: CompactTarget::from_consensus(0x207f_ffff),
        found_at_ms: 1,
        direct: DirectPayments::default(),
    };
    let state = BlockState { phase: BlockPhase::Immature, epoch: 0 };
    let block = BlockRecord { found, fee: Amount::ZERO, reserve: Amount::ZERO, rule: None, state };
    let mut draft = Draft::begin(EntryKind::BlockFound, hash).debit(LedgerAccount::Immature(hash), whole);
    for credit in &credits {
        draft = draft.credit(LedgerAccount::MinerImmature(credit.account), credit.amount);
    }
    let entry = draft.balanced().unwrap().seal(fixture.store.head().await.unwrap(), 1);
    let rows = vec![Row::BlockFound { block, credits, window: None }];
    assert_eq!(fixture.store.commit(Change { entry, rows }).await.unwrap(), Commit::Done);

    let session = fixture.logged_in(Grant::View).await;
    let (mut path, mut shown) = (format!("/blocks/{hash}"), Vec::new());
    loop {
        let page = fixture.get(&path, &session).await.html;
        assert!(page.contains("Miners: 120"), "{page}");
        let rows = page.split("<td><a href=\"/m/").skip(1);
        let sums = rows.filter_map(|row| row.split("<td class=\"number\">").nth(1)?.split('<').next()?.parse().ok());
        shown.push(sums.collect::<Vec<u64>>());
        let Some((link, _)) = page.split_once("#credits\">Smaller credits") else { break };
        path = link.rsplit_once('"').unwrap().1.to_owned();
    }
    assert_eq!(shown.iter().map(Vec::len).collect::<Vec<_>>(), [50, 50, 20]);
    assert!(shown.concat().into_iter().eq((1..=120).rev()), "{shown:?}");
    let beyond = fixture.get(&format!("/blocks/{hash}?after=999"), &session).await;
    assert_eq!(beyond.status, 200);
}

#[tokio::test]
async fn accounts_are_listed_with_their_last_share() {
    let fixture = Fixture::new(false).await;
    let account = fixture.book().await;
    let session = fixture.logged_in(Grant::View).await;
    assert!(fixture.get("/accounts", &session).await.html.contains("none yet"));
    fixture.mine(account, 1_700_000_000_000).await;
    let html = fixture.get("/accounts", &session).await.html;
    assert!(html.contains("datetime=\"2023-11-14T22:13:20Z\"") && !html.contains("none yet"), "{html}");
}

#[tokio::test]
async fn accounts_are_listed_with_their_balances_and_found_by_a_part_of_their_address() {
    let fixture = Fixture::new(false).await;
    fixture.book().await;
    let session = fixture.logged_in(Grant::View).await;
    let all = fixture.get("/accounts", &session).await.html;
    assert!(all.contains(&format!("href=\"/accounts/{ADDRESS}\"")) && all.contains("1.50000000"), "{all}");
    let found = fixture.get(&format!("/accounts?search={}", &ADDRESS[8..20]), &session).await.html;
    assert!(found.contains(&format!("href=\"/accounts/{ADDRESS}\"")), "{found}");
    let none = fixture.get("/accounts?search=%22%3E%3Cscript%3E", &session).await.html;
    assert!(none.contains("No address and no name") && !none.contains("<script>"), "{none}");
}

#[tokio::test]
async fn account_has_its_balance_and_entries_and_forms_for_operators_alone() {
    let fixture = Fixture::new(false).await;
    fixture.book().await;
    let path = format!("/accounts/{ADDRESS}");
    let viewer = fixture.logged_in(Grant::View).await;
    let html = fixture.get(&path, &viewer).await.html;
    assert!(html.contains("<dd>1.50000000</dd>") && html.contains("href=\"/ledger/1\""), "{html}");
    assert!(html.contains("Workers of the last 24 hours") && !html.contains("/hold\""), "{html}");
    let operator = fixture.logged_in(Grant::Operate).await;
    let html = fixture.get(&path, &operator).await.html;
    for form in ["hold", "threshold", "name", "settings"] {
        assert!(html.contains(&format!("action=\"{path}/{form}\"")), "{form} is not in {html}");
    }
    let told = fixture.post(&format!("{path}/threshold"), &operator, &[("threshold", "-1")]).await.html;
    assert!(told.contains("notice refused") && told.contains("Threshold: "), "{told}");
    assert_eq!(fixture.get("/accounts/nobody", &operator).await.status, 404);
}

#[tokio::test]
async fn ledger_balances_and_each_entry_has_its_place_in_the_chain() {
    let fixture = Fixture::new(false).await;
    fixture.book().await;
    let session = fixture.logged_in(Grant::View).await;
    let html = fixture.get("/ledger", &session).await.html;
    assert!(html.contains("tag well\">balances") && html.contains("href=\"/ledger/1\""), "{html}");
    assert!(html.contains("\u{2212}1.50000000") && !html.contains("/ledger/fund"), "{html}");
    for (query, is_there) in
        [("kind=reserve_funded", true), ("kind=held", false), ("account=spendable", true), ("account=fee", false)]
    {
        let html = fixture.get(&format!("/ledger?{query}"), &session).await.html;
        assert_eq!(html.contains("&lt;first&gt;"), is_there, "{query}: {html}");
    }
    assert_eq!(fixture.get("/ledger?kind=nothing", &session).await.status, 422);
    let entry = fixture.get("/ledger/1", &session).await.html;
    let head = fixture.store.head().await.unwrap().hash.to_string();
    assert!(entry.contains(&head) && entry.contains("none: this is the first") && entry.contains(ADDRESS), "{entry}");
    let table = fixture.get(&format!("/ledger/entries.csv?account={ADDRESS}"), &session).await.html;
    assert_eq!(table.lines().count(), 3, "{table}");
    assert!(table.contains(",miner_payable:1,-150000000,"), "{table}");
}

#[tokio::test]
async fn token_is_shown_once_and_revoked_when_that_is_confirmed() {
    let fixture = Fixture::new(false).await;
    let session = fixture.logged_in(Grant::Administer).await;
    let made = fixture.post("/tokens", &session, &[("label", "bob"), ("role", "viewer")]).await.html;
    let (_, rest) = made.split_once("id=\"secret\">").unwrap();
    let secret = rest.split('<').next().unwrap().to_owned();
    assert!(secret.starts_with("adit_") && made.contains("data-copy=\"secret\""), "{made}");
    assert!(!made.contains("data-live"), "it must stay until it was copied");
    let again = fixture.get("/tokens", &session).await.html;
    assert!(again.contains("bob") && !again.contains(&secret), "{again}");
    let (_, other) = fixture.log_in(&secret, "/").await;
    assert_eq!(fixture.get("/blocks", &other).await.status, 200);

    let path = "/tokens/2/revoke";
    let told = fixture.post(path, &session, &[]).await.html;
    assert!(told.contains("Nothing was revoked"), "{told}");
    assert_eq!(fixture.get("/blocks", &other).await.status, 200);
    let told = fixture.post(path, &session, &[("confirmed", "on")]).await.html;
    assert!(told.contains("Token bob is revoked"), "{told}");
    assert_eq!(fixture.get("/blocks", &other).await.status, 303);

    let record = fixture.get("/audit?action=REVOKE", &session).await.html;
    assert!(record.contains("revoke token 2") && !record.contains("add token bob"), "{record}");
    assert!(!fixture.get("/audit", &session).await.html.contains(&secret));
}

#[tokio::test]
async fn watcher_is_made_for_an_account_alone() {
    let fixture = Fixture::new(false).await;
    let session = fixture.logged_in(Grant::Administer).await;
    let told = fixture.post("/tokens", &session, &[("label", "eve"), ("role", "watcher")]).await.html;
    assert!(told.contains("notice refused") && !told.contains("id=\"secret\""), "{told}");
    let fields = [("label", "eve"), ("role", "watcher"), ("account", ADDRESS)];
    let made = fixture.post("/tokens", &session, &fields).await.html;
    assert!(made.contains("id=\"secret\"") && made.contains(&format!("/accounts/{ADDRESS}")), "{made}");
}

#[tokio::test]
async fn settings_say_when_they_cannot_be_told() {
    let fixture = Fixture::new(false).await;
    let session = fixture.logged_in(Grant::Operate).await;
    let got = fixture.get("/settings", &session).await;
    assert!(got.status == 200 && got.html.contains("notice refused") && !got.html.contains("/tokens"), "{}", got.html);
}

#[tokio::test]
async fn help_is_anybodys_and_health_leads_to_it() {
    let fixture = Fixture::new(false).await;
    for path in ["/help", "/help/runbook", "/help/errors", "/help/config"] {
        let Got { status, html, policy, .. } = fixture.get(path, "").await;
        assert_eq!((status.as_u16(), policy.as_str()), (200, POLICY), "{path}");
        assert!(!html.contains("<script>") && !html.contains(" style="), "{path}: {html}");
    }
    assert_eq!(fixture.get("/help/nothing", "").await.status, 404);
    assert_eq!(fixture.get("/help/..%2F..%2FCargo", "").await.status, 404);
    let session = fixture.logged_in(Grant::View).await;
    assert!(fixture.get("/help/runbook", &session).await.html.contains("aria-label=\"Pages\""));
    let home = fixture.get("/", &session).await.html;
    for watched in crate::api::health::Watched::ALL {
        assert!(home.contains(&format!("href=\"{}\"", watched.help())), "{watched:?}: {home}");
    }
}
