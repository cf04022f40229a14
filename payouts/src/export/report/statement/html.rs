//! The page of a statement. It loads nothing and runs nothing; all texts are escaped, and those by others cannot turn
//! the direction of what stands around them.

use std::io::Write;

use super::super::{ReportError, json::CoinJson, markup::Markup};
use super::view::{CorrectionView, CreditView, NetworkFeeView, PayoutView, ReversalView, SetAsideView, StatementView};

/// Forbids the browser what the page does not do anyway, should a text ever get out of its place.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// Has none of the characters that the writer would escape: in a style they would stay escaped.
const STYLE: &str = "
body { font: 11pt/1.4 sans-serif; color: #111; max-width: 60em; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.5em; margin-bottom: 0; }
h2 { font-size: 1.1em; margin: 1.6em 0 0.4em; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: start; vertical-align: top; padding: 0.25em 0.6em; border-bottom: 1px solid #ccc; }
th { border-bottom: 1px solid #111; }
td { overflow-wrap: anywhere; }
td.amount, th.amount { text-align: end; white-space: nowrap; font-variant-numeric: tabular-nums; }
td.id { font: 8.5pt/1.4 monospace; }
tr.total td { font-weight: bold; border-top: 1px solid #111; }
footer { margin-top: 2em; font-size: 0.85em; color: #444; }
@media print {
 @page { margin: 15mm; }
 body { margin: 0; padding: 0; max-width: none; font-size: 9pt; }
 thead { display: table-header-group; }
 tr, h2 { break-inside: avoid; break-after: auto; }
 h2 { break-after: avoid; }
}
";

/// Writes the page.
pub(super) fn write(view: &StatementView, out: &mut dyn Write) -> Result<(), ReportError> {
    let mut page = Markup::html(out)?;
    page.within("html", &[("lang", "en")], |page| {
        page.within("head", &[], |page| head(page, view))?;
        page.within("body", &[], |page| {
            page.within("header", &[], |page| title(page, view))?;
            page.within("main", &[], |page| {
                summary(page, view)?;
                credits(page, &view.credits)?;
                reversals(page, &view.reversals)?;
                network_fees(page, &view.network_fees)?;
                payouts(page, &view.payouts)?;
                corrections(page, &view.corrections)?;
                set_aside(page, "Held", &view.held)?;
                set_aside(page, "Blocked", &view.blocked)
            })?;
            page.within("footer", &[], |page| footer(page, view))
        })
    })?;
    page.end()
}

fn head(page: &mut Markup<'_>, view: &StatementView) -> Result<(), ReportError> {
    page.empty("meta", &[("charset", "utf-8")])?;
    page.empty("meta", &[("http-equiv", "Content-Security-Policy"), ("content", POLICY)])?;
    page.empty("meta", &[("name", "viewport"), ("content", "width=device-width")])?;
    page.text("title", &[], &format!("Statement {} of account {}", view.head.period.label, view.account))?;
    page.text("style", &[], STYLE)
}

fn title(page: &mut Markup<'_>, view: &StatementView) -> Result<(), ReportError> {
    page.text("h1", &[], &format!("Statement {}", view.head.period.label))?;
    page.foreign("p", &view.head.pool)?;
    page.within("table", &[("class", "who")], |page| {
        page.within("tbody", &[], |page| {
            let period = &view.head.period;
            let span = format!("from {} until before {} ({})", period.from, period.until, period.zone);
            fact(page, "Miner", &view.miner)?;
            fact(page, "Account", &view.account.to_string())?;
            fact(page, "Party", &view.party)?;
            fact(page, "Period", &span)
        })
    })
}

fn fact(page: &mut Markup<'_>, name: &str, value: &str) -> Result<(), ReportError> {
    page.within("tr", &[], |page| {
        page.text("th", &[], name)?;
        page.foreign("td", value)
    })
}

fn summary(page: &mut Markup<'_>, view: &StatementView) -> Result<(), ReportError> {
    let totals = &view.totals;
    page.text("h2", &[], "Summary")?;
    page.within("table", &[("id", "summary")], |page| {
        header(page, &["", "+BTC", "+satoshi", "+value"])?;
        page.within("tbody", &[], |page| {
            sum(page, "Opening balance", "", &totals.opening, "", false)?;
            sum(page, "Credits", "+ ", &totals.credits, &totals.credits_value.told(), false)?;
            sum(page, "Reversals", "\u{2212} ", &totals.reversals, &totals.reversals_value.told(), false)?;
            sum(page, "Network fees borne", "\u{2212} ", &totals.network_fees, "", false)?;
            sum(page, "Payouts", "\u{2212} ", &totals.payouts, &totals.payouts_value.told(), false)?;
            sum(
                page,
                "Payouts reversed",
                "+ ",
                &totals.payouts_reversed,
                &totals.payouts_reversed_value.told(),
                false,
            )?;
            sum(page, "Closing balance", "= ", &totals.closing, &view.closing_valuation.told(), true)?;
            sum(page, "of which payable", "", &totals.payable, "", false)?;
            sum(page, "of which held", "", &totals.held, "", false)?;
            sum(page, "of which blocked", "", &totals.blocked, "", false)?;
            sum(
                page,
                "Pool fees, already taken off the credits, less those given back",
                "",
                &totals.pool_fees,
                "",
                false,
            )
        })
    })
}

/// Writes a line of the summary. The sign stands in the label's cell, so that the amount's cell is a number alone.
fn sum(
    page: &mut Markup<'_>,
    label: &str,
    sign: &str,
    amount: &CoinJson,
    value: &str,
    is_total: bool,
) -> Result<(), ReportError> {
    page.within("tr", if is_total { &[("class", "total")] } else { &[] }, |page| {
        page.text("td", &[], &format!("{sign}{label}"))?;
        coin(page, amount)?;
        page.text("td", &[("class", "amount")], value)
    })
}

fn credits(page: &mut Markup<'_>, lines: &[CreditView]) -> Result<(), ReportError> {
    if lines.is_empty() {
        return Ok(());
    }
    page.text("h2", &[], "Credits by block")?;
    page.within("table", &[("id", "credits")], |page| {
        header(page, &["block", "time", "coinbase", "+pool fee, satoshi", "+BTC", "+satoshi", "+value"])?;
        page.within("tbody", &[], |page| {
            lines.iter().try_for_each(|line| {
                page.within("tr", &[], |page| {
                    page.text("td", &[], &line.block_height.map_or_else(String::new, |height| height.to_string()))?;
                    page.text("td", &[], &line.time.local)?;
                    page.text("td", &[("class", "id")], &line.coinbase)?;
                    page.text("td", &[("class", "amount")], &line.pool_fee.sat.to_string())?;
                    coin(page, &line.amount)?;
                    page.text("td", &[("class", "amount")], &line.valuation.told())
                })
            })
        })
    })
}

fn reversals(page: &mut Markup<'_>, lines: &[ReversalView]) -> Result<(), ReportError> {
    if lines.is_empty() {
        return Ok(());
    }
    page.text("h2", &[], "Reversals: credits of blocks that left the chain")?;
    page.within("table", &[("id", "reversals")], |page| {
        header(page, &["block", "time", "coinbase", "+pool fee, satoshi", "+BTC", "+satoshi", "+value"])?;
        page.within("tbody", &[], |page| {
            lines.iter().try_for_each(|line| {
                page.within("tr", &[], |page| {
                    page.text("td", &[], &line.block_height.map_or_else(String::new, |height| height.to_string()))?;
                    page.text("td", &[], &line.time.local)?;
                    page.text("td", &[("class", "id")], &line.coinbase)?;
                    page.text("td", &[("class", "amount")], &line.pool_fee.sat.to_string())?;
                    coin(page, &line.amount)?;
                    page.text("td", &[("class", "amount")], &line.valuation.told())
                })
            })
        })
    })
}

fn network_fees(page: &mut Markup<'_>, lines: &[NetworkFeeView]) -> Result<(), ReportError> {
    if lines.is_empty() {
        return Ok(());
    }
    page.text("h2", &[], "Network fees borne")?;
    page.within("table", &[("id", "network_fees")], |page| {
        header(page, &["payout", "state", "time", "+BTC", "+satoshi"])?;
        page.within("tbody", &[], |page| {
            lines.iter().try_for_each(|line| {
                page.within("tr", &[], |page| {
                    page.text("td", &[], &line.batch)?;
                    page.text("td", &[], line.state)?;
                    page.text("td", &[], &line.time.local)?;
                    coin(page, &line.amount)
                })
            })
        })
    })
}

fn payouts(page: &mut Markup<'_>, lines: &[PayoutView]) -> Result<(), ReportError> {
    if lines.is_empty() {
        return Ok(());
    }
    page.text("h2", &[], "Payouts")?;
    page.within("table", &[("id", "payouts")], |page| {
        header(page, &["output", "state", "time", "address", "+BTC", "+satoshi", "+value"])?;
        page.within("tbody", &[], |page| {
            lines.iter().try_for_each(|line| {
                page.within("tr", &[], |page| {
                    page.text("td", &[("class", "id")], &line.output)?;
                    page.text("td", &[], line.state)?;
                    page.text("td", &[], &line.time.local)?;
                    page.foreign("td", &line.address)?;
                    coin(page, &line.amount)?;
                    page.text("td", &[("class", "amount")], &line.valuation.told())
                })
            })
        })
    })
}

fn corrections(page: &mut Markup<'_>, lines: &[CorrectionView]) -> Result<(), ReportError> {
    if lines.is_empty() {
        return Ok(());
    }
    page.text("h2", &[], "Values of closed periods, corrected")?;
    page.within("table", &[("id", "corrections")], |page| {
        header(
            page,
            &["of", "booked", "reference", "corrected", "+satoshi", "+value was", "+value is", "+difference"],
        )?;
        page.within("tbody", &[], |page| {
            lines.iter().try_for_each(|line| {
                page.within("tr", &[], |page| {
                    page.text("td", &[], line.section)?;
                    page.text("td", &[], &line.original_time.local)?;
                    page.text("td", &[("class", "id")], &line.reference)?;
                    page.text("td", &[], &line.time.local)?;
                    page.text("td", &[("class", "amount")], &line.amount.sat.to_string())?;
                    page.text("td", &[("class", "amount")], &line.was.told())?;
                    page.text("td", &[("class", "amount")], &line.valuation.told())?;
                    page.text("td", &[("class", "amount")], line.difference.as_deref().unwrap_or_default())
                })
            })
        })
    })
}

fn set_aside(page: &mut Markup<'_>, name: &str, lines: &[SetAsideView]) -> Result<(), ReportError> {
    if lines.is_empty() {
        return Ok(());
    }
    page.text("h2", &[], name)?;
    page.within("table", &[("id", &name.to_ascii_lowercase())], |page| {
        header(page, &["since", "reason", "screening", "+BTC", "+satoshi"])?;
        page.within("tbody", &[], |page| {
            lines.iter().try_for_each(|line| {
                page.within("tr", &[], |page| {
                    page.text("td", &[], &line.since.local)?;
                    page.foreign("td", &line.reason)?;
                    page.foreign("td", &line.screening)?;
                    coin(page, &line.amount)
                })
            })
        })
    })
}

/// Writes a table's header; a plus before a name marks a column of amounts.
fn header(page: &mut Markup<'_>, names: &[&str]) -> Result<(), ReportError> {
    page.within("thead", &[], |page| {
        page.within("tr", &[], |page| {
            names.iter().try_for_each(|name| match name.strip_prefix('+') {
                Some(name) => page.text("th", &[("class", "amount")], name),
                None => page.text("th", &[], name),
            })
        })
    })
}

fn coin(page: &mut Markup<'_>, amount: &CoinJson) -> Result<(), ReportError> {
    page.text("td", &[("class", "amount")], &amount.btc)?;
    page.text("td", &[("class", "amount")], &amount.sat.to_string())
}

fn footer(page: &mut Markup<'_>, view: &StatementView) -> Result<(), ReportError> {
    let head = &view.head;
    page.text("p", &[], head.notice)?;
    let made = format!(
        "Made {} by version {}, schema {}, profile {} {}.",
        head.generated_at, head.software_version, head.schema_version, head.profile, head.profile_version
    );
    page.foreign("p", &made)
}
