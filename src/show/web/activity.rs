//! What a connection is doing, how long it may, and the stream that tells.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

use super::server::Limits;

/// How long an idle connection is kept while there is room: beyond the usual
/// scrape interval of a minute, so that Prometheus finds its connection open.
const IDLE: Duration = Duration::from_secs(120);

/// How long to go on reading after the last answer, so that it is not lost: the
/// kernel resets a connection that is closed with bytes unread.
const LINGER: Duration = Duration::from_secs(1);

/// How much to go on reading.
const LINGER_BYTES: usize = 1024 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    /// The client is to send a request: a new connection, or a part of one came.
    Head,
    /// Between requests.
    Idle,
    /// A request came, and its answer is not yet with the kernel.
    Serving,
    /// The last answer is with the kernel; what the client still sends is dropped.
    Closing,
}

#[derive(Clone, Copy, Debug)]
struct Phase {
    doing: Doing,
    since: Instant,
    /// When the first request came.
    served_since: Option<Instant>,
    /// When the first of the requests came that the client sent in one go.
    run_since: Instant,
    /// Requests whose answer is not yet with the kernel.
    requests: u32,
    /// Of those, how many have their answer.
    answers: u32,
}

/// Shared between a connection's task and whoever must choose between connections.
#[derive(Clone)]
pub struct Activity {
    phase: Arc<watch::Sender<Phase>>,
    /// Told whenever a connection ceases to serve.
    idle: Arc<Notify>,
}

impl Activity {
    pub fn new(idle: Arc<Notify>) -> Self {
        let phase = Phase {
            doing: Doing::Head,
            since: Instant::now(),
            served_since: None,
            run_since: Instant::now(),
            requests: 0,
            answers: 0,
        };
        Self {
            phase: Arc::new(watch::Sender::new(phase)),
            idle,
        }
    }

    /// Since when it serves no request; `None` while it does.
    pub fn waiting_since(&self) -> Option<Instant> {
        let phase = self.phase.borrow();
        (phase.doing != Doing::Serving).then_some(phase.since)
    }

    /// Since when it has been served; `None` before its first request.
    pub fn served_since(&self) -> Option<Instant> {
        self.phase.borrow().served_since
    }

    /// Ceases to serve.
    fn enter(&self, doing: Doing) {
        self.phase.send_modify(|phase| {
            phase.doing = doing;
            phase.since = Instant::now();
        });
        self.idle.notify_one();
    }

    fn received(&self) {
        if self.phase.borrow().doing == Doing::Idle {
            self.enter(Doing::Head);
        }
    }

    /// A request is whole. One that was read along with the last gets no time
    /// of its own: answers that are read slowly, one after the other, would hold
    /// the place for ever.
    pub fn begin(&self) {
        self.phase.send_modify(|phase| {
            phase.requests += 1;
            let now = Instant::now();
            phase.served_since.get_or_insert(now);
            match phase.doing {
                Doing::Serving => {}
                Doing::Idle => phase.since = phase.run_since,
                Doing::Head | Doing::Closing => (phase.since, phase.run_since) = (now, now),
            }
            phase.doing = Doing::Serving;
        });
    }

    /// The answer to a request is made.
    pub fn answered(&self) {
        self.phase.send_modify(|phase| phase.answers += 1);
    }

    /// Waits until earlier answers are with the kernel: a client that sends
    /// requests and reads no answers shall not fill our memory with them.
    pub async fn earlier_answers_flushed(&self) {
        // The sender is ours, so the channel cannot be closed.
        let _ = self
            .phase
            .subscribe()
            .wait_for(|phase| phase.answers == 0)
            .await;
    }

    /// Everything written is with the kernel.
    fn flushed(&self) {
        let Phase {
            requests, answers, ..
        } = *self.phase.borrow();
        if answers == 0 {
            return;
        }
        self.phase.send_modify(|phase| {
            phase.requests -= answers;
            phase.answers = 0;
        });
        if requests == answers {
            self.enter(Doing::Idle);
        }
    }

    /// Returns when the connection has taken longer than it may.
    pub async fn overdue(&self, limits: Limits) {
        let mut phases = self.phase.subscribe();
        loop {
            let Phase { doing, since, .. } = *phases.borrow_and_update();
            let allowed = match doing {
                Doing::Head => limits.header_timeout,
                Doing::Idle => IDLE,
                Doing::Serving => limits.request_timeout,
                Doing::Closing => LINGER,
            };
            tokio::select! {
                () = sleep_until(since + allowed) => return,
                _ = phases.changed() => {}
            }
        }
    }
}

/// A client's stream; hyper flushes it whenever all it wrote is with the kernel.
pub struct Watched {
    stream: TcpStream,
    activity: Activity,
    stopping: watch::Receiver<bool>,
    client_ended: bool,
    /// Bytes dropped since our side ended.
    dropped: Option<usize>,
}

impl Watched {
    pub fn new(stream: TcpStream, activity: Activity, stopping: watch::Receiver<bool>) -> Self {
        Self {
            stream,
            activity,
            stopping,
            client_ended: false,
            dropped: None,
        }
    }

    /// Reads on until the client ends as well, within limits.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut scratch = [0; 4096];
        while !self.client_ended && !*self.stopping.borrow() {
            let mut buffer = ReadBuf::new(&mut scratch);
            if ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)).is_err() {
                break;
            }
            let read = buffer.filled().len();
            let dropped = self.dropped.unwrap_or(0) + read;
            self.dropped = Some(dropped);
            if read == 0 || dropped > LINGER_BYTES {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        if buffer.filled().len() > before {
            self.activity.received();
        } else if buffer.remaining() > 0 {
            self.client_ended = true;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
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
        if self.dropped.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.dropped = Some(0);
            self.activity.enter(Doing::Closing);
        }
        self.poll_linger(cx)
    }
}

impl Drop for Watched {
    /// A page that the client does not read would stay in the kernel for minutes
    /// after close(2); a reset frees it and tells the client that it is cut.
    fn drop(&mut self) {
        if self.activity.waiting_since().is_none() {
            // Without the option the close is only a slower one.
            let _ = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        }
    }
}
