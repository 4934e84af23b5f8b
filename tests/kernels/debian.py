"""Debian's kernels: found and fetched by an apt of its own, unpacked, not installed."""

import os
import re
import shutil
import subprocess
from pathlib import Path

KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
SUITES = [
    "debian bullseye",
    "debian bookworm",
    "debian bookworm-backports",
    "debian trixie",
    "debian trixie-backports",
    "debian-security bullseye-security",
    "debian-security bookworm-security",
    "debian-security trixie-security",
]

# The flavour for virtual machines: small, and with virtiofs and nftables.
RELEASE = re.compile(r"linux-image-(\d+\.\d+\.\d+\S*-cloud-amd64)$")


def mirror():
    """The mirror of this machine's own apt, without the archive's name."""
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)"], check=True, text=True, stdout=subprocess.PIPE
    ).stdout.split()
    of_debian = [uri.rstrip("/") for uri in listed if uri.rstrip("/").endswith("/debian")]
    if not of_debian:
        raise SystemExit("apt knows no mirror of Debian: add one to /etc/apt/sources.list and run apt-get update")
    return of_debian[0].removesuffix("/debian")


class Apt:
    """apt with lists and archives below `place`, apart from the system's."""

    def __init__(self, place):
        self.place = place
        for directory in ["lists/partial", "archives/partial"]:
            (place / directory).mkdir(parents=True, exist_ok=True)
        base = mirror()
        sources = [f"deb [arch=amd64 signed-by={KEYS}] {base}/{suite} main\n" for suite in SUITES]
        (place / "sources.list").write_text("".join(sources))
        (place / "conf").write_text(
            f'Dir::Etc::SourceList "{place}/sources.list";\n'
            f'Dir::Etc::SourceParts "/dev/null";\n'
            f'Dir::State::Lists "{place}/lists";\n'
            f'Dir::Cache "{place}";\n'
            'APT::Sandbox::User "root";\n'
            'Acquire::Languages "none";\n'
        )
        self.run("apt-get", "-qq", "update")

    def run(self, *command):
        environment = os.environ | {"APT_CONFIG": str(self.place / "conf")}
        done = subprocess.run(
            command, cwd=self.place / "archives", env=environment, check=True, text=True, stdout=subprocess.PIPE
        )
        return done.stdout

    def releases(self):
        """What `uname -r` says of each kernel there is, oldest first."""
        names = self.run("apt-cache", "pkgnames", "linux-image-").splitlines()
        found = filter(None, map(RELEASE.match, names))
        return sorted((match[1] for match in found), key=version_key)

    def download(self, release):
        """The packages that hold vmlinuz and the modules. Since 7.x they are two more."""
        image = f"linux-image-{release}"
        depends = self.run("apt-cache", "depends", "--important", image)
        parts = re.findall(rf"linux-(?:binary|modules)-{re.escape(release)}$", depends, re.MULTILINE)
        self.run("apt-get", "-qq", "download", image, *parts)
        for part in [image, *parts]:
            yield next((self.place / "archives").glob(f"{part}_*.deb"))


def version_key(release):
    return [int(number) for number in re.findall(r"\d+", release)]


def newest(releases, wanted):
    """The release of that name, or the newest of a series such as 6.12 or 7, or where
    Debian has none of that series any more, the first after it."""
    series = [release for release in releases if release == wanted or release.startswith(wanted + ".")]
    later = [release for release in releases if version_key(release) > version_key(wanted)]
    if not series and not later:
        raise SystemExit(f"Debian has no kernel {wanted}; there are: {' '.join(releases)}")
    return series[-1] if series else later[0]


def unpacked(cache, apt, release):
    """The directory with the kernel's `vmlinuz` and `modules`, fetched if it is new."""
    place = cache / release
    if not place.exists():
        draft = cache / f"{release}.draft"
        shutil.rmtree(draft, ignore_errors=True)
        for package in apt.download(release):
            subprocess.run(["dpkg-deb", "-x", package, draft], check=True)
            package.unlink()
        modules = next(path for path in draft.glob("**/lib/modules") if path.is_dir())
        modules.rename(draft / "modules")
        next(draft.glob("**/vmlinuz*")).rename(draft / "vmlinuz")
        for module in draft.glob("modules/**/*.ko.xz"):
            subprocess.run(["xz", "-d", module], check=True)
        index_modules(draft, release)
        draft.rename(place)
    return place


def index_modules(place, release):
    """depmod wants them in `lib/modules`."""
    (place / "lib").mkdir(exist_ok=True)
    link = place / "lib/modules"
    link.symlink_to(place / "modules")
    subprocess.run(["busybox", "depmod", "-b", place, release], check=True)
    link.unlink()
