#!/usr/bin/env python3
"""Prints the licence texts of the crates that the program is linked with, each text once with the crates that it goes with.

From cargo's own list of the normal dependencies and the files in the crates. A crate without a file, or without a
licence's name, is an error. Standard library only."""

import collections
import json
import pathlib
import re
import subprocess
import sys

NAMES = re.compile(r"^(licen[cs]e|copying|copyright|notice|unlicense)", re.IGNORECASE)


def linked():
    """Name and version of each crate in the program."""
    tree = ["cargo", "tree", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}"]
    lines = subprocess.run(tree, check=True, capture_output=True, text=True).stdout.splitlines()
    return {tuple(line.replace(" v", " ").split()[:2]) for line in lines if line}


def main():
    command = ["cargo", "metadata", "--locked", "--format-version", "1"]
    metadata = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    texts, faults = collections.defaultdict(list), []
    wanted = linked()
    for package in metadata["packages"]:
        crate = package["name"], package["version"]
        if crate not in wanted or package["source"] is None:
            continue
        directory = pathlib.Path(package["manifest_path"]).parent
        files = sorted(path for path in directory.iterdir() if path.is_file() and NAMES.match(path.name))
        if not package["license"]:
            faults.append(f"{crate[0]} {crate[1]} names no licence")
        if not files:
            faults.append(f"{crate[0]} {crate[1]} ({package['license']}) carries no text of its licence")
        for path in files:
            texts[path.read_text(errors="replace").strip()].append(f"{crate[0]} {crate[1]} ({package['license']})")
    for fault in faults:
        print(fault, file=sys.stderr)
    for text, crates in sorted(texts.items(), key=lambda each: sorted(each[1])):
        print("=" * 80)
        print("\n".join(sorted(set(crates))))
        print("-" * 80)
        print(text + "\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
