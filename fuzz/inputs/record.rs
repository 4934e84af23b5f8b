//! The payload of a message → a socket, against the crate netlink-packet-sock-diag and
//! against the plain walk through the attributes.

use std::net::IpAddr;

use netlink_packet_core::Parseable;
use netlink_packet_sock_diag::inet::InetResponse;
use sockdiag_exporter::kernel::sock_diag::SocketRecord;
use sockdiag_exporter::model::socket::Addresses;
use sockdiag_exporter::model::state::State;

pub fn run(payload: &[u8]) {
    let Some(record) = SocketRecord::parse(payload) else {
        assert!(payload.len() < 72, "a record was refused");
        return;
    };
    let socket = record.socket();
    assert_eq!(socket.local_port, record.local_port());
    let known = [2, 10].contains(&payload[0]);
    // The crate knows two families.
    let theirs = InetResponse::parse(&payload[..72]).ok().filter(|_| known);
    let Some(theirs) = theirs else {
        return;
    };
    let header = theirs.header;
    assert_eq!(socket.local_port, header.socket_id.source_port);
    assert_eq!(socket.remote_port, header.socket_id.destination_port);
    assert_eq!(socket.device, header.socket_id.interface_id);
    assert_eq!(record.inode(), header.inode);
    if (1..=12).contains(&payload[1]) {
        assert_ne!(socket.state, State::Unknown);
    }
    let (local, remote) = match socket.addresses {
        Addresses::V4 { local, remote } => (IpAddr::from(local), IpAddr::from(remote)),
        Addresses::V6 { local, remote } => (IpAddr::from(local), IpAddr::from(remote)),
    };
    let id = header.socket_id;
    let theirs = [id.source_address, id.destination_address].map(|address| address.to_canonical());
    assert_eq!(local.to_canonical(), theirs[0]);
    // A mapped address that listens has nobody opposite, of either family.
    let is_nobody = remote.is_unspecified() && theirs[1].is_unspecified();
    assert!(is_nobody || remote.to_canonical() == theirs[1], "{remote}");
}
