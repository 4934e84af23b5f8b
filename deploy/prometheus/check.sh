#!/bin/sh
# Checks everything here with the tools that will read it: promtool for rules,
# configuration and unit tests, amtool for Alertmanager's configuration, and the
# shortened rules that end-to-end tests use. Exits 1 on any failure,
# 2 where a tool is missing.
set -u
cd "$(dirname "$0")" || exit 1
for tool in promtool amtool awk; do
    if ! command -v "$tool" >/dev/null; then
        echo "check.sh: $tool is missing (Debian: prometheus, prometheus-alertmanager, mawk)" >&2
        exit 2
    fi
done
failed=0
step() {
    echo "== $*"
    "$@" || { failed=1; echo "FAILED: $*" >&2; }
}
shortened=$(mktemp -d) || exit 1
trap 'rm -rf "$shortened"' EXIT

step promtool check rules --lint=all --lint-fatal rules/*.yml
step promtool check config prometheus.example.yml
step amtool check-config alertmanager.example.yml
for test in tests/*.yml; do
    step promtool test rules "$test"
done
for file in rules/*.yml; do
    sh ./shorten.sh 30 "$file" >"$shortened/$(basename "$file")" || failed=1
    if grep -Eq '^ *(for|keep_firing_for|interval): [0-9]+[smh]$' "$shortened/$(basename "$file")"; then
        echo "FAILED: shorten.sh left a time in $file" >&2
        failed=1
    fi
done
step promtool check rules "$shortened"/*.yml
[ "$failed" -eq 0 ] && echo "all is well"
exit "$failed"
