//! The daemon: bind, spawn, supervise, stop.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use axum::middleware::from_fn;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::cli::{REVISION, VERSION};
use crate::config::Config;
use crate::kernel::features::KernelFeatures;
use crate::kernel::netlink::transport::Transport;
use crate::kernel::port_probe::connect_can_have;
use crate::kernel::procfs::Procfs;
use crate::kernel::sock_diag::SockDiag;
use crate::progress::Progress;
use crate::self_metrics::SelfMetrics;
use crate::show::web::client::ConnectionLimits;
use crate::show::web::web_config::WebConfig;
use crate::show::web::web_config::gate::Gate;
use crate::show::web::{App, host, routes, server};
use crate::snapshot::{self, Latest};
use crate::subjects;
use crate::subjects::limits::{Floor, SubjectLimits};
use crate::survey::finder::Finder;
use crate::survey::namespace::Namespace;
use crate::survey::poller::{Poller, Stop};
use crate::survey::roster::Roster;
use crate::survey::schedule::Pace;
use crate::survey::surveyor::{SurveyLimits, Surveyor};
use crate::{process, systemd, web_setup};

/// How long the collector thread may take to come out of the kernel when the
/// daemon stops. It looks at the stop flag after every datagram.
const COLLECTOR_GRACE: Duration = Duration::from_millis(300);

/// Intervals without progress after which the collector thread is stuck.
const STUCK_INTERVALS: u32 = 5;

/// A daemon that is bound and polling, and not serving yet.
pub struct Daemon {
    listeners: Vec<TcpListener>,
    limits: ConnectionLimits,
    web_config: Option<Arc<WebConfig>>,
    app: App,
    /// The collector.
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
    /// Binds every address and starts to poll. Takes nothing where the web configuration is
    /// no good.
    ///
    /// # Errors
    /// When that is so, an address cannot be bound, or the limits cannot be kept.
    pub fn start(config: &Config) -> Result<Self> {
        let web_config = web_setup::web_config(config)?.map(Arc::new);
        let listeners = web_setup::listeners(config)?;
        Self::collect(config, listeners, web_config, surveyor(config)?)
    }

    /// Starts to poll with this surveyor.
    fn collect<T: Transport + Send + 'static>(
        config: &Config,
        listeners: Vec<TcpListener>,
        web_config: Option<Arc<WebConfig>>,
        surveyor: Surveyor<T>,
    ) -> Result<Self> {
        let gate = web_config.clone().map(Gate::new).transpose()?;
        let own = Arc::new(SelfMetrics::new(VERSION, REVISION, SystemTime::now()));
        let (publisher, latest) = snapshot::channel();
        let stop = Stop::default();
        // A dump may take its deadline: that is slow, and several intervals more are stuck.
        let progress = Progress::new(STUCK_INTERVALS * config.poll.interval + config.poll.timeout);
        let poller = Poller {
            pace: Pace {
                interval: config.poll.interval,
                tick: config.poll.tick,
                max_duty: config.poll.max_duty,
                age_max: config.poll.age_max,
            },
            roster: roster(config)?,
            series: config.netns.series,
            surveyor,
            own: Arc::clone(&own),
            publisher,
            progress: progress.clone(),
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
                max_connections: process::max_connections(config),
                header_timeout: config.web.header_timeout,
                request_timeout: config.web.request_timeout,
            },
            app: App {
                latest,
                history: Arc::default(),
                own,
                progress,
                version: VERSION,
                revision: REVISION,
                telemetry_path: config.web.telemetry_path.as_str().into(),
                gate: gate.map(Arc::new),
            },
            web_config,
            thread,
            stop,
            gone,
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
    pub async fn serve(mut self, shutdown: impl Future<Output = ()>) -> Result<()> {
        let addresses = self.addresses();
        let watch = systemd::report(self.app.latest.clone());
        let remember = self.app.clone().remember();
        let mut router = routes::router(self.app);
        if host::is_local(&addresses) {
            router = router.layer(from_fn(host::guard));
        }
        let mut died = false;
        let end = async {
            tokio::select! {
                () = shutdown => {}
                () = watch => {}
                () = remember => {}
                _ = &mut self.gone => died = true,
            }
            systemd::say_stopping();
        };
        server::serve(self.listeners, router, self.web_config, self.limits, end).await;
        if died {
            bail!("the collector thread died; see the log above");
        }
        self.stop.request(self.thread.thread());
        // A thread that hangs in the kernel must not keep the process: it ends
        // with it.
        if tokio::time::timeout(COLLECTOR_GRACE, self.gone)
            .await
            .is_ok()
        {
            self.thread
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

/// The namespaces that are to be observed.
///
/// # Errors
/// When the thread cannot tell where it is.
pub fn roster(config: &Config) -> Result<Roster> {
    let netns = &config.netns;
    let own = Namespace::own(&netns.host_name)
        .context("cannot tell the network namespace of this process (is /proc mounted?)")?;
    if !netns.enabled {
        return Ok(Roster::of(own));
    }
    let finder = Finder::new(
        (own.id, &own.name),
        &netns.directories,
        [&netns.include, &netns.exclude],
        &config.procfs.root,
    );
    Ok(Roster::of(own).with(finder))
}

pub(crate) fn surveyor(config: &Config) -> Result<Surveyor> {
    let features = KernelFeatures::probe(config.poll.probe_ports);
    if features != KernelFeatures::ALL {
        let lacking = features.each().into_iter().filter(|(_, has_it)| !has_it);
        let names: Vec<_> = lacking.map(|(name, _)| name).collect();
        tracing::info!(
            features = names.join(","),
            "not offered by this kernel, or switched off"
        );
    }
    let (limits, procfs) = (survey_limits(config)?, Procfs::new(&config.procfs.root));
    let mut surveyor = Surveyor::new(limits, procfs, SockDiag::default());
    surveyor.features = features;
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
    let cgroups = |most: usize| if config.owners.enabled { most } else { 0 };
    let wanted = SubjectLimits {
        peers: config.limits.peers,
        destinations: config.limits.destinations,
        sources: config.limits.sources,
        local_ports: config.limits.local_ports,
        cgroups: cgroups(config.limits.cgroups),
        floor: Floor {
            sockets: config.limits.floor_sockets,
            share: config.limits.floor_share,
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
    let keys = config.netns.keys;
    Ok(SurveyLimits {
        others: SubjectLimits {
            peers: keys,
            destinations: keys,
            sources: keys,
            local_ports: keys,
            cgroups: cgroups(keys),
            floor: subjects.floor,
            always: Vec::new(),
            peak_window: subjects.peak_window,
        },
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
            let daemon = Daemon::collect(&config, listeners, None, surveyor)?;
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
