//! What was logged of a namespace's collectors.

use std::collections::HashMap;

use crate::subjects::Facts;
use crate::subjects::section::Outcome;

/// What was last logged of each collector: a line for each change, none per poll.
#[derive(Default)]
pub struct Told(HashMap<&'static str, State>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Up,
    Absent,
    Failed(&'static str),
}

impl Told {
    /// Says what has changed for the worse or the better in namespace `netns`.
    pub fn report(&mut self, netns: &str, is_own: bool, facts: &Facts) {
        let down = facts.failures();
        for collected in facts.outcomes() {
            let collector = collected.collector;
            let now = match collected.outcome {
                Outcome::Up => State::Up,
                // What this kernel does not offer is told once, not of each namespace.
                Outcome::Absent if is_own => State::Absent,
                Outcome::Absent => State::Up,
                Outcome::Failed(failure) => State::Failed(failure.reason),
            };
            let before = self.0.insert(collector, now);
            if before == Some(now) {
                continue;
            }
            match now {
                State::Failed(_) => {
                    // A shared source's failure is told once, of the first collector.
                    if let Some(down) = down.iter().find(|down| down.collectors[0] == collector) {
                        let (failed, error) = (down.collectors.join(","), &down.failure.message);
                        tracing::warn!(netns, collector = failed, error, "collector failed");
                    }
                }
                State::Absent => tracing::info!(
                    netns,
                    collector,
                    "not offered by this kernel, or switched off"
                ),
                State::Up if before.is_some() => {
                    tracing::info!(netns, collector, "collector works")
                }
                State::Up => {}
            }
        }
    }
}
