#!/usr/bin/env python3
"""Checks every query of the dashboards.

Without arguments: each panel is complete, each query parses (promtool check rules), and each metric it names stands
in the exporter's source. With --prometheus URL: each query also returns data there, save those that may be empty.
Standard library only. Exit code: 0 fine, 1 something found, 2 promtool or Prometheus cannot be had."""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
SOURCE = HERE.parent.parent / "src"

# A query may be empty where one of these has no series at all on that host.
OPTIONAL = {
    "kube_pod_info": "it is kube-state-metrics'",
    "sockdiag_namespaces_skipped": "namespaces are not looked for",
    "sockdiag_conntrack_entries": "conntrack is not loaded",
    "sockdiag_conntrack_entries_limit": "conntrack is not loaded",
    "sockdiag_conntrack_buckets": "conntrack is not loaded",
    "sockdiag_conntrack_events_total": "the kernel does not count, or only for CAP_NET_ADMIN",
    "sockdiag_ephemeral_destination_ports_used": "no outbound connection has a port in the range",
    "sockdiag_ephemeral_destination_closes_per_second": "no outbound connection has a port in the range",
    "sockdiag_ephemeral_destination_owner_sockets": "no destination's owner is known",
    "sockdiag_cgroup_ephemeral_ports_used": "owners are switched off",
    "sockdiag_cgroup_sockets": "owners are switched off",
    "sockdiag_cgroups_folded": "owners are switched off",
    "sockdiag_peer_sockets": "no connections",
    "sockdiag_listener_backlog_connections": "no listeners",
    "sockdiag_local_port_sockets": "no listeners",
    "sockdiag_collector_errors_total": "no error since the start",
    "sockdiag_tcp_orphans_limit": "the kernel shows it in the machine's first network namespace only",
    "sockdiag_tcp_memory_limit_bytes": "the kernel shows it in the machine's first network namespace only",
}
# Of other exporters.
FOREIGN = {"kube_pod_info"}
# Panels that list faults: empty is the good news.
FAULTS = {"Down", "Stale", "Failing collectors"}


def panels(dashboard):
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", [])


def incomplete(name, dashboard):
    """What a panel, or the set of them, lacks."""
    variables = [each["name"] for each in dashboard["templating"]["list"]]
    if variables != ["datasource", "job", "instance", "netns"]:
        yield f"{name}: variables are {variables}"
    taken, numbers = set(), set()
    for panel in panels(dashboard):
        where = f"{name}: {panel['title']}"
        grid = panel["gridPos"]
        cells = {(x, y) for x in range(grid["x"], grid["x"] + grid["w"]) for y in range(grid["y"], grid["y"] + grid["h"])}
        if taken & cells or grid["x"] + grid["w"] > 24:
            yield f"{where}: overlaps another panel or the edge"
        taken |= cells
        if panel["id"] in numbers:
            yield f"{where}: id {panel['id']} is used twice"
        numbers.add(panel["id"])
        if panel["type"] == "row":
            continue
        defaults = panel["fieldConfig"]["defaults"]
        for part, there in (
            ("description", panel.get("description")),
            ("unit", defaults.get("unit")),
            ("thresholds", defaults.get("thresholds", {}).get("steps")),
            ("query", panel.get("targets")),
            ("text for no data", defaults.get("noValue")),
        ):
            if not there:
                yield f"{where}: no {part}"
        for target in panel["targets"]:
            if target["datasource"]["uid"] != "${datasource}":
                yield f"{where}: query {target['refId']} does not use the variable of the data source"


def substituted(expr, values):
    for name, value in values.items():
        expr = re.sub(rf"\$({name}\b|{{{name}(:\w+)?}})", lambda _: value, expr)
    if left := re.search(r"\$\{?\w+", expr):
        raise SystemExit(f"unknown variable {left.group()} in {expr}")
    return expr


def queries(name, dashboard, values):
    for panel in panels(dashboard):
        for target in panel.get("targets", []):
            yield f"{name}: {panel['title']} {target['refId']}", panel["title"], substituted(target["expr"], values)


