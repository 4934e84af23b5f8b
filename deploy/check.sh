#!/usr/bin/env bash
# Checks everything under deploy/ but the image's build (docker/build-and-run.sh takes minutes; give --image for it).
# A check whose tool is missing is skipped with a line that says so; with CI=true tools are installed where Debian or
# PyPI has them, and a missing one is a failure. Exit code: 0 fine, 1 not.
set -uo pipefail
cd "$(dirname "$0")"
ci=${CI:-}
failed=0
passed=0
skipped=0

check() {
    local name=$1 code=0
    shift
    echo "== $name"
    "$@" || code=$?
    if [ "$code" = 0 ]; then
        passed=$((passed + 1))
    elif [ "$code" = 2 ] && [ "$ci" != true ]; then
        echo "SKIPPED: $name: a tool is missing, see above"
        skipped=$((skipped + 1))
    else
        echo "FAILED: $name" >&2
        failed=$((failed + 1))
    fi
}

# Debian's package of each tool, installed once. Their services stay off: the checks start what they need.
tools() (
    local missing=() pair
    for pair in python3=python3 promtool=prometheus prometheus-alertmanager=prometheus-alertmanager systemd-analyze=systemd \
        docker-compose=docker-compose curl=curl ip=iproute2 unshare=util-linux; do
        command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
    done
    # The package that `python3 -m venv` wants beside python3.
    python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
    [ ${#missing[@]} = 0 ] && return
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
        printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d || return 1
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get -o DPkg::Lock::Timeout=300 update -q >/dev/null &&
        apt-get -o DPkg::Lock::Timeout=300 install -qy --no-install-recommends "${missing[@]}" >/dev/null
)

# Python with what a requirements.txt names: this one, or in CI one of its own with these very versions.
python() {
    local python=python3 venv=../target/deploy-venv
    if [ "$ci" = true ]; then
        python=$venv/bin/python
        # One left half made has a python and no pip.
        "$python" -m pip --version >/dev/null 2>&1 || python3 -m venv --clear "$venv" || return 1
        "$python" -m pip install -q --disable-pip-version-check --no-warn-script-location \
            -r kubernetes/requirements.txt -r helm/requirements.txt || return 1
    fi
    PYTHONDONTWRITEBYTECODE=1 "$python" "$@"
}

kubernetes() {
    PYTHONDONTWRITEBYTECODE=1 kubernetes/rules.py --check && python kubernetes/check.py
}

workflow() {
    python -c 'import check_jsonschema' 2>/dev/null || { echo "check-jsonschema is missing: pip install -r deploy/kubernetes/requirements.txt" >&2; return 2; }
    python -m check_jsonschema --builtin-schema vendor.github-workflows ../.github/workflows/release.yml
}

[ "$ci" != true ] || check "tools" tools
check "Grafana dashboards" grafana/check.sh
check "Prometheus rules and Alertmanager example" prometheus/check.sh
check "systemd units" systemd/check.sh
check "Kubernetes manifests" kubernetes
check "Helm chart" python helm/check.py
check "release workflow" workflow
check "compose file" compose/check.sh
check "shell scripts" bash -c 'for script in *.sh */*.sh; do bash -n "$script" || exit 1; done'
if [ -x "${SOCKDIAG_EXPORTER:-../target/release/sockdiag-exporter}" ] || [ "$ci" = true ]; then
    check "an alert fires, every query of the dashboards has data" ./try-alert.sh --queries
else
    echo "SKIPPED: an alert fires: the exporter is not built (cargo build --release)"
    skipped=$((skipped + 1))
fi
[ "${1:-}" != --image ] || check "image" docker/build-and-run.sh

echo "deploy: $passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
