//! Where the ephemeral range overlaps Kubernetes' NodePorts: connect() may take a
//! port that a Service is to be given, and packets to it go to that Service.

use serde::Serialize;

use super::{Families, Inputs, Missing, Sink, Source, Subject, SubjectLimits, metrics};
use crate::model::ports::{PortRange, PortSet};

/// The default of kube-apiserver's --service-node-port-range.
const NODE_PORTS: PortRange = PortRange {
    first: 30_000,
    last: 32_767,
};

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodePorts {
    /// Ports in both ranges that are not reserved.
    pub overlap: u32,
}

metrics! {
    OVERLAP: gauge "sockdiag_ephemeral_ports_node_port_overlap" []
        "Ports of the ephemeral range, not reserved, that are in Kubernetes' default NodePort range 30000-32767 too, as of the last poll (ip_local_port_range, ip_local_reserved_ports).";
}

impl Subject for NodePorts {
    const NEEDS: &'static [Source] = &[Source::PortSettings];
    const METRICS: &'static [Families] = &[METRICS];
    type Memory = ();

    fn collect(from: &Inputs<'_, Self>, _memory: &mut ()) -> Result<Self, Missing> {
        Ok(Self::of(from.settings()?.effective()))
    }

    fn export(&self, sink: &mut dyn Sink) {
        sink.sample(&OVERLAP, &[], self.overlap.into());
    }

    fn series(_limits: &SubjectLimits) -> usize {
        1
    }
}

impl NodePorts {
    fn of(effective: PortSet) -> Self {
        Self {
            overlap: effective.and(&NODE_PORTS.into()).len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_both_ranges_have_and_nobody_reserved_counts() {
        let overlap = |first, last, reserved: &[u16]| {
            let reserved = reserved.iter().copied().collect();
            NodePorts::of(PortSet::from(PortRange { first, last }).minus(&reserved)).overlap
        };
        assert_eq!(overlap(32_768, 60_999, &[]), 0, "Linux's default");
        assert_eq!(overlap(1024, 65_535, &[]), 2768);
        assert_eq!(overlap(32_767, 40_000, &[]), 1);
        assert_eq!(overlap(1024, 65_535, &[29_999, 30_000, 32_767]), 2766);
    }
}
