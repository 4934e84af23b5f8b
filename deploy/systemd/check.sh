#!/usr/bin/env bash
# Checks the units: systemd understands every line, the exposure score is at most 1.5, at most 2.0 with the
# drop-in for capabilities, and at most 2.8 with that for namespaces.
# Starts nothing. Exit code: 0 fine, 1 not, 2 systemd-analyze is missing.
set -euo pipefail
cd "$(dirname "$0")"
# In tenths.
limit=15
limit_with_capabilities=20
limit_with_namespaces=28

if ! command -v systemd-analyze >/dev/null; then
    echo "systemd-analyze is missing (Debian: apt-get install systemd)" >&2
    exit 2
fi

# verify wants the binary and the files where the unit names them: a root directory of its own has them.
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
units=$root/etc/systemd/system
mkdir -p "$units" "$root/usr/lib/systemd/system" "$root/usr/local/bin"
printf '#!/bin/sh\n' >"$root/usr/local/bin/sockdiag-exporter"
chmod 755 "$root/usr/local/bin/sockdiag-exporter"
cp sockdiag-exporter.service sockdiag-exporter.socket "$units/"
for target in basic multi-user network shutdown sockets sysinit; do
    printf '[Unit]\nDescription=%s\n' "$target" >"$root/usr/lib/systemd/system/$target.target"
done

verify() {
    # A misspelt key is only a warning of systemd's, so anything said is a fault.
    local said
    said=$(SYSTEMD_LOG_LEVEL=warning systemd-analyze verify --root="$root" --man=no --recursive-errors=yes "$@" 2>&1) || {
        echo "$said" >&2
        return 1
    }
    if [ -n "$said" ]; then
        echo "$said" >&2
        return 1
    fi
}

score() {
    systemd-analyze security --offline=true --no-pager --threshold="$1" "$units/sockdiag-exporter.service" >"$root/report" || {
        cat "$root/report" >&2
        exit 1
    }
    tail -1 "$root/report"
}

verify sockdiag-exporter.service sockdiag-exporter.socket
score "$limit"
without=$(<"$root/report")

mkdir "$units/sockdiag-exporter.service.d"
with_drop_in() {
    cp "$1.conf.example" "$units/sockdiag-exporter.service.d/$1.conf"
    verify sockdiag-exporter.service
    score "$2"
    rm "$units/sockdiag-exporter.service.d/$1.conf"
    if [ "$(<"$root/report")" = "$without" ]; then
        echo "the drop-in $1 was not read: the report is the same with it" >&2
        exit 1
    fi
}
with_drop_in capabilities "$limit_with_capabilities"
with_drop_in namespaces "$limit_with_namespaces"
echo "units verified, with and without each drop-in"
