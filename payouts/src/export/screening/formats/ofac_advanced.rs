//! OFAC's `sdn_advanced.xml`: the Advanced Sanctions Data Model.
//!
//! Names of things are numbers there, told by `ReferenceValueSets` at the start: which feature types are addresses is
//! looked up by their text, so that currencies which OFAC adds are found. Then come `DistinctParties`, each with names
//! (`Alias`, `DocumentedName`, `NamePartValue`) and features (`Feature`, `FeatureVersion`, `VersionDetail`), and last
//! `SanctionsEntries`, which tell the programmes of a party's profile in the comments of measures of the type "Program".
//!
//! Source: OFAC, "Advanced Sanctions List Data Model", and public parsers of the file (0xB10C's list of addresses).

use std::collections::HashMap;
use std::io::Read;

use jiff::civil::Date;

use super::super::address;
use super::super::draft::{Draft, PartyPlace};
use super::super::list::{
    ListError, ListFormat, ListSource, MAX_NAME_BYTES, MAX_PARTIES, MAX_REFERENCE_VALUES, MAX_UID_BYTES, NameKind,
    PartyKind, SanctionsList, quoted,
};
use super::markup::{Element, Layout, read_list};

/// Reads `sdn_advanced.xml`.
///
/// The names of a party are its aliases in every script in which they are documented; those of "low quality" are weak.
/// Its identifier is the `FixedRef` of the party, which is the `uid` of `sdn.xml`.
///
/// # Errors
///
/// If the file is no well-formed list within the limits, or tells no feature type of Bitcoin addresses: reading it
/// without would find no address at all.
pub fn read_ofac_advanced(
    source: ListSource,
    input: impl Read,
    progress: &mut dyn FnMut(u64),
) -> Result<SanctionsList, ListError> {
    read_list(Advanced::default(), source, input, progress)
}

/// A value of a set of references that is being read: its id, and the id that it refers to if any.
type Reference = (String, Option<String>);

#[derive(Default)]
struct Advanced {
    draft: Draft,
    date: Issue,
    reference: Option<Reference>,
    /// The currency of each feature type that is an address.
    currencies: HashMap<String, String>,
    party_types: HashMap<String, String>,
    /// The text of each subtype of parties, and the id of its type.
    party_subtypes: HashMap<String, Reference>,
    program_measures: Vec<String>,
    has_parties: bool,
    party: Option<PartyPlace>,
    profiles: HashMap<String, PartyPlace>,
    alias: Option<NameKind>,
    name: Option<String>,
    /// The currency of the feature that is being read, if it is an address, and how many values it has had.
    feature: Option<(String, usize)>,
    entry: Option<PartyPlace>,
    /// The depth of a measure whose comment is a programme.
    measure: Option<usize>,
}

/// The date of issue while it is read.
#[derive(Default)]
struct Issue {
    is_open: bool,
    year: Option<i16>,
    month: Option<i8>,
    day: Option<i8>,
}

impl Advanced {
    fn open_reference(&mut self, element: &Element<'_>, refers_to: Option<&str>) -> Result<(), ListError> {
        let Some(id) = element.attribute("ID") else { return Ok(()) };
        let refers_to = refers_to.and_then(|name| element.attribute(name));
        let longest = id.len().max(refers_to.as_ref().map_or(0, String::len));
        self.draft.within("the length of an identifier", longest, MAX_UID_BYTES)?;
        self.reference = Some((id, refers_to));
        Ok(())
    }

    fn close_reference(&mut self, name: &str, text: &str) -> Result<(), ListError> {
        let Some((id, refers_to)) = self.reference.take() else { return Ok(()) };
        self.draft.within("the length of a value", text.len(), MAX_NAME_BYTES)?;
        let count = match name {
            "FeatureType" => {
                if let Some(label) = address::label_of(text) {
                    self.currencies.insert(id, label.to_owned());
                }
                self.currencies.len()
            }
            "PartyType" => {
                self.party_types.insert(id, text.to_owned());
                self.party_types.len()
            }
            "PartySubType" => {
                self.party_subtypes.insert(id, (text.to_owned(), refers_to));
                self.party_subtypes.len()
            }
            _ => {
                if text.eq_ignore_ascii_case("Program") {
                    self.program_measures.push(id);
                }
                self.program_measures.len()
            }
        };
        self.draft.within("the number of values of a reference set", count, MAX_REFERENCE_VALUES)
    }

    fn open_party(&mut self, element: &Element<'_>) -> Result<(), ListError> {
        self.has_parties = true;
        let uid = element.attribute("FixedRef").unwrap_or_default();
        self.party = Some(self.draft.party(&uid, PartyKind::Unknown)?);
        Ok(())
    }

    fn open_profile(&mut self, element: &Element<'_>, party: PartyPlace) -> Result<(), ListError> {
        if let Some(id) = element.attribute("ID") {
            self.draft.within("the length of an identifier", id.len(), MAX_UID_BYTES)?;
            self.draft.within("the number of profiles", self.profiles.len() + 1, MAX_PARTIES)?;
            self.profiles.insert(id, party);
        }
        let kind = element.attribute("PartySubTypeID").map_or(PartyKind::Unknown, |id| self.kind_of(&id));
        self.draft.kind(party, kind);
        Ok(())
    }

