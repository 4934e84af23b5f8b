//! Findings about sockets in states that tell of trouble: full accept queues,
//! CLOSE_WAIT, SYN_SENT, and a client that has used up its tuples.

use super::growth::{Series, Trends};
use super::{Advice, Finding, FindingId, Severity, by_state, in_words};
use crate::model::figures::{endpoint, grouped, percent, rate};
use crate::model::pool::Pool;
use crate::model::state::State;
use crate::subjects::Facts;
use crate::subjects::listeners::AcceptQueue;
use crate::subjects::peers::Peer;

/// Ports that a client address can use toward one service port: 1024 to 65535,
/// rounded down.
const TUPLES: u32 = 64_000;
/// CLOSE_WAIT below this is everyday life.
const CLOSE_WAIT_FLOOR: u32 = 50;
/// CLOSE_WAIT that grow by this part of themselves within so many seconds leak.
const LEAK_SHARE: f64 = 0.1;
const LEAK_WINDOW: f64 = 300.0;
/// Unanswered connects to one destination below this are everyday life.
const SYN_SENT_FLOOR: u32 = 20;

pub(super) fn findings(facts: &Facts, trends: &Trends) -> Vec<Finding> {
    let mut findings = accept_queues(facts, trends);
    if let Some(peers) = facts.peers.measured() {
        findings.extend(peers.outbound.peers.iter().filter_map(syn_sent));
        findings.extend(peers.inbound.peers.iter().filter_map(near_tuple_limit));
    }
    findings.extend(close_wait(facts, trends));
    findings
}

/// The counter is the namespace's: it does not tell which queue overflowed.
fn accept_queues(facts: &Facts, trends: &Trends) -> Vec<Finding> {
    let Some(listeners) = facts.listeners.measured() else {
        return Vec::new();
    };
    let dropped = trends.rate(&Series::TcpEvent("listen_overflow"));
    let queues = listeners.queues.iter();
    let findings: Vec<_> = queues
        .filter_map(|queue| accept_queue(queue, dropped))
        .collect();
    match dropped {
        Some(dropped) if findings.is_empty() => vec![bursts(dropped)],
        _ => findings,
    }
}

const ACCEPT_CURE: &str = "Find out why the program does not accept: out of threads or file descriptors, stuck, or too slow for the load.";
const LONG_QUEUE: &str =
    "Connections that wait longer than their client does are accepted for nothing.";

/// Whose queue it is.
pub fn queue_subject(queue: &AcceptQueue) -> String {
    endpoint(queue.address, queue.port)
}

fn accept_queue(queue: &AcceptQueue, dropped: Option<f64>) -> Option<Finding> {
    let share = queue.pool().share();
    // A queue of one or two says nothing.
    let severity = Severity::of_share(share).filter(|_| queue.waiting > 2)?;
    let listener = queue_subject(queue);
    let (waiting, limit) = (grouped(queue.waiting), grouped(queue.limit));
    let full = percent(share);
    let what = format!(
        "{waiting} connections wait for accept() on {listener}, whose limit is {limit} ({full})."
    );
    let mut because = Vec::new();
    if queue.waiting > queue.limit {
        because.push("It is full: the kernel lets in one more than the limit says.".to_owned());
    }
    because.push("The kernel has finished these handshakes and the program has not called accept(). When the queue is full the last packet of a handshake is dropped: clients see slow connects and time-outs.".to_owned());
    because.extend(dropped.map(|per_second| {
        format!(
            "{} connections a second find a queue full (ListenOverflows, of all listeners).",
            rate(per_second)
        )
    }));
    Some(Finding {
        because,
        advice: vec![
            Advice::new(ACCEPT_CURE),
            Advice::risking(
                format!(
                    "A longer queue rides out bursts: the smaller of listen(backlog) in the program and net.core.somaxconn counts, now {limit}."
                ),
                LONG_QUEUE,
            ),
        ],
        ..Finding::new(FindingId::AcceptQueue, listener, severity, share, what)
    })
}

/// Overflows although no queue was long at the poll.
fn bursts(per_second: f64) -> Finding {
    let what = format!(
        "{} connections a second find an accept queue full and are dropped (ListenOverflows).",
        rate(per_second)
    );
    Finding {
        because: vec![
            "No queue was long at the moment of the poll: they fill in bursts.".to_owned(),
        ],
        advice: vec![
            Advice::risking(
                "A longer queue rides out bursts: listen(backlog) in the program and net.core.somaxconn, whichever is smaller.",
                LONG_QUEUE,
            ),
            Advice::new(ACCEPT_CURE),
        ],
        ..Finding::new(
            FindingId::AcceptQueue,
            "accept queues",
            Severity::Warning,
            0.0,
            what,
        )
    }
}

