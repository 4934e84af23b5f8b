//! Two latencies, as a program that shares the machine with a poll sees them:
//! `connect` and `accept` on loopback, and many scrapes at the same moment.
//!
//! Prints `count=… errors=… stolen=… p50_us=… p99_us=… max_us=…`. What overlaps a
//! moment in which the hypervisor gave the processors to somebody else (steal,
//! proc_stat(5)) says nothing of any program here: it is counted and left out.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Parser;
use socket2::SockRef;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

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
        /// Over TLS; the certificate that signed the server's, in PEM
        #[arg(long)]
        ca: Option<PathBuf>,
        /// NAME:PASSWORD for basic authentication
        #[arg(long)]
        user: Option<String>,
    },
}

/// How to ask.
struct Access {
    address: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
    request: String,
}

/// When turns begin.
#[derive(Clone, Copy)]
struct Pace {
    start: Instant,
    end: Instant,
    period: Duration,
}

struct Turn {
    began: Instant,
    ended: Instant,
    result: Result<()>,
}

fn main() -> Result<()> {
    let latency = Latency::parse();
    let (turns, stolen) = watching_steal(|| latency.measure())?;
    let errors: Vec<_> = turns
        .iter()
        .filter_map(|turn| turn.result.as_ref().err())
        .collect();
    if let Some(error) = errors.first() {
        eprintln!("first error: {error:#}");
    }
    let succeeded = turns.iter().filter(|turn| turn.result.is_ok());
    let (disturbed, undisturbed): (Vec<_>, Vec<_>) =
        succeeded.partition(|turn| stolen.iter().any(|time| time.overlaps(turn)));
    let mut times: Vec<Duration> = undisturbed
        .iter()
        .map(|turn| turn.ended - turn.began)
        .collect();
    times.sort_unstable();
    let last = times
        .len()
        .checked_sub(1)
        .context("nothing succeeded undisturbed")?;
    let [p50, p99, max] =
        [50, 99, 100].map(|percent| times[last * percent / 100].as_secs_f64() * 1e6);
    println!(
        "count={} errors={} stolen={} p50_us={p50:.1} p99_us={p99:.1} max_us={max:.1}",
        times.len(),
        errors.len(),
        disturbed.len()
    );
    Ok(())
}

impl Latency {
    fn measure(self) -> Result<Vec<Turn>> {
        match self {
            Self::Connect { seconds, period_us } => {
                let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
                let address = server.local_addr()?;
                Ok(Pace::new(seconds, period_us).repeat(|| connect_and_accept(&server, address)))
            }
            Self::Scrape {
                address,
                scrapers,
                seconds,
                period_us,
                ca,
                user,
            } => {
                let access = Access::new(address, ca.as_deref(), user.as_deref())?;
                let pace = Pace::new(seconds, period_us);
                Ok(thread::scope(|scope| {
                    let scrapers: Vec<_> = (0..scrapers)
                        .map(|_| scope.spawn(|| pace.repeat(|| access.scrape())))
                        .collect();
                    scrapers
                        .into_iter()
                        .flat_map(|scraper| scraper.join().unwrap_or_default())
                        .collect()
                }))
            }
        }
    }
}

/// How often steal is looked at; the kernel counts it in the same steps.
const STEP: Duration = Duration::from_millis(10);

/// Between two looks, in which steal has grown.
struct Stolen {
    from: Instant,
    to: Instant,
}

impl Stolen {
    /// What waited meanwhile is still being served a little later.
    fn overlaps(&self, turn: &Turn) -> bool {
        turn.began < self.to + 2 * STEP && self.from < turn.ended + STEP
    }
}

fn watching_steal<T>(measure: impl FnOnce() -> Result<T>) -> Result<(T, Vec<Stolen>)> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let (mut looked, mut before, mut stolen) = (Instant::now(), steal(), Vec::new());
            while !over.load(Ordering::Relaxed) {
                thread::sleep(STEP);
                let (from, ticks) = (looked, steal());
                looked = Instant::now();
                if ticks != before {
                    stolen.push(Stolen { from, to: looked });
                }
                before = ticks;
            }
            stolen
        });
        let measured = measure();
        over.store(true, Ordering::Relaxed);
        Ok((measured?, watcher.join().unwrap_or_default()))
    })
}

/// Ticks of all processors together; none on hosts that nobody shares.
fn steal() -> Option<u64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines()
        .next()?
        .split_ascii_whitespace()
        .nth(8)?
        .parse()
        .ok()
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
    fn repeat(self, turn: impl Fn() -> Result<()>) -> Vec<Turn> {
        let mut turns = Vec::new();
        let mut due = self.start;
        while due < self.end {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let began = Instant::now();
            let result = turn();
            turns.push(Turn {
                began,
                ended: Instant::now(),
                result,
            });
            due = self.next_moment();
        }
        turns
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

impl Access {
    fn new(address: SocketAddr, ca: Option<&Path>, user: Option<&str>) -> Result<Self> {
        let tls = ca.map(|ca| -> Result<_> {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(ca)?)?;
            let builder = ClientConfig::builder().with_root_certificates(roots);
            Ok(Arc::new(builder.with_no_client_auth()))
        });
        let user = user.map(|user| format!("Authorization: Basic {}\r\n", STANDARD.encode(user)));
        let user = user.unwrap_or_default();
        Ok(Self {
            address,
            tls: tls.transpose()?,
            request: format!(
                "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{user}\r\n"
            ),
        })
    }

    fn scrape(&self) -> Result<()> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        match &self.tls {
            None => self.ask(stream),
            Some(tls) => {
                let name = ServerName::from(self.address.ip());
                let client = ClientConnection::new(Arc::clone(tls), name)?;
                self.ask(StreamOwned::new(client, stream))
            }
        }
    }

    fn ask(&self, mut stream: impl Read + Write) -> Result<()> {
        stream.write_all(self.request.as_bytes())?;
        let mut response = Vec::new();
        stream.read_to_end(&mut response)?;
        ensure!(
            response.starts_with(b"HTTP/1.1 200 "),
            "not answered with 200"
        );
        Ok(())
    }
}
