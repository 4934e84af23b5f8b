#!/usr/bin/env python3
"""Renders the base and the example with all components, and validates every object without a cluster or a network.

Kubernetes' own kinds against the schemas in kubernetes-validate (strict: unknown fields are refused), those of
prometheus-operator against schemas/, and the DaemonSet against what this exporter promises.
Rendered by kustomize.py, and where kustomize or kubectl is here, by that too: both must be equal.
Needs requirements.txt. Exit code: 0 fine, 1 faults, 2 a tool is missing."""

import json
import pathlib
import sys
import tomllib

try:
    import jsonschema
    import kubernetes_validate
    import yaml

    import kustomize
except ImportError as error:
    print(f"{error.name} is missing: pip install -r deploy/kubernetes/requirements.txt", file=sys.stderr)
    sys.exit(2)

HERE = pathlib.Path(__file__).resolve().parent
RULES = HERE.parent / "prometheus" / "rules"
# The oldest and the newest Kubernetes that is looked at.
VERSIONS = ("1.29", "1.33")
# Components that give privileges, and which.
PRIVILEGED = {"net-admin": ["NET_ADMIN"], "namespaces": ["SYS_ADMIN", "SYS_PTRACE", "NET_ADMIN"]}
EXPECTED = {
    "base": ["ConfigMap", "DaemonSet", "Namespace", "ResourceQuota", "ServiceAccount"],
    "example": ["ConfigMap", "DaemonSet", "Namespace", "PodMonitor", "PrometheusRule", "ResourceQuota", "ServiceAccount"],
}


def render(directory, command):
    """The objects, and what is said against them when kustomize itself renders others."""
    def key(thing):
        return thing["kind"], thing["metadata"]["name"]

    ours = sorted(kustomize.render(HERE / directory), key=key)
    if command is None:
        return ours, []
    theirs = sorted(kustomize.rendered(command, HERE / directory), key=key)
    differ = [" ".join(key(each)) for each in theirs if each not in ours] + [" ".join(key(each)) for each in ours if each not in theirs]
    return theirs, [f"kustomize.py renders another {each} than {command[0]}" for each in dict.fromkeys(differ)]


def invalid(thing):
    """What the schemas say against it."""
    if thing["apiVersion"].startswith("monitoring.coreos.com/"):
        schema = json.loads((HERE / "schemas" / f"{thing['kind'].lower()}.json").read_text())
        for error in jsonschema.Draft202012Validator(schema).iter_errors(thing):
            yield f"{error.json_path}: {error.message}"
        return
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(thing, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            # The rest of the text is the schema.
            yield f"{version}: {str(error).splitlines()[0]}"


def daemonset(thing, names):
    """Each promise, and whether the object keeps it."""
    pod = thing["spec"]["template"]["spec"]
    container, = pod["containers"]
    inner = container["securityContext"]
    volumes = {each["name"]: each for each in pod["volumes"]}
    port = {each["name"]: each["containerPort"] for each in container["ports"]}["metrics"]
    return {
        "shares the host's network and nothing else": pod["hostNetwork"] and not pod.get("hostPID") and not pod.get("hostIPC"),
        "mounts nothing of the host but its cgroup tree": [each["hostPath"]["path"] for each in volumes.values() if "hostPath" in each] == ["/sys/fs/cgroup"],
        "mounts everything read-only": all(each["readOnly"] for each in container["volumeMounts"]),
        "mounts only volumes that exist": all(each["name"] in volumes for each in container["volumeMounts"]),
        "mounts the rendered ConfigMap": volumes["config"]["configMap"]["name"] in names["ConfigMap"],
        "runs as nobody": pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] == 65534,
        "has the default seccomp profile": pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"},
        "drops all capabilities": inner["capabilities"] == {"drop": ["ALL"]},
        "has a read-only root file system": inner["readOnlyRootFilesystem"],
        "cannot gain privileges": inner["allowPrivilegeEscalation"] is False and inner["privileged"] is False,
        "has no token": pod["automountServiceAccountToken"] is False and pod["serviceAccountName"] in names["ServiceAccount"],
        "has its probes": [container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("liveness", "readiness")] == ["/-/healthy", "/-/ready"],
        "is limited": container["resources"] == {"requests": {"cpu": "50m", "memory": "16Mi"}, "limits": {"memory": "96Mi"}},
        "has a priority that the quota admits": pod["priorityClassName"] == "system-cluster-critical" and "ResourceQuota" in names,
        "is selected by its own labels": thing["spec"]["selector"]["matchLabels"].items() <= thing["spec"]["template"]["metadata"]["labels"].items(),
        "listens where the probes ask": port == 10061,
        "pins its image": ":" in container["image"] and not container["image"].endswith(":latest"),
    }


