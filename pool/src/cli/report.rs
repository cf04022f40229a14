//! What came of a request as text. Amounts are satoshis, times UTC.

use std::fmt::Write;

use payouts::export::valued::Kept;

use crate::{
    cli::{
        account,
        books::utc,
        config, connections, export, port, reload, reserve, sale, screening,
        table::{Align, Table},
        token,
    },
    operations::report::{
        AddressChange, BatchChange, BatchReport, BatchSummary, ExportedPsbt, Outcome, PreviewReport, Ran, Stage,
        Status, ThresholdSet, Wait,
    },
};

/// The text for an outcome.
///
/// # Errors
///
/// When a time in it is none.
pub(super) fn text(outcome: &Outcome) -> anyhow::Result<String> {
    Ok(match outcome {
        Outcome::Status(status) => self::status(status)?,
        Outcome::Batches(batches) => self::batches(batches)?.to_string(),
        Outcome::Batch(report) => batch(report)?,
        Outcome::Preview(preview) => self::preview(preview),
        Outcome::Ran(ran) => self::ran(ran)?,
        Outcome::Approved(change) => approved(change),
        Outcome::Cancelled(BatchChange { batch, already }) => {
            let (number, accounts) = (batch.batch, batch.accounts);
            match already {
                false => format!("Batch {number} is cancelled; what it took from {accounts} accounts is due again.\n"),
                true => format!("Batch {number} was cancelled already.\n"),
            }
        }
        Outcome::Held(change) => held(change),
        Outcome::Released(change) => released(change),
        Outcome::Threshold(set) => threshold(set),
        Outcome::Bumped(batch) => format!(
            "Batch {} has another transaction, {}, which pays the network {} sat.\n{}",
            batch.batch,
            batch.txid,
            batch.network_fee_sat,
            next_step(batch),
        ),
        Outcome::Psbt(ExportedPsbt { batch, .. }) => format!(
            "The transaction of batch {}, {}, is written. Sign it, then: adit payout import-psbt {} FILE\n",
            batch.batch, batch.txid, batch.batch,
        ),
        Outcome::Imported(BatchChange { batch, already }) => match already {
            false => format!("Batch {} is signed. {}", batch.batch, next_step(batch)),
            true => format!("Batch {} was signed already.\n", batch.batch),
        },
        Outcome::Account(change) => account::changed(change),
        Outcome::Added(added) => account::added(added),
        Outcome::NameRemoved(removed) => account::name_removed(removed),
        Outcome::Given(given) => reserve::given(given),
        Outcome::Screening(report) => screening::stands(report)?,
        Outcome::Screened(screened) => screening::checked(screened),
        Outcome::Reviewed(report) => screening::reviewed(report),
        Outcome::ListAccepted(report) => screening::accepted(report),
        Outcome::Parties(parties) => screening::parties(parties),
        Outcome::Party(party) => toml::to_string(party.as_ref())?,
        Outcome::PartySet(party) => format!("Party {party} is known.\n"),
        Outcome::PartyErased(party) => format!("What was known of party {party} is erased.\n"),
        Outcome::AddressOwned(address) => format!("The owner of {address} is on record.\n"),
        Outcome::Sales(sales) => sale::list(sales),
        Outcome::Sale(report) => sale::stands(report),
        Outcome::ValuesKept(Kept { appended, already }) => {
            format!("Values put on record: {appended}; on record already: {already}.\n")
        }
        Outcome::PeriodDeclared(change) => export::declared(change),
        Outcome::PeriodClosed(change) => export::closed(change),
        Outcome::TokenAdded(added) => token::added(added),
        Outcome::TokenRevoked(revoked) => token::revoked(revoked),
        Outcome::Metrics(text) => text.clone(),
        Outcome::Settings(shown) => config::text(shown),
        Outcome::Reloaded(report) => reload::text(report),
        Outcome::Bans(bans) => port::listed(bans),
        Outcome::Connections(listed) => connections::listed(listed)?,
        Outcome::Ordered(ordered) => format!("Connection {} was told.\n", ordered.connection),
        Outcome::Banned(banned) => port::banned(banned),
        Outcome::BanLifted(lifted) => port::lifted(lifted),
    })
}

