//! What the exporter says, read from its page as an outsider would, and how it
//! is held against the kernel.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use sockdiag_exporter::kernel::features::KernelFeatures;
use sockdiag_exporter::kernel::port_probe::connect_can_have;
use sockdiag_exporter::kernel::procfs::Procfs;
use sockdiag_exporter::kernel::sock_diag::SockDiag;
use sockdiag_exporter::snapshot::Snapshot;
use sockdiag_exporter::survey::namespace::Namespace;
use sockdiag_exporter::survey::surveyor::Surveyor;
use sockdiag_exporter::{daemon, exposition, once};
use socket2::Socket;

use crate::support::exposition::Exposition;
use crate::support::patience;
use crate::support::plan::Plan;
use crate::support::sockets::count_until_refused;
use crate::table;

/// More than any case opens.
const ENOUGH: usize = 70_000;

pub fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().expect("an IP address")
}

/// From which pool a call draws its port.
#[derive(Clone, Copy, Debug)]
pub enum Pool<'a> {
    /// Plain connect(): the label `source`, and the destination.
    Toward(&'a str, &'a str),
    /// bind(0) and UDP: the protocol, and the label `source`.
    Of(&'a str, &'a str),
}

/// One page.
#[derive(Debug)]
pub struct Figures(Exposition);

impl Figures {
    fn of(snapshot: &Snapshot) -> Self {
        let page = exposition::render(snapshot, Vec::new());
        Self(Exposition::parse(
            std::str::from_utf8(&page.text).expect("text"),
        ))
    }

    fn find(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = [&[("netns", "host")], labels].concat();
        self.0.get(&format!("sockdiag_ephemeral_{name}"), &labels)
    }

    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.find(name, labels)
            .unwrap_or_else(|| panic!("no {name} {labels:?}"))
    }

    pub fn toward(&self, name: &str, source: &str, to: &str) -> Option<f64> {
        let to = address(to);
        let (host, port) = (to.ip().to_canonical().to_string(), to.port().to_string());
        let labels = [
            ("protocol", "tcp"),
            ("source", source),
            ("destination", &host),
            ("port", &port),
        ];
        self.find(&format!("destination_{name}"), &labels)
    }

    /// By the formulas of the metrics' HELP: how many more calls succeed.
    pub fn free(&self, pool: Pool) -> i64 {
        let free = match pool {
            Pool::Toward(source, to) => {
                // What no socket is bound to the device for is as without it.
                let address = source.split('%').next().expect("a first part");
                let part = |name| {
                    let exact = self.toward(name, source, to);
                    exact.or_else(|| self.toward(name, address, to))
                };
                let part = |name| part(name).unwrap_or(0.0);
                self.get("ports_available", &[("scope", "destination")])
                    - (part("ports_used") - part("ports_reusable") - part("ports_bind_first"))
            }
            Pool::Of(protocol, source) => {
                let used = |source| {
                    let labels = [("protocol", protocol), ("source", source)];
                    self.find("source_ports_used", &labels)
                };
                let wildcard = if source.contains(':') {
                    "::"
                } else {
                    "0.0.0.0"
                };
                self.get("ports_available", &[("scope", "source")])
                    - used(source).or_else(|| used(wildcard)).unwrap_or(0.0)
            }
        };
        free as i64
    }

    pub fn ratio(&self, protocol: &str, scope: &str) -> f64 {
        self.get(
            "utilization_ratio",
            &[("protocol", protocol), ("scope", scope)],
        )
    }

    pub fn peak(&self, protocol: &str, scope: &str) -> f64 {
        self.get(
            "utilization_peak_ratio",
            &[("protocol", protocol), ("scope", scope)],
        )
    }

    /// How many more calls succeed if all that the kernel does not tell is lost.
    pub fn least(&self, pool: Pool) -> i64 {
        let doubt = match pool {
            Pool::Toward(..) => self.get("ports_bind_first_ambiguous", &[]),
            Pool::Of("tcp", _) => self.get("ports_held_ambiguous", &[]),
            Pool::Of(..) => 0.0,
        };
        (self.free(pool) - doubt as i64).max(0)
    }
}

/// The exporter, polled when a case says so.
pub struct Oracle(Option<(Surveyor, Namespace)>);

impl Oracle {
    /// Remembers nothing from poll to poll.
    pub fn forgetful() -> Self {
        Self(None)
    }

