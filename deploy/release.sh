#!/usr/bin/env bash
# Makes what a release consists of, into dist/: .deb, .rpm, archives of program, sources and Helm chart, list of the
# crates (SBOM), SHA256SUMS. All of it twice, from two copies of a commit in different directories; the two must be equal
# byte for byte. Needs what deploy/packages/build.sh needs. Takes two release builds.
# Environment: REVISION, the commit (HEAD); PACKAGE_TOOLS, where the cargo tools are or are put; MANUAL_TARGET, a target
# directory for what writes the manual, of which no byte is released.
# Exit code: 0 fine, 1 not.
set -euo pipefail
cd "$(dirname "$0")/.."
name=sockdiag-exporter
repository=$PWD
commit=$(git rev-parse --verify "${REVISION:-HEAD}^{commit}")
export PACKAGE_TOOLS=${PACKAGE_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/$name-tools}
export TZ=UTC LC_ALL=C.UTF-8 CARGO_INCREMENTAL=0
# The time of everything, and what the program says it was built from.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct "$commit")
SOCKDIAG_EXPORTER_REVISION=$(git rev-parse --short=12 "$commit")
export SOURCE_DATE_EPOCH SOCKDIAG_EXPORTER_REVISION
umask 022
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

packed() { # DIRECTORY NAME: its entry NAME as a tar archive, the same for the same files
    tar --create --directory="$1" --format=ustar --dereference --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner \
        --mode=u=rwX,go=rX "$2"
}

# The program, with what lies beside it, for hosts without a package manager that knows it.
archive() { # OUT PLACE
    local top=$1 place=$2 inside=$work/archive/$2
    rm -rf "$work/archive"
    mkdir -p "$inside/systemd"
    cp target/packages/deb/usr/bin/$name LICENSE README.md CHANGELOG.md SECURITY.md config.example.toml "$inside/"
    cp target/packages/third-party-licenses.txt "$inside/"
    cp deploy/systemd/*.service deploy/systemd/*.socket deploy/systemd/*.default deploy/systemd/*.example deploy/systemd/README.md "$inside/systemd/"
    cp -r target/packages/manual "$inside/manual"
    cp -r deploy/prometheus/rules "$inside/rules"
    cp -r deploy/grafana/dashboards "$inside/dashboards"
    packed "$work/archive" "$place" | xz -9 --threads=1 >"$top/$place.tar.xz"
}

# What it is made of. The tool writes the directory of the build into it.
sbom() { # OUT
    "$PACKAGE_TOOLS/bin/cargo-cyclonedx" cyclonedx --quiet --format json --spec-version 1.5 --override-filename sbom
    sed "s|$PWD|/build|g" sbom.json >"$1/$name-$version.sbom.cdx.json"
    rm sbom.json
}

make() { # DIRECTORY: a copy of the commit; leaves dist/ in it
    local directory=$1 version
    mkdir -p "$directory"
    git -C "$repository" archive "$commit" | tar -x -C "$directory"
    cd "$directory"
    mkdir dist
    version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -1)
    # Where it was built is nobody's business, and would differ.
    RUSTFLAGS="--remap-path-prefix=$directory=/build --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo --remap-path-prefix=$(rustc --print sysroot)=/rust" \
        cargo build --quiet --release --locked --bin $name
    # The crates that write the manual are compiled once for both.
    BINARY=$directory/target/release/$name MANUAL_TARGET=${MANUAL_TARGET:-$work/manual-target} deploy/packages/build.sh "$directory/dist" >/dev/null
    archive "$directory/dist" "$name-$version-$(uname -m)-linux"
    git -C "$repository" archive --format=tar --prefix="$name-$version/" "$commit" | gzip -9n >"dist/$name-$version-source.tar.gz"
    packed deploy/helm $name | gzip -9n >"dist/$name-chart-$version.tgz"
    sbom "$directory/dist"
    (cd dist && sha256sum -- * >SHA256SUMS)
    cd "$repository"
}

deploy/packages/tools.sh cargo-deb cargo-generate-rpm cargo-cyclonedx
[ -z "$(git status --porcelain --untracked-files=no)" ] || echo "release: changes that are not committed are left out" >&2
first=$work/first
# Another length, another depth.
second=$work/the/second/directory
make "$first"
make "$second"
if ! diff -r "$first/dist" "$second/dist" >&2; then
    echo "release: two builds of $commit differ" >&2
    exit 1
fi
# A path of the build in the program would be one of a reader's machine.
if grep -aq -F -e "$work" -e "$HOME/" "$first/target/release/$name"; then
    echo "release: the program names the directory it was built in" >&2
    exit 1
fi
rm -rf dist
cp -r "$first/dist" dist
(cd dist && sha256sum --check --quiet SHA256SUMS && ls -l)
echo "release: $commit built twice, equal byte for byte"
