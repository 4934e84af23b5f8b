#!/usr/bin/env bash
# Installs the named cargo tools where they are missing, each in the version that this repository is tried with, into a
# directory of its own: PACKAGE_TOOLS, else below the user's cache. Usage: tools.sh TOOL...
set -euo pipefail
root=${PACKAGE_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/sockdiag-exporter-tools}
declare -A versions=([cargo-deb]=3.8.0 [cargo-generate-rpm]=0.21.1 [cargo-cyclonedx]=0.5.9 [cargo-deny]=0.20.2)

for tool in "$@"; do
    version=${versions[$tool]:?no version of $tool is named in $0}
    # What cargo itself wrote when it was installed.
    grep -qs "\"$tool $version " "$root/.crates.toml" && continue
    echo "installing $tool $version into $root" >&2
    # Not into the target directory of the project, nor with its flags: these are tools, not what is released.
    (cd / && env -u RUSTFLAGS -u CARGO_TARGET_DIR -u SOURCE_DATE_EPOCH CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=0 \
        cargo install --quiet --locked --root "$root" --version "$version" "$tool")
done
