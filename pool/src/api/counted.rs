//! What the pool has counted, read from its metrics as anybody else would read them.

use crate::metrics::Metrics;

/// A reading of all metrics.
pub(crate) struct Counted(String);

/// Shares that were judged alike since the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Judged {
    /// What the miner is told; nothing for right ones.
    pub(crate) code: String,
    /// How many.
    pub(crate) count: u64,
}

impl Counted {
    /// Reads all metrics.
    pub(crate) fn now(metrics: &Metrics) -> Counted {
        Counted(metrics.text())
    }

    /// Takes a text for a reading.
    #[cfg(test)]
    pub(crate) fn of_text(text: String) -> Counted {
        Counted(text)
    }

    /// Returns the value of a series, as it is written with its labels.
    pub(crate) fn value(&self, series: &str) -> Option<f64> {
        self.0.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.trim().parse().ok())
    }

    /// Returns the values of a metric by the text of its one label.
    pub(crate) fn of_label(&self, name: &str, label: &str) -> Vec<(&str, f64)> {
        let lines = self.0.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('{')?.strip_prefix(label));
        let pairs = lines.filter_map(|line| {
            let (text, value) = line.strip_prefix("=\"")?.split_once("\"} ")?;
            Some((text, value.trim().parse().ok()?))
        });
        pairs.collect()
    }

    /// Returns how many shares were right since the start.
    pub(crate) fn accepted(&self) -> u64 {
        self.value("adit_shares_total{result=\"accepted\",code=\"\"}").map_or(0, |count| count as u64)
    }

    /// Returns the shares that were refused since the start, by what the miner is told, most first; none of which there is
    /// none.
    pub(crate) fn refused(&self) -> Vec<Judged> {
        let lines = self.0.lines().filter_map(|line| line.strip_prefix("adit_shares_total{result=\"refused\",code=\""));
        let mut refused: Vec<Judged> = lines
            .filter_map(|line| {
                let (code, count) = line.split_once("\"} ")?;
                Some(Judged { code: code.to_owned(), count: count.trim().parse::<f64>().ok()? as u64 })
            })
            .filter(|judged| judged.count > 0)
            .collect();
        refused.sort_by(|one, other| other.count.cmp(&one.count).then_with(|| one.code.cmp(&other.code)));
        refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stratum::metrics::PortMetrics;

    #[test]
    fn shares_are_read_from_what_the_port_counts() {
        let mut metrics = Metrics::new();
        PortMetrics::register(&mut metrics);
        let mut text = metrics.text();
        for (result, code, count) in
            [("accepted", "", 3), ("refused", "duplicate-share", 1), ("refused", "stale-share", 2)]
        {
            let series = format!("adit_shares_total{{result=\"{result}\",code=\"{code}\"}} ");
            assert!(text.contains(&format!("{series}0\n")), "{series} is not in\n{text}");
            text = text.replace(&format!("{series}0\n"), &format!("{series}{count}\n"));
        }
        let counted = Counted(text);
        assert_eq!(counted.accepted(), 3);
        let refused: Vec<_> = counted.refused().into_iter().map(|judged| (judged.code, judged.count)).collect();
        assert_eq!(refused, [("stale-share".to_owned(), 2), ("duplicate-share".to_owned(), 1)]);
        assert_eq!(counted.value("adit_connections"), Some(0.0));
        assert_eq!(counted.value("adit_nothing"), None);
    }
}
