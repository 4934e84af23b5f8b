//! Real network namespaces: which are found, how they are called, and that no figure of
//! one ever stands under another's name.

mod support;

use std::io::Read;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use sockdiag_exporter::config::Config;
use sockdiag_exporter::daemon::{roster, survey_limits};
use sockdiag_exporter::kernel::procfs::Procfs;
use sockdiag_exporter::kernel::sock_diag::SockDiag;
use sockdiag_exporter::model::state::State;
use sockdiag_exporter::snapshot::Kind;
use sockdiag_exporter::survey::namespace::Namespace as Observed;
use sockdiag_exporter::survey::roster::Roster;
use sockdiag_exporter::survey::surveyor::Surveyor;
use socket2::Socket;
use tempfile::TempDir;

use support::exposition::Exposition;
use support::netns::{Namespace, in_netns, set_port_range};
use support::plan::Plan;
use support::process::Process;
use support::sockets::Listener;
use support::{http, patience, ss, tools};

/// Who looks for namespaces below a directory, and what it finds there.
struct Observer {
    directory: TempDir,
    surveyor: Surveyor,
    roster: Roster,
}

impl Observer {
    /// Of names that begin like this.
    fn of(pattern: &str) -> Self {
        Self::with(pattern, TempDir::new().unwrap(), Path::new("/proc"))
    }

    /// Of processes below this directory.
    fn with(pattern: &str, directory: TempDir, proc: &Path) -> Self {
        let mut config = Config::default();
        config.procfs.root = proc.to_owned();
        config.netns.enabled = true;
        config.netns.directories = vec![directory.path().to_owned()];
        config.netns.include = vec![pattern.to_owned()];
        let limits = survey_limits(&config).unwrap();
        Self {
            directory,
            surveyor: Surveyor::new(limits, Procfs::new("/proc"), SockDiag::default()),
            roster: roster(&config).unwrap(),
        }
    }

    fn name(&self, name: &str, namespace: &Path) {
        symlink(namespace, self.directory.path().join(name)).unwrap();
    }

    fn unname(&self, name: &str) {
        std::fs::remove_file(self.directory.path().join(name)).unwrap();
    }

    /// A tick, and the names of those that were found.
    fn tick(&mut self) -> Vec<String> {
        self.roster.tick(&mut self.surveyor);
        let others = self.roster.all[1..].iter();
        others.map(|namespace| namespace.name.clone()).collect()
    }

    /// A dump of all.
    fn dump(&mut self) {
        for namespace in &mut self.roster.all {
            self.surveyor.dump(namespace, &AtomicBool::new(false));
        }
        // Whoever stays in a namespace keeps it alive.
        self.surveyor.leave_for(&mut self.roster.all[0]);
    }

    fn get(&self, name: &str) -> &Observed {
        let mut all = self.roster.all.iter();
        all.find(|one| one.name == name)
            .unwrap_or_else(|| panic!("no {name}"))
    }

    fn first_port(&self, name: &str) -> u16 {
        let ports = self.get(name).facts.ephemeral.measured().unwrap();
        ports.capacity.settings.range.first
    }

    fn established(&self, name: &str) -> u32 {
        let sockets = self.get(name).facts.sockets.measured().unwrap();
        sockets.in_state(State::Established) as u32
    }
}

/// So many connections to a listener there, both ends held.
fn connections(namespace: &Namespace, at: &str, count: usize) -> (Listener, Vec<(Socket, Socket)>) {
    namespace.enter(|| {
        let listener = Listener::at(at.parse::<SocketAddr>().unwrap()).unwrap();
        let pairs = (0..count).map(|_| listener.pair(&listener.plan()).unwrap());
        let pairs = pairs.collect();
        (listener, pairs)
    })
}

