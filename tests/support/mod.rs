//! What the tests against the real kernel share: namespaces of their own, real
//! sockets in every state, `ss` as the second witness, and a small HTTP client.
//!
//! A test binary says `mod support;` and keeps each body inside
//! [`netns::in_netns`], so that nothing it opens touches the host.

#![allow(
    dead_code,
    reason = "every test binary includes this module and uses its own part of it"
)]

pub mod cgroups;
pub mod crowd;
pub mod dice;
pub mod exposition;
pub mod http;
pub mod invariants;
pub mod netns;
pub mod patience;
pub mod plan;
pub mod process;
pub mod sockets;
pub mod ss;
pub mod tools;
