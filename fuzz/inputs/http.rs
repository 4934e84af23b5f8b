//! What a client sends → answers, by the server as it is, over a connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sockdiag_exporter::progress::Progress;
use sockdiag_exporter::self_metrics::SelfMetrics;
use sockdiag_exporter::show::web::App;
use sockdiag_exporter::show::web::client::ConnectionLimits;
use sockdiag_exporter::show::web::routes::router;
use sockdiag_exporter::show::web::server::{bind, serve};
use sockdiag_exporter::snapshot::channel;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

/// Far above what an answer takes.
const PATIENCE: Duration = Duration::from_secs(10);
const LIMITS: ConnectionLimits = ConnectionLimits {
    max_connections: 8,
    header_timeout: PATIENCE,
    request_timeout: PATIENCE,
};
/// Routes and codes: clients cannot make series.
const MOST_SERIES: usize = 40;

struct Server {
    runtime: Runtime,
    address: SocketAddr,
    own: Arc<SelfMetrics>,
}

impl Server {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let own = Arc::new(SelfMetrics::new("1.2.3", "abc", SystemTime::now()));
        let (_, latest) = channel();
        let app = App {
            latest,
            history: Arc::default(),
            progress: Progress::new(Duration::from_secs(3600)),
            own: own.clone(),
            version: "1.2.3",
            revision: "abc",
            telemetry_path: "/metrics".into(),
            gate: None,
        };
        let listeners = runtime.block_on(async { bind(&[([127, 0, 0, 1], 0).into()], false) });
        let listeners = listeners.expect("a free port");
        let address = listeners[0].local_addr().expect("an address");
        runtime.spawn(serve(
            listeners,
            router(app),
            None,
            LIMITS,
            std::future::pending(),
        ));
        Self {
            runtime,
            address,
            own,
        }
    }

    fn answer(&self, request: &[u8]) -> Vec<u8> {
        let talk = async {
            let mut stream = TcpStream::connect(self.address)
                .await
                .expect("a connection");
            // What was refused is not read to its end: the server may reset.
            let _ = stream.write_all(request).await;
            let _ = stream.shutdown().await;
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            answer
        };
        let ended = async { tokio::time::timeout(PATIENCE, talk).await };
        self.runtime.block_on(ended).expect("an end in time")
    }
}

thread_local! {
    static SERVER: Server = Server::start();
}

pub fn run(request: &[u8]) {
    SERVER.with(|server| {
        let answer = server.answer(request);
        if !answer.is_empty() {
            let code = answer.strip_prefix(b"HTTP/1.1 ");
            let code = code.or_else(|| answer.strip_prefix(b"HTTP/1.0 "));
            let code = code.and_then(|rest| std::str::from_utf8(rest.get(..3)?).ok());
            let code = code.expect("a status line");
            assert!(matches!(code.as_bytes()[0], b'2' | b'4' | b'5'), "{code}");
        }
        let after = server.answer(b"GET /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(after.starts_with(b"HTTP/1.1 200 OK\r\n"));
        let families = server.own.families();
        let requests = families
            .iter()
            .find(|family| family.name() == "sockdiag_http_requests_total");
        let series = requests.map_or(0, |family| family.get_metric().len());
        assert!(series <= MOST_SERIES, "{series} series");
    });
}
