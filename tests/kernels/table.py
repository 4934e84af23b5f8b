"""docs/kernels.md: what each suite said on each kernel, read back and written anew."""

import re

PREFACE = """\
# Kernels

The suites of this project on other kernels than that of the machine that builds it, booted under QEMU. Written by
`tests/kernels/run all`, which keeps the rows of kernels that a run left out.

* **equal**: no case failed.
* **bracket**: no case failed, and for so many figures the metrics told two ends between which the kernel then was.
* **differs**: so many cases failed, listed below. *Said* is how many free ports the metrics told, *granted* how many the
  kernel then gave.
* **hangs**: the suite was killed after 20 minutes. **not reached**: the guest did not get that far.

A case that no kernel of that age can stage is left out there: before 6.14, TIME_WAIT younger than `tcp_tw_reuse_delay`.
"""


def read(path):
    """The cells and the differences of an earlier table, by release and suite."""
    cells, differences = {}, {}
    if not path.exists():
        return cells, differences
    suites, release = [], None
    for line in path.read_text().splitlines():
        columns = [column.strip() for column in line.strip("|").split("|")]
        if line.startswith("| kernel "):
            suites = columns[1:]
        elif line.startswith("| "):
            cells |= {(columns[0], suite): cell for suite, cell in zip(suites, columns[1:]) if cell}
        elif line.startswith("## "):
            release = line[3:]
        elif match := re.match(r"\* (\w+): (.*)", line):
            differences.setdefault((release, match[1]), []).append(match[2])
    return cells, differences


def write(path, releases, suites, cells, differences):
    lines = [PREFACE, row("kernel", suites), row("---", ["---"] * len(suites)).replace(" ", "")]
    for release in releases:
        lines.append(row(release, [cells.get((release, suite), "") for suite in suites]))
    for release in releases:
        items = [f"* {suite}: {text}" for suite in suites for text in differences.get((release, suite), [])]
        if items:
            lines += ["", f"## {release}", "", *items]
    path.write_text("\n".join(lines) + "\n")


def row(first, others):
    return "| " + " | ".join([first, *others]) + " |"
