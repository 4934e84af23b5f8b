#!/usr/bin/env python3
"""How many new series a day the exporter makes beside programs whose peers and ports change
all the time. As root; see README.md.

Each load runs for some minutes in a namespace of its own, on the built-in defaults. Series that
appear after the first minute are counted as new, and taken times the minutes of a day. Keys
that were large once are shown for ten minutes, so a longer run counts fewer.
"""

import argparse
import collections
import contextlib
import ctypes
import os
import random
import resource
import socket
import struct
import subprocess
import sys
import threading
import time

from farm import CLONE_NEWNET, machine, running
from tools import EXPORTER, PORT, scrape, version, wait_for_metrics

ABORT = struct.pack("ii", 1, 0)
SERVER, SERVICE, WARM_UP, DAY = "192.0.2.1", 8080, 60, 86_400
# New series a day that are borne.
GOALS = {"web server, 1 to 4 connections a client": 20_000, "web server, 6 connections a client": 20_000,
         "proxy with 20 backends": 20_000, "load generator": 20_000, "listeners on random ports": 100_000}


def client(address=None):
    made = socket.socket()
    # Closed with RST: nothing stays behind.
    made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
    if address:
        made.bind((address, 0))
    return made


def loopback(chance):
    return f"127.{chance.randrange(1, 200)}.{chance.randrange(256)}.{chance.randrange(1, 255)}"


def accepting(address, stop):
    """Takes connections and drops them when their client does."""
    listening = socket.create_server(address, backlog=4096)
    held = collections.deque(maxlen=4000)

    def run():
        while not stop.is_set():
            with contextlib.suppress(OSError):
                accepted, _ = listening.accept()
                accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
                held.append(accepted)

    threading.Thread(target=run, daemon=True).start()


def web_server(stop, chance, connections, upstreams=()):
    """Some 150 clients at a time, each replaced after ten seconds or so."""
    accepting((SERVER, SERVICE), stop)
    clients = collections.deque()
    for upstream in upstreams:
        accepting((upstream, 9000), stop)
    pool = [client() for _ in range(10 * len(upstreams))]
    for at, connection in enumerate(pool):
        connection.connect((upstreams[at % len(upstreams)], 9000))
    # The clients are elsewhere, with addresses of their own.
    enter("clients")
    while not stop.is_set():
        address = f"10.{chance.randrange(1, 255)}.{chance.randrange(256)}.{chance.randrange(1, 255)}"
        opened = [client(address) for _ in range(connections(chance))]
        for connection in opened:
            connection.connect((SERVER, SERVICE))
        clients.append(opened)
        if len(clients) > 150:
            for connection in clients.popleft():
                connection.close()
        time.sleep(0.07)


def load_generator(stop, chance):
    """Short connections to three services, and to many others now and then."""
    accepting(("0.0.0.0", SERVICE), stop)
    held = collections.deque()
    while not stop.is_set():
        connection = client()
        few = chance.random() < 0.9
        connection.connect((f"127.0.1.{chance.randrange(3)}" if few else loopback(chance), SERVICE))
        held.append(connection)
        if len(held) > 2000:
            held.popleft().close()
        time.sleep(0.005)


def random_listeners(stop, chance):
    """Three hundred of them, one replaced every tenth of a second."""
    listening = collections.deque()
    while not stop.is_set():
        listening.append(socket.create_server((loopback(chance), 0)))
        if len(listening) > 300:
            listening.popleft().close()
            time.sleep(0.1)


LOADS = dict(zip(GOALS, [
    lambda stop, chance: web_server(stop, chance, lambda chance: chance.randrange(1, 5)),
    lambda stop, chance: web_server(stop, chance, lambda chance: 6),
    lambda stop, chance: web_server(stop, chance, lambda chance: 2, [f"127.0.2.{at}" for at in range(1, 21)]),
    load_generator,
    random_listeners,
]))


def series():
    lines = (line for line in scrape().splitlines() if line.startswith("sockdiag_"))
    return {line.rsplit(" ", 1)[0] for line in lines}


def measure(load, minutes):
    """New series after the first minute, how many stand there at once, and the seconds counted."""
    stop = threading.Event()
    with running([EXPORTER, "serve", f"--listen=127.0.0.1:{PORT}"]) as process:
        wait_for_metrics(process, "sockdiag_snapshot_timestamp_seconds")
        worker = threading.Thread(target=load, args=[stop, random.Random(1)], daemon=True)
        worker.start()
        start, known, new, now = time.monotonic(), set(), 0, set()
        while time.monotonic() < start + WARM_UP + 60 * minutes:
            time.sleep(5)
            now = series()
            if time.monotonic() > start + WARM_UP:
                new += len(now - known)
            known |= now
        stop.set()
        worker.join()
        return new, len(now), time.monotonic() - start - WARM_UP


NAMESPACES = {}


def enter(name):
    """The calling thread alone."""
    ctypes.CDLL(None).setns(NAMESPACES[name].fileno(), CLONE_NEWNET)


def two_namespaces():
    """One for the server and the exporter, one for clients with every address of 10.0.0.0/8."""
    libc = ctypes.CDLL(None)
    for name in "clients", "server":
        libc.unshare(CLONE_NEWNET)
        NAMESPACES[name] = open("/proc/thread-self/ns/net")
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    peer = f"/proc/{os.getpid()}/fd/{NAMESPACES['clients'].fileno()}"
    ip = lambda words: subprocess.run(["ip", *words.split()], check=True)
    ip(f"link add veth0 type veth peer name veth0 netns {peer}")
    ip(f"address add {SERVER}/24 dev veth0")
    ip("link set veth0 up")
    ip("route add 10.0.0.0/8 dev veth0")
    enter("clients")
    ip("address add 192.0.2.2/24 dev veth0")
    ip("link set veth0 up")
    # Every address of the clients is theirs: the server's questions for them are answered.
    ip("route add local 10.0.0.0/8 dev lo")
    enter("server")


def inside(name, minutes):
    two_namespaces()
    resource.setrlimit(resource.RLIMIT_NOFILE, (20_000, 20_000))
    print(*measure(LOADS[name], minutes))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside:
        return inside(arguments.inside, arguments.minutes)

    print(f"`bench/churn.py {' '.join(sys.argv[1:])}`  \n{machine()}; {version(EXPORTER)}. Built-in defaults.\n")
    print("| load | series at once | new in the time | new a day | goal |\n|---|---|---|---|---|")
    missed = False
    for name, goal in GOALS.items():
        command = [sys.executable, __file__, f"--minutes={arguments.minutes}", f"--inside={name}"]
        printed = subprocess.run(command, check=True, capture_output=True, text=True, cwd=os.getcwd()).stdout
        new, at_once, seconds = map(float, printed.split())
        a_day = new / seconds * DAY
        missed |= a_day > goal
        print(f"| {name} | {at_once:.0f} | {new:.0f} in {seconds:.0f} s | {a_day:,.0f} | {goal:,} |", flush=True)
    if missed:
        raise SystemExit("missed: more new series a day than the goal")


if __name__ == "__main__":
    main()
