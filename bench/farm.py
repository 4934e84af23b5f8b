"""A farm of sockets to measure in, its namespace, and the clocks to measure by."""

import contextlib
import ctypes
import os
import pathlib
import re
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "target/release/examples"
CLONE_NEWNET = 0x40000000


@contextlib.contextmanager
def farm(sockets, peers):
    """Sockets in a namespace that this process and its children are in meanwhile."""
    with farm_apart(sockets, peers) as pid, namespace(pid):
        yield


@contextlib.contextmanager
def farm_apart(sockets, peers):
    """Sockets in the namespace of another process, whose number it gives."""
    command = [EXAMPLES / "socket_farm", f"--sockets={sockets}", f"--peers={peers}"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        if not process.stdout.readline().startswith("ready "):
            raise SystemExit("the socket farm failed")
        yield process.pid
    finally:
        process.stdin.close()
        process.wait()


@contextlib.contextmanager
def namespace(pid):
    """Python has os.setns from 3.12 on only."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/self/ns/net") as home, open(f"/proc/{pid}/ns/net") as other:
        try:
            if libc.setns(other.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns (are you root?)")
            yield
        finally:
            libc.setns(home.fileno(), CLONE_NEWNET)


@contextlib.contextmanager
def running(command, **options):
    """A daemon, gone afterwards."""
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, **{**quiet, **options})
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def cpu_seconds(pid):
    """User and system time of a process with all its threads, dead ones included.

    The clock of clock_getcpuclockid(3), which /proc/PID/stat rounds to 10 ms.
    """
    return time.clock_gettime(~pid << 3 | 2)


def memory_kib(pid):
    """Resident memory now and at its peak."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return tuple(int(re.search(rf"{key}:\s+(\d+) kB", status)[1]) for key in ("VmRSS", "VmHWM"))


def machine():
    """What the figures depend on, in one line."""
    cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    cpu = cpu[1].strip() if cpu else os.uname().machine
    date = time.strftime("%Y-%m-%d")
    return f"Linux {os.uname().release}, {os.cpu_count()} × {cpu}, {date}"
