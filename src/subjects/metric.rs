//! How a collector describes its metrics and hands out their samples, without
//! knowing who encodes them.

/// What a sample means over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Gauge,
    Counter,
}

type Labels = &'static [&'static str];

/// One metric family of the contract.
#[derive(Debug)]
pub struct Metric {
    pub name: &'static str,
    pub help: &'static str,
    pub kind: Kind,
    /// `netns` is not among them: it comes first in every kernel fact.
    pub labels: Labels,
    /// The machine's, not a namespace's.
    pub global: bool,
}

/// Declares the families of a file, each a static, and `METRICS`, all of them:
///
/// ```text
/// NAME: gauge "sockdiag_full_name" [label, label]
///     "HELP that stands alone, with the kernel's source.";
/// ```
///
/// The kinds are `gauge`, `counter`, and `machine_gauge`: the machine's own.
macro_rules! metrics {
    ($($static:ident: $kind:ident $name:literal [$($label:ident),*] $help:literal;)*) => {
        $(
            pub(crate) static $static: $crate::subjects::metric::Metric =
                $crate::subjects::metric::Metric::$kind($name, &[$(stringify!($label)),*], $help);
        )*
        pub const METRICS: $crate::subjects::metric::Families = &[$(&$static),*];
    };
}
pub(crate) use metrics;

impl Metric {
    pub const fn gauge(name: &'static str, labels: Labels, help: &'static str) -> Self {
        Self {
            name,
            help,
            kind: Kind::Gauge,
            labels,
            global: false,
        }
    }

    pub const fn counter(name: &'static str, labels: Labels, help: &'static str) -> Self {
        Self {
            kind: Kind::Counter,
            ..Self::gauge(name, labels, help)
        }
    }

    pub const fn machine_gauge(name: &'static str, labels: Labels, help: &'static str) -> Self {
        Self {
            global: true,
            ..Self::gauge(name, labels, help)
        }
    }
}

/// The families of one file.
pub type Families = &'static [&'static Metric];

/// Whoever takes samples. The values of the labels come in the metric's order.
pub trait Sink {
    fn sample(&mut self, metric: &'static Metric, labels: &[&str], value: f64);
}