    /// Returns what a subtype of parties is: by its text, or where that says "Unknown" by that of its type.
    fn kind_of(&self, subtype: &str) -> PartyKind {
        let Some((text, party_type)) = self.party_subtypes.get(subtype) else { return PartyKind::Unknown };
        let party_type = party_type.as_ref().and_then(|id| self.party_types.get(id)).map_or("", String::as_str);
        let kind = |text: &str| match text.to_ascii_lowercase().as_str() {
            "individual" => Some(PartyKind::Individual),
            "entity" => Some(PartyKind::Entity),
            "vessel" => Some(PartyKind::Vessel),
            "aircraft" => Some(PartyKind::Aircraft),
            _ => None,
        };
        kind(text).or_else(|| kind(party_type)).unwrap_or(PartyKind::Unknown)
    }

    fn open_feature(&mut self, element: &Element<'_>) {
        let id = element.attribute("FeatureTypeID").unwrap_or_default();
        self.feature = self.currencies.get(&id).map(|label| (label.clone(), 0));
    }

    fn open_measure(&mut self, element: &Element<'_>) {
        let measure_type = element.attribute("SanctionsTypeID");
        // Without the type's name all comments count: a text too many does no harm.
        let tells_programme = self.program_measures.is_empty()
            || measure_type.is_some_and(|measure_type| self.program_measures.contains(&measure_type));
        self.measure = tells_programme.then_some(element.depth);
    }

    fn close_in_party(&mut self, party: PartyPlace, name: &str, text: &str) -> Result<(), ListError> {
        match name {
            "NamePartValue" => {
                if let Some(parts) = &mut self.name {
                    self.draft.within("the length of a name", parts.len() + text.len(), MAX_NAME_BYTES)?;
                    parts.push(' ');
                    parts.push_str(text);
                }
            }
            "DocumentedName" => {
                if let (Some(name), Some(kind)) = (self.name.take(), self.alias) {
                    self.draft.name(party, &name, kind)?;
                }
            }
            "Alias" => self.alias = None,
            "VersionDetail" => {
                if let Some((label, values)) = self.feature.as_mut().filter(|_| !text.is_empty()) {
                    *values += 1;
                    self.draft.address(party, label, text)?;
                }
            }
            "Feature" => {
                if let Some((label, 0)) = self.feature.take() {
                    self.draft.warn_of(party, format_args!("an address in {} is empty", quoted(&label)));
                }
            }
            "DistinctParty" => self.party = None,
            _ => {}
        }
        Ok(())
    }
}

impl Layout for Advanced {
    const FORMAT: ListFormat = ListFormat::OfacAdvancedXml;
    const ROOT: &'static str = "Sanctions";

    fn draft(&mut self) -> &mut Draft {
        &mut self.draft
    }

    fn open(&mut self, element: &Element<'_>) -> Result<(), ListError> {
        match (element.name, self.party) {
            ("DateOfIssue", None) => self.date.is_open = true,
            ("FeatureType" | "PartyType" | "SanctionsType", None) => self.open_reference(element, None)?,
            ("PartySubType", None) => self.open_reference(element, Some("PartyTypeID"))?,
            ("DistinctParty", None) => self.open_party(element)?,
            ("Profile", Some(party)) => self.open_profile(element, party)?,
            ("Alias", Some(_)) => {
                self.alias = Some(match (element.flag("Primary"), element.flag("LowQuality")) {
                    (Some(true), _) => NameKind::Primary,
                    (_, Some(true)) => NameKind::WeakAlias,
                    _ => NameKind::Alias,
                });
            }
            ("DocumentedName", Some(_)) => self.name = Some(String::new()),
            ("Feature", Some(_)) => self.open_feature(element),
            ("SanctionsEntry", None) => {
                let profile = element.attribute("ProfileID").unwrap_or_default();
                self.entry = self.profiles.get(&profile).copied();
            }
            ("SanctionsMeasure", None) => self.open_measure(element),
            _ => {}
        }
        Ok(())
    }

    fn close(&mut self, name: &str, depth: usize, text: &str) -> Result<(), ListError> {
        if let Some(party) = self.party {
            return self.close_in_party(party, name, text);
        }
        match name {
            "Year" if self.date.is_open => self.date.year = text.parse().ok(),
            "Month" if self.date.is_open => self.date.month = text.parse().ok(),
            "Day" if self.date.is_open => self.date.day = text.parse().ok(),
            "DateOfIssue" => self.date.is_open = false,
            "FeatureType" | "PartyType" | "PartySubType" | "SanctionsType" => self.close_reference(name, text)?,
            "Comment" => {
                if let (Some(entry), true) = (self.entry, self.measure.is_some_and(|measure| measure + 1 == depth)) {
                    self.draft.programme(entry, text)?;
                }
            }
            "SanctionsMeasure" => self.measure = None,
            "SanctionsEntry" => self.entry = None,
            // The values must be known before the parties: a file in another order would be read without addresses.
            "ReferenceValueSets" if self.has_parties => {
                let fault = "the reference values follow the parties".to_owned();
                return Err(ListError::Layout { format: Self::FORMAT, fault });
            }
            _ => {}
        }
        Ok(())
    }

    fn missing(&self) -> Option<String> {
        if !self.currencies.values().any(|label| address::is_bitcoin_label(label)) {
            return Some(format!("no feature type {:?}", format!("{} - XBT", address::ADDRESS_PREFIX)));
        }
        None
    }

    fn publication_date(&mut self) -> Option<Date> {
        Date::new(self.date.year?, self.date.month?, self.date.day?).ok()
    }

    fn into_draft(self) -> Draft {
        self.draft
    }
}
