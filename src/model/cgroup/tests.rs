//! Paths as they are met, form by form, and who they are for.

use super::CgroupOwner;

const ID: &str = "4f6b3e2a9d1c8b7a6f5e4d3c2b1a09f8e7d6c5b4a3928170615243342516070f";
const OUTER: &str = "00c1a2b3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f";
const UID: &str = "21a8b9e4-2d5c-4a0f-9c3e-7b1d6f80a512";
const ESCAPED: &str = "21a8b9e4_2d5c_4a0f_9c3e_7b1d6f80a512";
const STATIC: &str = "7b8dbfbb2cc2b6dbfb0fe9f12f1e8ab2";

/// A path with `{id}`, `{outer}`, `{uid}`, `{esc}`, `{static}` for the long
/// ones; unit, container, pod, with "" for none.
const PATHS: [(&str, &str, &str, &str); 47] = [
    // systemd
    ("/", "", "", ""),
    ("", "", "", ""),
    ("/init.scope", "init.scope", "", ""),
    ("/system.slice", "", "", ""),
    ("/system.slice/ssh.service", "ssh.service", "", ""),
    (
        "/system.slice/system-getty.slice/getty@tty1.service",
        "getty@tty1.service",
        "",
        "",
    ),
    (
        "/system.slice/checkout.service/workers/3",
        "checkout.service",
        "",
        "",
    ),
    ("/system.slice/_cpu.service", "cpu.service", "", ""),
    ("/system.slice/docker.socket", "docker.socket", "", ""),
    (
        "/system.slice/dev-hugepages.mount",
        "dev-hugepages.mount",
        "",
        "",
    ),
    (
        r"/system.slice/system-my\x2dapp.slice/my\x2dapp@a.service",
        r"my\x2dapp@a.service",
        "",
        "",
    ),
    // users
    (
        "/user.slice/user-1000.slice/session-3.scope",
        "session-3.scope",
        "",
        "",
    ),
    (
        "/user.slice/user-1000.slice/user@1000.service/init.scope",
        "init.scope",
        "",
        "",
    ),
    (
        "/user.slice/user-1000.slice/user@1000.service/app.slice/vte-spawn-21a8b9e4.scope",
        "vte-spawn-21a8b9e4.scope",
        "",
        "",
    ),
    (
        "/user.slice/user-1000.slice/user@1000.service/app.slice/syncthing.service",
        "syncthing.service",
        "",
        "",
    ),
    // systemd-nspawn, LXC, libvirt
    (
        "/machine.slice/systemd-nspawn@web.service/payload/system.slice/nginx.service",
        "nginx.service",
        "",
        "",
    ),
    (
        "/lxc.payload.web/system.slice/nginx.service",
        "nginx.service",
        "",
        "",
    ),
    (
        r"/machine.slice/machine-qemu\x2d1\x2dvm.scope/libvirt/emulator",
        r"machine-qemu\x2d1\x2dvm.scope",
        "",
        "",
    ),
    // Docker
    (
        "/system.slice/docker-{id}.scope",
        "docker-{id}.scope",
        "docker",
        "",
    ),
    ("/docker/{id}", "", "docker", ""),
    (
        "/docker/{id}/system.slice/nginx.service",
        "nginx.service",
        "docker",
        "",
    ),
    ("/docker/{outer}/docker/{id}", "", "docker", ""),
    (
        "/user.slice/user-1000.slice/user@1000.service/user.slice/docker-{id}.scope",
        "docker-{id}.scope",
        "docker",
        "",
    ),
    (
        "/ecs/55091c13-b8cf-4801-b527-f4601742204d/{id}",
        "",
        "docker",
        "",
    ),
    ("/docker/buildkit/n1v5j3hk2d8x0qzcy4wm7tbsr", "", "", ""),
    // containerd
    (
        "/system.slice/nerdctl-{id}.scope",
        "nerdctl-{id}.scope",
        "containerd",
        "",
    ),
    ("/default/{id}", "", "containerd", ""),
    (
        "/system.slice/containerd.service",
        "containerd.service",
        "",
        "",
    ),
    // Podman
    (
        "/machine.slice/libpod-{id}.scope",
        "libpod-{id}.scope",
        "podman",
        "",
    ),
    (
        "/machine.slice/libpod-{id}.scope/container",
        "libpod-{id}.scope",
        "podman",
        "",
    ),
    (
        "/machine.slice/machine-libpod_pod_{outer}.slice/libpod-{id}.scope/container",
        "libpod-{id}.scope",
        "podman",
        "",
    ),
    (
        "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{id}.scope/container",
        "libpod-{id}.scope",
        "podman",
        "",
    ),
    (
        "/system.slice/web.service/libpod-payload-{id}",
        "web.service",
        "podman",
        "",
    ),
    ("/libpod_parent/libpod-{id}", "", "podman", ""),
    // It watches the container and is not in it.
    (
        "/machine.slice/libpod-conmon-{id}.scope",
        "libpod-conmon-{id}.scope",
        "",
        "",
    ),
    // kubelet, driver systemd
    (
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{esc}.slice/cri-containerd-{id}.scope",
        "cri-containerd-{id}.scope",
        "containerd",
        "{uid}",
    ),
    (
        "/kubepods.slice/kubepods-pod{esc}.slice/crio-{id}.scope/container",
        "crio-{id}.scope",
        "cri-o",
        "{uid}",
    ),
    (
        "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{esc}.slice/docker-{id}.scope",
        "docker-{id}.scope",
        "docker",
        "{uid}",
    ),
    (
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{static}.slice/cri-containerd-{id}.scope",
        "cri-containerd-{id}.scope",
        "containerd",
        "{static}",
    ),
    (
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{esc}.slice",
        "",
        "",
        "{uid}",
    ),
    (
        "/kubepods.slice/kubepods-pod{esc}.slice/crio-conmon-{id}.scope",
        "crio-conmon-{id}.scope",
        "",
        "{uid}",
    ),
    // Kubernetes in Docker
    (
        "/docker/{outer}/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{esc}.slice/cri-containerd-{id}.scope",
        "cri-containerd-{id}.scope",
        "containerd",
        "{uid}",
    ),
    // kubelet, driver cgroupfs
    (
        "/kubepods/burstable/pod{uid}/{id}",
        "",
        "containerd",
        "{uid}",
    ),
    ("/kubepods/pod{uid}/crio-{id}", "", "cri-o", "{uid}"),
    // containerd with cgroupfs below a kubelet with systemd
    (
        "/system.slice/containerd.service/kubepods-besteffort-pod{esc}.slice:cri-containerd:{id}",
        "containerd.service",
        "containerd",
        "{uid}",
    ),
    // From a cgroup namespace beside it
    (
        "/../../kubepods/besteffort/pod{uid}/{id}",
        "",
        "containerd",
        "{uid}",
    ),
    // What only looks like one
    (
        "/build/{id}/podcast/pod12/docker-1234.scope",
        "docker-1234.scope",
        "",
        "",
    ),
];

