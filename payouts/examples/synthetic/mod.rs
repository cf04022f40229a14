//! Lists of made-up parties in the structure and size of the published ones.
//!
//! Names are syllables put together by a fixed sequence of numbers, so that the same list comes out each time.

use std::io::{self, Write};

use bitcoin::hashes::Hash;
use bitcoin::{Address, Network, PubkeyHash, ScriptHash, WPubkeyHash};

const SYLLABLES: [&str; 40] = [
    "ba", "be", "bo", "da", "de", "dru", "fa", "fe", "ga", "gor", "ha", "hi", "ja", "ka", "kel", "ko", "la", "le",
    "lun", "ma", "mi", "mor", "na", "ne", "no", "pa", "pel", "ra", "ri", "ros", "sa", "se", "sul", "ta", "te", "tol",
    "va", "vi", "yu", "zen",
];
const PROGRAMMES: [&str; 6] = ["EXAMPLE-EO1", "EXAMPLE-EO2", "EXAMPLE-EO3", "CYBER2", "SDGT", "EXAMPLE"];
const CURRENCIES: [(u32, &str); 6] =
    [(344, "XBT"), (345, "ETH"), (573, "LTC"), (687, "BCH"), (887, "USDT"), (1007, "TRX")];

/// A fixed sequence of numbers that look random (Knuth's MMIX generator).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    fn word(&mut self) -> String {
        let count = 2 + self.below(3);
        (0..count).map(|_| SYLLABLES[self.below(SYLLABLES.len())]).collect()
    }

    fn hash(&mut self) -> [u8; 20] {
        std::array::from_fn(|_| self.below(256) as u8)
    }

    fn address(&mut self) -> String {
        let hash = self.hash();
        let address = match self.below(3) {
            0 => Address::p2pkh(PubkeyHash::from_byte_array(hash), Network::Bitcoin),
            1 => Address::p2sh_from_hash(ScriptHash::from_byte_array(hash), Network::Bitcoin),
            _ => {
                let script = bitcoin::ScriptBuf::new_p2wpkh(&WPubkeyHash::from_byte_array(hash));
                Address::from_script(&script, Network::Bitcoin).expect("P2WPKH has an address")
            }
        };
        address.to_string()
    }
}

/// Returns some names as [`write_list`] makes them, for asking an index.
pub(crate) fn names(count: usize) -> Vec<String> {
    let mut numbers = Numbers(7);
    (0..count).map(|_| format!("{} {} {}", numbers.word(), numbers.word(), numbers.word())).collect()
}

/// Writes a list in the advanced format: `parties` parties, the first `addresses` of which have a Bitcoin address.
pub(crate) fn write_list(out: &mut impl Write, parties: usize, addresses: usize) -> io::Result<()> {
    let mut numbers = Numbers(42);
    let n = &mut numbers;
    writeln!(out, "<?xml version=\"1.0\" encoding=\"utf-8\"?>")?;
    writeln!(
        out,
        "<Sanctions xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xmlns=\"https://sanctionslistservice.ofac.treas.gov/api/PublicationPreview/exports/ADVANCED_XML\">"
    )?;
    writeln!(
        out,
        "  <DateOfIssue CalendarTypeID=\"1\">\n    <Year>2024</Year>\n    <Month>9</Month>\n    <Day>27</Day>\n  </DateOfIssue>"
    )?;
    write_reference_values(out)?;
    writeln!(out, "  <Locations>")?;
    for id in 0..parties {
        write_location(out, n, id)?;
    }
    writeln!(out, "  </Locations>\n  <IDRegDocuments>")?;
    for id in 0..parties / 2 {
        writeln!(
            out,
            "    <IDRegDocument ID=\"{id}\" IDRegDocTypeID=\"1571\" IdentityID=\"{id}\" IssuedBy-CountryID=\"11030\" ValidityID=\"1\">\n      <Comment />\n      <IDRegistrationNo>X{id:08}</IDRegistrationNo>\n      <IssuingAuthority />\n      <DocumentedNameReference DocumentedNameID=\"{id}\" />\n    </IDRegDocument>"
        )?;
    }
    writeln!(out, "  </IDRegDocuments>\n  <DistinctParties>")?;
    for id in 0..parties {
        write_party(out, n, id, id < addresses)?;
    }
    writeln!(out, "  </DistinctParties>\n  <SanctionsEntries>")?;
    for id in 0..parties {
        write_entry(out, n, id)?;
    }
    writeln!(out, "  </SanctionsEntries>\n</Sanctions>")
}

fn write_reference_values(out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "  <ReferenceValueSets>\n    <FeatureTypeValues>")?;
    for (id, text) in
        [(8, "Birthdate"), (9, "Place of Birth"), (10, "Nationality Country"), (14, "Website"), (25, "Location")]
    {
        writeln!(out, "      <FeatureType ID=\"{id}\" FeatureTypeGroupID=\"1\">{text}</FeatureType>")?;
    }
    for (id, currency) in CURRENCIES {
        writeln!(
            out,
            "      <FeatureType ID=\"{id}\" FeatureTypeGroupID=\"1\">Digital Currency Address - {currency}</FeatureType>"
        )?;
    }
    writeln!(
        out,
        "    </FeatureTypeValues>\n    <PartySubTypeValues>\n      <PartySubType ID=\"3\" PartyTypeID=\"2\">Unknown</PartySubType>\n      <PartySubType ID=\"4\" PartyTypeID=\"1\">Unknown</PartySubType>\n    </PartySubTypeValues>\n    <PartyTypeValues>\n      <PartyType ID=\"1\">Individual</PartyType>\n      <PartyType ID=\"2\">Entity</PartyType>\n    </PartyTypeValues>\n    <SanctionsTypeValues>\n      <SanctionsType ID=\"1\">Program</SanctionsType>\n      <SanctionsType ID=\"1705\">Block</SanctionsType>\n    </SanctionsTypeValues>\n  </ReferenceValueSets>"
    )
}

