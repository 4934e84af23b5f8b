//! The open connections, and who makes way when there are too many: whoever has waited
//! longest for its client, at once; while all are being answered, whoever was accepted
//! first, after the answer in flight.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tower::ServiceExt;

use super::client::{self, Activity, Client, ConnectionLimits};
use super::tls::{self, Opened};
use super::web_config::WebConfig;

/// More than any scraper sends; hyper's own default is 100.
const HEADERS: usize = 64;

/// Bytes of a request's head. A scraper's has a few hundred, one with a token
/// of a proxy a few thousand.
const HEAD_BYTES: usize = 32 * 1024;

/// A client that has just connected is about to send its request: its connection is given this
/// time before it has to make way (`a_burst_of_scrapes_beyond_the_cap_is_answered_whole`).
pub const FIRST_READ: Duration = Duration::from_millis(50);

/// How long requests in flight may take once the exporter stops.
const GRACE: Duration = Duration::from_millis(500);

pub struct Connections {
    router: Router,
    web_config: Option<Arc<WebConfig>>,
    limits: ConnectionLimits,
    tasks: JoinSet<()>,
    /// Those that have not been closed, the first accepted first.
    open: Vec<(AbortHandle, Activity)>,
}

impl Connections {
    pub fn new(
        router: Router,
        web_config: Option<Arc<WebConfig>>,
        limits: ConnectionLimits,
    ) -> Self {
        Self {
            router,
            web_config,
            limits,
            tasks: JoinSet::new(),
            open: Vec::new(),
        }
    }

    /// One that was closed counts until its descriptor is free.
    pub fn has_room(&self) -> bool {
        self.tasks.len() < self.limits.max_connections
    }

    pub fn admit(&mut self, stream: TcpStream) {
        let activity = Activity::of_accepted();
        let (router, web_config) = (self.router.clone(), self.web_config.clone());
        let serving = serve(router, web_config, stream, activity.clone());
        let serving = in_time(serving, activity.clone(), self.limits);
        self.open.push((self.tasks.spawn(serving), activity));
    }

    /// Has one connection make way for another.
    pub fn make_way(&mut self) {
        // `silent_clients_beyond_the_cap_make_way_for_a_scrape`
        let open = self.open.iter().enumerate();
        let waiting = open.filter_map(|(at, (_, activity))| Some((activity.waiting_since()?, at)));
        if let Some((since, at)) = waiting.min()
            && since + FIRST_READ <= Instant::now()
        {
            tracing::debug!("closing an idle connection in favour of a new one");
            self.open.remove(at).0.abort();
            return;
        }
        // Clients that ask without a pause never wait for long enough
        // (`clients_that_ask_without_a_pause_make_way`).
        let open = self.open.iter().map(|(_, activity)| activity);
        let mut serving = open.filter(|activity| activity.is_serving());
        serving.find(|activity| activity.end());
    }

    /// Returns when a connection has ended, never while there is none.
    pub async fn ended(&mut self) {
        let id = match self.tasks.join_next_with_id().await {
            None => return std::future::pending().await,
            Some(Ok((id, ()))) => id,
            Some(Err(error)) => {
                if error.is_panic() {
                    tracing::error!(%error, "a request ended in a panic");
                }
                error.id()
            }
        };
        self.open.retain(|(task, _)| task.id() != id);
    }

    /// Lets requests in flight finish for a while, then drops what is left.
    pub async fn stop(mut self) {
        for (task, activity) in &self.open {
            match activity.waiting_since() {
                Some(_) => task.abort(),
                None => _ = activity.end(),
            }
        }
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(GRACE, all).await.is_err() {
            tracing::debug!(
                connections = self.tasks.len(),
                "dropping requests in flight"
            );
        }
        self.tasks.shutdown().await;
    }
}

/// Drops a connection that takes longer than it may, be it in a handshake or in an answer.
async fn in_time(serving: impl Future<Output = ()>, activity: Activity, limits: ConnectionLimits) {
    tokio::select! {
        () = serving => {}
        () = activity.overdue(limits) => tracing::debug!("closing a connection that takes too long"),
    }
}

/// One connection, from accept to its end.
async fn serve(
    router: Router,
    web_config: Option<Arc<WebConfig>>,
    stream: TcpStream,
    activity: Activity,
) {
    activity.begin_to_read();
    let opened = match &web_config {
        Some(config) => tls::open(stream, config, activity.clone()).await,
        None => Ok(Opened::Plain(Client {
            stream,
            activity: activity.clone(),
        })),
    };
    match opened {
        Ok(Opened::Plain(client)) => answer(router, client, activity).await,
        Ok(Opened::Tls(client)) => answer(router, client, activity).await,
        Ok(Opened::Closed) => {}
        Err(error) => tracing::debug!(%error, "no TLS connection"),
    }
}

async fn answer(
    router: Router,
    mut client: impl AsyncRead + AsyncWrite + Unpin,
    activity: Activity,
) {
    // The body of a request is not read: no route has a use for one.
    let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
        let (router, activity) = (router.clone(), activity.clone());
        async move {
            activity.begin();
            let response = router.oneshot(request.map(Body::new)).await;
            activity.answered();
            Ok::<_, Infallible>(response.unwrap_or_else(|never| match never {}))
        }
    });
    let ended = {
        let connection = http1::Builder::new()
            .max_headers(HEADERS)
            .max_buf_size(HEAD_BYTES)
            // Scripts end their side after the request and read on.
            .half_close(true)
            .header_read_timeout(None)
            .serve_connection(TokioIo::new(&mut client), service);
        let mut connection = pin!(connection);
        tokio::select! {
            ended = &mut connection => ended,
            () = activity.ending() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
    client::linger(client, &activity).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    const SECOND: Duration = Duration::from_secs(1);

    /// The process may be stopped, or starved, between accept() and the first look at the
    /// request.
    #[tokio::test]
    async fn who_has_not_been_looked_at_need_not_make_way() {
        let limits = ConnectionLimits {
            max_connections: 1,
            header_timeout: 10 * SECOND,
            request_timeout: 10 * SECOND,
        };
        let mut connections = Connections::new(Router::new(), None, limits);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        client.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
        connections.admit(listener.accept().await.unwrap().0);
        std::thread::sleep(2 * FIRST_READ);
        connections.make_way();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.0 404"), "{answer}");
    }
}
