//! From the kernel's bytes to the page: a golden exposition, what it promises
//! whatever the host, and what is left of it when something fails.
//!
//! After a wanted change: `UPDATE_GOLDEN=1 cargo test --test golden`, and read
//! the difference.

mod fake_kernel;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use sockdiag_exporter::exposition;
use sockdiag_exporter::kernel::cgroups::CgroupPaths;
use sockdiag_exporter::model::state::State;
use sockdiag_exporter::self_metrics::SelfMetrics;
use sockdiag_exporter::show::text;
use sockdiag_exporter::snapshot::{Dumps, Identity, NamespaceSnapshot, Snapshot};
use sockdiag_exporter::subjects::metric::{Kind, Metric};
use sockdiag_exporter::subjects::ports::bound::Bound;
use sockdiag_exporter::subjects::section::Outcome;
use sockdiag_exporter::subjects::visit::Reading;
use sockdiag_exporter::subjects::{Facts, catalogue};
use sockdiag_exporter::survey::namespace::Namespace;
use sockdiag_exporter::survey::surveyor::Surveyor;

use fake_kernel::{FakeTransport, Kernel, Sock, Wants, bound, ends, limits, sock, time_wait};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// Ports of the known host that bind() made.
const BIND_FIRST: [u16; 3] = [40_081, 40_083, 40_085];

/// Cgroups of the known host.
const SSH: u64 = 2046;
const SSH_PATH: &str = "/system.slice/ssh.service";
const POD: u64 = 9411;
const POD_PATH: &str = "/kubepods.slice/kubepods-pod21a8b9e4_2d5c_4a0f_9c3e_7b1d6f80a512.slice/cri-containerd-4f6b3e2a9d1c8b7a6f5e4d3c2b1a09f8e7d6c5b4a3928170615243342516070f.scope";

/// A namespace, and who reads it.
struct Observer {
    surveyor: Surveyor<FakeTransport>,
    namespace: Namespace,
}

fn observer(kernel: &Kernel, proc: &Path) -> Observer {
    let mut surveyor = fake_kernel::surveyor(kernel, proc);
    surveyor.cgroups = CgroupPaths::known([(SSH, SSH_PATH), (POD, POD_PATH)]);
    Observer {
        surveyor: surveyor.asking(|ports| {
            let free = ports.iter().filter(|port| !BIND_FIRST.contains(port));
            Ok(free.copied().collect())
        }),
        namespace: Namespace::own("host").unwrap(),
    }
}

fn poll(observer: &mut Observer) -> Facts {
    let Observer {
        surveyor,
        namespace,
    } = observer;
    surveyor.dump(namespace, &AtomicBool::new(false));
    namespace.facts.clone()
}

/// The page of these facts, without what differs from run to run.
fn snapshot(facts: Facts) -> Snapshot {
    Snapshot {
        taken: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_500),
        interval: Duration::from_secs(5),
        namespaces: vec![NamespaceSnapshot {
            trends: Default::default(),
            bound: Some(Bound {
                tcp: 0.25,
                udp: 0.125,
            }),
            name: "host".into(),
            identity: Identity {
                inode: 4_026_531_840,
                ..Identity::default()
            },
            is_folded: false,
            dumps: Some(Dumps {
                tcp: took(Duration::from_micros(12_500)),
                udp: took(Duration::from_micros(250)),
            }),
            facts,
        }],
        skipped: BTreeMap::from([("excluded", 1)]),
    }
}

fn took(took: Duration) -> Reading {
    Reading {
        took,
        taken: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_250),
        ..Reading::take(|| Ok(()))
    }
}

fn page(facts: Facts, own: Option<&SelfMetrics>) -> String {
    let own = own.map(SelfMetrics::families).unwrap_or_default();
    let page = exposition::render(&snapshot(facts), own);
    String::from_utf8(page.text.to_vec()).unwrap()
}

