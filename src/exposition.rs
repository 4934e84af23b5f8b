//! Snapshot → text → compressed text, once per poll (Prometheus text format 0.0.4,
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>).
//!
//! The kernel's samples are written straight into the text: as values of the
//! prometheus crate they were half of the instructions of an idle host's poll
//! outside the kernel. The exporter's own few go through that crate.

use std::fmt::Write as _;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use prometheus::proto::MetricFamily;
use prometheus::{Encoder, TextEncoder};

use crate::snapshot::{Identity, NamespaceSnapshot, Page, Snapshot, unix_time};
use crate::subjects::cgroups::export_info;
use crate::subjects::metric::{Kind, Metric, Sink, metrics};
use crate::subjects::section::Outcome;

metrics! {
    COLLECTOR_UP: gauge "sockdiag_collector_up" [collector]
        "Whether a collector worked as of the last poll, 1 or 0; no sample where the kernel does not offer what it reads.";
    DUMP_DURATION: gauge "sockdiag_dump_duration_seconds" [protocol]
        "How long the dump of the sockets took as of the last poll (sock_diag).";
    NETNS_DUMP_TIMESTAMP: gauge "sockdiag_netns_dump_timestamp_seconds" []
        "When the TCP sockets of the network namespace were dumped as of the last poll, in seconds since 1970 (sock_diag).";
    NETNS_INFO: gauge "sockdiag_netns_info" [inode, kind, container_id, pod_uid]
        "Always 1; what the network namespace is as of the last poll: host is the exporter's own, named has a file, process has none; container and pod by the cgroup of its first process (nsfs, /proc/PID/cgroup).";
    NAMESPACES: machine_gauge "sockdiag_namespaces" []
        "Network namespaces that are observed as of the last poll, the exporter's own included (netns.directories, /proc/PID/ns/net).";
    SKIPPED: machine_gauge "sockdiag_namespaces_skipped" [reason]
        "Network namespaces that there are as of the last poll and that are not observed: excluded by netns.include and netns.exclude, beyond the limit, not permitted, or failed.";
    FOLDED: machine_gauge "sockdiag_namespaces_folded" []
        "Network namespaces that show their bound alone as of the last poll, because all their series are more than netns.series.";
    SNAPSHOT_TIMESTAMP: machine_gauge "sockdiag_snapshot_timestamp_seconds" []
        "When the sockets were dumped, in seconds since 1970.";
}

/// Renders the page: the kernel's facts, then the exporter's own families.
pub fn render(snapshot: &Snapshot, own: Vec<MetricFamily>) -> Page {
    let mut families = Families::default();
    for namespace in &snapshot.namespaces {
        families.enter(&namespace.name);
        export_identity(namespace, &mut families);
        if !namespace.is_folded {
            namespace.facts.export(&mut families);
            export_outcomes(namespace, &mut families);
        }
    }
    families.namespace.clear();
    // The machine's figures are the same in every namespace: say them once.
    if let Some(first) = snapshot.namespaces.first() {
        first.facts.export_machine(&mut families);
    }
    let facts = snapshot.namespaces.iter().map(|namespace| &namespace.facts);
    export_info(facts, &mut families);
    families.sample(&NAMESPACES, &[], snapshot.namespaces.len() as f64);
    for (reason, count) in &snapshot.skipped {
        families.sample(&SKIPPED, &[reason], *count as f64);
    }
    let folded = snapshot.namespaces.iter().filter(|one| one.is_folded);
    families.sample(&FOLDED, &[], folded.count() as f64);
    families.sample(&SNAPSHOT_TIMESTAMP, &[], unix_time(snapshot.taken));
    page(families.into_text(), &own)
}

/// Renders the exporter's own families alone.
pub fn render_own(own: &[MetricFamily]) -> Page {
    page(Vec::new(), own)
}

fn export_identity(namespace: &NamespaceSnapshot, families: &mut Families) {
    let Identity {
        inode,
        kind,
        container_id,
        pod_uid,
    } = &namespace.identity;
    let labels = [&inode.to_string(), kind.label(), container_id, pod_uid];
    families.sample(&NETNS_INFO, &labels, 1.0);
    if let Some(bound) = &namespace.bound {
        bound.export(families);
    }
}

fn export_outcomes(namespace: &NamespaceSnapshot, families: &mut Families) {
    for collected in namespace.facts.outcomes() {
        let collector = &[collected.collector];
        match collected.outcome {
            Outcome::Up => families.sample(&COLLECTOR_UP, collector, 1.0),
            Outcome::Failed(_) => families.sample(&COLLECTOR_UP, collector, 0.0),
            Outcome::Absent => {}
        }
    }
    let Some(dumps) = &namespace.dumps else {
        return;
    };
    if dumps.tcp.result.is_ok() {
        families.sample(&NETNS_DUMP_TIMESTAMP, &[], unix_time(dumps.tcp.taken));
    }
    for (protocol, dump) in [("tcp", &dumps.tcp), ("udp", &dumps.udp)] {
        // Of half a dump it says nothing.
        if dump.result.is_ok() {
            families.sample(&DUMP_DURATION, &[protocol], dump.took.as_secs_f64());
        }
    }
}

fn page(mut text: Vec<u8>, own: &[MetricFamily]) -> Page {
    // Families without samples are the only thing that the encoder refuses, and
    // a registry leaves them out.
    TextEncoder::new()
        .encode(own, &mut text)
        .expect("a family has samples");
    let mut gzip = GzEncoder::new(Vec::with_capacity(text.len() / 8), Compression::fast());
    gzip.write_all(&text).expect("memory takes every byte");
    let gzip = gzip.finish().expect("memory takes every byte");
    Page {
        text: text.into(),
        gzip: gzip.into(),
    }
}

