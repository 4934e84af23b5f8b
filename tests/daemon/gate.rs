//! A /proc whose reader can be held up: every file is the kernel's, but one is a
//! FIFO, on which a poll hangs as it would in a kernel that does not answer.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

use crate::support::tools::wait_until;

/// Read at every poll.
const HELD_UP: &str = "ip_local_port_range";

pub struct Gate {
    directory: TempDir,
}

impl Gate {
    /// Shut: the first poll hangs.
    pub fn shut() -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let root = directory.path();
        fs::create_dir_all(root.join("sys/net/ipv4")).expect("it is new");
        link_all(Path::new("/proc"), root, "sys");
        link_all(Path::new("/proc/sys/net"), &root.join("sys/net"), "ipv4");
        let ipv4 = root.join("sys/net/ipv4");
        link_all(Path::new("/proc/sys/net/ipv4"), &ipv4, HELD_UP);
        let gate = Self { directory };
        let mode = Mode::from_raw_mode(0o600);
        mknodat(CWD, gate.fifo(), FileType::Fifo, mode, 0).expect("a FIFO");
        gate.shut_again();
        gate
    }

    /// Lets go whoever hangs, and keeps nobody else.
    pub fn open(&self) {
        let spare = self.directory.path().join("open");
        fs::write(&spare, "32768\t60999\n").expect("it can be written");
        fs::rename(spare, self.held_up()).expect("it can be replaced");
        // Whoever opened the FIFO waits for a writer. Without one there is ENXIO:
        // a reader may come that found the path before it was replaced.
        let _ = wait_until(Duration::from_millis(300), || {
            File::options()
                .write(true)
                .custom_flags(libc::O_NONBLOCK)
                .open(self.fifo())
                .is_ok_and(|mut fifo| fifo.write_all(b"32768\t60999\n").is_ok())
        });
    }

    /// The next poll hangs.
    pub fn shut_again(&self) {
        let spare = self.directory.path().join("shut");
        fs::hard_link(self.fifo(), &spare).expect("a second name");
        fs::rename(spare, self.held_up()).expect("it can be replaced");
    }

    pub fn root(&self) -> &Path {
        self.directory.path()
    }

    fn fifo(&self) -> PathBuf {
        self.directory.path().join("fifo")
    }

    fn held_up(&self) -> PathBuf {
        self.directory.path().join("sys/net/ipv4").join(HELD_UP)
    }
}

fn link_all(from: &Path, to: &Path, but: &str) {
    for entry in fs::read_dir(from).expect("procfs is mounted") {
        let name = entry.expect("an entry").file_name();
        if name != but {
            symlink(from.join(&name), to.join(&name)).expect("it is new");
        }
    }
}
