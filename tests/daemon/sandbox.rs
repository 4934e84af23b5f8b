//! A kernel or sandbox without sock_diag, as gVisor is: a filter refuses the socket.

#![allow(unsafe_code, reason = "seccomp and pre_exec have no safe form")]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::exporter::{DEFAULT, Exporter, patience};
use crate::support::exposition::Exposition;
use crate::support::netns::in_netns;
use crate::support::{http, tools};

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const REFUSE: u32 = libc::SECCOMP_RET_ERRNO | libc::EPROTONOSUPPORT as u32;
/// Offsets in `struct seccomp_data`: the call, and the low halves of two arguments.
const CALL: u32 = 0;
const FAMILY: u32 = 16;
const PROTOCOL: u32 = 32;

/// `socket(AF_NETLINK, …, NETLINK_SOCK_DIAG)` fails with EPROTONOSUPPORT.
fn without_sock_diag(command: &mut Command) -> &mut Command {
    let load = |at| instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, at);
    let unless =
        |value, skip| instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, skip, value);
    let end = |with| instruction(libc::BPF_RET | libc::BPF_K, 0, with);
    let filter = vec![
        load(CALL),
        unless(libc::SYS_socket as u32, 5),
        load(FAMILY),
        unless(libc::AF_NETLINK as u32, 3),
        load(PROTOCOL),
        unless(libc::NETLINK_SOCK_DIAG as u32, 1),
        end(REFUSE),
        end(ALLOW),
    ];
    // SAFETY: between fork and exec the closure makes two system calls on memory that
    // it owns.
    unsafe { command.pre_exec(move || install(&filter)) }
}

/// One that goes on where a comparison holds, and else so many further.
fn instruction(code: u32, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf,
        k,
    }
}

fn install(filter: &[libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_ptr().cast_mut(),
    };
    let mode = libc::SECCOMP_MODE_FILTER;
    // SAFETY: the program and what it points to outlive the calls, which only read them.
    let installed = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program) == 0
    };
    match installed {
        true => Ok(()),
        false => Err(io::Error::last_os_error()),
    }
}

#[test]
fn without_sock_diag_nothing_looks_healthy() {
    let name = "daemon::sandbox::without_sock_diag_nothing_looks_healthy";
    in_netns(name, &[], || {
        let mut snapshot = Command::new(tools::exporter());
        let output = without_sock_diag(snapshot.arg("snapshot"))
            .output()
            .unwrap();
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{complaint}");
        assert!(complaint.contains("no sock_diag for TCP"), "{complaint}");

        let exporter = Exporter::from(without_sock_diag(&mut Command::new(tools::exporter())));
        let address = DEFAULT.parse().unwrap();
        let up = |collector| {
            let page = Exposition::parse(http::get(address, "/metrics").ok()?.text());
            let labels = [("netns", "host"), ("collector", collector)];
            page.get("sockdiag_collector_up", &labels)
        };
        let is_down = tools::wait_until(patience(), || up("sockets") == Some(0.0));
        assert!(is_down, "{}", exporter.process.log());
        assert_eq!((up("ephemeral"), up("tcp")), (Some(0.0), Some(1.0)));
        assert_eq!(up("udp"), None);
        assert!(exporter.process.log().contains("no sock_diag for TCP"));
    });
}
