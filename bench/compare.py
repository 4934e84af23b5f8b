#!/usr/bin/env python3
"""What it costs to look at N sockets once: the kernel's bare dump, this
exporter, and everything else one could run. As root; see README.md.
"""

import argparse
import csv
import functools
import os
import pathlib
import statistics
import sys

import plot
from farm import farm, machine
from tools import TOOLS, Unavailable, exporter, version, versions

SIZES = {
    "quick": [(100_000, 2_000)],
    "all": [(1_000, 2_000), (10_000, 2_000), (100_000, 2_000), (1_000_000, 2_000), (1_000_000, 1_000_000)],
}
COLUMNS = ["sockets", "peers", "round", "tool", "cpu_seconds", "wall_seconds", "ratio", "rss_kib", "peak_kib", "note"]


def sizes(text):
    """quick, all, or like 1000,1000000:1000000 with peers after the colon."""
    if text in SIZES:
        return SIZES[text]
    pairs = (size.split(":") for size in text.split(","))
    return [(int(sockets), int(peers[0]) if peers else 2_000) for sockets, *peers in pairs]


def measure(sockets, peers, rounds):
    """One row for each tool and round; the tools take turns in going first.

    The yardstick is taken before and after each tool, and the ratio is to the
    mean of both: machines change their pace within seconds. The ratio of the
    yardstick to itself shows how well this works.
    """
    names = list(TOOLS)
    for number in range(rounds):
        turn = number % len(names)
        before = TOOLS["yardstick"](sockets)
        for name in names[turn:] + names[:turn]:
            print(f"{sockets} sockets, {peers} peers, round {number + 1}: {name}", file=sys.stderr)
            row = {"sockets": sockets, "peers": peers, "round": number + 1, "tool": name}
            try:
                cost = TOOLS[name](sockets)
            except Unavailable as reason:
                yield row | {"note": str(reason)}
                continue
            after = TOOLS["yardstick"](sockets)
            bare = (before.cpu_seconds + after.cpu_seconds) / 2
            yield row | vars(cost) | {"ratio": cost.cpu_seconds / bare}
            before = after


def values(rows, tool, key):
    return [row[key] for row in rows if row["tool"] == tool and row.get(key) is not None]


def spread(figures, form):
    if not figures:
        return "–"
    median, low, high = (format(f(figures), form) for f in (statistics.median, min, max))
    return f"{median} ({low}–{high})"


def table(rows, sockets, peers):
    rows = [row for row in rows if (row["sockets"], row["peers"]) == (sockets, peers)]
    yield f"\n### {sockets:,} sockets, {min(sockets, peers):,} peers\n"
    yield "| tool | CPU s | × yardstick | wall s | resident MiB | peak MiB |"
    yield "|---|---|---|---|---|---|"
    for tool in TOOLS:
        if not values(rows, tool, "cpu_seconds"):
            note = next(row["note"] for row in rows if row["tool"] == tool)
            yield f"| {tool} | {note} | – | – | – | – |"
            continue
        cells = [spread(values(rows, tool, key), form) for key, form in
                 (("cpu_seconds", ".4f"), ("ratio", ".2f"), ("wall_seconds", ".4f"))]
        for key in "rss_kib", "peak_kib":
            memory = values(rows, tool, key)
            cells.append(f"{statistics.median(memory) / 1024:.1f}" if memory else "–")
        yield f"| {tool} | {' | '.join(cells)} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="quick", help=sizes.__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent / "results")
    parser.add_argument("--before", type=pathlib.Path, metavar="BINARY", help="an older build of the exporter, as one tool more")
    arguments = parser.parse_args()

    measured = list(versions())
    if arguments.before:
        TOOLS["sockdiag-exporter, before"] = functools.partial(exporter, binary=arguments.before)
        measured.append(f"before: {version(arguments.before)}")
    load = os.getloadavg()[0]
    rows, wanted = [], sizes(arguments.sizes)
    for sockets, peers in wanted:
        with farm(sockets, peers):
            rows += measure(sockets, peers, arguments.rounds)

    arguments.out.mkdir(parents=True, exist_ok=True)
    file = arguments.out / f"compare-{arguments.sizes.replace(',', '_').replace(':', 'x')}"
    with file.with_suffix(".csv").open("w", newline="") as raw:
        writer = csv.DictWriter(raw, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    before = " --before BINARY" if arguments.before else ""
    lines = [f"`bench/compare.py --sizes {arguments.sizes} --rounds {arguments.rounds}{before}`  ",
             f"{machine()}, load before {load:.2f}; {', '.join(measured)}  ",
             "One dump of all TCP sockets: median of the rounds (lowest–highest)."]
    for sockets, peers in wanted:
        lines += table(rows, sockets, peers)
    text = "\n".join(lines) + "\n"
    file.with_suffix(".md").write_text(text)
    if len(wanted) > 1:
        file.with_suffix(".svg").write_text(plot.cost_over_sockets(rows, machine()))
    print(text)


if __name__ == "__main__":
    main()
