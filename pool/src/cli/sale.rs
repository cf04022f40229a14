//! `adit sale`: its arguments, and what it prints of sales of the pool's own coin.

use anyhow::Context;
use bitcoin::Amount;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use payouts::{
    account::User,
    export::rules::{
        currency::Currency, desk::Reference, fiat::FiatAmount, prices::SourceName, rate::Rate, sale::Pick,
    },
};

use super::{
    request::{CommonArguments, ask, example, printed},
    table::{Align, Table},
};
use crate::{
    config::Config,
    operations::{
        Request, Words,
        sale::{OfferReport, SaleReport, SaleStep},
    },
};

/// What to do about sales of the pool's own coin, from the request to the declaration.
#[derive(Clone, Debug, Subcommand)]
pub enum SaleCommand {
    /// List the sales, and how far each is
    #[command(after_help = example("adit sale list"))]
    List(CommonArguments),
    /// Begin a sale of coin that the pool has earned itself: its fee
    #[command(after_help = example("adit sale request 2026-11-a 120000000 --by alice"))]
    Request(RequestArguments),
    /// Note a desk's offer; whose address the desk's is must be on record (adit party own)
    #[command(after_help = example(
        "adit sale quote 2026-11-a Q-17 --desk bc1q... --price 70000 --currency USD --fee 42 \
         --expires 2026-11-23T12:00:00Z --by alice"
    ))]
    Quote(QuoteArguments),
    /// Accept the offer, as long as it holds
    #[command(after_help = example("adit sale accept 2026-11-a --contract C-2026-5 --by alice"))]
    Accept(AcceptArguments),
    /// Make the payout that delivers the coin to the desk, to the satoshi
    #[command(after_help = example("adit sale deliver 2026-11-a --by alice"))]
    Deliver(DeliverArguments),
    /// Note that the money came in
    #[command(after_help = example(
        "adit sale settle 2026-11-a --received 83958.00 --currency USD --bank-reference FT-881 --by alice"
    ))]
    Settle(SettleArguments),
    /// Note the declaration to an authority
    #[command(after_help = example("adit sale declare 2026-11-a --declaration D-3 --authority Customs --by alice"))]
    Declare(DeclareArguments),
    /// Give up a sale that is not being delivered
    #[command(after_help = example("adit sale cancel 2026-11-a --reason \"price moved\" --by alice"))]
    Cancel(CancelArguments),
}

/// Which sale, and who says so.
#[derive(Clone, Debug, Args)]
pub struct SaleArguments {
    /// What all commands take.
    #[command(flatten)]
    pub common: CommonArguments,
    /// The name of the sale, which you choose
    #[arg(value_name = "SALE")]
    pub sale: Reference,
    /// Who does it, for the record
    #[arg(long, value_name = "NAME")]
    pub by: Words,
}

/// How much is to be sold.
#[derive(Clone, Debug, Args)]
pub struct RequestArguments {
    /// Which sale.
    #[command(flatten)]
    pub sale: SaleArguments,
    /// How much
    #[arg(value_name = "SATOSHIS")]
    pub sat: u64,
}

/// What a desk offers.
#[derive(Clone, Debug, Args)]
pub struct QuoteArguments {
    /// Which sale.
    #[command(flatten)]
    pub sale: SaleArguments,
    /// The desk's id of the offer
    #[arg(value_name = "QUOTE")]
    pub quote: Reference,
    /// The desk's address, or the name of its account
    #[arg(long, value_name = "ACCOUNT")]
    pub desk: User,
    /// The price of one bitcoin
    #[arg(long, value_name = "NUMBER")]
    pub price: Rate,
    /// The currency of price and fee (ISO 4217)
    #[arg(long, value_name = "CODE")]
    pub currency: Currency,
    /// What the desk charges
    #[arg(long, value_name = "NUMBER", default_value = "0")]
    pub fee: String,
    /// From when on the offer no longer holds, such as 2026-11-23T12:00:00Z
    #[arg(long, value_name = "TIME")]
    pub expires: Timestamp,
    /// The venue at which the desk sells on, if the country profile tells sales apart by that
    #[arg(long, value_name = "NAME")]
    pub venue: Option<SourceName>,
}

