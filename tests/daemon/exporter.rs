//! The binary as a service manager starts it.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::process::Process;
use crate::support::{http, patience, tools};

/// What a busy machine may take; what is promised is asserted apart.
pub fn patience() -> Duration {
    patience::seconds(10)
}

/// What the exporter promises of its start and of its end.
pub fn promptly() -> Duration {
    patience::seconds(1)
}

/// The default, as a client on this machine says it.
pub const DEFAULT: &str = "127.0.0.1:10061";

pub struct Exporter {
    pub process: Process,
    _directory: TempDir,
}

impl Exporter {
    pub fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(tools::exporter());
        command.args(arguments);
        Self::from(&mut command)
    }

    /// With this configuration file, as text.
    pub fn configured(toml: &str) -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let file = directory.path().join("exporter.toml");
        std::fs::write(&file, toml).expect("it can be written");
        let mut command = Command::new(tools::exporter());
        command.arg("--config").arg(&file);
        Self::within(&mut command, directory)
    }

    /// Whatever starts it.
    pub fn from(command: &mut Command) -> Self {
        Self::within(command, TempDir::new().expect("a temporary directory"))
    }

    fn within(command: &mut Command, directory: TempDir) -> Self {
        let process = Process::start(command, &directory.path().join("log"));
        Self {
            process,
            _directory: directory,
        }
    }

    /// # Panics
    /// When it is not ready in time, with its log.
    pub fn wait_ready(&self, at: &str) {
        let ready = tools::wait_until(patience(), || status(at, "/-/ready") == Some(200));
        assert!(ready, "{}", self.process.log());
    }

    /// How it ended, and how long it took.
    ///
    /// # Panics
    /// When it does not end.
    pub fn stop(&mut self, signal: Signal) -> (ExitStatus, Duration) {
        let asked = Instant::now();
        self.process.signal(signal);
        let status = self.process.ended_within(patience());
        (status.expect("it ends"), asked.elapsed())
    }
}

pub fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// The status of a GET; none when there is no answer.
pub fn status(at: &str, path: &str) -> Option<u16> {
    Some(http::get(address(at), path).ok()?.status)
}

/// Runs the binary to its end: exit code, standard output, standard error.
pub fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    output(Command::new(tools::exporter()).args(arguments))
}

/// A run that is refused: exit code and what it says on standard error.
///
/// # Panics
/// When it says something on standard output, or runs on.
pub fn refusal(command: &mut Command) -> (i32, String) {
    let mut exporter = Exporter::from(command);
    let status = exporter.process.ended_within(patience()).expect("it ends");
    (status.code().expect("no signal"), exporter.process.log())
}

pub fn output(command: &mut Command) -> (Option<i32>, String, String) {
    let output = command.output().expect("it starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// A command line with a configuration file.
pub fn with_config(file: &Path) -> Command {
    let mut command = Command::new(tools::exporter());
    command.args([OsStr::new("--config"), file.as_os_str()]);
    command
}
