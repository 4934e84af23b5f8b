//! Sockets by state on those local ports that are told apart: ports with a
//! listener, and ports that the configuration names.

use crate::model::ports::PortSet;
use crate::model::state::{State, StateCounts};

/// Most sockets are on none of these ports: the set spares them a look into the
/// slots, which do not stay in the nearest cache.
pub struct LocalPorts {
    watched: PortSet,
    /// Where each port's counts are.
    slots: Box<[u16; 65_536]>,
    counts: Vec<StateCounts>,
}

impl Default for LocalPorts {
    fn default() -> Self {
        Self {
            watched: PortSet::default(),
            slots: Box::new([0; 65_536]),
            counts: Vec::new(),
        }
    }
}

impl LocalPorts {
    /// Forgets all counts, and watches these ports.
    pub fn watch(&mut self, ports: impl Iterator<Item = u16>) {
        self.watched.clear();
        self.counts.clear();
        for port in ports {
            if self.watched.insert(port) {
                // There are no more slots than ports.
                self.slots[usize::from(port)] = self.counts.len() as u16;
                self.counts.push(StateCounts::default());
            }
        }
    }

    #[inline]
    pub fn add(&mut self, port: u16, state: State) {
        if self.watched.contains(port) {
            self.counts[usize::from(self.slots[usize::from(port)])].add(state);
        }
    }

    /// Sockets on one of the watched ports.
    pub fn get(&self, port: u16) -> Option<&StateCounts> {
        self.watched
            .contains(port)
            .then(|| &self.counts[usize::from(self.slots[usize::from(port)])])
    }
}
