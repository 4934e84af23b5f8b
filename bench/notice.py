#!/usr/bin/env python3
"""How soon a burst of connections shows in /metrics beside many quiet sockets, and what
that costs, on the built-in defaults. As root; see README.md.
"""

import argparse
import contextlib
import pathlib
import random
import re
import resource
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time

from farm import cpu_seconds, farm, machine, memory_kib, running
from tools import EXPORTER, PORT, Unavailable, metric, scrape, version, wait_for_metrics

SERVICE, CHURN = 7443, 7444
# Nobody waits longer for one.
PATIENCE = 90
# The goal: at most so many seconds, and such a part of a core.
GOAL_SECONDS, GOAL_CPU = 2.5, 0.055
ABORT = struct.pack("ii", 1, 0)


def connect(address, port=SERVICE):
    connection = socket.socket()
    # Closed with RST: nothing stays behind in TIME_WAIT.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
    connection.connect((address, port))
    return connection


def accept_all(listening):
    with contextlib.suppress(OSError):
        while True:
            accepted, _ = listening.accept()
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
            accepted.close()


def used(destination):
    name = "sockdiag_ephemeral_destination_ports_used"
    found = re.search(rf'^{name}{{[^}}]*destination="{re.escape(destination)}"[^}}]*}} (\S+)', scrape(), re.MULTILINE)
    return float(found[1]) if found else 0


def burst(at, connects):
    """Seconds from the last connect() until all are in /metrics, and how long they took."""
    destination = f"127.9.{at // 250}.{at % 250 + 1}"
    # Never accepts: the kernel completes the handshakes by itself.
    with socket.create_server((destination, SERVICE), backlog=4096):
        started = time.monotonic()
        held = [connect(destination) for _ in range(connects)]
        done = time.monotonic()
        while used(destination) < connects and time.monotonic() < done + PATIENCE:
            time.sleep(0.05)
        seen = time.monotonic()
        for connection in held:
            connection.close()
    return seen - done, done - started


def churn(rate):
    """Opens and closes connections to a thousand destinations, until it is stopped."""
    chance, step = random.Random(2), 0.02
    due = time.monotonic()
    while True:
        for _ in range(int(rate * step)):
            connect(f"127.8.{chance.randrange(4)}.{chance.randrange(1, 251)}", CHURN).close()
        due += step
        time.sleep(max(0, due - time.monotonic()))


@contextlib.contextmanager
def churning(rate):
    if not rate:
        yield
        return
    with running([sys.executable, __file__, f"--churn-only={rate}"]):
        yield


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sockets", type=int, default=1_000_000)
    parser.add_argument("--bursts", type=int, default=5)
    parser.add_argument("--connects", type=int, default=1800)
    parser.add_argument("--quiet", type=float, default=130, help="seconds before the first burst")
    parser.add_argument("--churn", type=int, default=0, help="random connections per second meanwhile")
    parser.add_argument("--churn-only", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--exporter", type=pathlib.Path, default=EXPORTER)
    arguments = parser.parse_args()
    if arguments.churn_only:
        churn(arguments.churn_only)
    resource.setrlimit(resource.RLIMIT_NOFILE, (20_000, 20_000))

    chance = random.Random(1)
    with farm(arguments.sockets, 2_000), socket.create_server(("0.0.0.0", CHURN), backlog=4096) as listening:
        command = [arguments.exporter, "serve", f"--listen=127.0.0.1:{PORT}"]
        with churning(arguments.churn), running(command) as process:
            threading.Thread(target=accept_all, args=[listening], daemon=True).start()
            wait_for_metrics(process, "sockdiag_snapshot_timestamp_seconds")
            dumps = lambda: metric("sockdiag_poll_duration_seconds_count")
            start, cpu, first = time.monotonic(), cpu_seconds(process.pid), dumps()
            time.sleep(arguments.quiet)
            calm = (cpu_seconds(process.pid) - cpu) / (time.monotonic() - start)
            calm_dumps = dumps() - first
            seen = []
            for at in range(arguments.bursts):
                seen.append(burst(at, arguments.connects))
                time.sleep(chance.uniform(30, 50))
            took = time.monotonic() - start
            cpu = (cpu_seconds(process.pid) - cpu) / took
            count, memory = dumps() - first, memory_kib(process.pid)[0]
            wall = metric("sockdiag_poll_duration_seconds_sum") / metric("sockdiag_poll_duration_seconds_count")
        listening.shutdown(socket.SHUT_RDWR)

    lags = [lag for lag, _ in seen]
    print(f"""\
`bench/notice.py {" ".join(sys.argv[1:])}`  
{machine()}; {version(arguments.exporter)}. Built-in defaults.

| what | figure |
|---|---|
| quiet sockets; random connections beside them | {arguments.sockets:,}; {arguments.churn:,} a second |
| bursts of {arguments.connects:,} connects, which took | {len(seen)}, {statistics.median(t for _, t in seen):.2f} s each |
| from the last connect to /metrics | {", ".join(f"{lag:.1f}" for lag in lags)} s; median {statistics.median(lags):.1f} s |
| CPU over {took:.0f} s | {cpu:.1%} of a core, {count:.0f} dumps of {wall:.2f} s |
| CPU in the first {arguments.quiet:.0f} s, before the bursts | {calm:.1%} of a core, {calm_dumps:.0f} dumps |
| resident memory | {memory / 1024:.1f} MiB |
""")
    if not arguments.churn and (max(lags) > GOAL_SECONDS or cpu > GOAL_CPU):
        raise SystemExit(f"missed: at most {GOAL_SECONDS} s and {GOAL_CPU:.1%} of a core")


if __name__ == "__main__":
    main()
