//! The EU's consolidated list of persons subject to financial sanctions (FSF), XML 1.0 and 1.1.
//!
//! `export` has a `generationDate` and `sanctionEntity` elements, each with `subjectType`, `regulation` and `nameAlias`.
//! It names parties; it has no field for addresses.
//!
//! Source: European Commission, FSF, `xmlFullSanctionsList_1_1` (namespace `http://eu.europa.ec/fpi/fsd/export`).

use std::io::Read;

use jiff::civil::Date;

use super::super::draft::{Draft, PartyPlace};
use super::super::list::{ListError, ListFormat, ListSource, NameKind, PartyKind, SanctionsList};
use super::markup::{Element, Layout, read_list};

/// The length of a date without time.
const DATE_LEN: usize = 10;

/// Reads the EU's list.
///
/// The identifier of a party is its `euReferenceNumber`, or its `logicalId` without one. Its first name is the primary
/// one; names that are not `strong` are weak aliases.
///
/// # Errors
///
/// If the file is no well-formed list within the limits.
pub fn read_eu_fsf(
    source: ListSource,
    input: impl Read,
    progress: &mut dyn FnMut(u64),
) -> Result<SanctionsList, ListError> {
    read_list(Fsf::default(), source, input, progress)
}

#[derive(Default)]
struct Fsf {
    draft: Draft,
    date: Option<Date>,
    party: Option<PartyPlace>,
    has_name: bool,
}

impl Fsf {
    fn name_alias(&mut self, element: &Element<'_>, party: PartyPlace) -> Result<(), ListError> {
        let mut name = element.attribute("wholeName").unwrap_or_default();
        if name.trim().is_empty() {
            let parts = ["firstName", "middleName", "lastName"];
            name = parts.map(|part| element.attribute(part).unwrap_or_default()).join(" ");
        }
        let kind = match element.flag("strong") {
            Some(false) => NameKind::WeakAlias,
            _ if self.has_name => NameKind::Alias,
            _ => NameKind::Primary,
        };
        self.has_name |= kind == NameKind::Primary && !name.trim().is_empty();
        self.draft.name(party, &name, kind)
    }
}

impl Layout for Fsf {
    const FORMAT: ListFormat = ListFormat::EuFsfXml;
    const ROOT: &'static str = "export";

    fn draft(&mut self) -> &mut Draft {
        &mut self.draft
    }

    fn open(&mut self, element: &Element<'_>) -> Result<(), ListError> {
        match (element.name, self.party) {
            ("export", _) => {
                let generated = element.attribute("generationDate").unwrap_or_default();
                self.date = generated.get(..DATE_LEN).and_then(|date| date.parse().ok());
            }
            ("sanctionEntity", None) => {
                let number = element.attribute("euReferenceNumber").filter(|number| !number.trim().is_empty());
                let uid = number.or_else(|| element.attribute("logicalId")).unwrap_or_default();
                self.party = Some(self.draft.party(&uid, PartyKind::Unknown)?);
                self.has_name = false;
            }
            ("subjectType", Some(party)) => {
                let code = element.attribute("code").unwrap_or_default();
                self.draft.kind(
                    party,
                    match code.to_ascii_lowercase().as_str() {
                        "person" | "p" => PartyKind::Individual,
                        "enterprise" | "e" => PartyKind::Entity,
                        _ => PartyKind::Unknown,
                    },
                );
            }
            ("regulation", Some(party)) => {
                self.draft.programme(party, &element.attribute("programme").unwrap_or_default())?;
            }
            ("nameAlias", Some(party)) => self.name_alias(element, party)?,
            _ => {}
        }
        Ok(())
    }

    fn close(&mut self, name: &str, _depth: usize, _text: &str) -> Result<(), ListError> {
        if name == "sanctionEntity" {
            self.party = None;
        }
        Ok(())
    }

    fn missing(&self) -> Option<String> {
        None
    }

    fn publication_date(&mut self) -> Option<Date> {
        self.date
    }

    fn into_draft(self) -> Draft {
        self.draft
    }
}
