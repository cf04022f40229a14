//! Charts of a past: a figure that a script draws into, and the same as a table for whoever runs none.
//!
//! A page with one brings the scripts by `chart_head.html` in its head, and serves the past at the address that it names.

use std::{sync::Arc, time::Duration};

use askama::{Template, filters::HtmlSafe};
use payouts::history::Subject;

use super::{
    Pages,
    kept::Kept,
    show::{HashRate, Number},
};
use crate::operations::{
    Refusal,
    history::{HistoryReport, SpanName, Whole, history, wholes},
};

/// For so long a past is shown as it was: it goes on every half a minute.
const LASTS: Duration = Duration::from_secs(15);
/// Pasts that are kept.
const MOST: usize = 1_024;
/// Pasts that are read at a time: the pool has other things to do.
const AT_A_TIME: usize = 2;

/// The pasts that pages show, read once for all who look.
#[derive(Debug)]
pub(super) struct Pasts {
    rows: Kept<Subject, Vec<SpanRow>>,
    reports: Kept<(Subject, SpanName), HistoryReport>,
}

impl Default for Pasts {
    fn default() -> Pasts {
        Pasts { rows: Kept::new(LASTS, MOST, AT_A_TIME), reports: Kept::new(LASTS, MOST, AT_A_TIME) }
    }
}

impl Pasts {
    /// Returns what a chart draws.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub(super) async fn report(
        &self,
        pages: &Pages,
        subject: Subject,
        span: SpanName,
    ) -> Result<Arc<HistoryReport>, Refusal> {
        self.reports.value(&(subject, span), history(&*pages.store, subject, span)).await
    }
}

/// A chart of somebody's past. Safe in HTML as it stands.
#[derive(Clone, Debug, Template)]
#[template(path = "chart.html")]
pub(super) struct Chart {
    /// Where the past is: an address of this site that takes `?span=`.
    url: String,
    rows: Arc<Vec<SpanRow>>,
}

impl HtmlSafe for Chart {}

/// What is told of a span.
#[derive(Clone, Debug)]
pub(super) struct SpanRow {
    /// Its name in addresses.
    pub(super) span: &'static str,
    /// Its name for people.
    pub(super) title: &'static str,
    /// The hash rate over all of it.
    pub(super) rate: HashRate,
    /// Between what that lies in 19 cases of 20; nothing without shares.
    pub(super) band: Option<(HashRate, HashRate)>,
    pub(super) accepted: Number,
    pub(super) refused: Number,
}

impl Chart {
    /// Reads what a chart tells without a script.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub(super) async fn new(pages: &Pages, subject: Subject, url: impl Into<String>) -> Result<Chart, Refusal> {
        let rows = async {
            let wholes = wholes(&*pages.store, subject).await?;
            Ok(wholes.into_iter().map(SpanRow::from).collect())
        };
        Ok(Chart { url: url.into(), rows: pages.pasts.rows.value(&subject, rows).await? })
    }

    /// Returns what is told of each span, the shortest first.
    pub(super) fn rows(&self) -> &[SpanRow] {
        &self.rows
    }
}

impl From<Whole> for SpanRow {
    fn from(Whole { span, rate, refused }: Whole) -> SpanRow {
        let title = match span {
            SpanName::FiveMinutes => "5 minutes",
            SpanName::Hour => "1 hour",
            SpanName::Day => "24 hours",
            SpanName::Month => "30 days",
            SpanName::Year => "1 year",
        };
        SpanRow {
            span: payouts::history::Span::from(span).as_str(),
            title,
            rate: HashRate(rate.hash_rate),
            band: rate.low.zip(rate.high).map(|(low, high)| (HashRate(low), HashRate(high))),
            accepted: Number(rate.shares.into()),
            refused: Number(refused.into()),
        }
    }
}