fn filled(text: &str) -> String {
    [
        ("id", ID),
        ("outer", OUTER),
        ("uid", UID),
        ("esc", ESCAPED),
        ("static", STATIC),
    ]
    .iter()
    .fold(text.to_owned(), |text, (name, value)| {
        text.replace(&format!("{{{name}}}"), value)
    })
}

fn owner(unit: &str, runtime: &str, pod: &str) -> CgroupOwner {
    let said = |text: &str| (!text.is_empty()).then(|| filled(text));
    CgroupOwner {
        unit: said(unit),
        container_id: said(runtime).map(|runtime| format!("{runtime}://{ID}")),
        pod_uid: said(pod),
    }
}

#[test]
fn each_form_of_path_tells_its_owner() {
    for (path, unit, runtime, pod) in PATHS {
        let path = filled(path);
        assert_eq!(CgroupOwner::of(&path), owner(unit, runtime, pod), "{path}");
    }
}

#[test]
fn a_process_is_known_by_the_line_that_names_its_container() {
    // Docker with cgroupfs on version 1 and 2 together, as it is met.
    let hybrid = filled(
        "12:pids:/docker/{id}\n1:name=systemd:/docker/{id}\n0::/system.slice/containerd.service\n",
    );
    assert_eq!(CgroupOwner::of_process(&hybrid), owner("", "docker", ""));
    let first = filled("5:cpu,cpuacct:/\n1:name=systemd:/system.slice/ssh.service\n0::/\n");
    assert_eq!(
        CgroupOwner::of_process(&first),
        owner("ssh.service", "", "")
    );
    let second = filled("0::/kubepods/burstable/pod{uid}/{id}\n");
    assert_eq!(
        CgroupOwner::of_process(&second),
        owner("", "containerd", "{uid}")
    );
    // A colon in a name belongs to the path.
    let colons =
        filled("0::/system.slice/containerd.service/kubepods-pod{esc}.slice:cri-containerd:{id}\n");
    let expected = owner("containerd.service", "containerd", "{uid}");
    assert_eq!(CgroupOwner::of_process(&colons), expected);
    assert_eq!(CgroupOwner::of_process("0::/\n"), CgroupOwner::default());
    assert_eq!(CgroupOwner::of_process(""), CgroupOwner::default());
}

#[test]
fn people_read_the_container_before_its_scope() {
    let said = |unit, runtime, pod| owner(unit, runtime, pod).to_string();
    assert_eq!(said("checkout.service", "", ""), "checkout.service");
    assert_eq!(
        said("docker-{id}.scope", "docker", ""),
        "container 4f6b3e2a9d1c"
    );
    let pod = format!("container 4f6b3e2a9d1c of pod {UID}");
    assert_eq!(said("", "cri-o", "{uid}"), pod);
    assert_eq!(said("", "", "{uid}"), format!("pod {UID}"));
    assert_eq!(said("", "", ""), "");
    assert_eq!(owner("", "", "").short_container_id(), None);
    let short = owner("", "podman", "");
    assert_eq!(short.short_container_id(), Some("4f6b3e2a9d1c"));
}
