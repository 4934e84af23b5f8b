//! Directories of the real cgroup tree of version 2, for the sockets of a test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;

/// A directory with children, removed at the end.
pub struct Cgroups {
    root: PathBuf,
    /// Path below the mount.
    path: String,
    /// Where the process came from.
    home: PathBuf,
}

impl Cgroups {
    /// `None` where this process may not move itself, which takes root as a rule.
    pub fn make(name: &str) -> Option<Self> {
        let mount = mount()?;
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let own = own.lines().find_map(|line| line.strip_prefix("0::"))?;
        let path = format!("/sockdiag-test-{name}-{}", process::id());
        let cgroups = Self {
            root: mount.join(&path[1..]),
            path,
            home: mount.join(own.trim_start_matches('/')),
        };
        fs::create_dir(&cgroups.root).ok()?;
        let moved = cgroups.enter("a.service");
        cgroups.leave();
        moved.map(|_| cgroups)
    }

    /// Moves this process to a child, which is made if need be, and gives its path.
    pub fn enter(&self, child: &str) -> Option<String> {
        let folder = self.root.join(child);
        fs::create_dir_all(&folder).ok()?;
        enter(&folder)?;
        Some(format!("{}/{child}", self.path))
    }

    /// Moves this process back.
    pub fn leave(&self) {
        enter(&self.home).expect("a process may go back");
    }

    /// Removes a child, in which there is no process any more.
    pub fn remove(&self, child: &str) {
        fs::remove_dir(self.root.join(child)).expect("nobody is in it");
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        let _ = enter(&self.home);
        remove(&self.root);
    }
}

fn enter(folder: &Path) -> Option<()> {
    fs::write(folder.join("cgroup.procs"), process::id().to_string()).ok()
}

/// The deepest first; the kernel's files go with their directory.
fn remove(folder: &Path) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.path().is_dir()) {
        remove(&entry.path());
    }
    let _ = fs::remove_dir(folder);
}

fn mount() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/mounts").ok()?;
    let mut words = mounts.lines().map(|line| line.split(' '));
    words.find_map(|mut line| {
        let point = line.nth(1)?;
        (line.next()? == "cgroup2").then(|| PathBuf::from(point))
    })
}
