//! Sales of the pool's own coin: how far each is, and the step that comes next.

use askama::Template;
use axum::{extract::Path, response::Response};
use bitcoin::{Amount, Denomination};
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use payouts::export::rules::{currency::Currency, desk::Reference, fiat::FiatAmount, sale::Pick};

use super::{expected, now_ms};
use crate::{
    operations::{
        Outcome, Refusal, RefusalCode, Request,
        sale::{OfferReport, SaleReport, SaleStep},
    },
    pages::{
        asked::{Asked, Shown, page},
        fields::Fields,
        frame::Frame,
        show::{Ago, Btc, Segment, When},
    },
};

/// The steps of a sale, in order, by the states of its record that they lead to.
const STEPS: [(&str, &str); 6] = [
    ("DRAFT", "Asked for"),
    ("QUOTED", "Offered"),
    ("CONTRACTED", "Accepted"),
    ("DELIVERED", "Delivered"),
    ("SETTLED", "Paid"),
    ("DECLARED", "Declared"),
];

#[derive(Template)]
#[template(path = "sales.html")]
struct Sales {
    frame: Frame,
    may_act: bool,
    sales: Vec<SaleLine>,
}

struct SaleLine {
    name: String,
    segment: Segment,
    state: String,
    class: String,
    amount: Btc,
    price: String,
    asked: Ago,
    batch: Option<String>,
}

#[derive(Template)]
#[template(path = "sale.html")]
struct SalePage {
    frame: Frame,
    sale: SaleLine,
    steps: Vec<StepView>,
    asked: When,
    offer: Option<OfferReport>,
    expires: Option<When>,
    is_expired: bool,
    contract: Option<String>,
    delivery: Option<String>,
    received: Option<String>,
    bank_reference: Option<String>,
    declaration: Option<String>,
    cancelled: Option<String>,
    next: Next,
    may_cancel: bool,
}

/// A step, and whether it was taken.
struct StepView {
    title: &'static str,
    is_done: bool,
}

/// What an operator can do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Quote,
    Accept,
    Deliver,
    AwaitDelivery,
    Settle,
    Declare,
    Nothing,
}

impl Next {
    fn of(sale: &SaleReport, may_act: bool) -> Next {
        match sale.state.as_str() {
            "CONTRACTED" if sale.batch.is_some() => Next::AwaitDelivery,
            _ if !may_act => Next::Nothing,
            "DRAFT" => Next::Quote,
            "QUOTED" => Next::Accept,
            "CONTRACTED" => Next::Deliver,
            "DELIVERED" => Next::Settle,
            "SETTLED" => Next::Declare,
            _ => Next::Nothing,
        }
    }
}

impl SaleLine {
    fn new(sale: &SaleReport, now_ms: i64) -> SaleLine {
        let offer = sale.offer.as_ref();
        SaleLine {
            name: sale.sale.clone(),
            segment: Segment(sale.sale.clone()),
            state: sale.state.clone(),
            class: class(&sale.state).to_owned(),
            amount: Btc(sale.sat.into()),
            price: offer.map(|offer| format!("{} {}", offer.price, offer.currency)).unwrap_or_default(),
            asked: Ago { at_ms: sale.requested_at_ms, now_ms },
            batch: sale.batch.map(|batch| batch.to_string()),
        }
    }
}

/// Returns how a style names a state.
pub(super) fn class(state: &str) -> &'static str {
    match state {
        "SETTLED" | "DECLARED" | "CLOSED" => "confirmed",
        "DELIVERED" => "broadcast",
        "HELD" => "held",
        "BLOCKED" => "blocked",
        "EXPIRED" | "CANCELLED" | "REVERSED" => "cancelled",
        _ => "",
    }
}

/// The sales.
pub(in crate::pages) async fn list(asked: Asked) -> Shown {
    let (sales, now_ms) = (all(&asked).await?, now_ms());
    page(&Sales {
        frame: asked.frame("/sales", "Sales"),
        may_act: asked.viewer.may_post("/sales"),
        sales: sales.iter().map(|sale| SaleLine::new(sale, now_ms)).collect(),
    })
}

async fn all(asked: &Asked) -> Result<Vec<SaleReport>, Refusal> {
    expected!(asked.ask(Request::Sales).await?, Outcome::Sales)
}

