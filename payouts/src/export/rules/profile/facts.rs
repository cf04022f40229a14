//! The words that profiles choose from.

use std::fmt;

use jiff::{ToSpan, civil::Date};

use super::super::period::working_days_after;

/// Gives an enum of words the text that profiles write.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $word:ident => $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $($(#[$word_doc])* #[serde(rename = $text)] $word,)+
        }

        impl $name {
            /// All words.
            pub const ALL: &'static [Self] = &[$(Self::$word),+];

            /// Returns the text that profiles write.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$word => $text,)+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

words! {
    /// What makes coin a miner's income, at its value on that day.
    ReceiptEvent {
        /// The block was found and credited.
        Credit => "credit",
        /// The coinbase can be spent.
        Maturity => "maturity",
        /// The payout is in a block.
        Payout => "payout",
    }
}

words! {
    /// Something that must be known of a party.
    PartyFact {
        /// Its name.
        LegalName => "legal_name",
        /// The country where it resides.
        Residency => "residency",
        /// A tax id and who issued it.
        TaxId => "tax_id",
        /// A registration or licence: authority, number and date.
        Registration => "registration",
        /// Its legal entity identifier (ISO 17442).
        Lei => "lei",
        /// The code of its bank (ISO 9362).
        Bic => "bic",
        /// A proof that it controls its address.
        ControlProof => "control_proof",
    }
}

words! {
    /// Something that the pool says of itself in reports.
    PoolFact {
        /// Its name.
        LegalName => "legal_name",
        /// The country where it resides.
        Residency => "residency",
        /// Its tax id.
        TaxId => "tax_id",
        /// The number of its licence or accreditation.
        LicenceNumber => "licence_number",
        /// Who licensed it.
        LicenceAuthority => "licence_authority",
        /// Since when.
        LicenceDate => "licence_date",
        /// Where an authority can watch a miner's statistics.
        WatcherLink => "watcher_link",
        /// Its id as a reporting entity, given by the authority that it reports to.
        ReportingEntityId => "reporting_entity_id",
        /// Its legal entity identifier (ISO 17442).
        Lei => "lei",
    }
}

words! {
    /// A report that a profile wants.
    ReportName {
        /// Every delivered output and what became of it.
        Register => "register",
        /// A miner's opening, movements and closing.
        Statement => "statement",
        /// Sales that are exports.
        ExportSales => "export_sales",
        /// All screening.
        ScreeningLog => "screening_log",
        /// Blocked property and when it is to be reported.
        BlockedProperty => "blocked_property",
        /// A draft in the OECD's schema.
        Carf => "carf",
        /// Names of both sides of transfers.
        TravelRule => "travel_rule",
        /// Whether ledger, lots, register and chain say the same.
        Reconciliation => "reconciliation",
    }
}

/// When blocked property is reported: some days after it was blocked, and perhaps each year.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockedPropertyRule {
    /// How many days after the day on which it was blocked.
    pub within_days: u8,
    /// Whether Saturdays and Sundays are not counted. Public holidays are not known, so the day may be early, never
    /// late.
    #[serde(default)]
    pub working_days: bool,
    /// The day of the year on which all that is blocked is reported.
    pub annual: Option<AnnualDue>,
}

impl BlockedPropertyRule {
    /// Returns the last day on which property blocked on a day is to be reported.
    pub fn due(self, blocked_on: Date) -> Date {
        if self.working_days {
            working_days_after(blocked_on, self.within_days)
        } else {
            blocked_on.saturating_add(i64::from(self.within_days).days())
        }
    }

    /// Returns the day in a year on which all that is blocked is reported, if the rule has one.
    pub fn annual_due(self, year: i16) -> Option<Date> {
        let annual = self.annual?;
        Date::new(year, annual.month, annual.day).ok()
    }
}

/// A day of every year.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "RawAnnualDue")]
pub struct AnnualDue {
    month: i8,
    day: i8,
}

/// [`AnnualDue`] as written.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAnnualDue {
    month: i8,
    day: i8,
}

/// A day that not every year has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("day {day} of month {month} is not in every year")]
pub struct BadAnnualDue {
    month: i8,
    day: i8,
}

impl TryFrom<RawAnnualDue> for AnnualDue {
    type Error = BadAnnualDue;

    fn try_from(RawAnnualDue { month, day }: RawAnnualDue) -> Result<Self, BadAnnualDue> {
        /// A year without 29 February.
        const COMMON_YEAR: i16 = 2025;
        match Date::new(COMMON_YEAR, month, day) {
            Ok(_) => Ok(Self { month, day }),
            Err(_) => Err(BadAnnualDue { month, day }),
        }
    }
}