def metrics(expr):
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"\b(?:sockdiag|process|kube)_[a-z0-9_]+", expr)}


def unknown(found):
    text = "".join(path.read_text() for path in SOURCE.rglob("*.rs"))
    known = set(re.findall(r'"((?:sockdiag|process)_[a-z0-9_]+)"', text)) | FOREIGN
    for where, _, expr in found:
        for name in sorted(metrics(expr) - known):
            yield f"{where}: the exporter has no metric {name}"


def unparsable(found):
    """promtool reads YAML, of which JSON is a part."""
    rules = [{"record": f"query:{at}", "expr": expr} for at, (_, _, expr) in enumerate(found)]
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
        json.dump({"groups": [{"name": "queries", "rules": rules}]}, file)
        file.flush()
        try:
            done = subprocess.run(["promtool", "check", "rules", file.name], capture_output=True, text=True)
        except FileNotFoundError:
            print("promtool is missing (Debian: apt-get install prometheus)", file=sys.stderr)
            raise SystemExit(2) from None
    if done.returncode:
        yield f"promtool: {done.stdout}{done.stderr}"


class Prometheus:
    def __init__(self, url):
        self.url = url.rstrip("/")

    def query(self, expr):
        """Result vector; an error of the query itself is a found fault, no answer ends the program."""
        body = urllib.parse.urlencode({"query": expr}).encode()
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/query", body, timeout=30) as answer:
                return json.load(answer)["data"]["result"], None
        except urllib.error.HTTPError as error:
            return [], error.read().decode(errors="replace")
        except OSError as error:
            print(f"{self.url}: {error}", file=sys.stderr)
            raise SystemExit(2) from None


def empty(prometheus, found, hosts):
    """Queries that fail or return nothing although all that they need is there."""
    allowed = 0
    for where, title, expr in found:
        result, error = prometheus.query(expr)
        if error:
            yield f"{where}: {error}"
        if result or error:
            continue
        reason = "a list of faults" if title in FAULTS else None
        for name in sorted(metrics(expr) & set(OPTIONAL)):
            if not prometheus.query(f"{name}{{{hosts}}}")[0]:
                reason = OPTIONAL[name]
        if reason:
            allowed += 1
            print(f"empty, as it may be: {where}: {reason}")
        else:
            yield f"{where}: no data: {expr}"
    print(f"{len(found)} queries asked of Prometheus, {allowed} empty as they may be")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prometheus", metavar="URL", help="also ask this Prometheus, for example http://127.0.0.1:9090")
    parser.add_argument("--instance", help="host to ask about; by default the first one found")
    parser.add_argument("--netns", default="host")
    parser.add_argument("--rate-interval", default="1m", help="for $__rate_interval: four scrape intervals")
    arguments = parser.parse_args()
    job, instance = "sockdiag", arguments.instance or "any:10061"
    prometheus = Prometheus(arguments.prometheus) if arguments.prometheus else None
    if prometheus:
        exporters, _ = prometheus.query("sockdiag_build_info")
        exporters = [each["metric"] for each in exporters if arguments.instance in (None, each["metric"]["instance"])]
        if not exporters:
            print("Prometheus knows of no such exporter", file=sys.stderr)
            return 1
        job, instance = exporters[0]["job"], exporters[0]["instance"]
    values = {"job": job, "instance": instance, "netns": arguments.netns, "__rate_interval": arguments.rate_interval}
    faults, found = [], []
    for path in sorted((HERE / "dashboards").glob("*.json")):
        dashboard = json.loads(path.read_text())
        faults += incomplete(path.stem, dashboard)
        found += queries(path.stem, dashboard, values)
    faults += unknown(found)
    faults += unparsable(found)
    if prometheus:
        faults += empty(prometheus, found, f'job="{job}",instance="{instance}"')
    for fault in faults:
        print(fault, file=sys.stderr)
    print(f"{len(found)} queries checked, {len(faults)} faults")
    return 1 if faults or not found else 0


if __name__ == "__main__":
    sys.exit(main())
