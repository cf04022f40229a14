#![allow(clippy::unwrap_used)]

use std::error::Error;

use jiff::{Timestamp, civil::date};

use super::*;

fn text(name: &str) -> &'static str {
    CountryProfile::SHIPPED.iter().find(|(shipped, _)| *shipped == name).unwrap().1
}

fn shipped(name: &str) -> CountryProfile {
    CountryProfile::shipped(name).unwrap()
}

/// Returns the neutral profile with one place of its text changed.
fn changed(from: &str, to: &str) -> Result<CountryProfile, ProfileError> {
    replaced("neutral", from, to)
}

fn replaced(name: &str, from: &str, to: &str) -> Result<CountryProfile, ProfileError> {
    let text = text(name);
    assert_eq!(text.matches(from).count(), 1, "{from:?} stands once in {name}");
    CountryProfile::parse(&text.replace(from, to))
}

fn refusal(result: Result<CountryProfile, ProfileError>) -> String {
    let error = result.unwrap_err();
    let source = error.source().map_or(String::new(), |source| format!(": {source}"));
    format!("{error}{source}")
}

#[test]
fn every_shipped_profile_is_read_under_its_name() {
    for (name, text) in CountryProfile::SHIPPED {
        let profile = CountryProfile::parse(text).unwrap();
        assert_eq!((profile.name(), profile.id()), (name, format!("{name}/1")));
        assert_eq!(profile.file_sha256(), FileHash::of(text.as_bytes()));
        assert!(profile.retention_years() >= MIN_RETENTION_YEARS && !profile.lists().is_empty());
        let header: String =
            text.lines().take_while(|line| line.starts_with('#')).map(|line| line.replace('#', "")).collect();
        for word in ["Assumed, as of 2025-12-31", "no legal advice"] {
            assert!(header.contains(word), "{name} says {word:?} at its top");
        }
    }
    assert_eq!(CountryProfile::shipped(CountryProfile::DEFAULT).unwrap().name(), "neutral");
    assert_eq!(CountryProfile::shipped("other"), None);
}

#[test]
fn no_shipped_profile_names_a_venue_a_bank_or_the_pool() {
    for (name, _) in CountryProfile::SHIPPED {
        let Terms { price, fx, sale, pool, .. } = shipped(name).terms;
        assert_eq!(price.venue, Blankable(None), "{name}");
        assert!(fx.is_none_or(|fx| fx.source == Blankable(None)), "{name}");
        assert!(sale.is_none_or(|sale| sale.eligible_venues.is_empty()), "{name}");
        assert!(pool.facts.values().all(String::is_empty), "{name}");
        assert!(pool.required.iter().all(|fact| pool.facts.contains_key(fact)), "{name} shows what to fill in");
    }
}

#[test]
fn the_neutral_profile_is_monthly_in_utc_and_dollars() {
    let profile = shipped("neutral");
    assert_eq!((profile.zone(), profile.currency().code()), (&Zone::utc(), "USD"));
    assert_eq!((profile.period_kind(), profile.receipt_event()), (PeriodKind::Monthly, ReceiptEvent::Credit));
    assert_eq!(profile.lot_method(), LotMethod::Fifo);
    assert_eq!(profile.sale_obligation(), Ok(None));
    assert_eq!(profile.pool_facts(), Ok(BTreeMap::new()));
    assert_eq!(profile.export_bases(), &BTreeSet::from([ExportBasis::Receipt, ExportBasis::Sale]));
}

#[test]
fn a_receipt_falls_into_the_month_of_the_profiles_zone() {
    let at_ms = "2026-01-31T21:30:00Z".parse::<Timestamp>().unwrap().as_millisecond();
    let period = |name: &str| shipped(name).period_at(at_ms).unwrap().to_string();
    assert_eq!(period("utc3-monthly-watcher"), "2026-02");
    assert_eq!(period("neutral"), "2026-01");
    assert_eq!(period("pool-reports-miners"), "2026-Q1");
    assert_eq!(period("carf-yearly"), "2026");
}

#[test]
fn the_shipped_profiles_show_different_rules() {
    let due = |name: &str, period: &str| shipped(name).due(period.parse().unwrap());
    // 20 December 2026 is a Sunday, 15 May 2027 a Saturday.
    assert_eq!(due("utc3-monthly-watcher", "2026-11"), date(2026, 12, 21));
    assert_eq!(due("neutral", "2026-11"), date(2026, 12, 20));
    assert_eq!(due("pool-reports-miners", "2027-Q1"), date(2027, 5, 17));
    assert_eq!(due("carf-yearly", "2026"), date(2027, 1, 31));
    let watcher = shipped("utc3-monthly-watcher");
    assert!(watcher.terms.pool.required.contains(&PoolFact::WatcherLink));
    assert_eq!(shipped("pool-reports-miners").terms.sale.unwrap().share_bp.get(), 7_500);
    let carf = shipped("carf-yearly");
    assert!(carf.reports().contains(&ReportName::Carf) && carf.party_facts().contains(&PartyFact::TaxId));
    assert_eq!(carf.lot_method(), LotMethod::Specific);
}

