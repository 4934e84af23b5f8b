"""Renders the part of kustomize that the kustomizations here use, where neither kustomize nor a recent kubectl is.

Understood: resources, components, namespace, labels (pairs), configMapGenerator (files), images, patches (strategic merge). Anything else is
refused, so that what is rendered here is never less than what a cluster would get. check.py compares the two wherever
kustomize itself can be had. What each field does: https://kubectl.docs.kubernetes.io/references/kustomize/kustomization/"""

import hashlib
import json
import pathlib
import shutil
import subprocess

import yaml

KNOWN = {"apiVersion", "kind", "resources", "components", "namespace", "labels", "configMapGenerator", "images", "patches"}
# Kinds that live in no namespace.
CLUSTER = {"Namespace"}


class Refused(ValueError):
    """The kustomization says something that is not understood here, or kustomize does not understand it."""


def only(where, thing, known):
    if unknown := sorted(set(thing) - known):
        raise Refused(f"{where}: kustomize.py does not know {', '.join(unknown)}")


def render(directory):
    """The objects that `kubectl kustomize DIRECTORY` would print."""
    file = directory / "kustomization.yaml"
    said = yaml.safe_load(file.read_text())
    only(file, said, KNOWN)
    things = []
    for name in said.get("resources", []):
        path = directory / name
        things += render(path) if path.is_dir() else yaml.safe_load_all(path.read_text())
    for name in said.get("components", []):
        component = directory / name
        things += render(component)
        patch(things, component)
    things += [generated(file, each, things) for each in said.get("configMapGenerator", [])]
    for thing in things:
        meta = thing["metadata"]
        if "namespace" in said and thing["kind"] not in CLUSTER:
            meta["namespace"] = said["namespace"]
        for each in said.get("labels", []):
            # Without includeSelectors labels reach the object itself and nothing in it.
            only(file, each, {"pairs"})
            meta.setdefault("labels", {}).update(each["pairs"])
        for container in pod(thing).get("containers", []):
            for each in said.get("images", []):
                retag(file, container, each)
    return things


def patch(things, component):
    """A component's patches go over what was rendered before it."""
    file = component / "kustomization.yaml"
    for each in yaml.safe_load(file.read_text()).get("patches", []):
        only(file, each, {"patch"})
        change = yaml.safe_load(each["patch"])
        key = change["kind"], change["metadata"]["name"]
        at, = [at for at, thing in enumerate(things) if (thing["kind"], thing["metadata"]["name"]) == key]
        things[at] = merged(things[at], change)


def merged(thing, change):
    """Lists of named things by their names, as these kinds have it; all else is replaced."""
    if isinstance(thing, dict) and isinstance(change, dict):
        return thing | {key: merged(thing.get(key), value) for key, value in change.items()}
    if isinstance(thing, list) and all(isinstance(each, dict) and "name" in each for each in thing + change):
        names = {each["name"]: each for each in thing}
        for each in change:
            names[each["name"]] = merged(names.get(each["name"]), each)
        return list(names.values())
    return change


def pod(thing):
    return thing.get("spec", {}).get("template", {}).get("spec", {})


def retag(file, container, image):
    only(file, image, {"name", "newName", "newTag"})
    # A colon before the last slash is the registry's port.
    slash = container["image"].rfind("/") + 1
    name, _, tag = container["image"][slash:].partition(":")
    if container["image"][:slash] + name == image["name"]:
        tag = image.get("newTag", tag)
        container["image"] = image.get("newName", image["name"]) + (f":{tag}" if tag else "")


def generated(file, said, things):
    """The ConfigMap, under the name that a hash of its content makes; the pods that mount it follow."""
    only(file, said, {"name", "files"})
    data = {pathlib.Path(name).name: (file.parent / name).read_text() for name in said["files"]}
    name = f"{said['name']}-{digest(data)}"
    for thing in things:
        for volume in pod(thing).get("volumes", []):
            if volume.get("configMap", {}).get("name") == said["name"]:
                volume["configMap"]["name"] = name
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def digest(data):
    """kustomize's hash (api/hasher/hasher.go): the SHA-256 of the object as Go writes JSON, in letters that spell nothing.

    The name that goes into it is empty, whatever the object is called."""
    text = json.dumps({"data": data, "kind": "ConfigMap", "name": ""}, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return hashlib.sha256(text.encode()).hexdigest()[:10].translate(str.maketrans("013ae", "ghkmt"))


def installed():
    """The command that renders here, or nothing: a kubectl whose kustomize is older than 5 may not know all of this."""
    if shutil.which("kustomize"):
        return ["kustomize", "build"]
    if shutil.which("kubectl"):
        version = subprocess.run(["kubectl", "version", "--client"], capture_output=True, text=True)
        if "Kustomize Version: v5" in version.stdout:
            return ["kubectl", "kustomize"]
    return None


def rendered(command, directory):
    """The objects that kustomize itself prints."""
    done = subprocess.run([*command, directory], capture_output=True, text=True)
    if done.returncode:
        raise Refused(done.stderr.strip())
    return list(yaml.safe_load_all(done.stdout))
