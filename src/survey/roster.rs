//! The namespaces that are observed, the exporter's own first.

use std::collections::HashMap;
use std::io::ErrorKind;

use super::finder::{Finder, Found, Skipped};
use super::namespace::Namespace;
use super::surveyor::Surveyor;
use crate::kernel::netlink::transport::Transport;
use crate::kernel::netns::{Door, NamespaceId};

/// Who is there, and who was left out.
pub struct Roster {
    /// Never empty.
    pub all: Vec<Namespace>,
    finder: Option<Finder>,
    /// Whether this process may enter any namespace but its own.
    may_enter: bool,
    pub skipped: Skipped,
}

impl Roster {
    /// The exporter's own alone.
    pub fn of(own: Namespace) -> Self {
        Self {
            all: vec![own],
            finder: None,
            may_enter: true,
            skipped: Skipped::new(),
        }
    }

    /// And those that are found; where they cannot be entered, one line says why.
    pub fn with(self, finder: Finder) -> Self {
        // To enter the namespace that it is in takes the same permission.
        let own = &self.all[0];
        let entered = own.door.enter();
        if let Err(error) = &entered {
            tracing::warn!(
                %error,
                "cannot enter other network namespaces (CAP_SYS_ADMIN is needed): only the exporter's own is observed; set netns.enabled = false to be told no more"
            );
        }
        Self {
            finder: Some(finder),
            may_enter: entered.is_ok(),
            ..self
        }
    }

    /// Looks who is there, and reads the counters of each.
    pub fn tick<T: Transport>(&mut self, surveyor: &mut Surveyor<T>) {
        if let Some(finder) = &mut self.finder {
            let mut skipped = Skipped::from([("not_permitted", 0), ("failed", 0)]);
            let found = finder.find(&mut skipped);
            match self.may_enter {
                true => self.take(found),
                false => *skipped.entry("not_permitted").or_default() += found.len(),
            }
            self.skipped = skipped;
        }
        let mut is_first = true;
        self.all.retain_mut(|namespace| {
            let is_own = std::mem::take(&mut is_first);
            let Err(error) = surveyor.tick(namespace) else {
                return true;
            };
            // What has gone is found again if it is somewhere else, what cannot be
            // entered is tried again at the next tick. The exporter's own stays: its
            // failure is told when its files are read.
            match error.kind() {
                _ if is_own => return true,
                ErrorKind::NotFound => {
                    self.finder.iter_mut().for_each(Finder::scan_soon);
                }
                ErrorKind::PermissionDenied => {
                    *self.skipped.entry("not_permitted").or_default() += 1;
                }
                _ => *self.skipped.entry("failed").or_default() += 1,
            }
            false
        });
    }

    /// Those that are known stay what they are; who is not found any more is forgotten.
    fn take(&mut self, found: Vec<Found>) {
        let mut known: HashMap<NamespaceId, Namespace> = self
            .all
            .drain(1..)
            .map(|namespace| (namespace.id, namespace))
            .collect();
        self.all.extend(found.into_iter().map(|found| {
            let door = Door::At(found.path);
            match known.remove(&found.id) {
                Some(known) => Namespace {
                    name: found.name,
                    door,
                    identity: found.identity,
                    ..known
                },
                None => Namespace::new(found.name, found.id, door, found.identity),
            }
        }));
    }
}
