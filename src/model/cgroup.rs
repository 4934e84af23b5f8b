//! Who a cgroup is for, told from its path: a systemd unit, a container, a pod.
//! The paths are those of systemd, of the container runtimes and of the kubelet,
//! with the cgroup driver `systemd` or `cgroupfs`; nothing is read here.

use std::fmt;

use serde::Serialize;

/// In the forms that others use, so that metrics can be joined.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize)]
pub struct CgroupOwner {
    /// As systemd names it: the innermost unit, `checkout.service`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// As kube-state-metrics has it: the runtime, `://`, 64 hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_id: Option<String>,
    /// With dashes. Of a static pod it is the hash of its file, without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<String>,
}

/// A directory of the cgroup tree, and who it is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cgroup {
    /// Below the mount, as cAdvisor has it in its label `id`: `/` is the root.
    #[serde(rename = "cgroup")]
    pub path: String,
    #[serde(flatten)]
    pub owner: CgroupOwner,
}

impl Cgroup {
    pub fn at(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            owner: CgroupOwner::of(path),
        }
    }

    /// As one says it: the owner, or the path where that tells none.
    pub fn name(&self) -> String {
        match self.owner.to_string() {
            nobody if nobody.is_empty() => format!("cgroup {}", self.path),
            owner => owner,
        }
    }
}

/// What stands before a container's id in the name of its directory or scope.
const RUNTIMES: [(&str, &str); 6] = [
    ("cri-containerd", "containerd"),
    ("nerdctl", "containerd"),
    ("crio", "cri-o"),
    ("docker", "docker"),
    ("libpod", "podman"),
    ("libpod-payload", "podman"),
];

/// Directories of the driver `cgroupfs` above a bare id: Docker's, ECS's,
/// and the default namespace of containerd.
const PARENTS: [(&str, &str); 3] = [
    ("docker", "docker"),
    ("ecs", "docker"),
    ("default", "containerd"),
];

/// Units that have processes of their own. A slice only holds other units.
const UNITS: [&str; 5] = [".service", ".scope", ".socket", ".mount", ".swap"];

/// How many digits of a container's id `docker ps` and others show.
const SHORT_ID: usize = 12;

impl CgroupOwner {
    /// From the path below the mount, as in `/proc/PID/cgroup`. The innermost of
    /// each kind: containers run in containers, units in units.
    pub fn of(path: &str) -> Self {
        let mut owner = Self::default();
        // Whose a bare id is.
        let mut parent = None;
        for name in path.split('/') {
            if let Some(unit) = unit(name) {
                owner.unit = Some(unit.to_owned());
            }
            if let Some(uid) = pod_uid(name) {
                owner.pod_uid = Some(uid);
                // The kubelet names no runtime with `cgroupfs`. It is
                // containerd nearly everywhere; CRI-O puts its name before the id.
                parent = Some("containerd");
            }
            if let Some((runtime, id)) = container(name, parent) {
                owner.container_id = Some(format!("{runtime}://{id}"));
            }
            let known = PARENTS.iter().find(|(directory, _)| *directory == name);
            parent = known.map(|(_, runtime)| *runtime).or(parent);
        }
        owner
    }

    /// From the text of `/proc/PID/cgroup`. With version 1 or both, the line that
    /// knows the container may be any, and that of version 2 may name the
    /// runtime's own service.
    pub fn of_process(text: &str) -> Self {
        let paths = text.lines().filter_map(|line| line.splitn(3, ':').nth(2));
        let known = paths
            .map(Self::of)
            .filter(|owner| *owner != Self::default());
        // Of equals `min_by_key` gives the first.
        let container_first = known.min_by_key(|owner| owner.container_id.is_none());
        container_first.unwrap_or_default()
    }

    /// The container's id as people type it: 12 digits, without the runtime.
    pub fn short_container_id(&self) -> Option<&str> {
        let (_, id) = self.container_id.as_deref()?.split_once("://")?;
        id.get(..SHORT_ID)
    }
}

/// As one says it: the container before the scope that was made for it. Empty
/// when nothing is known.
impl fmt::Display for CgroupOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.short_container_id(), &self.pod_uid, &self.unit) {
            (Some(id), Some(uid), _) => write!(f, "container {id} of pod {uid}"),
            (Some(id), None, _) => write!(f, "container {id}"),
            (None, Some(uid), _) => write!(f, "pod {uid}"),
            (None, None, Some(unit)) => f.write_str(unit),
            (None, None, None) => Ok(()),
        }
    }
}

/// systemd puts `_` before a name that would read like a file of the kernel's
/// (`cg_escape`).
fn unit(name: &str) -> Option<&str> {
    let is_unit = UNITS.iter().any(|suffix| name.ends_with(suffix));
    is_unit.then(|| name.strip_prefix('_').unwrap_or(name))
}

/// `docker-ID.scope`, `crio-ID`, `ID` below a known parent, and what containerd
/// makes of a systemd name with its driver `cgroupfs`: `SLICE:cri-containerd:ID`.
fn container<'a>(name: &'a str, parent: Option<&'static str>) -> Option<(&'static str, &'a str)> {
    let name = name.strip_suffix(".scope").unwrap_or(name);
    let Some((before, id)) = name.rsplit_once(['-', ':']) else {
        return Some((parent?, name)).filter(|_| is_hex(name, 64));
    };
    let prefix = before.rsplit_once(':').map_or(before, |(_, prefix)| prefix);
    let (_, runtime) = RUNTIMES.iter().find(|(known, _)| *known == prefix)?;
    is_hex(id, 64).then_some((*runtime, id))
}

/// `podUID`, `kubepods-burstable-podUID.slice`: systemd's names have `_` for the
/// dashes, which mean a deeper slice there.
fn pod_uid(name: &str) -> Option<String> {
    let slice = name.split_once(':').map_or(name, |(slice, _)| slice);
    let slice = slice.strip_suffix(".slice").unwrap_or(slice);
    let (before, uid) = slice.rsplit_once("pod")?;
    let uid = uid.replace('_', "-");
    let lengths: Vec<usize> = uid.split('-').map(str::len).collect();
    let is_uid = matches!(lengths[..], [8, 4, 4, 4, 12] | [32]);
    let is_hex = uid.split('-').all(|part| is_hex(part, part.len()));
    let is_pod = before.is_empty() || before.ends_with('-');
    (is_pod && is_uid && is_hex).then_some(uid)
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests;
