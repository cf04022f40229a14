//! What the pool counts of itself, for operators: the building blocks, and the text in which it is shown (OpenMetrics 1.0).
//!
//! Names begin with `adit_`, units are base units, and what only grows ends in `_total`. No label holds an address, an
//! account or a worker: there is no bound to how many of those there are. What is counted belongs to the modules that
//! count it.

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

/// All that is counted.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
}

/// The label that says why.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

impl Metrics {
    /// Begins with nothing.
    pub fn new() -> Self {
        Self { registry: Registry::with_prefix("adit") }
    }

    /// Adds a number that only grows; `_total` is put behind its name.
    pub fn counter(&mut self, name: &str, text: &str) -> Counter {
        let counter = Counter::default();
        self.registry.register(name, text, counter.clone());
        counter
    }

    /// Adds a number that goes up and down.
    pub fn gauge(&mut self, name: &str, text: &str) -> Gauge {
        let gauge = Gauge::default();
        self.registry.register(name, text, gauge.clone());
        gauge
    }

    /// Adds numbers that only grow and that differ in a label. All are shown from the beginning on, since what is not
    /// there cannot be compared with what comes later.
    pub fn counters<L: LabelSet, const N: usize>(&mut self, name: &str, text: &str, labels: [L; N]) -> [Counter; N] {
        let family = Family::<L, Counter>::default();
        self.registry.register(name, text, family.clone());
        labels.map(|label| family.get_or_create_owned(&label))
    }

    /// Adds numbers that only grow, one for each reason, in a label of that name.
    pub fn counters_by_reason<const N: usize>(
        &mut self,
        name: &str,
        text: &str,
        reasons: [&'static str; N],
    ) -> [Counter; N] {
        self.counters(name, text, reasons.map(|reason| Reason { reason }))
    }

    /// Adds times, from a tenth of a millisecond to half a minute; `_seconds` is put behind the name.
    pub fn seconds(&mut self, name: &str, text: &str) -> Histogram {
        let histogram = Histogram::new(exponential_buckets(1e-4, 3.5, 11));
        self.registry.register_with_unit(name, text, Unit::Seconds, histogram.clone());
        histogram
    }

    /// Adds counts of things that come together, from one to sixteen thousand.
    pub fn sizes(&mut self, name: &str, text: &str) -> Histogram {
        let histogram = Histogram::new(exponential_buckets(1.0, 4.0, 8));
        self.registry.register(name, text, histogram.clone());
        histogram
    }

    /// Returns all of it as text (OpenMetrics 1.0).
    pub fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("a string takes whatever is written to it");
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// What a family's labels must be able to do.
pub trait LabelSet: EncodeLabelSet + Clone + std::fmt::Debug + Eq + std::hash::Hash + Send + Sync + 'static {}

impl<L: EncodeLabelSet + Clone + std::fmt::Debug + Eq + std::hash::Hash + Send + Sync + 'static> LabelSet for L {}