#[test]
fn each_namespace_has_its_own_figures() {
    in_netns("each_namespace_has_its_own_figures", &["ss"], || {
        let [one, two, idle] = [(); 3].map(|()| Namespace::fresh());
        set_port_range(30_000, 30_999);
        one.enter(|| set_port_range(40_000, 40_099));
        two.enter(|| set_port_range(50_000, 50_019));
        let here = Namespace::here();
        let _held = [
            connections(&here, "127.0.0.1:443", 3),
            connections(&one, "127.9.0.1:443", 60),
            connections(&two, "[::1]:443", 7),
        ];
        let mut observer = Observer::of("test-*");
        for (name, namespace) in [("test-one", &one), ("test-two", &two), ("test-idle", &idle)] {
            observer.name(name, &namespace.path());
        }
        assert_eq!(observer.tick(), ["test-idle", "test-one", "test-two"]);
        observer.dump();
        for (name, namespace, first) in [
            ("host", &here, 30_000),
            ("test-one", &one, 40_000),
            ("test-two", &two, 50_000),
            ("test-idle", &idle, 32_768),
        ] {
            let expected = namespace.enter(ss::tcp);
            let expected = ss::in_state(&expected, "ESTAB") as u32;
            assert_eq!(observer.first_port(name), first, "{name}");
            assert_eq!(observer.established(name), expected, "{name}");
            assert_eq!(expected > 0, name != "test-idle", "{name}");
        }
        let ports = observer.get("test-one").facts.ephemeral.measured().unwrap();
        assert_eq!(ports.utilization.tcp_destination, 0.6);
        // What the ratio promises there, the kernel grants there.
        let granted = one.enter(|| {
            let to: SocketAddr = "127.9.0.1:443".parse().unwrap();
            let opened: Vec<_> = (0..100).map_while(|_| Plan::tcp(to).open().ok()).collect();
            opened.len()
        });
        assert_eq!(granted, 40);
    });
}

#[test]
fn one_with_two_names_is_one_and_what_is_excluded_is_counted() {
    let test = "one_with_two_names_is_one_and_what_is_excluded_is_counted";
    in_netns(test, &[], || {
        let [one, two] = [(); 2].map(|()| Namespace::fresh());
        let mut observer = Observer::of("test-*");
        observer.name("test-b", &one.path());
        observer.name("test-a", &one.path());
        observer.name("other", &two.path());
        observer.name("test-own", &Namespace::here().path());
        std::fs::write(observer.directory.path().join("test-file"), "").unwrap();
        assert_eq!(observer.tick(), ["test-a"]);
        // Those of other processes of the machine may be excluded, too.
        assert!(observer.roster.skipped["excluded"] >= 1);
        assert_eq!(observer.roster.skipped["not_permitted"], 0);
    });
}

#[test]
fn one_that_goes_is_gone_at_the_next_tick() {
    in_netns("one_that_goes_is_gone_at_the_next_tick", &[], || {
        let [one, two] = [(); 2].map(|()| Namespace::fresh());
        let mut observer = Observer::of("test-*");
        observer.name("test-one", &one.path());
        observer.name("test-two", &two.path());
        assert_eq!(observer.tick().len(), 2);
        observer.unname("test-one");
        assert_eq!(observer.tick(), ["test-two"]);
        // Its name stays behind, as that of a container that was killed may.
        drop(two);
        assert_eq!(observer.tick().len(), 0);
        // It must not be kept alive by whoever looks at it.
        observer.dump();
        assert!(observer.roster.all[0].facts.sockets.measured().is_some());
    });
}

/// A process in a namespace of its own, until it is dropped.
struct Pod(Child);

impl Pod {
    fn start() -> Self {
        let mut child = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo ready; exec sleep 600"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdout
            .take()
            .unwrap()
            .read_exact(&mut [0; 6])
            .unwrap();
        Self(child)
    }

