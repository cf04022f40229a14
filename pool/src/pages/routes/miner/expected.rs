//! What a miner has to expect: of a block that were found now, and of work that is not paid yet. Exact to the satoshi, as it
//! stands; none of it is promised.

use std::{collections::BTreeMap, sync::Arc};

use bitcoin::Amount;
use payouts::{
    account::AccountId,
    books::Outlook,
    crediting::accrued,
    scheme::{BlockReward, PoolFee, rule::Scheme, slice::SliceParts},
    share::Reward,
};

use super::sliced::Counted;
use crate::{
    operations::{Refusal, RefusalCode},
    pages::{
        Pages,
        show::{Btc, Number, Percent, Span},
    },
};

/// What is to be expected, of all miners.
#[derive(Debug)]
pub(super) struct Prospect {
    /// How the pool pays; nothing while it waits for its node.
    scheme: Option<Scheme>,
    /// What a block would pay that were found now.
    value: Option<Amount>,
    /// What it would credit, of a window that is kept counted.
    outlook: Option<Outlook>,
    /// The same under SLICE, as it was counted last.
    sliced: Option<Counted>,
    /// What work has earned that is not paid yet.
    accrued: BTreeMap<AccountId, Amount>,
}

/// What a miner has to expect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    /// How much; nothing if it cannot be told.
    pub(super) sat: Option<Btc>,
    /// What that is.
    pub(super) sentence: &'static str,
    /// What it is made of.
    pub(super) steps: Vec<(&'static str, String)>,
}

impl Prospect {
    /// Looks at the newest template and the window of the next block.
    pub(super) async fn look(pages: &Pages) -> Result<Prospect, Refusal> {
        let (books, newest) = (pages.live.books(), pages.live.newest());
        let (Some(books), Some(seen)) = (books, newest) else {
            return Ok(Prospect { scheme: None, value: None, outlook: None, sliced: None, accrued: BTreeMap::new() });
        };
        let failed = |error: String| Refusal::new(RefusalCode::Failed, error);
        let template = seen.template;
        let reward = BlockReward { value: template.coinbase_value, subsidy: template.subsidy() };
        let (height, nbits, scheme) = (template.height, template.nbits, books.scheme());
        let (outlook, sliced) = match scheme {
            Scheme::Slice(_) => {
                let books = Arc::clone(&books);
                let count = async move { books.outlook(height, nbits, reward).await };
                (None, pages.figures.sliced.newest(count).await)
            }
            _ => (books.outlook(height, nbits, reward).await.map_err(|error| failed(error.to_string()))?, None),
        };
        let accrued = if scheme.pays_work() {
            accrued(&*pages.store).await.map_err(|error| failed(error.to_string()))?
        } else {
            BTreeMap::new()
        };
        Ok(Prospect { scheme: Some(scheme), value: Some(template.coinbase_value), outlook, sliced, accrued })
    }
}

const WAITS: &str = "The pool waits for its node; it cannot say what the next block pays.";
const SOLO: &str = "A block that you find now credits you this. Blocks of others credit you nothing.";
const WINDOW: &str = "A block that the pool finds now credits you this: your part of the window, of what the block pays after \
                      the fee. The window moves with every share.";
const FILLING: &str = "A block that the pool finds now credits you this: your part of all shares that count, of what the block \
                       pays after the fee. The window is not full yet.";
const ROUND: &str = "A block that the pool finds now credits you this: your part of the work since its last block, of what the \
                     block pays after the fee.";
const WORK: &str = "Your work has earned this since it was last credited. It is credited whatever the pool finds, out of its \
                    reserve.";
const DAY: &str = "Your work has earned this at least since it was last credited. What the network's blocks pay in fees is added \
                   when the day is over.";
const BOTH: &str = "Your work has earned the first since it was last credited, whatever the pool finds; a block that it finds \
                    now credits you the second, of its fees.";
const SLICES: &str = "A block that the pool finds now credits you this: of what it pays newly issued your part of the work in \
                      the window, of its fees your part of each slice, after the fee. The window moves with every share.";
const COUNTING: &str = "The window of the next block is being counted. Look again in a minute.";
const NOTHING: &str = "No share counts for the next block yet.";

