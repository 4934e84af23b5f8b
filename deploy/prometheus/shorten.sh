#!/bin/sh
# Prints a rule file with all of its times divided by FACTOR, for tests that
# cannot wait: `for`, `keep_firing_for`, the interval of groups, ranges in brackets and offsets.
# Thresholds stay as they are, and so does the horizon of predict_linear, which
# is how far ahead an alert looks and not how long it waits.
#
# usage: shorten.sh FACTOR FILE
#
# Ranges become 5 s at least, everything else 1 s: scrape every second.
set -eu
if [ $# -ne 2 ] || [ "$1" -lt 1 ]; then
    echo "usage: $0 FACTOR FILE" >&2
    exit 2
fi
awk -v factor="$1" '
    function shorter(text, least,    unit, ms) {
        unit = substr(text, length(text))
        ms = substr(text, 1, length(text) - 1) * (unit == "h" ? 3600 : unit == "m" ? 60 : 1) * 1000
        ms = int(ms / factor)
        return (ms < least ? least : ms) "ms"
    }
    # Text for people: annotations keep their words, and their queries run over
    # the same short ranges as the alert.
    {
        out = ""
        rest = $0
        while (match(rest, /(\[|\[[0-9]+[smh]:|offset |^ *for: |^ *keep_firing_for: |^ *interval: )[0-9]+[smh]/)) {
            found = substr(rest, RSTART, RLENGTH)
            out = out substr(rest, 1, RSTART - 1)
            rest = substr(rest, RSTART + RLENGTH)
            match(found, /[0-9]+[smh]$/)
            time = substr(found, RSTART)
            before = substr(found, 1, RSTART - 1)
            if (before ~ /^\[[0-9]/)
                before = "[" shorter(substr(before, 2, length(before) - 2), 5000) ":"
            out = out before shorter(time, before == "[" && rest ~ /^\]/ ? 5000 : 1000)
            if (before == "[" && rest ~ /^:/) {
                # A subquery: its range came first, its step follows.
                match(rest, /^:[0-9]+[smh]/)
                out = out ":" shorter(substr(rest, 2, RLENGTH - 1), 1000)
                rest = substr(rest, RLENGTH + 1)
            }
        }
        print out rest
    }
' "$2"
