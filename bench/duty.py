#!/usr/bin/env python3
"""What poll.max_duty is worth: ten minutes with a million sockets, each toward a
peer of its own, on the built-in defaults; and the memory once they are gone. As
root; see README.md.
"""

import argparse
import contextlib
import pathlib
import statistics
import time

from farm import commit, cpu_seconds, farm, machine, memory_kib, running
from tools import EXPORTER, PORT, find, metric, wait_for_metrics

# The built-in poll.interval and poll.max_duty, and the time for the memory to return.
INTERVAL = 5
MAX_DUTY = 0.05
MEMORY_RETURNS = 60


def cheap_family_lag():
    """Seconds until the counter of opened connections has that of our own scrape."""
    opened = lambda: metric("sockdiag_tcp_events_total", event="active_open")
    started, before = time.monotonic(), opened()
    while opened() == before:
        if time.monotonic() - started > 10 * INTERVAL:
            raise SystemExit("the counters of TCP events stand still")
        time.sleep(0.2)
    return time.monotonic() - started


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sockets", type=int, default=1_000_000)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent / "results")
    arguments = parser.parse_args()

    lags, intervals = [], []
    with contextlib.ExitStack() as after:
        with farm(arguments.sockets, arguments.sockets):
            command = [find(EXPORTER), "serve", f"--listen=127.0.0.1:{PORT}"]
            process = after.enter_context(running(command))
            wait_for_metrics(process, "sockdiag_snapshot_timestamp_seconds")
            polls = metric("sockdiag_poll_duration_seconds_count")
            start, cpu = time.monotonic(), cpu_seconds(process.pid)
            while time.monotonic() < start + arguments.minutes * 60:
                lags.append(cheap_family_lag())
                intervals.append(metric("sockdiag_poll_interval_seconds"))
                time.sleep(INTERVAL)
            wall, cpu = time.monotonic() - start, cpu_seconds(process.pid) - cpu
            polls = metric("sockdiag_poll_duration_seconds_count") - polls
            full, _ = memory_kib(process.pid)
        time.sleep(MEMORY_RETURNS)
        emptied, peak = memory_kib(process.pid)

    text = f"""\
`bench/duty.py --sockets {arguments.sockets} --minutes {arguments.minutes:g}`  
{machine()}, {commit()}. {arguments.sockets:,} sockets toward as many peers, built-in defaults.

| what | figure |
|---|---|
| CPU over {wall:.0f} s, all threads, our scrapes included | {cpu:.1f} s, {cpu / wall:.2%} of a core (`poll.max_duty`: {MAX_DUTY:.0%}) |
| dumps of the sockets | {polls:.0f}, one every {wall / max(polls, 1):.1f} s |
| `sockdiag_poll_interval_seconds` | median {statistics.median(intervals):.1f}, {min(intervals):.1f}–{max(intervals):.1f} |
| until a new connection is in `sockdiag_tcp_events_total` | median {statistics.median(lags):.1f} s, at most {max(lags):.1f} s (`poll.interval`: {INTERVAL} s) |
| resident memory with the sockets | {full / 1024:.1f} MiB |
| {MEMORY_RETURNS} s after they are gone | {emptied / 1024:.1f} MiB (peak {peak / 1024:.1f} MiB) |
"""
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "duty.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
