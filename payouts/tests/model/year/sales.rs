//! Sales of the pool's own coin to two desks, of which one is at home.

use anyhow::{Context, Result};
use bitcoin::Amount;
use payouts::{
    AccountId, Store,
    export::{
        party::PartyKind,
        rules::{
            currency::Currency,
            desk::{DeskSale, Quoted, Reference},
            fiat::FiatAmount,
            sale::{LotMethod, Pick},
            state::RecordState,
        },
    },
    payout::{PayoutError, SaleOrder, SaleStatus},
    reserve::PoolMoney,
};

use super::{BY, DAY_MS, RESIDENCY, Year, lot_method, operator::party};
use crate::bench;

/// Where the desks are resident, with the numbers of their addresses.
pub(super) const DESKS: [(&str, usize); 2] = [(RESIDENCY, 70), ("AE", 71)];
/// The venues at which desks sell on.
const VENUES: [Option<&str>; 3] = [Some("example-venue"), Some("other-venue"), None];
/// Sales that go on at a time.
const AT_A_TIME: usize = 3;

impl Year {
    /// Makes the desks known.
    pub(super) async fn meet_desks(&mut self) -> Result<()> {
        for (residency, number) in DESKS {
            let account = self.desk(number).await?;
            self.owned(account, &party(PartyKind::Legal, &format!("Example Desk {number} LLC"), residency)?).await?;
        }
        Ok(())
    }

    async fn desk(&mut self, number: usize) -> Result<AccountId> {
        Ok(self.store().account(&bench::address(number)).await?)
    }

    /// Takes the next step of a sale, or begins one.
    pub(super) async fn trade(&mut self) -> Result<()> {
        let mut open = self.pool().payer.sales().await?;
        open.retain(|sale| {
            !matches!(sale.standing, DeskSale::Cancelled(_) | DeskSale::Expired(_) | DeskSale::Declared(_))
        });
        let index = self.dice.index(AT_A_TIME);
        let Some(sale) = open.into_iter().nth(index) else { return self.request().await };
        let name = sale.sale.request().sale.clone();
        match &sale.standing {
            DeskSale::Requested(_) => self.quote(&name).await,
            DeskSale::Quoted(_) if self.dice.percent(70) => {
                let done = self.order(&name, SaleOrder::Accept(format!("C-{name}").parse()?)).await;
                self.answered("sales contracted", done)
            }
            DeskSale::Contracted(_) if self.dice.percent(10) => {
                let done = self.order(&name, SaleOrder::Cancel("the desk has gone".parse()?)).await;
                self.answered("sales cancelled", done)
            }
            DeskSale::Contracted(_) => self.deliver(&name, sale.sale.request().amount_sat).await,
            DeskSale::Delivered(delivered) => match self.deeds.times("deliveries taken back") {
                // What was delivered leaves the chain, and comes back to it.
                0..2 if sale.state == RecordState::Delivered => {
                    self.deeds.note("deliveries taken back");
                    self.reorganise(3..9).await
                }
                _ => self.settle_sale(&name, delivered.contracted().quoted()).await,
            },
            DeskSale::Settled(_) if self.dice.percent(60) => {
                let (declaration, authority) = (format!("D-{name}").parse()?, "Example Customs".parse()?);
                let done = self.order(&name, SaleOrder::Declare { declaration, authority }).await;
                self.answered("sales declared", done)
            }
            // The offer runs out, or the declaration waits.
            _ => Ok(()),
        }
    }

    async fn order(&mut self, name: &Reference, order: SaleOrder) -> Result<SaleStatus, PayoutError> {
        self.pool().payer.order_sale(name, order, BY).await
    }

    async fn request(&mut self) -> Result<()> {
        self.sales += 1;
        let name = format!("S{:03}", self.sales).parse()?;
        let amount = Amount::from_sat(500_000 + self.dice.below(15_000_000));
        let done = self.order(&name, SaleOrder::Request(amount)).await;
        self.answered("sales requested", done)
    }

    /// Notes a desk's offer. Those in dollars have no gain in the currency of the reports.
    async fn quote(&mut self, name: &Reference) -> Result<()> {
        let (_, number) = DESKS[self.dice.index(DESKS.len())];
        let desk = self.desk(number).await?;
        let (currency, price, fee) = match self.dice.percent(80) {
            true => ("RUB", 5_000_000 + self.dice.below(400_000), 123_456),
            false => ("USD", 60_000 + self.dice.below(9_000), 4_200),
        };
        let venue = VENUES[self.dice.index(VENUES.len())].map(str::parse).transpose()?;
        let days = 1 + i64::try_from(self.dice.below(20))?;
        let order = SaleOrder::Quote {
            quote: format!("Q-{name}").parse()?,
            desk,
            venue,
            price: format!("{price}.25").parse()?,
            fee: FiatAmount::from_minor(fee, currency.parse::<Currency>()?),
            expires_ms: self.at_ms + days * DAY_MS,
        };
        let done = self.order(name, order).await;
        self.answered("quotes", done)
    }

    async fn deliver(&mut self, name: &Reference, amount: Amount) -> Result<()> {
        let lots = match lot_method(self.month) {
            LotMethod::Fifo => Vec::new(),
            LotMethod::Specific => self.newest_coins(amount).await?,
        };
        let done = self.pool().payer.deliver_sale(name, &lots, BY).await;
        self.answered("deliveries", done)
    }

    /// Picks coins of the pool's own, the newest first; fewer than asked for if there are no more.
    async fn newest_coins(&mut self, amount: Amount) -> Result<Vec<Pick>> {
        let mut left = amount;
        let mut picks = Vec::new();
        for coin in self.store().pool_coins(PoolMoney::Fee).await?.into_iter().rev() {
            let amount = coin.amount.min(left);
            left -= amount;
            if amount > Amount::ZERO {
                picks.push(Pick { lot: coin.coinbase.to_string(), amount });
            }
        }
        Ok(picks)
    }

    /// Notes that the money came in, less what the bank kept.
    async fn settle_sale(&mut self, name: &Reference, quoted: &Quoted) -> Result<()> {
        let due = quoted.due();
        let kept = i64::try_from(self.dice.below(2_000))?;
        let order = SaleOrder::Settle {
            received: FiatAmount::from_minor(due.minor() - kept, due.currency()),
            bank_reference: format!("B-{name}").parse().context("it is a reference")?,
            settled_ms: None,
        };
        let done = self.order(name, order).await;
        self.answered("sales settled", done)
    }
}
