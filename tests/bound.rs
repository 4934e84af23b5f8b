//! The bound that is read without a dump is never below the ratio that a dump shows,
//! whatever connections were opened and closed since.

mod support;

use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use sockdiag_exporter::config::Config;
use sockdiag_exporter::daemon::survey_limits;
use sockdiag_exporter::kernel::procfs::Procfs;
use sockdiag_exporter::kernel::sock_diag::SockDiag;
use sockdiag_exporter::subjects::ports::bound::Bound;
use sockdiag_exporter::subjects::ports::utilization::Utilization;
use sockdiag_exporter::survey::namespace::Namespace as Observed;
use sockdiag_exporter::survey::surveyor::Surveyor;
use socket2::Socket;

use support::dice::Dice;
use support::netns::{Namespace, in_netns, set_port_range, set_reuse};
use support::plan::Plan;
use support::sockets::{Listener, close_in_turn};

const DESTINATIONS: [&str; 3] = ["127.9.0.1:443", "127.9.0.2:443", "[::1]:443"];
/// Nobody answers.
const SINK: &str = "127.9.0.1:9";

/// A namespace as one observer knows it.
struct Observer {
    surveyor: Surveyor,
    namespace: Observed,
}

impl Observer {
    fn new() -> Self {
        let limits = survey_limits(&Config::default()).unwrap();
        Self {
            surveyor: Surveyor::new(limits, Procfs::new("/proc"), SockDiag::default()),
            namespace: Observed::own("host").unwrap(),
        }
    }

    fn dump(&mut self) -> Utilization {
        self.tick();
        self.surveyor
            .dump(&mut self.namespace, &AtomicBool::new(false));
        self.namespace
            .facts
            .ephemeral
            .measured()
            .unwrap()
            .utilization
    }

    fn tick(&mut self) -> Bound {
        self.surveyor.tick(&mut self.namespace).unwrap();
        self.namespace.snapshot().bound.unwrap()
    }
}

/// Something that programs do, and time.
fn act(
    dice: &mut Dice,
    listeners: &[Listener],
    held: &mut Vec<(Socket, Socket)>,
    udp: &mut Vec<Socket>,
) {
    match dice.roll(0, 9) {
        0..=4 => {
            let to = &listeners[dice.roll(0, 2) as usize];
            let plan = to.plan();
            // Refused where all ports are gone.
            held.extend((0..dice.roll(1, 12)).map_while(|_| to.pair(&plan).ok()));
        }
        5..=6 => {
            for _ in 0..dice.roll(1, 8).min(held.len() as u16) {
                let at = usize::from(dice.roll(0, held.len() as u16 - 1));
                let (client, server) = held.swap_remove(at);
                let client_first = dice.roll(0, 1) == 0;
                let [first, second] = match client_first {
                    true => [client, server],
                    false => [server, client],
                };
                close_in_turn(first, second).unwrap();
            }
        }
        7 => udp.extend(Plan::udp(SINK.parse().unwrap()).open()),
        8 => drop(udp.pop()),
        _ => std::thread::sleep(Duration::from_millis(dice.roll(1, 40).into())),
    }
}

#[test]
fn the_ratio_never_exceeds_the_bound() {
    in_netns("the_ratio_never_exceeds_the_bound", &[], || {
        let seed = std::env::var("SOCKDIAG_SEED").map_or(1, |seed| seed.parse().unwrap());
        for seed in seed..seed + 6 {
            Namespace::fresh().enter(|| script(seed));
        }
    });
}

fn script(seed: u64) {
    let mut dice = Dice(seed);
    set_port_range(40_000, 40_000 + dice.roll(20, 120));
    set_reuse(dice.of(&[0, 1, 2]), 20);
    let listen = |at: &str| Listener::at(at.parse::<SocketAddr>().unwrap()).unwrap();
    let listeners = DESTINATIONS.map(listen);
    let (mut held, mut udp) = (Vec::new(), Vec::new());
    let (mut observer, mut witness) = (Observer::new(), Observer::new());
    let mut moved = 0;
    for step in 0..60 {
        if dice.roll(0, 9) == 0 {
            observer.dump();
        }
        let before = observer.tick();
        for _ in 0..dice.roll(1, 3) {
            act(&mut dice, &listeners, &mut held, &mut udp);
        }
        let bound = observer.tick();
        let truth = witness.dump();
        moved += u32::from(bound != before);
        assert!(
            truth.tcp_destination <= bound.tcp && truth.udp_source <= bound.udp,
            "seed {seed}, step {step}: {truth:?}, {bound:?}"
        );
    }
    assert!(moved > 20, "the bound moved {moved} times");
}
