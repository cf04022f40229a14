//! Nothing is paid to whom a list names. Accounts are screened when they become known and when lists change, payouts when
//! they are made up and right before they are given to the network. What is found restrains the account, together with
//! the evidence; lists that may not be relied upon stop all payments, and nothing else.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bitcoin::ScriptBuf;
use sha2::{Digest, Sha256};

use super::{COMMIT_ATTEMPTS, Payer, PayoutError, orders};
use crate::{
    account::{Account, AccountId},
    clock::now_ms,
    export::{
        journal::{JournalSeq, Recorded},
        lists::{Acceptances, ListAccepted, Lists},
        owner::Owners,
        party::{Party, PartyId, Vault},
        rules::profile::PartyFact,
        screened::{
            Basis, Evidence, Finding, Findings, Moment, ReviewReason, Reviewed, Screened, ScreenedAll, ScreenedBatch,
            ScreenedOutput,
        },
        screening::{self, Judgement, ListSource, Outcome as Verdict, Owner, UnusableLists, name},
    },
    payout::{AttemptStage, Batch, Due, Outcome, PayoutEvent, Refusal, Restraint, RestraintAct},
    store::{Change, Commit, Row, StoreError},
};

/// Accounts that are read at a time.
const PAGE: u32 = 1_000;
/// Rows of the journal that are read at a time.
const JOURNAL_PAGE: u32 = 1_000;

/// What payments are screened by, and what was found so far.
#[derive(Debug)]
pub struct Screening {
    lists: Arc<Lists>,
    /// Seals what is known of parties, if there is a key.
    vault: Option<Vault>,
    /// The parties whose data could be opened.
    parties: BTreeMap<PartyId, Party>,
    /// What must be known of whoever is paid.
    required: BTreeSet<PartyFact>,
    findings: Findings,
    accepted: Acceptances,
    owners: Owners,
    /// The last row about an owner: a change of it makes all be screened again.
    owners_changed: JournalSeq,
    /// The last row that findings and owners come from.
    read_upto: JournalSeq,
    /// Whether the operator was told that nothing is paid.
    told: Option<String>,
}

impl Screening {
    /// Screens by these lists. Of whoever is paid, what is `required` must be known.
    pub fn new(lists: Arc<Lists>, required: BTreeSet<PartyFact>) -> Self {
        Self {
            lists,
            vault: None,
            parties: BTreeMap::new(),
            required,
            findings: Findings::default(),
            accepted: Acceptances::default(),
            owners: Owners::default(),
            owners_changed: JournalSeq::new(0),
            read_upto: JournalSeq::new(0),
            told: None,
        }
    }

    /// Screens by a list with one address, that of nobody.
    #[cfg(test)]
    #[allow(clippy::unwrap_used)]
    pub(crate) fn by_nobody() -> Self {
        let lists = crate::export::lists::tests::lists(&["1BitcoinEaterAddressDontSendf59kuE"], now_ms());
        Self::new(Arc::new(lists), BTreeSet::new())
    }

    /// Screens by other lists from the next step on.
    pub fn use_lists(&mut self, lists: Arc<Lists>) {
        self.lists = lists;
    }

    /// Seals by this vault what comes to be known of parties. `parties` is what is known.
    pub(super) fn use_vault(&mut self, vault: Vault, parties: BTreeMap<PartyId, Party>) {
        self.vault = Some(vault);
        self.parties = parties;
    }

    /// Takes in what is known of a party now.
    pub(super) fn know(&mut self, id: PartyId, party: Option<Party>) {
        match party {
            Some(party) => self.parties.insert(id, party),
            None => self.parties.remove(&id),
        };
    }

    /// Returns what is known of parties.
    pub fn parties(&self) -> &BTreeMap<PartyId, Party> {
        &self.parties
    }

    /// Returns who owns what, as of the last step.
    pub fn owners(&self) -> &Owners {
        &self.owners
    }

    pub(super) fn vault(&self) -> Option<&Vault> {
        self.vault.as_ref()
    }

    /// Returns the lists.
    pub fn lists(&self) -> &Arc<Lists> {
        &self.lists
    }

