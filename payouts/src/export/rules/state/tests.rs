#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// Every change that the requirements allow, by the text of the states.
const PAYOUT_CHANGES: &str = "
    DRAFT: SCREENED HELD BLOCKED CANCELLED
    SCREENED: DELIVERED HELD BLOCKED CANCELLED
    DELIVERED: SETTLED REVERSED CORRECTED
    SETTLED: DECLARED REVERSED CORRECTED
    DECLARED: CLOSED REVERSED CORRECTED
    CLOSED: CORRECTED
    HELD: DRAFT SCREENED BLOCKED CANCELLED
    BLOCKED: DRAFT SCREENED CANCELLED
    REVERSED: DELIVERED CORRECTED";

const SALE_CHANGES: &str = "
    DRAFT: SCREENED HELD BLOCKED CANCELLED
    SCREENED: QUOTED HELD BLOCKED CANCELLED
    QUOTED: CONTRACTED EXPIRED HELD BLOCKED CANCELLED
    CONTRACTED: DELIVERED HELD BLOCKED CANCELLED
    DELIVERED: SETTLED REVERSED CORRECTED
    SETTLED: DECLARED REVERSED CORRECTED
    DECLARED: CLOSED REVERSED CORRECTED
    CLOSED: CORRECTED
    HELD: DRAFT SCREENED QUOTED CONTRACTED BLOCKED CANCELLED EXPIRED
    BLOCKED: DRAFT SCREENED QUOTED CONTRACTED CANCELLED
    REVERSED: DELIVERED CORRECTED";

const LOT_CHANGES: &str = "
    PROVISIONAL: MATURE BLOCKED REVERSED
    MATURE: PAYABLE PROVISIONAL BLOCKED REVERSED
    PAYABLE: PAID SOLD PROVISIONAL BLOCKED REVERSED
    PAID: PAYABLE REVERSED
    SOLD: PAYABLE REVERSED
    BLOCKED: PROVISIONAL MATURE PAYABLE REVERSED
    REVERSED: PROVISIONAL";

fn changes<S: FromStr<Err = UnknownState> + Ord>(table: &str) -> BTreeSet<(S, S)> {
    let lines = table.lines().filter_map(|line| line.split_once(':'));
    let pairs = lines.flat_map(|(from, next)| next.split_whitespace().map(move |next| (from.trim(), next)));
    pairs.map(|(from, next)| (from.parse().unwrap(), next.parse().unwrap())).collect()
}

fn pairs<S: Copy>(all: &'static [S]) -> impl Iterator<Item = (S, S)> {
    all.iter().flat_map(|from| all.iter().map(|next| (*from, *next)))
}

#[test]
fn records_take_exactly_the_changes_of_the_table() {
    for (kind, table) in [(RecordKind::Payout, PAYOUT_CHANGES), (RecordKind::Sale, SALE_CHANGES)] {
        let allowed = changes(table);
        for (from, next) in pairs(RecordState::ALL) {
            assert_eq!(from.may_become(next, kind), allowed.contains(&(from, next)), "{kind:?}: {from} to {next}");
        }
    }
}

#[test]
fn lots_take_exactly_the_changes_of_the_table() {
    let allowed = changes(LOT_CHANGES);
    for (from, next) in pairs(LotState::ALL) {
        assert_eq!(from.may_become(next), allowed.contains(&(from, next)), "{from} to {next}");
    }
}

#[test]
fn states_are_written_in_capitals_and_read_back() {
    for state in RecordState::ALL {
        assert_eq!(state.as_str(), format!("{state:?}").to_uppercase());
        assert_eq!(state.as_str().parse(), Ok(*state));
        assert_eq!(serde_json::to_string(state).unwrap(), format!("\"{state}\""));
        assert_eq!(serde_json::from_str::<RecordState>(&format!("\"{state}\"")).unwrap(), *state);
    }
    for state in LotState::ALL {
        assert_eq!(state.as_str(), format!("{state:?}").to_uppercase());
        assert_eq!(state.as_str().parse(), Ok(*state));
    }
    assert_eq!("draft".parse::<RecordState>().unwrap_err().to_string(), "unknown record state \"draft\"");
    assert_eq!("DRAFT".parse::<LotState>().unwrap_err().to_string(), "unknown lot state \"DRAFT\"");
}

fn advance(kind: RecordKind, states: &[RecordState]) -> Result<RecordProgress, Forbidden> {
    states.iter().try_fold(RecordProgress::begin(kind), |progress, state| progress.advance(*state))
}

