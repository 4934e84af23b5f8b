//! Ephemeral ports, by the two pools that the kernel has: plain connect() draws
//! from one for each destination, bind(0), bind-before-connect and UDP from one for
//! each local address.

pub mod bound;
pub mod capacity;
pub mod destination;
pub mod holder;
pub mod origin;
pub mod settings;
pub mod source;
pub mod utilization;

use serde::Serialize;

use super::ranking::Ranking;
use super::{Families, Inputs, Missing, Sink, Source, Subject, SubjectLimits};
use crate::model::pool::Pool;
use capacity::Capacity;
use destination::{Destination, DestinationKey, Destinations};
use holder::Holders;
use origin::OriginMemory;
use source::{SourceRankings, Sources};
use utilization::{Peaks, Utilization};

/// Capacity and use of the ephemeral ports of a namespace.
#[derive(Clone, Debug, Serialize)]
pub struct Ephemeral {
    #[serde(flatten)]
    pub capacity: Capacity,
    #[serde(flatten)]
    pub destinations: Destinations,
    #[serde(flatten)]
    pub sources: Sources,
    pub utilization: Utilization,
    pub peak: Utilization,
    /// If all that is ambiguous is lost.
    pub upper: Utilization,
}

#[derive(Default)]
pub struct Memory {
    pub origin: OriginMemory,
    peaks: Peaks,
    destinations: Ranking<DestinationKey>,
    holders: Holders<DestinationKey>,
    sources: SourceRankings,
}

impl Subject for Ephemeral {
    const NEEDS: &'static [Source] =
        &[Source::PortSettings, Source::TcpSockets, Source::UdpSockets];
    type Memory = Memory;

    const METRICS: &'static [Families] = &[
        capacity::METRICS,
        destination::METRICS,
        holder::METRICS,
        source::METRICS,
        utilization::METRICS,
        bound::METRICS,
    ];

    /// Without UDP sockets the figures of TCP stand.
    fn collect(from: &Inputs<'_, Self>, memory: &mut Memory) -> Result<Self, Missing> {
        let (settings, tcp, limits) = (from.settings()?, from.tcp()?, from.limits());
        let udp = from.udp().ok();
        let origin = memory.origin.classify(tcp.count, tcp.policy, from.ask());
        let capacity = Capacity::of(settings, &tcp, &origin);
        let destinations = Destinations::of(
            &tcp,
            &origin,
            capacity.available_destination,
            (limits.destinations, limits.floor),
            &mut memory.destinations,
            &mut memory.holders,
        );
        let sources = Sources::of(
            &tcp.count.addresses,
            udp.map(|udp| &udp.count.addresses),
            capacity.available_source,
            (limits.sources, limits.floor),
            &mut memory.sources,
        );
        let of_udp = capacity.on_address(sources.worst_udp);
        let utilization = Utilization {
            tcp_destination: capacity.toward(destinations.worst_blocked).share(),
            tcp_source: capacity.on_address(sources.worst_tcp).share(),
            udp_source: sources.udp.as_ref().map_or(0.0, |_| of_udp.share()),
        };
        let certainly = destinations.worst_certainly_blocked;
        let held_at_worst = sources.worst_tcp + capacity.held_ambiguous;
        let upper = Utilization {
            tcp_destination: capacity.toward_at_worst(certainly).share(),
            tcp_source: capacity.on_address(held_at_worst).share(),
            ..utilization
        };
        Ok(Self {
            upper,
            peak: memory.peaks.record(utilization, limits.peak_window),
            capacity,
            destinations,
            sources,
            utilization,
        })
    }

    fn export(&self, sink: &mut dyn Sink) {
        self.capacity.export_range(sink);
        self.destinations.export_folded(sink);
        self.capacity.export_available(sink);
        self.destinations.export(sink);
        self.sources.export(sink);
        let has_udp = self.sources.udp.is_some();
        let all = [&self.utilization, &self.peak, &self.upper];
        utilization::export(all, has_udp, sink);
    }

    fn series(limits: &SubjectLimits) -> usize {
        capacity::SERIES
            + destination::series(limits.destinations)
            + source::series(limits.sources)
            + utilization::SERIES
            + bound::SERIES
    }
}

impl Ephemeral {
    /// Toward the destination that is worst off if all that is ambiguous is lost, or if
    /// bind() gives back what it has.
    pub fn found(&self) -> Pool {
        let to = &self.destinations;
        let lost = to.worst_certainly_blocked + self.capacity.bind_first_ambiguous;
        self.capacity.toward(to.worst_taken.max(lost))
    }

    /// How many more plain connect() calls toward a destination succeed.
    pub fn free_toward(&self, destination: &Destination) -> u32 {
        self.capacity.toward(destination.blocked()).free() as u32
    }

    /// The same if all that is ambiguous is lost.
    pub fn free_at_least_toward(&self, destination: &Destination) -> u32 {
        let worst = self.capacity.toward_at_worst(destination.certainly_blocked);
        (worst.free() as u32).min(self.free_toward(destination))
    }
}

#[cfg(test)]
mod tests;
