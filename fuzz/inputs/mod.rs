//! What can come from outside, as functions of bytes: `cargo fuzz` makes the bytes up,
//! `tests/fuzz_seeds.rs` replays those in `seeds`. Each panics when something does not hold.

pub mod answers;
pub mod config;
pub mod ctnetlink;
pub mod dump;
pub mod frames;
pub mod http;
pub mod procfs;
pub mod record;
pub mod web_config;

#[path = "../../tests/support/exposition.rs"]
#[allow(
    dead_code,
    clippy::duplicate_mod,
    reason = "the tests have it, too, and use more of it"
)]
mod exposition;
#[path = "../../tests/support/invariants.rs"]
#[allow(
    dead_code,
    clippy::duplicate_mod,
    reason = "the tests have it, too, and use more of it"
)]
mod invariants;

/// Panics when something does not hold.
pub type Input = fn(&[u8]);

/// Each is a folder of `seeds` and a file of `fuzz_targets`.
pub const INPUTS: [(&str, Input); 8] = [
    ("config", config::run),
    ("ctnetlink", ctnetlink::run),
    ("dump", dump::run),
    ("frames", frames::run),
    ("http", http::run),
    ("procfs", procfs::run),
    ("record", record::run),
    ("web_config", web_config::run),
];

/// Of this process, in memory where that can be had.
fn scratch_file(extension: &str) -> std::path::PathBuf {
    let shared = std::path::PathBuf::from("/dev/shm");
    let folder = Some(shared).filter(|folder| folder.is_dir());
    let folder = folder.unwrap_or_else(std::env::temp_dir);
    folder.join(format!("sockdiag-fuzz-{}.{extension}", std::process::id()))
}