#[test]
fn the_straight_ways_are_open() {
    use RecordState::*;
    let payout = [Screened, Delivered, Settled, Declared, Closed];
    assert_eq!(advance(RecordKind::Payout, &payout).unwrap().state(), Closed);
    let sale = [Screened, Quoted, Contracted, Delivered, Settled, Declared, Closed];
    assert_eq!(advance(RecordKind::Sale, &sale).unwrap().state(), Closed);
    advance(RecordKind::Sale, &payout).unwrap_err();
    advance(RecordKind::Payout, &sale).unwrap_err();
}

#[test]
fn a_released_record_goes_back_to_where_it_was_and_nowhere_else() {
    use RecordState::*;
    let held = advance(RecordKind::Sale, &[Screened, Quoted, Held]).unwrap();
    assert_eq!(held.resumes(), Quoted);
    assert_eq!(held.advance(Quoted).unwrap().state(), Quoted);
    for other in [Draft, Screened, Contracted, Delivered] {
        held.advance(other).unwrap_err();
    }
    let blocked = held.advance(Blocked).unwrap();
    assert_eq!(blocked.advance(Quoted).unwrap().state(), Quoted, "it was quoted before it was held");
    blocked.advance(Held).unwrap_err();
    blocked.advance(Contracted).unwrap_err();
    assert_eq!(held.advance(Expired).unwrap().state(), Expired);
    let contracted = advance(RecordKind::Sale, &[Screened, Quoted, Contracted, Held]).unwrap();
    assert_eq!(contracted.advance(Expired).unwrap_err().to_string(), "a record does not go from HELD to EXPIRED");
}

#[test]
fn a_released_lot_goes_back_to_where_it_was_and_nowhere_else() {
    use LotState::*;
    let blocked = LotProgress::begin().advance(Mature).unwrap().advance(Blocked).unwrap();
    assert_eq!(blocked.advance(Mature).unwrap().state(), Mature);
    for other in [Provisional, Payable, Paid, Sold] {
        blocked.advance(other).unwrap_err();
    }
    assert_eq!(blocked.advance(Reversed).unwrap().state(), Reversed);
}

#[test]
fn progress_that_cannot_be_is_not_read() {
    let json = |kind: &str, state: &str, resumes: &str| {
        let text = format!(r#"{{"kind":"{kind}","state":"{state}","resumes":"{resumes}"}}"#);
        serde_json::from_str::<RecordProgress>(&text)
    };
    let held = advance(RecordKind::Sale, &[RecordState::Screened, RecordState::Held]).unwrap();
    assert_eq!(json("sale", "HELD", "SCREENED").unwrap(), held);
    assert_eq!(serde_json::to_string(&held).unwrap(), r#"{"kind":"sale","state":"HELD","resumes":"SCREENED"}"#);
    for (kind, state, resumes) in [
        ("sale", "HELD", "HELD"),
        ("sale", "HELD", "BLOCKED"),
        ("sale", "HELD", "DELIVERED"),
        ("sale", "DRAFT", "SCREENED"),
        ("payout", "QUOTED", "QUOTED"),
        ("payout", "EXPIRED", "EXPIRED"),
        ("payout", "HELD", "CONTRACTED"),
    ] {
        json(kind, state, resumes).unwrap_err();
    }
}

proptest! {
    #[test]
    fn a_record_never_leaves_its_table_and_never_skips_screening(
        sale in any::<bool>(),
        steps in proptest::collection::vec(prop::sample::select(RecordState::ALL), 0..60),
    ) {
        let kind = if sale { RecordKind::Sale } else { RecordKind::Payout };
        let allowed = changes::<RecordState>(if sale { SALE_CHANGES } else { PAYOUT_CHANGES });
        let mut progress = RecordProgress::begin(kind);
        let mut been = BTreeSet::from([progress.state()]);
        for next in steps {
            let before = progress;
            if let Ok(after) = progress.advance(next) {
                prop_assert!(allowed.contains(&(before.state(), next)));
                progress = after;
                been.insert(next);
            }
            let json = serde_json::to_string(&progress).unwrap();
            prop_assert_eq!(serde_json::from_str::<RecordProgress>(&json).unwrap(), progress);
        }
        prop_assert!(!been.contains(&RecordState::Delivered) || been.contains(&RecordState::Screened));
        prop_assert!(!sale || !been.contains(&RecordState::Delivered) || been.contains(&RecordState::Contracted));
    }
}
