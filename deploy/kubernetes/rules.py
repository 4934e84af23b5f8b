#!/usr/bin/env python3
"""Writes components/prometheusrule/prometheusrule.yaml from deploy/prometheus/rules/*.yml; with --check tells whether
the committed file is that.

The text is indented and kept as it is, comments too. Standard library only. Exit code: 0 written or in step, 1 not."""

import argparse
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
RULES = HERE.parent / "prometheus" / "rules"
OUT = HERE / "components" / "prometheusrule" / "prometheusrule.yaml"
HEAD = """\
# Written by rules.py from deploy/prometheus/rules: change those, not this.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: sockdiag-exporter
  namespace: sockdiag-exporter
spec:
  groups:
"""


def groups(path):
    """Comments before `groups:` belong to what follows it; nothing else may stand at the start of a line."""
    text = []
    for line in path.read_text().splitlines():
        if line == "---" or line == "groups:":
            continue
        if line and not line.startswith((" ", "#")):
            raise SystemExit(f"{path}: only groups are understood, not: {line}")
        text.append(f"  {'  ' if line.startswith('#') else ''}{line}" if line else "")
    return "\n".join(text) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when the file is out of step")
    check = parser.parse_args().check
    files = sorted(RULES.glob("*.yml"))
    if not files:
        print(f"{RULES}: no rules", file=sys.stderr)
        return 1
    text = HEAD + "".join(groups(path) for path in files)
    if not check:
        OUT.write_text(text)
    elif not OUT.is_file() or OUT.read_text() != text:
        print(f"{OUT}: not what rules.py writes: run it and commit the result", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
