//! The open connections: a bounded number of tasks, of which the one that has
//! waited longest for its client makes way for a new one, or else the one that
//! was served longest.

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};
use tower::ServiceExt;

use super::activity::{Activity, Watched};
use super::server::Limits;

/// More than any scraper sends; hyper's own default is 100.
const HEADERS: usize = 64;

/// Bytes of a request's head. A scraper's has a few hundred, one with a token
/// of a proxy a few thousand.
const HEAD_BYTES: usize = 32 * 1024;

/// A connection that was just accepted may have its request in the kernel
/// already: it is given the time to be read before it has to make way. One that
/// was served before has less of a claim: it is asked to end without delay, and
/// has this long to do so while another is left alone.
const FIRST_READ: Duration = Duration::from_millis(50);

/// How long requests in flight may take once the exporter stops.
const GRACE: Duration = Duration::from_millis(500);

struct Open {
    task: AbortHandle,
    activity: Activity,
    /// Tells the task to end after the answer in flight.
    end: Arc<Notify>,
    asked_to_end: bool,
}

impl Open {
    /// A connection without a request so far would be closed unread.
    fn may_ask(&self) -> bool {
        !self.asked_to_end && self.activity.served_since().is_some()
    }
}

/// All connections being served.
pub struct Connections {
    router: Router,
    limits: Limits,
    tasks: JoinSet<()>,
    open: HashMap<Id, Open>,
    /// A connection ceased to serve.
    idle: Arc<Notify>,
    /// How many were asked to end for the stream that wants a place, and when
    /// the last of them was.
    asked: Option<(usize, Instant)>,
    stopping: watch::Sender<bool>,
}

impl Connections {
    pub fn new(router: Router, limits: Limits) -> Self {
        Self {
            router,
            limits,
            tasks: JoinSet::new(),
            open: HashMap::new(),
            idle: Arc::default(),
            asked: None,
            stopping: watch::Sender::new(false),
        }
    }

    /// Serves a new connection, or gives it back when there is no room for now.
    pub fn admit(&mut self, stream: TcpStream) -> Option<TcpStream> {
        if self.open.len() >= self.limits.max_connections && !self.make_room() {
            return Some(stream);
        }
        self.asked = None;
        let end = Arc::<Notify>::default();
        let activity = Activity::new(self.idle.clone());
        let connection = Connection {
            router: self.router.clone(),
            limits: self.limits,
            activity: activity.clone(),
            end: end.clone(),
            stopping: self.stopping.subscribe(),
        };
        let task = self.tasks.spawn(connection.serve(stream));
        let open = Open {
            task,
            activity,
            end,
            asked_to_end: false,
        };
        self.open.insert(open.task.id(), open);
        None
    }

    /// Closes the connection that has waited longest for its client, if any may
    /// be closed yet. Returns whether it did; otherwise room is on its way, as
    /// those served longest are asked to end.
    pub fn make_room(&mut self) -> bool {
        if let Some((id, since)) = self.longest_waiting()
            && since + FIRST_READ <= Instant::now()
            && let Some(open) = self.open.remove(&id)
        {
            tracing::debug!("closing an idle connection in favour of a new one");
            open.task.abort();
            return true;
        }
        if self.may_ask_at().is_some_and(|at| at <= Instant::now()) {
            self.ask_to_end();
        }
        false
    }

    /// Clients that ask without a pause never wait for long enough to be closed,
    /// and one that reads slowly may hold its place although it was asked: so
    /// each time as many are asked as before together.
    fn ask_to_end(&mut self) {
        let asked = self.asked.map_or(0, |(asked, _)| asked);
        let mut served: Vec<_> = self
            .open
            .values_mut()
            .filter(|open| open.may_ask())
            .collect();
        served.sort_unstable_by_key(|open| open.activity.served_since());
        let more = served.len().min(asked.max(1));
        for open in &mut served[..more] {
            open.asked_to_end = true;
            open.end.notify_one();
        }
        self.asked = Some((asked + more, Instant::now()));
    }

