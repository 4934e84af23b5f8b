#!/usr/bin/env python3
"""Writes dashboards/*.json from host.py and fleet.py; with --check tells whether the committed ones are those.

Standard library only. Exit code: 0 written or in step, 1 out of step."""

import argparse
import json
import pathlib
import sys

import fleet
import host

DASHBOARDS = pathlib.Path(__file__).resolve().parent / "dashboards"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a file is out of step")
    check = parser.parse_args().check
    stale = []
    for name, module in (("host", host), ("fleet", fleet)):
        path = DASHBOARDS / f"{name}.json"
        text = json.dumps(module.build(), indent=2) + "\n"
        if check:
            if not path.is_file() or path.read_text() != text:
                stale.append(path)
        else:
            path.write_text(text)
    for path in stale:
        print(f"{path}: not what generate.py writes: run it and commit the result", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
