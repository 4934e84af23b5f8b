//! How a collector describes its metrics and hands out their samples, without
//! knowing who encodes them.

/// What a sample means over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Gauge,
    Counter,
}

/// One metric family of the contract.
#[derive(Debug)]
pub struct Metric {
    pub name: &'static str,
    pub help: &'static str,
    pub kind: Kind,
    /// `netns` is not among them: it comes first in every kernel fact.
    pub labels: &'static [&'static str],
    /// The machine's, not a namespace's.
    pub global: bool,
}

impl Metric {
    pub const fn gauge(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self {
            name,
            help,
            kind: Kind::Gauge,
            labels,
            global: false,
        }
    }

    pub const fn counter(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self {
            name,
            help,
            kind: Kind::Counter,
            labels,
            global: false,
        }
    }

    pub const fn global(self) -> Self {
        Self {
            global: true,
            ..self
        }
    }
}

/// Whoever takes samples. The values of the labels come in the metric's order.
pub trait Sink {
    fn sample(&mut self, metric: &'static Metric, labels: &[&str], value: f64);
}