/// A host with every state, both families and both directions; the range is
/// 40000 to 40099, of which 40050 to 40059 and 40090 are reserved.
fn tcp_sockets() -> Vec<Sock> {
    let listen = |local: &str, waiting, limit| bound(State::Listen, local).queues(waiting, limit);
    let mut socks = vec![
        listen("0.0.0.0:22", 0, 128).cgroup(SSH),
        listen("[::]:443", 3, 511).v6_only(false), // a SO_REUSEPORT group
        listen("[::]:443", 1, 511).v6_only(false),
        listen("[::1]:6000", 0, 5).v6_only(true),
        listen("10.0.0.1:40007", 0, 16), // in the range: held
        bound(State::Close, "10.0.0.7:40009"),
        sock(State::Established, "10.0.0.1:22", "198.51.100.7:50022").cgroup(SSH),
        sock(State::Established, "10.0.0.1:443", "198.51.100.8:50001").mapped(),
        sock(
            State::CloseWait,
            "[2001:db8::1]:443",
            "[2001:db8::99]:50002",
        ),
        sock(State::SynRecv, "10.0.0.1:443", "198.51.100.9:50003").mapped(),
        time_wait("10.0.0.1:22", "198.51.100.7:50023", 30_000),
        sock(State::FinWait1, "10.0.0.1:40040", "192.0.2.20:80"),
        sock(State::FinWait2, "10.0.0.1:40042", "192.0.2.20:80").expires(40_000),
        sock(State::LastAck, "10.0.0.1:40044", "192.0.2.20:80"),
        sock(State::Closing, "10.0.0.1:40046", "192.0.2.20:80"),
        sock(State::SynSent, "[2001:db8::1]:40048", "[2001:db8::53]:853"),
        sock(State::Unknown, "10.0.0.1:40070", "192.0.2.20:80"),
        sock(State::Established, "10.0.0.1:50000", "192.0.2.20:80"), // not in the range
        sock(State::Established, "10.0.0.1:40052", "192.0.2.20:80"), // reserved
        sock(State::Established, "10.0.0.1:40060", "192.0.2.30:80").device(1),
    ];
    for at in 0..12 {
        let local = format!("10.0.0.1:{}", 40_000 + 2 * at);
        socks.push(sock(State::Established, &local, "192.0.2.10:5432").cgroup(POD));
        let local = format!("127.0.0.1:{}", 40_000 + 2 * at);
        socks.push(time_wait(&local, "127.0.0.1:8080", 52_000 - 1000 * at));
    }
    // Bound before they connected: ports that connect() would not take first.
    for port in BIND_FIRST {
        let local = format!("10.0.0.2:{port}");
        socks.push(sock(State::Established, &local, "192.0.2.10:5432").mapped());
    }
    socks
}

fn udp_sockets() -> Vec<Sock> {
    vec![
        bound(State::Close, "127.0.0.53:53"),
        bound(State::Close, "[::]:123").v6_only(true),
        bound(State::Close, "0.0.0.0:40001"),
        sock(State::Established, "10.0.0.1:40002", "192.0.2.53:53"),
        sock(
            State::Established,
            "[2001:db8::1]:40003",
            "[2001:db8::53]:53",
        ),
    ]
}

fn host() -> Kernel {
    Kernel::host(tcp_sockets(), udp_sockets())
}

fn golden_page() -> String {
    page(poll(&mut observer(&host(), &fixtures().join("proc"))), None)
}

#[test]
fn the_page_of_a_known_host_is_the_golden_one() {
    let (path, page) = (fixtures().join("golden.prom"), golden_page());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    for (number, (found, wanted)) in page.lines().zip(golden.lines()).enumerate() {
        assert_eq!(found, wanted, "line {}", number + 1);
    }
    assert_eq!(page, golden);
}

/// What /api/v1/snapshot serves of that host: the schema, and every figure.
#[test]
fn the_json_of_a_known_host_is_the_golden_one() {
    let facts = poll(&mut observer(&host(), &fixtures().join("proc")));
    let json = serde_json::to_string_pretty(&snapshot(facts)).unwrap() + "\n";
    let path = fixtures().join("golden.json");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &json).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    for (number, (found, wanted)) in json.lines().zip(golden.lines()).enumerate() {
        assert_eq!(found, wanted, "line {}", number + 1);
    }
    assert_eq!(json, golden);
}

#[test]
fn the_compressed_page_is_the_same_page() {
    let own = SelfMetrics::new("0.1.0", "abc", SystemTime::now());
    let page = exposition::render_own(&own.families());
    let mut text = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&page.gzip[..]), &mut text)
        .unwrap();
    assert_eq!(text, page.text);
    assert!(!text.is_empty() && page.gzip.len() < text.len());
}

