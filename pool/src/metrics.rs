//! What the pool counts of itself, for operators: the building blocks, and the text in which it is shown (OpenMetrics 1.0).
//!
//! Names begin with `adit_`, units are base units, and what only grows ends in `_total`. No label holds an address, an
//! account or a worker: there is no bound to how many of those there are. What is counted belongs to the modules that
//! count it.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU64},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder, text::encode},
    metrics::{
        MetricType,
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Metric, Registry, Unit},
};

/// All that is counted.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
}

/// The label that says which version.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Version {
    version: &'static str,
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

    /// Begins a run of the pool: which version it is, and when it was started.
    pub fn of_run() -> Self {
        let mut metrics = Self::new();
        let version = Version { version: env!("CARGO_PKG_VERSION") };
        metrics
            .measured_by("build_info", "Always 1, for the version of the pool", move || vec![(version.clone(), 1.0)]);
        let started_at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        metrics.measured_seconds("start_time", "When the pool was started, in seconds since 1970 UTC", move || {
            Some(started_at)
        });
        metrics
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

    /// Adds a sum that only grows; `_total` is put behind its name.
    pub fn sum(&mut self, name: &str, text: &str) -> Counter<f64, AtomicU64> {
        let counter = Counter::default();
        self.registry.register(name, text, counter.clone());
        counter
    }

    /// Adds numbers that go up and down and that differ in a label.
    pub fn gauges<L: LabelSet, const N: usize>(&mut self, name: &str, text: &str, labels: [L; N]) -> [Gauge; N] {
        let family = Family::<L, Gauge>::default();
        self.registry.register(name, text, family.clone());
        labels.map(|label| family.get_or_create_owned(&label))
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
        let histogram = seconds();
        self.registry.register_with_unit(name, text, Unit::Seconds, histogram.clone());
        histogram
    }

    /// Adds times of what takes microseconds, from half of one to thirty milliseconds.
    pub fn short_seconds(&mut self, name: &str, text: &str) -> Histogram {
        let histogram = Histogram::new(exponential_buckets(5e-7, 3.0, 11));
        self.registry.register_with_unit(name, text, Unit::Seconds, histogram.clone());
        histogram
    }

    /// Adds counts of things that come together, from one to sixteen thousand.
    pub fn sizes(&mut self, name: &str, text: &str) -> Histogram {
        let histogram = Histogram::new(exponential_buckets(1.0, 4.0, 8));
        self.registry.register(name, text, histogram.clone());
        histogram
    }

    /// Adds a number that is looked up whenever all are shown; while there is none, nothing is.
    pub fn measured(&mut self, name: &str, text: &str, look: impl Fn() -> Option<f64> + Send + Sync + 'static) {
        self.registry.register(name, text, Measured(look));
    }

    /// The same of a time; `_seconds` is put behind the name.
    pub fn measured_seconds(&mut self, name: &str, text: &str, look: impl Fn() -> Option<f64> + Send + Sync + 'static) {
        self.registry.register_with_unit(name, text, Unit::Seconds, Measured(look));
    }

    /// Adds numbers that differ in a label and are looked up whenever all are shown.
    pub fn measured_by<L: LabelSet>(
        &mut self,
        name: &str,
        text: &str,
        look: impl Fn() -> Vec<(L, f64)> + Send + Sync + 'static,
    ) {
        self.registry.register(name, text, MeasuredBy(look));
    }

    /// The same of times; `_seconds` is put behind the name.
    pub fn measured_by_seconds<L: LabelSet>(
        &mut self,
        name: &str,
        text: &str,
        look: impl Fn() -> Vec<(L, f64)> + Send + Sync + 'static,
    ) {
        self.registry.register_with_unit(name, text, Unit::Seconds, MeasuredBy(look));
    }

    /// Adds the time since something happened last, by a clock that nobody sets.
    pub fn age(&mut self, name: &str, text: &str, moment: &Moment) {
        let moment = moment.clone();
        self.measured_seconds(name, text, move || moment.age_s());
    }

    /// Adds what was made beforehand, in parts that also work where nothing is shown.
    pub fn add(&mut self, name: &str, text: &str, metric: impl Metric) {
        self.registry.register(name, text, metric);
    }

    /// The same of times; `_seconds` is put behind the name.
    pub fn add_seconds(&mut self, name: &str, text: &str, metric: impl Metric) {
        self.registry.register_with_unit(name, text, Unit::Seconds, metric);
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

/// Times from a tenth of a millisecond to half a minute.
pub fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(1e-4, 3.5, 11))
}

/// When something happened last; all clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Moment(Arc<Mutex<Option<Instant>>>);

impl Moment {
    /// Notes that it happens now.
    pub fn note(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Returns for how many seconds it has not happened; nothing if it never has.
    pub fn age_s(&self) -> Option<f64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).map(|at| at.elapsed().as_secs_f64())
    }
}

/// A gauge that is looked up.
struct Measured<F>(F);

/// Gauges that are looked up.
struct MeasuredBy<F>(F);

impl<F> fmt::Debug for Measured<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Measured")
    }
}

impl<F> fmt::Debug for MeasuredBy<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MeasuredBy")
    }
}

impl<F: Fn() -> Option<f64>> EncodeMetric for Measured<F> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        self.0().map_or(Ok(()), |value| encoder.encode_gauge(&value))
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }
}

impl<L: LabelSet, F: Fn() -> Vec<(L, f64)>> EncodeMetric for MeasuredBy<F> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        self.0().iter().try_for_each(|(labels, value)| encoder.encode_family(labels)?.encode_gauge(value))
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }
}

/// What a family's labels must be able to do.
pub trait LabelSet: EncodeLabelSet + Clone + fmt::Debug + Eq + std::hash::Hash + Send + Sync + 'static {}

impl<L: EncodeLabelSet + Clone + fmt::Debug + Eq + std::hash::Hash + Send + Sync + 'static> LabelSet for L {}
