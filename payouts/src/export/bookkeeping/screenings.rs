//! The screening log: each row of the journal about screening as lines of a table.

use std::collections::BTreeMap;

use super::{BookkeepingError, journal_id, on_record::OnRecord};
use crate::{
    account::AccountId,
    export::{
        journal::JournalRow,
        lists::{ListAccepted, ListsLoaded},
        report::model::ScreeningRow,
        screened::{Basis, Evidence, Moment, Reviewed, Screened, ScreenedAll, ScreenedBatch},
    },
};

/// The kinds of rows that are listed.
pub(super) const KINDS: [&str; 6] =
    [Screened::KIND, ScreenedAll::KIND, ScreenedBatch::KIND, ListsLoaded::KIND, ListAccepted::KIND, Reviewed::KIND];

/// Returns the log of the period.
pub(super) fn log(
    on_record: &OnRecord,
    addresses: &BTreeMap<AccountId, String>,
) -> Result<Vec<ScreeningRow>, BookkeepingError> {
    let mut lines = Vec::new();
    for row in &on_record.log {
        let blank = blank(row)?;
        match row.kind.as_str() {
            Screened::KIND => lines.extend(screened(on_record, &blank, &row.read()?)),
            ScreenedAll::KIND => lines.push(screened_all(on_record, blank, &row.read()?)),
            ScreenedBatch::KIND => lines.extend(screened_batch(on_record, addresses, &blank, &row.read()?)),
            ListsLoaded::KIND => lines.extend(loaded(&blank, row.read()?)),
            ListAccepted::KIND => lines.push(accepted(blank, row.read()?)),
            _ => lines.push(reviewed(on_record, addresses, blank, &row.read()?)),
        }
    }
    Ok(lines)
}

fn blank(row: &JournalRow) -> Result<ScreeningRow, BookkeepingError> {
    Ok(ScreeningRow {
        id: journal_id(row.seq),
        at_ms: row.at_ms()?,
        account: None,
        party: String::new(),
        occasion: String::new(),
        list_source: String::new(),
        list_date: String::new(),
        list_sha256: String::new(),
        list_entries: 0,
        list_loaded_at_ms: None,
        input: String::new(),
        script: String::new(),
        algorithm: String::new(),
        result: String::new(),
        matched_uid: String::new(),
        label: String::new(),
        programme: String::new(),
        software_version: String::new(),
        decision: String::new(),
        actors: Vec::new(),
    })
}

fn word(moment: Moment) -> &'static str {
    match moment {
        Moment::Registration => "registration",
        Moment::ListUpdate => "list update",
        Moment::Batch => "batch",
        Moment::Broadcast => "broadcast",
        Moment::Request => "request",
    }
}

/// Fills in by what was screened: all lists, named together.
fn by(on_record: &OnRecord, basis: &Basis, row: ScreeningRow) -> ScreeningRow {
    let loaded = on_record.lists.get(&basis.lists.to_string());
    let lists = || loaded.iter().flat_map(|loaded| &loaded.lists);
    let sources: Vec<_> = lists().map(|list| list.source.as_str()).collect();
    let dates: Vec<_> = lists().filter_map(|list| list.edition.as_ref()?.publication_date.as_deref()).collect();
    ScreeningRow {
        list_source: sources.join(" | "),
        list_date: dates.join(" | "),
        list_sha256: basis.lists.to_string(),
        list_entries: lists().filter_map(|list| list.edition.as_ref()).map(|edition| edition.entry_count).sum(),
        list_loaded_at_ms: loaded.map(|loaded| loaded.at_ms),
        algorithm: basis.algorithm.clone(),
        software_version: basis.software.clone(),
        ..row
    }
}

