//! What can be read, and can fail, by itself.

/// A source of facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// The namespace itself: whether the thread is in it.
    Namespace,
    /// Files under /proc that one subject reads for itself.
    Files,
    /// The settings of the namespace's ports, also under /proc.
    PortSettings,
    /// The dump of TCP sockets.
    TcpSockets,
    /// The dump of UDP sockets.
    UdpSockets,
}

impl Source {
    /// Whether it is a dump, which is dear, and not a few files.
    pub const fn is_dump(self) -> bool {
        matches!(self, Self::TcpSockets | Self::UdpSockets)
    }
}
