//! Two latencies, as a program that shares the machine with a poll sees them:
//! `connect` and `accept` on loopback, and many scrapes at the same moment.
//!
//! Prints `count=… errors=… p50_us=… p99_us=… max_us=…`.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use socket2::SockRef;

#[derive(Parser)]
#[command(about = "Measure loopback connects, or scrapes")]
enum Latency {
    /// One connection after the other to a listener of its own
    Connect {
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        #[arg(long, default_value_t = 1_000)]
        period_us: u64,
    },
    /// GET /metrics, all scrapers at the same moments, each on a new connection
    Scrape {
        address: SocketAddr,
        #[arg(long, default_value_t = 50)]
        scrapers: usize,
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        /// From one moment to the next
        #[arg(long, default_value_t = 100_000)]
        period_us: u64,
    },
}

/// When turns begin.
#[derive(Clone, Copy)]
struct Pace {
    start: Instant,
    end: Instant,
    period: Duration,
}

fn main() -> Result<()> {
    let results = match Latency::parse() {
        Latency::Connect { seconds, period_us } => {
            let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            let address = server.local_addr()?;
            Pace::new(seconds, period_us).repeat(|| connect_and_accept(&server, address))
        }
        Latency::Scrape {
            address,
            scrapers,
            seconds,
            period_us,
        } => thread::scope(|scope| {
            let pace = Pace::new(seconds, period_us);
            let scrapers: Vec<_> = (0..scrapers)
                .map(|_| scope.spawn(move || pace.repeat(|| scrape(address))))
                .collect();
            scrapers
                .into_iter()
                .flat_map(|scraper| scraper.join().unwrap_or_default())
                .collect()
        }),
    };
    let errors: Vec<_> = results
        .iter()
        .filter_map(|result| result.as_ref().err())
        .collect();
    if let Some(error) = errors.first() {
        eprintln!("first error: {error:#}");
    }
    let errors = errors.len();
    let mut times: Vec<Duration> = results.into_iter().flatten().collect();
    times.sort_unstable();
    let last = times.len().checked_sub(1).context("nothing succeeded")?;
    let [p50, p99, max] =
        [50, 99, 100].map(|percent| times[last * percent / 100].as_secs_f64() * 1e6);
    println!(
        "count={} errors={errors} p50_us={p50:.1} p99_us={p99:.1} max_us={max:.1}",
        times.len()
    );
    Ok(())
}

impl Pace {
    fn new(seconds: u64, period_us: u64) -> Self {
        let start = Instant::now();
        Self {
            start,
            end: start + Duration::from_secs(seconds),
            period: Duration::from_micros(period_us),
        }
    }

    /// A moment that passes during a turn is left out.
    fn repeat(self, turn: impl Fn() -> Result<()>) -> Vec<Result<Duration>> {
        let mut results = Vec::new();
        let mut due = self.start;
        while due < self.end {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let began = Instant::now();
            results.push(turn().map(|()| began.elapsed()));
            due = self.next_moment();
        }
        results
    }

    fn next_moment(self) -> Instant {
        let elapsed = self.start.elapsed();
        match elapsed.as_nanos().checked_div(self.period.as_nanos()) {
            Some(passed) => self.start + self.period * (passed as u32 + 1),
            None => self.start + elapsed,
        }
    }
}

/// Closes with a reset: the measurement must not fill the table it measures.
fn connect_and_accept(server: &TcpListener, address: SocketAddr) -> Result<()> {
    let client = TcpStream::connect(address)?;
    let _accepted = server.accept()?;
    SockRef::from(&client).set_linger(Some(Duration::ZERO))?;
    Ok(())
}

fn scrape(address: SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut response = Vec::new();
    stream.read_to_end(&mut response)?;
    ensure!(
        response.starts_with(b"HTTP/1.1 200 "),
        "not answered with 200"
    );
    Ok(())
}
