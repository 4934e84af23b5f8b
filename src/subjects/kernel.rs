//! What the running kernel tells, on which the exactness of other figures depends.

use serde::Serialize;

use super::{Families, Inputs, Missing, Sink, Source, Subject, SubjectLimits, metrics};
use crate::kernel::features::KernelFeatures;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Kernel {
    pub features: KernelFeatures,
}

metrics! {
    FEATURE: machine_gauge "sockdiag_kernel_feature" [feature]
        "Whether this kernel has what figures depend on, 1 or 0, found out at the start of the exporter: bound_only_sockets are dumped, port_probe answers whose a port is, port_freed_after_bind, time_wait_reuse_delay, socket_options, cgroup_id.";
}

impl Subject for Kernel {
    const NEEDS: &'static [Source] = &[];
    const METRICS: &'static [Families] = &[METRICS];
    type Memory = ();

    fn collect(from: &Inputs<'_, Self>, _memory: &mut ()) -> Result<Self, Missing> {
        let features = *from.features();
        Ok(Self { features })
    }

    fn export(&self, _sink: &mut dyn Sink) {}

    fn export_machine(&self, sink: &mut dyn Sink) {
        for (feature, has_it) in self.features.each() {
            sink.sample(&FEATURE, &[feature], u8::from(has_it).into());
        }
    }

    fn series(_limits: &SubjectLimits) -> usize {
        KernelFeatures::ALL.each().len()
    }
}

impl Kernel {
    /// What this kernel does not tell, in sentences; none of a kernel that tells all.
    pub fn untold(&self) -> Vec<&'static str> {
        let said = [
            (
                self.features.bound_only_sockets,
                "This kernel (before 6.8) does not tell of sockets that are bound and nothing more: the ports that they hold may be lost as well.",
            ),
            (
                self.features.port_probe,
                "This kernel (before 6.3, or with tcp_fastopen or poll.probe_ports off) does not tell which ports bind() has made: every port in use may be lost to connect() toward others.",
            ),
        ];
        let untold = said.into_iter().filter(|(is_told, _)| !is_told);
        untold.map(|(_, sentence)| sentence).collect()
    }
}
