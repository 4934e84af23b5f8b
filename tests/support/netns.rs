//! Network namespaces for tests, with and without root.
//!
//! A threaded process may not leave its user namespace, and libtest is threaded.
//! So each test runs its own binary again, for that test alone, and the child
//! changes namespace between fork and exec: root takes a network namespace,
//! anybody else a user namespace (in which it is root) with one inside. The
//! child has file descriptors, `/proc/self/net` and a death of its own.

#![allow(unsafe_code, reason = "unshare, ioctl and pre_exec have no safe form")]

use std::env;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::panic;
use std::path::PathBuf;
use std::process::{self, Command, Stdio};
use std::thread;

use rustix::process::{Resource, Rlimit};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use socket2::{Domain, Socket, Type};

use super::{patience, tools};

/// Names the one test that the child was started for.
const INSIDE: &str = "SOCKDIAG_TEST_INSIDE";

/// A hung case is killed by SIGALRM; the slowest one needs a tenth of this.
const LIFETIME_SECONDS: u32 = 170;

/// Runs `body` in a process of its own, in a fresh network namespace with the
/// loopback up, as root there. `test` is the full path of the calling `#[test]`
/// function, and the call must be all that the function does: whatever stands
/// before it runs twice, once outside.
///
/// Skips aloud ([`tools::skip`]) where namespaces are refused or one of the
/// programs in `needs` is missing.
///
/// # Panics
/// When the body panics, when the child dies, or when `test` names no test.
pub fn in_netns(test: &str, needs: &[&str], body: impl FnOnce()) {
    let _ = in_netns_printing(test, needs, body);
}

/// The same, and gives what the child printed: `None` in the child itself and
/// where the test was skipped.
///
/// # Panics
/// As [`in_netns`].
pub fn in_netns_printing(test: &str, needs: &[&str], body: impl FnOnce()) -> Option<String> {
    if is_inside(test) {
        raise_file_limit();
        body();
        return None;
    }
    if needs
        .iter()
        .any(|program| tools::find_or_skip(test, program).is_none())
    {
        return None;
    }
    let identity = Identity::of_caller();
    let lifetime = LIFETIME_SECONDS * patience::factor();
    let mut command = Command::new("/proc/self/exe");
    command
        .args([test, "--exact", "--nocapture", "--include-ignored"])
        .env(INSIDE, test)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    // SAFETY: between fork and exec the closure makes system calls on memory
    // prepared beforehand, takes no lock and allocates nothing.
    unsafe { command.pre_exec(move || become_case(&identity, lifetime)) };
    let child = match command.spawn() {
        Ok(child) => child,
        Err(error) if is_refusal(&error) => {
            tools::skip(test, &format!("namespaces are refused: {error}"));
            return None;
        }
        Err(error) => panic!("{test} does not start: {error}"),
    };
    let output = child.wait_with_output().expect("the child can be awaited");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}\n{printed}", output.status);
    assert!(printed.contains(" 1 passed;"), "no test named {test}");
    Some(printed)
}

/// Whether this is the child that was started for `test`.
pub fn is_inside(test: &str) -> bool {
    env::var(INSIDE).as_deref() == Ok(test)
}

/// The lines that make the caller root of its own user namespace (user_namespaces(7)).
struct Identity {
    uid_map: String,
    gid_map: String,
}

impl Identity {
    fn of_caller() -> Self {
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        Self {
            uid_map: format!("0 {} 1", uid.as_raw()),
            gid_map: format!("0 {} 1", gid.as_raw()),
        }
    }
}

/// A case that takes longer than the others, by so much.
pub fn take_longer(by: std::time::Duration) {
    let by = u32::try_from(by.as_secs()).expect("less than a century");
    // SAFETY: the call takes a plain integer.
    unsafe { libc::alarm(LIFETIME_SECONDS * patience::factor() + by) };
}

fn become_case(identity: &Identity, lifetime: u32) -> io::Result<()> {
    if unshare(libc::CLONE_NEWNET).is_err() {
        unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET)?;
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", &identity.uid_map)?;
        fs::write("/proc/self/gid_map", &identity.gid_map)?;
    }
    // Brought up here, so that a namespace without power over itself is a refusal.
    loopback_up()?;
    // SAFETY: both calls take plain integers; alarm and the signal outlive exec.
    unsafe {
        libc::alarm(lifetime);
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
    }
    Ok(())
}

/// What unshare(2) and a closed-off `/proc/self/uid_map` answer: forbidden, not
/// built in, or too many already.
fn is_refusal(error: &io::Error) -> bool {
    use libc::{EACCES, EINVAL, ENOSPC, ENOSYS, EPERM, EROFS, EUSERS};
    let refusals = [EACCES, EINVAL, ENOSPC, ENOSYS, EPERM, EROFS, EUSERS];
    error
        .raw_os_error()
        .is_some_and(|errno| refusals.contains(&errno))
}

