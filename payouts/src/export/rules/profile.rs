//! Country profiles: which rules a pool reports by, as a versioned TOML file.
//!
//! Owns the form of the file, what every profile must have, and the profiles that are shipped. They are configuration
//! with assumed facts, no legal advice, and name no venue, bank or counterparty: these are blank until the operator
//! fills them in, and what needs a blank says so. What the rules do stands in the modules that follow them.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
};

use jiff::civil::Date;

use super::{
    currency::Currency,
    obligation::{SaleObligation, ShareBp},
    period::{BadPeriod, DueRule, Period, PeriodKind},
    prices::{Pair, PriceBasis, Series, SourceName},
    residency::ExportBasis,
    sale::LotMethod,
    source_file::{self, FileHash, ReadError},
    valuation::{BadPolicy, ExchangePolicy, RateDate, ValuationPolicy},
    zone::Zone,
};

mod facts;

pub use facts::{AnnualDue, BlockedPropertyRule, PartyFact, PoolFact, ReceiptEvent, ReportName};

/// The longest profile.
pub const MAX_PROFILE_BYTES: u64 = 64 * 1024;

/// The fewest years that screening is kept: no profile may shorten them.
pub const MIN_RETENTION_YEARS: u8 = 10;

/// The most years that records are kept. It only keeps mistyped numbers out.
pub const MAX_RETENTION_YEARS: u8 = 100;

/// The lists that every profile requires. A profile may add to them.
pub const BASE_LISTS: [&str; 1] = ["ofac-sdn"];

/// What stands in for a name that is blank while a profile's form is checked; it is in no policy that leaves here.
const UNNAMED: &str = "unnamed";

/// A country profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CountryProfile {
    terms: Terms,
    hash: FileHash,
}

/// The file, as written.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Terms {
    name: SourceName,
    version: u32,
    zone: Zone,
    currency: Currency,
    receipt_event: ReceiptEvent,
    export_bases: BTreeSet<ExportBasis>,
    reports: BTreeSet<ReportName>,
    assumed: Assumed,
    period: PeriodTerms,
    price: PriceTerms,
    fx: Option<FxTerms>,
    lots: LotTerms,
    party: PartyTerms,
    screening: ScreeningTerms,
    blocked_property: BlockedPropertyRule,
    sale: Option<SaleTerms>,
    #[serde(default)]
    pool: PoolTerms,
}