    /// As in the daemon.
    pub fn lasting() -> Self {
        let config = patience::config();
        let limits = daemon::survey_limits(&config).expect("limits that fit");
        let procfs = Procfs::new(&config.procfs.root);
        let mut surveyor =
            Surveyor::new(limits, procfs, SockDiag::default()).asking(connect_can_have);
        surveyor.features = KernelFeatures::probe(true);
        Self(Some((surveyor, Namespace::own("host").expect("/proc"))))
    }

    pub fn poll(&mut self) -> Figures {
        let Some((surveyor, namespace)) = &mut self.0 else {
            return Figures::of(&once::poll(&patience::config()).expect("a poll"));
        };
        surveyor.dump(namespace, &Default::default());
        Figures::of(&Snapshot {
            taken: SystemTime::now(),
            interval: Duration::from_secs(5),
            namespaces: vec![namespace.snapshot()],
            skipped: Default::default(),
        })
    }

    /// Polls, opens until the kernel refuses, and demands equality, or where the metrics
    /// tell two ends that the number lies between them ([`table::differs`]).
    pub fn foretells(&mut self, what: &str, pool: Pool, plan: &Plan) -> Vec<Socket> {
        self.foretells_within(0, what, pool, plan)
    }

    /// In a range of odd size the kernel leaves one port out of each search
    /// (`remaining &= ~1`), so that it may refuse the last one.
    pub fn foretells_but_one(&mut self, what: &str, pool: Pool, plan: &Plan) -> Vec<Socket> {
        self.foretells_within(1, what, pool, plan)
    }

    fn foretells_within(&mut self, slack: i64, what: &str, pool: Pool, plan: &Plan) -> Vec<Socket> {
        let before = self.poll();
        let foretold = before.free(pool);
        let opened = open_until_refused(pool, plan);
        let kernel = opened.len() as i64;
        let least = before.least(pool);
        if least < foretold && (least..=foretold).contains(&kernel) {
            table::row(what, kernel, format!("{least} to {foretold}"));
            return opened;
        }
        table::row(what, kernel, foretold);
        if !(0..=slack).contains(&(foretold - kernel)) {
            eprintln!("{what}: {kernel} opened, {foretold} foretold for {pool:?}: {before:#?}");
            table::differs(what, foretold, kernel);
            return opened;
        }
        let after = self.poll();
        assert_eq!(after.free(pool), foretold - kernel, "{what}: {after:#?}");
        let (protocol, scope) = match pool {
            Pool::Toward(..) => ("tcp", "destination"),
            // The ratio is of addresses, not of any address.
            Pool::Of(_, "*") => return opened,
            Pool::Of(protocol, _) => (protocol, "source"),
        };
        let capacity = after.get("ports_available", &[("scope", scope)]).max(1.0);
        let least = 1.0 - (foretold - kernel) as f64 / capacity;
        let ratio = after.ratio(protocol, scope);
        assert!(
            ratio <= 1.0 && ratio >= least,
            "{what}: {ratio} after the refusal"
        );
        opened
    }

    /// Polls, opens until the kernel refuses, and demands that the number lies
    /// between the figure and the figure without the ambiguous ports.
    pub fn brackets(&mut self, what: &str, pool: Pool, plan: &Plan) -> Vec<Socket> {
        let before = self.poll();
        let most = before.free(pool);
        let least = before.least(pool);
        let opened = open_until_refused(pool, plan);
        let kernel = opened.len() as i64;
        let foretold = match least == most {
            true => most.to_string(),
            false => format!("{least} to {most}"),
        };
        table::row(what, kernel, &foretold);
        if !(least..=most).contains(&kernel) {
            eprintln!("{what}: {kernel} opened, {foretold} foretold: {before:#?}");
            table::differs(what, foretold, kernel);
        }
        opened
    }
}

pub fn open_until_refused(pool: Pool, plan: &Plan) -> Vec<Socket> {
    let (opened, errno) = count_until_refused(ENOUGH, || plan.open());
    let refusals: &[i32] = match pool {
        Pool::Toward(..) => &[libc::EADDRNOTAVAIL],
        Pool::Of("tcp", _) => &[libc::EADDRINUSE],
        Pool::Of(..) => &[libc::EADDRINUSE, libc::EAGAIN],
    };
    assert!(refusals.contains(&errno), "errno {errno} from {pool:?}");
    opened
}
