//! The figures over time: on the way to the refusal, at a spike between two
//! scrapes, and at a steady rate of closes.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::figures::{Oracle, address};
use crate::support::netns::set_port_range;
use crate::support::sockets::{Listener, close_in_turn};
use crate::table;

const TO: &str = "127.0.0.1:443";

fn sleep_until(then: Instant) {
    sleep(then.saturating_duration_since(Instant::now()));
}

case!(h1_a_ramp_to_the_refusal, [], || {
    set_port_range(40000, 40999);
    let listener = Listener::at(address(TO)).unwrap();
    let (mut oracle, mut held) = (Oracle::lasting(), Vec::new());
    let (started, mut ratios) = (Instant::now(), Vec::new());
    let mut refused = false;
    for poll in 1.. {
        for _ in 0..50 {
            match listener.plan().open() {
                Ok(socket) => held.push(socket),
                Err(error) => {
                    assert_eq!(error.raw_os_error(), Some(libc::EADDRNOTAVAIL));
                    refused = true;
                    break;
                }
            }
        }
        sleep_until(started + Duration::from_millis(200) * poll);
        let ratio = oracle.poll().ratio("tcp", "destination");
        assert_eq!(ratio, held.len() as f64 / 1000.0, "at poll {poll}");
        ratios.push(ratio);
        if refused {
            break;
        }
    }
    assert!(ratios.is_sorted() && ratios.iter().all(|&ratio| ratio <= 1.0));
    assert_eq!(ratios.last(), Some(&1.0));
    let polls = format!("{} polls, rising, the last 1", ratios.len());
    table::row(
        "250 connections a second into 1,000 ports",
        held.len(),
        polls,
    );
});

case!(h2_a_spike_between_two_scrapes, [], || {
    set_port_range(40000, 40099);
    let listener = Listener::at(address(TO)).unwrap();
    let mut oracle = Oracle::lasting();
    assert_eq!(oracle.poll().peak("tcp", "destination"), 0.0);
    let pairs: Vec<_> = (0..80)
        .map(|_| listener.pair(&listener.plan()).unwrap())
        .collect();
    oracle.poll();
    // The server closes first, so that no port stays taken.
    for (client, server) in pairs {
        close_in_turn(server, client).unwrap();
    }
    // Two scrapers, each of which reads a page after the spike.
    for _ in 0..2 {
        let page = oracle.poll();
        assert_eq!(page.ratio("tcp", "destination"), 0.0);
        assert_eq!(page.peak("tcp", "destination"), 0.8);
    }
    table::row("80 of 100 ports for the time of one poll", 80, "peak 0.8");
});

case!(h3_closes_per_second, [], || {
    let listener = Listener::at(address(TO)).unwrap();
    let started = Instant::now();
    for turn in 1..=300 {
        let (client, server) = listener.pair(&listener.plan()).unwrap();
        close_in_turn(client, server).unwrap();
        sleep_until(started + Duration::from_millis(50) * turn);
    }
    let page = Oracle::forgetful().poll();
    let rate = page.toward("closes_per_second", "127.0.0.1", TO).unwrap();
    table::row("20 closes a second for 15 s", 20, rate);
    assert!((rate - 20.0).abs() <= 2.0, "{rate} closes a second");
});
