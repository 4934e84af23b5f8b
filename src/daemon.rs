//! The daemon: bind, spawn, supervise, stop.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::cli::{REVISION, VERSION};
use crate::config::Config;
use crate::findings::History;
use crate::kernel::features::KernelFeatures;
use crate::kernel::netlink::dump::Deadline;
use crate::kernel::netlink::transport::Transport;
use crate::kernel::port_probe::connect_can_have;
use crate::kernel::processes;
use crate::kernel::procfs::Procfs;
use crate::kernel::sock_diag::SockDiag;
use crate::model::process::{Route, RouteProcesses};
use crate::self_metrics::SelfMetrics;
use crate::show::web::client::ConnectionLimits;
use crate::show::web::server;
use crate::show::web::{App, routes};
use crate::snapshot::{self, Latest, NamespaceSnapshot, Snapshot};
use crate::subjects;
use crate::subjects::limits::SubjectLimits;
use crate::survey::namespace::{Namespace, SurveyLimits, Surveyor};
use crate::survey::poller::{Poller, Stop};
use crate::survey::schedule::Pace;
use crate::systemd;

/// How long the collector thread may take to come out of the kernel when the
/// daemon stops. It looks at the stop flag after every datagram.
const COLLECTOR_GRACE: Duration = Duration::from_millis(300);

/// Destinations whose processes are looked for.
const PROCESSES_OF: usize = 5;

/// A daemon that is bound and polling, and not serving yet.
pub struct Daemon {
    listeners: Vec<TcpListener>,
    limits: ConnectionLimits,
    app: App,
    collector: Collector,
}

struct Collector {
    thread: JoinHandle<()>,
    stop: Stop,
    /// Closed when the thread is gone, for whatever reason.
    gone: oneshot::Receiver<()>,
}

/// Runs until `shutdown`, or until something that cannot be done without dies.
///
/// # Errors
/// When an address cannot be bound, and when the collector thread dies.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<()> {
    Daemon::start(&config)?.serve(shutdown).await
}

impl Daemon {
    /// Binds every address and starts to poll.
    ///
    /// # Errors
    /// When an address cannot be bound, or the limits cannot be kept.
    pub fn start(config: &Config) -> Result<Self> {
        let mut listeners =
            systemd::listeners().context("cannot use the sockets that systemd handed in")?;
        if listeners.is_empty() {
            listeners = server::bind(&config.web.listen, config.web.listen_is_default())?;
        }
        Self::collect(config, listeners, surveyor(config)?)
    }

    /// Starts to poll with this surveyor.
    fn collect<T: Transport + Send + 'static>(
        config: &Config,
        listeners: Vec<TcpListener>,
        surveyor: Surveyor<T>,
    ) -> Result<Self> {
        let own = Arc::new(SelfMetrics::new(VERSION, REVISION, SystemTime::now()));
        let (publisher, latest) = snapshot::channel();
        let stop = Stop::default();
        let poller = Poller {
            pace: Pace {
                interval: config.poll.interval,
                max_duty: config.poll.max_duty,
                age_max: config.poll.age_max,
            },
            namespace: own_namespace(config)?,
            surveyor,
            own: Arc::clone(&own),
            publisher,
            stop: stop.clone(),
        };
        let (alive, gone) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("collector".to_owned())
            .spawn(move || {
                // Dropped at the end of the thread, a panic included.
                let _alive: oneshot::Sender<()> = alive;
                poller.run();
            })
            .context("cannot start the collector thread")?;
        let daemon = Self {
            listeners,
            limits: ConnectionLimits {
                max_connections: config.web.max_connections,
                header_timeout: config.web.header_timeout,
                request_timeout: config.web.request_timeout,
            },
            app: App {
                latest,
                own,
                version: VERSION,
                revision: REVISION,
            },
            collector: Collector { thread, stop, gone },
        };
        daemon.say_hello(config);
        Ok(daemon)
    }

    /// The addresses that are really bound: port 0 has become a port.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners
            .iter()
            .filter_map(|listener| listener.local_addr().ok())
            .collect()
    }

    /// Where the snapshots appear.
    pub fn latest(&self) -> Latest {
        self.app.latest.clone()
    }

    /// Serves until `shutdown`.
    ///
    /// # Errors
    /// When the collector thread dies: a daemon without it only looks alive.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) -> Result<()> {
        let Collector {
            thread,
            stop,
            mut gone,
        } = self.collector;
        let watch = systemd::report(self.app.latest.clone());
        let router = routes::router(self.app);
        let mut died = false;
        let end = async {
            tokio::select! {
                () = shutdown => {}
                () = watch => {}
                _ = &mut gone => died = true,
            }
            systemd::say_stopping();
        };
        server::serve(self.listeners, router, self.limits, end).await;
        if died {
            bail!("the collector thread died; see the log above");
        }
        stop.request(thread.thread());
        // A thread that hangs in the kernel must not keep the process: it ends
        // with it.
        if tokio::time::timeout(COLLECTOR_GRACE, gone).await.is_ok() {
            thread
                .join()
                .map_err(|_| anyhow::anyhow!("the collector thread panicked"))?;
        }
        tracing::info!("stopped");
        Ok(())
    }

    fn say_hello(&self, config: &Config) {
        let addresses: Vec<_> = self.addresses().iter().map(ToString::to_string).collect();
        tracing::info!(
            version = VERSION,
            revision = REVISION,
            listen = addresses.join(","),
            interval = ?config.poll.interval,
            collectors = subjects::NAMES.join(","),
            "sockdiag-exporter started"
        );
    }
}

