use super::*;
use crate::count::Scratch;
use crate::fake_kernel::{Sock, bound, count, policy, sock, time_wait};

const WEB: u64 = 1001;
const CHECKOUT: u64 = 1002;
const SMALL: u64 = 1003;
const GONE: u64 = 1004;

fn paths() -> CgroupPaths {
    CgroupPaths::known([
        (WEB, "/system.slice/nginx.service"),
        (CHECKOUT, "/system.slice/checkout.service"),
        (SMALL, "/user.slice"),
    ])
    .without(GONE)
}

fn established(port: u16) -> Sock {
    sock(
        State::Established,
        &format!("10.0.0.1:{port}"),
        "10.0.0.9:443",
    )
}

fn socks() -> Vec<Sock> {
    let mut socks = vec![
        bound(State::Listen, "0.0.0.0:80").cgroup(WEB),
        bound(State::Close, "10.0.0.1:40019").cgroup(WEB),
        established(80).cgroup(WEB),
        established(50_000).cgroup(CHECKOUT),
        established(50_001).cgroup(SMALL),
        time_wait("10.0.0.1:40010", "10.0.0.9:443", 30_000),
        // A directory that went, and one that came a moment ago.
        established(40_011).cgroup(GONE),
        established(40_012).cgroup(2000),
    ];
    socks.extend((0..4).map(|at| established(40_000 + at).cgroup(CHECKOUT)));
    socks
}

fn cgroups(paths: &CgroupPaths, k: usize) -> Cgroups {
    let mut scratch = Scratch::new(1000);
    count(&mut scratch, &policy(40_000, 40_019), &socks(), &[]);
    Cgroups::of(
        &scratch.tcp.cgroups,
        paths,
        (k, Floor::NONE),
        &mut Ranking::default(),
    )
}

fn total(group: &Group) -> (u32, u32) {
    (group.states.total(), group.ephemeral_ports_used)
}

#[test]
fn the_largest_are_named_and_all_others_summed() {
    let cgroups = cgroups(&paths(), 2);
    let rows: Vec<_> = cgroups
        .largest
        .iter()
        .map(|row| (row.cgroup.path.as_str(), total(&row.sockets)))
        .collect();
    let expected = [
        ("/system.slice/checkout.service", (5, 4)),
        ("/system.slice/nginx.service", (3, 0)),
    ];
    assert_eq!(rows, expected);
    let states = &cgroups.largest[1].sockets.states;
    assert_eq!(
        (states.get(State::Listen), states.get(State::Close)),
        (1, 1)
    );
    assert_eq!(
        total(&cgroups.other),
        (2, 1),
        "the small one and the new one"
    );
    assert_eq!(cgroups.folded, 2);
    assert_eq!(total(&cgroups.gone), (1, 1));
    assert_eq!(total(&cgroups.none), (1, 1));
    assert_eq!(total(&cgroups.hidden), (0, 0));
}

#[test]
fn where_the_tree_is_not_whole_all_are_hidden() {
    let cgroups = cgroups(&CgroupPaths::hidden(), 5);
    assert!(cgroups.largest.is_empty());
    assert_eq!(total(&cgroups.hidden), (socks().len() as u32 - 1, 6));
    assert_eq!((total(&cgroups.other), cgroups.folded), ((0, 0), 0));
}

/// Samples as name, labels, value.
#[derive(Default)]
struct Lines(Vec<String>);

impl Sink for Lines {
    fn sample(
        &mut self,
        metric: &'static super::super::metric::Metric,
        labels: &[&str],
        value: f64,
    ) {
        assert_eq!(labels.len(), metric.labels.len());
        self.0
            .push(format!("{} {} {value}", metric.name, labels.join(" ")));
    }
}

#[test]
fn an_owner_is_told_once_however_many_namespaces_it_is_in() {
    let facts = Facts {
        cgroups: Ok(cgroups(&paths(), 1)).into(),
        ..Facts::default()
    };
    let mut lines = Lines::default();
    export_info([&facts, &facts].into_iter(), &mut lines);
    let path = "/system.slice/checkout.service";
    let expected = format!("sockdiag_cgroup_info {path} checkout.service   1");
    assert_eq!(lines.0, [expected]);
}
