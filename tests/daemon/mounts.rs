//! File systems that are not as usual.

use std::process::Command;

use super::exporter::{DEFAULT, Exporter, address, patience};
use crate::support::exposition::Exposition;
use crate::support::invariants::check_honest;
use crate::support::netns::in_netns;
use crate::support::{http, tools};

/// The exporter in a mount namespace in which this was done before.
fn after(script: &str) -> Exporter {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--pid", "--fork", "--kill-child", "sh", "-ec"]);
    command.arg(format!("{script}\nexec \"$0\" \"$@\""));
    command.arg(tools::exporter());
    Exporter::from(&mut command)
}

fn page() -> Exposition {
    let page = http::get(address(DEFAULT), "/metrics").expect("a page");
    let page = Exposition::parse(page.text());
    check_honest(&page);
    page
}

/// Names of collectors by their outcome.
fn collectors(page: &Exposition, up: f64) -> Vec<&str> {
    let all = page.matching("sockdiag_collector_up", &[("netns", "host")]);
    let with = all.filter(|&(_, value)| value == up);
    let label = |series: &'_ (String, Vec<(String, String)>)| -> usize {
        series
            .1
            .iter()
            .position(|(key, _)| key == "collector")
            .unwrap()
    };
    with.map(|(series, _)| series.1[label(series)].1.as_str())
        .collect()
}

#[test]
fn a_file_system_that_is_read_only_is_enough() {
    let name = "daemon::mounts::a_file_system_that_is_read_only_is_enough";
    in_netns(name, &["unshare", "mount"], || {
        let exporter = after(
            "mount --rbind / /mnt\nmount -o remount,bind,ro /mnt\n\
             mount -t proc none /mnt/proc\ncd /mnt\n\
             if touch /mnt/usr/here 2>/dev/null; then exit 1; fi\n\
             exec chroot /mnt \"$0\" \"$@\"",
        );
        exporter.wait_ready(DEFAULT);
        assert_eq!(collectors(&page(), 0.0), [""; 0]);
    });
}

#[test]
fn processes_that_are_hidden_hide_no_sockets() {
    let name = "daemon::mounts::processes_that_are_hidden_hide_no_sockets";
    in_netns(name, &["unshare", "mount"], || {
        let exporter = after("mount -t proc -o hidepid=invisible none /proc");
        exporter.wait_ready(DEFAULT);
        let page = page();
        assert_eq!(collectors(&page, 0.0), [""; 0]);
        // Its own listener.
        let listening = page.matching("sockdiag_sockets", &[("state", "listen")]);
        assert!(listening.map(|(_, count)| count).sum::<f64>() >= 1.0);
    });
}

/// As `ProcSubset=pid` of systemd mounts it: no settings are to be seen.
#[test]
fn without_settings_the_sockets_are_counted_and_the_ports_fail() {
    let name = "daemon::mounts::without_settings_the_sockets_are_counted_and_the_ports_fail";
    in_netns(name, &["unshare", "mount"], || {
        let exporter = after("mount -t proc -o subset=pid none /proc");
        exporter.wait_ready(DEFAULT);
        let page = page();
        let up = collectors(&page, 1.0);
        assert!(up.contains(&"sockets") && up.contains(&"peers"), "{up:?}");
        assert!(collectors(&page, 0.0).contains(&"ephemeral"), "{page:?}");
        let log = exporter.process.log();
        assert!(log.contains("ip_local_port_range"), "{log}");
    });
}

#[test]
fn without_proc_it_says_so_and_ends() {
    let name = "daemon::mounts::without_proc_it_says_so_and_ends";
    in_netns(name, &["unshare", "mount"], || {
        let mut exporter = after("mount -t tmpfs none /proc");
        let ended = exporter.process.ended_within(patience()).expect("it ends");
        assert_eq!(ended.code(), Some(1));
        let log = exporter.process.log();
        assert!(
            log.contains("is /proc mounted?") && !log.contains("panicked"),
            "{log}"
        );
    });
}
