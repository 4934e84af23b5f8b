//! A dump: one request, datagrams until DONE, and every other ending named.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP, NLMSG_OVERRUN,
};

use super::transport::Transport;
use super::{DumpError, octets};

/// The kernel fills dump datagrams up to the buffer that was last offered, and
/// never beyond 32 KiB. Larger buffers change nothing, smaller ones cost calls.
pub const DATAGRAM_BYTES: usize = 32 * 1024;

const HEADER_BYTES: usize = 16;
const ALIGNMENT: usize = 4;

/// A request without its header, and the number that says what it is.
pub struct Request<'a> {
    /// `nlmsg_type`.
    pub kind: u16,
    pub payload: &'a [u8],
}

impl Request<'_> {
    fn to_bytes(&self, sequence: u32) -> Vec<u8> {
        let length = HEADER_BYTES + self.payload.len();
        let mut bytes = Vec::with_capacity(length);
        bytes.extend(
            u32::try_from(length)
                .expect("requests are short")
                .to_ne_bytes(),
        );
        bytes.extend(self.kind.to_ne_bytes());
        bytes.extend((NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend(0u32.to_ne_bytes());
        bytes.extend_from_slice(self.payload);
        bytes
    }
}

/// When to give up on a dump.
#[derive(Clone, Copy)]
pub struct Deadline<'a> {
    pub timeout: Duration,
    /// Set by whoever wants the process to end.
    pub stop: &'a AtomicBool,
}

/// One netlink socket, its receive buffer and its sequence numbers.
pub struct Dumper<W> {
    transport: W,
    buffer: Vec<u8>,
    sequence: u32,
}

impl<W: Transport> Dumper<W> {
    pub fn new(transport: W) -> Self {
        Self {
            transport,
            buffer: Vec::with_capacity(DATAGRAM_BYTES),
            sequence: 0,
        }
    }

    /// Sends the request and hands every record's payload to `each`, in order.
    /// `Ok(true)` says that the dump is whole; `Ok(false)` that it is complete
    /// but the kernel flagged it as inconsistent (NLM_F_DUMP_INTR).
    ///
    /// # Errors
    /// Every other ending. Records may have been handed out before it: they are
    /// part of nothing and must be forgotten. Do not use the socket again: what
    /// is left of the dump is still queued on it.
    pub fn dump(
        &mut self,
        request: &Request<'_>,
        deadline: Deadline<'_>,
        mut each: impl FnMut(&[u8]),
    ) -> Result<bool, DumpError> {
        self.sequence = self.sequence.wrapping_add(1);
        self.transport
            .send(&request.to_bytes(self.sequence))
            .map_err(DumpError::call("send"))?;
        let started = Instant::now();
        let mut consistent = true;
        loop {
            if deadline.stop.load(Ordering::Relaxed) {
                return Err(DumpError::Stopped);
            }
            if started.elapsed() > deadline.timeout {
                return Err(DumpError::Deadline(deadline.timeout));
            }
            let Some(datagram) = receive(&mut self.transport, &mut self.buffer)? else {
                continue;
            };
            for frame in Frames::new(datagram) {
                let frame = frame?;
                if frame.sequence != self.sequence {
                    return Err(DumpError::ForeignSequence {
                        expected: self.sequence,
                        found: frame.sequence,
                    });
                }
                consistent &= frame.flags & NLM_F_DUMP_INTR == 0;
                match frame.kind {
                    NLMSG_NOOP => {}
                    NLMSG_OVERRUN => return Err(DumpError::Overrun),
                    NLMSG_ERROR => return Err(refusal(frame.payload)),
                    NLMSG_DONE => return finished(frame.payload).map(|()| consistent),
                    _ => each(frame.payload),
                }
            }
        }
    }
}

/// One datagram, exactly as long as what the kernel wrote. `None` when nothing
/// came for a while or a signal interrupted the call: look at the clock, go on.
fn receive<'b>(
    transport: &mut impl Transport,
    buffer: &'b mut Vec<u8>,
) -> Result<Option<&'b [u8]>, DumpError> {
    buffer.clear();
    match transport.receive(buffer) {
        Ok(0) => Err(DumpError::Malformed("empty datagram")),
        Ok(sent) if sent > buffer.len() => Err(DumpError::Truncated {
            sent,
            capacity: buffer.len(),
        }),
        Ok(_) => Ok(Some(buffer)),
        Err(error) => match error.raw_os_error() {
            Some(libc::EINTR | libc::EAGAIN) => Ok(None),
            Some(libc::ENOBUFS) => Err(DumpError::Overrun),
            _ => Err(DumpError::Call {
                call: "recv",
                source: error,
            }),
        },
    }
}

/// NLMSG_ERROR starts with a negative errno. Zero would be an acknowledgement,
/// which nobody asked for.
fn refusal(payload: &[u8]) -> DumpError {
    match errno(payload) {
        None => DumpError::Malformed("error message without an errno"),
        Some(0) => DumpError::Malformed("acknowledgement instead of a dump"),
        Some(number) => DumpError::Refused(io::Error::from_raw_os_error(number)),
    }
}

/// DONE may carry a negative errno, in which case the dump is not whole.
fn finished(payload: &[u8]) -> Result<(), DumpError> {
    match errno(payload) {
        None | Some(0) => Ok(()),
        Some(number) => Err(DumpError::EndedEarly(io::Error::from_raw_os_error(number))),
    }
}

fn errno(payload: &[u8]) -> Option<i32> {
    let number = i32::from_ne_bytes(*payload.first_chunk()?);
    Some(number.saturating_neg())
}

/// One message inside a datagram.
#[derive(Debug, PartialEq, Eq)]
struct Frame<'b> {
    kind: u16,
    flags: u16,
    sequence: u32,
    payload: &'b [u8],
}

/// The messages of a datagram, each checked against what was received.
struct Frames<'b> {
    rest: &'b [u8],
}

impl<'b> Frames<'b> {
    fn new(datagram: &'b [u8]) -> Self {
        Self { rest: datagram }
    }
}

impl<'b> Iterator for Frames<'b> {
    type Item = Result<Frame<'b>, DumpError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let Some(header) = self.rest.first_chunk::<HEADER_BYTES>() else {
            self.rest = &[];
            return Some(Err(DumpError::Malformed("header cut short")));
        };
        let length = u32::from_ne_bytes(octets(header, 0)) as usize;
        if length < HEADER_BYTES || length > self.rest.len() {
            self.rest = &[];
            return Some(Err(DumpError::Malformed("length beyond the datagram")));
        }
        let frame = Frame {
            kind: u16::from_ne_bytes(octets(header, 4)),
            flags: u16::from_ne_bytes(octets(header, 6)),
            sequence: u32::from_ne_bytes(octets(header, 8)),
            payload: &self.rest[HEADER_BYTES..length],
        };
        // The last message need not be padded.
        let next = length.next_multiple_of(ALIGNMENT).min(self.rest.len());
        self.rest = &self.rest[next..];
        Some(Ok(frame))
    }
}

#[cfg(test)]
mod tests;
