//! Findings about sockets in states that tell of trouble: full accept queues,
//! CLOSE_WAIT, SYN_SENT, and a client that has used up its tuples.

use super::growth::{self, History};
use super::{Advice, Finding, Severity, endpoint, grouped, percent};
use crate::collectors::Facts;
use crate::collectors::listeners::AcceptQueue;
use crate::collectors::peers::Peer;
use crate::kernel::state::State;

/// Ports that a client address can use toward one service port: 1024 to 65535,
/// rounded down.
const TUPLES: u32 = 64_000;
/// CLOSE_WAIT below this is everyday life.
const CLOSE_WAIT_FLOOR: u32 = 50;
/// Unanswered connects to one destination below this are everyday life.
const SYN_SENT_FLOOR: u32 = 20;

pub(super) fn findings(facts: &Facts, history: &History) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(listeners) = facts.listeners.measured() {
        findings.extend(listeners.queues.iter().filter_map(accept_queue));
    }
    if let Some(peers) = facts.peers.measured() {
        findings.extend(peers.outbound.peers.iter().filter_map(syn_sent));
        findings.extend(peers.inbound.peers.iter().filter_map(near_tuple_limit));
    }
    findings.extend(close_wait(facts, history));
    findings
}

fn finding(
    id: &'static str,
    subject: String,
    severity: Severity,
    share: f64,
    what: String,
) -> Finding {
    Finding {
        id,
        severity,
        subject,
        what,
        because: Vec::new(),
        advice: Vec::new(),
        ports: None,
        exhausted_in: None,
        share: share.min(1.0),
    }
}

fn accept_queue(queue: &AcceptQueue) -> Option<Finding> {
    let share = f64::from(queue.waiting) / f64::from(queue.limit.max(1));
    // A queue of one or two says nothing.
    let severity = Severity::of_share(share).filter(|_| queue.waiting > 2)?;
    let listener = endpoint(&queue.address.to_string(), queue.port);
    Some(Finding {
        because: vec![
            "The kernel has finished these handshakes and the program has not called accept(). When the queue is full the last packet of a handshake is dropped: clients see slow connects and time-outs.".to_owned(),
        ],
        advice: vec![
            Advice::new("Find out why the program does not accept: out of threads or file descriptors, stuck, or too slow for the load."),
            Advice::risking(
                format!("A longer queue rides out bursts: listen(backlog) in the program and net.core.somaxconn; now {}.", grouped(queue.limit)),
                "Connections that wait longer than the client does are accepted for nothing.",
            ),
        ],
        ..finding(
            "accept-queue",
            listener.clone(),
            severity,
            share,
            format!("{} of {} connections wait for accept() on {listener} ({}).", grouped(queue.waiting), grouped(queue.limit), percent(share)),
        )
    })
}

fn syn_sent(peer: &Peer) -> Option<Finding> {
    let (waiting, all) = (peer.states.get(State::SynSent), peer.states.total());
    if waiting < SYN_SENT_FLOOR || waiting * 2 < all {
        return None;
    }
    let to = endpoint(&peer.address.to_string(), peer.port);
    Some(Finding {
        because: vec![
            "Each attempt is repeated for about two minutes (tcp_syn_retries), and keeps its port as long.".to_owned(),
        ],
        advice: vec![
            Advice::new(format!("See whether {to} is up and whether a firewall drops on the way: a drop is silent, a refusal would come back at once.")),
            Advice::new("Bound the attempts: a connect timeout of a few seconds, a growing pause between tries, a circuit breaker."),
        ],
        ..finding(
            "syn-sent",
            to.clone(),
            Severity::Warning,
            f64::from(waiting) / f64::from(all.max(1)),
            format!("{} of {} connections to {to} wait for an answer (SYN_SENT): the peer is silent.", grouped(waiting), grouped(all)),
        )
    })
}

fn near_tuple_limit(peer: &Peer) -> Option<Finding> {
    let connections = peer.states.total();
    let share = f64::from(connections) / f64::from(TUPLES);
    let severity = Severity::of_share(share)?;
    Some(Finding {
        because: vec![
            "A connection is told apart by its four numbers; with one client address and one service port only the client's port is left, about 64,000. Further connects of that client fail; other clients notice nothing.".to_owned(),
            "So many from one address are a proxy, a NAT gateway or a load generator.".to_owned(),
        ],
        advice: vec![
            Advice::new("Let that client keep its connections open (keep-alive, HTTP/2)."),
            Advice::new(format!("A second service port or address here, or a second address there, adds {} tuples.", grouped(TUPLES))),
        ],
        ..finding(
            "client-near-tuple-limit",
            format!("{} to local port {}", peer.address, peer.port),
            severity,
            share,
            format!("{} connections of {} to local port {}: {} of what one client address can have.", grouped(connections), peer.address, peer.port, percent(share)),
        )
    })
}

/// Sockets that the peer has closed and the program here has not.
fn close_wait(facts: &Facts, history: &History) -> Option<Finding> {
    let sockets = facts.sockets.measured()?;
    let count = sockets.inet.get(State::CloseWait) + sockets.inet6.get(State::CloseWait);
    let mut all = sockets.inet.connected();
    all.merge(&sockets.inet6.connected());
    let share = f64::from(count) / f64::from(all.total().max(1));
    let growth = history.growth(growth::CLOSE_WAIT, count.into());
    let grows = growth.is_some_and(|growth| growth.per_second > 0.0);
    if count < CLOSE_WAIT_FLOOR || (share < 0.1 && !grows) {
        return None;
    }
    let mut because = vec![
        "The peer has closed; only a close() in the program here ends them. They do not time out, and each holds a file descriptor: \"too many open files\" is next.".to_owned(),
    ];
    because.extend(holder(facts));
    if let Some(growth) = growth.filter(|_| grows) {
        because.push(format!("They grow by {:.1} a second.", growth.per_second));
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
        ..finding(
            "close-wait-leak",
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
            endpoint(&most.address.to_string(), most.port)
        )
    })
}
