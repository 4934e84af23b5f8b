use std::collections::BTreeMap;
use std::fs::{create_dir, create_dir_all, remove_dir};

use super::*;
use crate::fake_kernel::proc_tree;

static NEVER: AtomicBool = AtomicBool::new(false);

impl CgroupPaths {
    /// As if it had looked in vain for this one.
    pub fn without(mut self, id: u64) -> Self {
        self.gone.insert(id);
        self
    }

    /// As if a part of the tree was all that there is to see.
    pub fn hidden() -> Self {
        Self {
            outcome: Outcome::Hidden,
            ..Self::known([])
        }
    }
}

/// Every directory of a tree by its inode number.
fn found(root: &Path) -> BTreeMap<u64, String> {
    let mut paths = BTreeMap::new();
    let outcome = walk(root, &NEVER, |id, path| drop(paths.insert(id, path.into())));
    assert!(outcome == Outcome::Whole);
    paths
}

#[test]
fn mounts_of_version_2_are_found_among_the_others() {
    let text = "\
25 30 0:23 / /sys rw,nosuid - sysfs sysfs rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw
52 31 0:38 /../.. /host\\040tree/cgroup ro master:3 - cgroup2 cgroup rw,nsdelegate
garbled
";
    let expected = ["/sys/fs/cgroup/unified", "/host tree/cgroup"].map(PathBuf::from);
    assert_eq!(mounts(text), expected);
    assert_eq!(unescaped(r"/a\134b\0"), PathBuf::from(r"/a\b\0"));
}

#[test]
fn directories_are_found_by_their_inode_numbers() {
    let root = tempfile::tempdir().unwrap();
    create_dir_all(root.path().join("system.slice/a.service/b")).unwrap();
    std::fs::write(root.path().join("cgroup.procs"), "1\n").unwrap();
    let mut paths = found(root.path());
    assert_eq!(paths.remove(&ROOT_ID).as_deref(), Some("/"));
    assert_eq!(paths.len(), 3);
    for (id, path) in paths {
        assert_eq!(inode(&root.path().join(&path[1..])), Some(id), "{path}");
    }
}

#[test]
fn without_the_whole_tree_nothing_is_gone() {
    // A directory that is mounted as one, and is not the root.
    let tree = tempfile::tempdir().unwrap();
    let line = format!(
        "41 31 0:38 / {} rw - cgroup2 cgroup2 rw\n",
        tree.path().display()
    );
    for text in [line.as_str(), ""] {
        let proc = proc_tree(&[("self/mountinfo", text)]);
        let mut paths = CgroupPaths::new(Procfs::new(proc.path()));
        paths.find([7].into_iter(), &NEVER);
        assert_eq!(paths.get(7), Known::Hidden);
    }
}

#[test]
fn a_walk_is_told_to_stop() {
    let root = tempfile::tempdir().unwrap();
    create_dir(root.path().join("a")).unwrap();
    let stop = AtomicBool::new(true);
    assert!(walk(root.path(), &stop, |_, _| ()) == Outcome::Part);
}

/// A directory of the real tree, removed in the end.
struct Made(PathBuf);

impl Made {
    /// `None` where there is no tree that may be written.
    fn below(root: &Path, name: &str) -> Option<Self> {
        let path = root.join(format!("sockdiag-test-{name}-{}", std::process::id()));
        create_dir(&path).ok()?;
        Some(Self(path))
    }

    fn child(&self, name: &str) -> u64 {
        let path = self.0.join(name);
        create_dir(&path).unwrap();
        inode(&path).unwrap()
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        if let Ok(entries) = std::fs::read_dir(&self.0) {
            let folders = entries.flatten().filter(|entry| entry.path().is_dir());
            folders.for_each(|folder| drop(remove_dir(folder.path())));
        }
        let _ = remove_dir(&self.0);
    }
}

fn real(name: &str) -> Option<(CgroupPaths, Made)> {
    let paths = CgroupPaths {
        at_least: Duration::ZERO,
        ..CgroupPaths::new(Procfs::new("/proc"))
    };
    let made = paths.root().and_then(|root| Made::below(&root, name));
    if made.is_none() {
        println!("SKIPPED {name}: no cgroup tree of version 2 that may be written");
    }
    Some((paths, made?))
}

#[test]
fn a_cgroup_is_found_until_its_directory_is_gone() {
    let Some((mut paths, made)) = real("gone") else {
        return;
    };
    let (a, b) = (made.child("a.service"), made.child("b.service"));
    paths.find([a, b].into_iter(), &NEVER);
    let Known::Path(path) = paths.get(a) else {
        panic!("{:?}", paths.get(a));
    };
    let expected = format!(
        "/{}/a.service",
        made.0.file_name().unwrap().to_str().unwrap()
    );
    assert_eq!(path, expected);
    assert_eq!(paths.get(ROOT_ID), Known::Path("/"));
    remove_dir(made.0.join("a.service")).unwrap();
    // The same name again is another cgroup.
    let again = made.child("a.service");
    paths.find([a, b, again].into_iter(), &NEVER);
    assert_eq!(paths.get(again), Known::Path(&expected));
    assert_eq!(paths.get(a), Known::Gone);
    assert!(matches!(paths.get(b), Known::Path(_)));
}

#[test]
fn a_new_id_waits_for_the_next_walk_and_a_known_one_for_none() {
    let Some((mut paths, made)) = real("wait") else {
        return;
    };
    let first = made.child("a");
    paths.at_least = Duration::from_secs(3600);
    paths.find([first].into_iter(), &NEVER);
    let second = made.child("b");
    paths.find([first, second].into_iter(), &NEVER);
    assert_eq!(paths.get(second), Known::NotYet);
    paths.at_least = Duration::ZERO;
    let walked = paths.walked;
    paths.find([first].into_iter(), &NEVER);
    assert_eq!(paths.walked, walked);
    paths.find([first, second].into_iter(), &NEVER);
    assert!(matches!(paths.get(second), Known::Path(_)));
    // Nor for one that is known to be gone.
    paths.find([u64::MAX].into_iter(), &NEVER);
    assert_eq!(paths.get(u64::MAX), Known::Gone);
    let walked = paths.walked;
    paths.find([u64::MAX].into_iter(), &NEVER);
    assert_eq!(paths.walked, walked);
}

/// As many as there are on the largest hosts, in a tree of plain directories.
#[test]
fn twenty_thousand_cgroups_are_found_in_one_walk() {
    let root = tempfile::tempdir().unwrap();
    for at in 0..200 {
        for unit in 0..99 {
            let path = root
                .path()
                .join(format!("kubepods-{at}.slice/{unit}.scope"));
            create_dir_all(&path).unwrap();
        }
    }
    assert_eq!(found(root.path()).len(), 20_001);
}
