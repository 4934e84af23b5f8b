//! Who holds the ports toward a destination. The kernel tells the cgroup of live
//! sockets. TIME_WAIT has none: it is counted to the only cgroup that has had live
//! sockets toward the destination for as long as TIME_WAIT lasts, if there is one.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::count::policy::TIME_WAIT_MS;
use crate::kernel::cgroups::{CgroupPaths, Known};
use crate::model::cgroup::Cgroup;
use crate::model::figures::grouped;
use crate::subjects::metric::metrics;

const TIME_WAIT: Duration = Duration::from_millis(TIME_WAIT_MS as u64);
/// Cgroups remembered of a destination: from the second on they only stand against
/// counting TIME_WAIT to one of them.
const REMEMBERED: usize = 4;

metrics! {
    OWNER: gauge "sockdiag_ephemeral_destination_owner_sockets" [source, destination, port, cgroup]
        "Outbound sockets with a local port in the range of the cgroup that holds most of one destination's ports, as of the last poll. TIME_WAIT, of which the kernel tells no owner, is among them where no other cgroup has had sockets toward it for 60 s (sock_diag).";
}

/// The cgroup that holds most of the ports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Holder {
    #[serde(flatten)]
    pub cgroup: Cgroup,
    pub sockets: u32,
    /// Of those, how many are in TIME_WAIT and counted to it because nobody else had
    /// sockets toward the destination.
    pub ownerless: u32,
}

impl Holder {
    /// `checkout.service (7,900)`.
    pub fn short(&self) -> String {
        format!("{} ({})", self.cgroup.name(), grouped(self.sockets))
    }
}

/// Cgroups with live sockets toward the listed destinations within the last minute.
pub struct Holders<K>(HashMap<K, Vec<Seen>>);

struct Seen {
    id: u64,
    last: Instant,
    /// Remembered, for its directory may be gone before its TIME_WAIT is.
    cgroup: Option<Cgroup>,
}

impl<K> Default for Holders<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash> Holders<K> {
    /// Forgets what is older than any TIME_WAIT that there may be.
    pub fn forget(&mut self, now: Instant) {
        self.0.retain(|_, seen| {
            seen.retain(|seen| now.saturating_duration_since(seen.last) <= TIME_WAIT);
            !seen.is_empty()
        });
    }

    /// Who holds most of a destination's ports, `used` in all. `live` are its cgroups and
    /// their ports; `is_whole` when these are all.
    pub fn of(
        &mut self,
        key: K,
        used: u32,
        live: &[(u64, u32)],
        is_whole: bool,
        paths: &CgroupPaths,
        now: Instant,
    ) -> Option<Holder> {
        let seen = self.0.entry(key).or_default();
        for &(id, _) in live {
            if let Some(seen) = seen.iter_mut().find(|seen| seen.id == id) {
                seen.last = now;
            } else if seen.len() < REMEMBERED {
                seen.push(Seen {
                    id,
                    last: now,
                    cgroup: None,
                });
            }
        }
        for seen in seen.iter_mut() {
            if let (None, Known::Path(path)) = (&seen.cgroup, paths.get(seen.id)) {
                seen.cgroup = Some(Cgroup::at(path));
            }
        }
        if let [only] = seen.as_slice()
            && is_whole
        {
            let sockets: u32 = live.iter().map(|&(_, ports)| ports).sum();
            return Some(Holder {
                cgroup: only.cgroup.clone()?,
                sockets: used,
                ownerless: used - sockets,
            });
        }
        // Of equals the older one, so that it does not change from poll to poll.
        let most = live.iter().max_by_key(|&&(id, ports)| (ports, Reverse(id)));
        let &(id, sockets) = most?;
        Some(Holder {
            cgroup: match paths.get(id) {
                Known::Path(path) => Cgroup::at(path),
                _ => return None,
            },
            sockets,
            ownerless: 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHECKOUT: u64 = 1001;
    const CRON: u64 = 1002;

    /// What a poll says of one destination so many seconds after the first.
    struct Polls {
        holders: Holders<()>,
        start: Instant,
        paths: CgroupPaths,
    }

    impl Polls {
        fn new() -> Self {
            let paths = [
                (CHECKOUT, "/system.slice/checkout.service"),
                (CRON, "/system.slice/cron.service"),
            ];
            Self {
                holders: Holders::default(),
                start: Instant::now(),
                paths: CgroupPaths::known(paths),
            }
        }

        /// Unit, sockets, those of TIME_WAIT among them.
        fn at(
            &mut self,
            seconds: u64,
            used: u32,
            live: &[(u64, u32)],
        ) -> Option<(String, u32, u32)> {
            let now = self.start + Duration::from_secs(seconds);
            self.holders.forget(now);
            let holder = self.holders.of((), used, live, true, &self.paths, now)?;
            Some((holder.cgroup.name(), holder.sockets, holder.ownerless))
        }
    }

    fn held(unit: &str, sockets: u32, ownerless: u32) -> Option<(String, u32, u32)> {
        Some((unit.to_owned(), sockets, ownerless))
    }

    #[test]
    fn live_sockets_name_their_holder_exactly() {
        let mut polls = Polls::new();
        let live = [(CHECKOUT, 70), (CRON, 30)];
        assert_eq!(polls.at(0, 100, &live), held("checkout.service", 70, 0));
        assert_eq!(polls.at(5, 0, &[]), None, "nobody is left");
    }

    #[test]
    fn time_wait_is_counted_to_the_only_one_for_as_long_as_it_lasts() {
        let mut polls = Polls::new();
        assert_eq!(polls.at(0, 100, &[]), None, "nobody was seen yet");
        let live = [(CHECKOUT, 10)];
        assert_eq!(polls.at(5, 100, &live), held("checkout.service", 100, 90));
        assert_eq!(polls.at(60, 90, &[]), held("checkout.service", 90, 90));
        // Its directory goes, and its TIME_WAIT stays.
        polls.paths = CgroupPaths::known([]).without(CHECKOUT);
        assert_eq!(polls.at(65, 20, &[]), held("checkout.service", 20, 20));
        assert_eq!(polls.at(66, 20, &[]), None);
    }

    #[test]
    fn time_wait_is_nobody_s_where_two_may_have_left_it() {
        let mut polls = Polls::new();
        polls.at(0, 5, &[(CRON, 5)]);
        let live = [(CHECKOUT, 10)];
        assert_eq!(polls.at(30, 100, &live), held("checkout.service", 10, 0));
        assert_eq!(polls.at(61, 100, &live), held("checkout.service", 100, 90));
    }

    #[test]
    fn who_cannot_be_named_is_not() {
        let mut polls = Polls::new();
        polls.paths = CgroupPaths::hidden();
        assert_eq!(polls.at(0, 5, &[(CRON, 5)]), None);
    }
}