#[test]
fn what_needs_a_blank_names_it() {
    let field = |blank: Blank| blank.field;
    for (name, _) in CountryProfile::SHIPPED {
        assert_eq!(shipped(name).valuation_policy().map_err(field).unwrap_err(), "price.venue");
    }
    let kazakh = shipped("pool-reports-miners");
    assert_eq!(kazakh.sale_obligation().map_err(field).unwrap_err(), "sale.eligible_venues");
    assert_eq!(kazakh.pool_facts().map_err(field).unwrap_err(), "pool.facts.legal_name");
    let fields: Vec<String> = kazakh.blanks().into_iter().map(field).collect();
    assert_eq!(fields, ["price.venue", "sale.eligible_venues", "pool.facts.legal_name"]);
    let message = kazakh.blanks()[0].to_string();
    assert!(message.starts_with("profile pool-reports-miners/1 leaves price.venue blank"), "{message}");

    let named = replaced("pool-reports-miners", "venue = \"\"", "venue = \"venue-a\"").unwrap();
    assert_eq!(named.valuation_policy().map_err(field).unwrap_err(), "fx.source");
}

#[test]
fn a_profile_that_is_filled_in_has_no_blanks() {
    let filled = text("pool-reports-miners")
        .replace("venue = \"\"", "venue = \"venue-a\"")
        .replace("source = \"\"", "source = \"bank\"")
        .replace("eligible_venues = []", "eligible_venues = [\"venue-a\", \"venue-b\"]")
        .replace(" = \"\"\n", " = \"EXAMPLE\"\n");
    let profile = CountryProfile::parse(&filled).unwrap();
    assert_eq!(profile.blanks(), []);
    assert_eq!(profile.valuation_policy().unwrap().id(), "pool-reports-miners/1");
    assert_eq!(profile.valuation_policy().unwrap().currency().code(), "KZT");
    let obligation = profile.sale_obligation().unwrap().unwrap();
    assert_eq!((obligation.share.get(), obligation.eligible_venues.len()), (7_500, 2));
    assert_eq!(profile.pool_facts().unwrap()[&PoolFact::LicenceAuthority], "EXAMPLE");
    let blanks_only = CountryProfile::parse(&filled.replace("\"EXAMPLE\"", "\" \"")).unwrap();
    blanks_only.pool_facts().unwrap_err();
}

#[test]
fn a_profile_without_a_list_is_refused() {
    let error = changed("lists = [\"ofac-sdn\"]", "lists = []").unwrap_err();
    assert!(matches!(&error, ProfileError::NoList(name) if name == "neutral"), "{error}");
    let message = refusal(changed("lists = [\"ofac-sdn\"]", ""));
    assert!(message.contains("missing field `lists`"), "{message}");
}

#[test]
fn a_profile_adds_lists_and_never_removes_one() {
    let base = "lists = [\"ofac-sdn\"]";
    let more = changed(base, "lists = [\"ofac-sdn\", \"national\"]").unwrap();
    let removed = changed(base, "lists = [\"national\"]").unwrap_err();
    assert!(matches!(&removed, ProfileError::ListRemoved { list, .. } if list == "ofac-sdn"), "{removed}");

    let neutral = shipped("neutral");
    let second = |lists: &str| {
        CountryProfile::parse(&text("neutral").replace("version = 1", "version = 2").replace(base, lists)).unwrap()
    };
    second("lists = [\"ofac-sdn\", \"national\"]").check_replaces(&neutral).unwrap();
    let lost = second(base).check_replaces(&more).unwrap_err();
    assert!(matches!(&lost, ProfileError::ListRemoved { list, .. } if list == "national"), "{lost}");
    let lost = neutral.check_replaces(&shipped("carf-yearly")).unwrap_err();
    assert!(matches!(&lost, ProfileError::ListRemoved { list, .. } if list == "eu-consolidated"), "{lost}");
    shipped("carf-yearly").check_replaces(&neutral).unwrap();
}