/// The lines of each family, in the order of their first sample, whatever the
/// namespace.
#[derive(Default)]
struct Families {
    /// The label, written out; empty outside a namespace.
    namespace: String,
    families: Vec<(&'static Metric, String)>,
    /// Where the last sample went: most are followed by another of their family.
    last: usize,
}

impl Families {
    /// Whose facts follow.
    fn enter(&mut self, namespace: &str) {
        self.namespace.clear();
        write_label(&mut self.namespace, "netns", namespace);
    }

    /// Each metric is one static: its address tells it from the others.
    fn place(&mut self, metric: &'static Metric) -> usize {
        let is = |&(other, _): &(&'static Metric, String)| std::ptr::eq(other, metric);
        if self.families.get(self.last).is_some_and(is) {
            return self.last;
        }
        let known = self.families.iter().position(is);
        known.unwrap_or_else(|| {
            let is_second = |(other, _): &(&Metric, String)| other.name == metric.name;
            debug_assert!(!self.families.iter().any(is_second), "{}", metric.name);
            self.families.push((metric, String::new()));
            self.families.len() - 1
        })
    }

    fn into_text(self) -> Vec<u8> {
        let samples: usize = self.families.iter().map(|(_, lines)| lines.len()).sum();
        let mut text = String::with_capacity(samples + self.families.len() * FAMILY_BYTES);
        for (metric, lines) in &self.families {
            let kind = match metric.kind {
                Kind::Gauge => "gauge",
                Kind::Counter => "counter",
            };
            let Metric { name, help, .. } = metric;
            // Writing to a string cannot fail, here and below.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            text.push_str(lines);
        }
        text.into_bytes()
    }
}

/// Room for the lines that describe a family.
const FAMILY_BYTES: usize = 384;

impl Sink for Families {
    fn sample(&mut self, metric: &'static Metric, labels: &[&str], value: f64) {
        debug_assert_eq!(metric.labels.len(), labels.len(), "{}", metric.name);
        debug_assert_eq!(metric.global, self.namespace.is_empty(), "{}", metric.name);
        self.last = self.place(metric);
        let line = &mut self.families[self.last].1;
        line.push_str(metric.name);
        let mut before = '{';
        if !metric.global {
            line.push(before);
            line.push_str(&self.namespace);
            before = ',';
        }
        for (name, value) in metric.labels.iter().zip(labels) {
            line.push(before);
            write_label(line, name, value);
            before = ',';
        }
        line.push_str(if before == '{' { " " } else { "} " });
        write_value(line, value);
        line.push('\n');
    }
}

fn write_label(line: &mut String, name: &str, value: &str) {
    line.push_str(name);
    line.push_str("=\"");
    if value.contains(['\\', '"', '\n']) {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"");
        line.push_str(&value.replace('\n', "\\n"));
    } else {
        line.push_str(value);
    }
    line.push('"');
}

/// Nearly all values are counts. Those look the same as whole numbers, which are
/// written several times as quickly.
fn write_value(line: &mut String, value: f64) {
    const EXACT: f64 = (1_u64 << f64::MANTISSA_DIGITS) as f64;
    let _ = if value.fract() == 0.0 && value.abs() < EXACT {
        write!(line, "{}", value as i64)
    } else {
        write!(line, "{value}")
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::Gauge;
    use prometheus::core::Collector;

    static ODD: Metric = Metric::gauge("odd", &["a", "b"], "Oddities.");
    static PLAIN: Metric = Metric::machine_gauge("plain_total", &[], "Nothing special.");
    static LATER: Metric = Metric::gauge("later", &[], "Comes last.");

    #[test]
    fn samples_stand_with_their_family_and_namespace() {
        let mut families = Families::default();
        families.enter("one");
        families.sample(&ODD, &["x", "y"], 1.0);
        families.namespace.clear();
        families.sample(&PLAIN, &[], 2.5);
        families.enter("two");
        families.sample(&LATER, &[], 3.0);
        families.sample(&ODD, &["x", "y"], 4.0);
        let text = String::from_utf8(families.into_text()).unwrap();
        let expected = "# HELP odd Oddities.\n# TYPE odd gauge\n\
            odd{netns=\"one\",a=\"x\",b=\"y\"} 1\nodd{netns=\"two\",a=\"x\",b=\"y\"} 4\n\
            # HELP plain_total Nothing special.\n# TYPE plain_total gauge\nplain_total 2.5\n\
            # HELP later Comes last.\n# TYPE later gauge\nlater{netns=\"two\"} 3\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn what_would_end_a_label_is_escaped() {
        let mut line = String::new();
        write_label(&mut line, "a", "back\\slash, \"quote\", \nline\\");
        assert_eq!(line, r#"a="back\\slash, \"quote\", \nline\\""#);
    }

    #[test]
    fn values_look_as_the_crate_writes_them() {
        let gauge = Gauge::new("value", "As it is.").unwrap();
        let largest = 2_f64.powi(53);
        #[rustfmt::skip]
        let values = [
            0.0, 1.0, -7.0, 0.5, 1e-9, 28_231.0, 1.5e300, largest - 1.0, largest, largest * 4.0,
            0.1 + 0.2, f64::NAN, f64::INFINITY, f64::NEG_INFINITY,
        ];
        for value in values {
            let mut line = "value ".to_owned();
            write_value(&mut line, value);
            gauge.set(value);
            let text = TextEncoder::new()
                .encode_to_string(&gauge.collect())
                .unwrap();
            assert_eq!(text.lines().last(), Some(line.as_str()));
        }
    }
}
