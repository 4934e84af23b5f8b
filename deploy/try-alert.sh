#!/usr/bin/env bash
# Makes a real alert fire, from a client that uses up the ephemeral ports to a delivered alert with its annotations.
# Everything happens in a user and network namespace of its own with 1,000 ports: no root, nothing of this host is
# changed or reached. Needs prometheus, prometheus-alertmanager, iproute2, python3 and a built exporter.
# Usage: try-alert.sh [--queries]   --queries: also ask every query of the dashboards.
# Environment: SOCKDIAG_EXPORTER, the binary (target/release/sockdiag-exporter).
# Exit code: 0 the alert was delivered, 1 not, 2 a tool is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
self=deploy/try-alert.sh
exporter=${SOCKDIAG_EXPORTER:-target/release/sockdiag-exporter}

if [ "${1:-}" != inside ]; then
    for tool in "$exporter" prometheus prometheus-alertmanager ip unshare python3 curl; do
        command -v "$tool" >/dev/null || {
            echo "$tool is missing (cargo build --release; Debian: apt-get install prometheus prometheus-alertmanager iproute2 curl)" >&2
            exit 2
        }
    done
    exec unshare --user --map-root-user --net --pid --fork --mount-proc --kill-child "$self" inside "$@"
fi

# Ends with the namespace: whatever was started here is killed with its first process.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
ip link set lo up
echo "40000 40999" >/proc/sys/net/ipv4/ip_local_port_range

"$exporter" serve --listen 127.0.0.1:10061 >"$work/exporter.log" 2>&1 &
prometheus --config.file=deploy/prometheus/prometheus.example.yml --storage.tsdb.path="$work/data" \
    --web.listen-address=127.0.0.1:9090 --log.level=warn >"$work/prometheus.log" 2>&1 &
prometheus-alertmanager --config.file=deploy/prometheus/alertmanager.example.yml --storage.path="$work/alertmanager" \
    --web.listen-address=127.0.0.1:9093 --cluster.listen-address= --log.level=error >"$work/alertmanager.log" 2>&1 &

# Holds 950 connections to one destination, as a program does that never gives them back, and shows how the next fail.
python3 - >"$work/client.log" 2>&1 <<'CLIENT' &
import resource, socket, time
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
server = socket.create_server(("127.0.0.1", 8443), backlog=512)
held = []
for _ in range(950):
    held.append(socket.create_connection(("127.0.0.1", 8443)))
    held.append(server.accept()[0])
print(len(held) // 2, "connections held", flush=True)
time.sleep(900)
CLIENT

# The alert that names this very destination: one that knows of a peak alone would say less.
show() {
    python3 -c '
import json, sys
name = "SockdiagEphemeralPortsNearExhaustion"
wanted = {"alertname": name, "severity": "critical", "source": "127.0.0.1", "destination": "127.0.0.1", "port": "8443"}
for alert in json.load(sys.stdin):
    runbook = alert["annotations"].get("runbook_url", "")
    if wanted.items() <= alert["labels"].items() and runbook.endswith(f"/deploy/runbooks/{name}.md"):
        print(name, "is firing:", ", ".join(f"{label} {text}" for label, text in wanted.items() if label != "alertname"))
        for name, text in sorted(alert["annotations"].items()):
            print(f"  {name}: {text}")
        sys.exit(0)
sys.exit(1)'
}

started=$SECONDS
until curl -sf http://127.0.0.1:9093/api/v2/alerts 2>/dev/null | show 2>/dev/null; do
    if [ $((SECONDS - started)) -gt 240 ]; then
        echo "no alert that names the destination after four minutes; Alertmanager has:" >&2
        curl -s http://127.0.0.1:9093/api/v2/alerts >&2 || true
        echo >&2
        tail -n 20 "$work"/*.log >&2
        exit 1
    fi
    sleep 2
done
echo "delivered to Alertmanager $((SECONDS - started)) s after the start"
if [ "${2:-}" = --queries ]; then
    # A rate wants two scrapes of a series, and the last to appear does so with the second.
    while [ $((SECONDS - started)) -lt 75 ]; do sleep 1; done
    PYTHONDONTWRITEBYTECODE=1 python3 deploy/grafana/queries.py --prometheus http://127.0.0.1:9090
fi
