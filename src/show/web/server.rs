//! Accepts connections, whatever becomes of the others.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, sleep_until};

use super::client::ConnectionLimits;
use super::connections::{Connections, FIRST_READ};
use super::web_config::WebConfig;

pub use super::bind::{BindError, bind};

/// How long to let be what the kernel refuses; descriptors or memory may be
/// free again by then.
const PAUSE: Duration = Duration::from_millis(200);

/// Serves until `shutdown` is done: then the listeners are closed, requests in
/// flight have half a second to finish, and everything else is dropped.
///
/// With a web configuration connections speak TLS where it says so.
/// Where `limits.max_connections` are open, one of them makes way for a new one.
pub async fn serve(
    listeners: Vec<TcpListener>,
    router: Router,
    web_config: Option<Arc<WebConfig>>,
    limits: ConnectionLimits,
    shutdown: impl Future<Output = ()>,
) {
    let mut shutdown = pin!(shutdown);
    let mut door = Door::new(listeners);
    let mut connections = Connections::new(router, web_config, limits);
    let mut next: Option<TcpStream> = None;
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            () = connections.ended() => {}
            accepted = door.accept(), if next.is_none() => match accepted {
                Ok(stream) => next = Some(stream),
                // One descriptor less may be all that the next one needs.
                Err(OutOfResources) => connections.make_way(),
            },
            () = sleep(FIRST_READ), if next.is_some() => {}
        }
        match next.take() {
            Some(stream) if connections.has_room() => connections.admit(stream),
            Some(stream) => {
                connections.make_way();
                next = Some(stream);
            }
            None => {}
        }
    }
    drop((door, next));
    connections.stop().await;
}

/// The listeners, none of which keeps the others waiting.
struct Door {
    listeners: Vec<TcpListener>,
    /// Which listener comes first at the next look.
    first: usize,
    /// The kernel refuses, and it has been said.
    refused: bool,
    paused_until: Option<Instant>,
}

struct OutOfResources;

impl Door {
    fn new(listeners: Vec<TcpListener>) -> Self {
        Self {
            listeners,
            first: 0,
            refused: false,
            paused_until: None,
        }
    }

    /// The next connection. After a refusal the next call waits for a while.
    /// Cancelling it loses no connection.
    async fn accept(&mut self) -> Result<TcpStream, OutOfResources> {
        if let Some(until) = self.paused_until {
            sleep_until(until).await;
            self.paused_until = None;
        }
        loop {
            match self.next().await {
                Ok(stream) => {
                    if std::mem::take(&mut self.refused) {
                        tracing::info!("accepting connections again");
                    }
                    // An answer goes out in one piece; without the option its
                    // end would wait for an acknowledgement.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Err(error) if is_of_the_connection(&error) => {
                    tracing::debug!(%error, "a connection was lost before it was accepted");
                }
                Err(error) => {
                    if !std::mem::replace(&mut self.refused, true) {
                        tracing::warn!(%error, "cannot accept connections, trying on");
                    }
                    self.paused_until = Some(Instant::now() + PAUSE);
                    return Err(OutOfResources);
                }
            }
        }
    }

    async fn next(&mut self) -> io::Result<TcpStream> {
        let count = self.listeners.len();
        poll_fn(|cx| {
            for step in 0..count {
                let place = (self.first + step) % count;
                if let Poll::Ready(accepted) = self.listeners[place].poll_accept(cx) {
                    self.first = place + 1;
                    return Poll::Ready(accepted.map(|(stream, _)| stream));
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// accept(2) also hands out errors of the connection that it would have
/// returned; that connection is gone then, and the next call has the next.
fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::ConnectionAborted
            | Kind::ConnectionReset
            | Kind::ConnectionRefused
            | Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::NetworkDown
            | Kind::TimedOut
            | Kind::Interrupted
    )
}
