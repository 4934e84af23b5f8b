//! Snapshot → metric families → bytes, plain and compressed, once per poll
//! (Prometheus text format 0.0.4).

use std::collections::HashMap;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use prometheus::proto::{Counter, Gauge, LabelPair, Metric as Sample, MetricFamily, MetricType};
use prometheus::{Encoder, TextEncoder};

use crate::collectors::metric::{Kind, Metric, Sink};
use crate::collectors::section::Outcome;
use crate::snapshot::{NamespaceFacts, Page, Snapshot, unix_time};

static COLLECTOR_UP: Metric = Metric::gauge(
    "sockdiag_collector_up",
    &["collector"],
    "Whether a collector worked as of the last poll, 1 or 0; no sample where the kernel does not offer what it reads.",
);
static DUMP_DURATION: Metric = Metric::gauge(
    "sockdiag_dump_duration_seconds",
    &["protocol"],
    "How long the dump of the sockets took as of the last poll (sock_diag).",
);
static SNAPSHOT_TIMESTAMP: Metric = Metric::gauge(
    "sockdiag_snapshot_timestamp_seconds",
    &[],
    "When the sockets were dumped, in seconds since 1970.",
)
.global();

/// Families of this file, beside those of the collectors.
pub static METRICS: [&Metric; 3] = [&COLLECTOR_UP, &DUMP_DURATION, &SNAPSHOT_TIMESTAMP];

/// Renders the page: the kernel's facts, then the exporter's own families.
pub fn render(snapshot: &Snapshot, own: Vec<MetricFamily>) -> Page {
    let mut families = Families::default();
    for namespace in &snapshot.namespaces {
        families.namespace = Some(namespace.name.clone());
        namespace.facts.export(&mut families);
        export_outcomes(namespace, &mut families);
    }
    families.namespace = None;
    // The machine's figures are the same in every namespace: say them once.
    if let Some(first) = snapshot.namespaces.first() {
        first.facts.export_machine(&mut families);
    }
    families.sample(&SNAPSHOT_TIMESTAMP, &[], unix_time(snapshot.taken));
    families.families.extend(own);
    encode(&families.families)
}

/// Renders the exporter's own families alone.
pub fn render_own(own: &[MetricFamily]) -> Page {
    encode(own)
}

fn export_outcomes(namespace: &NamespaceFacts, families: &mut Families) {
    for (collector, outcome) in namespace.facts.outcomes() {
        match outcome {
            Outcome::Up => families.sample(&COLLECTOR_UP, &[collector], 1.0),
            Outcome::Failed(_) => families.sample(&COLLECTOR_UP, &[collector], 0.0),
            Outcome::Absent => {}
        }
    }
    for (protocol, took) in [("tcp", namespace.dumps.tcp), ("udp", namespace.dumps.udp)] {
        if let Some(took) = took {
            families.sample(&DUMP_DURATION, &[protocol], took.as_secs_f64());
        }
    }
}

fn encode(families: &[MetricFamily]) -> Page {
    let mut text = Vec::with_capacity(64 * 1024);
    // Families without samples are the only thing that the encoder refuses, and
    // there are none: a family begins with its first sample.
    TextEncoder::new()
        .encode(families, &mut text)
        .expect("a family has samples");
    let mut gzip = GzEncoder::new(Vec::with_capacity(text.len() / 8), Compression::fast());
    gzip.write_all(&text).expect("memory takes every byte");
    let gzip = gzip.finish().expect("memory takes every byte");
    Page {
        text: text.into(),
        gzip: gzip.into(),
    }
}

/// Families in the order of their first sample, whatever the namespace.
#[derive(Default)]
struct Families {
    namespace: Option<String>,
    places: HashMap<&'static str, usize>,
    families: Vec<MetricFamily>,
}

impl Families {
    fn family(&mut self, metric: &'static Metric) -> &mut MetricFamily {
        let at = *self.places.entry(metric.name).or_insert_with(|| {
            let mut family = MetricFamily::default();
            family.set_name(metric.name.to_owned());
            family.set_help(metric.help.to_owned());
            family.set_field_type(match metric.kind {
                Kind::Gauge => MetricType::GAUGE,
                Kind::Counter => MetricType::COUNTER,
            });
            self.families.push(family);
            self.families.len() - 1
        });
        &mut self.families[at]
    }
}

impl Sink for Families {
    fn sample(&mut self, metric: &'static Metric, labels: &[&str], value: f64) {
        debug_assert_eq!(metric.labels.len(), labels.len(), "{}", metric.name);
        let namespace = self.namespace.as_deref().filter(|_| !metric.global);
        let pairs = namespace
            .map(|name| pair("netns", name))
            .into_iter()
            .chain(
                metric
                    .labels
                    .iter()
                    .zip(labels)
                    .map(|(name, value)| pair(name, value)),
            )
            .collect();
        let mut sample = Sample::from_label(pairs);
        match metric.kind {
            Kind::Gauge => {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                sample.set_gauge(gauge);
            }
            Kind::Counter => {
                let mut counter = Counter::default();
                counter.set_value(value);
                sample.set_counter(counter);
            }
        }
        self.family(metric).mut_metric().push(sample);
    }
}

fn pair(name: &str, value: &str) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    pair
}