fn write_location(out: &mut impl Write, n: &mut Numbers, id: usize) -> io::Result<()> {
    writeln!(
        out,
        "    <Location ID=\"{id}\">\n      <LocationAreaCode AreaCodeID=\"11291\" />\n      <LocationCountry CountryID=\"11030\" CountryRelevanceID=\"1413\" />"
    )?;
    for part in [1451, 1454, 1456] {
        writeln!(
            out,
            "      <LocationPart LocPartTypeID=\"{part}\">\n        <LocationPartValue Primary=\"true\" LocPartValueTypeID=\"1\" LocPartValueStatusID=\"1\">\n          <Comment />\n          <Value>{} &amp; {}</Value>\n        </LocationPartValue>\n      </LocationPart>",
            n.word(),
            n.word()
        )?;
    }
    writeln!(out, "      <FeatureVersionReference FeatureVersionID=\"{id}\" />\n    </Location>")
}

fn write_party(out: &mut impl Write, n: &mut Numbers, id: usize, has_address: bool) -> io::Result<()> {
    writeln!(
        out,
        "    <DistinctParty FixedRef=\"{id}\">\n      <Comment />\n      <Profile ID=\"{id}\" PartySubTypeID=\"{}\">\n        <Identity ID=\"{id}\" FixedRef=\"{id}\" Primary=\"true\" False=\"false\">",
        3 + n.below(2)
    )?;
    for alias in 0..2 + n.below(4) {
        write_alias(out, n, id, alias)?;
    }
    writeln!(out, "          <NamePartGroups>")?;
    for part in [1520, 1521, 1522] {
        writeln!(
            out,
            "            <MasterNamePartGroup>\n              <NamePartGroup ID=\"{id}{part}\" NamePartTypeID=\"{part}\" />\n            </MasterNamePartGroup>"
        )?;
    }
    writeln!(out, "          </NamePartGroups>\n        </Identity>")?;
    for feature in [8, 10, 14, 25, 9, 8] {
        write_feature(out, id, feature, &n.word())?;
    }
    if has_address {
        write_feature(out, id, CURRENCIES[0].0, &n.address())?;
        write_feature(out, id, CURRENCIES[1].0, &format!("0x{}", hex::encode(n.hash())))?;
    }
    writeln!(out, "      </Profile>\n    </DistinctParty>")
}

fn write_alias(out: &mut impl Write, n: &mut Numbers, id: usize, alias: usize) -> io::Result<()> {
    let (primary, kind) = if alias == 0 { ("true", 1403) } else { ("false", 1400) };
    writeln!(
        out,
        "          <Alias FixedRef=\"{id}\" AliasTypeID=\"{kind}\" Primary=\"{primary}\" LowQuality=\"{}\">\n            <DocumentedName ID=\"{id}{alias}\" FixedRef=\"{id}\" DocNameStatusID=\"1\">",
        alias == 4
    )?;
    for part in 0..2 + n.below(2) {
        writeln!(
            out,
            "              <DocumentedNamePart>\n                <NamePartValue NamePartGroupID=\"{id}{part}\" ScriptID=\"215\" ScriptStatusID=\"1\" Acronym=\"false\">{}</NamePartValue>\n              </DocumentedNamePart>",
            n.word()
        )?;
    }
    writeln!(out, "            </DocumentedName>\n          </Alias>")
}

fn write_feature(out: &mut impl Write, id: usize, feature: u32, value: &str) -> io::Result<()> {
    writeln!(
        out,
        "        <Feature ID=\"{id}\" FeatureTypeID=\"{feature}\">\n          <FeatureVersion ID=\"{id}\" ReliabilityID=\"1560\">\n            <Comment />\n            <DatePeriod CalendarTypeID=\"1\" YearFixed=\"false\" MonthFixed=\"false\" DayFixed=\"false\">\n              <Start Approximate=\"false\" YearFixed=\"false\" MonthFixed=\"false\" DayFixed=\"false\">\n                <From>\n                  <Year>1970</Year>\n                  <Month>1</Month>\n                  <Day>1</Day>\n                </From>\n              </Start>\n            </DatePeriod>\n            <VersionDetail DetailTypeID=\"1432\">{value}</VersionDetail>\n          </FeatureVersion>\n          <IdentityReference IdentityID=\"{id}\" IdentityFeatureLinkTypeID=\"1\" />\n        </Feature>"
    )
}

fn write_entry(out: &mut impl Write, n: &mut Numbers, id: usize) -> io::Result<()> {
    writeln!(
        out,
        "    <SanctionsEntry ID=\"{id}\" ProfileID=\"{id}\" ListID=\"1550\">\n      <EntryEvent ID=\"{id}\" EntryEventTypeID=\"1\" LegalBasisID=\"1\">\n        <Comment />\n        <Date CalendarTypeID=\"1\">\n          <Year>2020</Year>\n          <Month>1</Month>\n          <Day>1</Day>\n        </Date>\n      </EntryEvent>\n      <SanctionsMeasure ID=\"{id}1\" SanctionsTypeID=\"1705\">\n        <Comment />\n      </SanctionsMeasure>\n      <SanctionsMeasure ID=\"{id}2\" SanctionsTypeID=\"1\">\n        <Comment>{}</Comment>\n      </SanctionsMeasure>\n    </SanctionsEntry>",
        PROGRAMMES[n.below(PROGRAMMES.len())]
    )
}
