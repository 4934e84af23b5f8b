#!/usr/bin/env python3
"""What many quiet network namespaces cost beside a few busy ones, and how soon one that
fills up is named. As root; see README.md.
"""

import argparse
import contextlib
import os
import re
import resource
import socket
import subprocess
import sys
import tempfile
import time

from farm import cpu_seconds, farm_apart, machine, memory_kib, namespace, running
from notice import SERVICE, connect
from tools import EXPORTER, PORT, metric, scrape, version, wait_for_metrics

# The goals: CPU over that with the busy ones alone, resident memory, seconds.
GOAL_RATIO, GOAL_MIB, GOAL_SECONDS = 1.5, 40, 2.5


@contextlib.contextmanager
def named(count):
    """So many namespaces with a name each and the loopback up."""
    names = [f"sockdiag-bench-{at}" for at in range(count)]
    try:
        for name in names:
            subprocess.run(["ip", "netns", "add", name], check=True)
            subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], check=False, stderr=subprocess.DEVNULL)


@contextlib.contextmanager
def exporter(include):
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(f"[netns]\nenabled = true\ninclude = {include}\n")
        file.flush()
        command = [EXPORTER, "serve", "--config", file.name, f"--listen=127.0.0.1:{PORT}"]
        with running(command) as process:
            wait_for_metrics(process, "sockdiag_snapshot_timestamp_seconds")
            yield process


def cost(include, seconds):
    """CPU of one core, resident KiB, and the namespaces observed, once all is settled."""
    with exporter(include) as process:
        time.sleep(30)
        start, cpu = time.monotonic(), cpu_seconds(process.pid)
        while time.monotonic() < start + seconds:
            scrape()
            time.sleep(10)
        share = (cpu_seconds(process.pid) - cpu) / (time.monotonic() - start)
        return share, memory_kib(process.pid)[0], metric("sockdiag_namespaces")


def notice(include, name, connects=1800):
    """Seconds until a burst in the named namespace is on the page with all its ports."""
    found = rf'sockdiag_ephemeral_destination_ports_used{{netns="{name}",[^}}]*}} {connects}$'
    with exporter(include):
        time.sleep(60)
        seen = []
        for _ in range(3):
            with inside(name):
                listening = socket.create_server(("127.0.0.1", SERVICE), backlog=4096)
                held = [connect("127.0.0.1") for _ in range(connects)]
            done = time.monotonic()
            while not re.search(found, scrape(), re.MULTILINE) and time.monotonic() < done + 60:
                time.sleep(0.05)
            seen.append(time.monotonic() - done)
            for connection in [*held, listening]:
                connection.close()
            time.sleep(25)
        return seen


def inode(pid):
    return os.stat(f"/proc/{pid}/ns/net").st_ino


@contextlib.contextmanager
def inside(name):
    """In a named namespace."""
    holder = subprocess.Popen(["ip", "netns", "exec", name, "sleep", "60"])
    try:
        while inode(holder.pid) == inode("self"):
            time.sleep(0.01)
        with namespace(holder.pid):
            yield
    finally:
        holder.kill()
        holder.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--namespaces", type=int, default=300, help="quiet ones")
    parser.add_argument("--busy", type=int, default=3)
    parser.add_argument("--sockets", type=int, default=100_000, help="in each of the busy ones")
    parser.add_argument("--seconds", type=int, default=90)
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (20_000, 20_000))

    with contextlib.ExitStack() as after:
        farms = [after.enter_context(farm_apart(arguments.sockets, 2_000)) for _ in range(arguments.busy)]
        busy = [f"net-{inode(pid)}" for pid in farms]
        after.enter_context(named(arguments.namespaces))
        few = str(busy).replace("'", '"')
        many = str([*busy, "sockdiag-bench-*"]).replace("'", '"')
        alone, memory_alone, count_alone = cost(few, arguments.seconds)
        share, memory, count = cost(many, arguments.seconds)
        again, *_ = cost(few, arguments.seconds)
        seen = notice(many, "sockdiag-bench-7")

    alone = (alone + again) / 2
    print(f"""\
`bench/namespaces.py {" ".join(sys.argv[1:])}`  
{machine()}; {version(EXPORTER)}. Built-in defaults but `netns.enabled`.

| what | {count_alone:.0f} namespaces, {arguments.busy} of them with {arguments.sockets:,} sockets | and {arguments.namespaces} quiet ones |
|---|---|---|
| CPU | {alone:.2%} of a core | {share:.2%}, {share / alone:.2f} × |
| resident memory | {memory_alone / 1024:.1f} MiB | {memory / 1024:.1f} MiB |
| from a burst in a quiet one to its destination on the page | | {", ".join(f"{lag:.1f}" for lag in seen)} s |
""")
    if share > GOAL_RATIO * alone or memory > GOAL_MIB * 1024 or max(seen) > GOAL_SECONDS:
        raise SystemExit(f"missed: {GOAL_RATIO} ×, {GOAL_MIB} MiB, {GOAL_SECONDS} s")


if __name__ == "__main__":
    main()
