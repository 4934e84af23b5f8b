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
    /// Whose turn it is among many.
    is_even: bool,
}

/// Beyond so many namespaces the quiet ones are looked at by every second tick: one costs
/// some 30 microseconds.
const MANY: usize = 100;

impl Roster {
    /// The exporter's own alone.
    pub fn of(own: Namespace) -> Self {
        Self {
            all: vec![own],
            finder: None,
            may_enter: true,
            skipped: Skipped::new(),
            is_even: false,
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
            if let Some(found) = finder.find(&mut skipped) {
                match self.may_enter {
                    true => self.take(found),
                    false => *skipped.entry("not_permitted").or_default() += found.len(),
                }
                self.skipped = skipped;
            }
        }
        let has_many = self.all.len() > MANY;
        self.is_even = !self.is_even;
        let mut at = 0_usize;
        self.all.retain_mut(|namespace| {
            let has_turn = at.is_multiple_of(2) == self.is_even;
            at += 1;
            if has_many && !has_turn && namespace.is_known_quiet() {
                return true;
            }
            let Err(error) = surveyor.tick(namespace) else {
                return true;
            };
            // What has gone is looked for again, what cannot be entered is tried again when
            // others come or go. The exporter's own stays: its failure is told when its
            // files are read.
            let reason = match error.kind() {
                _ if namespace.is_own => return true,
                ErrorKind::NotFound => {
                    self.finder.iter_mut().for_each(Finder::look_again);
                    return false;
                }
                ErrorKind::PermissionDenied => "not_permitted",
                _ => "failed",
            };
            *self.skipped.entry(reason).or_default() += 1;
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
