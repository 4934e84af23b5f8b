#!/usr/bin/env python3
"""Renders the chart with Helm's own engine, and compares every object with that of deploy/kubernetes: by default the base,
with each switch the base and its component. Objects are validated as those are; wrong values must be refused.

Needs requirements.txt and ../kubernetes/requirements.txt. Exit code: 0 fine, 1 faults, 2 a tool is missing."""

import copy
import importlib.util
import pathlib
import sys
import tempfile
import tomllib

HERE = pathlib.Path(__file__).resolve().parent
KUBERNETES = HERE.parent / "kubernetes"
CHART = HERE / "sockdiag-exporter"
NAMESPACE = "sockdiag-exporter"
sys.path.insert(0, str(KUBERNETES))

try:
    import helm_python as helm
    import yaml

    import kustomize
except ImportError as error:
    print(f"{error.name} is missing: pip install -r deploy/helm/requirements.txt -r deploy/kubernetes/requirements.txt", file=sys.stderr)
    sys.exit(2)

spec = importlib.util.spec_from_file_location("kubernetes_check", KUBERNETES / "check.py")
kubernetes_check = importlib.util.module_from_spec(spec)
spec.loader.exec_module(kubernetes_check)

# Values, and the components that mean the same.
CASES = {
    "as it is": ({}, []),
    "netAdmin": ({"netAdmin": True}, ["net-admin"]),
    "namespaces": ({"namespaces": True}, ["namespaces"]),
    "podMonitor": ({"podMonitor": {"create": True, "labels": {"release": "a"}}}, ["podmonitor"]),
    "prometheusRule": ({"prometheusRule": {"create": True}}, ["prometheusrule"]),
}
# What the schema has to refuse.
REFUSED = {
    "a key that is not there": {"imagePullPolicy": "Always"},
    "a port that is none": {"port": 0},
    "scrapes too rare for the alerts": {"podMonitor": {"interval": "60s"}},
    "no image": {"image": {"repository": ""}},
}
# Helm cannot make the namespace that it keeps the release in.
NOT_OURS = "Namespace"


def key(thing):
    return f"{thing['kind']} {thing['metadata']['name']}"


def rendered(chart, values):
    texts = chart.render(values, name="sockdiag-exporter", namespace=NAMESPACE)
    things = [thing for path, text in texts.items() if path.endswith(".yaml") for thing in yaml.safe_load_all(text) if thing]
    return {key(thing): thing for thing in things}


def expected(components):
    things = kustomize.render(KUBERNETES / "base")
    for component in components:
        directory = KUBERNETES / "components" / component
        names = yaml.safe_load((directory / "kustomization.yaml").read_text()).get("resources")
        if names:
            things += [yaml.safe_load((directory / name).read_text()) for name in names]
        else:
            kustomize.patch(things, directory)
    return {key(thing): thing for thing in map(plain, things) if thing["kind"] != NOT_OURS}


def plain(thing):
    """Without what each tool adds of its own: labels and annotations, and the hash in the ConfigMap's name."""
    thing = copy.deepcopy(thing)
    for name in ("labels", "annotations"):
        thing["metadata"].pop(name, None)
    if thing["kind"] == "ConfigMap":
        thing["metadata"]["name"] = NAMESPACE
    if thing["kind"] == "DaemonSet":
        pod = thing["spec"]["template"]
        pod["metadata"].pop("annotations", None)
        pod["metadata"]["labels"] = {name: value for name, value in pod["metadata"]["labels"].items() if name.endswith("/name")}
        for volume in pod["spec"]["volumes"]:
            if "configMap" in volume:
                volume["configMap"]["name"] = NAMESPACE
    return thing


def configuration(thing):
    return tomllib.loads(thing["data"]["sockdiag-exporter.toml"])


def differences(ours, theirs):
    if ours.keys() != theirs.keys():
        yield f"renders {sorted(ours)}, not {sorted(theirs)}"
    for name in ours.keys() & theirs.keys():
        mine, other = plain(ours[name]), theirs[name]
        if mine["kind"] == "ConfigMap":
            if configuration(mine) != configuration(other):
                yield f"{name}: another configuration"
            mine, other = {**mine, "data": None}, {**other, "data": None}
        if mine != other:
            yield f"{name}: {mine}\n  but deploy/kubernetes has\n  {other}"


def faults(chart):
    for name, (values, components) in CASES.items():
        ours = rendered(chart, values)
        yield from (f"{name}: {said}" for said in differences(ours, expected(components)))
        for thing in ours.values():
            yield from (f"{name}: {key(thing)}: {said}" for said in kubernetes_check.invalid(thing))
        print(f"helm, {name}: {len(ours)} objects, as in deploy/kubernetes")
    labels = rendered(chart, {"podMonitor": {"create": True, "labels": {"release": "a"}}})["PodMonitor sockdiag-exporter"]["metadata"]["labels"]
    if labels.get("release") != "a":
        yield "podMonitor.labels has no effect"
    pinned = rendered(chart, {"image": {"repository": "r.example/x", "tag": "1"}})["DaemonSet sockdiag-exporter"]
    if pinned["spec"]["template"]["spec"]["containers"][0]["image"] != "r.example/x:1":
        yield "image has no effect"
    for name, values in REFUSED.items():
        try:
            chart.validate_schema(chart.merge_values(values))
        except helm.HelmError:
            continue
        yield f"values are not refused: {name}"
    try:
        rendered(chart, {"port": 9999})
        yield "a port that the configuration does not listen on is not refused"
    except helm.HelmRenderError:
        pass
    crate = tomllib.loads((HERE.parent.parent / "Cargo.toml").read_text())["package"]["version"]
    if (chart.version, chart.metadata["appVersion"]) != (crate, crate):
        yield f"Chart.yaml has other versions than {crate}"


def main():
    found = []
    report = helm.lint(CHART, strict=True, namespace=NAMESPACE, kube_version="v1.33.0")
    found += [f"lint: {each}" for each in report["errors"]]
    found += [f"lint: {each['path']}: {each['error']}" for each in report["messages"] if each["severity"] >= 2]
    with helm.Chart.load(CHART) as chart:
        found += faults(chart)
    # The archive has the rules themselves, not the link to them.
    with tempfile.TemporaryDirectory() as directory:
        with helm.Chart.load(helm.package(CHART, destination=directory)) as chart:
            found += [f"as an archive: {each}" for each in differences(rendered(chart, {"prometheusRule": {"create": True}}), expected(["prometheusrule"]))]
    for fault in found:
        print(fault, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