/// One sale.
pub(in crate::pages) async fn show(asked: Asked, Path(name): Path<String>) -> Shown {
    let sales = all(&asked).await?;
    let unknown = || Refusal::new(RefusalCode::NotFound, format!("there is no sale {name:?}"));
    let sale = sales.into_iter().find(|sale| sale.sale == name).ok_or_else(unknown)?;
    let now_ms = now_ms();
    let next = Next::of(&sale, asked.viewer.may_post("/sales/{sale}/{step}"));
    let reached = STEPS.iter().position(|(state, _)| *state == sale.state).unwrap_or(0);
    let steps = STEPS.iter().enumerate();
    page(&SalePage {
        frame: asked.frame("/sales", format!("Sale {name}")),
        steps: steps.map(|(at, (_, title))| StepView { title, is_done: at <= reached }).collect(),
        asked: When(sale.requested_at_ms),
        expires: sale.offer.as_ref().map(|offer| When(offer.expires_at_ms)),
        is_expired: sale.state == "QUOTED" && sale.offer.as_ref().is_some_and(|offer| offer.expires_at_ms <= now_ms),
        may_cancel: matches!(next, Next::Quote | Next::Accept | Next::Deliver),
        next,
        sale: SaleLine::new(&sale, now_ms),
        offer: sale.offer,
        contract: sale.contract,
        delivery: sale.delivery.map(|delivery| delivery.to_string()),
        received: sale.received,
        bank_reference: sale.bank_reference,
        declaration: sale.declaration,
        cancelled: sale.cancelled,
    })
}

/// Begins a sale.
pub(in crate::pages) async fn begin(asked: Asked) -> Response {
    let begun = async {
        let sale: Reference = asked.fields.required("sale")?;
        let amount = Amount::from_str_in(asked.fields.text("amount"), Denomination::Bitcoin);
        let sat = amount.map_err(|error| invalid(format!("amount: {error}")))?.to_sat();
        take(&asked, sale, SaleStep::Request { sat }).await
    };
    let begun = begun.await;
    let to = begun.as_ref().map_or_else(|_| "/sales".to_owned(), |sale| path(&sale.sale));
    asked.tell(&to, begun.map(|_| "The sale is begun.".to_owned()))
}

/// Takes a step of a sale.
pub(in crate::pages) async fn step(asked: Asked, Path((sale, step)): Path<(String, String)>) -> Response {
    let taken = async {
        let currency = currency_of(&asked, &sale, &step).await?;
        let sale = take(&asked, reference(&sale)?, read_step(&step, &asked.fields, currency)?).await?;
        Ok(format!("The sale is {} now.", sale.state))
    };
    asked.told(&path(&sale), taken).await
}

/// Where a sale is shown.
fn path(sale: &str) -> String {
    format!("/sales/{}", Segment(sale.to_owned()))
}

async fn take(asked: &Asked, sale: Reference, step: SaleStep) -> Result<Box<SaleReport>, Refusal> {
    let request = Request::Sale { sale, step: Box::new(step), by: asked.viewer.by()? };
    expected!(asked.ask(request).await?, Outcome::Sale)
}

/// Money comes in the currency of the offer.
async fn currency_of(asked: &Asked, sale: &str, step: &str) -> Result<Option<Currency>, Refusal> {
    if step != "settle" {
        return Ok(None);
    }
    let offer = all(asked).await?.into_iter().find(|it| it.sale == sale).and_then(|sale| sale.offer);
    offer.map(|offer| offer.currency.parse().map_err(invalid)).transpose()
}

fn read_step(step: &str, fields: &Fields, currency: Option<Currency>) -> Result<SaleStep, Refusal> {
    Ok(match step {
        "quote" => {
            let fee = fields.optional::<String>("fee")?.unwrap_or_else(|| "0".to_owned());
            SaleStep::Quote {
                quote: fields.required("quote")?,
                desk: fields.required("desk")?,
                venue: fields.optional("venue")?,
                price: fields.required("price")?,
                fee: FiatAmount::parse(&fee, fields.required("currency")?).map_err(invalid)?,
                expires_at_ms: time(fields, "expires")?.ok_or_else(|| invalid("expires is missing"))?,
            }
        }
        "accept" => SaleStep::Accept { contract: fields.required("contract")? },
        "settle" => {
            let currency = currency.ok_or_else(|| invalid("the sale has no offer"))?;
            SaleStep::Settle {
                received: FiatAmount::parse(fields.text("received"), currency).map_err(invalid)?,
                bank_reference: fields.required("bank_reference")?,
                settled_at_ms: time(fields, "settled")?,
            }
        }
        "declare" => {
            SaleStep::Declare { declaration: fields.required("declaration")?, authority: fields.required("authority")? }
        }
        "cancel" => SaleStep::Cancel { reason: fields.required("reason")? },
        other => return Err(Refusal::new(RefusalCode::NotFound, format!("there is no step {other:?}"))),
    })
}