    /// Tells whether all lists may be relied upon at a time, in milliseconds since 1970 UTC.
    ///
    /// # Errors
    ///
    /// Names those that may not, and why.
    pub fn standing(&self, now_ms: i64) -> Result<(), UnusableLists> {
        self.lists.standing(now_ms, &self.accepted).map(drop)
    }

    /// Returns what was found, as of the last step.
    pub fn findings(&self) -> &Findings {
        &self.findings
    }

    fn basis(&self) -> Basis {
        Basis {
            lists: self.lists.digest().clone(),
            algorithm: name::ALGORITHM.to_owned(),
            software: concat!("adit ", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }

    /// Judges an account by its script and its owner's names; what operators released it from does not count.
    fn judge(&self, account: AccountId, script: &ScriptBuf) -> Judgement {
        let index = self.lists.index();
        let mut hits = index.screen_script(script);
        let owned = self.owners.owner(account);
        let data = owned.and_then(|owned| self.parties.get(&owned.party));
        if let Some(data) = data {
            hits.extend(data.names().flat_map(|name| index.screen_name(name, listed_kind(data))));
        }
        let is_known = |fact: PartyFact| match fact {
            PartyFact::LegalName | PartyFact::Residency => data.is_some(),
            PartyFact::TaxId => data.is_some_and(|data| !data.tax_ids.is_empty()),
            PartyFact::Registration => data.is_some_and(|data| !data.registrations.is_empty()),
            PartyFact::Lei => data.is_some_and(|data| data.lei.is_some()),
            PartyFact::Bic => data.is_some_and(|data| data.bic.is_some()),
            PartyFact::ControlProof => owned.is_some_and(|owned| owned.proof.is_some()),
        };
        let missing = self.required.iter().filter(|fact| !is_known(**fact)).map(|fact| fact.as_str().to_owned());
        let fields: Vec<_> = missing.collect();
        let owner = if fields.is_empty() { Owner::Known } else { Owner::Missing { fields } };
        // Whether the lists may be relied upon is asked once for all payments, and restrains nobody.
        self.findings.without_released(account, screening::judge_found(&owner, hits))
    }
}

fn listed_kind(party: &Party) -> screening::list::PartyKind {
    match party.kind {
        crate::export::party::PartyKind::Natural => screening::list::PartyKind::Individual,
        crate::export::party::PartyKind::Legal => screening::list::PartyKind::Entity,
    }
}

impl Payer {
    /// Returns what payments are screened by.
    pub fn screening(&self) -> &Screening {
        &self.screening
    }

    /// Changes what payments are screened by; the next step screens all accounts anew if that makes a difference.
    pub fn screening_mut(&mut self) -> &mut Screening {
        &mut self.screening
    }

    /// Takes in what is on record, as a step does first.
    ///
    /// # Errors
    ///
    /// If the store fails.
    pub async fn recall(&mut self) -> Result<(), PayoutError> {
        self.read_journal().await
    }

    /// Screens whoever was not yet screened by these lists, and restrains whom they name.
    pub(super) async fn screen_accounts(&mut self, events: &mut Vec<PayoutEvent>) -> Result<(), PayoutError> {
        self.read_journal().await?;
        let basis = self.screening.basis();
        let owners = self.screening.owners_changed.get();
        let last = self.screening.findings.last_all().cloned();
        let are_lists_new = last.as_ref().is_none_or(|last| last.basis.lists != basis.lists);
        let (moment, after) = match last.filter(|last| last.basis == basis && last.owners == owners) {
            Some(last) => (Moment::Registration, last.upto),
            None => (Moment::ListUpdate, AccountId::new(0)),
        };
        if self.screening.lists.index().lists().next().is_none() {
            // There is nothing to screen by. Nothing is paid either.
            return Ok(());
        }
        if are_lists_new {
            self.record(&self.screening.lists.loaded(now_ms())).await?;
        }
        let (mut upto, mut accounts, mut restrained) = (after, 0, 0);
        let mut subjects = Sha256::new();
        loop {
            let page = self.store.accounts(upto, PAGE).await?;
            let Some(newest) = page.last() else { break };
            upto = newest.id;
            for account in &page {
                accounts += 1;
                subjects.update(format!("{}:{}\n", account.id, account.script_pubkey.to_hex_string()));
                restrained += u64::from(self.screen_account(moment, account, events).await?);
                // A name takes milliseconds, and miners' connections share the thread.
                tokio::task::yield_now().await;
            }
        }
        if accounts == 0 && moment == Moment::Registration {
            return Ok(());
        }
        let subjects_sha256 = hex::encode(subjects.finalize());
        let all = ScreenedAll { moment, after, upto, accounts, restrained, subjects_sha256, owners, basis };
        self.record(&all).await
    }

    /// Screens one account; true if it is restrained then.
    async fn screen_account(
        &mut self,
        moment: Moment,
        account: &Account,
        events: &mut Vec<PayoutEvent>,
    ) -> Result<bool, PayoutError> {
        let script = &account.script_pubkey;
        let judgement = self.screening.judge(account.id, script);
        if judgement.outcome == Verdict::Clear {
            return Ok(self.screening.findings.of(account.id).is_some());
        }
        let screened = Screened {
            moment,
            account: account.id,
            address: account.address.clone(),
            script_pubkey: script.to_hex_string(),
            party: self.screening.owners.owner(account.id).map(|owned| owned.party),
            outcome: judgement.outcome.as_str().to_owned(),
            evidence: judgement.hits.iter().map(Evidence::of).collect(),
            missing: judgement.missing,
            basis: self.screening.basis(),
        };
        if let Some(known) = self.screening.findings.of(account.id) {
            let (known, now) = (known.screened.covers(), screened.covers());
            if now.iter().all(|key| known.contains(key)) {
                return Ok(true);
            }
        }
        let restraint = screened.restraint();
        let reason = format!(
            "screening: {}",
            judgement.reasons.iter().map(|reason| reason.as_str()).collect::<Vec<_>>().join(", ")
        );
        let outcome = self.act_on_record(account.id, restraint, RestraintAct::Begun, &reason, &screened).await?;
        if outcome == Outcome::Already {
            // It is restrained for another reason: the evidence is kept all the same.
            self.record(&screened).await?;
        }
        tracing::warn!(account = %account.id, address = %account.address, outcome = screened.outcome, %reason, "an account is not paid");
        events.push(PayoutEvent::Found { account: account.id, restraint });
        self.read_journal().await?;
        Ok(true)
    }

    /// Makes sure that payments may be made at all now. If not, it says why, once.
    pub(super) fn may_pay(&mut self, now_ms: i64, events: &mut Vec<PayoutEvent>) -> bool {
        match self.screening.standing(now_ms) {
            Ok(()) => {
                self.screening.told = None;
                true
            }
            Err(unusable) => {
                let reason = unusable.to_string();
                if self.screening.told.as_ref() != Some(&reason) {
                    events.push(PayoutEvent::ListsUnusable { reason: reason.clone() });
                    self.screening.told = Some(reason);
                }
                false
            }
        }
    }

    /// Screens those who are to be paid, restrains whom lists name, and returns the others.
    pub(super) async fn screen_due(
        &mut self,
        due: Vec<Due>,
        events: &mut Vec<PayoutEvent>,
    ) -> Result<Vec<Due>, PayoutError> {
        let mut clear = Vec::with_capacity(due.len());
        for due in due {
            let (address, script_pubkey) = (due.address.clone(), due.script_pubkey.clone());
            let account = Account { id: due.account, address, script_pubkey, name: None };
            if !self.screen_account(Moment::Batch, &account, events).await? {
                clear.push(due);
            }
        }
        Ok(clear)
    }

    /// Returns what is put on record of a payout whose outputs are clear; nothing if one of them is not.
    pub(super) fn screen_batch(&self, batch: &Batch, moment: Moment) -> Option<ScreenedBatch> {
        let mut outputs = Vec::with_capacity(batch.outputs.len());
        for output in &batch.outputs {
            let (account, script) = (output.due.account, &output.due.script_pubkey);
            let outcome = self.screening.judge(account, script).outcome;
            if outcome != Verdict::Clear || self.screening.findings.of(account).is_some() {
                return None;
            }
            let (script_pubkey, outcome) = (script.to_hex_string(), outcome.as_str().to_owned());
            outputs.push(ScreenedOutput { vout: output.vout, account, script_pubkey, outcome });
        }
        Some(ScreenedBatch { moment, batch: batch.id, outputs, basis: self.screening.basis() })
    }

    /// Makes sure, right before it leaves the pool's hands, that all that a batch pays may be paid, and puts that on
    /// record. A batch that may not, and that nobody can have signed, is given back: the others in it are paid by the
    /// next one.
    pub(super) async fn may_send(&mut self, batch: &Batch, events: &mut Vec<PayoutEvent>) -> Result<bool, PayoutError> {
        if !self.may_pay(now_ms(), events) {
            return Ok(false);
        }
        if let Some(screened) = self.screen_batch(batch, Moment::Broadcast) {
            let is_sent = batch.attempts.iter().any(|attempt| matches!(attempt.stage, AttemptStage::Broadcast(_)));
            if !is_sent {
                self.record(&screened).await?;
            }
            return Ok(true);
        }
        if batch.is_unsigned() {
            match self.cancel(batch.id, "screening: an output may not be paid", false).await {
                Ok(_) => {
                    events.push(PayoutEvent::GivenBack { batch: batch.id });
                    return Ok(false);
                }
                // Handed out to be signed elsewhere, or its coins are gone: that needs an operator.
                Err(PayoutError::Refused(_)) => {}
                Err(error) => return Err(error),
            }
        }
        tracing::error!(batch = %batch.id, "incident: a signed payout pays an account that may not be paid; it is not sent");
        events.push(PayoutEvent::Withheld { batch: batch.id });
        Ok(false)
    }

    /// Takes an operator's word that an account may be released from what screening found. The second one, by another
    /// operator, releases it.
    ///
    /// # Errors
    ///
    /// If the store fails; if screening restrains no such account; if the word is the same operator's again; or if an
    /// account that is blocked is still listed and no authority's reference is given.
    pub async fn review(
        &mut self,
        account: AccountId,
        by: &str,
        reason: ReviewReason,
        text: &str,
        authorisation: Option<&str>,
    ) -> Result<Review, PayoutError> {
        orders::check_words(by)?;
        orders::check_words(text)?;
        self.read_journal().await?;
        let finding = self.screening.findings.of(account).cloned().ok_or(Refusal::NotFoundByScreening(account))?;
        let authorisation = authorisation.map(str::to_owned);
        self.check_review(&finding, authorisation.as_deref()).await?;
        let releases = match &finding.first_review {
            None => false,
            Some(first) if first.by.trim().eq_ignore_ascii_case(by.trim()) => {
                return Err(Refusal::SameOperator(account).into());
            }
            Some(_) => true,
        };
        let reviewed = Reviewed {
            account,
            screening: finding.row,
            by: by.trim().to_owned(),
            reason,
            text: text.to_owned(),
            authorisation,
            releases,
            covers: finding.screened.covers(),
        };
        if !releases {
            self.record(&reviewed).await?;
            self.read_journal().await?;
            return Ok(Review::Noted);
        }
        let words = format!("screening: released by two operators, {text}");
        let words: String = words.chars().take(orders::MAX_WORDS).collect();
        for restraint in Restraint::ALL {
            if self.is_by_screening(account, restraint).await? {
                self.act_on_record(account, restraint, RestraintAct::Ended, &words, &reviewed).await?;
            }
        }
        self.read_journal().await?;
        if self.screening.findings.of(account).is_some() {
            // No restraint was in force any more that could carry the row.
            self.record(&reviewed).await?;
            self.read_journal().await?;
        }
        Ok(Review::Released)
    }

    /// Takes an operator's word that a list is right although it is much smaller than the one before. The second one, by
    /// another operator, lets payments go on.
    ///
    /// # Errors
    ///
    /// If the store fails, there is no such list, or the word is the same operator's again.
    pub async fn accept_list(&mut self, source: &ListSource, by: &str, text: &str) -> Result<Review, PayoutError> {
        orders::check_words(by)?;
        orders::check_words(text)?;
        self.read_journal().await?;
        let read = self.screening.lists.read().iter().find(|list| list.source == *source);
        let list = read.and_then(|read| read.list()).ok_or_else(|| Refusal::UnknownList(source.to_string()))?;
        let (sha256, entry_count) = (list.sha256.to_string(), list.entry_count);
        if self.screening.accepted.has_word_of(source, &sha256, by) {
            return Err(Refusal::SameWord(source.to_string()).into());
        }
        let (source, by, text) = (source.clone(), by.trim().to_owned(), text.to_owned());
        let word = ListAccepted { source: source.to_string(), sha256: sha256.clone(), entry_count, by, text };
        self.record(&word).await?;
        self.read_journal().await?;
        let is_accepted = self.screening.accepted.has(&source, &sha256);
        Ok(if is_accepted { Review::Released } else { Review::Noted })
    }

    async fn check_review(&self, finding: &Finding, authorisation: Option<&str>) -> Result<(), PayoutError> {
        if finding.screened.restraint() != Restraint::Blocked
            || authorisation.is_some_and(|text| !text.trim().is_empty())
        {
            return Ok(());
        }
        let account = finding.screened.account;
        let script = ScriptBuf::from_hex(&finding.screened.script_pubkey).unwrap_or_default();
        match self.screening.judge(account, &script).outcome {
            Verdict::Blocked => Err(Refusal::StillListed(account).into()),
            Verdict::Held | Verdict::Clear => Ok(()),
        }
    }

    /// Tells whether a restraint that is in force was laid on by screening, and not by an operator.
    async fn is_by_screening(&self, account: AccountId, restraint: Restraint) -> Result<bool, PayoutError> {
        let last = self.store.restraint(account, restraint).await?;
        Ok(last.is_some_and(|row| row.is_in_force() && row.reason.starts_with("screening: ")))
    }

    /// Posts an act of a restraint together with what it follows from.
    async fn act_on_record(
        &mut self,
        account: AccountId,
        restraint: Restraint,
        act: RestraintAct,
        reason: &str,
        record: &impl Recorded,
    ) -> Result<Outcome, PayoutError> {
        for _ in 0..COMMIT_ATTEMPTS {
            let Some((entry, row)) = self.restraining(account, restraint, act, reason).await? else {
                return Ok(Outcome::Already);
            };
            let journal = self.journal_row(record).await?;
            let rows = vec![Row::Restrained(row), Row::Journal(journal)];
            if self.store.commit(Change { entry, rows }).await? == Commit::Done {
                return Ok(Outcome::Done);
            }
        }
        Err(StoreError::Contended.into())
    }

    /// Appends a row to the journal.
    pub(super) async fn record(&self, record: &impl Recorded) -> Result<(), PayoutError> {
        for _ in 0..COMMIT_ATTEMPTS {
            let row = self.journal_row(record).await?;
            if self.store.append_journal(&[row]).await? == Commit::Done {
                return Ok(());
            }
        }
        Err(StoreError::Contended.into())
    }

    /// Takes in what the journal says since the last time.
    pub(super) async fn read_journal(&mut self) -> Result<(), PayoutError> {
        loop {
            let page = self.store.journal_rows(self.screening.read_upto, JOURNAL_PAGE).await?;
            let Some(newest) = page.last() else { return Ok(()) };
            let newest = newest.seq;
            for row in &page {
                self.screening.findings.note(row)?;
                self.screening.accepted.note(row)?;
                self.sales.note(row)?;
                let is_about_owners = crate::export::owner::KINDS.contains(&row.kind.as_str());
                if is_about_owners {
                    self.screening.owners.note(row)?;
                    self.screening.owners_changed = row.seq;
                }
            }
            self.screening.read_upto = newest;
        }
    }
}

/// What became of a review.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Review {
    /// It is on record; another operator must agree.
    Noted,
    /// It was the second: the account is released.
    Released,
}
