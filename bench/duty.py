#!/usr/bin/env python3
"""What poll.max_duty is worth: ten minutes with a million sockets, each toward a
peer of its own, on the built-in defaults; and the memory once they are gone. As
root; see README.md.
"""

import argparse
import contextlib
import csv
import pathlib
import random
import statistics
import subprocess
import time
import tomllib

from farm import cpu_seconds, farm, machine, memory_kib, running
from tools import EXPORTER, PORT, Unavailable, find, metric, version, wait_for_metrics

MEMORY_RETURNS = 60
COLUMNS = ["seconds", "cpu_seconds", "dumps", "poll_interval_seconds", "lag_seconds", "rss_kib"]


def defaults():
    """What the exporter itself says of its configuration."""
    printed = subprocess.run([find(EXPORTER), "check-config"], check=True, capture_output=True, text=True).stdout
    return tomllib.loads(printed)


def lag_of_cheap_families(patience):
    """Seconds until the counter of opened connections has those of our own scrapes."""
    opened = lambda: metric("sockdiag_tcp_events_total", event="active_open")
    started, before = time.monotonic(), opened()
    while opened() == before:
        if time.monotonic() - started > patience:
            raise Unavailable("the counters of TCP events stand still")
        time.sleep(0.2)
    return time.monotonic() - started


def dumps():
    return metric("sockdiag_poll_duration_seconds_count")


def next_dump():
    """Whole cycles are measured: from the end of one dump to that of another."""
    before = dumps()
    while dumps() == before:
        time.sleep(0.2)


def watch(process, minutes, interval):
    next_dump()
    start, cpu, before = time.monotonic(), cpu_seconds(process.pid), dumps()
    chance = random.Random(1)

    def row(lag):
        return {"seconds": time.monotonic() - start, "cpu_seconds": cpu_seconds(process.pid) - cpu,
                "dumps": dumps() - before, "poll_interval_seconds": metric("sockdiag_poll_interval_seconds"),
                "lag_seconds": lag, "rss_kib": memory_kib(process.pid)[0]}

    while time.monotonic() < start + minutes * 60:
        yield row(lag_of_cheap_families(20 * interval))
        # Not in step with the polls.
        time.sleep(chance.uniform(0, 3 * interval))
    next_dump()
    yield row(None)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sockets", type=int, default=1_000_000)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent / "results")
    arguments = parser.parse_args()

    config, measured = defaults(), version(EXPORTER)
    interval = float(config["poll"]["interval"].removesuffix("s"))
    with contextlib.ExitStack() as after:
        with farm(arguments.sockets, arguments.sockets):
            command = [find(EXPORTER), "serve", f"--listen=127.0.0.1:{PORT}"]
            process = after.enter_context(running(command))
            wait_for_metrics(process, "sockdiag_snapshot_timestamp_seconds")
            rows = list(watch(process, arguments.minutes, interval))
            seen = metric("sockdiag_sockets", state="established")
            untracked = metric("sockdiag_keys_untracked")
        time.sleep(MEMORY_RETURNS)
        emptied, peak = memory_kib(process.pid)

    last = rows[-1]
    lags = [row["lag_seconds"] for row in rows[:-1]]
    intervals = [row["poll_interval_seconds"] for row in rows]
    text = f"""\
`bench/duty.py --sockets {arguments.sockets} --minutes {arguments.minutes:g}`  
{machine()}; {measured}. Built-in defaults.

| what | figure |
|---|---|
| ESTABLISHED sockets seen, each toward a peer of its own | {seen:,.0f}, keys of {untracked:,.0f} not tracked (`limits.tracked_keys`: {config["limits"]["tracked_keys"]:,}) |
| CPU over {last["seconds"]:.0f} s, all threads, our scrapes included | {last["cpu_seconds"]:.1f} s, {last["cpu_seconds"] / last["seconds"]:.2%} of a core (`poll.max_duty`: {config["poll"]["max_duty"]:.0%}) |
| dumps of the sockets | {last["dumps"]:.0f}, one every {last["seconds"] / last["dumps"]:.1f} s |
| `sockdiag_poll_interval_seconds` | median {statistics.median(intervals):.1f}, {min(intervals):.1f}–{max(intervals):.1f} |
| until a connection is in `sockdiag_tcp_events_total`, {len(lags)} times | median {statistics.median(lags):.1f} s, at most {max(lags):.1f} s (`poll.interval`: {interval:g} s) |
| resident memory with the sockets | {last["rss_kib"] / 1024:.1f} MiB |
| {MEMORY_RETURNS} s after they are gone | {emptied / 1024:.1f} MiB (peak {peak / 1024:.1f} MiB) |
"""
    arguments.out.mkdir(parents=True, exist_ok=True)
    with (arguments.out / "duty.csv").open("w", newline="") as raw:
        writer = csv.DictWriter(raw, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    (arguments.out / "duty.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
