//! Whose a cgroup is, by its path: the container and the pod, in the words of the tools
//! that label them.

/// What the path says; `None` where it says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CgroupOwner {
    /// With the runtime before it, as kube-state-metrics has it: `containerd://…`. The bare
    /// id where the path does not name the runtime.
    pub container_id: Option<String>,
    /// With dashes.
    pub pod_uid: Option<String>,
}

/// Prefixes of the scopes that container runtimes make under systemd.
const SCOPES: [(&str, &str); 5] = [
    ("cri-containerd-", "containerd"),
    ("docker-", "docker"),
    ("crio-", "cri-o"),
    ("libpod-", "podman"),
    ("nerdctl-", "containerd"),
];

impl CgroupOwner {
    pub fn of_path(path: &str) -> Self {
        let mut owner = Self::default();
        let mut parent = "";
        for name in path.split('/') {
            if let Some(uid) = pod_uid(name) {
                owner.pod_uid = Some(uid);
            } else if let Some(id) = container(parent, name) {
                owner.container_id = Some(id);
            }
            parent = name;
        }
        owner
    }

    /// As short as container runtimes print it.
    pub fn short_id(&self) -> Option<String> {
        let id = self.container_id.as_deref()?;
        let bare = id.split_once("://").map_or(id, |(_, bare)| bare);
        Some(bare.chars().take(12).collect())
    }
}

/// `kubepods-burstable-pod1234_abcd….slice` or `pod1234-abcd…`.
fn pod_uid(name: &str) -> Option<String> {
    let name = name.strip_suffix(".slice").unwrap_or(name);
    let (_, uid) = name.rsplit_once("pod")?;
    let uid = uid.replace('_', "-");
    let is_uid = uid.len() >= 32 && uid.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    is_uid.then_some(uid)
}

/// 64 hexadecimal digits, with what runtimes put around them.
fn container(parent: &str, name: &str) -> Option<String> {
    let bare = name.strip_suffix(".scope").unwrap_or(name);
    let scope = SCOPES
        .iter()
        .find_map(|(prefix, runtime)| Some((bare.strip_prefix(prefix)?, *runtime)));
    let (id, runtime) = match (scope, parent) {
        (Some((id, runtime)), _) => (id, Some(runtime)),
        (None, "docker") => (bare, Some("docker")),
        (None, _) => (bare, None),
    };
    let is_id = id.len() == 64 && id.chars().all(|c| c.is_ascii_hexdigit());
    is_id.then(|| runtime.map_or_else(|| id.to_owned(), |runtime| format!("{runtime}://{id}")))
}
