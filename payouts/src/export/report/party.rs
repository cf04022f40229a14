//! Who a report is about: the particulars that authorities ask for. Plain data, filled by the caller.
//!
//! Does not own identity documents; what is not known is left out, and the reports say what they lack.

/// Somebody who sends or receives coin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    /// The party's id in the register.
    pub id: String,
    /// The name.
    pub name: PartyName,
    /// The country of residence, ISO 3166-1 alpha-2; empty if unknown.
    pub residency: String,
    /// The tax numbers.
    pub tax_ids: Vec<TaxId>,
    /// The registrations and accreditations.
    pub registrations: Vec<Registration>,
    /// The legal entity identifier, ISO 17442; empty if there is none.
    pub lei: String,
    /// The postal address.
    pub address: Option<PostalAddress>,
}

/// A name, and with it whether a person is natural or legal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartyName {
    /// A human being.
    Natural {
        /// The given names; empty if unknown or not told apart.
        first: String,
        /// The family name, or the whole name.
        last: String,
        /// The day of birth, `2000-12-31`; empty if unknown.
        birth_date: String,
    },
    /// An organisation.
    Legal {
        /// The registered name.
        name: String,
    },
}

/// A tax number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaxId {
    /// The number.
    pub value: String,
    /// The country that issued it; empty if unknown.
    pub issued_by: String,
}

/// A registration with an authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The authority; where it has one, its code of the GLEIF list (`RA000001`).
    pub authority: String,
    /// The number.
    pub number: String,
}

/// A postal address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostalAddress {
    /// The country, ISO 3166-1 alpha-2.
    pub country: String,
    /// The city.
    pub city: String,
    /// The street; empty if unknown.
    pub street: String,
    /// The number of the building; empty if unknown.
    pub building: String,
    /// The postal code; empty if unknown.
    pub post_code: String,
}
