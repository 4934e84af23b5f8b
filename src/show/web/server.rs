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

/// How long to let be what the kernel refuses; descriptors or memory may be free again by then
/// (`a_scrape_is_answered_though_silent_clients_took_every_descriptor`).
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
    let mut door = Door {
        listeners,
        refused: None,
    };
    let mut connections = Connections::new(router, web_config, limits);
    let mut next: Option<TcpStream> = None;
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            () = connections.ended() => {}
            accepted = door.accept(), if next.is_none() => match accepted {
                Some(stream) => next = Some(stream),
                // One descriptor less may be all that the next one needs.
                None => connections.make_way(),
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

/// The listeners, none of which keeps the others waiting (`a_busy_address_holds_no_other_up`).
struct Door {
    /// Whose connection was taken last comes last.
    listeners: Vec<TcpListener>,
    /// When the kernel last refused, until it accepts again.
    refused: Option<Instant>,
}

impl Door {
    /// The next connection; none where the kernel has no more resources, and the next call
    /// waits for a while then. Cancelling it loses no connection.
    async fn accept(&mut self) -> Option<TcpStream> {
        if let Some(refused) = self.refused {
            sleep_until(refused + PAUSE).await;
        }
        loop {
            match self.next().await {
                Ok(stream) => {
                    if self.refused.take().is_some() {
                        tracing::info!("accepting connections again");
                    }
                    // An answer goes out in one piece; without the option its
                    // end would wait for an acknowledgement.
                    let _ = stream.set_nodelay(true);
                    return Some(stream);
                }
                // The client is gone, and the next call has the next: do_accept in net/socket.c
                // hands out no other error of the connection. accept(2) speaks of more, and of
                // the others the pause takes care.
                Err(error) if is_lost(&error) => {
                    tracing::debug!(%error, "a connection was lost before it was accepted");
                }
                Err(error) => {
                    if self.refused.replace(Instant::now()).is_none() {
                        tracing::warn!(%error, "cannot accept connections, trying on");
                    }
                    return None;
                }
            }
        }
    }

    async fn next(&mut self) -> io::Result<TcpStream> {
        poll_fn(|cx| {
            for _ in 0..self.listeners.len() {
                let accepted = self.listeners[0].poll_accept(cx);
                self.listeners.rotate_left(1);
                if let Poll::Ready(accepted) = accepted {
                    return Poll::Ready(accepted.map(|(stream, _)| stream));
                }
            }
            Poll::Pending
        })
        .await
    }
}

fn is_lost(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionReset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_busy_address_holds_no_other_up() {
        let listeners = bind(&[([127, 0, 0, 1], 0).into(); 2], false).unwrap();
        let addresses = [0, 1].map(|at: usize| listeners[at].local_addr().unwrap());
        let mut door = Door {
            listeners,
            refused: None,
        };
        let mut clients = Vec::new();
        for at in [0, 0, 0, 1] {
            clients.push(TcpStream::connect(addresses[at]).await.unwrap());
        }
        for address in addresses {
            let accepted = door.accept().await.unwrap();
            assert_eq!(accepted.local_addr().unwrap(), address);
        }
    }
}
