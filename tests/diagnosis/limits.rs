//! Tables with a limit, and a host on which nothing is wrong.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use insta::assert_snapshot;
use sockdiag_exporter::config::Config;

use crate::read::{address, findings, pairs, poll, poll_with, text, time_wait};
use crate::support::netns::{in_netns, nft, set_port_range, set_sysctl, sysctl};
use crate::support::sockets::Listener;

/// A procfs whose limit of conntrack entries is ours: the kernel's is the
/// machine's, and can be written by root of the first namespace only. All else
/// leads to the real files, the count of entries included.
fn procfs_with_conntrack_limit(root: &Path, limit: u32) {
    let netfilter = root.join("sys/net/netfilter");
    fs::create_dir_all(&netfilter).unwrap();
    symlink("/proc/thread-self", root.join("thread-self")).unwrap();
    for directory in ["ipv4", "core"] {
        let real = format!("/proc/sys/net/{directory}");
        symlink(real, root.join("sys/net").join(directory)).unwrap();
    }
    let count = "/proc/sys/net/netfilter/nf_conntrack_count";
    symlink(count, netfilter.join("nf_conntrack_count")).unwrap();
    fs::write(netfilter.join("nf_conntrack_max"), limit.to_string()).unwrap();
    // The machine's too, and in the text.
    fs::write(netfilter.join("nf_conntrack_buckets"), "50").unwrap();
}

const TRACK: &str = "table inet track {
    chain output { type filter hook output priority 0; ct state new accept; }
}";

#[test]
fn conntrack_nearly_full() {
    in_netns("limits::conntrack_nearly_full", &["nft"], || {
        nft(TRACK);
        let listener = Listener::at(address("127.9.0.1:443")).unwrap();
        let _held = pairs(&listener, &listener.plan(), 95);
        let count = sysctl("net.netfilter.nf_conntrack_count");
        assert_eq!(count.as_deref(), Some("95"));
        let root = tempfile::tempdir().unwrap();
        procfs_with_conntrack_limit(root.path(), 100);
        let mut config = Config::default();
        config.procfs.root = root.path().to_owned();
        assert_snapshot!(text(&poll_with(&config)));
    });
}

#[test]
fn a_conntrack_limit_of_zero_is_none() {
    in_netns(
        "limits::a_conntrack_limit_of_zero_is_none",
        &["nft"],
        || {
            nft(TRACK);
            let listener = Listener::at(address("127.9.0.1:443")).unwrap();
            let _held = pairs(&listener, &listener.plan(), 5);
            let root = tempfile::tempdir().unwrap();
            procfs_with_conntrack_limit(root.path(), 0);
            let mut config = Config::default();
            config.procfs.root = root.path().to_owned();
            let snapshot = poll_with(&config);
            assert!(findings(&snapshot).is_empty(), "{}", text(&snapshot));
        },
    );
}

#[test]
fn time_wait_buckets_nearly_full() {
    in_netns("limits::time_wait_buckets_nearly_full", &[], || {
        set_port_range(40000, 49999);
        set_sysctl("net.ipv4.tcp_max_tw_buckets", 100);
        let listener = Listener::at(address("127.9.0.1:443")).unwrap();
        time_wait(&listener, &listener.plan(), 95);
        assert_snapshot!(text(&poll()));
    });
}

#[test]
fn a_healthy_host() {
    in_netns("limits::a_healthy_host", &[], || {
        let listener = Listener::at(address("127.9.0.1:443")).unwrap();
        time_wait(&listener, &listener.plan(), 50);
        let _held = pairs(&listener, &listener.plan(), 200);
        assert_snapshot!(text(&poll()));
    });
}

#[test]
fn json_has_what_the_text_has() {
    in_netns("limits::json_has_what_the_text_has", &[], || {
        set_port_range(40000, 40099);
        let listener = Listener::at(address("127.9.0.1:443")).unwrap();
        let _held = pairs(&listener, &listener.plan(), 92);
        let json = serde_json::to_value(poll()).unwrap();
        let finding = &json["namespaces"][0]["findings"][0];
        assert_eq!(finding["id"], "ephemeral-destination");
        assert_eq!(finding["severity"], "critical");
        assert_eq!(finding["subject"], "127.9.0.1:443 from 127.0.0.1");
        assert!(finding["what"].as_str().unwrap().starts_with("92 of 100"));
        assert!(!finding["because"].as_array().unwrap().is_empty());
        for advice in finding["advice"].as_array().unwrap() {
            assert!(advice["what"].is_string());
            assert!(advice.get("risk").is_none_or(|risk| risk.is_string()));
        }
        assert_eq!(
            finding["ports"],
            serde_json::json!({
                "used": 92, "reusable": 0, "bind_first": 0, "available": 100, "free": 8,
                "closes_per_second": 0.0, "sustainable_per_second": 100.0 / 60.0,
            })
        );
        // One poll knows of no growth; promises.rs has two.
        assert!(finding.get("exhausted_in_seconds").is_none());
    });
}