/// Name and labels of every sample.
fn series(page: &str) -> Vec<&str> {
    page.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.rsplit_once(' ').unwrap().0)
        .collect()
}

fn assert_unique(page: &str) {
    let mut seen = BTreeSet::new();
    for series in series(page) {
        assert!(seen.insert(series), "twice: {series}");
    }
}

#[test]
fn no_series_stands_there_twice() {
    assert_unique(&golden_page());
}

fn all_metrics() -> impl Iterator<Item = &'static Metric> {
    catalogue()
        .into_iter()
        .chain(exposition::METRICS.iter().copied())
}

#[test]
fn every_family_appears_with_its_help_and_type() {
    let page = golden_page();
    let is_there = |line: String| page.lines().any(|other| other == line);
    for metric in all_metrics() {
        let Metric {
            name, help, kind, ..
        } = metric;
        let kind = match kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
        };
        assert!(is_there(format!("# HELP {name} {help}")), "{name}");
        assert!(is_there(format!("# TYPE {name} {kind}")), "{name}");
        let sample = |line: &str| {
            line.starts_with(&format!("{name}{{")) || line.starts_with(&format!("{name} "))
        };
        assert!(page.lines().any(sample), "{name}");
    }
    let names: BTreeSet<_> = all_metrics().map(|metric| metric.name).collect();
    assert_eq!(names.len(), all_metrics().count(), "a name twice");
    let families = page.lines().filter(|line| line.starts_with("# TYPE"));
    assert_eq!(
        families.count(),
        names.len(),
        "a family that no catalogue knows"
    );
}

#[test]
fn names_and_help_obey_the_conventions() {
    for metric in all_metrics() {
        let name = metric.name;
        assert!(name.starts_with("sockdiag_"), "{name}");
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        assert!(name.chars().all(fits), "{name}");
        assert_eq!(
            name.ends_with("_total"),
            metric.kind == Kind::Counter,
            "{name}"
        );
        for odd in [
            "_count",
            "_sum",
            "_bucket",
            "_ms",
            "_percent",
            "_milliseconds",
        ] {
            assert!(!name.ends_with(odd), "{name}");
        }
        assert!(
            metric.help.ends_with('.') && !metric.help.contains(['\n', '\\']),
            "{name}"
        );
        let is_of_the_start = [
            "sockdiag_snapshot_timestamp_seconds",
            "sockdiag_kernel_feature",
            "sockdiag_cgroup_info",
        ];
        if !is_of_the_start.contains(&name) {
            assert!(metric.help.contains("as of the last poll"), "{name}");
        }
        assert!(
            !metric.labels.contains(&"netns"),
            "{name}: it comes by itself"
        );
    }
}

#[test]
fn facts_of_a_namespace_carry_its_name_first_and_those_of_the_machine_none() {
    let page = golden_page();
    let global: BTreeSet<_> = all_metrics().filter(|m| m.global).map(|m| m.name).collect();
    for series in series(&page) {
        let name = series.split('{').next().unwrap();
        let is_kernel_s = series.starts_with(&format!("{name}{{netns=\"host\""));
        assert_eq!(is_kernel_s, !global.contains(name), "{series}");
    }
}