/// Makes the payout that delivers a sale.
pub(in crate::pages) async fn deliver(asked: Asked, Path(sale): Path<String>) -> Response {
    let delivered = async {
        let lots = asked.fields.text("lots").split_whitespace().map(pick).collect::<Result<_, _>>()?;
        let request = Request::DeliverSale { sale: reference(&sale)?, lots, by: asked.viewer.by()? };
        let sale = expected!(asked.ask(request).await?, Outcome::Sale)?;
        Ok(match sale.batch {
            Some(batch) => format!("Payout {batch} is to deliver it."),
            None => format!("The sale is {} now.", sale.state),
        })
    };
    asked.told(&path(&sale), delivered).await
}

/// Reads a time as browsers write it, in UTC.
fn time(fields: &Fields, name: &str) -> Result<Option<i64>, Refusal> {
    let text = fields.text(name);
    if text.is_empty() {
        return Ok(None);
    }
    let local = text.parse::<DateTime>().ok().and_then(|local| local.to_zoned(TimeZone::UTC).ok());
    let at = text.parse::<Timestamp>().ok().or(local.map(|local| local.timestamp()));
    let unknown = || invalid(format!("{name}: {text:?} is no time such as 2026-11-23T12:00"));
    at.map(|at| Some(at.as_millisecond())).ok_or_else(unknown)
}

/// Reads a coin and how much of it, as the command takes it.
fn pick(text: &str) -> Result<Pick, Refusal> {
    let known = text.rsplit_once('=').and_then(|(lot, sat)| Some((lot.to_owned(), sat.parse().ok()?)));
    let (lot, sat) =
        known.ok_or_else(|| invalid(format!("{text}: should be a coin and satoshis, such as 4a5e…:0=1000")))?;
    Ok(Pick { lot, amount: Amount::from_sat(sat) })
}

fn reference(text: &str) -> Result<Reference, Refusal> {
    text.parse().map_err(invalid)
}

fn invalid(error: impl std::fmt::Display) -> Refusal {
    Refusal::new(RefusalCode::Invalid, error)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn next_step_follows_from_the_state() {
        let sale = |state: &str| SaleReport { state: state.to_owned(), ..SaleReport::default() };
        for (state, next) in [
            ("DRAFT", Next::Quote),
            ("QUOTED", Next::Accept),
            ("CONTRACTED", Next::Deliver),
            ("DELIVERED", Next::Settle),
            ("SETTLED", Next::Declare),
            ("DECLARED", Next::Nothing),
            ("CANCELLED", Next::Nothing),
        ] {
            assert_eq!(Next::of(&sale(state), true), next, "{state}");
            assert_eq!(Next::of(&sale(state), false), Next::Nothing, "{state}");
        }
        let delivering = SaleReport { batch: Some(payouts::payout::BatchId::new(7)), ..sale("CONTRACTED") };
        assert_eq!(Next::of(&delivering, true), Next::AwaitDelivery);
    }

    #[test]
    fn step_is_read_from_a_form_exactly() {
        let fields = Fields::read(b"received=83958.01&bank_reference=B1&settled=2026-11-24T09:00");
        let usd: Currency = "USD".parse().unwrap();
        let SaleStep::Settle { received, settled_at_ms, .. } = read_step("settle", &fields, Some(usd)).unwrap() else {
            panic!("another step")
        };
        assert_eq!((received.minor(), settled_at_ms), (8_395_801, Some(1_795_510_800_000)));
        for wrong in [&b"received=1.001&bank_reference=B1"[..], b"received=1e3&bank_reference=B1", b"received=1"] {
            assert!(read_step("settle", &Fields::read(wrong), Some(usd)).is_err());
        }
        assert_eq!(read_step("steal", &fields, None).unwrap_err().code, RefusalCode::NotFound);
    }
}