    /// When the next may be asked to end, if any is left to ask.
    fn may_ask_at(&self) -> Option<Instant> {
        self.open.values().any(Open::may_ask).then(|| {
            self.asked
                .map_or_else(Instant::now, |(_, last)| last + FIRST_READ)
        })
    }

    fn longest_waiting(&self) -> Option<(Id, Instant)> {
        self.open
            .iter()
            .filter_map(|(&id, open)| Some((id, open.activity.waiting_since()?)))
            .min_by_key(|&(_, since)| since)
    }

    /// Returns when a connection has ended or, where one is wanted, when there
    /// may be room for another. Cancelling it loses nothing.
    pub async fn changed(&mut self, room_wanted: bool) {
        let may_drop = self.longest_waiting().map(|(_, since)| since + FIRST_READ);
        let look_again = may_drop
            .into_iter()
            .chain(self.may_ask_at())
            .min()
            .unwrap_or_else(|| Instant::now() + self.limits.request_timeout);
        tokio::select! {
            Some(ended) = self.tasks.join_next_with_id() => self.forget(ended),
            () = self.idle.notified(), if room_wanted => {}
            () = sleep_until(look_again), if room_wanted => {}
            // Nothing is open, so nothing changes.
            else => std::future::pending().await,
        }
    }

    fn forget(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = match ended {
            Ok((id, ())) => id,
            Err(error) => {
                if error.is_panic() {
                    tracing::error!(%error, "a request ended in a panic");
                }
                error.id()
            }
        };
        self.open.remove(&id);
    }

    /// Lets requests in flight finish for a while, then drops what is left.
    pub async fn stop(mut self) {
        self.stopping.send_replace(true);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        let in_time = tokio::time::timeout(GRACE, all).await.is_ok();
        if !in_time {
            tracing::debug!(
                connections = self.tasks.len(),
                "dropping requests in flight"
            );
        }
        self.tasks.shutdown().await;
    }
}

/// What one connection's task needs.
struct Connection {
    router: Router,
    limits: Limits,
    activity: Activity,
    end: Arc<Notify>,
    stopping: watch::Receiver<bool>,
}

impl Connection {
    async fn serve(self, stream: TcpStream) {
        let Self {
            router,
            limits,
            activity,
            end,
            mut stopping,
        } = self;
        let watched = Watched::new(stream, activity.clone(), stopping.clone());
        let requests = activity.clone();
        let service = service_fn(move |request| answer(router.clone(), requests.clone(), request));
        let connection = http1::Builder::new()
            .max_headers(HEADERS)
            .max_buf_size(HEAD_BYTES)
            // Scripts end their side after the request and read on.
            .half_close(true)
            // Ours runs from a head's first byte and leaves idle connections be;
            // hyper's would close Prometheus' connection between two scrapes.
            .header_read_timeout(None)
            .serve_connection(TokioIo::new(watched), service);
        let mut connection = pin!(connection);
        let mut overdue = pin!(activity.overdue(limits));
        let (mut stopped, mut ending) = (false, false);
        loop {
            tokio::select! {
                ended = &mut connection => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "connection ended");
                    }
                    return;
                }
                () = &mut overdue => {
                    tracing::debug!("closing a connection that takes too long");
                    return;
                }
                _ = stopping.wait_for(|&stopping| stopping), if !stopped => stopped = true,
                () = end.notified(), if !ending => ending = true,
            }
            connection.as_mut().graceful_shutdown();
        }
    }
}

/// The body of a request is not read: no route has a use for one.
async fn answer(
    router: Router,
    activity: Activity,
    request: hyper::Request<Incoming>,
) -> Result<axum::response::Response, Infallible> {
    activity.begin();
    activity.earlier_answers_flushed().await;
    let response = router.oneshot(request.map(Body::new)).await;
    activity.answered();
    response
}
