//! `carf_<year>.xml`: a draft of a message in the elements of the OECD's Crypto-Asset Reporting Framework XML Schema
//! ("User Guide for Tax Administrations", 2024; schema file `CARFXML_v1.5.xsd`), for mining income.
//!
//! Owns which elements are written and what a draft lacks. Does not decide who must report, to whom, or whether
//! receipts of a pool are transfers in the framework's sense. A draft is marked three times: in a comment, in the
//! warning, and by test indicators, which authorities refuse as reports. `schema/` has the elements used here as an XSD
//! of our own, made from the published element names; it is not the OECD's schema.

mod draft;

use std::io::Write;

use super::{
    ReportError, figure,
    markup::Markup,
    model::{Currency, ReportHead, Valuation},
    party::Party,
};

/// The namespace of the framework's elements.
pub const CARF_NAMESPACE: &str = "urn:oecd:ties:carf:v1";
/// The namespace of the elements that OECD messages share.
pub const STF_NAMESPACE: &str = "urn:oecd:ties:carfstf:v5";
/// The schema's version, an attribute of the root.
pub const CARF_VERSION: &str = "1.5";
/// The transfer type of mining income (`TransferType_EnumType`).
pub const MINING_INCOME: &str = "CARF503";
/// The decimals of all amounts of money (`MonAmnt_Type`).
const MONEY_DECIMALS: u8 = 2;

/// What a draft is made from.
#[derive(Clone, Debug)]
pub struct CarfDraft {
    /// The calendar year that is reported.
    pub year: u16,
    /// The country whose authority is told, ISO 3166-1 alpha-2.
    pub transmitting_country: String,
    /// The country that is told in the end; the same for a domestic report.
    pub receiving_country: String,
    /// What makes the message's id unique among those of the sender.
    pub message: String,
    /// Whom to ask; may be empty.
    pub contact: String,
    /// The provider that reports.
    pub provider: Party,
    /// The users and what they received, one entry each.
    pub users: Vec<CarfUser>,
}

/// A user of the provider's.
#[derive(Clone, Debug)]
pub struct CarfUser {
    /// Who it is.
    pub party: Party,
    /// What was received as mining income.
    pub income: MiningIncome,
}

/// Mining income of a year.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MiningIncome {
    /// How many receipts have a value.
    pub receipts: u64,
    /// Their coin, in satoshis.
    pub amount_sat: u64,
    /// Their values' sum, in minor units.
    pub minor: i64,
    /// The currency of the values.
    pub currency: Currency,
    /// How many receipts have no value, or how many such were taken back. They are in neither sum.
    pub unvalued: u64,
}

/// Something that the schema demands and the draft does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The party's id.
    pub party: String,
    /// What is missing.
    pub what: String,
}

impl MiningIncome {
    /// Sums up a user's receipts: satoshis, value, and whether the receipt is taken back. Returns nothing if more was taken
    /// back than was received, by number, coin or value: income below zero cannot be told.
    ///
    /// # Errors
    ///
    /// If a value is in another currency, or the sums do not fit.
    pub fn of<'a>(
        user: &str,
        currency: &Currency,
        receipts: impl IntoIterator<Item = (u64, &'a Valuation, bool)>,
    ) -> Result<Option<Self>, ReportError> {
        let fault = |what: String| ReportError::Carf { user: user.to_owned(), what };
        let [mut count, mut amount_sat, mut minor, mut unvalued] = [0i128; 4];
        for (sat, valuation, is_reversal) in receipts {
            let sign = if is_reversal { -1 } else { 1 };
            match valuation {
                Valuation::Unvalued => unvalued += sign,
                Valuation::Valued(value) if value.currency == *currency => {
                    count += sign;
                    amount_sat += sign * i128::from(sat);
                    minor += sign * i128::from(value.minor);
                }
                Valuation::Valued(value) => {
                    return Err(fault(format!("a value is in {}, not in {}", value.currency.code, currency.code)));
                }
            }
        }
        if count.min(amount_sat).min(minor) < 0 {
            return Ok(None);
        }
        let too_large = |sum: i128| fault(format!("the sum {sum} is too large"));
        let fit = |sum: i128| u64::try_from(sum).map_err(|_| too_large(sum));
        Ok(Some(Self {
            receipts: fit(count)?,
            amount_sat: fit(amount_sat)?,
            minor: i64::try_from(minor).map_err(|_| too_large(minor))?,
            currency: currency.clone(),
            // Of what was received before and has no value, all that is told is that it was taken back.
            unvalued: fit(unvalued.abs())?,
        }))
    }

    /// Takes in by how much receipts of earlier years are worth more than was reported of them, in minor units.
    ///
    /// # Errors
    ///
    /// If the sum falls below zero, which cannot be told, or does not fit. Nothing is changed then.
    pub fn correct(&mut self, user: &str, difference_minor: i128) -> Result<(), ReportError> {
        let corrected = i64::try_from(i128::from(self.minor) + difference_minor).ok().filter(|minor| *minor >= 0);
        let fault = || ReportError::Carf {
            user: user.to_owned(),
            what: format!("a correction by {difference_minor} leaves {} below zero or too large", self.minor),
        };
        self.minor = corrected.ok_or_else(fault)?;
        Ok(())
    }

    fn money(&self) -> Option<String> {
        let minor = figure::rescaled_half_up(self.minor.into(), self.currency.decimals, MONEY_DECIMALS)?;
        (minor >= 0).then(|| figure::decimal(minor, MONEY_DECIMALS))
    }
}

/// Returns the name of the file.
pub fn carf_file(draft: &CarfDraft) -> String {
    format!("carf_{:04}.xml", draft.year)
}

impl CarfDraft {
    /// Returns everything that the schema demands and the draft does not have.
    pub fn gaps(&self) -> Vec<Gap> {
        let parties = std::iter::once(&self.provider).chain(self.users.iter().map(|user| &user.party));
        parties.flat_map(draft::gaps).collect()
    }

    /// Writes the draft. What is missing is left out, never made up; a comment says so where it belongs, and the return
    /// value says it all. A draft without gaps fits the schema.
    ///
    /// # Errors
    ///
    /// If a country of the message or a currency is none by its form, a user's income is negative or too large to tell,
    /// a time cannot be told, or writing fails.
    pub fn write(&self, head: &ReportHead, out: &mut dyn Write) -> Result<Vec<Gap>, ReportError> {
        draft::check(self)?;
        let gaps = self.gaps();
        let mut xml = Markup::xml(out)?;
        draft::write(self, head, &gaps, &mut xml)?;
        xml.end()?;
        Ok(gaps)
    }
}

#[cfg(test)]
mod tests;
