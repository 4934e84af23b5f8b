"""A guest: QEMU, with this machine's root as its own, and a job to do there."""

import shutil
import subprocess
import time
from pathlib import Path

HERE = Path(__file__).parent
VIRTIOFSD = "/usr/lib/qemu/virtiofsd"
MEMORY = "2G"
PROCESSORS = 2

# What init needs to mount the root, where it finds all others.
BOOT_MODULES = ["drivers/virtio", "fs/fuse", "fs/overlayfs"]

KERNEL_ARGUMENTS = [
    "console=ttyS0",
    "quiet",
    "panic=-1",
    "mitigations=off",
    # The kernel takes an emulated clock for an unsteady one.
    "tsc=reliable",
    "no_timer_check",
]


def run_job(kernel, release, job, directory, limit):
    """Boots the unpacked `kernel` to run the shell script `job`, and returns what that
    wrote to /dev/ttyS1: all of it, or what there was when `limit` seconds had passed."""
    socket, output = directory / "root.sock", directory / "output"
    initrd = make_initrd(kernel, release, directory)
    arguments = [*KERNEL_ARGUMENTS, f"MODULES={kernel}/modules", f"JOB={job}"]
    qemu = ["nice", "qemu-system-x86_64", "-accel", "tcg", "-cpu", "max"]
    qemu += ["-nodefaults", "-display", "none", "-no-reboot", "-smp", f"{PROCESSORS}", "-m", MEMORY]
    qemu += ["-kernel", kernel / "vmlinuz", "-initrd", initrd, "-append", " ".join(arguments)]
    qemu += ["-serial", f"file:{directory}/console", "-serial", f"file:{output}"]
    qemu += ["-object", f"memory-backend-memfd,id=memory,size={MEMORY},share=on", "-numa", "node,memdev=memory"]
    qemu += ["-chardev", f"socket,id=root,path={socket}"]
    qemu += ["-device", "vhost-user-fs-pci,chardev=root,tag=root,queue-size=1024"]
    output.touch()
    with open(directory / "log", "wb") as log:
        share = share_root(directory, socket, log)
        try:
            subprocess.run(qemu, stdout=log, stderr=log, timeout=limit, check=False)
        except subprocess.TimeoutExpired:
            pass  # run() has killed the guest.
        finally:
            share.terminate()
            share.wait()
    return output.read_text(errors="replace")


def share_root(directory, socket, log):
    """Serves / from a read-only mount in a mount namespace of its own, so that no
    guest can write here."""
    root = directory / "root"
    root.mkdir()
    script = """
        mount --rbind / "$1" && mount -o remount,bind,ro "$1" &&
        exec "$2" --socket-path="$3" -o source="$1" -o sandbox=chroot -o cache=always
    """
    command = ["unshare", "--mount", "sh", "-c", script, "sh", root, VIRTIOFSD, socket]
    share = subprocess.Popen(command, stdout=log, stderr=log)
    while not socket.exists() and share.poll() is None:
        time.sleep(0.1)
    return share


def make_initrd(kernel, release, directory):
    """busybox, `init`, and the modules that it needs."""
    tree, initrd = directory / "initrd.d", directory / "initrd"
    for name in ["bin", "dev", "proc", "lower", "upper", "new"]:
        (tree / name).mkdir(parents=True)
    shutil.copy(shutil.which("busybox"), tree / "bin/busybox")
    shutil.copy(HERE / "init", tree / "init")
    modules, copies = kernel / "modules" / release, tree / "lib/modules" / release
    for room in BOOT_MODULES:
        if (modules / "kernel" / room).exists():
            shutil.copytree(modules / "kernel" / room, copies / "kernel" / room)
    for index in modules.glob("modules.*"):
        shutil.copy(index, copies)
    names = subprocess.run(["find", "."], cwd=tree, check=True, stdout=subprocess.PIPE).stdout
    with open(initrd, "wb") as file:
        subprocess.run(["busybox", "cpio", "-o", "-H", "newc"], cwd=tree, input=names, stdout=file, check=True)
    return initrd
