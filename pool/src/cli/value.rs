//! `adit export value`: works out what receipts were worth, and has it put on record, by the running pool or else here.
//!
//! All is worked out beside the pool, from a store that is only read. The pool gets the results a page at a time.

use std::fmt::Write as _;

use anyhow::bail;
use payouts::export::{
    rules::{prices::PriceBook, profile::CountryProfile},
    valued::{self, Kept, Valued},
};

use super::{
    alone::{self, Alone},
    table::{Align, Table},
};
use crate::{
    config::Config,
    control,
    operations::{Outcome, Request},
    register::{self, UnvaluedReport, ValuesReport},
    store,
};

/// Values all receipts by a profile and the prices of a book, has what is new put on record, and says what it came to.
///
/// # Errors
///
/// When the store cannot be read, something cannot be valued, or the running pool refuses. What is on record by then stays.
pub(super) async fn value(config: &Config, profile: &CountryProfile, book: &PriceBook) -> anyhow::Result<String> {
    let store = store::open_read_only(&config.store).await?;
    let mut record = Record { config, alone: None };
    let keep = async |values| record.keep(values).await;
    Ok(text(&register::value::<anyhow::Error>(&*store, profile, book, keep).await?))
}

/// Where values are put on record.
struct Record<'a> {
    config: &'a Config,
    /// What it takes to do it here, once no pool was found running.
    alone: Option<Alone>,
}

impl Record<'_> {
    async fn keep(&mut self, values: Vec<Valued>) -> anyhow::Result<Kept> {
        let alone = match &mut self.alone {
            Some(alone) => alone,
            none => {
                let request = Request::KeepValues { values: values.clone() };
                match control::ask(&self.config.data_dir, &request).await? {
                    None => none.insert(alone::open(self.config).await?),
                    Some(reply) => match reply? {
                        Outcome::ValuesKept(kept) => return Ok(kept),
                        other => bail!("the running pool has answered something else: {other:?}"),
                    },
                }
            }
        };
        Ok(valued::keep(&*alone.store, &values).await?)
    }
}

fn text(report: &ValuesReport) -> String {
    let ValuesReport { profile, valued, revalued, unchanged, already, unvalued } = report;
    let mut text = format!(
        "By profile {profile}: {valued} valued, {revalued} valued anew, {unchanged} as before, {} without a value.\n",
        unvalued.iter().map(|it| it.receipts).sum::<u64>(),
    );
    if *already > 0 {
        let _ = writeln!(text, "Of these, {already} were put on record by somebody else meanwhile.");
    }
    if !unvalued.is_empty() {
        let mut table = Table::new([("UNVALUED", Align::Right), ("BECAUSE", Align::Left)]);
        for UnvaluedReport { because, receipts } in unvalued {
            table.push([receipts.to_string(), because.clone()]);
        }
        let _ = write!(text, "\n{table}");
    }
    text
}