/// The value of the only sample that has all these pieces.
fn value(page: &str, pieces: &[&str]) -> f64 {
    let mut lines = page
        .lines()
        .filter(|line| !line.starts_with('#') && pieces.iter().all(|piece| line.contains(piece)));
    let line = lines.next().unwrap_or_else(|| panic!("no {pieces:?}"));
    assert!(lines.next().is_none(), "several {pieces:?}");
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

/// The golden file is written by the code: these figures are not.
#[test]
fn the_golden_figures_are_the_ones_counted_by_hand() {
    let page = golden_page();
    for (expected, pieces) in [
        (89.0 - 2.0 - 3.0, &["ports_available", "destination"][..]),
        (89.0, &["ports_available", "source"]),
        (11.0, &["ephemeral_ports_reserved"]),
        (2.0, &["ephemeral_ports_held{"]),
        (3.0, &["ephemeral_ports_bind_first{"]),
        (
            12.0,
            &["destination_ports_used", "\"10.0.0.1\"", "192.0.2.10"],
        ),
        (12.0, &["destination_ports_reusable", "127.0.0.1"]),
        (3.0, &["destination_ports_bind_first", "\"10.0.0.2\""]),
        // Ages of 8 to 19 seconds: three of them within the last ten.
        (0.3, &["closes_per_second", "source=\"127.0.0.1\""]),
        (12.0 / 84.0, &["utilization_ratio", "tcp", "destination"]),
        (4.0, &["backlog_connections", "443"]),
        (1022.0, &["backlog_limit_connections", "443"]),
        (1.0, &["sockdiag_sockets", "tcp", "inet6", "close_wait"]),
        (12.0, &["direction_sockets", "outbound", "time_wait"]),
        (1.0, &["direction_sockets", "inbound", "time_wait"]),
        (2.0, &["source_ports_used", "udp", "\"10.0.0.1\""]),
        (3.0, &["source_ports_used", "udp", "\"*\""]),
        (272.0, &["conntrack_events_total", "\"found\""]),
        (1_700_000_000.5, &["snapshot_timestamp_seconds"]),
    ] {
        assert_eq!(value(&page, pieces), expected, "{pieces:?}");
    }
}

/// 100,000 sockets over 10,000 peers, hundreds of listeners and local addresses.
fn busy_host(round: u32) -> Kernel {
    let address = |base: [u8; 4], at: u32| Ipv4Addr::from(u32::from_be_bytes(base) + at);
    let mut tcp: Vec<_> = (1..=300)
        .map(|port| bound(State::Listen, &format!("0.0.0.0:{port}")))
        .collect();
    for at in 0..100_000_u32 {
        let state = State::CONNECTED[(at % 9) as usize];
        let peer = address([192, 0, 0, 1], (at * (at % 7 + 1) + round * 3) % 10_000);
        let local = address([10, 0, 0, 1], at % 100);
        let (own, theirs) = match at % 2 {
            0 => ((at % 300 + 1) as u16, 50_000),
            _ => (40_000 + (at / 100 % 100) as u16, 443),
        };
        let local: SocketAddr = (local, own).into();
        tcp.push(ends(state, local, (peer, theirs).into()).device(at % 3));
    }
    let udp = (0..2000_u32)
        .map(|at| {
            let local = (address([10, 0, 0, 1], at % 100), 40_000 + (at % 100) as u16);
            bound(State::Close, &SocketAddr::from(local).to_string())
        })
        .chain((1..=300).map(|port| bound(State::Close, &format!("[::]:{port}"))));
    Kernel::host(tcp, udp.collect())
}

#[test]
fn a_busy_host_costs_no_more_series_than_the_budget() {
    let own = SelfMetrics::new("0.1.0", "abc", SystemTime::now());
    let kernel = busy_host(0);
    let mut observer = observer(&kernel, &fixtures().join("proc"));
    for round in 1..3 {
        let facts = poll(&mut observer);
        assert!(facts.peers.measured().unwrap().outbound.distinct > 1000);
        let page = page(facts, Some(&own));
        assert_unique(&page);
        let count = series(&page).len();
        assert!(count <= 1500, "{count}");
        assert!(count <= limits(20).series(), "{count}");
        let next = busy_host(round);
        kernel.becomes(move |asked| next.answer(asked));
    }
}

/// A copy of the fixture that a test may spoil.
fn spoilable() -> tempfile::TempDir {
    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let target = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                copy(&entry.path(), &target);
            } else {
                std::fs::copy(entry.path(), target).unwrap();
            }
        }
    }
    let root = tempfile::tempdir().unwrap();
    copy(&fixtures().join("proc"), root.path());
    root
}

/// The collectors that are not up, and why.
fn down(facts: &Facts) -> BTreeMap<&'static str, String> {
    facts
        .outcomes()
        .into_iter()
        .filter_map(|collected| match collected.outcome {
            Outcome::Up => None,
            Outcome::Absent => Some((collected.collector, "absent".to_owned())),
            Outcome::Failed(failure) => Some((collected.collector, failure.reason.to_owned())),
        })
        .collect()
}