fn status(status: &Status) -> anyhow::Result<String> {
    let mut facts = Table::new([("PAYOUTS", Align::Left), ("", Align::Left)]);
    let mut fact = |name: &str, value: String| facts.push([name.to_owned(), value]);
    fact("schedule", status.schedule.clone());
    if let Some(at_ms) = status.next_slot_at_ms {
        fact("next run", utc(at_ms)?);
    }
    if let Some(at_ms) = status.open_slot_at_ms {
        fact("not complete", format!("the run of {}", utc(at_ms)?));
    }
    fact("signed", if status.signs_here { "by the pool" } else { "elsewhere, by file" }.to_owned());
    fact("due now", format!("{} sat to {} accounts", status.due_sat, status.due_accounts));

    let ledger = &status.ledger;
    let mut sums = Table::new([("IN SUM", Align::Left), ("SAT", Align::Right)]);
    for (name, sat) in [
        ("owed to miners", ledger.payable_sat),
        ("kept back for held addresses", ledger.held_sat),
        ("blocked", ledger.blocked_sat),
        ("reserved by batches", ledger.reserved_sat),
        ("on its way", ledger.in_flight_sat),
        ("spendable", ledger.spendable_sat),
        ("immature", ledger.immature_sat),
        ("reserve of pay per share", ledger.pps_reserve_sat),
        ("the pool's fee", ledger.fee_sat),
        ("network fees paid by the pool", ledger.network_fee_sat),
    ] {
        sums.push([name.to_owned(), sat.to_string()]);
    }
    sums.push(["coins that can be spent".to_owned(), status.mature_coins_sat.to_string()]);
    sums.push(["coinbases that cannot yet".to_owned(), status.immature_coins_sat.to_string()]);

    let mut text = format!("{facts}\n{sums}");
    if !status.open.is_empty() {
        let mut open = Table::new([
            ("BATCH", Align::Right),
            ("ACCOUNTS", Align::Right),
            ("SAT", Align::Right),
            ("WAITS FOR", Align::Left),
            ("TRANSACTION", Align::Left),
        ]);
        for report in &status.open {
            let batch = &report.batch;
            open.push([
                batch.batch.to_string(),
                batch.accounts.to_string(),
                batch.paid_sat.to_string(),
                wait(&report.waits_for),
                batch.txid.to_string(),
            ]);
        }
        let _ = write!(text, "\n{open}");
    }
    if !status.restraints.is_empty() {
        let mut restraints = Table::new([
            ("NOT PAID", Align::Left),
            ("HOW", Align::Left),
            ("SINCE", Align::Left),
            ("REASON", Align::Left),
        ]);
        for row in &status.restraints {
            restraints.push([row.address.clone(), row.restraint.clone(), utc(row.at_ms)?, row.reason.clone()]);
        }
        let _ = write!(text, "\n{restraints}");
    }
    Ok(text)
}

fn batches(batches: &[BatchSummary]) -> anyhow::Result<Table> {
    let mut table = Table::new([
        ("BATCH", Align::Right),
        ("CREATED", Align::Left),
        ("STATE", Align::Left),
        ("ACCOUNTS", Align::Right),
        ("SAT", Align::Right),
        ("NETWORK FEE", Align::Right),
        ("BLOCK", Align::Right),
        ("TRANSACTION", Align::Left),
    ]);
    for batch in batches {
        table.push([
            batch.batch.to_string(),
            utc(batch.created_at_ms)?,
            batch.stage.as_str().to_owned(),
            batch.accounts.to_string(),
            batch.paid_sat.to_string(),
            batch.network_fee_sat.to_string(),
            batch.block.map_or_else(String::new, |block| block.height.to_string()),
            batch.txid.to_string(),
        ]);
    }
    Ok(table)
}

