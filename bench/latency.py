#!/usr/bin/env python3
"""What others feel while somebody looks at a million sockets: connect() and
accept() on loopback, and 50 scrapes at the same moment. As root; see README.md.

With two processors and one of them busy, whatever else the machine runs decides
who waits. Each scrape therefore has controls, nobody dumping and the yardstick
dumping, and is measured twice: as one session among others, and ahead of them.
"""

import argparse
import contextlib
import csv
import pathlib
import re
import statistics
import subprocess
import sys

from farm import EXAMPLES, farm, machine, running
from tools import EXPORTER, PORT, Unavailable, exporter_daemon, node_exporter_daemon, tls_and_password, version

COLUMNS = ["sockets", "what", "session", "beside", "round", "count", "errors", "stolen", "p50_us", "p99_us", "max_us", "note"]


@contextlib.contextmanager
def nothing():
    yield


def yardstick_loop():
    return running([EXAMPLES / "yardstick", "--repeat=1000000000"])


def exporter_loop():
    """As often as it can, ten times a second where dumps are short."""
    return exporter_daemon("100ms")


def exporter_idle():
    """Its first poll is over and the next is beyond the measurement. No interval
    can be longer than a minute, when a snapshot is too old to be served.
    """
    return exporter_daemon("59s")


@contextlib.contextmanager
def exporter_beside_yardstick():
    with exporter_idle(), yardstick_loop():
        yield


@contextlib.contextmanager
def node_exporter_loop():
    with node_exporter_daemon():
        with running(latency("scrape", f"127.0.0.1:{PORT}", "--scrapers=1", "--period-us=0", seconds=3600)):
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


@contextlib.contextmanager
def ahead_of_others():
    """Raises this session's share of the processors (autogroups, sched(7))."""
    autogroup = pathlib.Path("/proc/self/autogroup")
    try:
        enabled = pathlib.Path("/proc/sys/kernel/sched_autogroup_enabled").read_text() == "1\n"
        before = re.search(r"nice (-?\d+)", autogroup.read_text())
    except OSError as reason:
        raise Unavailable(str(reason))
    if not enabled or not before:
        raise Unavailable("sessions have no share of their own here")
    autogroup.write_text("-20")
    try:
        yield
    finally:
        autogroup.write_text(before[1])


SESSIONS = {"one of many": nothing, "ahead of others": ahead_of_others}


def latency(*arguments, seconds):
    return [EXAMPLES / "latency", *arguments, f"--seconds={seconds}"]


def measure(row, session, beside, command):
    print(", ".join(f"{key} {value}" for key, value in row.items()), file=sys.stderr)
    try:
        with session(), beside():
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        return row | {key: float(value) for key, value in re.findall(r"(\w+)=(\S+)", output)}
    except (Unavailable, subprocess.CalledProcessError) as reason:
        return row | {"note": str(reason)}


def table(rows):
    yield "| sockets | what | session | beside | p50 µs | p99 µs | max µs | errors | left out |"
    yield "|---|---|---|---|---|---|---|---|---|"
    groups = {}
    for row in rows:
        groups.setdefault((row["sockets"], row["what"], row["session"], row["beside"]), []).append(row)
    for (sockets, *about), group in groups.items():
        measured = [row for row in group if "p50_us" in row]
        cells = [group[0].get("note", "")] + ["–"] * 4
        if measured:
            median = lambda key: f"{statistics.median(row[key] for row in measured):.0f}"
            cells = [median("p50_us"), median("p99_us"), f"{max(row['max_us'] for row in measured):.0f}",
                     f"{sum(row['errors'] for row in measured):.0f}", f"{share_left_out(measured):.0%}"]
        yield f"| {sockets:,} | {' | '.join(about + cells)} |"


def share_left_out(rows):
    """Of the turns, those that the hypervisor disturbed."""
    left_out = sum(row["stolen"] for row in rows)
    return left_out / (left_out + sum(row["count"] for row in rows))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sockets", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=10, help="for each measurement")
    parser.add_argument("--tls", action="store_true", help="scrape over TLS, with an RSA key of 2048 bits; no connects then")
    parser.add_argument("--password", action="store_true", help="scrape with basic authentication; no connects then")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent / "results")
    arguments = parser.parse_args()

    if arguments.seconds > 50:
        parser.error("--seconds: 50 at most, or a dump falls into the control without any")

    with contextlib.ExitStack() as stack:
        access = []
        if arguments.tls or arguments.password:
            access = stack.enter_context(tls_and_password(arguments.tls, arguments.password))
        run(arguments, access)


def run(arguments, access):
    measured = version(EXPORTER)
    connect = latency("connect", seconds=arguments.seconds)
    scrape = latency("scrape", f"127.0.0.1:{PORT}", *access, seconds=arguments.seconds)
    connects = [("connect + accept", "one of many", beside, CONNECT_BESIDE[beside], connect) for beside in CONNECT_BESIDE]
    scrapes = [("scrape by 50 at once", session, beside, SCRAPE_BESIDE[beside], scrape)
               for session in SESSIONS for beside in SCRAPE_BESIDE]
    # node_exporter's loop, which the connects have beside them, knows no password.
    connects = [] if access else connects
    options = " --tls" * arguments.tls + " --password" * arguments.password
    name = "latency" + options.replace(" --", "-")
    rows = []
    for sockets, cases in (1_000, scrapes), (arguments.sockets, connects + scrapes):
        with farm(sockets, 2_000):
            for number in range(arguments.rounds):
                for what, session, beside, load, command in cases[number:] + cases[:number]:
                    row = {"sockets": sockets, "what": what, "session": session, "beside": beside, "round": number + 1}
                    rows.append(measure(row, SESSIONS[session], load, command))
    rows.sort(key=lambda row: (row["sockets"], row["what"], row["session"], row["beside"], row["round"]))

    arguments.out.mkdir(parents=True, exist_ok=True)
    with (arguments.out / f"{name}.csv").open("w", newline="") as raw:
        writer = csv.DictWriter(raw, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    lines = [f"`bench/latency.py --sockets {arguments.sockets} --rounds {arguments.rounds} --seconds {arguments.seconds}{options}`  ",
             f"{machine()}; {measured}. Medians over the rounds; the maximum is of all of them.\n", *table(rows)]
    text = "\n".join(lines) + "\n"
    (arguments.out / f"{name}.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