    fn path(&self) -> std::path::PathBuf {
        format!("/proc/{}/ns/net", self.0.id()).into()
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn one_of_processes_alone_is_found_by_its_number() {
    let test = "one_of_processes_alone_is_found_by_its_number";
    in_netns(test, &["unshare"], || {
        let pod = Pod::start();
        let inode = std::fs::read_link(pod.path()).unwrap();
        let inode: String = inode.to_str().unwrap().matches(char::is_numeric).collect();
        let name = format!("net-{inode}");
        let mut observer = Observer::of(&name);
        assert_eq!(observer.tick(), std::slice::from_ref(&name));
        let snapshot = observer.get(&name).snapshot();
        assert_eq!(snapshot.identity.kind, Kind::Process);
        assert_eq!(snapshot.identity.inode.to_string(), inode);
        drop(pod);
        assert_eq!(observer.tick().len(), 0);
    });
}

/// Processes below a directory of the test's, in namespaces that are real.
#[test]
fn a_container_gives_its_name_and_its_pod() {
    in_netns("a_container_gives_its_name_and_its_pod", &[], || {
        let (pod, named) = (Namespace::fresh(), Namespace::fresh());
        let proc = TempDir::new().unwrap();
        let uid = "0f1e2d3c-1111-2222-3333-444455556666";
        let process = |number: u32, namespace: &Namespace, id: char| {
            let directory = proc.path().join(number.to_string());
            std::fs::create_dir_all(directory.join("ns")).unwrap();
            symlink(namespace.path(), directory.join("ns/net")).unwrap();
            let slice = format!("kubepods-pod{}.slice", uid.replace('-', "_"));
            let id = id.to_string().repeat(64);
            let path = format!("0::/kubepods.slice/{slice}/cri-containerd-{id}.scope\n");
            std::fs::write(directory.join("cgroup"), path).unwrap();
        };
        process(20, &pod, 'b');
        process(9, &pod, 'a');
        process(30, &named, 'c');
        let mut observer = Observer::with("*", TempDir::new().unwrap(), proc.path());
        observer.name("cni-1", &named.path());
        assert_eq!(observer.tick(), ["aaaaaaaaaaaa", "cni-1"]);
        for (name, kind, id) in [
            ("aaaaaaaaaaaa", Kind::Process, 'a'),
            ("cni-1", Kind::Named, 'c'),
        ] {
            let identity = observer.get(name).snapshot().identity;
            assert_eq!((identity.kind, &identity.pod_uid[..]), (kind, uid));
            let expected = format!("containerd://{}", id.to_string().repeat(64));
            assert_eq!(identity.container_id, expected);
        }
    });
}

/// The kernel gives a new namespace the lowest inode that is free: that of one that has
/// just gone.
#[test]
fn nothing_is_known_of_one_that_took_an_inode_over() {
    let test = "nothing_is_known_of_one_that_took_an_inode_over";
    in_netns(test, &["unshare"], || {
        let mut observer = Observer::of("test-*");
        let inode = |pod: &Pod| std::fs::read_link(pod.path()).unwrap();
        for turn in 1..=25 {
            let first = Pod::start();
            observer.name("test-pod", &first.path());
            observer.tick();
            observer.dump();
            assert!(observer.get("test-pod").dumps.is_some());
            let of_first = inode(&first);
            drop(first);
            observer.unname("test-pod");
            // It is taken apart in the kernel's own time.
            std::thread::sleep(Duration::from_millis(40 * turn));
            let second = Pod::start();
            observer.name("test-pod", &second.path());
            observer.tick();
            if inode(&second) == of_first {
                let namespace = observer.get("test-pod");
                assert!(namespace.dumps.is_none());
                assert!(namespace.facts.sockets.measured().is_none());
                return;
            }
            observer.unname("test-pod");
            observer.tick();
            drop(second);
            // Else its inode is the lowest that is free by the time that the next one is made.
            std::thread::sleep(Duration::from_millis(40 * turn));
        }
        // Others of the machine may have taken each of them.
        println!("{test}: no inode was used again, nothing was shown");
    });
}

/// The page of a daemon that observes namespaces: what fills up is named within a tick
/// and a dump.
#[test]
fn a_namespace_that_fills_up_is_named() {
    in_netns("a_namespace_that_fills_up_is_named", &[], || {
        let [busy, idle] = [(); 2].map(|()| Namespace::fresh());
        busy.enter(|| set_port_range(40_000, 40_099));
        let directory = TempDir::new().unwrap();
        for (name, namespace) in [("test-busy", &busy), ("test-idle", &idle)] {
            symlink(namespace.path(), directory.path().join(name)).unwrap();
        }
        let config = format!(
            "[netns]\nenabled = true\ndirectories = [{:?}]\ninclude = [\"test-*\"]\n",
            directory.path()
        );
        let file = directory.path().join("exporter.toml");
        std::fs::write(&file, config).unwrap();
        let at: SocketAddr = "127.0.0.1:10061".parse().unwrap();
        let mut command = Command::new(tools::exporter());
        command.arg("--config").arg(&file);
        let process = Process::start(&mut command, &directory.path().join("log"));
        let page = || Exposition::parse(http::get(at, "/metrics").ok()?.text()).into();
        let value = |name: &str, labels: &[(&str, &str)]| -> Option<f64> {
            let page: Option<Exposition> = page();
            page?.get(name, labels)
        };
        let count = || value("sockdiag_namespaces", &[]);
        let is_up = tools::wait_until(patience::seconds(10), || count() == Some(3.0));
        assert!(is_up, "{}", process.log());
        let bound = "sockdiag_ephemeral_utilization_bound_ratio";
        let of = |name| [("netns", name), ("protocol", "tcp")];
        assert_eq!(value(bound, &of("test-busy")), Some(0.0));

        let _held = connections(&busy, "127.9.0.1:443", 90);
        let used = [
            ("netns", "test-busy"),
            ("protocol", "tcp"),
            ("source", "127.0.0.1"),
            ("destination", "127.9.0.1"),
            ("port", "443"),
        ];
        let is_seen = tools::wait_until(patience::seconds(10), || {
            value("sockdiag_ephemeral_destination_ports_used", &used) == Some(90.0)
        });
        assert!(is_seen, "{}", process.log());
        assert!(value(bound, &of("test-busy")) >= Some(0.9));
        assert_eq!(value(bound, &of("test-idle")), Some(0.0));
    });
}

/// Without CAP_SYS_ADMIN others are counted, one line says why, and the host's figures are
/// there.
#[test]
fn without_the_privilege_the_host_is_observed_as_ever() {
    let test = "without_the_privilege_the_host_is_observed_as_ever";
    in_netns(test, &["setpriv"], || {
        let other = Namespace::fresh();
        let directory = TempDir::new().unwrap();
        symlink(other.path(), directory.path().join("test-other")).unwrap();
        let file = directory.path().join("exporter.toml");
        let config = format!(
            "[netns]\nenabled = true\ndirectories = [{:?}]\ninclude = [\"test-*\"]\n",
            directory.path()
        );
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new("setpriv");
        command
            .args(["--bounding-set=-sys_admin", "--"])
            .arg(tools::exporter())
            .arg("--config")
            .arg(&file);
        let process = Process::start(&mut command, &directory.path().join("log"));
        let at: SocketAddr = "127.0.0.1:10061".parse().unwrap();
        let value = |name: &str, labels: &[(&str, &str)]| {
            let page = Exposition::parse(http::get(at, "/metrics").ok()?.text());
            page.get(name, labels)
        };
        let skipped = [("reason", "not_permitted")];
        let is_told = tools::wait_until(patience::seconds(10), || {
            value("sockdiag_namespaces_skipped", &skipped) == Some(1.0)
        });
        assert!(is_told, "{}", process.log());
        assert_eq!(value("sockdiag_namespaces", &[]), Some(1.0));
        let own = [("netns", "host"), ("collector", "sockets")];
        assert_eq!(value("sockdiag_collector_up", &own), Some(1.0));
        let log = process.log();
        assert_eq!(log.matches("CAP_SYS_ADMIN").count(), 1, "{log}");
    });
}
