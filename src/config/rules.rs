//! What must hold between two keys that are each fine by themselves.

use super::Config;
use super::gathered::Values;

struct Rule {
    left: &'static str,
    right: &'static str,
    holds: fn(&Config) -> bool,
    /// What to say of either side, naming the other after it.
    left_must: &'static str,
    right_must: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        left: "web.header_timeout",
        right: "web.request_timeout",
        holds: |config| config.web.header_timeout <= config.web.request_timeout,
        left_must: "must be at most",
        right_must: "must be at least",
    },
    Rule {
        left: "poll.age_max",
        right: "poll.interval",
        holds: |config| config.poll.age_max > config.poll.interval,
        left_must: "must be longer than",
        right_must: "must be shorter than",
    },
    Rule {
        left: "poll.peak_window",
        right: "poll.interval",
        holds: |config| config.poll.peak_window >= config.poll.interval,
        left_must: "must be at least",
        right_must: "must be at most",
    },
    Rule {
        left: "local_ports.always",
        right: "limits.local_ports",
        holds: |config| config.local_ports.always.len() <= config.limits.local_ports,
        left_must: "must not list more ports than",
        right_must: "must be at least the number of ports in",
    },
];

/// One line for each rule that is broken. Keys in `refused` have a fault of
/// their own, and a second line about them would only mislead.
pub(super) fn broken(config: &Config, values: &Values, refused: &[&str]) -> Vec<String> {
    RULES
        .iter()
        .filter(|rule| !refused.contains(&rule.left) && !refused.contains(&rule.right))
        .filter(|rule| !(rule.holds)(config))
        .map(|rule| rule.describe(values))
        .collect()
}

impl Rule {
    /// The side that somebody set is at fault; the left one if both were.
    fn describe(&self, values: &Values) -> String {
        let (fault, must, other) = match values.origin(self.left) {
            Some(_) => (self.left, self.left_must, self.right),
            None => (self.right, self.right_must, self.left),
        };
        let set = |key| values.origin(key).unwrap_or("built-in default");
        format!(
            "{}: {fault} = {}: {must} {other} = {} ({})",
            set(fault),
            values.shown(fault),
            values.shown(other),
            set(other),
        )
    }
}
