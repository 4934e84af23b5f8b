#!/usr/bin/env python3
"""What others feel while somebody looks at a million sockets: connect() and
accept() on loopback, and 50 scrapers at once. As root; see README.md.

With two processors and one of them busy, whatever else the machine runs decides
who waits. The measurement therefore runs before everything else, and each row has
a control beside it: scrapes while nobody dumps, and while the yardstick does.
"""

import argparse
import contextlib
import csv
import pathlib
import re
import statistics
import subprocess
import sys

from farm import EXAMPLES, commit, farm, machine, running
from tools import PORT, Unavailable, exporter_daemon, node_exporter_daemon

COLUMNS = ["sockets", "what", "beside", "round", "count", "errors", "p50_us", "p99_us", "max_us", "note"]


@contextlib.contextmanager
def nothing():
    yield


def yardstick_loop():
    return running([EXAMPLES / "yardstick", "--repeat=1000000000"])


def exporter_loop():
    """As often as it can."""
    return exporter_daemon("100ms")


def exporter_idle():
    """Its first poll is over, and the next is not due before the end."""
    return exporter_daemon("50s")


@contextlib.contextmanager
def exporter_beside_yardstick():
    with exporter_idle(), yardstick_loop():
        yield


@contextlib.contextmanager
def node_exporter_loop():
    with node_exporter_daemon():
        with running(latency("scrape", f"127.0.0.1:{PORT}", "--scrapers=1", "--pause-us=0", seconds=3600)):
            yield


CONNECT_BESIDE = {
    "nothing": nothing,
    "yardstick in a loop": yardstick_loop,
    "sockdiag-exporter in a loop": exporter_loop,
    "node_exporter scraped in a loop": node_exporter_loop,
}
SCRAPE_BESIDE = {
    "nothing": exporter_idle,
    "yardstick in a loop": exporter_beside_yardstick,
    "its own polls in a loop": exporter_loop,
}
# Ahead of the 0 that all other sessions have.
PRIORITY = -20


@contextlib.contextmanager
def ahead_of_others():
    """This session's share of the processors (sched(7), the autogroup feature)."""
    autogroup = pathlib.Path("/proc/self/autogroup")
    if not autogroup.exists():
        yield
        return
    before = autogroup.read_text().split()[-1]
    autogroup.write_text(str(PRIORITY))
    try:
        yield
    finally:
        autogroup.write_text(before)


def latency(*arguments, seconds):
    return [EXAMPLES / "latency", *arguments, f"--seconds={seconds}"]


def measure(row, beside, command):
    print(", ".join(f"{key} {value}" for key, value in row.items()), file=sys.stderr)
    try:
        with beside():
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        return row | {key: float(value) for key, value in re.findall(r"(\w+)=(\S+)", output)}
    except (Unavailable, subprocess.CalledProcessError) as reason:
        return row | {"note": str(reason)}


def table(rows):
    yield "| sockets | what | beside | p50 µs | p99 µs | max µs | errors |"
    yield "|---|---|---|---|---|---|---|"
    groups = {}
    for row in rows:
        groups.setdefault((row["sockets"], row["what"], row["beside"]), []).append(row)
    for (sockets, what, beside), group in groups.items():
        measured = [row for row in group if "p50_us" in row]
        cells = [group[0].get("note", "")] + ["–"] * 3
        if measured:
            median = lambda key: f"{statistics.median(row[key] for row in measured):.0f}"
            cells = [median("p50_us"), median("p99_us"), f"{max(row['max_us'] for row in measured):.0f}",
                     f"{sum(row['errors'] for row in measured):.0f}"]
        yield f"| {sockets:,} | {what} | {beside} | {' | '.join(cells)} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sockets", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=10, help="for each measurement")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent / "results")
    arguments = parser.parse_args()

    connect = latency("connect", seconds=arguments.seconds)
    scrapes = latency("scrape", f"127.0.0.1:{PORT}", "--pause-us=100000", seconds=arguments.seconds)
    rows = []
    for sockets in 1_000, arguments.sockets:
        with farm(sockets, 2_000), ahead_of_others():
            for number in range(1, arguments.rounds + 1):
                row = {"sockets": sockets, "round": number}
                for name, beside in CONNECT_BESIDE.items() if sockets > 1_000 else ():
                    rows.append(measure(row | {"what": "connect + accept", "beside": name}, beside, connect))
                for name, beside in SCRAPE_BESIDE.items():
                    rows.append(measure(row | {"what": "scrape by 50 at once", "beside": name}, beside, scrapes))

    arguments.out.mkdir(parents=True, exist_ok=True)
    with (arguments.out / "latency.csv").open("w", newline="") as raw:
        writer = csv.DictWriter(raw, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    lines = [f"`bench/latency.py --sockets {arguments.sockets} --rounds {arguments.rounds} --seconds {arguments.seconds}`  ",
             f"{machine()}, {commit()}. Medians over the rounds; the maximum is of all of them.\n", *table(rows)]
    text = "\n".join(lines) + "\n"
    (arguments.out / "latency.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
