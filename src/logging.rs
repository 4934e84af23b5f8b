//! The log, on standard error, where a service manager looks for it. It never waits for its
//! reader: a thread of its own writes, and lines that it cannot take any more are lost and
//! counted.

use std::io::IsTerminal;
use std::sync::OnceLock;

use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};

use crate::config::{Config, LogFormat};

/// Lines that wait to be written: more than a daemon writes in a day, and less than a
/// megabyte.
const LINES: usize = 4096;

static LOST: OnceLock<ErrorCounter> = OnceLock::new();

/// Lines that were lost since the start.
pub fn lost_lines() -> u64 {
    LOST.get().map_or(0, |lost| lost.dropped_lines() as u64)
}

/// Starts it. What waits is written when the guard is dropped, for a second at most.
pub fn start(config: &Config) -> WorkerGuard {
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(LINES)
        .lossy(true)
        .finish(std::io::stderr());
    let _ = LOST.set(writer.error_counter());
    let level = config.log.level.as_str().parse();
    let log = tracing_subscriber::fmt()
        .with_max_level(level.unwrap_or(tracing::Level::INFO))
        .with_target(false)
        // A line that cannot be written, because the disk is full or the reader is gone, is
        // lost: the layer would complain with eprintln!, which panics then.
        .log_internal_errors(false)
        .with_writer(writer);
    match config.log.format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    // The usual hook waits for whoever reads standard error, too.
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
    guard
}
