//! The settings of a namespace's ports (kernel: networking/ip-sysctl.rst).

use serde::Serialize;

use crate::count::policy::{KnownPorts, PortPolicy, Reuse};
use crate::kernel::procfs::{ProcError, Procfs, parse_port_list, parse_port_range};
use crate::model::ports::{PortRange, PortSet};

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Settings {
    pub range: PortRange,
    /// `ip_local_reserved_ports`, whether inside the range or not.
    pub reserved: Vec<PortRange>,
    pub tw_reuse: u64,
    /// Milliseconds.
    pub tw_reuse_delay: u64,
    pub timestamps: u64,
    /// Largest step from a port that is taken to the next that connect() tries; 0 is the
    /// usual one (Linux 7.1, 7da62262ec96).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step_width: Option<u64>,
}

/// Which ports may be handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortFiles {
    pub range: PortRange,
    /// Whether inside the range or not.
    pub reserved: Vec<PortRange>,
}

impl PortFiles {
    /// # Errors
    /// When a file cannot be read or makes no sense, or there is no range.
    pub fn read(procfs: &Procfs) -> Result<Self, ProcError> {
        let range = procfs.required(
            "sys/net/ipv4/ip_local_port_range",
            "two ports, the lower first",
            parse_port_range,
        )?;
        let reserved = procfs.value(
            "sys/net/ipv4/ip_local_reserved_ports",
            "a list of ports",
            parse_port_list,
        )?;
        Ok(Self {
            range,
            reserved: reserved.unwrap_or_default(),
        })
    }

    /// The range without the reserved ports.
    pub fn effective(&self) -> PortSet {
        PortSet::from(self.range).minus(&set_of(&self.reserved))
    }
}

fn set_of(ranges: &[PortRange]) -> PortSet {
    let mut ports = PortSet::default();
    for &range in ranges {
        ports.insert_range(range);
    }
    ports
}

impl Settings {
    /// # Errors
    /// As [`PortFiles::read`].
    pub fn read(procfs: &Procfs) -> Result<Self, ProcError> {
        let file = |name: &str| format!("sys/net/ipv4/{name}");
        let PortFiles { range, reserved } = PortFiles::read(procfs)?;
        Ok(Self {
            range,
            reserved,
            tw_reuse: procfs.number(&file("tcp_tw_reuse"))?.unwrap_or(0),
            // Kernels without the file wait for a second.
            tw_reuse_delay: procfs.number(&file("tcp_tw_reuse_delay"))?.unwrap_or(1000),
            timestamps: procfs.number(&file("tcp_timestamps"))?.unwrap_or(1),
            step_width: procfs.number(&file("ip_local_port_step_width"))?,
        })
    }

    /// The range without the reserved ports.
    pub fn effective(&self) -> PortSet {
        PortSet::from(self.range).minus(&self.reserved_set())
    }

    /// The reserved ports, whether inside the range or not.
    pub fn reserved_set(&self) -> PortSet {
        set_of(&self.reserved)
    }

    /// Whether a TIME_WAIT socket's tuple can be had again before its time.
    pub fn reuse(&self) -> Reuse {
        match (self.timestamps, self.tw_reuse) {
            (0, _) | (_, 0) => Reuse::Never,
            (_, 1) => Reuse::Always,
            _ => Reuse::Loopback,
        }
    }

    /// What they mean for counting.
    pub fn policy(&self, effective: PortSet, known: KnownPorts, can_ask: bool) -> PortPolicy {
        PortPolicy {
            range: self.range,
            effective,
            reuse: self.reuse(),
            reuse_delay_ms: u32::try_from(self.tw_reuse_delay).unwrap_or(u32::MAX),
            known,
            can_ask,
        }
    }
}
