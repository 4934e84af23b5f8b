//! Which network namespaces there are: those that stand as files below the configured
//! directories, and those of processes.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use glob::Pattern;

use crate::kernel::netns::NamespaceId;
use crate::kernel::processes;
use crate::model::cgroup::CgroupOwner;
use crate::snapshot::{Identity, Kind};

/// A scan of all processes is made again after so many times what it took: it costs a
/// few microseconds each, and hosts with thousands of them have few new namespaces.
const SCAN_REST: u32 = 200;

/// Namespaces that are observed at most, for the memory and the time of each.
const MOST: usize = 2_000;

/// Where to look, and what for.
pub struct Finder {
    own: NamespaceId,
    own_name: String,
    directories: Vec<Directory>,
    include: Vec<Pattern>,
    exclude: Vec<Pattern>,
    proc: PathBuf,
    /// As of the last scan: the first process of each.
    processes: HashMap<NamespaceId, Process>,
    next_scan: Instant,
    /// What was found last time is not all true any more.
    is_stale: bool,
}

struct Process {
    path: PathBuf,
    owner: CgroupOwner,
}

/// A namespace that is to be observed.
pub struct Found {
    pub id: NamespaceId,
    pub name: String,
    pub path: PathBuf,
    pub identity: Identity,
}

/// Those that are not, by reason.
pub type Skipped = BTreeMap<&'static str, usize>;

impl Finder {
    /// Patterns that are none were refused with the configuration.
    pub fn new(
        (own, own_name): (NamespaceId, &str),
        directories: &[PathBuf],
        [include, exclude]: [&[String]; 2],
        proc: &Path,
    ) -> Self {
        let patterns = |texts: &[String]| {
            let patterns = texts.iter().filter_map(|text| Pattern::new(text).ok());
            patterns.collect()
        };
        let directories = directories.iter().map(|path| Directory {
            path: path.clone(),
            changed: None,
            files: Vec::new(),
        });
        Self {
            own,
            own_name: own_name.to_owned(),
            directories: directories.collect(),
            include: patterns(include),
            exclude: patterns(exclude),
            proc: proc.to_owned(),
            processes: HashMap::new(),
            next_scan: Instant::now(),
            is_stale: true,
        }
    }

    /// Those that there are now, by name; none twice, and no name twice. `None` when they are
    /// the same as last time.
    pub fn find(&mut self, skipped: &mut Skipped) -> Option<Vec<Found>> {
        let mut has_changed = std::mem::take(&mut self.is_stale);
        has_changed |= self.scan_when_due();
        for directory in &mut self.directories {
            has_changed |= directory.read(self.own);
        }
        if !has_changed {
            return None;
        }
        let mut found = BTreeMap::new();
        let files = self.directories.iter().flat_map(|one| &one.files);
        let files = files.map(|(name, path, id)| (*id, Some(name), path));
        let processes = self.processes.iter();
        let processes = processes.map(|(id, process)| (*id, None, &process.path));
        for (id, file, path) in files.chain(processes) {
            let one = || self.found(id, file, path.clone());
            found.entry(id).or_insert_with(one);
        }
        found.remove(&self.own);
        let mut found: Vec<_> = found.into_values().collect();
        self.name_apart(&mut found);
        let all = found.len();
        found.retain(|one| self.is_wanted(&one.name));
        skipped.insert("excluded", all - found.len());
        found.sort_by(|a, b| a.name.cmp(&b.name));
        skipped.insert("limit", found.len().saturating_sub(MOST));
        found.truncate(MOST);
        Some(found)
    }

    /// One that was found has gone: it may be elsewhere, or another in its place.
    pub fn look_again(&mut self) {
        self.is_stale = true;
        self.next_scan = Instant::now();
        for directory in &mut self.directories {
            directory.changed = None;
        }
    }

