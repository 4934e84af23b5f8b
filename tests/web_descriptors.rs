//! A process that runs out of file descriptors goes on serving. In a binary of
//! its own, because the limit holds for the whole process.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sockdiag_exporter::progress::Progress;
use sockdiag_exporter::self_metrics::SelfMetrics;
use sockdiag_exporter::show::web::App;
use sockdiag_exporter::show::web::client::ConnectionLimits as Limits;
use sockdiag_exporter::show::web::routes::router;
use sockdiag_exporter::show::web::server::{bind, serve};
use sockdiag_exporter::snapshot::channel;

/// Far above what the test takes, so that a failing one ends.
const PATIENCE: Duration = Duration::from_secs(30);

const CLIENTS: u64 = 12;

/// Fewer than the server would accept.
const FOR_THE_SERVER: u64 = 4;

fn limit_descriptors() {
    let used = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64;
    let maximum = getrlimit(Resource::Nofile).maximum;
    let current = Some(used + CLIENTS + FOR_THE_SERVER);
    setrlimit(Resource::Nofile, Rlimit { current, maximum }).unwrap();
}

#[test]
fn a_scrape_is_answered_though_silent_clients_took_every_descriptor() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let (_publisher, latest) = channel();
    let own = Arc::new(SelfMetrics::new("1", "r", SystemTime::now()));
    let app = App {
        latest,
        history: Arc::default(),
        progress: Progress::new(Duration::from_secs(3600)),
        own,
        version: "1",
        revision: "r",
        telemetry_path: "/metrics".into(),
        gate: None,
    };
    let limits = Limits {
        max_connections: 100,
        header_timeout: PATIENCE,
        request_timeout: PATIENCE,
    };
    let listeners = runtime
        .block_on(async { bind(&["127.0.0.1:0".parse().unwrap()], false) })
        .unwrap();
    let address = listeners[0].local_addr().unwrap();
    runtime.spawn(serve(
        listeners,
        router(app),
        None,
        limits,
        std::future::pending(),
    ));
    limit_descriptors();
    // The kernel completes connections that nobody accepts yet.
    let mut clients: Vec<_> = (0..CLIENTS)
        .map_while(|_| TcpStream::connect(address).ok())
        .collect();
    let last = clients.last_mut().expect("a descriptor for one client");
    last.set_read_timeout(Some(PATIENCE)).unwrap();
    last.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    last.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}
