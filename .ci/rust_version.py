"""Fails when a dependency needs a newer Rust than Cargo.toml promises."""

import json
import sys


def version(text):
    return tuple(int(part) for part in (text + ".0.0").split(".")[:3])


packages = json.load(sys.stdin)["packages"]
ours = next(p for p in packages if p["name"] == "sockdiag-exporter")["rust_version"]
newer = [
    f"{p['name']} {p['version']} needs Rust {p['rust_version']}, we promise {ours}"
    for p in packages
    if p["rust_version"] and version(p["rust_version"]) > version(ours)
]
print("\n".join(newer) or f"{len(packages)} packages build with Rust {ours}")
sys.exit(bool(newer))