impl Expected {
    /// Says what an account has to expect that mines so.
    pub(super) fn new(prospect: &Prospect, account: AccountId, reward: Reward) -> Expected {
        let Prospect { scheme: Some(scheme), value: Some(value), outlook, sliced, accrued } = prospect else {
            return Expected::without(WAITS);
        };
        if reward == Reward::Solo || matches!(scheme, Scheme::Solo(_)) {
            return Expected::solo(*value, scheme.fee());
        }
        let earned = accrued.get(&account).copied().unwrap_or_default();
        match (scheme, outlook) {
            (Scheme::Pps(_), _) => Expected::of(earned, WORK),
            (Scheme::Fpps(_), _) => Expected::of(earned, DAY),
            (Scheme::PpsPlus(_), outlook) => {
                let credit = outlook.as_ref().map(|outlook| outlook.credit(account)).unwrap_or_default();
                let steps = [("Earned by work", earned), ("Of a block's fees", credit)];
                let steps = steps.map(|(name, amount)| (name, sat(amount))).into();
                Expected { sat: Some(Btc((earned + credit).to_sat().into())), sentence: BOTH, steps }
            }
            (Scheme::Slice(_), _) => match sliced {
                None => Expected::without(COUNTING),
                Some(Counted { outlook: None, .. }) => Expected::without(NOTHING),
                Some(Counted { outlook: Some(outlook), at, .. }) => {
                    let age_s = i64::try_from(at.elapsed().as_secs()).unwrap_or(i64::MAX);
                    Expected::of_slices(outlook, account, Span(age_s))
                }
            },
            (_, None) => Expected::without(NOTHING),
            (scheme, Some(outlook)) => Expected::of_window(outlook, account, matches!(scheme, Scheme::Prop(_))),
        }
    }

    fn without(sentence: &'static str) -> Expected {
        Expected { sat: None, sentence, steps: Vec::new() }
    }

    fn of(amount: Amount, sentence: &'static str) -> Expected {
        Expected { sat: Some(Btc(amount.to_sat().into())), sentence, steps: Vec::new() }
    }

    fn solo(value: Amount, fee: PoolFee) -> Expected {
        let credit = value - fee.on(value);
        let steps = vec![("A block pays", sat(value)), ("Pool fee", sat(fee.on(value)))];
        Expected { steps, ..Expected::of(credit, SOLO) }
    }

    fn of_window(outlook: &Outlook, account: AccountId, is_round: bool) -> Expected {
        let (own, total) = (outlook.counted(account), outlook.total());
        let part = f64::from(own.weight) / f64::from(total.weight);
        let steps = vec![
            ("A block pays", sat(outlook.reward.value)),
            ("Pool fee", sat(outlook.fee)),
            ("Your shares in the window", Number(own.shares.into()).to_string()),
            ("All shares in the window", Number(total.shares.into()).to_string()),
            ("Your part by weight", Percent(part).to_string()),
        ];
        let sentence = match (is_round, outlook.is_full()) {
            (true, _) => ROUND,
            (false, true) => WINDOW,
            (false, false) => FILLING,
        };
        Expected { steps, ..Expected::of(outlook.credit(account), sentence) }
    }

    fn of_slices(outlook: &Outlook, account: AccountId, age: Span) -> Expected {
        let nothing = SliceParts::default();
        let parts = outlook.slices().unwrap_or(&nothing);
        let own = parts.accounts.get(&account).copied().unwrap_or_default();
        let part_of_work = own.work.approximate() / parts.work().approximate();
        let steps = vec![
            ("A block pays", sat(outlook.reward.value)),
            ("Of that newly issued", sat(outlook.reward.subsidy)),
            ("Pool fee", sat(outlook.fee)),
            ("Your part of the work", Percent(part_of_work).to_string()),
            ("Your part of the fees", Percent(own.approximate_fees()).to_string()),
            ("Slices in the window", Number(parts.slices.into()).to_string()),
            ("Counted", format!("{age} ago")),
        ];
        Expected { steps, ..Expected::of(outlook.credit(account), SLICES) }
    }
}

fn sat(amount: Amount) -> String {
    format!("{} sat", Number(amount.to_sat().into()))
}