/// A line for each entry of a list that matched, and one for what is missing of the owner.
fn screened(on_record: &OnRecord, blank: &ScreeningRow, screened: &Screened) -> Vec<ScreeningRow> {
    let line = ScreeningRow {
        account: Some(screened.account.get()),
        party: screened.party.map(|party| party.to_string()).unwrap_or_default(),
        occasion: word(screened.moment).to_owned(),
        input: screened.address.clone(),
        script: screened.script_pubkey.clone(),
        decision: screened.outcome.clone(),
        ..by(on_record, &screened.basis, blank.clone())
    };
    let of = |evidence: &Evidence| ScreeningRow {
        list_source: evidence.source.clone(),
        list_date: evidence.publication_date.clone().unwrap_or_default(),
        list_sha256: evidence.sha256.clone(),
        list_entries: evidence.entry_count,
        result: match evidence.score_bp {
            Some(score_bp) => format!("{} {score_bp} bp: {}", evidence.reason, evidence.party),
            None => format!("{}: {}", evidence.reason, evidence.party),
        },
        matched_uid: evidence.uid.clone(),
        label: evidence.label.clone().unwrap_or_default(),
        programme: evidence.programmes.join(" | "),
        ..line.clone()
    };
    let mut lines: Vec<_> = screened.evidence.iter().map(of).collect();
    if !screened.missing.is_empty() || lines.is_empty() {
        lines.push(ScreeningRow { result: format!("missing: {}", screened.missing.join(", ")), ..line });
    }
    lines
}

fn screened_all(on_record: &OnRecord, blank: ScreeningRow, all: &ScreenedAll) -> ScreeningRow {
    ScreeningRow {
        occasion: word(all.moment).to_owned(),
        input: format!("{} accounts after {} up to {}", all.accounts, all.after, all.upto),
        script: all.subjects_sha256.clone(),
        result: format!("{} restrained, the others CLEAR", all.restrained),
        ..by(on_record, &all.basis, blank)
    }
}

fn screened_batch(
    on_record: &OnRecord,
    addresses: &BTreeMap<AccountId, String>,
    blank: &ScreeningRow,
    screened: &ScreenedBatch,
) -> Vec<ScreeningRow> {
    let line = ScreeningRow {
        occasion: format!("{} {}", word(screened.moment), screened.batch),
        ..by(on_record, &screened.basis, blank.clone())
    };
    let of = |output: &crate::export::screened::ScreenedOutput| ScreeningRow {
        account: Some(output.account.get()),
        party: on_record.party(output.account),
        input: addresses.get(&output.account).cloned().unwrap_or_default(),
        script: output.script_pubkey.clone(),
        result: output.outcome.clone(),
        decision: "PAY".to_owned(),
        ..line.clone()
    };
    screened.outputs.iter().map(of).collect()
}

fn loaded(blank: &ScreeningRow, loaded: ListsLoaded) -> Vec<ScreeningRow> {
    let of = |list: crate::export::lists::LoadedList| {
        let edition = list.edition;
        let of_edition = |read: fn(&crate::export::lists::Edition) -> String| edition.as_ref().map(read);
        ScreeningRow {
            occasion: "list loaded".to_owned(),
            list_source: list.source,
            list_date: of_edition(|edition| edition.publication_date.clone().unwrap_or_default()).unwrap_or_default(),
            list_sha256: of_edition(|edition| edition.sha256.clone()).unwrap_or_default(),
            list_entries: edition.as_ref().map_or(0, |edition| edition.entry_count),
            list_loaded_at_ms: Some(blank.at_ms),
            result: list.standing,
            ..blank.clone()
        }
    };
    loaded.lists.into_iter().map(of).collect()
}

fn accepted(blank: ScreeningRow, accepted: ListAccepted) -> ScreeningRow {
    ScreeningRow {
        occasion: "list accepted".to_owned(),
        list_source: accepted.source,
        list_sha256: accepted.sha256,
        list_entries: accepted.entry_count,
        decision: accepted.text,
        actors: vec![accepted.by],
        ..blank
    }
}

fn reviewed(
    on_record: &OnRecord,
    addresses: &BTreeMap<AccountId, String>,
    blank: ScreeningRow,
    reviewed: &Reviewed,
) -> ScreeningRow {
    let reason = serde_json::to_value(reviewed.reason).ok();
    let reason = reason.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default();
    let reference = reviewed.authorisation.as_ref().map(|given| format!(", {given}")).unwrap_or_default();
    ScreeningRow {
        account: Some(reviewed.account.get()),
        party: on_record.party(reviewed.account),
        occasion: format!("review of {}", journal_id(reviewed.screening)),
        input: addresses.get(&reviewed.account).cloned().unwrap_or_default(),
        result: format!("{reason}: {}{reference}", reviewed.text),
        decision: if reviewed.releases { "RELEASED" } else { "FIRST WORD" }.to_owned(),
        actors: vec![reviewed.by.clone()],
        ..blank
    }
}
