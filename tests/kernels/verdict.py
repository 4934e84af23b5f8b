"""What the output of a suite says: a cell of the table, and the lines below it."""

import re

# What libtest exits with, and timeout(1) after SIGKILL.
FAILURE, KILLED = 101, 137
# The suite's own is the last: a failed case shows that of its process.
RESULT = re.compile(r"^test result: \S+ (\d+) passed; (\d+) failed;", re.MULTILINE)
FAILED = re.compile(r"^    (\S+)$", re.MULTILINE)
# What a failed case printed, which libtest shows after the last case.
SECTION = re.compile(r"^---- (\S+) stdout ----\n(.*?)(?=^---- |^successes:$|^failures:$)", re.MULTILINE | re.DOTALL)
# Of tests/oracle/table.rs: a figure that the kernel did not confirm, and a row of the table.
DIFFERENCE = re.compile(r"^@differs\t(.*)$", re.MULTILINE)
BRACKET = re.compile(r"^\| .* \| \d+ \| (\d+) to (\d+) \|$", re.MULTILINE)
# A case runs in a process of its own, whose last words come before any section.
PANIC = re.compile(r"^thread '(\S+)'.* panicked at .*:\n(.*)$", re.MULTILINE)


def judge(output, suite):
    """The cell of a suite, and a line for each difference."""
    if f"== {suite}\n" not in output:
        return "not reached", []
    part = re.search(rf"^== {suite}\n(.*?)\n== exit (\d+)$", output, re.MULTILINE | re.DOTALL)
    if not part or int(part[2]) == KILLED:
        return "hangs", []
    output, code = part[1], int(part[2])
    if code == FAILURE:
        passed, failed = map(int, RESULT.findall(output)[-1])
        return f"differs in {failed} of {passed + failed}", differences(output)
    if code:
        return f"exits with {code}", []
    brackets = sum(least != most for least, most in BRACKET.findall(output))
    return (f"bracket for {brackets} figures" if brackets else "equal"), []


def is_good(cell):
    return cell.startswith(("equal", "bracket"))


def differences(output):
    """The figures of each failed case, or its last words where it has none."""
    sections, panics = dict(SECTION.findall(output)), {}
    for case, words in PANIC.findall(output):
        panics.setdefault(case, words.rstrip(":"))
    lines = []
    for case in FAILED.findall(output.rpartition("\nfailures:\n")[2]):
        figures = DIFFERENCE.findall(sections.get(case, ""))
        for text in figures or [panics.get(case, "no word")]:
            lines.append(f"`{case}`: {text}")
    return lines