fn unshare(flags: libc::c_int) -> io::Result<()> {
    // SAFETY: changes the calling thread's namespaces and touches no memory.
    match unsafe { libc::unshare(flags) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// By ioctl (netdevice(7)), for `ip` may not be installed.
fn loopback_up() -> io::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    // SAFETY: ifreq is plain data, for which all zeroes is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads one ifreq, which outlives the call.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The usual soft limit of 1024 files is less than one full range of ports.
fn raise_file_limit() {
    let maximum = rustix::process::getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: maximum,
        maximum,
    };
    rustix::process::setrlimit(Resource::Nofile, limit).expect("a soft limit may rise to the hard");
}

/// A network namespace that lives as long as this value and the sockets in it.
/// Only inside [`in_netns`].
pub struct Namespace {
    link: OwnedFd,
}

impl Namespace {
    /// The calling thread's.
    pub fn here() -> Self {
        let link = fs::File::open("/proc/thread-self/ns/net").expect("procfs is mounted");
        Self { link: link.into() }
    }

    /// One more, with the loopback up.
    pub fn fresh() -> Self {
        on_a_thread(|| {
            unshare(libc::CLONE_NEWNET).expect("a case is root of its namespaces");
            loopback_up().expect("the loopback comes up");
            Self::here()
        })
    }

    /// Runs `body` on a thread that lives in this namespace, and so do the
    /// programs that it starts. Sockets stay where they were made.
    pub fn enter<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        on_a_thread(|| {
            move_into_link_name_space(self.link.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("a case may enter its own namespaces");
            body()
        })
    }

    /// A file that stands for it, as long as this value lives.
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", process::id(), self.link.as_raw_fd()).into()
    }

    /// Lays a veth pair between two namespaces, called `name` at both ends, with
    /// addresses like `10.9.0.1/24` or `fd09::1/64`. Needs `ip`.
    pub fn connect(&self, peer: &Self, name: &str, ours: &[&str], theirs: &[&str]) {
        let peer_link = peer.path();
        self.enter(|| {
            let peer_link = peer_link.display();
            let add = format!("link add {name} type veth peer name {name} netns {peer_link}");
            ip(&add);
        });
        for side in [self, peer] {
            side.enter(|| ip(&format!("link set {name} up")));
        }
        // Only now: an IPv6 address given to a link that is down answers a second late.
        for (side, addresses) in [(self, ours), (peer, theirs)] {
            side.enter(|| addresses.iter().for_each(|a| add_address(name, a)));
        }
    }
}

/// Gives an interface of the caller's namespace one more address. Needs `ip`.
pub fn add_address(interface: &str, address: &str) {
    // Without nodad an IPv6 address cannot be bound for the first second.
    let nodad = if address.contains(':') { "nodad" } else { "" };
    ip(&format!("address add {address} dev {interface} {nodad}"));
}

/// `ip` with these arguments, in the caller's namespace.
pub fn ip(arguments: &str) -> String {
    let words: Vec<_> = arguments.split_whitespace().collect();
    tools::run("ip", &words, "")
}

/// Loads a ruleset into the caller's namespace. Needs `nft`.
pub fn nft(ruleset: &str) {
    tools::run("nft", &["-f", "-"], ruleset);
}

/// Sets `net.ipv4.tcp_tw_reuse` and the like in the caller's namespace
/// (`/proc/sys/net` is that of the thread which opens it).
pub fn set_sysctl(key: &str, value: impl ToString) {
    let path = format!("/proc/sys/{}", key.replace('.', "/"));
    fs::write(&path, value.to_string()).unwrap_or_else(|error| panic!("{path}: {error}"));
}

/// Sets `net.ipv4.tcp_tw_reuse`, and the age in milliseconds at which TIME_WAIT may
/// then be taken over, where the kernel lets it be set ([`has_reuse_delay`]).
pub fn set_reuse(mode: u8, delay: u32) {
    set_sysctl("net.ipv4.tcp_tw_reuse", mode);
    if has_reuse_delay() {
        set_sysctl("net.ipv4.tcp_tw_reuse_delay", delay);
    }
}

/// Before Linux 6.14 TIME_WAIT may be taken over once a clock of whole seconds has
/// ticked since (tcp_twsk_unique), and nothing changes that.
pub fn has_reuse_delay() -> bool {
    sysctl("net.ipv4.tcp_tw_reuse_delay").is_some()
}

/// What a sysctl of the caller's namespace reads, trimmed; `None` if it does not exist.
pub fn sysctl(key: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/sys/{}", key.replace('.', "/"))).ok()?;
    Some(text.trim().to_owned())
}

/// Sets the ephemeral range, both ends inclusive.
pub fn set_port_range(first: u16, last: u16) {
    set_sysctl("net.ipv4.ip_local_port_range", format!("{first} {last}"));
}

fn on_a_thread<T: Send>(body: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(body).join())
        .unwrap_or_else(|panic| panic::resume_unwind(panic))
}