/// What a profile takes for granted.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assumed {
    /// The day as of which the facts were collected.
    pub as_of: Date,
    /// The facts, each a sentence. Some name the day from which they hold.
    pub facts: Vec<String>,
    /// That the profile is no legal advice; reports repeat it.
    pub disclaimer: String,
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct PeriodTerms {
    kind: PeriodKind,
    due: DueRule,
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceTerms {
    venue: Blankable,
    pair: Pair,
    basis: PriceBasis,
    zone: Option<Zone>,
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct FxTerms {
    source: Blankable,
    date: FxDate,
    max_days: Option<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum FxDate {
    Same,
    LastPublished,
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct LotTerms {
    method: LotMethod,
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct PartyTerms {
    required: BTreeSet<PartyFact>,
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct ScreeningTerms {
    lists: BTreeSet<SourceName>,
    retention_years: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct SaleTerms {
    share_bp: ShareBp,
    eligible_venues: BTreeSet<SourceName>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct PoolTerms {
    #[serde(default)]
    required: BTreeSet<PoolFact>,
    #[serde(default)]
    facts: BTreeMap<PoolFact, String>,
}

/// A name, or the empty text for one that the operator has not filled in.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
struct Blankable(Option<SourceName>);

impl TryFrom<String> for Blankable {
    type Error = <SourceName as TryFrom<String>>::Error;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.is_empty() { Ok(Self(None)) } else { text.try_into().map(Some).map(Self) }
    }
}

/// Why a profile is refused.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// It cannot be read, or is too long.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It is not in UTF-8.
    #[error("the profile is not in UTF-8")]
    Encoding,
    /// It is no TOML, or has a field that is unknown, missing or malformed.
    #[error("the profile is malformed: {0}")]
    Form(#[from] toml::de::Error),
    /// Versions count from 1.
    #[error("profile {0}: version 0 is none; versions count from 1")]
    Version(String),
    /// It requires no list to screen by.
    #[error("profile {0} has no list to screen by")]
    NoList(String),
    /// It leaves out a list that every profile, or its own version before, requires.
    #[error("profile {profile} leaves out the list {list}: profiles may add lists, never remove one")]
    ListRemoved {
        /// The profile.
        profile: String,
        /// The list.
        list: String,
    },
    /// It keeps screening for too short or too long.
    #[error(
        "profile {profile}: {years} years of retention are not within {MIN_RETENTION_YEARS} to {MAX_RETENTION_YEARS}"
    )]
    Retention {
        /// The profile.
        profile: String,
        /// The years.
        years: u8,
    },
    /// Nothing that it takes for granted stands there, or not that it is no legal advice.
    #[error("profile {profile}: assumed.{field} does not say what it must")]
    Assumed {
        /// The profile.
        profile: String,
        /// The field.
        field: &'static str,
    },
    /// It says nothing about what must be said, or says it twice.
    #[error("profile {profile}: {field} {what}")]
    Field {
        /// The profile.
        profile: String,
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Its valuation contradicts itself.
    #[error("profile {profile}")]
    Policy {
        /// The profile.
        profile: String,
        /// How.
        #[source]
        fault: BadPolicy,
    },
    /// A later version has no higher number than the one before, or another name.
    #[error("profile {later} does not follow {earlier}")]
    Order {
        /// The earlier profile's id.
        earlier: String,
        /// The later one's.
        later: String,
    },
}

/// A field that the operator has to fill in before it can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("profile {profile} leaves {field} blank: fill it in, in a profile of your own")]
pub struct Blank {
    /// The profile's id.
    pub profile: String,
    /// The field, as `table.key`.
    pub field: String,
}

impl CountryProfile {
    /// The profile of a pool that names no other.
    pub const DEFAULT: &str = "neutral";

    /// The profiles that are shipped, by name.
    pub const SHIPPED: [(&str, &str); 4] = [
        ("neutral", include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/profiles/neutral.toml"))),
        (
            "utc3-monthly-watcher",
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/profiles/utc3-monthly-watcher.toml")),
        ),
        (
            "pool-reports-miners",
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/profiles/pool-reports-miners.toml")),
        ),
        ("carf-yearly", include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/profiles/carf-yearly.toml"))),
    ];

    /// Returns a shipped profile by its name; `None` if none has it.
    pub fn shipped(name: &str) -> Option<Self> {
        let (_, text) = Self::SHIPPED.iter().find(|(shipped, _)| *shipped == name)?;
        Some(Self::parse(text).expect("shipped profiles are tested"))
    }

    /// Reads an operator's profile.
    ///
    /// # Errors
    ///
    /// If it is too long, malformed, or lacks what every profile must have. Blanks are no error here.
    pub fn read(file: impl Read) -> Result<Self, ProfileError> {
        let (bytes, hash) = source_file::read(file, MAX_PROFILE_BYTES)?;
        let text = str::from_utf8(&bytes).map_err(|_| ProfileError::Encoding)?;
        let profile = Self { terms: toml::from_str(text)?, hash };
        profile.check()?;
        Ok(profile)
    }

    /// Parses the text of a profile.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn parse(text: &str) -> Result<Self, ProfileError> {
        Self::read(text.as_bytes())
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        self.terms.name.as_str()
    }

    /// Returns the version.
    pub const fn version(&self) -> u32 {
        self.terms.version
    }

    /// Returns name and version, `neutral/1`: what valuations and reports name.
    pub fn id(&self) -> String {
        format!("{}/{}", self.terms.name, self.terms.version)
    }

    /// Returns the SHA-256 of the file.
    pub const fn file_sha256(&self) -> FileHash {
        self.hash
    }

    /// Returns what it takes for granted.
    pub const fn assumed(&self) -> &Assumed {
        &self.terms.assumed
    }

    /// Returns the zone of its days and periods.
    pub const fn zone(&self) -> &Zone {
        &self.terms.zone
    }

    /// Returns the currency of its values.
    pub const fn currency(&self) -> Currency {
        self.terms.currency
    }

    /// Returns what makes coin a miner's.
    pub const fn receipt_event(&self) -> ReceiptEvent {
        self.terms.receipt_event
    }

    /// Returns which meanings of "export" it applies.
    pub const fn export_bases(&self) -> &BTreeSet<ExportBasis> {
        &self.terms.export_bases
    }

    /// Returns the reports that it wants.
    pub const fn reports(&self) -> &BTreeSet<ReportName> {
        &self.terms.reports
    }

    /// Returns the length of its periods.
    pub const fn period_kind(&self) -> PeriodKind {
        self.terms.period.kind
    }

    /// Returns the period in which an instant falls, given in milliseconds since 1970 UTC.
    ///
    /// # Errors
    ///
    /// If its year has no periods.
    pub fn period_at(&self, at_ms: i64) -> Result<Period, BadPeriod> {
        Period::containing(self.terms.period.kind, at_ms, &self.terms.zone)
    }

    /// Returns the day by which the report of a period is due.
    pub fn due(&self, period: Period) -> Date {
        period.due(self.terms.period.due)
    }

    /// Returns how lots are chosen for sales.
    pub const fn lot_method(&self) -> LotMethod {
        self.terms.lots.method
    }

    /// Returns what must be known of a party.
    pub const fn party_facts(&self) -> &BTreeSet<PartyFact> {
        &self.terms.party.required
    }

    /// Returns the lists without which nothing is paid; at least [`BASE_LISTS`].
    pub const fn lists(&self) -> &BTreeSet<SourceName> {
        &self.terms.screening.lists
    }

    /// Returns for how many years records of screening are kept, at least [`MIN_RETENTION_YEARS`].
    pub const fn retention_years(&self) -> u8 {
        self.terms.screening.retention_years
    }

    /// Returns when blocked property is reported.
    pub const fn blocked_property(&self) -> BlockedPropertyRule {
        self.terms.blocked_property
    }

    /// Returns how receipts are valued.
    ///
    /// # Errors
    ///
    /// If the venue, or the source of rates if one is needed, is blank.
    pub fn valuation_policy(&self) -> Result<ValuationPolicy, Blank> {
        let named = |name: &Blankable, field| name.0.clone().ok_or_else(|| self.blank(field));
        let venue = named(&self.terms.price.venue, "price.venue")?;
        let source = self.terms.fx.as_ref().map(|fx| named(&fx.source, "fx.source")).transpose()?;
        Ok(self.policy(venue, source).expect("all but the names was checked when the profile was read"))
    }

    /// Returns what must be sold where; none if the profile demands nothing.
    ///
    /// # Errors
    ///
    /// If it demands a share, and no venue is eligible.
    pub fn sale_obligation(&self) -> Result<Option<SaleObligation>, Blank> {
        let Some(SaleTerms { share_bp, eligible_venues }) = &self.terms.sale else { return Ok(None) };
        if eligible_venues.is_empty() {
            return Err(self.blank("sale.eligible_venues"));
        }
        Ok(Some(SaleObligation { share: *share_bp, eligible_venues: eligible_venues.clone() }))
    }

    /// Returns what the pool says of itself in reports: all that is required, and what else was filled in.
    ///
    /// # Errors
    ///
    /// If something that is required is blank.
    pub fn pool_facts(&self) -> Result<BTreeMap<PoolFact, &str>, Blank> {
        let PoolTerms { required, facts } = &self.terms.pool;
        let filled: BTreeMap<PoolFact, &str> =
            facts.iter().map(|(fact, text)| (*fact, text.trim())).filter(|(_, text)| !text.is_empty()).collect();
        match required.iter().find(|fact| !filled.contains_key(fact)) {
            Some(fact) => Err(self.blank(&format!("pool.facts.{fact}"))),
            None => Ok(filled),
        }
    }

    /// Returns one thing that the pool says of itself, if it is filled in.
    pub fn pool_fact(&self, fact: PoolFact) -> Option<&str> {
        self.terms.pool.facts.get(&fact).map(|text| text.trim()).filter(|text| !text.is_empty())
    }

    /// Returns the first blank of each part, for a look over all that is left to fill in.
    pub fn blanks(&self) -> Vec<Blank> {
        let parts = [self.valuation_policy().map(drop), self.sale_obligation().map(drop), self.pool_facts().map(drop)];
        parts.into_iter().filter_map(Result::err).collect()
    }

    /// Checks that it may take the place of `earlier` in a running pool: another profile may, and a later version of
    /// the same, as long as no list is lost.
    ///
    /// # Errors
    ///
    /// If a list would be removed, or a version of the same name is not later and not the same file.
    pub fn check_replaces(&self, earlier: &Self) -> Result<(), ProfileError> {
        if let Some(list) = earlier.lists().difference(self.lists()).next() {
            return Err(ProfileError::ListRemoved { profile: self.id(), list: list.to_string() });
        }
        if self.name() == earlier.name() && self.version() <= earlier.version() && self.hash != earlier.hash {
            return Err(ProfileError::Order { earlier: earlier.id(), later: self.id() });
        }
        Ok(())
    }

    fn check(&self) -> Result<(), ProfileError> {
        let (terms, profile) = (&self.terms, self.terms.name.to_string());
        let field = |field, what| Err(ProfileError::Field { profile: profile.clone(), field, what });
        if terms.version == 0 {
            return Err(ProfileError::Version(profile));
        }
        self.check_screening()?;
        self.check_assumed()?;
        if terms.export_bases.is_empty() {
            return field("export_bases", "is empty");
        }
        if terms.reports.is_empty() {
            return field("reports", "is empty");
        }
        match &terms.fx {
            Some(FxTerms { date: FxDate::Same, max_days: Some(_), .. }) => {
                return field("fx.max_days", "has no use: only the same date counts");
            }
            Some(FxTerms { date: FxDate::LastPublished, max_days: None, .. }) => {
                return field("fx.max_days", "is missing: it bounds how old a rate may be");
            }
            Some(_) | None => {}
        }
        let unnamed: SourceName = UNNAMED.parse().expect("the placeholder has the form of a name");
        let source = terms.fx.as_ref().map(|_| unnamed.clone());
        self.policy(unnamed, source).map(drop).map_err(|fault| ProfileError::Policy { profile, fault })
    }

    fn check_screening(&self) -> Result<(), ProfileError> {
        let profile = || self.name().to_owned();
        let ScreeningTerms { lists, retention_years } = &self.terms.screening;
        if lists.is_empty() {
            return Err(ProfileError::NoList(profile()));
        }
        if let Some(list) = BASE_LISTS.iter().find(|base| !lists.iter().any(|list| list.as_str() == **base)) {
            return Err(ProfileError::ListRemoved { profile: profile(), list: (*list).to_owned() });
        }
        if !(MIN_RETENTION_YEARS..=MAX_RETENTION_YEARS).contains(retention_years) {
            return Err(ProfileError::Retention { profile: profile(), years: *retention_years });
        }
        Ok(())
    }

    fn check_assumed(&self) -> Result<(), ProfileError> {
        let missing = |field| Err(ProfileError::Assumed { profile: self.name().to_owned(), field });
        let Assumed { facts, disclaimer, .. } = &self.terms.assumed;
        if facts.is_empty() || facts.iter().any(|fact| fact.trim().is_empty()) {
            return missing("facts");
        }
        // Reports repeat it word for word, so it must at least say this.
        if disclaimer.to_lowercase().contains("no legal advice") { Ok(()) } else { missing("disclaimer") }
    }

    fn policy(&self, venue: SourceName, source: Option<SourceName>) -> Result<ValuationPolicy, BadPolicy> {
        let Terms { price, fx, zone, currency, .. } = &self.terms;
        let series = Series { venue, pair: price.pair, basis: price.basis };
        let exchange = fx.as_ref().zip(source).map(|(fx, source)| {
            let date = match fx.max_days {
                Some(max_days) => RateDate::LastPublished { max_days },
                None => RateDate::Same,
            };
            ExchangePolicy { source, date }
        });
        let policy = ValuationPolicy::new(self.id(), series, zone.clone(), *currency, exchange)?;
        Ok(match &price.zone {
            Some(price_zone) => policy.with_price_zone(price_zone.clone()),
            None => policy,
        })
    }

    fn blank(&self, field: &str) -> Blank {
        Blank { profile: self.id(), field: field.to_owned() }
    }
}

#[cfg(test)]
mod tests;