fn syn_sent(peer: &Peer) -> Option<Finding> {
    let (waiting, all) = (peer.states.get(State::SynSent), peer.states.total());
    if waiting < SYN_SENT_FLOOR || waiting * 2 < all {
        return None;
    }
    let to = endpoint(peer.address, peer.port);
    let share = f64::from(waiting) / f64::from(all.max(1));
    let [unanswered, connections] = [waiting, all].map(grouped);
    let what =
        format!("{unanswered} of {connections} connections to {to} wait for an answer (SYN_SENT).");
    Some(Finding {
        because: vec![
            "A drop, by a firewall or a host that is down, is silent; a refusal would come back at once.".to_owned(),
        ],
        advice: vec![
            Advice::new(format!(
                "See whether {to} is up, whether it accepts, and whether a firewall drops on the way."
            )),
            Advice::new(
                "Bound the attempts: a connect timeout of a few seconds, a growing pause between tries, a circuit breaker.",
            ),
        ],
        ..Finding::new(FindingId::SynSent, to, Severity::Warning, share, what)
    })
}

fn near_tuple_limit(peer: &Peer) -> Option<Finding> {
    let pool = Pool::new(peer.states.total(), TUPLES);
    let severity = Severity::of(pool)?;
    let (connections, tuples, share) = in_words(pool);
    let mut advice = Vec::new();
    if peer.states.main() == Some(State::TimeWait) {
        advice.push(Advice::new(
            "This side closes first: let the client do it. Until then the kernel gives such a connection up for a new SYN with a newer timestamp or sequence number, so most connects still succeed (tcp_tw_reuse is for the side that connects and does nothing here).",
        ));
    }
    advice.push(Advice::new(
        "Let that client keep its connections open (keep-alive, HTTP/2).",
    ));
    advice.push(Advice::new(format!(
        "A second service port or address here, or a second address there, adds {tuples} connections."
    )));
    let (client, port) = (peer.address, peer.port);
    let what = format!(
        "{connections} connections of {client} to local port {port}: {share} of what one client address can have."
    );
    let subject = format!("{client} to local port {port}");
    Some(Finding {
        because: vec![
            format!("They are {}.", by_state(&peer.states)),
            "A connection is told apart by two addresses and two ports; with one client address and one service port only the client's port is left, about 64,000 (the figure sums over this host's addresses). Further connects of that client fail or are reset; other clients are unaffected.".to_owned(),
            "So many from one address are a proxy, a NAT gateway or a load generator.".to_owned(),
        ],
        advice,
        ..Finding::new(FindingId::ClientNearTupleLimit, subject, severity, pool.share(), what)
    })
}

/// Sockets that the peer has closed and the program here has not.
fn close_wait(facts: &Facts, trends: &Trends) -> Option<Finding> {
    let sockets = facts.sockets.measured()?;
    let count = sockets.inet.get(State::CloseWait) + sockets.inet6.get(State::CloseWait);
    let all = sockets.inet.connected().total() + sockets.inet6.connected().total();
    let share = f64::from(count) / f64::from(all.max(1));
    // Up and down by a few is everyday life, too.
    let leaks = |growth: &f64| growth * LEAK_WINDOW >= LEAK_SHARE * f64::from(count);
    let growth = trends.of(&Series::CloseWait).filter(leaks);
    if count < CLOSE_WAIT_FLOOR || (share < 0.1 && growth.is_none()) {
        return None;
    }
    let mut because = vec![
        "The peer has closed; only a close() in the program here ends them. They do not time out, and each holds a file descriptor: \"too many open files\" is next.".to_owned(),
    ];
    because.extend(holder(facts));
    because.extend(growth.map(|growth| format!("They grow by {} a second.", rate(growth))));
    let [waiting, connections, full] = [grouped(count), grouped(all), percent(share)];
    let what = format!(
        "{waiting} of {connections} connections are in CLOSE_WAIT ({full}): a program does not close."
    );
    Some(Finding {
        because,
        advice: vec![
            Advice::new(
                "Find the program (ss -tnp state close-wait) and mend it: a connection that reads end-of-file is to be closed, those in a pool included.",
            ),
            Advice::risking("Until then restart it.", "Its live connections go, too."),
        ],
        ..Finding::new(
            FindingId::CloseWaitLeak,
            "CLOSE_WAIT",
            Severity::Warning,
            share,
            what,
        )
    })
}

/// The peer with most of them.
fn holder(facts: &Facts) -> Option<String> {
    let peers = facts.peers.measured()?;
    let to = peers.outbound.peers.iter().map(|peer| (peer, false));
    let from = peers.inbound.peers.iter().map(|peer| (peer, true));
    let count = |(peer, _): &(&Peer, bool)| peer.states.get(State::CloseWait);
    let most = to.chain(from).max_by_key(count);
    let most = most.filter(|most| count(most) > 0)?;
    let many = grouped(count(&most));
    let (Peer { address, port, .. }, is_inbound) = most;
    Some(match is_inbound {
        true => format!(
            "Most of them, {many}, came from {address} to local port {port}: the server on that port."
        ),
        false => format!("Most of them, {many}, go to {}.", endpoint(*address, *port)),
    })
}
