//! How many ports there are to hand out: the range without what is reserved, held,
//! or lost to bind().

use serde::Serialize;

use super::origin::Origin;
use super::settings::Settings;
use crate::count::policy::TIME_WAIT_MS;
use crate::model::pool::Pool;
use crate::model::ports::{PortRange, PortSet};
use crate::subjects::metric::{Sink, metrics};
use crate::subjects::visit::TcpDump;

#[derive(Clone, Debug, Serialize)]
pub struct Capacity {
    pub settings: Settings,
    /// Inside the range.
    pub reserved: u32,
    pub held: u32,
    pub bind_first: u32,
    pub bind_first_ambiguous: u32,
    /// Of those, ports that sockets may hold that the kernel does not dump.
    pub held_ambiguous: u32,
    pub available_destination: u32,
    pub available_source: u32,
    /// Ports from 1024 on outside the range, not reserved, that no TCP listener has.
    pub unused_outside: u32,
}

metrics! {
    RANGE_FIRST: gauge "sockdiag_ephemeral_port_range_first" []
        "First port of the ephemeral range as of the last poll (ip_local_port_range).";
    RANGE_LAST: gauge "sockdiag_ephemeral_port_range_last" []
        "Last port of the ephemeral range, itself included, as of the last poll (ip_local_port_range).";
    RESERVED: gauge "sockdiag_ephemeral_ports_reserved" []
        "Ports inside the range that are never handed out, as of the last poll (ip_local_reserved_ports).";
    HELD: gauge "sockdiag_ephemeral_ports_held" []
        "Ports in the range, not reserved, that plain connect() will not touch because a TCP listener or a bound, unconnected TCP socket has them on any address, as of the last poll (sock_diag).";
    BIND_FIRST: gauge "sockdiag_ephemeral_ports_bind_first" []
        "Ports in the range, beside the held ones, that plain connect() will not touch because bind() made them, as of the last poll; an estimate from the ports' parity and earlier polls (sock_diag).";
    AMBIGUOUS: gauge "sockdiag_ephemeral_ports_bind_first_ambiguous" []
        "Ports in the range that bind() may have made or hold as well, it cannot be told: the truth for plain connect() lies between none and all of them lost, as of the last poll (sock_diag).";
    HELD_AMBIGUOUS: gauge "sockdiag_ephemeral_ports_held_ambiguous" []
        "Ports in the range that bound, unconnected TCP sockets may hold beside the held ones, as of the last poll; 0 from Linux 6.8 on, which dumps them (net/sockstat, alloc).";
    AVAILABLE: gauge "sockdiag_ephemeral_ports_available" [scope]
        "Capacity as of the last poll: destination is what plain connect() can have toward one destination from one source, source what bind(0), bind-before-connect and UDP can have on one address (ip_local_port_range, sock_diag).";
    SUSTAINABLE: gauge "sockdiag_ephemeral_sustainable_connects_per_second" []
        "Short connections to one destination that can go on for ever without reuse of TIME_WAIT: capacity over 60 s, as of the last poll (ip_local_port_range, sock_diag).";
}

/// `AVAILABLE` has two scopes.
pub const SERIES: usize = METRICS.len() + 1;

impl Capacity {
    pub fn of(settings: &Settings, dump: &TcpDump<'_>, origin: &Origin) -> Self {
        let held = dump.count.ports.held.len();
        let available_source = dump.policy.effective.len();
        let available = available_source.saturating_sub(held + origin.bind_first);
        let held_ambiguous = dump.unseen.min(available);
        Self {
            unused_outside: unused_outside(settings, &dump.count.ports.listening),
            reserved: settings.range.size() - available_source,
            settings: settings.clone(),
            held,
            bind_first: origin.bind_first,
            bind_first_ambiguous: available.min(origin.ambiguous + held_ambiguous),
            held_ambiguous,
            available_destination: available,
            available_source,
        }
    }

    /// The pool of plain connect() toward one destination, with so many ports gone.
    pub fn toward(&self, blocked: u32) -> Pool {
        Pool::new(blocked, self.available_destination)
    }

    /// The same if all that is ambiguous is lost.
    pub fn toward_at_worst(&self, certainly_blocked: u32) -> Pool {
        self.toward(certainly_blocked + self.bind_first_ambiguous)
    }

    /// The pool of bind(0) and UDP on one address, with so many ports held.
    pub fn on_address(&self, used: u32) -> Pool {
        Pool::new(used, self.available_source)
    }

    /// Connections per second to one destination that can go on for ever.
    pub fn sustainable(&self) -> f64 {
        f64::from(self.available_destination) / (f64::from(TIME_WAIT_MS) / 1000.0)
    }

    /// The range, and what is taken from it.
    pub fn export_range(&self, sink: &mut dyn Sink) {
        sink.sample(&RANGE_FIRST, &[], self.settings.range.first.into());
        sink.sample(&RANGE_LAST, &[], self.settings.range.last.into());
        sink.sample(&RESERVED, &[], self.reserved.into());
        sink.sample(&HELD, &[], self.held.into());
        sink.sample(&BIND_FIRST, &[], self.bind_first.into());
        sink.sample(&AMBIGUOUS, &[], self.bind_first_ambiguous.into());
        sink.sample(&HELD_AMBIGUOUS, &[], self.held_ambiguous.into());
    }

    /// What is left.
    pub fn export_available(&self, sink: &mut dyn Sink) {
        sink.sample(&SUSTAINABLE, &[], self.sustainable());
        let (destination, source) = (self.available_destination, self.available_source);
        sink.sample(&AVAILABLE, &["destination"], destination.into());
        sink.sample(&AVAILABLE, &["source"], source.into());
    }
}

/// Ports that a wider range could have; those below 1024 are for services.
fn unused_outside(settings: &Settings, listening: &PortSet) -> u32 {
    let unprivileged = PortRange {
        first: 1024,
        last: u16::MAX,
    };
    PortSet::from(unprivileged)
        .minus(&settings.reserved_set())
        .minus(&settings.range.into())
        .minus(listening)
        .len()
}
