//! Two latencies, as a program that shares the machine with a poll sees them:
//! `connect` and `accept` on loopback, and scrapes by many at once.
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
        #[command(flatten)]
        pace: Pace,
    },
    /// GET /metrics, each scrape on a new connection
    Scrape {
        address: SocketAddr,
        #[arg(long, default_value_t = 50)]
        scrapers: usize,
        #[command(flatten)]
        pace: Pace,
    },
}

#[derive(clap::Args, Clone, Copy)]
struct Pace {
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Pause after each turn
    #[arg(long, default_value_t = 1_000)]
    pause_us: u64,
}

fn main() -> Result<()> {
    let results = match Latency::parse() {
        Latency::Connect { pace } => {
            let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            let address = server.local_addr()?;
            pace.repeat(|| connect_and_accept(&server, address))
        }
        Latency::Scrape {
            address,
            scrapers,
            pace,
        } => thread::scope(|scope| {
            let apart = Duration::from_micros(pace.pause_us) / scrapers.max(1) as u32;
            let scrapers: Vec<_> = (0..scrapers)
                .map(|_| {
                    thread::sleep(apart);
                    scope.spawn(move || pace.repeat(|| scrape(address)))
                })
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
    fn repeat(self, turn: impl Fn() -> Result<()>) -> Vec<Result<Duration>> {
        let end = Instant::now() + Duration::from_secs(self.seconds);
        let mut results = Vec::new();
        while Instant::now() < end {
            let start = Instant::now();
            results.push(turn().map(|()| start.elapsed()));
            thread::sleep(Duration::from_micros(self.pause_us));
        }
        results
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