    /// Whether others are there than last time.
    fn scan_when_due(&mut self) -> bool {
        let started = Instant::now();
        if started < self.next_scan {
            return false;
        }
        let mut before = std::mem::take(&mut self.processes);
        let mut has_changed = false;
        // The first of a container is the one that lives longest.
        for pid in processes::pids(&self.proc) {
            let path = self.proc.join(pid.to_string());
            let file = path.join("ns/net");
            let Ok(id) = NamespaceId::of_file(&file) else {
                continue;
            };
            if id == self.own || self.processes.contains_key(&id) {
                continue;
            }
            let known = before.remove(&id).filter(|process| process.path == file);
            let process = known.unwrap_or_else(|| {
                has_changed = true;
                Process {
                    owner: owner(&path),
                    path: file,
                }
            });
            self.processes.insert(id, process);
        }
        let rest = started.elapsed() * SCAN_REST;
        self.next_scan = started + rest.min(Duration::from_secs(60));
        has_changed || !before.is_empty()
    }

    fn found(&self, id: NamespaceId, file: Option<&String>, path: PathBuf) -> Found {
        let process = self.processes.get(&id);
        let owner = process.map(|process| process.owner.clone());
        let owner = owner.unwrap_or_default();
        let name = file.map(String::as_str).or(owner.short_container_id());
        Found {
            id,
            name: name.map_or_else(|| format!("net-{}", id.inode), str::to_owned),
            path,
            identity: Identity {
                inode: id.inode,
                kind: match file {
                    Some(_) => Kind::Named,
                    None => Kind::Process,
                },
                container_id: owner.container_id.unwrap_or_default(),
                pod_uid: owner.pod_uid.unwrap_or_default(),
            },
        }
    }

    /// Where several have one name, each gets its inode behind it.
    fn name_apart(&self, found: &mut [Found]) {
        let mut times = HashMap::from([(self.own_name.clone(), 1)]);
        for one in found.iter() {
            *times.entry(one.name.clone()).or_insert(0) += 1;
        }
        for one in found {
            if times[&one.name] > 1 {
                one.name = format!("{}-{}", one.name, one.id.inode);
            }
        }
    }

    fn is_wanted(&self, name: &str) -> bool {
        let matches = |patterns: &[Pattern]| patterns.iter().any(|one| one.matches(name));
        matches(&self.include) && !matches(&self.exclude)
    }
}

/// A directory of files that stand for namespaces.
struct Directory {
    path: PathBuf,
    /// When it was changed, as of the last look; `None` when that is to be done again.
    changed: Option<SystemTime>,
    /// By name.
    files: Vec<(String, PathBuf, NamespaceId)>,
}

impl Directory {
    /// A change may come within the same tick of the file system's clock as the look at it.
    const SETTLED: Duration = Duration::from_secs(2);

    /// Whether it was read anew, for there may be others than last time. One that is not there
    /// is empty: no container has been yet.
    fn read(&mut self, own: NamespaceId) -> bool {
        let changed = std::fs::metadata(&self.path).and_then(|directory| directory.modified());
        let changed = changed.ok();
        if changed.is_some() && self.changed == changed {
            return false;
        }
        let entries = std::fs::read_dir(&self.path)
            .into_iter()
            .flatten()
            .flatten();
        let (mut files, mut are_all) = (Vec::new(), true);
        for entry in entries {
            let (name, path) = (entry.file_name(), entry.path());
            match NamespaceId::of_file(&path) {
                Ok(id) if id.is_like(own) => {
                    files.push((name.to_string_lossy().into_owned(), path, id));
                }
                // A namespace is mounted on a file after that was made.
                _ => are_all = false,
            }
        }
        files.sort();
        let is_settled = |at: &SystemTime| at.elapsed().is_ok_and(|age| age > Self::SETTLED);
        self.changed = changed.filter(|at| are_all && is_settled(at));
        let is_other = self.files != files;
        self.files = files;
        is_other
    }
}

/// By its cgroup; nobody where that cannot be read.
fn owner(process: &Path) -> CgroupOwner {
    let text = std::fs::read_to_string(process.join("cgroup"));
    CgroupOwner::of_process(&text.unwrap_or_default())
}
