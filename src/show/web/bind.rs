//! Opens the addresses to listen on, or says in one line why not.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// Connections that the kernel keeps while we are busy; it lowers the number to
/// `net.core.somaxconn`.
const BACKLOG: i32 = 1024;

/// An address that cannot be listened on: the cause, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {reason}")]
pub struct BindError {
    address: SocketAddr,
    reason: String,
}

/// Listens on every address, or on none. `[::]` takes IPv4 as well, whatever
/// `net.ipv6.bindv6only` says, unless `0.0.0.0` with the same port is listed too.
/// With `fall_back`, `0.0.0.0` stands in for `[::]` where IPv6 is off.
///
/// Must be called within a tokio runtime.
///
/// # Errors
/// The first address that cannot be had.
pub fn bind(addresses: &[SocketAddr], fall_back: bool) -> Result<Vec<TcpListener>, BindError> {
    let listen = |&address: &SocketAddr| {
        let is_any_ipv6 = address.ip() == Ipv6Addr::UNSPECIFIED;
        let any_ipv4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
        match open(address, is_any_ipv6 && addresses.contains(&any_ipv4)) {
            Err(error) if fall_back && is_any_ipv6 && lacks_ipv6(&error) => {
                tracing::info!(%address, instead = %any_ipv4, "IPv6 is off, listening on IPv4 alone");
                open(any_ipv4, false).map_err(|error| explain(any_ipv4, addresses, error))
            }
            opened => opened.map_err(|error| explain(address, addresses, error)),
        }
    };
    addresses.iter().map(listen).collect()
}

fn open(address: SocketAddr, ipv6_only: bool) -> io::Result<TcpListener> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(ipv6_only)?;
    }
    // A restart must not wait for the TIME_WAIT of the last run's connections.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// No such family in the kernel, or no address of it, not even `::`.
fn lacks_ipv6(error: &io::Error) -> bool {
    error.raw_os_error() == Some(EAFNOSUPPORT) || error.kind() == io::ErrorKind::AddrNotAvailable
}

/// `asm-generic/errno.h`; `io::ErrorKind` has no name for it.
const EAFNOSUPPORT: i32 = 97;

fn explain(address: SocketAddr, addresses: &[SocketAddr], error: io::Error) -> BindError {
    use io::ErrorKind as Kind;
    let no_ipv6 = "IPv6 is off on this host; choose an IPv4 address in web.listen";
    let reason = match error.kind() {
        Kind::AddrInUse => match rival(address, addresses) {
            Some(by) => format!("{by} in web.listen covers it already; list only one"),
            None => "the port is taken by another socket; `ss -ltnp` shows whose, stop that or choose another port in web.listen".to_owned(),
        },
        _ if address.is_ipv6() && error.raw_os_error() == Some(EAFNOSUPPORT) => no_ipv6.to_owned(),
        // Any other host has `::`, so this one has no IPv6.
        Kind::AddrNotAvailable if address.ip() == Ipv6Addr::UNSPECIFIED => no_ipv6.to_owned(),
        Kind::AddrNotAvailable => {
            "the address is not this host's; `ip addr` shows which are, correct web.listen".to_owned()
        }
        // Of another port it is not the port that is refused, but an option of the socket.
        Kind::PermissionDenied if (1..1024).contains(&address.port()) => {
            "no permission for this port; choose one from 1024 on in web.listen, or grant CAP_NET_BIND_SERVICE".to_owned()
        }
        _ => error.to_string(),
    };
    BindError { address, reason }
}

/// Another listed address that takes the same connections.
fn rival(address: SocketAddr, addresses: &[SocketAddr]) -> Option<SocketAddr> {
    let covers = |wide: SocketAddr, narrow: SocketAddr| {
        wide.ip().is_unspecified() && (wide.is_ipv6() || narrow.is_ipv4())
    };
    addresses.iter().copied().find(|&other| {
        other != address
            && other.port() == address.port()
            && (covers(other, address) || covers(address, other))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_privileged_port_is_said_to_need_a_privilege() {
        let explained = |address: &str| {
            let address = address.parse().unwrap();
            let refused = io::Error::from(io::ErrorKind::PermissionDenied);
            explain(address, &[address], refused).to_string()
        };
        assert!(explained("127.0.0.1:80").contains("CAP_NET_BIND_SERVICE"));
        let other = explained("[::]:10061");
        assert!(other.ends_with("permission denied"), "{other}");
    }
}
