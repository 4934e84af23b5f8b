//! Clients that are silent, slow, too large, too many, or talk nonsense: none
//! holds a scrape up.

mod busy;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::time::Duration;

use crate::web::client::{Client, End, PATIENCE, ROOMY, Server};
use crate::web::snapshots::{fresh, large};
use sockdiag_exporter::show::web::client::ConnectionLimits as Limits;

const SCRAPE: &str = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
const SHORT: Duration = Duration::from_millis(300);

/// Far more than the kernel takes for a client that does not read.
const LARGE: usize = 64 * 1024 * 1024;

fn scrape(server: &Server) -> Client {
    let mut client = server.connect();
    client.send(SCRAPE);
    assert_eq!(client.answer("GET").status(), 200);
    client
}

/// The start of a large answer, so that it is known to be under way.
fn begin_large(server: &Server) -> Client {
    let mut client = server.connect();
    client.send(SCRAPE);
    client.stream.read_exact(&mut [0; 1024]).unwrap();
    client
}

#[test]
fn a_silent_client_is_dropped() {
    let server = Server::start(Limits {
        header_timeout: SHORT,
        ..ROOMY
    });
    let mut silent = server.connect();
    assert_eq!(silent.end(), End::Closed);
}

#[test]
fn a_half_sent_head_is_dropped_even_if_it_trickles() {
    let server = Server::start(Limits {
        header_timeout: SHORT,
        ..ROOMY
    });
    let mut slow = server.connect();
    slow.send("GET /metrics HTTP/1.1\r\nHo");
    assert_ne!(slow.end(), End::Reset);
    let mut slow = server.connect();
    slow.stream.set_nonblocking(true).unwrap();
    let dropped = (0..PATIENCE.as_millis() / 20).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        slow.stream.write_all(b"x").is_err()
    });
    assert!(dropped, "one byte after the other kept the connection");
}

#[test]
fn an_idle_connection_outlives_the_header_timeout_a_half_sent_one_does_not() {
    let server = Server::start(Limits {
        header_timeout: SHORT,
        ..ROOMY
    });
    let mut client = scrape(&server);
    std::thread::sleep(3 * SHORT);
    client.send(SCRAPE);
    assert_eq!(client.answer("GET").status(), 200);
    client.send("GET /metr");
    assert_eq!(client.end(), End::Closed);
}

#[test]
fn an_oversized_head_is_refused() {
    let server = Server::start(ROOMY);
    let mut client = server.connect();
    client.send(format!(
        "GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n",
        "x".repeat(200_000)
    ));
    assert_eq!(client.answer("GET").status(), 431);
    client.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.end(), End::Closed);
    let mut client = server.connect();
    client.send(format!(
        "GET /{} HTTP/1.1\r\nHost: x\r\n\r\n",
        "x".repeat(200_000)
    ));
    assert!([414, 431].contains(&client.answer("GET").status()));
    scrape(&server);
}

#[test]
fn too_many_headers_are_refused() {
    let server = Server::start(ROOMY);
    let headers = |count| {
        (0..count)
            .map(|n| format!("X-{n}: y\r\n"))
            .collect::<String>()
    };
    assert_eq!(server.ask("GET", "/-/healthy", &headers(60)).status(), 200);
    let answer = server.ask("GET", "/-/healthy", &headers(65));
    assert_eq!(answer.status(), 431);
}

#[test]
fn garbage_is_refused_and_closed() {
    let server = Server::start(ROOMY);
    let cases: [&[u8]; 7] = [
        b"\0\0\0\0\0\0\0\0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"\xff\xfe\xfd\r\n\r\n",
    ];
    for bytes in cases {
        let mut client = server.connect();
        client.send(bytes);
        assert_eq!(client.answer("GET").status(), 400, "{bytes:?}");
        client.stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.end(), End::Closed, "{bytes:?}");
    }
    let mut client = server.connect();
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    client.stream.shutdown(Shutdown::Write).unwrap();
    client.end();
    scrape(&server);
}

#[test]
fn a_client_that_ends_its_side_still_gets_its_answer() {
    let server = Server::start(ROOMY);
    server.publisher.publish(large(LARGE / 8));
    let mut client = server.connect();
    client.send(SCRAPE);
    client.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.answer("GET").body.len(), LARGE / 8);
    assert_eq!(client.end(), End::Closed);
    let mut client = server.connect();
    client.send("GET /metr");
    client.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.end(), End::Closed);
}

#[test]
fn bodies_are_not_read() {
    let server = Server::start(ROOMY);
    let mut client = server.connect();
    client.send("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n");
    client.send([b'x'; 100_000]);
    assert_eq!(client.answer("POST").status(), 405);
    let mut sent = 100_000_u64;
    // The server goes on reading a little, so that its answer is not lost.
    while client.stream.write_all(&[b'x'; 65536]).is_ok() {
        sent += 65536;
        assert!(sent < 100_000_000, "the body is read");
    }
    let mut client = server.connect();
    client.send(
        "GET /-/healthy HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n",
    );
    assert_eq!(client.answer("GET").status(), 200);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = Server::start(ROOMY);
    server.publisher.publish(fresh());
    let mut client = server.connect();
    let paths = ["/-/healthy", "/metrics", "/nothing", "/-/ready", "/"];
    let request = |path: &&str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    client.send(paths.iter().map(request).collect::<String>().repeat(20));
    for _ in 0..20 {
        let statuses = paths.map(|_| client.answer("GET").status());
        assert_eq!(statuses, [200, 200, 404, 200, 200]);
    }
}

