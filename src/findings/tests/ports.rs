//! Ephemeral ports.

use super::*;
use crate::model::cgroup::Cgroup;
use crate::subjects::ports::holder::Holder;

#[test]
fn growth_foretells_the_end() {
    let past = with_ports(ports(toward(14_116, State::Established)));
    let history = before(100, &past);
    let facts = with_ports(ports(toward(21_174, State::Established)));
    let findings = diagnose(&facts, &history.trends(&facts));
    // 7,058 in 100 s, and as many are left.
    let time = findings[0].exhausted_in.unwrap().as_secs();
    assert!((99..=101).contains(&time), "{time}");
    let foretold = format!("gone in about {time} seconds");
    assert!(words(&findings[0]).contains(&foretold));
    assert_eq!(now(&facts)[0].exhausted_in, None);
    let shrinks = diagnose(&past, &before(100, &facts).trends(&past));
    assert_eq!(shrinks[0].exhausted_in, None);
}

#[test]
fn who_holds_the_ports_is_named() {
    let holder = |sockets, ownerless| Destination {
        holder: Some(Holder {
            cgroup: Cgroup::at("/system.slice/checkout.service"),
            sockets,
            ownerless,
        }),
        ..toward(28_000, State::TimeWait)
    };
    let told = |row| words(&now(&with_ports(ports(row)))[0]);
    let live = told(holder(20_000, 0));
    assert!(
        live.contains("Held by checkout.service: 20,000 of 28,000."),
        "{live}"
    );
    let learnt = told(holder(28_000, 27_990));
    let expected = "Held by checkout.service: 28,000 of 28,000; TIME_WAIT has no owner, and 27,990 are counted to it";
    assert!(learnt.contains(expected), "{learnt}");
    let nobody = told(toward(28_000, State::TimeWait));
    assert!(!nobody.contains(" of 28,000"), "{nobody}");
}

#[test]
fn what_is_gone_already_is_not_foretold() {
    let history = before(100, &with_ports(ports(toward(14_116, State::TimeWait))));
    let facts = with_ports(ports(toward(28_232, State::TimeWait)));
    let finding = &diagnose(&facts, &history.trends(&facts))[0];
    assert_eq!(
        (finding.severity, finding.exhausted_in),
        (Severity::Critical, None)
    );
    assert!(
        finding.what.contains("the next connect() fails"),
        "{finding:?}"
    );
}

#[test]
fn a_rate_that_cannot_go_on_is_told_while_ports_are_free() {
    let row = Destination {
        closes_per_second: 480.0,
        ..toward(5_000, State::TimeWait)
    };
    let findings = now(&with_ports(ports(row.clone())));
    assert_eq!(ids(&findings), ["closes-above-sustainable"]);
    let words = words(&findings[0]);
    for part in [
        "closes 480 connections a second",
        "470 can go on for ever",
        "23,232 of 28,232 ports are free now",
        "benchmark",
        "941 a second",
        "1,075 a second",
    ] {
        assert!(words.contains(part), "{part} in {words}");
    }
    let mut reusing = ports(row);
    reusing.capacity.settings.tw_reuse = 1;
    assert_eq!(now(&with_ports(reusing)), []);
}

#[test]
fn reuse_on_loopback_uses_nothing_up_there_alone() {
    let row = Destination {
        closes_per_second: 480.0,
        ..toward(100, State::TimeWait)
    };
    let mut elsewhere = ports(row);
    elsewhere.capacity.settings.tw_reuse = 2;
    let mut here = elsewhere.clone();
    here.destinations.rows[0].destination = "127.0.0.1".parse().unwrap();
    assert_eq!(
        ids(&now(&with_ports(elsewhere))),
        ["closes-above-sustainable"]
    );
    assert_eq!(now(&with_ports(here)), []);
}

#[test]
fn doubtful_ports_do_not_accuse_and_count_once() {
    let mut own = ports(toward(20_000, State::Established));
    own.capacity.bind_first_ambiguous = 5_884;
    own.destinations.rows[0].certainly_blocked = 20_000 - 5_884;
    let findings = now(&with_ports(own.clone()));
    assert_eq!(ids(&findings), ["ephemeral-destination"]);
    assert!(
        !words(&findings[0]).contains("the truth"),
        "they are its own ports"
    );

    // 4,000 ports are in use for others.
    own.destinations.rows[0].certainly_blocked = 20_000 - 1_884;
    let findings = now(&with_ports(own));
    let words = words(&findings[0]);
    assert!(words.contains("between 4,232 and 8,232 free"), "{words}");
}

#[test]
fn ports_that_can_be_taken_over_are_not_blamed() {
    let mut row = toward(20_000, State::Established);
    row.states.merge(&states(State::TimeWait, 21_000));
    (row.used, row.reusable) = (41_000, 20_995);
    let findings = now(&with_ports(ports(row)));
    let words = words(&findings[0]);
    for part in [
        "20,005 of 28,232",
        "Held by 20,000 established, 5 time_wait: connections are opened and kept",
        "20,995 further ports",
    ] {
        assert!(words.contains(part), "{part} in {words}");
    }
}

#[test]
fn a_wide_step_is_told_where_ports_are_short() {
    let mut short = ports(toward(20_000, State::Established));
    assert!(!words(&now(&with_ports(short.clone()))[0]).contains("step_width"));
    short.capacity.settings.step_width = Some(1_000);
    let words = words(&now(&with_ports(short))[0]);
    assert!(
        words.contains("ip_local_port_step_width is 1,000"),
        "{words}"
    );
}
