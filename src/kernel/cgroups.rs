//! Ids of cgroups to their paths. The id is the inode number of the directory in the
//! tree of version 2 (`cgroup_id`, include/linux/cgroup.h), so the tree is walked
//! where mountinfo says that it is mounted. Whatever else lies there is not read.

use std::collections::VecDeque;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hashbrown::{HashMap, HashSet};

use super::procfs::Procfs;

/// After a walk, before the next one for an id that has turned up since: 20,000 cgroups
/// take a third of a second.
const AT_LEAST: Duration = Duration::from_secs(30);
/// The same where no id has: directories go, too. And where the last walk was in vain.
const AT_MOST: Duration = Duration::from_secs(5 * 60);
/// Directories looked at in one walk, and so paths kept: about 200 bytes each.
const DIRECTORIES: usize = 100_000;
/// Ids that were looked for in vain, and will be.
const GONE: usize = 16_384;
/// Inode number of the whole tree's root (`kernfs_create_root`, fs/kernfs/dir.c). A
/// cgroup namespace, or a part mounted elsewhere, begins with another.
const ROOT_ID: u64 = 1;

/// What is known of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known<'p> {
    Path(&'p str),
    /// Its directory is gone.
    Gone,
    /// It turned up after the last walk.
    NotYet,
    /// The whole tree is not to be seen from here.
    Hidden,
}

/// The paths of all cgroups, remembered from dump to dump. One for the process.
pub struct CgroupPaths {
    procfs: Procfs,
    at_least: Duration,
    /// `None` before the first walk.
    walked: Option<Instant>,
    outcome: Outcome,
    paths: HashMap<u64, Box<str>>,
    gone: HashSet<u64>,
}

/// Of the last walk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Whole,
    /// There was more than was looked at.
    Part,
    /// The whole tree is not mounted here.
    Hidden,
}

impl CgroupPaths {
    /// Nothing is read before the first id is to be found.
    pub fn new(procfs: Procfs) -> Self {
        Self {
            procfs,
            at_least: AT_LEAST,
            walked: None,
            outcome: Outcome::Whole,
            paths: HashMap::new(),
            gone: HashSet::new(),
        }
    }

    /// Walks the tree if one of these ids is new, and not too soon after the last time.
    pub fn find(&mut self, ids: impl Iterator<Item = u64> + Clone, stop: &AtomicBool) {
        let is_known = |id: u64| self.paths.contains_key(&id) || self.gone.contains(&id);
        let has_new = !ids.clone().all(is_known);
        let wait = match self.outcome {
            Outcome::Whole if has_new => self.at_least,
            _ => AT_MOST,
        };
        let is_due = |walked: Instant| walked.elapsed() >= wait;
        if !self.walked.map_or(has_new, is_due) {
            return;
        }
        self.walked = Some(Instant::now());
        self.paths.clear();
        self.outcome = match self.root() {
            None => Outcome::Hidden,
            Some(root) => walk(&root, stop, |id, path| drop(self.paths.insert(id, path))),
        };
        if self.outcome != Outcome::Whole {
            return;
        }
        // Ids are not used again: what is not there will never be.
        for id in ids.filter(|id| !self.paths.contains_key(id)) {
            if self.gone.len() == GONE {
                self.gone.clear();
            }
            self.gone.insert(id);
        }
    }

    /// As if a walk had found these a moment ago.
    pub fn known<const N: usize>(paths: [(u64, &str); N]) -> Self {
        Self {
            walked: Some(Instant::now()),
            paths: paths.map(|(id, path)| (id, path.into())).into(),
            ..Self::new(Procfs::new("/proc"))
        }
    }

    pub fn get(&self, id: u64) -> Known<'_> {
        match self.paths.get(&id) {
            Some(path) => Known::Path(path),
            None if self.outcome == Outcome::Hidden => Known::Hidden,
            None if self.gone.contains(&id) => Known::Gone,
            None => Known::NotYet,
        }
    }

    /// Where the whole tree is mounted.
    fn root(&self) -> Option<PathBuf> {
        let mounts = self
            .procfs
            .value("self/mountinfo", "mounts", |text| Some(mounts(text)));
        let mut mounts = mounts.ok().flatten()?.into_iter();
        mounts.find(|mount| inode(mount) == Some(ROOT_ID))
    }
}

fn inode(path: &Path) -> Option<u64> {
    Some(std::fs::symlink_metadata(path).ok()?.ino())
}

/// Where version 2 is mounted, by `/proc/PID/mountinfo` (proc_pid_mountinfo(5)).
pub fn mounts(text: &str) -> Vec<PathBuf> {
    let lines = text.lines().filter_map(|line| {
        let (mount, source) = line.split_once(" - ")?;
        let point = mount.split(' ').nth(4)?;
        source.starts_with("cgroup2 ").then(|| unescaped(point))
    });
    lines.collect()
}

/// What the kernel writes in octal, and nothing else (`show_mountinfo`, fs/proc_namespace.c).
/// The backslash comes last: what stands behind it is no escape then.
fn unescaped(text: &str) -> PathBuf {
    let escapes = [
        (r"\040", " "),
        (r"\011", "\t"),
        (r"\012", "\n"),
        (r"\134", r"\"),
    ];
    let text = escapes
        .into_iter()
        .fold(text.to_owned(), |text, (octal, plain)| {
            text.replace(octal, plain)
        });
    text.into()
}

/// Every directory below `root`, by its inode number.
fn walk(root: &Path, stop: &AtomicBool, mut found: impl FnMut(u64, Box<str>)) -> Outcome {
    found(ROOT_ID, "/".into());
    let mut seen = 0;
    // The upper ones first: services and containers are not deep.
    let mut folders = VecDeque::from([String::new()]);
    while let Some(folder) = folders.pop_front() {
        // A directory may be removed while the walk goes on.
        let Ok(entries) = std::fs::read_dir(root.join(folder.trim_start_matches('/'))) else {
            continue;
        };
        for entry in entries.flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            seen += 1;
            if seen > DIRECTORIES || stop.load(Ordering::Relaxed) {
                return Outcome::Part;
            }
            let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
            found(entry.ino(), path.as_str().into());
            folders.push_back(path);
        }
    }
    Outcome::Whole
}

#[cfg(test)]
mod tests;
