//! One client's stream: what the connection is doing, and how long it may.
//!
//! hyper's own deadline for headers would also close Prometheus' connection between two
//! scrapes, and it has none for an answer that nobody reads. So the stream watches what
//! passes through it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf, copy, sink};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// How long an idle connection is kept while there is room: beyond the usual
/// scrape interval of a minute, so that Prometheus finds its connection open.
const IDLE: Duration = Duration::from_secs(120);

/// How long, and how much, to go on reading after the last answer: the kernel resets a
/// connection that is closed with bytes unread, and the client would lose the answer to
/// a request that was too large (`an_oversized_head_is_refused`, `bodies_are_not_read`).
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 1024 * 1024;

/// What clients may use up.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// Connections served at once, at least 1.
    pub max_connections: usize,
    /// Time for a client to send the head of a request.
    pub header_timeout: Duration,
    /// Time from a request until the kernel has its whole answer, and those to
    /// requests that came along with it.
    pub request_timeout: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    /// Accepted, and its task has not run yet: its request may be in the kernel.
    Accepted,
    /// The client is to send a request: a new connection, or a part of one came.
    Head,
    /// A request came, and its answer is not yet with the kernel.
    Serving,
    /// Between requests.
    Idle,
    /// The last answer is with the kernel; what the client still sends is dropped.
    Closing,
}

#[derive(Clone, Copy, Debug)]
struct Phase {
    doing: Doing,
    since: Instant,
    /// When the client's last bytes came.
    last_read: Instant,
    is_answered: bool,
    /// It is to end after the answer in flight.
    is_ending: bool,
}

/// Shared between a connection's task and whoever must choose between connections.
#[derive(Clone)]
pub struct Activity(watch::Sender<Phase>);

impl Activity {
    pub fn of_accepted() -> Self {
        let now = Instant::now();
        Self(watch::Sender::new(Phase {
            doing: Doing::Accepted,
            since: now,
            last_read: now,
            is_answered: false,
            is_ending: false,
        }))
    }

    /// Its task runs, and looks whether there is a request.
    pub fn begin_to_read(&self) {
        self.enter(Doing::Head);
    }

    /// Since when it has waited for its client; `None` while it serves a request, and
    /// before it has looked for one.
    pub fn waiting_since(&self) -> Option<Instant> {
        let phase = self.0.borrow();
        let is_waiting = !matches!(phase.doing, Doing::Accepted | Doing::Serving);
        is_waiting.then_some(phase.since)
    }

    pub fn is_serving(&self) -> bool {
        self.0.borrow().doing == Doing::Serving
    }

    /// Has it end after the answer in flight; `false` where it was told before.
    pub fn end(&self) -> bool {
        self.0
            .send_if_modified(|phase| !std::mem::replace(&mut phase.is_ending, true))
    }

    /// Returns when it is to end.
    pub async fn ending(&self) {
        // The sender is here: it cannot be gone.
        let _ = self.0.subscribe().wait_for(|phase| phase.is_ending).await;
    }

    fn enter(&self, doing: Doing) {
        self.0.send_modify(|phase| {
            phase.doing = doing;
            phase.since = Instant::now();
        });
    }

    fn received(&self) {
        self.0.send_modify(|phase| {
            phase.last_read = Instant::now();
            if phase.doing == Doing::Idle {
                (phase.doing, phase.since) = (Doing::Head, phase.last_read);
            }
        });
    }

    /// A request is whole. Those that were read in one go share one deadline: pages read
    /// slowly, one after the other, would hold the place for ever
    /// (`pages_read_slowly_one_after_the_other_share_one_deadline`).
    pub fn begin(&self) {
        self.0.send_modify(|phase| {
            (phase.doing, phase.since) = (Doing::Serving, phase.last_read);
            phase.is_answered = false;
        });
    }

    /// The answer to the request is made.
    pub fn answered(&self) {
        self.0.send_modify(|phase| phase.is_answered = true);
    }

    /// Everything written is with the kernel.
    fn flushed(&self) {
        let phase = *self.0.borrow();
        if phase.doing == Doing::Serving && phase.is_answered {
            self.enter(Doing::Idle);
        }
    }

    /// Returns when the connection has taken longer than it may.
    pub async fn overdue(&self, limits: ConnectionLimits) {
        let mut phases = self.0.subscribe();
        loop {
            let Phase { doing, since, .. } = *phases.borrow_and_update();
            let allowed = match doing {
                // `a_half_sent_head_is_dropped_even_if_it_trickles`
                Doing::Accepted | Doing::Head => limits.header_timeout,
                // `a_client_that_asks_and_never_reads_is_dropped`
                Doing::Serving => limits.request_timeout,
                Doing::Idle => IDLE,
                Doing::Closing => LINGER,
            };
            tokio::select! {
                () = sleep_until(since + allowed) => return,
                _ = phases.changed() => {}
            }
        }
    }
}

/// A stream that tells of itself; hyper flushes it when all it wrote is with the kernel.
pub struct Client {
    pub stream: TcpStream,
    pub activity: Activity,
}

/// Once our side has ended, reads on for a while until the client ends as well.
pub async fn linger(client: impl AsyncRead + Unpin, activity: &Activity) {
    if activity.0.borrow().doing == Doing::Closing {
        // There is nothing to tell a client that is gone.
        let _ = copy(&mut client.take(LINGER_BYTES), &mut sink()).await;
    }
}

impl AsyncRead for Client {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        if buffer.filled().len() > before {
            self.activity.received();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Client {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    /// Without it hyper would copy every page.
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.activity.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        self.activity.enter(Doing::Closing);
        Poll::Ready(Ok(()))
    }
}

impl Drop for Client {
    /// A page that the client does not read would stay in the kernel for minutes after
    /// close(2); a reset frees it (`a_client_that_stops_reading_is_dropped`).
    fn drop(&mut self) {
        if self.activity.is_serving() {
            // Without the option the close is only a slower one.
            let _ = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        }
    }
}