/// Under which contract an offer is accepted.
#[derive(Clone, Debug, Args)]
pub struct AcceptArguments {
    /// Which sale.
    #[command(flatten)]
    pub sale: SaleArguments,
    /// The number of the contract
    #[arg(long, value_name = "NUMBER")]
    pub contract: Reference,
}

/// What is delivered.
#[derive(Clone, Debug, Args)]
pub struct DeliverArguments {
    /// Which sale.
    #[command(flatten)]
    pub sale: SaleArguments,
    /// A coin to sell, and how much of it: where the country profile wants coins to be named
    #[arg(long = "lot", value_name = "TXID:VOUT=SATOSHIS", value_parser = pick)]
    pub lots: Vec<Pick>,
}

/// What came in.
#[derive(Clone, Debug, Args)]
pub struct SettleArguments {
    /// Which sale.
    #[command(flatten)]
    pub sale: SaleArguments,
    /// How much
    #[arg(long, value_name = "NUMBER")]
    pub received: String,
    /// Its currency (ISO 4217)
    #[arg(long, value_name = "CODE")]
    pub currency: Currency,
    /// The bank's reference
    #[arg(long, value_name = "TEXT")]
    pub bank_reference: Reference,
    /// When, such as 2026-11-24T09:00:00Z [default: now]
    #[arg(long, value_name = "TIME")]
    pub at: Option<Timestamp>,
}

/// What was declared.
#[derive(Clone, Debug, Args)]
pub struct DeclareArguments {
    /// Which sale.
    #[command(flatten)]
    pub sale: SaleArguments,
    /// The id of the declaration
    #[arg(long, value_name = "TEXT")]
    pub declaration: Reference,
    /// The authority
    #[arg(long, value_name = "TEXT")]
    pub authority: Reference,
}

/// Why a sale is given up.
#[derive(Clone, Debug, Args)]
pub struct CancelArguments {
    /// Which sale.
    #[command(flatten)]
    pub sale: SaleArguments,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    pub reason: Reference,
}

/// Does what a command says and returns what is to be printed.
///
/// # Errors
///
/// When it was refused or could not be done, with the reason and the cure.
pub async fn perform(command: SaleCommand) -> anyhow::Result<String> {
    let (SaleArguments { common, sale, by }, step) = match command {
        SaleCommand::List(common) => return asked(common, Request::Sales).await,
        SaleCommand::Deliver(DeliverArguments { sale: SaleArguments { common, sale, by }, lots }) => {
            return asked(common, Request::DeliverSale { sale, lots, by }).await;
        }
        SaleCommand::Request(RequestArguments { sale, sat }) => (sale, SaleStep::Request { sat }),
        SaleCommand::Quote(arguments) => {
            let QuoteArguments { sale, quote, desk, price, currency, fee, expires, venue } = arguments;
            let fee = money("--fee", &fee, currency)?;
            let expires_at_ms = expires.as_millisecond();
            (sale, SaleStep::Quote { quote, desk, venue, price, fee, expires_at_ms })
        }
        SaleCommand::Accept(AcceptArguments { sale, contract }) => (sale, SaleStep::Accept { contract }),
        SaleCommand::Settle(SettleArguments { sale, received, currency, bank_reference, at }) => {
            let received = money("--received", &received, currency)?;
            let settled_at_ms = at.map(Timestamp::as_millisecond);
            (sale, SaleStep::Settle { received, bank_reference, settled_at_ms })
        }
        SaleCommand::Declare(DeclareArguments { sale, declaration, authority }) => {
            (sale, SaleStep::Declare { declaration, authority })
        }
        SaleCommand::Cancel(CancelArguments { sale, reason }) => (sale, SaleStep::Cancel { reason }),
    };
    asked(common, Request::Sale { sale, step: Box::new(step), by }).await
}

async fn asked(common: CommonArguments, request: Request) -> anyhow::Result<String> {
    let config = Config::load(&common.config.config)?;
    printed(&ask(&config, request).await?, &common)
}

fn money(argument: &str, text: &str, currency: Currency) -> anyhow::Result<FiatAmount> {
    FiatAmount::parse(text, currency).with_context(|| format!("{argument} {text}"))
}

