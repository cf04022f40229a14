//! What came of the checks.

use std::collections::BTreeMap;

use serde::Serialize;

use super::check::{Area, Check, Severity};

/// What came of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// The rule held wherever it was looked at.
    Held,
    /// The rule is broken.
    Broken {
        /// What should have been.
        expected: String,
        /// What was.
        seen: String,
    },
    /// The check could not be made.
    NotChecked {
        /// Why.
        reason: String,
    },
}

/// What has been found so far.
#[derive(Debug, Default)]
pub struct Findings {
    outcomes: BTreeMap<Check, Outcome>,
}

impl Findings {
    /// Notes that a rule held here. It may still be broken elsewhere.
    pub fn held(&mut self, check: Check) {
        self.note(check, Outcome::Held);
    }

    /// Notes that a rule is broken. The first time counts.
    pub fn broken(&mut self, check: Check, expected: impl Into<String>, seen: impl Into<String>) {
        self.note(check, Outcome::Broken { expected: expected.into(), seen: seen.into() });
    }

    /// Notes whether a rule held here.
    pub fn judge(&mut self, check: Check, holds: bool, expected: impl Into<String>, seen: impl FnOnce() -> String) {
        if holds { self.held(check) } else { self.broken(check, expected, seen()) }
    }

    /// Notes why a check could not be made here. It may still be made elsewhere.
    pub fn not_checked(&mut self, check: Check, reason: impl Into<String>) {
        self.note(check, Outcome::NotChecked { reason: reason.into() });
    }

    /// Returns true if the rule was looked at, and whether or not it held.
    pub fn is_checked(&self, check: Check) -> bool {
        self.outcomes.get(&check).is_some_and(|outcome| !matches!(outcome, Outcome::NotChecked { .. }))
    }

    /// Returns true if the rule has held so far.
    pub fn is_held(&self, check: Check) -> bool {
        self.outcomes.get(&check) == Some(&Outcome::Held)
    }

    /// Returns true if the rule is known to be broken.
    pub fn is_broken(&self, check: Check) -> bool {
        matches!(self.outcomes.get(&check), Some(Outcome::Broken { .. }))
    }

    /// Adds what was found elsewhere.
    pub fn absorb(&mut self, other: Self) {
        for (check, outcome) in other.outcomes {
            self.note(check, outcome);
        }
    }

    /// What is broken outweighs what held, and either a check that was not made; among equals the first stays.
    fn note(&mut self, check: Check, outcome: Outcome) {
        let weight = |outcome: &Outcome| match outcome {
            Outcome::NotChecked { .. } => 0,
            Outcome::Held => 1,
            Outcome::Broken { .. } => 2,
        };
        match self.outcomes.get(&check) {
            Some(known) if weight(known) >= weight(&outcome) => {}
            _ => drop(self.outcomes.insert(check, outcome)),
        }
    }

    /// Says what came of every check. Those of which nothing was noted could not be made for `reason`.
    pub fn into_report(mut self, pool: String, duration_ms: u64, reason: &str) -> Report {
        let line = |&check: &Check| {
            let not_checked = || Outcome::NotChecked { reason: reason.to_owned() };
            let outcome = self.outcomes.remove(&check).unwrap_or_else(not_checked);
            let rule = check.rule();
            Line {
                id: rule.id,
                area: rule.area,
                severity: rule.severity,
                source: rule.source,
                must_hold: rule.must_hold,
                outcome,
            }
        };
        Report { format: FORMAT, pool, duration_ms, checks: Check::ALL.iter().map(line).collect() }
    }
}

/// The version of [`Report`] as JSON. Fields may be added without a new one.
const FORMAT: u32 = 1;

/// What came of all checks. As JSON it is what `adit probe --json` prints.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The version of this format.
    pub format: u32,
    /// The pool's URL.
    pub pool: String,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// Every check, in a fixed order.
    pub checks: Vec<Line>,
}

/// What came of one check.
#[derive(Debug, Serialize)]
pub struct Line {
    /// The check's stable name.
    pub id: &'static str,
    /// What it is about.
    pub area: Area,
    /// How much it matters if it is broken.
    pub severity: Severity,
    /// Where the rule stands, or who depends on it.
    pub source: &'static str,
    /// The rule.
    pub must_hold: &'static str,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

impl Report {
    /// Returns how many rules of a severity are broken.
    pub fn broken(&self, severity: Severity) -> usize {
        self.count(|line| line.severity == severity && matches!(line.outcome, Outcome::Broken { .. }))
    }

    /// Returns how many rules held.
    pub fn held(&self) -> usize {
        self.count(|line| line.outcome == Outcome::Held)
    }

    /// Returns how many rules could not be checked.
    pub fn not_checked(&self) -> usize {
        self.count(|line| matches!(line.outcome, Outcome::NotChecked { .. }))
    }

    fn count(&self, counts: impl Fn(&Line) -> bool) -> usize {
        self.checks.iter().filter(|line| counts(line)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_outweighs_held_and_either_a_check_not_made() {
        let mut findings = Findings::default();
        findings.not_checked(Check::LowShare, "no share was found");
        findings.held(Check::LowShare);
        findings.not_checked(Check::LowShare, "no time was left");
        assert!(findings.is_checked(Check::LowShare));
        findings.broken(Check::LowShare, "a refusal", "an acknowledgement");
        findings.held(Check::LowShare);
        let report = findings.into_report(String::new(), 0, "it was never come to");
        assert_eq!((report.broken(Severity::Violation), report.held()), (1, 0));
        assert_eq!(report.not_checked(), Check::ALL.len() - 1);
    }
}
