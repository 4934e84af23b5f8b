//! Network namespaces: which one this thread is in.
//!
//! Only the collector thread ever enters one, and it looks where it is before
//! it reads: a number of one namespace must never stand under another's name.

use std::io;
use std::os::linux::fs::MetadataExt;
use std::path::Path;

/// What tells two living namespaces apart: device and inode of the nsfs file.
/// The inode is used again after the namespace is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NamespaceId {
    device: u64,
    inode: u64,
}

/// The network namespace of the calling thread.
///
/// # Errors
/// When `/proc` is not mounted, or hides the thread's own entry.
pub fn current() -> io::Result<NamespaceId> {
    let metadata = std::fs::metadata(Path::new("/proc/thread-self/ns/net"))?;
    Ok(NamespaceId {
        device: metadata.st_dev(),
        inode: metadata.st_ino(),
    })
}

/// A namespace under observation, by the name that its metrics carry.
#[derive(Clone, Debug)]
pub struct Namespace {
    pub name: String,
    id: NamespaceId,
}

impl Namespace {
    /// The one that the calling thread is in.
    ///
    /// # Errors
    /// As [`current`].
    pub fn own(name: impl Into<String>) -> io::Result<Self> {
        Ok(Self {
            name: name.into(),
            id: current()?,
        })
    }

    /// Makes sure that the calling thread is where it should be.
    ///
    /// # Errors
    /// When it is elsewhere, or cannot tell.
    pub fn visit(&self) -> io::Result<()> {
        if current()? == self.id {
            return Ok(());
        }
        Err(io::Error::other(format!(
            "this thread is not in the network namespace {:?}",
            self.name
        )))
    }
}

/// Name of a network device of the calling thread's namespace; its number when
/// it is gone.
pub fn device_name(index: u32) -> String {
    let name = rustix::net::socket(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        None,
    )
    .and_then(|socket| rustix::net::netdevice::index_to_name(&socket, index));
    name.map_or_else(|_| index.to_string(), |name| name.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_knows_its_own_namespace() {
        Namespace::own("host").unwrap().visit().unwrap();
    }

    #[test]
    fn a_thread_elsewhere_is_refused() {
        let mut elsewhere = Namespace::own("host").unwrap();
        elsewhere.id.inode += 1;
        let error = elsewhere.visit().unwrap_err();
        assert!(error.to_string().contains("\"host\""), "{error}");
    }
}