/// One poll, without a daemon.
///
/// # Errors
/// When the limits cannot be kept, or the thread cannot tell where it is.
pub fn poll_once(config: &Config) -> Result<Snapshot> {
    let mut surveyor = surveyor(config)?;
    let mut namespace = own_namespace(config)?;
    let taken = SystemTime::now();
    surveyor.dump(&mut namespace, &Default::default());
    Ok(Snapshot {
        taken,
        interval: config.poll.interval,
        namespaces: vec![namespace.snapshot(&History::default())],
    })
}

/// Which processes have the sockets of the worst destinations in the exporter's own
/// namespace. It reads every open file of every process: not for the daemon.
///
/// # Errors
/// When the sockets cannot be dumped.
pub fn processes(config: &Config, snapshot: &Snapshot) -> Result<Vec<RouteProcesses>> {
    let own = |namespace: &&NamespaceSnapshot| namespace.name == config.netns.host_name;
    let own = snapshot.namespaces.iter().find(own);
    let ports = own.and_then(|namespace| namespace.facts.ephemeral.measured());
    let mut rows: Vec<_> =
        ports.map_or(Vec::new(), |ports| ports.destinations.rows.iter().collect());
    rows.sort_by_key(|row| std::cmp::Reverse((row.blocked(), row.used)));
    let routes = rows.iter().take(PROCESSES_OF).map(|row| Route {
        source: row.source,
        destination: row.destination,
        port: row.port,
    });
    let deadline = Deadline {
        timeout: config.poll.timeout,
        stop: &Default::default(),
    };
    let routes: Vec<_> = routes.collect();
    processes::find(&config.procfs.root, &routes, deadline).context("cannot dump the sockets again")
}

fn own_namespace(config: &Config) -> Result<Namespace> {
    Namespace::own(&config.netns.host_name)
        .context("cannot tell the network namespace of this process (is /proc mounted?)")
}

fn surveyor(config: &Config) -> Result<Surveyor> {
    let features = KernelFeatures::probe(config.poll.probe_ports);
    if features != KernelFeatures::ALL {
        let lacking = features.each().into_iter().filter(|(_, has_it)| !has_it);
        let names: Vec<_> = lacking.map(|(name, _)| name).collect();
        tracing::info!(
            features = names.join(","),
            "not offered by this kernel, or switched off"
        );
    }
    let surveyor = Surveyor::new(
        survey_limits(config)?,
        Procfs::new(&config.procfs.root),
        SockDiag::new(),
    )
    .on(features);
    Ok(match config.poll.probe_ports {
        true => surveyor.asking(connect_can_have),
        false => surveyor,
    })
}

/// The limits that were asked for, or fewer where `limits.series` does not allow them.
///
/// # Errors
/// When even one key of each kind is too many for `limits.series`.
pub fn survey_limits(config: &Config) -> Result<SurveyLimits> {
    let wanted = SubjectLimits {
        peers: config.limits.peers,
        destinations: config.limits.destinations,
        sources: config.limits.sources,
        local_ports: config.limits.local_ports,
        cgroups: match config.owners.enabled {
            true => config.limits.cgroups,
            false => 0,
        },
        always: config.local_ports.always.clone(),
        peak_window: config.poll.peak_window,
    };
    let Some(subjects) = wanted.fit(config.limits.series) else {
        bail!(
            "limits.series = {}: too few for the {} ports of local_ports.always: raise it, or list fewer ports",
            config.limits.series,
            config.local_ports.always.len()
        );
    };
    if wanted.series() > config.limits.series {
        tracing::warn!(
            series = config.limits.series,
            needed = wanted.series(),
            peers = subjects.peers,
            destinations = subjects.destinations,
            sources = subjects.sources,
            local_ports = subjects.local_ports,
            cgroups = subjects.cgroups,
            "limits.series is too small for the other limits, which are brought down"
        );
    }
    Ok(SurveyLimits {
        subjects,
        tracked_keys: config.limits.tracked_keys,
        dump_timeout: config.poll.timeout,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::fake_kernel::Kernel;

    /// Serves until it ends by itself; a kernel that answers like this.
    fn end_with(kernel: &Kernel) -> Result<()> {
        let mut config = Config::default();
        config.web.listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        let procfs = Procfs::new(&config.procfs.root);
        let surveyor = Surveyor::new(survey_limits(&config)?, procfs, kernel.sock_diag());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let listeners = server::bind(&config.web.listen, false)?;
            let daemon = Daemon::collect(&config, listeners, surveyor)?;
            let end = daemon.serve(std::future::pending());
            tokio::time::timeout(Duration::from_secs(10), end).await?
        })
    }

    #[test]
    fn a_collector_that_panics_ends_the_daemon_with_an_error() {
        let error = end_with(&Kernel::new(|_| panic!("on purpose"))).unwrap_err();
        assert!(
            error.to_string().starts_with("the collector thread died"),
            "{error}"
        );
    }
}
