//! Network namespaces: which one this thread is in, and the way into another.
//!
//! Only the collector thread ever enters one, and it looks where it is before
//! it reads: a number of one namespace must never stand under another's name.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::linux::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::sys::socket::getsockopt;
use nix::{getsockopt_impl, sockopt_impl};
use rustix::net::{AddressFamily, SocketType, socket};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

const OWN: &str = "/proc/thread-self/ns/net";

/// What tells two living namespaces apart: device and inode of the nsfs file.
/// The inode is used again after the namespace is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamespaceId {
    device: u64,
    pub inode: u64,
}

sockopt_impl!(
    /// A number that no other namespace ever gets (SO_NETNS_COOKIE, Linux 5.14).
    NetnsCookie,
    GetOnly,
    libc::SOL_SOCKET,
    libc::SO_NETNS_COOKIE,
    u64
);

impl NamespaceId {
    /// Of the calling thread.
    ///
    /// # Errors
    /// When `/proc` is not mounted, or hides the thread's own entry.
    pub fn current() -> io::Result<Self> {
        Self::of_file(Path::new(OWN))
    }

    /// Of a file that stands for a namespace, such as one below `/run/netns`. What
    /// else such a file may be is found out when it is entered.
    ///
    /// # Errors
    /// When there is no such file, or this process may not look at it.
    pub fn of_file(path: &Path) -> io::Result<Self> {
        let file = std::fs::metadata(path)?;
        Ok(Self {
            device: file.st_dev(),
            inode: file.st_ino(),
        })
    }

    /// Whether both are files of one nsfs.
    pub fn is_like(self, other: Self) -> bool {
        self.device == other.device
    }

    /// Checks that the calling thread is in this namespace, which goes by `name`.
    ///
    /// # Errors
    /// When it is elsewhere, for another namespace has taken its place (`NotFound`), or
    /// cannot tell.
    pub fn ensure_current(self, name: &str) -> io::Result<()> {
        if Self::current()? == self {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("this thread is not in the network namespace {name:?}"),
        ))
    }
}

/// The way into a namespace.
#[derive(Clone, Debug)]
pub enum Door {
    /// Held open: the namespace lives as long as this does.
    Open(Arc<File>),
    /// Opened at each visit, so that the namespace can go when all else has left it.
    At(PathBuf),
}

impl Door {
    /// Of the namespace that the calling thread is in.
    ///
    /// # Errors
    /// When `/proc` is not mounted, or hides the thread's own entry.
    pub fn here() -> io::Result<Self> {
        Ok(Self::Open(Arc::new(File::open(OWN)?)))
    }

    /// Moves the calling thread into the namespace behind it. Whoever reads there checks
    /// which it is.
    ///
    /// # Errors
    /// When it is not there any more, or this process may not enter it (CAP_SYS_ADMIN).
    pub fn enter(&self) -> io::Result<()> {
        let enter =
            |file: &File| move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network));
        match self {
            Self::Open(file) => enter(file)?,
            Self::At(path) => enter(&File::open(path)?)?,
        }
        Ok(())
    }
}

/// The cookie of the calling thread's namespace; `None` before Linux 5.14.
pub fn cookie() -> Option<u64> {
    let socket = socket(AddressFamily::UNIX, SocketType::DGRAM, None).ok()?;
    getsockopt(&socket, NetnsCookie).ok()
}

/// Name of a network device of the calling thread's namespace; its number when
/// it is gone.
pub fn device_name(index: u32) -> String {
    let name = socket(AddressFamily::INET, SocketType::DGRAM, None)
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
        assert_eq!(
            NamespaceId::of_file(Path::new("/proc/self/ns/net")).unwrap(),
            own
        );
    }

    #[test]
    fn a_thread_elsewhere_is_refused() {
        let mut elsewhere = NamespaceId::current().unwrap();
        elsewhere.inode += 1;
        let error = elsewhere.ensure_current("host").unwrap_err();
        assert!(error.to_string().contains("\"host\""), "{error}");
    }

    #[test]
    fn a_door_that_is_gone_is_not_found() {
        let gone = Door::At("/proc/self/ns/nothing".into());
        let error = gone.enter().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        // Neither is what is no namespace.
        assert!(Door::At("/proc/self/ns/uts".into()).enter().is_err());
    }

    #[test]
    fn the_cookie_stays() {
        assert_eq!(cookie(), cookie());
    }
}