#[test]
fn a_profile_that_changes_has_a_new_version() {
    let neutral = shipped("neutral");
    neutral.check_replaces(&neutral).unwrap();
    let edited = changed("day = 20", "day = 21").unwrap();
    assert!(matches!(edited.check_replaces(&neutral), Err(ProfileError::Order { .. })));
    let second = changed("version = 1", "version = 2").unwrap();
    second.check_replaces(&neutral).unwrap();
    assert!(matches!(neutral.check_replaces(&second), Err(ProfileError::Order { .. })));
    assert!(refusal(changed("version = 1", "version = 0")).contains("version 0 is none"));
}

#[test]
fn screening_is_kept_for_ten_years_at_least() {
    for years in [0, 9, 101] {
        let message = refusal(changed("retention_years = 10", &format!("retention_years = {years}")));
        assert_eq!(message, format!("profile neutral: {years} years of retention are not within 10 to 100"));
    }
    assert_eq!(changed("retention_years = 10", "retention_years = 11").unwrap().retention_years(), 11);
}

#[test]
fn unknown_and_malformed_fields_are_refused_by_name() {
    for (from, to, word) in [
        ("name = \"neutral\"", "name = \"neutral\"\ncolour = 1", "unknown field `colour`"),
        ("basis = \"close\"", "basis = \"open\"", "unknown variant `open`"),
        ("venue = \"\"", "venue = \"REPLACE ME\"", "REPLACE ME"),
        ("venue = \"\"\n", "", "missing field `venue`"),
        ("zone = \"UTC\"", "zone = \"Moon\"", "Moon"),
        ("currency = \"USD\"", "currency = \"USDT\"", "USDT"),
        ("kind = \"monthly\"", "kind = \"weekly\"", "weekly"),
        ("day = 20", "day = 32", "due day 32"),
        ("method = \"fifo\"", "method = \"lifo\"", "lifo"),
        ("receipt_event = \"credit\"", "receipt_event = \"found\"", "found"),
        ("required = []", "required = [\"shoe_size\"]", "shoe_size"),
        ("month = 9, day = 30", "month = 2, day = 29", "day 29 of month 2"),
        ("[lots]", "[lots", "malformed"),
        ("as_of = \"2025-12-31\"", "as_of = \"soon\"", "soon"),
        ("export_bases = [\"receipt\", \"sale\"]", "export_bases = []", "export_bases is empty"),
    ] {
        let message = refusal(changed(from, to));
        assert!(message.contains(word), "{message}");
    }
    for (from, to, word) in [
        ("share_bp = 7500", "share_bp = 10001", "10001"),
        ("licence_date = \"\"", "licence_colour = \"\"", "licence_colour"),
        ("max_days = 7", "max_days = 15", "15 days"),
        ("max_days = 7", "", "fx.max_days is missing"),
        ("date = \"last_published\"", "date = \"same\"", "fx.max_days has no use"),
    ] {
        let message = refusal(replaced("pool-reports-miners", from, to));
        assert!(message.contains(word), "{message}");
    }
}

#[test]
fn rates_are_named_where_they_are_needed_and_nowhere_else() {
    assert!(
        refusal(changed("currency = \"USD\"", "currency = \"EUR\"")).contains("a source of exchange rates is needed")
    );
    let needless = refusal(changed("[lots]", "[fx]\nsource = \"\"\ndate = \"same\"\n\n[lots]"));
    assert!(needless.contains("has no use"), "{needless}");
}

#[test]
fn a_profile_says_what_it_assumes_and_that_it_is_no_legal_advice() {
    assert!(refusal(changed("This is no legal advice.", "All is well.")).contains("assumed.disclaimer"));
    let fact = "\"Mined coin is income when it is credited, at its value on that day in UTC.\"";
    assert!(refusal(changed(fact, "\" \"")).contains("assumed.facts"));
    assert_eq!(shipped("neutral").assumed().as_of, date(2025, 12, 31));
}

#[test]
fn blocked_property_is_due_after_ten_working_days_and_each_year() {
    let rule = shipped("neutral").blocked_property();
    // Friday 20 November 2026, two weeks on.
    assert_eq!(rule.due(date(2026, 11, 20)), date(2026, 12, 4));
    assert_eq!(rule.annual_due(2027), Some(date(2027, 9, 30)));
    let calendar = BlockedPropertyRule { working_days: false, annual: None, ..rule };
    assert_eq!((calendar.due(date(2026, 11, 20)), calendar.annual_due(2027)), (date(2026, 11, 30), None));
}

#[test]
fn long_files_and_other_encodings_are_refused() {
    let long = format!("{}{}", text("neutral"), "#".repeat(MAX_PROFILE_BYTES as usize));
    assert!(matches!(CountryProfile::parse(&long), Err(ProfileError::Read(ReadError::TooLong(MAX_PROFILE_BYTES)))));
    assert!(matches!(CountryProfile::read(&b"name = \"\xff\""[..]), Err(ProfileError::Encoding)));
}
