#!/usr/bin/env bash
# Makes the build stage's base image locally, from Debian packages and the Rust toolchain of this machine, under the
# name that the Dockerfile's FROM says. For machines without a container registry. Needs root, buildah, debootstrap.
# Usage: base-image.sh IMAGE; environment: BUILDAH, the command with its storage options.
set -euo pipefail
image=${1:?usage: base-image.sh IMAGE}
read -ra buildah <<<"${BUILDAH:-buildah}"

release=${image##*:}
release=${release%%-*}
suite=${image##*-}
sysroot=$(RUSTUP_TOOLCHAIN=${RUSTUP_TOOLCHAIN:-$release} rustc --print sysroot 2>/dev/null || rustc --print sysroot)
if ! "$sysroot/bin/rustc" --version | grep -q "^rustc $release\."; then
    echo "$image wants Rust $release, here is $("$sysroot/bin/rustc" --version)" >&2
    exit 1
fi
# The mirror that apt is set up with here.
mirror=$(apt-get indextargets --format '$(REPO_URI)' "Codename: $suite" | head -1)

container=$("${buildah[@]}" from scratch)
trap '"${buildah[@]}" rm "$container" >/dev/null' EXIT
root=$("${buildah[@]}" mount "$container")
debootstrap --variant=minbase --include=ca-certificates,gcc,libc6-dev "$suite" "$root" ${mirror:+"$mirror"}
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
mkdir -p "$root/usr/local/bin" "$root/usr/local/lib"
cp "$sysroot/bin/cargo" "$sysroot/bin/rustc" "$root/usr/local/bin/"
cp -a "$sysroot/lib/." "$root/usr/local/lib/"
"${buildah[@]}" config --env PATH=/usr/local/bin:/usr/bin:/bin --env CARGO_HOME=/usr/local/cargo --cmd bash "$container"
"${buildah[@]}" commit --quiet "$container" "docker.io/library/$image"
