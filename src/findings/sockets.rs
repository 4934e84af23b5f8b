//! Findings about sockets in states that tell of trouble: full accept queues,
//! CLOSE_WAIT, SYN_SENT, and a client that has used up its tuples.

use super::growth::{Series, Trends};
use super::{Advice, Finding, FindingId, Severity, by_state};
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
    let mut findings: Vec<_> = listeners
        .queues
        .iter()
        .filter_map(|queue| accept_queue(queue, dropped))
        .collect();
    if let Some(dropped) = dropped
        && findings.is_empty()
    {
        findings.push(bursts(dropped));
    }
    findings
}

const ACCEPT_CURE: &str = "Find out why the program does not accept: out of threads or file descriptors, stuck, or too slow for the load.";

/// Whose queue it is.
pub fn queue_subject(queue: &AcceptQueue) -> String {
    endpoint(queue.address, queue.port)
}

fn accept_queue(queue: &AcceptQueue, dropped: Option<f64>) -> Option<Finding> {
    let share = queue.pool().share();
    // A queue of one or two says nothing.
    let severity = Severity::of_share(share).filter(|_| queue.waiting > 2)?;
    let listener = queue_subject(queue);
    let mut because = vec![
        "The kernel has finished these handshakes and the program has not called accept(). When the queue is full the last packet of a handshake is dropped: clients see slow connects and time-outs.".to_owned(),
    ];
    if queue.waiting > queue.limit {
        because.insert(
            0,
            "It is full: the kernel lets in one more than the limit says.".to_owned(),
        );
    }
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
                    "A longer queue rides out bursts: the smaller of listen(backlog) in the program and net.core.somaxconn counts, now {}.",
                    grouped(queue.limit)
                ),
                "Connections that wait longer than their client does are accepted for nothing.",
            ),
        ],
        ..Finding::new(
            FindingId::AcceptQueue,
            listener.clone(),
            severity,
            share,
            format!(
                "{} connections wait for accept() on {listener}, whose limit is {} ({}).",
                grouped(queue.waiting),
                grouped(queue.limit),
                percent(share)
            ),
        )
    })
}

/// Overflows although no queue was long at the poll.
fn bursts(per_second: f64) -> Finding {
    Finding {
        because: vec![
            "No queue was long at the moment of the poll: they fill in bursts.".to_owned(),
        ],
        advice: vec![
            Advice::risking(
                "A longer queue rides out bursts: listen(backlog) in the program and net.core.somaxconn, whichever is smaller.",
                "Connections that wait longer than their client does are accepted for nothing.",
            ),
            Advice::new(ACCEPT_CURE),
        ],
        ..Finding::new(
            FindingId::AcceptQueue,
            "accept queues".to_owned(),
            Severity::Warning,
            0.0,
            format!(
                "{} connections a second find an accept queue full and are dropped (ListenOverflows).",
                rate(per_second)
            ),
        )
    }
}

fn syn_sent(peer: &Peer) -> Option<Finding> {
    let (waiting, all) = (peer.states.get(State::SynSent), peer.states.total());
    if waiting < SYN_SENT_FLOOR || waiting * 2 < all {
        return None;
    }
    let to = endpoint(peer.address, peer.port);
    Some(Finding {
        because: vec![
            "A drop, by a firewall or a host that is down, is silent; a refusal would come back at once.".to_owned(),
        ],
        advice: vec![
            Advice::new(format!("See whether {to} is up, whether it accepts, and whether a firewall drops on the way.")),
            Advice::new("Bound the attempts: a connect timeout of a few seconds, a growing pause between tries, a circuit breaker."),
        ],
        ..Finding::new(
            FindingId::SynSent,
            to.clone(),
            Severity::Warning,
            f64::from(waiting) / f64::from(all.max(1)),
            format!("{} of {} connections to {to} wait for an answer (SYN_SENT).", grouped(waiting), grouped(all)),
        )
    })
}

