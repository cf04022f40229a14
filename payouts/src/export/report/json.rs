//! What the JSON files share: how amounts, times and values look in them. Satoshis are whole numbers, all other amounts
//! decimal text, times RFC 3339.

use std::io::Write;

use serde::Serialize;

use super::{
    NOT_LEGAL_ADVICE, ReportError, SCHEMA_VERSION, figure,
    model::{ReportHead, Valuation},
    table::UNVALUED,
};

/// Writes a value as indented JSON with a line end.
pub(super) fn write(value: &impl Serialize, out: &mut dyn Write) -> Result<(), ReportError> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    Ok(out.write_all(b"\n")?)
}

/// The head of a set of reports.
#[derive(Clone, Debug, Serialize)]
pub(super) struct HeadJson {
    pub(super) schema_version: u32,
    pub(super) notice: &'static str,
    pub(super) software_version: String,
    pub(super) pool: String,
    pub(super) profile: String,
    pub(super) profile_version: String,
    pub(super) period: PeriodJson,
    pub(super) generated_at: String,
}

/// A period.
#[derive(Clone, Debug, Serialize)]
pub(super) struct PeriodJson {
    pub(super) label: String,
    pub(super) zone: String,
    pub(super) from: String,
    pub(super) until: String,
}

impl HeadJson {
    pub(super) fn of(head: &ReportHead) -> Result<Self, ReportError> {
        Ok(Self {
            schema_version: SCHEMA_VERSION,
            notice: NOT_LEGAL_ADVICE,
            software_version: head.software_version.clone(),
            pool: head.pool.clone(),
            profile: head.profile.clone(),
            profile_version: head.profile_version.clone(),
            period: PeriodJson {
                label: head.period.label.clone(),
                zone: head.zone.name.clone(),
                from: figure::local(head.period.from_ms, &head.zone)?,
                until: figure::local(head.period.until_ms, &head.zone)?,
            },
            generated_at: figure::utc(head.generated_at_ms)?,
        })
    }
}

/// An amount of coin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct CoinJson {
    pub(super) sat: i128,
    pub(super) btc: String,
}

impl CoinJson {
    pub(super) fn of(sat: impl Into<i128>) -> Self {
        let sat = sat.into();
        Self { sat, btc: figure::btc(sat) }
    }
}

/// A time, in UTC and in the profile's zone.
#[derive(Clone, Debug, Serialize)]
pub(super) struct TimeJson {
    pub(super) utc: String,
    pub(super) local: String,
}

impl TimeJson {
    pub(super) fn of(ms: i64, head: &ReportHead) -> Result<Self, ReportError> {
        Ok(Self { utc: figure::utc(ms)?, local: figure::local(ms, &head.zone)? })
    }
}

/// A value, or that there is none.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(super) enum ValuationJson {
    /// Nothing but that there is no value.
    Unvalued { value: &'static str },
    /// The value and what it was computed from.
    Valued(Box<ValueJson>),
}

/// A value and what it was computed from.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ValueJson {
    pub(super) value: String,
    pub(super) currency: String,
    policy: String,
    venue: String,
    pair: String,
    price_basis: String,
    price: String,
    price_at: String,
    fx: Option<FxJson>,
    price_file_sha256: String,
}

/// A currency rate.
#[derive(Clone, Debug, Serialize)]
struct FxJson {
    source: String,
    rate: String,
    date: String,
}

impl ValuationJson {
    pub(super) fn of(valuation: &Valuation) -> Result<Self, ReportError> {
        let Valuation::Valued(value) = valuation else { return Ok(Self::Unvalued { value: UNVALUED }) };
        let number = |text: &str| match figure::is_decimal(text) {
            true => Ok(text.to_owned()),
            false => Err(ReportError::Decimal(text.to_owned())),
        };
        let fx = value.fx.as_ref().map(|fx| {
            Ok::<_, ReportError>(FxJson { source: fx.source.clone(), rate: number(&fx.rate)?, date: fx.date.clone() })
        });
        Ok(Self::Valued(Box::new(ValueJson {
            value: figure::decimal(value.minor, value.currency.decimals),
            currency: value.currency.code.clone(),
            policy: value.policy.clone(),
            venue: value.venue.clone(),
            pair: value.pair.clone(),
            price_basis: value.basis.clone(),
            price: number(&value.price)?,
            price_at: figure::utc(value.price_at_ms)?,
            fx: fx.transpose()?,
            price_file_sha256: value.source_sha256.clone(),
        })))
    }

    /// Returns the value with its currency, for people.
    pub(super) fn told(&self) -> String {
        match self {
            Self::Unvalued { value } => (*value).to_owned(),
            Self::Valued(value) => format!("{} {}", value.value, value.currency),
        }
    }
}
