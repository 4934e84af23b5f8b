//! Where datagrams come from: a netlink socket, or what stands in for it.

use std::io;
use std::time::Duration;

use netlink_sys::{Socket, SocketAddr};
use rustix::net::sockopt::{Timeout, set_socket_timeout};

use super::DumpError;

/// How long one receive may block before the deadline and the stop flag are
/// looked at again. The kernel answers a dump inside the call, so a receive
/// that blocks at all is already unusual.
const RECEIVE_TIMEOUT: Duration = Duration::from_millis(100);

/// Where datagrams come from: the kernel, or a test that is as awkward.
pub trait Transport {
    /// # Errors
    /// What send(2) says, or that not all of the request was taken.
    fn send(&mut self, request: &[u8]) -> io::Result<()>;

    /// Appends one datagram to the empty `buffer` as far as it fits, and tells
    /// how long it really was, in bytes.
    ///
    /// # Errors
    /// What recv(2) says; EAGAIN when nothing came for a while.
    fn receive(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize>;
}

/// A netlink socket that hears the kernel and nobody else.
pub struct KernelTransport {
    /// Never cloned: `netlink_sys::Socket` closes its descriptor on every drop.
    socket: Socket,
}

impl KernelTransport {
    /// Opens a socket in the network namespace of the calling thread.
    /// `protocol` is a NETLINK_* number.
    ///
    /// # Errors
    /// The call that failed, and why.
    pub fn open(protocol: isize) -> Result<Self, DumpError> {
        let mut socket = Socket::new(protocol).map_err(DumpError::call("socket"))?;
        socket.bind_auto().map_err(DumpError::call("bind"))?;
        // A connected netlink socket takes datagrams from its peer alone, so no
        // other process can slip records in.
        socket
            .connect(&SocketAddr::new(0, 0))
            .map_err(DumpError::call("connect"))?;
        set_socket_timeout(&socket, Timeout::Recv, Some(RECEIVE_TIMEOUT))
            .map_err(|errno| DumpError::call("setsockopt")(errno.into()))?;
        Ok(Self { socket })
    }
}

impl Transport for KernelTransport {
    fn send(&mut self, request: &[u8]) -> io::Result<()> {
        let sent = self.socket.send(request, 0)?;
        if sent == request.len() {
            Ok(())
        } else {
            Err(io::ErrorKind::WriteZero.into())
        }
    }

    fn receive(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        self.socket.recv(buffer, libc::MSG_TRUNC)
    }
}
