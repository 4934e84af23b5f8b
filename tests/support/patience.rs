//! How long tests wait for what must come, on machines fast and slow.

use std::env;
use std::time::Duration;

use sockdiag_exporter::config::Config;

/// How many times slower than the machine that builds it a test runs. Set by
/// `tests/kernels/run`, whose guests emulate every instruction.
const FACTOR: &str = "SOCKDIAG_TEST_PATIENCE";

/// So many seconds here, and more on a slow machine.
pub fn seconds(here: u32) -> Duration {
    Duration::from_secs((here * factor()).into())
}

/// The exporter's defaults, but for the time that a dump may take.
pub fn config() -> Config {
    let mut config = Config::default();
    config.poll.timeout *= factor();
    // What the kernel has is compared, however little of it.
    config.limits.floor_sockets = 0;
    config.limits.floor_share = 0.0;
    config
}

/// 1 where nothing else is said.
///
/// # Panics
/// When the variable is no whole number.
pub fn factor() -> u32 {
    let text = env::var(FACTOR).unwrap_or_else(|_| "1".to_owned());
    text.parse()
        .unwrap_or_else(|_| panic!("{FACTOR}={text} is no whole number"))
}
