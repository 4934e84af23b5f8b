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

impl NamespaceId {
    /// Of the calling thread.
    ///
    /// # Errors
    /// When `/proc` is not mounted, or hides the thread's own entry.
    pub fn current() -> io::Result<Self> {
        let metadata = std::fs::metadata(Path::new("/proc/thread-self/ns/net"))?;
        Ok(Self {
            device: metadata.st_dev(),
            inode: metadata.st_ino(),
        })
    }

    /// Checks that the calling thread is in this namespace, which goes by `name`.
    ///
    /// # Errors
    /// When it is elsewhere, or cannot tell.
    pub fn ensure_current(self, name: &str) -> io::Result<()> {
        if Self::current()? == self {
            return Ok(());
        }
        Err(io::Error::other(format!(
            "this thread is not in the network namespace {name:?}"
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
        let own = NamespaceId::current().unwrap();
        own.ensure_current("host").unwrap();
    }

    #[test]
    fn a_thread_elsewhere_is_refused() {
        let mut elsewhere = NamespaceId::current().unwrap();
        elsewhere.inode += 1;
        let error = elsewhere.ensure_current("host").unwrap_err();
        assert!(error.to_string().contains("\"host\""), "{error}");
    }
}
