//! TCP sockets by the cgroup that made them: whose unit, container or pod they are
//! (INET_DIAG_CGROUP_ID, net/ipv4/inet_diag.c, and the tree of version 2). A socket
//! stays with its maker, also when another process takes it over.

use std::collections::BTreeMap;

use serde::Serialize;

use super::limits::Floor;
use super::ranking::{Ranking, last_rank};
use super::{Facts, Families, Inputs, Missing, Sink, Source, Subject, SubjectLimits, metrics};
use crate::count::cgroups::{CgroupCount, CgroupCounts};
use crate::kernel::cgroups::{CgroupPaths, Known};
use crate::model::cgroup::Cgroup;
use crate::model::state::{State, StateCounts};

/// The cgroups with most sockets, and all others in groups.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Cgroups {
    pub largest: Vec<CgroupSockets>,
    /// Cgroups that are not listed, and those that turned up after the last look into
    /// the tree.
    pub other: Group,
    /// Those whose directory is gone.
    pub gone: Group,
    /// Sockets of which the kernel tells no cgroup: TIME_WAIT, requests.
    pub none: Group,
    /// Those of a tree that cannot be seen from here.
    pub hidden: Group,
    /// Cgroups in `other`.
    pub folded: u32,
}

#[derive(Clone, Debug, Serialize)]
pub struct CgroupSockets {
    #[serde(flatten)]
    pub cgroup: Cgroup,
    #[serde(flatten)]
    pub sockets: Group,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Group {
    pub states: StateCounts,
    /// Outbound sockets with a local port in the range.
    pub ephemeral_ports_used: u32,
}

impl Group {
    fn add(&mut self, count: &CgroupCount) {
        self.states.merge(&count.states);
        self.ephemeral_ports_used += count.ports;
    }
}

metrics! {
    SOCKETS: gauge "sockdiag_cgroup_sockets" [cgroup, state]
        "TCP sockets as of the last poll by the cgroup that made them, the largest; states that have any. cgroup other: the rest; gone: its directory is gone; none: the kernel tells none (time_wait, syn_recv); hidden: the host's cgroup tree cannot be seen from here (sock_diag).";
    PORTS: gauge "sockdiag_cgroup_ephemeral_ports_used" [cgroup]
        "Outbound TCP sockets with a local port in the range as of the last poll by the cgroup that made them, the cgroups of sockdiag_cgroup_sockets (sock_diag).";
    FOLDED: gauge "sockdiag_cgroups_folded" []
        "Cgroups with TCP sockets as of the last poll that are in cgroup other (sock_diag).";
    INFO: machine_gauge "sockdiag_cgroup_info" [cgroup, unit, container_id, pod_uid]
        "Whose a cgroup is that other metrics name, told from its path: always 1; empty where it is none. The runtime is taken for containerd where the kubelet's path does not tell.";
}

/// States of a cgroup's sockets (TIME_WAIT and SYN_RECV have none), and its ports.
const EACH: usize = State::ALL.len() - 2 + 1;
/// The others, FIN_WAIT2 that the kernel holds, unknown ones, and their ports.
const OF_NONE: usize = 4 + 1;

impl Subject for Cgroups {
    const NEEDS: &'static [Source] = &[Source::TcpSockets];
    type Memory = Ranking<u64>;

    const METRICS: &'static [Families] = &[METRICS];

    fn collect(from: &Inputs<'_, Self>, ranking: &mut Ranking<u64>) -> Result<Self, Missing> {
        let (tcp, limits) = (from.tcp()?, from.limits());
        let k = (limits.cgroups, limits.floor);
        if limits.cgroups == 0 || !from.features().cgroup_id {
            return Err(Missing::Absent);
        }
        Ok(Self::of(&tcp.count.cgroups, tcp.cgroups, k, ranking))
    }

    fn export(&self, sink: &mut dyn Sink) {
        for row in &self.largest {
            export(sink, &row.cgroup.path, &row.sockets);
        }
        for (name, group) in self.groups() {
            export(sink, name, group);
        }
        sink.sample(&FOLDED, &[], self.folded.into());
    }

    /// Infos of owners of destinations included.
    fn series(limits: &SubjectLimits) -> usize {
        if limits.cgroups == 0 {
            return 0;
        }
        let listed = last_rank(limits.cgroups);
        // `other` and `gone`; where there is `hidden`, there is nothing else.
        (listed + 2) * EACH + OF_NONE + 1 + listed + last_rank(limits.destinations) + 1
    }
}

impl Cgroups {
    fn of(
        counts: &CgroupCounts,
        paths: &CgroupPaths,
        (k, floor): (usize, Floor),
        ranking: &mut Ranking<u64>,
    ) -> Self {
        let mut all = Self::default();
        let mut known = BTreeMap::new();
        for count in counts.cgroups() {
            match paths.get(count.id) {
                Known::Path(path) => drop(known.insert(count.id, (path, count))),
                Known::Gone => all.gone.add(count),
                Known::Hidden => all.hidden.add(count),
                Known::NotYet => all.fold(count),
            }
        }
        let size = |count: &CgroupCount| u64::from(count.states.total());
        let total = counts.cgroups().iter().map(size).sum();
        let sizes = known.iter().map(|(&id, (_, count))| (id, size(count)));
        let is_large = |_: &u64, sockets| floor.admits(sockets, total);
        for (id, _) in ranking.select(k, sizes, is_large) {
            let (path, count) = known.remove(&id).expect("it was among the known");
            let mut sockets = Group::default();
            sockets.add(count);
            let cgroup = Cgroup::at(path);
            all.largest.push(CgroupSockets { cgroup, sockets });
        }
        for (_, count) in known.values() {
            all.fold(count);
        }
        all.other.add(counts.rest());
        all.none.add(counts.none());
        all
    }

    fn fold(&mut self, count: &CgroupCount) {
        self.other.add(count);
        self.folded += 1;
    }

    /// What is not listed, by the label.
    pub fn groups(&self) -> [(&'static str, &Group); 4] {
        [
            ("other", &self.other),
            ("gone", &self.gone),
            ("none", &self.none),
            ("hidden", &self.hidden),
        ]
    }
}

fn export(sink: &mut dyn Sink, cgroup: &str, group: &Group) {
    for (state, count) in group.states.present() {
        sink.sample(&SOCKETS, &[cgroup, state.label()], count.into());
    }
    sink.sample(&PORTS, &[cgroup], group.ephemeral_ports_used.into());
}

/// Whose the cgroups are that any namespace's facts name, each once: a container may
/// be seen in several.
pub fn export_info<'f>(facts: impl Iterator<Item = &'f Facts>, sink: &mut dyn Sink) {
    let mut named = BTreeMap::new();
    for facts in facts {
        let listed = facts.cgroups.measured().into_iter();
        let listed = listed.flat_map(|cgroups| &cgroups.largest);
        let ports = facts.ephemeral.measured().into_iter();
        let rows = ports.flat_map(|ports| &ports.destinations.rows);
        let holders = rows.filter_map(|row| row.holder.as_ref());
        let cgroups = listed.map(|row| &row.cgroup);
        let cgroups = cgroups.chain(holders.map(|holder| &holder.cgroup));
        named.extend(cgroups.map(|cgroup| (&cgroup.path, &cgroup.owner)));
    }
    for (path, owner) in named {
        let text = |label: &'f Option<String>| label.as_deref().unwrap_or_default();
        let (unit, container) = (text(&owner.unit), text(&owner.container_id));
        let labels = [path, unit, container, text(&owner.pod_uid)];
        sink.sample(&INFO, &labels, 1.0);
    }
}

#[cfg(test)]
mod tests;