fn pick(text: &str) -> Result<Pick, String> {
    let known = text.rsplit_once('=').and_then(|(lot, sat)| Some((lot.to_owned(), sat.parse().ok()?)));
    let (lot, sat) = known.ok_or("should be a coin and an amount, such as 4a5e...:0=100000000")?;
    lot.parse::<bitcoin::OutPoint>().map_err(|error| format!("{lot} is no output: {error}"))?;
    Ok(Pick { lot, amount: Amount::from_sat(sat) })
}

/// The text for how a sale stands.
pub(super) fn stands(report: &SaleReport) -> String {
    let SaleReport { sale, state, sat, offer, contract, batch, delivery, received, .. } = report;
    let mut text = format!("Sale {sale} of {sat} sat is {state}.\n");
    if let Some(OfferReport { quote, desk_party, address, price, currency, fee, .. }) = offer {
        text += &format!(
            "  offer {quote} of party {desk_party} at {address}: {price} {currency} a bitcoin, less {fee} {currency}\n"
        );
    }
    if let Some(contract) = contract {
        text += &format!("  contract {contract}\n");
    }
    match (delivery, batch) {
        (Some(delivery), _) => text += &format!("  delivered by {delivery}\n"),
        (None, Some(batch)) => text += &format!("  to be delivered by batch {batch}: see adit payout show {batch}\n"),
        (None, None) => {}
    }
    if let Some(received) = received {
        let currency = offer.as_ref().map_or("", |offer| offer.currency.as_str());
        let bank = report.bank_reference.as_deref().unwrap_or_default();
        text += &format!("  {received} {currency} came in, bank reference {bank}\n");
    }
    if let Some(declaration) = &report.declaration {
        text += &format!("  declared as {declaration}\n");
    }
    if let Some(reason) = &report.cancelled {
        text += &format!("  given up: {reason}\n");
    }
    text
}

/// The text for all sales.
pub(super) fn list(reports: &[SaleReport]) -> String {
    if reports.is_empty() {
        return "There are no sales.\n".to_owned();
    }
    let mut table = Table::new([
        ("SALE", Align::Left),
        ("STATE", Align::Left),
        ("SAT", Align::Right),
        ("PRICE", Align::Right),
        ("CURRENCY", Align::Left),
        ("DESK", Align::Left),
        ("BATCH", Align::Right),
        ("DELIVERY", Align::Left),
    ]);
    for report in reports {
        let offer = |of: fn(&OfferReport) -> &str| report.offer.as_ref().map(of).unwrap_or_default().to_owned();
        table.push([
            report.sale.clone(),
            report.state.clone(),
            report.sat.to_string(),
            offer(|offer| &offer.price),
            offer(|offer| &offer.currency),
            offer(|offer| &offer.desk_party),
            report.batch.map(|batch| batch.to_string()).unwrap_or_default(),
            report.delivery.map(|delivery| delivery.to_string()).unwrap_or_default(),
        ]);
    }
    table.to_string()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn coins_are_named_by_output_and_amount() {
        let coin = format!("{}:1", "ab".repeat(32));
        let picked = pick(&format!("{coin}=5")).unwrap();
        assert_eq!(picked, Pick { lot: coin.clone(), amount: Amount::from_sat(5) });
        for wrong in ["", "5", "=5", &coin, &format!("{coin}=x"), &format!("{coin}=-1"), "ab:1=5"] {
            assert!(pick(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sale_tells_what_is_known_of_it_and_no_more() {
        let report = SaleReport { sale: "S1".to_owned(), state: "DRAFT".to_owned(), sat: 5, ..SaleReport::default() };
        assert_eq!(stands(&report), "Sale S1 of 5 sat is DRAFT.\n");
        assert_eq!(list(&[]), "There are no sales.\n");
        let offer = OfferReport {
            quote: "Q1".to_owned(),
            desk_party: "3".to_owned(),
            address: "bc1q".to_owned(),
            price: "70000".to_owned(),
            currency: "USD".to_owned(),
            fee: "42.00".to_owned(),
            expires_at_ms: 7,
        };
        let report = SaleReport { offer: Some(offer), received: Some("83958.00".to_owned()), ..report };
        let text = stands(&report);
        assert!(
            text.contains("70000 USD a bitcoin, less 42.00 USD") && text.contains("83958.00 USD came in"),
            "{text}"
        );
    }
}
