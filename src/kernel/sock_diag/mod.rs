//! Socket dumps over NETLINK_SOCK_DIAG (net/ipv4/inet_diag.c,
//! net/ipv4/udp_diag.c). No privilege is needed.

mod record;
mod request;

use std::time::Instant;

use netlink_sys::protocols::NETLINK_SOCK_DIAG;

use super::netlink::DumpError;
use super::netlink::dump::{Deadline, Dumper, Request};
use super::netlink::transport::{KernelTransport, Transport};
use crate::model::socket::Socket;

pub use record::SocketRecord;
pub use request::Dump;

/// A sock_diag client of one network namespace.
pub struct SockDiag<W = KernelTransport> {
    open: Box<dyn FnMut() -> Result<W, DumpError> + Send>,
    dumper: Option<Dumper<W>>,
    /// The older message type was refused and its successor was not.
    family_by_family: bool,
    interrupted: u64,
}

/// For the namespace of the calling thread.
impl Default for SockDiag {
    fn default() -> Self {
        Self::with(|| KernelTransport::open(NETLINK_SOCK_DIAG))
    }
}

impl<W: Transport> SockDiag<W> {
    /// `open` is called by the first dump, and again after every failure.
    pub fn with(open: impl FnMut() -> Result<W, DumpError> + Send + 'static) -> Self {
        Self {
            open: Box::new(open),
            dumper: None,
            family_by_family: false,
            interrupted: 0,
        }
    }

    /// Lets go of the socket: the next dump is of the namespace that the thread is in then.
    pub fn close(&mut self) {
        self.dumper = None;
    }

    /// How many dumps the kernel flagged as interrupted, since the start.
    pub fn interrupted(&self) -> u64 {
        self.interrupted
    }

    /// One whole dump into `into`, after `restart(into)` has emptied it. An
    /// interrupted dump is tried once more.
    ///
    /// # Errors
    /// Any ending but a whole dump. What `into` holds then is to be thrown away.
    pub fn dump<T>(
        &mut self,
        what: Dump,
        deadline: Deadline<'_>,
        into: &mut T,
        restart: impl Fn(&mut T),
        mut each: impl FnMut(&mut T, Socket),
    ) -> Result<(), DumpError> {
        let (started, mut is_second) = (Instant::now(), false);
        let whole = deadline;
        loop {
            restart(into);
            let timeout = whole.timeout.saturating_sub(started.elapsed());
            let deadline = Deadline { timeout, ..whole };
            let each = &mut |record: SocketRecord<'_>| each(into, record.socket());
            match self.attempt(what, deadline, each) {
                Ok(true) => return Ok(()),
                Ok(false) => {
                    self.interrupted += 1;
                    if is_second {
                        return Err(DumpError::Interrupted);
                    }
                    is_second = true;
                }
                Err(error) => {
                    // What is left of the dump must not answer the next request.
                    self.dumper = None;
                    if !what.has_older_request() || !error.is_absent() {
                        return Err(error);
                    }
                    // Where both forms are refused it is not the form that the
                    // kernel lacks: begin with the older one again next time.
                    self.family_by_family = !self.family_by_family;
                    if !self.family_by_family {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// The records themselves, once.
    ///
    /// # Errors
    /// Any ending but a whole dump.
    pub(super) fn dump_records(
        &mut self,
        what: Dump,
        deadline: Deadline<'_>,
        each: &mut impl FnMut(SocketRecord<'_>),
    ) -> Result<(), DumpError> {
        match self.attempt(what, deadline, each)? {
            true => Ok(()),
            false => Err(DumpError::Interrupted),
        }
    }

    fn attempt(
        &mut self,
        what: Dump,
        deadline: Deadline<'_>,
        each: &mut impl FnMut(SocketRecord<'_>),
    ) -> Result<bool, DumpError> {
        let mut consistent = true;
        for (kind, payload) in what.requests(self.family_by_family) {
            let dumper = match &mut self.dumper {
                Some(dumper) => dumper,
                none => none.insert(Dumper::new((self.open)()?)),
            };
            let request = Request {
                kind,
                payload: &payload,
            };
            let mut malformed = false;
            consistent &= dumper.dump(&request, deadline, |payload| {
                match SocketRecord::parse(payload) {
                    Some(record) => each(record),
                    None => malformed = true,
                }
            })?;
            if malformed {
                return Err(DumpError::Malformed("socket record cut short"));
            }
        }
        Ok(consistent)
    }
}

#[cfg(test)]
mod tests;