fn all(names: &[&'static str], why: &str) -> BTreeMap<&'static str, String> {
    names.iter().map(|&name| (name, why.to_owned())).collect()
}

/// What a page says of a collector.
fn up(page: &str, collector: &str) -> Option<f64> {
    let name = format!("sockdiag_collector_up{{netns=\"host\",collector=\"{collector}\"}}");
    let line = page.lines().find(|line| line.starts_with(&name))?;
    line.rsplit_once(' ')?.1.parse().ok()
}

const ON_SETTINGS: [&str; 2] = ["ephemeral", "node_ports"];
const ON_TCP: [&str; 5] = ["cgroups", "sockets", "peers", "listeners", "ephemeral"];

#[test]
fn a_refused_dump_fails_what_is_made_of_it_and_nothing_else() {
    let kernel = host();
    let mut observer = observer(&kernel, &fixtures().join("proc"));
    for (errno, why) in [
        (libc::EPERM, "refused"),
        // Without any TCP sockets it must not look healthy.
        (libc::ENOENT, "unsupported"),
        (libc::EOPNOTSUPP, "unsupported"),
    ] {
        let healthy = host();
        kernel.becomes(move |asked| match asked.wants() {
            Wants::Udp(_) => healthy.answer(asked),
            _ => asked.refused(errno),
        });
        let facts = poll(&mut observer);
        assert_eq!(down(&facts), all(&ON_TCP, why));
        let missing = text::missing(&snapshot(facts.clone()));
        let told = missing.map(|told| told.matches("kernel refused the dump").count());
        assert_eq!(told, Some(1), "one reason, once");
        let page = page(facts, None);
        assert_eq!(up(&page, "sockets"), Some(0.0));
        assert_eq!(up(&page, "udp"), Some(1.0));
        assert!(!page.contains("protocol=\"tcp\",family"), "no sample");
        assert!(page.contains("protocol=\"udp\",family"));

        let healthy = host();
        kernel.becomes(move |asked| healthy.answer(asked));
        assert_eq!(down(&poll(&mut observer)), BTreeMap::new(), "it recovers");
    }
}

#[test]
fn without_udp_the_rest_goes_on() {
    let kernel = host();
    let mut observer = observer(&kernel, &fixtures().join("proc"));
    for (errno, why) in [(libc::EPERM, "refused"), (libc::ENOENT, "absent")] {
        let healthy = host();
        kernel.becomes(move |asked| match asked.wants() {
            Wants::Udp(_) => asked.refused(errno),
            _ => healthy.answer(asked),
        });
        let facts = poll(&mut observer);
        assert_eq!(down(&facts), all(&["udp"], why));
        let page = page(facts, None);
        assert!(!page.contains("utilization_ratio{netns=\"host\",protocol=\"udp\""));
        assert!(page.contains("utilization_ratio{netns=\"host\",protocol=\"tcp\""));
    }
    let healthy = host();
    kernel.becomes(move |asked| healthy.answer(asked));
    assert_eq!(down(&poll(&mut observer)), BTreeMap::new());
}

#[test]
fn half_a_dump_is_never_published() {
    let kernel = host();
    let mut observer = observer(&kernel, &fixtures().join("proc"));
    let whole = page(poll(&mut observer), None);
    let healthy = host();
    kernel.becomes(move |asked| {
        let mut events = healthy.answer(asked);
        let last = events.len() - 1;
        events[last] = fake_kernel::Event::Datagram(asked.done(libc::EIO));
        events
    });
    let facts = poll(&mut observer);
    let broken = [&ON_TCP[..], &["udp"]].concat();
    assert_eq!(down(&facts), all(&broken, "ended_early"));
    let healthy = host();
    kernel.becomes(move |asked| healthy.answer(asked));
    assert_eq!(page(poll(&mut observer), None), whole);
}

const RANGE: &str = "sys/net/ipv4/ip_local_port_range";
const COUNT: &str = "sys/net/netfilter/nf_conntrack_count";
const MAX: &str = "sys/net/netfilter/nf_conntrack_max";

#[test]
fn a_spoilt_file_fails_its_collector_until_it_is_mended() {
    let (root, kernel) = (spoilable(), host());
    let mut observer = observer(&kernel, root.path());
    for (file, owners) in [
        (RANGE, &ON_SETTINGS[..]),
        ("sys/net/ipv4/ip_local_reserved_ports", &ON_SETTINGS),
        ("sys/net/ipv4/tcp_tw_reuse_delay", &ON_SETTINGS),
        (
            "sys/net/ipv4/tcp_tw_reuse",
            &["ephemeral", "node_ports", "tcp"],
        ),
        ("sys/net/ipv4/tcp_max_tw_buckets", &["tcp"]),
        ("sys/net/ipv4/tcp_mem", &["tcp"]),
        ("thread-self/net/sockstat", &["tcp"]),
        ("thread-self/net/snmp", &["tcp"]),
        ("thread-self/net/netstat", &["tcp"]),
        (COUNT, &["conntrack"]),
        (MAX, &["conntrack"]),
        ("sys/net/netfilter/nf_conntrack_buckets", &["conntrack"]),
        ("thread-self/net/stat/nf_conntrack", &["conntrack"]),
    ] {
        let path = root.path().join(file);
        let text = std::fs::read(&path).unwrap();
        for garbage in [&b"no such thing\n"[..], b"\xff\xfe", b"1 2 3 4 5 6\n7\n"] {
            std::fs::write(&path, garbage).unwrap();
            assert_eq!(down(&poll(&mut observer)), all(owners, "garbled"), "{file}");
        }
        // Root may read any file, but nobody a directory.
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        let facts = poll(&mut observer);
        assert_eq!(down(&facts), all(owners, "unreadable"), "{file}");
        for owner in owners {
            assert_eq!(up(&page(facts.clone(), None), owner), Some(0.0));
        }
        std::fs::remove_dir(&path).unwrap();
        std::fs::write(&path, text).unwrap();
        assert_eq!(down(&poll(&mut observer)), BTreeMap::new(), "{file}");
    }
}

#[test]
fn a_missing_file_is_absent_where_kernels_differ() {
    let (root, kernel) = (spoilable(), host());
    let mut observer = observer(&kernel, root.path());
    let remove = |file: &str| std::fs::remove_file(root.path().join(file)).unwrap();

    remove("sys/net/ipv4/tcp_tw_reuse_delay");
    remove("sys/net/ipv4/ip_local_reserved_ports");
    remove("sys/net/netfilter/nf_conntrack_buckets");
    remove("sys/net/ipv4/tcp_mem");
    let facts = poll(&mut observer);
    assert_eq!(down(&facts), BTreeMap::new());
    let without = page(facts, None);
    assert!(!without.contains("sockdiag_conntrack_buckets"));
    assert!(!without.contains("sockdiag_tcp_memory_limit_bytes"));
    assert!(without.contains("sockdiag_ephemeral_ports_reserved{netns=\"host\"} 0"));

    remove(COUNT);
    remove(MAX);
    let facts = poll(&mut observer);
    assert_eq!(down(&facts), all(&["conntrack"], "absent"));
    assert_eq!(up(&page(facts, None), "conntrack"), None);

    // The module is loaded later; the cheap files are enough to see it.
    std::fs::write(root.path().join(COUNT), "5\n").unwrap();
    std::fs::write(root.path().join(MAX), "10\n").unwrap();
    let facts = poll(&mut observer);
    assert_eq!(facts.conntrack.measured().unwrap().entries, 5);
    std::fs::write(root.path().join(COUNT), "6\n").unwrap();
    let (surveyor, namespace) = (&mut observer.surveyor, &mut observer.namespace);
    surveyor.refresh(namespace, &AtomicBool::new(false));
    let entries = namespace.facts.conntrack.measured().unwrap().entries;
    assert_eq!(entries, 6);

    // Every kernel has a range: without one something is wrong.
    remove(RANGE);
    assert_eq!(down(&poll(&mut observer)), all(&ON_SETTINGS, "unreadable"));
}

#[test]
fn without_any_file_sockets_are_still_counted() {
    let root = tempfile::tempdir().unwrap();
    let facts = poll(&mut observer(&host(), root.path()));
    let mut expected = all(&["tcp", "conntrack"], "absent");
    expected.extend(all(&ON_SETTINGS, "unreadable"));
    assert_eq!(down(&facts), expected);
    let sockets = facts.sockets.measured().unwrap();
    let all = sockets.inet.total() + sockets.inet6.total();
    assert_eq!(all as usize, tcp_sockets().len());
}
