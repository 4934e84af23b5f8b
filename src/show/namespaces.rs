//! The network namespaces as a reader wants to see them: in full the exporter's own and those
//! where something is wrong, and of the others the fullest in one table.

use crate::findings::{self, Finding, FindingId, Severity};
use crate::snapshot::{NamespaceSnapshot, Snapshot};
use crate::subjects::ports::destination::Destination;

/// Rows of the table; there is more in the JSON.
const ROWS: usize = 10;

/// A namespace, and what is wrong with it.
pub struct Diagnosed<'s> {
    pub namespace: &'s NamespaceSnapshot,
    pub findings: Vec<Finding>,
    /// The exporter's own.
    pub is_own: bool,
}

impl Diagnosed<'_> {
    pub fn is_in_full(&self) -> bool {
        self.is_own || !self.findings.is_empty() || !self.namespace.facts.failures().is_empty()
    }

    /// How bad the findings say that something is; of a `subject`, or of the worst one.
    pub fn severity(&self, id: FindingId, subject: Option<&str>) -> Option<Severity> {
        findings::severity(&self.findings, id, subject)
    }
}

/// All of them, or the one that is named.
pub fn diagnosed<'s>(
    snapshot: &'s Snapshot,
    name: Option<&str>,
) -> impl Iterator<Item = Diagnosed<'s>> {
    let all = snapshot.namespaces.iter().enumerate();
    let shown = all.filter(move |(_, one)| name.is_none_or(|name| one.name == name));
    shown.map(|(at, namespace)| Diagnosed {
        namespace,
        findings: namespace.findings(),
        is_own: at == 0,
    })
}

/// The exporter's own, and those where something is wrong.
pub fn in_full(snapshot: &Snapshot) -> impl Iterator<Item = Diagnosed<'_>> {
    diagnosed(snapshot, None).filter(Diagnosed::is_in_full)
}

/// A row of the table.
pub struct Row<'s> {
    pub name: &'s str,
    /// What the ratio of its ports cannot exceed, and what it was at the last dump.
    pub bound: f64,
    pub ratio: Option<f64>,
    /// Whom most of its ports are used toward.
    pub toward: String,
    /// How full its connection tracking table is.
    pub conntrack: Option<f64>,
    /// What is wrong with it.
    pub findings: Vec<Finding>,
}

/// The fullest, and how many there are in all.
pub fn fullest(snapshot: &Snapshot) -> (Vec<Row<'_>>, usize) {
    let others = snapshot.fullest_first();
    let all = others.len();
    (others.into_iter().take(ROWS).map(row).collect(), all)
}

fn row(namespace: &NamespaceSnapshot) -> Row<'_> {
    let ports = namespace.facts.ephemeral.measured();
    let worst = ports.and_then(|ports| ports.destinations.worst_first().first().copied());
    let conntrack = namespace.facts.conntrack.measured();
    Row {
        name: &namespace.name,
        bound: namespace.highest_bound(),
        ratio: ports.map(|ports| ports.utilization.tcp_destination),
        toward: worst.map_or_else(String::new, Destination::endpoint),
        conntrack: conntrack.and_then(|table| Some(table.pool()?.share())),
        findings: namespace.findings(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::show::text;
    use crate::snapshot::Identity;
    use crate::subjects::Facts;
    use crate::subjects::conntrack::Conntrack;
    use crate::subjects::ports::bound::Bound;
    use crate::subjects::section::Section;

    /// Its own, and twelve others; the sixth has lost its conntrack entries.
    fn snapshot() -> Snapshot {
        let others = (1..=12).map(|at| NamespaceSnapshot {
            name: format!("pod-{at}"),
            identity: Identity::default(),
            bound: Some(Bound {
                tcp: f64::from(at) / 100.0,
                udp: 0.0,
            }),
            facts: Facts {
                conntrack: Section::Measured(Conntrack {
                    entries: if at == 6 { 95 } else { 5 },
                    limit: 100,
                    buckets: None,
                    events: None,
                }),
                ..Facts::default()
            },
            ..NamespaceSnapshot::default()
        });
        let own = NamespaceSnapshot {
            name: "host".to_owned(),
            ..NamespaceSnapshot::default()
        };
        Snapshot {
            taken: std::time::SystemTime::now(),
            interval: std::time::Duration::from_secs(5),
            namespaces: [own].into_iter().chain(others).collect(),
            skipped: Default::default(),
        }
    }

    #[test]
    fn the_fullest_stand_first_and_trouble_is_told_in_full() {
        let snapshot = snapshot();
        let (rows, all) = fullest(&snapshot);
        assert_eq!((rows.len(), all), (10, 12));
        assert_eq!((rows[0].name, rows[0].conntrack), ("pod-12", Some(0.05)));
        let names: Vec<_> = in_full(&snapshot)
            .map(|one| &one.namespace.name[..])
            .collect();
        assert_eq!(names, ["host", "pod-6"]);
    }

    #[test]
    fn the_text_has_them_all_in_one_table() {
        let text = text::render(&snapshot());
        let own = text.find("network namespace host").unwrap();
        let trouble = text.find("network namespace pod-6").unwrap();
        let table = text
            .find("the fullest of 12 other network namespaces")
            .unwrap();
        assert!(own < trouble && trouble < table, "{text}");
        assert!(
            text.contains("pod-12") && !text.contains("pod-1 "),
            "{text}"
        );
    }
}