fn batch(report: &BatchReport) -> anyhow::Result<String> {
    let mut text = format!("{}\n", batches(std::slice::from_ref(&report.summary))?);
    let mut outputs = Table::new([
        ("OUTPUT", Align::Right),
        ("SAT", Align::Right),
        ("FEE PART", Align::Right),
        ("ADDRESS", Align::Left),
        ("FROM SAT", Align::Right),
        ("FROM COINBASE", Align::Left),
    ]);
    for output in &report.outputs {
        for lot in &output.lots {
            outputs.push([
                output.vout.to_string(),
                output.paid_sat.to_string(),
                output.fee_part_sat.to_string(),
                output.address.clone(),
                lot.sat.to_string(),
                lot.coinbase.to_string(),
            ]);
        }
    }
    let mut transactions = Table::new([
        ("MADE", Align::Left),
        ("STATE", Align::Left),
        ("NETWORK FEE", Align::Right),
        ("TRANSACTION", Align::Left),
    ]);
    for transaction in &report.transactions {
        transactions.push([
            utc(transaction.created_at_ms)?,
            transaction.stage.as_str().to_owned(),
            transaction.network_fee_sat.to_string(),
            transaction.txid.to_string(),
        ]);
    }
    let _ = write!(text, "{outputs}\n{transactions}");
    if !report.events.is_empty() {
        let mut events = Table::new([("TIME", Align::Left), ("EVENT", Align::Left), ("BY OR WHY", Align::Left)]);
        for event in &report.events {
            events.push([utc(event.at_ms)?, event.event.clone(), event.note.clone()]);
        }
        let _ = write!(text, "\n{events}");
    }
    Ok(text)
}

fn preview(preview: &PreviewReport) -> String {
    let mut table = Table::new([("ADDRESS", Align::Left), ("SAT", Align::Right), ("NETWORK FEE", Align::Right)]);
    for output in &preview.outputs {
        let paid = output.taken_sat.saturating_sub(output.fee_part_sat);
        table.push([output.address.clone(), paid.to_string(), output.fee_part_sat.to_string()]);
    }
    let PreviewReport { outputs, paid_sat, network_fee_sat, left_accounts, left_sat, obstacle, .. } = preview;
    let mut text = match outputs.is_empty() {
        true => "A run would make no transaction now.\n".to_owned(),
        false => format!(
            "{table}\nA run would pay {} accounts {paid_sat} sat, and the network about {network_fee_sat} sat.\n",
            outputs.len()
        ),
    };
    if *left_accounts > 0 {
        let _ = writeln!(text, "{left_accounts} accounts wait with {left_sat} sat for a further one, or for coins.");
    }
    if let Some(obstacle) = obstacle {
        let _ = writeln!(text, "Nothing is paid: {obstacle}.");
    }
    text
}

fn ran(ran: &Ran) -> anyhow::Result<String> {
    let mut text = match ran.batches.is_empty() {
        true if ran.waiting_accounts == 0 => "Nothing is due.\n".to_owned(),
        true => String::new(),
        false => batches(&ran.batches)?.to_string(),
    };
    if ran.waiting_accounts > 0 {
        let _ = writeln!(
            text,
            "{} accounts wait with {} sat: the pool has no coins free to pay them now.",
            ran.waiting_accounts, ran.waiting_sat
        );
    }
    Ok(text)
}

fn approved(BatchChange { batch, already }: &BatchChange) -> String {
    match already {
        false => format!("Batch {} is approved. {}", batch.batch, next_step(batch)),
        true => format!("Batch {} was approved already.\n", batch.batch),
    }
}

fn held(AddressChange { address, already, held_sat, .. }: &AddressChange) -> String {
    match already {
        false => format!("{address} is held: {held_sat} sat are kept back, and what it earns from now on.\n"),
        true => format!("{address} was held already, with {held_sat} sat kept back.\n"),
    }
}

fn released(AddressChange { address, already, payable_sat, .. }: &AddressChange) -> String {
    match already {
        false => format!("{address} is released: {payable_sat} sat are due to it.\n"),
        true => format!("{address} was not held.\n"),
    }
}

fn threshold(ThresholdSet { address, threshold_sat, already }: &ThresholdSet) -> String {
    let from = match threshold_sat {
        Some(sat) => format!("from {sat} sat on"),
        None => "from the pool's threshold on".to_owned(),
    };
    format!("{address} {} paid {from}.\n", if *already { "was already" } else { "is" })
}

