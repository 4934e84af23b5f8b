//! Programs the tests lean on, saying aloud what was skipped, and waiting.

use std::env;
use std::io::{self, Write};
use std::net::{IpAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Where Debian keeps `ip` and `nft`; an ordinary user's PATH leaves it out.
const ADMIN_DIRECTORIES: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// The path of a program, or `None` when this machine lacks it.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(ADMIN_DIRECTORIES.iter().map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
}

/// Like [`find`], but its absence is said aloud as [`skip`] does.
pub fn find_or_skip(test: &str, program: &str) -> Option<PathBuf> {
    let found = find(program);
    if found.is_none() {
        skip(test, &format!("{program} is not installed"));
    }
    found
}

/// Says on stderr that a test did not run.
///
/// # Panics
/// Where CI=true: there, a test that cannot run is a failure.
pub fn skip(test: &str, reason: &str) {
    assert!(
        env::var("CI").as_deref() != Ok("true"),
        "{test} must run under CI, but {reason}"
    );
    // eprintln! would end up in the capture buffer that a passing test never shows.
    let _ = writeln!(io::stderr(), "SKIPPED: {test}: {reason}");
}

/// The exporter: a copy beside this test binary, where one was put for a user who
/// may not read the build directory, else the one that was built with the test.
pub fn exporter() -> PathBuf {
    let test = env::current_exe().expect("procfs is mounted");
    let copy = test.with_file_name("sockdiag-exporter");
    if copy.is_file() {
        copy
    } else {
        env!("CARGO_BIN_EXE_sockdiag-exporter").into()
    }
}

/// Runs a program to its end and returns what it printed.
///
/// # Panics
/// When it is missing or fails, with its stderr.
pub fn run(program: &str, arguments: &[&str], stdin: &str) -> String {
    let path = find(program).unwrap_or_else(|| panic!("{program} is not installed"));
    let mut child = Command::new(&path)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let mut pipe = child.stdin.take().expect("stdin is a pipe");
    // A program that fails early closes its stdin; its stderr says more than EPIPE.
    let _ = pipe.write_all(stdin.as_bytes());
    drop(pipe);
    let output = child.wait_with_output().expect("the child can be awaited");
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("the program prints UTF-8")
}

/// A TCP port nobody listens on right now, in the caller's namespace.
pub fn free_port(address: IpAddr) -> u16 {
    let listener = TcpListener::bind((address, 0)).expect("a port is free");
    listener.local_addr().expect("it is bound").port()
}

/// Whether the running kernel is older than this release.
pub fn kernel_is_before(major: u32, minor: u32) -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("a kernel");
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|part| part.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < (major, minor)
}

/// Asks again every 10 ms until the answer is yes; false when `patience` ends first.
#[must_use]
pub fn wait_until(patience: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(10));
    }
}
