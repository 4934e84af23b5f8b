//! What holds on every page, whatever the sockets: of one page, of a page of a kernel that
//! does not lie, and from one page to the next.

use std::collections::{BTreeMap, BTreeSet};

use super::exposition::{Exposition, Series};

/// Quotients of whole numbers differ in the last bit.
const ROUNDING: f64 = 1e-9;

fn label<'s>(series: &'s Series, key: &str) -> Option<&'s str> {
    let found = series.1.iter().find(|(name, _)| name == key);
    found.map(|(_, value)| value.as_str())
}

/// The series without its name and without some labels.
fn labels(series: &Series, without: &[&str]) -> Vec<(String, String)> {
    let kept = series.1.iter();
    let kept = kept.filter(|(name, _)| !without.contains(&name.as_str()));
    kept.cloned().collect()
}

/// Sums of a family by the labels that are left.
fn sums(page: &Exposition, name: &str, without: &[&str]) -> BTreeMap<Vec<(String, String)>, f64> {
    let mut sums = BTreeMap::new();
    for (series, value) in page.matching(name, &[]) {
        *sums.entry(labels(series, without)).or_default() += value;
    }
    sums.retain(|_, sum| *sum != 0.0);
    sums
}

/// Whether each sample of `lower` has one of `upper` with the same labels, not below it.
fn is_at_most(page: &Exposition, lower: &str, upper: &str) {
    for (series, value) in page.matching(lower, &[]) {
        let above = page.samples.get(&(upper.to_owned(), series.1.clone()));
        assert!(
            above.is_some_and(|&above| value <= above + ROUNDING),
            "{series:?} is {value}, {upper} is {above:?}"
        );
    }
}

/// Of any page, also where the kernel's answers make no sense.
///
/// # Panics
/// With the series and its value, where something does not hold.
pub fn check(page: &Exposition) {
    for (series, &value) in &page.samples {
        assert!(value.is_finite() && value >= 0.0, "{series:?} is {value}");
        if series.0.ends_with("_ratio") {
            assert!(value <= 1.0, "{series:?} is {value}");
        }
    }
    let ratio = "sockdiag_ephemeral_utilization_ratio";
    is_at_most(page, ratio, "sockdiag_ephemeral_utilization_upper_ratio");
    is_at_most(page, ratio, "sockdiag_ephemeral_utilization_peak_ratio");
    let used = "sockdiag_ephemeral_destination_ports_used";
    for part in ["reusable", "bind_first"] {
        is_at_most(
            page,
            &format!("sockdiag_ephemeral_destination_ports_{part}"),
            used,
        );
    }
    // Every socket is counted once in each of these.
    let all = sums(page, "sockdiag_sockets", &["family"]);
    assert_eq!(
        all,
        sums(page, "sockdiag_local_port_sockets", &["port"]),
        "by local port"
    );
    let directions = sums(page, "sockdiag_tcp_direction_sockets", &["direction"]);
    let tcp = all.into_iter().filter_map(|(mut labels, sum)| {
        let at = labels.iter().position(|(_, value)| value == "tcp")?;
        labels.remove(at);
        Some((labels, sum))
    });
    assert_eq!(tcp.collect::<BTreeMap<_, _>>(), directions, "by direction");
    // Peers are these, without the sockets that have none.
    let directions = sums(page, "sockdiag_tcp_direction_sockets", &[]);
    for (labels, sum) in sums(page, "sockdiag_peer_sockets", &["peer", "port"]) {
        assert!(directions[&labels] >= sum, "peers {labels:?}: {sum}");
    }
    worst_is_worst(page);
}

/// No destination that is listed is worse than the worst of all.
fn worst_is_worst(page: &Exposition) {
    let family = |part| format!("sockdiag_ephemeral_destination_ports_{part}");
    let (reusable, bind_first) = (family("reusable"), family("bind_first"));
    for (series, used) in page.matching("sockdiag_ephemeral_destination_ports_used", &[]) {
        let part = |name: &String| page.samples[&(name.clone(), series.1.clone())];
        let netns = ("netns", label(series, "netns").expect("netns"));
        let blocked = used - part(&reusable) - part(&bind_first);
        assert!(blocked >= 0.0, "{series:?}: {blocked} blocked");
        let scope = ("scope", "destination");
        let available = page.get("sockdiag_ephemeral_ports_available", &[netns, scope]);
        let ratio = "sockdiag_ephemeral_utilization_ratio";
        let worst = page.get(ratio, &[netns, scope, ("protocol", "tcp")]);
        let (available, worst) = (available.expect("available"), worst.expect("a ratio"));
        if available > 0.0 {
            let share = (blocked / available).min(1.0);
            assert!(share <= worst + ROUNDING, "{series:?}: {share} of {worst}");
        }
    }
}

/// Of a page of a kernel that tells each socket once.
///
/// # Panics
/// As [`check`].
pub fn check_honest(page: &Exposition) {
    check(page);
    let pools = [
        "sockdiag_ephemeral_destination_ports_used",
        "sockdiag_ephemeral_source_ports_used",
    ];
    for (series, used) in pools.iter().flat_map(|name| page.matching(name, &[])) {
        let pool = [
            ("netns", label(series, "netns").expect("netns")),
            ("scope", "source"),
        ];
        let most = page.get("sockdiag_ephemeral_ports_available", &pool);
        assert!(
            most.is_some_and(|most| used <= most),
            "{series:?}: {used} of {most:?}"
        );
    }
    // A namespace that is shown is described, once.
    let shown = page.samples.keys().filter_map(|s| label(s, "netns"));
    let shown: BTreeSet<_> = shown.collect();
    let described = page.matching("sockdiag_netns_info", &[]);
    let described: Vec<_> = described.filter_map(|(s, _)| label(s, "netns")).collect();
    assert_eq!(shown, described.iter().copied().collect(), "netns_info");
    assert_eq!(shown.len(), described.len(), "{described:?}");
}

/// From one page of a process to a later one. Counters of namespaces that come and go may
/// start anew.
///
/// # Panics
/// As [`check`].
pub fn check_order(earlier: &Exposition, later: &Exposition) {
    let forward = |series: &Series| {
        let is_lasting = matches!(label(series, "netns"), None | Some("host"));
        let counts = series.0.ends_with("_total")
            || series.0.ends_with("_count")
            || series.0.ends_with("_bucket");
        counts && is_lasting || series.0 == "sockdiag_snapshot_timestamp_seconds"
    };
    for (series, &before) in earlier.samples.iter().filter(|(series, _)| forward(series)) {
        if let Some(&after) = later.samples.get(series) {
            assert!(before <= after, "{series:?}: {before}, then {after}");
        }
    }
    let start = earlier.get("process_start_time_seconds", &[]);
    assert_eq!(start, later.get("process_start_time_seconds", &[]));
}
