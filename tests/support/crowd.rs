//! More sockets than one process may hold: workers that open them on command.
//!
//! A worker is this test binary running the ignored test below. Orders and
//! answers are lines of JSON over a socket that the worker finds as its stdin:
//! its stdout belongs to libtest.

use std::env;
use std::io::{BufRead, BufReader, Write, stdin};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use serde::{Deserialize, Serialize};

use super::netns::set_port_range;
use super::plan::Plan;

const WORKER: &str = "SOCKDIAG_TEST_WORKER";

/// How many ports [`Crowd::fill_range`] offers at a time.
const STEP: u16 = 1_000;

#[derive(Serialize, Deserialize)]
enum Order {
    Open { count: usize, plan: Plan },
    Close { count: usize },
}

/// How far an order came, and the errno that ended it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    pub count: usize,
    pub errno: Option<i32>,
}

/// Sockets held by worker processes in the namespace of the calling thread.
/// Dropping it ends the workers and closes their sockets.
#[derive(Default)]
pub struct Crowd {
    workers: Vec<Worker>,
}

impl Crowd {
    /// Opens `count` sockets one after the other, in as many workers as the
    /// limit on open files asks for, and stops at the kernel's first refusal.
    pub fn open(&mut self, count: usize, plan: &Plan) -> Done {
        let mut opened = 0;
        loop {
            let fresh = self.workers.is_empty();
            if fresh {
                self.workers.push(Worker::start());
            }
            let order = Order::Open {
                count: count - opened,
                plan: plan.clone(),
            };
            let done = self.last().obey(&order);
            opened += done.count;
            if done.errno != Some(libc::EMFILE) {
                return Done {
                    count: opened,
                    errno: done.errno,
                };
            }
            assert!(!fresh || done.count > 0, "a worker may not open any file");
            self.workers.push(Worker::start());
        }
    }

    /// Makes `first..=last` the ephemeral range and takes all of it with plain
    /// connects. The range grows in steps, for the kernel's search is slow in
    /// a range nearly full: 28,000 ports at once take ten seconds and more.
    ///
    /// # Panics
    /// When a port cannot be had.
    pub fn fill_range(&mut self, first: u16, last: u16, plan: &Plan) {
        for start in (first..=last).step_by(STEP.into()) {
            let end = last.min(start.saturating_add(STEP - 1));
            set_port_range(start, end);
            let count = usize::from(end - start) + 1;
            let done = self.open(count, plan);
            assert_eq!(done, Done { count, errno: None }, "ports {start} to {end}");
        }
        set_port_range(first, last);
    }

    /// Closes the `count` sockets opened last; fewer when there are no more.
    pub fn close(&mut self, count: usize) -> usize {
        let mut closed = 0;
        for worker in self.workers.iter_mut().rev() {
            let order = Order::Close {
                count: count - closed,
            };
            closed += worker.obey(&order).count;
        }
        closed
    }

    fn last(&mut self) -> &mut Worker {
        self.workers.last_mut().expect("one was started")
    }
}

struct Worker {
    process: Child,
    line: Option<BufReader<UnixStream>>,
}

impl Worker {
    fn start() -> Self {
        let (ours, theirs) = UnixStream::pair().expect("a socket pair");
        let (_, module) = module_path!().split_once("::").expect("not the root");
        let process = Command::new("/proc/self/exe")
            .args([&format!("{module}::worker"), "--exact", "--ignored"])
            .arg("--nocapture")
            .env(WORKER, "1")
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .spawn()
            .expect("the test binary starts again");
        Self {
            process,
            line: Some(BufReader::new(ours)),
        }
    }

    fn obey(&mut self, order: &Order) -> Done {
        let line = self.line.as_mut().expect("present until dropped");
        let text = serde_json::to_string(order).expect("an order is JSON");
        writeln!(line.get_mut(), "{text}").expect("the worker listens");
        let mut answer = String::new();
        line.read_line(&mut answer).expect("the worker answers");
        serde_json::from_str(&answer).unwrap_or_else(|_| panic!("a worker died: {answer:?}"))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // End of file is the order to leave.
        self.line = None;
        let _ = self.process.wait();
    }
}

#[test]
#[ignore = "a worker process, which Crowd starts by itself"]
fn worker() {
    if env::var_os(WORKER).is_none() {
        return;
    }
    let line = stdin().as_fd().try_clone_to_owned().expect("stdin is open");
    let mut line = BufReader::new(UnixStream::from(line));
    let mut held = Vec::new();
    let mut text = String::new();
    while line.read_line(&mut text).expect("the test speaks") > 0 {
        let done = match serde_json::from_str(&text).expect("an order") {
            Order::Open { count, plan } => open(count, &plan, &mut held),
            Order::Close { count } => {
                let keep = held.len().saturating_sub(count);
                let count = held.drain(keep..).count();
                Done { count, errno: None }
            }
        };
        let answer = serde_json::to_string(&done).expect("an answer is JSON");
        writeln!(line.get_mut(), "{answer}").expect("the test listens");
        text.clear();
    }
}

fn open(wanted: usize, plan: &Plan, held: &mut Vec<socket2::Socket>) -> Done {
    for count in 0..wanted {
        match plan.open() {
            Ok(socket) => held.push(socket),
            Err(error) => {
                let errno = error.raw_os_error();
                return Done { count, errno };
            }
        }
    }
    Done {
        count: wanted,
        errno: None,
    }
}