def broken(things):
    names = {}
    for thing in things:
        names.setdefault(thing["kind"], []).append(thing["metadata"]["name"])
    for thing in things:
        where = f"{thing['kind']} {thing['metadata']['name']}"
        if thing["kind"] == "Namespace":
            continue
        if thing["metadata"].get("namespace") not in names["Namespace"]:
            yield f"{where}: not in the namespace that is made"
        if thing["kind"] == "DaemonSet":
            yield from (f"{where}: does not keep: {promise}" for promise, kept in daemonset(thing, names).items() if not kept)
        if thing["kind"] == "ConfigMap":
            tomllib.loads(thing["data"]["sockdiag-exporter.toml"])
        if thing["kind"] == "PodMonitor":
            selected, = [each["spec"]["template"]["metadata"]["labels"] for each in things if each["kind"] == "DaemonSet"]
            if not thing["spec"]["selector"]["matchLabels"].items() <= selected.items():
                yield f"{where}: selects no pod of the DaemonSet"
        if thing["kind"] == "PrometheusRule":
            files = [yaml.safe_load(path.read_text()) for path in sorted(RULES.glob("*.yml"))]
            if thing["spec"]["groups"] != [group for each in files for group in each["groups"]]:
                yield f"{where}: not the rules of {RULES}"


def privileged():
    """The base with each component that gives it privileges: what is wrong then."""
    for component, capabilities in PRIVILEGED.items():
        things = kustomize.render(HERE / "base")
        kustomize.patch(things, HERE / "components" / component)
        daemon, = [thing for thing in things if thing["kind"] == "DaemonSet"]
        yield from (f"{component}: {said}" for said in invalid(daemon))
        container, = daemon["spec"]["template"]["spec"]["containers"]
        inner = container["securityContext"]
        if inner["capabilities"] != {"drop": ["ALL"], "add": capabilities} or inner["allowPrivilegeEscalation"]:
            yield f"{component}: gives other capabilities than {capabilities}"
        names = {each["name"] for each in daemon["spec"]["template"]["spec"]["volumes"]}
        if not {each["name"] for each in container["volumeMounts"]} <= names:
            yield f"{component}: mounts a volume that is not there"
        print(f"base with {component}: rendered and validated")


def main():
    faults = list(privileged())
    command = kustomize.installed()
    if command is None:
        print("neither kustomize nor a recent kubectl is here: what kustomize.py renders is not compared with theirs")
    for directory, expected in EXPECTED.items():
        try:
            things, differing = render(directory, command)
        except ValueError as error:
            faults.append(f"{directory}: {error}")
            continue
        faults += [f"{directory}: {each}" for each in differing]
        kinds = sorted(each["kind"] for each in things)
        if kinds != expected:
            faults.append(f"{directory}: renders {kinds}")
        for thing in things:
            faults += [f"{directory}: {thing['kind']}: {said}" for said in invalid(thing)]
        faults += [f"{directory}: {said}" for said in broken(things)]
        print(f"{directory}: {len(things)} objects rendered and validated")
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