fn near_tuple_limit(peer: &Peer) -> Option<Finding> {
    let connections = peer.states.total();
    let pool = Pool::new(connections, TUPLES);
    let (severity, share) = (Severity::of(pool)?, pool.share());
    let mut advice = vec![
        Advice::new("Let that client keep its connections open (keep-alive, HTTP/2)."),
        Advice::new(format!(
            "A second service port or address here, or a second address there, adds {} connections.",
            grouped(TUPLES)
        )),
    ];
    if peer.states.main() == Some(State::TimeWait) {
        advice.insert(0, Advice::new(
            "This side closes first: let the client do it. Until then the kernel gives such a connection up for a new SYN with a newer timestamp or sequence number, so most connects still succeed (tcp_tw_reuse is for the side that connects and does nothing here).",
        ));
    }
    Some(Finding {
        because: vec![
            format!("They are {}.", by_state(&peer.states)),
            "A connection is told apart by two addresses and two ports; with one client address and one service port only the client's port is left, about 64,000 (the figure sums over this host's addresses). Further connects of that client fail or are reset; other clients are unaffected.".to_owned(),
            "So many from one address are a proxy, a NAT gateway or a load generator.".to_owned(),
        ],
        advice,
        ..Finding::new(
            FindingId::ClientNearTupleLimit,
            format!("{} to local port {}", peer.address, peer.port),
            severity,
            share,
            format!("{} connections of {} to local port {}: {} of what one client address can have.", grouped(connections), peer.address, peer.port, percent(share)),
        )
    })
}

/// Sockets that the peer has closed and the program here has not.
fn close_wait(facts: &Facts, trends: &Trends) -> Option<Finding> {
    let sockets = facts.sockets.measured()?;
    let count = sockets.inet.get(State::CloseWait) + sockets.inet6.get(State::CloseWait);
    let mut all = sockets.inet.connected();
    all.merge(&sockets.inet6.connected());
    let share = f64::from(count) / f64::from(all.total().max(1));
    let growth = trends.of(&Series::CloseWait);
    // Up and down by a few is everyday life, too.
    let grows = growth
        .is_some_and(|growth| growth.per_second * LEAK_WINDOW >= LEAK_SHARE * f64::from(count));
    if count < CLOSE_WAIT_FLOOR || (share < 0.1 && !grows) {
        return None;
    }
    let mut because = vec![
        "The peer has closed; only a close() in the program here ends them. They do not time out, and each holds a file descriptor: \"too many open files\" is next.".to_owned(),
    ];
    because.extend(holder(facts));
    if let Some(growth) = growth.filter(|_| grows) {
        because.push(format!(
            "They grow by {} a second.",
            rate(growth.per_second)
        ));
    }
    let subject = "CLOSE_WAIT".to_owned();
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
            subject,
            Severity::Warning,
            share,
            format!(
                "{} of {} connections are in CLOSE_WAIT ({}): a program does not close.",
                grouped(count),
                grouped(all.total()),
                percent(share)
            ),
        )
    })
}

/// The peer with most of them.
fn holder(facts: &Facts) -> Option<String> {
    let peers = facts.peers.measured()?;
    let count = |peer: &&Peer| peer.states.get(State::CloseWait);
    let to = peers.outbound.peers.iter().max_by_key(count);
    let from = peers.inbound.peers.iter().max_by_key(count);
    let most = to
        .into_iter()
        .chain(from)
        .max_by_key(count)
        .filter(|peer| count(peer) > 0)?;
    let many = grouped(count(&most));
    let is_inbound = from.is_some_and(|peer| std::ptr::eq(peer, most));
    Some(if is_inbound {
        format!(
            "Most of them, {many}, came from {} to local port {}: the server on that port.",
            most.address, most.port
        )
    } else {
        format!(
            "Most of them, {many}, go to {}.",
            endpoint(most.address, most.port)
        )
    })
}
