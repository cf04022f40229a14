//! OFAC's `sdn.xml`: one `sdnEntry` for a party.
//!
//! Source: OFAC, `XML.xsd` of the Sanctions List Service ("SDN List Data Formats and Data Schemas").

use std::io::Read;

use jiff::civil::Date;

use super::super::address;
use super::super::draft::{Draft, PartyPlace};
use super::super::list::{ListError, ListFormat, ListSource, MAX_NAME_BYTES, NameKind, PartyKind, SanctionsList};
use super::markup::{Element, Layout, read_list};

/// How deep an entry is.
const ENTRY_DEPTH: usize = 2;
/// How deep its own fields and its lists are.
const FIELD_DEPTH: usize = 3;
/// How deep the fields of the things in its lists are.
const ITEM_FIELD_DEPTH: usize = 5;

/// Reads `sdn.xml`.
///
/// Addresses are the `id`s whose `idType` says so. An `aka` of the category "weak" is a weak alias.
///
/// # Errors
///
/// If the file is no well-formed list within the limits.
pub fn read_ofac_sdn_xml(
    source: ListSource,
    input: impl Read,
    progress: &mut dyn FnMut(u64),
) -> Result<SanctionsList, ListError> {
    read_list(Sdn::default(), source, input, progress)
}

/// What is gathered of an entry, or of a thing in one of its lists.
#[derive(Default)]
struct Fields {
    first_name: String,
    last_name: String,
    category: String,
    id_type: String,
    id_number: String,
}

impl Fields {
    fn full_name(&self) -> String {
        format!("{} {}", self.first_name, self.last_name)
    }
}

#[derive(Default)]
struct Sdn {
    draft: Draft,
    date: Option<Date>,
    record_count: Option<u64>,
    party: Option<PartyPlace>,
    entry: Fields,
    item: Fields,
    /// The list of the entry that is being read.
    list: String,
}

impl Sdn {
    /// Takes a field of an entry. The first field is the identifier, which makes the party.
    fn field(&mut self, name: &str, text: &str) -> Result<(), ListError> {
        match name {
            "uid" if self.party.is_none() => {
                self.party = Some(self.draft.party(text, PartyKind::Unknown)?);
            }
            "firstName" => self.entry.first_name = self.short(text)?,
            "lastName" => self.entry.last_name = self.short(text)?,
            "sdnType" => {
                let kind = match text.to_ascii_lowercase().as_str() {
                    "individual" => PartyKind::Individual,
                    "entity" => PartyKind::Entity,
                    "vessel" => PartyKind::Vessel,
                    "aircraft" => PartyKind::Aircraft,
                    _ => PartyKind::Unknown,
                };
                let party = self.party()?;
                self.draft.kind(party, kind);
            }
            "akaList" | "idList" | "programList" => self.list.clear(),
            _ => {}
        }
        Ok(())
    }

    /// Takes the end of a thing in a list of the entry.
    fn item(&mut self, name: &str, text: &str) -> Result<(), ListError> {
        let item = std::mem::take(&mut self.item);
        match (self.list.as_str(), name) {
            ("programList", "program") => {
                let party = self.party()?;
                self.draft.programme(party, text)
            }
            ("akaList", "aka") => {
                let weak = item.category.eq_ignore_ascii_case("weak");
                let kind = if weak { NameKind::WeakAlias } else { NameKind::Alias };
                let party = self.party()?;
                self.draft.name(party, &item.full_name(), kind)
            }
            ("idList", "id") => match address::label_of(&item.id_type) {
                Some(label) => {
                    let party = self.party()?;
                    self.draft.address(party, label, &item.id_number)
                }
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn item_field(&mut self, name: &str, text: &str) -> Result<(), ListError> {
        match (self.list.as_str(), name) {
            ("akaList", "firstName") => self.item.first_name = self.short(text)?,
            ("akaList", "lastName") => self.item.last_name = self.short(text)?,
            ("akaList", "category") => self.item.category = self.short(text)?,
            ("idList", "idType") => self.item.id_type = self.short(text)?,
            ("idList", "idNumber") => self.item.id_number = self.short(text)?,
            _ => {}
        }
        Ok(())
    }

    fn end_entry(&mut self) -> Result<(), ListError> {
        let party = self.party()?;
        let name = std::mem::take(&mut self.entry).full_name();
        self.draft.name(party, &name, NameKind::Primary)?;
        self.party = None;
        Ok(())
    }

    /// Returns the entry's party, and makes one without an identifier if none was told.
    fn party(&mut self) -> Result<PartyPlace, ListError> {
        if self.party.is_none() {
            self.party = Some(self.draft.party("", PartyKind::Unknown)?);
        }
        Ok(self.party.expect("it was just set"))
    }

    fn short(&self, text: &str) -> Result<String, ListError> {
        self.draft.within("the length of a field", text.len(), MAX_NAME_BYTES)?;
        Ok(text.to_owned())
    }
}

impl Layout for Sdn {
    const FORMAT: ListFormat = ListFormat::OfacSdnXml;
    const ROOT: &'static str = "sdnList";

    fn draft(&mut self) -> &mut Draft {
        &mut self.draft
    }

    fn open(&mut self, element: &Element<'_>) -> Result<(), ListError> {
        match (element.depth, element.name) {
            (ENTRY_DEPTH, "sdnEntry") => (self.party, self.entry) = (None, Fields::default()),
            (FIELD_DEPTH, "akaList" | "idList" | "programList") => element.name.clone_into(&mut self.list),
            (FIELD_DEPTH, _) => self.list.clear(),
            (4, _) => self.item = Fields::default(),
            _ => {}
        }
        Ok(())
    }

    fn close(&mut self, name: &str, depth: usize, text: &str) -> Result<(), ListError> {
        match (depth, name) {
            (FIELD_DEPTH, "Publish_Date") => self.date = Date::strptime("%m/%d/%Y", text).ok(),
            (FIELD_DEPTH, "Record_Count") => self.record_count = text.parse().ok(),
            (ENTRY_DEPTH, "sdnEntry") => self.end_entry()?,
            (FIELD_DEPTH, _) => self.field(name, text)?,
            (4, _) => self.item(name, text)?,
            (ITEM_FIELD_DEPTH, _) => self.item_field(name, text)?,
            _ => {}
        }
        Ok(())
    }

    fn missing(&self) -> Option<String> {
        None
    }

    fn publication_date(&mut self) -> Option<Date> {
        let count = self.draft.party_count() as u64;
        if let Some(announced) = self.record_count.filter(|&announced| announced != count) {
            self.draft.warn("", format_args!("the list announces {announced} entries and has {count}"));
        }
        self.date
    }

    fn into_draft(self) -> Draft {
        self.draft
    }
}
