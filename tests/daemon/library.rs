//! The daemon as a library: `Daemon::start` and `run` on port 0.

use std::time::Duration;

use sockdiag_exporter::config::Config;
use sockdiag_exporter::daemon::{self, Daemon};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::exporter::{patience, promptly};
use super::gate::Gate;
use crate::support::http;
use crate::support::netns::in_netns;

fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

fn on_port_0() -> Config {
    let mut config = Config::default();
    config.web.listen = vec!["127.0.0.1:0".parse().unwrap()];
    config
}

#[test]
fn port_0_becomes_a_port_that_gets_ready_and_stops() {
    let name = "daemon::library::port_0_becomes_a_port_that_gets_ready_and_stops";
    in_netns(name, &[], || {
        let gate = Gate::shut();
        let mut config = on_port_0();
        config.procfs.root = gate.root().to_owned();
        let runtime = runtime();
        let daemon = runtime.block_on(async { Daemon::start(&config) }).unwrap();
        let addresses = daemon.addresses();
        let [address] = addresses[..] else {
            panic!("{addresses:?}")
        };
        assert_ne!(address.port(), 0);
        let mut latest = daemon.latest();
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = runtime.spawn(daemon.serve(async { _ = stopped.await }));
        let ready = || http::get(address, "/-/ready").unwrap().status;
        assert_eq!((ready(), latest.has_started()), (503, false));
        gate.open();
        let changed = runtime.block_on(async { timeout(patience(), latest.changed()).await });
        assert!(changed.unwrap());
        assert_eq!(ready(), 200);
        stop.send(()).unwrap();
        let ended = runtime.block_on(async { timeout(promptly(), serving).await });
        ended.expect("within a second").unwrap().unwrap();
        assert!(http::get(address, "/").is_err());
    });
}

#[test]
fn run_ends_with_its_shutdown() {
    in_netns("daemon::library::run_ends_with_its_shutdown", &[], || {
        let ended = runtime().block_on(async {
            let shutdown = tokio::time::sleep(Duration::from_millis(200));
            timeout(patience(), daemon::run(on_port_0(), shutdown)).await
        });
        ended.expect("it ends").unwrap();
    });
}

#[test]
fn too_few_series_are_refused() {
    let mut config = on_port_0();
    config.limits.series = 1;
    let started = runtime().block_on(async { Daemon::start(&config) });
    let error = started.err().expect("it is refused").to_string();
    assert!(error.starts_with("limits.series = 1: too few"), "{error}");
}
