//! A server of a test's own, and a client that can misbehave.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sockdiag_exporter::progress::Progress;
use sockdiag_exporter::self_metrics::SelfMetrics;
use sockdiag_exporter::show::web::App;
use sockdiag_exporter::show::web::client::ConnectionLimits as Limits;
use sockdiag_exporter::show::web::routes::router;
use sockdiag_exporter::show::web::server::{bind, serve};
use sockdiag_exporter::show::web::web_config::WebConfig;
use sockdiag_exporter::snapshot::{Publisher, channel};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

/// Far above what anything here takes, so that a failing test ends.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Limits that no well-behaved client of a test comes near.
pub const ROOMY: Limits = Limits {
    max_connections: 64,
    header_timeout: PATIENCE,
    request_timeout: PATIENCE,
};

pub struct Server {
    pub address: SocketAddr,
    pub publisher: Publisher,
    pub own: Arc<SelfMetrics>,
    runtime: Runtime,
    stop: Option<oneshot::Sender<()>>,
    served: Option<tokio::task::JoinHandle<()>>,
}

impl Server {
    pub fn start(limits: Limits) -> Self {
        Self::configured(limits, None)
    }

    /// With a web configuration.
    pub fn configured(limits: Limits, web_config: Option<Arc<WebConfig>>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let (publisher, latest) = channel();
        let own = Arc::new(SelfMetrics::new("1.2.3", "abc", SystemTime::now()));
        let app = App {
            latest,
            history: Arc::default(),
            progress: Progress::new(Duration::from_secs(3600)),
            own: own.clone(),
            version: "1.2.3",
            revision: "<abc>",
            telemetry_path: "/metrics".into(),
            gate: None,
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let listeners = runtime.block_on(async { bind(&["127.0.0.1:0".parse().unwrap()], false) });
        let listeners = listeners.unwrap();
        let address = listeners[0].local_addr().unwrap();
        let served = runtime.spawn(serve(listeners, router(app), web_config, limits, async {
            let _ = stopped.await;
        }));
        Self {
            address,
            publisher,
            own,
            runtime,
            stop: Some(stop),
            served: Some(served),
        }
    }

    pub fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Client {
            stream,
            unread: Vec::new(),
        }
    }

    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "")
    }

    /// `headers` are whole lines.
    pub fn ask(&self, method: &str, path: &str, headers: &str) -> Answer {
        let mut client = self.connect();
        client.send(format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n"
        ));
        client.answer(method)
    }

    /// How often requests were counted under the route and the status.
    pub fn counted(&self, path: &str, code: &str) -> f64 {
        let page = sockdiag_exporter::exposition::render_own(&self.own.families());
        let text = String::from_utf8(page.text.to_vec()).unwrap();
        let start = format!("sockdiag_http_requests_total{{code=\"{code}\",path=\"{path}\"}} ");
        let value = text.lines().find_map(|line| line.strip_prefix(&start));
        value.map_or(0.0, |value| value.parse().unwrap())
    }

    pub fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    pub fn join(&mut self) {
        let served = self.served.take().unwrap();
        let ended = async { tokio::time::timeout(PATIENCE, served).await };
        self.runtime
            .block_on(ended)
            .expect("the server stops")
            .unwrap();
    }
}

pub struct Client {
    pub stream: TcpStream,
    unread: Vec<u8>,
}

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    Closed,
    Reset,
}

impl Client {
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Reads one answer to a request with `method`.
    pub fn answer(&mut self, method: &str) -> Answer {
        let end = loop {
            if let Some(at) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(
                self.more() > 0,
                "closed before an answer: {:?}",
                self.unread
            );
        };
        let head: Vec<u8> = self.unread.drain(..end).collect();
        let head = String::from_utf8(head).unwrap();
        let mut answer = Answer {
            head,
            body: Vec::new(),
        };
        let length = answer
            .header("content-length")
            .map_or(0, |length| length.parse().unwrap());
        if method != "HEAD" {
            while self.unread.len() < length {
                assert!(self.more() > 0, "closed within a body");
            }
            answer.body = self.unread.drain(..length).collect();
        }
        answer
    }

    fn more(&mut self) -> usize {
        let mut buffer = [0; 65536];
        let read = self.stream.read(&mut buffer).unwrap();
        self.unread.extend_from_slice(&buffer[..read]);
        read
    }

    /// Reads and drops everything until the server ends the connection.
    pub fn end(&mut self) -> End {
        let mut buffer = [0; 65536];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return End::Closed,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                    return End::Reset;
                }
                Err(error) => panic!("the server does not end the connection: {error}"),
            }
        }
    }
}

#[derive(Debug)]
pub struct Answer {
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn status(&self) -> u16 {
        self.head[9..12].parse().unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self
            .head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(": "));
        lines
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}