/// What happens next with a batch that was just changed.
fn next_step(batch: &BatchSummary) -> String {
    match batch.stage {
        Stage::Unsigned => "It is signed next: by a running pool, or by adit payout export-psbt.\n",
        Stage::Signed => "The running pool sends it, or the next one to run.\n",
        Stage::Broadcast => "The node has it.\n",
        Stage::Unapproved | Stage::Confirmed | Stage::Cancelled | Stage::Replaced => "\n",
    }
    .to_owned()
}

fn wait(wait: &Wait) -> String {
    match wait {
        Wait::Approval => "approval".to_owned(),
        Wait::Signature => "a signature from elsewhere".to_owned(),
        Wait::Node => "the node to take it".to_owned(),
        Wait::Block => "a block".to_owned(),
        Wait::Conflict { by, depth } => format!("{by} spent its coins, {depth} confirmations deep"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bitcoin::{Txid, hashes::Hash};
    use payouts::payout::BatchId;

    use super::*;
    use crate::operations::report::{AttemptReport, EventReport, LotReport, OutputReport};

    fn summary(stage: Stage) -> BatchSummary {
        BatchSummary {
            batch: BatchId::new(7),
            stage,
            txid: Txid::from_byte_array([9; 32]),
            attempts: 1,
            accounts: 1,
            paid_sat: 290,
            network_fee_sat: 10,
            created_at_ms: 1_700_000_000_123,
            block: None,
        }
    }

    #[test]
    fn batch_is_a_line_with_its_time_and_amounts() {
        let text = text(&Outcome::Batches(vec![summary(Stage::Unapproved)])).unwrap();
        let line: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(line[..6], ["7", "2023-11-14T22:13:20Z", "unapproved", "1", "290", "10"], "{text}");
    }

    #[test]
    fn batch_is_shown_with_outputs_transactions_and_history() {
        let coinbase = format!("{}:0", Txid::from_byte_array([3; 32])).parse().unwrap();
        let output = OutputReport {
            vout: 0,
            address: "bcrt1qminer".to_owned(),
            paid_sat: 290,
            fee_part_sat: 10,
            lots: vec![LotReport { coinbase, sat: 290 }],
        };
        let event = EventReport { at_ms: 1_700_000_000_000, event: "approved".to_owned(), note: "alice".to_owned() };
        let transaction = AttemptReport {
            txid: Txid::from_byte_array([9; 32]),
            stage: Stage::Broadcast,
            network_fee_sat: 10,
            created_at_ms: 1_700_000_000_123,
        };
        let report = BatchReport {
            summary: summary(Stage::Broadcast),
            outputs: vec![output],
            transactions: vec![transaction],
            events: vec![event],
        };
        let text = text(&Outcome::Batch(report)).unwrap();
        let paid = text.lines().find(|line| line.contains("bcrt1qminer")).unwrap();
        assert!(paid.contains("290") && paid.ends_with(&coinbase.to_string()), "{text}");
        assert!(text.lines().any(|line| line.contains("approved") && line.ends_with("alice")), "{text}");
    }

    #[test]
    fn operator_is_told_what_comes_next_and_what_was_so_already() {
        let change = |already| BatchChange { batch: summary(Stage::Unsigned), already };
        let approved = text(&Outcome::Approved(change(false))).unwrap();
        assert!(approved.starts_with("Batch 7 is approved. It is signed next"), "{approved}");
        assert_eq!(text(&Outcome::Approved(change(true))).unwrap(), "Batch 7 was approved already.\n");
        let nothing = Ran { batches: Vec::new(), waiting_accounts: 0, waiting_sat: 0 };
        assert_eq!(text(&Outcome::Ran(nothing)).unwrap(), "Nothing is due.\n");
        let waiting = Ran { batches: Vec::new(), waiting_accounts: 2, waiting_sat: 500 };
        assert!(text(&Outcome::Ran(waiting)).unwrap().starts_with("2 accounts wait with 500 sat"));
    }
}
