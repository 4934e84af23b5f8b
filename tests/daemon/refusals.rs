//! What cannot be done is said in one line, with an exit code that tells why.

#![allow(unsafe_code, reason = "pre_exec and prctl have no safe form")]

use std::io;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::exporter::{DEFAULT, Exporter, address, refusal, status, with_config};
use crate::support::netns::{in_netns, set_sysctl};
use crate::support::{http, tools};

/// The only line of a refused start.
fn line(command: &mut Command, code: i32) -> String {
    let (got, said) = refusal(command);
    assert_eq!((got, said.lines().count()), (code, 1), "{said}");
    said
}

#[test]
fn an_address_that_cannot_be_had_is_named() {
    let name = "daemon::refusals::an_address_that_cannot_be_had_is_named";
    in_netns(name, &[], || {
        let _taken = TcpListener::bind("127.0.0.1:9000").unwrap();
        let cases = [
            ("127.0.0.1:9000", "the port is taken"),
            ("192.0.2.1:9001", "the address is not this host's"),
        ];
        for (listen, cause) in cases {
            let said = line(
                Command::new(tools::exporter()).args(["--listen", listen]),
                1,
            );
            let expected = format!("sockdiag-exporter: cannot listen on {listen}: {cause}");
            assert!(said.starts_with(&expected), "{said}");
        }
    });
}

#[test]
fn a_privileged_port_needs_the_capability() {
    let name = "daemon::refusals::a_privileged_port_needs_the_capability";
    in_netns(name, &[], || {
        let mut command = Command::new(tools::exporter());
        command.args(["--listen", "127.0.0.1:80"]);
        // SAFETY: between fork and exec the closure makes one system call.
        unsafe { command.pre_exec(without_bind_service) };
        let said = line(&mut command, 1);
        let expected = "sockdiag-exporter: cannot listen on 127.0.0.1:80: no permission";
        assert!(said.starts_with(expected), "{said}");
    });
}

/// A case is root of its namespace and has no other user. What exec() gives to
/// root is cut to the bounding set (capabilities(7)).
fn without_bind_service() -> io::Result<()> {
    const CAP_NET_BIND_SERVICE: libc::c_ulong = 10;
    // SAFETY: takes plain integers.
    match unsafe { libc::prctl(libc::PR_CAPBSET_DROP, CAP_NET_BIND_SERVICE, 0, 0, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[test]
fn a_bad_configuration_exits_with_2() {
    let name = "daemon::refusals::a_bad_configuration_exits_with_2";
    in_netns(name, &[], || {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("bad.toml");
        std::fs::write(&file, "[poll]\ninterwal = \"5s\"\n").unwrap();
        let said = line(&mut with_config(&file), 2);
        assert!(
            said.contains("bad.toml:2") && said.contains("interwal"),
            "{said}"
        );

        let missing = directory.path().join("missing.toml");
        let said = line(&mut with_config(&missing), 2);
        assert!(said.contains("missing.toml"), "{said}");

        let variable = "SOCKDIAG_EXPORTER__POLL__INTERVAL";
        let said = line(Command::new(tools::exporter()).env(variable, "5"), 2);
        assert!(said.contains(variable), "{said}");

        let (code, said) = refusal(Command::new(tools::exporter()).arg("--no-such-flag"));
        assert!(code == 2 && said.contains("--no-such-flag"), "{said}");
    });
}

#[test]
fn without_ipv6_the_default_serves_ipv4() {
    let name = "daemon::refusals::without_ipv6_the_default_serves_ipv4";
    in_netns(name, &[], || {
        let mut command = Command::new(tools::exporter());
        // SAFETY: between fork and exec the closure makes two system calls on its stack.
        unsafe { command.pre_exec(refuse_ipv6_sockets) };
        let exporter = Exporter::from(&mut command);
        exporter.wait_ready(DEFAULT);
        let log = exporter.process.log();
        assert!(log.contains("listen=\"0.0.0.0:10061\""), "{log}");

        let mut command = Command::new(tools::exporter());
        command.args(["--listen", "[::1]:9000"]);
        // SAFETY: as above.
        unsafe { command.pre_exec(refuse_ipv6_sockets) };
        let said = line(&mut command, 1);
        assert!(said.contains("[::1]:9000: IPv6 is off"), "{said}");
    });
}

/// What `ipv6.disable=1` on the kernel's command line and RestrictAddressFamilies=
/// of systemd do: socket(AF_INET6) is EAFNOSUPPORT.
fn refuse_ipv6_sockets() -> io::Result<()> {
    const NUMBER: u32 = 0;
    const FIRST_ARGUMENT: u32 = if cfg!(target_endian = "big") { 20 } else { 16 };
    let statement = |code: u32, k: u32| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    };
    let unless = |k: u32, skip: u8| libc::sock_filter {
        code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
        jt: 0,
        jf: skip,
        k,
    };
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let answer = libc::BPF_RET | libc::BPF_K;
    let mut program = [
        statement(load, NUMBER),
        unless(libc::SYS_socket as u32, 3),
        statement(load, FIRST_ARGUMENT),
        unless(libc::AF_INET6 as u32, 1),
        statement(answer, libc::SECCOMP_RET_ERRNO | libc::EAFNOSUPPORT as u32),
        statement(answer, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the kernel copies the program, which outlives the calls.
    let done = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(
                libc::PR_SET_SECCOMP,
                libc::SECCOMP_MODE_FILTER,
                &raw const filter,
            ) == 0
    };
    if done {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// `::` can still be bound then, and takes IPv4.
#[test]
fn addresses_without_ipv6_change_nothing() {
    let name = "daemon::refusals::addresses_without_ipv6_change_nothing";
    in_netns(name, &[], || {
        for interfaces in ["all", "default"] {
            set_sysctl(&format!("net.ipv6.conf.{interfaces}.disable_ipv6"), 1);
        }
        let exporter = Exporter::start(&[]);
        exporter.wait_ready(DEFAULT);
        assert!(http::get(address("[::1]:10061"), "/").is_err());
        assert_eq!(status(DEFAULT, "/-/healthy"), Some(200));
    });
}