#[test]
fn a_client_that_asks_and_never_reads_is_dropped() {
    let server = Server::start(Limits {
        request_timeout: SHORT,
        ..ROOMY
    });
    let mut client = server.connect();
    client.stream.set_nonblocking(true).unwrap();
    let head = "HEAD /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000);
    let dropped =
        (0..PATIENCE.as_millis() / 10).any(|_| match client.stream.write(head.as_bytes()) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_millis(10));
                false
            }
            sent => sent.is_err(),
        });
    assert!(dropped, "answers pile up");
}

/// What it may make the server keep is what the kernel keeps anyway.
#[test]
fn requests_are_not_read_while_their_answers_are_not() {
    let server = Server::start(ROOMY);
    let mut client = server.connect();
    client.stream.set_nonblocking(true).unwrap();
    let heads = "HEAD /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000);
    let (mut sent, mut refused) = (0, 0);
    while refused < 50 {
        match client.stream.write(heads.as_bytes()) {
            Ok(bytes) => (sent, refused) = (sent + bytes, 0),
            Err(_) => {
                refused += 1;
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        assert!(sent < LARGE, "the server reads on");
    }
}

#[test]
fn a_client_that_stops_reading_is_dropped() {
    let server = Server::start(Limits {
        request_timeout: SHORT,
        max_connections: 2,
        ..ROOMY
    });
    server.publisher.publish(large(LARGE));
    let mut stuck = [begin_large(&server), begin_large(&server)];
    // Both places are taken and being served: the scrape waits for its turn.
    assert_eq!(server.get("/-/healthy").status(), 200);
    std::thread::sleep(2 * SHORT);
    for client in &mut stuck {
        assert_eq!(client.end(), End::Reset);
    }
}

#[test]
fn silent_clients_beyond_the_cap_make_way_for_a_scrape() {
    let server = Server::start(Limits {
        max_connections: 8,
        ..ROOMY
    });
    server.publisher.publish(fresh());
    let mut silent: Vec<_> = (0..30).map(|_| server.connect()).collect();
    for half_sent in silent.iter_mut().skip(15) {
        half_sent.send("GET /metrics HTTP/1.1\r\n");
    }
    let mut client = scrape(&server);
    // The oldest went first, and the kernel still queues what came last.
    assert_eq!(silent[0].end(), End::Closed);
    client.send(SCRAPE);
    assert_eq!(client.answer("GET").status(), 200);
}

#[test]
fn never_more_connections_are_open_than_the_cap_and_the_next() {
    let cap = 8;
    let server = Server::start(Limits {
        max_connections: cap,
        ..ROOMY
    });
    // Connections that are accepted have an inode; those in the kernel's queue have none.
    let local = format!(":{:04X}", server.address.port());
    let accepted = || {
        let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
        let rows = table
            .lines()
            .map(|row| row.split_whitespace().collect::<Vec<_>>());
        rows.filter(|row| row[1].ends_with(&local) && row[3] == "01" && row[9] != "0")
            .count()
    };
    let mut silent = Vec::new();
    let most = (0..60).map(|_| {
        silent.push(server.connect());
        // The table is not read at one moment: those that come and go meanwhile count twice.
        (0..10).map(|_| accepted()).min().unwrap()
    });
    let most = most.max().unwrap();
    assert!(most <= cap + 1, "{most}");
    scrape(&server);
}

#[test]
fn a_connection_in_use_is_not_closed_for_a_new_one() {
    let server = Server::start(Limits {
        max_connections: 3,
        ..ROOMY
    });
    server.publisher.publish(large(LARGE));
    let mut busy = begin_large(&server);
    let _silent: Vec<_> = (0..10).map(|_| server.connect()).collect();
    server.publisher.publish(fresh());
    scrape(&server);
    let mut rest = vec![0; LARGE - 1024];
    busy.stream.read_exact(&mut rest).unwrap();
}

#[test]
fn a_burst_of_scrapes_beyond_the_cap_is_answered_whole() {
    let server = Server::start(Limits {
        max_connections: 4,
        ..ROOMY
    });
    server.publisher.publish(fresh());
    std::thread::scope(|scope| {
        for _ in 0..40 {
            scope.spawn(|| scrape(&server));
        }
    });
    assert_eq!(server.counted("/metrics", "200"), 40.0);
}

#[test]
fn a_stop_lets_requests_finish_and_drops_the_rest() {
    let mut server = Server::start(ROOMY);
    server.publisher.publish(large(LARGE / 4));
    let mut idle = scrape(&server);
    let mut silent = server.connect();
    let mut stuck = begin_large(&server);
    let mut reading = begin_large(&server);
    scrape(&server);
    server.stop();
    let mut rest = vec![0; LARGE / 4 - 1024];
    reading.stream.read_exact(&mut rest).unwrap();
    server.join();
    assert_eq!(idle.end(), End::Closed);
    assert_eq!(silent.end(), End::Closed);
    assert_eq!(stuck.end(), End::Reset);
    TcpListener::bind(server.address).expect("the port is free again");
}

#[test]
fn a_stop_with_nothing_open_ends_at_once() {
    let mut server = Server::start(ROOMY);
    server.stop();
    server.join();
}
